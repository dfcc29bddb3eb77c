//! A stand-in for DTLS: the same flights and timers, the same classes of datagrams, certificates
//! that are checked, keys for SRTP, and no cryptography.
//!
//! Real DTLS draws from a generator of its crypto library that no seed reaches, and its signatures
//! differ in length from run to run. Both sides of a call use this one, through the provider that
//! the WebRTC library takes; SRTP and the integrity of STUN stay real.
//!
//! Invariant: all randomness is the seeded generator of the WebRTC library.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bifrons::media::Crypto;
use str0m::config::CryptoProvider;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};

/// The cryptography of clients: everything real but DTLS.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(stand_in()));
    Arc::clone(&PROVIDER)
}

/// The same for gateways, which listen to their handshakes.
pub fn crypto() -> Crypto {
    static CRYPTO: LazyLock<Crypto> = LazyLock::new(|| Crypto::new(stand_in()));
    CRYPTO.clone()
}

fn stand_in() -> CryptoProvider {
    let mut provider = str0m::crypto::from_feature_flags();
    provider.dtls_provider = &StandIn;
    provider
}

/// What a datagram of the stand-in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// The other side has ended it.
    Alert,
    /// Data channels.
    Data,
    /// The last flight: whoever sends or gets it has keys.
    Finished,
    /// A flight before that.
    Hello,
}

impl Record {
    /// Tells what a datagram is, if it is of the stand-in at all.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match (bytes.first()?, bytes.get(3)?) {
            (&ALERT, _) => Some(Self::Alert),
            (&DATA, _) => Some(Self::Data),
            (&HANDSHAKE, &FINISHED) => Some(Self::Finished),
            (&HANDSHAKE, _) => Some(Self::Hello),
            _ => None,
        }
    }
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const VERSION: [u8; 2] = [254, 253];

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const FINISHED: u8 = 3;

/// RFC 6347 section 4.2.4.1.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(8);

/// Two keys and two salts of AES-128 in Galois counter mode.
const KEYS_SIZE: usize = 2 * (16 + 12);

#[derive(Debug)]
struct StandIn;

impl DtlsProvider for StandIn {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        let certificate = (0..32).map(|_| fastrand::u8(..)).collect();
        Some(DtlsCert {
            certificate,
            private_key: vec![0],
        })
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        _version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, str0m::crypto::CryptoError> {
        Ok(Box::new(Instance {
            certificate: cert.certificate.clone(),
            random: fastrand::u64(..),
            role: Role::Unknown,
            phase: Phase::Begins,
            now,
            retry: None,
            out: VecDeque::new(),
            news: VecDeque::new(),
        }))
    }
}

#[derive(Debug)]
struct Instance {
    certificate: Vec<u8>,
    random: u64,
    role: Role,
    phase: Phase,
    now: Instant,
    retry: Option<(Instant, Duration)>,
    out: VecDeque<Vec<u8>>,
    news: VecDeque<News>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Active,
    Passive,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Begins,
    Closing,
    Connected,
    /// The passive side knows the other, and waits for its last flight.
    Known(u64),
}

#[derive(Debug)]
enum News {
    Certificate(Vec<u8>),
    Closed,
    Connected,
    Data(Vec<u8>),
    Keys(u64),
}

impl Instance {
    fn say(&mut self, step: u8) {
        let mut record = vec![HANDSHAKE, VERSION[0], VERSION[1], step];
        record.extend(self.random.to_be_bytes());
        record.extend(&self.certificate);
        self.out.push_back(record);
    }

    fn say_and_retry(&mut self, step: u8) {
        self.say(step);
        self.retry = Some((self.now + RETRY_FIRST, RETRY_FIRST));
    }

    /// The keys are made of what both sides drew.
    fn connect(&mut self, theirs: u64) {
        self.phase = Phase::Connected;
        self.retry = None;
        self.news.push_back(News::Connected);
        self.news.push_back(News::Keys(theirs ^ self.random));
    }

