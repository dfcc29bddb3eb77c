//! Which layers of a source a route delivers now, and when it may change: encodings of their own
//! (simulcast), or spatial layers of one stream, which [`Layers`] knows about.
//!
//! Invariant: the encoding changes with the first packet of a key frame only. Invariant: the
//! temporal layer changes between frames only, and upwards only where decoding allows it.

use std::cmp::Ordering;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::media::early::Early;
use crate::media::event::{LayerForm, LayerTarget};
use crate::media::layers::{Layer, Layers, Passage, Place, SPATIAL_ALL};
use crate::media::packet::MediaPacket;
use crate::wire::rtp::LayerFacts;
use crate::wire::sdp::SIMULCAST_LAYERS_MAX;

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It belongs to the delivered layers.
    Forward,
    /// It belongs to another encoding: as if it had never been.
    Other,
    /// It belongs to the delivered encoding, but to a layer above.
    Skip,
}

/// What to do with a packet, and how it is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
    /// The receiver gets no more of its picture.
    pub(crate) ends_picture: bool,
}

/// The highest layers that a receiver can take, whatever was asked for. All that is in lower
/// encodings is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LayerLimit {
    /// The encoding, or the spatial layer.
    pub(crate) substream: u8,
    /// The temporal layer of that.
    pub(crate) temporal: u8,
}

/// The layers of one route.
#[derive(Debug)]
pub(crate) struct LayerSelector {
    target: LayerTarget,
    limit: LayerLimit,
    form: LayerForm,
    /// The encoding, or the highest spatial layer.
    current: Option<u8>,
    temporal: Option<u8>,
    seen: [Option<Monotonic>; SIMULCAST_LAYERS_MAX],
    /// When the target was set, or the first packet came: what is not seen yet may still come.
    waiting_since: Option<Monotonic>,
    layers: Layers,
    early: Early,
}

impl LayerLimit {
    /// For those who can take everything.
    pub(crate) const NONE: Self = Self::whole(u8::MAX);

    /// An encoding with all its temporal layers.
    pub(crate) const fn whole(substream: u8) -> Self {
        Self {
            substream,
            temporal: u8::MAX,
        }
    }
}

impl LayerSelector {
    /// Starts without a layer.
    pub(crate) fn new(target: LayerTarget) -> Self {
        Self {
            target,
            limit: LayerLimit::NONE,
            form: LayerForm::Encodings,
            current: None,
            temporal: None,
            seen: [None; SIMULCAST_LAYERS_MAX],
            waiting_since: None,
            layers: Layers::default(),
            early: Early::default(),
        }
    }

    /// Sets what to deliver.
    pub(crate) fn set_target(&mut self, now: Monotonic, target: LayerTarget) {
        self.target = target;
        self.waiting_since = Some(now);
    }

    /// Sets what the receiver can take; tells whether another encoding is to be delivered for it.
    pub(crate) fn set_limit(&mut self, now: Monotonic, limit: LayerLimit) -> bool {
        let highest = self.highest();
        self.limit = limit;
        let has_changed = self.highest() != highest;
        if has_changed {
            self.waiting_since = Some(now);
        }
        has_changed
    }

    /// Decides on a packet.
    pub(crate) fn judge(&mut self, now: Monotonic, packet: &MediaPacket) -> Decision {
        let decision = self.judge_alone(now, packet);
        if decision.verdict == Verdict::Other && self.awaits(now, packet.encoding) {
            self.early.keep(now, packet);
        }
        decision
    }

    /// What overtook a packet that is forwarded, in its order: it is to be judged anew.
    pub(crate) fn overtakers(&mut self, now: Monotonic, packet: &MediaPacket) -> Vec<MediaPacket> {
        if !packet.facts.keyframe {
            // Nothing begins with it.
            return Vec::new();
        }
        self.early.take_after(now, packet.source, packet.sequence)
    }

    /// Packets were held back: what comes next may depend on them.
    pub(crate) fn close(&mut self) {
        self.layers.close();
        self.early.clear();
    }

