//! Every setting as a plain value.

mod access;
mod bounds;
mod limits;
mod policy;
pub(crate) mod rule;
mod shares;
mod storage;
mod tls;
mod watch;
pub(crate) mod watched;
pub(crate) mod webhook;
mod who;

pub use self::access::{Access, AccessCommand, Auth, Explain};
pub use self::bounds::Bounds;
pub use self::limits::Limits;
pub use self::policy::Policy;
pub(crate) use self::policy::time;
pub(crate) use self::rule::table;
pub use self::rule::{Action, GroupSetting, RuleSetting};
pub use self::shares::Shares;
pub use self::storage::Storage;
pub use self::tls::Tls;
pub use self::watch::{LogFormat, Watch};
pub use self::webhook::WebhookSetting;
pub(crate) use self::who::Who;
