//! Transport-wide feedback: what came of all that was sent, and when
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
//!
//! Invariant: whatever a report says, reading it takes no more than [`STATUSES_MAX`] steps.

use std::ops::ControlFlow;

use super::packet::{FORMAT_TRANSPORT_CC, PT_TRANSPORT_FEEDBACK, for_each_report, is_rtcp};

/// A moment on the clock of the one who reports, in its units of 250 us. It begins anew after 12 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrivalTime(pub u32);

impl ArrivalTime {
    /// How many a second.
    pub const RATE: u64 = 4_000;
}

/// Packets of one report that are looked at. Browsers report on some hundred.
const STATUSES_MAX: usize = 4_096;

/// Sizes within a report, in bytes: up to the first chunk, and of a chunk.
const HEAD_SIZE: usize = 20;
const CHUNK_SIZE: usize = 2;

/// A report begins at a multiple of 64 ms.
const BEGIN_UNITS: u32 = 256;

/// Whether a datagram is RTCP that begins with such a report. That much of it is never encrypted.
pub fn is_transport_feedback(bytes: &[u8]) -> bool {
    is_rtcp(bytes) && is_feedback(bytes)
}

/// Calls `each` with the packets that an RTCP compound reports on: the number of each, and when it
/// came; `None` if it did not. Tells whether the compound says anything else.
pub fn arrivals(
    compound: &[u8],
    mut each: impl FnMut(u16, Option<ArrivalTime>),
) -> ControlFlow<()> {
    let mut says_more = ControlFlow::Break(());
    for_each_report(compound, |packet| {
        if is_feedback(packet) {
            // What is cut off says nothing; what stands before is as good as it was.
            let _ = read(packet, &mut each);
        } else {
            says_more = ControlFlow::Continue(());
        }
    });
    says_more
}

fn is_feedback(packet: &[u8]) -> bool {
    (packet[1], packet[0] & 0x1f) == (PT_TRANSPORT_FEEDBACK, FORMAT_TRANSPORT_CC)
}

fn read(packet: &[u8], mut each: impl FnMut(u16, Option<ArrivalTime>)) -> Option<()> {
    let head = packet.first_chunk::<HEAD_SIZE>()?;
    let first = u16::from_be_bytes([head[12], head[13]]);
    let count = usize::from(u16::from_be_bytes([head[14], head[15]]));
    let begin = u32::from_be_bytes([0, head[16], head[17], head[18]]);
    let chunks = packet[HEAD_SIZE..].chunks_exact(CHUNK_SIZE);
    let chunks = chunks.map(|bytes| Chunk(u16::from_be_bytes([bytes[0], bytes[1]])));
    let mut left = count;
    let mut size = HEAD_SIZE;
    for chunk in chunks.clone() {
        if left == 0 {
            break;
        }
        left = left.saturating_sub(chunk.len());
        size += CHUNK_SIZE;
    }
    let mut steps = packet.get(size..)?;
    let mut at = begin.wrapping_mul(BEGIN_UNITS);
    let mut number = first;
    let mut statuses = chunks.flat_map(Chunk::statuses).take(count);
    for status in statuses.by_ref().take(STATUSES_MAX) {
        let step = match status {
            Status::Lost => None,
            Status::Small => {
                let (step, rest) = steps.split_first_chunk()?;
                steps = rest;
                Some(u8::from_be_bytes(*step).into())
            }
            Status::Large => {
                let (step, rest) = steps.split_first_chunk()?;
                steps = rest;
                Some(i16::from_be_bytes(*step))
            }
        };
        if let Some(step) = step {
            at = at.wrapping_add_signed(step.into());
        }
        each(number, step.map(|_| ArrivalTime(at)));
        number = number.wrapping_add(1);
    }
    Some(())
}

/// What became of several packets: the same of all, or one or two bits for each.
#[derive(Clone, Copy)]
struct Chunk(u16);

#[derive(Clone, Copy)]
enum Status {
    /// It came long after the one before, or before it.
    Large,
    Lost,
    /// It came, soon after the one before.
    Small,
}

impl Chunk {
    const fn len(self) -> usize {
        match self.0 >> 14 {
            0b10 => 14,
            0b11 => 7,
            _ => self.0 as usize & 0x1fff,
        }
    }

