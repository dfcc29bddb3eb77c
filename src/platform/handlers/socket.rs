//! The handler that sends reports to a WebSocket server, as its client.
//!
//! Invariant: a round was taken when the pong came to the ping behind it. The answer to a ping is
//! the one thing that every server says, and says in order.

use std::io;
use std::time::{Duration, Instant};

use tracing::info;

use super::Authorities;
use super::link::{Link, now};
use super::post::GROUP_MAX;
use super::spool::{Backoff, Courier, ROUND_TIMEOUT, Taken};
use crate::base::rng::Rng;
use crate::config::{Backend, SocketConfig};
use crate::gateway::reports::Report;
use crate::gateway::tweaks::HandlerSettings;
use crate::wire::http::Answer;
use crate::wire::ws::frame::write_client_frame;
use crate::wire::ws::handshake::{Asked, Handshake, Refused};
use crate::wire::ws::{Bounds, CloseCode, Incoming, Opcode, Reader, Side};

/// Reports that one ping confirms.
const ROUND_MAX: usize = 10 * GROUP_MAX;
/// The longest pause between two tries, as in Janus.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// The head of an answer that is worth reading.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A collector has nothing to say; what it says all the same is read over.
const BOUNDS: Bounds = Bounds {
    message_bytes: 64 << 10,
    fragments_count: 64,
};
/// How long the end of a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pauses that the configuration wants.
pub(super) fn backoff(config: &SocketConfig) -> Backoff {
    Backoff {
        first: config.backoff,
        longest: PAUSE_MAX.max(config.backoff),
    }
}

/// Makes messages of reports.
pub(super) struct Socket {
    backend: Backend,
    config: SocketConfig,
    authorities: Authorities,
    rng: Rng,
    open: Option<Open>,
}

/// A WebSocket.
struct Open {
    link: Link,
    reader: Reader,
}

/// What was heard of the server that matters.
enum Heard {
    Close,
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

impl Socket {
    pub(super) fn new(
        backend: Backend,
        config: SocketConfig,
        authorities: Authorities,
        rng: Rng,
    ) -> Self {
        Self {
            backend,
            config,
            authorities,
            rng,
            open: None,
        }
    }

    /// Sends a round with a ping behind it, and waits for the pong.
    fn send(&mut self, open: &mut Open, round: &[Report], until: Instant) -> io::Result<()> {
        let mut frames = Vec::new();
        if self.config.grouping {
            for group in round.chunks(GROUP_MAX) {
                self.write(Opcode::Text, super::array(group).as_bytes(), &mut frames);
            }
        } else {
            for report in round {
                self.write(Opcode::Text, report.text.as_bytes(), &mut frames);
            }
        }
        let mut name = [0; 8];
        self.rng.fill(&mut name);
        self.write(Opcode::Ping, &name, &mut frames);
        open.link.send(&frames, until)?;
        loop {
            while let Some(heard) = open.next()? {
                match heard {
                    Heard::Pong(payload) if payload == name => return Ok(()),
                    heard @ (Heard::Close | Heard::Ping(_) | Heard::Pong(_)) => {
                        self.answer(open, heard, until)?;
                    }
                }
            }
            open.wait(until)?;
        }
    }

    /// Answers what came. A close is an error.
    fn answer(&mut self, open: &mut Open, heard: Heard, until: Instant) -> io::Result<()> {
        let mut frames = Vec::new();
        match heard {
            Heard::Pong(_) => Ok(()),
            Heard::Ping(payload) => {
                self.write(Opcode::Pong, &payload, &mut frames);
                open.link.send(&frames, until)
            }
            Heard::Close => {
                self.write_close(CloseCode::NORMAL, &mut frames);
                open.link.send(&frames, until)?;
                Err(io::Error::other("the server closed the connection"))
            }
        }
    }

    fn write_close(&mut self, code: CloseCode, frames: &mut Vec<u8>) {
        self.write(Opcode::Close, &code.number().to_be_bytes(), frames);
    }

