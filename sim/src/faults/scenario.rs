//! A scenario: everything that a run depends on, as plain data.
//!
//! A seed only generates one. What is checked in, shrunk and replayed is the scenario, because a
//! seed means something else when the generator changes.

use std::time::Duration;

use crate::faults::media::MediaPlan;
use crate::kernel::clock::ClockOrigins;
use crate::kernel::tcp::{TcpProfile, Way};
use crate::kernel::time::SimTime;

/// Everything that a run depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Of all draws that the scenario does not spell out, such as the size of each segment.
    pub seed: u64,
    /// The gateway's clocks.
    pub clocks: ClockPlan,
    /// The gateway.
    pub gateway: GatewayPlan,
    /// How the network treats connections.
    pub network: TcpProfile,
    /// Events of one instant come in an order that the seed picks.
    pub shuffle: bool,
    /// Who talks to the gateway.
    pub clients: Vec<ClientPlan>,
    /// Who calls, and over which links.
    pub media: MediaPlan,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// From here on nothing goes wrong, and progress is demanded.
    pub heal: SimTime,
    /// How it ends.
    pub finale: Finale,
}

/// How a scenario ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finale {
    /// The operator lets the gateway drain; clients leave later.
    Drain,
    /// All clients leave.
    Leave,
    /// The operator stops the gateway; clients leave later.
    Stop,
}

impl Finale {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Drain, Self::Leave, Self::Stop];

    /// Its name in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Leave => "leave",
            Self::Stop => "stop",
        }
    }
}

impl Scenario {
    /// Whether anything happens to the wall clock.
    pub fn has_wall_faults(&self) -> bool {
        self.faults
            .iter()
            .any(|fault| fault.what.is_of_wall_clock())
    }

    /// The same scenario, in which what happens to the wall clock moves it by nothing. The faults
    /// stay where they are, so that nothing else is drawn differently.
    #[must_use]
    pub fn without_wall_faults(&self) -> Self {
        let mut calm = self.clone();
        for fault in &mut calm.faults {
            match &mut fault.what {
                FaultKind::ClockSlew { ppm, .. } => *ppm = 0,
                FaultKind::ClockStrobe { by, .. } => *by = Duration::ZERO,
                FaultKind::ClockWallStep { seconds } => *seconds = 0,
                FaultKind::ClockDrift { .. }
                | FaultKind::ClockSuspend { .. }
                | FaultKind::Descriptors { .. }
                | FaultKind::MeshDelay { .. }
                | FaultKind::Refuse { .. }
                | FaultKind::ShardFreeze { .. }
                | FaultKind::TcpHold { .. }
                | FaultKind::TcpReset { .. }
                | FaultKind::UdpBlock { .. } => {}
            }
        }
        calm
    }
}

/// The clocks of the gateway's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockPlan {
    /// Where they begin.
    pub origins: ClockOrigins,
    /// Each shard has its own origins, as if each ran on a host of its own: an instant that
    /// crosses shards then means something else.
    pub are_apart: bool,
    /// They can be read in multiples of this only; zero is exact.
    pub granularity: Duration,
}

/// The gateway and what surrounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayPlan {
    /// How many shards it has.
    pub shards: u8,
    /// When an idle session ends.
    pub session_timeout: Duration,
    /// How long the sessions of a lost socket wait to be claimed.
    pub reclaim: Duration,
    /// The longest time from an input to the turn that takes it in.
    pub turn_max: Duration,
    /// How late a timer may fire.
    pub slack_max: Duration,
    /// The longest time that a mesh message takes.
    pub mesh_max: Duration,
    /// A read returns one byte to this many.
    pub read_max: usize,
    /// A write takes at most this many.
    pub write_max: usize,
    /// The bound of a connection's output buffer.
    pub out_bytes: usize,
    /// Connections that a shard accepts before it runs out of descriptors.
    pub descriptors: usize,
}

