//! Tests of the configuration as a whole: text in, settings and complaints out.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::keys::{LIMITS, keys};
use super::*;
use crate::base::json::Form;
use crate::base::limits::Limits;

#[test]
fn the_built_in_configuration_is_valid_and_on_loopback() {
    let config = Config::default();

    assert_eq!(config.validate(), Ok(()));
    assert!(config.http.bind.iter().all(|bind| bind.ip().is_loopback()));
    assert!(!config.admin.enabled);
    assert!(!config.media.allows_loopback());
}

#[test]
fn a_profile_of_janus_is_read_in_full() {
    let core = r#"
        general: {
            debug_level = 5
            debug_colors = false
            interface = "127.0.0.1"
            admin_secret = "conformance-admin"
            api_secret = "conformance-api-secret"
            token_auth = true
            token_auth_secret = "conformance-hmac-key"
            session_timeout = 4
            reclaim_session_timeout = 3
            opaqueid_in_api = true
            server_name = "conformance-strings"
        }
        media: { ipv6 = false, rtp_port_range = "20000-20010" }
        nat: { ice_enforce_list = "127.0.0.1", full_trickle = true }
        plugins: { disable = "libjanus_sip.so,libjanus_nosip.so" }
        transports: { disable = "libjanus_rabbitmq.so" }
        events: { broadcast = false, disable = "libjanus_gelfevh.so" }
    "#;
    let http = r#"
        general: {
            json = "indented"
            base_path = "/janus/"
            http = true
            port = 18200
            ip = "127.0.0.1"
            https = false
        }
        admin: {
            admin_base_path = "/admin"
            admin_http = true
            admin_port = 18202
            admin_ip = "127.0.0.1"
        }
        cors: { allow_origin = "https://app.example", enforce_cors = true }
    "#;
    let ws = r#"
        general: { json = "plain", ws = true, ws_port = 18201, ws_ip = "127.0.0.1" }
        admin: { admin_ws = true, admin_ws_port = 18203, admin_ws_ip = "127.0.0.1" }
    "#;

    let (config, warnings) = jcfg(&[
        ("dir/janus.jcfg", core),
        ("dir/janus.transport.http.jcfg", http),
        ("dir/janus.transport.websockets.jcfg", ws),
        ("dir/janus.plugin.echotest.jcfg", ""),
        (
            "dir/janus.eventhandler.sampleevh.jcfg",
            "general: { enabled = false }",
        ),
    ])
    .unwrap();

    assert_eq!(warnings, []);
    let Config {
        general,
        log,
        http,
        admin,
        ws,
        media,
        plugins_disabled,
        ..
    } = config;
    assert_eq!(general.server_name, "conformance-strings");
    assert_eq!(general.session_timeout, Some(Duration::from_secs(4)));
    assert_eq!(general.reclaim_session_timeout, Duration::from_secs(3));
    assert_eq!(
        general.api_secret,
        Some(Secret::new("conformance-api-secret"))
    );
    let key = Secret::new("conformance-hmac-key");
    assert_eq!(general.token_auth, TokenAuth::Signed(key));
    assert!(general.opaqueid_in_api);
    assert_eq!(general.local_address, Some(ip("127.0.0.1")));
    assert_eq!(log.level, LogLevel::Debug);
    assert_eq!(http.bind, ["127.0.0.1:18200".parse().unwrap()]);
    assert_eq!(
        (http.base_path.as_str(), http.json),
        ("/janus", Form::Indented)
    );
    assert_eq!(http.allow_origin.as_deref(), Some("https://app.example"));
    assert!(http.enforce_cors);
    assert!(admin.enabled);
    assert_eq!(admin.bind, ["127.0.0.1:18202".parse().unwrap()]);
    assert_eq!(admin.json, Form::Indented);
    assert_eq!(admin.secret, Some(Secret::new("conformance-admin")));
    assert_eq!(ws.bind, ["127.0.0.1:18201".parse().unwrap()]);
    assert_eq!(ws.admin_bind, ["127.0.0.1:18203".parse().unwrap()]);
    assert_eq!(ws.json, Form::Plain);
    assert!(media.full_trickle && media.allows_loopback() && !media.ice_lite);
    assert!(media.gathers("lo", ip("127.0.0.1")));
    assert_eq!(
        (media.port_base, media.port_last),
        (Some(20_000), Some(20_010))
    );
    assert_eq!(plugins_disabled, ["janus.plugin.sip", "janus.plugin.nosip"]);
}

