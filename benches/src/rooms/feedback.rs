//! Transport-wide feedback of a peer that does not decrypt: what came when
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). The numbers of packets stand in a header
//! extension, which is not encrypted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::keys::Sealer;

const URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Browsers report so often at the rates that are used here.
const INTERVAL: Duration = Duration::from_millis(100);

/// Packets of one report, so that it fits into a datagram.
const PACKETS_MAX: u64 = 400;

/// Who reports. The WebRTC library sends under another name.
const SOURCE: u32 = 0x0b1f_0055;

/// Units of reports: of the time that one begins with, and of what follows.
const BEGIN_UNIT: Duration = Duration::from_millis(64);
const STEP_UNIT: Duration = Duration::from_micros(250);

/// What a peer has to report.
#[derive(Debug)]
pub(super) struct Feedback {
    /// Of the header extension.
    id: u8,
    sealer: Option<Sealer>,
    began: Instant,
    due: Instant,
    /// The source that was seen last.
    ssrc: u32,
    /// Numbers of packets, extended to more than 16 bits, and when they came.
    seen: BTreeMap<u64, Duration>,
    highest: u64,
    /// Where the next report begins.
    next: u64,
    reports: u8,
}

impl Feedback {
    /// For what an offer announces; `None` if it asks for no reports.
    pub(super) fn asked_for(offer: &str, now: Instant) -> Option<Self> {
        let mut lines = offer
            .lines()
            .filter_map(|line| line.strip_prefix("a=extmap:"));
        let id = lines.find_map(|line| {
            let (id, uri) = line.split_once(' ')?;
            let id = id.split('/').next()?;
            (uri.trim() == URI).then(|| id.parse().ok()).flatten()
        });
        Some(Self::new(id?, now))
    }

    fn new(id: u8, now: Instant) -> Self {
        Self {
            id,
            sealer: None,
            began: now,
            due: now + INTERVAL,
            ssrc: 0,
            seen: BTreeMap::new(),
            highest: 0,
            next: 0,
            reports: 0,
        }
    }

    /// Reports can be encrypted from now on.
    pub(super) fn set_sealer(&mut self, sealer: Sealer) {
        self.sealer = Some(sealer);
    }

    /// Notes a media packet, or a retransmission.
    pub(super) fn note(&mut self, now: Instant, packet: &[u8]) {
        let Some(short) = extension(packet, self.id).and_then(|value| value.first_chunk()) else {
            return;
        };
        let short = u16::from_be_bytes(*short);
        if self.next == 0 {
            // Somewhere in the middle, so that there is room below.
            self.highest = (1 << 32) + u64::from(short);
            self.next = self.highest;
        }
        let ahead = short.wrapping_sub(self.highest as u16).cast_signed();
        let number = self.highest.saturating_add_signed(i64::from(ahead));
        self.highest = self.highest.max(number);
        // What was reported as lost stays so.
        if number >= self.next {
            self.seen.insert(number, now - self.began);
        }
        if let Some(ssrc) = packet.get(8..12).and_then(|bytes| bytes.try_into().ok()) {
            self.ssrc = u32::from_be_bytes(ssrc);
        }
    }

    /// The next report, encrypted, if it is due.
    pub(super) fn report(&mut self, now: Instant) -> Option<Vec<u8>> {
        if now < self.due || self.seen.is_empty() {
            return None;
        }
        self.sealer.as_ref()?;
        let report = self.build()?;
        if self.seen.is_empty() {
            self.due = now + INTERVAL;
        }
        self.sealer.as_mut()?.seal(&report).ok()
    }

