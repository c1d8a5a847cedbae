//! Every key of distribution's configuration, of the versions 2.8 and 3, and what becomes of it.
//!
//! A key stands for all that lies below it. `*` is any key, or any element of a list.

use super::Fate;
use Fate::{NotNeeded, Taken, Unsupported};

const CACHE: &str = "records are in memory as far as record-cache goes, and need no cache beside them";
const STORE: &str = "Orlop chooses the sizes of what it sends to an object store";
const RETRIES: &str = "requests to the object store are sent again as it needs";
const CREDENTIALS: &str = "credentials come from where the store's own tools have them: set AWS_ACCESS_KEY_ID and \
                           AWS_SECRET_ACCESS_KEY for the service, or give the machine a role";
const AZURE: &str = "credentials come from where the store's own tools have them: set AZURE_STORAGE_ACCOUNT_KEY, or \
                     AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET, for the service";
const GOOGLE: &str = "write the key to a file for the service alone, and name it: objects-option = \
                      [\"google_service_account=FILE\"]";
const SWIFT: &str = "use the S3 API of Swift with objects = \"s3://CONTAINER\" and endpoint=URL in objects-option, or keep \
                     blobs in the data directory; `orlop import registry` brings the images";
const OSS: &str = "use the S3 API of the store with objects = \"s3://BUCKET\" and endpoint=URL in objects-option; \
                   `orlop import registry` brings the images";
const MAIL: &str = "alert on the log or on the metrics with the tools that collect them";
const MONITOR: &str =
    "what other services do is for a monitor to watch; /readyz at admin-addr says how this server does";
const REPORTING: &str = "errors are in the log, and traces go to otlp-endpoint";
const WEBHOOK: &str = "a webhook is sent again, with growing pauses, for three days";
const FOREIGN: &str = "URLs of layers that are kept elsewhere are taken as they are, and never followed";
const SCHEMA_1: &str = "manifests of schema 1 are refused: all clients since 2017 push others";
const LETS_ENCRYPT: &str = "have certbot or another program get the certificate, and name its files: they are read again \
                            when they change";
const MIDDLEWARE: &str = "Orlop takes no modules";

