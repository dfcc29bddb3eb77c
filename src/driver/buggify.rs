//! Rare choices that the driver makes on purpose, so that tests meet what kernels seldom do: short
//! reads and writes, a flush that waits for the next turn, a wake for nothing.
//!
//! Invariant: a build without debug assertions has none of it, whatever seed it is given.

/// Whether, and by which seed, the driver makes rare choices.
#[derive(Clone, Debug, Default)]
pub struct Buggify {
    #[cfg(debug_assertions)]
    state: Option<std::num::NonZeroU64>,
}

/// One in so many choices is a rare one.
#[cfg(debug_assertions)]
const RARITY: u64 = 8;

impl Buggify {
    /// Makes rare choices, by a seed. A build without debug assertions does not.
    pub fn seeded(seed: u64) -> Self {
        #[cfg(debug_assertions)]
        {
            Self {
                state: std::num::NonZeroU64::new(seed | 1),
            }
        }
        #[cfg(not(debug_assertions))]
        {
            let _ = seed;
            Self::default()
        }
    }

    /// Whether to do the rare thing this time.
    pub(super) fn is_rare(&mut self) -> bool {
        #[cfg(debug_assertions)]
        {
            self.draw().is_some_and(|draw| draw % RARITY == 0)
        }
        #[cfg(not(debug_assertions))]
        {
            false
        }
    }

    /// How much of `most` to read or write: all of it, or rarely some.
    pub(super) fn portion(&mut self, most: usize) -> usize {
        #[cfg(debug_assertions)]
        if let Some(draw) = self.draw()
            && draw % RARITY == 0
            && most > 1
        {
            return 1 + (draw / RARITY % (most as u64).min(64)) as usize % most;
        }
        most
    }

    /// The next number: xorshift, which is random enough to choose by.
    #[cfg(debug_assertions)]
    fn draw(&mut self) -> Option<u64> {
        let mut state = self.state?.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.state = std::num::NonZeroU64::new(state);
        Some(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11)
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn without_a_seed_nothing_is_rare() {
        let mut off = Buggify::default();
        assert!((0..1_000).all(|_| !off.is_rare() && off.portion(9) == 9));
    }

    #[test]
    fn with_a_seed_some_choices_are_rare_and_portions_are_never_empty() {
        let mut on = Buggify::seeded(7);
        let rare = (0..8_000).filter(|_| on.is_rare()).count();
        assert!((500..2_000).contains(&rare), "{rare}");
        let portions: Vec<usize> = (0..8_000).map(|_| on.portion(5)).collect();
        assert!(portions.iter().all(|size| (1..=5).contains(size)));
        assert!((1..=5).all(|size| portions.contains(&size)));
    }
}
