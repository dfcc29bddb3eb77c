//! TLS on the server's side, sans-IO (rustls): ciphertext in, plaintext out, and back.
//!
//! Invariant: TLS 1.2 and 1.3 only. Nothing is kept between connections, neither tickets nor a
//! cache, so that no clock is needed. After a fault nothing more is decrypted or encrypted.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::{ConnectionCommon, ServerConfig, ServerConnection, SideData};

use crate::base::outbuf::{Full, OutBuf};

/// A certificate with its key, ready to be shown to clients. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

/// Why a certificate and a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadIdentity(String);

/// A client broke the protocol, or wants none that is offered. What was put out for it says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsFault;

/// Whether a client may send more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// It said that it will not.
    Ended,
    /// It may.
    Open,
}

/// One connection. Lives on: the shard that accepted it.
pub struct Tls(ServerConnection);

/// Only certificates of clients and tickets have dates that matter, and there are none.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::ZERO))
    }
}

impl Identity {
    /// Reads a chain, the server's own certificate first, and the key that belongs to it.
    ///
    /// # Errors
    ///
    /// [`BadIdentity`], in a few words: not PEM, no certificate, no key, or not of one another.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, BadIdentity> {
        let bad = |what: &str, error: &dyn fmt::Display| BadIdentity(format!("{what}: {error}"));
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| bad("the certificate cannot be read", &error))?;
        if chain.is_empty() {
            return Err(BadIdentity(
                "there is no certificate in the file".to_owned(),
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| bad("the key cannot be read", &error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(NoClock))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| bad("the certificate cannot be used", &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }
}

impl Tls {
    /// A connection that a client has just opened.
    pub fn new(identity: &Identity) -> Self {
        let mut tls = ServerConnection::new(Arc::clone(&identity.0))
            .expect("the configuration was accepted when it was made");
        // What is given to encrypt is taken whole; the caller bounds it.
        tls.set_buffer_limit(None);
        Self(tls)
    }

    /// Takes in ciphertext, and appends what it says to `plain`. Output may follow.
    ///
    /// # Errors
    ///
    /// [`TlsFault`]; output follows that tells the client.
    pub fn receive(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<Incoming, TlsFault> {
        receive(&mut self.0, bytes, plain).map_err(|_| TlsFault)
    }

    /// Encrypts `plain`, which appears in the output.
    pub fn send(&mut self, plain: &[u8]) {
        self.0
            .writer()
            .write_all(plain)
            .expect("the buffer has no limit of its own");
    }

    /// Says that nothing more will be sent.
    pub fn send_close(&mut self) {
        self.0.send_close_notify();
    }

    /// Moves output to where the kernel takes it from.
    ///
    /// # Errors
    ///
    /// [`Full`] when there is no room for it; what did not fit stays.
    pub fn take_output(&mut self, out: &mut OutBuf) -> Result<(), Full> {
        let mut records = Vec::new();
        while self.0.wants_write() {
            self.0
                .write_tls(&mut records)
                .expect("a vector takes everything");
        }
        out.write(&[&records])
    }

    /// Whether the handshake is still under way.
    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }
}

/// Takes in ciphertext of the other side, and appends what it says to `plain`.
pub(super) fn receive<D: SideData>(
    tls: &mut ConnectionCommon<D>,
    mut bytes: &[u8],
    plain: &mut Vec<u8>,
) -> Result<Incoming, rustls::Error> {
    let mut incoming = Incoming::Open;
    while !bytes.is_empty() {
        let count = tls
            .read_tls(&mut bytes)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let state = tls.process_new_packets()?;
        let size = state.plaintext_bytes_to_read();
        let start = plain.len();
        plain.resize(start + size, 0);
        tls.reader()
            .read_exact(&mut plain[start..])
            .expect("so much was announced");
        if state.peer_has_closed() {
            incoming = Incoming::Ended;
        }
        if count == 0 {
            break;
        }
    }
    Ok(incoming)
}

impl fmt::Display for BadIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadIdentity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_or_no_key_is_refused_in_words() {
        let refused = |chain: &str, key: &str| Identity::from_pem(chain, key).unwrap_err().0;
        assert_eq!(refused("", ""), "there is no certificate in the file");
        let cert = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(refused(cert, "").starts_with("the key cannot be read: "));
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        assert!(refused(broken, "").starts_with("the certificate cannot be read: "));
    }
}
