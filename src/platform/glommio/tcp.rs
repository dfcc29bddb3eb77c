//! Connections and listeners on the ring.
//!
//! The runtime's streams try `recv` and `send` without waiting first, and ask the ring to watch
//! the descriptor when there is nothing to do; after a short read they ask it at once. A request
//! on a connection that is kept alive so costs one `recv`, one `send` and one entry of the ring.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::io::{AsyncRead as _, AsyncWrite as _};
use glommio::net::{TcpListener, TcpStream};
use socket2::SockRef;

use super::fd::{Lent, adopt};
use crate::driver::{TcpAccept, TcpIo};

/// A listener on the ring.
pub struct Listener {
    socket: Rc<TcpListener>,
    accepting: Option<Accepting>,
}

type Accepting = Pin<Box<dyn Future<Output = io::Result<(TcpStream, SocketAddr)>>>>;

impl Listener {
    /// Puts a socket that listens onto the ring of the calling thread's executor.
    pub fn new(socket: socket2::Socket) -> Self {
        Self {
            socket: Rc::new(adopt(socket)),
            accepting: None,
        }
    }
}

impl TcpAccept for Listener {
    type Stream = Stream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, SocketAddr)>> {
        let accepting = self.accepting.get_or_insert_with(|| {
            let socket = Rc::clone(&self.socket);
            Box::pin(async move {
                let stream = socket.accept().await?;
                // Fails when the client has gone already.
                let peer = stream.peer_addr()?;
                Ok((stream, peer))
            })
        });
        let accepted = std::task::ready!(accepting.as_mut().poll(cx));
        self.accepting = None;
        Poll::Ready(accepted.map(|(stream, peer)| (Stream(stream), peer)))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

/// A connection on the ring.
#[derive(Debug)]
pub struct Stream(TcpStream);

impl TcpIo for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        SockRef::from(&Lent(&self.0)).shutdown(Shutdown::Write)
    }

    fn abort(self) {
        // A linger of zero makes close send RST. Where it fails there is nothing left to reset.
        let _ = SockRef::from(&Lent(&self.0)).set_linger(Some(Duration::ZERO));
    }
}
