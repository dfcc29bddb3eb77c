//! What media tells the gateway, and what plugins ask of it.

use std::fmt;
use std::time::Duration;

use crate::base::id::{HandleId, PeerId, SessionId};
use crate::base::slab::SlabKey;
use crate::media::recording::RecordingId;
use crate::media::statistics::PeerStatistics;
use crate::media::talk::Talking;
use crate::wire::sdp::{Candidate, RidOrder, SessionDescription, Trickle};

/// Whose PeerConnection it is. Media only carries it along, for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerOwner {
    /// The session.
    pub session: SessionId,
    /// The handle in it.
    pub handle: HandleId,
}

/// A route of the switch, from one line to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u64);

impl SlabKey for RouteId {
    fn from_parts(slot: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    fn slot(self) -> u32 {
        (self.0 & u64::from(u32::MAX)) as u32
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// A media section of a peer, by its position in the session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineRef {
    /// The peer.
    pub peer: PeerId,
    /// The position of the section, from 0.
    pub line: usize,
}

/// A data channel of a peer: the SCTP stream it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelNumber(pub u16);

/// What a line carries, as events name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrackKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl TrackKind {
    /// The name that the API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// Whether something is on. For switches that would otherwise be bare `bool`s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// Packets do not pass.
    No,
    /// Packets pass.
    Yes,
}

/// The form of a data channel message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataForm {
    /// Bytes.
    Binary,
    /// Text, by its sender's word; it may be invalid UTF-8.
    Text,
}

/// How to take an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferOptions {
    /// Whether our candidates go into the answer.
    pub trickle: Trickle,
    /// In which order the client lists its rids.
    pub rid_order: RidOrder,
}

impl Default for OfferOptions {
    fn default() -> Self {
        Self {
            trickle: Trickle::Half,
            rid_order: RidOrder::default(),
        }
    }
}

/// An offer that was taken.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The peer; that of the renegotiation, or a new one.
    pub peer: PeerId,
    /// The answer.
    pub answer: SessionDescription,
    /// Our candidates, for those who send them apart.
    pub candidates: Vec<Candidate>,
}

/// An offer that was made.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The peer; that of the renegotiation, or a new one.
    pub peer: PeerId,
    /// The offer.
    pub offer: SessionDescription,
}

/// Whether an offer of ours asks for new ICE credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceRestart {
    /// Addresses stay as they are.
    No,
    /// All is found out anew.
    Yes,
}

/// How an offer of ours is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferManner {
    /// Whether it asks for new ICE credentials.
    pub restart: IceRestart,
    /// Whether candidates follow.
    pub trickle: Trickle,
    /// Whether a new peer estimates what it can receive, for its whole life: what goes out is then
    /// paced, and probes look for more. Layers follow an estimate only where there is one.
    pub estimates: Enabled,
}

/// The layers that a route should deliver; what is not there is replaced by what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerTarget {
    /// The encoding of a simulcast source, or the highest spatial layer if all are in one stream; 0
    /// is the lowest.
    pub substream: u8,
    /// The highest temporal layer, 0 is the lowest.
    pub temporal: u8,
    /// How long the wanted encoding may be silent before a lower one takes its place.
    pub fallback: Duration,
}

impl Default for LayerTarget {
    fn default() -> Self {
        Self {
            substream: 2,
            temporal: 2,
            fallback: Duration::from_micros(250_000),
        }
    }
}

/// What the qualities of a source are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerForm {
    /// Streams of their own (simulcast).
    Encodings,
    /// Spatial layers of one stream (SVC).
    Spatial,
}

/// How long a receiver is to wait before it plays, in steps of 10 ms; both are below 4,096.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// At least.
    pub min: u16,
    /// At most.
    pub max: u16,
}

/// What happened to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A message arrived on a data channel.
    Data {
        /// The channel.
        channel: ChannelNumber,
        /// The label of the channel.
        label: String,
        /// The subprotocol of the channel; empty for none.
        protocol: String,
        /// Text or bytes.
        form: DataForm,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A data channel was closed, by either side.
    DataClose {
        /// The channel.
        channel: ChannelNumber,
        /// The label of the channel.
        label: String,
    },
    /// A data channel is open: messages can be sent.
    DataOpen {
        /// The channel.
        channel: ChannelNumber,
        /// The label of the channel.
        label: String,
        /// The subprotocol of the channel; empty for none.
        protocol: String,
    },
    /// The PeerConnection is gone; nothing of it follows.
    Hangup {
        /// Why, in the words that clients of Janus know.
        reason: &'static str,
    },
    /// An established connection was lost. A hangup follows unless it recovers.
    IceFailed,
    /// What a route into this peer delivers changed.
    Layers {
        /// The route.
        route: RouteId,
        /// The line of this peer that the route feeds.
        line: usize,
        /// What the next number is.
        form: LayerForm,
        /// The encoding or spatial layer that is delivered, if it is what changed.
        substream: Option<u8>,
        /// The highest temporal layer that is delivered, if it is what changed.
        temporal: Option<u8>,
    },
    /// Media of the peer began or ceased to arrive.
    Media {
        /// The mid of the line.
        mid: String,
        /// What the line carries.
        kind: TrackKind,
        /// Whether it arrives.
        receiving: bool,
        /// The encoding, if the line is a simulcast one.
        substream: Option<u8>,
        /// How long nothing has arrived, if it does not.
        seconds: Option<u64>,
    },
    /// A recording of the peer ended, because its file could not be written.
    RecordingFailed {
        /// The recording.
        id: RecordingId,
        /// The line.
        line: usize,
    },
    /// The estimate that the peer made of what it can receive, in bit/s.
    Remb {
        /// The estimate.
        bitrate: u64,
    },
    /// Packets were lost within the last second.
    SlowLink {
        /// The mid of the line.
        mid: String,
        /// What the line carries.
        kind: TrackKind,
        /// Whether the peer lost them; if not, we did.
        uplink: bool,
        /// How many.
        lost: u32,
    },
    /// The last statistics of a connection that was up; its end follows.
    Statistics(Box<PeerStatistics>),
    /// Somebody began or ceased to talk, see [`Media::listen`](crate::media::Media::listen).
    Talking {
        /// The line.
        line: usize,
        /// Which of the two, and how loud.
        talking: Talking,
    },
    /// ICE and DTLS are up, for the first time.
    Up,
}

/// Why something could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaError {
    /// The channel is not open.
    ChannelClosed,
    /// A limit of the gateway.
    Limit(&'static str),
    /// No such peer.
    NoPeer,
    /// The offer cannot be used; the text says why.
    Offer(String),
}

impl fmt::Display for MediaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChannelClosed => f.write_str("Data channel is not open"),
            Self::Limit(what) => write!(f, "Too many {what}"),
            Self::NoPeer => f.write_str("No PeerConnection"),
            Self::Offer(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for MediaError {}
