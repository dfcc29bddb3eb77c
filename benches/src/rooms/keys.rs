//! The keys of a PeerConnection's SRTP, which the WebRTC library tells nobody, and what can be sent
//! with them beside it.
//!
//! Its DTLS is the built-in one with an ear in front of it. Handshakes know nothing of peers, so
//! what was heard is left with the thread; the peer that was just called takes it.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use str0m::config::CryptoProvider;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
    SrtpProfile,
};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, CryptoError, SrtpProvider, from_feature_flags,
};

/// Labels of the derived keys of SRTCP (RFC 3711 section 4.3.2).
const LABEL_CIPHER: u8 = 3;
const LABEL_SALT: u8 = 5;

/// What comes before the part of RTCP that is encrypted.
const CLEAR_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
const SALT_BYTES: usize = 12;

/// Encrypts RTCP of a source that only it sends for (RFC 7714).
pub(super) struct Sealer {
    cipher: Cipher,
    salt: [u8; SALT_BYTES],
    index: u32,
}

enum Cipher {
    Gcm128(Box<dyn AeadAes128GcmCipher>),
    Gcm256(Box<dyn AeadAes256GcmCipher>),
}

impl Sealer {
    /// `material` is what the handshake gave out (RFC 5764 section 4.2). `None` for a profile that
    /// has no authenticated encryption.
    fn new(profile: SrtpProfile, material: &[u8], is_client: bool) -> Option<Self> {
        let known = [
            (SrtpProfile::AEAD_AES_128_GCM, 16),
            (SrtpProfile::AEAD_AES_256_GCM, 32),
        ];
        let (_, key_bytes) = known.into_iter().find(|each| each.0 == profile)?;
        let (keys, salts) = material.split_at_checked(2 * key_bytes)?;
        let mine = usize::from(!is_client);
        let key = keys.chunks(key_bytes).nth(mine)?;
        let salt = salts.chunks_exact(SALT_BYTES).nth(mine)?;
        let srtp = from_feature_flags().srtp_provider;
        let mut own_salt = [0; SALT_BYTES];
        derive(srtp, key, salt, LABEL_SALT, &mut own_salt);
        let cipher = if key_bytes == 16 {
            let mut own = [0; 16];
            derive(srtp, key, salt, LABEL_CIPHER, &mut own);
            Cipher::Gcm128(srtp.aead_aes_128_gcm().create_cipher(own, true))
        } else {
            let mut own = [0; 32];
            derive(srtp, key, salt, LABEL_CIPHER, &mut own);
            Cipher::Gcm256(srtp.aead_aes_256_gcm().create_cipher(own, true))
        };
        Some(Self {
            cipher,
            salt: own_salt,
            index: 0,
        })
    }

    /// Encrypts an RTCP packet.
    pub(super) fn seal(&mut self, packet: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.index = (self.index + 1) & 0x7fff_ffff;
        let trailer = (1 << 31 | self.index).to_be_bytes();
        let (clear, secret) = packet.split_at(CLEAR_BYTES);
        let mut iv = self.salt;
        let nonce = [
            &[0; 2][..],
            &clear[4..8],
            &[0; 2],
            &self.index.to_be_bytes(),
        ];
        for (byte, with) in iv.iter_mut().zip(nonce.concat()) {
            *byte ^= with;
        }
        let aad = [clear, &trailer].concat();
        let mut out = clear.to_vec();
        out.resize(packet.len() + TAG_BYTES, 0);
        let into = &mut out[CLEAR_BYTES..];
        match &mut self.cipher {
            Cipher::Gcm128(cipher) => cipher.encrypt(&iv, &aad, secret, into)?,
            Cipher::Gcm256(cipher) => cipher.encrypt(&iv, &aad, secret, into)?,
        }
        out.extend(trailer);
        Ok(out)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

/// Derives a session key (RFC 3711 section 4.3): the key stream of the master key.
fn derive(srtp: &dyn SrtpProvider, key: &[u8], salt: &[u8], label: u8, out: &mut [u8]) {
    let mut input = [0; 16];
    input[..salt.len()].copy_from_slice(salt);
    input[7] ^= label;
    for (block, chunk) in (0_u16..).zip(out.chunks_mut(16)) {
        input[14..].copy_from_slice(&block.to_be_bytes());
        // Room for what the library appends in this mode.
        let mut stream = [0; 32];
        if key.len() == 32 {
            srtp.srtp_aes_256_ecb_round(key, &input, &mut stream);
        } else {
            srtp.srtp_aes_128_ecb_round(key, &input, &mut stream);
        }
        chunk.copy_from_slice(&stream[..chunk.len()]);
    }
}

thread_local! {
    static HEARD: RefCell<Option<Sealer>> = const { RefCell::new(None) };
}

/// Takes what was heard on this thread.
pub(super) fn take() -> Option<Sealer> {
    HEARD.take()
}

/// The built-in cryptography, with an ear.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = from_feature_flags();
    provider.dtls_provider = &Listening;
    Arc::new(provider)
}

#[derive(Debug)]
struct Listening;

impl DtlsProvider for Listening {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let dtls = from_feature_flags().dtls_provider;
        Ok(Box::new(Handshake(dtls.new_dtls(cert, now, version, mtu)?)))
    }
}

#[derive(Debug)]
struct Handshake(Box<dyn DtlsInstance>);

impl DtlsInstance for Handshake {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let is_client = self.0.is_active();
        let output = self.0.poll_output(buf);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            let sealer = Sealer::new(*profile, material, is_client);
            HEARD.with_borrow_mut(|heard| *heard = sealer);
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7714 has this packet with this session key; the derivation is skipped for it.
    #[test]
    fn rtcp_is_encrypted_as_rfc_7714_has_it() {
        let hex = |text: &str| -> Vec<u8> {
            let digits = text.as_bytes().chunks(2);
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
            digits.map(|pair| byte(pair).unwrap()).collect()
        };
        let key: [u8; 16] = hex("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        let srtp = from_feature_flags().srtp_provider;
        let mut sealer = Sealer {
            cipher: Cipher::Gcm128(srtp.aead_aes_128_gcm().create_cipher(key, true)),
            salt: hex("517569642070726f2071756f").try_into().unwrap(),
            index: 0x5d3,
        };
        let packet = hex("81c8000d4d6172734e5450314e545032525450200000042a0000e930\
             4c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef");
        let expected = hex("81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f7\
             6c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf872\
             45d9eade800005d4");
        assert_eq!(sealer.seal(&packet).unwrap(), expected);
    }
}
