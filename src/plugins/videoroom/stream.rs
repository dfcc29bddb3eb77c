//! A published stream: one line of a publisher's session description.

use serde_json::{Value, json};

use crate::media::LineRef;

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    Audio,
    Data,
    Video,
}

impl StreamKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Data => "data",
            Self::Video => "video",
        }
    }
}

/// A stream as its room knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamInfo {
    pub(super) kind: StreamKind,
    /// Its position in the publisher's session description.
    pub(super) mindex: usize,
    pub(super) mid: Box<str>,
    pub(super) description: Option<Box<str>>,
    /// In lower case; empty for data.
    pub(super) codec: Box<str>,
    /// The parameters of the codec that subscribers need to know of.
    pub(super) fmtp: Option<Box<str>>,
    pub(super) is_disabled: bool,
    pub(super) is_moderated: bool,
    pub(super) is_simulcast: bool,
    /// Its packets may carry copies of earlier ones.
    pub(super) has_red: bool,
    /// Its layers are in one stream.
    pub(super) is_svc: bool,
    pub(super) has_fec: bool,
    pub(super) has_dtx: bool,
    pub(super) is_stereo: bool,
    pub(super) h264_profile: Option<Box<str>>,
    pub(super) vp9_profile: Option<Box<str>>,
    pub(super) audiolevel_ext_id: Option<u8>,
    pub(super) videoorient_ext_id: Option<u8>,
    pub(super) playoutdelay_ext_id: Option<u8>,
    /// Only of codecs whose layers may be told apart by it.
    pub(super) dependencydesc_ext_id: Option<u8>,
    /// Where its packets come in, on the publisher's shard.
    pub(super) line: LineRef,
}

impl StreamInfo {
    /// A stream of which nothing more is known.
    pub(super) fn new(kind: StreamKind, mindex: usize, mid: Box<str>, line: LineRef) -> Self {
        Self {
            kind,
            mindex,
            mid,
            description: None,
            codec: "".into(),
            fmtp: None,
            is_disabled: false,
            is_moderated: false,
            is_simulcast: false,
            is_svc: false,
            has_red: false,
            has_fec: false,
            has_dtx: false,
            is_stereo: false,
            h264_profile: None,
            vp9_profile: None,
            audiolevel_ext_id: None,
            videoorient_ext_id: None,
            playoutdelay_ext_id: None,
            dependencydesc_ext_id: None,
            line,
        }
    }

    /// The stream as others see it.
    pub(super) fn json(&self) -> Value {
        let mut stream = json!({
            "type": self.kind.as_str(),
            "mindex": self.mindex,
            "mid": self.mid,
        });
        if self.is_disabled {
            stream["disabled"] = true.into();
            return stream;
        }
        if let Some(description) = &self.description {
            stream["description"] = (&**description).into();
        }
        if self.kind != StreamKind::Data {
            stream["codec"] = (&*self.codec).into();
        }
        let flags = [
            ("stereo", self.is_stereo),
            ("fec", self.has_fec),
            ("dtx", self.has_dtx),
            ("simulcast", self.is_simulcast),
            ("svc", self.is_svc),
        ];
        for (name, _) in flags.iter().filter(|(_, flag)| *flag) {
            stream[*name] = true.into();
        }
        for (name, profile) in [
            ("h264_profile", &self.h264_profile),
            ("vp9_profile", &self.vp9_profile),
        ] {
            if let Some(profile) = profile {
                stream[name] = (&**profile).into();
            }
        }
        stream
    }

    /// The stream as its publisher sees it.
    pub(super) fn own_json(&self) -> Value {
        let mut stream = self.json();
        if self.is_disabled {
            return stream;
        }
        for (name, id) in [
            ("audiolevel_ext_id", self.audiolevel_ext_id),
            ("videoorient_ext_id", self.videoorient_ext_id),
            ("playoutdelay_ext_id", self.playoutdelay_ext_id),
            ("dependencydesc_ext_id", self.dependencydesc_ext_id),
        ] {
            if let Some(id) = id {
                stream[name] = id.into();
            }
        }
        stream
    }

    /// The stream as operators see it: profiles go by other names there.
    pub(super) fn query_json(&self) -> Value {
        let mut stream = self.own_json();
        if let Some(members) = stream.as_object_mut() {
            for (name, written) in [
                ("h264_profile", "h264-profile"),
                ("vp9_profile", "vp9-profile"),
            ] {
                if let Some(profile) = members.remove(name) {
                    members.insert(written.to_owned(), profile);
                }
            }
        }
        stream
    }
}

/// The codecs of the first streams of both kinds, as their publisher is told: `none` for a kind
/// that it offers and the room does not take.
pub(super) fn own_codecs(streams: &[StreamInfo]) -> Vec<(&'static str, &str)> {
    let mut codecs = Vec::new();
    for (name, kind) in [
        ("audio_codec", StreamKind::Audio),
        ("video_codec", StreamKind::Video),
    ] {
        let first = streams.iter().find(|stream| stream.kind == kind);
        let codec = first_codec(streams, kind);
        let codec = codec.or_else(|| first.map(|_| "none"));
        codecs.extend(codec.map(|codec| (name, codec)));
    }
    codecs
}

/// The codec of the first stream of a kind that is not disabled, as clients of the time before
/// several streams want to know.
pub(super) fn first_codec(streams: &[StreamInfo], kind: StreamKind) -> Option<&str> {
    let fits = |stream: &&StreamInfo| stream.kind == kind && !stream.is_disabled;
    streams.iter().find(fits).map(|stream| &*stream.codec)
}