    fn statuses(self) -> impl Iterator<Item = Status> {
        let Self(bits) = self;
        (0..self.len()).map(move |place| {
            let symbol = match bits >> 14 {
                0b10 => bits >> (13 - place) & 1,
                0b11 => bits >> (12 - 2 * place) & 3,
                _ => bits >> 13 & 3,
            };
            match symbol {
                1 => Status::Small,
                2 => Status::Large,
                // The fourth is reserved, and has no time.
                _ => Status::Lost,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(first: u16, count: u16, begin: u32, rest: &[u8]) -> Vec<u8> {
        let mut out = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
        out.extend(first.to_be_bytes());
        out.extend(count.to_be_bytes());
        out.extend(&begin.to_be_bytes()[1..]);
        out.push(0);
        out.extend(rest);
        out.resize(out.len().next_multiple_of(4), 0);
        let words = (out.len() / 4 - 1) as u16;
        out[2..4].copy_from_slice(&words.to_be_bytes());
        out
    }

    fn read_all(bytes: &[u8]) -> Vec<(u16, Option<u32>)> {
        let mut all = Vec::new();
        let _ = arrivals(bytes, |number, at| all.push((number, at.map(|at| at.0))));
        all
    }

    #[test]
    fn runs_and_bits_are_read() {
        // Three that came, by a run; 14 by a list of bits, of which the second and the last came; one
        // lost and one late, by a list of pairs.
        let chunks = [0x20, 3, 0b1001_0000, 1, 0b1100_1000, 0];
        let steps = [4, 0, 1, 0, 2, 0xff, 0xfd];
        let bytes = report(65_534, 19, 2, &[&chunks[..], &steps].concat());
        let came = read_all(&bytes);
        assert_eq!(came.len(), 19);
        let came = came.into_iter().filter(|(_, at)| at.is_some());
        let expected = [
            (65_534, Some(516)),
            (65_535, Some(516)),
            (0, Some(517)),
            (2, Some(517)),
            (14, Some(519)),
            (16, Some(516)),
        ];
        assert_eq!(came.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_packet_may_have_come_before_the_one_in_front_of_it() {
        let bytes = report(7, 2, 1, &[0b1110_1000, 0, 0, 3, 0xff, 0xfe]);
        assert_eq!(read_all(&bytes), [(7, Some(259)), (8, Some(257))]);
    }

    #[test]
    fn what_is_cut_off_says_nothing() {
        let whole = report(7, 3, 1, &[0x20, 3, 1, 2, 3]);
        assert_eq!(read_all(&whole).len(), 3);
        let cut = report(7, 600, 1, &[0x22, 0x58, 1, 2]);
        assert_eq!(read_all(&cut), [(7, Some(257)), (8, Some(259))]);
        assert_eq!(read_all(&whole[..16]), []);
    }

    #[test]
    fn a_compound_that_says_more_is_told_from_one_that_does_not() {
        let mut bytes = report(7, 1, 1, &[0x20, 1, 1]);
        assert!(is_transport_feedback(&bytes));
        assert!(arrivals(&bytes, |_, _| {}).is_break());
        bytes.extend([0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
        assert!(arrivals(&bytes, |_, _| {}).is_continue());
        assert!(!is_transport_feedback(&bytes[24..]));
    }

    #[test]
    fn reading_is_bounded() {
        let lost = [0x1f, 0xff].repeat(8);
        let bytes = report(0, u16::MAX, 0, &lost);
        assert_eq!(read_all(&bytes).len(), STATUSES_MAX);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(came in prop::collection::vec(prop::option::of(-300_i16..300), 1..60)) {
            let mut chunks = Vec::new();
            let mut steps = Vec::new();
            for seven in came.chunks(7) {
                let mut chunk = 0b11_u16 << 14;
                for (place, step) in seven.iter().enumerate() {
                    let symbol = match step {
                        None => 0,
                        Some(0..=255) => 1,
                        Some(_) => 2,
                    };
                    chunk |= symbol << (12 - 2 * place);
                    match step {
                        Some(step @ 0..=255) => steps.push(*step as u8),
                        Some(step) => steps.extend(step.to_be_bytes()),
                        None => {}
                    }
                }
                chunks.extend(chunk.to_be_bytes());
            }
            let bytes = report(65_500, came.len() as u16, 1_000, &[chunks, steps].concat());
            let mut at = 256_000_u32;
            let expected: Vec<_> = (0..).zip(&came).map(|(place, step)| {
                let time = step.map(|step| {
                    at = at.wrapping_add_signed(step.into());
                    at
                });
                (65_500_u16.wrapping_add(place), time)
            }).collect();
            prop_assert_eq!(read_all(&bytes), expected);
        }

        #[test]
        fn anything_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = report(1, 30, 5, &bytes);
            read_all(&bytes);
            bytes.truncate(40);
            read_all(&bytes);
        }
    }
}
