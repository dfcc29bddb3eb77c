//! Invariants 32, 33, 35 and 38: at the end nothing is left, and what was counted adds up.

use bifrons::metrics::Metrics;

/// What must be zero when everybody has gone: the rule, what it counts, and the count.
///
/// A negative number means that something ended more often than it began.
pub fn leftovers(metrics: &Metrics) -> Vec<(&'static str, &'static str, i128)> {
    let ended = &metrics.gateway_sessions_destroyed;
    let sessions_ended =
        ended.destroyed + ended.overflow + ended.shutdown + ended.timeout + ended.transport_gone;
    vec![
        (
            "no-connection-leak",
            "connections in the books",
            metrics.http_connections_open.into(),
        ),
        (
            "no-session-leak",
            "sessions in the books",
            metrics.gateway_sessions.into(),
        ),
        (
            "no-handle-leak",
            "handles in the books",
            metrics.gateway_handles.into(),
        ),
        (
            "no-peer-leak",
            "PeerConnections in the books",
            metrics.media_peers.into(),
        ),
        (
            "no-peer-leak",
            "routes in the books",
            metrics.media_routes.into(),
        ),
        (
            "no-peer-leak",
            "interests of other shards in the books",
            metrics.media_interests.into(),
        ),
        (
            "counters-balance",
            "connections opened and not closed",
            balance(
                metrics.http_connections_opened,
                metrics.http_connections_closed,
            ),
        ),
        (
            "counters-balance",
            "sessions created and not ended",
            balance(metrics.gateway_sessions_created, sessions_ended),
        ),
        (
            "counters-balance",
            "handles attached and not detached",
            balance(
                metrics.gateway_handles_attached,
                metrics.gateway_handles_detached,
            ),
        ),
        (
            "counters-balance",
            "chunked bodies begun and not finished",
            unfinished(metrics),
        ),
        (
            "counters-balance",
            "polls that wait",
            metrics.http_polls_parked.into(),
        ),
        (
            "counters-balance",
            "sockets that are open",
            metrics.ws_sockets_open.into(),
        ),
        (
            "counters-balance",
            "sockets opened and not closed",
            balance(metrics.ws_sockets_opened, sockets_closed(metrics)),
        ),
        (
            "counters-balance",
            "streams that are open",
            metrics.http_streams_open.into(),
        ),
        (
            "counters-balance",
            "events delivered or dropped that were never pushed",
            overdelivered(metrics),
        ),
    ]
}

fn sockets_closed(metrics: &Metrics) -> u64 {
    let ends = &metrics.ws_sockets_closed;
    let ours = ends.fault + ends.flood + ends.shutdown + ends.silent + ends.slow;
    ours + ends.client + ends.lost
}

/// A stream that is resumed may get events again that the kernel took before.
fn overdelivered(metrics: &Metrics) -> i128 {
    if metrics.http_streams_resumed > 0 {
        return 0;
    }
    let dropped = metrics.gateway_events_dropped.session_ended;
    let settled = metrics.gateway_events_delivered + dropped;
    balance(settled, metrics.gateway_events_pushed).max(0)
}

fn balance(up: u64, down: u64) -> i128 {
    i128::from(up) - i128::from(down)
}

/// A stream whose client went away is not finished; more than were begun never are.
fn unfinished(metrics: &Metrics) -> i128 {
    balance(metrics.http_chunked_finished, metrics.http_chunked_begun).max(0)
}
