//! Who sends a request, whether it may be made, and what its sender may take.

use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use orlop_core::error::Code;
use orlop_core::mirror::Login;
use orlop_core::{Access, Action, Caller, Operation, http};

use crate::auth::identity::{Brought, Identity};
use crate::auth::problem::Problem;
use crate::auth::refusal::{denied, refusal, unauthorized};
use crate::auth::verdict::{Verdict, verdict};
use crate::crowd::{Client, Slot};
use crate::observe::Observer;
use crate::request::access::AccessLine;
use crate::request::live::Live;
use crate::request::peer::Peer;

/// What a client is told that is beyond one of its limits for too long.
const TOO_MUCH: &str = "you have too many requests at once, or send them too fast; retry later";

/// A request that may be made.
pub(crate) struct Admitted {
    pub(crate) caller: Caller,
    /// Who it is.
    pub(crate) identity: Identity,
    /// Whose share it takes from.
    pub(crate) client: Client,
    /// What it takes of the limits that speak of its sender, until it is over.
    pub(crate) slots: Vec<Slot>,
}

/// A request that may not be made.
pub(crate) struct Refused {
    pub(crate) response: http::Response,
    /// The name of its sender, as far as it is known.
    pub(crate) caller: String,
}

/// The answer to a request for a token of ours, if it is one, and who sent it. It counts as any other does.
pub(crate) async fn give_token(
    live: &Live,
    head: &Parts,
    line: &AccessLine,
    observer: &Observer,
) -> Option<(http::Response, String)> {
    let identities = &live.identities;
    if !identities.is_for_a_token(head) {
        return None;
    }
    let client = line.client;
    let logged_in = match line.at_root {
        true => Ok(identities.log_in_at_root(&head.headers, client).await),
        false => identities.log_in(&head.headers, client).await,
    };
    let (identity, response) = match logged_in {
        Ok(identity) => (identity.clone(), identities.token(head, &identity)?),
        Err(problem) => {
            observer.metrics.logins_refused.inc();
            (Identity::anonymous(), unauthorized(vec![identities.basic()], Some(&problem)))
        }
    };
    let entered = live.shares.enter(&live.rules, &identity, client).await;
    Some((entered.map_or_else(|wait| busy(TOO_MUCH, wait), |_| response), identity.name()))
}

/// Identify, ask what access is needed, decide, limit.
pub(crate) async fn admit(
    live: &Live,
    headers: &HeaderMap,
    peer: &Peer,
    line: &AccessLine,
    observer: &Observer,
) -> Result<Admitted, Refused> {
    let client = line.client;
    let access = line.asked.access();
    let brought = Brought { headers, from: client, secure: line.secure, own_origin: line.own_origin };
    let unknown = |problem: Option<&Problem>| unauthorized(live.identities.challenges(&access, problem), problem);
    // What is no login of ours may be one of the upstream's.
    let sent_on = live.roots.verify(line.asked.summary().repository);
    let foreign = line.at_root || sent_on;
    let identified = match foreign {
        _ if matches!(line.asked.operation, Ok(Operation::Session)) => live.identities.whose_session(&brought).await,
        // Who signs in is nobody yet, whatever the browser has kept of before.
        _ if matches!(
            line.asked.operation,
            Ok(Operation::SignIn | Operation::StartProviderSignIn(_) | Operation::FinishProviderSignIn(_))
        ) =>
        {
            Ok(Identity::anonymous())
        }
        // One of which it is not known whether it is ours goes to no upstream. Where none does, it is no login.
        true => live.identities.recognize(&brought).await.or_else(|problem| match sent_on {
            true => Err(problem),
            false => Ok(Identity::anonymous()),
        }),
        false => live.identities.identify(&brought).await,
    };
    let identity = identified.clone().unwrap_or_default().with_certificate(peer.certificate.clone());
    // What is refused counts as well.
    let entered = live.shares.enter(&live.rules, &identity, client).await;
    if let Err(problem) = identified {
        observer.metrics.logins_refused.inc();
        let response = entered.map_or_else(|wait| busy(TOO_MUCH, wait), |_| unknown(Some(&problem)));
        return Err(Refused { response, caller: String::new() });
    }
    let (rights, name) = (live.rules.rights(&identity), identity.name());
    let refused = |response| Refused { response, caller: name.clone() };
    let entered = entered.map_err(|wait| refused(busy(TOO_MUCH, wait)))?;
    match verdict(&access, &identity, &rights, live.identities.can_ask()) {
        Verdict::Unknown(problem) => return Err(refused(unknown(problem.as_ref()))),
        Verdict::Denied(right, access) => return Err(refused(denied(&identity, right, Some(access)))),
        Verdict::Made if live.read_only && access.iter().any(changes) => {
            let told = "the registry takes no changes for now";
            return Err(refused(refusal(405, Code::Unsupported, told).with("Allow", "GET, HEAD")));
        }
        Verdict::Made => {}
    }
    let may_be_sent_on = foreign && !identity.has_answered() && !live.identities.is_for_us(headers);
    let sent = headers.get(header::AUTHORIZATION).filter(|_| may_be_sent_on);
    let login = sent.and_then(|value| value.to_str().ok()).map(Login::new);
    let client = Client::of(&name, client);
    let caller = Caller { name, rights, blob_limit: entered.upload, request: None, login };
    Ok(Admitted { caller, identity, client, slots: entered.slots })
}

fn changes(access: &Access) -> bool {
    match access {
        Access::Repository(_, action) => *action != Action::Pull,
        Access::DeleteTag(..) => true,
        Access::Catalog | Access::Source(_) | Access::Open => false,
    }
}

/// The answer to a request that would have to wait for too long (SPEC A11).
pub(crate) fn busy(told: &str, wait: Duration) -> http::Response {
    let seconds = wait.as_secs_f64().ceil().max(1.0);
    refusal(429, Code::TooManyRequests, told).with("Retry-After", seconds.to_string())
}
