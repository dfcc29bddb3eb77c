//! Heads of answers, as a client reads them.

use std::fmt;

use super::field::list;

/// Fields of an answer that is worth reading.
const FIELDS_MAX: usize = 64;

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    minor_version: u8,
    fields: Vec<(String, Vec<u8>)>,
}

/// What came is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHttp;

impl Answer {
    /// Reads the head that `bytes` begin with, and how many of them it is; `None` while it is not
    /// complete. The caller bounds how long that may go on.
    ///
    /// # Errors
    ///
    /// [`NotHttp`].
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, NotHttp> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(size) = head.parse(bytes).map_err(|_| NotHttp)? else {
            return Ok(None);
        };
        let fields = head
            .headers
            .iter()
            .map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()))
            .collect();
        let answer = Self {
            status: head.code.ok_or(NotHttp)?,
            minor_version: head.version.ok_or(NotHttp)?,
            fields,
        };
        Ok(Some((answer, size)))
    }

    /// Whether another answer follows to the same request.
    pub const fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// The value of a field; its name is in lower case. `None` also when there are several.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether a list has a member, in whatever case.
    pub fn has(&self, name: &str, member: &str) -> bool {
        self.values(name)
            .flat_map(list)
            .any(|found| found.eq_ignore_ascii_case(member.as_bytes()))
    }

    /// How long the body is, if the connection goes on after it. Not for answers to HEAD.
    pub fn reusable_after(&self) -> Option<usize> {
        let is_kept = self.minor_version == 1 && !self.has("connection", "close");
        if !is_kept || self.values("transfer-encoding").next().is_some() {
            return None;
        }
        if matches!(self.status, 204 | 304) {
            return Some(0);
        }
        let digits = std::str::from_utf8(self.field("content-length")?).ok()?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| is_number)
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields
            .iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_slice())
    }
}

impl fmt::Display for NotHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("that is not HTTP")
    }
}

impl std::error::Error for NotHttp {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Answer {
        let bytes = text.as_bytes();
        for part in 0..bytes.len() {
            assert_eq!(Answer::read(&bytes[..part]), Ok(None), "up to {part}");
        }
        let (answer, size) = Answer::read(bytes).unwrap().unwrap();
        assert_eq!(size, bytes.len());
        answer
    }

    #[test]
    fn fields_are_found_in_any_case() {
        let answer = read("HTTP/1.1 200 OK\r\nA: x\r\nconnection: b, Keep-Alive\r\na: y\r\n\r\n");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("a"), None, "there are two");
        assert!(answer.has("a", "Y") && answer.has("connection", "keep-alive"));
        assert!(!answer.has("connection", "keep"));
    }

    #[test]
    fn a_connection_goes_on_after_a_body_of_known_length_only() {
        for (head, expected) in [
            ("1 200 OK\r\nContent-Length: 12\r\n", Some(12)),
            ("1 204 No Content\r\n", Some(0)),
            ("1 200 OK\r\n", None),
            ("0 200 OK\r\nContent-Length: 12\r\n", None),
            ("1 200 OK\r\nContent-Length: +1\r\n", None),
            (
                "1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
                None,
            ),
            (
                "1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n",
                None,
            ),
            (
                "1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n",
                None,
            ),
        ] {
            let answer = read(&format!("HTTP/1.{head}\r\n"));
            assert_eq!(answer.reusable_after(), expected, "{head}");
        }
    }

    #[test]
    fn what_is_not_http_is_told_at_once() {
        for text in ["SSH-2.0-x\r\n", "HTTP/2 200 OK\r\n\r\n", "\x16\x03\x01"] {
            assert_eq!(Answer::read(text.as_bytes()), Err(NotHttp), "{text:?}");
        }
    }

    #[test]
    fn interim_answers_are_told_apart() {
        assert!(read("HTTP/1.1 100 Continue\r\n\r\n").is_interim());
        assert!(!read("HTTP/1.1 101 Switching\r\n\r\n").is_interim());
    }
}
