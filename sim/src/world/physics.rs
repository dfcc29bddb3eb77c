//! What every host of the world shares: time, the network, the record, and who watches.

use std::net::SocketAddr;
use std::time::Duration;

use bifrons::base::id::ConnId;

use crate::kernel::datagrams::{Arrival, Datagrams, client_at};
use crate::kernel::key::Key;
use crate::kernel::pipe::Read;
use crate::kernel::queue::Queue;
use crate::kernel::tcp::{HostId, Socket, Tcp, TcpEvent, TcpProfile, Write};
use crate::kernel::time::SimTime;
use crate::kernel::trace::{Lane, Trace};
use crate::kernel::udp::UdpProfile;
use crate::models::peer::dtls::Record;
use crate::oracle::media::fact::{MediaFact, Wire};
use crate::oracle::watch::Watch;

/// The gateway's host.
pub const GATEWAY: HostId = HostId(0);

/// The host of the proxy in front of client `client`.
pub const fn proxy_host(client: u32) -> HostId {
    HostId(1_000 + client)
}

/// The host of peer `peer`.
pub const fn peer_host(peer: u32) -> HostId {
    HostId(500 + peer)
}

/// The host of client `client`.
pub const fn client_host(client: u32) -> HostId {
    HostId(1 + client)
}

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The deadline that a shard named has come, if it still is the one with this number.
    Deadline {
        /// Which shard.
        shard: u8,
        /// The number of its arming.
        number: u64,
    },
    /// A peer does what its scenario says.
    Act(usize),
    /// A datagram has arrived.
    Datagram(Arrival),
    /// A fault strikes.
    Fault(usize),
    /// A fault ends.
    FaultEnd(usize),
    /// A message of the mesh has arrived.
    Mesh {
        /// Where.
        shard: u8,
    },
    /// The scenario enters its next phase.
    Phase(Phase),
    /// Something in the network.
    Tcp(TcpEvent),
    /// A model wanted to be woken.
    Timer {
        /// Which host.
        host: HostId,
        /// What it said about it.
        token: u64,
    },
    /// A shard takes in what has gathered.
    Turn {
        /// Which shard.
        shard: u8,
    },
    /// The completion of a write reaches a shard's driver.
    Wrote {
        /// Which shard.
        shard: u8,
        /// Which connection.
        conn: ConnId,
        /// How many bytes.
        count: usize,
    },
}

impl From<Arrival> for Event {
    fn from(arrival: Arrival) -> Self {
        Self::Datagram(arrival)
    }
}

impl From<TcpEvent> for Event {
    fn from(event: TcpEvent) -> Self {
        Self::Tcp(event)
    }
}

/// The phases of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// All faults are over.
    Heal,
    /// A fresh client comes.
    Probe,
    /// The fresh client must have been served by now.
    Judge,
    /// All clients leave, or the operator wants the gateway to stop.
    Leave,
    /// Clients that are still there leave.
    Away,
    /// Everything that waits for time has had its time.
    End,
}

/// What every host of the world shares.
#[derive(Debug)]
pub struct Physics {
    /// What happens next.
    pub queue: Queue<Event>,
    /// The network.
    pub tcp: Tcp,
    /// The network of datagrams.
    pub datagrams: Datagrams,
    /// The record.
    pub trace: Trace,
    /// Who watches.
    pub watch: Watch,
    /// What reached the clients' applications, and when: the part of the record that must not
    /// depend on what nobody may look at.
    pub transcript: Trace,
    /// The root of all draws.
    pub key: Key,
}

impl Physics {
    /// An empty world.
    pub fn new(seed: u64, network: TcpProfile, shuffle: bool, trace: Trace, watch: Watch) -> Self {
        let key = Key::of_seed(seed);
        Self {
            queue: Queue::new(shuffle.then(|| key.named("order"))),
            tcp: Tcp::new(network, key.named("tcp")),
            datagrams: Datagrams::new(UdpProfile::CLEAN, key.named("udp")),
            trace,
            watch,
            transcript: Trace::hashing(),
            key,
        }
    }

    /// True time.
    pub const fn now(&self) -> SimTime {
        self.queue.now()
    }

    /// Wakes a model after `after`.
    pub fn wake(&mut self, host: HostId, after: Duration, token: u64) {
        let at = self.now() + after;
        self.queue.push(at, Event::Timer { host, token });
    }

