//! Keys of the REST, Admin and WebSocket listeners.

use std::path::PathBuf;
use std::time::Duration;

use super::special::{base_path, interface, json_form, origin};
use super::{Act, Key, SECOND, other, set};
use crate::config::load::Listener;
use crate::config::read::Unit;
use crate::config::schema::SocketLog;

const NO_KEY_PASSWORD: Act = Act::NotServed("keys with a password are not read; store it without");
const OWN_CIPHERS: Act = Act::Ignore("only the strong suites of TLS 1.2 and 1.3 are offered");
const NO_UNIX: Act = Act::NotServed("Unix sockets are not served yet");

pub(super) const KEYS: &[Key] = &[
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
    set(
        "http/general.events",
        "http.events",
        field!(flag http.events),
    ),
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
    set("ws/general.ws_logging", "ws.logging", |d, s| {
        let words = s.list()?.join(",");
        d.config.ws.logging = SocketLog::parse(&words)
            .ok_or_else(|| s.fail(format!("`{words}` is none of none, err, warn, info, all")))?;
        Ok(())
    }),
    set("ws/general.events", "ws.events", field!(flag ws.events)),
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
    set("ws/admin.admin_wss", "", |d, s| {
        d.admin_ws_tls = s.flag(&mut d.warnings)?;
        Ok(())
    }),
    set(
        "",
        "ws.admin_secure_bind",
        field!(binds ws.admin_secure_bind),
    ),
    set("ws/admin.admin_wss_port", "", listener!(port AdminWsTls)),
    set("ws/admin.admin_wss_ip", "", listener!(ip AdminWsTls)),
    set(
        "ws/admin.admin_wss_interface",
        "",
        listener!(interface AdminWsTls),
    ),
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
];
