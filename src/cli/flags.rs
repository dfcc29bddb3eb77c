//! The table of flags: what each is called, and the key that it sets.

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing: the flag stands for this value.
    Nothing(&'static str),
    /// A value, which help shows under this name.
    One(&'static str),
    /// A value, as often as wanted.
    Several(&'static str),
    /// A value or nothing, because versions of Janus differ.
    Maybe(&'static str),
}

/// A flag, and the key that it sets.
pub(super) struct Flag {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) takes: Takes,
    /// Empty for what has no meaning here.
    pub(super) key: &'static str,
    pub(super) help: &'static str,
}

const fn own(long: &'static str, takes: Takes, key: &'static str, help: &'static str) -> Flag {
    Flag {
        long,
        short: None,
        takes,
        key,
        help,
    }
}

const fn janus(short: char, long: &'static str, takes: Takes, key: &'static str) -> Flag {
    Flag {
        long,
        short: Some(short),
        takes,
        key,
        help: "As in Janus",
    }
}

const ON: Takes = Takes::Nothing("true");
const OFF: Takes = Takes::Nothing("false");

pub(super) const FLAGS: &[Flag] = &[
    own(
        "http",
        Takes::Several("IP:PORT"),
        "http.bind",
        "Serve the REST API here",
    ),
    own(
        "ws",
        Takes::Several("IP:PORT"),
        "ws.bind",
        "Serve the WebSocket API here",
    ),
    own(
        "admin",
        Takes::Several("IP:PORT"),
        "admin.bind",
        "Serve the Admin API and metrics here",
    ),
    own(
        "admin-secret",
        Takes::One("SECRET"),
        "admin.secret",
        "Secret of Admin requests",
    ),
    own(
        "api-secret",
        Takes::One("SECRET"),
        "general.api_secret",
        "Secret of all requests",
    ),
    own(
        "media-ip",
        Takes::Several("IP"),
        "media.ips",
        "Address for media; may be repeated",
    ),
    own(
        "media-port",
        Takes::One("BASE"),
        "media.port_base",
        "UDP port of the first shard",
    ),
    own(
        "runtime",
        Takes::One("NAME"),
        "runtime",
        "What shards run on: uring or glommio [default: uring]",
    ),
    own(
        "shards",
        Takes::One("N"),
        "shards",
        "Number of shards [default: one per core]",
    ),
    own(
        "log",
        Takes::One("LEVEL"),
        "log.level",
        "off, error, warn, info, debug or trace",
    ),
    own(
        "log-format",
        Takes::One("FORM"),
        "log.format",
        "text or json",
    ),
    own("log-stdout", ON, "log.to_stdout", "As in Janus"),
    own(
        "token-auth-secret",
        Takes::One("SECRET"),
        "general.token_auth_secret",
        "As in Janus",
    ),
    janus('b', "daemon", ON, "core/general.daemonize"),
    janus('p', "pid-file", Takes::One("FILE"), "core/general.pid_file"),
    janus('N', "disable-stdout", OFF, "log.to_stdout"),
    janus('L', "log-file", Takes::One("FILE"), "log.to_file"),
    janus(
        'R',
        "log-rotate-sig",
        Takes::One("SIGNAL"),
        "core/general.log_rotate_sig",
    ),
    janus(
        'l',
        "check-openfiles-limit",
        Takes::Maybe("N"),
        "core/general.check_openfiles_limit",
    ),
    janus('H', "cwd-path", Takes::One("DIR"), ""),
    janus('i', "interface", Takes::One("IP"), "general.local_address"),
    janus(
        'P',
        "plugins-folder",
        Takes::One("DIR"),
        "core/general.plugins_folder",
    ),
    janus('c', "cert-pem", Takes::One("FILE"), "media.dtls_cert"),
    janus('k', "cert-key", Takes::One("FILE"), "media.dtls_key"),
    janus(
        'K',
        "cert-pwd",
        Takes::One("TEXT"),
        "core/certificates.cert_pwd",
    ),
    janus(
        'S',
        "stun-server",
        Takes::One("HOST:PORT"),
        "core/nat.stun_server",
    ),
    janus('1', "nat-1-1", Takes::One("IPS"), "media.nat_1_1_mapping"),
    janus('2', "keep-private-host", ON, "media.keep_private_host"),
    janus(
        'E',
        "ice-enforce-list",
        Takes::One("LIST"),
        "media.ice_enforce_list",
    ),
    janus(
        'X',
        "ice-ignore-list",
        Takes::One("LIST"),
        "media.ice_ignore_list",
    ),
    janus('6', "ipv6-candidates", ON, "media.ipv6"),
    janus('O', "ipv6-link-local", ON, "media.ipv6_linklocal"),
    janus('f', "full-trickle", ON, "media.full_trickle"),
    janus('I', "ice-lite", ON, "media.ice_lite"),
    janus('T', "ice-tcp", ON, "core/nat.ice_tcp"),
    janus(
        'Q',
        "min-nack-queue",
        Takes::One("MS"),
        "media.min_nack_queue",
    ),
    janus(
        't',
        "no-media-timer",
        Takes::One("S"),
        "media.no_media_timer",
    ),
    janus(
        'W',
        "slowlink-threshold",
        Takes::One("N"),
        "media.slowlink_threshold",
    ),
    janus(
        'r',
        "rtp-port-range",
        Takes::One("MIN-MAX"),
        "media.port_range",
    ),
    janus('B', "twcc-period", Takes::One("MS"), "media.twcc_period"),
    janus(
        'n',
        "server-name",
        Takes::One("NAME"),
        "general.server_name",
    ),
    janus(
        's',
        "session-timeout",
        Takes::One("S"),
        "general.session_timeout",
    ),
    janus(
        'm',
        "reclaim-session-timeout",
        Takes::One("S"),
        "general.reclaim_session_timeout",
    ),
    janus(
        'd',
        "debug-level",
        Takes::One("0-7"),
        "core/general.debug_level",
    ),
    janus('D', "debug-timestamps", ON, "core/general.debug_timestamps"),
    janus('o', "disable-colors", OFF, "core/general.debug_colors"),
    janus('M', "debug-locks", ON, "core/general.debug_locks"),
    janus('a', "apisecret", Takes::One("SECRET"), "general.api_secret"),
    janus('A', "token-auth", ON, "general.token_auth"),
    janus('e', "event-handlers", ON, "core/events.broadcast"),
    janus(
        'w',
        "no-webrtc-encryption",
        ON,
        "core/general.no_webrtc_encryption",
    ),
];

/// Listeners that are switched on by naming their address.
pub(super) const SWITCHES: [(&str, &str); 3] = [
    ("http", "http.enabled"),
    ("ws", "ws.enabled"),
    ("admin", "admin.enabled"),
];
