//! Handles: one attachment to one plugin, with at most one PeerConnection.

use crate::base::clock::Monotonic;
use crate::base::id::PeerId;
use crate::gateway::plugin::JsepKind;

/// One handle.
#[derive(Debug)]
pub struct Handle {
    /// The plugin, an index into the gateway's list.
    pub plugin: usize,
    /// What the client calls it.
    pub opaque_id: Option<Box<str>>,
    /// A name for the token that it was attached with, which does not give it away.
    pub token: Option<Box<str>>,
    /// When it was attached.
    pub created: Monotonic,
    /// Its PeerConnection.
    pub peer: Option<PeerId>,
    /// The descriptions of its PeerConnection, for queries.
    pub sdps: Sdps,
    /// Whether it was sent an offer, so that answers make sense.
    pub has_offered: bool,
    /// Candidates that came before the PeerConnection, with the time of each.
    pub early: Vec<(Monotonic, Trickled)>,
}

/// What both sides of a PeerConnection last said.
#[derive(Debug, Default)]
pub struct Sdps {
    /// Ours.
    pub local: Option<Description>,
    /// The client's.
    pub remote: Option<Description>,
    /// The client said that more candidates may follow.
    pub is_trickling: bool,
    /// Media is encrypted end to end.
    pub e2ee: bool,
    /// A PeerConnection was here and ended.
    pub has_ended: bool,
}

impl Sdps {
    /// What is left of them after a hangup.
    pub fn ended() -> Self {
        Self {
            has_ended: true,
            ..Self::default()
        }
    }
}

/// A session description that was sent or received.
#[derive(Debug)]
pub struct Description {
    /// Offer or answer.
    pub kind: JsepKind,
    /// Its text.
    pub sdp: Box<str>,
}

/// What a client trickles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trickled {
    /// A candidate line, as it came.
    Candidate(Box<str>),
    /// There are no more.
    Completed,
}
