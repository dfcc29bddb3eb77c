//! Plain RTP packets and the feedback of RTCP: for peers without a WebRTC stack.
//!
//! Invariant: what is read lies within the datagram, whatever its bytes say.

use std::ops::Range;

/// Bytes of a header without sources and extensions (RFC 3550 section 5.1).
pub const HEADER_SIZE: usize = 12;

/// The header of an RTP packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtpHeader {
    /// The last packet of a frame, as most codecs have it.
    pub marker: bool,
    /// The payload type, 7 bits.
    pub pt: u8,
    /// The sequence number.
    pub sequence: u16,
    /// When it was sampled, in units of the codec's clock.
    pub timestamp: u32,
    /// The source.
    pub ssrc: u32,
}

/// Where the parts of an RTP packet are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpLayout {
    /// The fixed part of the header.
    pub header: RtpHeader,
    /// The number that names the form of the extension block, and its body.
    pub extensions: Option<(u16, Range<usize>)>,
    /// The payload, as the header has it: encrypted packets hide their padding.
    pub payload: Range<usize>,
    /// The last byte of the payload says how many more belong to no one.
    pub has_padding: bool,
}

impl RtpLayout {
    /// Finds the parts of a packet; `None` if it is not RTP.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        if first >> 6 != 2 {
            return None;
        }
        let header = RtpHeader {
            marker: second & 0x80 != 0,
            pt: second & 0x7f,
            sequence: read_u16(bytes, 2)?,
            timestamp: read_u32(bytes, 4)?,
            ssrc: read_u32(bytes, 8)?,
        };
        let mut at = HEADER_SIZE + 4 * usize::from(first & 0x0f);
        let mut extensions = None;
        if first & 0x10 != 0 {
            let (form, words) = (read_u16(bytes, at)?, read_u16(bytes, at + 2)?);
            let body = at + 4..at + 4 + 4 * usize::from(words);
            at = body.end;
            extensions = Some((form, body));
        }
        (at <= bytes.len()).then_some(Self {
            header,
            extensions,
            payload: at..bytes.len(),
            has_padding: first & 0x20 != 0,
        })
    }

    /// The payload without its padding; `None` if the padding does not fit.
    pub fn unpadded<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        if !self.has_padding {
            return Some(payload);
        }
        let count = usize::from(*payload.last()?);
        let end = payload.len().checked_sub(count).filter(|_| count > 0)?;
        payload.get(..end)
    }

    /// Calls `each` with the number and value of every extension.
    pub fn for_each_extension(&self, bytes: &[u8], mut each: impl FnMut(u8, &[u8])) {
        self.place_extensions(bytes, |id, place| each(id, &bytes[place]));
    }

    /// Where the value of an extension is.
    pub fn find_extension(&self, bytes: &[u8], id: u8) -> Option<Range<usize>> {
        let mut found = None;
        self.place_extensions(bytes, |each, place| {
            if each == id {
                found = Some(place);
            }
        });
        found
    }

    fn place_extensions(&self, bytes: &[u8], mut each: impl FnMut(u8, Range<usize>)) {
        let Some((form, range)) = &self.extensions else {
            return;
        };
        let body = bytes.get(range.clone()).unwrap_or_default();
        let mut at = 0;
        while let Some(&first) = body.get(at) {
            let (id, size) = match *form {
                // RFC 8285 section 4.2: the number 15 ends the list.
                ONE_BYTE_FORM if first >> 4 == 15 => return,
                _ if first == 0 => {
                    at += 1;
                    continue;
                }
                ONE_BYTE_FORM => (first >> 4, usize::from(first & 0x0f) + 1),
                form if form & 0xfff0 == TWO_BYTE_FORM => {
                    at += 1;
                    (first, usize::from(body.get(at).copied().unwrap_or(0)))
                }
                _ => return,
            };
            at += 1;
            if at + size > body.len() {
                return;
            }
            each(id, range.start + at..range.start + at + size);
            at += size;
        }
    }
}

/// The forms of extension blocks (RFC 8285 section 4).
const ONE_BYTE_FORM: u16 = 0xbede;
const TWO_BYTE_FORM: u16 = 0x1000;

/// What one extension may have in the one-byte form, and which numbers.
const ONE_BYTE_SIZE_MAX: usize = 16;
const ONE_BYTE_ID_MAX: u8 = 14;

