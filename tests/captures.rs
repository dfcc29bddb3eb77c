//! Captures of media over the Admin API, in lockstep and virtual time. What is in the files is
//! tested with real calls, in `src/media` and end to end.

mod support;

use std::path::Path;
use std::time::Duration;

use bifrons::config::{AdminConfig, Config, Secret};
use bifrons::gateway::outside::Written;
use bifrons::shard::{Control, Listener};
use serde_json::{Value, json};
use support::{Conn, Lockstep};

const SECRET: &str = "an admin secret";

/// One that captures into `folder`, with a handle on each shard, asked at the first shard.
struct Rig {
    gateway: Lockstep,
    admin: Conn,
    clients: Vec<Conn>,
    handles: Vec<(u64, u64)>,
}

impl Rig {
    fn new(folder: Option<&str>) -> Self {
        let config = Config {
            admin: AdminConfig {
                enabled: true,
                secret: Some(Secret::new(SECRET)),
                capture_folder: folder.map(Into::into),
                ..AdminConfig::default()
            },
            ..Config::default()
        };
        let mut gateway = Lockstep::with(2, config);
        let clients: Vec<Conn> = (0..2).map(|shard| gateway.connect(shard)).collect();
        let handles = clients.iter().map(|client| gateway.echo(*client)).collect();
        let admin = gateway.connect_to(0, Listener::Admin);
        Self {
            gateway,
            admin,
            clients,
            handles,
        }
    }

    /// Asks about the handle of a shard.
    fn ask(&mut self, shard: usize, verb: &str, more: Value) -> Value {
        let (session, handle) = self.handles[shard];
        let mut request = json!({"janus": verb, "transaction": "t", "admin_secret": SECRET});
        for (name, value) in more.as_object().into_iter().flatten() {
            request[name] = value.clone();
        }
        let path = format!("/admin/{session}/{handle}");
        self.gateway.post(self.admin, &path, &request)
    }
}

#[track_caller]
fn check_refused(reply: &Value, reason: &str) {
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["reason"]),
        (&490.into(), &reason.into()),
        "{reply}"
    );
}

#[test]
fn a_capture_is_a_file_of_the_shard_that_has_the_handle() {
    let mut rig = Rig::new(Some("/captures"));
    for shard in 0..2 {
        check_refused(
            &rig.ask(shard, "stop_pcap", json!({})),
            "Capture not started",
        );
        let name = format!("call-{shard}.pcapng");
        let reply = rig.ask(shard, "start_pcap", json!({"filename": name}));
        assert_eq!(reply, json!({"janus": "success", "transaction": "t"}));
        let path = format!("/captures/{name}");
        let info = rig.ask(shard, "handle_info", json!({}));
        assert_eq!(info["info"]["dump-to-pcap"], true);
        assert_eq!(info["info"]["pcap-file"], path.as_str());
        for verb in ["start_pcap", "start_text2pcap"] {
            check_refused(&rig.ask(shard, verb, json!({})), "pcap already started");
        }
        // Either request stops it.
        let reply = rig.ask(shard, "stop_text2pcap", json!({}));
        assert_eq!(reply["janus"], "success", "{reply}");
        check_refused(
            &rig.ask(shard, "stop_pcap", json!({})),
            "Capture not started",
        );
        let info = rig.ask(shard, "handle_info", json!({}));
        assert_eq!(info["info"]["dump-to-pcap"], Value::Null);
        assert!(rig.gateway.files.contains_key(Path::new(&path)));
    }
}

#[test]
fn captures_need_a_folder_and_stay_in_it() {
    let off = "Captures are off: admin.capture_folder names no folder";
    check_refused(&Rig::new(None).ask(0, "start_pcap", json!({})), off);
    let mut rig = Rig::new(Some("/captures"));
    let outside = "Captures are written to the configured folder only";
    for folder in ["/tmp", "../up"] {
        let reply = rig.ask(0, "start_pcap", json!({"folder": folder}));
        check_refused(&reply, outside);
    }
    let reply = rig.ask(0, "start_pcap", json!({"filename": "../up"}));
    check_refused(&reply, "Invalid filename");
    for (name, value) in [
        ("folder", json!(1)),
        ("filename", json!([])),
        ("truncate", json!(-1)),
    ] {
        let reply = rig.ask(0, "start_pcap", json!({name: value}));
        assert_eq!(reply["error"]["code"], 467, "{reply}");
    }
    assert!(rig.gateway.files.is_empty());
}

#[test]
fn a_disk_that_takes_nothing_ends_the_capture() {
    let mut rig = Rig::new(Some("/captures"));
    rig.gateway.disk = Written::No;
    let failed = "The capture file could not be written";
    check_refused(&rig.ask(1, "start_pcap", json!({})), failed);
    check_refused(&rig.ask(1, "stop_pcap", json!({})), "Capture not started");
    rig.gateway.disk = Written::Yes;
    let reply = rig.ask(1, "start_text2pcap", json!({"filename": "a.txt"}));
    assert_eq!(reply["janus"], "success");
    check_refused(
        &rig.ask(1, "start_pcap", json!({})),
        "text2pcap already started",
    );
}

#[test]
fn a_capture_ends_with_its_handle() {
    let mut rig = Rig::new(Some("/captures"));
    for round in 0..40 {
        let filename = format!("{round}");
        let reply = rig.ask(1, "start_pcap", json!({"filename": filename}));
        assert_eq!(reply["janus"], "success", "more than there may be at once");
        assert_eq!(rig.ask(1, "detach_handle", json!({}))["janus"], "success");
        let client = rig.gateway.connect(1);
        rig.handles[1] = rig.gateway.echo(client);
    }
    assert_eq!(rig.gateway.files.len(), 40);
}

/// A gateway that was told to stop while the disk had yet to take a capture.
fn stopping() -> Rig {
    let mut rig = Rig::new(Some("/captures"));
    rig.gateway.is_disk_stuck = true;
    let (session, handle) = rig.handles[1];
    let body = format!(
        r#"{{"janus":"start_pcap","transaction":"t","admin_secret":"{SECRET}","filename":"a"}}"#
    );
    let request = support::post(&format!("/admin/{session}/{handle}"), &body);
    rig.gateway.send(rig.admin, request);
    // Nothing else is waited for.
    for conn in rig.clients.iter().chain([&rig.admin]) {
        rig.gateway.reset(*conn);
    }
    rig.gateway.control(Control::Stop);
    rig
}

#[test]
fn all_is_written_before_the_gateway_stops() {
    let mut rig = stopping();
    assert!(!rig.gateway.is_drained());
    rig.gateway.free_disk();
    assert!(rig.gateway.files.contains_key(Path::new("/captures/a")));
    assert!(rig.gateway.is_drained());
}

#[test]
fn a_gateway_stops_although_a_disk_answers_nothing() {
    let mut rig = stopping();
    rig.gateway.advance(Duration::from_secs(3));
    assert!(rig.gateway.is_drained());
    assert!(rig.gateway.files.is_empty());
}
