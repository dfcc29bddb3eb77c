//! A strict decoder of responses, for tests. It shares no code with what it checks, and takes
//! nothing that the grammar of RFC 9112 does not say.

/// A response as a client understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Sizes of the chunks without the last one; `None` if the body has a length.
    pub(crate) chunks: Option<Vec<usize>>,
}

impl Decoded {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|field| field.0 == name);
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} is there twice");
        Some(&value.1)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Whether a response answers a HEAD request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Head,
    Other,
}

/// Decodes exactly one response from the front of `bytes`; says how long it was.
pub(crate) fn decode(bytes: &[u8], asked: Asked) -> Result<(Decoded, usize), String> {
    let mut at = 0;
    let status_line = line(bytes, &mut at)?;
    let code = status_line
        .strip_prefix("HTTP/1.1 ")
        .ok_or(format!("status line {status_line:?}"))?;
    let (code, reason) = code.split_once(' ').ok_or("no reason phrase")?;
    if code.len() != 3 || reason.is_empty() {
        return Err(format!("status line {status_line:?}"));
    }
    let status: u16 = code.parse().map_err(|_| "status is no number")?;
    let mut fields = Vec::new();
    loop {
        let field = line(bytes, &mut at)?;
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(": ").ok_or(format!("field {field:?}"))?;
        let token = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || !name.chars().all(token) || value.trim() != value {
            return Err(format!("field {field:?}"));
        }
        fields.push((name.to_owned(), value.to_owned()));
    }
    let mut decoded = Decoded {
        status,
        fields,
        body: Vec::new(),
        chunks: None,
    };
    if status != 100 && decoded.field("Date").is_none_or(|date| date.len() != 29) {
        return Err("no date".into());
    }
    let length = decoded.field("Content-Length").map(str::to_owned);
    let coding = decoded.field("Transfer-Encoding").map(str::to_owned);
    match (length, coding.as_deref()) {
        (None, None) if matches!(status, 100 | 204 | 304) => {}
        (Some(length), None) if !matches!(status, 100 | 204 | 304) => {
            let size: usize = length.parse().map_err(|_| "length is no number")?;
            if asked == Asked::Other {
                decoded.body = take(bytes, &mut at, size)?.to_vec();
            }
        }
        (None, Some("chunked")) if asked == Asked::Other => {
            decoded.chunks = Some(chunks(bytes, &mut at, &mut decoded.body)?);
        }
        (length, coding) => return Err(format!("framing {length:?} {coding:?} for {status}")),
    }
    Ok((decoded, at))
}

/// Decodes a chunked body; says which sizes its chunks had.
pub(crate) fn chunks(
    bytes: &[u8],
    at: &mut usize,
    body: &mut Vec<u8>,
) -> Result<Vec<usize>, String> {
    let mut sizes = Vec::new();
    loop {
        let text = line(bytes, at)?;
        let clean = !text.is_empty()
            && text.chars().all(|c| matches!(c, '0'..='9' | 'A'..='F'))
            && (text == "0" || !text.starts_with('0'));
        if !clean {
            return Err(format!("chunk size {text:?}"));
        }
        let size = usize::from_str_radix(text, 16).map_err(|_| "chunk size too large")?;
        body.extend_from_slice(take(bytes, at, size)?);
        if take(bytes, at, 2)? != b"\r\n" {
            return Err("no CRLF after a chunk".into());
        }
        if size == 0 {
            return Ok(sizes);
        }
        sizes.push(size);
    }
}

fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a str, String> {
    let rest = &bytes[*at..];
    let end = rest
        .windows(2)
        .position(|pair| pair == b"\r\n")
        .ok_or("no end of line")?;
    *at += end + 2;
    let text = std::str::from_utf8(&rest[..end]).map_err(|_| "not text")?;
    if text.chars().any(char::is_control) {
        return Err(format!("control characters in {text:?}"));
    }
    Ok(text)
}

fn take<'a>(bytes: &'a [u8], at: &mut usize, size: usize) -> Result<&'a [u8], String> {
    let part = bytes[*at..].get(..size).ok_or("cut off")?;
    *at += size;
    Ok(part)
}