/// Appends a header. The extensions go into the smallest form that takes all of them.
pub fn write_header(header: &RtpHeader, extensions: &[(u8, &[u8])], out: &mut Vec<u8>) {
    let has_extensions = !extensions.is_empty();
    let mut fixed = [0; HEADER_SIZE];
    fixed[0] = 0x80 | u8::from(has_extensions) << 4;
    fixed[1] = u8::from(header.marker) << 7 | header.pt & 0x7f;
    fixed[2..4].copy_from_slice(&header.sequence.to_be_bytes());
    fixed[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
    fixed[8..].copy_from_slice(&header.ssrc.to_be_bytes());
    out.extend_from_slice(&fixed);
    if !has_extensions {
        return;
    }
    let fits = |(id, value): &(u8, &[u8])| {
        (1..=ONE_BYTE_ID_MAX).contains(id) && (1..=ONE_BYTE_SIZE_MAX).contains(&value.len())
    };
    let is_short = extensions.iter().all(fits);
    let form = if is_short {
        ONE_BYTE_FORM
    } else {
        TWO_BYTE_FORM
    };
    let [high, low] = form.to_be_bytes();
    out.extend_from_slice(&[high, low, 0, 0]);
    let body_at = out.len();
    for (id, value) in extensions {
        let value = &value[..value.len().min(usize::from(u8::MAX))];
        if is_short {
            out.push(id << 4 | (value.len() - 1) as u8);
        } else {
            out.extend_from_slice(&[*id, value.len() as u8]);
        }
        out.extend_from_slice(value);
    }
    let words = (out.len() - body_at).div_ceil(4);
    out.resize(body_at + 4 * words, 0);
    out[body_at - 2..body_at].copy_from_slice(&(words as u16).to_be_bytes());
}

/// RTCP packets of one compound; more are not looked at.
const COMPOUND_MAX: usize = 64;

/// Whether a datagram is RTCP, and not RTP on the same port (RFC 5761 section 4).
pub fn is_rtcp(bytes: &[u8]) -> bool {
    let pt = bytes.get(1).copied().unwrap_or(0);
    bytes.first().is_some_and(|first| first >> 6 == 2) && (192..=223).contains(&pt)
}

/// The sources of which an RTCP compound asks for a key frame (RFC 4585 section 6.3.1, RFC 5104
/// section 4.3.1, RFC 2032 section 5.2.1).
pub fn keyframe_requests(bytes: &[u8], mut each: impl FnMut(u32)) {
    for_each_report(bytes, |packet| match (packet[1], packet[0] & 0x1f) {
        (PT_FIR_H261, _) => each(read_u32(packet, 4).unwrap_or(0)),
        (PT_PAYLOAD_FEEDBACK, FORMAT_PLI) => each(read_u32(packet, 8).unwrap_or(0)),
        (PT_PAYLOAD_FEEDBACK, FORMAT_FIR) => {
            let entries = packet.get(12..).unwrap_or_default();
            for entry in entries.chunks_exact(8) {
                each(read_u32(entry, 0).unwrap_or(0));
            }
        }
        _ => {}
    });
}

/// The packets that an RTCP compound says are missing, by source and sequence number (RFC 4585
/// section 6.2.1).
pub fn missing_packets(bytes: &[u8], mut each: impl FnMut(u32, u16)) {
    for_each_report(bytes, |packet| {
        if (packet[1], packet[0] & 0x1f) != (PT_TRANSPORT_FEEDBACK, FORMAT_NACK) {
            return;
        }
        let ssrc = read_u32(packet, 8).unwrap_or(0);
        for entry in packet.get(12..).unwrap_or_default().chunks_exact(4) {
            let first = u16::from_be_bytes([entry[0], entry[1]]);
            let others = u16::from_be_bytes([entry[2], entry[3]]);
            each(ssrc, first);
            for bit in (0..16).filter(|bit| others >> bit & 1 == 1) {
                each(ssrc, first.wrapping_add(bit + 1));
            }
        }
    });
}

/// Calls `each` with the packets of a compound, of four bytes at least.
pub(super) fn for_each_report(bytes: &[u8], mut each: impl FnMut(&[u8])) {
    let mut rest = bytes;
    for _ in 0..COMPOUND_MAX {
        if !is_rtcp(rest) {
            return;
        }
        let Some(words) = read_u16(rest, 2) else {
            return;
        };
        let size = 4 * (usize::from(words) + 1);
        let Some(packet) = rest.get(..size) else {
            return;
        };
        each(packet);
        rest = &rest[size..];
    }
}

/// What a sender report says of its source (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderNumbers {
    /// The time of the report, in units of the codec's clock.
    pub timestamp: u32,
    /// Packets that were sent.
    pub packets: u32,
    /// Bytes of payload in them.
    pub octets: u32,
}

