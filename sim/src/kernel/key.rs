//! Keyed randomness: every draw is a pure function of seed, component and counter.
//!
//! Nothing is drawn from a shared stream, so that leaving out one fault, or one client, does not
//! change what the others draw. That is what makes a shrunk scenario resemble the one it came from.

use std::time::Duration;

use crate::kernel::time::nanos;

/// A place in the tree of random streams: the seed, then who draws, then for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// The root of a run.
    pub const fn of_seed(seed: u64) -> Self {
        Self(mix(seed ^ 0x6a09_e667_f3bc_c908))
    }

    /// The branch `part` of this place.
    #[must_use]
    pub const fn at(self, part: u64) -> Self {
        Self(mix(self.0 ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// The branch called `name`.
    #[must_use]
    pub const fn named(self, name: &str) -> Self {
        let bytes = name.as_bytes();
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut index = 0;
        while index < bytes.len() {
            hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
            index += 1;
        }
        self.at(hash)
    }

    /// The number at this place.
    pub const fn value(self) -> u64 {
        mix(self.0)
    }

    /// The number at this place, scaled to below `bound`.
    pub const fn below(self, bound: u64) -> u64 {
        scale(self.value(), bound)
    }

    /// Whether a chance of `numerator` in `denominator` comes true here.
    pub const fn chance(self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// A span of `least` to `most`, both included.
    pub fn span(self, least: Duration, most: Duration) -> Duration {
        let width = nanos(most).saturating_sub(nanos(least));
        least + Duration::from_nanos(self.below(width.saturating_add(1)))
    }

    /// A stream of numbers that begins here.
    pub const fn draws(self) -> Draws {
        Draws {
            key: self,
            count: 0,
        }
    }

    /// Thirty-two bytes for a shard's own generator.
    pub fn seed_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (index, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&self.at(index as u64).value().to_le_bytes());
        }
        bytes
    }
}

/// A stream of numbers; the n-th depends on its key and n only.
#[derive(Clone, Debug)]
pub struct Draws {
    key: Key,
    count: u64,
}

impl Draws {
    /// The next place of the stream.
    pub const fn next(&mut self) -> Key {
        self.count += 1;
        self.key.at(self.count)
    }

    /// A number below `bound`.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next().below(bound)
    }

    /// A number from `least` to `most`, both included.
    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next().below(most - least + 1)
    }

    /// Whether a chance of `numerator` in `denominator` comes true.
    pub const fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.next().chance(numerator, denominator)
    }

    /// One of `choices`.
    ///
    /// # Panics
    ///
    /// When there is nothing to choose from.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A whole number of milliseconds from `least` to `most`, both included.
    pub const fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }
}

const fn scale(value: u64, bound: u64) -> u64 {
    ((value as u128 * bound as u128) >> 64) as u64
}

/// The finaliser of splitmix64.
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_its_place_only() {
        let mut a = Key::of_seed(1).named("a").draws();
        let first = a.below(1_000_000);
        let mut again = Key::of_seed(1).named("a").draws();
        Key::of_seed(1).named("b").draws().below(9);
        assert_eq!(again.below(1_000_000), first);
        assert_ne!(Key::of_seed(2).named("a").draws().below(1_000_000), first);
    }

    #[test]
    fn draws_reach_both_ends_and_stay_inside() {
        let mut draws = Key::of_seed(3).draws();
        let mut seen = [false; 4];
        for _ in 0..200 {
            seen[(draws.between(5, 8) - 5) as usize] = true;
        }
        assert_eq!(seen, [true; 4]);
        let span = Key::of_seed(4).span(Duration::from_nanos(7), Duration::from_nanos(7));
        assert_eq!(span, Duration::from_nanos(7));
    }
}