#[test]
fn a_transport_whose_file_is_given_listens_everywhere() {
    let (config, _) = jcfg(&[("janus.transport.http.jcfg", "")]).unwrap();

    assert_eq!(config.http.bind, ["[::]:8088".parse().unwrap()]);
    assert_eq!(config.ws.bind, ["127.0.0.1:8188".parse().unwrap()]);
}

#[test]
fn toml_sets_the_same_things() {
    let text = r#"
        shards = 2
        drain_timeout = "5s"
        [general]
        session_timeout = 0
        api_secret = "s"
        token_auth = true
        [log]
        level = "debug"
        format = "json"
        [admin]
        enabled = true
        [http]
        bind = ["127.0.0.1:9000", "[::1]:9000"]
        acl = "127.,192.168.1."
        [media]
        ips = ["127.0.0.1"]
        port_base = 30000
        twcc_period = 100
        no_media_timer = "1500ms"
        [event_stream]
        heartbeat = 20
        [limits]
        poll_timeout = 20
        sessions_count = 10
    "#;

    let (config, warnings) = Config::from_toml("b.toml", text).unwrap();

    // It is kept for `info`, and said to do no more.
    let named: Vec<_> = warnings.iter().map(|w| (w.key.as_str(), w.kind)).collect();
    assert_eq!(named, [("media.twcc_period", WarningKind::NotServed)]);
    assert_eq!(config.shards, Some(2));
    assert_eq!(config.drain_timeout, Duration::from_secs(5));
    assert_eq!(config.general.session_timeout, None);
    assert_eq!(config.general.token_auth, TokenAuth::Stored);
    assert_eq!(
        (config.log.level, config.log.format),
        (LogLevel::Debug, LogFormat::Json)
    );
    assert_eq!(config.http.bind.len(), 2);
    assert!(config.http.acl[1].admits(ip("192.168.1.7")));
    assert!(config.media.allows_loopback() && config.media.ice_lite);
    assert_eq!(
        (config.media.port_of(0), config.media.port_of(1)),
        (30_000, 30_001)
    );
    assert_eq!(config.media.twcc_period, Duration::from_millis(100));
    assert_eq!(
        config.media.no_media_timer,
        Some(Duration::from_millis(1_500))
    );
    assert_eq!(config.event_stream.heartbeat, Duration::from_secs(20));
    assert_eq!(config.limits.poll_timeout, Duration::from_secs(20));
    assert_eq!(config.limits.sessions_count, 10);
}

#[test]
fn an_empty_file_is_the_built_in_configuration() {
    assert_eq!(
        Config::from_toml("b.toml", "").unwrap().0,
        Config::default()
    );
}

#[test]
fn unknown_keys_are_named_and_do_no_harm() {
    let text = "general: {\n sesion_timeout = 5\n}\nmedai: { ipv6 = true }\nnat: { x: { y = 1 } }";

    let (config, warnings) = jcfg(&[("janus.jcfg", text)]).unwrap();

    assert_eq!(config.general, GeneralConfig::default());
    assert!(
        warnings
            .iter()
            .all(|warning| warning.kind == WarningKind::Unknown)
    );
    let shown: Vec<String> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        shown,
        [
            "janus.jcfg:2:2: general.sesion_timeout: is not known and has no effect",
            "janus.jcfg:4:1: medai: is not known and has no effect",
            "janus.jcfg:5:8: nat.x: is not known and has no effect",
        ]
    );
    let (_, warnings) = Config::from_toml("b.toml", "[http]\nprot = 1\n[x]\ny = 1").unwrap();
    let shown: Vec<String> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        shown,
        [
            "b.toml:2:1: http.prot: is not known and has no effect",
            "b.toml:3:2: x: is not known and has no effect",
        ]
    );
}

