//! The opening handshake: the digest by which a server shows that it understood (RFC 6455 §4.2.2),
//! and a client's side of it.

use base64ct::{Base64, Encoding as _};
use sha1::{Digest as _, Sha1};

use crate::wire::http::Answer;

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

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The value of `Host`.
    pub authority: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The value of `Origin`.
    pub origin: &'a str,
    /// The one subprotocol that is offered.
    pub protocol: &'a str,
}

/// A client's side of a handshake that is under way.
#[derive(Clone, Debug)]
pub struct Handshake {
    key: String,
    protocol: String,
}

/// Why a server's answer does not open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It does not have what a `101` must have, or has what was not asked for.
    Malformed,
    /// It is not a `101`.
    Status(u16),
}

impl Handshake {
    /// Begins a handshake, with a nonce that was never used; returns what to send, too.
    pub fn begin(asked: &Asked<'_>, nonce: [u8; 16]) -> (Self, String) {
        let key = Base64::encode_string(&nonce);
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: {}\r\nOrigin: {}\r\n\r\n",
            asked.path, asked.authority, asked.protocol, asked.origin,
        );
        let protocol = asked.protocol.to_owned();
        (Self { key, protocol }, request)
    }

    /// Checks the server's answer (RFC 6455 §4.1). A server that chooses no subprotocol is taken:
    /// many collectors do not care.
    ///
    /// # Errors
    ///
    /// [`Refused`]: there is no WebSocket.
    pub fn check(&self, answer: &Answer) -> Result<(), Refused> {
        if answer.status != 101 {
            return Err(Refused::Status(answer.status));
        }
        let expected = accept(self.key.as_bytes()).expect("the key was made of 16 bytes");
        let protocol = answer.field("sec-websocket-protocol");
        let is_good = answer.has("upgrade", "websocket")
            && answer.has("connection", "upgrade")
            && answer.field("sec-websocket-accept") == Some(&expected[..])
            && answer.field("sec-websocket-extensions").is_none()
            && protocol.is_none_or(|chosen| chosen == self.protocol.as_bytes());
        is_good.then_some(()).ok_or(Refused::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'static> = Asked {
        authority: "h:9",
        path: "/in?x",
        origin: "http://h",
        protocol: "p",
    };

    #[test]
    fn a_client_asks_for_what_the_rfc_wants() {
        let (_, request) = Handshake::begin(&ASKED, *b"the sample nonce");
        assert_eq!(
            request,
            "GET /in?x HTTP/1.1\r\nHost: h:9\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: p\r\nOrigin: http://h\r\n\r\n"
        );
    }

    #[test]
    fn only_the_answer_to_its_own_key_opens_a_websocket() {
        let (handshake, _) = Handshake::begin(&ASKED, *b"the sample nonce");
        let check = |text: &str| {
            let head = format!("HTTP/1.1 {text}\r\n\r\n");
            let (answer, _) = Answer::read(head.as_bytes()).unwrap().unwrap();
            handshake.check(&answer)
        };
        let good = "101 Switching\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert_eq!(check(good), Ok(()));
        assert_eq!(
            check(&format!("{good}\r\nSec-WebSocket-Protocol: p")),
            Ok(())
        );
        for bad in [
            good.replace("s3pP", "s3pp"),
            good.replace("Upgrade: WebSocket", "Upgrade: h2c"),
            good.replace("keep-alive, Upgrade", "close"),
            format!("{good}\r\nSec-WebSocket-Protocol: q"),
            format!("{good}\r\nSec-WebSocket-Extensions: permessage-deflate"),
        ] {
            assert_eq!(check(&bad), Err(Refused::Malformed), "{bad}");
        }
        assert_eq!(check("403 Forbidden"), Err(Refused::Status(403)));
    }

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