    fn build(&mut self) -> Option<Vec<u8>> {
        let (_, first_at) = self.seen.first_key_value()?;
        let begin = (first_at.as_micros() / BEGIN_UNIT.as_micros()) as u32;
        let count = (self.highest + 1 - self.next).min(PACKETS_MAX);
        let mut symbols = Vec::with_capacity(count as usize);
        let mut steps = Vec::new();
        let step_units = |time: Duration| (time.as_micros() / STEP_UNIT.as_micros()) as i64;
        let mut before = step_units(BEGIN_UNIT * begin);
        for number in self.next..self.next + count {
            let Some(at) = self.seen.remove(&number) else {
                symbols.push(0);
                continue;
            };
            let at = step_units(at);
            match u8::try_from(at - before) {
                Ok(step) => {
                    symbols.push(1_u16);
                    steps.push(step);
                }
                Err(_) => {
                    let bounds = (i64::from(i16::MIN), i64::from(i16::MAX));
                    let step = (at - before).clamp(bounds.0, bounds.1) as i16;
                    symbols.push(2);
                    steps.extend(step.to_be_bytes());
                }
            }
            before = at;
        }
        let mut out = vec![0x8f, 205, 0, 0];
        out.extend(SOURCE.to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
        out.extend((self.next as u16).to_be_bytes());
        out.extend((count as u16).to_be_bytes());
        out.extend(&begin.to_be_bytes()[1..]);
        out.push(self.reports);
        for seven in symbols.chunks(7) {
            let list = (0..)
                .zip(seven)
                .map(|(place, symbol)| symbol << (12 - 2 * place));
            let vector = list.fold(0b11 << 14, |all, one| all | one);
            out.extend(u16::to_be_bytes(vector));
        }
        out.extend(steps);
        let padding = (4 - out.len() % 4) % 4;
        if padding > 0 {
            out[0] |= 0x20;
            out.resize(out.len() + padding, 0);
            *out.last_mut()? = padding as u8;
        }
        let words = (out.len() / 4 - 1) as u16;
        out[2..4].copy_from_slice(&words.to_be_bytes());
        self.reports = self.reports.wrapping_add(1);
        self.next += count;
        Some(out)
    }
}

/// The value of a header extension (RFC 8285 section 4.2).
fn extension(packet: &[u8], id: u8) -> Option<&[u8]> {
    let [first, ..] = packet else { return None };
    if first & 0x10 == 0 {
        return None;
    }
    let at = 12 + 4 * usize::from(first & 0x0f);
    let head = packet.get(at..at + 4)?;
    let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if head[..2] != [0xbe, 0xde] {
        return None;
    }
    let mut left = packet.get(at + 4..at + 4 + 4 * words)?;
    while let [head, rest @ ..] = left {
        if *head == 0 {
            left = rest;
            continue;
        }
        let (value, after) = rest.split_at_checked(usize::from(head & 0x0f) + 1)?;
        if head >> 4 == id {
            return Some(value);
        }
        left = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use str0m::rtp::rtcp::Twcc;

    fn packet(number: u16) -> Vec<u8> {
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 3, 4, 0xbe, 0xde, 0, 2];
        packet.extend([0x00, 0x12, 1, 2, 3, 0x51]);
        packet.extend(number.to_be_bytes());
        packet.extend(b"secret");
        packet
    }

    fn reported(report: &[u8], zero: Instant) -> Vec<(u16, Option<u64>)> {
        assert_eq!(report.len() % 4, 0);
        let words = u16::from_be_bytes([report[2], report[3]]);
        assert_eq!(usize::from(words) * 4 + 4, report.len());
        let twcc = Twcc::try_from(&report[4..]).unwrap();
        let millis = |at: Instant| (at - zero).as_millis() as u64;
        twcc.into_iter(zero, 70_000.into())
            .map(|(number, _, at)| (*number as u16, at.map(millis)))
            .collect()
    }

    #[test]
    fn the_library_reads_what_came_when() {
        let zero = Instant::now();
        let mut feedback = Feedback::new(5, zero);
        // Over the end of 16 bits, with one late, one lost, and a long pause.
        let arrivals = [(65_534, 130), (0, 131), (65_535, 140), (2, 900)];
        for (number, millis) in arrivals {
            feedback.note(zero + Duration::from_millis(millis), &packet(number));
        }
        let expected = [
            (65_534, Some(130)),
            (65_535, Some(140)),
            (0, Some(131)),
            (1, None),
            (2, Some(900)),
        ];
        assert_eq!(reported(&feedback.build().unwrap(), zero), expected);
        assert_eq!(feedback.build(), None);
        for number in 3..=500 {
            feedback.note(zero + Duration::from_millis(1_000), &packet(number));
        }
        let first = reported(&feedback.build().unwrap(), zero);
        assert_eq!((first[0], first.len()), ((3, Some(1_000)), 400));
        let second = reported(&feedback.build().unwrap(), zero);
        assert_eq!((second[0], second.len()), ((403, Some(1_000)), 98));
    }

    #[test]
    fn an_offer_says_under_which_number() {
        let now = Instant::now();
        let offer = format!("v=0\r\na=extmap:3 urn:x\r\na=extmap:7/sendonly {URI}\r\n");
        assert_eq!(Feedback::asked_for(&offer, now).unwrap().id, 7);
        assert!(Feedback::asked_for("v=0\r\n", now).is_none());
    }
}
