//! A packet that is cheap to pass on.

use std::sync::Arc;

use crate::media::peer_ext::HeaderValues;
use crate::media::rewriter::SourceKey;
use crate::wire::rtp::{LayerFacts, Vp8Descriptor};

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
