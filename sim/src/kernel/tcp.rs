//! TCP between hosts, to the byte: segments of any size, windows, half-close, resets, refusals.
//!
//! Invariant: whoever closes with unread input, or is sent bytes after closing, resets the
//! connection, as kernels do: that is how a response is lost although it was written.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kernel::key::Key;
use crate::kernel::pipe::{Pipe, Read, Segment};
use crate::kernel::queue::Queue;
use crate::kernel::time::SimTime;

/// A machine of the simulated world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

/// One end of a connection. Even numbers connect, odd numbers accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Socket(pub u32);

impl Socket {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        Self(self.0 ^ 1)
    }

    const fn conn(self) -> usize {
        (self.0 >> 1) as usize
    }

    const fn side(self) -> usize {
        (self.0 & 1) as usize
    }

    const fn new(conn: usize, side: usize) -> Self {
        Self((conn as u32) << 1 | side as u32)
    }
}

/// How the network treats connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpProfile {
    /// The least and the most that a segment takes.
    pub latency: (Duration, Duration),
    /// A segment has one byte to this many.
    pub segment_max: usize,
    /// Bytes in flight and unread, each way.
    pub window: usize,
    /// Input that arrived before a reset can still be read, as on Linux.
    pub keeps_received: bool,
}

impl TcpProfile {
    /// A fast network that splits nothing.
    pub const CLEAN: Self = Self {
        latency: (Duration::from_micros(50), Duration::from_micros(50)),
        segment_max: 64 << 10,
        window: 64 << 10,
        keeps_received: true,
    };
}

/// What the network does next. Meant for the event queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpEvent {
    /// Bytes or the end of them reach a socket.
    Arrive(Socket),
    /// A socket's owner is to be told.
    Notify(Socket, Notice),
    /// A reset reaches a socket.
    Reset(Socket),
    /// A connection attempt reaches the accepting socket.
    Syn(Socket),
}

/// What a socket's owner is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The connection stands.
    Connected,
    /// Somebody connects: this socket is new.
    Incoming,
    /// There is something to read, or the end of it.
    Readable,
    /// Nobody listens.
    Refused,
    /// The connection failed.
    Reset,
    /// There is room again.
    Writable,
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The window is full; [`Notice::Writable`] follows.
    Blocked,
    /// The connection failed.
    Broken,
    /// So many bytes were taken, at least one.
    Taken(usize),
}

/// Which way bytes are held up, seen from a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// What others send to it.
    In,
    /// What it sends.
    Out,
}

/// All connections of the world.
#[derive(Debug)]
pub struct Tcp {
    profile: TcpProfile,
    key: Key,
    conns: Vec<Conn>,
    held: BTreeMap<(HostId, Way), SimTime>,
    refusing: BTreeMap<HostId, SimTime>,
}

#[derive(Debug)]
struct Conn {
    hosts: [HostId; 2],
    /// What side 0 sends, then what side 1 sends.
    pipes: [Pipe; 2],
    ends: [End; 2],
    draws: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its owner may use it.
    Open,
    /// Its owner let go of it.
    Closed,
    /// The network did.
    Reset,
}

impl Tcp {
    /// A network without connections.
    pub const fn new(profile: TcpProfile, key: Key) -> Self {
        Self {
            profile,
            key,
            conns: Vec::new(),
            held: BTreeMap::new(),
            refusing: BTreeMap::new(),
        }
    }

    /// Begins to connect. [`Notice::Connected`] or [`Notice::Refused`] follows.
    pub fn connect<E: From<TcpEvent>>(
        &mut self,
        queue: &mut Queue<E>,
        from: HostId,
        to: HostId,
    ) -> Socket {
        let index = self.conns.len();
        let window = self.profile.window;
        self.conns.push(Conn {
            hosts: [from, to],
            pipes: [Pipe::new(window), Pipe::new(window)],
            ends: [End::Open; 2],
            draws: 0,
        });
        let at = queue.now() + self.latency(index);
        queue.push(at, TcpEvent::Syn(Socket::new(index, 1)).into());
        Socket::new(index, 0)
    }