#[test]
fn what_is_not_served_is_said_once_and_only_when_asked_for() {
    check_warnings(("janus.jcfg", "nat: { ice_tcp = false }"), &[]);
    check_warnings(
        ("janus.jcfg", "nat: { stun_server = \"s\", stun_port = 1 }"),
        &["nat.stun_server"],
    );
    check_warnings(
        ("janus.jcfg", "certificates: { rsa_private_key = true }"),
        &["certificates.rsa_private_key"],
    );
}

#[test]
fn values_that_make_no_sense_are_refused_with_their_place() {
    let core = |text| ("janus.jcfg", text);
    check_refused(
        core("general: {\n\tcandidates_timeout = 0\n}"),
        "janus.jcfg:2:23: general.candidates_timeout: must be a time from 1s to 86400s, not `0`",
    );
    check_refused(
        core("media: { rtp_port_range = \"30000-20000\" }"),
        "janus.jcfg:1:27: media.rtp_port_range: the range 30000-20000 ends before it begins",
    );
    check_refused(
        core("media: { rtp_port_range = \"20000-20001\" }, general: { event_loops = 3 }"),
        "janus.jcfg:1:27: media.rtp_port_range: 3 shards need the ports 20000 to 20002, but \
         20001 is the last; begin lower or use fewer shards",
    );
    check_refused(
        core("general: { debug_level = 8 }"),
        "janus.jcfg:1:26: general.debug_level: must be from 0 to 7, not `8`",
    );
    check_refused(
        core("general: { session_timeout = [1] }"),
        "janus.jcfg:1:30: general.session_timeout: must be one value",
    );
    check_refused(
        core("nat: { nat_1_1_mapping = \"192.0.2.1,public\" }"),
        "janus.jcfg:1:26: nat.nat_1_1_mapping: `public` cannot be read; write it like 192.0.2.1",
    );
    check_refused(
        core("certificates: { cert_pem = \"/x.pem\" }"),
        "janus.jcfg:1:28: certificates.cert_pem: needs media.dtls_key beside it",
    );
    let http = |text| ("janus.transport.http.jcfg", text);
    check_refused(
        http("general: { port = 0 }"),
        "janus.transport.http.jcfg:1:19: general.port: must be from 1 to 65535, not `0`",
    );
    check_refused(
        http("general: { interface = \"eth0\" }"),
        "janus.transport.http.jcfg:1:24: general.interface: `eth0` is the name of an interface; \
         write its address as ip",
    );
    check_refused(
        http("general: { base_path = \"janus\" }"),
        "janus.transport.http.jcfg:1:24: general.base_path: `janus` is not a path; write it like \
         /janus",
    );
    check_refused(
        http("admin: { admin_http = true, admin_port = 8088, admin_ip = \"127.0.0.1\" }"),
        "janus.transport.http.jcfg:1:59: admin.admin_ip: 127.0.0.1:8088 is taken by http.bind",
    );
}

