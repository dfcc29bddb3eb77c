//! A strict decoder of HTTP/1.1 responses, written from RFC 9112 and sharing nothing with the
//! gateway's encoder.
//!
//! Invariant: what a lenient client would repair is an error here: bare line ends, empty or
//! oversized framing, two framings or none, bytes that nobody asked for.

use std::fmt;

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The y of HTTP/1.y.
    pub version_minor: u8,
    /// The status code.
    pub status: u16,
    /// Fields in order, names in lower case.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The value of the only field called `name`; `None` also if there are several.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|field| field.0 == name);
        let value = found.next()?.1.as_str();
        found.next().is_none().then_some(value)
    }

    /// Whether the sender closes after this response.
    pub fn is_last(&self) -> bool {
        match self.field("connection") {
            Some(value) => {
                let has = |word: &str| {
                    value
                        .split(',')
                        .any(|part| part.trim().eq_ignore_ascii_case(word))
                };
                has("close") || (self.version_minor == 0 && !has("keep-alive"))
            }
            None => self.version_minor == 0,
        }
    }

    /// Whether the body is a stream of server-sent events.
    pub fn is_event_stream(&self) -> bool {
        self.field("content-type")
            .is_some_and(|value| value.starts_with("text/event-stream"))
    }
}

/// A portion of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body; a chunk comes in one piece once it is complete.
    Body(Vec<u8>),
    /// The response is complete.
    End,
    /// The response begins.
    Head(Head),
}

/// What is wrong with a response. The text begins with the name that browsers have for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// The connection ended before any byte of the response.
    Empty,
    /// A chunk, or its end, is malformed.
    InvalidChunk(&'static str),
    /// The head is malformed.
    InvalidHead(&'static str),
    /// The connection ended before the zero chunk.
    IncompleteChunked,
    /// The connection ended within the head.
    IncompleteHead,
    /// The connection ended before the announced length.
    IncompleteLength,
    /// Bytes came that no request asked for.
    Unasked,
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("ERR_EMPTY_RESPONSE"),
            Self::InvalidChunk(why) => write!(f, "ERR_INVALID_CHUNKED_ENCODING: {why}"),
            Self::InvalidHead(why) => write!(f, "ERR_INVALID_HTTP_RESPONSE: {why}"),
            Self::IncompleteChunked => f.write_str("ERR_INCOMPLETE_CHUNKED_ENCODING"),
            Self::IncompleteHead => f.write_str("ERR_INVALID_HTTP_RESPONSE: cut within the head"),
            Self::IncompleteLength => f.write_str("ERR_CONTENT_LENGTH_MISMATCH"),
            Self::Unasked => f.write_str("bytes that no request asked for"),
        }
    }
}

/// What the request was: it decides whether the response has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A response to HEAD has no body whatever its head says.
    Head,
    /// Any other method.
    Other,
}

/// Takes bytes in any portions and gives out the responses in them.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    /// Up to here no end of a head was found, counted from `start`.
    scanned: usize,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Chunk,
    Length(usize),
    UntilClose,
    End,
}

const HEAD_MAX: usize = 64 << 10;

impl Decoder {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece of the response to `asked`, if enough bytes are there. Interim (1xx)
    /// responses are skipped.
    ///
    /// # Errors
    ///
    /// When the bytes are no strict response. The decoder is of no use after it.
    pub fn piece(&mut self, asked: Asked) -> Result<Option<Piece>, FramingError> {
        match self.state {
            State::Head => self.next_head(asked),
            State::Chunk => self.next_chunk(),
            State::Length(left) => Ok(self.next_length(left)),
            State::UntilClose => {
                let body = self.take(self.waiting());
                Ok((!body.is_empty()).then_some(Piece::Body(body)))
            }
            State::End => {
                self.state = State::Head;
                Ok(Some(Piece::End))
            }
        }
    }

    /// The sender is done. Returns [`Piece::End`] if that completes a response.
    ///
    /// # Errors
    ///
    /// When it is done too early. `expects` says whether a response is due.
    pub fn end(&mut self, expects: bool) -> Result<Option<Piece>, FramingError> {
        match self.state {
            State::UntilClose => {
                self.state = State::Head;
                Ok(Some(Piece::End))
            }
            State::Chunk => Err(FramingError::IncompleteChunked),
            State::Length(_) | State::End => Err(FramingError::IncompleteLength),
            State::Head if self.waiting() > 0 => Err(FramingError::IncompleteHead),
            State::Head if expects => Err(FramingError::Empty),
            State::Head => Ok(None),
        }
    }

