//! Connections and listeners on the ring.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags, SocketFlags, acceptfrom_with, recv, send, sockopt};
use socket2::SockRef;

use super::reactor::{Interest, Reactor, Watched};
use crate::driver::{TcpAccept, TcpIo};

/// A listener on the ring.
pub struct Listener {
    socket: Watched,
    reactor: Reactor,
}

impl Listener {
    /// Watches a socket that listens.
    ///
    /// # Errors
    ///
    /// When it cannot be set not to block.
    pub fn new(socket: socket2::Socket, reactor: &Reactor) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: reactor.adopt(socket.into(), Interest::Read),
            reactor: reactor.clone(),
        })
    }
}

impl TcpAccept for Listener {
    type Stream = Stream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, SocketAddr)>> {
        let mut accepted = None;
        let done = self.socket.read(cx, 0, |fd| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            accepted = Some(acceptfrom_with(fd, flags)?);
            Ok(0)
        });
        ready!(done)?;
        let (fd, peer) = accepted.expect("it was accepted");
        // A client that is gone already has no address.
        let peer = peer
            .and_then(|peer| SocketAddr::try_from(peer).ok())
            .ok_or(io::ErrorKind::NotConnected)?;
        sockopt::set_tcp_nodelay(&fd, true)?;
        let stream = Stream(self.reactor.adopt(fd, Interest::ReadWrite));
        Poll::Ready(Ok((stream, peer)))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

/// A connection on the ring.
#[derive(Debug)]
pub struct Stream(Watched);

impl TcpIo for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = into.len();
        self.0.read(cx, room, |fd| {
            recv(fd, into, RecvFlags::DONTWAIT).map(|(count, _)| count)
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        self.0.write(cx, |fd| send(fd, bytes, flags))
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        SockRef::from(&self.0).shutdown(Shutdown::Write)
    }

    fn abort(self) {
        // A linger of zero makes close send RST. Where it fails there is nothing left to reset.
        let _ = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }
}
