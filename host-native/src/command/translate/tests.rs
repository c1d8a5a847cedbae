//! Every key, and configurations as people have them.

use super::{Kind, Translation, keys, translate};
use crate::command::check::check;
use crate::command::cli::{Command, ConfigCommand};
use crate::command::config::CommandLine;

/// All keys of the reference of the versions 2.8 and 3, as deep as it names them.
const REFERENCE: &str = "
    log.accesslog.disabled log.level log.formatter log.fields.service log.fields.environment log.reportcaller
    log.hooks.0.type log.hooks.0.disabled log.hooks.0.levels.0 log.hooks.0.options.smtp.addr
    log.hooks.0.options.smtp.username log.hooks.0.options.smtp.password log.hooks.0.options.smtp.insecure
    log.hooks.0.options.from log.hooks.0.options.to.0 loglevel
    storage.filesystem.rootdirectory storage.filesystem.maxthreads storage.inmemory
    storage.azure.accountname storage.azure.accountkey storage.azure.container storage.azure.rootdirectory
    storage.azure.credentials.type storage.azure.credentials.clientid storage.azure.credentials.tenantid
    storage.azure.credentials.secret storage.azure.max_retries storage.azure.retry_delay storage.azure.realm
    storage.azure.connectionstring storage.azure.serviceurl storage.azure.skipverify
    storage.gcs.bucket storage.gcs.keyfile storage.gcs.credentials.type storage.gcs.credentials.project_id
    storage.gcs.credentials.private_key_id storage.gcs.credentials.private_key storage.gcs.credentials.client_email
    storage.gcs.credentials.client_id storage.gcs.credentials.auth_uri storage.gcs.credentials.token_uri
    storage.gcs.credentials.auth_provider_x509_cert_url storage.gcs.credentials.client_x509_cert_url
    storage.gcs.rootdirectory storage.gcs.chunksize storage.gcs.maxconcurrency storage.gcs.useragent
    storage.s3.accesskey storage.s3.secretkey storage.s3.region storage.s3.regionendpoint storage.s3.forcepathstyle
    storage.s3.accelerate storage.s3.bucket storage.s3.encrypt storage.s3.keyid storage.s3.secure storage.s3.v4auth
    storage.s3.skipverify storage.s3.chunksize storage.s3.multipartcopychunksize storage.s3.multipartcopymaxconcurrency
    storage.s3.multipartcopythresholdsize storage.s3.rootdirectory storage.s3.usedualstack storage.s3.usefipsendpoint
    storage.s3.loglevel storage.s3.redirectendpoint storage.s3.storageclass storage.s3.useragent storage.s3.objectacl
    storage.swift.username storage.swift.password storage.swift.authurl storage.swift.tenant storage.swift.tenantid
    storage.swift.domain storage.swift.domainid storage.swift.insecureskipverify storage.swift.region
    storage.swift.container storage.swift.rootdirectory
    storage.oss.accesskeyid storage.oss.accesskeysecret storage.oss.region storage.oss.endpoint storage.oss.internal
    storage.oss.bucket storage.oss.encrypt storage.oss.secure storage.oss.chunksize storage.oss.rootdirectory
    storage.tag.concurrencylimit storage.delete.enabled storage.redirect.disable storage.cache.blobdescriptor
    storage.cache.blobdescriptorsize storage.cache.layerinfo storage.maintenance.uploadpurging.enabled
    storage.maintenance.uploadpurging.age storage.maintenance.uploadpurging.interval
    storage.maintenance.uploadpurging.dryrun storage.maintenance.readonly.enabled
    auth.silly.realm auth.silly.service auth.token.autoredirect auth.token.autoredirectpath auth.token.realm
    auth.token.service auth.token.issuer auth.token.rootcertbundle auth.token.jwks auth.token.signingalgorithms.0
    auth.htpasswd.realm auth.htpasswd.path
    middleware.registry.0.name middleware.registry.0.options.foo middleware.repository.0.name
    middleware.storage.0.name middleware.storage.0.disabled middleware.storage.0.options.baseurl
    reporting.bugsnag.apikey reporting.bugsnag.releasestage reporting.bugsnag.endpoint reporting.newrelic.licensekey
    reporting.newrelic.name reporting.newrelic.verbose
    http.addr http.net http.prefix http.host http.secret http.relativeurls http.draintimeout http.tls.certificate
    http.tls.key http.tls.clientcas.0 http.tls.clientauth http.tls.minimumtls http.tls.ciphersuites.0
    http.tls.letsencrypt.cachefile http.tls.letsencrypt.email http.tls.letsencrypt.hosts.0
    http.tls.letsencrypt.directoryurl http.debug.addr http.debug.prometheus.enabled http.debug.prometheus.path
    http.headers.X-Content-Type-Options.0 http.http2.disabled http.h2c.enabled
    notifications.events.includereferences notifications.endpoints.0.name notifications.endpoints.0.disabled
    notifications.endpoints.0.url notifications.endpoints.0.headers.Authorization.0 notifications.endpoints.0.timeout
    notifications.endpoints.0.threshold notifications.endpoints.0.backoff notifications.endpoints.0.ignoredmediatypes.0
    notifications.endpoints.0.ignore.mediatypes.0 notifications.endpoints.0.ignore.actions.0
    redis.addr redis.addrs.0 redis.username redis.password redis.db redis.dialtimeout redis.readtimeout
    redis.writetimeout redis.pool.maxidle redis.pool.maxactive redis.pool.idletimeout redis.maxidleconns redis.poolsize
    redis.connmaxidletime redis.tls.enabled redis.tls.certificate redis.tls.key redis.tls.rootcas.0
    health.storagedriver.enabled health.storagedriver.interval health.storagedriver.threshold health.file.0.file
    health.file.0.interval health.http.0.uri health.http.0.headers.Authorization.0 health.http.0.statuscode
    health.http.0.timeout health.http.0.interval health.http.0.threshold health.tcp.0.addr health.tcp.0.timeout
    health.tcp.0.interval health.tcp.0.threshold
    proxy.remoteurl proxy.username proxy.password proxy.ttl proxy.exec.command proxy.exec.lifetime
    proxy.cachewritetimeout compatibility.schema1.signingkeyfile compatibility.schema1.enabled
    validation.enabled validation.disabled validation.manifests.urls.allow.0 validation.manifests.urls.deny.0
    validation.manifests.indexes.platforms validation.manifests.indexes.platformlist.0.architecture
    validation.manifests.indexes.platformlist.0.os policy.repository.classes.0 catalog.maxentries tags.maxtags";

