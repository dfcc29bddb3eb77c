//! The VP8 payload descriptor (RFC 7741 section 4.2).

use super::LayerFacts;

/// A VP8 payload descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vp8Descriptor {
    /// The number of the picture, 7 or 15 bits.
    pub picture_id: Option<PictureId>,
    /// The running number of base layer pictures.
    pub tl0_index: Option<u8>,
    /// The temporal layer.
    pub temporal: Option<u8>,
    /// Whether the picture depends on the base layer only.
    pub sync: bool,
    /// Whether the payload begins the first partition of a picture.
    pub frame_start: bool,
    /// The size of the descriptor, in bytes.
    pub size: usize,
}

/// A picture number and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureId {
    /// The number.
    pub number: u16,
    /// Whether it has 15 bits; otherwise it has 7.
    pub is_long: bool,
}

impl Vp8Descriptor {
    /// Reads the descriptor at the start of a payload.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let mut at = 1;
        let mut next = || {
            let byte = payload.get(at).copied();
            at += 1;
            byte
        };
        let mut descriptor = Self {
            // The S bit, and partition index 0.
            frame_start: first & 0x10 != 0 && first & 0x07 == 0,
            ..Self::default()
        };
        if first & 0x80 != 0 {
            let extension = next()?;
            if extension & 0x80 != 0 {
                let high = next()?;
                descriptor.picture_id = Some(if high & 0x80 == 0 {
                    PictureId {
                        number: u16::from(high),
                        is_long: false,
                    }
                } else {
                    PictureId {
                        number: u16::from(high & 0x7f) << 8 | u16::from(next()?),
                        is_long: true,
                    }
                });
            }
            if extension & 0x40 != 0 {
                descriptor.tl0_index = Some(next()?);
            }
            if extension & 0x30 != 0 {
                let layer = next()?;
                if extension & 0x20 != 0 {
                    descriptor.temporal = Some(layer >> 6);
                    descriptor.sync = layer & 0x20 != 0;
                }
            }
        }
        descriptor.size = at;
        Some(descriptor)
    }

    /// Puts other numbers into the descriptor at the start of a payload, in the places of those
    /// that are there.
    pub fn renumber(payload: &mut [u8], picture_id: Option<u16>, tl0_index: Option<u8>) {
        let Some(descriptor) = Self::read(payload) else {
            return;
        };
        // After the first byte and that of the extension bits.
        let mut at = 2;
        if let Some(id) = descriptor.picture_id {
            let size = if id.is_long { 2 } else { 1 };
            if let Some(number) = picture_id {
                let bits = if id.is_long {
                    number | 0x8000
                } else {
                    number << 8 & 0x7f00
                };
                payload[at..at + size].copy_from_slice(&bits.to_be_bytes()[..size]);
            }
            at += size;
        }
        if let (Some(_), Some(index)) = (descriptor.tl0_index, tl0_index) {
            payload[at] = index;
        }
    }
}

/// Reads the facts of a VP8 payload.
pub(super) fn facts(payload: &[u8]) -> LayerFacts {
    let Some(descriptor) = Vp8Descriptor::read(payload) else {
        return LayerFacts {
            frame_start: true,
            ..LayerFacts::default()
        };
    };
    // RFC 7741 section 4.3: the lowest bit of the payload header is 0 in a key frame.
    let header = payload.get(descriptor.size);
    LayerFacts {
        keyframe: descriptor.frame_start && header.is_some_and(|byte| byte & 1 == 0),
        frame_start: descriptor.frame_start,
        temporal: descriptor.temporal,
        sync: descriptor.sync,
        layered: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_numbers_take_the_places_of_those_that_are_there() {
        for (payload, wanted) in [
            (
                &[0x90, 0xe0, 0x92, 0x34, 0x56, 0xa0, 9][..],
                &[0x90, 0xe0, 0x81, 0x05, 0x07, 0xa0, 9][..],
            ),
            (&[0x90, 0xc0, 0x12, 0x56, 9], &[0x90, 0xc0, 0x05, 0x07, 9]),
            (&[0x90, 0x40, 0x56, 9], &[0x90, 0x40, 0x07, 9]),
            (&[0x10, 9], &[0x10, 9]),
        ] {
            let mut patched = payload.to_vec();
            let id = if payload[1] & 0x20 != 0 { 0x105 } else { 5 };
            Vp8Descriptor::renumber(&mut patched, Some(id), Some(7));
            assert_eq!(patched, wanted);
        }
    }

    #[test]
    fn a_full_descriptor_is_read() {
        let payload = [0x90, 0xe0, 0x92, 0x34, 0x56, 0xa0, 0x00];
        let descriptor = Vp8Descriptor::read(&payload).unwrap();
        assert_eq!(
            descriptor,
            Vp8Descriptor {
                picture_id: Some(PictureId {
                    number: 0x1234,
                    is_long: true
                }),
                tl0_index: Some(0x56),
                temporal: Some(2),
                sync: true,
                frame_start: true,
                size: 6,
            }
        );
        assert!(facts(&payload).keyframe);
    }

    #[test]
    fn a_short_picture_id_is_told_from_a_long_one() {
        let descriptor = Vp8Descriptor::read(&[0x80, 0x80, 0x45, 0]).unwrap();
        let picture_id = descriptor.picture_id.unwrap();
        assert_eq!((picture_id.number, picture_id.is_long), (0x45, false));
        assert_eq!(descriptor.size, 3);
    }

    #[test]
    fn only_the_first_packet_of_a_key_frame_begins_one() {
        assert!(facts(&[0x10, 0x00]).keyframe);
        assert!(!facts(&[0x10, 0x01]).keyframe, "an inter frame");
        assert!(!facts(&[0x00, 0x00]).keyframe, "a continuation");
        assert!(!facts(&[0x11, 0x00]).keyframe, "the second partition");
        assert!(!facts(&[0x10]).keyframe, "no payload header");
    }

    #[test]
    fn a_descriptor_that_is_cut_short_is_refused() {
        let payload = [0x90, 0xf0, 0x92, 0x34, 0x56, 0xa0];
        for length in 0..payload.len() {
            assert_eq!(Vp8Descriptor::read(&payload[..length]), None, "{length}");
        }
        assert!(Vp8Descriptor::read(&payload).is_some());
    }
}
