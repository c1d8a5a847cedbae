//! Section AB, as far as the core decides: sessions of the web page and API tokens as records. Who signs in, hosts know.

use std::time::Duration;

use orlop_conformance::system::{InMemory, System, request};
use orlop_core::ambient::Timestamp;
use orlop_core::api_token::{ApiAction, ApiToken, ApiTokenId, ApiTokenShown, NewApiToken};
use orlop_core::caller::Right;
use orlop_core::effect::Durability;
use orlop_core::keys::{Key, is_copied};
use orlop_core::memory::RequestBody;
use orlop_core::secret::{SecretHash, UserKey};
use orlop_core::sign_in::{NewSignIn, SignIn, SignInHandle};
use orlop_core::{Config, Error, Rights, Step};

use crate::registry;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = HOUR.saturating_mul(24);

/// Runs a call: what it comes to, and the effects that it asked for.
fn run<T>(registry: &mut InMemory, mut step: Step<T>) -> (T, Vec<&'static str>) {
    let mut asked = Vec::new();
    loop {
        match step {
            Step::Respond(result) => return (result, asked),
            step_now => {
                asked.push(match &step_now {
                    Step::Commit(ask) if ask.effect.durability == Durability::Eventual => "Eventual",
                    other => other.name(),
                });
                step = registry.memory.perform(step_now, &RequestBody::default());
            }
        }
    }
}

fn sign_in(registry: &mut InMemory, user: &str, number: u8) -> SignInHandle {
    let secret = [number; SignInHandle::SECRET];
    let hash = SecretHash::of(&secret);
    let new = NewSignIn {
        user: user.into(),
        groups: vec!["dev".into()],
        by: "password".into(),
        mark: Some("of now".into()),
        secret: hash,
    };
    let step = registry.registry.sign_in(new, registry.memory.ambient());
    let place = run(registry, step).0.expect("a session begins");
    let handle = SignInHandle { user: UserKey::of(user), place, secret: hash };
    assert_eq!(SignInHandle::read(&SignInHandle::text(&handle.user, place, &secret)), Some(handle.clone()));
    handle
}

fn find(registry: &mut InMemory, handle: &SignInHandle) -> Option<SignIn> {
    let step = registry.registry.signed_in(handle.clone(), registry.memory.ambient());
    let (found, asked) = run(registry, step);
    assert_eq!(asked, ["Get"], "it reads one record and writes nothing");
    found.expect("the storage works")
}

fn renew(registry: &mut InMemory, handle: &SignInHandle) -> Vec<&'static str> {
    let step = registry.registry.renew_sign_in(handle.clone(), registry.memory.ambient());
    let (renewed, asked) = run(registry, step);
    assert_eq!(renewed, Ok(()));
    asked
}

fn sign_out(registry: &mut InMemory, handle: &SignInHandle) -> bool {
    let step = registry.registry.sign_out(handle.clone(), registry.memory.ambient());
    run(registry, step).0.expect("the storage works")
}

fn keys(registry: &InMemory, prefix: &str) -> Vec<Key> {
    registry.memory.records.keys().filter(|key| key.as_str().starts_with(prefix)).cloned().collect()
}

fn collect(registry: &mut InMemory) -> orlop_core::Report {
    let step = registry.registry.gc(registry.memory.ambient());
    run(registry, step).0
}

/// SPEC AB8, AB14.
#[test]
fn a_session_is_found_until_it_is_ended() {
    let mut registry = registry();
    let alice = sign_in(&mut registry, "alice", 1);
    let found = find(&mut registry, &alice).expect("a session");
    assert_eq!((found.record.user.as_str(), &found.record.groups[..]), ("alice", &["dev".to_owned()][..]));
    assert_eq!((found.record.by.as_str(), found.record.mark.as_deref()), ("password", Some("of now")));
    assert_eq!(found.ends, registry.memory.now.after(HOUR * 12));
    assert!(sign_out(&mut registry, &alice));
    assert_eq!(find(&mut registry, &alice), None);
    assert!(!sign_out(&mut registry, &alice));
    assert!(keys(&registry, "signin/").is_empty());
}

