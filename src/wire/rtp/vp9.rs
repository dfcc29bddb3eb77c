//! The VP9 payload descriptor (RFC 9628 section 4.2), as far as forwarding needs it.

use super::{LayerFacts, LayerFrame, LayerNeeds};

/// Reads the facts of a VP9 payload.
pub(super) fn facts(payload: &[u8]) -> LayerFacts {
    read(payload).unwrap_or(LayerFacts {
        frame_start: true,
        ..LayerFacts::default()
    })
}

fn read(payload: &[u8]) -> Option<LayerFacts> {
    let first = *payload.first()?;
    let bit = |index: u8| first & (0x80 >> index) != 0;
    let (has_picture_id, is_inter, has_layers) = (bit(0), bit(1), bit(2));
    let (begins, ends) = (bit(4), bit(5));
    let mut at = 1;
    if has_picture_id {
        at += if payload.get(1)? & 0x80 == 0 { 1 } else { 2 };
    }
    let layer = if has_layers {
        Some(*payload.get(at)?)
    } else {
        None
    };
    let spatial = layer.map_or(0, |layer| layer >> 1 & 0x07);
    Some(LayerFacts {
        keyframe: !is_inter && begins && spatial == 0,
        frame_start: begins && spatial == 0,
        temporal: layer.map(|layer| layer >> 5),
        sync: layer.is_some_and(|layer| layer & 0x10 != 0),
        layered: layer.map(|layer| LayerFrame {
            spatial,
            begins,
            ends,
            needs: LayerNeeds::Kinds {
                earlier: is_inter,
                below: layer & 1 != 0,
            },
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_begins_on_the_base_layer_only() {
        // I, L and B set, a short picture id, layer 0.
        assert!(facts(&[0b1010_1000, 0x01, 0b0000_0000, 0]).keyframe);
        assert!(
            !facts(&[0b1010_1000, 0x01, 0b0000_0010, 0]).keyframe,
            "spatial layer 1"
        );
        assert!(
            !facts(&[0b1110_1000, 0x01, 0b0000_0000, 0]).keyframe,
            "an inter frame"
        );
        assert!(
            !facts(&[0b1010_0000, 0x01, 0b0000_0000, 0]).keyframe,
            "a continuation"
        );
    }

    #[test]
    fn the_temporal_layer_is_read_behind_a_long_picture_id() {
        let facts = facts(&[0b1110_1000, 0x81, 0x02, 0b0101_0000, 0]);
        assert_eq!((facts.temporal, facts.sync), (Some(2), true));
    }

    #[test]
    fn the_place_among_spatial_layers_is_read() {
        // I, L, B and E set; the layer has U, spatial layer 2 and D.
        let upper = facts(&[0b1010_1100, 0x01, 0b0011_0101, 0]);
        let layered = |spatial, needs| {
            Some(LayerFrame {
                spatial,
                begins: true,
                ends: true,
                needs,
            })
        };
        let kinds = |earlier, below| LayerNeeds::Kinds { earlier, below };
        assert_eq!(upper.layered, layered(2, kinds(false, true)));
        assert!(!upper.keyframe && !upper.frame_start);
        let lower = facts(&[0b1110_1100, 0x01, 0b0010_0000, 0]);
        assert_eq!(lower.layered, layered(0, kinds(true, false)));
    }

    #[test]
    fn a_packet_without_layers_tells_none() {
        assert_eq!(facts(&[0b0000_1000]).temporal, None);
        assert_eq!(facts(&[0b0000_1000]).layered, None);
    }
}
