//! Datagrams: readiness from the ring, batched calls with segmentation offload beside it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use glommio::net::UdpSocket;
use quinn_udp::{UdpSockRef, UdpSocketState};

use super::fd::{Lent, adopt};
use crate::driver::{Received, UdpIo};
use crate::platform::datagrams;

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
        let lent = Lent(&*self.socket);
        datagrams::recv(&self.state, UdpSockRef::from(&lent), buffers, got)
    }

    fn try_send(&mut self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
        let lent = Lent(&*self.socket);
        datagrams::send(&self.state, UdpSockRef::from(&lent), to, bytes, segment)
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
