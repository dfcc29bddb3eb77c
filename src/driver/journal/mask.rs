//! Letters and digits in place of those of a secret, as many, and the same for the same secret.
//!
//! A run is replayed with masked requests and a masked configuration, so what was equal must stay
//! equal, what was not must not become so, and all must be as long as it was. Each letter or digit
//! is moved by a number that depends on a key and on all that stands before it in the secret:
//! two secrets that part at some letter part at the same one when they are masked, and not before.
//! All other bytes stay.
//!
//! Invariant: the key is in no journal, so that masked text says no more than its length, its
//! marks of punctuation, and which secrets begin alike.

use std::fmt;

use super::secrets::KINDS;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// How much of the last secret of a kind is remembered.
const PATH_MAX: usize = 256;

/// Masks the secrets of one process.
#[derive(Clone)]
pub struct Mask {
    key: [u64; 2],
    start: u64,
    /// The last secret of each kind: most requests show the one that others have shown.
    paths: [Vec<Step>; KINDS],
}

#[derive(Clone, Copy)]
struct Step {
    plain: u8,
    masked: u8,
    before: u64,
    after: u64,
}

/// A place within a secret.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    at: usize,
    /// What all before it amounts to.
    state: u64,
}

impl Mask {
    /// Masks by a key that nobody must learn.
    pub fn new(key: [u8; 16]) -> Self {
        let (a, b) = key.split_at(8);
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let key = [number(a), number(b)];
        Self {
            key,
            start: sip(key, 0, 0),
            paths: [const { Vec::new() }; KINDS],
        }
    }

    /// Masks a whole secret.
    pub fn text(&mut self, secret: &str) -> String {
        let mut walk = self.begin();
        let masked = secret.bytes().map(|plain| self.byte(0, &mut walk, plain));
        String::from_utf8(masked.collect()).expect("only letters and digits were changed")
    }

    /// The place before the first letter.
    pub(super) const fn begin(&self) -> Walk {
        Walk {
            at: 0,
            state: self.start,
        }
    }

    /// Masks the next byte of a secret of some kind.
    pub(super) fn byte(&mut self, kind: usize, walk: &mut Walk, plain: u8) -> u8 {
        let at = walk.at;
        walk.at += 1;
        let known = self.paths[kind].get(at);
        if let Some(step) = known
            && (step.before, step.plain) == (walk.state, plain)
        {
            walk.state = step.after;
            return step.masked;
        }
        let step = Step {
            plain,
            masked: moved(plain, walk.state),
            before: walk.state,
            after: sip(self.key, walk.state, 1 + u64::from(plain)),
        };
        walk.state = step.after;
        let path = &mut self.paths[kind];
        let is_next = at == 0
            || path
                .get(at - 1)
                .is_some_and(|last| last.after == step.before);
        if is_next && at < PATH_MAX {
            path.truncate(at);
            path.push(step);
        }
        step.masked
    }
}

/// Takes the place of a letter or digit; anything else stays.
fn moved(plain: u8, by: u64) -> u8 {
    let place = match plain {
        b'A'..=b'Z' => plain - b'A',
        b'a'..=b'z' => plain - b'a' + 26,
        b'0'..=b'9' => plain - b'0' + 52,
        _ => return plain,
    };
    ALPHABET[(usize::from(place) + (by % 62) as usize) % 62]
}

/// SipHash-2-4 of two words (Aumasson and Bernstein 2012), whose length is always the same.
fn sip(key: [u64; 2], first: u64, second: u64) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    for word in [first, second, 16 << 56] {
        v[3] ^= word;
        round(&mut v);
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

const fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The vectors of the SipHash paper's reference code, for sixteen bytes of input.
    #[test]
    fn the_hash_is_sip_hash() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let hash = sip(key, 0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        assert_eq!(hash, 0x3f2a_cc7f_57c2_9bdb);
    }

    fn letterwise(mask: &mut Mask, kind: usize, text: &str) -> String {
        let mut walk = mask.begin();
        let masked = text.bytes().map(|plain| mask.byte(kind, &mut walk, plain));
        String::from_utf8(masked.collect()).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_equal_stays_so_and_what_is_not_does_not(
            key in any::<[u8; 16]>(), a in "[a-c0-1./é]{0,9}", b in "[a-c0-1./é]{0,9}",
        ) {
            let mut mask = Mask::new(key);
            let (masked_a, masked_b) = (mask.text(&a), mask.text(&b));
            prop_assert_eq!(a.len(), masked_a.len());
            prop_assert_eq!(a == b, masked_a == masked_b);
            let same = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(same(&a, &b), same(&masked_a, &masked_b));
        }

        #[test]
        fn what_is_remembered_makes_no_difference(texts in proptest::collection::vec("[ab]{0,5}", 0..20)) {
            let mut mask = Mask::new([7; 16]);
            for text in texts {
                let whole = mask.text(&text);
                prop_assert_eq!(letterwise(&mut mask, 0, &text), whole);
            }
        }
    }

    #[test]
    fn long_secrets_are_masked_to_their_end() {
        let long = "x".repeat(PATH_MAX * 3);
        let mut mask = Mask::new([9; 16]);
        let masked = letterwise(&mut mask, 1, &long);
        assert_eq!(masked, mask.text(&long));
        assert_eq!(letterwise(&mut mask, 1, &long), masked, "once more");
        assert_eq!(letterwise(&mut mask, 1, "xy"), mask.text("xy"));
    }

    #[test]
    fn secrets_that_come_in_turns_do_not_mix() {
        let mut mask = Mask::new([9; 16]);
        let mut walks = [mask.begin(), mask.begin()];
        let mut masked = [String::new(), String::new()];
        for (a, b) in "first".bytes().zip("fifth".bytes()) {
            for (index, plain) in [a, b].into_iter().enumerate() {
                let byte = mask.byte(1, &mut walks[index], plain);
                masked[index].push(char::from(byte));
            }
        }
        assert_eq!(masked, [mask.text("first"), mask.text("fifth")]);
    }

    #[test]
    fn another_key_masks_otherwise() {
        let masked = |key| Mask::new([key; 16]).text("a secret of some length");
        assert_ne!(masked(1), masked(2));
        assert_eq!(masked(1).matches(' ').count(), 4);
    }
}
