//! Decrypting copies of SRTP and SRTCP for captures (RFC 3711, RFC 7714).
//!
//! The session goes on beside it and is not touched. A capture begins anywhere, so how often the
//! sequence numbers of a source have begun anew is found by trying: only the right count passes the
//! integrity check.

use std::collections::BTreeMap;

use str0m::config::CryptoProvider;
use str0m::crypto::{
    AeadAes128Gcm, AeadAes128GcmCipher, AeadAes256Gcm, AeadAes256GcmCipher, Aes128CmSha1_80,
    Aes128CmSha1_80Cipher, Sha1HmacProvider,
};

use crate::media::peer_keys::Suite;
use crate::wire::rtp::packet::RtpLayout;

/// Rounds of sequence numbers that are tried: eight hours of 2,000 packets a second.
const ROUNDS_MAX: u64 = 1_024;

/// Sources that are followed; packets of others are not shown.
const SOURCES_MAX: usize = 64;

const GCM_TAG: usize = 16;
const SHA1_TAG: usize = 10;

/// The cipher works on whole blocks and wants room for the last.
const ROOM: usize = 32;

/// Labels of the derived keys (RFC 3711 section 4.3.2), for RTP and for RTCP.
const LABELS: [[u8; 3]; 2] = [[0, 1, 2], [3, 4, 5]];

/// One direction of a session.
pub(super) struct Opener {
    rtp: Cipher,
    rtcp: Cipher,
    /// The highest index of each source; `None` where no round fits.
    sources: BTreeMap<u32, Option<u64>>,
    scratch: Vec<u8>,
}

enum Cipher {
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

impl Opener {
    /// With a master key and its salt, in the sizes of the suite.
    pub(super) fn new(
        provider: &CryptoProvider,
        suite: Suite,
        (key, salt): (&[u8], &[u8]),
    ) -> Self {
        let [rtp, rtcp] = LABELS.map(|labels| Cipher::new(provider, suite, key, salt, labels));
        Self {
            rtp,
            rtcp,
            sources: BTreeMap::new(),
            scratch: Vec::new(),
        }
    }

    /// Appends the plaintext of a packet to an empty buffer; `false` if it does not open.
    pub(super) fn open(&mut self, packet: &[u8], out: &mut Vec<u8>) -> bool {
        let is_rtcp = packet.get(1).is_some_and(|pt| (192..224).contains(pt));
        if is_rtcp {
            self.open_rtcp(packet, out).is_some()
        } else {
            self.open_rtp(packet, out).is_some()
        }
    }

    fn open_rtp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let layout = RtpLayout::read(packet)?;
        let (ssrc, sequence) = (layout.header.ssrc, layout.header.sequence);
        let head = layout.payload.start;
        let index = match self.sources.get(&ssrc) {
            Some(None) => return None,
            Some(Some(highest)) => {
                let index = near(*highest, sequence);
                self.rtp
                    .open_rtp(packet, head, ssrc, index, &mut self.scratch)?;
                index
            }
            None if self.sources.len() == SOURCES_MAX => return None,
            None => {
                let rounds = (0..ROUNDS_MAX).map(|round| round << 16 | u64::from(sequence));
                let found = rounds.into_iter().find(|index| {
                    let opened = self
                        .rtp
                        .open_rtp(packet, head, ssrc, *index, &mut self.scratch);
                    opened.is_some()
                });
                self.sources.insert(ssrc, found);
                found?
            }
        };
        let highest = self.sources.entry(ssrc).or_default();
        *highest = (*highest).max(Some(index));
        out.extend_from_slice(&packet[..head]);
        out.extend_from_slice(&self.scratch);
        Some(())
    }

    fn open_rtcp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let ssrc = u32::from_be_bytes(packet.get(4..8)?.try_into().ok()?);
        self.rtcp.open_rtcp(packet, ssrc, &mut self.scratch)?;
        out.extend_from_slice(&packet[..8]);
        out.extend_from_slice(&self.scratch);
        Some(())
    }
}

impl Cipher {
    fn new(
        provider: &CryptoProvider,
        suite: Suite,
        key: &[u8],
        master_salt: &[u8],
        [label_cipher, label_auth, label_salt]: [u8; 3],
    ) -> Self {
        let derive = |label, out: &mut [u8]| derive(provider, key, master_salt, label, out);
        match suite {
            Suite::Gcm128 => {
                let (mut key, mut salt) = ([0; 16], [0; 12]);
                derive(label_cipher, &mut key);
                derive(label_salt, &mut salt);
                let factory = provider.srtp_provider.aead_aes_128_gcm();
                Self::Gcm128 {
                    cipher: factory.create_cipher(key, false),
                    salt,
                }
            }
            Suite::Gcm256 => {
                let (mut key, mut salt) = ([0; 32], [0; 12]);
                derive(label_cipher, &mut key);
                derive(label_salt, &mut salt);
                let factory = provider.srtp_provider.aead_aes_256_gcm();
                Self::Gcm256 {
                    cipher: factory.create_cipher(key, false),
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
    fn open_rtp(
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

    /// Puts all but the first eight bytes into `out`. What is not encrypted does not open: it is
    /// never sent so here.
    fn open_rtcp(&mut self, packet: &[u8], ssrc: u32, out: &mut Vec<u8>) -> Option<()> {
        let tag = match self {
            Self::Gcm128 { .. } | Self::Gcm256 { .. } => 0,
            Self::Sha1 { .. } => SHA1_TAG,
        };
        let end = packet.len().checked_sub(tag)?;
        let at = end.checked_sub(4).filter(|at| *at >= 8)?;
        let word: [u8; 4] = packet[at..end].try_into().ok()?;
        let index = u32::from_be_bytes(word) & 0x7fff_ffff;
        if word[0] & 0x80 == 0 {
            return None;
        }
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

/// The index that a sequence number stands for (RFC 3711 section 3.3.1).
pub(super) fn near(highest: u64, sequence: u16) -> u64 {
    let ahead = sequence.wrapping_sub(highest as u16).cast_signed();
    let index = highest.checked_add_signed(ahead.into());
    index.unwrap_or(sequence.into())
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
    use crate::media::peer_srtp::{Srtp, SrtpKeys, SrtpSuite};
    use str0m::crypto::from_feature_flags;

    const MASTER: [u8; 30] = [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
        26, 27, 28, 29, 30,
    ];

    fn packet(sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 1, 0, 0, 0, 7]);
        packet.extend(b"what is sent");
        packet
    }

    #[test]
    fn counter_mode_opens_from_any_round_on() {
        let provider = from_feature_flags();
        let keys = SrtpKeys {
            suite: SrtpSuite::Tag80,
            master: MASTER,
        };
        let mut sender = Srtp::new(&provider, &keys);
        for sequence in (0..=u16::MAX).chain(0..=u16::MAX) {
            if sequence % 16_384 == 0 {
                assert!(sender.protect(&mut packet(sequence)));
            }
        }
        let mut opener = Opener::new(&provider, Suite::Sha1, MASTER.split_at(16));
        // In the third round, and out of order.
        for sequence in [1, 3, 2, 30_000, 29_999] {
            let plain = packet(sequence);
            let mut sealed = plain.clone();
            assert!(sender.protect(&mut sealed));
            let mut out = Vec::new();
            assert!(opener.open(&sealed, &mut out), "{sequence}");
            assert_eq!(out, plain);
            *sealed.last_mut().unwrap() ^= 1;
            assert!(!opener.open(&sealed, &mut Vec::new()));
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
