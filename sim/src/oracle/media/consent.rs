//! Invariant 46: a peer that falls silent is given up within the time that consent lasts, on the
//! gateway's monotonic clock; one that answers is not given up, whatever the wall clock shows.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kernel::time::SimTime;
use crate::oracle::ledger::Ledger;
use crate::oracle::media::fact::MediaFact;
use crate::oracle::{About, Oracle};

/// Silence ends a call, and nothing else does.
#[derive(Debug, Default)]
pub(super) struct IceConsent {
    /// Peers that are silent while their call is up, until they are told of its end.
    silent: BTreeMap<u32, SimTime>,
}

/// Loss of consent is noticed after about 30 s without an answer (RFC 7675 section 5.1), and a
/// few seconds of grace follow.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A call that was in order for so long is given up for no reason.
const ORDER_MIN: Duration = Duration::from_secs(8);

static ABOUT: About = About {
    number: 46,
    id: "ice-consent",
    rule: "silent peers are given up in time, by the monotonic clock, and others are not",
    kills: &["consent-never-lost", "consent-on-wall-clock"],
};

impl Oracle for IceConsent {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn media(&mut self, ledger: &Ledger, at: SimTime, fact: &MediaFact) -> Result<(), String> {
        let media = &ledger.media;
        match fact {
            MediaFact::HungUp { peer, reason } => {
                self.silent.remove(peer);
                let state = media.state(*peer);
                let failures = ["DTLS error", "DTLS timeout", "ICE failed", "internal"];
                let is_failure = failures.contains(&reason.as_str());
                let since = state.up.unwrap_or(at).max(state.changed);
                let is_well = state.up.is_some()
                    && state.silent.is_none()
                    && media.is_lossless()
                    && media.calm(&[*peer], since, at) > ORDER_MIN;
                if is_failure && is_well {
                    return Err(format!(
                        "peer {peer} was in order and lost its call: {reason}"
                    ));
                }
            }
            MediaFact::Ended { peer } => {
                let since = self.silent.remove(peer);
                if let Some(since) = since
                    && media.calm(&[], since, at) > SILENCE_MAX
                {
                    return Err(format!(
                        "peer {peer} was silent since {since} s and not given up when it went"
                    ));
                }
            }
            _ => {}
        }
        for (peer, state) in media.peers() {
            if let (Some(silent), Some(_)) = (state.silent, state.up) {
                let is_alive = !matches!(media.plan(peer).exit, crate::faults::media::Exit::Vanish);
                if is_alive {
                    self.silent.entry(peer).or_insert(silent);
                }
            }
        }
        Ok(())
    }

    fn finished(&mut self, ledger: &Ledger) -> Result<(), String> {
        for (peer, since) in &self.silent {
            let until = ledger.media.plan(*peer).until + SILENCE_MAX;
            if ledger.media.calm(&[], *since, until) > SILENCE_MAX {
                return Err(format!(
                    "peer {peer} is silent since {since} s and was never given up"
                ));
            }
        }
        Ok(())
    }
}