    fn judge_alone(&mut self, now: Monotonic, packet: &MediaPacket) -> Decision {
        let facts = &packet.facts;
        let plain = |verdict| Decision {
            verdict,
            ends_picture: false,
        };
        let Some(frame) = &facts.layered else {
            return plain(if packet.is_simulcast {
                self.decide(now, packet.encoding, facts)
            } else {
                Verdict::Forward
            });
        };
        let wanted = if packet.is_simulcast {
            let before = self.current;
            if !self.is_delivered(now, packet.encoding, facts) {
                return plain(Verdict::Other);
            }
            if self.current != before {
                self.layers = Layers::default();
            }
            Layer {
                spatial: SPATIAL_ALL,
                temporal: self.highest_temporal(packet.encoding),
            }
        } else {
            let (spatial, current) = (self.highest(), self.current);
            Layer {
                spatial,
                temporal: self.highest_temporal(current.map_or(spatial, |at| at.min(spatial))),
            }
        };
        let place = Place {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
        };
        let passage = self.layers.decide(now, wanted, place, facts, frame);
        self.temporal = self.layers.temporal();
        if !packet.is_simulcast {
            self.form = LayerForm::Spatial;
            self.layers.settle(now, self.fallback());
            self.current = self.layers.spatial();
        }
        match passage {
            Passage::Closed => plain(Verdict::Other),
            Passage::Above => plain(Verdict::Skip),
            Passage::Passes { ends_picture } => Decision {
                verdict: Verdict::Forward,
                ends_picture,
            },
        }
    }

    /// Decides on a packet of an encoding that has no spatial layers.
    fn decide(&mut self, now: Monotonic, encoding: u8, facts: &LayerFacts) -> Verdict {
        if self.is_delivered(now, encoding, facts) {
            self.decide_temporal(encoding, facts)
        } else {
            Verdict::Other
        }
    }

    /// Whether an encoding is the one that is delivered, from this packet on or before.
    fn is_delivered(&mut self, now: Monotonic, encoding: u8, facts: &LayerFacts) -> bool {
        self.waiting_since.get_or_insert(now);
        if let Some(seen) = self.seen.get_mut(usize::from(encoding)) {
            *seen = Some(now);
        }
        let enters = facts.keyframe && self.current != Some(encoding);
        if enters && self.may_enter(now, encoding) {
            self.current = Some(encoding);
            // A key frame is a switch point for every temporal layer.
            self.temporal = Some(self.highest_temporal(encoding));
        }
        self.current == Some(encoding)
    }

    /// The encoding that should be delivered but is not: a key frame of it is needed.
    pub(crate) fn wanted(&self, now: Monotonic) -> Option<u8> {
        if self.form == LayerForm::Spatial {
            let (highest, fallback) = (self.highest(), self.fallback());
            return self
                .layers
                .needs_keyframe(now, highest, fallback)
                .then_some(0);
        }
        let wanted = self.desired(now)?;
        (self.current != Some(wanted)).then_some(wanted)
    }

    /// What was asked for.
    pub(crate) const fn target(&self) -> LayerTarget {
        self.target
    }

    /// What the receiver can take.
    pub(crate) const fn limit(&self) -> LayerLimit {
        self.limit
    }

    /// What the qualities of the source are.
    pub(crate) const fn form(&self) -> LayerForm {
        self.form
    }

    /// The encoding whose key frames help the receiver.
    pub(crate) fn encoding(&self) -> u8 {
        match self.form {
            LayerForm::Encodings => self.current.unwrap_or(0),
            LayerForm::Spatial => 0,
        }
    }

    /// The encoding that is delivered, or the highest spatial layer.
    pub(crate) const fn substream(&self) -> Option<u8> {
        self.current
    }

    /// The highest temporal layer that is delivered.
    pub(crate) const fn temporal(&self) -> Option<u8> {
        self.temporal
    }