    /// Begins to connect.
    pub fn connect(&mut self, from: HostId, to: HostId) -> Socket {
        let socket = self.tcp.connect(&mut self.queue, from, to);
        self.trace.event(
            self.queue.now(),
            "connect",
            u64::from(socket.0),
            u64::from(to.0),
        );
        socket
    }

    /// Offers bytes to the kernel.
    pub fn write(&mut self, socket: Socket, bytes: &[u8]) -> Write {
        let outcome = self.tcp.write(&mut self.queue, socket, bytes);
        if let Write::Taken(count) = outcome {
            let at = self.queue.now();
            self.trace
                .bytes(at, "write", u64::from(socket.0), &bytes[..count]);
        }
        outcome
    }

    /// Reads up to `most` bytes, appending them to `into`.
    pub fn read(&mut self, socket: Socket, most: usize, into: &mut Vec<u8>) -> Read {
        self.tcp.read(&mut self.queue, socket, most, into)
    }

    /// Says that nothing more will be written.
    pub fn shutdown(&mut self, socket: Socket) {
        self.note_socket("shutdown", socket);
        self.tcp.shutdown(&mut self.queue, socket);
    }

    /// Lets go of a socket.
    pub fn close(&mut self, socket: Socket) {
        self.note_socket("close", socket);
        self.tcp.close(&mut self.queue, socket);
    }

    /// Lets go of a socket with a reset.
    pub fn abort(&mut self, socket: Socket) {
        self.note_socket("abort", socket);
        self.tcp.abort(&mut self.queue, socket);
    }

    /// Sends a datagram of a peer.
    pub fn send_datagram(&mut self, peer: u32, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let at = self.now();
        self.trace.bytes(at, "datagram in", u64::from(peer), bytes);
        self.line(Lane::Wire, || {
            format!("⇒ peer {peer}: {}", described(bytes))
        });
        self.datagrams
            .send_in(&mut self.queue, peer, from, to, bytes);
    }

    /// Sends a datagram of the gateway.
    pub fn answer_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let at = self.now();
        let place = u64::from(to.port());
        self.trace.bytes(at, "datagram out", place, &bytes);
        self.line(Lane::Wire, || format!("⇐ {to}: {}", described(&bytes)));
        if let Some(peer) = client_at(to)
            && let Some(what) = wire_of(&bytes, false)
        {
            let port = to.port();
            self.media(&MediaFact::Wire { peer, port, what });
        }
        self.datagrams.send_out(&mut self.queue, from, to, bytes);
    }

    /// A datagram of a peer enters the gateway.
    pub fn note_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        if let Some(peer) = client_at(from)
            && let Some(what) = wire_of(bytes, true)
        {
            let port = from.port();
            self.media(&MediaFact::Wire { peer, port, what });
        }
    }

    /// Tells the oracles of media something.
    pub fn media(&mut self, fact: &MediaFact) {
        let at = self.queue.now();
        self.watch.media(at, fact);
    }

    /// Adds a line to the record, if lines are kept.
    pub fn line(&mut self, lane: Lane, text: impl FnOnce() -> String) {
        let at = self.queue.now();
        self.trace.line(at, lane, text);
    }

    fn note_socket(&mut self, kind: &'static str, socket: Socket) {
        self.trace
            .event(self.queue.now(), kind, u64::from(socket.0), 0);
    }
}

/// What a datagram at the gateway's socket is, as far as oracles care.
fn wire_of(bytes: &[u8], is_incoming: bool) -> Option<Wire> {
    if Record::of(bytes) == Some(Record::Finished) {
        return Some(Wire::Finished);
    }
    let is_media = bytes.first().is_some_and(|byte| (128..192).contains(byte));
    if !is_media || is_incoming {
        return None;
    }
    // RFC 5761 section 4.
    let is_rtcp = bytes.get(1).is_some_and(|byte| (192..224).contains(byte));
    Some(if is_rtcp { Wire::Rtcp } else { Wire::Media })
}

/// A datagram as a line of a record shows it.
fn described(bytes: &[u8]) -> String {
    let what = match (bytes.first(), bytes.get(1)) {
        (Some(0..=3), _) => "STUN",
        (Some(20..=63), _) => "DTLS",
        (Some(128..=191), Some(192..=223)) => "RTCP",
        (Some(128..=191), _) => "RTP",
        _ => "something",
    };
    format!("{what}, {} bytes", bytes.len())
}
