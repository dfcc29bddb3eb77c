//! What the Admin API can change while the gateway runs.
//!
//! Invariant: every shard has the same settings, because every change is applied by all of them in
//! one order before it is answered.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::error::{ApiError, ErrorCode};
use crate::base::json::Fields;
use crate::config::{Config, LogLevel};

/// The settings of this moment.
#[derive(Clone, Debug)]
pub(super) struct Runtime {
    pub(super) session_timeout: Option<Duration>,
    pub(super) no_media_timer: Option<Duration>,
    pub(super) slowlink_threshold: u32,
    pub(super) min_nack_queue: Duration,
    log_level: u8,
    /// What Janus lets one switch and what has no meaning here; shown as it was set.
    log_timestamps: bool,
    log_colors: bool,
    locking_debug: bool,
    refcount_debug: bool,
    nack_optimizations: bool,
}

/// One setting with its new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// Whether lock operations are logged. There are no locks.
    LockingDebug(bool),
    /// Whether log lines are coloured.
    LogColors(bool),
    /// Which log lines are written, from 0, none, to 7, all.
    LogLevel(u8),
    /// Whether log lines have a time stamp. They always have.
    LogTimestamps(bool),
    /// Least age up to which packets are kept for retransmission, ms.
    MinNackQueue(u32),
    /// Whether a key frame empties the retransmission buffer. It never does.
    NackOptimizations(bool),
    /// Silence after which `media` events say so, s; 0 is never.
    NoMediaTimer(u32),
    /// Whether reference counters are logged. There are none.
    RefcountDebug(bool),
    /// The timeout of sessions that have none of their own, s; 0 is never.
    SessionTimeout(u32),
    /// Lost packets a second that make a `slowlink` event; 0 is never.
    SlowlinkThreshold(u32),
}

impl Knob {
    /// Reads a request that turns a knob; `None` when the verb is another one.
    ///
    /// # Errors
    ///
    /// 456 and 467.
    pub(super) fn parse(verb: &str, fields: &Fields<'_>) -> Option<Result<Self, ApiError>> {
        let flag = |name| fields.need_bool(name);
        let number = |name: &str| {
            let number = fields.need_u64(name)?;
            u32::try_from(number).map_err(|_| ApiError::invalid_type(name, "a smaller number"))
        };
        Some(match verb {
            "set_locking_debug" => flag("debug").map(Self::LockingDebug),
            "set_log_colors" => flag("colors").map(Self::LogColors),
            "set_log_level" => number("level").and_then(|level| match u8::try_from(level) {
                Ok(level @ 0..=7) => Ok(Self::LogLevel(level)),
                Ok(_) | Err(_) => Err(ApiError::new(
                    ErrorCode::InvalidElementType,
                    "Invalid element type (level should be between 0 and 7)",
                )),
            }),
            "set_log_timestamps" => flag("timestamps").map(Self::LogTimestamps),
            "set_min_nack_queue" => number("min_nack_queue").map(Self::MinNackQueue),
            "set_nack_optimizations" => flag("nack_optimizations").map(Self::NackOptimizations),
            "set_no_media_timer" => number("no_media_timer").map(Self::NoMediaTimer),
            "set_refcount_debug" => flag("debug").map(Self::RefcountDebug),
            "set_session_timeout" => number("timeout").map(Self::SessionTimeout),
            "set_slowlink_threshold" => number("slowlink_threshold").map(Self::SlowlinkThreshold),
            _ => return None,
        })
    }

    /// The level that log lines are to be written from on, if this is that knob.
    pub fn log_level(self) -> Option<LogLevel> {
        match self {
            Self::LogLevel(level) => Some(level_of(level)),
            Self::LockingDebug(_)
            | Self::LogColors(_)
            | Self::LogTimestamps(_)
            | Self::MinNackQueue(_)
            | Self::NackOptimizations(_)
            | Self::NoMediaTimer(_)
            | Self::RefcountDebug(_)
            | Self::SessionTimeout(_)
            | Self::SlowlinkThreshold(_) => None,
        }
    }

    /// The member of the reply that confirms the value. Janus has a hyphen in one of them.
    pub(super) fn shown(self) -> (&'static str, Value) {
        match self {
            Self::LockingDebug(is_on) => ("locking_debug", is_on.into()),
            Self::LogColors(is_on) => ("log_colors", is_on.into()),
            Self::LogLevel(level) => ("level", level.into()),
            Self::LogTimestamps(is_on) => ("log_timestamps", is_on.into()),
            Self::MinNackQueue(millis) => ("min_nack_queue", millis.into()),
            Self::NackOptimizations(is_on) => ("nack-optimizations", is_on.into()),
            Self::NoMediaTimer(seconds) => ("no_media_timer", seconds.into()),
            Self::RefcountDebug(is_on) => ("refcount_debug", is_on.into()),
            Self::SessionTimeout(seconds) => ("timeout", seconds.into()),
            Self::SlowlinkThreshold(packets) => ("slowlink_threshold", packets.into()),
        }
    }
}

