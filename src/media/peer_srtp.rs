//! SRTP with keys that the API names (RFC 3711), for plain RTP that leaves or comes in: AES in
//! counter mode and HMAC-SHA1, by the cryptography of the WebRTC library.
//!
//! Invariant: a packet index is used once per source and key, and accepted once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use str0m::crypto::{Aes128CmSha1_80, Aes128CmSha1_80Cipher, CryptoProvider, Sha1HmacProvider};
use subtle::ConstantTimeEq as _;

use crate::media::peer_cipher::derive;
use crate::media::peer_open::near;
use crate::media::setup::MediaSetup;
use crate::wire::rtp::packet::RtpLayout;

/// How long the tag of each packet is (RFC 4568 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpSuite {
    /// `AES_CM_128_HMAC_SHA1_32`.
    Tag32,
    /// `AES_CM_128_HMAC_SHA1_80`.
    Tag80,
}

/// A master key with its salt.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    /// The suite.
    pub suite: SrtpSuite,
    /// 16 bytes of key, 14 of salt.
    pub master: [u8; MASTER_SIZE],
}

/// Bytes of a master key and its salt.
pub const MASTER_SIZE: usize = 30;

const KEY_SIZE: usize = 16;

/// Sources that one context knows; more are refused, since each has a state of its own.
const SOURCES_MAX: usize = 64;

/// Packets that may come late, as far back as replays are told from them.
const WINDOW: u64 = 128;

/// The cipher works on whole blocks and wants room for the last.
const CIPHER_ROOM: usize = 15;

/// Labels of the derived keys (RFC 3711 section 4.3.2).
const LABEL_CIPHER: u8 = 0;
const LABEL_AUTH: u8 = 1;
const LABEL_SALT: u8 = 2;

impl SrtpSuite {
    const fn tag_size(self) -> usize {
        match self {
            Self::Tag32 => 4,
            Self::Tag80 => 10,
        }
    }
}

impl fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpKeys")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

impl MediaSetup {
    /// The library that does the cryptography.
    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        let other = self.crypto.as_ref().map(|crypto| crypto.provider());
        other.unwrap_or_else(|| self.certificate.provider())
    }
}

/// The keys of one direction, and how far each source has come.
pub(crate) struct Srtp {
    suite: SrtpSuite,
    cipher: Box<dyn Aes128CmSha1_80Cipher>,
    auth: [u8; 20],
    salt: [u8; 14],
    hmac: &'static dyn Sha1HmacProvider,
    sources: BTreeMap<u32, Course>,
    scratch: Vec<u8>,
}

/// How far a source has come.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    /// The highest index, of 48 bits.
    highest: u64,
    /// Which of the indices up to the highest have been seen; the lowest bit is the highest.
    seen: u128,
}

impl Course {
    fn is_fresh(self, index: u64) -> bool {
        if index > self.highest {
            return true;
        }
        let back = self.highest - index;
        back < WINDOW && self.seen >> back & 1 == 0
    }

    fn note(&mut self, index: u64) {
        if index > self.highest {
            let ahead = index - self.highest;
            self.seen = if ahead < WINDOW {
                self.seen << ahead
            } else {
                0
            };
            self.highest = index;
        }
        self.seen |= 1 << (self.highest - index);
    }
}

impl Srtp {
    pub(crate) fn new(provider: &CryptoProvider, keys: &SrtpKeys) -> Self {
        let (key, salt_of_it) = keys.master.split_at(KEY_SIZE);
        let derive = |label: u8, out: &mut [u8]| derive(provider, key, salt_of_it, label, out);
        let (mut cipher, mut auth, mut salt) = ([0; KEY_SIZE], [0; 20], [0; 14]);
        derive(LABEL_CIPHER, &mut cipher);
        derive(LABEL_AUTH, &mut auth);
        derive(LABEL_SALT, &mut salt);
        let factory = provider.srtp_provider.aes_128_cm_sha1_80();
        Self {
            suite: keys.suite,
            cipher: factory.create_cipher(cipher, true),
            auth,
            salt,
            hmac: provider.sha1_hmac_provider,
            sources: BTreeMap::new(),
            scratch: Vec::new(),
        }
    }

    /// Encrypts an RTP packet in its place, and appends the tag. `false` if it is none, or was
    /// encrypted before, or its source is one too many.
    pub(crate) fn protect(&mut self, packet: &mut Vec<u8>) -> bool {
        let Some((layout, mut course, index)) = self.place(packet) else {
            return false;
        };
        course.note(index);
        self.sources.insert(layout.header.ssrc, course);
        if !self.crypt(&layout, index, packet) {
            return false;
        }
        let tag = self.tag(packet, index);
        packet.extend_from_slice(&tag[..self.suite.tag_size()]);
        true
    }

    /// Checks an SRTP packet, and decrypts it in its place. `false` if it is not to be trusted.
    pub(crate) fn unprotect(&mut self, packet: &mut Vec<u8>) -> bool {
        let Some(end) = packet.len().checked_sub(self.suite.tag_size()) else {
            return false;
        };
        let shown = packet.split_off(end);
        let Some((layout, mut course, index)) = self.place(packet) else {
            return false;
        };
        let tag = self.tag(packet, index);
        let is_right = tag[..self.suite.tag_size()].ct_eq(&shown);
        if !bool::from(is_right) {
            return false;
        }
        course.note(index);
        self.sources.insert(layout.header.ssrc, course);
        self.crypt(&layout, index, packet)
    }

