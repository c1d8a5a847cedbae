//! Scenarios of those who sign in: sessions of the web page, and API tokens. A user has two places for each.

use std::fmt::Debug;
use std::time::Duration;

use orlop_core::ambient::Timestamp;
use orlop_core::api_token::{ApiAction, ApiTokenId, ApiTokenRecord, NewApiToken};
use orlop_core::keys::Key;
use orlop_core::secret::{SecretHash, UserKey};
use orlop_core::sign_in::{NewSignIn, SignInHandle};
use orlop_core::{Ambient, Config, Error, Registry, Response, Step};

use super::LAYER;
use crate::explore::sample::push_blob;
use crate::explore::scenario::{Call, HOUR, Scenario, told};

/// Who signs in.
const USER: &str = "alice";

/// How long a session lasts that nobody uses: one that was used an hour ago is not renewed, one of three hours ago is.
const IDLE: Duration = Duration::from_secs(32 * 3600);

/// A session with the secret of that number.
fn new_sign_in(number: u8) -> NewSignIn {
    let secret = SecretHash::of(&[number; SignInHandle::SECRET]);
    NewSignIn { user: USER.into(), groups: Vec::new(), by: "password".into(), mark: None, secret }
}

/// A token with the secret of that number, which ends so long from now.
fn new_token(number: u8, lasts: Option<Duration>, now: Timestamp) -> NewApiToken {
    NewApiToken {
        user: USER.into(),
        groups: Vec::new(),
        by: "password".into(),
        name: format!("token {number}"),
        repositories: vec!["**".into()],
        actions: vec![ApiAction::Pull],
        expires: lasts.map(|lasts| now.after(lasts)),
        secret: SecretHash::of(&[number]),
        proof: SecretHash::of(&[number, number]),
    }
}

/// What is done for a user.
#[derive(Clone, Debug)]
pub enum Act {
    /// Somebody signs in, with the secret of that number.
    SignIn(u8),
    /// It is written down that a session is used.
    RenewSignIn(SignInHandle),
    /// Somebody signs out.
    SignOut(SignInHandle),
    /// A user makes an API token with the secret of that number, which ends after so long.
    CreateToken(u8, Option<Duration>),
    /// It is noted that a token was used.
    UseToken(ApiTokenId),
    /// A token is revoked.
    RevokeToken(ApiTokenId),
}

impl Act {
    /// Begins it.
    pub(in crate::explore) fn begin(&self, registry: &Registry, ambient: Ambient) -> Step {
        match self {
            Self::SignIn(number) => registry.sign_in(new_sign_in(*number), ambient).map(answered),
            Self::RenewSignIn(handle) => registry.renew_sign_in(handle.clone(), ambient).map(answered),
            Self::SignOut(handle) => registry.sign_out(handle.clone(), ambient).map(answered),
            Self::CreateToken(number, lasts) => {
                registry.create_api_token(new_token(*number, *lasts, ambient.now), ambient).map(answered)
            }
            Self::UseToken(id) => registry.note_api_tokens(vec![id.clone()], ambient).map(answered),
            Self::RevokeToken(id) => registry.revoke_api_token(id.clone(), ambient).map(answered),
        }
    }
}

fn answered<T: Debug>(result: Result<T, Error>) -> Response {
    result.map_or_else(Response::from, |result| told(Ok(result)))
}

fn of(act: Act) -> Call {
    Call::User(act)
}

fn new(name: &str) -> Scenario {
    let config = Config { sign_ins: 2, api_tokens: 2, sign_in_idle: IDLE, ..Config::default() };
    Scenario::new(name, config)
}

/// The session with the secret of that number, wherever it is.
fn session(scenario: &Scenario, number: u8) -> SignInHandle {
    let secret = new_sign_in(number).secret;
    let user = UserKey::of(USER);
    let is = |place: &u8| {
        let record = scenario.before.records.get(&Key::stored(format!("signin/{user}/{place:02x}")));
        record.is_some_and(|record| {
            let hash = String::from(secret);
            record.windows(hash.len()).any(|window| window == hash.as_bytes())
        })
    };
    let place = (0..2).find(is).expect("the session is there");
    SignInHandle { user, place, secret }
}

/// The token with the secret of that number.
fn token(scenario: &mut Scenario, number: u8) -> ApiTokenId {
    let step = scenario.registry.api_tokens(USER.into(), scenario.before.ambient());
    let tokens = scenario.before.run(step, &orlop_core::memory::RequestBody::default()).expect("tokens are listed");
    let of = |record: &ApiTokenRecord| record.name == format!("token {number}");
    tokens.into_iter().find(|token| of(&token.record)).expect("the token is there").id
}