fn translated(text: &str) -> Translation {
    translate(&format!("version: 0.1\n{text}"), &[]).unwrap()
}

/// A file that sets one key.
fn document(key: &str) -> String {
    let mut text = String::new();
    let mut depth = 0;
    for part in key.split('.') {
        if part == "0" {
            text.push_str(&format!("{}-\n", "  ".repeat(depth)));
        } else {
            text.push_str(&format!("{}{part}:\n", "  ".repeat(depth)));
        }
        depth += 1;
    }
    text.push_str(&format!("{}x", "  ".repeat(depth)));
    text
}

#[test]
fn every_key_of_the_reference_is_answered_for() {
    for key in REFERENCE.split_whitespace() {
        let answers = translated(&document(key)).answers;
        let [version, answer] = &answers[..] else { panic!("{key}: {answers:?}") };
        assert_eq!(version.kind, Kind::NotNeeded);
        assert_ne!(answer.kind, Kind::Unknown, "{key}");
        assert!(key.starts_with(&answer.key) && !answer.told.is_empty(), "{answer}");
    }
}

#[test]
fn the_table_has_no_key_twice_and_none_that_the_reference_lacks() {
    let extra = ["version", "storage.s3.sessiontoken", "auth.none"];
    let polled = "storage.azure.copy_status_poll";
    for (place, (key, _)) in keys::KEYS.iter().enumerate() {
        assert!(keys::KEYS[..place].iter().all(|(other, _)| other != key), "{key}");
        let pattern = key.replace('*', "0");
        let known =
            REFERENCE.split_whitespace().any(|known| known == pattern || known.starts_with(&format!("{pattern}.")));
        assert!(known || extra.contains(key) || key.starts_with(polled), "{key}");
    }
}

#[test]
fn a_key_that_distribution_does_not_know_is_named_with_its_line() {
    let translation = translated("http:\n  adr: :5000\nstrage: {}\nlog: loud");
    let unknown: Vec<_> = translation.answers.iter().filter(|answer| answer.kind == Kind::Unknown).collect();
    let told: Vec<String> = unknown.iter().map(|answer| answer.to_string()).collect();
    assert_eq!(told[0], "http.adr (line 3): distribution has no such key");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(translation.toml.contains("# - http.adr (line 3)"), "{}", translation.toml);
}

