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
    pub(super) has_fec: bool,
    pub(super) has_dtx: bool,
    pub(super) is_stereo: bool,
    pub(super) h264_profile: Option<Box<str>>,
    pub(super) vp9_profile: Option<Box<str>>,
    pub(super) audiolevel_ext_id: Option<u8>,
    pub(super) videoorient_ext_id: Option<u8>,
    pub(super) playoutdelay_ext_id: Option<u8>,
    /// Where its packets come in, on the publisher's shard.
    pub(super) line: LineRef,
}

impl StreamInfo {
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
        ] {
            if let Some(id) = id {
                stream[name] = id.into();
            }
        }
        stream
    }
}

/// The codec of the first stream of a kind that is not disabled, as clients of the time before
/// several streams want to know.
pub(super) fn first_codec(streams: &[StreamInfo], kind: StreamKind) -> Option<&str> {
    let fits = |stream: &&StreamInfo| stream.kind == kind && !stream.is_disabled;
    streams.iter().find(fits).map(|stream| &*stream.codec)
}
