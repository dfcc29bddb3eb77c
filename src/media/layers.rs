//! Which spatial and temporal layers of one stream a route delivers (SVC).
//!
//! All layers up to the open one pass, so going down is possible at every picture. Going up needs a
//! frame whose references were all sent: with a dependency descriptor it is one that its sender
//! calls a switch point; VP9 alone says which frames need no earlier picture.
//!
//! Invariant: a frame of a layer that was closed passes only if what it depends on has passed.

use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::wire::rtp::{FrameNeeds, LayerFacts, LayerFrame, LayerNeeds};

/// A layer in space and one in time, 0 is the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) spatial: u8,
    pub(super) temporal: u8,
}

/// Where a packet stands in its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Extended beyond 16 bits.
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
}

/// Whether a packet passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// Nothing is delivered yet.
    Closed,
    /// It belongs to a layer above the open one.
    Above,
    Passes {
        /// The last packet of its picture, for the receiver.
        ends_picture: bool,
    },
}

/// The layers of one stream on one route.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// The highest that may pass.
    open: Option<Layer>,
    /// The highest spatial layer that passed lately.
    delivered: Option<u8>,
    newest: Option<Place>,
    pictures_count: u64,
    seen: [Option<Seen>; SPATIAL_MAX],
    sent: SentFrames,
}

/// When a layer came last.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Monotonic,
    picture: u64,
}

/// Spatial layers that codecs have at most: VP9 and the dependency descriptor have room for 8
/// and 4, encoders make 3.
const SPATIAL_MAX: usize = 8;

/// All spatial layers that there may be.
pub(super) const SPATIAL_ALL: u8 = SPATIAL_MAX as u8 - 1;

/// Frames of which it is known whether they were sent, by their numbers.
#[derive(Clone, Copy, Debug, Default)]
struct SentFrames {
    newest: u16,
    /// Bit 0 is the newest.
    bits: u128,
}

impl Layers {
    /// Decides on a packet: whether it passes if `wanted` is to be delivered.
    pub(super) fn decide(
        &mut self,
        now: Monotonic,
        wanted: Layer,
        place: Place,
        facts: &LayerFacts,
        frame: &LayerFrame,
    ) -> Passage {
        let newest = self.newest;
        // What comes late changes nothing, except that anything is better than nothing.
        if newest.is_none_or(|newest| place.sequence > newest.sequence) || self.open.is_none() {
            self.newest = Some(place);
            let is_new = newest.is_none_or(|newest| place.timestamp != newest.timestamp);
            if is_new {
                self.pictures_count += 1;
                self.lower(wanted);
            }
            if facts.keyframe {
                self.enter(now, wanted, frame);
            } else if frame.begins {
                self.raise(wanted, facts, frame, is_new);
            }
        }
        self.see(now, frame.spatial);
        let Some(open) = self.open else {
            return Passage::Closed;
        };
        if frame.spatial > open.spatial || facts.temporal.unwrap_or(0) > open.temporal {
            return Passage::Above;
        }
        if let LayerNeeds::Frames(needs) = &frame.needs {
            self.sent.note(needs.number);
        }
        let delivered = self.delivered.unwrap_or(0);
        self.delivered = Some(delivered.max(frame.spatial));
        Passage::Passes {
            ends_picture: frame.ends && frame.spatial == open.spatial,
        }
    }

    /// Nothing passes until a key frame comes: what was missed may be needed.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// The highest spatial layer that is delivered.
    pub(super) const fn spatial(&self) -> Option<u8> {
        self.delivered
    }

    /// The highest temporal layer that may pass.
    pub(super) fn temporal(&self) -> Option<u8> {
        self.delivered.and(self.open).map(|open| open.temporal)
    }

    /// Whether only a key frame leads to what could be delivered.
    pub(super) fn needs_keyframe(&self, now: Monotonic, highest: u8, fallback: Duration) -> bool {
        let Some(open) = self.open else {
            return true;
        };
        let above = open.spatial + 1..=highest.min(SPATIAL_ALL);
        above
            .into_iter()
            .any(|spatial| self.is_alive(now, spatial, fallback))
    }

