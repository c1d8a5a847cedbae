//! Encryption.

use std::path::PathBuf;

use clap::Args;

/// Encryption. With a certificate, the address speaks HTTPS (HTTP/1.1 and HTTP/2) and no plain HTTP.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS")]
pub struct Tls {
    /// The certificate and its chain (PEM); read again when the file changes
    #[arg(id = "tls_certificate", long = "tls-certificate", env = "ORLOP_TLS_CERTIFICATE", value_name = "FILE")]
    pub certificate: Option<PathBuf>,

    /// The private key of the certificate (PEM); read again when the file changes
    #[arg(id = "tls_key", long = "tls-key", env = "ORLOP_TLS_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Ask clients for certificates, and accept those signed by these authorities (PEM)
    #[arg(id = "tls_client_ca", long = "tls-client-ca", env = "ORLOP_TLS_CLIENT_CA", value_name = "FILE")]
    pub client_ca: Option<PathBuf>,

    /// A second address that speaks plain HTTP
    #[arg(long, env = "ORLOP_PLAIN_ADDR", value_name = "HOST:PORT")]
    pub plain_addr: Option<String>,
}
