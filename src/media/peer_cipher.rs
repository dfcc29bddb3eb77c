//! The ciphers of SRTP and SRTCP with the keys of a PeerConnection's handshake (RFC 3711, RFC 7714),
//! beside those of the WebRTC library.
//!
//! Invariant: who seals answers for the index: no two packets that differ may be sent with one.

use str0m::config::CryptoProvider;
use str0m::crypto::{
    AeadAes128Gcm, AeadAes128GcmCipher, AeadAes256Gcm, AeadAes256GcmCipher, Aes128CmSha1_80,
    Aes128CmSha1_80Cipher, Sha1HmacProvider,
};

use crate::media::peer_keys::Suite;

/// What a key is for: each use has keys of its own, derived from the master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Rtcp,
    Rtp,
}

impl Use {
    /// The labels of cipher, tag and salt (RFC 3711 section 4.3.2).
    const fn labels(self) -> [u8; 3] {
        match self {
            Self::Rtp => [0, 1, 2],
            Self::Rtcp => [3, 4, 5],
        }
    }
}

/// Which way a cipher works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Opening,
    Sealing,
}

/// Bytes of a tag.
const GCM_TAG: usize = 16;
const SHA1_TAG: usize = 10;

/// The cipher works on whole blocks and wants room for the last.
const ROOM: usize = 32;

/// The bit beside the index that says that a packet of RTCP is encrypted (RFC 3711 section 3.4).
const ENCRYPTED: u32 = 1 << 31;

/// One use of one direction of a session.
pub(super) enum Cipher {
    Gcm128 {
        cipher: Box<dyn AeadAes128GcmCipher>,
        salt: [u8; 12],
    },
    Gcm256 {
        cipher: Box<dyn AeadAes256GcmCipher>,
        salt: [u8; 12],
    },
    Sha1 {
        cipher: Box<dyn Aes128CmSha1_80Cipher>,
        hmac: &'static dyn Sha1HmacProvider,
        auth: [u8; 20],
        salt: [u8; 14],
    },
}

impl Cipher {
    /// From a master key and its salt, in the sizes of the suite.
    pub(super) fn new(
        provider: &CryptoProvider,
        suite: Suite,
        key: &[u8],
        master_salt: &[u8],
        use_of: Use,
        mode: Mode,
    ) -> Self {
        let [label_cipher, label_auth, label_salt] = use_of.labels();
        let seals = mode == Mode::Sealing;
        let derive = |label, out: &mut [u8]| derive(provider, key, master_salt, label, out);
        match suite {
            Suite::Gcm128 => {
                let (mut key, mut salt) = ([0; 16], [0; 12]);
                derive(label_cipher, &mut key);
                derive(label_salt, &mut salt);
                let factory = provider.srtp_provider.aead_aes_128_gcm();
                Self::Gcm128 {
                    cipher: factory.create_cipher(key, seals),
                    salt,
                }
            }
            Suite::Gcm256 => {
                let (mut key, mut salt) = ([0; 32], [0; 12]);
                derive(label_cipher, &mut key);
                derive(label_salt, &mut salt);
                let factory = provider.srtp_provider.aead_aes_256_gcm();
                Self::Gcm256 {
                    cipher: factory.create_cipher(key, seals),
                    salt,
                }
            }
            Suite::Sha1 => {
                let (mut key, mut auth, mut salt) = ([0; 16], [0; 20], [0; 14]);
                derive(label_cipher, &mut key);
                derive(label_auth, &mut auth);
                derive(label_salt, &mut salt);
                let factory = provider.srtp_provider.aes_128_cm_sha1_80();
                Self::Sha1 {
                    // Counter mode is the same both ways.
                    cipher: factory.create_cipher(key, true),
                    hmac: provider.sha1_hmac_provider,
                    auth,
                    salt,
                }
            }
        }
    }

