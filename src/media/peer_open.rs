//! Decrypting copies of SRTP and SRTCP for captures (RFC 3711, RFC 7714).
//!
//! The session goes on beside it and is not touched. A capture begins anywhere, so how often the
//! sequence numbers of a source have begun anew is found by trying: only the right count passes the
//! integrity check.

use std::collections::BTreeMap;

use str0m::config::CryptoProvider;

use crate::media::peer_cipher::{Cipher, Mode, Use};
use crate::media::peer_keys::Suite;
use crate::wire::rtp::packet::RtpLayout;

/// Rounds of sequence numbers that are tried: eight hours of 2,000 packets a second.
const ROUNDS_MAX: u64 = 1_024;

/// Sources that are followed; packets of others are not shown.
const SOURCES_MAX: usize = 64;

/// One direction of a session.
pub(super) struct Opener {
    rtp: Cipher,
    rtcp: Cipher,
    /// The highest index of each source; `None` where no round fits.
    sources: BTreeMap<u32, Option<u64>>,
    scratch: Vec<u8>,
}

impl Opener {
    /// With a master key and its salt, in the sizes of the suite.
    pub(super) fn new(
        provider: &CryptoProvider,
        suite: Suite,
        (key, salt): (&[u8], &[u8]),
    ) -> Self {
        let cipher = |use_of| Cipher::new(provider, suite, key, salt, use_of, Mode::Opening);
        Self {
            rtp: cipher(Use::Rtp),
            rtcp: cipher(Use::Rtcp),
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
        out.extend(self.rtcp.open_compound(packet)?);
        Some(())
    }
}

/// The index that a sequence number stands for (RFC 3711 section 3.3.1).
pub(super) fn near(highest: u64, sequence: u16) -> u64 {
    let ahead = sequence.wrapping_sub(highest as u16).cast_signed();
    let index = highest.checked_add_signed(ahead.into());
    index.unwrap_or(sequence.into())
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
}
