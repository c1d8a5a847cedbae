//! Encryption: rustls with certificates that are read again when they change.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::settings;
use crate::settings::watched::Watched;

/// Within so many seconds of its end a certificate is warned of.
const SOON: i64 = 14 * 24 * 3600;

/// What connections are encrypted with.
#[derive(Clone)]
pub struct Tls {
    config: Arc<Watched<Arc<ServerConfig>>>,
}

impl Tls {
    /// As the settings have it; nothing when they want no encryption.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, is not what it should be, or the key is not that of the certificate: never is
    /// anything served in plain text instead.
    pub fn open(settings: &settings::Tls) -> Result<Option<Self>, String> {
        let settings::Tls { certificate, key, client_ca, .. } = settings;
        let (certificate, key) = match (certificate, key) {
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            (None, None) if client_ca.is_some() => return Err("tls-client-ca needs tls-certificate and tls-key".into()),
            (None, None) => return Ok(None),
            (Some(_), None) => return Err("tls-certificate needs tls-key".into()),
            (None, Some(_)) => return Err("tls-key needs tls-certificate".into()),
        };
        let paths: Vec<_> = [certificate, key].into_iter().chain(client_ca.clone()).collect();
        let named = paths.clone();
        let make = move |files: &[Vec<u8>]| {
            let of = |place: usize| (named.get(place).map(|path| path.as_path()), files.get(place));
            match (of(0), of(1), of(2)) {
                ((Some(path), Some(chain)), (Some(key_path), Some(key)), ca) => {
                    config((path, chain), (key_path, key), ca.0.zip(ca.1.map(Vec::as_slice))).map(Arc::new)
                }
                _ => Err("no certificate".into()),
            }
        };
        Ok(Some(Self { config: Watched::open(paths, make)? }))
    }

    /// Goes on looking at the files.
    pub(crate) fn watch(&self) {
        self.config.watch();
    }

    /// What the next connection is encrypted with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.get().as_ref().clone())
    }
}

type Named<'f> = (&'f Path, &'f [u8]);

fn config(
    (path, chain): (&Path, &Vec<u8>),
    (key_path, key): (&Path, &Vec<u8>),
    ca: Option<Named<'_>>,
) -> Result<ServerConfig, String> {
    let chain = certificates((path, chain))?;
    if let Some(warning) = chain.first().map(|certificate| end(path, certificate)).transpose()?.flatten() {
        tracing::warn!("{warning}");
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("{}: there is no private key in it: {error:?}", key_path.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = match ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", ca.0.display()))?;
            }
            // Whoever has none may come by other ways, as far as the rules let them.
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).allow_unauthenticated();
            let verifier = verifier.build().map_err(|error| format!("{}: {error}", ca.0.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("the key in {} is not that of the certificate in {}", key_path.display(), path.display())
        }
        error => format!("{}: {error}", path.display()),
    })?;
    config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
    Ok(config)
}

fn certificates((path, bytes): Named<'_>) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let read = read.map_err(|error| format!("{} is no PEM: {error:?}", path.display()))?;
    if read.is_empty() { Err(format!("there is no certificate in {}", path.display())) } else { Ok(read) }
}

/// A warning of a certificate that ends soon. One that has ended is refused: no client would accept it.
fn end(path: &Path, certificate: &CertificateDer<'_>) -> Result<Option<String>, String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Ok(None) };
    let end = certificate.validity().not_after;
    let now = x509_parser::time::ASN1Time::now().timestamp();
    if end.timestamp() < now {
        return Err(format!("the certificate in {} expired on {end}: put a valid one in its place", path.display()));
    }
    let soon = end.timestamp() - now < SOON;
    Ok(soon.then(|| format!("the certificate in {} expires on {end}", path.display())))
}

/// A warning of a certificate that ends soon, for an administrator who checks the settings.
pub(crate) fn ends_soon(settings: &settings::Tls) -> Option<String> {
    let path = settings.certificate.as_deref()?;
    let bytes = std::fs::read(path).ok()?;
    let chain = certificates((path, &bytes)).ok()?;
    end(path, chain.first()?).ok()?
}

/// The names in a client's certificate: the common name, then the alternative ones. It was verified before.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let mut names = Vec::new();
    let mut add = |name: &str| {
        if !name.is_empty() && !name.chars().any(char::is_control) && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).for_each(&mut add);
    let alternative = certificate.subject_alternative_name().ok().flatten();
    for name in alternative.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => add(name),
            _ => {}
        }
    }
    names
}
