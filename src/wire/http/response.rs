//! Responses: what a handler decides, and the head that is written for it.
//!
//! The fields have the order in which Janus sends them: `Date`, `Connection`, `Content-Type`,
//! `Location`, CORS, and the framing last.
//!
//! Invariant: a head says exactly one thing about the body's end, or nothing where no body can be
//! (RFC 9112 §6.3). No text of a client gets into it unchecked.

use crate::base::calendar::civil;
use crate::base::clock::Realtime;
use crate::wire::http::field;
use crate::wire::http::status::Status;

/// `Content-Type` of JSON.
pub const JSON: &str = "application/json";
/// `Content-Type` of plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// `Content-Type` of server-sent events.
pub const EVENT_STREAM: &str = "text/event-stream";
/// `Content-Type` of metrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What happens to the connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It ends.
    Close,
    /// It stays, if the client wants that too.
    Keep,
}

/// How a handler wants its body framed. A client that does not know chunks gets a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One chunk and the zero chunk, as the core of Janus answers.
    Chunked,
    /// `Content-Length`.
    Length,
}

/// A response as a handler decides it.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status.
    pub status: Status,
    /// `Allow`; goes with 405.
    pub allow: Option<&'static str>,
    /// The body.
    pub body: &'a [u8],
    /// Whether the handler wants the connection closed.
    pub connection: Connection,
    /// `Content-Type`.
    pub content_type: Option<&'static str>,
    /// The framing of the body.
    pub framing: Framing,
    /// `Location`; left out unless it is visible ASCII.
    pub location: Option<&'a str>,
    /// What a CORS preflight asked for.
    pub preflight: Preflight<'a>,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
}

impl<'a> Response<'a> {
    /// A response without body.
    pub const fn empty(status: Status) -> Self {
        Self {
            status,
            allow: None,
            body: b"",
            connection: Connection::Keep,
            content_type: None,
            framing: Framing::Length,
            location: None,
            preflight: Preflight::NONE,
            retry_after_s: None,
        }
    }

    /// 200 with JSON in one chunk, as the core of Janus answers.
    pub const fn json(body: &'a [u8]) -> Self {
        Self {
            body,
            content_type: Some(JSON),
            framing: Framing::Chunked,
            ..Self::empty(Status::Ok)
        }
    }

    /// Whether its head has fields that few answers have.
    pub(crate) const fn has_rare_fields(&self) -> bool {
        self.allow.is_some()
            || self.location.is_some()
            || self.preflight.methods.is_some()
            || self.preflight.headers.is_some()
            || self.retry_after_s.is_some()
    }

    /// Text with its length.
    pub const fn text(status: Status, body: &'a str) -> Self {
        Self {
            body: body.as_bytes(),
            content_type: Some(TEXT),
            ..Self::empty(status)
        }
    }
}

/// What a CORS preflight asked for, to be granted (Fetch §3.3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preflight<'a> {
    methods: Option<&'a [u8]>,
    headers: Option<&'a [u8]>,
}

impl<'a> Preflight<'a> {
    /// Nothing was asked for.
    pub const NONE: Self = Self {
        methods: None,
        headers: None,
    };

    /// Takes the values of `Access-Control-Request-Method` and `-Headers`. What is not a list of
    /// tokens is left out, so that nothing else is ever reflected.
    pub fn new(methods: Option<&'a [u8]>, headers: Option<&'a [u8]>) -> Self {
        let tokens = |value: &&[u8]| {
            let mut names = field::list(value).peekable();
            names.peek().is_some() && names.all(field::is_token)
        };
        Self {
            methods: methods.filter(tokens),
            headers: headers.filter(tokens),
        }
    }
}

/// The CORS fields that every response of a listener has, written out once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    fields: Box<[u8]>,
}

impl Cors {
    /// No CORS fields, for listeners that browsers' pages have no business with.
    pub fn none() -> Self {
        Self {
            fields: Box::default(),
        }
    }

    /// Every origin, without credentials.
    pub fn any() -> Self {
        Self {
            fields: (*b"Access-Control-Allow-Origin: *\r\nAccess-Control-Max-Age: 86400\r\n")
                .into(),
        }
    }

    /// One origin, with credentials. `None` if `origin` is not visible ASCII.
    pub fn only(origin: &str) -> Option<Self> {
        let clean = !origin.is_empty() && origin.bytes().all(|byte| byte.is_ascii_graphic());
        clean.then(|| Self {
            fields: format!(
                "Access-Control-Allow-Origin: {origin}\r\n\
                 Access-Control-Allow-Credentials: true\r\n\
                 Vary: Origin\r\n\
                 Access-Control-Max-Age: 86400\r\n"
            )
            .into_bytes()
            .into(),
        })
    }
}

/// What `Connection` says in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionField {
    /// The connection ends after this response.
    Close,
    /// It stays, and that has to be said to an HTTP/1.0 client.
    KeepAlive,
    /// It stays, as HTTP/1.1 has it.
    Omitted,
}

