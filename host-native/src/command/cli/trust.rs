//! How other registries are reached, and what they are trusted with: what all commands have in common that speak to some.

use std::path::PathBuf;

use clap::Args;

/// How registries are reached.
#[derive(Debug, Args)]
pub struct Trust {
    /// The file with the logins of registries, as `docker login` or `podman login` writes it
    ///
    /// Without it, $XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json and ~/.docker/config.json (in
    /// $DOCKER_CONFIG, if that is set) are looked into, in this order.
    #[arg(long, env = "REGISTRY_AUTH_FILE", value_name = "FILE")]
    pub authfile: Option<PathBuf>,

    /// Speak to registries without encryption; those on this machine are spoken to so anyway, unless they are written as
    /// https://HOST
    #[arg(long)]
    pub plain_http: bool,

    /// The file with certificates of authorities to trust beside those of the system, in PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// A further host that registries may have asked for tokens, and that gets the login for that (repeatable)
    ///
    /// The registry's own host may be asked always, and auth.docker.io for Docker Hub.
    #[arg(long = "realm", value_name = "HOST")]
    pub realms: Vec<String>,
}
