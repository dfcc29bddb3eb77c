//! The DTLS certificate of the process, and which library does the cryptography.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use str0m::config::{CryptoProvider, DtlsCert};

use crate::media::peer_keys;
use crate::wire::pem;
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
        let provider = Arc::new(peer_keys::provider());
        let cert = provider
            .dtls_provider
            .generate_certificate()
            .expect("the crypto library makes certificates");
        Self { cert, provider }
    }

    /// Takes a certificate and its key from PEM texts. Of a chain the first certificate counts:
    /// peers know it by its fingerprint and not by who signed it.
    ///
    /// # Errors
    ///
    /// [`CertificateError`], also for RSA: the DTLS of the WebRTC library signs with ECDSA only.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, CertificateError> {
        let is_certificate = |block: &pem::Block<'_>| block.label == "CERTIFICATE";
        let certificate = pem::blocks(certificate).into_iter().find(is_certificate);
        let certificate = certificate.ok_or(CertificateError::NoCertificate)?.bytes;
        let key = pem::blocks(key)
            .into_iter()
            .find(|block| block.label.ends_with("PRIVATE KEY"))
            .ok_or(CertificateError::NoKey)?;
        let key = match key.label {
            "ENCRYPTED PRIVATE KEY" => return Err(CertificateError::Encrypted),
            "EC PRIVATE KEY" | "PRIVATE KEY" => key.bytes,
            _ => return Err(CertificateError::NotEcdsa),
        };
        if ![P256, P384].iter().any(|curve| holds(&certificate, curve)) {
            return Err(CertificateError::NotEcdsa);
        }
        if public_point(&key).is_none_or(|point| !holds(&certificate, point)) {
            return Err(CertificateError::Mismatch);
        }
        let cert = DtlsCert {
            certificate,
            private_key: key,
        };
        let provider = Arc::new(peer_keys::provider());
        Ok(Self { cert, provider })
    }

    /// The certificate itself, without its key.
    pub fn der(&self) -> &[u8] {
        &self.cert.certificate
    }

    /// One that looks like the certificate `der` from outside, with the key of another: for
    /// replays, in which no handshake is made.
    ///
    /// # Panics
    ///
    /// If the crypto library cannot make one.
    pub fn stand_in(der: Vec<u8>) -> Self {
        let mut stand_in = Self::generate();
        stand_in.cert.certificate = der;
        stand_in
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

/// Why a certificate cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// The key needs a password.
    Encrypted,
    /// The key is not that of the certificate.
    Mismatch,
    /// There is no certificate in the text.
    NoCertificate,
    /// There is no key in the text.
    NoKey,
    /// It is RSA, or of a curve that DTLS does not use here.
    NotEcdsa,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encrypted => "the key is encrypted: store it without a password",
            Self::Mismatch => "the key does not belong to the certificate",
            Self::NoCertificate => "there is no PEM certificate",
            Self::NoKey => "there is no PEM private key",
            Self::NotEcdsa => {
                "the DTLS certificate is not ECDSA with P-256 or P-384: make one that is, or name \
                 none and one is made at the start"
            }
        })
    }
}

impl std::error::Error for CertificateError {}

/// The names of the curves, as certificates and keys hold them (RFC 5480 section 2.1.1.1).
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];

/// The uncompressed public point beside a private key (RFC 5915 section 3), by the head of its bit
/// string. Whoever writes keys writes it, though it is optional.
fn public_point(key: &[u8]) -> Option<&[u8]> {
    for (head, size) in [([3, 66, 0, 4], 65), ([3, 98, 0, 4], 97)] {
        let found = memchr::memmem::rfind(key, &head);
        if let Some(point) = found.and_then(|at| key.get(at + 3..at + 3 + size)) {
            return Some(point);
        }
    }
    None
}

fn holds(whole: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(whole, part).is_some()
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
    /// Takes a provider, and listens to its handshakes. It is never given back: make one per
    /// process.
    pub fn new(provider: CryptoProvider) -> Self {
        Self(Arc::new(peer_keys::listening(provider)))
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A new certificate and its key, as they would stand in files.
    pub(crate) fn pem_files() -> (String, String) {
        let DtlsCert {
            certificate,
            private_key,
        } = Certificate::generate().cert;
        (
            to_pem("CERTIFICATE", &certificate),
            to_pem("PRIVATE KEY", &private_key),
        )
    }

    fn to_pem(label: &str, bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = format!("-----BEGIN {label}-----\n");
        for group in bytes.chunks(3) {
            let mut bits = [0; 4];
            bits[1..=group.len()].copy_from_slice(group);
            let bits = u32::from_be_bytes(bits);
            for digit in 0..4 {
                let value = (bits >> (18 - 6 * digit) & 63) as usize;
                text.push(if digit <= group.len() {
                    char::from(DIGITS[value])
                } else {
                    '='
                });
            }
        }
        text + &format!("\n-----END {label}-----\n")
    }

    #[test]
    fn a_certificate_from_files_is_the_one_in_them() {
        let (certificate, key) = pem_files();
        let (other, other_key) = pem_files();
        let read = Certificate::from_pem(&(certificate.clone() + &other), &key).unwrap();
        let block = &pem::blocks(&certificate)[0];
        assert_eq!(
            read.fingerprint().bytes,
            Sha256::digest(&block.bytes).to_vec()
        );
        let error = |certificate: &str, key: &str| Certificate::from_pem(certificate, key).err();
        let wrong = Some(CertificateError::Mismatch);
        assert_eq!(error(&certificate, &other_key), wrong);
        assert_eq!(error(&certificate, &other), Some(CertificateError::NoKey));
        assert_eq!(error(&key, &key), Some(CertificateError::NoCertificate));
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_its_own_words() {
        let (certificate, key) = pem_files();
        for (label, wanted) in [
            ("RSA PRIVATE KEY", CertificateError::NotEcdsa),
            ("ENCRYPTED PRIVATE KEY", CertificateError::Encrypted),
        ] {
            let key = to_pem(label, &pem::blocks(&key)[0].bytes);
            let error = Certificate::from_pem(&certificate, &key).unwrap_err();
            assert_eq!(error, wanted);
        }
        // A key of another kind in the neutral form shows in its certificate.
        let curveless = to_pem(
            "CERTIFICATE",
            b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01",
        );
        let error = Certificate::from_pem(&curveless, &key).unwrap_err();
        assert_eq!(error, CertificateError::NotEcdsa);
    }
}
