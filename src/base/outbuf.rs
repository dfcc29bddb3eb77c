//! A bounded byte buffer between a protocol and the kernel, which accepts all or nothing.
//!
//! Invariant: room that was [held](OutBuf::hold) is there when it is wanted, so what was begun
//! under a hold can always be ended. Nothing is dropped: bytes leave only through
//! [`OutBuf::consume`], which says how many the kernel took.

use crate::mutant;

/// There is not enough room; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Room that was put aside in an [`OutBuf`]. It must be given back to the buffer that gave it,
/// by [`OutBuf::write_held`].
#[derive(Debug)]
#[must_use = "room that is held and never used shrinks the buffer for good"]
pub struct Hold {
    room: usize,
}

/// Output of one connection, in the order in which the kernel is to take it.
#[derive(Debug)]
pub struct OutBuf {
    bytes: Vec<u8>,
    taken: usize,
    held: usize,
    limit: usize,
    written_total: u64,
    taken_total: u64,
}

/// Capacity above which an emptied buffer gives its memory back, in bytes.
const IDLE_CAPACITY: usize = 4096;

impl OutBuf {
    /// An empty buffer for at most `limit` bytes, what is held included.
    pub const fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            taken: 0,
            held: 0,
            limit,
            written_total: 0,
            taken_total: 0,
        }
    }

    /// Writes all parts in order, or none of them.
    ///
    /// # Errors
    ///
    /// [`Full`] when they do not fit beside what is pending and held.
    pub fn write(&mut self, parts: &[&[u8]]) -> Result<(), Full> {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        if size > self.free() {
            return Err(Full);
        }
        self.append(parts, size);
        Ok(())
    }

    /// Puts room aside for bytes that must be writable later.
    ///
    /// # Errors
    ///
    /// [`Full`] when there is less room than that.
    pub fn hold(&mut self, room: usize) -> Result<Hold, Full> {
        if room > self.free() {
            return Err(Full);
        }
        self.held += room;
        Ok(Hold { room })
    }

    /// Writes into room that was held, and gives back what is left of it.
    ///
    /// # Panics
    ///
    /// When `bytes` are more than what was held: the holder miscounted.
    pub fn write_held(&mut self, hold: Hold, bytes: &[u8]) {
        assert!(
            bytes.len() <= hold.room,
            "a hold must cover what is written into it"
        );
        self.held -= hold.room;
        self.append(&[bytes], bytes.len());
    }

    /// Forgets the first `count` pending bytes: the kernel took them.
    ///
    /// # Panics
    ///
    /// When fewer are pending: the driver miscounted.
    pub fn consume(&mut self, count: usize) {
        assert!(
            count <= self.pending().len(),
            "the kernel cannot take what was not offered"
        );
        self.taken += count;
        self.taken_total += count as u64;
        if mutant!(ShortWriteDrops) {
            self.bytes.truncate(self.taken);
        }
        if mutant!(ChunkEndLost) && self.pending().ends_with(b"\r\n0\r\n\r\n") {
            self.bytes.truncate(self.bytes.len() - 5);
        }
        if self.taken == self.bytes.len() {
            self.taken = 0;
            self.bytes.clear();
            if self.bytes.capacity() > IDLE_CAPACITY {
                self.bytes = Vec::new();
            }
        } else if self.taken >= self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }

    fn append(&mut self, parts: &[&[u8]], size: usize) {
        self.bytes.reserve(size);
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.written_total += size as u64;
    }

    /// The bytes that the kernel has yet to take, oldest first.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// How many more bytes can be written now.
    pub fn free(&self) -> usize {
        self.limit.saturating_sub(self.pending().len() + self.held)
    }

    /// Whether the kernel took everything.
    pub fn is_empty(&self) -> bool {
        self.pending().is_empty()
    }

    /// The position after the last byte written, counted from the connection's first byte.
    pub const fn written_total(&self) -> u64 {
        self.written_total
    }

    /// The position up to which the kernel took bytes, counted from the connection's first byte.
    pub const fn taken_total(&self) -> u64 {
        self.taken_total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_fit_is_not_written_at_all() {
        let mut out = OutBuf::new(5);
        assert_eq!(out.write(&[b"abc", b"def"]), Err(Full));
        assert!(out.is_empty());
        assert_eq!(out.write(&[b"abc", b"de"]), Ok(()));
        assert_eq!((out.pending(), out.free()), (&b"abcde"[..], 0));
    }

    #[test]
    fn held_room_is_there_when_the_buffer_is_full() {
        let mut out = OutBuf::new(8);
        let hold = out.hold(5).unwrap();
        assert_eq!(out.write(&[b"abcd"]), Err(Full));
        out.write(&[b"abc"]).unwrap();
        out.write_held(hold, b"0\r\n\r\n");
        assert_eq!(out.pending(), b"abc0\r\n\r\n");
    }

    #[test]
    fn an_unused_part_of_a_hold_comes_back() {
        let mut out = OutBuf::new(8);
        let hold = out.hold(8).unwrap();
        out.write_held(hold, b"");
        assert_eq!(out.free(), 8);
    }

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_in_which_they_came(steps in prop::collection::vec((any::<bool>(), 0_usize..40), 0..100)) {
            let mut out = OutBuf::new(64);
            let (mut wrote, mut took, mut next) = (Vec::new(), Vec::new(), 0_u8);
            for (write, count) in steps {
                if write {
                    let data: Vec<u8> = (0..count).map(|_| { next = next.wrapping_add(1); next }).collect();
                    if out.write(&[&data]).is_ok() {
                        wrote.extend(data);
                    }
                } else {
                    let count = count.min(out.pending().len());
                    took.extend_from_slice(&out.pending()[..count]);
                    out.consume(count);
                }
                prop_assert!(out.pending().len() <= 64);
                prop_assert_eq!(out.written_total(), wrote.len() as u64);
                prop_assert_eq!(out.taken_total(), took.len() as u64);
            }
            took.extend_from_slice(out.pending());
            prop_assert_eq!(took, wrote);
        }
    }
}
