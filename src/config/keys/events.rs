//! Keys of event handlers.

use std::time::Duration;

use super::special::events_disable;
use super::{Act, DAY, Key, SECOND, other, set};
use crate::config::events::ReportMask;
use crate::config::read::Unit;
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
    set(
        "post/general.enabled",
        "events.post.enabled",
        field!(flag events.post.enabled),
    ),
    set("post/general.events", "events.post.events", |d, s| {
        let text = s.list()?.join(",");
        let mask = ReportMask::parse(&text);
        d.config.events.post.mask = mask.ok_or_else(|| {
            s.fail(format!(
                "`{text}` names a kind of events that does not exist"
            ))
        })?;
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
        let url = s.filled()?;
        d.config.events.post.backend = match &url {
            None => None,
            Some(url) => Some(Backend::parse(url).ok_or_else(|| {
                s.fail(format!(
                    "`{url}` cannot be posted to; write it like http://127.0.0.1:9000/"
                ))
            })?),
        };
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
            let range = Duration::from_millis(1)..=Duration::from_secs(10);
            d.config.events.post.backoff = s.duration(Unit::Milliseconds, range)?;
            Ok(())
        },
    ),
];