#[test]
fn what_is_no_configuration_of_a_known_version_is_refused() {
    for (text, expected) in [
        ("", "no `version: 0.1`"),
        ("version: 0.2", "the version `0.2`"),
        ("- version", "no mapping"),
        ("version: [", "line "),
    ] {
        let told = translate(text, &[]).unwrap_err();
        assert!(told.contains(expected), "{text}: {told}");
    }
}

/// Checks what is written for a file: lines that it has, and that Orlop reads it. Returns the whole.
#[track_caller]
fn check_written(text: &str, expected: &[&str]) -> Translation {
    let translation = translated(text);
    let lines: Vec<&str> = translation.toml.lines().collect();
    for line in expected {
        assert!(lines.contains(line), "{line} is not in\n{}", translation.toml);
    }
    let settings = lines.iter().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    assert_eq!(settings, expected.len(), "{}", translation.toml);
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("orlop.toml");
    std::fs::write(&file, &translation.toml).unwrap();
    let loaded = CommandLine::of(["orlop", "config", "check", "--config", file.to_str().unwrap()]).load();
    let loaded = loaded.unwrap_or_else(|error| panic!("{error}\n{}", translation.toml));
    let Command::Config(asked) = loaded.cli.command else { panic!() };
    let ConfigCommand::Check(settings) = asked.command else { panic!() };
    // What names files that are to be made, or a store, is only read.
    if !translation.toml.contains("\"/etc") && !translation.toml.contains("\nobjects") {
        check(&settings, None).unwrap_or_else(|error| panic!("{error}\n{}", translation.toml));
    }
    translation
}

#[test]
fn the_configuration_of_a_package_is_in_order_as_it_is_written() {
    let translation = check_written(
        "log:\n  fields:\n    service: registry\nstorage:\n  cache:\n    blobdescriptor: inmemory\n  filesystem:\n    \
         rootdirectory: /var/lib/docker-registry\n  delete:\n    enabled: true\nhttp:\n  addr: :5000\n  headers:\n    \
         X-Content-Type-Options: [nosniff]\nhealth:\n  storagedriver:\n    enabled: true\n    interval: 10s\n",
        &["addr = \"0.0.0.0:5000\"", "data = \"/var/lib/orlop\"", "open = true"],
    );
    assert!(translation.toml.contains("# http.addr (line 13)"), "{}", translation.toml);
    assert!(translation.toml.contains("orlop import distribution /var/lib/docker-registry --data /var/lib/orlop"));
    assert!(translation.to_do.is_empty());
    let kinds = |kind: Kind| translation.answers.iter().filter(|answer| answer.kind == kind).count();
    assert_eq!((kinds(Kind::Taken), kinds(Kind::Unsupported), kinds(Kind::Unknown)), (3, 1, 0));
}

#[test]
fn a_bucket_becomes_an_object_store_with_a_database() {
    let translation = check_written(
        "storage:\n  s3:\n    accesskey: HUSHID\n    secretkey: HUSHKEY\n    region: eu-west-1\n    regionendpoint: \
         minio:9000\n    secure: false\n    forcepathstyle: false\n    bucket: images\n    rootdirectory: /reg\n    encrypt: \
         yes\n    chunksize: 5242880\nhttp: {addr: 'localhost:5000', secret: HUSHHTTP}\n",
        &[
            "addr = \"localhost:5000\"",
            "objects = \"s3://images/reg/orlop\"",
            "objects-option = [\"region=eu-west-1\", \"endpoint=http://minio:9000\", \
             \"virtual_hosted_style_request=true\", \"server_side_encryption=AES256\"]",
            "records = \"postgres://orlop@localhost/orlop\"",
            "redirect = [\"**\"]",
            "no-delete = true",
        ],
    );
    assert!(!format!("{translation:?}").contains("HUSH"), "{translation:?}");
    assert_eq!(translation.to_do.len(), 3);
    for (text, url) in [
        ("storage: {gcs: {bucket: b, keyfile: /k}, redirect: {disable: true}}", "objects = \"gs://b/orlop\""),
        ("storage: {azure: {container: c, accountname: a, accountkey: HUSH}}", "objects = \"az://c/orlop\""),
    ] {
        let written = translated(text).toml;
        assert!(written.contains(url) && !written.contains("HUSH"), "{written}");
        assert_eq!(written.contains("\nredirect = "), !text.contains("disable"), "{written}");
    }
}

