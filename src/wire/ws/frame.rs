//! Frames (RFC 6455 §5.2): headers read and written, payloads unmasked.

use super::close::Fault;
use crate::mutant;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message that was begun.
    Continuation = 0,
    /// The beginning of a text.
    Text = 1,
    /// The beginning of a message of bytes.
    Binary = 2,
    /// The last frame of its side.
    Close = 8,
    /// Wants a pong with the same payload.
    Ping = 9,
    /// Answers a ping, or shows life.
    Pong = 10,
}

impl Opcode {
    const fn new(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    /// Whether frames of it may stand between the fragments of a message.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Most bytes of a control frame's payload.
pub const CONTROL_BYTES: usize = 125;
/// Most bytes of a header that a server writes.
pub const SERVER_HEADER_BYTES: usize = 10;
/// Most bytes of a header that a client writes.
pub(super) const HEADER_BYTES: usize = 14;

/// Which side wrote a frame. Clients mask theirs and servers do not (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    #[default]
    Client,
    Server,
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The header of a frame that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    /// It is the last frame of its message.
    pub(super) is_last: bool,
    /// A client's.
    pub(super) mask: Option<[u8; 4]>,
    pub(super) payload_bytes: u64,
}

impl Header {
    /// Reads a header from the bytes of it that are there; `None` if it needs more. A fault is
    /// found as soon as its byte is there.
    pub(super) fn parse(bytes: &[u8], writer: Side) -> Result<Option<Self>, Fault> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err(Fault::ReservedBit);
        }
        let opcode = Opcode::new(first & 0x0f).ok_or(Fault::Opcode)?;
        let is_last = first & FIN != 0;
        if opcode.is_control() && !is_last {
            return Err(Fault::ControlFrame);
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        match (writer, second & MASKED != 0) {
            (Side::Client, false) => return Err(Fault::Unmasked),
            (Side::Server, true) => return Err(Fault::Masked),
            (Side::Client, true) | (Side::Server, false) => {}
        }
        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES {
            return Err(Fault::ControlFrame);
        }
        let (extended_bytes, least) = match short {
            126 => (2, 126),
            127 => (8, 1 << 16),
            _ => (0, 0),
        };
        let Some(extended) = bytes.get(2..2 + extended_bytes) else {
            return Ok(None);
        };
        let payload_bytes = if extended.is_empty() {
            u64::from(short)
        } else {
            extended
                .iter()
                .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        };
        if payload_bytes < least || payload_bytes >> 63 != 0 {
            return Err(Fault::Length);
        }
        let mask = match (writer, bytes[2 + extended_bytes..].first_chunk()) {
            (Side::Client, None) => return Ok(None),
            (Side::Client, Some(mask)) => Some(*mask),
            (Side::Server, _) => None,
        };
        Ok(Some(Self {
            opcode,
            is_last,
            mask,
            payload_bytes,
        }))
    }

    /// How many bytes it took.
    pub(super) const fn size(&self) -> usize {
        let mask_bytes = if self.mask.is_some() { 4 } else { 0 };
        let length_bytes = match self.payload_bytes {
            0..126 => 0,
            126..=0xffff => 2,
            _ => 8,
        };
        2 + length_bytes + mask_bytes
    }
}

/// Masks, or unmasks, a part of a payload that begins `offset` bytes into it.
pub(super) fn mask_part(bytes: &mut [u8], mask: [u8; 4], offset: u64) {
    let mut mask = mask;
    mask.rotate_left((offset % 4) as usize);
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let array: &mut [u8; 8] = word.try_into().expect("a chunk of 8 bytes");
        *array = (u64::from_ne_bytes(*array) ^ wide).to_ne_bytes();
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// The header of a server's frame that is a whole message, to be written before its payload.
#[derive(Clone, Copy, Debug)]
pub struct ServerHeader {
    bytes: [u8; SERVER_HEADER_BYTES],
    size: usize,
}

impl ServerHeader {
    /// The header of a frame with a payload of so many bytes.
    pub fn new(opcode: Opcode, payload_bytes: usize) -> Self {
        let mut bytes = [0; SERVER_HEADER_BYTES];
        bytes[0] = FIN | opcode as u8;
        let size = match payload_bytes {
            0..126 => {
                bytes[1] = payload_bytes as u8;
                2
            }
            126..=0xffff if !mutant!(WsLengthLong) => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, size }
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

/// Appends a client's frame that is a whole message. Each frame needs a mask of its own that nobody
/// can guess (RFC 6455 §5.3).
pub fn write_client_frame(opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(ServerHeader::new(opcode, payload.len()).bytes());
    out[start + 1] |= MASKED;
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    mask_part(&mut out[start..], mask, 0);
}
