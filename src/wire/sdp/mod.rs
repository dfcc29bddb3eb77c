//! Session descriptions (RFC 8866 with the WebRTC attributes): reading, writing, answering.
//!
//! Everything here is a pure function of its arguments. What to accept is decided by plugins; this
//! module supplies the vocabulary and keeps the text well formed.
//!
//! Invariant: text from a peer yields a [`SessionDescription`] or an [`SdpError`], never a panic.
//! Invariant: what was read can be written and read again with the same result.

mod answer;
mod candidate;
mod description;
mod error;
pub mod extension;
mod media;
mod negotiate;
mod offer;
mod parse;
mod section;
mod simulcast;
mod write;

pub use answer::{
    AnswerPlan, LinePlan, LocalTransport, MediaPlan, SimulcastPlan, Trickle, build_answer,
};
pub use candidate::{Candidate, CandidateAddress, CandidateKind, CandidateProtocol, TcpKind};
pub use description::{
    Attribute, Bandwidth, Fingerprint, IceParameters, Origin, SessionDescription, Setup,
};
pub use error::SdpError;
pub use media::{
    Codec, Direction, Extension, MediaDescription, MediaKind, Msid, Rid, RidDirection, Ssrc,
    SsrcGroup,
};
pub use negotiate::{
    accepted_extensions, answer_feedback, answer_fmtp, codec_by_preference, first_codec,
    is_ice_restart,
};
pub use offer::{
    OfferLine, OfferMedia, OfferPlan, RED_PT, all_offered, build_offer, offered_codec, offered_rtx,
};
pub use section::SDP_SSRCS_MAX;
pub use simulcast::{
    LayerSource, RidOrder, SIMULCAST_LAYERS_MAX, Simulcast, SimulcastLayer, SimulcastRid,
    simulcast_layers,
};

#[cfg(test)]
mod tests;
