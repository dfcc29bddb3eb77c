//! Datagrams to send: one behind the other in one buffer, in the order in which they are to leave.
//!
//! Whoever makes one writes it where it stays until the kernel takes it. So a datagram costs no
//! memory of its own, and those of one destination that stand in a row are a run as they lie there:
//! the kernel gets them in one call without their being copied.

use std::net::SocketAddr;
use std::ops::Range;

use crate::base::id::SockId;

/// Datagrams to send.
#[derive(Clone, Debug, Default)]
pub struct Datagrams {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// A datagram to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The socket to send it from.
    pub sock: SockId,
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Place {
    sock: SockId,
    to: SocketAddr,
    /// Where it ends among all bytes; it begins where the one before ends.
    end: usize,
}

/// Bytes that stay allocated when all is sent. A turn has about 140 KiB; what a burst took is given
/// back.
const KEPT_BYTES_MAX: usize = 256 * 1024;

impl Datagrams {
    /// Appends a datagram.
    pub fn push(&mut self, sock: SockId, to: SocketAddr, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.end_datagram(sock, to);
    }

    /// Appends what `write` appends to all bytes, as one datagram; nothing if there is `None`.
    pub(super) fn push_with(
        &mut self,
        sock: SockId,
        to: SocketAddr,
        write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
    ) -> Option<()> {
        let start = self.bytes.len();
        let written = write(&mut self.bytes);
        match written {
            None => self.bytes.truncate(start),
            Some(()) => self.end_datagram(sock, to),
        }
        written
    }

    /// Takes out all but the first `count`.
    pub fn truncate(&mut self, count: usize) {
        self.places.truncate(count);
        self.bytes.truncate(self.bytes_count());
    }

    /// Takes out the first `count`.
    pub fn remove_first(&mut self, count: usize) {
        let size = self.start(count);
        self.bytes.drain(..size);
        self.places.drain(..count);
        for place in &mut self.places {
            place.end -= size;
        }
    }

    /// Takes all out, and keeps their memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.places.clear();
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many bytes there are in all of them.
    pub fn bytes_count(&self) -> usize {
        self.start(self.len())
    }

    /// How many bytes there are in the last one.
    pub(super) fn last_size(&self) -> usize {
        let last = self.len().checked_sub(1).and_then(|last| self.get(last));
        last.map_or(0, |datagram| datagram.bytes.len())
    }

    /// The one at a place in the order, if there are so many.
    pub fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let Place { sock, to, end } = *self.places.get(index)?;
        let bytes = &self.bytes[self.start(index)..end];
        Some(Datagram { sock, to, bytes })
    }

    /// All from a place in the order on.
    pub fn iter_from(&self, first: usize) -> impl Iterator<Item = Datagram<'_>> {
        (first..self.len()).map_while(|index| self.get(index))
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.iter_from(0)
    }

    /// The bytes of some that stand in a row.
    pub fn bytes_of(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[self.start(range.start)..self.start(range.end)]
    }

    fn end_datagram(&mut self, sock: SockId, to: SocketAddr) {
        let end = self.bytes.len();
        self.places.push(Place { sock, to, end });
    }

    /// Where one begins, or would.
    fn start(&self, index: usize) -> usize {
        let before = index.checked_sub(1).map(|before| &self.places[before]);
        before.map_or(0, |place| place.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCK: SockId = SockId(3);

    fn to(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    /// Three: of three, no and two bytes.
    fn three() -> Datagrams {
        let mut all = Datagrams::default();
        for (port, bytes) in [(1, &b"abc"[..]), (2, b""), (3, b"de")] {
            all.push(SOCK, to(port), bytes);
        }
        all
    }

    fn list(all: &Datagrams) -> Vec<(u16, &[u8])> {
        let each = all.iter();
        each.map(|datagram| (datagram.to.port(), datagram.bytes))
            .collect()
    }

    #[test]
    fn each_comes_back_as_it_was_put_in() {
        let all = three();
        assert_eq!(list(&all), [(1, &b"abc"[..]), (2, b""), (3, b"de")]);
        assert_eq!(all.bytes_of(1..3), b"de");
        assert_eq!((all.len(), all.bytes_count()), (3, 5));
        assert_eq!((all.last_size(), Datagrams::default().last_size()), (2, 0));
        assert_eq!(all.get(3), None);
    }

    #[test]
    fn what_is_given_up_while_it_is_written_leaves_nothing() {
        let mut all = three();
        let given_up = all.push_with(SOCK, to(4), |bytes| {
            bytes.extend_from_slice(b"xyz");
            None
        });
        assert_eq!((given_up, all.len()), (None, 3));
        let written = all.push_with(SOCK, to(4), |bytes| {
            bytes.extend_from_slice(b"f");
            Some(())
        });
        assert_eq!(written, Some(()));
        assert_eq!(list(&all)[2..], [(3, &b"de"[..]), (4, b"f")]);
    }

    #[test]
    fn some_are_taken_out_at_either_end() {
        let mut all = three();
        all.truncate(5);
        all.truncate(2);
        assert_eq!(list(&all), [(1, &b"abc"[..]), (2, b"")]);
        all.push(SOCK, to(4), b"f");
        all.remove_first(0);
        all.remove_first(1);
        assert_eq!(list(&all), [(2, &b""[..]), (4, b"f")]);
        all.remove_first(2);
        assert!(all.is_empty());
        all.push(SOCK, to(5), b"g");
        assert_eq!(list(&all), [(5, &b"g"[..])]);
    }
}