/// What becomes of each key.
pub(super) const KEYS: &[(&str, Fate)] = &[
    ("version", NotNeeded("the settings of Orlop have no version")),
    ("log.level", Taken("log")),
    ("log.accesslog.disabled", Taken("log")),
    ("log.formatter", Taken("log-format")),
    ("log.fields", Unsupported("add fields where the log is collected")),
    ("log.hooks", Unsupported(MAIL)),
    ("log.reportcaller", NotNeeded("each line says which part of the program wrote it")),
    ("loglevel", Taken("log")),
    ("storage.filesystem.rootdirectory", Taken("data")),
    ("storage.filesystem.maxthreads", NotNeeded("reads and writes queue by themselves")),
    ("storage.inmemory", Unsupported("name a data directory on a tmpfs for a registry that forgets")),
    ("storage.s3.accesskey", Unsupported(CREDENTIALS)),
    ("storage.s3.secretkey", Unsupported(CREDENTIALS)),
    ("storage.s3.sessiontoken", Unsupported(CREDENTIALS)),
    ("storage.s3.bucket", Taken("objects")),
    ("storage.s3.rootdirectory", Taken("objects")),
    ("storage.s3.region", Taken("objects-option")),
    ("storage.s3.regionendpoint", Taken("objects-option")),
    ("storage.s3.forcepathstyle", Taken("objects-option")),
    ("storage.s3.encrypt", Taken("objects-option")),
    ("storage.s3.keyid", Taken("objects-option")),
    ("storage.s3.secure", Taken("objects-option")),
    ("storage.s3.skipverify", Unsupported("name the store's authority by storage-ca")),
    ("storage.s3.v4auth", NotNeeded("requests are always signed with version 4")),
    ("storage.s3.chunksize", NotNeeded(STORE)),
    ("storage.s3.multipartcopychunksize", NotNeeded(STORE)),
    ("storage.s3.multipartcopymaxconcurrency", NotNeeded(STORE)),
    ("storage.s3.multipartcopythresholdsize", NotNeeded(STORE)),
    (
        "storage.s3.redirectendpoint",
        Unsupported("clients that are redirected reach the store by the name that the server uses"),
    ),
    ("storage.s3.storageclass", Unsupported("a lifecycle rule of the bucket moves objects to another class")),
    ("storage.s3.objectacl", Unsupported("a policy of the bucket says who may read it")),
    ("storage.s3.useragent", NotNeeded("nothing depends on it")),
    ("storage.s3.usedualstack", Unsupported("name the endpoint with both: endpoint=URL in objects-option")),
    ("storage.s3.usefipsendpoint", Unsupported("name that endpoint: endpoint=URL in objects-option")),
    ("storage.s3.accelerate", Unsupported("name that endpoint: endpoint=URL in objects-option")),
    ("storage.s3.loglevel", NotNeeded("log = \"info,orlop::storage=debug\" says what is asked of a store")),
    ("storage.gcs.bucket", Taken("objects")),
    ("storage.gcs.rootdirectory", Taken("objects")),
    ("storage.gcs.keyfile", Taken("objects-option")),
    ("storage.gcs.credentials", Unsupported(GOOGLE)),
    ("storage.gcs.chunksize", NotNeeded(STORE)),
    ("storage.gcs.maxconcurrency", NotNeeded(STORE)),
    ("storage.gcs.useragent", NotNeeded("nothing depends on it")),
    ("storage.azure.container", Taken("objects")),
    ("storage.azure.rootdirectory", Taken("objects")),
    ("storage.azure.accountname", Taken("objects-option")),
    ("storage.azure.accountkey", Unsupported(AZURE)),
    ("storage.azure.credentials", Unsupported(AZURE)),
    ("storage.azure.connectionstring", Unsupported(AZURE)),
    ("storage.azure.skipverify", Unsupported("name the store's authority by storage-ca")),
    ("storage.azure.realm", Unsupported("name the endpoint: azure_endpoint=URL in objects-option")),
    ("storage.azure.serviceurl", Unsupported("name the endpoint: azure_endpoint=URL in objects-option")),
    ("storage.azure.max_retries", NotNeeded(RETRIES)),
    ("storage.azure.retry_delay", NotNeeded(RETRIES)),
    ("storage.azure.copy_status_poll_max_retry", NotNeeded(RETRIES)),
    ("storage.azure.copy_status_poll_delay", NotNeeded(RETRIES)),
    ("storage.swift", Unsupported(SWIFT)),
    ("storage.oss", Unsupported(OSS)),
    ("storage.tag.concurrencylimit", NotNeeded("tags are records, which are read without files")),
    ("storage.delete.enabled", Taken("no-delete")),
    ("storage.redirect.disable", Taken("redirect")),
    ("storage.cache.blobdescriptor", NotNeeded(CACHE)),
    ("storage.cache.blobdescriptorsize", NotNeeded(CACHE)),
    ("storage.cache.layerinfo", NotNeeded(CACHE)),
    ("storage.maintenance.uploadpurging.enabled", NotNeeded("uploads that receive nothing are always removed")),
    ("storage.maintenance.uploadpurging.age", Taken("upload-lifetime")),
    ("storage.maintenance.uploadpurging.interval", NotNeeded("garbage collection does it, every gc-interval")),
    ("storage.maintenance.uploadpurging.dryrun", Unsupported("`orlop gc --dry-run` says what would be removed")),
    ("storage.maintenance.readonly.enabled", Taken("read-only")),
    ("auth.silly", Unsupported("it checks nothing and is for tests: set users by auth-htpasswd, or a token server")),
    ("auth.none", NotNeeded("without users and rules there is no login")),
    ("auth.htpasswd.realm", Taken("auth-realm")),
    ("auth.htpasswd.path", Taken("auth-htpasswd")),
    ("auth.token.realm", Taken("token-realm")),
    ("auth.token.service", Taken("token-service")),
    ("auth.token.issuer", Taken("token-issuer")),
    ("auth.token.rootcertbundle", Taken("token-keys")),
    ("auth.token.jwks", Taken("token-keys")),
    ("auth.token.signingalgorithms", NotNeeded("RS256, ES256 and EdDSA are accepted, each with a key of its kind")),
    ("auth.token.autoredirect", Unsupported("write the whole URL of the token server: token-realm")),
    ("auth.token.autoredirectpath", Unsupported("write the whole URL of the token server: token-realm")),
    ("middleware.registry", Unsupported(MIDDLEWARE)),
    ("middleware.repository", Unsupported(MIDDLEWARE)),
    (
        "middleware.storage",
        Unsupported(
            "clients are sent to the object store itself by redirect; a network that delivers for \
                                        it is put in front by its own name",
        ),
    ),
    ("reporting", Unsupported(REPORTING)),
    ("http.addr", Taken("addr")),
    ("http.net", NotNeeded("it listens on TCP")),
    ("http.prefix", Unsupported("have the proxy take the prefix off, and send X-Forwarded-Prefix or set external-url")),
    ("http.host", Taken("external-url")),
    ("http.secret", NotNeeded("uploads are records that all servers of a registry see, and need no secret")),
    ("http.relativeurls", Taken("location")),
    ("http.draintimeout", Taken("shutdown-grace")),
    ("http.tls.certificate", Taken("tls-certificate")),
    ("http.tls.key", Taken("tls-key")),
    ("http.tls.clientcas", Taken("tls-client-ca")),
    ("http.tls.clientauth", NotNeeded("a client without a certificate and without a login may do nothing")),
    ("http.tls.minimumtls", NotNeeded("TLS 1.2 and 1.3 are spoken, no older ones")),
    ("http.tls.ciphersuites", NotNeeded("only suites are offered that are considered safe")),
    ("http.tls.letsencrypt", Unsupported(LETS_ENCRYPT)),
    ("http.debug.addr", Taken("admin-addr")),
    ("http.debug.prometheus.enabled", NotNeeded("metrics are at admin-addr, always")),
    ("http.debug.prometheus.path", NotNeeded("metrics are at /metrics")),
    ("http.headers", Unsupported("have the proxy add header fields")),
    ("http.http2.disabled", NotNeeded("HTTP/2 is spoken with clients that choose it, over TLS")),
    ("http.h2c.enabled", Unsupported("HTTP/2 is spoken over TLS: set tls-certificate and tls-key")),
    (
        "notifications.events.includereferences",
        Unsupported("an event names the manifest, which says what it refers to"),
    ),
    ("notifications.endpoints.*.name", Taken("webhook")),
    ("notifications.endpoints.*.url", Taken("webhook")),
    ("notifications.endpoints.*.disabled", Taken("webhook")),
    ("notifications.endpoints.*.headers", Unsupported("a webhook is signed: see secret-file in orlop.toml(5)")),
    ("notifications.endpoints.*.timeout", NotNeeded(WEBHOOK)),
    ("notifications.endpoints.*.threshold", NotNeeded(WEBHOOK)),
    ("notifications.endpoints.*.backoff", NotNeeded(WEBHOOK)),
    ("notifications.endpoints.*.ignore.actions", Taken("webhook")),
    ("notifications.endpoints.*.ignore.mediatypes", NotNeeded("events are about manifests and tags, not about layers")),
    ("notifications.endpoints.*.ignoredmediatypes", NotNeeded("events are about manifests and tags, not about layers")),
    ("redis", NotNeeded(CACHE)),
    ("health.storagedriver", NotNeeded("/readyz at admin-addr says whether the storage works")),
    ("health.file", Unsupported(MONITOR)),
    ("health.http", Unsupported(MONITOR)),
    ("health.tcp", Unsupported(MONITOR)),
    ("proxy.remoteurl", Taken("mirror")),
    ("proxy.username", Taken("mirror")),
    ("proxy.password", Taken("mirror")),
    ("proxy.ttl", Unsupported("a mirror keeps what it has until max is reached: see MIRRORS in orlop.toml(5)")),
    (
        "proxy.exec",
        Unsupported(
            "have the program write the password to a file, which is read again when it changes: password-file",
        ),
    ),
    ("proxy.cachewritetimeout", NotNeeded("a fetch goes on without its client")),
    ("compatibility.schema1", Unsupported(SCHEMA_1)),
    ("validation.enabled", NotNeeded("manifests are always checked")),
    ("validation.disabled", Taken("allow-sparse")),
    ("validation.manifests.urls", Unsupported(FOREIGN)),
    ("validation.manifests.indexes.platforms", Taken("allow-sparse")),
    (
        "validation.manifests.indexes.platformlist",
        NotNeeded("allow-sparse takes an index that lacks images of any platform"),
    ),
    ("policy.repository.classes", Unsupported("all kinds of artifacts are taken; rules say who may push where")),
    ("catalog.maxentries", NotNeeded("lists have pages, and a page has a bound")),
    ("tags.maxtags", NotNeeded("lists have pages, and a page has a bound")),
];

/// What becomes of a key, by its path; nothing when it is unknown.
pub(super) fn fate(path: &[&str]) -> Option<Fate> {
    KEYS.iter()
        .find(|(key, _)| {
            let parts: Vec<&str> = key.split('.').collect();
            parts.len() == path.len() && parts.iter().zip(path).all(|(part, given)| *part == "*" || part == given)
        })
        .map(|(_, fate)| *fate)
}

/// Whether some key lies below this path.
pub(super) fn leads_on(path: &[&str]) -> bool {
    KEYS.iter().any(|(key, _)| {
        let parts: Vec<&str> = key.split('.').collect();
        parts.len() > path.len() && parts.iter().zip(path).all(|(part, given)| *part == "*" || part == given)
    })
}
