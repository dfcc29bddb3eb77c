//! A peek at STUN messages (RFC 8489): enough to tell whose they are, and to ask a server for one's
//! own address. Checking those of ICE is the agent's business.

use std::net::{IpAddr, SocketAddr};

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
    let name = std::str::from_utf8(attribute(bytes, USERNAME)?).ok()?;
    name.split_once(':').map(|(local, _)| local)
}

/// Returns a binding request without attributes: it asks a server for the address that it came
/// from (RFC 8489 section 7.1).
pub fn binding_request(transaction: [u8; 12]) -> [u8; 20] {
    let mut message = [0; HEADER_BYTES];
    message[..2].copy_from_slice(&BINDING_REQUEST);
    message[4..8].copy_from_slice(&MAGIC_COOKIE);
    message[8..].copy_from_slice(&transaction);
    message
}

/// Returns the address that the answer to [`binding_request`] tells, if it is that.
pub fn peek_mapped(bytes: &[u8], transaction: [u8; 12]) -> Option<SocketAddr> {
    if !is_stun(bytes) || bytes[..2] != BINDING_SUCCESS || bytes[8..HEADER_BYTES] != transaction {
        return None;
    }
    let value = attribute(bytes, XOR_MAPPED_ADDRESS)?;
    // Section 14.2: the cookie, and for IPv6 the transaction behind it, lie over the address.
    let mask = &bytes[4..HEADER_BYTES];
    let clear = |bytes: &[u8]| -> Vec<u8> {
        bytes
            .iter()
            .zip(mask)
            .map(|(byte, mask)| byte ^ mask)
            .collect()
    };
    let port = clear(value.get(2..4)?);
    let address = clear(value.get(4..)?);
    let ip: IpAddr = match value[1] {
        1 => <[u8; 4]>::try_from(address).ok()?.into(),
        2 => <[u8; 16]>::try_from(address).ok()?.into(),
        _ => return None,
    };
    Some((ip, u16::from_be_bytes([port[0], port[1]])).into())
}

/// The value of a message's first attribute of a kind.
fn attribute(bytes: &[u8], wanted: [u8; 2]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    let mut rest = bytes[HEADER_BYTES..].get(..length)?;
    while let Some((head, tail)) = rest.split_at_checked(4) {
        let kind = [head[0], head[1]];
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = tail.get(..length)?;
        if kind == wanted {
            return Some(value);
        }
        // Attributes are padded to a multiple of four bytes.
        rest = tail.get(length.next_multiple_of(4)..)?;
    }
    None
}

const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];
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
    fn the_address_in_an_answer_is_read() {
        // RFC 5769 sections 2.2 and 2.3: the sample answers' attributes.
        let transaction = [
            0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
        ];
        let v4: &[u8] = &[0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        let v6: &[u8] = &[
            0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25,
            0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        for (value, address) in [
            (v4, "192.0.2.1:32853"),
            (v6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ] {
            let mut answer = request(&[(0x8022, b"test"), (0x0020, value)]);
            answer[..2].copy_from_slice(&BINDING_SUCCESS);
            answer[8..20].copy_from_slice(&transaction);
            let address = address.parse().unwrap();
            assert_eq!(peek_mapped(&answer, transaction), Some(address));
            assert_eq!(peek_mapped(&answer, [7; 12]), None, "another's answer");
            for length in 0..answer.len() {
                assert_eq!(peek_mapped(&answer[..length], transaction), None);
            }
        }
        assert_eq!(binding_request([7; 12])[..], request(&[])[..]);
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
            if bytes.len() >= 20 {
                let transaction = bytes[8..20].try_into().unwrap();
                bytes[..2].copy_from_slice(&BINDING_SUCCESS);
                peek_mapped(&bytes, transaction);
            }
        }
    }
}
