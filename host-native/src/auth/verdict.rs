//! Whether a request may be made: what it needs, as the core says, held against what its sender may do.

use orlop_core::Rights;
use orlop_core::asked::{Access, Action};
use orlop_core::caller::Right;

use crate::auth::identity::Identity;
use crate::auth::problem::Problem;

/// What is said of a request before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is made. What its sender may not see, the core shows to nobody but those who may.
    Made,
    /// Its sender is to say who it is, or to show a better token.
    Unknown(Option<Problem>),
    /// Its sender lacks that right.
    Denied(Right),
}

/// Decides upon the request alone, never upon what the registry holds: so the answer tells nothing of that.
pub(crate) fn verdict(access: &[Access], identity: &Identity, rights: &Rights, can_ask: bool) -> Verdict {
    let token = identity.may_have_better();
    // A token of ours may be nobody's.
    let known = token && !identity.is_in_session() || !identity.is_anonymous();
    // A mount needs more than the first; the core begins an upload instead where that is not allowed (SPEC E14).
    let (allowed, by_rule, right) = match access.first() {
        None => (identity.has_answered() || !can_ask, false, None),
        Some(Access::Catalog) => (rights.may_somewhere(Right::List), false, Some(Right::List)),
        Some(Access::Anywhere | Access::Open) => (true, false, None),
        Some(Access::DeleteTag(name, tag)) => {
            let decision = rights.decide(Right::Delete, name, Some(tag));
            (decision.allowed, decision.rule.is_some(), Some(Right::Delete))
        }
        Some(Access::Repository(name, action)) => {
            let right = match action {
                Action::Pull => Right::Pull,
                Action::Push => Right::Upload,
                Action::Delete => Right::Delete,
            };
            let decision = rights.decide(right, name, None);
            (decision.allowed, decision.rule.is_some(), Some(right))
        }
    };
    match (allowed, right) {
        (true, _) => Verdict::Made,
        // Another token may allow it, unless a rule of ours is against it.
        (false, _) if token && !by_rule => Verdict::Unknown(Some(Problem::Scope)),
        (false, _) if !known && can_ask => Verdict::Unknown(None),
        // Repositories that a client may not read return 404, like those that do not exist.
        (false, None | Some(Right::List | Right::Pull)) => Verdict::Made,
        (false, Some(right)) => Verdict::Denied(right),
    }
}
