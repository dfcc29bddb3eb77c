//! A hash of what a shard gives out, cheap enough to be taken of everything.
//!
//! It tells two runs apart that differ by accident. It is no protection against whoever wants two
//! to look the same.

/// Odd, and with as many ones as zeros: what multiplication by it moves is spread over the word.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const SPREAD_TOO: u64 = 0xd6e8_feb8_6659_fd93;

/// The hash so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputHash(u64);

impl Default for OutputHash {
    fn default() -> Self {
        Self(SPREAD_TOO)
    }
}

impl OutputHash {
    /// Takes in a number.
    pub const fn number(&mut self, number: u64) {
        self.0 = fold(self.0 ^ number, SPREAD);
    }

    /// Takes in bytes, and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut state = self.0 ^ fold(bytes.len() as u64 ^ SPREAD, SPREAD_TOO);
        let mut pairs = bytes.chunks_exact(16);
        for pair in &mut pairs {
            let (a, b) = pair.split_at(8);
            state = fold(word(a) ^ state, word(b) ^ SPREAD);
        }
        let rest = pairs.remainder();
        let (a, b) = rest.split_at(rest.len().min(8));
        self.0 = fold(word(a) ^ state, word(b) ^ SPREAD_TOO) ^ state.rotate_left(23);
    }

    /// The hash of all that was taken in.
    pub const fn value(self) -> u64 {
        fold(self.0, SPREAD_TOO)
    }

    /// The same in half the size, for the many.
    pub const fn short(self) -> u32 {
        let value = self.value();
        (value ^ value >> 32) as u32
    }
}

/// The hash of some bytes alone.
pub(super) fn of(bytes: &[u8]) -> u64 {
    let mut hash = OutputHash::default();
    hash.bytes(bytes);
    hash.value()
}

/// The two halves of the product, put together. Adding keeps a factor of zero from ending it all.
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product as u64 ^ (product >> 64) as u64).wrapping_add(a.rotate_left(32))
}

/// Up to eight bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    let mut whole = [0; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_and_each_length_counts() {
        for size in 0..70_usize {
            let bytes: Vec<u8> = (0..size).map(|index| index as u8).collect();
            let whole = of(&bytes);
            assert_ne!(whole, of(&[&bytes[..], &[0]].concat()));
            for bit in 0..size * 8 {
                let mut other = bytes.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(whole, of(&other), "bit {bit} of {size} bytes");
            }
        }
    }

    #[test]
    fn the_order_counts() {
        let hash = |numbers: &[u64]| {
            let mut hash = OutputHash::default();
            numbers.iter().for_each(|&number| hash.number(number));
            hash.short()
        };
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
        assert_ne!(hash(&[0]), hash(&[0, 0]));
    }
}
