//! Randomness from a seed that is given from outside, so that a seed reproduces a run.
//!
//! Invariant: nothing here reads the operating system's entropy; the platform hands each shard 32
//! bytes of it at start.

use std::fmt;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// A stream of random numbers, fit for ids, tokens and passwords (ChaCha with 12 rounds).
pub struct Rng {
    seed: [u8; 32],
    stream: ChaCha12Rng,
}

impl Rng {
    /// Starts the stream that belongs to `seed`.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self {
            seed,
            stream: ChaCha12Rng::from_seed(seed),
        }
    }

    /// An independent stream, named. It depends on the seed and the name only, not on what was
    /// drawn before, so a new draw in one component does not change those of another.
    #[must_use]
    pub fn fork(&self, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(name.as_bytes());
        Self::from_seed(hash.finalize().into())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.stream.next_u64()
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.stream.fill_bytes(out);
    }

    /// A number below `bound`, evenly enough for anything but cryptography: the bias is below
    /// `bound` / 2^64.
    ///
    /// # Panics
    ///
    /// When `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below zero");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Text of `len` characters drawn from `[A-Za-z0-9]`.
    pub fn text(&mut self, len: usize) -> String {
        const ALPHABET: &[u8; 62] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..len)
            .map(|_| char::from(ALPHABET[self.below(62) as usize]))
            .collect()
    }
}

impl fmt::Debug for Rng {
    /// Says nothing of the seed: logs must not give ids away.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_does_not_depend_on_what_was_drawn() {
        let mut drawn = Rng::from_seed([1; 32]);
        let fresh = Rng::from_seed([1; 32]);
        drawn.next_u64();
        assert_eq!(drawn.fork("ids").next_u64(), fresh.fork("ids").next_u64());
        assert_ne!(fresh.fork("ids").next_u64(), fresh.fork("ice").next_u64());
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut rng = Rng::from_seed([2; 32]);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[rng.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