/// How the body's end is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// At the zero chunk.
    Chunked,
    /// After so many bytes.
    Length(usize),
    /// There can be none.
    NoBody,
}

/// Appends the head of `response` to `head`.
pub(crate) fn write_head(
    head: &mut Vec<u8>,
    response: &Response<'_>,
    date: &[u8],
    connection: ConnectionField,
    cors: &Cors,
    end: BodyEnd,
) {
    let mut put = |parts: &[&[u8]]| {
        for part in parts {
            head.extend_from_slice(part);
        }
    };
    let mut number = itoa::Buffer::new();
    put(&[response.status.line().as_bytes(), b"Date: ", date, b"\r\n"]);
    match connection {
        ConnectionField::Close => put(&[b"Connection: close\r\n"]),
        ConnectionField::KeepAlive => put(&[b"Connection: keep-alive\r\n"]),
        ConnectionField::Omitted => {}
    }
    if let Some(content_type) = response.content_type {
        put(&[b"Content-Type: ", content_type.as_bytes(), b"\r\n"]);
    }
    let visible = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(location) = response.location.filter(visible) {
        put(&[b"Location: ", location.as_bytes(), b"\r\n"]);
    }
    if let Some(allow) = response.allow {
        put(&[b"Allow: ", allow.as_bytes(), b"\r\n"]);
    }
    if response.status == Status::UpgradeRequired {
        put(&[b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"]);
    }
    if let Some(seconds) = response.retry_after_s {
        put(&[b"Retry-After: ", number.format(seconds).as_bytes(), b"\r\n"]);
    }
    put(&[
        b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n",
        &cors.fields,
    ]);
    if let Some(methods) = response.preflight.methods {
        put(&[b"Access-Control-Allow-Methods: ", methods, b"\r\n"]);
    }
    if let Some(headers) = response.preflight.headers {
        put(&[b"Access-Control-Allow-Headers: ", headers, b"\r\n"]);
    }
    match end {
        BodyEnd::Chunked => put(&[b"Transfer-Encoding: chunked\r\n\r\n"]),
        BodyEnd::Length(size) => put(&[
            b"Content-Length: ",
            number.format(size).as_bytes(),
            b"\r\n\r\n",
        ]),
        BodyEnd::NoBody => put(&[b"\r\n"]),
    }
}

/// Appends the head that accepts an upgrade to WebSocket (RFC 6455 §4.2.2). `protocol` is a token
/// of our own.
pub(crate) fn write_upgrade(
    head: &mut Vec<u8>,
    date: &[u8],
    accept: &[u8],
    protocol: &str,
    cors: &Cors,
) {
    for part in [
        Status::SwitchingProtocols.line().as_bytes(),
        b"Date: ",
        date,
        b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ",
        accept,
        b"\r\nSec-WebSocket-Protocol: ",
        protocol.as_bytes(),
        b"\r\n",
        &cors.fields,
        b"\r\n",
    ] {
        head.extend_from_slice(part);
    }
}

/// The value of `Date` (RFC 9110 §5.6.7), kept for the second that it names.
#[derive(Clone, Debug)]
pub struct HttpDate {
    second: i64,
    text: [u8; 29],
}

/// 9999-12-31 23:59:59. The format has four digits for the year.
const LAST_SECOND: i64 = 253_402_300_799;

impl Default for HttpDate {
    fn default() -> Self {
        Self {
            second: 0,
            text: *b"Thu, 01 Jan 1970 00:00:00 GMT",
        }
    }
}

impl HttpDate {
    /// The text for `now`. A wall clock outside of the years 1970 to 9999 shows the nearest one.
    pub fn at(&mut self, now: Realtime) -> &[u8] {
        let second = now.unix_seconds().clamp(0, LAST_SECOND);
        if second != self.second {
            self.second = second;
            self.text = imf_fixdate(second);
        }
        &self.text
    }
}

fn imf_fixdate(second: i64) -> [u8; 29] {
    let days = second / 86_400;
    let rest = second % 86_400;
    let (year, month, day) = civil(days);
    let weekday = (days + 4) % 7;
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let name = |names: &'static [u8], index: i64| &names[index as usize * 3..][..3];
    text[..3].copy_from_slice(name(b"SunMonTueWedThuFriSat", weekday));
    text[8..11].copy_from_slice(name(b"JanFebMarAprMayJunJulAugSepOctNovDec", month - 1));
    let mut two = |at: usize, value: i64| {
        text[at] = b'0' + (value / 10) as u8;
        text[at + 1] = b'0' + (value % 10) as u8;
    };
    two(5, day);
    two(12, year / 100);
    two(14, year % 100);
    two(17, rest / 3_600);
    two(20, rest / 60 % 60);
    two(23, rest % 60);
    text
}

#[cfg(test)]
mod tests;
