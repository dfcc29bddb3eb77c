//! The keys of a PeerConnection's SRTP, and how its handshake went, which the WebRTC library tells
//! nobody.
//!
//! Its DTLS is a provider of ours in front of the built-in one: it listens to what passes. Providers
//! are static and handshakes know nothing of peers, so what was heard is left with the thread; the
//! peer that was just called takes it.
//!
//! Invariant: whoever calls into the library with a peer whose handshake may end takes what was
//! heard before another peer is called.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use str0m::config::CryptoProvider;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
    SrtpProfile,
};
use str0m::crypto::from_feature_flags;

/// How media is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    /// `AEAD_AES_128_GCM` (RFC 7714).
    Gcm128,
    /// `AEAD_AES_256_GCM`.
    Gcm256,
    /// `AES_CM_128_HMAC_SHA1_80` (RFC 3711).
    Sha1,
}

/// The keys of both directions, as the handshake gave them out (RFC 5764 section 4.2).
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) suite: Suite,
    material: Arc<[u8]>,
}

/// What was heard of a handshake since the last time.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) keys: Option<Keys>,
    /// Flights that were sent again.
    pub(super) retransmissions: u32,
}

/// Who sends what is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// Whoever began the handshake.
    Client,
    Server,
}

impl Sender {
    /// Ourselves, and the other side.
    pub(super) const fn sides(we_are_client: bool) -> (Self, Self) {
        if we_are_client {
            (Self::Client, Self::Server)
        } else {
            (Self::Server, Self::Client)
        }
    }
}

impl Keys {
    fn new(profile: SrtpProfile, material: &[u8]) -> Option<Self> {
        let suite = [Suite::Gcm128, Suite::Gcm256, Suite::Sha1]
            .into_iter()
            .find(|suite| suite.profile() == profile)?;
        let (key, salt) = suite.sizes();
        (material.len() == 2 * (key + salt)).then(|| Self {
            suite,
            material: material.into(),
        })
    }

    /// The master key and the master salt of one direction.
    pub(super) fn of(&self, sender: Sender) -> (&[u8], &[u8]) {
        let (key, salt) = self.suite.sizes();
        let (keys, salts) = self.material.split_at(2 * key);
        match sender {
            Sender::Client => (&keys[..key], &salts[..salt]),
            Sender::Server => (&keys[key..], &salts[salt..]),
        }
    }
}

impl Suite {
    const fn profile(self) -> SrtpProfile {
        match self {
            Self::Gcm128 => SrtpProfile::AEAD_AES_128_GCM,
            Self::Gcm256 => SrtpProfile::AEAD_AES_256_GCM,
            Self::Sha1 => SrtpProfile::AES128_CM_SHA1_80,
        }
    }

    /// A master key and its salt, which follows it.
    #[cfg(test)]
    pub(super) fn split(self, master: &[u8]) -> (&[u8], &[u8]) {
        let (key, salt) = self.sizes();
        (&master[..key], &master[key..key + salt])
    }

    /// Bytes of a master key, and of its salt.
    const fn sizes(self) -> (usize, usize) {
        match self {
            Self::Gcm128 => (16, 12),
            Self::Gcm256 => (32, 12),
            Self::Sha1 => (16, 14),
        }
    }

    /// The name that queries show.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gcm128 => "SRTP_AEAD_AES_128_GCM",
            Self::Gcm256 => "SRTP_AEAD_AES_256_GCM",
            Self::Sha1 => "SRTP_AES128_CM_SHA1_80",
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

thread_local! {
    static HEARD: RefCell<Heard> = RefCell::default();
}

/// Takes what was heard on this thread.
pub(super) fn take() -> Heard {
    HEARD.take()
}

/// The built-in cryptography, with ears.
pub(super) fn provider() -> CryptoProvider {
    listening(from_feature_flags())
}

/// Cryptography with ears. It is never given back: there are as many as there are certificates.
pub(super) fn listening(mut provider: CryptoProvider) -> CryptoProvider {
    let inner = provider.dtls_provider;
    provider.dtls_provider = Box::leak(Box::new(Listening { inner }));
    provider
}

#[derive(Debug)]
struct Listening {
    inner: &'static dyn DtlsProvider,
}

impl DtlsProvider for Listening {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.inner.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, str0m::crypto::CryptoError> {
        let inner = self.inner.new_dtls(cert, now, version, mtu)?;
        Ok(Box::new(Handshake {
            inner,
            has_sent: false,
            is_late: false,
        }))
    }
}

/// A handshake that is listened to.
#[derive(Debug)]
struct Handshake {
    inner: Box<dyn DtlsInstance>,
    has_sent: bool,
    /// Time has passed since something came in.
    is_late: bool,
}

impl DtlsInstance for Handshake {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.is_late = false;
        self.inner.handle_packet(packet)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library says more than is of use here"
    )]
    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let output = self.inner.poll_output(buf);
        match &output {
            DtlsOutput::Packet(_) => {
                // What is sent without a cause but the time was sent before.
                if std::mem::take(&mut self.is_late) && self.has_sent {
                    HEARD.with_borrow_mut(|heard| heard.retransmissions += 1);
                }
                self.has_sent = true;
            }
            DtlsOutput::KeyingMaterial(material, profile) => {
                let keys = Keys::new(*profile, material);
                HEARD.with_borrow_mut(|heard| heard.keys = keys);
            }
            _ => {}
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.is_late = true;
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.is_late = false;
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.is_late = false;
        self.inner.close()
    }
}
