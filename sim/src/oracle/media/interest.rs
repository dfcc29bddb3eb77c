//! Invariant 52: packets go to another shard only while somebody there may watch.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::faults::media::PeerRole;
use crate::kernel::time::SimTime;
use crate::oracle::ledger::Ledger;
use crate::oracle::media::fact::MediaFact;
use crate::oracle::{About, Oracle};

/// Nothing is relayed for nobody.
#[derive(Debug, Default)]
pub(super) struct InterestEnds {
    /// Since when nobody on a shard has a call.
    empty: BTreeMap<u8, SimTime>,
}

/// A goodbye may be lost: then the call ends by its silence, and so does the interest.
const IDLE_MAX: Duration = Duration::from_secs(3);

static ABOUT: About = About {
    number: 52,
    id: "interest-ends",
    rule: "no packets are relayed to a shard on which nobody watches any more",
    kills: &["interest-never-ends"],
};

impl Oracle for InterestEnds {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn media(&mut self, ledger: &Ledger, at: SimTime, fact: &MediaFact) -> Result<(), String> {
        let media = &ledger.media;
        match fact {
            MediaFact::Ended { .. } | MediaFact::Up { .. } | MediaFact::Step { .. } => {
                for shard in 0..ledger.plan.shards {
                    let has_watcher = media.peers().any(|(peer, state)| {
                        // One that does not say goodbye watches as far as anybody knows, and one
                        // that is about to begin may do so anywhere.
                        let may_be_here = state.up.is_none() || state.shard == shard;
                        state.is_here
                            && may_be_here
                            && media.plan(peer).role == PeerRole::Subscriber
                    });
                    if has_watcher {
                        self.empty.remove(&shard);
                    } else {
                        self.empty.entry(shard).or_insert(at);
                    }
                }
                Ok(())
            }
            MediaFact::Relayed { from, to } => match self.empty.get(to) {
                Some(since)
                    if media.is_lossless() && media.calm(&all(ledger), *since, at) > IDLE_MAX =>
                {
                    Err(format!(
                        "shard {from} relays packets to shard {to}, where nobody watches since {since} s"
                    ))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

fn all(ledger: &Ledger) -> Vec<u32> {
    ledger.media.peers().map(|(peer, _)| peer).collect()
}