    /// Offers bytes to the kernel.
    ///
    /// # Panics
    ///
    /// When the owner closed or shut down the socket before.
    pub fn write<E: From<TcpEvent>>(
        &mut self,
        queue: &mut Queue<E>,
        socket: Socket,
        bytes: &[u8],
    ) -> Write {
        let (index, side) = (socket.conn(), socket.side());
        let conn = &mut self.conns[index];
        assert_ne!(
            conn.ends[side],
            End::Closed,
            "a closed socket is not written to"
        );
        if conn.ends[side] == End::Reset {
            return Write::Broken;
        }
        assert!(
            !conn.pipes[side].is_fin_sent(),
            "nothing is written after FIN"
        );
        let count = conn.pipes[side].room().min(bytes.len());
        if count == 0 {
            return Write::Blocked;
        }
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            let number = self.conns[index].pipes[side].next_segment();
            let key = self.key.at(index as u64).at(side as u64).at(number);
            let size = 1 + key.named("size").below(self.profile.segment_max as u64) as usize;
            let (segment, tail) = rest.split_at(size.min(rest.len()));
            let at = self.arrival(queue.now(), socket, key, rest.len() == count);
            self.launch(queue, socket, at, Segment::Data(segment.to_vec()));
            rest = tail;
        }
        Write::Taken(count)
    }

    /// Reads up to `most` bytes, appending them to `into`.
    pub fn read<E: From<TcpEvent>>(
        &mut self,
        queue: &mut Queue<E>,
        socket: Socket,
        most: usize,
        into: &mut Vec<u8>,
    ) -> Read {
        let (index, side) = (socket.conn(), socket.side());
        let conn = &mut self.conns[index];
        let outcome = conn.pipes[1 - side].read(most, into);
        if conn.ends[side] == End::Reset && !matches!(outcome, Read::Bytes(_)) {
            return Read::Reset;
        }
        if conn.pipes[1 - side].take_unblocked() {
            let at = queue.now() + self.latency(index);
            queue.push(at, TcpEvent::Notify(socket.peer(), Notice::Writable).into());
        }
        outcome
    }

    /// Says that nothing more will be written.
    pub fn shutdown<E: From<TcpEvent>>(&mut self, queue: &mut Queue<E>, socket: Socket) {
        let (index, side) = (socket.conn(), socket.side());
        let conn = &self.conns[index];
        if conn.ends[side] == End::Open && !conn.pipes[side].is_fin_sent() {
            let at = queue.now() + self.latency(index);
            self.launch(queue, socket, at, Segment::Fin);
        }
    }

    /// Lets go of a socket: FIN, or a reset if input was not read.
    pub fn close<E: From<TcpEvent>>(&mut self, queue: &mut Queue<E>, socket: Socket) {
        let (index, side) = (socket.conn(), socket.side());
        if self.conns[index].ends[side] == End::Open {
            if self.conns[index].pipes[1 - side].unread() > 0 {
                self.send_reset(queue, socket.peer());
            } else {
                self.shutdown(queue, socket);
            }
        }
        self.conns[index].ends[side] = End::Closed;
    }

    /// Lets go of a socket with a reset.
    pub fn abort<E: From<TcpEvent>>(&mut self, queue: &mut Queue<E>, socket: Socket) {
        let (index, side) = (socket.conn(), socket.side());
        if self.conns[index].ends[side] == End::Open {
            self.send_reset(queue, socket.peer());
        }
        self.conns[index].ends[side] = End::Closed;
    }

    /// Breaks a connection from the middle: both ends are reset at once.
    pub fn cut<E: From<TcpEvent>>(&mut self, queue: &mut Queue<E>, socket: Socket) {
        queue.push(queue.now(), TcpEvent::Reset(socket).into());
        queue.push(queue.now(), TcpEvent::Reset(socket.peer()).into());
    }

    /// Holds up what a host sends or is sent until `until`.
    pub fn hold(&mut self, host: HostId, way: Way, until: SimTime) {
        let held = self.held.entry((host, way)).or_default();
        *held = until.max(*held);
    }

    /// Lets a host refuse connections until `until`.
    pub fn refuse(&mut self, host: HostId, until: SimTime) {
        let refusing = self.refusing.entry(host).or_default();
        *refusing = until.max(*refusing);
    }

    /// Carries out an event. Returns whom to tell what.
    pub fn step<E: From<TcpEvent>>(
        &mut self,
        queue: &mut Queue<E>,
        event: TcpEvent,
    ) -> Option<(HostId, Socket, Notice)> {
        match event {
            TcpEvent::Arrive(socket) => self.arrive(queue, socket),
            TcpEvent::Notify(socket, notice) => self.notify(socket, notice),
            TcpEvent::Reset(socket) => self.reset(queue, socket),
            TcpEvent::Syn(socket) => self.syn(queue, socket),
        }
    }

    /// The host at a socket.
    pub fn host_of(&self, socket: Socket) -> HostId {
        self.conns[socket.conn()].hosts[socket.side()]
    }

    /// Whether neither side let go of a connection, and no reset was seen.
    pub fn is_whole(&self, socket: Socket) -> bool {
        self.conns[socket.conn()].ends == [End::Open; 2]
    }

    /// Whether a read would return something other than [`Read::WouldBlock`].
    pub fn is_readable(&self, socket: Socket) -> bool {
        let conn = &self.conns[socket.conn()];
        conn.pipes[1 - socket.side()].is_readable() || conn.ends[socket.side()] == End::Reset
    }

    fn arrive<E: From<TcpEvent>>(
        &mut self,
        queue: &mut Queue<E>,
        socket: Socket,
    ) -> Option<(HostId, Socket, Notice)> {
        let now = queue.now();
        if let Some(until) = self.held_until(socket, now) {
            queue.push(until, TcpEvent::Arrive(socket).into());
            return None;
        }
        let (index, side) = (socket.conn(), socket.side());
        let conn = &mut self.conns[index];
        if !conn.pipes[1 - side].arrive(now) {
            return None;
        }
        match conn.ends[side] {
            End::Open => Some((conn.hosts[side], socket, Notice::Readable)),
            End::Closed => {
                if conn.pipes[1 - side].unread() > 0 {
                    conn.pipes[1 - side].cut(false);
                    self.send_reset(queue, socket.peer());
                }
                None
            }
            End::Reset => None,
        }
    }

    fn notify(&self, socket: Socket, notice: Notice) -> Option<(HostId, Socket, Notice)> {
        let conn = &self.conns[socket.conn()];
        let is_open = conn.ends[socket.side()] == End::Open;
        is_open.then(|| (conn.hosts[socket.side()], socket, notice))
    }

    fn reset<E: From<TcpEvent>>(
        &mut self,
        queue: &mut Queue<E>,
        socket: Socket,
    ) -> Option<(HostId, Socket, Notice)> {
        if let Some(until) = self.held_until(socket, queue.now()) {
            queue.push(until, TcpEvent::Reset(socket).into());
            return None;
        }
        let keeps_received = self.profile.keeps_received;
        let (index, side) = (socket.conn(), socket.side());
        let conn = &mut self.conns[index];
        conn.pipes[side].cut(true);
        conn.pipes[1 - side].cut(keeps_received);
        if conn.ends[side] != End::Open {
            return None;
        }
        conn.ends[side] = End::Reset;
        Some((conn.hosts[side], socket, Notice::Reset))
    }

    fn syn<E: From<TcpEvent>>(
        &mut self,
        queue: &mut Queue<E>,
        socket: Socket,
    ) -> Option<(HostId, Socket, Notice)> {
        let now = queue.now();
        if let Some(until) = self.held_until(socket, now) {
            queue.push(until, TcpEvent::Syn(socket).into());
            return None;
        }
        let index = socket.conn();
        let host = self.conns[index].hosts[1];
        let is_refused = self.refusing.get(&host).is_some_and(|&until| until > now);
        let reply = if is_refused {
            self.conns[index].ends[1] = End::Closed;
            Notice::Refused
        } else {
            Notice::Connected
        };
        let at = now + self.latency(index);
        queue.push(at, TcpEvent::Notify(socket.peer(), reply).into());
        (!is_refused).then_some((host, socket, Notice::Incoming))
    }

    fn launch<E: From<TcpEvent>>(
        &mut self,
        queue: &mut Queue<E>,
        socket: Socket,
        at: SimTime,
        segment: Segment,
    ) {
        let pipe = &mut self.conns[socket.conn()].pipes[socket.side()];
        let at = pipe.send(at, segment);
        queue.push(at, TcpEvent::Arrive(socket.peer()).into());
    }

    fn send_reset<E: From<TcpEvent>>(&mut self, queue: &mut Queue<E>, to: Socket) {
        let at = queue.now() + self.latency(to.conn());
        queue.push(at, TcpEvent::Reset(to).into());
    }

    fn held_until(&self, receiver: Socket, now: SimTime) -> Option<SimTime> {
        if self.held.is_empty() {
            return None;
        }
        let until = |host, way| self.held.get(&(host, way)).copied();
        until(self.host_of(receiver), Way::In)
            .max(until(self.host_of(receiver.peer()), Way::Out))
            .filter(|&until| until > now)
    }

    /// The first segment of a write takes the network's time; the others follow it closely, or
    /// one in sixteen, after a pause. They must not all arrive at once, or nothing is split.
    fn arrival(&self, now: SimTime, socket: Socket, key: Key, is_first: bool) -> SimTime {
        let (least, most) = self.profile.latency;
        let key = key.named("latency");
        if is_first {
            return now + key.span(least, most);
        }
        let last = self.conns[socket.conn()].pipes[socket.side()].last_arrival();
        let gap_max = if key.named("pause").chance(1, 16) {
            most - least
        } else {
            Duration::from_micros(20)
        };
        last + key.span(Duration::ZERO, gap_max)
    }

    fn latency(&mut self, index: usize) -> Duration {
        let conn = &mut self.conns[index];
        conn.draws += 1;
        let (least, most) = self.profile.latency;
        self.key
            .named("control")
            .at(index as u64)
            .at(conn.draws)
            .span(least, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: HostId = HostId(1);
    const SERVER: HostId = HostId(0);

    struct Net {
        tcp: Tcp,
        queue: Queue<TcpEvent>,
        told: Vec<(Socket, Notice)>,
    }

    impl Net {
        fn new(profile: TcpProfile) -> Self {
            Self {
                tcp: Tcp::new(profile, Key::of_seed(9)),
                queue: Queue::new(None),
                told: Vec::new(),
            }
        }

        fn connected(profile: TcpProfile) -> (Self, Socket, Socket) {
            let mut net = Self::new(profile);
            let client = net.tcp.connect(&mut net.queue, CLIENT, SERVER);
            net.settle();
            assert_eq!(
                std::mem::take(&mut net.told),
                [
                    (client.peer(), Notice::Incoming),
                    (client, Notice::Connected)
                ]
            );
            (net, client, client.peer())
        }

        fn settle(&mut self) {
            while let Some(event) = self.queue.pop() {
                if let Some((_, socket, notice)) = self.tcp.step(&mut self.queue, event) {
                    self.told.push((socket, notice));
                }
            }
        }

        fn write(&mut self, socket: Socket, bytes: &[u8]) -> Write {
            self.tcp.write(&mut self.queue, socket, bytes)
        }

        fn read(&mut self, socket: Socket) -> (Read, Vec<u8>) {
            let mut into = Vec::new();
            let outcome = self.tcp.read(&mut self.queue, socket, 1 << 20, &mut into);
            (outcome, into)
        }
    }

    #[test]
    fn bytes_split_anywhere_arrive_whole_and_in_order() {
        let profile = TcpProfile {
            segment_max: 3,
            latency: (Duration::from_nanos(1), Duration::from_millis(50)),
            ..TcpProfile::CLEAN
        };
        let (mut net, client, server) = Net::connected(profile);
        let text: Vec<u8> = (0..=255).collect();
        assert_eq!(net.write(client, &text), Write::Taken(256));
        net.settle();
        assert!(
            net.told.len() > 80,
            "segments of one to three bytes: {}",
            net.told.len()
        );
        assert_eq!(net.read(server).1, text);
    }

    #[test]
    fn a_full_window_blocks_until_the_reader_reads() {
        let profile = TcpProfile {
            window: 4,
            ..TcpProfile::CLEAN
        };
        let (mut net, client, server) = Net::connected(profile);
        assert_eq!(net.write(client, b"abcdef"), Write::Taken(4));
        assert_eq!(net.write(client, b"ef"), Write::Blocked);
        net.settle();
        assert_eq!(net.read(server).1, b"abcd");
        net.told.clear();
        net.settle();
        assert_eq!(net.told, [(client, Notice::Writable)]);
        assert_eq!(net.write(client, b"ef"), Write::Taken(2));
    }

    #[test]
    fn a_half_closed_connection_still_carries_the_answer() {
        let (mut net, client, server) = Net::connected(TcpProfile::CLEAN);
        net.write(client, b"request");
        net.tcp.shutdown(&mut net.queue, client);
        net.settle();
        assert_eq!(net.read(server), (Read::Bytes(7), b"request".to_vec()));
        assert_eq!(net.read(server).0, Read::Eof);
        net.write(server, b"answer");
        net.settle();
        assert_eq!(net.read(client).1, b"answer");
    }

    #[test]
    fn closing_with_unread_input_destroys_the_answer() {
        let profile = TcpProfile {
            keeps_received: false,
            ..TcpProfile::CLEAN
        };
        let (mut net, client, server) = Net::connected(profile);
        net.write(client, b"more than was read");
        net.settle();
        net.write(server, b"answer");
        net.tcp.close(&mut net.queue, server);
        net.settle();
        assert_eq!(net.told.last(), Some(&(client, Notice::Reset)));
        assert_eq!(net.read(client), (Read::Reset, Vec::new()));
    }

    #[test]
    fn closing_after_reading_all_ends_cleanly() {
        let (mut net, client, server) = Net::connected(TcpProfile::CLEAN);
        net.write(client, b"x");
        net.settle();
        net.read(server);
        net.write(server, b"answer");
        net.tcp.close(&mut net.queue, server);
        net.settle();
        assert_eq!(net.read(client).1, b"answer");
        assert_eq!(net.read(client).0, Read::Eof);
        assert!(net.told.iter().all(|told| told.1 == Notice::Readable));
    }

    #[test]
    fn bytes_for_a_closed_socket_are_answered_with_a_reset() {
        let (mut net, client, server) = Net::connected(TcpProfile::CLEAN);
        net.tcp.close(&mut net.queue, server);
        net.settle();
        assert_eq!(net.read(client).0, Read::Eof);
        net.write(client, b"too late");
        net.settle();
        assert_eq!(net.told.last(), Some(&(client, Notice::Reset)));
        assert_eq!(net.write(client, b"again"), Write::Broken);
    }

    #[test]
    fn a_reset_overtakes_what_is_still_in_flight() {
        let profile = TcpProfile {
            segment_max: 1,
            latency: (Duration::from_millis(1), Duration::from_millis(90)),
            ..TcpProfile::CLEAN
        };
        let (mut net, client, server) = Net::connected(profile);
        net.write(server, &[7; 200]);
        net.tcp.abort(&mut net.queue, server);
        net.settle();
        let arrived = net.read(client).1.len();
        assert!(arrived < 200, "{arrived}");
        assert_eq!(net.read(client).0, Read::Reset);
    }

    #[test]
    fn a_held_host_gets_its_bytes_later() {
        let (mut net, client, server) = Net::connected(TcpProfile::CLEAN);
        net.tcp.hold(SERVER, Way::In, SimTime::from_secs(9));
        net.write(client, b"x");
        net.write(server, b"y");
        net.settle();
        assert_eq!(
            net.told,
            [(client, Notice::Readable), (server, Notice::Readable)]
        );
        assert_eq!(net.queue.now(), SimTime::from_secs(9));
    }

    #[test]
    fn nobody_listens_while_a_host_refuses() {
        let mut net = Net::new(TcpProfile::CLEAN);
        net.tcp.refuse(SERVER, SimTime::from_secs(1));
        let client = net.tcp.connect(&mut net.queue, CLIENT, SERVER);
        net.settle();
        assert_eq!(net.told, [(client, Notice::Refused)]);
    }
}