    /// Puts the payload into `out`.
    pub(super) fn open_rtp(
        &mut self,
        packet: &[u8],
        head: usize,
        ssrc: u32,
        index: u64,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let (round, sequence) = ((index >> 16) as u32, index as u16);
        match self {
            Self::Gcm128 { cipher, salt } => {
                let iv = AeadAes128Gcm::rtp_iv(*salt, ssrc, round, sequence);
                let (aad, body) = packet.split_at(head);
                gcm(body, out, |out| cipher.decrypt(&iv, &[aad], body, out).ok())
            }
            Self::Gcm256 { cipher, salt } => {
                let iv = AeadAes256Gcm::rtp_iv(*salt, ssrc, round, sequence);
                let (aad, body) = packet.split_at(head);
                gcm(body, out, |out| cipher.decrypt(&iv, &[aad], body, out).ok())
            }
            Self::Sha1 {
                cipher,
                hmac,
                auth,
                salt,
            } => {
                let end = packet
                    .len()
                    .checked_sub(SHA1_TAG)
                    .filter(|end| *end >= head)?;
                let tag = hmac.sha1_hmac(auth, &[&packet[..end], &round.to_be_bytes()]);
                if tag[..SHA1_TAG] != packet[end..] {
                    return None;
                }
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index);
                let body = &packet[head..end];
                counter(body, out, |out| cipher.encrypt(&iv, body, out).is_ok())
            }
        }
    }

    /// Decrypts a compound of RTCP packets.
    pub(super) fn open_compound(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let (head, _) = packet.split_at_checked(8)?;
        let ssrc = u32::from_be_bytes(head[4..].try_into().ok()?);
        let mut body = Vec::new();
        self.open_rtcp(packet, ssrc, &mut body)?;
        Some([head, &body].concat())
    }

    /// Puts all but the first eight bytes into `out`. What is not encrypted does not open: it is
    /// never sent so here.
    fn open_rtcp(&mut self, packet: &[u8], ssrc: u32, out: &mut Vec<u8>) -> Option<()> {
        let end = packet.len().checked_sub(self.tag_behind_index())?;
        let at = end.checked_sub(4).filter(|at| *at >= 8)?;
        let word: [u8; 4] = packet[at..end].try_into().ok()?;
        let index = u32::from_be_bytes(word);
        if index & ENCRYPTED == 0 {
            return None;
        }
        let index = index & !ENCRYPTED;
        let (head, body) = (&packet[..8], &packet[8..at]);
        match self {
            Self::Gcm128 { cipher, salt } => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                gcm(body, out, |out| {
                    cipher.decrypt(&iv, &[head, &word], body, out).ok()
                })
            }
            Self::Gcm256 { cipher, salt } => {
                let iv = AeadAes256Gcm::rtcp_iv(*salt, ssrc, index);
                gcm(body, out, |out| {
                    cipher.decrypt(&iv, &[head, &word], body, out).ok()
                })
            }
            Self::Sha1 {
                cipher,
                hmac,
                auth,
                salt,
            } => {
                let wanted = hmac.sha1_hmac(auth, &[&packet[..end]]);
                if wanted[..SHA1_TAG] != packet[end..] {
                    return None;
                }
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index.into());
                counter(body, out, |out| cipher.encrypt(&iv, body, out).is_ok())
            }
        }
    }

    /// Appends a payload, encrypted, and its tag to the header of its packet, which begins at
    /// `start` of what is there.
    pub(super) fn seal_rtp(
        &mut self,
        ssrc: u32,
        index: u64,
        payload: &[u8],
        start: usize,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let (round, sequence) = ((index >> 16) as u32, index as u16);
        let head = out.len();
        match self {
            Self::Gcm128 { cipher, salt } => {
                let iv = AeadAes128Gcm::rtp_iv(*salt, ssrc, round, sequence);
                out.resize(head + payload.len() + GCM_TAG, 0);
                let (aad, body) = out[start..].split_at_mut(head - start);
                cipher.encrypt(&iv, aad, payload, body).ok()
            }
            Self::Gcm256 { cipher, salt } => {
                let iv = AeadAes256Gcm::rtp_iv(*salt, ssrc, round, sequence);
                out.resize(head + payload.len() + GCM_TAG, 0);
                let (aad, body) = out[start..].split_at_mut(head - start);
                cipher.encrypt(&iv, aad, payload, body).ok()
            }
            Self::Sha1 {
                cipher,
                hmac,
                auth,
                salt,
            } => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index);
                out.resize(head + payload.len() + ROOM, 0);
                cipher.encrypt(&iv, payload, &mut out[head..]).ok()?;
                out.truncate(head + payload.len());
                let tag = hmac.sha1_hmac(auth, &[&out[start..], &round.to_be_bytes()]);
                out.extend_from_slice(&tag[..SHA1_TAG]);
                Some(())
            }
        }
    }

    /// Encrypts a compound of RTCP packets, with an index that its source has not used for any
    /// other that was sent.
    pub(super) fn seal_rtcp(&mut self, plain: &[u8], index: u32) -> Option<Vec<u8>> {
        let (head, body) = plain.split_at_checked(8)?;
        let ssrc = u32::from_be_bytes(head[4..].try_into().ok()?);
        let word = (ENCRYPTED | index).to_be_bytes();
        let aad: [u8; 12] = [head, &word].concat().try_into().ok()?;
        let mut packet = head.to_vec();
        match self {
            Self::Gcm128 { cipher, salt } => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                packet.resize(plain.len() + GCM_TAG, 0);
                cipher.encrypt(&iv, &aad, body, &mut packet[8..]).ok()?;
                packet.extend_from_slice(&word);
            }
            Self::Gcm256 { cipher, salt } => {
                let iv = AeadAes256Gcm::rtcp_iv(*salt, ssrc, index);
                packet.resize(plain.len() + GCM_TAG, 0);
                cipher.encrypt(&iv, &aad, body, &mut packet[8..]).ok()?;
                packet.extend_from_slice(&word);
            }
            Self::Sha1 {
                cipher,
                hmac,
                auth,
                salt,
            } => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index.into());
                packet.resize(plain.len() + ROOM, 0);
                cipher.encrypt(&iv, body, &mut packet[8..]).ok()?;
                packet.truncate(plain.len());
                packet.extend_from_slice(&word);
                let tag = hmac.sha1_hmac(auth, &[&packet]);
                packet.extend_from_slice(&tag[..SHA1_TAG]);
            }
        }
        Some(packet)
    }

    /// The index of an RTCP packet; `None` if it is too short to have one.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Option<u32> {
        let at = packet.len().checked_sub(self.tag_behind_index() + 4)?;
        let word = packet[at..at + 4].try_into().ok()?;
        Some(u32::from_be_bytes(word) & !ENCRYPTED)
    }

    /// Bytes of the tag that follows the index of an RTCP packet; in the other modes it comes before.
    const fn tag_behind_index(&self) -> usize {
        match self {
            Self::Gcm128 { .. } | Self::Gcm256 { .. } => 0,
            Self::Sha1 { .. } => SHA1_TAG,
        }
    }
}