#[test]
fn users_and_encryption_are_taken() {
    check_written(
        "auth:\n  htpasswd:\n    realm: a \"realm\n    path: /etc/users\nstorage: {filesystem: {rootdirectory: /srv/r}, \
         maintenance: {readonly: {enabled: on}, uploadpurging: {age: 72h, enabled: true}}, delete: {enabled: true}}\nhttp:\n  \
         addr: 0.0.0.0:443\n  host: https://r.example.com/\n  prefix: /sub/\n  draintimeout: 1m30s\n  debug: {addr: \
         'localhost:5001', prometheus: {enabled: true, path: /metrics}}\n  tls: {certificate: /etc/a.pem, key: /etc/a.key, \
         clientcas: [/etc/1.pem, /etc/2.pem], minimumtls: tls1.2}\nlog: {level: WARN, formatter: logstash, accesslog: \
         {disabled: true}}\nvalidation: {manifests: {indexes: {platforms: none}}}\n"
            .replace("a \"realm", "registry")
            .as_str(),
        &[
            "addr = \"0.0.0.0:443\"",
            "admin-addr = \"localhost:5001\"",
            "shutdown-grace = \"1m30s\"",
            "data = \"/srv/orlop\"",
            "upload-lifetime = \"3days\"",
            "read-only = true",
            "allow-sparse = true",
            "external-url = \"https://r.example.com/sub\"",
            "log = \"warn,orlop::access=off\"",
            "log-format = \"json\"",
            "[tls]",
            "certificate = \"/etc/a.pem\"",
            "key = \"/etc/a.key\"",
            "client-ca = \"/etc/orlop/client-ca.pem\"",
            "[auth]",
            "htpasswd = \"/etc/users\"",
            "realm = \"registry\"",
        ],
    );
}

#[test]
fn a_token_server_is_taken() {
    let translation = check_written(
        "auth: {token: {autoredirect: false, realm: 'https://auth.example.com/token', service: r, issuer: i, rootcertbundle: \
         /etc/ca.pem, signingalgorithms: [EdDSA, HS256]}}\nhttp: {addr: 'localhost:5000'}\nstorage: inmemory\n",
        &[
            "addr = \"localhost:5000\"",
            "data = \"/var/lib/orlop\"",
            "no-delete = true",
            "token-realm = \"https://auth.example.com/token\"",
            "token-service = \"r\"",
            "token-issuer = \"i\"",
            "token-keys = \"/etc/ca.pem\"",
        ],
    );
    let told = |key: &str| translation.answers.iter().find(|answer| answer.key == key).map(|answer| answer.kind);
    assert_eq!(told("auth.token.signingalgorithms"), Some(Kind::Unsupported));
    assert_eq!(told("auth.token.autoredirect"), Some(Kind::NotNeeded));
}

#[test]
fn a_pull_through_cache_becomes_a_mirror_and_endpoints_become_webhooks() {
    let translation = check_written(
        "http: {addr: '127.0.0.1:5000'}\nproxy: {remoteurl: 'https://registry-1.docker.io', username: ci, password: HUSH, \
         ttl: 168h}\nnotifications:\n  endpoints:\n    - {name: My CI, url: 'https://ci.example.com/x', headers: \
         {Authorization: [HUSH]}, ignore: {actions: [pull]}}\n    - {name: off, url: 'https://off.example.com', disabled: \
         true}\nstorage: {delete: {enabled: true}}\n",
        &[
            "addr = \"127.0.0.1:5000\"",
            "data = \"/var/lib/orlop\"",
            "[[mirror]]",
            "upstream = \"https://registry-1.docker.io\"",
            "username = \"ci\"",
            "password-file = \"/etc/orlop/proxy.password\"",
            "[[webhook]]",
            "name = \"my-ci\"",
            "url = \"https://ci.example.com/x\"",
            "events = [\"push\", \"delete\"]",
            "format = \"distribution\"",
        ],
    );
    assert!(!format!("{translation:?}").contains("HUSH"), "{translation:?}");
    assert!(translation.to_do[0].contains("/etc/orlop/proxy.password"));
}

