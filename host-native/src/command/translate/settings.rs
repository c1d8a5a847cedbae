//! What is written for the keys that are taken.

use std::path::Path;
use std::time::Duration;

use toml::Value;

use super::document::Node;
use super::{Kind, Translating};
use crate::settings::redacted::{user_of, without_login};

/// Where files with passwords go that the configuration had in itself.
const SECRETS: &str = "/etc/orlop";

/// The database that goes with an object store, until another one is named.
const RECORDS: &str = "postgres://orlop@localhost/orlop";

impl Translating<'_> {
    /// Writes the settings, in the order in which they are to stand.
    pub(super) fn all(&mut self) {
        self.address();
        self.storage();
        self.content();
        self.access();
        self.reach();
        self.log();
        self.tls();
        self.auth();
        self.proxy();
        self.notifications();
    }

    /// The text of a key, without the login that a URL may have.
    fn text(&self, key: &str) -> Option<String> {
        self.root.at(key).and_then(Node::text).map(without_login)
    }

    /// Whether a key is true, as YAML 1.1 writes that.
    fn is_true(&self, key: &str) -> bool {
        self.root.at(key).is_some_and(truth)
    }

    fn place(&self, key: &str) -> String {
        self.root.at(key).map_or_else(|| key.to_owned(), |node| format!("{key} ({})", node.place))
    }

    /// Writes a setting above all tables that has the text of a key.
    fn copy(&mut self, key: &str, setting: &str) {
        if let Some(text) = self.text(key) {
            let why = self.place(key);
            self.lines.top(setting, text, &why);
        }
    }

    /// The same of a time, such as 168h.
    fn copy_time(&mut self, key: &str, setting: &str) {
        let Some(text) = self.text(key) else { return };
        match time(&text) {
            Some(time) => {
                let why = self.place(key);
                self.lines.top(setting, humantime::format_duration(time).to_string().replace(' ', ""), &why);
            }
            None => {
                self.change(key, Kind::Unsupported, &format!("`{text}` is no time: set {setting}, such as 90s or 6h"));
            }
        }
    }

    fn address(&mut self) {
        if self.text("http.net").is_some_and(|net| net.starts_with("unix")) {
            let cure = "it listens on TCP alone: set addr, and have the proxy connect there";
            self.change("http.net", Kind::Unsupported, cure);
            self.change("http.addr", Kind::Unsupported, cure);
        } else {
            self.listener("http.addr", "addr");
        }
        self.listener("http.debug.addr", "admin-addr");
        if let Some(path) = self.text("http.debug.prometheus.path").filter(|path| path != "/metrics") {
            let cure = format!("metrics are at /metrics, not at {path}: change what reads them");
            self.change("http.debug.prometheus.path", Kind::Unsupported, &cure);
        }
        self.copy_time("http.draintimeout", "shutdown-grace");
    }

    /// Writes an address to listen on. Without a host it is all of them there.
    fn listener(&mut self, key: &str, setting: &str) {
        let Some(addr) = self.text(key).filter(|addr| !addr.is_empty()) else { return };
        let addr = if addr.starts_with(':') { format!("0.0.0.0{addr}") } else { addr };
        let why = self.place(key);
        self.lines.top(setting, addr, &why);
    }

    fn storage(&mut self) {
        self.one_driver();
        let root = self.root.at("storage.filesystem.rootdirectory").and_then(Node::text);
        if let Some(bucket) = self.text("storage.s3.bucket") {
            self.objects(("storage.s3", "s3", &bucket), Self::s3_options);
        } else if let Some(bucket) = self.text("storage.gcs.bucket") {
            self.objects(("storage.gcs", "gs", &bucket), |this| {
                let file = this.text("storage.gcs.keyfile");
                file.map(|file| format!("google_service_account={file}")).into_iter().collect()
            });
        } else if let Some(container) = self.text("storage.azure.container") {
            self.objects(("storage.azure", "az", &container), |this| {
                let name = this.text("storage.azure.accountname");
                name.map(|name| format!("azure_storage_account_name={name}")).into_iter().collect()
            });
        } else {
            let root = root.unwrap_or("/var/lib/registry");
            let data = Path::new(root).parent().unwrap_or(Path::new("/")).join("orlop");
            let data = data.display().to_string();
            let why = format!(
                "{}: a directory of its own, as Orlop has another layout. The images are taken over, on the same file system \
                 by links, with\n`orlop import distribution {root} --data {data}`",
                self.place("storage.filesystem.rootdirectory")
            );
            self.lines.top("data", data, &why);
            let redirect = "storage.redirect.disable";
            self.change(redirect, Kind::NotNeeded, "clients read from the data directory through the server");
        }
    }

    /// Of several drivers one is taken; distribution does not start with more.
    fn one_driver(&mut self) {
        let is_set = |driver: &&str| {
            let needed = match *driver {
                "azure" => "container",
                "filesystem" => "rootdirectory",
                _ => "bucket",
            };
            self.text(&format!("storage.{driver}.{needed}")).is_some()
        };
        let mut drivers = ["s3", "gcs", "azure", "filesystem"].into_iter().filter(is_set);
        let Some(taken) = drivers.next() else { return };
        for other in drivers.collect::<Vec<_>>() {
            let told =
                format!("distribution takes one driver alone, and storage.{taken} is taken: remove one of the two");
            self.change(&format!("storage.{other}"), Kind::Unsupported, &told);
        }
    }

    /// An object store: its URL and its options, and the database that goes with it.
    fn objects(&mut self, (key, scheme, bucket): (&str, &str, &str), options: impl FnOnce(&mut Self) -> Vec<String>) {
        let root = self.text(&format!("{key}.rootdirectory")).unwrap_or_default();
        let root = root.trim_matches('/');
        let prefix = if root.is_empty() { "orlop".into() } else { format!("{root}/orlop") };
        let name = if key == "storage.azure" { "container" } else { "bucket" };
        let why =
            format!("{}: below a prefix of its own, as Orlop has another layout", self.place(&format!("{key}.{name}")));
        self.lines.top("objects", format!("{scheme}://{bucket}/{prefix}"), &why);
        let options = options(self);
        if !options.is_empty() {
            let why = format!("Options of the store, of {key}. Credentials are for its environment.");
            self.lines.top("objects-option", options, &why);
        }
        let why = "Beside an object store there is a PostgreSQL database, which all servers of the registry share.";
        self.lines.top("records", RECORDS, why);
        self.to_do.push(format!(
            "Make a PostgreSQL database for the records, and set `records` (now {RECORDS}); or take `objects`, \
             `objects-option` and `records` out, and set `data`, for one server with its own disk."
        ));
        let credentials = match key {
            "storage.s3" => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role of the machine",
            "storage.azure" => "AZURE_STORAGE_ACCOUNT_KEY, or an identity of the machine",
            _ => "GOOGLE_SERVICE_ACCOUNT, or an identity of the machine",
        };
        self.to_do.push(format!("Give the service the credentials of the store: {credentials}."));
        let bring = match key {
            "storage.s3" => {
                let below = if root.is_empty() { String::new() } else { format!("/{root}") };
                format!(
                    "Bring the images over, while no server runs: `orlop import s3 s3://{bucket}{below} --data DIRECTORY`, and \
                     then `orlop move --to shared` with `records`, `objects` and `objects-option` of this file; or, from the \
                     other registry while it serves, `orlop import registry HOST --all`."
                )
            }
            _ => "Bring the images over from the other registry while it serves: `orlop import registry HOST --all`."
                .into(),
        };
        self.to_do.push(bring);
        if self.is_true("storage.redirect.disable") {
            self.change(
                "storage.redirect.disable",
                Kind::NotNeeded,
                "clients are sent to the store where redirect says so",
            );
        } else {
            let why = "Clients read blobs from the object store itself, as with distribution unless storage.redirect.disable \
                       is set.";
            self.lines.top("redirect", vec!["**"], why);
        }
    }

    fn s3_options(&mut self) -> Vec<String> {
        let mut options = Vec::new();
        let insecure = self.root.at("storage.s3.secure").is_some_and(|secure| !truth(secure));
        if let Some(region) = self.text("storage.s3.region") {
            options.push(format!("region={region}"));
        }
        if let Some(endpoint) = self.text("storage.s3.regionendpoint") {
            let scheme = if insecure { "http" } else { "https" };
            let endpoint = if endpoint.contains("://") { endpoint } else { format!("{scheme}://{endpoint}") };
            options.push(format!("endpoint={endpoint}"));
        } else if insecure {
            let cure = "the store is spoken to encrypted, unless endpoint=http://… is in objects-option";
            self.change("storage.s3.secure", Kind::Unsupported, cure);
        }
        if self.root.at("storage.s3.forcepathstyle").is_some_and(|path| !truth(path)) {
            options.push("virtual_hosted_style_request=true".into());
        }
        if self.is_true("storage.s3.encrypt") {
            let key = self.text("storage.s3.keyid");
            let kind = if key.is_some() { "aws:kms" } else { "AES256" };
            options.push(format!("server_side_encryption={kind}"));
            options.extend(key.map(|key| format!("sse_kms_key_id={key}")));
        } else {
            self.change("storage.s3.keyid", Kind::NotNeeded, "it says nothing without encrypt");
        }
        options
    }

    fn content(&mut self) {
        if !self.is_true("storage.delete.enabled") {
            let why = match self.root.at("storage.delete.enabled") {
                Some(_) => self.place("storage.delete.enabled"),
                None => "distribution refuses to delete unless storage.delete.enabled is set".into(),
            };
            self.lines.top("no-delete", true, &why);
        } else {
            self.change("storage.delete.enabled", Kind::Taken, "no-delete is false unless it is set");
        }
        let purging = "storage.maintenance.uploadpurging";
        let off = self.root.at(&format!("{purging}.enabled")).is_some_and(|enabled| !truth(enabled));
        if off {
            let cure =
                "uploads that receive nothing are always removed: set upload-lifetime to the longest that one may rest";
            self.change(&format!("{purging}.enabled"), Kind::Unsupported, cure);
        }
        self.copy_time(&format!("{purging}.age"), "upload-lifetime");
        if !self.is_true(&format!("{purging}.dryrun")) {
            self.change(&format!("{purging}.dryrun"), Kind::NotNeeded, "it is off");
        }
        let key = "storage.maintenance.readonly.enabled";
        if self.is_true(key) {
            let why = self.place(key);
            self.lines.top("read-only", true, &why);
        } else {
            self.change(key, Kind::Taken, "read-only is false unless it is set");
        }
        let platforms = "validation.manifests.indexes.platforms";
        let sparse = self.text(platforms).map(|text| text.to_lowercase());
        match sparse.as_deref() {
            Some("none" | "list") => {
                let why = self.place(platforms);
                self.lines.top("allow-sparse", true, &why);
            }
            _ if self.is_true("validation.disabled") => {
                let why = self.place("validation.disabled");
                self.lines.top("allow-sparse", true, &why);
            }
            _ => self.change(platforms, Kind::Taken, "allow-sparse is false unless it is set"),
        }
        if !self.is_true("validation.disabled") {
            self.change("validation.disabled", Kind::NotNeeded, "manifests are checked");
        }
    }

    /// Whether every client may do everything, as without any auth in distribution.
    fn access(&mut self) {
        let auth = self.root.get("auth").is_some_and(|auth| match &auth.value {
            super::Value::Map(entries) => entries.iter().any(|(kind, _)| kind != "none"),
            super::Value::Text(kind) => kind != "none",
            _ => false,
        });
        let certificates =
            self.root.at("http.tls.clientcas").is_some_and(|authorities| !authorities.elements().is_empty());
        let local = self
            .text("http.addr")
            .is_some_and(|addr| ["127.", "localhost:", "[::1]:"].iter().any(|loopback| addr.starts_with(loopback)));
        if auth || certificates || local {
            return;
        }
        let why = "There is no auth in the configuration: every client that reaches the address may push, as with \
                   distribution. Set users (auth-htpasswd) or rules, and take this out.";
        self.lines.top("open", true, why);
    }

    fn reach(&mut self) {
        if let Some(host) = self.text("http.host") {
            let prefix = self.text("http.prefix").unwrap_or_default();
            let prefix = prefix.trim_matches('/');
            let host = host.trim_end_matches('/');
            let url = if prefix.is_empty() { host.to_owned() } else { format!("{host}/{prefix}") };
            let why = self.place("http.host");
            self.lines.top("external-url", url, &why);
            if !prefix.is_empty() {
                let told = "it is the end of external-url; the proxy must take it off the path of requests";
                self.change("http.prefix", Kind::Taken, told);
            }
        }
        match (self.root.at("http.relativeurls").is_some(), self.is_true("http.relativeurls")) {
            (true, true) if self.text("http.host").is_some() => {
                let why = self.place("http.relativeurls");
                self.lines.top("location", "relative", &why);
            }
            (true, _) => {
                let told = "`Location` is a path unless external-url or location is set, which every client but two takes: \
                            see URLS in orlop.toml(5)";
                self.change("http.relativeurls", Kind::NotNeeded, told);
            }
            _ => {}
        }
        self.headers();
    }

    /// Header fields of answers, of which one is about what pages may use the registry.
    fn headers(&mut self) {
        const CORS: &str = "Access-Control-Allow-Origin";
        let Some(headers) = self.root.at("http.headers") else { return };
        let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
        let origins: Vec<String> = headers
            .entries()
            .iter()
            .filter(|(name, _)| is(name, CORS))
            .flat_map(|(_, values)| values.elements().iter().filter_map(Node::text).map(str::to_owned))
            .collect();
        let others = headers.entries().iter().filter(|(name, value)| {
            let cors = name.to_ascii_lowercase().starts_with("access-control-");
            let nosniff =
                is(name, "X-Content-Type-Options") && value.elements().iter().all(|v| v.text() == Some("nosniff"));
            !(cors || nosniff)
        });
        let others: Vec<&str> = others.map(|(name, _)| name.as_str()).collect();
        let told =
            (!others.is_empty()).then(|| format!("have the proxy add these header fields: {}", others.join(", ")));
        let cors = (!origins.is_empty()).then(|| {
            let why = format!("{CORS} of {}", self.place("http.headers"));
            self.lines.top("cors", origins, &why);
        });
        match (told, cors) {
            (Some(told), _) => self.change("http.headers", Kind::Unsupported, &told),
            (None, Some(())) => self.change("http.headers", Kind::Taken, "cors"),
            (None, None) => {
                let told = "answers have X-Content-Type-Options, and cors says which pages may read them";
                self.change("http.headers", Kind::NotNeeded, told);
            }
        }
    }

    fn log(&mut self) {
        let key = if self.text("log.level").is_some() { "log.level" } else { "loglevel" };
        let level = self.text(key).map(|level| level.to_lowercase());
        let quiet = self.is_true("log.accesslog.disabled");
        let filter: Vec<String> = level.into_iter().chain(quiet.then(|| "orlop::access=off".into())).collect();
        if !filter.is_empty() {
            let why =
                if filter.len() > usize::from(quiet) { self.place(key) } else { self.place("log.accesslog.disabled") };
            self.lines.top("log", filter.join(","), &why);
        }
        let why = self.place("log.formatter");
        match self.text("log.formatter").as_deref() {
            Some("json" | "logstash") => self.lines.top("log-format", "json", &why),
            Some("text") => self.lines.top("log-format", "text", &why),
            Some(other) => {
                let cure = format!("there is no log-format `{other}`: set text or json");
                self.change("log.formatter", Kind::Unsupported, &cure);
            }
            None => {}
        }
    }

    fn tls(&mut self) {
        for key in ["certificate", "key"] {
            let path = format!("http.tls.{key}");
            if let Some(file) = self.text(&path) {
                let why = self.place(&path);
                self.lines.table("tls", key, file, &why);
            }
        }
        let authorities = self.root.at("http.tls.clientcas").map(Node::elements).unwrap_or_default();
        let files: Vec<&str> = authorities.iter().filter_map(Node::text).collect();
        let why = self.place("http.tls.clientcas");
        match files[..] {
            [] => {}
            [file] => self.lines.table("tls", "client-ca", file, &why),
            _ => {
                let one = format!("{SECRETS}/client-ca.pem");
                self.to_do
                    .push(format!("Put the authorities of clients into one file: cat {} > {one}", files.join(" ")));
                self.lines.table("tls", "client-ca", one, &why);
            }
        }
        if self.text("http.tls.minimumtls").is_some_and(|version| version == "tls1.3") {
            self.change("http.tls.minimumtls", Kind::Unsupported, "TLS 1.2 is spoken too: have a proxy refuse it");
        }
        match self.text("http.tls.clientauth").as_deref() {
            None | Some("require-and-verify-client-cert") => {}
            Some("verify-client-cert-if-given") => {
                self.change(
                    "http.tls.clientauth",
                    Kind::NotNeeded,
                    "rules say what clients without a certificate may do",
                );
            }
            Some(_) => {
                let cure =
                    "certificates are always verified, by tls-client-ca; rules say what clients without one may do";
                self.change("http.tls.clientauth", Kind::Unsupported, cure);
            }
        }
        if self.root.at("http.tls.letsencrypt").is_some() {
            self.to_do.push(
                "Have a program get the certificate that distribution got from Let's Encrypt itself, and set \
                 tls-certificate and tls-key: without them the server speaks plain HTTP."
                    .into(),
            );
        }
    }

    fn auth(&mut self) {
        if let Some(file) = self.text("auth.htpasswd.path") {
            let why = format!("{}: lines with bcrypt are taken as they are", self.place("auth.htpasswd.path"));
            self.lines.table("auth", "htpasswd", file, &why);
        }
        if let Some(realm) = self.text("auth.htpasswd.realm") {
            let why = self.place("auth.htpasswd.realm");
            self.lines.table("auth", "realm", realm, &why);
        }
        for key in ["realm", "service", "issuer"] {
            self.copy(&format!("auth.token.{key}"), &format!("token-{key}"));
        }
        match (self.text("auth.token.rootcertbundle"), self.text("auth.token.jwks")) {
            (Some(_), Some(_)) => {
                self.copy("auth.token.jwks", "token-keys");
                let told = "there is one file of keys, and jwks is set too: add the keys of these certificates to it";
                self.change("auth.token.rootcertbundle", Kind::Unsupported, told);
            }
            (Some(_), None) => {
                self.copy("auth.token.rootcertbundle", "token-keys");
                self.to_do.push(
                    "See that the file of token-keys has the certificates whose keys sign tokens themselves: those that \
                     only sign such certificates are not followed."
                        .into(),
                );
            }
            _ => self.copy("auth.token.jwks", "token-keys"),
        }
        let others = self.root.at("auth.token.signingalgorithms").map(Node::elements).unwrap_or_default();
        let others = others.iter().filter_map(Node::text).filter(|name| !matches!(*name, "RS256" | "ES256" | "EdDSA"));
        let others: Vec<&str> = others.collect();
        if !others.is_empty() {
            let cure = format!(
                "RS256, ES256 and EdDSA are accepted; have tokens signed by one of these, not by {}",
                others.join(", ")
            );
            self.change("auth.token.signingalgorithms", Kind::Unsupported, &cure);
        }
        for key in ["auth.token.autoredirect"] {
            if !self.is_true(key) {
                self.change(key, Kind::NotNeeded, "it is off");
            }
        }
    }

    fn proxy(&mut self) {
        let Some(upstream) = self.text("proxy.remoteurl").filter(|url| !url.is_empty()) else { return };
        let in_url = self.root.at("proxy.remoteurl").and_then(Node::text).and_then(user_of);
        let mut entries: Vec<(&str, Value)> = vec![("upstream", upstream.into())];
        let (username, place) = match self.text("proxy.username").filter(|name| !name.is_empty()) {
            Some(username) => (Some(username), "proxy.password"),
            None => (in_url, "proxy.remoteurl"),
        };
        if let Some(username) = username {
            let file = format!("{SECRETS}/proxy.password");
            self.to_do.push(format!(
                "Write the password of {} to {file}, readable for the service alone.",
                self.place(place)
            ));
            entries.push(("username", username.into()));
            entries.push(("password-file", file.into()));
        }
        let why = format!(
            "{}: all repositories are of this mirror; with `prefix` there can be others beside it",
            self.place("proxy.remoteurl")
        );
        self.lines.element("mirror", entries, &why);
    }

    fn notifications(&mut self) {
        let endpoints = self.root.at("notifications.endpoints").map(Node::elements).unwrap_or_default();
        let mut names: Vec<String> = Vec::new();
        for (number, endpoint) in endpoints.iter().enumerate() {
            let key = |key: &str| format!("notifications.endpoints.{number}.{key}");
            let Some(whole) = endpoint.get("url").and_then(Node::text) else { continue };
            let url = without_login(whole);
            if endpoint.get("disabled").is_some_and(truth) {
                for one in ["name", "url", "disabled", "ignore.actions"] {
                    self.change(&key(one), Kind::NotNeeded, "the endpoint is disabled");
                }
                continue;
            }
            let mut name = name_of(endpoint.get("name").and_then(Node::text).unwrap_or_default());
            if name.is_empty() || names.contains(&name) {
                name = format!("endpoint-{}", number + 1);
            }
            names.push(name.clone());
            let ignored = endpoint.at("ignore.actions").map(Node::elements).unwrap_or_default();
            let ignored: Vec<&str> = ignored.iter().filter_map(Node::text).collect();
            let events: Vec<&str> =
                ["push", "pull", "delete"].into_iter().filter(|event| !ignored.contains(event)).collect();
            let why = format!("The endpoint of notifications.endpoints ({})", endpoint.place);
            if url != whole {
                self.to_do.push(format!(
                    "The URL of the webhook {name} ({}) had a login, which is not sent: have its receiver check the signature \
                     by `secret-file`, or be reached through a proxy that logs in.",
                    endpoint.place
                ));
            }
            let entries = vec![
                ("name", name.into()),
                ("url", url.into()),
                ("events", events.into()),
                ("format", "distribution".into()),
            ];
            self.lines.element("webhook", entries, &why);
        }
    }
}

/// A name as webhooks have it.
fn name_of(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    text.chars().map(plain).take(32).collect::<String>().trim_matches('-').into()
}

/// Whether a value is true, as YAML 1.1 writes that.
fn truth(node: &Node) -> bool {
    node.text().is_some_and(|text| matches!(text.to_lowercase().as_str(), "true" | "yes" | "on" | "y"))
}

/// A time as Go writes it, or a number of nanoseconds.
fn time(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(nanoseconds) => Some(Duration::from_nanos(nanoseconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}