/// SPEC AB14.
#[test]
fn a_session_that_is_used_goes_on_and_ends_after_seven_days() {
    let mut registry = registry();
    let (used, idle) = (sign_in(&mut registry, "alice", 1), sign_in(&mut registry, "alice", 2));
    let began = registry.memory.now;
    let mut hours: u32 = 0;
    while hours < 7 * 24 {
        let found = find(&mut registry, &used).expect("it is used");
        assert_eq!(found.renew, hours > 0, "once in a sixteenth");
        let expected: &[&str] = if found.renew { &["Get", "Eventual"] } else { &["Get"] };
        assert_eq!(renew(&mut registry, &used), expected);
        assert_eq!(renew(&mut registry, &used), ["Get"], "not again so soon");
        assert_eq!(find(&mut registry, &idle).is_some(), hours < 12, "{hours}");
        registry.memory.advance(HOUR);
        hours += 1;
    }
    assert_eq!(registry.memory.now, began.after(DAY * 7));
    assert_eq!(find(&mut registry, &used), None);
    assert_eq!(renew(&mut registry, &used), ["Get"], "what has ended does not go on");
    assert_eq!(find(&mut registry, &used), None);
}

/// SPEC AB15.
#[test]
fn the_records_have_a_hash_of_the_secret_and_nothing_else_opens_the_session() {
    let mut registry = registry();
    let alice = sign_in(&mut registry, "alice", 7);
    let key = &keys(&registry, "signin/")[0];
    assert!(is_copied(key), "it goes along when the registry is moved");
    let value = String::from_utf8_lossy(&registry.memory.records[key]).into_owned();
    assert!(!value.contains(&"07".repeat(32)) && value.contains(&String::from(alice.secret)), "{value}");
    let other = SignInHandle { secret: SecretHash::of(&[8; 32]), ..alice.clone() };
    let elsewhere = SignInHandle { place: 1, ..alice.clone() };
    let of_bob = SignInHandle { user: UserKey::of("bob"), ..alice.clone() };
    for handle in [other, elsewhere, of_bob] {
        assert_eq!(find(&mut registry, &handle), None, "{handle:?}");
        assert!(!sign_out(&mut registry, &handle));
    }
    assert!(find(&mut registry, &alice).is_some());
}

/// SPEC AB15.
#[test]
fn a_user_has_so_many_sessions_and_the_one_that_rested_longest_gives_way() {
    let mut registry = registry();
    let bob = sign_in(&mut registry, "bob", 200);
    let mut sessions = Vec::new();
    for number in 0..32 {
        sessions.push(sign_in(&mut registry, "alice", number));
        registry.memory.advance(HOUR / 60);
    }
    registry.memory.advance(HOUR);
    renew(&mut registry, &sessions[0]);
    let more = sign_in(&mut registry, "alice", 100);
    assert_eq!(find(&mut registry, &sessions[1]), None, "it has rested for longest");
    assert!(find(&mut registry, &sessions[0]).is_some() && find(&mut registry, &more).is_some());
    assert_eq!(keys(&registry, "signin/").len(), 33);
    registry.memory.advance(HOUR * 13);
    let last = sign_in(&mut registry, "alice", 101);
    assert!(find(&mut registry, &last).is_some());
    assert_eq!(keys(&registry, "signin/").len(), 33, "what has ended gives its place away");
    assert_eq!(find(&mut registry, &bob), None, "and has ended");
}

/// SPEC AB16.
#[test]
fn what_has_ended_is_collected_and_what_does_not_read_is_nobodys() {
    let mut registry = registry();
    let (alice, bob) = (sign_in(&mut registry, "alice", 1), sign_in(&mut registry, "bob", 2));
    registry.memory.advance(HOUR * 6);
    renew(&mut registry, &bob);
    registry.memory.advance(HOUR * 7);
    assert_eq!(collect(&mut registry).fault, None);
    assert_eq!((keys(&registry, "signin/").len(), find(&mut registry, &alice)), (1, None));
    let key = keys(&registry, "signin/")[0].clone();
    registry.memory.records.insert(key, "{".into());
    assert_eq!(find(&mut registry, &bob), None);
    assert_eq!(collect(&mut registry).records_damaged, 1);
    sign_in(&mut registry, "bob", 3);
}

fn wanted(user: &str, number: u8) -> NewApiToken {
    NewApiToken {
        user: user.into(),
        groups: Vec::new(),
        by: "password".into(),
        name: format!("token {number}"),
        repositories: vec!["team/*".into()],
        actions: vec![ApiAction::Push, ApiAction::Pull, ApiAction::Push],
        expires: None,
        secret: SecretHash::of(&[number; ApiTokenShown::SECRET]),
        proof: ApiTokenShown::proof(&[number; ApiTokenShown::SECRET]).again(),
    }
}

fn try_create(registry: &mut InMemory, new: NewApiToken) -> Result<ApiToken, Error> {
    let step = registry.registry.create_api_token(new, registry.memory.ambient());
    run(registry, step).0
}