#[test]
fn toml_is_stricter_than_janus() {
    let refused = |text: &str| Config::from_toml("b.toml", text).unwrap_err().to_string();

    assert_eq!(
        refused("a ="),
        "b.toml:1:4: string values must be quoted, expected literal string"
    );
    assert_eq!(
        refused("[http]\njson = \"tight\""),
        "b.toml:2:8: http.json: `tight` is none of indented, plain, compact"
    );
    assert_eq!(
        refused("[limits]\nbody_bytes = 0"),
        "b.toml:2:14: limits.body_bytes: must be from 1 to 2147483648, not `0`"
    );
    assert_eq!(
        refused("[limits]\npoll_timeout = 61"),
        "b.toml:2:16: limits.poll_timeout: must be at most 60 s: proxies do not wait longer"
    );
    assert_eq!(
        refused("[http]\nenabled = false\n[ws]\nenabled = false"),
        "b.toml:2:11: http.enabled: must not be off together with ws.enabled"
    );
    assert_eq!(
        refused("shards = 99999999999999999999"),
        "b.toml:1:10: the number is too large"
    );
}

#[test]
fn the_tail_of_a_journal_has_a_size_and_may_be_off() {
    let read = |text: &str| Config::from_toml("b.toml", text);
    for (text, mebibytes) in [
        ("", 64),
        ("[journal]\ntail = 0", 0),
        ("[journal]\ntail = 3", 3),
    ] {
        let (config, warnings) = read(text).unwrap();
        assert_eq!(config.journal.tail, mebibytes << 20, "{text}");
        assert_eq!(warnings.len(), 0, "{text}");
    }
    assert!(read("[journal]\ntail = 1048577").is_err());
}

#[test]
fn booleans_are_read_as_janus_reads_them() {
    for (text, expected, complaints) in [
        ("true", true, 0),
        ("\"YES\"", true, 0),
        ("1", true, 0),
        ("\"no\"", false, 0),
        ("0", false, 0),
        ("\"on\"", false, 1),
    ] {
        let text = format!("media: {{ ipv6 = {text} }}");
        let (config, warnings) = jcfg(&[("janus.jcfg", text.as_str())]).unwrap();
        assert_eq!(
            (config.media.ipv6, warnings.len()),
            (expected, complaints),
            "{text}"
        );
    }
}

#[test]
fn an_open_admin_listener_needs_a_secret_of_its_own() {
    let admin = "admin: { admin_http = true, admin_ip = \"0.0.0.0\" }";
    let with = |secret: &str| {
        let core = format!("general: {{ admin_secret = \"{secret}\" }}");
        jcfg(&[
            ("janus.jcfg", core.as_str()),
            ("janus.transport.http.jcfg", admin),
        ])
    };

    assert!(with("").unwrap_err().message.contains("admin secret"));
    assert!(with("janusoverlord").is_err());
    assert!(with("fifteen-bytes-x").is_err());
    assert!(with("sixteen-bytes-xx").is_ok());
}