/// One client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPlan {
    /// How it behaves.
    pub role: Role,
    /// What is between it and the gateway.
    pub via: Via,
    /// When it begins.
    pub start: SimTime,
    /// How many messages it sends.
    pub messages: u32,
    /// The time between two of them.
    pub gap: Duration,
    /// `maxev` of its polls.
    pub maxev: u32,
    /// The time between two polls.
    pub think: Duration,
    /// How many handles it attaches.
    pub handles: u32,
}

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Breaks every rule of HTTP and of the API.
    Abuser,
    /// As janus.js does: one poll at a time, four failures in a row are the end.
    Browser,
    /// A browser that sends FIN after each request for a message and closes when it is answered.
    HalfCloser,
    /// A browser that sends its messages without waiting for answers.
    Pipeliner,
    /// A browser that keeps several polls open.
    ManyPolls,
    /// A dashboard that asks the Admin API for all sessions.
    Operator,
    /// Lets bytes pile up before it reads.
    SlowReader,
    /// Sends its requests byte by byte.
    SlowSender,
    /// A service with a WebSocket that rarely reads.
    SlowSocket,
    /// A service with a WebSocket.
    Socket,
    /// Listens to an event stream and resumes it.
    Stream,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Abuser,
        Self::Browser,
        Self::HalfCloser,
        Self::Pipeliner,
        Self::ManyPolls,
        Self::Operator,
        Self::SlowReader,
        Self::SlowSender,
        Self::SlowSocket,
        Self::Socket,
        Self::Stream,
    ];

    /// Its name in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Abuser => "abuser",
            Self::Browser => "browser",
            Self::HalfCloser => "half-closer",
            Self::Pipeliner => "pipeliner",
            Self::ManyPolls => "many-polls",
            Self::Operator => "operator",
            Self::SlowReader => "slow-reader",
            Self::SlowSender => "slow-sender",
            Self::SlowSocket => "slow-socket",
            Self::Socket => "socket",
            Self::Stream => "stream",
        }
    }
}

/// What is between a client and the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// Nothing.
    Direct,
    /// A proxy as nginx is by default: HTTP/1.0 upstream, buffering.
    Nginx10,
    /// A proxy with HTTP/1.1 and kept connections upstream, buffering.
    Nginx11,
    /// A proxy with HTTP/1.1 and kept connections upstream that passes bytes on at once.
    Nginx11Unbuffered,
}

impl Via {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Direct,
        Self::Nginx10,
        Self::Nginx11,
        Self::Nginx11Unbuffered,
    ];

    /// Its name in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx10 => "nginx10",
            Self::Nginx11 => "nginx11",
            Self::Nginx11Unbuffered => "nginx11-unbuffered",
        }
    }
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub when: Trigger,
    /// What.
    pub what: FaultKind,
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// At a moment.
    At(SimTime),
    /// When the n-th event reached a client, counted from 1.
    OnEvent {
        /// Index of the client.
        client: u32,
        /// Which event.
        nth: u32,
    },
    /// When a shard has taken in the n-th poll of a client, counted from 1.
    OnPoll {
        /// Index of the client.
        client: u32,
        /// Which poll.
        nth: u32,
    },
    /// When the kernel has taken a part, but not all, of an answer to the n-th poll of a client.
    OnPartialAnswer {
        /// Index of the client.
        client: u32,
        /// Which poll.
        nth: u32,
    },
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// All clocks of the gateway run at another rate.
    ClockDrift {
        /// Millionths too fast.
        ppm: i64,
    },
    /// The wall clock runs at another rate for a while.
    ClockSlew {
        /// Millionths too fast.
        ppm: i64,
        /// How long.
        span: Duration,
    },
    /// The wall clock jumps to and fro.
    ClockStrobe {
        /// How far.
        by: Duration,
        /// How often.
        times: u32,
        /// The time between two jumps.
        every: Duration,
    },
    /// The gateway's host is suspended: nothing runs, its monotonic clock stands.
    ClockSuspend {
        /// How long.
        span: Duration,
    },
    /// The wall clock jumps.
    ClockWallStep {
        /// Seconds, either way.
        seconds: i64,
    },
    /// A shard runs out of descriptors.
    Descriptors {
        /// Which shard.
        shard: u8,
        /// How many it may have.
        count: usize,
        /// How long.
        span: Duration,
    },
    /// Messages between shards take this much longer.
    MeshDelay {
        /// How much.
        by: Duration,
        /// How long.
        span: Duration,
    },
    /// The gateway refuses connections.
    Refuse {
        /// How long.
        span: Duration,
    },
    /// A shard stands still; its clocks run on.
    ShardFreeze {
        /// Which shard.
        shard: u8,
        /// How long.
        span: Duration,
    },
    /// Bytes of a client are held up.
    TcpHold {
        /// Index of the client.
        client: u32,
        /// Which way.
        way: Way,
        /// How long.
        span: Duration,
    },
    /// A connection of a client breaks.
    TcpReset {
        /// Index of the client.
        client: u32,
        /// Which of its connections.
        which: Link,
    },
    /// Datagrams of a peer are lost.
    UdpBlock {
        /// Index of the peer.
        peer: u32,
        /// Which way, as it sees it.
        way: Way,
        /// How long.
        span: Duration,
    },
}

impl FaultKind {
    const fn is_of_wall_clock(self) -> bool {
        matches!(
            self,
            Self::ClockSlew { .. } | Self::ClockStrobe { .. } | Self::ClockWallStep { .. }
        )
    }
}

/// One of a client's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// For requests.
    Control,
    /// For polls or the event stream.
    Poll,
    /// From its proxy to the gateway, for polls.
    Upstream,
}