    /// A layer that its sender has stopped is not delivered any more.
    pub(super) fn settle(&mut self, now: Monotonic, fallback: Duration) {
        if let Some(delivered) = self.delivered {
            let all = (0..=delivered).rev();
            let mut alive = all.filter(|spatial| self.is_alive(now, *spatial, fallback));
            self.delivered = alive.next().or(self.delivered);
        }
    }

    /// Whether a layer still comes: lately, or with one of the last two pictures, however long ago
    /// those were.
    fn is_alive(&self, now: Monotonic, spatial: u8, fallback: Duration) -> bool {
        let seen = self.seen.get(usize::from(spatial)).copied().flatten();
        seen.is_some_and(|seen| {
            let is_recent = now.saturating_since(seen.at) <= fallback;
            is_recent || self.pictures_count <= seen.picture + 1
        })
    }

    fn see(&mut self, now: Monotonic, spatial: u8) {
        if let Some(seen) = self.seen.get_mut(usize::from(spatial)) {
            *seen = Some(Seen {
                at: now,
                picture: self.pictures_count,
            });
        }
    }

    /// Begins with a key frame, which is a switch point for every layer.
    fn enter(&mut self, now: Monotonic, wanted: Layer, frame: &LayerFrame) {
        self.open = Some(wanted);
        self.sent = SentFrames::default();
        self.delivered = Some(self.delivered.unwrap_or(0).min(wanted.spatial));
        if let LayerNeeds::Frames(needs) = &frame.needs {
            // What the sender has is delivered together.
            let there = needs.active.iter().map(|(spatial, _)| spatial).max();
            let there = there.unwrap_or(0).min(wanted.spatial);
            self.delivered = Some(there);
            for spatial in 0..=there {
                self.see(now, spatial);
            }
        }
    }

    fn lower(&mut self, wanted: Layer) {
        if let Some(open) = &mut self.open {
            open.spatial = open.spatial.min(wanted.spatial);
            open.temporal = open.temporal.min(wanted.temporal);
            self.delivered = self.delivered.map(|layer| layer.min(open.spatial));
        }
    }

    /// Opens higher layers if this frame allows it.
    fn raise(&mut self, wanted: Layer, facts: &LayerFacts, frame: &LayerFrame, is_new: bool) {
        let Some(open) = &mut self.open else {
            return;
        };
        match &frame.needs {
            LayerNeeds::Frames(needs) => {
                if needs.references().all(|number| self.sent.has(number)) {
                    *open = highest_target(*open, wanted, needs);
                }
            }
            LayerNeeds::Kinds { earlier, below } => {
                let temporal = facts.temporal.unwrap_or(0);
                let is_next = temporal == open.temporal + 1 && temporal <= wanted.temporal;
                if is_next && is_new && facts.sync {
                    open.temporal = temporal;
                }
                let is_next = !below || frame.spatial == open.spatial + 1;
                let is_wanted = frame.spatial > open.spatial && frame.spatial <= wanted.spatial;
                if is_wanted && !earlier && is_next && temporal <= open.temporal {
                    open.spatial = frame.spatial;
                }
            }
        }
    }
}

/// The highest layers that can be decoded from a frame on: those that are open, or better ones.
fn highest_target(open: Layer, wanted: Layer, needs: &FrameNeeds) -> Layer {
    // Of what its sender does not send, nothing is lost.
    let there = needs.active.iter().next_back();
    let lowest = there.map_or(open.spatial, |(spatial, _)| spatial.min(open.spatial));
    let targets = needs.switches.and(needs.active).iter().rev();
    let mut targets = targets.map(|(spatial, temporal)| Layer { spatial, temporal });
    let fits = |target: &Layer| {
        let is_low = target.spatial <= wanted.spatial && target.temporal <= wanted.temporal;
        let is_more = target.spatial > open.spatial || target.temporal > open.temporal;
        let is_less = target.spatial < lowest || target.temporal < open.temporal;
        is_low && is_more && !is_less
    };
    targets.find(fits).unwrap_or(open)
}

impl SentFrames {
    fn note(&mut self, number: u16) {
        let ahead = number.wrapping_sub(self.newest).cast_signed();
        if self.bits == 0 {
            self.newest = number;
            self.bits = 1;
        } else if ahead > 0 {
            let bits = self.bits.checked_shl(u32::from(ahead.unsigned_abs()));
            self.newest = number;
            self.bits = bits.unwrap_or(0) | 1;
        } else {
            let bit = 1_u128.checked_shl(u32::from(ahead.unsigned_abs()));
            self.bits |= bit.unwrap_or(0);
        }
    }

