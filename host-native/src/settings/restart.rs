//! Which settings a running server takes over, and which need a restart.

/// The settings that a running server does not take over when it reads its settings again: all others it does.
pub const NEED_RESTART: [&str; 34] = [
    "addr",
    "admin-addr",
    "body-idle-timeout",
    "no-console",
    "data",
    "gc-interval",
    "head-limit",
    "head-timeout",
    "keep-free",
    "log-format",
    "max-client-connections",
    "max-client-requests",
    "max-connections",
    "max-requests",
    "no-playground",
    "object-cache",
    "object-cache-size",
    "objects",
    "objects-option",
    "otlp-endpoint",
    "plain-addr",
    "record-cache",
    "record-log",
    "records",
    "records-password-file",
    "retention-interval",
    "scrub-period",
    "scrub-rate",
    "shutdown-delay",
    "shutdown-grace",
    "storage-ca",
    "tls-certificate",
    "tls-client-ca",
    "tls-key",
];

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::settings::Settings;

    /// What a running server takes over: see `Live::new`, and the filter of the log.
    const RELOADED: [&str; 55] = [
        "activity-lifetime",
        "administrators",
        "allow-sparse",
        "assemble",
        "auth-htpasswd",
        "auth-realm",
        "auth-token-url",
        "blob-grace",
        "blob-limit",
        "cors",
        "external-url",
        "group",
        "keep-erased",
        "ldap-base",
        "ldap-bind-dn",
        "ldap-bind-password-file",
        "ldap-ca",
        "ldap-filter",
        "ldap-group-base",
        "ldap-group-filter",
        "ldap-groups",
        "ldap-name",
        "ldap-start-tls",
        "ldap-timeout",
        "ldap-url",
        "ldap-user-dn",
        "limit",
        "location",
        "log",
        "manifest-limit",
        "mirror",
        "no-delete",
        "no-mount-from-anywhere",
        "oidc",
        "open",
        "quota",
        "redirect",
        "redirect-from",
        "read-only",
        "retention",
        "rule",
        "session-idle",
        "session-lifetime",
        "sync",
        "token-issuer",
        "token-keys",
        "token-realm",
        "token-service",
        "trusted-proxy",
        "undelete-within",
        "untagged-lifetime",
        "upload-lifetime",
        "verify-reads",
        "webhook",
        "config",
    ];

    #[test]
    fn each_setting_is_taken_over_by_a_running_server_or_needs_a_restart() {
        let command = Settings::command();
        let mut settings: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        let mut known: Vec<&str> = RELOADED.into_iter().chain(NEED_RESTART).collect();
        settings.sort_unstable();
        known.sort_unstable();
        assert_eq!(settings, known);
    }
}
