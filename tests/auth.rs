//! Secrets and tokens, in lockstep and virtual time: who is let in, and what the others are told.

mod support;

use bifrons::config::{AdminConfig, Config, GeneralConfig, Secret, TokenAuth};
use bifrons::shard::Listener;
use serde_json::{Value, json};
use support::{Conn, Lockstep, get};

const UNAUTHORIZED: &str = "Unauthorized request (wrong or missing secret/token)";

fn gateway(shards: u8, api_secret: Option<&str>, token_auth: TokenAuth) -> Lockstep {
    let config = Config {
        general: GeneralConfig {
            api_secret: api_secret.map(Secret::new),
            token_auth,
            ..GeneralConfig::default()
        },
        admin: AdminConfig {
            enabled: true,
            ..AdminConfig::default()
        },
        ..Config::default()
    };
    Lockstep::with(shards, config)
}

fn token(gateway: &mut Lockstep, admin: Conn, verb: &str, token: &str, plugins: Value) -> Value {
    let request = json!({
        "janus": verb, "transaction": "t", "token": token, "plugins": plugins,
    });
    gateway.post(admin, "/admin", &request)
}

#[track_caller]
fn check_error(reply: &Value, code: u16, reason: &str) {
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["reason"]),
        (&code.into(), &reason.into())
    );
}

#[test]
fn what_shows_no_secret_is_refused_before_anything_is_looked_up() {
    let mut gateway = gateway(2, Some("s"), TokenAuth::Off);
    let client = gateway.connect(0);
    let request = json!({"janus": "create", "transaction": "t"});
    check_error(&gateway.post(client, "/janus", &request), 403, UNAUTHORIZED);
    let request = json!({"janus": "keepalive", "transaction": "t", "apisecret": 7});
    let reply = gateway.post(client, "/janus/4711", &request);
    check_error(&reply, 403, UNAUTHORIZED);
    assert_eq!(
        (&reply["session_id"], &reply["transaction"]),
        (&4711.into(), &"t".into())
    );
    gateway.send(client, get("/janus/4711?apisecret=wrong"));
    assert_eq!(gateway.response(client), Some((403, String::new())));
    gateway.send(client, get("/janus/4711?apisecret=s"));
    assert_eq!(
        gateway.response(client).map(|(status, _)| status),
        Some(404)
    );
    let request = json!({"janus": "create", "transaction": "t", "apisecret": "s"});
    assert_eq!(gateway.post(client, "/janus", &request)["janus"], "success");
}

#[test]
fn a_token_that_one_shard_was_told_of_is_known_to_all_at_once() {
    let mut gateway = gateway(3, None, TokenAuth::Stored);
    let admins = [0, 1, 2].map(|shard| gateway.connect_to(shard, Listener::Admin));
    let clients = [0, 1, 2].map(|shard| gateway.connect(shard));
    let create = json!({"janus": "create", "transaction": "t", "token": "tok"});
    for teller in 0..3 {
        for client in clients {
            check_error(&gateway.post(client, "/janus", &create), 403, UNAUTHORIZED);
        }
        let reply = token(&mut gateway, admins[teller], "add_token", "tok", json!([]));
        assert_eq!(reply["data"]["plugins"][0], "janus.plugin.echotest");
        for client in clients {
            assert_eq!(gateway.post(client, "/janus", &create)["janus"], "success");
        }
        let list = json!({"janus": "list_tokens", "transaction": "t"});
        let listed = gateway.post(admins[(teller + 1) % 3], "/admin", &list);
        assert_eq!(listed["data"]["tokens"][0]["token"], "tok");
        let reply = token(
            &mut gateway,
            admins[(teller + 2) % 3],
            "remove_token",
            "tok",
            Value::Null,
        );
        assert_eq!(reply, json!({"janus": "success", "transaction": "t"}));
    }
    let reply = token(&mut gateway, admins[1], "remove_token", "tok", Value::Null);
    check_error(&reply, 490, "Error removing token");
}

#[test]
fn a_token_opens_its_plugins_only_and_defeats_a_right_secret() {
    let mut gateway = gateway(2, Some("s"), TokenAuth::Stored);
    let (client, admin) = (gateway.connect(0), gateway.connect_to(1, Listener::Admin));
    token(
        &mut gateway,
        admin,
        "add_token",
        "none",
        json!(["janus.plugin.other"]),
    );
    token(
        &mut gateway,
        admin,
        "add_token",
        "echo",
        json!(["janus.plugin.echotest"]),
    );
    let create = json!({"janus": "create", "transaction": "t", "token": "none"});
    let id = gateway.post(client, "/janus", &create)["data"]["id"].clone();
    let path = format!("/janus/{id}");
    let mut attach = |shown: &[(&str, &str)]| {
        let mut request =
            json!({"janus": "attach", "transaction": "t", "plugin": "janus.plugin.echotest"});
        for (name, value) in shown {
            request[name] = (*value).into();
        }
        gateway.post(client, &path, &request)
    };
    let refused = "Provided token can't access plugin 'janus.plugin.echotest'";
    check_error(&attach(&[("token", "none")]), 405, refused);
    check_error(
        &attach(&[("token", "none"), ("apisecret", "s")]),
        405,
        refused,
    );
    assert_eq!(attach(&[("apisecret", "s")])["janus"], "success");
    assert_eq!(attach(&[("token", "echo")])["janus"], "success");
    assert_eq!(
        attach(&[("token", "echo"), ("apisecret", "wrong")])["janus"],
        "success"
    );
    check_error(&attach(&[]), 403, UNAUTHORIZED);
}

#[test]
fn tokens_are_stored_only_where_the_configuration_says_so() {
    let signed = TokenAuth::Signed(Secret::new("key"));
    for mode in [TokenAuth::Off, signed] {
        let mut gateway = gateway(2, None, mode);
        let admin = gateway.connect_to(0, Listener::Admin);
        let disabled = "Stored-Token based authentication disabled";
        let plugins = json!(["janus.plugin.echotest"]);
        for verb in [
            "add_token",
            "allow_token",
            "disallow_token",
            "remove_token",
            "list_tokens",
        ] {
            let reply = token(&mut gateway, admin, verb, "t", plugins.clone());
            check_error(&reply, 490, disabled);
        }
    }
}

#[test]
fn a_signed_token_expires_by_the_wall_clock() {
    // HMAC-SHA1 with the key `supersecret`; expires in May 2033.
    let shown = "1999999999,janus,janus.plugin.videoroom:YUD93ti7Ps+W/3hifDANAh3+Hxc=";
    let mut gateway = gateway(2, None, TokenAuth::Signed(Secret::new("supersecret")));
    let client = gateway.connect(0);
    let create = json!({"janus": "create", "transaction": "t", "token": shown});
    let reply = gateway.post(client, "/janus", &create);
    let id = reply["data"]["id"].as_u64().expect("it is let in");
    let attach = json!({
        "janus": "attach", "transaction": "t", "plugin": "janus.plugin.echotest", "token": shown,
    });
    let reply = gateway.post(client, &format!("/janus/{id}"), &attach);
    check_error(
        &reply,
        405,
        "Provided token can't access plugin 'janus.plugin.echotest'",
    );
    gateway.send(
        client,
        get(&format!("/janus/{id}?token={}", shown.replace('+', "%2B"))),
    );
    assert_eq!(gateway.response(client), None, "the poll is held");
    gateway.step_wall_clock(300_000_000_000_000);
    let client = gateway.connect(1);
    check_error(&gateway.post(client, "/janus", &create), 403, UNAUTHORIZED);
}
