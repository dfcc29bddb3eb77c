//! The DTLS certificate of the process, and which library does the cryptography.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::crypto::from_feature_flags;

use crate::wire::sdp::Fingerprint;

/// A DTLS certificate and its key. Made once per process; each shard has a copy.
#[derive(Clone)]
pub struct Certificate {
    cert: DtlsCert,
    provider: Arc<CryptoProvider>,
}

impl Certificate {
    /// Makes a self-signed certificate, from the entropy of the crypto library.
    ///
    /// # Panics
    ///
    /// If the crypto library cannot make one.
    pub fn generate() -> Self {
        let provider = Arc::new(from_feature_flags());
        let cert = provider
            .dtls_provider
            .generate_certificate()
            .expect("the crypto library makes certificates");
        Self { cert, provider }
    }

    /// The SHA-256 of the certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            hash: "sha-256".to_owned(),
            bytes: Sha256::digest(&self.cert.certificate).to_vec(),
        }
    }

    pub(crate) fn dtls_cert(&self) -> DtlsCert {
        self.cert.clone()
    }

    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.provider)
    }
}

impl fmt::Debug for Certificate {
    /// Says nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

/// The library that does the cryptography of peers, for runs that must be reproducible.
#[derive(Clone)]
pub struct Crypto(Arc<CryptoProvider>);

impl Crypto {
    /// Wraps a provider.
    pub const fn new(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }

    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crypto")
    }
}
