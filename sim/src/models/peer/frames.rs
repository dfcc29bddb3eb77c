//! What peers send: payloads that a media server takes for Opus and VP8, with a tag inside that
//! says where each comes from.

use crate::kernel::time::SimTime;

/// Where a packet comes from, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Who sent it.
    pub peer: u32,
    /// In which room.
    pub room: u32,
    /// Audio or video.
    pub kind: Kind,
    /// Which encoding of it, 0 is the lowest.
    pub encoding: u8,
    /// The temporal layer.
    pub temporal: u8,
    /// Whether it belongs to a key frame.
    pub is_key: bool,
    /// The stream anew: an encoder that began again counts from the start.
    pub life: u16,
    /// The packet's number within its encoding, without gaps.
    pub number: u64,
    /// The timestamp with which it was sent.
    pub timestamp: u32,
    /// When it was sent.
    pub sent: SimTime,
}

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl Kind {
    /// Its name in session descriptions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    /// Ticks of its RTP clock in a second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Audio => 48_000,
            Self::Video => 90_000,
        }
    }
}

const MAGIC: [u8; 4] = *b"tag!";
const TAG_SIZE: usize = 40;

impl Tag {
    /// The payload of a packet: `size` bytes of content at most, if there is room for the tag.
    pub fn payload(&self, picture: Picture, size: usize) -> Vec<u8> {
        let mut payload = Vec::with_capacity(64 + size);
        if self.kind == Kind::Video {
            picture.write(self, &mut payload);
        }
        let begin = payload.len();
        payload.extend(MAGIC);
        payload.extend([
            self.kind as u8,
            self.encoding,
            self.temporal,
            u8::from(self.is_key),
        ]);
        payload.extend(self.peer.to_be_bytes());
        payload.extend((self.room as u16).to_be_bytes());
        payload.extend(self.life.to_be_bytes());
        payload.extend(self.number.to_be_bytes());
        payload.extend(self.timestamp.to_be_bytes());
        payload.extend(self.sent.as_nanos().to_be_bytes());
        payload.resize((begin + TAG_SIZE).max(size), 0xa5);
        payload
    }

    /// Reads the tag in a payload.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let at = payload.windows(4).position(|window| window == MAGIC)?;
        let tag = payload.get(at + 4..at + TAG_SIZE)?;
        let be = |from: usize, size: usize| {
            let bytes = tag[from..from + size].iter();
            bytes.fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        Some(Self {
            kind: if tag[0] == 0 {
                Kind::Audio
            } else {
                Kind::Video
            },
            encoding: tag[1],
            temporal: tag[2],
            is_key: tag[3] != 0,
            peer: be(4, 4) as u32,
            room: be(8, 2) as u32,
            life: be(10, 2) as u16,
            number: be(12, 8),
            timestamp: be(20, 4) as u32,
            sent: SimTime::from_nanos(be(24, 8)),
        })
    }
}

/// Where a packet stands in its VP8 picture.
#[derive(Clone, Copy, Debug, Default)]
pub struct Picture {
    /// The number of the picture.
    pub id: u16,
    /// The running number of base layer pictures.
    pub tl0_index: u8,
    /// Whether the packet begins the picture.
    pub is_first: bool,
}

impl Picture {
    /// The descriptor (RFC 7741 section 4.2), and the head of the frame where it begins.
    fn write(self, tag: &Tag, payload: &mut Vec<u8>) {
        let [high, low] = self.id.to_be_bytes();
        let is_sync = tag.temporal > 0;
        payload.push(if self.is_first { 0x90 } else { 0x80 });
        payload.extend([0xe0, 0x80 | high, low, self.tl0_index]);
        payload.push(tag.temporal << 6 | u8::from(is_sync) << 5);
        if self.is_first {
            payload.push(u8::from(!tag.is_key));
            payload.extend([0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrons::wire::rtp::{LayerFacts, VideoCodec};

    fn tag(kind: Kind, is_key: bool) -> Tag {
        Tag {
            peer: 3,
            room: 2,
            kind,
            encoding: 1,
            temporal: 2,
            is_key,
            life: 9,
            number: 1 << 40,
            timestamp: 0xffff_fff0,
            sent: SimTime::from_millis(12_345),
        }
    }

    #[test]
    fn a_tag_is_read_back_from_any_payload() {
        for (kind, is_first) in [
            (Kind::Audio, true),
            (Kind::Video, true),
            (Kind::Video, false),
        ] {
            let tag = tag(kind, is_first);
            let picture = Picture {
                id: 0x7fff,
                tl0_index: 255,
                is_first,
            };
            for size in [0, 100] {
                assert_eq!(Tag::read(&tag.payload(picture, size)), Some(tag));
            }
        }
        assert_eq!(Tag::read(b"tag! but short"), None);
    }

    #[test]
    fn the_gateway_takes_them_for_vp8() {
        for is_key in [true, false] {
            let picture = Picture {
                id: 300,
                tl0_index: 7,
                is_first: true,
            };
            let payload = tag(Kind::Video, is_key).payload(picture, 0);
            let facts = LayerFacts::read(VideoCodec::Vp8, &payload);
            assert_eq!((facts.keyframe, facts.frame_start), (is_key, true));
            assert_eq!(facts.temporal, Some(2));
        }
    }
}