    /// Whether a key frame of an encoding is welcome. Anything is better than nothing, except what
    /// the receiver cannot take.
    fn may_enter(&self, now: Monotonic, encoding: u8) -> bool {
        let begins = self.current.is_none() && encoding <= self.limit.substream;
        begins || self.desired(now) == Some(encoding)
    }

    /// Whether a key frame of an encoding of which nothing is delivered would change that.
    fn awaits(&self, now: Monotonic, encoding: u8) -> bool {
        let is_closed = self.form == LayerForm::Spatial || self.current == Some(encoding);
        is_closed || self.may_enter(now, encoding)
    }

    /// The encoding to deliver if all are there.
    fn highest(&self) -> u8 {
        self.target.substream.min(self.limit.substream)
    }

    /// The temporal layer to deliver of an encoding or spatial layer.
    fn highest_temporal(&self, substream: u8) -> u8 {
        let limit = match substream.cmp(&self.limit.substream) {
            Ordering::Less => u8::MAX,
            Ordering::Equal => self.limit.temporal,
            // Until it can be left it takes no more than it does.
            Ordering::Greater => self.temporal.unwrap_or(self.limit.temporal),
        };
        self.target.temporal.min(limit)
    }

    /// The highest encoding up to the target that is alive; else the lowest above it.
    fn desired(&self, now: Monotonic) -> Option<u8> {
        let alive = |encoding: &u8| self.is_alive(now, *encoding);
        let all = 0..SIMULCAST_LAYERS_MAX as u8;
        let below = all.clone().filter(|each| *each <= self.highest());
        below.rev().find(alive).or_else(|| {
            let mut above = all.filter(|each| *each > self.highest());
            above.find(alive)
        })
    }

    fn is_alive(&self, now: Monotonic, encoding: u8) -> bool {
        let recent = |at: Monotonic| now.saturating_since(at) <= self.fallback();
        match self.seen[usize::from(encoding)] {
            Some(at) => recent(at),
            // The target itself gets time to show up before a lower one takes its place.
            None => {
                encoding == self.highest()
                    && self.current.is_some()
                    && self.waiting_since.is_some_and(recent)
            }
        }
    }

    fn fallback(&self) -> Duration {
        self.target.fallback
    }

