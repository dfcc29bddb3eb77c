//! HTTP connections without waiting: one epoll, many connections, one answer at a time on each.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use socket2::{Domain, Protocol, Socket, Type};

const EVENTS_MAX: usize = 256;
const READ_BYTES: usize = 16 * 1024;

/// Says which connections can be read.
pub(crate) struct Watch {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Watch {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    pub(crate) fn add(&self, conn: &Conn, number: usize) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, &conn.stream, data, epoll::EventFlags::IN)?;
        Ok(())
    }

    /// Waits, and says which connections can be read.
    pub(crate) fn wait(&mut self, at_most: Duration) -> io::Result<impl Iterator<Item = usize>> {
        self.events.clear();
        let at_most = Timespec::try_from(at_most).map_err(io::Error::other)?;
        let buffer = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, Some(&at_most)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(|event| event.data.u64() as usize))
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    stream: TcpStream,
    input: Vec<u8>,
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Conn {
    /// Connects, from `source` if there is one.
    pub(crate) fn open(to: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect(&to.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            stream: socket.into(),
            input: Vec::new(),
        })
    }

    /// Sends a request. They are small, so the kernel takes them whole.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request)
    }

    /// Reads what is there; `None` until the answer is complete.
    pub(crate) fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<Answer>> {
        buffer.resize(READ_BYTES, 0);
        let count = match self.stream.read(buffer) {
            Ok(0) => return Err(io::Error::other("the server closed before it had answered")),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        self.input.extend_from_slice(&buffer[..count]);
        match complete(&self.input).map_err(io::Error::other)? {
            Some((answer, end)) if end == self.input.len() => {
                self.input.clear();
                Ok(Some(answer))
            }
            Some(_) => Err(io::Error::other("more than one answer to one request")),
            None => Ok(None),
        }
    }

    /// Whether a part of an answer has arrived.
    pub(crate) fn is_amid(&self) -> bool {
        !self.input.is_empty()
    }
}

/// The answer at the begin of `input` and where it ends, once it is complete.
pub(crate) fn complete(input: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let Some(head_end) = find(input, b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&input[..head_end]).map_err(|_| "a head that is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1."))
        .and_then(|line| line.get(2..5))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| format!("no answer of HTTP/1: {head}"))?;
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().map_err(|e| e.to_string())?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    let rest = &input[head_end..];
    if chunked {
        return Ok(dechunk(rest)?.map(|(body, end)| (Answer { status, body }, head_end + end)));
    }
    let length = length.ok_or("an answer without a length")?;
    Ok(rest.get(..length).map(|body| {
        let body = body.to_vec();
        (Answer { status, body }, head_end + length)
    }))
}

fn dechunk(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = find(&input[at..], b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&input[at..at + line])
            .ok()
            .and_then(|text| text.split(';').next())
            .and_then(|text| usize::from_str_radix(text.trim(), 16).ok())
            .ok_or("a chunk without a size")?;
        at += line + 2;
        let Some(data) = input.get(at..at + size + 2) else {
            return Ok(None);
        };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk that does not end, or trailers".into());
        }
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
        body.extend_from_slice(&data[..size]);
    }
}

fn find(input: &[u8], what: &[u8]) -> Option<usize> {
    input.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, status: u16, body: &str) {
        for cut in 0..text.len() {
            assert_eq!(complete(&text.as_bytes()[..cut]), Ok(None), "cut at {cut}");
        }
        let answer = Answer {
            status,
            body: body.as_bytes().to_vec(),
        };
        let found = complete(text.as_bytes());
        assert_eq!(found, Ok(Some((answer, text.len()))));
    }

    #[test]
    fn an_answer_is_complete_at_its_last_byte() {
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
            200,
            "abc",
        );
        check("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404, "");
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n",
            200,
            "abc",
        );
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in [
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert!(complete(text.as_bytes()).is_err(), "{text}");
        }
    }
}
