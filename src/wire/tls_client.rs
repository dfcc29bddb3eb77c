//! TLS on the client's side, sans-IO (rustls): for connections that this process opens.
//!
//! Invariant: TLS 1.2 and 1.3 only, and no connection without a certificate that somebody trusted
//! signed for the very name. Nothing is kept between connections.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::tls::{Incoming, receive};

/// Who may sign certificates of servers. Cheap to clone.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

/// Why there is no TLS with a server, in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted(String);

/// One connection to a server.
pub struct TlsClient(ClientConnection);

/// The time since the epoch, by which certificates are valid or not.
#[derive(Debug)]
struct Wall(fn() -> Duration);

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch((self.0)()))
    }
}

impl Trust {
    /// Reads certificates of authorities. `wall` tells the time since the Unix epoch. Those that
    /// cannot be used are left out, because collections of systems have some.
    ///
    /// # Errors
    ///
    /// [`Untrusted`]: not PEM, or no certificate in it that can be used.
    pub fn from_pem(authorities: &str, wall: fn() -> Duration) -> Result<Self, Untrusted> {
        let authorities = CertificateDer::pem_slice_iter(authorities.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Untrusted(format!("the certificates cannot be read: {error}")))?;
        let mut roots = RootCertStore::empty();
        let (used, _) = roots.add_parsable_certificates(authorities);
        if used == 0 {
            return Err(Untrusted("there is no authority in the file".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(Wall(wall)))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites for both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }
}

impl TlsClient {
    /// A connection to a server of this name or address, which begins with output.
    ///
    /// # Errors
    ///
    /// [`Untrusted`]: nobody can have such a name.
    pub fn new(trust: &Trust, host: &str) -> Result<Self, Untrusted> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Untrusted(format!("no certificate is made out to `{host}`")))?;
        let mut tls = ClientConnection::new(Arc::clone(&trust.0), name)
            .map_err(|error| Untrusted(error.to_string()))?;
        // What is given to encrypt is taken whole; the caller bounds it.
        tls.set_buffer_limit(None);
        Ok(Self(tls))
    }

    /// Takes in ciphertext, and appends what it says to `plain`. Output may follow.
    ///
    /// # Errors
    ///
    /// [`Untrusted`]; output follows that tells the server.
    pub fn receive(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<Incoming, Untrusted> {
        receive(&mut self.0, bytes, plain).map_err(|error| Untrusted(error.to_string()))
    }

    /// Encrypts `plain`, which appears in the output once the handshake is done.
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

    /// Takes what is to be sent to the server.
    pub fn take_output(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.0.wants_write() {
            self.0
                .write_tls(&mut records)
                .expect("a vector takes everything");
        }
        records
    }

    /// Whether the handshake is still under way.
    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Untrusted {}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::outbuf::OutBuf;
    use crate::wire::tls::{Identity, Tls};

    const CERTIFICATE: &str = include_str!("../../tests/fixtures/tls/cert.pem");
    const KEY: &str = include_str!("../../tests/fixtures/tls/key.pem");

    /// Within the certificate's years.
    fn today() -> Duration {
        Duration::from_secs(1_800_000_000)
    }

    fn long_ago() -> Duration {
        Duration::from_secs(1_000_000_000)
    }

    /// Lets a client speak to a server that it knows as `host`. Says what the server and the client
    /// heard of each other, or why the client does not want to.
    fn talk(host: &str, wall: fn() -> Duration) -> Result<(Vec<u8>, Vec<u8>), Untrusted> {
        let trust = Trust::from_pem(CERTIFICATE, wall)?;
        let mut client = TlsClient::new(&trust, host)?;
        let mut server = Tls::new(&Identity::from_pem(CERTIFICATE, KEY).unwrap());
        let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
        client.send(b"request");
        for _ in 0..3 {
            let heard = server.receive(&client.take_output(), &mut at_server);
            heard.expect("the client keeps to the protocol");
            if !server.is_handshaking() && at_client.is_empty() {
                server.send(b"answer");
            }
            let mut out = OutBuf::new(1 << 20);
            server.take_output(&mut out).unwrap();
            client.receive(out.pending(), &mut at_client)?;
        }
        Ok((at_server, at_client))
    }

    #[test]
    fn a_server_whose_certificate_is_trusted_is_spoken_to() {
        let (at_server, at_client) = talk("gateway.example", today).unwrap();
        assert_eq!(at_server, b"request");
        assert_eq!(at_client, b"answer");
    }

    #[test]
    fn a_certificate_of_another_name_or_another_time_is_not_trusted() {
        for (host, wall) in [
            ("other.example", today as fn() -> Duration),
            ("127.0.0.2", today),
            ("gateway.example", long_ago),
        ] {
            let why = talk(host, wall).unwrap_err();
            assert!(
                why.0.starts_with("invalid peer certificate"),
                "{host}: {why}"
            );
        }
        assert!(
            talk("two words", today)
                .unwrap_err()
                .0
                .contains("two words")
        );
    }

    #[test]
    fn without_an_authority_there_is_no_trust() {
        let trust = |text: &str| Trust::from_pem(text, today).unwrap_err().0;
        assert_eq!(trust(""), "there is no authority in the file");
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        assert!(trust(broken).starts_with("the certificates cannot be read: "));
    }
}
