//! The opening handshake of the Janus API and of the Admin API over WebSocket.
//!
//! Invariant: a handshake that is not in order gets an HTTP answer that says why (RFC 6455 §4.2).
//! The path does not matter, as with Janus; what matters is the sub-protocol.

use crate::config::WsConfig;
use crate::wire::http::{Connection, Field, Method, RequestHead, Response, Status, Version};
use crate::wire::ws::handshake;

/// For whom a socket is, which decides on its sub-protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The Janus API.
    Clients,
    /// The Admin API.
    Operators,
}

impl Audience {
    /// The sub-protocol.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Clients => "janus-protocol",
            Self::Operators => "janus-admin-protocol",
        }
    }

    const fn refusal(self) -> &'static str {
        match self {
            Self::Clients => "the sub-protocol janus-protocol is needed\n",
            Self::Operators => "the sub-protocol janus-admin-protocol is needed\n",
        }
    }
}

/// Reads a handshake; the value of `Sec-WebSocket-Accept` accepts it.
///
/// # Errors
///
/// The answer that refuses it.
pub fn read(
    head: &RequestHead,
    audience: Audience,
    config: &WsConfig,
) -> Result<[u8; 28], Response<'static>> {
    if head.method() != Method::Get {
        return Err(Response {
            allow: Some("GET"),
            ..refuse(Status::MethodNotAllowed, "a handshake is a GET request\n")
        });
    }
    let is_upgrade = head.version() == Version::Http11
        && has_member(head, "connection", |member| {
            member.eq_ignore_ascii_case(b"upgrade")
        })
        && has_member(head, "upgrade", |member| {
            member.eq_ignore_ascii_case(b"websocket")
        });
    if !is_upgrade {
        return Err(refuse(
            Status::UpgradeRequired,
            "this is a WebSocket address\n",
        ));
    }
    let is_allowed = match audience {
        Audience::Clients => allows_origin(head, config),
        // No page in a browser has business here.
        Audience::Operators => head.field(Field::Origin).is_none(),
    };
    if !is_allowed {
        return Err(refuse(Status::Forbidden, "this origin may not connect\n"));
    }
    if only(head, "sec-websocket-version") != Some(b"13") {
        return Err(refuse(
            Status::UpgradeRequired,
            "version 13 of the protocol is spoken here\n",
        ));
    }
    let accept = only(head, "sec-websocket-key").and_then(handshake::accept);
    let Some(accept) = accept else {
        return Err(refuse(
            Status::BadRequest,
            "missing or malformed Sec-WebSocket-Key\n",
        ));
    };
    if !has_member(head, "sec-websocket-protocol", |member| {
        member == audience.protocol().as_bytes()
    }) {
        return Err(refuse(Status::BadRequest, audience.refusal()));
    }
    Ok(accept)
}

fn refuse(status: Status, text: &'static str) -> Response<'static> {
    Response {
        connection: Connection::Close,
        ..Response::text(status, text)
    }
}

/// The values of a field, in the order of its lines.
fn values<'a>(head: &'a RequestHead, name: &str) -> impl Iterator<Item = &'a [u8]> {
    head.fields()
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// The value of a field that may not be repeated.
fn only<'a>(head: &'a RequestHead, name: &str) -> Option<&'a [u8]> {
    let mut values = values(head, name);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// Whether a field, which may have several lines, has such a member in its list.
fn has_member(head: &RequestHead, name: &str, is: impl Fn(&[u8]) -> bool) -> bool {
    values(head, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|member| is(member.trim_ascii()))
}

