//! The table of all keys: what each is called in Janus' files and in TOML, and where it goes.

use std::time::Duration;

use super::load::Draft;
use super::read::{Setting, Unit};
use super::tree::ConfigError;

/// A setting under its names.
pub(super) struct Key {
    /// `FILE/SECTION.KEY` of Janus; empty when Janus has no such setting.
    pub(super) janus: &'static str,
    /// `SECTION.KEY` of the TOML file; empty when the setting is there for Janus' files only.
    pub(super) toml: &'static str,
    pub(super) act: Act,
}

/// What becomes of a setting.
pub(super) enum Act {
    /// Accepted: it asks for what is so anyway, or somebody else has read it.
    Accept,
    /// Has no meaning here; the text says why.
    Ignore(&'static str),
    /// Means something that is not offered; the text says what to do.
    NotServed(&'static str),
    Set(fn(&mut Draft, &Setting<'_>) -> Result<(), ConfigError>),
}

const fn set(
    janus: &'static str,
    toml: &'static str,
    apply: fn(&mut Draft, &Setting<'_>) -> Result<(), ConfigError>,
) -> Key {
    let act = Act::Set(apply);
    Key { janus, toml, act }
}

const fn other(janus: &'static str, act: Act) -> Key {
    Key {
        janus,
        toml: "",
        act,
    }
}

/// `$path` is the field; the expression reads it.
macro_rules! field {
    (flag $($path:tt)+) => {
        |d, s| { d.config.$($path)+ = s.flag(&mut d.warnings)?; Ok(()) }
    };
    (secret $($path:tt)+) => {
        |d, s| { d.config.$($path)+ = s.filled()?.map(Secret::new); Ok(()) }
    };
    (text $($path:tt)+) => {
        |d, s| { d.config.$($path)+ = s.filled()?; Ok(()) }
    };
    (path $($path:tt)+) => {
        |d, s| { d.config.$($path)+ = s.filled()?.map(PathBuf::from); Ok(()) }
    };
    (prefixes $($path:tt)+) => {
        |d, s| { d.config.$($path)+ = s.list_of("10.0.0.0/8 or 10.0.")?; Ok(()) }
    };
    (hosts $($path:tt)+) => {
        |d, s| { d.config.$($path)+ = s.list()?.into_iter().map(HostPattern::new).collect(); Ok(()) }
    };
    (json $($path:tt)+) => {
        |d, s| { d.config.$($path)+ = json_form(d, s)?; Ok(()) }
    };
    (binds $($path:tt)+) => {
        |d, s| { d.config.$($path)+ = s.list_of("127.0.0.1:8088")?; Ok(()) }
    };
    (base $($path:tt)+) => {
        |d, s| { d.config.$($path)+ = base_path(s)?; Ok(()) }
    };
}

/// `$listener` is what `port`, `ip` and `interface` of Janus' files belong to.
macro_rules! listener {
    (port $listener:ident) => {
        |d, s| {
            d.listener(Listener::$listener).port = Some(s.number(1..=65_535)?);
            Ok(())
        }
    };
    (ip $listener:ident) => {
        |d, s| {
            d.listener(Listener::$listener).ip = s.address()?;
            Ok(())
        }
    };
    (interface $listener:ident) => {
        |d, s| interface(d, s, Listener::$listener)
    };
}

mod core;
mod events;
mod own;
mod plugins;
mod special;
mod transports;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// All keys but those of `[limits]`, grouped as in Janus' files.
pub(super) fn keys() -> impl Iterator<Item = &'static Key> {
    let tables = [
        core::KEYS,
        events::KEYS,
        transports::KEYS,
        plugins::KEYS,
        own::KEYS,
    ];
    tables.into_iter().flatten()
}

/// Declares the keys of `[limits]`, which are called like the fields of
/// [`Limits`](crate::base::limits::Limits).
macro_rules! limits {
    (counts: $($count:ident)+; times: $($time:ident)+;) => {
        pub(super) const LIMITS: &[Key] = &[
            $(set("", concat!("limits.", stringify!($count)), |d, s| {
                d.config.limits.$count = s.number(1..=COUNT_MAX)?;
                Ok(())
            }),)+
            $(set("", concat!("limits.", stringify!($time)), |d, s| {
                let range = Duration::from_millis(1)..=TIME_MAX;
                d.config.limits.$time = s.duration(Unit::Seconds, range)?;
                Ok(())
            }),)+
        ];
    };
}

/// Above any sensible bound and far below where sums of bounds overflow.
const COUNT_MAX: usize = 1 << 31;
const TIME_MAX: Duration = Duration::from_secs(3_600);

limits! {
    counts: request_line_bytes head_bytes field_line_bytes fields_count trailer_bytes
        trailer_fields_count chunk_extension_bytes chunk_extensions_message_bytes body_bytes
        bodies_bytes pipelined_bytes out_bytes json_depth linger_bytes connections_count
        connections_source_count admin_connections_count sessions_count session_handles_count
        peers_count session_polls_count session_events_count session_events_bytes
        stream_replay_count transaction_bytes mesh_requests_count sdp_bytes sdp_lines_count
        sdp_media_count sdp_codecs_count candidates_count data_channels_count data_message_bytes
        data_buffered_bytes resend_packets_count datagrams_count plain_sockets_count
        forwards_count publisher_forwards_count recordings_count recordings_bytes rooms_count room_people_count lookups_count ws_message_bytes
        ws_fragments_count ws_batch_count ws_requests_count ws_out_messages_count
        ws_messages_rate_count ws_pings_rate_count;
    times: first_byte_timeout head_timeout body_timeout idle_timeout write_timeout linger_timeout
        poll_timeout ice_timeout dtls_timeout ws_flood_span;
}
