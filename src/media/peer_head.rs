//! The headers of packets that go out beside the WebRTC library.

use crate::base::clock::Monotonic;
use crate::media::line::LineOffer;
use crate::media::peer_ext::{CAPTURE_TIME, HeaderValues, MID, SEND_TIME, TRANSPORT_CC};
use crate::media::peer_plain::Changes;
use crate::wire::rtp::packet::{RtpHeader, write_header};

/// The numbers of header extensions that are not passed on between gateways as values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HopIds {
    pub(super) capture_time: Option<u8>,
    pub(super) mid: Option<u8>,
    pub(super) send_time: Option<u8>,
    pub(super) transport_cc: Option<u8>,
}

impl HopIds {
    /// Notes the number of an extension.
    pub(super) fn note(&mut self, uri: &str, id: u8) {
        match uri {
            CAPTURE_TIME => self.capture_time = Some(id),
            MID => self.mid = Some(id),
            SEND_TIME => self.send_time = Some(id),
            TRANSPORT_CC => self.transport_cc = Some(id),
            _ => {}
        }
    }
}

/// When a packet is sent, in the 6 bits of seconds and 18 of their fraction that
/// `abs-send-time` has.
pub(super) fn send_time(now: Monotonic) -> [u8; 3] {
    const NANOS: u128 = 1_000_000_000;
    let ticks = (u128::from(now.as_nanos()) << 18) / NANOS;
    let [_, bytes @ ..] = (ticks as u32).to_be_bytes();
    bytes
}

impl HeaderValues {
    /// Appends the header of a packet that goes to a line, with its number on the way there if
    /// the remote reports on it.
    pub(super) fn write_head(
        &self,
        now: Monotonic,
        number: Option<u16>,
        offer: &LineOffer,
        header: &RtpHeader,
        changes: Changes,
        out: &mut Vec<u8>,
    ) {
        let ids = offer.hop_ids;
        let sent = send_time(now);
        let number = number.map(u16::to_be_bytes);
        let of_hop = [
            ids.mid.map(|id| (id, offer.mid.as_bytes())),
            ids.send_time.map(|id| (id, &sent[..])),
            ids.transport_cc
                .zip(number.as_ref().map(<[u8; 2]>::as_slice)),
            ids.capture_time.zip(self.capture_time()),
        ];
        self.with_changed(offer.extension_ids, changes, of_hop, |extensions| {
            write_header(header, extensions, out);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_sending_has_64_seconds() {
        let at = |nanos| send_time(Monotonic::from_nanos(nanos));
        assert_eq!(at(0), [0, 0, 0]);
        assert_eq!(at(1_500_000_000), [0x06, 0, 0]);
        assert_eq!(at(64_000_000_000), [0, 0, 0]);
        assert_eq!(at(63_999_999_999), [0xff, 0xff, 0xff]);
    }
}
