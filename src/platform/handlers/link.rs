//! A connection to a collector, with or without TLS, on a thread that may wait for it.
//!
//! Invariant: nothing waits beyond the moment that the caller gives.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::config::Backend;
use crate::wire::tls::Incoming;
use crate::wire::tls_client::{TlsClient, Trust};

/// The shortest wait that a socket can be told of.
const GLANCE: Duration = Duration::from_millis(1);

/// A connection that is open.
pub(super) struct Link {
    stream: TcpStream,
    tls: Option<TlsClient>,
    /// What came and nobody has used yet.
    came: Vec<u8>,
    has_ended: bool,
}

impl Link {
    /// Connects, and agrees on keys if there is to be TLS.
    pub(super) fn open(
        backend: &Backend,
        trust: Option<&Trust>,
        until: Instant,
    ) -> io::Result<Self> {
        let stream = connect(backend, until)?;
        // A request is written whole, and waits for nothing.
        stream.set_nodelay(true)?;
        let tls = match trust {
            _ if !backend.scheme.is_secure() => None,
            Some(trust) => Some(TlsClient::new(trust, &backend.host).map_err(io::Error::other)?),
            None => {
                return Err(io::Error::other(
                    "nobody is trusted to vouch for the server",
                ));
            }
        };
        let mut link = Self {
            stream,
            tls,
            came: Vec::new(),
            has_ended: false,
        };
        while link.tls.as_ref().is_some_and(TlsClient::is_handshaking) {
            link.send_records(until)?;
            link.receive(until)?;
            if link.has_ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(link)
    }

    /// Sends all of it.
    pub(super) fn send(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        match &mut self.tls {
            None => write_all(&mut self.stream, bytes, until),
            Some(tls) => {
                tls.send(bytes);
                self.send_records(until)
            }
        }
    }

    /// Waits until more has come, or the other side ended.
    pub(super) fn receive(&mut self, until: Instant) -> io::Result<()> {
        let wait = left(until)?;
        self.read(wait)
    }

    /// Takes in what is there, without waiting for it.
    pub(super) fn glance(&mut self) -> io::Result<()> {
        match self.read(GLANCE) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
            outcome => outcome,
        }
    }

    /// Says, as far as TLS has words for it, that nothing more follows.
    pub(super) fn close(mut self, until: Instant) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close();
        }
        self.send_records(until)
    }

    /// What came and was not used yet.
    pub(super) fn came(&self) -> &[u8] {
        &self.came
    }

    /// Whether nothing more will come.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Forgets the first bytes of what came.
    pub(super) fn consume(&mut self, count: usize) {
        self.came.drain(..count);
    }

    fn read(&mut self, wait: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(wait.max(GLANCE)))?;
        let mut piece = [0; 16 << 10];
        let count = match self.stream.read(&mut piece) {
            Ok(count) => count,
            // What a timeout of a socket looks like.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        };
        self.has_ended |= count == 0;
        match &mut self.tls {
            None => self.came.extend_from_slice(&piece[..count]),
            Some(tls) => match tls.receive(&piece[..count], &mut self.came) {
                Ok(incoming) => self.has_ended |= incoming == Incoming::Ended,
                Err(why) => {
                    // The alert that tells the server why. It may be gone already.
                    let records = tls.take_output();
                    let _ = self.stream.write_all(&records);
                    return Err(io::Error::other(why));
                }
            },
        }
        Ok(())
    }

    fn send_records(&mut self, until: Instant) -> io::Result<()> {
        let records = self.tls.as_mut().map(TlsClient::take_output);
        write_all(&mut self.stream, &records.unwrap_or_default(), until)
    }
}

fn connect(backend: &Backend, until: Instant) -> io::Result<TcpStream> {
    let name = (backend.host.as_str(), backend.port);
    let mut outcome = Err(io::Error::other("the name has no address"));
    for address in name.to_socket_addrs()? {
        outcome = TcpStream::connect_timeout(&address, left(until)?);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Writes piece by piece, because the timeout of a socket is that of one piece.
fn write_all(stream: &mut TcpStream, mut bytes: &[u8], until: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(until)?.max(GLANCE)))?;
        match stream.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the threads of handlers have a clock of their own"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}
