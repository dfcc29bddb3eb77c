//! A packet that is cheap to pass on.

use std::sync::Arc;

use crate::media::peer_ext::HeaderValues;
use crate::media::rewriter::SourceKey;
use crate::wire::rtp::{DependencyReader, LayerFacts, VideoCodec, Vp8Descriptor};

/// An RTP packet that came in, decrypted. Its payload is shared, never written to.
#[derive(Clone, Debug)]
pub(crate) struct MediaPacket {
    /// The position of its line.
    pub(crate) line: usize,
    /// The encoding, 0 unless the line is a simulcast one.
    pub(crate) encoding: u8,
    /// Whether there are other encodings of the same pictures.
    pub(crate) is_simulcast: bool,
    /// The stream, for those who must notice when it changes.
    pub(crate) source: SourceKey,
    /// The sequence number, extended beyond 16 bits.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) form: PayloadForm,
    pub(crate) payload: Arc<[u8]>,
    /// What the payload says, read once.
    pub(crate) facts: LayerFacts,
    pub(crate) vp8: Option<Vp8Descriptor>,
    pub(crate) values: HeaderValues,
}

impl MediaPacket {
    /// The quality that it belongs to: its encoding, or its spatial layer if all are in one stream.
    pub(crate) fn quality(&self) -> u8 {
        match &self.facts.layered {
            Some(frame) if !self.is_simulcast => frame.spatial,
            Some(_) | None => self.encoding,
        }
    }
}

/// Reads what the payload and the header extensions of a packet of video say about its place.
pub(crate) fn layer_facts(
    codec: VideoCodec,
    sequence: u64,
    payload: &[u8],
    values: &HeaderValues,
    reader: &mut DependencyReader,
) -> LayerFacts {
    let facts = LayerFacts::read(codec, payload);
    match codec {
        VideoCodec::Av1 | VideoCodec::Vp9 => {
            let found = values
                .dependencies()
                .and_then(|bytes| reader.read(sequence, bytes));
            found.map_or(facts, |found| facts.with(&found))
        }
        VideoCodec::H264 | VideoCodec::H265 | VideoCodec::Vp8 => facts,
    }
}

/// How loud a packet of sound is, in -dBov: 0 is loud, 127 is silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketLevel(pub(crate) u8);

/// Which of a line's payload types a packet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadForm {
    /// That of the codec.
    Plain,
    /// That of redundant audio.
    Red,
}
