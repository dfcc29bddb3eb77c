//! The table of all keys: what each is called in Janus' files and in TOML, and where it goes.

mod special;

use std::path::PathBuf;
use std::time::Duration;

use self::special::{
    base_path, debug_level, events_disable, interface, json_form, local_address, log_level,
    log_rotate_sig, origin, plugins_disable, port_range, transports_disable,
};
use super::events::ReportMask;
use super::load::{Draft, Listener};
use super::read::{Setting, Unit};
use super::schema::LogFormat;
use super::tree::{ConfigError, WarningKind};
use super::value::{Backend, HostPattern, Prefix, Secret};

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
        |d, s| { d.config.$($path)+ = s.list()?.into_iter().map(Prefix::new).collect(); Ok(()) }
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

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

const BUILT_IN: Act = Act::Ignore("everything is built in; nothing is loaded from a folder");
const SERVICE: Act = Act::Ignore("bifrons runs in the foreground; a service manager does this");
const LOG_SHAPE: Act = Act::Ignore("log lines have one shape, with time stamp and level");
const NO_TLS: Act = Act::NotServed("the Admin API over WebSocket is not served with TLS");
const NO_KEY_PASSWORD: Act = Act::NotServed("keys with a password are not read; store it without");
const OWN_CIPHERS: Act = Act::Ignore("only the strong suites of TLS 1.2 and 1.3 are offered");
const NO_RECORDING: Act = Act::NotServed("recordings are not made yet");
const NO_STUN: Act = Act::NotServed(
    "own reflexive candidates are not gathered; name the public \
     address with nat_1_1_mapping",
);
const NO_TURN: Act = Act::NotServed("relay candidates for the server itself are not gathered");
const NO_UNIX: Act = Act::NotServed("Unix sockets are not served yet");
const DTLS_FIXED: Act = Act::NotServed("DTLS uses its built-in list of ciphers and an ECDSA key");

