//! Who is told what, and where a registry may lead. Each of these fails when its check is taken out.

use super::*;

const BASIC: &str = "Basic realm=\"x\"";
const CI: &str = "Basic Y2k6c2VjcmV0";

#[tokio::test]
async fn a_password_goes_to_the_registry_alone_and_not_where_it_redirects() {
    for other_port in [false, true] {
        let address = if other_port { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ELSEWHERE };
        let storage = Scripted::at(address, None, |_| says(200, &[], "bytes")).await;
        let to = format!("{}/bytes", storage.url);
        let registry = Scripted::start(move |asked| match asked.authorization.as_str() {
            "" => challenged(BASIC),
            _ => redirect(&to),
        })
        .await;
        let remote = Remote::open(&registry.with_login()).unwrap();
        // The second time the password is sent at once.
        for _ in 0..2 {
            assert_eq!(text(&remote).await, Ok("bytes".into()));
        }
        assert_eq!(registry.asked().iter().map(|asked| asked.authorization.as_str()).collect::<Vec<_>>(), ["", CI, CI]);
        assert_eq!(storage.asked().len(), 2);
        assert!(storage.asked().iter().all(|asked| asked.authorization.is_empty()), "{:?}", storage.asked());
    }
}

#[tokio::test]
async fn a_token_is_not_sent_on_either_nor_when_the_way_leads_back() {
    let back: Arc<Mutex<String>> = Arc::default();
    let to = back.clone();
    let storage = Scripted::at(ELSEWHERE, None, move |_| redirect(&to.lock().unwrap())).await;
    let away = format!("{}/away", storage.url);
    let registry = Scripted::start(move |asked| match asked.line.as_str() {
        "GET /token?scope=repository%3Aa%3Apull" => says(200, &[], r#"{"token":"t"}"#),
        "GET /back" => says(200, &[], "back"),
        _ if asked.authorization.is_empty() => {
            challenged(&format!("Bearer realm=\"http://{}/token\"", asked.headers["host"].to_str().unwrap()))
        }
        _ => redirect(&away),
    })
    .await;
    *back.lock().unwrap() = format!("{}/back", registry.url);
    assert_eq!(text(&registry.remote()).await, Ok("back".into()));
    let told: Vec<_> = registry.asked().into_iter().map(|asked| (asked.line, asked.authorization)).collect();
    let told: Vec<_> = told.iter().map(|(line, authorization)| (line.as_str(), authorization.as_str())).collect();
    assert_eq!(told[2..], [("GET /v2/a/blobs/x", "Bearer t"), ("GET /back", "")]);
    assert!(storage.asked().iter().all(|asked| asked.authorization.is_empty()));
}

#[tokio::test]
async fn another_host_that_asks_for_a_login_gets_none() {
    let storage = Scripted::at(ELSEWHERE, None, |_| challenged(BASIC)).await;
    let to = storage.url.clone();
    let registry = Scripted::start(move |_| redirect(&to)).await;
    let remote = Remote::open(&registry.with_login()).unwrap();
    assert_eq!(fails(&remote).await, "127.0.0.2 answers 401 to what it was redirected to");
    assert_eq!(storage.asked().len(), 1);
}

/// CVE-2026-33540.
#[tokio::test]
async fn a_token_server_elsewhere_is_not_asked_unless_it_is_configured() {
    let realm = Scripted::at(ELSEWHERE, None, |_| says(200, &[], r#"{"token":"t"}"#)).await;
    let challenge = format!("Bearer realm=\"{}/token\",service=\"s\"", realm.url);
    let registry = Scripted::start(move |asked| match asked.authorization.as_str() {
        "Bearer t" => says(200, &[], "bytes"),
        _ => challenged(&challenge),
    })
    .await;
    for setting in [registry.setting(), registry.with_login()] {
        let told = fails(&Remote::open(&setting).unwrap()).await;
        let expected =
            "127.0.0.1 wants a token of 127.0.0.2, which is not its own host: if that is right, add 127.0.0.2 to";
        assert!(told.starts_with(expected), "{told}");
    }
    let other = RemoteSetting { realms: vec!["127.0.0.2:1".into()], ..registry.with_login() };
    assert!(fails(&Remote::open(&other).unwrap()).await.contains("not its own host"));
    assert_eq!(realm.lines(), Vec::<String>::new(), "nothing may have been sent there");
    let trusted = RemoteSetting { realms: vec!["127.0.0.2".into()], ..registry.with_login() };
    assert_eq!(text(&Remote::open(&trusted).unwrap()).await, Ok("bytes".into()));
    assert_eq!(realm.asked()[0].authorization, CI);
}

#[tokio::test]
async fn a_registry_leads_to_no_private_address_that_was_not_named() {
    let storage = Scripted::at(IpAddr::V4(Ipv4Addr::UNSPECIFIED), None, |_| says(200, &[], "bytes")).await;
    let to: Arc<Mutex<String>> = Arc::default();
    let target = to.clone();
    // It has a private address itself, and another port of its host is another service.
    let registry = Scripted::start(move |_| redirect(&target.lock().unwrap())).await;
    let with = |redirects: &[&str], allow_private| {
        let redirects = redirects.iter().map(ToString::to_string).collect();
        Remote::open(&RemoteSetting { redirects, allow_private, ..registry.setting() }).unwrap()
    };
    let (strict, allowed) = (with(&[], false), with(&[], true));
    // By address, by the address as a number, by a name that resolves to it.
    for host in ["127.0.0.1", "127.0.0.2", "2130706434", "0x7f.0.0.2", "[::ffff:127.0.0.2]", "localhost"] {
        *to.lock().unwrap() = format!("http://{host}:{}/bytes", storage.port());
        let told = fails(&strict).await;
        assert!(told.contains("has the private address") && told.ends_with("to its redirects"), "{host}: {told}");
        assert_eq!(storage.asked().len(), 0, "{host}");
        assert_eq!(text(&allowed).await, Ok("bytes".into()), "{host}");
        storage.asked.lock().unwrap().clear();
    }
    *to.lock().unwrap() = format!("http://localhost:{}/bytes", storage.port());
    for named in ["localhost".to_owned(), format!("localhost:{}", storage.port())] {
        assert_eq!(text(&with(&[&named], false)).await, Ok("bytes".into()), "{named}");
    }
    for named in ["localhost:1", "127.0.0.1", "storage.example.com"] {
        assert!(fails(&with(&[named], false)).await.contains("has the private address"), "{named}");
    }
    *to.lock().unwrap() = "http://169.254.169.254/latest/meta-data".into();
    assert!(fails(&allowed).await.contains("has the private address 169.254.169.254"));
}

#[tokio::test]
async fn a_token_server_on_the_host_of_a_registry_is_asked_and_not_redirected_to() {
    let realm = Scripted::start(|_| says(200, &[], r#"{"token":"t"}"#)).await;
    let challenge = format!("Bearer realm=\"{}/token\"", realm.url);
    let to = realm.url.clone();
    let registry = Scripted::start(move |asked| match asked.authorization.as_str() {
        "" => challenged(&challenge),
        _ => redirect(&to),
    })
    .await;
    let remote = Remote::open(&RemoteSetting { allow_private: false, ..registry.setting() }).unwrap();
    assert!(fails(&remote).await.contains("has the private address 127.0.0.1"));
    assert_eq!(realm.lines(), ["GET /token?scope=repository%3Aa%3Apull"]);
}

#[tokio::test]
async fn no_redirect_leads_out_of_encryption_and_no_other_certificate_is_taken() {
    let directory = tempfile::TempDir::new().unwrap();
    let (tls, ca) = certificate(directory.path());
    let plain = Scripted::start(|_| says(200, &[], "bytes")).await;
    let encrypted = Scripted::at(ELSEWHERE, Some(tls.clone()), |_| says(200, &[], "bytes")).await;
    let to = Arc::new(Mutex::new(plain.url.clone()));
    let target = to.clone();
    let registry =
        Scripted::at(IpAddr::V4(Ipv4Addr::LOCALHOST), Some(tls), move |_| redirect(&target.lock().unwrap())).await;
    let remote = Remote::open(&RemoteSetting { ca: Some(ca), ..registry.setting() }).unwrap();
    assert_eq!(fails(&remote).await, "127.0.0.1 redirects from https to http, which is not followed");
    assert_eq!(plain.asked().len(), 0);
    to.lock().unwrap().clone_from(&encrypted.url);
    assert_eq!(text(&remote).await, Ok("bytes".into()));
    match blob(&registry.remote()).await {
        Err(Failure::Unreachable(told)) => assert!(told.contains("certificate"), "{told}"),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn redirects_end() {
    let registry = Scripted::start(|asked| match asked.line.as_str() {
        "GET /v2/a/blobs/x" => redirect("/0"),
        line => redirect(&format!("/{}", line[5..].parse::<usize>().unwrap() + 1)),
    })
    .await;
    assert_eq!(fails(&registry.remote()).await, format!("127.0.0.1:{} redirects more than 10 times", registry.port()));
    assert_eq!(registry.asked().len(), 11);
    for (to, expected) in [
        ("file:///etc/passwd", "to what is neither http nor https"),
        ("http://user@127.0.0.1/", "to what is no URL of a file"),
        ("http://", "to what is no URL"),
    ] {
        let registry = Scripted::start(move |_| redirect(to)).await;
        assert_eq!(fails(&registry.remote()).await, format!("127.0.0.1 redirects {expected}"), "{to}");
    }
    let nowhere = Scripted::start(|_| says(302, &[], "")).await;
    assert!(fails(&nowhere.remote()).await.contains("it sends no Location"));
}

#[tokio::test]
async fn a_path_is_asked_for_as_it_is_or_not_at_all() {
    let registry = Scripted::start(|_| says(200, &[], "")).await;
    let remote = registry.remote();
    for (repository, resource) in
        [("a", "../b"), ("a/../b", "x"), ("a", "%2e%2e/b"), ("a", "b#c"), ("a\\b", "x"), ("a", "b\nc")]
    {
        let failed = remote.get(Get { repository, resource, ..Get::default() }).await.err();
        assert!(matches!(failed, Some(Failure::Unusable(_))), "{repository} {resource}: {failed:?}");
    }
    assert_eq!(registry.asked().len(), 0);
}
