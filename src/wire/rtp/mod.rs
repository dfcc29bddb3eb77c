//! RTP: facts about a video packet that forwarding decisions need, read from its payload, and
//! packets as they are on the wire.
//!
//! Invariant: a payload that cannot be read yields the facts of a packet without layers.

mod dependency;
mod h264;
mod h265;
pub mod packet;
pub mod red;
pub mod transport_feedback;
mod vp8;
mod vp9;

#[cfg(test)]
pub(crate) use dependency::tests as descriptors;
pub use dependency::{Dependencies, DependencyReader, FrameNeeds, Targets, renumber};
pub use vp8::{PictureId, Vp8Descriptor};

/// A codec whose payload is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    /// AV1, as the RTP payload format of the Alliance for Open Media has it.
    Av1,
    /// H.264 (RFC 6184).
    H264,
    /// H.265 (RFC 7798).
    H265,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
}

impl VideoCodec {
    /// Finds the codec by its name in a session description.
    pub fn from_name(name: &str) -> Option<Self> {
        let known = [
            ("AV1", Self::Av1),
            ("H264", Self::H264),
            ("H265", Self::H265),
            ("VP8", Self::Vp8),
            ("VP9", Self::Vp9),
        ];
        let found = known
            .iter()
            .find(|(each, _)| name.eq_ignore_ascii_case(each));
        found.map(|(_, codec)| *codec)
    }
}

/// What a payload says about its place among others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerFacts {
    /// A key frame begins with this packet: decoding can start here.
    pub keyframe: bool,
    /// A frame begins with this packet. Also set where the codec does not tell.
    pub frame_start: bool,
    /// The temporal layer, 0 is the lowest; `None` where the codec or the sender does not tell.
    pub temporal: Option<u8>,
    /// The frame depends on the base layer only: a receiver of lower layers may go up here.
    pub sync: bool,
    /// Its place among the spatial layers, if the stream has room for several.
    pub layered: Option<LayerFrame>,
}

/// The place of a packet among the spatial layers of its stream. The frames of all layers of one
/// picture have the same timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerFrame {
    /// The spatial layer, 0 is the lowest.
    pub spatial: u8,
    /// The layer's frame begins with this packet.
    pub begins: bool,
    /// The layer's frame ends with this packet.
    pub ends: bool,
    /// What the frame depends on.
    pub needs: LayerNeeds,
}

/// What the frame of a layer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerNeeds {
    /// Frames by their numbers.
    Frames(FrameNeeds),
    /// Kinds of frames, as VP9 has it.
    Kinds {
        /// Earlier pictures.
        earlier: bool,
        /// The next lower layer of the same picture.
        below: bool,
    },
}

impl LayerFacts {
    /// Reads the facts of a packet from its payload.
    pub fn read(codec: VideoCodec, payload: &[u8]) -> Self {
        match codec {
            VideoCodec::Av1 => Self {
                // The N bit of the aggregation header: a coded video sequence begins here.
                keyframe: payload.first().is_some_and(|header| header & 0x08 != 0),
                frame_start: true,
                ..Self::default()
            },
            VideoCodec::H264 => Self {
                keyframe: h264::begins_keyframe(payload),
                frame_start: true,
                ..Self::default()
            },
            VideoCodec::H265 => Self {
                keyframe: h265::begins_keyframe(payload),
                frame_start: true,
                ..Self::default()
            },
            VideoCodec::Vp8 => vp8::facts(payload),
            VideoCodec::Vp9 => vp9::facts(payload),
        }
    }

    /// The number of the frame, if a dependency descriptor says it.
    pub fn frame_number(&self) -> Option<u16> {
        match self.layered.as_ref()?.needs {
            LayerNeeds::Frames(needs) => Some(needs.number),
            LayerNeeds::Kinds { .. } => None,
        }
    }

    /// The same, with what a dependency descriptor adds.
    #[must_use]
    pub fn with(self, found: &Dependencies) -> Self {
        let base = (0, found.temporal);
        Self {
            keyframe: self.keyframe
                || found.begins && found.spatial == 0 && found.frame.is_independent(),
            frame_start: found.begins,
            temporal: Some(found.temporal),
            sync: found.frame.switches.iter().any(|target| target == base),
            layered: Some(LayerFrame {
                spatial: found.spatial,
                begins: found.begins,
                ends: found.ends,
                needs: LayerNeeds::Frames(found.frame),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_compared_without_case() {
        assert_eq!(VideoCodec::from_name("vp8"), Some(VideoCodec::Vp8));
        assert_eq!(VideoCodec::from_name("AV1X"), None);
    }

    #[test]
    fn a_new_av1_sequence_is_a_key_frame() {
        assert!(LayerFacts::read(VideoCodec::Av1, &[0x18, 0]).keyframe);
        assert!(!LayerFacts::read(VideoCodec::Av1, &[0x10, 0]).keyframe);
    }

    proptest! {
        #[test]
        fn any_payload_is_read_without_panic(payload in prop::collection::vec(any::<u8>(), 0..24)) {
            use VideoCodec::{Av1, H264, H265, Vp8, Vp9};
            for codec in [Av1, H264, H265, Vp8, Vp9] {
                LayerFacts::read(codec, &payload);
            }
        }
    }
}
