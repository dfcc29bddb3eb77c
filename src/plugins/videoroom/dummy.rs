//! Publishers that never send: they hold places that subscribers switch away from later.

use crate::base::id::PeerId;
use crate::media::LineRef;
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind};

/// What all of them are called.
pub(super) const DISPLAY: &str = "Dummy publisher";

/// The streams of a room's dummy publisher: one for each codec of the room, or for each of those
/// that are asked for. Nothing comes from where they say.
pub(super) fn streams(room: &RoomOptions) -> Vec<StreamInfo> {
    let of = |kind, list: &[String]| {
        let named: Vec<_> = list.iter().map(|codec| (kind, codec.clone())).collect();
        named
    };
    let mut codecs = of(StreamKind::Audio, &room.audio_codecs);
    codecs.extend(of(StreamKind::Video, &room.video_codecs));
    let mut streams: Vec<StreamInfo> = Vec::new();
    for (kind, codec) in codecs {
        let asked = match &room.dummy_streams {
            None => None,
            Some(list) => match list.iter().find(|asked| asked.codec == codec) {
                None => continue,
                Some(asked) => asked.fmtp.as_deref().map(Box::from),
            },
        };
        if streams.iter().any(|stream| *stream.codec == *codec) {
            continue;
        }
        let mindex = streams.len();
        let line = LineRef {
            peer: PeerId(0),
            line: mindex,
        };
        let mut stream = StreamInfo::new(kind, mindex, mindex.to_string().into(), line);
        stream.codec = codec.into();
        stream.fmtp = asked;
        streams.push(stream);
    }
    streams
}
