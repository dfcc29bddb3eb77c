//! Requests as clients write them, and a strict reader of the same grammar for who listens in.

/// A request that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The y of HTTP/1.y.
    pub version_minor: u8,
    /// Fields in order, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.into(),
            version_minor: 1,
            fields: vec![("host".to_owned(), "gateway.example".to_owned())],
            body: Vec::new(),
        }
    }

    /// A POST of a JSON text.
    pub fn post(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let mut request = Self::new("POST", target);
        request.body = body.into();
        request.with("content-type", "application/json")
    }

    /// With one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As HTTP/1.0.
    #[must_use]
    pub const fn as_http10(mut self) -> Self {
        self.version_minor = 0;
        self
    }

    /// The value of the first field called `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|field| field.0 == name)?;
        Some(&found.1)
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of a parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The request on the wire, its body by length.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = format!(
            "{} {} HTTP/1.{}\r\n",
            self.method, self.target, self.version_minor
        )
        .into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !self.body.is_empty() || self.method == "POST" {
            bytes.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The request on the wire, its body in chunks of `size` bytes.
    pub fn encode_chunked(&self, size: usize) -> Vec<u8> {
        let bare = Self {
            body: Vec::new(),
            ..self.clone().with("transfer-encoding", "chunked")
        };
        let mut bytes = format!(
            "{} {} HTTP/1.{}\r\n",
            bare.method, bare.target, bare.version_minor
        )
        .into_bytes();
        for (name, value) in &bare.fields {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        for chunk in self.body.chunks(size.max(1)) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

/// What the reader made of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No strict request; nothing after it means anything.
    Malformed,
    /// More bytes are needed.
    Partial,
    /// A request.
    Whole(Request),
}

/// Takes bytes in any portions and gives out the requests in them.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    start: usize,
    /// Up to here no end of a head was found, counted from `start`.
    scanned: usize,
    /// What the request takes that has begun, where its head says so.
    length: usize,
}

impl Reader {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next request.
    pub fn request(&mut self) -> Reading {
        let bytes = &self.buffer[self.start..];
        if bytes.len() < self.length {
            return Reading::Partial;
        }
        let Some(end) = find(&bytes[self.scanned..], b"\r\n\r\n") else {
            self.scanned = bytes.len().saturating_sub(3);
            return Reading::Partial;
        };
        let end = end + self.scanned;
        let Some(mut request) = parse(&bytes[..end]) else {
            return Reading::Malformed;
        };
        let rest = &bytes[end + 4..];
        let (length, coding) = (
            request.field("content-length"),
            request.field("transfer-encoding"),
        );
        let taken = match (length, coding) {
            (None, None) => Some(0),
            (Some(length), None) => match length.parse::<usize>() {
                Ok(length) if rest.len() >= length => {
                    request.body = rest[..length].to_vec();
                    Some(length)
                }
                Ok(length) => {
                    self.length = (end + 4).saturating_add(length);
                    None
                }
                Err(_) => return Reading::Malformed,
            },
            (None, Some("chunked")) => match parse_chunks(rest) {
                Chunks::Malformed => return Reading::Malformed,
                Chunks::Partial => None,
                Chunks::Whole(body, taken) => {
                    request.body = body;
                    Some(taken)
                }
            },
            (_, Some(_)) => return Reading::Malformed,
        };
        taken.map_or(Reading::Partial, |taken| {
            self.start += end + 4 + taken;
            self.scanned = 0;
            self.length = 0;
            Reading::Whole(request)
        })
    }

    /// Bytes that were not given out.
    pub fn waiting(&self) -> usize {
        self.buffer.len() - self.start
    }
}

enum Chunks {
    Malformed,
    Partial,
    Whole(Vec<u8>, usize),
}

fn parse_chunks(bytes: &[u8]) -> Chunks {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else {
            return Chunks::Partial;
        };
        let digits = std::str::from_utf8(&bytes[at..at + line]).unwrap_or_default();
        let Ok(size) = usize::from_str_radix(digits, 16) else {
            return Chunks::Malformed;
        };
        let data = at + line + 2;
        let Some(chunk) = bytes.get(data..data + size + 2) else {
            return Chunks::Partial;
        };
        if &chunk[size..] != b"\r\n" {
            return Chunks::Malformed;
        }
        body.extend_from_slice(&chunk[..size]);
        at = data + size + 2;
        if size == 0 {
            return Chunks::Whole(body, at);
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn parse(head: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let mut parts = lines.next()?.split(' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let version_minor = version.strip_prefix("HTTP/1.")?.parse().ok()?;
    if parts.next().is_some() || method.is_empty() || target.is_empty() {
        return None;
    }
    let fields = lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_plain = !name.is_empty() && !name.contains(char::is_whitespace);
            is_plain.then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect::<Option<Vec<_>>>()?;
    let single = |name: &str| fields.iter().filter(|field| field.0 == name).count() <= 1;
    let has_host = fields.iter().any(|field| field.0 == "host") || version_minor == 0;
    let is_clean = !text.replace("\r\n", "").contains(['\r', '\n', '\0']);
    (is_clean && has_host && single("content-length") && single("transfer-encoding")).then(|| {
        Request {
            method: method.to_owned(),
            target: target.to_owned(),
            version_minor,
            fields,
            body: Vec::new(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_at_any_split() {
        let first = Request::post("/janus/1?x=1&maxev=3", br#"{"janus":"ping"}"#);
        let second = Request::new("GET", "/janus/1").as_http10();
        let mut bytes = first.encode();
        bytes.extend(first.encode_chunked(5));
        bytes.extend(second.encode());
        for step in 1..bytes.len() {
            let mut reader = Reader::default();
            let mut found = Vec::new();
            for portion in bytes.chunks(step) {
                reader.push(portion);
                while let Reading::Whole(request) = reader.request() {
                    found.push((request.method, request.body));
                }
            }
            let body = first.body.clone();
            let post = ("POST".to_owned(), body);
            assert_eq!(found, [post.clone(), post, ("GET".to_owned(), Vec::new())]);
            assert_eq!(reader.waiting(), 0);
        }
        assert_eq!(
            (first.path(), first.parameter("maxev")),
            ("/janus/1", Some("3"))
        );
    }

    #[test]
    fn two_framings_are_no_request() {
        let mut reader = Reader::default();
        reader.push(
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        );
        assert_eq!(reader.request(), Reading::Malformed);
    }
}
