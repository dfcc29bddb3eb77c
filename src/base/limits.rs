//! Every bound of the product in one place, with its default and its reason.
//!
//! Invariant: no bound is "unlimited"; a bound of zero is refused when the configuration is read.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds of one process, or where a field says so of one connection, session or handle.
///
/// The defaults are in [`Limits::default`]. A configuration may change them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Request line of an HTTP request, bytes. Beyond it: 414.
    pub request_line_bytes: usize,
    /// Head of an HTTP request in total, bytes. Beyond it: 431.
    pub head_bytes: usize,
    /// One field line of a head, bytes. Beyond it: 431.
    pub field_line_bytes: usize,
    /// Fields of a head. Beyond it: 431.
    pub fields_count: usize,
    /// Trailer section of a chunked request, bytes. Beyond it: 431.
    pub trailer_bytes: usize,
    /// Fields of a trailer section. Beyond it: 431.
    pub trailer_fields_count: usize,
    /// Extensions of one chunk, bytes. Beyond it: 400.
    pub chunk_extension_bytes: usize,
    /// Extensions of all chunks of one message, bytes. Beyond it: 400.
    pub chunk_extensions_message_bytes: usize,
    /// Body of a request, bytes. Beyond it: 413.
    pub body_bytes: usize,
    /// Bodies that are being read on one shard, bytes. Beyond it: 503.
    pub bodies_bytes: usize,
    /// Pipelined requests of one connection that wait for their turn. Beyond it reading pauses.
    pub pipelined_bytes: usize,
    /// Output of one connection that the kernel has yet to take, bytes.
    pub out_bytes: usize,
    /// Message of a WebSocket client, and so each frame of it, bytes. Beyond it: close 1009.
    pub ws_message_bytes: usize,
    /// Frames of a WebSocket client's message. Beyond it: close 1009.
    pub ws_fragments_count: usize,
    /// Requests in one WebSocket message. Beyond it: error 454.
    pub ws_batch_count: usize,
    /// Requests of one WebSocket that wait for replies of other shards. Beyond it reading pauses.
    pub ws_requests_count: usize,
    /// Messages to one WebSocket that the kernel has yet to take. Beyond it: close 1013.
    pub ws_out_messages_count: usize,
    /// Messages of a WebSocket client a second. Faster for `ws_flood_span`: close 1008.
    pub ws_messages_rate_count: usize,
    /// Pings of a WebSocket client a second. Faster for `ws_flood_span`: close 1008.
    pub ws_pings_rate_count: usize,
    /// How long a WebSocket client may be too fast.
    pub ws_flood_span: Duration,
    /// Depth of a JSON text. Beyond it: error 454.
    pub json_depth: usize,

    /// A new connection that sends nothing.
    pub first_byte_timeout: Duration,
    /// A request's head, from its first byte.
    pub head_timeout: Duration,
    /// A request's body without progress.
    pub body_timeout: Duration,
    /// A connection between two requests; longer than the usual 60 s of reverse proxies.
    pub idle_timeout: Duration,
    /// An answer that the client does not take, without progress.
    pub write_timeout: Duration,
    /// A connection that is being closed, until its input is drained.
    pub linger_timeout: Duration,
    /// Input that is drained from a connection that is being closed, bytes.
    pub linger_bytes: usize,
    /// A long poll without events. Browsers' libraries and reverse proxies give up after 60 s.
    pub poll_timeout: Duration,

    /// Connections of one shard, those of the admin listener aside. Beyond it: 503 and close. Cut
    /// at the start to what there are descriptors for.
    pub connections_count: usize,
    /// Connections of one source address and shard. Beyond it: 429 and close.
    pub connections_source_count: usize,
    /// Connections of the admin listener on one shard.
    pub admin_connections_count: usize,
    /// Sessions of one shard. Beyond it: error 472.
    pub sessions_count: usize,
    /// Handles of one session. Beyond it: error 461.
    pub session_handles_count: usize,
    /// PeerConnections of one shard. Beyond it: error 461.
    pub peers_count: usize,
    /// Long polls that wait on one session; a newer one ends the oldest.
    pub session_polls_count: usize,
    /// Undelivered events of one session. Beyond it the session is destroyed.
    pub session_events_count: usize,
    /// Undelivered events of one session, bytes. Beyond it the session is destroyed.
    pub session_events_bytes: usize,
    /// Events of one session kept for resuming an event stream.
    pub stream_replay_count: usize,
    /// A transaction, bytes. Beyond it: error 467.
    pub transaction_bytes: usize,
    /// Requests in work between one pair of shards. Beyond it: 503.
    pub mesh_requests_count: usize,

    /// A session description, bytes. Beyond it: error 465.
    pub sdp_bytes: usize,
    /// Lines of a session description. Beyond it: error 465.
    pub sdp_lines_count: usize,
    /// Media descriptions of a session description. Beyond it: error 465.
    pub sdp_media_count: usize,
    /// Codecs of one media description. Beyond it: error 465.
    pub sdp_codecs_count: usize,
    /// Remote candidates of one handle. More are ignored and counted.
    pub candidates_count: usize,
    /// Data channels of one PeerConnection.
    pub data_channels_count: usize,
    /// A data channel message, bytes. Beyond it the channel is closed.
    pub data_message_bytes: usize,
    /// Data channel bytes of one PeerConnection that wait to be sent.
    pub data_buffered_bytes: usize,
    /// ICE without a valid pair.
    pub ice_timeout: Duration,
    /// DTLS handshake.
    pub dtls_timeout: Duration,
    /// Packets kept for retransmission of one outgoing video stream: at 1,000 packets/s the 200 ms
    /// that Janus keeps, and a second at the pace of a camera. Each takes 0.1 KiB beside the
    /// payload, which viewers share, and 0.4 where layers follow an estimate.
    pub resend_packets_count: usize,
    /// Datagrams that wait for the kernel on one shard. More are dropped and counted.
    pub datagrams_count: usize,
    /// Sockets for plain RTP of one shard; a remote publisher has two. Beyond it: error 499.
    pub plain_sockets_count: usize,
    /// Streams that one shard sends as plain RTP. Beyond it: error 499.
    pub forwards_count: usize,
    /// Streams of one publisher that are sent as plain RTP. Beyond it: error 499.
    pub publisher_forwards_count: usize,
    /// Streams that one shard records. Beyond it they are not, and their clients are told.
    pub recordings_count: usize,
    /// Bytes of recordings of one shard that wait for the disk. More is dropped and counted.
    pub recordings_bytes: usize,
    /// Rooms of one plugin; each shard that is the home of some has its share. Beyond it: error 499.
    pub rooms_count: usize,
    /// People in one room, who publish or may. Beyond it: error 432.
    pub room_people_count: usize,
    /// Names that one shard waits for to be looked up. Beyond it: error 430.
    pub lookups_count: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line_bytes: 16 * KIB,
            head_bytes: 32 * KIB,
            field_line_bytes: 16 * KIB,
            fields_count: 100,
            trailer_bytes: 4 * KIB,
            trailer_fields_count: 32,
            chunk_extension_bytes: KIB,
            chunk_extensions_message_bytes: 16 * KIB,
            body_bytes: MIB + 64 * KIB, // a payload of a megabyte with its envelope
            bodies_bytes: 64 * MIB,
            pipelined_bytes: 64 * KIB,
            out_bytes: 2 * MIB,
            ws_message_bytes: MIB,
            ws_fragments_count: 1_024,
            ws_batch_count: 256,
            ws_requests_count: 64,
            ws_out_messages_count: 1_024,
            ws_messages_rate_count: 200,
            ws_pings_rate_count: 50,
            ws_flood_span: Duration::from_secs(5),
            json_depth: 64,
            first_byte_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(2),
            linger_bytes: 256 * KIB,
            poll_timeout: Duration::from_secs(30),
            connections_count: 16_384,
            connections_source_count: 16_384,
            admin_connections_count: 64,
            sessions_count: 50_000,
            session_handles_count: 10_000,
            peers_count: 10_000,
            session_polls_count: 4,
            session_events_count: 1_024,
            session_events_bytes: MIB,
            stream_replay_count: 256,
            transaction_bytes: KIB,
            mesh_requests_count: 1_024,
            sdp_bytes: 128 * KIB,
            sdp_lines_count: 4_096,
            sdp_media_count: 128,
            sdp_codecs_count: 64,
            candidates_count: 64,
            data_channels_count: 64,
            data_message_bytes: 256 * KIB,
            data_buffered_bytes: MIB,
            ice_timeout: Duration::from_secs(45),
            dtls_timeout: Duration::from_secs(20),
            resend_packets_count: 200,
            datagrams_count: 4_096,
            plain_sockets_count: 512,
            forwards_count: 4_096,
            publisher_forwards_count: 64,
            recordings_count: 1_024,
            recordings_bytes: 64 * MIB,
            rooms_count: 10_000,
            room_people_count: 1_000,
            lookups_count: 64,
        }
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
