//! Batched calls for datagrams, with receive and segmentation offload, on any ready socket.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use crate::driver::Received;

/// How many datagrams one call can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offload {
    pub(super) send_segments: usize,
    pub(super) receive_segments: usize,
}

impl Offload {
    /// Asks a socket, which is closed again.
    pub(super) fn of_this_host() -> Option<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).ok()?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).ok()?;
        Some(Self {
            send_segments: state.max_gso_segments(),
            receive_segments: state.gro_segments(),
        })
    }
}

/// Receives what is there, a call of the kernel at most, see [`UdpIo`](crate::driver::UdpIo).
pub(super) fn recv(
    state: &UdpSocketState,
    socket: UdpSockRef<'_>,
    buffers: &mut [Vec<u8>],
    got: &mut [Received],
) -> io::Result<usize> {
    let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
        std::array::from_fn(|_| IoSliceMut::new(&mut []));
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    let count = buffers.len().min(got.len()).min(BATCH_SIZE);
    for (slice, buffer) in slices.iter_mut().zip(&mut buffers[..count]) {
        *slice = IoSliceMut::new(buffer);
    }
    let received = state.recv(socket, &mut slices[..count], &mut metas[..count])?;
    for (got, meta) in got.iter_mut().zip(&metas[..received]) {
        *got = Received {
            from: meta.addr,
            size: meta.len,
            stride: meta.stride,
        };
    }
    Ok(received)
}

/// Sends a run of datagrams of `segment` bytes each, the last one perhaps shorter.
pub(super) fn send(
    state: &UdpSocketState,
    socket: UdpSockRef<'_>,
    to: SocketAddr,
    bytes: &[u8],
    segment: usize,
) -> io::Result<()> {
    let transmit = Transmit {
        destination: to,
        ecn: None,
        contents: bytes,
        segment_size: (segment < bytes.len()).then_some(segment),
        src_ip: None,
    };
    state.try_send(socket, &transmit)
}
