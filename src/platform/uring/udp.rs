//! Datagrams: readiness from the ring, batched calls with segmentation offload beside it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use quinn_udp::{UdpSockRef, UdpSocketState};

use super::reactor::{Interest, Reactor, Watched};
use crate::driver::{Received, UdpIo};
use crate::platform::datagrams;

/// A socket on the ring.
pub struct Udp {
    socket: Watched,
    state: UdpSocketState,
}

impl Udp {
    /// Watches a bound socket.
    ///
    /// # Errors
    ///
    /// When the host lacks a socket option that batches need.
    pub fn new(socket: socket2::Socket, reactor: &Reactor) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            socket: reactor.adopt(socket.into(), Interest::Read),
            state,
        })
    }
}

impl UdpIo for Udp {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_readable(cx)
    }

    fn try_recv(&mut self, buffers: &mut [Vec<u8>], got: &mut [Received]) -> io::Result<usize> {
        let received = datagrams::recv(&self.state, UdpSockRef::from(&self.socket), buffers, got);
        received.inspect_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                self.socket.blocked();
            }
        })
    }

    fn try_send(&mut self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
        let socket = UdpSockRef::from(&self.socket);
        datagrams::send(&self.state, socket, to, bytes, segment)
    }

    fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp").finish_non_exhaustive()
    }
}
