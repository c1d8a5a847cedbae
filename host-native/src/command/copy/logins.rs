//! Logins of registries, as `docker login` and `podman login` keep them: in a file, or with a program of its own
//! (docker-credential-NAME).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use url::Url;

use crate::settings::LoginSetting;
use crate::settings::watched::read_text;

/// The names that Docker Hub's login is kept under.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// What the user of a program is called that gives out a token for a token server instead of a password.
const TOKEN: &str = "<token>";

/// The files with logins, the first one first.
#[derive(Debug)]
pub(in crate::command) struct Logins(Vec<(PathBuf, Kept)>);

/// What a file has.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Kept {
    auths: HashMap<String, Entry>,
    /// The program that has the logins of all registries.
    creds_store: String,
    /// The programs that have the login of one each.
    cred_helpers: HashMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase", default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// What a program answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    username: String,
    secret: String,
}

impl Logins {
    /// The file that was named, or the usual ones that exist.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub(in crate::command) fn find(named: Option<&Path>) -> Result<Self, String> {
        let usual = || {
            let of = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
            let home = of("HOME");
            let below = |path: &str| home.as_ref().map(|home| home.join(path));
            let files = [
                of("XDG_RUNTIME_DIR").map(|runtime| runtime.join("containers/auth.json")),
                of("XDG_CONFIG_HOME").or(below(".config")).map(|config| config.join("containers/auth.json")),
                of("DOCKER_CONFIG").or(below(".docker")).map(|docker| docker.join("config.json")),
            ];
            files.into_iter().flatten().filter(|file| file.exists()).collect()
        };
        let files = named.map_or_else(usual, |named| vec![named.to_owned()]);
        let read = files.into_iter().map(|file| {
            let kept = serde_json::from_slice(&read_text(&file)?);
            // The reader would say where in the file it stands, and could repeat a password.
            kept.map(|kept| (file.clone(), kept)).map_err(|_| format!("{} is no file of logins", file.display()))
        });
        read.collect::<Result<_, _>>().map(Self)
    }

    /// The login for a repository: the one that says most of it, of the first file that has one.
    ///
    /// # Errors
    ///
    /// When a file or a program has something else than a login.
    pub(in crate::command) async fn of(&self, registry: &Url, repository: &str) -> Result<LoginSetting, String> {
        let names = names(registry, repository);
        for (file, kept) in &self.0 {
            for name in &names {
                if let Some((_, helper)) = kept.cred_helpers.iter().find(|(key, _)| plain(key) == *name) {
                    if let Some(login) = ask(helper, name).await? {
                        return Ok(login);
                    }
                    continue;
                }
                if let Some((key, entry)) = kept.auths.iter().find(|(key, _)| plain(key) == *name) {
                    let wrong = || format!("{}: the login for {key} is none", file.display());
                    if let Some(login) = entry.login().ok_or_else(wrong)? {
                        return Ok(login);
                    }
                    if !kept.creds_store.is_empty()
                        && let Some(login) = ask(&kept.creds_store, key).await?
                    {
                        return Ok(login);
                    }
                }
            }
        }
        Ok(LoginSetting::Anonymous)
    }
}

impl Entry {
    /// The login; inside, nothing where the entry only says that a program has it.
    fn login(&self) -> Option<Option<LoginSetting>> {
        if !self.identitytoken.is_empty() {
            return Some(Some(LoginSetting::IdentityToken(self.identitytoken.clone())));
        }
        if !self.username.is_empty() {
            let (username, password) = (self.username.clone(), self.password.clone());
            return Some(Some(LoginSetting::Password { username, password }));
        }
        if self.auth.is_empty() {
            return Some(None);
        }
        let text = String::from_utf8(BASE64_STANDARD.decode(&self.auth).ok()?).ok()?;
        let (username, password) = text.split_once(':')?;
        let (username, password) = (username.to_owned(), password.trim_end_matches('\0').to_owned());
        Some(Some(LoginSetting::Password { username, password }))
    }
}

