//! The part of a scenario that is about media: who calls, what they do when, and over which links.

use std::time::Duration;

use crate::kernel::time::SimTime;
use crate::kernel::udp::UdpProfile;

/// Everything about media that a run depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPlan {
    /// How the links of all peers treat datagrams.
    pub link: UdpProfile,
    /// Who calls.
    pub peers: Vec<PeerPlan>,
    /// What they do, besides calling.
    pub acts: Vec<Act>,
}

impl MediaPlan {
    /// Nobody calls.
    pub const NONE: Self = Self {
        link: UdpProfile::CLEAN,
        peers: Vec::new(),
        acts: Vec::new(),
    };

    /// Whether no datagram is ever lost on a link by chance.
    pub const fn is_lossless(&self) -> bool {
        self.link.loss_permille == 0 && self.link.bandwidth.is_none()
    }
}

/// One peer: a session with one handle and one PeerConnection at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerPlan {
    /// What it calls for.
    pub role: PeerRole,
    /// Its room; rooms are numbered from 1.
    pub room: u32,
    /// When it begins.
    pub start: SimTime,
    /// When it goes away.
    pub until: SimTime,
    /// How it goes.
    pub exit: Exit,
    /// Whether it sends sound.
    pub audio: bool,
    /// Which pictures it sends.
    pub video: Video,
    /// Whether it has a data channel.
    pub data: bool,
    /// Whom a subscriber wants: a bit for each peer.
    pub feeds: u32,
    /// The first sequence number of each of its streams.
    pub sequence: u16,
    /// The first timestamp of each of its streams.
    pub timestamp: u32,
    /// The time between two pictures.
    pub frame: Duration,
    /// Bytes of a packet.
    pub size: usize,
}

impl PeerPlan {
    /// A peer in which nothing is special.
    pub const PLAIN: Self = Self {
        role: PeerRole::Echo,
        room: 1,
        start: SimTime::START,
        until: SimTime::from_secs(30),
        exit: Exit::Destroy,
        audio: true,
        video: Video::Plain,
        data: false,
        feeds: 0,
        sequence: 1_000,
        timestamp: 100_000,
        frame: Duration::from_millis(40),
        size: 80,
    };

    /// Whether a subscriber wants the streams of a peer.
    pub const fn wants(&self, peer: u32) -> bool {
        peer < u32::BITS && self.feeds >> peer & 1 == 1
    }
}

/// What a peer calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerRole {
    /// Its own echo.
    Echo,
    /// To be seen and heard in a room.
    Publisher,
    /// To see and hear others of a room.
    Subscriber,
}

impl PeerRole {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Echo, Self::Publisher, Self::Subscriber];

    /// Its name in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
        }
    }
}

/// Which pictures a peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Video {
    /// None.
    None,
    /// One encoding.
    Plain,
    /// Three encodings with three temporal layers each.
    Simulcast,
}

impl Video {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Plain, Self::Simulcast];

    /// Its name in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Plain => "plain",
            Self::Simulcast => "simulcast",
        }
    }

    /// How many encodings there are.
    pub const fn encodings(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Plain => 1,
            Self::Simulcast => 3,
        }
    }
}

/// How a peer goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// It destroys its session.
    Destroy,
    /// It detaches its handle.
    Detach,
    /// It is not heard of again.
    Vanish,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Destroy, Self::Detach, Self::Vanish];

    /// Its name in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Detach => "detach",
            Self::Vanish => "vanish",
        }
    }
}

/// Something that a peer does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Act {
    /// When.
    pub at: SimTime,
    /// Which peer.
    pub peer: u32,
    /// What.
    pub what: ActKind,
}

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActKind {
    /// Ends its room for everybody.
    Destroy,
    /// Hangs up, and keeps its handle.
    HangUp,
    /// Restarts ICE: an offer of its own, or a request for one.
    IceRestart,
    /// Throws a peer out of its room.
    Kick(u32),
    /// A subscriber wants these layers of all its streams.
    Layers {
        /// The highest encoding.
        substream: u8,
        /// The highest temporal layer.
        temporal: u8,
    },
    /// A publisher stops its pictures at the gateway, by `configure`.
    Mute,
    /// A subscriber wants nothing for a while.
    Pause,
    /// Publishes again.
    Publish,
    /// Its router gives it another address.
    Rebind,
    /// Offers anew, with sound only or with all it has, in turns.
    Renegotiate,
    /// A subscriber wants to go on.
    Resume,
    /// Sends a message over its data channel.
    Say,
    /// Stops sending datagrams, and does not say so.
    Silence,
    /// A publisher lets its pictures pass again.
    Unmute,
    /// Stops publishing.
    Unpublish,
}

impl ActKind {
    /// Those without arguments.
    pub const PLAIN: [Self; 13] = [
        Self::Destroy,
        Self::HangUp,
        Self::IceRestart,
        Self::Mute,
        Self::Pause,
        Self::Publish,
        Self::Rebind,
        Self::Renegotiate,
        Self::Resume,
        Self::Say,
        Self::Silence,
        Self::Unmute,
        Self::Unpublish,
    ];

    /// Its name in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Destroy => "destroy-room",
            Self::HangUp => "hang-up",
            Self::IceRestart => "ice-restart",
            Self::Kick(_) => "kick",
            Self::Layers { .. } => "layers",
            Self::Mute => "mute",
            Self::Pause => "pause",
            Self::Publish => "publish",
            Self::Rebind => "rebind",
            Self::Renegotiate => "renegotiate",
            Self::Resume => "resume",
            Self::Say => "say",
            Self::Silence => "silence",
            Self::Unmute => "unmute",
            Self::Unpublish => "unpublish",
        }
    }
}
