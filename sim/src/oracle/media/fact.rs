//! What peers and links tell the oracles of media.

use crate::kernel::time::SimTime;
use crate::models::peer::frames::Tag;

/// Something that happened to a peer, at its place.
#[derive(Clone, Debug)]
pub enum MediaFact {
    /// Its call has ended, by either side.
    Ended {
        /// Which peer.
        peer: u32,
    },
    /// A packet reached it.
    Got {
        /// Which peer.
        peer: u32,
        /// The source that the gateway gave it.
        ssrc: u32,
        /// The sequence number, extended.
        sequence: u64,
        /// The timestamp.
        timestamp: u32,
        /// What its sender said.
        tag: Tag,
    },
    /// The gateway told it that its call is over.
    HungUp {
        /// Which peer.
        peer: u32,
        /// Why.
        reason: String,
    },
    /// It is asked for a key frame.
    KeyframeWanted {
        /// Which peer.
        peer: u32,
        /// Of which encoding.
        encoding: u8,
    },
    /// The gateway says how many of its packets are missing.
    Missed {
        /// Which peer.
        peer: u32,
        /// How many, since the beginning.
        count: u64,
    },
    /// Somebody was thrown out, and the room says so.
    Out {
        /// Who.
        peer: u32,
    },
    /// Packets of media went from one shard to another.
    Relayed {
        /// The shard of the publishers.
        from: u8,
        /// The shard of the subscribers.
        to: u8,
    },
    /// The gateway tells it how much it may send.
    Remb {
        /// Which peer.
        peer: u32,
        /// In bit/s.
        bitrate: u64,
    },
    /// What a sender report says.
    Report {
        /// Which peer got it.
        peer: u32,
        /// The source that it is about.
        ssrc: u32,
        /// Wall time, in nanoseconds since some moment.
        ntp: u64,
        /// The timestamp at that time.
        timestamp: u32,
    },
    /// It sent a packet.
    Sent(Tag),
    /// It does, or no longer does, something.
    Step {
        /// Which peer.
        peer: u32,
        /// What.
        step: Step,
    },
    /// Its call is up, as it sees it.
    Up {
        /// Which peer.
        peer: u32,
        /// Which shard has it.
        shard: u8,
    },
    /// The gateway tells it that its call is up.
    ToldUp {
        /// Which peer.
        peer: u32,
    },
    /// A datagram of the gateway is on its way to it.
    Wire {
        /// Which peer.
        peer: u32,
        /// Which of its calls, by its port.
        port: u16,
        /// What it is.
        what: Wire,
    },
}

/// What a datagram is, by its first byte (RFC 7983), seen at the gateway's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The last flight of a handshake, in either direction.
    Finished,
    /// RTP that leaves the gateway.
    Media,
    /// RTCP that leaves the gateway.
    Rtcp,
}

/// What a peer does from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing that concerns others changes its course: it renegotiates, or changes its address.
    Changes,
    /// It comes.
    Joins,
    /// It goes, and says so.
    Leaves,
    /// A subscriber wants these layers.
    Layers {
        /// The encoding.
        substream: u8,
        /// The temporal layer.
        temporal: u8,
    },
    /// It sends pictures, or does not.
    Pictures(bool),
    /// It sends, or does not.
    Sends(bool),
    /// It sends no datagrams any more, and does not say so.
    Silent,
    /// A subscriber is given streams of these peers: a bit for each.
    Watches(u32),
}

/// A fact and its time.
#[derive(Clone, Debug)]
pub struct Moment<'a> {
    /// True time.
    pub at: SimTime,
    /// What happened.
    pub fact: &'a MediaFact,
}
