//! The reply to `info`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::config::{Config, TokenAuth};
use crate::gateway::plugin::PluginInfo;
use crate::gateway::reply::{Message, Reply};
use crate::gateway::reports::Transport;
use crate::gateway::tweaks::Handler;

/// The Janus version whose API this is, for clients that test versions.
const JANUS_VERSION: u32 = 1401;
const JANUS_VERSION_STRING: &str = "1.4.1";
const AUTHOR: &str = "the bifrons developers";

/// A `server_info`.
pub(super) fn server_info(
    transaction: &str,
    config: &Config,
    plugins: impl Iterator<Item = PluginInfo>,
    is_accepting: bool,
) -> Reply {
    let (general, media) = (&config.general, &config.media);
    let mut info = Map::new();
    let mut put = |name: &str, value: Value| {
        info.insert(name.to_owned(), value);
    };
    put("name", "Janus WebRTC Server".into());
    put("version", JANUS_VERSION.into());
    put("version_string", JANUS_VERSION_STRING.into());
    put("author", AUTHOR.into());
    put("log-to-stdout", config.log.to_stdout.into());
    put("log-to-file", config.log.to_file.is_some().into());
    if let Some(path) = &config.log.to_file {
        put("log-path", path.display().to_string().into());
    }
    put("data_channels", true.into());
    put("accepting-new-sessions", is_accepting.into());
    put(
        "session-timeout",
        seconds(general.session_timeout.unwrap_or_default()),
    );
    put(
        "reclaim-session-timeout",
        seconds(general.reclaim_session_timeout),
    );
    put("candidates-timeout", seconds(general.candidates_timeout));
    put("server-name", general.server_name.clone().into());
    let local = general.local_address.or_else(|| media.ips.first().copied());
    put(
        "local-ip",
        local
            .map_or_else(String::new, |address| address.to_string())
            .into(),
    );
    if let Some(public) = media.nat_1_1_mapping.first() {
        put("public-ip", public.to_string().into());
        let all: Vec<_> = media
            .nat_1_1_mapping
            .iter()
            .map(ToString::to_string)
            .collect();
        put("public-ips", all.into());
    }
    put("ipv6", media.ipv6.into());
    if media.ipv6 {
        put("ipv6-link-local", media.ipv6_linklocal.into());
    }
    put("ice-lite", media.ice_lite.into());
    put("ice-tcp", false.into());
    put("ice-nomination", "aggressive".into());
    put("ice-consent-freshness", media.ice_consent_freshness.into());
    put("ice-keepalive-conncheck", false.into());
    put("hangup-on-failed", media.hangup_on_failed.into());
    put("full-trickle", media.full_trickle.into());
    put("mdns-enabled", (!media.ignore_mdns).into());
    put("min-nack-queue", millis(media.min_nack_queue));
    put("nack-optimizations", false.into());
    put("twcc-period", millis(media.twcc_period));
    put("dtls-mtu", media.dtls_mtu.into());
    put("static-event-loops", config.shards.unwrap_or(0).into());
    put("api_secret", general.api_secret.is_some().into());
    put("auth_token", (general.token_auth != TokenAuth::Off).into());
    put("event_handlers", config.events.enabled.into());
    put("opaqueid_in_api", general.opaqueid_in_api.into());
    if !general.hide_dependencies {
        put(
            "dependencies",
            json!({"str0m": "0.25.0", "glommio": "0.9.0", "httparse": "1.10"}),
        );
    }
    put(
        "bifrons",
        json!({"name": "bifrons", "version": env!("CARGO_PKG_VERSION")}),
    );
    put("transports", transports(config));
    put("events", handlers(config));
    put("loggers", json!({}));
    put("plugins", Value::Object(plugins.map(described).collect()));
    let mut message = Message::new("server_info").transaction(Some(transaction));
    for (name, value) in &info {
        message = message.value(name, value);
    }
    message.finish()
}

fn transports(config: &Config) -> Value {
    let mut list = Map::new();
    if Transport::Http.is_served(config) {
        let rest = PluginInfo {
            package: Transport::Http.package(),
            name: "REST over HTTP/1.1",
            description: "The Janus API over HTTP, with long polls and event streams",
            version: 2,
            version_string: "0.0.2",
        };
        list.extend([described(rest)]);
    }
    if Transport::WebSockets.is_served(config) {
        let sockets = PluginInfo {
            package: Transport::WebSockets.package(),
            name: "WebSocket (RFC 6455)",
            description: "The Janus API and the Admin API over WebSocket",
            version: 1,
            version_string: "0.0.1",
        };
        list.extend([described(sockets)]);
    }
    Value::Object(list)
}

fn handlers(config: &Config) -> Value {
    let mut list = Map::new();
    if Handler::Post.runs(&config.events) {
        let post = PluginInfo {
            package: Handler::Post.package(),
            name: "Reports over HTTP",
            description: "Posts what happens to an HTTP server, and again until it is taken",
            version: 1,
            version_string: "0.0.1",
        };
        list.extend([described(post)]);
    }
    if Handler::Ws.runs(&config.events) {
        let socket = PluginInfo {
            package: Handler::Ws.package(),
            name: "Reports over WebSocket",
            description: "Sends what happens to a WebSocket server, and again until it is taken",
            version: 1,
            version_string: "0.0.1",
        };
        list.extend([described(socket)]);
    }
    Value::Object(list)
}

fn described(plugin: PluginInfo) -> (String, Value) {
    let about = json!({
        "name": plugin.name,
        "author": AUTHOR,
        "description": plugin.description,
        "version_string": plugin.version_string,
        "version": plugin.version,
    });
    (plugin.package.to_owned(), about)
}

fn seconds(span: Duration) -> Value {
    span.as_secs().into()
}

fn millis(span: Duration) -> Value {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).into()
}
