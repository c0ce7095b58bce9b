//! Whose certificates are believed: those of the authorities that the machine has, or of a file.

use anyhow::{Context, Result, anyhow, ensure};
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use ureq::tls::{RootCerts, TlsConfig};

/// Certificates of authorities.
#[derive(Clone, Debug)]
pub(super) struct Trust(Vec<CertificateDer<'static>>);

impl Trust {
    /// Those in the file, or those of the machine.
    pub(super) fn read(file: Option<&Path>) -> Result<Self> {
        let (found, from) = match file {
            Some(file) => (read(file)?, file.display().to_string()),
            None => (rustls_native_certs::load_native_certs().certs, "this machine".to_owned()),
        };
        let good = |certificate: &CertificateDer<'static>| {
            RootCertStore::empty().add(certificate.clone()).is_ok()
        };
        let all: Vec<_> = found.into_iter().filter(good).collect();
        ensure!(
            !all.is_empty(),
            "there is no certificate of an authority in {from}: give one in PEM with --ca-file, or install \
             the package ca-certificates"
        );
        Ok(Self(all))
    }

    /// For syslog.
    pub(super) fn rustls(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.0.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }

    /// For the webhook.
    pub(super) fn ureq(&self) -> TlsConfig {
        let all: Vec<_> =
            self.0.iter().map(|one| ureq::tls::Certificate::from_der(one).to_owned()).collect();
        TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&all))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build()
    }

    /// For mail.
    pub(super) fn lettre(&self, host: &str) -> Result<TlsParameters> {
        let mut parameters =
            TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
        for one in &self.0 {
            parameters = parameters.add_root_certificate(Certificate::from_der(one.to_vec())?);
        }
        Ok(parameters.build_rustls()?)
    }
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let named = || format!("--ca-file {}", file.display());
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", named()))?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow!("{} holds no certificates in PEM: {error}", named()))
}
