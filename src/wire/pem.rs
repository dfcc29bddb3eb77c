//! Certificates and keys in text form (RFC 7468).

/// One block of a PEM text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// What it says that it is, such as `CERTIFICATE`.
    pub label: &'a str,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Reads the blocks of a text, in their order. What stands around them is left out, as are blocks
/// that are cut off or not in base64.
pub fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once(BEGIN) {
        let Some((label, body)) = begun.split_once(DASHES) else {
            break;
        };
        let Some((body, after)) = body.split_once(END) else {
            break;
        };
        if let Some(after) = after.strip_prefix(label)
            && after.starts_with(DASHES)
            && let Some(bytes) = decode(body)
        {
            blocks.push(Block { label, bytes });
        }
        rest = after;
    }
    blocks
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Base64 with its padding, and blanks anywhere.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    for (index, group) in digits.chunks(4).enumerate() {
        let is_last = (index + 1) * 4 == digits.len();
        let padding = group.iter().rev().take_while(|&&digit| digit == b'=');
        let padding = padding.count();
        if padding > 2 || (padding > 0 && !is_last) {
            return None;
        }
        let mut bits = 0;
        for &digit in &group[..4 - padding] {
            bits = bits << 6 | value(digit)?;
        }
        bits <<= 6 * padding;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_are_read() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9v\r\nYmE=\n", "fooba"),
            ("Zm9v YmFy", "foobar"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(decode("+/+/").unwrap(), [0xfb, 0xff, 0xbf]);
        for text in ["Z", "Zg", "Zg=", "Z===", "Zg==Zg==", "Zm9-", "=Zm9", "Z=m9"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn blocks_are_found_among_other_text() {
        let text = "Subject: x\n-----BEGIN EC PARAMETERS-----\nZm9v\n-----END EC PARAMETERS-----\n\
                    -----BEGIN A-----\nZm9v\n-----END B-----\n\
                    -----BEGIN BAD-----\n!!!!\n-----END BAD-----\n\
                    -----BEGIN KEY-----\nYmFy\n-----END KEY-----\n-----BEGIN CUT-----\nZm9v\n";
        let read = blocks(text);
        let read: Vec<_> = read.iter().map(|b| (b.label, &b.bytes[..])).collect();
        assert_eq!(read, [("EC PARAMETERS", &b"foo"[..]), ("KEY", b"bar")]);
    }
}
