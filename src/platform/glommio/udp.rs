//! Datagrams: readiness from the ring, batched calls with segmentation offload beside it.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use glommio::net::UdpSocket;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::fd::{Lent, adopt};
use crate::driver::{Received, UdpIo};

/// A socket on the ring.
pub struct Udp {
    socket: Rc<UdpSocket>,
    state: UdpSocketState,
    watching: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Udp {
    /// Puts a bound socket onto the ring of the calling thread's executor.
    ///
    /// # Errors
    ///
    /// When the host lacks a socket option that batches need.
    pub fn new(socket: socket2::Socket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            socket: Rc::new(adopt(socket)),
            state,
            watching: None,
        })
    }
}

impl UdpIo for Udp {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let watching = self.watching.get_or_insert_with(|| {
            let socket = Rc::clone(&self.socket);
            Box::pin(async move {
                // Whatever it says, receiving says it again.
                let _ = socket.peek_from(&mut [0]).await;
            })
        });
        std::task::ready!(watching.as_mut().poll(cx));
        self.watching = None;
        Poll::Ready(())
    }

    fn try_recv(&mut self, buffers: &mut [Vec<u8>], got: &mut [Received]) -> io::Result<usize> {
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let count = buffers.len().min(got.len()).min(BATCH_SIZE);
        for (slice, buffer) in slices.iter_mut().zip(&mut buffers[..count]) {
            *slice = IoSliceMut::new(buffer);
        }
        let lent = Lent(&*self.socket);
        let received = self.state.recv(
            UdpSockRef::from(&lent),
            &mut slices[..count],
            &mut metas[..count],
        )?;
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
        let lent = Lent(&*self.socket);
        self.state.try_send(UdpSockRef::from(&lent), &transmit)
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
