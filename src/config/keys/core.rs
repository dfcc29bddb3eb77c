//! Keys of the core: general settings, log, certificates of DTLS, media and ICE.

use std::path::PathBuf;
use std::time::Duration;

use super::special::{
    debug_level, local_address, log_level, log_rotate_sig, plugins_disable, port_range,
    recordings_folders, recordings_tmp_ext, transports_disable,
};
use super::{Act, DAY, Key, SECOND, other, set};
use crate::config::read::Unit;
use crate::config::schema::LogFormat;
use crate::config::tree::WarningKind;
use crate::config::value::{HostPattern, Secret};

const BUILT_IN: Act = Act::Ignore("everything is built in; nothing is loaded from a folder");
const SERVICE: Act = Act::Ignore("bifrons runs in the foreground; a service manager does this");
const LOG_SHAPE: Act = Act::Ignore("log lines have one shape, with time stamp and level");
const NO_STUN: Act = Act::NotServed(
    "own reflexive candidates are not gathered; name the public \
     address with nat_1_1_mapping",
);
const NO_TURN: Act = Act::NotServed("relay candidates for the server itself are not gathered");
const DTLS_FIXED: Act = Act::NotServed("DTLS uses its built-in list of ciphers and an ECDSA key");

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
        "core/general.capture_folder",
        "admin.capture_folder",
        field!(path admin.capture_folder),
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
    set(
        "core/general.recordings_folders",
        "recordings.folders",
        recordings_folders,
    ),
    set(
        "core/general.recordings_tmp_ext",
        "recordings.tmp_ext",
        recordings_tmp_ext,
    ),
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
    // Nothing is written but to folders that are named for it.
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
];
