//! Files of captured packets: pcapng (draft-ietf-opsawg-pcapng) and the hex dump that `text2pcap`
//! reads.
//!
//! Media reaches us over UDP, and what is captured is its plaintext, so each packet stands in an IP
//! and a UDP header made for it: with the addresses it had, and no Ethernet below.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::base::calendar::civil;
use crate::base::clock::Realtime;

/// What the file looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureForm {
    /// pcapng.
    Pcapng,
    /// A hex dump with a direction and a time before each packet.
    Text,
}

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    Inbound,
    /// It went out.
    Outbound,
}

/// A packet to be written.
#[derive(Clone, Copy, Debug)]
pub struct Captured<'a> {
    /// When it came or went.
    pub at: Realtime,
    /// Which way.
    pub direction: Direction,
    /// Who sent it.
    pub from: SocketAddr,
    /// Whom to.
    pub to: SocketAddr,
    /// What UDP carried.
    pub bytes: &'a [u8],
    /// How much of it is kept, in bytes.
    pub kept: usize,
}

/// Packets begin with an IP header (`LINKTYPE_RAW`).
const LINK_RAW: u16 = 101;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const PACKET_FLAGS: u16 = 2;

const UDP: u8 = 17;
const HOPS: u8 = 64;

impl CaptureForm {
    /// Appends what a file begins with.
    pub fn begin(self, name: &str, comment: &str, out: &mut Vec<u8>) {
        match self {
            Self::Pcapng => {
                block(SECTION, out, |out| {
                    // The order of bytes, version 1.0, a section of unknown length.
                    out.extend(0x1a2b_3c4d_u32.to_le_bytes());
                    out.extend([1, 0, 0, 0]);
                    out.extend([0xff; 8]);
                    option(OPTION_COMMENT, comment.as_bytes(), out);
                    let application = concat!("bifrons ", env!("CARGO_PKG_VERSION"));
                    option(SECTION_APPLICATION, application.as_bytes(), out);
                    option(OPTION_END, &[], out);
                });
                block(INTERFACE, out, |out| {
                    out.extend(LINK_RAW.to_le_bytes());
                    out.extend([0; 6]);
                    option(INTERFACE_NAME, name.as_bytes(), out);
                    option(OPTION_END, &[], out);
                });
            }
            Self::Text => {
                let text = format!(
                    "# {comment}\n# text2pcap -D -t \"%Y-%m-%d %H:%M:%S.\" -u 1000,2000 FILE OUT\n"
                );
                out.extend(text.into_bytes());
            }
        }
    }

    /// Appends a packet.
    pub fn packet(self, packet: &Captured<'_>, out: &mut Vec<u8>) {
        let kept = &packet.bytes[..packet.kept.min(packet.bytes.len())];
        match self {
            Self::Pcapng => {
                let mut head = Vec::with_capacity(48);
                ip_and_udp(packet, &mut head);
                // In microseconds, as is assumed where the interface says nothing.
                let micros = packet.at.unix_micros().cast_unsigned();
                block(ENHANCED_PACKET, out, |out| {
                    out.extend(0_u32.to_le_bytes());
                    out.extend(((micros >> 32) as u32).to_le_bytes());
                    out.extend((micros as u32).to_le_bytes());
                    for size in [kept.len(), packet.bytes.len()] {
                        out.extend(((head.len() + size) as u32).to_le_bytes());
                    }
                    out.extend(&head);
                    out.extend(kept);
                    pad(out);
                    let way = match packet.direction {
                        Direction::Inbound => 1_u32,
                        Direction::Outbound => 2,
                    };
                    option(PACKET_FLAGS, &way.to_le_bytes(), out);
                    option(OPTION_END, &[], out);
                });
            }
            Self::Text => {
                let way = match packet.direction {
                    Direction::Inbound => 'I',
                    Direction::Outbound => 'O',
                };
                let mut text = format!("{way} {} 000000", stamp(packet.at));
                for byte in kept {
                    let _ = write!(text, " {byte:02x}");
                }
                text.push('\n');
                out.extend(text.into_bytes());
            }
        }
    }
}

/// A time as `text2pcap` is told to read it, in UTC.
fn stamp(at: Realtime) -> String {
    let seconds = at.unix_seconds();
    let micros = at.unix_micros().rem_euclid(1_000_000);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
}

/// Appends a block: its kind, its length before and after, and what `body` appends.
fn block(kind: u32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let size = (out.len() - begin + 4) as u32;
    out[begin + 4..begin + 8].copy_from_slice(&size.to_le_bytes());
    out.extend(size.to_le_bytes());
}

fn option(code: u16, value: &[u8], out: &mut Vec<u8>) {
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    out.extend(value);
    pad(out);
}