/// Sessions begin, are used, and end.
pub fn sign_ins() -> Vec<Scenario> {
    let one = |name: &str| new(name).given(&of(Act::SignIn(1)));
    let two = |name: &str| one(name).later(HOUR).given(&of(Act::SignIn(2)));
    let with = |scenario: Scenario, calls: &dyn Fn(SignInHandle) -> Vec<Call>| {
        let first = session(&scenario, 1);
        scenario.at_once(calls(first))
    };
    let config = new("").config;
    vec![
        new("sign in × sign in").at_once([of(Act::SignIn(1)), of(Act::SignIn(2))]),
        one("sign in × sign in, one place is left").at_once([of(Act::SignIn(3)), of(Act::SignIn(4))]),
        two("sign in × sign in, no place is left").at_once([of(Act::SignIn(3)), of(Act::SignIn(4))]),
        with(two("sign in × sign out, no place is left"), &|s| vec![of(Act::SignIn(3)), of(Act::SignOut(s))]),
        with(two("sign in × renew, no place is left").later(HOUR * 3), &|s| {
            vec![of(Act::SignIn(3)), of(Act::RenewSignIn(s))]
        }),
        with(one("renew × sign out").later(HOUR * 3), &|s| vec![of(Act::RenewSignIn(s.clone())), of(Act::SignOut(s))]),
        with(one("renew × renew, on two hosts").later(HOUR * 3).with_other(config.clone()), &|s| {
            vec![of(Act::RenewSignIn(s.clone())), of(Act::RenewSignIn(s))]
        }),
        with(one("renew × sign out, on two hosts").later(HOUR * 3).with_other(config), &|s| {
            vec![of(Act::RenewSignIn(s.clone())), of(Act::SignOut(s))]
        }),
        with(one("sign out × sign out"), &|s| vec![of(Act::SignOut(s.clone())), of(Act::SignOut(s))]),
        with(one("renew × gc of a session that has ended").later(IDLE), &|s| vec![of(Act::RenewSignIn(s)), Call::Gc]),
        two("sign in × gc of sessions that have ended").later(IDLE).at_once([of(Act::SignIn(3)), Call::Gc]),
        with(one("renew × sign out × gc").later(HOUR * 3), &|s| {
            vec![of(Act::RenewSignIn(s.clone())), of(Act::SignOut(s)), Call::Gc]
        }),
        new("sign in × push blob").at_once([of(Act::SignIn(1)), push_blob("a", LAYER)]),
    ]
}

/// API tokens are made, used and revoked.
pub fn api_tokens() -> Vec<Scenario> {
    let month = HOUR * 24 * 30;
    let one = |name: &str| new(name).given(&of(Act::CreateToken(1, Some(HOUR * 2))));
    let two = |name: &str| one(name).given(&of(Act::CreateToken(2, None)));
    let with = |mut scenario: Scenario, calls: &dyn Fn(ApiTokenId) -> Vec<Call>| {
        let first = token(&mut scenario, 1);
        scenario.at_once(calls(first))
    };
    let config = new("").config;
    vec![
        new("make a token × make one").at_once([of(Act::CreateToken(1, None)), of(Act::CreateToken(2, None))]),
        one("make a token × make one, one place is left")
            .at_once([of(Act::CreateToken(3, None)), of(Act::CreateToken(4, None))]),
        with(two("make a token × revoke one, no place is left"), &|id| {
            vec![of(Act::CreateToken(3, None)), of(Act::RevokeToken(id))]
        }),
        with(two("make a token in the place of an ended one × revoke that").later(HOUR * 3), &|id| {
            vec![of(Act::CreateToken(3, None)), of(Act::RevokeToken(id))]
        }),
        with(two("make a token in the place of an ended one × use that").later(HOUR * 3), &|id| {
            vec![of(Act::CreateToken(3, None)), of(Act::UseToken(id))]
        }),
        with(one("use a token × revoke it"), &|id| vec![of(Act::UseToken(id.clone())), of(Act::RevokeToken(id))]),
        with(one("use a token × use it, on two hosts").with_other(config.clone()), &|id| {
            vec![of(Act::UseToken(id.clone())), of(Act::UseToken(id))]
        }),
        with(one("use a token × revoke it, on two hosts").with_other(config), &|id| {
            vec![of(Act::UseToken(id.clone())), of(Act::RevokeToken(id))]
        }),
        with(one("revoke a token × revoke it"), &|id| {
            vec![of(Act::RevokeToken(id.clone())), of(Act::RevokeToken(id))]
        }),
        with(one("use a token × gc of tokens that have ended").later(month + HOUR * 3), &|id| {
            vec![of(Act::UseToken(id)), Call::Gc]
        }),
        two("make a token × gc of tokens that have ended")
            .later(month + HOUR * 3)
            .at_once([of(Act::CreateToken(3, None)), Call::Gc]),
        with(one("use a token × revoke it × make one"), &|id| {
            vec![of(Act::UseToken(id.clone())), of(Act::RevokeToken(id)), of(Act::CreateToken(2, None))]
        }),
    ]
}
