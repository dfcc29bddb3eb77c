//! H.265 payloads (RFC 7798), as far as forwarding needs them.

/// Tells whether a key frame begins with this payload: parameter sets or an intra random access
/// picture, alone, in an aggregate, or as the first fragment.
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    let Some((header, rest)) = payload.split_at_checked(2) else {
        return false;
    };
    match kind_of(header[0]) {
        AGGREGATE => rest.get(2).is_some_and(|byte| begins(kind_of(*byte))),
        FRAGMENT => rest
            .first()
            .is_some_and(|header| header & 0x80 != 0 && begins(header & 0x3f)),
        kind => begins(kind),
    }
}

fn kind_of(byte: u8) -> u8 {
    byte >> 1 & 0x3f
}

fn begins(kind: u8) -> bool {
    RANDOM_ACCESS.contains(&kind) || PARAMETER_SETS.contains(&kind)
}

const RANDOM_ACCESS: std::ops::RangeInclusive<u8> = 16..=21;
const PARAMETER_SETS: std::ops::RangeInclusive<u8> = 32..=34;
const AGGREGATE: u8 = 48;
const FRAGMENT: u8 = 49;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_begin_in_each_packetisation() {
        assert!(begins_keyframe(&[19 << 1, 1, 0]), "single IDR");
        assert!(
            begins_keyframe(&[48 << 1, 1, 0, 3, 32 << 1, 1, 0]),
            "in an aggregate"
        );
        assert!(
            begins_keyframe(&[49 << 1, 1, 0x80 | 19, 0]),
            "first fragment"
        );
    }

    #[test]
    fn other_payloads_begin_none() {
        assert!(!begins_keyframe(&[1 << 1, 1, 0]), "a slice");
        assert!(!begins_keyframe(&[49 << 1, 1, 19, 0]), "a later fragment");
        assert!(!begins_keyframe(&[40]));
    }
}
