//! Clients of the VideoRoom, each with a session and a handle of its own.

use bifrons::config::Config;
use serde_json::{Value, json};

use super::{Conn, Lockstep};

/// A client with a session of its own on some shard, and one handle.
pub struct User {
    pub conn: Conn,
    pub session: u64,
    pub handle: u64,
}

impl User {
    pub fn new(gateway: &mut Lockstep, shard: usize) -> Self {
        let conn = gateway.connect(shard);
        let create = json!({"janus": "create", "transaction": "c"});
        let session = id_of(&gateway.post(conn, "/janus", &create));
        let attach = json!({
            "janus": "attach", "transaction": "a", "plugin": "janus.plugin.videoroom",
        });
        let handle = id_of(&gateway.post(conn, &format!("/janus/{session}"), &attach));
        Self {
            conn,
            session,
            handle,
        }
    }

    pub fn send(&self, gateway: &mut Lockstep, body: &Value, jsep: Option<Value>) -> Value {
        let mut message = json!({"janus": "message", "transaction": "t", "body": body});
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        let path = format!("/janus/{}/{}", self.session, self.handle);
        gateway.post(self.conn, &path, &message)
    }

    /// The data of a reply that comes at once.
    #[track_caller]
    pub fn ask(&self, gateway: &mut Lockstep, body: &Value) -> Value {
        let reply = self.send(gateway, body, None);
        assert_eq!(reply["janus"], "success", "{reply}");
        reply["plugindata"]["data"].clone()
    }

    /// The events that have come, whole.
    pub fn all_events(&self, gateway: &mut Lockstep) -> Vec<Value> {
        gateway.poll(self.conn, self.session, "?maxev=50");
        let Some((_, body)) = gateway.response(self.conn) else {
            // Ends the poll, so that the connection can be used again.
            gateway.advance(std::time::Duration::from_secs(31));
            gateway.response(self.conn).expect("a poll ends");
            return Vec::new();
        };
        serde_json::from_str(&body).expect("events are JSON")
    }

    /// The data of the events that have come.
    pub fn events(&self, gateway: &mut Lockstep) -> Vec<Value> {
        let events = self.all_events(gateway);
        let data = events.iter().map(|event| match event["janus"].as_str() {
            Some("event") => event["plugindata"]["data"].clone(),
            _ => event.clone(),
        });
        data.collect()
    }

    /// The data of the event that answers a message, which is the last one to come.
    #[track_caller]
    pub fn tell(&self, gateway: &mut Lockstep, body: &Value) -> Value {
        self.negotiate(gateway, body, None).0
    }

    /// The same with a session description; returns the one that comes back, too.
    #[track_caller]
    pub fn negotiate(
        &self,
        gateway: &mut Lockstep,
        body: &Value,
        jsep: Option<Value>,
    ) -> (Value, Value) {
        let reply = self.send(gateway, body, jsep);
        assert_eq!(reply["janus"], "ack", "{reply}");
        let events = self.all_events(gateway);
        let event = events.last().unwrap_or_else(|| panic!("no event: {body}"));
        assert_eq!(event["transaction"], "t", "{events:?}");
        (event["plugindata"]["data"].clone(), event["jsep"].clone())
    }
}

fn id_of(reply: &Value) -> u64 {
    reply["data"]["id"].as_u64().expect("an id")
}

/// Runs a test with one shard and with three, with its users on different shards.
pub fn everywhere(test: impl Fn(&mut Lockstep, &[User])) {
    everywhere_with(&Config::default(), test);
}

/// The same with a configuration.
pub fn everywhere_with(config: &Config, test: impl Fn(&mut Lockstep, &[User])) {
    for shards in [1, 3] {
        let mut gateway = Lockstep::with(shards, config.clone());
        let users: Vec<User> = (0..3)
            .map(|user| User::new(&mut gateway, user % usize::from(shards)))
            .collect();
        test(&mut gateway, &users);
    }
}

#[track_caller]
pub fn check_fault(data: &Value, code: u16, text: &str) {
    let expected = json!({"videoroom": "event", "error_code": code, "error": text});
    assert_eq!(*data, expected);
}

/// An offer of a browser.
pub fn offer(sdp: &str) -> Value {
    json!({"type": "offer", "sdp": sdp})
}

/// The lines of a description that begin with `start`.
pub fn lines<'a>(jsep: &'a Value, start: &str) -> Vec<&'a str> {
    let sdp = jsep["sdp"]
        .as_str()
        .unwrap_or_else(|| panic!("no description: {jsep}"));
    sdp.lines().filter(|line| line.starts_with(start)).collect()
}

/// An answer to an offer of ours that takes everything.
pub fn answer(offer: &Value) -> Value {
    let sdp = offer["sdp"]
        .as_str()
        .unwrap_or_else(|| panic!("no offer: {offer}"));
    let mut out = String::new();
    for line in sdp.lines() {
        let line = match line {
            "a=sendonly" => "a=recvonly",
            "a=setup:actpass" => "a=setup:active",
            line if line.starts_with("a=ssrc") || line.starts_with("a=msid:") => continue,
            line if line.starts_with("a=candidate") => continue,
            line => line,
        };
        out.push_str(line);
        out.push_str("\r\n");
    }
    json!({"type": "answer", "sdp": out})
}
