//! Handles: one attachment to one plugin, with at most one PeerConnection.

use crate::base::clock::Monotonic;
use crate::base::id::PeerId;

/// One handle.
#[derive(Debug)]
pub struct Handle {
    /// The plugin, an index into the gateway's list.
    pub plugin: usize,
    /// What the client calls it.
    pub opaque_id: Option<Box<str>>,
    /// Its PeerConnection.
    pub peer: Option<PeerId>,
    /// Whether it was sent an offer, so that answers make sense.
    pub has_offered: bool,
    /// Candidates that came before the PeerConnection, with the time of each.
    pub early: Vec<(Monotonic, Trickled)>,
}

/// What a client trickles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trickled {
    /// A candidate line, as it came.
    Candidate(Box<str>),
    /// There are no more.
    Completed,
}