    fn decide_temporal(&mut self, encoding: u8, facts: &LayerFacts) -> Verdict {
        let Some(layer) = facts.temporal else {
            return Verdict::Forward;
        };
        let target = self.highest_temporal(encoding);
        let current = self.temporal.unwrap_or(target);
        if facts.frame_start {
            if current > target || facts.keyframe {
                self.temporal = Some(target);
            } else if current < target && facts.sync && layer == current + 1 {
                // A frame that needs the base layer alone says nothing of those between the two.
                self.temporal = Some(layer);
            }
        }
        if layer <= self.temporal.unwrap_or(target) {
            Verdict::Forward
        } else {
            Verdict::Skip
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: LayerFacts = LayerFacts {
        keyframe: true,
        frame_start: true,
        temporal: Some(0),
        sync: false,
        layered: None,
    };

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn frame(temporal: u8, sync: bool) -> LayerFacts {
        LayerFacts {
            keyframe: false,
            frame_start: true,
            temporal: Some(temporal),
            sync,
            layered: None,
        }
    }

    fn target(substream: u8, temporal: u8) -> LayerTarget {
        LayerTarget {
            substream,
            temporal,
            ..LayerTarget::default()
        }
    }

    /// A selector that has seen all three encodings and delivers `substream`.
    fn delivering(substream: u8) -> LayerSelector {
        let mut selector = LayerSelector::new(target(substream, 2));
        for encoding in 0..3 {
            selector.decide(at(0), encoding, &frame(0, false));
        }
        assert_eq!(selector.decide(at(0), substream, &KEY), Verdict::Forward);
        selector
    }

    #[test]
    fn nothing_is_delivered_before_a_key_frame() {
        let mut selector = LayerSelector::new(target(1, 2));
        assert_eq!(selector.decide(at(0), 1, &frame(0, true)), Verdict::Other);
        assert_eq!(selector.wanted(at(0)), Some(1));
        assert_eq!(selector.decide(at(1), 1, &KEY), Verdict::Forward);
        assert_eq!(selector.wanted(at(1)), None);
    }

    #[test]
    fn any_encoding_will_do_to_begin_with() {
        let mut selector = LayerSelector::new(target(2, 2));
        assert_eq!(selector.decide(at(0), 0, &KEY), Verdict::Forward);
        selector.decide(at(1), 2, &frame(0, false));
        assert_eq!(selector.wanted(at(1)), Some(2));
    }

    #[test]
    fn the_encoding_changes_at_a_key_frame_only() {
        let mut selector = delivering(2);
        selector.set_target(at(10), target(0, 2));
        assert_eq!(selector.decide(at(11), 0, &frame(0, true)), Verdict::Other);
        assert_eq!(
            selector.decide(at(11), 2, &frame(0, false)),
            Verdict::Forward
        );
        assert_eq!(selector.wanted(at(11)), Some(0));
        assert_eq!(selector.decide(at(12), 0, &KEY), Verdict::Forward);
        assert_eq!(selector.decide(at(12), 2, &KEY), Verdict::Other);
    }

    #[test]
    fn a_silent_encoding_gives_way_and_comes_back() {
        let mut selector = delivering(2);
        selector.decide(at(400), 1, &frame(0, false));
        assert_eq!(selector.wanted(at(400)), Some(1), "the target is silent");
        assert_eq!(selector.decide(at(410), 1, &KEY), Verdict::Forward);
        assert_eq!(selector.substream(), Some(1));
        selector.decide(at(500), 2, &frame(0, false));
        assert_eq!(selector.wanted(at(500)), Some(2), "the target is back");
    }

    #[test]
    fn a_higher_encoding_is_better_than_none() {
        let mut selector = LayerSelector::new(target(0, 2));
        selector.decide(at(0), 2, &frame(0, false));
        assert_eq!(selector.wanted(at(0)), Some(2));
        assert_eq!(selector.decide(at(1), 2, &KEY), Verdict::Forward);
    }

    #[test]
    fn the_fallback_time_is_respected() {
        let mut selector = delivering(2);
        selector.set_target(
            at(0),
            LayerTarget {
                fallback: Duration::from_secs(2),
                ..target(2, 2)
            },
        );
        selector.decide(at(1_900), 1, &frame(0, false));
        assert_eq!(selector.wanted(at(1_900)), None);
        assert_eq!(selector.wanted(at(2_100)), Some(1));
    }

    #[test]
    fn what_a_receiver_cannot_take_is_not_begun_with() {
        let mut selector = LayerSelector::new(target(2, 2));
        selector.set_limit(at(0), LayerLimit::whole(0));
        selector.decide(at(0), 0, &frame(0, false));
        assert_eq!(selector.decide(at(1), 2, &KEY), Verdict::Other);
        assert_eq!(selector.decide(at(2), 0, &KEY), Verdict::Forward);
    }

    #[test]
    fn a_limit_lowers_the_target_until_it_goes() {
        let mut selector = delivering(2);
        assert!(selector.set_limit(at(10), LayerLimit::whole(0)));
        assert_eq!(selector.wanted(at(10)), Some(0));
        assert_eq!(selector.decide(at(11), 0, &KEY), Verdict::Forward);
        let lowest = LayerLimit::whole(0);
        assert!(!selector.set_limit(at(12), lowest), "nothing changes");
        assert!(selector.set_limit(at(13), LayerLimit::NONE));
        assert_eq!(selector.wanted(at(13)), Some(2));
        selector.set_target(at(14), target(1, 2));
        let above = LayerLimit::whole(2);
        assert!(
            !selector.set_limit(at(15), above),
            "above what was asked for"
        );
    }

    #[test]
    fn a_limit_in_time_holds_for_the_encoding_that_it_names() {
        let mut selector = delivering(1);
        let limit = |substream, temporal| LayerLimit {
            substream,
            temporal,
        };
        assert!(!selector.set_limit(at(1), limit(1, 0)), "no key frame");
        assert_eq!(selector.decide(at(2), 1, &frame(1, false)), Verdict::Skip);
        assert_eq!(selector.temporal(), Some(0));
        selector.set_limit(at(3), limit(1, 1));
        assert_eq!(selector.decide(at(4), 1, &frame(1, true)), Verdict::Forward);
        assert_eq!(selector.decide(at(5), 1, &frame(2, true)), Verdict::Skip);
        assert!(selector.set_limit(at(6), limit(0, 2)));
        assert_eq!(
            selector.decide(at(7), 1, &frame(2, true)),
            Verdict::Skip,
            "what is to be left gets no more"
        );
        assert_eq!(selector.decide(at(8), 0, &KEY), Verdict::Forward);
        assert_eq!(selector.temporal(), Some(2));
        selector.set_limit(at(9), limit(1, 0));
        assert_eq!(
            selector.decide(at(10), 0, &frame(2, false)),
            Verdict::Forward,
            "what is below fits whole"
        );
        assert_eq!(selector.decide(at(11), 1, &KEY), Verdict::Forward);
        assert_eq!(selector.temporal(), Some(0));
    }

    #[test]
    fn a_limit_in_time_is_no_wish() {
        let mut selector = delivering(0);
        selector.set_target(at(1), target(0, 1));
        selector.decide(at(2), 0, &frame(0, false));
        selector.set_limit(at(3), LayerLimit::whole(0));
        selector.decide(at(4), 0, &KEY);
        assert_eq!(selector.temporal(), Some(1));
    }

    #[test]
    fn going_down_in_time_waits_for_the_next_frame() {
        let mut selector = delivering(2);
        selector.set_target(at(1), target(2, 0));
        let rest = LayerFacts {
            frame_start: false,
            ..frame(2, false)
        };
        assert_eq!(
            selector.decide(at(1), 2, &rest),
            Verdict::Forward,
            "rest of a frame"
        );
        assert_eq!(selector.decide(at(2), 2, &frame(1, false)), Verdict::Skip);
        assert_eq!(
            selector.decide(at(3), 2, &frame(0, false)),
            Verdict::Forward
        );
        assert_eq!(selector.temporal(), Some(0));
    }

    #[test]
    fn going_up_in_time_waits_for_a_switch_point() {
        let mut selector = delivering(2);
        selector.set_target(at(1), target(2, 0));
        selector.decide(at(2), 2, &frame(0, false));
        selector.set_target(at(3), target(2, 2));
        assert_eq!(selector.decide(at(4), 2, &frame(1, false)), Verdict::Skip);
        assert_eq!(
            selector.decide(at(4), 2, &frame(2, true)),
            Verdict::Skip,
            "layer 1 may go on with what was left out"
        );
        assert_eq!(selector.decide(at(5), 2, &frame(1, true)), Verdict::Forward);
        assert_eq!(selector.temporal(), Some(1));
        assert_eq!(selector.decide(at(6), 2, &frame(2, true)), Verdict::Forward);
        assert_eq!(selector.temporal(), Some(2));
    }

    #[test]
    fn a_key_frame_goes_up_in_time_at_once() {
        let mut selector = delivering(2);
        selector.set_target(at(1), target(2, 0));
        selector.decide(at(2), 2, &frame(0, false));
        selector.set_target(at(3), target(2, 2));
        assert_eq!(selector.decide(at(4), 2, &KEY), Verdict::Forward);
        assert_eq!(selector.temporal(), Some(2));
    }

    #[test]
    fn packets_without_temporal_layers_pass() {
        let mut selector = delivering(0);
        let plain = LayerFacts {
            temporal: None,
            ..frame(0, false)
        };
        selector.set_target(at(1), target(0, 0));
        assert_eq!(selector.decide(at(2), 0, &plain), Verdict::Forward);
    }
}