#[test]
fn the_admin_secret_is_not_shown() {
    let text = "[admin]\nsecret = \"hunter2\"\n[general]\napi_secret = \"hunter2\"";

    let (config, _) = Config::from_toml("b.toml", text).unwrap();

    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn admin_acl_forwarded_is_honoured_in_both_sections() {
    for section in ["general", "admin"] {
        let text = format!("{section}: {{ admin_acl_forwarded = true }}");
        let (config, _) = jcfg(&[("janus.transport.http.jcfg", text.as_str())]).unwrap();
        assert!(config.admin.acl_forwarded, "{section}");
    }
}

#[test]
fn disabled_transports_are_off() {
    let text = "transports: { disable = \"libjanus_http.so\" }";
    let http = "admin: { admin_http = true, admin_ip = \"127.0.0.1\" }";

    let (config, _) = jcfg(&[("janus.jcfg", text), ("janus.transport.http.jcfg", http)]).unwrap();

    assert!(!config.http.enabled && !config.admin.enabled && config.ws.enabled);
}

#[test]
fn files_of_other_modules_are_mentioned_when_somebody_counts_on_them() {
    let room = "room-1234: { description = \"Demo\" }";
    check_warnings(("janus.plugin.textroom.jcfg", room), &[""]);
    check_warnings(("janus.plugin.textroom.jcfg", "# nothing"), &[]);
    check_warnings(
        ("janus.transport.mqtt.jcfg", "general: { enabled = false }"),
        &[],
    );
    check_warnings(
        ("janus.transport.mqtt.jcfg", "general: { enabled = true }"),
        &[""],
    );
    check_warnings(("janus.plugin.sip.jcfg", "general: {"), &[""]);
}

#[test]
fn flags_win_and_errors_name_them() {
    let mut config = Config::default();
    let mut flags = Overrides::default();
    flags.set("--http", "http.bind", "127.0.0.1:9999");
    flags.set("--media-ip", "media.ips", "192.0.2.1");
    flags.set("--media-ip", "media.ips", "192.0.2.2");
    flags.set("-s", "core/general.session_timeout", "5");
    flags.set("-T", "core/nat.ice_tcp", "true");

    let warnings = config.apply(&flags).unwrap();

    assert_eq!(config.http.bind, ["127.0.0.1:9999".parse().unwrap()]);
    assert_eq!(config.media.ips, [ip("192.0.2.1"), ip("192.0.2.2")]);
    assert_eq!(config.general.session_timeout, Some(Duration::from_secs(5)));
    assert_eq!(
        warnings[0].to_string(),
        "-T: has no effect: ICE over TCP is not served yet"
    );

    let before = config.clone();
    let mut flags = Overrides::default();
    flags.set("--shards", "shards", "2");
    flags.set("--media-port", "media.port_base", "65535");
    let error = config.apply(&flags).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--media-port: 2 shards need the ports 65535 to 65536, but 65535 is the last; begin \
         lower or use fewer shards"
    );
    assert_eq!(config, before);
}

#[test]
fn flags_leave_alone_what_they_do_not_name() {
    let text = "[general]\ntoken_auth = true\ntoken_auth_secret = \"k\"\n\
                [ws]\nadmin_bind = \"127.0.0.1:7188\"\n[log]\nto_file = \"/x\"";
    let (mut config, _) = Config::from_toml("b.toml", text).unwrap();
    let before = config.clone();

    config.apply(&Overrides::default()).unwrap();

    assert_eq!(config, before);
    assert_eq!(config.log.to_file.as_deref(), Some(Path::new("/x")));
}

#[test]
fn candidates_come_from_where_the_lists_say() {
    let mut media = MediaConfig {
        ipv6: true,
        ..MediaConfig::default()
    };
    assert!(media.gathers("eth0", ip("192.0.2.1")));
    assert!(media.gathers("eth0", ip("2001:db8::1")));
    assert!(!media.gathers("eth0", ip("fe80::1")));
    assert!(!media.gathers("lo", ip("127.0.0.1")));
    media.ice_ignore_list = vec![HostPattern::new("vmnet"), HostPattern::new("10.")];
    assert!(!media.gathers("vmnet8", ip("192.0.2.1")));
    assert!(!media.gathers("eth0", ip("10.1.1.1")));
    media.ice_enforce_list = vec![HostPattern::new("eth1")];
    assert!(!media.gathers("eth0", ip("192.0.2.1")));
    assert!(media.gathers("eth1", ip("192.0.2.1")));
    media.ips = vec![ip("127.0.0.1")];
    assert!(media.gathers("lo", ip("127.0.0.1")));
    assert!(!media.gathers("eth1", ip("192.0.2.1")));
}

#[test]
fn a_network_of_an_access_list_must_be_one() {
    let ws = |acl: &str| format!("general: {{ ws_acl = \"{acl}\" }}");
    let name = "janus.transport.websockets.jcfg";
    let (config, warnings) = jcfg(&[(name, &ws("10.0.0.0/8, 127.0.0."))]).unwrap();
    assert_eq!(warnings, []);
    assert!(
        config
            .ws
            .acl
            .iter()
            .any(|entry| entry.admits(ip("10.9.9.9")))
    );
    check_refused(
        (name, &ws("10.0.0.0/40")),
        "janus.transport.websockets.jcfg:1:21: general.ws_acl: `10.0.0.0/40` cannot be read; write \
         it like 10.0.0.0/8 or 10.0.",
    );
}

