//! Request heads (RFC 9112 §3 and §5) on top of httparse, with limits and without leniency.
//!
//! Invariant: the result does not depend on how the bytes were split. [`HeadReader`] looks at
//! each byte once for line ends and limits; the fields are parsed when the head is complete, and
//! once only, because httparse begins anew with every call.

use std::num::NonZeroU32;

use crate::base::limits::Limits;
use crate::wire::http::field;
use crate::wire::http::status::Refusal;

mod rules;

/// A request's method (RFC 9110 §9). Those that nobody here serves are refused by the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `DELETE`.
    Delete,
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `OPTIONS`.
    Options,
    /// `PATCH`.
    Patch,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `TRACE`.
    Trace,
}

impl Method {
    /// The method as it is on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Trace => "TRACE",
        }
    }
}

/// A version that is served. A later minor version is served as 1.1 (RFC 9110 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Where a request's body ends (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// At its zero chunk.
    Chunked,
    /// After so many bytes.
    Length(u64),
    /// There is none.
    None,
}

/// Fields that can be looked up at once. Of a repeated field the first line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `Accept`.
    Accept,
    /// `Access-Control-Request-Headers`.
    AccessControlRequestHeaders,
    /// `Access-Control-Request-Method`.
    AccessControlRequestMethod,
    /// `Authorization`.
    Authorization,
    /// `Content-Type`.
    ContentType,
    /// `Host`.
    Host,
    /// `Last-Event-ID`.
    LastEventId,
    /// `Origin`.
    Origin,
    /// `Referer`.
    Referer,
    /// `Upgrade`.
    Upgrade,
    /// `X-Forwarded-For`.
    XForwardedFor,
}

impl Field {
    const COUNT: usize = 11;
}

/// The head of a request: one copy of its bytes, and where in it things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    bytes: Box<[u8]>,
    fields_start: u32,
    path: Span,
    query: Option<Span>,
    known: [Option<Span>; Field::COUNT],
    method: Method,
    version: Version,
    body: BodyLength,
    keep_alive: bool,
    expect_continue: bool,
}

impl RequestHead {
    /// The method.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The version to answer with.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The framing of the body.
    pub const fn body(&self) -> BodyLength {
        self.body
    }

    /// Whether the client wants to keep the connection (RFC 9112 §9.3).
    pub const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub const fn expect_continue(&self) -> bool {
        self.expect_continue
    }

    /// The path of the target, percent-encoded as it came; it begins with `/`, or is `*`.
    pub fn path(&self) -> &str {
        // An absolute form without path means the root (RFC 9110 §4.2.3).
        match self.ascii(self.path) {
            "" => "/",
            path => path,
        }
    }

    /// The query of the target, without its `?`, percent-encoded as it came.
    pub fn query(&self) -> Option<&str> {
        self.query.map(|span| self.ascii(span))
    }

    /// The value of a field, without blanks around it.
    pub fn field(&self, field: Field) -> Option<&[u8]> {
        self.known[field as usize].map(|span| span.of(&self.bytes))
    }

    /// The value of a field, if it is ASCII.
    pub fn text(&self, field: Field) -> Option<&str> {
        let value = self.field(field)?;
        value.is_ascii().then(|| std::str::from_utf8(value).ok())?
    }

    /// All fields in the order in which they came, with their names as they came.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.bytes[self.fields_start as usize..]
            .split(|&byte| byte == b'\n')
            .filter_map(|line| {
                let colon = memchr::memchr(b':', line)?;
                let name = std::str::from_utf8(&line[..colon]).ok()?;
                Some((name, line[colon + 1..].trim_ascii()))
            })
    }

    /// Its length in bytes, if `bytes` begin with the very same head.
    pub fn again_in(&self, bytes: &[u8]) -> Option<usize> {
        bytes.starts_with(&self.bytes).then_some(self.bytes.len())
    }

    /// How many bytes it has.
    pub const fn size(&self) -> usize {
        self.bytes.len()
    }

    fn ascii(&self, span: Span) -> &str {
        std::str::from_utf8(span.of(&self.bytes)).expect("a target is of visible ASCII")
    }
}

/// A part of a head. It does not start the head, because the method does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: NonZeroU32,
    size: u32,
}

