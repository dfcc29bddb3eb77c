//! Keys of event handlers.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::special::events_disable;
use super::{Act, DAY, Key, SECOND, other, set};
use crate::config::events::ReportMask;
use crate::config::read::{Setting, Unit};
use crate::config::tree::ConfigError;
use crate::config::value::{Backend, Secret};

pub(super) const KEYS: &[Key] = &[
    // Event handlers.
    set(
        "core/events.broadcast",
        "events.enabled",
        field!(flag events.enabled),
    ),
    set(
        "core/events.combine_media_stats",
        "events.combine_media_stats",
        field!(flag events.combine_media_stats),
    ),
    set("core/events.stats_period", "events.stats_period", |d, s| {
        d.config.events.stats_period = s.duration_or_off(Unit::Seconds, SECOND..=DAY)?;
        Ok(())
    }),
    set("core/events.disable", "", events_disable),
    set("", "events.ca_pem", field!(path events.ca_pem)),
    set(
        "post/general.enabled",
        "events.post.enabled",
        field!(flag events.post.enabled),
    ),
    set("post/general.events", "events.post.events", |d, s| {
        d.config.events.post.mask = mask(s)?;
        Ok(())
    }),
    set(
        "post/general.grouping",
        "events.post.grouping",
        field!(flag events.post.grouping),
    ),
    other(
        "post/general.json",
        Act::Ignore("events are always compact JSON"),
    ),
    set("post/general.backend", "events.post.backend", |d, s| {
        d.config.events.post.backend = backend(s, Family::Http)?;
        Ok(())
    }),
    set(
        "post/general.backend_user",
        "events.post.user",
        field!(text events.post.user),
    ),
    set(
        "post/general.backend_pwd",
        "events.post.password",
        field!(secret events.post.password),
    ),
    set(
        "post/general.compress",
        "events.post.compress",
        field!(flag events.post.compress),
    ),
    set(
        "post/general.compression",
        "events.post.compression",
        |d, s| {
            d.config.events.post.compression = s.number(1..=9)?;
            Ok(())
        },
    ),
    other(
        "post/general.max_retransmissions",
        Act::Ignore("events are sent again until they are taken, or the spool is full"),
    ),
    set(
        "post/general.retransmissions_backoff",
        "events.post.backoff",
        |d, s| {
            d.config.events.post.backoff = s.duration(Unit::Milliseconds, BACKOFF)?;
            Ok(())
        },
    ),
    set(
        "wsevh/general.enabled",
        "events.ws.enabled",
        field!(flag events.ws.enabled),
    ),
    set("wsevh/general.events", "events.ws.events", |d, s| {
        d.config.events.ws.mask = mask(s)?;
        Ok(())
    }),
    set(
        "wsevh/general.grouping",
        "events.ws.grouping",
        field!(flag events.ws.grouping),
    ),
    other(
        "wsevh/general.json",
        Act::Ignore("events are always compact JSON"),
    ),
    set("wsevh/general.backend", "events.ws.backend", |d, s| {
        d.config.events.ws.backend = backend(s, Family::WebSocket)?;
        Ok(())
    }),
    set(
        "wsevh/general.subprotocol",
        "events.ws.subprotocol",
        |d, s| {
            if let Some(name) = s.filled()? {
                d.config.events.ws.subprotocol = token(s, name)?;
            }
            Ok(())
        },
    ),
    set("", "events.ws.backoff", |d, s| {
        d.config.events.ws.backoff = s.duration(Unit::Milliseconds, BACKOFF)?;
        Ok(())
    }),
    other(
        "wsevh/general.events_cap_on_reconnect",
        Act::Ignore("events wait in a bounded spool until they are taken"),
    ),
    other(
        "wsevh/general.ws_logging",
        Act::Ignore("the level of the log is general.debug_level"),
    ),
];

/// The first pause after a failure.
const BACKOFF: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);

/// What a handler speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Http,
    WebSocket,
}

fn mask(setting: &Setting<'_>) -> Result<ReportMask, ConfigError> {
    let text = setting.list()?.join(",");
    ReportMask::parse(&text).ok_or_else(|| {
        setting.fail(format!(
            "`{text}` names a kind of events that does not exist"
        ))
    })
}

fn backend(setting: &Setting<'_>, family: Family) -> Result<Option<Backend>, ConfigError> {
    let Some(url) = setting.filled()? else {
        return Ok(None);
    };
    let is_websocket = family == Family::WebSocket;
    let backend =
        Backend::parse(&url).filter(|backend| backend.scheme.is_websocket() == is_websocket);
    let example = match family {
        Family::Http => "cannot be posted to; write it like http://127.0.0.1:9000/",
        Family::WebSocket => "is no WebSocket; write it like ws://127.0.0.1:9000/",
    };
    match backend {
        Some(backend) => Ok(Some(backend)),
        None => Err(setting.fail(format!("`{url}` {example}"))),
    }
}

/// A name that may stand in a field of HTTP.
fn token(setting: &Setting<'_>, name: String) -> Result<String, ConfigError> {
    let is_token = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if is_token {
        Ok(name)
    } else {
        Err(setting.fail(format!("`{name}` cannot be the name of a subprotocol")))
    }
}
