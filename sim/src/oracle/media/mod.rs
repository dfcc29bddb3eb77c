//! What must hold for media, whatever goes wrong: judged by what peers send and get, and by the
//! datagrams at the gateway's sockets.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an oracle is told of more facts than it judges"
)]

mod consent;
mod continuity;
mod early;
pub mod fact;
mod forward;
mod interest;
mod keyframe;
pub mod ledger;
mod pacing;
mod room;
mod rtcp;

use crate::oracle::Oracle;

/// All oracles of media, in the order of their numbers.
pub fn all() -> Vec<Box<dyn Oracle>> {
    vec![
        Box::new(forward::ForwardComplete::default()),
        Box::new(continuity::Continuity::default()),
        Box::new(early::NoMediaBeforeDtls::default()),
        Box::new(room::NoCrossRoomLeak),
        Box::new(keyframe::KeyframeOnJoin::default()),
        Box::new(rtcp::RtcpSane::default()),
        Box::new(pacing::PacerBounded::default()),
        Box::new(consent::IceConsent::default()),
        Box::new(interest::InterestEnds::default()),
    ]
}
