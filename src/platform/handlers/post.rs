//! The handler that posts reports to an HTTP server.
//!
//! The connection stays open from one request to the next where the server lets it.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use flate2::Compression;
use flate2::write::GzEncoder;
use tracing::warn;

use super::Authorities;
use super::link::{Link, now};
use super::spool::{Backoff, Courier, ROUND_TIMEOUT, Taken};
use crate::config::{Backend, PostConfig};
use crate::gateway::reports::Report;
use crate::gateway::tweaks::HandlerSettings;
use crate::wire::http::Answer;

/// Reports in one request.
pub(super) const GROUP_MAX: usize = 100;
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The head of an answer that is worth reading.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The body of an answer that is worth reading to keep the connection.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The pauses that the configuration wants.
pub(super) fn backoff(config: &PostConfig) -> Backoff {
    Backoff {
        first: config.backoff,
        longest: PAUSE_MAX.max(config.backoff),
    }
}

/// Makes requests of reports.
pub(super) struct Poster {
    backend: Backend,
    /// All of a request's head up to the length of its body.
    head: String,
    config: PostConfig,
    authorities: Authorities,
    /// What the last request left open.
    link: Option<Link>,
}

impl Poster {
    pub(super) fn new(backend: Backend, config: PostConfig, authorities: Authorities) -> Self {
        Self {
            head: head(&backend, &config),
            backend,
            config,
            authorities,
            link: None,
        }
    }

    pub(super) fn body(&self, round: &[Report]) -> Vec<u8> {
        let text = if self.config.grouping {
            super::array(round)
        } else {
            round.iter().map(|report| &*report.text).collect()
        };
        if !self.config.compress {
            return text.into_bytes();
        }
        let level = Compression::new(self.config.compression.into());
        let mut encoder = GzEncoder::new(Vec::new(), level);
        encoder
            .write_all(text.as_bytes())
            .and_then(|()| encoder.finish())
            .expect("writing to memory does not fail")
    }

    /// Makes one request, and returns the status of its answer.
    fn post(&mut self, body: &[u8]) -> io::Result<u16> {
        let until = now() + ROUND_TIMEOUT;
        let head = format!("{}Content-Length: {}\r\n\r\n", self.head, body.len());
        // In one piece, so that one segment can carry all of a small request.
        let request = [head.as_bytes(), body].concat();
        if let Some(link) = self.link.take() {
            match self.exchange(link, &request, until) {
                // The server closed it meanwhile, and that says nothing about this request.
                Err(error) if error.kind() != io::ErrorKind::TimedOut => {}
                outcome => return outcome,
            }
        }
        let link = Link::open(&self.backend, self.authorities.of(&self.backend)?, until)?;
        self.exchange(link, &request, until)
    }

    /// Sends a request and reads its answer; keeps the connection if it may go on.
    fn exchange(&mut self, mut link: Link, request: &[u8], until: Instant) -> io::Result<u16> {
        link.send(request, until)?;
        let answer = read_head(&mut link, until)?;
        let body_bytes = answer
            .reusable_after()
            .filter(|size| *size <= BODY_BYTES_MAX);
        if let Some(size) = body_bytes
            && skip(&mut link, size, until).is_ok()
        {
            self.link = Some(link);
        }
        Ok(answer.status)
    }
}

/// All of a request's head up to the length of its body.
fn head(backend: &Backend, config: &PostConfig) -> String {
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nContent-Type: application/json\r\n",
        backend.path,
        backend.authority()
    );
    if let Some(user) = &config.user {
        let password = config
            .password
            .as_ref()
            .map_or("", |secret| secret.expose());
        let both = Base64::encode_string(format!("{user}:{password}").as_bytes());
        head.push_str(&format!("Authorization: Basic {both}\r\n"));
    }
    if config.compress {
        head.push_str("Content-Encoding: gzip\r\n");
    }
    head
}

impl Courier for Poster {
    const NAME: &'static str = "post";

    fn round_max(&self) -> usize {
        if self.config.grouping { GROUP_MAX } else { 1 }
    }

    fn set(&mut self, settings: HandlerSettings) -> Backoff {
        let HandlerSettings::Post(config) = settings else {
            unreachable!("an outlet takes what is for its own handler");
        };
        self.close();
        if let Some(backend) = &config.backend {
            self.backend.clone_from(backend);
        }
        self.head = head(&self.backend, &config);
        self.config = config;
        backoff(&self.config)
    }

    fn deliver(&mut self, round: &[Report]) -> io::Result<Taken> {
        match self.post(&self.body(round))? {
            status @ (408 | 429 | 500..) => Err(io::Error::other(format!("status {status}"))),
            status @ 300..=499 => {
                warn!(status, "the event collector refuses reports");
                Ok(Taken::Refused)
            }
            0..=299 => Ok(Taken::Well),
        }
    }

    fn look(&mut self) {
        // What comes unasked is the end of the connection, or the server is confused.
        self.link = self.link.take().and_then(|mut link| {
            link.glance().ok()?;
            (!link.has_ended() && link.came().is_empty()).then_some(link)
        });
    }

    fn close(&mut self) {
        if let Some(link) = self.link.take() {
            // It ends one way or the other.
            let _ = link.close(now() + ROUND_TIMEOUT);
        }
    }
}

/// Reads the head of the answer that is not interim.
fn read_head(link: &mut Link, until: Instant) -> io::Result<Answer> {
    let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    loop {
        while let Some((answer, size)) = Answer::read(link.came()).map_err(malformed)? {
            link.consume(size);
            if !answer.is_interim() {
                return Ok(answer);
            }
        }
        if link.has_ended() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if link.came().len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("the head of the answer is too long"));
        }
        link.receive(until)?;
    }
}

/// Reads over a body.
fn skip(link: &mut Link, size: usize, until: Instant) -> io::Result<()> {
    while link.came().len() < size {
        if link.has_ended() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        link.receive(until)?;
    }
    link.consume(size);
    Ok(())
}