impl Span {
    /// Where `part` lies within `whole`, which it has to be a part of.
    fn locate(whole: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr() - whole.as_ptr().addr();
        Self {
            start: NonZeroU32::new(start as u32).expect("the method comes first"),
            size: part.len() as u32,
        }
    }

    fn of(self, whole: &[u8]) -> &[u8] {
        &whole[self.start.get() as usize..][..self.size as usize]
    }
}

/// Reads one head from bytes that come bit by bit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadReader {
    /// Bytes looked at, from the first byte of the message on.
    scanned: usize,
    line_start: usize,
    /// After the request line; zero until it is complete.
    fields_start: usize,
    fields_count: usize,
    /// After the empty line that may come before the request line (RFC 9112 §2.2).
    request_start: usize,
    /// That line came, and was taken off the bytes.
    line_skipped: bool,
}

impl HeadReader {
    /// Goes on with a head. `bytes` are all bytes since the first one of the head, those of
    /// earlier calls included. When the head is complete, says how long it was, and is ready for
    /// another one.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when this cannot become a head any more.
    pub fn read(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<(RequestHead, usize)>, Refusal> {
        let Some(end) = self.find_end(bytes, limits)? else {
            return Ok(None);
        };
        let head = rules::parse(
            &bytes[self.request_start..end],
            self.fields_start - self.request_start,
            self.fields_count,
        )?;
        *self = Self::default();
        Ok(Some((head, end)))
    }

    /// Takes off the empty line before a request line, if it is all that came. Says how many of the
    /// bytes are done with.
    pub fn skip_empty_line(&mut self, bytes: &[u8]) -> Option<usize> {
        let is_all = self.request_start != 0 && self.request_start == bytes.len();
        if !is_all {
            return None;
        }
        *self = Self {
            line_skipped: true,
            ..Self::default()
        };
        Some(bytes.len())
    }

    /// Looks for the end of the head in the bytes that were not looked at yet.
    fn find_end(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        loop {
            let unseen = &bytes[self.scanned..];
            let found = memchr::memchr2(b'\r', b'\n', unseen);
            let at = self.scanned + found.unwrap_or(unseen.len());
            self.check_line(&bytes[self.line_start..at], limits)?;
            self.scanned = at;
            if found.is_none() {
                return Ok(None);
            }
            if bytes[at] == b'\n' {
                return Err(Refusal::LineEnd);
            }
            match bytes.get(at + 1) {
                None => return Ok(None),
                Some(b'\n') => {}
                Some(_) => return Err(Refusal::LineEnd),
            }
            let empty = at == self.line_start;
            self.scanned = at + 2;
            self.line_start = self.scanned;
            if self.fields_start != 0 && empty {
                return Ok(Some(self.scanned));
            }
            self.count_line(empty, limits)?;
        }
    }

    /// Checks the line that is being read, as far as it came.
    fn check_line(&self, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        if self.fields_start == 0 {
            // What is not HTTP at all, such as a TLS greeting, is not waited for.
            if line
                .first()
                .is_some_and(|&byte| !field::is_token_byte(byte))
            {
                return Err(Refusal::RequestLine);
            }
            if line.len() > limits.request_line_bytes {
                return Err(Refusal::RequestLineTooLong);
            }
            return Ok(());
        }
        let section = self.line_start - self.fields_start + line.len();
        if line.len() > limits.field_line_bytes || section > limits.head_bytes {
            return Err(Refusal::FieldsTooLarge);
        }
        Ok(())
    }

    fn count_line(&mut self, empty: bool, limits: &Limits) -> Result<(), Refusal> {
        if self.fields_start != 0 {
            self.fields_count += 1;
            if self.fields_count > limits.fields_count {
                return Err(Refusal::FieldsTooLarge);
            }
        } else if !empty {
            self.fields_start = self.line_start;
        } else if self.request_start == 0 && !self.line_skipped {
            self.request_start = self.line_start;
        } else {
            return Err(Refusal::RequestLine);
        }
        Ok(())
    }
}

/// Parses one head from the front of `bytes`, and says how long it was; `None` if it is not
/// complete yet. For bytes that come bit by bit see [`HeadReader`].
///
/// # Errors
///
/// [`Refusal`] when no further bytes can make a head of this.
pub fn parse_head(bytes: &[u8], limits: &Limits) -> Result<Option<(RequestHead, usize)>, Refusal> {
    HeadReader::default().read(bytes, limits)
}

#[cfg(test)]
mod tests;