impl Runtime {
    /// The settings of the configuration.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            session_timeout: config.general.session_timeout,
            no_media_timer: config.media.no_media_timer,
            slowlink_threshold: config.media.slowlink_threshold,
            min_nack_queue: config.media.min_nack_queue,
            log_level: number_of(config.log.level),
            log_timestamps: true,
            log_colors: false,
            locking_debug: false,
            refcount_debug: false,
            nack_optimizations: false,
        }
    }

    /// Turns a knob.
    pub(super) const fn turn(&mut self, knob: Knob) {
        match knob {
            Knob::LockingDebug(is_on) => self.locking_debug = is_on,
            Knob::LogColors(is_on) => self.log_colors = is_on,
            Knob::LogLevel(level) => self.log_level = level,
            Knob::LogTimestamps(is_on) => self.log_timestamps = is_on,
            Knob::MinNackQueue(millis) => {
                self.min_nack_queue = Duration::from_millis(millis as u64);
            }
            Knob::NackOptimizations(is_on) => self.nack_optimizations = is_on,
            Knob::NoMediaTimer(seconds) => self.no_media_timer = or_never(seconds),
            Knob::RefcountDebug(is_on) => self.refcount_debug = is_on,
            Knob::SessionTimeout(seconds) => self.session_timeout = or_never(seconds),
            Knob::SlowlinkThreshold(packets) => self.slowlink_threshold = packets,
        }
    }

    /// The `status` of `get_status`.
    pub(super) fn status(&self, config: &Config, has_tokens: bool) -> Value {
        let seconds = |span: Option<Duration>| span.unwrap_or_default().as_secs();
        json!({
            "token_auth": has_tokens,
            "session_timeout": seconds(self.session_timeout),
            "reclaim_session_timeout": config.general.reclaim_session_timeout.as_secs(),
            "candidates_timeout": config.general.candidates_timeout.as_secs(),
            "log_level": self.log_level,
            "log_timestamps": self.log_timestamps,
            "log_colors": self.log_colors,
            "log_rotate_sig": 0,
            "locking_debug": self.locking_debug,
            "refcount_debug": self.refcount_debug,
            "min_nack_queue": u64::try_from(self.min_nack_queue.as_millis()).unwrap_or(u64::MAX),
            "nack-optimizations": self.nack_optimizations,
            "no_media_timer": seconds(self.no_media_timer),
            "slowlink_threshold": self.slowlink_threshold,
        })
    }
}

/// A level as Janus counts them.
const fn number_of(level: LogLevel) -> u8 {
    match level {
        LogLevel::Off => 0,
        LogLevel::Error => 2,
        LogLevel::Warn => 3,
        LogLevel::Info => 4,
        LogLevel::Debug => 5,
        LogLevel::Trace => 7,
    }
}

/// A level that Janus counts as `number`.
const fn level_of(number: u8) -> LogLevel {
    match number {
        0 => LogLevel::Off,
        1 | 2 => LogLevel::Error,
        3 => LogLevel::Warn,
        4 => LogLevel::Info,
        5 | 6 => LogLevel::Debug,
        _ => LogLevel::Trace,
    }
}

const fn or_never(seconds: u32) -> Option<Duration> {
    match seconds {
        0 => None,
        seconds => Some(Duration::from_secs(seconds as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_reads_back() {
        for level in [
            LogLevel::Off,
            LogLevel::Error,
            LogLevel::Warn,
            LogLevel::Info,
            LogLevel::Debug,
            LogLevel::Trace,
        ] {
            assert_eq!(level_of(number_of(level)), level);
        }
    }

    #[test]
    fn a_turned_knob_shows_in_the_status() {
        let config = Config::default();
        let mut runtime = Runtime::new(&config);
        for knob in [
            Knob::LockingDebug(true),
            Knob::LogColors(true),
            Knob::LogTimestamps(false),
            Knob::MinNackQueue(7),
            Knob::NackOptimizations(true),
            Knob::NoMediaTimer(8),
            Knob::RefcountDebug(true),
            Knob::SlowlinkThreshold(9),
        ] {
            let (name, value) = knob.shown();
            assert_ne!(runtime.status(&config, false)[name], value, "{name}");
            runtime.turn(knob);
            assert_eq!(runtime.status(&config, false)[name], value, "{name}");
        }
        runtime.turn(Knob::LogLevel(6));
        runtime.turn(Knob::SessionTimeout(0));
        let status = runtime.status(&config, true);
        assert_eq!(
            (&status["log_level"], &status["session_timeout"]),
            (&6.into(), &0.into())
        );
        assert_eq!(runtime.session_timeout, None);
    }
}
