//! A peek at STUN messages (RFC 8489): enough to tell whose they are. Checking them is the ICE
//! agent's business.

/// Tells whether a datagram is a STUN message, when it shares a port with DTLS, RTP and others
/// (RFC 7983 section 7).
pub fn is_stun(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_BYTES && bytes[0] < 4 && bytes[4..8] == MAGIC_COOKIE
}

/// Returns the user name fragment of the agent that a binding request is for: what precedes the
/// colon in `USERNAME` (RFC 8445 section 7.2.2).
///
/// `None` if the message is no binding request, is cut short, or names nobody.
pub fn peek_ufrag(bytes: &[u8]) -> Option<&str> {
    if !is_stun(bytes) || bytes[..2] != BINDING_REQUEST {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    let mut rest = bytes[HEADER_BYTES..].get(..length)?;
    while let Some((head, tail)) = rest.split_at_checked(4) {
        let kind = [head[0], head[1]];
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = tail.get(..length)?;
        if kind == USERNAME {
            let name = std::str::from_utf8(value).ok()?;
            return name.split_once(':').map(|(local, _)| local);
        }
        // Attributes are padded to a multiple of four bytes.
        rest = tail.get(length.next_multiple_of(4)..)?;
    }
    None
}

const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const USERNAME: [u8; 2] = [0x00, 0x06];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend_from_slice(&kind.to_be_bytes());
            body.extend_from_slice(&(value.len() as u16).to_be_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut message = vec![0, 1];
        message.extend_from_slice(&(body.len() as u16).to_be_bytes());
        message.extend_from_slice(&MAGIC_COOKIE);
        message.extend_from_slice(&[7; 12]);
        message.extend_from_slice(&body);
        message
    }

    #[test]
    fn the_user_name_is_found_behind_other_attributes() {
        let message = request(&[
            (0x0024, &[1, 2, 3]),
            (0x0006, b"ours:theirs"),
            (0x0025, b""),
        ]);
        assert_eq!(peek_ufrag(&message), Some("ours"));
    }

    #[test]
    fn a_request_without_a_user_name_names_nobody() {
        assert_eq!(peek_ufrag(&request(&[(0x0024, &[1, 2, 3, 4])])), None);
        assert_eq!(peek_ufrag(&request(&[(0x0006, b"no colon")])), None);
        assert_eq!(peek_ufrag(&request(&[(0x0006, &[0xff, b':'])])), None);
    }

    #[test]
    fn a_response_names_nobody() {
        let mut message = request(&[(0x0006, b"ours:theirs")]);
        message[0] = 1;
        assert!(is_stun(&message));
        assert_eq!(peek_ufrag(&message), None);
    }

    #[test]
    fn a_message_that_is_cut_short_names_nobody() {
        let message = request(&[(0x0006, b"ours:theirs")]);
        for length in 0..message.len() {
            assert_eq!(peek_ufrag(&message[..length]), None, "{length}");
        }
    }

    #[test]
    fn rtp_and_dtls_are_not_stun() {
        assert!(!is_stun(&[0x80; 40]));
        assert!(!is_stun(&[22; 40]));
        let mut message = request(&[]);
        message[4] = 0;
        assert!(!is_stun(&message));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if bytes.len() >= 8 {
                bytes[..2].copy_from_slice(&BINDING_REQUEST);
                bytes[4..8].copy_from_slice(&MAGIC_COOKIE);
            }
            peek_ufrag(&bytes);
        }
    }
}
