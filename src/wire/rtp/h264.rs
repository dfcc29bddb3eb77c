//! H.264 payloads (RFC 6184), as far as forwarding needs them.

/// Tells whether a key frame begins with this payload: parameter sets or an IDR slice, alone, in
/// an aggregate, or as the first fragment.
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    let Some((&first, rest)) = payload.split_first() else {
        return false;
    };
    match first & 0x1f {
        IDR | SPS => true,
        STAP_A => aggregated(rest).any(|kind| matches!(kind, IDR | SPS)),
        FU_A => rest
            .first()
            .is_some_and(|header| header & 0x80 != 0 && header & 0x1f == IDR),
        _ => false,
    }
}

/// The kinds of the units in an aggregate, up to the first that is cut short.
fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (size, tail) = rest.split_at_checked(2)?;
        let size = usize::from(u16::from_be_bytes([size[0], size[1]]));
        let kind = tail.get(..size)?.first()? & 0x1f;
        rest = &tail[size..];
        Some(kind)
    })
}

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_begin_in_each_packetisation() {
        assert!(begins_keyframe(&[0x65, 0]), "single IDR");
        assert!(begins_keyframe(&[0x67, 0]), "parameter sets");
        assert!(
            begins_keyframe(&[0x78, 0, 1, 0x06, 0, 1, 0x67]),
            "in an aggregate"
        );
        assert!(begins_keyframe(&[0x7c, 0x85, 0]), "first fragment");
    }

    #[test]
    fn other_payloads_begin_none() {
        assert!(!begins_keyframe(&[0x61, 0]), "a slice");
        assert!(!begins_keyframe(&[0x7c, 0x05, 0]), "a later fragment");
        assert!(!begins_keyframe(&[0x7c, 0x81, 0]), "a fragment of a slice");
        assert!(
            !begins_keyframe(&[0x78, 0, 9, 0x67]),
            "an aggregate cut short"
        );
        assert!(!begins_keyframe(&[]));
    }
}