/// Whether a page of this origin may connect. Browsers ask nobody else, so that a foreign page is
/// refused wherever an origin is configured; who is no browser names none.
fn allows_origin(head: &RequestHead, config: &WsConfig) -> bool {
    let Some(allowed) = config.allow_origin.as_deref().filter(|&name| name != "*") else {
        return true;
    };
    match head.text(Field::Origin) {
        Some(origin) => origin == allowed,
        None => !config.enforce_cors && head.field(Field::Origin).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::Limits;
    use crate::wire::http::parse_head;

    const GOOD: [&str; 6] = [
        "Host: x",
        "Connection: keep-alive, Upgrade",
        "Upgrade: WebSocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: chat, janus-protocol",
    ];

    fn answer(first: &str, fields: &[&str], config: &WsConfig) -> u16 {
        let text = format!("{first}\r\n{}\r\n\r\n", fields.join("\r\n"));
        let head = parse_head(text.as_bytes(), &Limits::default());
        let (head, _) = head.unwrap().expect("the head is whole");
        match read(&head, Audience::Clients, config) {
            Ok(_) => 101,
            Err(response) => response.status.code(),
        }
    }

    /// The answer to a good handshake of which one line is another.
    fn with(at: usize, line: &str) -> u16 {
        let mut fields = GOOD;
        fields[at] = line;
        answer("GET /any?x=1 HTTP/1.1", &fields, &WsConfig::default())
    }

    #[test]
    fn what_is_in_order_is_accepted() {
        for (at, line) in [
            (0, "host: x"),
            (1, "connection: UPGRADE"),
            (2, "upgrade: h2c, websocket"),
            (
                5,
                "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: janus-protocol",
            ),
            (5, "sec-websocket-protocol:janus-protocol"),
        ] {
            assert_eq!(with(at, line), 101, "{line}");
        }
    }

    #[test]
    fn what_is_not_in_order_is_refused_with_its_status() {
        for (at, line, status) in [
            (1, "Connection: keep-alive", 426),
            (1, "X: y", 426),
            (2, "Upgrade: h2c", 426),
            (2, "X: y", 426),
            (3, "X: y", 426),
            (3, "Sec-WebSocket-Version: 8", 426),
            (3, "Sec-WebSocket-Version: 13, 8", 426),
            (
                3,
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13",
                426,
            ),
            (4, "X: y", 400),
            (4, "Sec-WebSocket-Key: short", 400),
            (5, "X: y", 400),
            (5, "Sec-WebSocket-Protocol: chat", 400),
            (5, "Sec-WebSocket-Protocol: Janus-Protocol", 400),
            (5, "Sec-WebSocket-Protocol: janus-admin-protocol", 400),
        ] {
            assert_eq!(with(at, line), status, "{line}");
        }
        let config = WsConfig::default();
        assert_eq!(answer("POST / HTTP/1.1", &GOOD, &config), 405);
        assert_eq!(answer("GET / HTTP/1.0", &GOOD, &config), 426);
    }

    #[test]
    fn foreign_origins_are_refused_as_a_whole() {
        let mut config = WsConfig {
            allow_origin: Some("https://app.example".to_owned()),
            ..WsConfig::default()
        };
        let from = |origin: Option<&str>, config: &WsConfig| {
            let line = origin.map_or("X: y".to_owned(), |origin| format!("Origin: {origin}"));
            let fields: Vec<&str> = GOOD.into_iter().chain([line.as_str()]).collect();
            answer("GET / HTTP/1.1", &fields, config)
        };
        assert_eq!(from(Some("https://app.example"), &config), 101);
        assert_eq!(from(Some("https://app.example.evil"), &config), 403);
        assert_eq!(from(Some("null"), &config), 403);
        assert_eq!(from(None, &config), 101);
        config.enforce_cors = true;
        assert_eq!(from(None, &config), 403);
        config.allow_origin = None;
        assert_eq!(from(Some("https://anywhere"), &config), 101);
    }

    #[test]
    fn operators_have_a_sub_protocol_of_their_own_and_pages_none() {
        let answer = |protocol: &str, more: &str| {
            let mut fields = GOOD.to_vec();
            fields[5] = protocol;
            fields.push(more);
            let text = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n"));
            let head = parse_head(text.as_bytes(), &Limits::default());
            let (head, _) = head.unwrap().expect("the head is whole");
            match read(&head, Audience::Operators, &WsConfig::default()) {
                Ok(_) => 101,
                Err(response) => response.status.code(),
            }
        };
        let admin = "Sec-WebSocket-Protocol: janus-admin-protocol";
        assert_eq!(answer(admin, "X: y"), 101);
        assert_eq!(
            answer("Sec-WebSocket-Protocol: janus-protocol", "X: y"),
            400
        );
        assert_eq!(answer(admin, "Origin: https://anywhere"), 403);
    }
}
