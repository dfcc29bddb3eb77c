//! Identifiers as types, and which shard owns a session.
//!
//! Invariant: a bare number never names a session, handle, connection or peer.

use std::fmt;

use crate::base::rng::Rng;
use crate::base::slab::SlabKey;

/// The largest id that a JavaScript number holds exactly; Janus draws its ids below it too.
pub const ID_MAX: u64 = (1 << 53) - 1;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )* }
}

ids! {
    /// A core's share of the gateway, 0-based.
    ShardId(u8);
    /// A Janus session. Chosen by the server below 2^53, or by the client up to 2^53 - 1.
    SessionId(u64);
    /// A handle, unique within its session only.
    HandleId(u64);
    /// A TCP connection of one shard: slot and generation, so a late event of a closed
    /// connection cannot reach its successor.
    ConnId(u64);
    /// A PeerConnection of one shard: slot and generation.
    PeerId(u64);
    /// A UDP socket of one shard: first those of PeerConnections, then those for plain RTP.
    SockId(u16);
}

/// A handle with the session that it lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleRef {
    /// The session.
    pub session: SessionId,
    /// The handle within it.
    pub handle: HandleId,
}

macro_rules! slab_keys {
    ($($name:ident),*) => { $(
        impl SlabKey for $name {
            fn from_parts(slot: u32, generation: u32) -> Self {
                Self(u64::from(generation) << 32 | u64::from(slot))
            }

            fn slot(self) -> u32 {
                (self.0 & u64::from(u32::MAX)) as u32
            }

            fn generation(self) -> u32 {
                (self.0 >> 32) as u32
            }
        }
    )* }
}

slab_keys!(ConnId, PeerId);

/// The shard that owns a session, whoever chose the number.
///
/// The client may pick its own session id, so ownership is a function of the whole id and not of
/// bits inside it. Sequential ids spread evenly (the finaliser is that of splitmix64).
///
/// # Panics
///
/// When `shards` is zero.
pub const fn owner_of(id: SessionId, shards: u8) -> ShardId {
    let mut z = id.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ShardId(((z ^ (z >> 31)) % shards as u64) as u8)
}

/// Draws a session id that shard `me` of `shards` owns, from 1 to [`ID_MAX`].
pub fn draw_owned(rng: &mut Rng, me: ShardId, shards: u8) -> SessionId {
    loop {
        let id = SessionId(draw(rng));
        if owner_of(id, shards) == me {
            return id;
        }
    }
}

/// Draws a handle id, from 1 to [`ID_MAX`].
pub fn draw_handle(rng: &mut Rng) -> HandleId {
    HandleId(draw(rng))
}

fn draw(rng: &mut Rng) -> u64 {
    loop {
        let id = rng.next_u64() & ID_MAX;
        if id != 0 {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_session_id_is_owned_and_fits_a_javascript_number() {
        let mut rng = Rng::from_seed([7; 32]);
        for shard in 0..8 {
            for _ in 0..200 {
                let id = draw_owned(&mut rng, ShardId(shard), 8);
                assert!((1..=ID_MAX).contains(&id.0));
                assert_eq!(owner_of(id, 8), ShardId(shard));
            }
        }
    }

    #[test]
    fn sequential_client_ids_spread_over_the_shards() {
        let mut counts = [0_u32; 8];
        for id in 1..=8_000 {
            counts[usize::from(owner_of(SessionId(id), 8).0)] += 1;
        }
        assert!(
            counts.iter().all(|count| (900..1_100).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn slot_and_generation_survive_the_round_trip() {
        let id = ConnId::from_parts(77, 3);
        assert_eq!((id.slot(), id.generation()), (77, 3));
    }
}