#[test]
fn what_transports_tell_and_log_can_be_set() {
    let http = "general: { events = false }";
    let ws = "general: { events = false, ws_logging = \"err,info\" }";
    let files = [
        ("janus.transport.http.jcfg", http),
        ("janus.transport.websockets.jcfg", ws),
    ];
    let (config, warnings) = jcfg(&files).unwrap();
    assert_eq!(warnings, []);
    assert!(!config.http.events && !config.ws.events);
    assert_eq!(config.ws.logging, SocketLog::All);
    let toml = "[ws]\nlogging = \"warn\"";
    let (config, _) = Config::from_toml("bifrons.toml", toml).unwrap();
    assert!(config.http.events && config.ws.events);
    assert_eq!(config.ws.logging, SocketLog::Failures);
    assert!(Config::from_toml("bifrons.toml", "[ws]\nlogging = \"loud\"").is_err());
}

#[test]
fn every_limit_can_be_set() {
    let shown = format!("{:?}", Limits::default());
    let fields = shown
        .trim_start_matches("Limits { ")
        .split(", ")
        .filter_map(|field| {
            let (name, _) = field.split_once(": ")?;
            Some(format!("limits.{name}"))
        });
    let fields: Vec<String> = fields.collect();

    assert!(fields.len() > 40);
    for field in fields {
        assert!(LIMITS.iter().any(|key| key.toml == field), "{field}");
    }
}

#[test]
fn the_documentation_has_a_row_for_every_key() {
    let page = include_str!("../../docs/configuration.md");

    for key in keys().chain(LIMITS).filter(|key| !key.toml.is_empty()) {
        assert!(
            page.contains(&format!("\n| `{}` |", key.toml)),
            "{}",
            key.toml
        );
    }
}

#[test]
fn rooms_are_read_from_either_syntax() {
    let janus =
        "general: { string_ids = true }\nroom-1234: { description = \"Demo\", publishers = 6 }";
    let toml = "[videoroom]\nstring_ids = true\n[videoroom.rooms.1234]\ndescription = \"Demo\"\npublishers = 6";

    let from_janus = jcfg(&[("janus.plugin.videoroom.jcfg", janus)]).unwrap().0;
    let from_toml = Config::from_toml("bifrons.toml", toml).unwrap().0;

    let room = &from_janus.videoroom.rooms[0];
    let settings: Vec<(&str, &str)> = room
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(room.id, "1234");
    assert_eq!(settings, [("description", "Demo"), ("publishers", "6")]);
    let file = from_janus.videoroom.file.as_deref();
    assert_eq!(file, Some(Path::new("janus.plugin.videoroom.jcfg")));
    assert_eq!(from_janus.videoroom.rooms, from_toml.videoroom.rooms);
    assert_eq!(from_toml.videoroom.file, None);
}

#[test]
fn no_name_stands_for_two_settings() {
    let mut names: Vec<&str> = keys()
        .chain(LIMITS)
        .flat_map(|key| [key.janus, key.toml])
        .collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    let count = names.len();
    names.dedup();

    assert_eq!(names.len(), count);
}

fn jcfg(files: &[(&str, &str)]) -> Result<(Config, Vec<Warning>), ConfigError> {
    Config::from_jcfg(files, &|path| Err(format!("{path} does not exist here")))
}

fn check_warnings(file: (&str, &str), keys: &[&str]) {
    let shown = match jcfg(&[file]) {
        Ok((_, warnings)) => warnings.into_iter().map(|warning| warning.key).collect(),
        Err(error) => vec![error.to_string()],
    };
    assert_eq!(shown, keys, "{file:?}");
}

fn check_refused(file: (&str, &str), expected: &str) {
    assert_eq!(jcfg(&[file]).unwrap_err().to_string(), expected);
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