    fn handshake(&mut self, step: u8, theirs: u64, certificate: &[u8]) {
        match (self.role, step) {
            (Role::Passive, CLIENT_HELLO) if self.phase == Phase::Begins => {
                self.phase = Phase::Known(theirs);
                self.news.push_back(News::Certificate(certificate.to_vec()));
                self.say_and_retry(SERVER_HELLO);
            }
            (Role::Passive, CLIENT_HELLO) if matches!(self.phase, Phase::Known(_)) => {
                self.say(SERVER_HELLO);
            }
            (Role::Passive, FINISHED) => {
                if let Phase::Known(theirs) = self.phase {
                    self.connect(theirs);
                }
            }
            (Role::Active, SERVER_HELLO) if self.phase == Phase::Begins => {
                self.news.push_back(News::Certificate(certificate.to_vec()));
                self.connect(theirs);
                self.say(FINISHED);
            }
            // The last flight was lost.
            (Role::Active, SERVER_HELLO) if self.phase == Phase::Connected => self.say(FINISHED),
            _ => {}
        }
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.role = if active { Role::Active } else { Role::Passive };
        if active {
            self.say_and_retry(CLIENT_HELLO);
        }
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        if packet.get(1..3) != Some(&VERSION[..]) {
            return Ok(());
        }
        match (packet[0], packet.get(3..)) {
            (ALERT, _) if self.phase == Phase::Connected => self.news.push_back(News::Closed),
            (DATA, Some(data)) if self.phase == Phase::Connected => {
                self.news.push_back(News::Data(data.to_vec()));
            }
            (HANDSHAKE, Some([step, rest @ ..])) if rest.len() >= 8 => {
                let (theirs, certificate) = rest.split_at(8);
                let theirs = theirs.try_into().expect("eight bytes");
                self.handshake(*step, u64::from_be_bytes(theirs), certificate);
            }
            _ => {}
        }
        Ok(())
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let mut fill = |bytes: &[u8]| {
            buffer[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        };
        if let Some(packet) = self.out.pop_front() {
            let size = fill(&packet);
            return DtlsOutput::Packet(&buffer[..size]);
        }
        match self.news.pop_front() {
            Some(News::Certificate(certificate)) => {
                let size = fill(&certificate);
                DtlsOutput::PeerCert(&buffer[..size])
            }
            Some(News::Closed) => DtlsOutput::CloseNotify,
            Some(News::Connected) => DtlsOutput::Connected,
            Some(News::Data(data)) => {
                let size = fill(&data);
                DtlsOutput::ApplicationData(&buffer[..size])
            }
            Some(News::Keys(key)) => {
                let mut generator = fastrand::Rng::with_seed(key);
                let keys: Vec<u8> = (0..KEYS_SIZE).map(|_| generator.u8(..)).collect();
                let profile = SrtpProfile::AEAD_AES_128_GCM;
                DtlsOutput::KeyingMaterial(KeyingMaterial::new(&keys), profile)
            }
            None => {
                let idle = self.now + Duration::from_secs(3_600);
                DtlsOutput::Timeout(self.retry.map_or(idle, |(at, _)| at))
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        if let Some((at, wait)) = self.retry
            && at <= now
        {
            let wait = (wait * 2).min(RETRY_LAST);
            self.retry = Some((now + wait, wait));
            self.say(if self.role == Role::Active {
                CLIENT_HELLO
            } else {
                SERVER_HELLO
            });
        }
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        if self.phase != Phase::Connected {
            return Ok(0);
        }
        let mut record = vec![DATA, VERSION[0], VERSION[1]];
        record.extend(data);
        self.out.push_back(record);
        Ok(data.len())
    }

    fn is_active(&self) -> bool {
        self.role == Role::Active
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        None
    }

    fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    fn is_closed(&self) -> bool {
        self.is_closing() && self.out.is_empty()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        if self.phase == Phase::Connected {
            self.out.push_back(vec![ALERT, VERSION[0], VERSION[1], 0]);
        }
        self.phase = Phase::Closing;
        self.retry = None;
        Ok(())
    }
}
