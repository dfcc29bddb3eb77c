//! What a complete head has to look like: request line, target, and the fields that decide about
//! framing and the connection.

use httparse::{EMPTY_HEADER, Header};

use super::{BodyLength, Field, Method, RequestHead, Span, Version};
use crate::wire::http::field;
use crate::wire::http::status::Refusal;

/// Longest method, in characters.
const METHOD_MAX: usize = 32;
/// Field lines for which no memory is allocated.
const FIELDS_INLINE: usize = 24;

/// Parses a head whose lines all end with CRLF, the last one being empty. Its fields begin at
/// `fields_start`; there are `fields_count` of them.
pub(super) fn parse(
    bytes: &[u8],
    fields_start: usize,
    fields_count: usize,
) -> Result<RequestHead, Refusal> {
    let line = RequestLine::parse(&bytes[..fields_start - 2])?;
    let mut inline = [EMPTY_HEADER; FIELDS_INLINE];
    let mut spilled = Vec::new();
    let slots = if fields_count <= FIELDS_INLINE {
        &mut inline[..]
    } else {
        spilled.resize(fields_count, EMPTY_HEADER);
        &mut spilled[..]
    };
    let headers = match httparse::parse_headers(&bytes[fields_start..], slots) {
        Ok(httparse::Status::Complete((_, headers))) => headers,
        Ok(httparse::Status::Partial) | Err(_) => return Err(Refusal::Field),
    };
    let mut fields = Fields::default();
    for header in headers {
        fields.take(bytes, header)?;
    }
    fields.check(line.version)?;
    Ok(RequestHead {
        path: Span::locate(bytes, line.path),
        query: line.query.map(|query| Span::locate(bytes, query)),
        fields_start: fields_start as u32,
        method: line.method,
        version: line.version,
        body: fields.body(),
        keep_alive: fields.keep_alive(line.version),
        expect_continue: fields.expect_continue && line.version == Version::Http11,
        known: fields.known,
        bytes: bytes.into(),
    })
}

/// The parts of a request line (RFC 9112 §3).
struct RequestLine<'a> {
    method: Method,
    path: &'a [u8],
    query: Option<&'a [u8]>,
    version: Version,
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, Refusal> {
        let mut parts = line.splitn(3, |&byte| byte == b' ');
        let (Some(method), Some(target), Some(version)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::RequestLine);
        };
        // The version comes first: of another version nothing else is known for sure.
        let version = parse_version(version)?;
        let method = parse_method(method)?;
        let (path, query) = parse_target(target, method)?;
        Ok(Self {
            method,
            path,
            query,
            version,
        })
    }
}

fn parse_version(text: &[u8]) -> Result<Version, Refusal> {
    let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = text else {
        return Err(Refusal::RequestLine);
    };
    match (major, minor) {
        (b'1', b'0') => Ok(Version::Http10),
        (b'1', b'1'..=b'9') => Ok(Version::Http11),
        (b'0'..=b'9', b'0'..=b'9') => Err(Refusal::Version),
        (_, _) => Err(Refusal::RequestLine),
    }
}

fn parse_method(text: &[u8]) -> Result<Method, Refusal> {
    Ok(match text {
        b"GET" => Method::Get,
        b"POST" => Method::Post,
        b"OPTIONS" => Method::Options,
        b"HEAD" => Method::Head,
        b"DELETE" => Method::Delete,
        b"PATCH" => Method::Patch,
        b"PUT" => Method::Put,
        b"TRACE" => Method::Trace,
        other if other.len() <= METHOD_MAX && field::is_token(other) => {
            return Err(Refusal::Method);
        }
        _ => return Err(Refusal::RequestLine),
    })
}

/// Splits a target (RFC 9112 §3.2) into path and query. An absolute form can lack the path.
fn parse_target(target: &[u8], method: Method) -> Result<(&[u8], Option<&[u8]>), Refusal> {
    let clean = target
        .iter()
        .all(|&byte| byte.is_ascii_graphic() && byte != b'#');
    if !clean {
        return Err(Refusal::Target);
    }
    if target == b"*" && method == Method::Options {
        return Ok((target, None));
    }
    let origin = if target.first() == Some(&b'/') {
        target
    } else {
        without_authority(target)?
    };
    let path_size = memchr::memchr(b'?', origin).unwrap_or(origin.len());
    Ok((&origin[..path_size], origin.get(path_size + 1..)))
}

