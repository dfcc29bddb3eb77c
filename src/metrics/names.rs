//! The table of everything that is counted.
//!
//! A name is `AREA_NOUN_UNIT`; `bifrons_` before it and `_total` behind counters are
//! added. The sentence above an entry is its help text.

use super::set::{Family, Kind, Name, Sample, family, metrics};
use crate::base::error::ErrorCode;

metrics! {
    /// TCP connections accepted.
    counter http_connections_opened,
    /// TCP connections that have ended, for whatever reason.
    counter http_connections_closed,
    /// TCP connections that were turned away.
    counter http_connections_refused: ConnectionRefusals,
    /// TCP connections that are open.
    gauge http_connections_open,
    /// Bytes read from TCP connections.
    counter http_read_bytes,
    /// Bytes that the kernel took for TCP connections.
    counter http_written_bytes,
    /// HTTP requests whose head was read.
    counter http_requests: HttpMethods,
    /// HTTP answers by the class of their status.
    counter http_answers: HttpStatuses,
    /// HTTP requests that broke a rule or a bound of the protocol, by the answer they got.
    counter http_malformed_requests: HttpFaults,
    /// Connections closed because the peer was too slow.
    counter http_timeouts: HttpTimeouts,
    /// Chunked answers of which the head went out.
    counter http_chunked_begun,
    /// Chunked answers of which the zero chunk went out.
    counter http_chunked_finished,
    /// Long polls that wait for an event.
    gauge http_polls_parked,
    /// Long polls that began.
    counter http_polls_opened,
    /// Long polls that ended.
    counter http_polls: PollEnds,
    /// Event streams that are open.
    gauge http_streams_open,
    /// Event streams that were opened.
    counter http_streams_opened,
    /// Event streams that have ended.
    counter http_streams_closed,
    /// Event streams that were resumed after the events of which the client had the last id.
    counter http_streams_resumed,

    /// TLS handshakes completed.
    counter tls_handshakes,
    /// TLS connections whose client broke the protocol, or had nothing in common with us.
    counter tls_faults,
    /// WebSockets that are open.
    gauge ws_sockets_open,
    /// WebSockets that were opened.
    counter ws_sockets_opened,
    /// WebSockets that have ended.
    counter ws_sockets_closed: SocketEnds,
    /// Opening handshakes of WebSockets that were refused.
    counter ws_handshakes_refused,
    /// Messages received on WebSockets.
    counter ws_received_messages,
    /// Messages written to WebSockets.
    counter ws_sent_messages,

    /// Requests of the Janus API.
    counter gateway_requests: Verbs,
    /// Requests of the Janus API that were refused, by error code.
    counter gateway_errors: ApiErrors,
    /// Sessions that live.
    gauge gateway_sessions,
    /// Sessions created.
    counter gateway_sessions_created,
    /// Sessions that have ended.
    counter gateway_sessions_destroyed: SessionEnds,
    /// Sessions that lost their socket and wait to be claimed.
    gauge gateway_sessions_orphaned,
    /// Sessions that a connection claimed.
    counter gateway_sessions_claimed,
    /// Handles that live.
    gauge gateway_handles,
    /// Handles attached.
    counter gateway_handles_attached,
    /// Handles detached, alone or with their session.
    counter gateway_handles_detached,
    /// Events queued for sessions.
    counter gateway_events_pushed,
    /// Events of which the kernel took the last byte.
    counter gateway_events_delivered,
    /// Events put back in front of their queue because the client went away while it was told.
    counter gateway_events_requeued,
    /// Events that nobody will ever fetch.
    counter gateway_events_dropped: EventDrops,

    /// Messages sent to other shards.
    counter mesh_sent_messages,
    /// Messages received from other shards.
    counter mesh_received_messages,
    /// Requests that another shard was too far behind for.
    counter mesh_refused_messages,

    /// PeerConnections that live.
    gauge media_peers,
    /// Lines that are fed by others.
    gauge media_routes,
    /// Lines whose packets go to other shards, counted once for each shard.
    gauge media_interests,
    /// PeerConnections created.
    counter media_peers_created,
    /// PeerConnections that have ended.
    counter media_peers_closed: PeerEnds,
    /// Times that ICE lost an established PeerConnection; some recover.
    counter media_ice_failures,
    /// Remote candidates that were not used.
    counter media_candidates_ignored: CandidateDrops,
    /// Datagrams received.
    counter media_received_datagrams,
    /// Bytes of datagrams received.
    counter media_received_bytes,
    /// Datagrams handed over for sending.
    counter media_sent_datagrams,
    /// Bytes of datagrams handed over for sending.
    counter media_sent_bytes,
    /// Datagrams that went nowhere.
    counter media_dropped_datagrams: DatagramDrops,
    /// RTP packets received and decrypted.
    counter media_received_packets,
    /// RTP packets handed over for sending.
    counter media_sent_packets,
    /// RTP packets sent again to receivers that missed them.
    counter media_resent_packets,
    /// RTP packets without content, which find out what the way to a receiver carries.
    counter media_padding_packets,
    /// RTP packets and messages that forwards sent to receivers of plain RTP.
    counter media_exported_packets,
    /// RTP and RTCP packets that captures have.
    counter media_captured_packets,
    /// RTP and RTCP packets that captures lack.
    counter media_dropped_captures: CaptureDrops,
    /// Recordings begun.
    counter media_recordings,
    /// Recordings that ended because their files could not be written.
    counter media_recordings_failed,
    /// RTP packets and messages that recordings have.
    counter media_recorded_packets,
    /// RTP packets and messages that recordings lack.
    counter media_dropped_recordings: RecordingDrops,
    /// RTP packets that were received and not looked at, or not sent.
    counter media_dropped_packets: PacketDrops,
    /// Key frames asked of senders.
    counter media_keyframes_requested,
    /// Key frame requests that came from receivers.
    counter media_keyframes_wanted,
    /// Slow link events sent.
    counter media_slowlinks,
    /// Data channel messages received.
    counter media_received_messages,
    /// Data channel messages sent.
    counter media_sent_messages,
    /// Data channel messages that were dropped; a reliable channel is closed then.
    counter media_dropped_messages: MessageDrops,

    /// Rooms of the VideoRoom.
    gauge videoroom_rooms,
    /// People in them.
    gauge videoroom_people,
    /// Wrong secrets and PINs that the VideoRoom was shown.
    counter videoroom_wrong_secrets,
    /// Answers to wrong secrets and PINs that were held back, because there were many.
    counter videoroom_held_answers,
    /// Answers to wrong secrets and PINs that were not given, because too many were held back.
    counter videoroom_dropped_answers,

    /// Turns of the shard's loop.
    counter driver_turns,
    /// Turns that left work for the next.
    counter driver_full_turns,
    /// Inputs taken in.
    counter driver_inputs,
    /// Timers that fired.
    counter driver_timers_fired,
    /// Times that a listener had to rest, for want of descriptors or memory.
    counter driver_accept_errors,
    /// Connections that the client or the network ended.
    counter driver_failed_connections,
    /// Errors of receiving datagrams.
    counter driver_receive_errors,
    /// Datagrams that the kernel took.
    counter driver_sent_datagrams,

    /// Reports for event handlers that they were not told.
    counter events_dropped_reports: ReportDrops,
    /// Reports that a collector took.
    counter events_delivered_reports: ByHandler,
    /// Attempts to deliver reports that are made again.
    counter events_failed_deliveries: ByHandler,

    /// Log lines that were not written.
    counter log_dropped_lines: LogDrops,

    /// Bytes handed over to the journal.
    counter journal_written_bytes,
    /// Bytes handed over that came neither into the journal nor into its tail, because it is full
    /// and has none, or the disk fails or is too slow.
    counter journal_lost_bytes,
    /// Turns after the end of the journal that did not come into its tail.
    counter journal_lost_turns,
    /// Bytes handed over to the journal's tail, where they stay until newer ones take their place.
    counter journal_tail_bytes,
    /// Turns handed over to the journal's tail. They can be read and not replayed.
    counter journal_tail_turns,
}