/// SPEC Y45.
#[test]
fn no_login_in_a_url_is_written_and_each_has_a_place_to_go() {
    let translation = check_written(
        "http: {addr: '127.0.0.1:5000', host: 'https://a:HUSH@r.example.com'}\nproxy: {remoteurl: \
         'https://ci%2Fx:HUSH@registry.example.com'}\nnotifications:\n  endpoints:\n    - {name: ci, url: \
         'https://user:HUSH@ci.example.com/x'}\nstorage: {delete: {enabled: true}}\n",
        &[
            "addr = \"127.0.0.1:5000\"",
            "data = \"/var/lib/orlop\"",
            "external-url = \"https://r.example.com\"",
            "[[mirror]]",
            "upstream = \"https://registry.example.com\"",
            "username = \"ci/x\"",
            "password-file = \"/etc/orlop/proxy.password\"",
            "[[webhook]]",
            "name = \"ci\"",
            "url = \"https://ci.example.com/x\"",
            "events = [\"push\", \"pull\", \"delete\"]",
            "format = \"distribution\"",
        ],
    );
    assert!(!format!("{translation:?}").contains("HUSH"), "{translation:?}");
    assert!(translation.to_do[0].contains("proxy.remoteurl") && translation.to_do[1].contains("had a login"));
    // One that does not read has none either.
    let odd = translated("proxy: {remoteurl: 'https://ci:HU/SH@registry.example.com'}");
    assert!(!format!("{odd:?}").contains("HU"), "{odd:?}");
}

#[test]
fn addresses_without_a_host_are_all_of_the_machine_and_each_is_written() {
    for (text, expected) in [
        ("http: {addr: ':5000', debug: {addr: ':5001'}}", "admin-addr = \"0.0.0.0:5001\""),
        ("http: {debug: {addr: ':5001'}}", "admin-addr = \"0.0.0.0:5001\""),
        ("http: {addr: /run/r.sock, net: unix, debug: {addr: '[::1]:5001'}}", "admin-addr = \"[::1]:5001\""),
        ("http: {draintimeout: 30s}", "shutdown-grace = \"30s\""),
    ] {
        let toml = translated(text).toml;
        assert!(toml.lines().any(|line| line == expected), "{toml}");
    }
}

#[test]
fn of_two_drivers_one_is_taken_and_the_other_is_answered_for() {
    let translation =
        translated("storage: {s3: {bucket: b, region: r, rootdirectory: /reg}, filesystem: {rootdirectory: /srv/r}}");
    let other = translation.answers.iter().find(|answer| answer.key == "storage.filesystem").unwrap();
    assert_eq!((other.kind, other.told.contains("storage.s3 is taken")), (Kind::Unsupported, true), "{other}");
    assert!(!translation.toml.contains("/srv/orlop"));
    assert!(translation.to_do.iter().any(|what| what.contains("orlop import s3 s3://b/reg")), "{translation:?}");
}

#[test]
fn no_configuration_opens_a_registry_that_had_users() {
    for text in [
        "auth: {silly: {realm: a, service: b}}\nhttp: {addr: ':5000'}",
        "auth: {other: {}}\nhttp: {addr: ':5000'}",
        "auth: silly\nhttp: {addr: ':5000'}",
        "http: {addr: ':5000', tls: {clientcas: [/ca.pem]}}",
    ] {
        assert!(!translated(text).toml.contains("open = true"), "{text}");
    }
    assert!(translated("http: {addr: ':5000'}").toml.contains("open = true"));
}

#[test]
fn no_text_of_the_file_becomes_a_setting_by_itself() {
    let text = "http: {addr: \"a\\nopen = true\", headers: {\"x\\nopen = true\": [a]}}\n\"k\\nopen = true\": 1\nauth: {htpasswd: {}}";
    let toml = translated(text).toml;
    assert!(!toml.lines().any(|line| line.starts_with("open")), "{toml}");
}

/// Also those that are as Orlop is anyway.
#[test]
fn the_file_names_each_key_that_is_set() {
    let translation = translated("storage: {filesystem: {rootdirectory: /srv/r}, delete: {enabled: true}}");
    for answer in &translation.answers {
        assert!(translation.toml.contains(&answer.key), "{answer} is not in\n{}", translation.toml);
    }
}
