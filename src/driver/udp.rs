//! Datagrams: received in batches, sent in runs of one destination.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Context;
use std::time::Duration;

use crate::base::clock::{Monotonic, Now};
use crate::base::id::SockId;
use crate::driver::core::Core;
use crate::driver::platform::{Received, UdpIo};
use crate::driver::pump::Counters;
use crate::driver::ready::Left;
use crate::media::{Datagram, SocketAct};
use crate::shard::{Input, Outbox};

/// Datagrams of one socket after which a turn receives no more; what one more call of the kernel
/// had returned until then is handled to its end.
const DATAGRAMS_MAX: usize = 64;

/// Buffers of one receive, and the size of each: the largest that the kernel merges into one.
const BUFFERS_COUNT: usize = 8;
const BUFFER_SIZE: usize = 65_535;

/// Bytes of one run. An IPv6 packet holds 65,535 with its headers; 64,000 leaves room for those
/// of any tunnel.
const RUN_BYTES_MAX: usize = 64_000;

/// Datagrams that wait for the kernel: 4,096 are 50 ms at 1 Gbit/s. Beyond it new ones are
/// dropped, and counted.
const QUEUE_COUNT_MAX: usize = 4_096;

/// The kernel's send buffer drains at line speed: about 100 datagrams a millisecond at 1 Gbit/s.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// The lane of datagrams.
#[derive(Debug)]
pub(super) struct UdpLane<U> {
    /// `None` where one was closed.
    sockets: Vec<Option<U>>,
    /// What became of sockets that were to be opened: the core is told in the next turn.
    opened: Vec<(SockId, Option<SocketAddr>)>,
    buffers: Vec<Vec<u8>>,
    got: [Received; BUFFERS_COUNT],
    /// Datagrams that the kernel has yet to take, oldest first.
    queue: VecDeque<Datagram>,
    run: Vec<u8>,
    retry_at: Option<Monotonic>,
}

impl<U: UdpIo> UdpLane<U> {
    pub(super) fn new(sockets: Vec<U>) -> Self {
        let nobody = Received {
            from: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            size: 0,
            stride: 0,
        };
        Self {
            sockets: sockets.into_iter().map(Some).collect(),
            opened: Vec::new(),
            buffers: Vec::new(),
            got: [nobody; BUFFERS_COUNT],
            queue: VecDeque::new(),
            run: Vec::new(),
            retry_at: None,
        }
    }

    /// When to try again to send what the kernel did not take.
    pub(super) const fn retry_at(&self) -> Option<Monotonic> {
        self.retry_at
    }

    /// Opens or closes a socket. Says which one is new.
    pub(super) fn act(
        &mut self,
        act: SocketAct,
        open: impl FnOnce(SocketAddr) -> io::Result<(U, SocketAddr)>,
    ) -> Option<usize> {
        match act {
            SocketAct::Close(sock) => {
                if let Some(slot) = self.sockets.get_mut(usize::from(sock.0)) {
                    *slot = None;
                }
                None
            }
            SocketAct::Open { sock, bind } => {
                let index = usize::from(sock.0);
                let opened = open(bind).inspect_err(|error| {
                    tracing::debug!(%bind, %error, "cannot open a socket");
                });
                let bound = opened.as_ref().ok().map(|(_, bound)| *bound);
                self.opened.push((sock, bound));
                let (socket, _) = opened.ok()?;
                if index >= self.sockets.len() {
                    self.sockets.resize_with(index + 1, || None);
                }
                self.sockets[index] = Some(socket);
                Some(index)
            }
        }
    }

    /// Whether the core has yet to be told of sockets.
    pub(super) const fn has_opened(&self) -> bool {
        !self.opened.is_empty()
    }

    /// Tells the core what became of sockets.
    pub(super) fn tell_opened<C: Core>(&mut self, now: Now, core: &mut C, out: &mut Outbox) {
        for (sock, bound) in self.opened.drain(..) {
            core.handle(now, Input::SocketOpened { sock, bound }, out);
        }
    }

