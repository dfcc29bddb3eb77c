//! The digest by which a server shows that it understood an opening handshake (RFC 6455 §4.2.2).

use sha1::{Digest as _, Sha1};

/// What `Sec-WebSocket-Accept` is made of beside the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of `Sec-WebSocket-Accept` for a key. `None` if that is not 16 bytes in base64.
pub fn accept(key: &[u8]) -> Option<[u8; 28]> {
    let digits = key.strip_suffix(b"==")?;
    let (last, others) = digits.split_last()?;
    // Of the last digit two bits count; strict decoders want the others to be zero.
    let is_key = digits.len() == 22
        && b"AQgw".contains(last)
        && others.iter().all(|digit| DIGITS.contains(digit));
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    is_key.then(|| base64(&digest.into()))
}

fn base64(digest: &[u8; 20]) -> [u8; 28] {
    let mut text = [b'='; 28];
    for (bytes, digits) in digest.chunks(3).zip(text.chunks_mut(4)) {
        let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, digit) in digits.iter_mut().enumerate().take(bytes.len() + 1) {
            *digit = DIGITS[(group >> (18 - 6 * at)) as usize & 63];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let accepted = accept(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(&accepted, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_key_is_not_accepted() {
        for key in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25j Q==",
            "dGhlIHNhbXBsZSBub25jZQAA==",
        ] {
            assert_eq!(accept(key.as_bytes()), None, "{key}");
        }
    }
}
