//! Why another registry did not give what it was asked for.

use std::fmt;
use std::time::Duration;

/// Why another registry did not give what it was asked for. Each text is one line for an operator: it names the
/// registry, and has neither passwords nor the signatures of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 404.
    Absent,
    /// 401 or 403: to a request that was logged in, or without a login that could be sent.
    Denied(String),
    /// The registry or its token server does not take the login.
    LoginRefused(String),
    /// 429, or the pause that an earlier 429 has begun. It ends after this time.
    Paused(Duration),
    /// No answer, or a 5xx: the name, the connection, its encryption, the time. Asking later may help.
    Unreachable(String),
    /// An answer that cannot be used: a token server or a redirect that is not trusted, another 4xx, an answer against
    /// the specification. Asking later does not help until something is changed.
    Unusable(String),
    /// Bytes that have another digest or size than they should.
    Damaged(String),
}

impl Failure {
    /// How much it says of what else is asked of the registry: the failure of a login more than that of one content.
    pub(crate) fn weight(&self) -> u8 {
        match self {
            Self::LoginRefused(_) => 5,
            Self::Paused(_) | Self::Unreachable(_) => 4,
            Self::Denied(_) => 3,
            Self::Damaged(_) => 2,
            Self::Unusable(_) => 1,
            Self::Absent => 0,
        }
    }

    /// The same failure with another text.
    pub(crate) fn saying(self, text: String) -> Self {
        match self {
            Self::Paused(left) => Self::Paused(left),
            Self::Denied(_) => Self::Denied(text),
            Self::LoginRefused(_) => Self::LoginRefused(text),
            Self::Unreachable(_) => Self::Unreachable(text),
            Self::Damaged(_) => Self::Damaged(text),
            Self::Absent | Self::Unusable(_) => Self::Unusable(text),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("not found"),
            Self::Paused(left) => {
                write!(f, "the registry has been asked too often (429): no request for {} s", left.as_secs().max(1))
            }
            Self::Denied(reason)
            | Self::LoginRefused(reason)
            | Self::Unreachable(reason)
            | Self::Unusable(reason)
            | Self::Damaged(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Failure {}

/// How much of a text that others have written is repeated.
const REPEATED: usize = 200;

/// A text that others have written, as part of a line of ours.
pub(super) fn repeated(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REPEATED).collect();
    text.trim().to_owned()
}
