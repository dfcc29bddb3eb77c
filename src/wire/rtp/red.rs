//! Redundant audio (RFC 2198): the packet itself, behind copies of earlier ones.

/// Copies in one packet; senders put in two at most.
const BLOCKS_MAX: usize = 8;

/// The primary payload of a redundant one; `None` if it cannot be read.
pub fn primary(payload: &[u8]) -> Option<&[u8]> {
    const HAS_MORE: u8 = 0x80;
    let mut rest = payload;
    let mut copies_size = 0;
    for _ in 0..BLOCKS_MAX {
        let [first, after @ ..] = rest else {
            return None;
        };
        if first & HAS_MORE == 0 {
            return after.get(copies_size..);
        }
        // The payload type, 14 bits of time, and 10 bits of size.
        let [_, _, high, low, next @ ..] = rest else {
            return None;
        };
        copies_size += usize::from(u16::from_be_bytes([*high, *low]) & 0x3ff);
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes a payload with copies, the oldest first.
    fn write(copies: &[&[u8]], primary: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for copy in copies {
            let size = copy.len() as u16;
            out.extend([
                0x80 | 111,
                0x12,
                0x34 & 0xfc | (size >> 8) as u8,
                size as u8,
            ]);
        }
        out.push(111);
        copies.iter().for_each(|copy| out.extend(*copy));
        out.extend(primary);
        out
    }

    #[test]
    fn what_stands_behind_the_copies_is_found() {
        let long = [7; 700];
        for copies in [&[][..], &[&b"ab"[..]], &[&b"ab"[..], &long, &b""[..]]] {
            assert_eq!(primary(&write(copies, b"new")), Some(&b"new"[..]));
            assert_eq!(primary(&write(copies, b"")), Some(&b""[..]));
        }
    }

    #[test]
    fn what_is_cut_short_is_no_payload() {
        let whole = write(&[b"ab"], b"");
        for size in 0..whole.len() {
            assert_eq!(primary(&whole[..size]), None, "{size}");
        }
        assert_eq!(primary(&[0x80; 64]), None, "copies without end");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_payload_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(found) = primary(&bytes) {
                prop_assert!(bytes.ends_with(found));
            }
        }
    }
}