family!(reason: ConnectionRefusals {
    acl = "acl",
    admin_quota = "admin_quota",
    connections = "connections",
    descriptors = "descriptors",
    draining = "draining",
    source_quota = "source_quota",
});

family!(method: HttpMethods {
    delete = "delete",
    get = "get",
    head = "head",
    options = "options",
    other = "other",
    patch = "patch",
    post = "post",
    put = "put",
});

family!(status: HttpStatuses {
    informational = "1xx",
    success = "2xx",
    redirection = "3xx",
    client_error = "4xx",
    server_error = "5xx",
});

family!(kind: HttpFaults {
    bad_request = "400",
    method_not_allowed = "405",
    body_too_large = "413",
    target_too_long = "414",
    expectation = "417",
    head_too_large = "431",
    not_implemented = "501",
    overload = "503",
    version = "505",
    other = "other",
});

family!(kind: HttpTimeouts {
    body = "body",
    first_byte = "first_byte",
    head = "head",
    idle = "idle",
    linger = "linger",
    silence = "silence",
    write = "write",
});

family!(reason: PollEnds {
    claimed = "claimed",
    client_gone = "client_gone",
    destroyed = "destroyed",
    event = "event",
    keepalive = "keepalive",
    shutdown = "shutdown",
    superseded = "superseded",
    timeout = "timeout",
});

