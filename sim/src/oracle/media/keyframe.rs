//! Invariant 43: who begins to watch, goes on watching or wants other layers sees a key frame
//! within a bound, because it is asked for until it is seen.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::faults::media::{PeerRole, Video};
use crate::kernel::time::SimTime;
use crate::models::peer::frames::Kind;
use crate::oracle::ledger::Ledger;
use crate::oracle::media::fact::MediaFact;
use crate::oracle::media::ledger::MediaLedger;
use crate::oracle::{About, Oracle};

/// A key frame comes to those who need one.
#[derive(Debug, Default)]
pub(super) struct KeyframeOnJoin {
    /// When each last got a key frame of whom.
    seen: BTreeMap<(u32, u32), SimTime>,
    /// Of which encoding the newest packet is that each got of whom. Key frames of several encodings
    /// may overtake each other on their way.
    gets: BTreeMap<(u32, u32), u8>,
}

/// The gateway lets packets pass before it says so, and the word takes its time.
const HEADSTART: Duration = Duration::from_secs(1);
/// Over links that lose nothing.
const LOSSLESS_MAX: Duration = Duration::from_millis(2_500);
/// Over links that lose some: each attempt may fail, and each is half a second.
const LOSSY_MAX: Duration = Duration::from_secs(10);

static ABOUT: About = About {
    number: 43,
    id: "keyframe-on-join",
    rule: "who begins to watch, or wants another layer, sees a key frame within a bound",
    kills: &[
        "keyframe-asked-once",
        "layer-switch-forgotten",
        "resume-asks-no-keyframe",
    ],
};

impl Oracle for KeyframeOnJoin {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn media(&mut self, ledger: &Ledger, at: SimTime, fact: &MediaFact) -> Result<(), String> {
        match fact {
            MediaFact::Got { peer, tag, .. } if tag.kind == Kind::Video => {
                if tag.is_key {
                    self.seen.insert((*peer, tag.peer), at);
                }
                self.gets.insert((*peer, tag.peer), tag.encoding);
            }
            MediaFact::Sent(tag) if tag.kind == Kind::Video => {
                for (peer, _) in ledger.media.peers() {
                    self.check(&ledger.media, at, peer, tag.peer)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl KeyframeOnJoin {
    fn check(&self, media: &MediaLedger, at: SimTime, peer: u32, from: u32) -> Result<(), String> {
        let (state, sender) = (media.state(peer), media.state(from));
        let watches = match media.plan(peer).role {
            PeerRole::Echo if peer == from => sender.sends,
            PeerRole::Echo | PeerRole::Publisher => None,
            PeerRole::Subscriber if state.blind.contains(&from) => None,
            PeerRole::Subscriber => state.watches.get(&from).copied(),
        };
        let (Some(watches), Some(pictures), Some(up)) = (watches, sender.pictures, state.up) else {
            return Ok(());
        };
        if sender.out.is_some() {
            return Ok(());
        }
        let begin = watches.max(pictures).max(up);
        let bound = if media.is_lossless() {
            LOSSLESS_MAX
        } else {
            LOSSY_MAX
        };
        // A peer that renegotiates or moves may be out of reach for a moment.
        let calm_since = |since: SimTime| {
            let since = since.max(state.changed).max(sender.changed);
            media.calm(&[peer, from], since, at)
        };
        let is_lost = |encoding| media.is_out_of_step(from, Kind::Video, encoding);
        if (0..media.plan(from).video.encodings()).all(is_lost) {
            return Ok(());
        }
        let seen = self.seen.get(&(peer, from));
        let is_seen = seen.is_some_and(|seen| *seen + HEADSTART >= begin);
        if !is_seen && calm_since(begin) > bound {
            return Err(format!(
                "peer {peer} has seen no key frame of peer {from} since {begin} s"
            ));
        }
        if media.plan(from).video == Video::Simulcast
            && let Some((wanted, _, since)) = state.layers
            && let Some(encoding) = self.gets.get(&(peer, from))
            && *encoding != wanted
            && !is_lost(wanted)
            // A stream that came later came with all its layers.
            && begin < since
            && calm_since(since.max(begin)) > bound
        {
            return Err(format!(
                "peer {peer} wants encoding {wanted} of peer {from} since {since} s and gets {encoding}"
            ));
        }
        Ok(())
    }
}
