//! Keys of what Janus does not have.

use std::path::PathBuf;
use std::time::Duration;

use super::{DAY, Key, SECOND, set};
use crate::config::read::Unit;
use crate::config::schema::Runtime;

const MINUTE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

pub(super) const KEYS: &[Key] = &[
    set("", "event_stream.max_age", |d, s| {
        d.config.event_stream.max_age = s.duration(Unit::Seconds, SECOND..=DAY)?;
        Ok(())
    }),
    set("", "event_stream.heartbeat", |d, s| {
        d.config.event_stream.heartbeat = s.duration(Unit::Seconds, SECOND..=MINUTE)?;
        Ok(())
    }),
    set("", "event_stream.replay", |d, s| {
        d.config.limits.stream_replay_count = s.number(1..=65_536)?;
        Ok(())
    }),
    set("", "journal.folder", field!(path journal.folder)),
    set("", "journal.size", |d, s| {
        d.config.journal.size = s.number(1..=1_048_576)? * MIB;
        Ok(())
    }),
    set("", "journal.tail", |d, s| {
        d.config.journal.tail = s.number(0..=1_048_576)? * MIB;
        Ok(())
    }),
    set("", "journal.files", |d, s| {
        d.config.journal.files = s.number(1..=1_000)?;
        Ok(())
    }),
    set("", "journal.media", field!(flag journal.media)),
    set("", "runtime", |d, s| {
        d.config.runtime = s.word(&[("uring", Runtime::Uring), ("glommio", Runtime::Glommio)])?;
        Ok(())
    }),
    set("", "shards", |d, s| {
        d.config.shards = Some(s.number(1..=255)?);
        Ok(())
    }),
    set("", "drain_timeout", |d, s| {
        let range = Duration::ZERO..=Duration::from_secs(3_600);
        d.config.drain_timeout = s.duration(Unit::Seconds, range)?;
        Ok(())
    }),
];