/// Whether an RTCP compound begins with a report of a sender.
pub fn is_sender_report(bytes: &[u8]) -> bool {
    is_rtcp(bytes) && bytes[1] == PT_SENDER_REPORT
}

/// Puts other numbers into the sender reports of an RTCP compound, for the sources that have some.
pub fn correct_sender_reports(
    bytes: &mut [u8],
    mut numbers: impl FnMut(u32) -> Option<SenderNumbers>,
) {
    let mut at = 0;
    for _ in 0..COMPOUND_MAX {
        let packet = &bytes[at..];
        let Some(words) = read_u16(packet, 2).filter(|_| is_rtcp(packet)) else {
            return;
        };
        let size = 4 * (usize::from(words) + 1);
        let Some(packet) = bytes.get_mut(at..at + size) else {
            return;
        };
        let ssrc = read_u32(packet, 4).filter(|_| packet[1] == PT_SENDER_REPORT);
        if let Some(place) = packet.get_mut(16..28)
            && let Some(numbers) = ssrc.and_then(&mut numbers)
        {
            place[..4].copy_from_slice(&numbers.timestamp.to_be_bytes());
            place[4..8].copy_from_slice(&numbers.packets.to_be_bytes());
            place[8..].copy_from_slice(&numbers.octets.to_be_bytes());
        }
        at += size;
    }
}

const PT_FIR_H261: u8 = 192;
const PT_SENDER_REPORT: u8 = 200;
const PT_RECEIVER_REPORT: u8 = 201;
pub(super) const PT_TRANSPORT_FEEDBACK: u8 = 205;
const PT_PAYLOAD_FEEDBACK: u8 = 206;
const FORMAT_NACK: u8 = 1;
pub(super) const FORMAT_TRANSPORT_CC: u8 = 15;
const FORMAT_PLI: u8 = 1;
const FORMAT_FIR: u8 = 4;

