//! Whether a request may be made: what it needs, as the core says, held against what its sender may do.

use orlop_core::Rights;
use orlop_core::asked::{Access, Action};
use orlop_core::caller::Right;

use crate::auth::identity::Identity;
use crate::auth::problem::Problem;

/// What is said of a request before it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// It is made. What its sender may not see, the core shows to nobody but those who may.
    Made,
    /// Its sender is to say who it is, or to show a better token.
    Unknown(Option<Problem>),
    /// Its sender lacks that right, which this needs.
    Denied(Right, &'a Access),
}

/// Decides upon the request alone, never upon what the registry holds: so the answer tells nothing of that. Of several things
/// that it needs, the first that its sender may not do decides.
pub(crate) fn verdict<'a>(access: &'a [Access], identity: &Identity, rights: &Rights, can_ask: bool) -> Verdict<'a> {
    if access.is_empty() {
        return judged(None, identity, rights, can_ask);
    }
    let mut all = access.iter().map(|access| judged(Some(access), identity, rights, can_ask));
    all.find(|verdict| *verdict != Verdict::Made).unwrap_or(Verdict::Made)
}

/// What is said of one thing that a request needs; without any, it needs somebody who is known.
fn judged<'a>(access: Option<&'a Access>, identity: &Identity, rights: &Rights, can_ask: bool) -> Verdict<'a> {
    let token = identity.may_have_better();
    // A token of ours may be nobody's.
    let known = token && !identity.is_in_session() || !identity.is_anonymous();
    let (allowed, by_rule, lacks) = match access {
        None => (identity.has_answered() || !can_ask, false, None),
        Some(Access::Catalog) => (rights.may_somewhere(Right::List), false, None),
        // The core begins an upload where it may not be mounted from there.
        Some(Access::Source(_) | Access::Open) => (true, false, None),
        Some(access @ Access::DeleteTag(name, tag)) => {
            let decision = rights.decide(Right::Delete, name, Some(tag));
            (decision.allowed, decision.rule.is_some(), Some((Right::Delete, access)))
        }
        Some(access @ Access::Repository(name, action)) => {
            let right = match action {
                Action::Pull => Right::Pull,
                Action::Push => Right::Upload,
                Action::Delete => Right::Delete,
            };
            let decision = rights.decide(right, name, None);
            (decision.allowed, decision.rule.is_some(), Some((right, access)))
        }
    };
    match (allowed, lacks) {
        (true, _) => Verdict::Made,
        // Another token may allow it, unless a rule of ours is against it.
        (false, _) if token && !by_rule => Verdict::Unknown(Some(Problem::Scope)),
        (false, _) if !known && can_ask => Verdict::Unknown(None),
        // Repositories that a client may not read return 404, like those that do not exist.
        (false, None | Some((Right::Pull, _))) => Verdict::Made,
        (false, Some((right, access))) => Verdict::Denied(right, access),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orlop_core::asked::Asked;
    use orlop_core::caller::Rule;
    use orlop_core::config::Pattern;
    use orlop_core::{Headers, Method, Request};

    use super::*;

    fn asked(method: Method, target: &str) -> Vec<Access> {
        let request = Request { method, target: target.into(), headers: Headers::default(), length: None, base: None };
        Asked::from(request).access()
    }

    fn without(lacking: &[Right]) -> Rights {
        let rights = Right::ALL.into_iter().filter(|right| !lacking.contains(right)).collect();
        let repositories = [Pattern::new("**")].into();
        Rights::of([Arc::new(Rule { allow: true, rights, repositories, tags: None })])
    }

    /// Whichever of several rights somebody lacks who is not known yet, it is asked who it is.
    #[test]
    fn each_of_several_rights_is_looked_at() {
        let contents = asked(Method::Delete, "/api/v1/repositories/a/contents");
        assert_eq!(contents.len(), 2);
        let nobody = Identity::anonymous();
        let verdict_of = |lacking: &[Right]| verdict(&contents, &nobody, &without(lacking), true);
        assert_eq!(verdict_of(&[]), Verdict::Made);
        for lacking in [&[Right::Pull][..], &[Right::Delete], &[Right::Pull, Right::Delete]] {
            assert_eq!(verdict_of(lacking), Verdict::Unknown(None), "{lacking:?}");
        }
        // Where nobody can be known, what may not be pulled is not there, and the rest is refused by name.
        let open = |lacking: &[Right]| match verdict(&contents, &nobody, &without(lacking), false) {
            Verdict::Denied(right, Access::Repository(_, Action::Delete)) => Some(right),
            _ => None,
        };
        assert_eq!(open(&[Right::Delete]), Some(Right::Delete));
        assert_eq!(open(&[Right::Pull, Right::Delete]), Some(Right::Delete));
        assert_eq!(open(&[Right::Pull]), None);
        // SPEC E14: from where a mount may not take is no reason to refuse it.
        let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let mount = asked(Method::Post, &format!("/v2/a/blobs/uploads/?mount={digest}&from=b"));
        assert_eq!(verdict(&mount, &nobody, &without(&[Right::Pull]), true), Verdict::Made);
        assert_eq!(verdict(&mount, &nobody, &without(&[Right::Upload]), true), Verdict::Unknown(None));
    }
}
