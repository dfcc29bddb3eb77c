//! Invariant 42: packets reach those who watch their sender in its room, and nobody else.

use std::time::Duration;

use crate::faults::media::PeerRole;
use crate::kernel::time::SimTime;
use crate::oracle::ledger::Ledger;
use crate::oracle::media::fact::MediaFact;
use crate::oracle::{About, Oracle};

/// Nothing leaks out of a room.
#[derive(Debug)]
pub(super) struct NoCrossRoomLeak;

/// What was on its way when somebody left arrives within this.
const AFTERMATH: Duration = Duration::from_millis(2_000);

static ABOUT: About = About {
    number: 42,
    id: "no-cross-room-leak",
    rule: "a packet reaches only those who watch its sender, in its room, while it is there",
    kills: &["room-leak", "kick-leaves-track"],
};

impl Oracle for NoCrossRoomLeak {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn media(&mut self, ledger: &Ledger, at: SimTime, fact: &MediaFact) -> Result<(), String> {
        let MediaFact::Got { peer, tag, .. } = fact else {
            return Ok(());
        };
        let media = &ledger.media;
        let (plan, sender) = (media.plan(*peer), media.plan(tag.peer));
        let may = match plan.role {
            PeerRole::Echo => *peer == tag.peer,
            PeerRole::Publisher => false,
            PeerRole::Subscriber => plan.wants(tag.peer) && plan.room == sender.room,
        };
        if !may {
            return Err(format!(
                "peer {peer} got a packet of peer {}, whom it never asked for",
                tag.peer
            ));
        }
        if let Some(out) = media.state(tag.peer).out
            && tag.sent > out
            && media.calm(&[*peer, tag.peer], out, at) > AFTERMATH
        {
            return Err(format!(
                "peer {peer} got a packet of peer {}, who was thrown out at {out} s",
                tag.peer
            ));
        }
        Ok(())
    }
}