family!(reason: SocketEnds {
    client = "client",
    fault = "fault",
    flood = "flood",
    lost = "lost",
    shutdown = "shutdown",
    silent = "silent",
    slow = "slow",
});

family!(verb: Verbs {
    attach = "attach",
    claim = "claim",
    create = "create",
    destroy = "destroy",
    detach = "detach",
    hangup = "hangup",
    info = "info",
    keepalive = "keepalive",
    message = "message",
    ping = "ping",
    poll = "poll",
    trickle = "trickle",
    unknown = "unknown",
});

family!(code: ApiErrors {
    unauthorized = "403",
    unauthorized_plugin = "405",
    transport_specific = "450",
    unknown_request = "453",
    invalid_json = "454",
    invalid_json_object = "455",
    missing_mandatory_element = "456",
    invalid_request_path = "457",
    session_not_found = "458",
    handle_not_found = "459",
    plugin_not_found = "460",
    plugin_attach = "461",
    plugin_message = "462",
    plugin_detach = "463",
    jsep_unknown_type = "464",
    jsep_invalid_sdp = "465",
    trickle_invalid_stream = "466",
    invalid_element_type = "467",
    session_conflict = "468",
    unexpected_answer = "469",
    token_not_found = "470",
    webrtc_state = "471",
    not_accepting_sessions = "472",
    unknown = "490",
});

family!(reason: SessionEnds {
    destroyed = "destroyed",
    overflow = "overflow",
    shutdown = "shutdown",
    timeout = "timeout",
    transport_gone = "transport_gone",
});

family!(reason: EventDrops {
    overflow = "overflow",
    session_ended = "session_ended",
});

family!(reason: PeerEnds {
    closed = "closed",
    dtls_alert = "dtls_alert",
    dtls_error = "dtls_error",
    dtls_timeout = "dtls_timeout",
    ice = "ice",
    internal = "internal",
});

family!(reason: CaptureDrops {
    full = "full",
    sealed = "sealed",
});

family!(reason: RecordingDrops {
    full = "full",
    too_big = "too_big",
});

family!(reason: CandidateDrops {
    limit = "limit",
    unusable = "unusable",
});