/// A request for a key frame of a source (RFC 4585 section 6.3.1).
pub fn picture_loss(sender: u32, of: u32) -> [u8; 12] {
    let mut packet = [
        0x80 | FORMAT_PLI,
        PT_PAYLOAD_FEEDBACK,
        0,
        2,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    packet[4..8].copy_from_slice(&sender.to_be_bytes());
    packet[8..].copy_from_slice(&of.to_be_bytes());
    packet
}

/// A report without content: says that there is somebody, and from which address.
pub fn empty_report(sender: u32) -> [u8; 8] {
    let mut packet = [0x80, PT_RECEIVER_REPORT, 0, 1, 0, 0, 0, 0];
    packet[4..].copy_from_slice(&sender.to_be_bytes());
    packet
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?.try_into().expect("two bytes");
    Some(u16::from_be_bytes(two))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?.try_into().expect("four bytes");
    Some(u32::from_be_bytes(four))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: RtpHeader = RtpHeader {
        marker: true,
        pt: 111,
        sequence: 0x1234,
        timestamp: 0x5678_9abc,
        ssrc: 0xdead_beef,
    };

    fn extensions_of(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut found = Vec::new();
        let layout = RtpLayout::read(bytes).unwrap();
        layout.for_each_extension(bytes, |id, value| found.push((id, value.to_vec())));
        found
    }

    #[test]
    fn a_plain_packet_is_twelve_bytes_and_its_payload() {
        let mut bytes = Vec::new();
        write_header(&HEADER, &[], &mut bytes);
        assert_eq!(
            bytes,
            [
                0x80, 0xef, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xad, 0xbe, 0xef
            ]
        );
        bytes.extend([1, 2, 3]);
        let layout = RtpLayout::read(&bytes).unwrap();
        assert_eq!((layout.header, layout.payload), (HEADER, 12..15));
    }

    #[test]
    fn a_long_extension_takes_all_into_the_two_byte_form() {
        for (size, form) in [(16, 0xbe), (17, 0x10)] {
            let long = vec![7; size];
            let extensions = [(1, &[9][..]), (3, &long)];
            let mut bytes = Vec::new();
            write_header(&HEADER, &extensions, &mut bytes);
            assert_eq!(bytes[12], form);
            assert_eq!(bytes.len() % 4, 0);
            let found = extensions_of(&bytes);
            assert_eq!(found, [(1, vec![9]), (3, long)]);
        }
    }

    #[test]
    fn padding_is_taken_off_and_checked() {
        let mut bytes = Vec::new();
        write_header(&HEADER, &[], &mut bytes);
        bytes[0] |= 0x20;
        for (payload, wanted) in [
            (&[1, 2, 0, 2][..], Some(&[1, 2][..])),
            (&[1, 2, 0, 5], None),
            (&[1, 2, 0, 0], None),
        ] {
            let layout = RtpLayout::read(&bytes).unwrap();
            assert_eq!(layout.unpadded(payload), wanted);
        }
    }

    #[test]
    fn key_frame_requests_are_found_in_compounds() {
        let mut bytes = empty_report(1).to_vec();
        bytes.extend(picture_loss(1, 42));
        bytes.extend([
            0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 43, 9, 0, 0, 0,
        ]);
        let mut found = Vec::new();
        keyframe_requests(&bytes, |ssrc| found.push(ssrc));
        assert_eq!(found, [42, 43]);
    }

    #[test]
    fn sender_reports_are_corrected_for_the_sources_that_are_known() {
        let report = |ssrc: u8| {
            let mut report = vec![0x80, PT_SENDER_REPORT, 0, 6, 0, 0, 0, ssrc];
            report.extend([9; 20]);
            report
        };
        let mut bytes = [report(1), empty_report(3).to_vec(), report(2)].concat();
        // One that is cut off is left alone.
        bytes.extend(&report(2)[..20]);
        let before = bytes.clone();
        correct_sender_reports(&mut bytes, |ssrc| {
            (ssrc == 2).then_some(SenderNumbers {
                timestamp: 0x0102_0304,
                packets: 5,
                octets: 6,
            })
        });
        let place = 28 + 8 + 16;
        assert_eq!(bytes[..place], before[..place]);
        assert_eq!(
            bytes[place..place + 12],
            [1, 2, 3, 4, 0, 0, 0, 5, 0, 0, 0, 6]
        );
        assert_eq!(bytes[place + 12..], before[place + 12..]);
    }

    #[test]
    fn rtcp_is_told_from_rtp() {
        assert!(is_rtcp(&picture_loss(1, 2)));
        let mut rtp = Vec::new();
        write_header(&HEADER, &[], &mut rtp);
        assert!(!is_rtcp(&rtp));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(layout) = RtpLayout::read(&bytes) {
                prop_assert!(layout.payload.end <= bytes.len());
                layout.for_each_extension(&bytes, |_, _| {});
                layout.unpadded(&bytes[layout.payload.clone()]);
            }
            keyframe_requests(&bytes, |_| {});
            missing_packets(&bytes, |_, _| {});
            let none = SenderNumbers { timestamp: 0, packets: 0, octets: 0 };
            correct_sender_reports(&mut bytes.clone(), |_| Some(none));
        }

        #[test]
        fn what_is_written_reads_back(
            ids in prop::collection::btree_map(1..=14_u8, prop::collection::vec(any::<u8>(), 1..20), 0..5),
            payload in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let extensions: Vec<(u8, &[u8])> = ids.iter().map(|(id, value)| (*id, &**value)).collect();
            let mut bytes = Vec::new();
            write_header(&HEADER, &extensions, &mut bytes);
            let start = bytes.len();
            bytes.extend(&payload);
            let layout = RtpLayout::read(&bytes).unwrap();
            prop_assert_eq!(layout.header, HEADER);
            prop_assert_eq!(&layout.payload, &(start..bytes.len()));
            for (id, value) in &ids {
                let place = layout.find_extension(&bytes, *id).unwrap();
                prop_assert_eq!(&bytes[place], value);
            }
            prop_assert_eq!(extensions_of(&bytes), ids.into_iter().collect::<Vec<_>>());
        }
    }
}
