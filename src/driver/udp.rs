//! Datagrams: received in batches, sent in runs of one destination.

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
use crate::media::{Datagram, Datagrams, SocketAct};
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
    /// Datagrams of earlier turns that the kernel has yet to take, oldest first, behind so many
    /// that it has taken.
    queue: Datagrams,
    taken_count: usize,
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
            queue: Datagrams::default(),
            taken_count: 0,
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
        let new = &mut out.datagrams;
        if self.queue.is_empty() {
            // Most often all of them go at once, from where they are.
            let taken_count = self.hand_over(now, new, 0, counters);
            self.enqueue(new, taken_count, counters);
        } else {
            self.enqueue(new, 0, counters);
            let queue = std::mem::take(&mut self.queue);
            self.taken_count = self.hand_over(now, &queue, self.taken_count, counters);
            self.queue = queue;
            if self.taken_count == self.queue.len() {
                self.queue.clear();
                self.taken_count = 0;
            }
        }
        new.clear();
    }

    /// Has datagrams wait, from the `first` on.
    fn enqueue(&mut self, new: &Datagrams, first: usize, counters: &mut Counters) {
        // Seldom enough that each is moved once.
        if self.taken_count > self.queue.len() / 2 {
            self.queue.remove_first(self.taken_count);
            self.taken_count = 0;
        }
        for datagram in new.iter_from(first) {
            if self.queue.len() - self.taken_count < QUEUE_COUNT_MAX {
                self.queue.push(datagram.sock, datagram.to, datagram.bytes);
            } else {
                counters.udp_send_dropped += 1;
            }
        }
    }

    /// Hands datagrams to the kernel from the `first` on, unless it is too early to try again. Tells
    /// which one is the first that it did not take.
    fn hand_over(
        &mut self,
        now: Now,
        all: &Datagrams,
        mut first: usize,
        counters: &mut Counters,
    ) -> usize {
        if self.retry_at.is_some_and(|at| at > now.monotonic) {
            return first;
        }
        self.retry_at = None;
        while let Some(Datagram { sock, to, bytes }) = all.get(first) {
            let index = usize::from(sock.0);
            let Some(socket) = self.sockets.get_mut(index).and_then(Option::as_mut) else {
                counters.udp_send_dropped += 1;
                first += 1;
                continue;
            };
            let count = run_length(all, first, socket.segments_max());
            let run = all.bytes_of(first..first + count);
            match socket.try_send(to, run, bytes.len()) {
                Ok(()) => counters.udp_sent += count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.retry_at = Some(now.monotonic + RETRY_AFTER);
                    return first;
                }
                Err(_) if count > socket.segments_max() => continue,
                Err(error) => {
                    tracing::debug!(%error, "cannot send");
                    counters.udp_send_dropped += count as u64;
                }
            }
            first += count;
        }
        first
    }
}

/// How many datagrams from the `first` on can go out as one: the same way, of the same size, but for
/// the last, which may be shorter.
fn run_length(all: &Datagrams, first: usize, segments_max: usize) -> usize {
    let mut run = all.iter_from(first).take(segments_max.max(1));
    let Some(head) = run.next() else {
        return 0;
    };
    let (size, mut bytes, mut count) = (head.bytes.len(), head.bytes.len(), 1);
    for next in run {
        let next_size = next.bytes.len();
        let fits = next_size <= size && next_size > 0 && bytes + next_size <= RUN_BYTES_MAX;
        if next.sock != head.sock || next.to != head.to || !fits {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENTS_MAX: usize = 64;

    /// How the driver cuts datagrams, given by socket, port and size, into runs.
    fn runs(sent: &[(u16, u16, usize)]) -> Vec<usize> {
        let mut all = Datagrams::default();
        for &(sock, port, size) in sent {
            all.push(SockId(sock), ([192, 0, 2, 1], port).into(), &vec![7; size]);
        }
        let (mut first, mut runs) = (0, Vec::new());
        while first < all.len() {
            let count = run_length(&all, first, SEGMENTS_MAX);
            runs.push(count);
            first += count;
        }
        runs
    }

    #[test]
    fn a_run_goes_one_way() {
        let same = (0, 1, 100);
        assert_eq!(
            runs(&[same, same, (0, 2, 100), same, same, same]),
            [2, 1, 3]
        );
        assert_eq!(runs(&[same, same, (1, 1, 100), (1, 1, 100)]), [2, 2]);
    }

    #[test]
    fn a_run_has_one_size_and_a_shorter_end() {
        let of = |sizes: &[usize]| {
            let sent: Vec<_> = sizes.iter().map(|size| (0, 1, *size)).collect();
            runs(&sent)
        };
        assert_eq!(of(&[100, 100, 40, 40, 100]), [3, 1, 1]);
        assert_eq!(of(&[100, 101, 101]), [1, 2]);
        assert_eq!(of(&[100, 0, 100]), [1, 1, 1]);
    }

    #[test]
    fn a_run_is_bounded_in_datagrams_and_in_bytes() {
        assert_eq!(runs(&[(0, 1, 100); 130]), [64, 64, 2]);
        let most = RUN_BYTES_MAX / 1_200;
        assert_eq!(runs(&[(0, 1, 1_200); 60]), [most, 60 - most]);
        // One that is longer goes alone.
        assert_eq!(runs(&[(0, 1, RUN_BYTES_MAX + 1); 2]), [1, 1]);
    }
}
