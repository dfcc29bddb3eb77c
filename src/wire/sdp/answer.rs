//! Answers: what a plugin decides about an offer, and the description that comes of it.

use super::{Bandwidth, Candidate, Direction, Fingerprint, IceParameters, Msid, Setup};

/// What to answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerPlan {
    /// The session name; the offer's own if absent.
    pub name: Option<String>,
    /// One decision for each media section of the offer, in order.
    pub lines: Vec<LinePlan>,
}

/// What to answer to one media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinePlan {
    /// Data channels are accepted.
    Application {
        /// The local port of the SCTP association.
        sctp_port: u16,
        /// The largest message taken, in bytes; not written if absent.
        max_message_size: Option<u64>,
    },
    /// Media is accepted.
    Media(Box<MediaPlan>),
    /// The section is refused.
    Rejected,
}

/// How to accept an audio or video section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPlan {
    /// The payload type of the codec, one of the offer's. That of its retransmissions follows by
    /// itself if it was offered.
    pub pt: u8,
    /// The payload type of redundant audio to accept, one of the offer's; it is preferred to `pt`.
    pub red: Option<u8>,
    /// The format parameters of the codec.
    pub fmtp: Option<String>,
    /// The RTCP feedback messages, as written.
    pub feedback: Vec<String>,
    /// The direction, seen from us.
    pub direction: Direction,
    /// The header extensions to accept, by identifier of the offer.
    pub extensions: Vec<u8>,
    /// Bandwidth limits to ask for.
    pub bandwidth: Vec<Bandwidth>,
    /// The stream and track of what we send.
    pub msid: Option<Msid>,
    /// The source of what we send. Also announced when we only receive: our reports come from it.
    pub ssrc: Option<u32>,
    /// The source of our retransmissions; announced only if we send and they are negotiated.
    pub rtx_ssrc: Option<u32>,
    /// Whether to receive all encodings that are offered.
    pub simulcast: SimulcastPlan,
}

/// What to answer to offered encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimulcastPlan {
    /// Take them all, up to the limit.
    Accept,
    /// Say nothing of them.
    Ignore,
}

/// Our end of the transport, which all accepted sections share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTransport {
    /// The address to write into `o=` and `c=`.
    pub address: String,
    /// Our ICE credentials.
    pub ice: IceParameters,
    /// Whether our ICE agent is a lite one.
    pub ice_lite: bool,
    /// The fingerprint of our DTLS certificate.
    pub fingerprint: Fingerprint,
    /// Our DTLS role: [`Setup::answer`] of the offered one, or the one already taken.
    pub setup: Setup,
    /// Our candidates.
    pub candidates: Vec<Candidate>,
    /// Whether the candidates are part of the description.
    pub trickle: Trickle,
}

/// Where our candidates go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trickle {
    /// They are sent apart; the description has none.
    Full,
    /// They are all in the description, which says that they are complete.
    Half,
}