fn create(registry: &mut InMemory, user: &str, number: u8) -> ApiToken {
    try_create(registry, wanted(user, number)).expect("a token is made")
}

fn show(registry: &mut InMemory, user: &str, token: &ApiToken, number: u8) -> Option<ApiToken> {
    let secret = [number; ApiTokenShown::SECRET];
    let shown = ApiTokenShown::read(&token.id.text(&secret)).expect("it reads");
    let step = registry.registry.shown_api_token(user.into(), shown, registry.memory.ambient());
    let (found, asked) = run(registry, step);
    assert_eq!(asked, ["Get"], "it reads one record and writes nothing");
    found.expect("the storage works")
}

fn list(registry: &mut InMemory, user: &str) -> Vec<ApiToken> {
    let step = registry.registry.api_tokens(user.into(), registry.memory.ambient());
    run(registry, step).0.expect("the storage works")
}

fn revoke(registry: &mut InMemory, id: &ApiTokenId) -> bool {
    let step = registry.registry.revoke_api_token(id.clone(), registry.memory.ambient());
    run(registry, step).0.expect("the storage works")
}

fn used(registry: &mut InMemory, ids: &[&ApiTokenId]) -> Vec<&'static str> {
    let ids = ids.iter().map(|id| (*id).clone()).collect();
    let step = registry.registry.note_api_tokens(ids, registry.memory.ambient());
    let (noted, asked) = run(registry, step);
    assert_eq!(noted, Ok(()));
    asked
}

/// SPEC AB20, AB21, AB22.
#[test]
fn a_token_is_known_by_its_secret_and_its_user_until_it_is_revoked() {
    let mut registry = registry();
    let token = create(&mut registry, "alice", 1);
    assert_eq!(token.record.actions, [ApiAction::Pull, ApiAction::Push]);
    assert_eq!(show(&mut registry, "alice", &token, 1), Some(token.clone()));
    assert_eq!(show(&mut registry, "alice", &token, 2), None);
    assert_eq!(show(&mut registry, "bob", &token, 1), None);
    let key = &keys(&registry, "token/")[0];
    assert!(is_copied(key));
    let value = String::from_utf8_lossy(&registry.memory.records[key]).into_owned();
    let proof = String::from(ApiTokenShown::proof(&[1; ApiTokenShown::SECRET]));
    assert!(!value.contains(&"01".repeat(24)) && !value.contains(&proof), "{value}");
    registry.memory.advance(HOUR);
    let second = create(&mut registry, "alice", 2);
    registry.memory.advance(HOUR);
    assert_eq!(list(&mut registry, "alice"), [token.clone(), second.clone()]);
    assert_eq!(list(&mut registry, "bob"), []);
    assert!(revoke(&mut registry, &token.id));
    assert_eq!(show(&mut registry, "alice", &token, 1), None);
    assert!(!revoke(&mut registry, &token.id));
    let third = create(&mut registry, "alice", 3);
    assert!(!revoke(&mut registry, &token.id), "what has its place now is another one");
    assert_eq!(list(&mut registry, "alice"), [second, third]);
}

/// SPEC AB24.
#[test]
fn the_actions_of_a_token_are_rights_in_its_repositories() {
    let mut registry = registry();
    let of = |registry: &mut InMemory, number, action| {
        let token = try_create(registry, NewApiToken { actions: vec![action], ..wanted("alice", number) });
        Rights::of([token.expect("a token").record.rule().into()])
    };
    let (app, below, other) = ("team/app".parse().unwrap(), "team/app/x".parse().unwrap(), "other".parse().unwrap());
    use Right::{CreateTag, Delete, List, OverwriteTag, Pull, Upload};
    for (number, action, allowed) in [
        (1, ApiAction::Pull, &[List, Pull] as &[Right]),
        (2, ApiAction::Push, &[Upload, CreateTag, OverwriteTag]),
        (3, ApiAction::Delete, &[Delete]),
    ] {
        let rights = of(&mut registry, number, action);
        for right in Right::ALL {
            assert_eq!(rights.may(right, &app), allowed.contains(&right), "{action:?} {right:?}");
            assert!(!rights.may(right, &below) && !rights.may(right, &other), "{action:?} {right:?}");
        }
    }
}

