//! Sockets of turmoil as the driver wants them, with a fault-injecting pipe around each stream:
//! turmoil takes any write whole, and a real kernel does not.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bifrons::driver::{Received, TcpAccept, TcpIo, UdpIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::kernel::key::Draws;

/// Hands out the connections that a shard got.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) incoming: UnboundedReceiver<(FaultyTcp, SocketAddr)>,
}

impl TcpAccept for Door {
    type Stream = FaultyTcp;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Stream, SocketAddr)>> {
        match self.incoming.poll_recv(cx) {
            Poll::Ready(Some(accepted)) => Poll::Ready(Ok(accepted)),
            // Nobody knocks any more.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// A connection whose reads and writes are short at random.
#[derive(Debug)]
pub(super) struct FaultyTcp {
    pub(super) stream: turmoil::net::TcpStream,
    pub(super) draws: Draws,
    /// Bytes of a read or write, at most.
    pub(super) most: u64,
}

impl FaultyTcp {
    fn some(&mut self, size: usize) -> usize {
        (1 + self.draws.below(self.most) as usize).min(size)
    }
}

impl TcpIo for FaultyTcp {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = self.some(into.len());
        let mut buffer = ReadBuf::new(&mut into[..most]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let most = self.some(bytes.len());
        Pin::new(&mut self.stream).poll_write(cx, &bytes[..most])
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.stream).poll_shutdown(&mut cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Ok(()),
        }
    }

    fn abort(self) {
        // turmoil resets when unread input is dropped, and says FIN otherwise: it knows no other
        // way to end a connection.
        drop(self);
    }
}

type Readable = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// A socket for datagrams.
pub(super) struct Socket {
    socket: Rc<turmoil::net::UdpSocket>,
    readable: Option<Readable>,
}

impl Socket {
    pub(super) fn new(socket: turmoil::net::UdpSocket) -> Self {
        Self {
            socket: Rc::new(socket),
            readable: None,
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl UdpIo for Socket {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let readable = self.readable.get_or_insert_with(|| {
            let socket = Rc::clone(&self.socket);
            Box::pin(async move { socket.readable().await })
        });
        match readable.as_mut().poll(cx) {
            Poll::Ready(_) => {
                self.readable = None;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn try_recv(&mut self, buffers: &mut [Vec<u8>], got: &mut [Received]) -> io::Result<usize> {
        let mut count = 0;
        for (buffer, received) in buffers.iter_mut().zip(got) {
            match self.socket.try_recv_from(buffer) {
                Ok((size, from)) => {
                    *received = Received {
                        from,
                        size,
                        stride: size,
                    };
                    count += 1;
                }
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(count)
    }

    fn try_send(&mut self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
        for datagram in bytes.chunks(segment.max(1)) {
            self.socket.try_send_to(datagram, to)?;
        }
        Ok(())
    }

    fn segments_max(&self) -> usize {
        16
    }
}