fn gcm(
    body: &[u8],
    out: &mut Vec<u8>,
    decrypt: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Option<()> {
    if body.len() < GCM_TAG {
        return None;
    }
    out.clear();
    out.resize(body.len() + ROOM, 0);
    let size = decrypt(out)?;
    out.truncate(size);
    Some(())
}

fn counter(body: &[u8], out: &mut Vec<u8>, decrypt: impl FnOnce(&mut [u8]) -> bool) -> Option<()> {
    out.clear();
    out.resize(body.len() + ROOM, 0);
    if !decrypt(out) {
        return None;
    }
    out.truncate(body.len());
    Some(())
}

/// Derives a session key (RFC 3711 section 4.3): the key stream of the master key.
pub(super) fn derive(
    provider: &CryptoProvider,
    key: &[u8],
    salt: &[u8],
    label: u8,
    out: &mut [u8],
) {
    let mut input = [0; 16];
    input[..salt.len()].copy_from_slice(salt);
    input[7] ^= label;
    for (block, chunk) in (0_u16..).zip(out.chunks_mut(16)) {
        input[14..].copy_from_slice(&block.to_be_bytes());
        // Room for what libraries append in this mode.
        let mut stream = [0; 32];
        let srtp = provider.srtp_provider;
        if key.len() == 32 {
            srtp.srtp_aes_256_ecb_round(key, &input, &mut stream);
        } else {
            srtp.srtp_aes_128_ecb_round(key, &input, &mut stream);
        }
        chunk.copy_from_slice(&stream[..chunk.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use str0m::crypto::from_feature_flags;

    #[test]
    fn what_is_sealed_opens_again_and_nothing_else_does() {
        let provider = from_feature_flags();
        for suite in [Suite::Gcm128, Suite::Gcm256, Suite::Sha1] {
            let master: Vec<u8> = (0..46).collect();
            let (key, salt) = suite.split(&master);
            let cipher = |use_of, mode| Cipher::new(&provider, suite, key, salt, use_of, mode);
            let head = [0x80, 96, 0, 5, 0, 0, 0, 1, 0, 0, 0, 7];
            // Behind another one.
            let mut all = [&[9; 30], &head[..]].concat();
            let index = (3 << 16) + 5;
            let sealed = cipher(Use::Rtp, Mode::Sealing).seal_rtp(7, index, b"shown", 30, &mut all);
            assert_eq!(sealed, Some(()));
            let mut packet = all.split_off(30);
            assert_eq!(packet[..12], head, "{suite:?}");
            let mut opener = cipher(Use::Rtp, Mode::Opening);
            let mut out = Vec::new();
            assert_eq!(opener.open_rtp(&packet, 12, 7, index, &mut out), Some(()));
            assert_eq!(out, b"shown");
            // In another round, or changed.
            let other = opener.open_rtp(&packet, 12, 7, index + (1 << 16), &mut out);
            assert_eq!(other, None);
            packet[1] ^= 0x80;
            assert_eq!(opener.open_rtp(&packet, 12, 7, index, &mut out), None);

            let report = [0x80, 200, 0, 2, 0, 0, 0, 7, 1, 2, 3, 4];
            let mut sealer = cipher(Use::Rtcp, Mode::Sealing);
            let sealed = sealer.seal_rtcp(&report, 9).unwrap();
            assert_eq!(sealer.rtcp_index(&sealed), Some(9));
            let mut opener = cipher(Use::Rtcp, Mode::Opening);
            assert_eq!(opener.open_rtcp(&sealed, 7, &mut out), Some(()));
            assert_eq!(out, report[8..]);
        }
    }

    /// RFC 7714 section 16.1.1 and 17.1, from the session keys on.
    #[test]
    fn galois_counter_mode_is_that_of_the_standard() {
        let hex = |text: &str| -> Vec<u8> {
            let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
            let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
            digits.chunks(2).map(byte).collect()
        };
        let provider = from_feature_flags();
        let key: [u8; 16] = hex("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        let mut cipher = Cipher::Gcm128 {
            cipher: provider
                .srtp_provider
                .aead_aes_128_gcm()
                .create_cipher(key, false),
            salt: hex("517569642070726f2071756f").try_into().unwrap(),
        };
        let sealed = hex(
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a
             51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        );
        let mut out = Vec::new();
        let opened = cipher.open_rtp(&sealed, 12, 0x5501_a0b2, 0xf17b, &mut out);
        assert_eq!(opened, Some(()));
        let plain =
            "47616c6c 6961206573 74206f6d6e 69732064 69766973 6120696e 20706172 74657320 74726573";
        assert_eq!(out, hex(plain));
        let sealed = hex(
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda
             4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        );
        assert_eq!(cipher.open_rtcp(&sealed, 0x4d61_7273, &mut out), Some(()));
        assert!(out.starts_with(&hex("4e545031 4e545032")));
    }
}