    fn write(&mut self, opcode: Opcode, payload: &[u8], frames: &mut Vec<u8>) {
        let mut mask = [0; 4];
        self.rng.fill(&mut mask);
        write_client_frame(opcode, payload, mask, frames);
    }

    fn connect(&mut self, until: Instant) -> io::Result<Open> {
        let mut nonce = [0; 16];
        self.rng.fill(&mut nonce);
        let asked = Asked {
            authority: &self.backend.authority(),
            path: &self.backend.path,
            origin: &format!("http://{}", self.backend.host),
            protocol: &self.config.subprotocol,
        };
        let (handshake, request) = Handshake::begin(&asked, nonce);
        let mut link = Link::open(&self.backend, self.authorities.of(&self.backend)?, until)?;
        link.send(request.as_bytes(), until)?;
        let answer = loop {
            if let Some((answer, size)) = Answer::read(link.came()).map_err(io::Error::other)? {
                link.consume(size);
                break answer;
            }
            if link.came().len() > HEAD_BYTES_MAX || link.has_ended() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            link.receive(until)?;
        };
        handshake.check(&answer).map_err(|why| {
            io::Error::other(match why {
                Refused::Malformed => "the handshake was not answered as it must be".to_owned(),
                Refused::Status(status) => format!("status {status}"),
            })
        })?;
        info!(host = self.backend.host, "connected to the event collector");
        let reader = Reader::of(Side::Server);
        Ok(Open { link, reader })
    }
}

impl Open {
    /// What is heard next in what came.
    fn next(&mut self) -> io::Result<Option<Heard>> {
        loop {
            let read = self.reader.read(self.link.came(), &BOUNDS);
            let (used, incoming) = read.map_err(|fault| io::Error::other(fault.text()))?;
            self.link.consume(used);
            match incoming {
                None => return Ok(None),
                Some(Incoming::Binary(_) | Incoming::Text(_)) => {}
                Some(Incoming::Close(_)) => return Ok(Some(Heard::Close)),
                Some(Incoming::Ping(payload)) => return Ok(Some(Heard::Ping(payload))),
                Some(Incoming::Pong(payload)) => return Ok(Some(Heard::Pong(payload))),
            }
        }
    }

    fn wait(&mut self, until: Instant) -> io::Result<()> {
        if self.link.has_ended() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.link.receive(until)
    }
}

impl Courier for Socket {
    const NAME: &'static str = "ws";

    fn round_max(&self) -> usize {
        ROUND_MAX
    }

    fn set(&mut self, settings: HandlerSettings) -> Backoff {
        let HandlerSettings::Ws(config) = settings else {
            unreachable!("an outlet takes what is for its own handler");
        };
        if let Some(backend) = config
            .backend
            .clone()
            .filter(|other| *other != self.backend)
        {
            self.close();
            self.backend = backend;
        }
        self.config = config;
        backoff(&self.config)
    }

    fn deliver(&mut self, round: &[Report]) -> io::Result<Taken> {
        let until = now() + ROUND_TIMEOUT;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect(until)?,
        };
        self.send(&mut open, round, until)?;
        self.open = Some(open);
        Ok(Taken::Well)
    }

    /// Answers pings, and takes note of an end: the next report makes another connection.
    fn look(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        let until = now() + ROUND_TIMEOUT;
        let mut look = || {
            open.link.glance()?;
            while let Some(heard) = open.next()? {
                self.answer(&mut open, heard, until)?;
            }
            io::Result::Ok(())
        };
        if look().is_ok() && !open.link.has_ended() {
            self.open = Some(open);
        }
    }

    fn close(&mut self) {
        if let Some(mut open) = self.open.take() {
            let until = now() + CLOSE_TIMEOUT;
            let mut frames = Vec::new();
            self.write_close(CloseCode::GOING_AWAY, &mut frames);
            // It ends one way or the other; a server that answers may see its end first.
            let _ = open.link.send(&frames, until);
            while matches!(
                open.next(),
                Ok(None | Some(Heard::Ping(_) | Heard::Pong(_)))
            ) && open.wait(until).is_ok()
            {}
            let _ = open.link.close(until);
        }
    }
}
