//! Who logs in where: the login of an upstream goes to that upstream alone, that of a client goes no further than the
//! mirror, and of what a client may not see it learns nothing.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::client::accepted;
use crate::proxy::{Fault, Proxy};
use crate::scene::{Scene, scratch};
use crate::server::{PATIENCE, add_user};

/// The mirror's login at the upstream.
const NAME: &str = "robot";
const PASSWORD: &str = "upstream-secret";

/// The user NAME alone may pull from the upstream.
const LOCKED: &str = "
[[rule]]
who = [\"anonymous\"]
allow = [\"push\"]
repositories = [\"**\"]
[[rule]]
who = [\"user:robot\"]
allow = [\"pull\"]
repositories = [\"**\"]
";

/// An upstream that wants a login, which the mirror has with this password.
async fn locked(password: &str, settings: &str) -> Scene {
    locked_in(scratch(), password, settings).await
}

async fn locked_in(directory: TempDir, password: &str, settings: &str) -> Scene {
    let [users, file] = ["upstream-users", "upstream-password"].map(|name| directory.path().join(name));
    add_user(&users, NAME, PASSWORD);
    std::fs::write(&file, format!("{password}\n")).expect("a file");
    let login = format!("username = \"{NAME}\"\npassword-file = {file:?}\n{settings}");
    Scene::on(directory, &login, &format!("auth-htpasswd = {users:?}\n{LOCKED}")).await
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_logs_in_where_its_clients_need_not() {
    let scene = locked(PASSWORD, "").await;
    let image = scene.push("app", "v1", 100_000).await;
    scene.pull("app", "v1", &image).await;
    assert!(scene.proxy.seen("/v2/app/").iter().any(|seen| !seen.field("authorization").is_empty()));
    assert!(!scene.mirror.log().contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_the_upstream_refuses_is_told_and_not_tried_for_ever() {
    let scene = locked("old-secret", "").await;
    scene.push("app", "v1", 1000).await;
    scene.manifest("app", "v1").await.is_refused(502);
    assert!(scene.proxy.lines().len() <= 4, "{:?}", scene.proxy.lines());
    scene.mirror.logs(&scene.proxy.address).await;
    let log = scene.mirror.log();
    assert!(log.contains(NAME) && !log.contains("old-secret"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_in_the_file_is_used() {
    let scene = locked("old-secret", "").await;
    let image = scene.push("app", "v1", 1000).await;
    scene.manifest("app", "v1").await.is_refused(502);
    std::fs::write(scene.path("upstream-password"), format!("{PASSWORD}\n")).expect("a file");
    let began = Instant::now();
    while scene.manifest("app", "v1").await.status != 200 {
        assert!(began.elapsed() < PATIENCE, "the file is not read again:\n{}", scene.mirror.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    scene.pull("app", "v1", &image).await;
}

/// A client's own login is for the mirror, or a mistake: docker sends that of Docker Hub to each of its mirrors.
#[tokio::test(flavor = "multi_thread")]
async fn the_login_of_a_client_goes_no_further() {
    let scene = Scene::new("host = [\"mirror.example.com\"]").await;
    let image = scene.push("app", "v1", 1000).await;
    let login = basic("hub-user", "hub-secret");
    for _ in 0..100 {
        let fields = [("authorization", login.as_str()), ("host", "mirror.example.com")];
        let manifest = scene.mirror.ask("GET", "/v2/app/manifests/v1", &fields).await;
        manifest.is(&image.manifest.bytes());
    }
    let told = scene.proxy.seen("").iter().filter(|seen| !seen.field("authorization").is_empty()).count();
    assert_eq!(told, 0, "requests with a login reached the upstream");
    let log = scene.mirror.log();
    assert!(!log.contains("hub-secret") && !log.contains(&login), "{log}");
}

/// The same where the mirror knows users, and the client of Docker Hub is none of them: no wrong login is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_the_upstream_that_docker_sends_is_no_wrong_login() {
    let directory = scratch();
    let users = directory.path().join("users");
    add_user(&users, "alice", "alice-secret");
    let rules = format!(
        "host = [\"mirror.example.com\"]\n[auth]\nhtpasswd = {users:?}\n[[rule]]\nwho = [\"anybody\"]\nallow = \
         [\"pull\"]\nrepositories = [\"hub/**\"]\n"
    );
    let scene = Scene::on(directory, &rules, "").await;
    let image = scene.push("app", "v1", 1000).await;
    let login = basic("hub-user", "hub-secret");
    for _ in 0..100 {
        let fields = [("authorization", login.as_str()), ("host", "mirror.example.com")];
        scene.mirror.ask("GET", "/v2/app/manifests/v1", &fields).await.is(&image.manifest.bytes());
    }
    assert!(!scene.mirror.log().contains("hub-secret"));
}

/// CVE-2026-33540 of another registry: an upstream, or whoever answers for it, names a token server of its choice.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_on_another_host_gets_no_password() {
    let scene = locked(PASSWORD, "fresh = \"never\"").await;
    let image = scene.push("app", "v1", 1000).await;
    scene.pull("app", "v1", &image).await;
    scene.push("other", "v1", 1000).await;
    let elsewhere = Proxy::to(&scene.upstream.address).await;
    scene.proxy.fails("", Fault::challenge(&format!("http://{}/token", elsewhere.by_name())));
    scene.manifest("other", "v1").await.is_refused(502);
    scene.pull("app", "v1", &image).await;
    assert_eq!(elsewhere.lines(), [""; 0]);
    scene.mirror.logs("localhost").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_another_host_is_followed_without_the_login() {
    let scene = locked(PASSWORD, "redirects = \"localhost\"").await;
    let image = scene.push("app", "v1", 100_000).await;
    scene.manifest("app", "v1").await.is(&image.manifest.bytes());
    // Like an object store: whoever has the address may read.
    let open = Scene::new("").await;
    open.upstream.push("app", "v1", &image.manifest).await;
    let store = Proxy::to(&open.upstream.address).await;
    scene.proxy.fails("GET /v2/app/blobs/", Fault::Redirect(format!("http://{}", store.by_name())));
    scene.blob("app", &image.layer()).await.is(image.content());
    let followed = store.seen("GET /v2/app/blobs/");
    assert!(!followed.is_empty() && followed.iter().all(|seen| seen.field("authorization").is_empty()));
}

/// That a registry stands in a private network opens neither its neighbours nor what else runs on its host; and where
/// clouds give out credentials is no private address that may be allowed as one of many.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_a_private_address_that_was_not_named_is_not_followed() {
    for named in [false, true] {
        let scene = Scene::new("").await;
        let image = scene.push("app", "v1", 1000).await;
        scene.manifest("app", "v1").await.is(&image.manifest.bytes());
        let other = Proxy::to(&scene.upstream.address).await;
        let host = if named { other.by_name() } else { other.address.clone() };
        scene.proxy.fails("GET /v2/app/blobs/", Fault::Redirect(format!("http://{host}")));
        scene.blob("app", &image.layer()).await.is_refused(502);
        assert_eq!(other.lines(), [""; 0]);
        let host = if named { "localhost" } else { "127.0.0.1" };
        scene.mirror.logs(&format!("add {host} to its redirects")).await;
    }
    let scene = Scene::new("allow-private = true").await;
    let image = scene.push("app", "v1", 1000).await;
    scene.manifest("app", "v1").await.is(&image.manifest.bytes());
    scene.proxy.fails("GET /v2/app/blobs/", Fault::Redirect("http://169.254.169.254".into()));
    scene.blob("app", &image.layer()).await.is_refused(502);
    scene.mirror.logs("169.254.169.254").await;
    scene.proxy.heals();
    scene.pull("app", "v1", &image).await;
}

/// Whether it is cached or not, what one may not pull is answered alike, and the upstream is not asked.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_may_not_see_answers_alike_whether_it_is_here_or_not() {
    let directory = scratch();
    let users = directory.path().join("users");
    add_user(&users, "alice", "alice-secret");
    add_user(&users, "bob", "bob-secret");
    let rules = format!(
        "[auth]\nhtpasswd = {users:?}\n[[rule]]\nwho = [\"user:alice\"]\nallow = [\"pull\"]\nrepositories = \
         [\"hub/**\"]\n[[rule]]\nwho = [\"user:bob\"]\nallow = [\"pull\"]\nrepositories = [\"hub/open/**\"]\n"
    );
    let scene = Scene::on(directory, &rules, "").await;
    let cached = scene.push("app", "v1", 1000).await;
    let other = scene.push("other", "v1", 1000).await;
    let alice = basic("alice", "alice-secret");
    let manifests = [&cached, &other].map(|image| format!("manifests/{}", image.digest()));
    let blobs = [&cached, &other].map(|image| format!("blobs/{}", image.layer()));
    for target in [&manifests[0], "manifests/v1", &blobs[0]] {
        let fields = [("authorization", alice.as_str())];
        let answer = scene.mirror.ask("GET", &format!("/v2/hub/app/{target}"), &fields).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    scene.proxy.clear();
    let names = [("hub/other", "hub/app"), (&other.digest(), &cached.digest()), (&other.layer(), &cached.layer())];
    let alike = |text: &str| names.iter().fold(text.to_owned(), |text, (other, cached)| text.replace(other, cached));
    let bob = basic("bob", "bob-secret");
    let parts = ["manifests/v1", "tags/list", &manifests[0], &blobs[0]].map(String::from);
    for login in [vec![], vec![("authorization", bob.as_str())]] {
        let fields = [&accepted()[..], &login].concat();
        for method in ["GET", "HEAD"] {
            for part in &parts {
                let here = scene.mirror.ask(method, &format!("/v2/hub/app/{part}"), &fields).await;
                let absent = part.replace(&manifests[0], &manifests[1]).replace(&blobs[0], &blobs[1]);
                let absent = scene.mirror.ask(method, &format!("/v2/hub/other/{absent}"), &fields).await;
                assert!(matches!(here.status, 401 | 404), "{}", here.text());
                assert_eq!(here.told(alike), absent.told(alike));
            }
        }
    }
    assert_eq!(scene.proxy.lines(), [""; 0], "the upstream is asked for those who may not pull");
}
