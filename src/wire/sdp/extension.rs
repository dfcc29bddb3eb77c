//! The URIs of RTP header extensions.

/// When a frame was captured.
pub const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
/// When a packet was sent, for the receiver's bandwidth estimate.
pub const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
/// How loud the audio of a packet is (RFC 6464).
pub const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
/// Which frames a frame needs.
pub const DEPENDENCY_DESCRIPTOR: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
/// The media section of a packet (RFC 9143).
pub const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// How the camera is held (3GPP TS 26.114).
pub const ORIENTATION: &str = "urn:3gpp:video-orientation";
/// How long the receiver should hold frames back.
pub const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
/// The encoding that a retransmission belongs to (RFC 8852).
pub const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
/// The encoding of a packet (RFC 8852).
pub const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
/// The number of a packet within its transport, for the sender's bandwidth estimate.
pub const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Which layers of a video are sent, and how large they are.
pub const VIDEO_LAYERS_ALLOCATION: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00";
