//! Invariant 41: no media leaves the gateway, and nobody is told that a call is up, before its
//! handshake is over.

use std::collections::BTreeSet;

use crate::kernel::time::SimTime;
use crate::oracle::ledger::Ledger;
use crate::oracle::media::fact::{MediaFact, Wire};
use crate::oracle::{About, Oracle};

/// Nothing before the keys are there.
#[derive(Debug, Default)]
pub(super) struct NoMediaBeforeDtls {
    /// Calls whose last flight has passed the gateway's socket, by peer and port.
    secured: BTreeSet<(u32, u16)>,
    peers: BTreeSet<u32>,
}

static ABOUT: About = About {
    number: 41,
    id: "no-media-before-dtls",
    rule: "neither media nor `webrtcup` comes before the handshake is over",
    kills: &["webrtcup-before-dtls"],
};

impl Oracle for NoMediaBeforeDtls {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn media(&mut self, _: &Ledger, _: SimTime, fact: &MediaFact) -> Result<(), String> {
        match fact {
            MediaFact::Wire { peer, port, what } => match what {
                Wire::Finished => {
                    self.secured.insert((*peer, *port % PORTS));
                    self.peers.insert(*peer);
                }
                Wire::Media | Wire::Rtcp if self.secured.contains(&(*peer, *port % PORTS)) => {}
                Wire::Media | Wire::Rtcp => {
                    return Err(format!(
                        "media for port {port} of peer {peer}, which has no keys"
                    ));
                }
            },
            MediaFact::ToldUp { peer } if !self.peers.contains(peer) => {
                return Err(format!(
                    "peer {peer} is told that its call is up, without keys"
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A router that moves a client adds multiples of this to its ports.
const PORTS: u16 = 1_000;