    fn has(&self, number: u16) -> bool {
        let behind = self.newest.wrapping_sub(number);
        let bits = self.bits.checked_shr(u32::from(behind));
        bits.is_some_and(|bits| bits & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtp::descriptors::{delta, key};
    use crate::wire::rtp::{DependencyReader, Targets, VideoCodec};
    use proptest::prelude::*;

    const ALL: Layer = layer(2, 2);
    const FALLBACK: Duration = Duration::from_millis(250);

    const fn layer(spatial: u8, temporal: u8) -> Layer {
        Layer { spatial, temporal }
    }

    /// A stream on a route, 33 ms a picture.
    #[derive(Default)]
    struct Stream {
        layers: Layers,
        reader: DependencyReader,
        sequence: u64,
        picture: u32,
        frame: u16,
        /// The sender has switched off all spatial layers but one.
        is_flat: bool,
    }

    impl Stream {
        fn now(&self) -> Monotonic {
            Monotonic::from_nanos(u64::from(self.picture) * 33_000_000)
        }

        fn packet(&mut self, wanted: Layer, facts: &LayerFacts) -> Passage {
            self.sequence += 1;
            let place = Place {
                sequence: self.sequence,
                timestamp: 3_000 * self.picture,
            };
            let frame = facts.layered.as_ref().expect("it has layers");
            self.layers.decide(self.now(), wanted, place, facts, frame)
        }

        /// A picture of three spatial layers, each of one packet, in the manner of VP9: which of
        /// them pass.
        fn vp9(&mut self, wanted: Layer, is_key: bool, temporal: u8, sync: bool) -> Vec<u8> {
            self.picture += 1;
            let mut passed = Vec::new();
            for spatial in 0..3 {
                let inter = u8::from(!is_key) << 6;
                let up = u8::from(sync) << 4;
                let layers = temporal << 5 | up | spatial << 1 | u8::from(spatial > 0);
                let payload = [0b1010_1100 | inter, 1, layers, 0];
                let facts = LayerFacts::read(VideoCodec::Vp9, &payload);
                if let Passage::Passes { ends_picture } = self.packet(wanted, &facts) {
                    passed.push(spatial);
                    assert_eq!(ends_picture, spatial == self.layers.open.unwrap().spatial);
                }
            }
            passed
        }

        /// A frame by its dependency descriptor. Template 0 is the key frame.
        fn described(&mut self, wanted: Layer, template: u8) -> Passage {
            let bytes = if template == 0 {
                key(self.frame)
            } else {
                delta(template, self.frame)
            };
            self.frame += 1;
            let mut found = self.reader.read(self.sequence, &bytes).unwrap();
            if self.is_flat {
                found.frame.active = Targets::default();
                found.frame.active.insert(0, 0);
                found.frame.active.insert(0, 1);
            }
            self.packet(wanted, &LayerFacts::default().with(&found))
        }

        /// A picture of two spatial layers: a key picture, one of temporal layer 0, or 1.
        fn av1(&mut self, wanted: Layer, templates: [u8; 2]) -> [bool; 2] {
            self.picture += 1;
            templates.map(|template| {
                let passage = self.described(wanted, template);
                matches!(passage, Passage::Passes { .. })
            })
        }
    }

    const NONE: [u8; 0] = [];
    const KEY: [u8; 2] = [0, 3];
    const LOW: [u8; 2] = [1, 4];
    const HIGH: [u8; 2] = [2, 5];

    #[test]
    fn nothing_passes_before_a_key_frame() {
        let mut stream = Stream::default();
        assert!(stream.vp9(ALL, false, 0, true).is_empty());
        assert!(stream.layers.needs_keyframe(stream.now(), 2, FALLBACK));
        assert_eq!(stream.vp9(ALL, true, 0, true), [0, 1, 2]);
        assert_eq!(stream.layers.spatial(), Some(2));
        assert!(!stream.layers.needs_keyframe(stream.now(), 2, FALLBACK));
    }

    #[test]
    fn lower_layers_are_reached_with_the_next_picture() {
        let mut stream = Stream::default();
        stream.vp9(ALL, true, 0, true);
        assert_eq!(stream.vp9(layer(0, 2), false, 0, false), [0]);
        assert_eq!(stream.layers.spatial(), Some(0));
        assert_eq!(stream.vp9(layer(0, 0), false, 1, false), NONE);
        assert_eq!(stream.layers.temporal(), Some(0));
    }

    #[test]
    fn a_picture_that_has_begun_is_not_cut_short() {
        let mut stream = Stream::default();
        stream.vp9(ALL, true, 0, true);
        stream.picture += 1;
        let frame = |spatial: u8| {
            let payload = [0b1110_1100, 1, spatial << 1, 0];
            LayerFacts::read(VideoCodec::Vp9, &payload)
        };
        let passes = |passage| matches!(passage, Passage::Passes { .. });
        assert!(passes(stream.packet(ALL, &frame(0))));
        assert!(passes(stream.packet(layer(0, 2), &frame(1))));
        assert!(passes(stream.packet(layer(0, 2), &frame(2))));
    }

    #[test]
    fn vp9_goes_up_in_space_where_no_earlier_picture_is_needed() {
        let mut stream = Stream::default();
        stream.vp9(layer(0, 2), true, 0, true);
        assert_eq!(stream.vp9(ALL, false, 0, false), [0]);
        assert!(stream.layers.needs_keyframe(stream.now(), 2, FALLBACK));
        assert_eq!(stream.vp9(ALL, true, 0, true), [0, 1, 2]);
    }

    #[test]
    fn vp9_goes_up_in_time_at_switch_points() {
        let mut stream = Stream::default();
        stream.vp9(layer(2, 0), true, 0, true);
        assert_eq!(stream.vp9(ALL, false, 1, false), NONE);
        let above = stream.vp9(ALL, false, 2, true);
        assert_eq!(above, NONE, "layer 1 may go on with what was left out");
        assert_eq!(stream.vp9(ALL, false, 1, true), [0, 1, 2]);
        assert_eq!(stream.layers.temporal(), Some(1));
        assert_eq!(stream.vp9(ALL, false, 2, true), [0, 1, 2]);
    }

    #[test]
    fn a_layer_that_its_sender_stopped_is_not_delivered() {
        let mut stream = Stream::default();
        stream.vp9(ALL, true, 0, true);
        for _ in 0..20 {
            // However slow the pictures are, as long as they are whole.
            stream.picture += 10;
            assert_eq!(stream.vp9(ALL, false, 0, true), [0, 1, 2]);
            stream.layers.settle(stream.now(), FALLBACK);
            assert_eq!(stream.layers.spatial(), Some(2));
        }
        for _ in 0..20 {
            stream.picture += 1;
            let facts = LayerFacts::read(VideoCodec::Vp9, &[0b1110_1100, 1, 0, 0]);
            stream.packet(ALL, &facts);
            stream.layers.settle(stream.now(), FALLBACK);
        }
        assert_eq!(stream.layers.spatial(), Some(0));
        assert!(!stream.layers.needs_keyframe(stream.now(), 2, FALLBACK));
        assert_eq!(stream.vp9(ALL, false, 0, true), [0, 1, 2], "they are open");
    }

    #[test]
    fn after_a_pause_a_key_frame_comes_first() {
        let mut stream = Stream::default();
        stream.vp9(ALL, true, 0, true);
        stream.layers.close();
        assert_eq!(stream.vp9(ALL, false, 0, true), NONE);
        assert_eq!(stream.vp9(ALL, true, 0, true), [0, 1, 2]);
    }

    #[test]
    fn a_described_stream_goes_up_in_time_at_a_switch_point() {
        let mut stream = Stream::default();
        assert_eq!(stream.av1(layer(1, 0), KEY), [true, true]);
        assert_eq!(stream.av1(layer(1, 0), HIGH), [false, false]);
        assert_eq!(stream.av1(layer(1, 1), LOW), [true, true]);
        assert_eq!(stream.layers.temporal(), Some(1));
        assert_eq!(stream.av1(layer(1, 1), HIGH), [true, true]);
    }

    #[test]
    fn layers_that_are_not_sent_keep_none_from_going_up_in_time() {
        let mut stream = Stream {
            is_flat: true,
            ..Stream::default()
        };
        let mut passes = |temporal, template| {
            stream.picture += 1;
            let passage = stream.described(layer(SPATIAL_ALL, temporal), template);
            stream.frame += 1;
            matches!(passage, Passage::Passes { .. })
        };
        assert!(passes(0, KEY[0]));
        assert!(!passes(1, HIGH[0]), "no switch point");
        assert!(passes(1, LOW[0]));
        assert!(passes(1, HIGH[0]));
        assert_eq!(stream.layers.temporal(), Some(1));
    }

    #[test]
    fn a_switch_point_whose_needs_were_not_sent_is_none() {
        let mut stream = Stream::default();
        assert_eq!(stream.av1(layer(0, 1), KEY), [true, false]);
        assert_eq!(stream.av1(layer(1, 1), HIGH), [true, false]);
        assert_eq!(stream.av1(layer(1, 1), LOW), [true, false]);
        assert_eq!(stream.layers.spatial(), Some(0));
        assert!(stream.layers.needs_keyframe(stream.now(), 2, FALLBACK));
        assert_eq!(stream.av1(layer(1, 1), HIGH), [true, false]);
        assert_eq!(stream.av1(layer(1, 1), KEY), [true, true]);
        assert_eq!(stream.layers.spatial(), Some(1));
        assert!(!stream.layers.needs_keyframe(stream.now(), 2, FALLBACK));
    }

    #[test]
    fn sent_frames_are_remembered_for_a_while_and_around_the_end_of_the_numbers() {
        let mut sent = SentFrames::default();
        assert!(!sent.has(0));
        for number in [65_534, 65_535, 1, 0] {
            sent.note(number);
        }
        assert!([65_534, 65_535, 0, 1].map(|number| sent.has(number)) == [true; 4]);
        assert!(!sent.has(2) && !sent.has(65_533));
        sent.note(128);
        assert!(sent.has(1) && !sent.has(0));
        sent.note(20_000);
        assert!(sent.has(20_000) && !sent.has(128));
    }

    proptest! {
        /// What passes can be decoded, whatever is wanted when: the references of each frame that
        /// passes have passed.
        #[test]
        fn what_passes_needs_nothing_that_did_not(
            steps in prop::collection::vec((0..2_u8, 0..2_u8, 0..12_u8, any::<bool>()), 1..80),
        ) {
            let mut stream = Stream::default();
            let mut passed = std::collections::BTreeSet::new();
            let mut has_begun = false;
            for (spatial, temporal, event, is_closed) in steps {
                if event == 1 && is_closed {
                    stream.layers.close();
                }
                let is_key = event == 0 || !has_begun;
                has_begun = true;
                for templates in [if is_key { KEY } else { LOW }, HIGH] {
                    let first = stream.frame;
                    let passes = stream.av1(layer(spatial, temporal), templates);
                    for (at, template) in templates.into_iter().enumerate() {
                        let number = first + at as u16;
                        if !passes[at] {
                            continue;
                        }
                        let found = stream.reader.read(0, &delta(template, number)).unwrap();
                        prop_assert!(found.spatial <= spatial || found.temporal <= temporal);
                        for needed in found.frame.references() {
                            prop_assert!(passed.contains(&needed), "{number} needs {needed}");
                        }
                        passed.insert(number);
                    }
                }
            }
        }

        /// The same for VP9, of which it is known that each picture needs the one before.
        #[test]
        fn no_layer_of_vp9_is_entered_between_key_frames(
            steps in prop::collection::vec((0..3_u8, 0..10_u8), 1..80),
        ) {
            let mut stream = Stream::default();
            let mut before = Vec::new();
            for (spatial, event) in steps {
                let passed = stream.vp9(layer(spatial, 2), event == 0, 0, true);
                let lower: Vec<u8> = (0..=spatial).collect();
                if event == 0 {
                    prop_assert_eq!(&passed, &lower);
                } else {
                    let both = before.iter().filter(|each| lower.contains(each)).copied();
                    prop_assert_eq!(&passed, &both.collect::<Vec<u8>>());
                }
                before = passed;
            }
        }
    }
}