/// SPEC AB27.
#[test]
fn a_user_has_so_many_tokens_and_no_more() {
    let mut registry = registry();
    let first = create(&mut registry, "alice", 0);
    (1..100).for_each(|number| drop(create(&mut registry, "alice", number)));
    let refused = try_create(&mut registry, wanted("alice", 100));
    assert!(matches!(&refused, Err(Error::Denied(told)) if told.contains("100 API tokens")), "{refused:?}");
    create(&mut registry, "bob", 0);
    assert!(revoke(&mut registry, &first.id));
    create(&mut registry, "alice", 100);
    assert_eq!(list(&mut registry, "alice").len(), 100);
    let bad = try_create(&mut registry, NewApiToken { name: String::new(), ..wanted("carol", 1) });
    assert!(matches!(bad, Err(Error::Parameter { name: "name", .. })), "{bad:?}");
    let all = {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let step = registry.registry.all_api_tokens(after, registry.memory.ambient());
            let page = run(&mut registry, step).0.expect("the storage works");
            all.extend(page.tokens);
            after = page.after;
            if after.is_none() {
                break all;
            }
        }
    };
    assert_eq!(all.len(), 101);
}

/// SPEC AB34.
#[test]
fn that_a_token_is_used_is_written_down_once_an_hour() {
    let mut registry = registry();
    let (one, two) = (create(&mut registry, "alice", 1), create(&mut registry, "bob", 2));
    let when = |registry: &mut InMemory, user| list(registry, user)[0].record.used;
    assert_eq!(when(&mut registry, "alice"), None);
    assert_eq!(used(&mut registry, &[&one.id, &two.id, &one.id]), ["Get", "Eventual"], "all at once");
    let first: Timestamp = registry.memory.now;
    assert_eq!((when(&mut registry, "alice"), when(&mut registry, "bob")), (Some(first), Some(first)));
    registry.memory.advance(HOUR - Duration::from_secs(1));
    assert_eq!(used(&mut registry, &[&one.id]), ["Get"]);
    registry.memory.advance(Duration::from_secs(1));
    assert_eq!(used(&mut registry, &[&one.id]), ["Get", "Eventual"]);
    assert_eq!(when(&mut registry, "alice"), Some(registry.memory.now));
    assert!(revoke(&mut registry, &one.id));
    assert_eq!(used(&mut registry, &[&one.id]), ["Get"], "one that is gone stays so");
    let again = create(&mut registry, "alice", 3);
    assert_eq!(used(&mut registry, &[&one.id]), ["Get"], "and is not taken for the one in its place");
    assert_eq!(list(&mut registry, "alice"), [again]);
}

/// SPEC AB35.
#[test]
fn a_token_that_has_ended_opens_nothing_and_is_collected_later() {
    let mut registry = registry();
    let expires = Some(registry.memory.now.after(DAY));
    let token = try_create(&mut registry, NewApiToken { expires, ..wanted("alice", 1) }).expect("a token");
    let step = |registry: &mut InMemory| {
        let step = registry.registry.api_token(token.id.clone(), registry.memory.ambient());
        run(registry, step).0.expect("the storage works")
    };
    assert!(show(&mut registry, "alice", &token, 1).is_some() && step(&mut registry).is_some());
    registry.memory.advance(DAY);
    assert!(show(&mut registry, "alice", &token, 1).is_none() && step(&mut registry).is_none());
    registry.memory.advance(DAY * 30);
    assert_eq!(collect(&mut registry).fault, None);
    assert_eq!(list(&mut registry, "alice").len(), 1, "who wonders finds it");
    registry.memory.advance(HOUR);
    collect(&mut registry);
    assert_eq!(list(&mut registry, "alice"), []);
}

/// SPEC AB35: who makes another one needs its place.
#[test]
fn a_token_that_has_ended_gives_its_place_away() {
    let mut registry = InMemory::new(Config { api_tokens: 1, ..Config::default() });
    let expires = Some(registry.memory.now.after(DAY));
    try_create(&mut registry, NewApiToken { expires, ..wanted("alice", 1) }).expect("a token");
    assert!(try_create(&mut registry, wanted("alice", 2)).is_err());
    registry.memory.advance(DAY);
    let second = create(&mut registry, "alice", 2);
    assert_eq!(list(&mut registry, "alice"), [second]);
}

/// SPEC AB1: a host that knows no users has neither.
#[test]
fn a_host_without_users_has_no_such_endpoints() {
    let mut registry = registry();
    for (method, target) in [
        ("GET", "/api/v1/session"),
        ("POST", "/api/v1/session"),
        ("DELETE", "/api/v1/session"),
        ("GET", "/api/v1/tokens"),
        ("POST", "/api/v1/tokens"),
        ("DELETE", "/api/v1/tokens/x"),
    ] {
        registry.call(request(method, target)).refused(404, "UNSUPPORTED");
    }
    registry.call(request("PUT", "/api/v1/session")).refused(405, "UNSUPPORTED");
}