    /// Finds out which packet of its source this is; `None` if it cannot be a new one.
    fn place(&self, packet: &[u8]) -> Option<(RtpLayout, Course, u64)> {
        let layout = RtpLayout::read(packet)?;
        let sequence = layout.header.sequence;
        let course = match self.sources.get(&layout.header.ssrc) {
            Some(course) => *course,
            None if self.sources.len() < SOURCES_MAX => Course {
                highest: u64::from(sequence),
                seen: 0,
            },
            None => return None,
        };
        let index = near(course.highest, sequence);
        course.is_fresh(index).then_some((layout, course, index))
    }

    fn crypt(&mut self, layout: &RtpLayout, index: u64, packet: &mut [u8]) -> bool {
        let iv = Aes128CmSha1_80::rtp_iv(self.salt, layout.header.ssrc, index);
        let payload = &mut packet[layout.payload.clone()];
        self.scratch.clear();
        self.scratch.resize(payload.len() + CIPHER_ROOM, 0);
        if let Err(error) = self.cipher.encrypt(&iv, payload, &mut self.scratch) {
            tracing::debug!(%error, "a packet was not encrypted");
            return false;
        }
        payload.copy_from_slice(&self.scratch[..payload.len()]);
        true
    }

    fn tag(&self, packet: &[u8], index: u64) -> [u8; 20] {
        let rollovers = (index >> 16) as u32;
        self.hmac
            .sha1_hmac(&self.auth, &[packet, &rollovers.to_be_bytes()])
    }
}

impl fmt::Debug for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Srtp")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtp::packet::{RtpHeader, write_header};
    use str0m::crypto::from_feature_flags;

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    fn keys(suite: SrtpSuite) -> SrtpKeys {
        let mut master = [0; MASTER_SIZE];
        (0_u8..).zip(&mut master).for_each(|(n, byte)| *byte = n);
        SrtpKeys { suite, master }
    }

    fn pair(suite: SrtpSuite) -> (Srtp, Srtp) {
        let provider = from_feature_flags();
        let keys = keys(suite);
        (Srtp::new(&provider, &keys), Srtp::new(&provider, &keys))
    }

    fn packet(sequence: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = RtpHeader {
            sequence,
            ssrc: 7,
            ..RtpHeader::default()
        };
        write_header(&header, &[(1, &[0x55])], &mut bytes);
        bytes.extend(b"what is sent");
        bytes
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn keys_are_derived_as_the_standard_shows() {
        let mut master = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        master.extend(hex("0EC675AD498AFEEBB6960B3AABE6"));
        let provider = from_feature_flags();
        for (label, wanted) in [
            (LABEL_CIPHER, "C61E7A93744F39EE10734AFE3FF7A087"),
            (LABEL_SALT, "30CBBC08863D8C85D49DB34A9AE1"),
            (LABEL_AUTH, "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"),
        ] {
            let mut out = vec![0; wanted.len() / 2];
            let (key, salt) = master.split_at(KEY_SIZE);
            derive(&provider, key, salt, label, &mut out);
            assert_eq!(out, hex(wanted));
        }
    }

    #[test]
    fn what_is_protected_is_hidden_and_comes_back() {
        for (suite, tag) in [(SrtpSuite::Tag32, 4), (SrtpSuite::Tag80, 10)] {
            let (mut sender, mut receiver) = pair(suite);
            // Across the end of the sequence numbers, which begins another round.
            for sequence in (65_530..=u16::MAX).chain(0..5) {
                let plain = packet(sequence);
                let mut sent = plain.clone();
                assert!(sender.protect(&mut sent));
                assert_eq!(sent.len(), plain.len() + tag);
                assert_eq!(sent[..20], plain[..20], "the header stays");
                assert_ne!(sent[20..plain.len()], plain[20..]);
                assert!(receiver.unprotect(&mut sent));
                assert_eq!(sent, plain);
            }
        }
    }

    #[test]
    fn a_packet_is_accepted_once_though_late() {
        let (mut sender, mut receiver) = pair(SrtpSuite::Tag80);
        let sent: Vec<Vec<u8>> = (0..3)
            .map(|sequence| {
                let mut sent = packet(sequence);
                assert!(sender.protect(&mut sent));
                sent
            })
            .collect();
        let outcomes = [0, 2, 1, 1, 0].map(|at: usize| receiver.unprotect(&mut sent[at].clone()));
        assert_eq!(outcomes, [true, true, true, false, false]);
    }

    #[test]
    fn a_packet_that_was_changed_is_refused() {
        let (mut sender, mut receiver) = pair(SrtpSuite::Tag32);
        let mut sent = packet(1);
        assert!(sender.protect(&mut sent));
        for at in 0..sent.len() {
            let mut changed = sent.clone();
            changed[at] ^= 1;
            assert!(!receiver.unprotect(&mut changed), "byte {at}");
        }
        assert!(receiver.unprotect(&mut sent));
        assert!(!receiver.unprotect(&mut vec![0x80; 3]));
    }
}
