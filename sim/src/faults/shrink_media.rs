//! Makes the media of a failing scenario smaller: fewer acts, fewer peers, plainer ones.

use crate::faults::media::{ActKind, MediaPlan, PeerPlan, PeerRole};
use crate::faults::scenario::{FaultKind, Scenario};
use crate::faults::shrink::Search;
use crate::kernel::time::SimTime;
use crate::kernel::udp::UdpProfile;

impl Search<'_> {
    pub(super) fn shrink_media(&mut self) {
        if self.best.media.peers.is_empty() {
            return;
        }
        if self.try_with(|it| it.media = MediaPlan::NONE) {
            return;
        }
        self.drop_acts();
        for index in (0..self.best.media.peers.len()).rev() {
            self.try_with(|it| remove_peer(it, index as u32));
        }
        self.try_with(|it| it.media.link = UdpProfile::CLEAN);
        self.try_with(|it| it.media.link.loss_permille = 0);
        self.try_with(|it| it.media.link.duplicate_permille = 0);
        self.try_with(|it| it.media.link.bandwidth = None);
        self.try_with(|it| it.media.link.latency = UdpProfile::CLEAN.latency);
        for index in 0..self.best.media.peers.len() {
            self.simplify_peer(index);
        }
        for index in 0..self.best.media.acts.len() {
            self.try_with(|it| {
                let at = &mut it.media.acts[index].at;
                *at = SimTime::from_secs(at.as_nanos() / 1_000_000_000);
            });
        }
    }

    fn drop_acts(&mut self) {
        let mut size = self.best.media.acts.len();
        while size > 0 {
            let mut at = 0;
            while at < self.best.media.acts.len() {
                let end = (at + size).min(self.best.media.acts.len());
                let is_gone = self.try_with(|it| {
                    it.media.acts.drain(at..end);
                });
                if !is_gone {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn simplify_peer(&mut self, index: usize) {
        let plain = |it: &PeerPlan| PeerPlan {
            role: it.role,
            room: it.room,
            feeds: it.feeds,
            ..PeerPlan::PLAIN
        };
        if self.try_with(|it| it.media.peers[index] = plain(&it.media.peers[index])) {
            return;
        }
        let resets: [&dyn Fn(&mut PeerPlan); 11] = [
            &|it| it.start = PeerPlan::PLAIN.start,
            &|it| it.until = PeerPlan::PLAIN.until,
            &|it| it.exit = PeerPlan::PLAIN.exit,
            &|it| it.audio = false,
            &|it| it.video = PeerPlan::PLAIN.video,
            &|it| it.data = false,
            &|it| it.sequence = PeerPlan::PLAIN.sequence,
            &|it| it.timestamp = PeerPlan::PLAIN.timestamp,
            &|it| it.frame = PeerPlan::PLAIN.frame,
            &|it| it.size = PeerPlan::PLAIN.size,
            &|it| it.room = 1,
        ];
        for reset in resets {
            self.try_with(|it| reset(&mut it.media.peers[index]));
        }
    }
}

/// Takes a peer out; those after it have another number from here on.
fn remove_peer(scenario: &mut Scenario, gone: u32) {
    let media = &mut scenario.media;
    media.peers.remove(gone as usize);
    for peer in &mut media.peers {
        let below = peer.feeds & ((1 << gone) - 1);
        let above = peer.feeds.checked_shr(gone + 1).unwrap_or(0);
        peer.feeds = below | above.checked_shl(gone).unwrap_or(0);
    }
    // A subscriber of nobody has nothing to say.
    let renumber = |peer: &mut u32| {
        let is_kept = *peer != gone;
        *peer -= u32::from(*peer > gone);
        is_kept
    };
    media.acts.retain_mut(|act| {
        let mut is_aimed = true;
        if let ActKind::Kick(whom) = &mut act.what {
            is_aimed = renumber(whom);
        }
        renumber(&mut act.peer) && is_aimed
    });
    scenario.faults.retain_mut(|fault| {
        let FaultKind::UdpBlock { peer, .. } = &mut fault.what else {
            return true;
        };
        renumber(peer)
    });
    let is_lonely = |peer: &PeerPlan| peer.role == PeerRole::Subscriber && peer.feeds == 0;
    let lonely = scenario.media.peers.iter().position(is_lonely);
    if let Some(lonely) = lonely {
        remove_peer(scenario, lonely as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::media::Act;

    #[test]
    fn those_after_a_peer_that_goes_are_renumbered() {
        let mut scenario = Scenario::plain();
        let subscriber = |feeds| PeerPlan {
            role: PeerRole::Subscriber,
            feeds,
            ..PeerPlan::PLAIN
        };
        let publisher = PeerPlan {
            role: PeerRole::Publisher,
            ..PeerPlan::PLAIN
        };
        scenario.media.peers = vec![
            publisher,
            publisher,
            subscriber(0b11),
            subscriber(0b01),
            publisher,
        ];
        let kick = |peer, whom| Act {
            at: SimTime::START,
            peer,
            what: ActKind::Kick(whom),
        };
        scenario.media.acts = vec![kick(1, 0), kick(4, 1), kick(3, 4)];
        remove_peer(&mut scenario, 0);
        assert_eq!(
            scenario.media.peers,
            [publisher, subscriber(0b01), publisher],
            "the last subscriber had nobody left"
        );
        assert_eq!(scenario.media.acts, [kick(2, 0)]);
    }
}