    /// Bytes that were not given out.
    pub fn waiting(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Takes out what came after the last response: the frames of a WebSocket.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buffer.split_off(self.start);
        self.buffer.clear();
        self.start = 0;
        rest
    }

    /// Whether a response has begun and not ended.
    pub fn is_inside(&self) -> bool {
        !matches!(self.state, State::Head) || self.waiting() > 0
    }

    fn next_head(&mut self, asked: Asked) -> Result<Option<Piece>, FramingError> {
        loop {
            let Some(head) = self.head()? else {
                return Ok(None);
            };
            if head.status == 101 || (200..600).contains(&head.status) {
                self.state = framing(&head, asked)?;
                return Ok(Some(Piece::Head(head)));
            }
            if !(100..200).contains(&head.status) {
                return Err(FramingError::InvalidHead("status out of range"));
            }
        }
    }

    fn head(&mut self) -> Result<Option<Head>, FramingError> {
        let bytes = &self.buffer[self.start..];
        let Some(end) = find(&bytes[self.scanned..], b"\r\n\r\n") else {
            self.scanned = bytes.len().saturating_sub(3);
            return if bytes.len() > HEAD_MAX {
                Err(FramingError::InvalidHead("it does not end"))
            } else {
                check_prefix(bytes).map(|()| None)
            };
        };
        let end = end + self.scanned;
        let text = std::str::from_utf8(&bytes[..end])
            .map_err(|_| FramingError::InvalidHead("not ASCII"))?;
        let head = parse_head(text)?;
        self.start += end + 4;
        self.scanned = 0;
        Ok(Some(head))
    }

    fn next_chunk(&mut self) -> Result<Option<Piece>, FramingError> {
        let bytes = &self.buffer[self.start..];
        let Some(line) = find(bytes, b"\r\n") else {
            return if bytes.len() > 18 {
                Err(FramingError::InvalidChunk("size line too long"))
            } else {
                Ok(None)
            };
        };
        let size = chunk_size(&bytes[..line])?;
        let Some(rest) = bytes.get(line + 2..line + 2 + size + 2) else {
            return Ok(None);
        };
        if &rest[size..] != b"\r\n" {
            return Err(FramingError::InvalidChunk("no line end after the data"));
        }
        let data = rest[..size].to_vec();
        self.start += line + 2 + size + 2;
        if size == 0 {
            self.state = State::Head;
            return Ok(Some(Piece::End));
        }
        Ok(Some(Piece::Body(data)))
    }