/// Blocks and options begin at multiples of four bytes, and so does the buffer they are in.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The headers that a packet would have had, had it not been encrypted.
fn ip_and_udp(packet: &Captured<'_>, out: &mut Vec<u8>) {
    let (from, to) = (
        packet.from.ip().to_canonical(),
        packet.to.ip().to_canonical(),
    );
    let udp_size = (8 + packet.bytes.len()) as u16;
    let mut sum = Checksum::default();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let begin = out.len();
            out.extend([0x45, 0]);
            out.extend((20 + udp_size).to_be_bytes());
            out.extend([0, 0, 0x40, 0, HOPS, UDP, 0, 0]);
            out.extend(from.octets());
            out.extend(to.octets());
            let mut head = Checksum::default();
            head.add(&out[begin..]);
            let head = head.finish().to_be_bytes();
            out[begin + 10..begin + 12].copy_from_slice(&head);
            sum.add(&out[begin + 12..]);
        }
        (from, to) => {
            let octets = |address| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            out.extend([0x60, 0, 0, 0]);
            out.extend(udp_size.to_be_bytes());
            out.extend([UDP, HOPS]);
            let begin = out.len();
            out.extend(octets(from));
            out.extend(octets(to));
            sum.add(&out[begin..]);
        }
    }
    sum.add(&[0, UDP]);
    sum.add(&udp_size.to_be_bytes());
    let begin = out.len();
    out.extend(packet.from.port().to_be_bytes());
    out.extend(packet.to.port().to_be_bytes());
    out.extend(udp_size.to_be_bytes());
    sum.add(&out[begin..]);
    sum.add(packet.bytes);
    // Zero would mean that there is none (RFC 768).
    let sum = match sum.finish() {
        0 => 0xffff,
        sum => sum,
    };
    out.extend(sum.to_be_bytes());
}

/// The checksum of the Internet protocols (RFC 1071). All parts but the last have an even length.
#[derive(Clone, Copy, Debug, Default)]
struct Checksum(u32);

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            self.0 += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }

    fn finish(self) -> u16 {
        let once = (self.0 & 0xffff) + (self.0 >> 16);
        let twice = (once & 0xffff) + (once >> 16);
        !(twice as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(bytes: &[u8]) -> Captured<'_> {
        Captured {
            at: Realtime::from_unix_micros(1_700_000_000_123_456),
            direction: Direction::Outbound,
            from: "192.0.2.1:5000".parse().unwrap(),
            to: "192.0.2.9:6000".parse().unwrap(),
            bytes,
            kept: usize::MAX,
        }
    }

    /// The blocks of a file: kind and body.
    fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let mut found = Vec::new();
        while !file.is_empty() {
            let size = number(&file[4..]) as usize;
            assert_eq!(size % 4, 0);
            assert_eq!(number(&file[size - 4..]) as usize, size);
            found.push((number(file), file[8..size - 4].to_vec()));
            file = &file[size..];
        }
        found
    }

    #[test]
    fn a_file_has_a_section_an_interface_and_packets() {
        let mut file = Vec::new();
        CaptureForm::Pcapng.begin("handle 7", "what for", &mut file);
        CaptureForm::Pcapng.packet(&captured(b"five!"), &mut file);
        let blocks = blocks(&file);
        let kinds: Vec<u32> = blocks.iter().map(|block| block.0).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, ENHANCED_PACKET]);
        let packet = &blocks[2].1;
        let number = |at: usize| u32::from_le_bytes(packet[at..at + 4].try_into().unwrap());
        let micros = u64::from(number(4)) << 32 | u64::from(number(8));
        assert_eq!(micros, 1_700_000_000_123_456);
        assert_eq!((number(12), number(16)), (33, 33));
        let ip = &packet[20..20 + 33];
        let mut check = Checksum::default();
        check.add(&ip[..20]);
        assert_eq!(check.finish(), 0, "the header's own sum makes it zero");
        let mut check = Checksum::default();
        check.add(&ip[12..20]);
        check.add(&[0, UDP, 0, 13]);
        check.add(&ip[20..]);
        assert_eq!(check.finish(), 0);
        assert_eq!(&ip[28..], b"five!");
    }

    #[test]
    fn what_is_cut_off_counts_as_long_as_it_was() {
        let mut file = Vec::new();
        let cut = Captured {
            kept: 2,
            from: "[2001:db8::1]:1".parse().unwrap(),
            to: "[2001:db8::2]:2".parse().unwrap(),
            ..captured(b"five!")
        };
        CaptureForm::Pcapng.packet(&cut, &mut file);
        let packet = &blocks(&file)[0].1;
        assert_eq!(packet[12..20], [50, 0, 0, 0, 53, 0, 0, 0]);
        assert_eq!(packet[20] >> 4, 6);
    }

    #[test]
    fn a_dump_has_direction_time_and_bytes() {
        let mut file = Vec::new();
        CaptureForm::Text.packet(&captured(&[0x80, 0x0a]), &mut file);
        let text = String::from_utf8(file).unwrap();
        assert_eq!(text, "O 2023-11-14 22:13:20.123456 000000 80 0a\n");
    }
}