/// Path and query of a target in absolute form (RFC 9112 §3.2.2). Its authority is checked, and
/// then ignored as `Host` is: every name leads here.
fn without_authority(target: &[u8]) -> Result<&[u8], Refusal> {
    let rest = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| {
            target
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .map(|scheme| &target[scheme.len()..])
        .ok_or(Refusal::Target)?;
    let size = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(size);
    if is_host(authority) {
        Ok(rest)
    } else {
        Err(Refusal::Target)
    }
}

/// Whether `value` is `uri-host [":" port]` with a host that is not empty (RFC 9110 §7.2).
fn is_host(value: &[u8]) -> bool {
    let (host_ok, port) = if let Some(literal) = value.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', literal) else {
            return false;
        };
        let address = &literal[..end];
        let hex = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        (
            !address.is_empty() && address.iter().all(hex),
            &literal[end + 1..],
        )
    } else {
        let end = memchr::memchr(b':', value).unwrap_or(value.len());
        let (name, port) = value.split_at(end);
        (is_reg_name(name), port)
    };
    let port_ok = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host_ok && port_ok
}

/// Whether `name` is a `reg-name` with at least one character (RFC 3986 §3.2.2).
fn is_reg_name(name: &[u8]) -> bool {
    let mut rest = name;
    loop {
        let is_plain = |byte: &&u8| field::is_host_byte(**byte);
        let plain = rest.iter().take_while(is_plain).count();
        rest = match &rest[plain..] {
            [] => return !name.is_empty(),
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                tail
            }
            _ => return false,
        };
    }
}

/// What the fields say about framing and the connection.
#[derive(Default)]
struct Fields {
    known: [Option<Span>; Field::COUNT],
    content_length: Option<u64>,
    /// Lines of `Transfer-Encoding`, and the refusal that their value deserves.
    transfer_encodings: usize,
    transfer_encoding_fault: Option<Refusal>,
    hosts: usize,
    close: bool,
    keep_alive: bool,
    expect_continue: bool,
}

impl Fields {
    fn take(&mut self, bytes: &[u8], header: &Header<'_>) -> Result<(), Refusal> {
        let name = header.name.as_bytes();
        let value = header.value.trim_ascii();
        // Most clients write names as they are here, and that is cheaper to see.
        let is = |text: &str| name == text.as_bytes() || name.eq_ignore_ascii_case(text.as_bytes());
        let known = match name.len() {
            4 if is("Host") => {
                self.hosts += 1;
                if self.hosts > 1 || !is_host(value) {
                    return Err(Refusal::Host);
                }
                Field::Host
            }
            6 if is("Accept") => Field::Accept,
            6 if is("Expect") => return self.take_expect(value),
            6 if is("Origin") => Field::Origin,
            7 if is("Referer") => Field::Referer,
            7 if is("Upgrade") => Field::Upgrade,
            10 if is("Connection") => {
                self.take_connection(value);
                return Ok(());
            }
            12 if is("Content-Type") => Field::ContentType,
            13 if is("Authorization") => Field::Authorization,
            13 if is("Last-Event-ID") => Field::LastEventId,
            14 if is("Content-Length") => return self.take_content_length(value),
            15 if is("X-Forwarded-For") => Field::XForwardedFor,
            17 if is("Transfer-Encoding") => {
                self.take_transfer_encoding(value);
                return Ok(());
            }
            29 if is("Access-Control-Request-Method") => Field::AccessControlRequestMethod,
            30 if is("Access-Control-Request-Headers") => Field::AccessControlRequestHeaders,
            _ => return Ok(()),
        };
        let place = &mut self.known[known as usize];
        if place.is_none() {
            *place = Some(Span::locate(bytes, value));
        }
        Ok(())
    }

    fn take_expect(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::Expectation);
        }
        self.expect_continue = true;
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) {
        for option in field::list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9112 §6.3 rule 5 allows a list of equal values; here it is refused, because a party in
    /// front may see only one of them.
    fn take_content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let digits = matches!(value.len(), 1..=19) && value.iter().all(u8::is_ascii_digit);
        if !digits || self.content_length.is_some() {
            return Err(Refusal::ContentLength);
        }
        let length = value
            .iter()
            .fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0'));
        self.content_length = Some(length);
        Ok(())
    }

    fn take_transfer_encoding(&mut self, value: &[u8]) {
        self.transfer_encodings += 1;
        if value.eq_ignore_ascii_case(b"chunked") {
            return;
        }
        self.transfer_encoding_fault = Some(if field::is_token(value) {
            Refusal::TransferCoding
        } else {
            Refusal::TransferEncoding
        });
    }

    /// Rules for the fields together. What could be read in two ways comes before what is merely
    /// not supported.
    fn check(&self, version: Version) -> Result<(), Refusal> {
        if self.transfer_encodings > 0 {
            let doubtful = self.transfer_encodings > 1
                || self.content_length.is_some()
                || version == Version::Http10;
            if doubtful {
                return Err(Refusal::TransferEncoding);
            }
        }
        if let Some(fault) = self.transfer_encoding_fault {
            return Err(fault);
        }
        if version == Version::Http11 && self.hosts == 0 {
            return Err(Refusal::Host);
        }
        Ok(())
    }

    const fn body(&self) -> BodyLength {
        match self.content_length {
            Some(length) => BodyLength::Length(length),
            None if self.transfer_encodings > 0 => BodyLength::Chunked,
            None => BodyLength::None,
        }
    }

    fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}