family!(reason: DatagramDrops {
    lane_full = "lane_full",
    not_media = "not_media",
    oversized = "oversized",
    plain_unknown = "plain_unknown",
    plain_untrusted = "plain_untrusted",
    send_error = "send_error",
    source_limit = "source_limit",
    stun_unknown = "stun_unknown",
    unvalidated = "unvalidated",
});

family!(reason: PacketDrops {
    batch_full = "batch_full",
    unsealed = "unsealed",
});

family!(reason: MessageDrops {
    buffer_full = "buffer_full",
    no_channel = "no_channel",
    too_big = "too_big",
    waiting_full = "waiting_full",
});

family!(handler: ByHandler {
    post = "post",
    ws = "ws",
});

family!(reason: ReportDrops {
    queue_full = "queue_full",
    refused = "refused",
    turn_full = "turn_full",
});

family!(reason: LogDrops {
    queue_full = "queue_full",
    rate = "rate",
    sink = "sink",
});

impl HttpStatuses {
    /// The counter of a status.
    pub fn status(&mut self, status: u16) -> &mut u64 {
        match status {
            0..=199 => &mut self.informational,
            200..=299 => &mut self.success,
            300..=399 => &mut self.redirection,
            400..=499 => &mut self.client_error,
            500.. => &mut self.server_error,
        }
    }
}

impl HttpFaults {
    /// The counter of the status that a malformed request is answered with.
    pub fn status(&mut self, status: u16) -> &mut u64 {
        match status {
            400 => &mut self.bad_request,
            405 => &mut self.method_not_allowed,
            413 => &mut self.body_too_large,
            414 => &mut self.target_too_long,
            417 => &mut self.expectation,
            431 => &mut self.head_too_large,
            501 => &mut self.not_implemented,
            503 => &mut self.overload,
            505 => &mut self.version,
            _ => &mut self.other,
        }
    }
}

impl ApiErrors {
    /// The counter of an error code.
    pub fn code(&mut self, code: ErrorCode) -> &mut u64 {
        match code {
            ErrorCode::Unauthorized => &mut self.unauthorized,
            ErrorCode::UnauthorizedPlugin => &mut self.unauthorized_plugin,
            ErrorCode::TransportSpecific => &mut self.transport_specific,
            ErrorCode::UnknownRequest => &mut self.unknown_request,
            ErrorCode::InvalidJson => &mut self.invalid_json,
            ErrorCode::InvalidJsonObject => &mut self.invalid_json_object,
            ErrorCode::MissingMandatoryElement => &mut self.missing_mandatory_element,
            ErrorCode::InvalidRequestPath => &mut self.invalid_request_path,
            ErrorCode::SessionNotFound => &mut self.session_not_found,
            ErrorCode::HandleNotFound => &mut self.handle_not_found,
            ErrorCode::PluginNotFound => &mut self.plugin_not_found,
            ErrorCode::PluginAttach => &mut self.plugin_attach,
            ErrorCode::PluginMessage => &mut self.plugin_message,
            ErrorCode::PluginDetach => &mut self.plugin_detach,
            ErrorCode::JsepUnknownType => &mut self.jsep_unknown_type,
            ErrorCode::JsepInvalidSdp => &mut self.jsep_invalid_sdp,
            ErrorCode::TrickleInvalidStream => &mut self.trickle_invalid_stream,
            ErrorCode::InvalidElementType => &mut self.invalid_element_type,
            ErrorCode::SessionConflict => &mut self.session_conflict,
            ErrorCode::UnexpectedAnswer => &mut self.unexpected_answer,
            ErrorCode::TokenNotFound => &mut self.token_not_found,
            ErrorCode::WebrtcState => &mut self.webrtc_state,
            ErrorCode::NotAcceptingSessions => &mut self.not_accepting_sessions,
            ErrorCode::Unknown => &mut self.unknown,
        }
    }
}
