//! Finds what is said in the frames of a WebSocket's client, to treat the secrets in it.
//!
//! Clients hide what they send behind four bytes that stand in front of it (RFC 6455 section 5.3),
//! so it is brought to light, treated, and hidden again. Nothing is checked: the shard does that.

use super::secrets::{Place, Treat};

/// The longest head of a frame.
const HEAD_MAX: usize = 14;

/// A place in the stream of a WebSocket's client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_MAX],
    head_count: usize,
    /// Bytes of the payload that follow.
    left: u64,
    mask: [u8; 4],
    /// How many bytes of the payload came before.
    done: usize,
    is_control: bool,
}

impl Frames {
    /// Treats the secrets of a portion in place; `place` is where the last message stopped. Says
    /// where it turned out that it is no WebSocket.
    pub(super) fn treat(
        &mut self,
        bytes: &mut [u8],
        place: &mut Place,
        with: &mut impl Treat,
    ) -> Option<usize> {
        let mut index = 0;
        while index < bytes.len() {
            if self.left == 0 {
                self.head[self.head_count] = bytes[index];
                self.head_count += 1;
                index += 1;
                if self.head_count == 2 && self.head[1] & 0x80 == 0 {
                    // A client that was refused goes on with requests, and those are ASCII.
                    *self = Self::default();
                    return Some(index);
                }
                self.open();
                continue;
            }
            let rest = &mut bytes[index..];
            let count = rest
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let portion = &mut rest[..count];
            if !self.is_control {
                self.hide(portion);
                place.treat(portion, with);
                self.hide(portion);
            }
            self.done += count;
            self.left -= count as u64;
            index += count;
        }
        None
    }

    /// Begins with the payload when the head is whole.
    fn open(&mut self) {
        if self.head_count < 2 {
            return;
        }
        let extra = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.head_count < 2 + extra + 4 {
            return;
        }
        let extended = self.head[2..2 + extra].iter();
        self.left = match extra {
            0 => u64::from(self.head[1] & 0x7f),
            _ => extended.fold(0, |size, byte| size << 8 | u64::from(*byte)),
        };
        self.mask.copy_from_slice(&self.head[2 + extra..][..4]);
        self.is_control = self.head[0] & 8 != 0;
        self.done = 0;
        self.head_count = 0;
    }

    /// Hides the next bytes of the payload, or brings them to light.
    fn hide(&self, bytes: &mut [u8]) {
        let mask = self.mask.iter().cycle().skip(self.done % 4);
        for (byte, mask) in bytes.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}
