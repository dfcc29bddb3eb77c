//! The payload of a packet: a VP8 descriptor and frame head that gateways can read, and the time at
//! which it was made.

/// Picture numbers have fifteen bits.
pub(super) const PICTURE_MASK: u16 = 0x7fff;

const DESCRIPTOR_BYTES: usize = 6;
const FRAME_HEAD_BYTES: usize = 10;
const STAMP_AT: usize = DESCRIPTOR_BYTES + FRAME_HEAD_BYTES;

/// The least size of a payload.
pub(super) const BYTES_MIN: usize = STAMP_AT + 8;

/// What a payload says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    pub(super) picture: u16,
    pub(super) is_key: bool,
    /// The first packet of its frame.
    pub(super) is_first: bool,
    pub(super) stamp: u64,
}

impl Payload {
    /// A payload of `size` bytes, RFC 7741 sections 4.2 and 4.3.
    pub(super) fn write(self, size: usize) -> Vec<u8> {
        let mut bytes = vec![0x55; size.max(BYTES_MIN)];
        let start = if self.is_first { 0x90 } else { 0x80 };
        let [high, low] = (self.picture & PICTURE_MASK).to_be_bytes();
        bytes[..DESCRIPTOR_BYTES].copy_from_slice(&[start, 0xe0, 0x80 | high, low, low, 0x20]);
        // The lowest bit of the frame's first byte is zero for a key frame.
        let frame = &mut bytes[DESCRIPTOR_BYTES..STAMP_AT];
        frame.fill(0);
        frame[0] = if self.is_key { 0x10 } else { 0x11 };
        if self.is_key {
            frame[3..10].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01]);
        }
        bytes[STAMP_AT..BYTES_MIN].copy_from_slice(&self.stamp.to_be_bytes());
        bytes
    }
}

/// When a payload was made.
pub(super) fn stamp(payload: &[u8]) -> Option<u64> {
    let bytes = payload.get(STAMP_AT..BYTES_MIN)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let payload = Payload {
            picture: 0x1234,
            is_key: true,
            is_first: true,
            stamp: 0x0102_0304_0506_0708,
        };
        let bytes = payload.write(1_000);
        assert_eq!(bytes.len(), 1_000);
        assert_eq!(stamp(&bytes), Some(payload.stamp));
        let descriptor = str0m::rtp::Vp8Descriptor::parse(&bytes).unwrap();
        assert!(descriptor.starts_keyframe(&bytes));
        assert_eq!(bytes[6] & 1, 0, "a key frame");
        let delta = Payload {
            is_key: false,
            ..payload
        };
        assert_eq!(delta.write(1_000)[6] & 1, 1);
        assert_eq!(payload.write(0).len(), BYTES_MIN);
        assert_eq!(stamp(&bytes[..20]), None);
    }
}
