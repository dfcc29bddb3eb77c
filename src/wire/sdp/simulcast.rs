//! Simulcast: several encodings of one source, by rid (RFC 8853) or by a `SIM` group of sources.

use super::{MediaDescription, RidDirection};

/// How many encodings of one source are told apart; more are ignored.
pub const SIMULCAST_LAYERS_MAX: usize = 3;

/// Which encodings are sent and received together, `a=simulcast`.
///
/// Each list has one entry for each encoding; an entry lists alternatives, the preferred one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulcast {
    /// What the one who says it sends.
    pub send: Vec<Vec<SimulcastRid>>,
    /// What the one who says it receives.
    pub recv: Vec<Vec<SimulcastRid>>,
}

/// An encoding named in `a=simulcast`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulcastRid {
    /// The identifier.
    pub rid: String,
    /// Whether the encoding is announced, but not sent for the time being (`~`).
    pub paused: bool,
}

/// In which order a client lists its rids; SDP has no way to say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RidOrder {
    /// The best encoding first; also what is assumed for unknown text.
    #[default]
    HighToLow,
    /// The best encoding last.
    LowToHigh,
}

impl RidOrder {
    /// Reads the `rid_order` of a request; all but `lmh` is taken for `hml`, as Janus does.
    pub fn parse(text: &str) -> Self {
        if text == "lmh" {
            Self::LowToHigh
        } else {
            Self::HighToLow
        }
    }
}

/// One encoding of a simulcast source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulcastLayer {
    /// How packets of the encoding are told from those of the others.
    pub source: LayerSource,
    /// Whether the encoding was announced as paused.
    pub paused: bool,
}

/// How packets of an encoding are told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerSource {
    /// By the rid in a header extension.
    Rid(String),
    /// By a source announced beforehand.
    Ssrc {
        /// The source of the media.
        media: u32,
        /// The source of its retransmissions.
        rtx: Option<u32>,
    },
}

/// Returns the encodings that the sender of a media section announces, the lowest first.
///
/// Empty when the section is no simulcast; at most [`SIMULCAST_LAYERS_MAX`], the first ones listed.
/// `order` applies to rids only: `SIM` groups always begin with the lowest.
pub fn simulcast_layers(media: &MediaDescription, order: RidOrder) -> Vec<SimulcastLayer> {
    let by_rid = rid_layers(media);
    if by_rid.is_empty() {
        return sim_layers(media);
    }
    match order {
        RidOrder::HighToLow => by_rid.into_iter().rev().collect(),
        RidOrder::LowToHigh => by_rid,
    }
}

/// Returns the encodings sent by rid, in the order they are listed.
fn rid_layers(media: &MediaDescription) -> Vec<SimulcastLayer> {
    let layer = |each: SimulcastRid| SimulcastLayer {
        source: LayerSource::Rid(each.rid),
        paused: each.paused,
    };
    sent_rids(media).into_iter().map(layer).collect()
}

/// Returns the rids that the sender of a section announces: the first ones of its `a=rid` lines.
///
/// Janus goes by these lines, and looks into `a=simulcast` for what is paused only; it may be
/// missing.
pub(super) fn sent_rids(media: &MediaDescription) -> Vec<SimulcastRid> {
    let listed = media
        .simulcast
        .iter()
        .flat_map(|simulcast| simulcast.send.iter().flatten());
    let is_paused = |id: &str| listed.clone().any(|each| each.rid == id && each.paused);
    let sent = media
        .rids
        .iter()
        .filter(|rid| rid.direction == RidDirection::Send);
    sent.take(SIMULCAST_LAYERS_MAX)
        .map(|rid| SimulcastRid {
            rid: rid.id.clone(),
            paused: is_paused(&rid.id),
        })
        .collect()
}

/// Returns the encodings of the first `SIM` group.
fn sim_layers(media: &MediaDescription) -> Vec<SimulcastLayer> {
    let Some(group) = media
        .ssrc_groups
        .iter()
        .find(|group| group.semantics == "SIM")
    else {
        return Vec::new();
    };
    let rtx_of = |ssrc: u32| {
        media
            .fid_pairs()
            .find(|pair| pair.0 == ssrc)
            .map(|pair| pair.1)
    };
    let layer = |&ssrc: &u32| SimulcastLayer {
        source: LayerSource::Ssrc {
            media: ssrc,
            rtx: rtx_of(ssrc),
        },
        paused: false,
    };
    group
        .ssrcs
        .iter()
        .take(SIMULCAST_LAYERS_MAX)
        .map(layer)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sdp::SessionDescription;

    #[test]
    fn rids_come_out_lowest_first_in_either_order() {
        let media = video("a=rid:h send\na=rid:m send\na=rid:l send\na=simulcast:send h;~m;l\n");
        let expected = |rids: [&str; 3]| rids.map(|rid| by_rid(rid, rid == "m")).to_vec();
        assert_eq!(
            simulcast_layers(&media, RidOrder::parse("hml")),
            expected(["l", "m", "h"])
        );
        assert_eq!(
            simulcast_layers(&media, RidOrder::parse("lmh")),
            expected(["h", "m", "l"])
        );
        assert_eq!(RidOrder::parse("x"), RidOrder::default());
    }

    #[test]
    fn rids_alone_are_a_simulcast_and_the_fourth_is_ignored() {
        let media =
            video("a=rid:a send\na=rid:r recv\na=rid:b send pt=96\na=rid:c send\na=rid:d send\n");
        let expected = ["a", "b", "c"].map(|rid| by_rid(rid, false));
        assert_eq!(simulcast_layers(&media, RidOrder::LowToHigh), expected);
    }

    #[test]
    fn a_group_of_sources_begins_with_the_lowest() {
        let media =
            video("a=ssrc-group:SIM 1 2 3 4\na=ssrc-group:FID 2 12\na=ssrc-group:FID 1 11\n");
        let by_ssrc = |(media, rtx)| SimulcastLayer {
            source: LayerSource::Ssrc { media, rtx },
            paused: false,
        };
        let expected = [(1, Some(11)), (2, Some(12)), (3, None)].map(by_ssrc);
        assert_eq!(simulcast_layers(&media, RidOrder::HighToLow), expected);
        assert_eq!(simulcast_layers(&media, RidOrder::LowToHigh), expected);
    }

    #[test]
    fn one_source_is_no_simulcast() {
        let media = video("a=ssrc-group:FID 1 2\na=ssrc:1 cname:x\na=rid:x recv\n");
        assert_eq!(simulcast_layers(&media, RidOrder::HighToLow), []);
    }

    #[test]
    fn lists_of_alternatives_and_the_old_form_are_read() {
        let check = |value: &str, expected: &str| {
            let media = video(&format!("a=simulcast:{value}\n"));
            assert_eq!(media.simulcast.unwrap().to_string(), expected);
        };
        check("send h;~m;l,~x recv y", "send h;~m;l,~x recv y");
        check("recv y send h", "send h recv y");
        check(" send rid=h;m", "send h;m");
    }

    fn by_rid(rid: &str, paused: bool) -> SimulcastLayer {
        SimulcastLayer {
            source: LayerSource::Rid(rid.to_owned()),
            paused,
        }
    }

    fn video(attributes: &str) -> MediaDescription {
        let text =
            format!("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nm=video 9 RTP/SAVPF 96\n{attributes}");
        SessionDescription::parse(&text).unwrap().media.remove(0)
    }
}
