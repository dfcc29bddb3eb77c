//! Invariant 45: the gateway never floods: key frames are asked for at a bounded pace, and no peer
//! is sent much more than others send.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::kernel::time::SimTime;
use crate::oracle::ledger::Ledger;
use crate::oracle::media::fact::{MediaFact, Wire};
use crate::oracle::{About, Oracle};

/// Nobody is flooded.
#[derive(Debug, Default)]
pub(super) struct PacerBounded {
    asked: BTreeMap<(u32, u8), VecDeque<SimTime>>,
    sent: VecDeque<SimTime>,
    out: BTreeMap<u32, VecDeque<SimTime>>,
}

/// An encoding is asked twice a second; a path may bunch requests that were apart.
const ASKED_MAX: usize = 6;
const ASKED_WINDOW: Duration = Duration::from_millis(2_000);
const WINDOW: Duration = Duration::from_secs(1);
/// Reports, and whatever a window cuts off: datagrams that need no packet of a sender.
const EXTRA: usize = 60;

static ABOUT: About = About {
    number: 45,
    id: "pacer-bounded",
    rule: "key frames are asked for at a bounded pace, and nobody is sent more than there is",
    kills: &["keyframe-asked-always"],
};

impl Oracle for PacerBounded {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn media(&mut self, ledger: &Ledger, at: SimTime, fact: &MediaFact) -> Result<(), String> {
        let media = &ledger.media;
        match fact {
            MediaFact::KeyframeWanted { peer, encoding } => {
                let asked = self.asked.entry((*peer, *encoding)).or_default();
                asked.push_back(at);
                let is_old = |then: &SimTime| *then + ASKED_WINDOW < at;
                while asked.front().is_some_and(is_old) {
                    asked.pop_front();
                }
                let is_calm = media.calm(&[*peer], asked[0], at) == at.saturating_since(asked[0]);
                if asked.len() > ASKED_MAX && is_calm {
                    return Err(format!(
                        "peer {peer} was asked for {} key frames of encoding {encoding} in {} ms",
                        asked.len(),
                        ASKED_WINDOW.as_millis(),
                    ));
                }
            }
            MediaFact::Sent(_) => {
                self.sent.push_back(at);
                while self
                    .sent
                    .front()
                    .is_some_and(|then| *then + 4 * WINDOW < at)
                {
                    self.sent.pop_front();
                }
            }
            MediaFact::Wire {
                peer,
                what: Wire::Media,
                ..
            } => {
                let out = self.out.entry(*peer).or_default();
                out.push_back(at);
                while out.front().is_some_and(|then| *then + WINDOW < at) {
                    out.pop_front();
                }
                // What was sent in some seconds may come at once after a fault; twice that, with
                // all retransmissions, is too much whatever happened.
                if out.len() > EXTRA + 2 * self.sent.len() {
                    return Err(format!(
                        "peer {peer} was sent {} datagrams in a second; all senders sent {} packets",
                        out.len(),
                        self.sent.len(),
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
