//! Ids of rooms and of their participants, and which shard is the home of a room.

use std::fmt;

use serde_json::Value;

use crate::base::id::{ID_MAX, SessionId, ShardId, owner_of};
use crate::base::rng::Rng;

/// An id that clients choose or get: a number, or a text where the configuration says so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Id {
    Number(u64),
    Text(Box<str>),
}

/// The form that ids have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdForm {
    Numbers,
    Texts,
}

impl IdForm {
    pub(super) const fn of(string_ids: bool) -> Self {
        if string_ids {
            Self::Texts
        } else {
            Self::Numbers
        }
    }
}

impl Id {
    /// An id that nobody has, in all likelihood.
    pub(super) fn draw(rng: &mut Rng, form: IdForm) -> Self {
        match form {
            IdForm::Numbers => loop {
                let id = rng.next_u64() & ID_MAX;
                if id != 0 {
                    return Self::Number(id);
                }
            },
            IdForm::Texts => Self::Text(draw_uuid(rng).into()),
        }
    }

    /// The id of the dummy publisher of a room: the same whenever the room is made.
    pub(super) fn of_dummy(room: &Self, form: IdForm) -> Self {
        let seed = room.number() ^ 0x64_75_6d_6d_79;
        match form {
            IdForm::Numbers => Self::Number((mixed(seed) & ID_MAX).max(1)),
            IdForm::Texts => Self::Text(uuid(mixed(seed), mixed(!seed)).into()),
        }
    }

    /// Reads an id of a configuration file.
    pub(super) fn parse(text: &str, form: IdForm) -> Option<Self> {
        match form {
            IdForm::Numbers => text.parse().ok().filter(|id| *id > 0).map(Self::Number),
            IdForm::Texts => Some(Self::Text(text.into())),
        }
    }

    /// Whether it names somebody or something; a zero asks for any id.
    pub(super) const fn is_chosen(&self) -> bool {
        !matches!(self, Self::Number(0))
    }

    pub(super) fn json(&self) -> Value {
        match self {
            Self::Number(id) => (*id).into(),
            Self::Text(id) => (&**id).into(),
        }
    }

    /// The shard that has the authoritative state of the room with this id.
    pub(super) fn home(&self, shards: u8) -> ShardId {
        owner_of(SessionId(self.number()), shards)
    }

    /// A number that stands for it; texts may share one.
    fn number(&self) -> u64 {
        match self {
            Self::Number(id) => *id,
            // FNV-1a, 64 bits.
            Self::Text(id) => id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            }),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => id.fmt(f),
            Self::Text(id) => id.fmt(f),
        }
    }
}

/// A random UUID (RFC 9562 section 5.4).
fn draw_uuid(rng: &mut Rng) -> String {
    let (high, low) = (rng.next_u64(), rng.next_u64());
    uuid(high, low)
}

/// The finaliser of SplitMix64: neighbours come to lie far apart.
const fn mixed(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ seed >> 31
}

fn uuid(high: u64, low: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_with_text_ids_spread_over_the_shards() {
        let mut counts = [0_u32; 4];
        for number in 0..1_000 {
            let id = Id::Text(format!("room-{number}").into());
            counts[usize::from(id.home(4).0)] += 1;
        }
        assert!(
            counts.iter().all(|count| (200..300).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_drawn_text_is_a_uuid_of_version_4() {
        let mut rng = Rng::from_seed([1; 32]);
        let Id::Text(text) = Id::draw(&mut rng, IdForm::Texts) else {
            unreachable!("texts were asked for");
        };
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(text.as_bytes()[14], b'4');
    }
}