    fn next_length(&mut self, left: usize) -> Option<Piece> {
        let body = self.take(left.min(self.waiting()));
        if body.is_empty() {
            return None;
        }
        self.state = if left == body.len() {
            State::End
        } else {
            State::Length(left - body.len())
        };
        Some(Piece::Body(body))
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.buffer[self.start..self.start + count].to_vec();
        self.start += count;
        taken
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// What has come of a head so far can still become one.
fn check_prefix(bytes: &[u8]) -> Result<(), FramingError> {
    let expected = b"HTTP/1.";
    let length = bytes.len().min(expected.len());
    if bytes[..length] == expected[..length] {
        Ok(())
    } else {
        Err(FramingError::InvalidHead("does not begin with HTTP/1."))
    }
}

fn parse_head(text: &str) -> Result<Head, FramingError> {
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let rest = status_line
        .strip_prefix("HTTP/1.")
        .ok_or(FramingError::InvalidHead("does not begin with HTTP/1."))?;
    let bytes = rest.as_bytes();
    let is_shaped = bytes.len() >= 6
        && matches!(bytes[0], b'0' | b'1')
        && bytes[1] == b' '
        && bytes[2..5].iter().all(u8::is_ascii_digit)
        && bytes[5] == b' ';
    if !is_shaped {
        return Err(FramingError::InvalidHead("malformed status line"));
    }
    let status = rest[2..5]
        .parse()
        .map_err(|_| FramingError::InvalidHead("malformed status"))?;
    let fields = lines.map(parse_field).collect::<Result<_, _>>()?;
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\r' | '\n' | '\t'))
        || text.replace("\r\n", "").contains(['\r', '\n'])
    {
        return Err(FramingError::InvalidHead("a stray control character"));
    }
    Ok(Head {
        version_minor: bytes[0] - b'0',
        status,
        fields,
    })
}

fn parse_field(line: &str) -> Result<(String, String), FramingError> {
    let (name, value) = line
        .split_once(':')
        .ok_or(FramingError::InvalidHead("a field without colon"))?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(FramingError::InvalidHead("a field name that is no token"));
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn framing(head: &Head, asked: Asked) -> Result<State, FramingError> {
    let all = |name: &str| head.fields.iter().filter(|field| field.0 == name).count();
    let (lengths, encodings) = (all("content-length"), all("transfer-encoding"));
    let is_bodiless = asked == Asked::Head || matches!(head.status, 101 | 204 | 304);
    if lengths + encodings > 1 {
        return Err(FramingError::InvalidHead("two framings"));
    }
    if is_bodiless {
        return Ok(State::End);
    }
    if encodings == 1 {
        let is_chunked = head.field("transfer-encoding") == Some("chunked");
        return if is_chunked && head.version_minor == 1 {
            Ok(State::Chunk)
        } else {
            Err(FramingError::InvalidHead(
                "a transfer coding that nobody asked for",
            ))
        };
    }
    if lengths == 1 {
        let value = head.field("content-length").unwrap_or_default();
        let length = value
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| value.parse().ok())
            .flatten()
            .ok_or(FramingError::InvalidHead("malformed length"))?;
        return Ok(if length == 0 {
            State::End
        } else {
            State::Length(length)
        });
    }
    if head.is_last() {
        Ok(State::UntilClose)
    } else {
        Err(FramingError::InvalidHead(
            "no framing on a connection that goes on",
        ))
    }
}

fn chunk_size(digits: &[u8]) -> Result<usize, FramingError> {
    let is_shaped = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).unwrap_or_default();
    if is_shaped && (digits.len() == 1 || digits[0] != b'0') {
        usize::from_str_radix(text, 16).map_err(|_| FramingError::InvalidChunk("size too large"))
    } else {
        Err(FramingError::InvalidChunk("malformed size"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], step: usize) -> Result<Vec<Piece>, FramingError> {
        let mut decoder = Decoder::default();
        let mut pieces = Vec::new();
        for portion in bytes.chunks(step) {
            decoder.push(portion);
            while let Some(piece) = decoder.piece(Asked::Other)? {
                match (pieces.last_mut(), piece) {
                    (Some(Piece::Body(before)), Piece::Body(more)) => before.extend(more),
                    (_, piece) => pieces.push(piece),
                }
            }
        }
        pieces.extend(decoder.end(false)?);
        Ok(pieces)
    }

    fn bodies(bytes: &[u8]) -> Result<Vec<String>, FramingError> {
        let whole = decode(bytes, bytes.len());
        for step in 1..bytes.len() {
            assert_eq!(decode(bytes, step), whole, "split every {step}");
        }
        let is_body = |piece| match piece {
            Piece::Body(body) => Some(String::from_utf8_lossy(&body).into_owned()),
            Piece::End | Piece::Head(_) => None,
        };
        Ok(whole?.into_iter().filter_map(is_body).collect())
    }

    #[test]
    fn any_split_gives_the_same_responses() {
        let text =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n\
            HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n\
            HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nxy";
        assert_eq!(bodies(text), Ok(vec!["abcd".to_owned(), "xy".to_owned()]));
    }

    #[test]
    fn a_response_without_its_zero_chunk_has_the_browsers_name() {
        let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        let error = bodies(text).expect_err("it is cut");
        assert_eq!(error.to_string(), "ERR_INCOMPLETE_CHUNKED_ENCODING");
    }

    #[test]
    fn each_looseness_is_an_error() {
        let cases: [&[u8]; 13] = [
            b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n03\r\nabc\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabcdefghij\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        ];
        for case in cases {
            assert!(bodies(case).is_err(), "{}", String::from_utf8_lossy(case));
        }
    }

    #[test]
    fn a_response_to_head_has_no_body() {
        let mut decoder = Decoder::default();
        decoder.push(b"HTTP/1.1 200 OK\r\nContent-Length: 73\r\n\r\n");
        assert!(matches!(
            decoder.piece(Asked::Head),
            Ok(Some(Piece::Head(_)))
        ));
        assert_eq!(decoder.piece(Asked::Head), Ok(Some(Piece::End)));
        assert!(!decoder.is_inside());
    }
}
