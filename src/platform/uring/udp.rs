//! Datagrams: readiness from the ring, batched calls with segmentation offload beside it.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::reactor::{Interest, Reactor, Watched};
use crate::driver::{Received, UdpIo};

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
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let count = buffers.len().min(got.len()).min(BATCH_SIZE);
        for (slice, buffer) in slices.iter_mut().zip(&mut buffers[..count]) {
            *slice = IoSliceMut::new(buffer);
        }
        let received = self.state.recv(
            UdpSockRef::from(&self.socket),
            &mut slices[..count],
            &mut metas[..count],
        );
        let received = received.inspect_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                self.socket.blocked();
            }
        })?;
        for (got, meta) in got.iter_mut().zip(&metas[..received]) {
            *got = Received {
                from: meta.addr,
                size: meta.len,
                stride: meta.stride,
            };
        }
        Ok(received)
    }

    fn try_send(&mut self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: (segment < bytes.len()).then_some(segment),
            src_ip: None,
        };
        self.state
            .try_send(UdpSockRef::from(&self.socket), &transmit)
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