    /// Hands what a socket has received to the core, within the budget, then waits for more.
    pub(super) fn take_in<C: Core>(
        &mut self,
        index: usize,
        now: Now,
        (core, out): (&mut C, &mut Outbox),
        counters: &mut Counters,
        cx: &mut Context<'_>,
    ) -> Left {
        let sock = SockId(u16::try_from(index).expect("a shard has few sockets"));
        let Some(socket) = self.sockets.get_mut(index).and_then(Option::as_mut) else {
            return Left::None; // There is none yet, or none any more.
        };
        if self.buffers.is_empty() {
            self.buffers = vec![vec![0; BUFFER_SIZE]; BUFFERS_COUNT];
        }
        let mut handled = 0;
        while handled < DATAGRAMS_MAX {
            match socket.try_recv(&mut self.buffers, &mut self.got) {
                Ok(count) => {
                    for (buffer, got) in self.buffers.iter().zip(&self.got[..count]) {
                        let datagrams = buffer[..got.size].chunks(got.stride.max(1));
                        for bytes in datagrams {
                            let from = got.from;
                            core.handle(now, Input::Datagram { sock, from, bytes }, out);
                            handled += 1;
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if socket.poll_readable(cx).is_pending() {
                        return Left::None;
                    }
                    handled += 1;
                }
                Err(error) => {
                    tracing::debug!(%sock, %error, "cannot receive");
                    counters.udp_receive_errors += 1;
                    handled += 1;
                }
            }
        }
        Left::Some
    }

    /// Sends the turn's datagrams after those that still wait.
    pub(super) fn send(&mut self, now: Now, out: &mut Outbox, counters: &mut Counters) {
        for datagram in out.datagrams.drain(..) {
            if self.queue.len() < QUEUE_COUNT_MAX {
                self.queue.push_back(datagram);
            } else {
                counters.udp_send_dropped += 1;
            }
        }
        if self.retry_at.is_some_and(|at| at > now.monotonic) {
            return;
        }
        self.retry_at = None;
        while let Some(first) = self.queue.front() {
            let index = usize::from(first.sock.0);
            let Some(socket) = self.sockets.get_mut(index).and_then(Option::as_mut) else {
                counters.udp_send_dropped += 1;
                self.queue.pop_front();
                continue;
            };
            let count = run_length(&self.queue, socket.segments_max());
            let (to, segment) = (first.to, first.bytes.len());
            let bytes = if count == 1 {
                &first.bytes
            } else {
                self.run.clear();
                for datagram in self.queue.range(..count) {
                    self.run.extend_from_slice(&datagram.bytes);
                }
                &self.run
            };
            match socket.try_send(to, bytes, segment) {
                Ok(()) => counters.udp_sent += count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.retry_at = Some(now.monotonic + RETRY_AFTER);
                    return;
                }
                Err(_) if count > socket.segments_max() => continue,
                Err(error) => {
                    tracing::debug!(%error, "cannot send");
                    counters.udp_send_dropped += count as u64;
                }
            }
            self.queue.drain(..count);
        }
    }
}

/// How many datagrams at the front can go out as one: the same way, of the same size, but for the
/// last, which may be shorter.
fn run_length(queue: &VecDeque<Datagram>, segments_max: usize) -> usize {
    let first = &queue[0];
    let (size, mut bytes, mut count) = (first.bytes.len(), first.bytes.len(), 1);
    for next in queue.range(1..).take(segments_max.saturating_sub(1)) {
        let next_size = next.bytes.len();
        let fits = next_size <= size && next_size > 0 && bytes + next_size <= RUN_BYTES_MAX;
        if next.sock != first.sock || next.to != first.to || !fits {
            break;
        }
        bytes += next_size;
        count += 1;
        if next_size < size {
            break;
        }
    }
    count
}