/// The names under which the login for a repository may be kept: the longest first.
fn names(registry: &Url, repository: &str) -> Vec<String> {
    let host = registry.host_str().unwrap_or_default();
    let host = registry.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let hosts = if DOCKER_HUB.contains(&host.as_str()) { DOCKER_HUB.map(str::to_owned).to_vec() } else { vec![host] };
    let mut paths = vec![repository];
    while let Some((parent, _)) = paths.last().and_then(|path| path.rsplit_once('/')) {
        paths.push(parent);
    }
    let below = paths.iter().flat_map(|path| hosts.iter().map(move |host| format!("{host}/{path}")));
    below.chain(hosts.iter().cloned()).collect()
}

/// A key without what older versions of docker wrote around it.
fn plain(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest).trim_end_matches('/');
    key.strip_suffix("/v1").or(key.strip_suffix("/v2")).unwrap_or(key)
}

/// Asks the program docker-credential-NAME.
async fn ask(helper: &str, server: &str) -> Result<Option<LoginSetting>, String> {
    let program = format!("docker-credential-{helper}");
    let wrong = |error: &dyn std::fmt::Display| format!("{program} has not given the login for {server}: {error}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| wrong(&error))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(server.as_bytes()).await.map_err(|error| wrong(&error))?;
    }
    let answered = child.wait_with_output().await.map_err(|error| wrong(&error))?;
    if !answered.status.success() {
        // What it has not is told in the same way as what goes wrong.
        return Ok(None);
    }
    let Told { username, secret } = serde_json::from_slice(&answered.stdout).map_err(|_| wrong(&"it is no login"))?;
    Ok(Some(if username == TOKEN {
        LoginSetting::IdentityToken(secret)
    } else {
        LoginSetting::Password { username, password: secret }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(file: &str, registry: &str, repository: &str) -> String {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, file).unwrap();
        let logins = match Logins::find(Some(&path)) {
            Ok(logins) => logins,
            Err(error) => return error.replace(path.to_str().unwrap(), "FILE"),
        };
        match logins.of(&Url::parse(registry).unwrap(), repository).await {
            Ok(LoginSetting::Password { username, password }) => format!("{username} {password}"),
            Ok(LoginSetting::IdentityToken(token)) => format!("token {token}"),
            Ok(_) => "none".into(),
            Err(error) => error.replace(path.to_str().unwrap(), "FILE"),
        }
    }

    #[tokio::test]
    async fn a_login_is_found_as_docker_and_podman_keep_it() {
        let own = "https://registry.example.com";
        let auth =
            |key: &str, text: &str| format!(r#"{{"auths":{{"{key}":{{"auth":"{}"}}}}}}"#, BASE64_STANDARD.encode(text));
        for key in ["registry.example.com", "https://registry.example.com", "https://registry.example.com/v2/"] {
            assert_eq!(found(&auth(key, "a:b:c"), own, "x").await, "a b:c", "{key}");
        }
        assert_eq!(found(&auth("registry.example.com", "a:b"), "https://registry.example.com:8443", "x").await, "none");
        let port = auth("registry.example.com:8443", "a:b");
        assert_eq!(found(&port, "https://registry.example.com:8443", "x").await, "a b");
        let hub = auth("https://index.docker.io/v1/", "a:b");
        assert_eq!(found(&hub, "https://registry-1.docker.io", "library/x").await, "a b");
        assert_eq!(found(&hub, own, "x").await, "none");
        let nested = r#"{"auths":{"registry.example.com":{"username":"all","password":"1"},
            "registry.example.com/team":{"username":"team","password":"2"}}}"#;
        assert_eq!(found(nested, own, "team/app").await, "team 2");
        assert_eq!(found(nested, own, "teams/app").await, "all 1");
        let token = r#"{"auths":{"registry.example.com":{"auth":"YTo=","identitytoken":"t"}}}"#;
        assert_eq!(found(token, own, "x").await, "token t");
        assert_eq!(found("{}", own, "x").await, "none");
        assert_eq!(found(r#"{"auths":{"registry.example.com":{}}}"#, own, "x").await, "none");
        assert_eq!(found("secret", own, "x").await, "FILE is no file of logins");
        let wrong = r#"{"auths":{"registry.example.com":{"auth":"?"}}}"#;
        assert_eq!(found(wrong, own, "x").await, "FILE: the login for registry.example.com is none");
        let helper = r#"{"credHelpers":{"registry.example.com":"that-is-not-installed"}}"#;
        assert!(found(helper, own, "x").await.starts_with("docker-credential-that-is-not-installed has not given"));
    }
}
