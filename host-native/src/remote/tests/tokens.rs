//! Logging in: by a password, by tokens, by the login of whoever asks.

use super::*;
use crate::remote::Login;

/// A registry with a token server of its own, which grants `user` or `anonymous` and a number.
async fn with_tokens(expires_in: u64, good: impl Fn(&str) -> bool + Send + Sync + 'static) -> Scripted {
    let granted = Mutex::new(0);
    Scripted::start(move |asked| {
        if let Some(query) = asked.line.strip_prefix("GET /token?") {
            let mut granted = granted.lock().unwrap();
            *granted += 1;
            let who = match asked.authorization.as_str() {
                "" => "anonymous",
                "Basic Y2k6c2VjcmV0" => "ci",
                "Basic YTpi" => "a",
                _ => return says(401, &[], r#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong\npassword"}]}"#),
            };
            assert!(query.starts_with("service=s&scope=repository%3Aa%3Apull"), "{query}");
            return says(200, &[], format!(r#"{{"access_token":"{who}{granted}","expires_in":{expires_in}}}"#));
        }
        match asked.authorization.strip_prefix("Bearer ") {
            Some(token) if good(token) => says(200, &[], token.to_owned()),
            _ => {
                let host = asked.headers["host"].to_str().unwrap();
                let scope = "scope=\"repository:other:pull,push\"";
                challenged(&format!("Bearer realm=\"http://{host}/token\",service=\"s\",{scope}"))
            }
        }
    })
    .await
}

async fn of(remote: &Remote, login: Login) -> Result<String, Failure> {
    let get = Get { repository: "a", resource: "blobs/x", login: Some(login), ..Get::default() };
    let bytes = remote.get(get).await?.body.collect_within(100).await?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

fn basic(username: &str, password: &str) -> Login {
    Login::Basic { username: username.into(), password: password.into() }
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_sent_at_once_from_then_on() {
    let registry = with_tokens(300, |_| true).await;
    let remote = registry.remote();
    for _ in 0..3 {
        assert_eq!(text(&remote).await, Ok("anonymous1".into()));
    }
    let token = "GET /token?service=s&scope=repository%3Aa%3Apull";
    let get = "GET /v2/a/blobs/x";
    assert_eq!(registry.lines(), [get, token, get, get, get]);
    // Many at once ask for one token.
    let other = registry.remote();
    let all = futures_util::future::join_all((0..8).map(|_| text(&other))).await;
    assert!(all.iter().all(|text| *text == Ok("anonymous2".into())), "{all:?}");
}

#[tokio::test]
async fn a_token_that_has_ended_is_replaced() {
    let registry = with_tokens(0, |_| true).await;
    let remote = Remote::open(&registry.with_login()).unwrap();
    for n in 1..=3 {
        assert_eq!(text(&remote).await, Ok(format!("ci{n}")));
    }
    // One that ended before its time.
    let registry = with_tokens(300, |token| token == "ci2").await;
    let remote = Remote::open(&registry.with_login()).unwrap();
    assert!(matches!(text(&remote).await, Err(Failure::LoginRefused(_))));
    assert_eq!(text(&remote).await, Ok("ci2".into()));
}

#[tokio::test]
async fn the_login_of_whoever_asks_stays_theirs() {
    let registry = with_tokens(300, |token| token != "a-token-nobody-gave").await;
    let remote = Remote::open(&registry.with_login()).unwrap();
    assert_eq!(text(&remote).await, Ok("ci1".into()));
    assert_eq!(of(&remote, basic("a", "b")).await, Ok("a2".into()));
    assert_eq!(of(&remote, basic("a", "b")).await, Ok("a2".into()));
    assert_eq!(text(&remote).await, Ok("ci1".into()));
    let refused = of(&remote, basic("a", "wrong")).await;
    let Err(Failure::LoginRefused(told)) = refused else { panic!("{refused:?}") };
    assert!(told.ends_with("answers 401 to /token: UNAUTHORIZED: wrong password"), "{told}");
    // A token is sent as it is, and exchanged for no other.
    let before = registry.asked().len();
    assert_eq!(of(&remote, Login::Bearer("mine".into())).await, Ok("mine".into()));
    assert!(matches!(of(&remote, Login::Bearer("a-token-nobody-gave".into())).await, Err(Failure::LoginRefused(_))));
    assert_eq!(registry.asked().len(), before + 2);
}

#[tokio::test]
async fn a_login_that_is_refused_is_told_apart_from_one_that_is_missing() {
    let registry = Scripted::start(|_| challenged("Basic realm=\"x\"")).await;
    let denied = blob(&registry.remote()).await.err();
    assert!(matches!(&denied, Some(Failure::Denied(told)) if told.contains("no login is configured")), "{denied:?}");
    let remote = Remote::open(&registry.with_login()).unwrap();
    for _ in 0..2 {
        let refused = blob(&remote).await.err();
        assert!(
            matches!(&refused, Some(Failure::LoginRefused(told)) if told.contains("logged in as ci")),
            "{refused:?}"
        );
    }
    assert_eq!(registry.asked().len(), 4, "a password that is refused is sent once a request");
    let forbids = Scripted::start(|_| says(403, &[], r#"{"errors":[{"code":"DENIED"}]}"#)).await;
    let denied = blob(&forbids.remote()).await.err();
    let expected = Failure::Denied("127.0.0.1 answers 403 to /v2/a/blobs/x: DENIED".into());
    assert_eq!(denied, Some(expected));
}

#[tokio::test]
async fn an_identity_token_is_posted_to_the_token_server() {
    let registry = Scripted::start(|asked| match asked.line.as_str() {
        "POST /token" => says(200, &[], r#"{"access_token":"t","refresh_token":"other"}"#),
        _ if asked.authorization == "Bearer t" => says(200, &[], "bytes"),
        _ => {
            let host = asked.headers["host"].to_str().unwrap();
            challenged(&format!("Bearer realm=\"http://{host}/token\",service=\"s\""))
        }
    })
    .await;
    let login = LoginSetting::IdentityToken("r&t".into());
    assert_eq!(text(&Remote::open(&RemoteSetting { login, ..registry.setting() }).unwrap()).await, Ok("bytes".into()));
    let form = "grant_type=refresh_token&refresh_token=r%26t&client_id=orlop&scope=repository%3Aa%3Apull&service=s";
    let posted = &registry.asked()[1];
    assert_eq!((posted.body.as_ref(), posted.authorization.as_str()), (form.as_bytes(), ""));
}

#[tokio::test]
async fn a_token_server_that_answers_something_else_is_told() {
    for (body, expected) in [
        ("no JSON", "with no token: it is no JSON of the form"),
        ("{}", "with no token: `token` is missing"),
        (r#"{"token":""}"#, "with no token: `token` is missing"),
        (r#"{"token":"a\nb"}"#, "gives a token that cannot be sent"),
    ] {
        let registry = Scripted::start(move |asked| match asked.line.starts_with("GET /token") {
            true => says(200, &[], body),
            false => challenged(&format!("Bearer realm=\"http://{}/token\"", asked.headers["host"].to_str().unwrap())),
        })
        .await;
        let told = fails(&registry.remote()).await;
        assert!(told.ends_with(expected), "{body}: {told}");
    }
    let large = "x".repeat(300 << 10);
    let registry = Scripted::start(move |asked| match asked.line.starts_with("GET /token") {
        true => says(200, &[], large.clone()),
        false => challenged(&format!("Bearer realm=\"http://{}/token\"", asked.headers["host"].to_str().unwrap())),
    })
    .await;
    assert!(fails(&registry.remote()).await.contains("answers with more than 262144 bytes"));
}

#[tokio::test]
async fn a_token_server_that_is_asked_too_often_pauses_all_but_other_logins() {
    let registry = Scripted::start(|asked| match asked.line.starts_with("GET /token") {
        true => says(429, &[("retry-after", "60")], ""),
        false => challenged(&format!("Bearer realm=\"http://{}/token\"", asked.headers["host"].to_str().unwrap())),
    })
    .await;
    let remote = Remote::open(&registry.with_login()).unwrap();
    assert!(matches!(of(&remote, basic("a", "b")).await, Err(Failure::Paused(_))));
    assert!(matches!(text(&remote).await, Err(Failure::Paused(_))));
    let before = registry.asked().len();
    assert!(matches!(text(&remote).await, Err(Failure::Paused(_))));
    assert_eq!((before, registry.asked().len()), (4, 4));
}
