//! Whose a datagram is: by the address it came from, else by the user name of a STUN request.
//!
//! Invariant: only an address that passed an ICE check is trusted with anything but STUN.

use std::net::SocketAddr;

use crate::base::id::{PeerId, SockId};
use crate::base::index::Index;
use crate::base::rng::Rng;
use crate::base::slab::{SlabKey as _, SlabMap};

/// The addresses of all peers of a shard.
#[derive(Debug)]
pub(crate) struct Demux {
    by_address: Index<Source, Entry>,
    of_peer: SlabMap<PeerId, Vec<Source>>,
    /// The last peer of each slot that a user name was drawn for.
    by_slot: Vec<Option<PeerId>>,
    /// Hides in user names how many peers there are.
    mask: u32,
}

/// Where a datagram came from: the same remote address is another source on another socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) sock: SockId,
    pub(crate) address: SocketAddr,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) peer: PeerId,
    pub(crate) trust: Trust,
}

/// What may come from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// A check was sent to it: its STUN responses.
    Checked,
    /// A check of it passed: everything.
    Validated,
}

/// Addresses of one peer; more are not remembered, so their packets are dropped.
const PEER_ADDRESSES_MAX: usize = 64;

impl Demux {
    /// Starts without peers.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            by_address: Index::new(rng),
            of_peer: SlabMap::default(),
            by_slot: Vec::new(),
            mask: rng.next_u64() as u32 & SLOT_MASK,
        }
    }

    /// Draws a user name fragment that leads to a peer: its slot, and four characters that no one
    /// else knows.
    pub(crate) fn draw_ufrag(&mut self, rng: &mut Rng, peer: PeerId) -> String {
        let index = peer.slot() as usize;
        if index >= self.by_slot.len() {
            self.by_slot.resize(index + 1, None);
        }
        self.by_slot[index] = Some(peer);
        let slot = (peer.slot() & SLOT_MASK) ^ self.mask;
        let mut ufrag: String = (0..SLOT_CHARS)
            .map(|index| char::from(ALPHABET[(slot >> (6 * index) & 63) as usize]))
            .collect();
        ufrag.push_str(&rng.text(4));
        ufrag
    }

    /// The peer that a user name fragment leads to. Whether it is still there and has this fragment
    /// is to be asked of the peer.
    pub(crate) fn named(&self, ufrag: &str) -> Option<PeerId> {
        let digits = ufrag.as_bytes().get(..SLOT_CHARS)?;
        let mut slot = 0;
        for digit in digits.iter().rev() {
            let value = ALPHABET.iter().position(|each| each == digit)?;
            slot = slot << 6 | value as u32;
        }
        *self.by_slot.get((slot ^ self.mask) as usize)?
    }

    /// Whose an address is.
    pub(crate) fn find(&self, source: Source) -> Option<Entry> {
        self.by_address.get(&source).copied()
    }

    /// Notes that a check was sent to an address. What is known of it already remains.
    pub(crate) fn checked(&mut self, source: Source, peer: PeerId) {
        if !self.by_address.contains(&source) {
            self.put(
                source,
                Entry {
                    peer,
                    trust: Trust::Checked,
                },
            );
        }
    }

    /// Notes that a check of an address passed. Whoever had it before has it no more.
    pub(crate) fn validated(&mut self, source: Source, peer: PeerId) {
        let entry = Entry {
            peer,
            trust: Trust::Validated,
        };
        match self.by_address.get_mut(&source) {
            Some(known) if known.peer == peer => *known = entry,
            Some(known) => {
                let former = known.peer;
                self.by_address.remove(&source);
                if let Some(sources) = self.of_peer.get_mut(former) {
                    sources.retain(|each| *each != source);
                }
                self.put(source, entry);
            }
            None => self.put(source, entry),
        }
    }

    /// Forgets a peer and its addresses.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        for source in self.of_peer.remove(peer).unwrap_or_default() {
            self.by_address.remove(&source);
        }
    }

    fn put(&mut self, source: Source, entry: Entry) {
        if self.of_peer.get(entry.peer).is_none() {
            self.of_peer.insert(entry.peer, Vec::new());
        }
        let sources = self.of_peer.get_mut(entry.peer).expect("it was put in");
        if sources.len() < PEER_ADDRESSES_MAX {
            sources.push(source);
            self.by_address.insert(source, entry);
        }
    }
}

/// 16 million peers per shard.
const SLOT_CHARS: usize = 4;
const SLOT_MASK: u32 = (1 << (6 * SLOT_CHARS)) - 1;

/// The characters of ICE user names (RFC 8839 section 5.4).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    fn source(port: u16) -> Source {
        Source {
            sock: SockId(0),
            address: SocketAddr::from(([192, 0, 2, 1], port)),
        }
    }

    fn peer(slot: u32) -> PeerId {
        PeerId::from_parts(slot, 3)
    }

    fn demux() -> (Demux, Rng) {
        let mut rng = Rng::from_seed([5; 32]);
        (Demux::new(&mut rng), rng)
    }

    #[test]
    fn a_user_name_leads_to_its_peer() {
        let (mut demux, mut rng) = demux();
        for slot in [0, 1, 63, 64, 9_999, 70_000] {
            let ufrag = demux.draw_ufrag(&mut rng, peer(slot));
            assert_eq!(ufrag.len(), 8);
            assert_eq!(demux.named(&ufrag), Some(peer(slot)));
        }
        assert_eq!(demux.named("abc"), None);
        assert_eq!(demux.named("ab:cdefg"), None);
    }

    #[test]
    fn a_check_sent_does_not_take_an_address_from_its_owner() {
        let (mut demux, _) = demux();
        demux.validated(source(1), peer(1));
        demux.checked(source(1), peer(2));
        assert_eq!(demux.find(source(1)).unwrap().peer, peer(1));
    }

    #[test]
    fn a_check_passed_does() {
        let (mut demux, _) = demux();
        demux.validated(source(1), peer(1));
        demux.validated(source(1), peer(2));
        demux.forget(peer(1));
        let entry = demux.find(source(1)).unwrap();
        assert_eq!((entry.peer, entry.trust), (peer(2), Trust::Validated));
    }

    #[test]
    fn the_same_address_on_another_socket_is_another_source() {
        let (mut demux, _) = demux();
        demux.validated(source(1), peer(1));
        let other = Source {
            sock: SockId(1),
            ..source(1)
        };
        assert_eq!(demux.find(other), None);
    }

    #[test]
    fn a_forgotten_peer_has_no_addresses() {
        let (mut demux, _) = demux();
        demux.checked(source(1), peer(1));
        demux.validated(source(1), peer(1));
        demux.forget(peer(1));
        assert_eq!(demux.find(source(1)), None);
        assert!(demux.by_address.is_empty());
    }

    #[test]
    fn one_peer_cannot_fill_the_table() {
        let (mut demux, _) = demux();
        for port in 1..200 {
            demux.validated(source(port), peer(1));
        }
        assert_eq!(demux.by_address.len(), PEER_ADDRESSES_MAX);
    }
}