/// All keys but those of `[limits]`, grouped as in Janus' files.
pub(super) const KEYS: &[Key] = &[
    // General.
    other("core/general.configs_folder", Act::Accept),
    other("core/general.plugins_folder", BUILT_IN),
    other("core/general.transports_folder", BUILT_IN),
    other("core/general.events_folder", BUILT_IN),
    other("core/general.loggers_folder", BUILT_IN),
    set(
        "core/general.log_to_stdout",
        "log.to_stdout",
        field!(flag log.to_stdout),
    ),
    set(
        "core/general.log_to_file",
        "log.to_file",
        field!(path log.to_file),
    ),
    set("core/general.log_rotate_sig", "", log_rotate_sig),
    set("core/general.debug_level", "", debug_level),
    set("", "log.level", log_level),
    set("", "log.format", |d, s| {
        d.config.log.format = s.word(&[("text", LogFormat::Text), ("json", LogFormat::Json)])?;
        Ok(())
    }),
    other("core/general.debug_timestamps", LOG_SHAPE),
    other("core/general.debug_colors", LOG_SHAPE),
    other("core/general.log_prefix", LOG_SHAPE),
    other(
        "core/general.debug_locks",
        Act::Ignore("there are no locks"),
    ),
    other("core/general.daemonize", SERVICE),
    other("core/general.pid_file", SERVICE),
    other("core/general.check_openfiles_limit", SERVICE),
    set(
        "core/general.api_secret",
        "general.api_secret",
        field!(secret general.api_secret),
    ),
    set("core/general.token_auth", "general.token_auth", |d, s| {
        d.token_auth = s.flag(&mut d.warnings)?;
        Ok(())
    }),
    set(
        "core/general.token_auth_secret",
        "general.token_auth_secret",
        |d, s| {
            d.token_auth_secret = s.filled()?.map(Secret::new);
            Ok(())
        },
    ),
    set(
        "core/general.admin_secret",
        "admin.secret",
        field!(secret admin.secret),
    ),
    set(
        "core/general.interface",
        "general.local_address",
        local_address,
    ),
    set("core/general.server_name", "general.server_name", |d, s| {
        d.config.general.server_name = s.text()?;
        Ok(())
    }),
    set(
        "core/general.session_timeout",
        "general.session_timeout",
        |d, s| {
            d.config.general.session_timeout = s.duration_or_off(Unit::Seconds, SECOND..=DAY)?;
            Ok(())
        },
    ),
    set(
        "core/general.candidates_timeout",
        "general.candidates_timeout",
        |d, s| {
            d.config.general.candidates_timeout = s.duration(Unit::Seconds, SECOND..=DAY)?;
            Ok(())
        },
    ),
    set(
        "core/general.reclaim_session_timeout",
        "general.reclaim_session_timeout",
        |d, s| {
            let range = Duration::ZERO..=DAY;
            d.config.general.reclaim_session_timeout = s.duration(Unit::Seconds, range)?;
            Ok(())
        },
    ),
    other("core/general.recordings_tmp_ext", NO_RECORDING),
    set("core/general.event_loops", "", |d, s| {
        let count = s.number(0..=255u8)?;
        d.config.shards = (count > 0).then_some(count);
        Ok(())
    }),
    other(
        "core/general.allow_loop_indication",
        Act::Ignore("the session decides on the shard"),
    ),
    other(
        "core/general.task_pool_size",
        Act::Ignore("there is no pool of threads"),
    ),
    set(
        "core/general.opaqueid_in_api",
        "general.opaqueid_in_api",
        field!(flag general.opaqueid_in_api),
    ),
    set(
        "core/general.hide_dependencies",
        "general.hide_dependencies",
        field!(flag general.hide_dependencies),
    ),
    other("core/general.exit_on_dl_error", BUILT_IN),
    other(
        "core/general.no_webrtc_encryption",
        Act::NotServed("media is always encrypted"),
    ),
    // Nothing is written anywhere, so every folder is protected.
    other("core/general.protected_folders", Act::Accept),
    // Certificates of DTLS.
    set(
        "core/certificates.cert_pem",
        "media.dtls_cert",
        field!(path media.dtls_cert),
    ),
    set(
        "core/certificates.cert_key",
        "media.dtls_key",
        field!(path media.dtls_key),
    ),
    other(
        "core/certificates.cert_pwd",
        Act::NotServed("encrypted keys cannot be read"),
    ),
    set("core/certificates.dtls_accept_selfsigned", "", |d, s| {
        if !s.flag(&mut d.warnings)? {
            let message = "the fingerprint of the session description is what is checked; \
                 self-signed certificates are accepted";
            d.warnings.push(s.warn(WarningKind::NotServed, message));
        }
        Ok(())
    }),
    other("core/certificates.dtls_ciphers", DTLS_FIXED),
    other("core/certificates.rsa_private_key", DTLS_FIXED),
    // Media.
    set("", "media.ips", |d, s| {
        d.config.media.ips = s.list_of("192.0.2.1")?;
        Ok(())
    }),
    set("", "media.port_base", |d, s| {
        d.config.media.port_base = Some(s.number(1..=65_535)?);
        Ok(())
    }),
    set("core/media.rtp_port_range", "media.port_range", port_range),
    set("core/media.ipv6", "media.ipv6", field!(flag media.ipv6)),
    set(
        "core/media.ipv6_linklocal",
        "media.ipv6_linklocal",
        field!(flag media.ipv6_linklocal),
    ),
    set(
        "core/media.min_nack_queue",
        "media.min_nack_queue",
        |d, s| {
            let range = Duration::ZERO..=Duration::from_secs(5);
            d.config.media.min_nack_queue = s.duration(Unit::Milliseconds, range)?;
            Ok(())
        },
    ),
    set("core/media.dtls_mtu", "media.dtls_mtu", |d, s| {
        d.config.media.dtls_mtu = s.number(256..=1_460)?;
        Ok(())
    }),
    set(
        "core/media.no_media_timer",
        "media.no_media_timer",
        |d, s| {
            d.config.media.no_media_timer = s.duration_or_off(Unit::Seconds, SECOND..=DAY)?;
            Ok(())
        },
    ),
    set(
        "core/media.slowlink_threshold",
        "media.slowlink_threshold",
        |d, s| {
            d.config.media.slowlink_threshold = s.number(0..=1_000_000)?;
            Ok(())
        },
    ),
    set("core/media.twcc_period", "media.twcc_period", |d, s| {
        let range = Duration::from_millis(10)..=SECOND;
        d.config.media.twcc_period = s.duration(Unit::Milliseconds, range)?;
        Ok(())
    }),
    other(
        "core/media.dtls_timeout",
        Act::NotServed("retransmission starts after its own time"),
    ),
    other(
        "core/media.nack_optimizations",
        Act::NotServed("sent packets are kept by age"),
    ),
    other(
        "core/media.dscp",
        Act::NotServed("packets are not marked yet"),
    ),
    other(
        "core/media.dscp_tos",
        Act::NotServed("packets are not marked yet"),
    ),
    // ICE.
    other("core/nat.stun_server", NO_STUN),
    // A port without its server asks for nothing, and the server is warned of.
    other("core/nat.stun_port", Act::Accept),
    set(
        "core/nat.nat_1_1_mapping",
        "media.nat_1_1_mapping",
        |d, s| {
            d.config.media.nat_1_1_mapping = s.list_of("192.0.2.1")?;
            Ok(())
        },
    ),
    set(
        "core/nat.keep_private_host",
        "media.keep_private_host",
        field!(flag media.keep_private_host),
    ),
    set(
        "core/nat.full_trickle",
        "media.full_trickle",
        field!(flag media.full_trickle),
    ),
    set(
        "core/nat.ice_lite",
        "media.ice_lite",
        field!(flag media.ice_lite),
    ),
    other(
        "core/nat.ice_tcp",
        Act::NotServed("ICE over TCP is not served yet"),
    ),
    other(
        "core/nat.ice_nomination",
        Act::Ignore("nomination follows RFC 8445"),
    ),
    other("core/nat.ice_keepalive_conncheck", Act::Accept),
    set(
        "core/nat.ice_consent_freshness",
        "media.ice_consent_freshness",
        field!(flag media.ice_consent_freshness),
    ),
    set(
        "core/nat.hangup_on_failed",
        "media.hangup_on_failed",
        field!(flag media.hangup_on_failed),
    ),
    set(
        "core/nat.ignore_mdns",
        "media.ignore_mdns",
        field!(flag media.ignore_mdns),
    ),
    set(
        "core/nat.ice_enforce_list",
        "media.ice_enforce_list",
        field!(hosts media.ice_enforce_list),
    ),
    set(
        "core/nat.ice_ignore_list",
        "media.ice_ignore_list",
        field!(hosts media.ice_ignore_list),
    ),
    other("core/nat.ignore_unreachable_ice_server", Act::Accept),
    other("core/nat.turn_server", NO_TURN),
    other("core/nat.turn_port", Act::Accept),
    other("core/nat.turn_type", Act::Accept),
    other("core/nat.turn_user", Act::Accept),
    other("core/nat.turn_pwd", Act::Accept),
    other("core/nat.turn_rest_api", NO_TURN),
    other("core/nat.turn_rest_api_key", Act::Accept),
    other("core/nat.turn_rest_api_method", Act::Accept),
    other("core/nat.turn_rest_api_timeout", Act::Accept),
    other("core/nat.allow_force_relay", NO_TURN),
    other("core/nat.nice_debug", Act::Ignore("there is no libnice")),
    // Built-in modules by the names of their libraries.
    set("core/plugins.disable", "plugins.disable", plugins_disable),
    set("core/transports.disable", "", transports_disable),
    other("core/loggers.disable", Act::Accept),
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
    // REST.
    set("http/general.json", "http.json", |d, s| {
        // One form for both listeners in Janus' files; TOML names the other one itself.
        let form = json_form(d, s)?;
        d.config.http.json = form;
        if d.is_janus {
            d.config.admin.json = form;
        }
        Ok(())
    }),
    set(
        "http/general.base_path",
        "http.base_path",
        field!(base http.base_path),
    ),
    set("", "http.ws_path", |d, s| {
        d.config.http.ws_path = Some(base_path(s)?);
        Ok(())
    }),
    set(
        "http/general.http",
        "http.enabled",
        field!(flag http.enabled),
    ),
    set("", "http.bind", field!(binds http.bind)),
    set("http/general.port", "", listener!(port Http)),
    set("http/general.ip", "", listener!(ip Http)),
    set("http/general.interface", "", listener!(interface Http)),
    set("http/general.https", "", |d, s| {
        d.http_tls = s.flag(&mut d.warnings)?;
        Ok(())
    }),
    set("", "http.secure_bind", field!(binds http.secure_bind)),
    set("http/general.secure_port", "", listener!(port HttpTls)),
    set("http/general.secure_ip", "", listener!(ip HttpTls)),
    set(
        "http/general.secure_interface",
        "",
        listener!(interface HttpTls),
    ),
    set("http/general.acl", "http.acl", field!(prefixes http.acl)),
    set(
        "http/general.acl_forwarded",
        "http.acl_forwarded",
        field!(flag http.acl_forwarded),
    ),
    // Janus reads this key here, and documents it in section `admin`.
    set(
        "http/general.admin_acl_forwarded",
        "",
        field!(flag admin.acl_forwarded),
    ),
    other("http/general.events", Act::Accept),
    set("http/general.mhd_connection_limit", "", |d, s| {
        d.config.limits.connections_count = s.number(1..=1_000_000)?;
        Ok(())
    }),
    other(
        "http/general.mhd_debug",
        Act::Ignore("there is no libmicrohttpd"),
    ),
    set(
        "http/admin.admin_base_path",
        "admin.base_path",
        field!(base admin.base_path),
    ),
    set(
        "http/admin.admin_http",
        "admin.enabled",
        field!(flag admin.enabled),
    ),
    set("", "admin.bind", field!(binds admin.bind)),
    set("", "admin.json", field!(json admin.json)),
    set("", "admin.hosts", |d, s| {
        d.config.admin.hosts = s.list()?;
        Ok(())
    }),
    set("http/admin.admin_port", "", listener!(port Admin)),
    set("http/admin.admin_ip", "", listener!(ip Admin)),
    set("http/admin.admin_interface", "", listener!(interface Admin)),
    set("http/admin.admin_https", "", |d, s| {
        d.admin_tls = s.flag(&mut d.warnings)?;
        Ok(())
    }),
    set("", "admin.secure_bind", field!(binds admin.secure_bind)),
    set("http/admin.admin_secure_port", "", listener!(port AdminTls)),
    set("http/admin.admin_secure_ip", "", listener!(ip AdminTls)),
    set(
        "http/admin.admin_secure_interface",
        "",
        listener!(interface AdminTls),
    ),
    set(
        "http/admin.admin_acl",
        "admin.acl",
        field!(prefixes admin.acl),
    ),
    set(
        "http/admin.admin_acl_forwarded",
        "admin.acl_forwarded",
        field!(flag admin.acl_forwarded),
    ),
    set("http/cors.allow_origin", "http.allow_origin", |d, s| {
        d.config.http.allow_origin = origin(s)?;
        Ok(())
    }),
    set(
        "http/cors.enforce_cors",
        "http.enforce_cors",
        field!(flag http.enforce_cors),
    ),
    // Certificates do nothing without `https`, which is warned of.
    set(
        "http/certificates.cert_pem",
        "http.cert_pem",
        field!(path http.tls.cert),
    ),
    set(
        "http/certificates.cert_key",
        "http.cert_key",
        field!(path http.tls.key),
    ),
    other("http/certificates.cert_pwd", NO_KEY_PASSWORD),
    other("http/certificates.ciphers", OWN_CIPHERS),
    // WebSocket.
    set("ws/general.json", "ws.json", field!(json ws.json)),
    set("ws/general.ws", "ws.enabled", field!(flag ws.enabled)),
    set("", "ws.bind", field!(binds ws.bind)),
    set("ws/general.ws_port", "", listener!(port Ws)),
    set("ws/general.ws_ip", "", listener!(ip Ws)),
    set("ws/general.ws_interface", "", listener!(interface Ws)),
    other("ws/general.ws_unix", NO_UNIX),
    set("ws/general.wss", "", |d, s| {
        d.ws_tls = s.flag(&mut d.warnings)?;
        Ok(())
    }),
    set("", "ws.secure_bind", field!(binds ws.secure_bind)),
    set("ws/general.wss_port", "", listener!(port WsTls)),
    set("ws/general.wss_ip", "", listener!(ip WsTls)),
    set("ws/general.wss_interface", "", listener!(interface WsTls)),
    other("ws/general.wss_unix", Act::Accept),
    set("ws/general.pingpong_trigger", "ws.ping_interval", |d, s| {
        let range = SECOND..=Duration::from_secs(3_600);
        if let Some(interval) = s.duration_or_off(Unit::Seconds, range)? {
            d.config.ws.ping_interval = interval;
        }
        Ok(())
    }),
    other(
        "ws/general.pingpong_timeout",
        Act::Ignore("two pings without an answer close"),
    ),
    set("ws/general.ws_acl", "ws.acl", field!(prefixes ws.acl)),
    set(
        "ws/general.ws_acl_forwarded",
        "ws.acl_forwarded",
        field!(flag ws.acl_forwarded),
    ),
    other(
        "ws/general.ws_logging",
        Act::Ignore("there is no libwebsockets"),
    ),
    other("ws/general.events", Act::Accept),
    set("ws/admin.admin_ws", "", |d, s| {
        d.admin_ws = s.flag(&mut d.warnings)?;
        Ok(())
    }),
    set("", "ws.admin_bind", field!(binds ws.admin_bind)),
    set("ws/admin.admin_ws_port", "", listener!(port AdminWs)),
    set("ws/admin.admin_ws_ip", "", listener!(ip AdminWs)),
    set(
        "ws/admin.admin_ws_interface",
        "",
        listener!(interface AdminWs),
    ),
    other("ws/admin.admin_ws_unix", NO_UNIX),
    other("ws/admin.admin_wss", NO_TLS),
    other("ws/admin.admin_wss_port", Act::Accept),
    other("ws/admin.admin_wss_interface", Act::Accept),
    other("ws/admin.admin_wss_ip", Act::Accept),
    other("ws/admin.admin_wss_unix", Act::Accept),
    set(
        "ws/admin.admin_ws_acl",
        "ws.admin_acl",
        field!(prefixes ws.admin_acl),
    ),
    set(
        "ws/admin.admin_ws_acl_forwarded",
        "ws.admin_acl_forwarded",
        field!(flag ws.admin_acl_forwarded),
    ),
    set("ws/cors.allow_origin", "ws.allow_origin", |d, s| {
        d.config.ws.allow_origin = origin(s)?;
        Ok(())
    }),
    set(
        "ws/cors.enforce_cors",
        "ws.enforce_cors",
        field!(flag ws.enforce_cors),
    ),
    set(
        "ws/certificates.cert_pem",
        "ws.cert_pem",
        field!(path ws.tls.cert),
    ),
    set(
        "ws/certificates.cert_key",
        "ws.cert_key",
        field!(path ws.tls.key),
    ),
    other("ws/certificates.cert_pwd", NO_KEY_PASSWORD),
    other("ws/certificates.ciphers", OWN_CIPHERS),
    // What Janus does not have.
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
    set(
        "echotest/general.events",
        "echotest.events",
        field!(flag echotest.events),
    ),
    set(
        "videoroom/general.admin_key",
        "videoroom.admin_key",
        field!(secret videoroom.admin_key),
    ),
    set(
        "videoroom/general.lock_rtp_forward",
        "videoroom.lock_rtp_forward",
        field!(flag videoroom.lock_rtp_forward),
    ),
    set(
        "videoroom/general.events",
        "videoroom.events",
        field!(flag videoroom.events),
    ),
    set(
        "videoroom/general.string_ids",
        "videoroom.string_ids",
        field!(flag videoroom.string_ids),
    ),
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
        data_buffered_bytes resend_packets_count datagrams_count ws_message_bytes
        ws_fragments_count ws_batch_count ws_requests_count ws_out_messages_count
        ws_messages_rate_count ws_pings_rate_count;
    times: first_byte_timeout head_timeout body_timeout idle_timeout write_timeout linger_timeout
        poll_timeout ice_timeout dtls_timeout ws_flood_span;
}
