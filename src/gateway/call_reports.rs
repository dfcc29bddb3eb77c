//! Reports of the life of sessions, handles and their calls, and the notes that queries need.

use serde_json::{Map, Value, json};

use crate::base::clock::{Monotonic, Now, Realtime};
use crate::base::id::{HandleRef, PeerId, SessionId};
use crate::base::json::push_string;
use crate::base::members::Members;
use crate::config::ReportKind;
use crate::gateway::Gateway;
use crate::gateway::handle::Description;
use crate::gateway::plugin::{JsepOut, PluginMessage};
use crate::gateway::reports::Transport;
use crate::gateway::session::Via;
use crate::media::{PeerEnd, PeerEvent};

/// The one stream and component of a PeerConnection: everything is bundled.
const COMPONENT: &str = "\"stream_id\":1,\"component_id\":1";

impl Gateway {
    pub(super) fn report_created(&mut self, now: Now, session: SessionId, via: Via) {
        let (transport, id) = match via {
            Via::Http(origin) => (Transport::Http, origin.number()),
            Via::Socket(origin) => (Transport::WebSockets, origin.number()),
        };
        let event = json!({
            "name": "created",
            "transport": {"transport": transport.package(), "id": id.to_string()},
        });
        self.report_session(now, session, &event.to_string());
    }

    /// Reports that a handle was attached or detached.
    pub(super) fn report_attachment(&mut self, now: Now, handle: HandleRef, name: &str) {
        if !self.reports.wants(ReportKind::Handles) {
            return;
        }
        let Some(entry) = self.handle_mut(handle) else {
            return;
        };
        let (opaque_id, token, plugin) =
            (entry.opaque_id.clone(), entry.token.clone(), entry.plugin);
        let mut event = Map::new();
        event.insert("name".to_owned(), name.into());
        event.insert(
            "plugin".to_owned(),
            self.plugins[plugin].info().package.into(),
        );
        for (name, value) in [("opaque_id", opaque_id), ("token", token)] {
            if let Some(value) = value {
                event.insert(name.to_owned(), value.as_ref().into());
            }
        }
        let event = Value::Object(event).to_string();
        self.report_handle(now.realtime, (ReportKind::Handles, None), handle, &event);
    }

    /// Reports that a PeerConnection ended.
    pub(super) fn report_hangup(&mut self, now: Now, handle: HandleRef, reason: &str) {
        let event = json!({"connection": "hangup", "reason": reason}).to_string();
        self.report_webrtc(now.realtime, 6, handle, &event);
    }

    fn report_webrtc(&mut self, at: Realtime, subtype: u8, handle: HandleRef, event: &str) {
        self.report_handle(at, (ReportKind::Webrtc, Some(subtype)), handle, event);
    }

    /// Reports what a plugin tells of itself or of a handle.
    pub(super) fn report_plugin(
        &mut self,
        now: Now,
        handle: Option<HandleRef>,
        plugin: usize,
        data: &Value,
    ) {
        let kind = (ReportKind::Plugins, None);
        let package = self.plugins[plugin].info().package;
        let event = format!("{{\"plugin\":\"{package}\",\"data\":{data}}}");
        match handle {
            Some(handle) => self.report_handle(now.realtime, kind, handle, &event),
            None => {
                let about = super::reports::About::default();
                self.reports.push(now.realtime, kind, about, &event);
            }
        }
    }

    /// Notes and reports a description of the client's.
    pub(super) fn note_remote(
        &mut self,
        now: Now,
        handle: HandleRef,
        message: &PluginMessage,
        members: &Members,
    ) {
        let Some(jsep) = &message.jsep else { return };
        // As it came: what was parsed is in our words.
        let sdp = members.get("jsep").and_then(|jsep| jsep.get("sdp"));
        let sdp = sdp.and_then(Value::as_str).unwrap_or_default();
        if let Some(entry) = self.handle_mut(handle) {
            let (kind, sdp) = (jsep.kind, sdp.into());
            entry.sdps.remote = Some(Description { kind, sdp });
            entry.sdps.is_trickling = jsep.is_trickling;
            entry.sdps.e2ee |= jsep.e2ee;
        }
        self.report_jsep(now, handle, "remote", jsep.kind.word(), sdp);
        if jsep.kind == crate::gateway::plugin::JsepKind::Offer {
            self.report_ice(now.realtime, handle, "gathering");
        }
        let candidates = sdp
            .lines()
            .filter_map(|line| line.strip_prefix("a=candidate:"));
        for candidate in candidates {
            self.report_candidate(now, handle, 3, candidate);
        }
    }

    /// Notes and reports a description of ours.
    pub(super) fn note_local(&mut self, now: Now, handle: HandleRef, jsep: &JsepOut) {
        let sdp = jsep.sdp.to_string();
        let mut candidates: Vec<&str> = Vec::new();
        for line in sdp
            .lines()
            .filter_map(|line| line.strip_prefix("a=candidate:"))
        {
            if !candidates.contains(&line) {
                candidates.push(line);
            }
        }
        for candidate in candidates {
            self.report_candidate(now, handle, 2, candidate);
        }
        self.report_jsep(now, handle, "local", jsep.kind.word(), &sdp);
        if jsep.kind == crate::gateway::plugin::JsepKind::Answer {
            self.report_ice(now.realtime, handle, "connecting");
        }
        if let Some(entry) = self.handle_mut(handle) {
            let kind = jsep.kind;
            entry.sdps.e2ee |= jsep.e2ee;
            entry.sdps.local = Some(Description {
                kind,
                sdp: sdp.into(),
            });
        }
    }

    fn report_jsep(&mut self, now: Now, handle: HandleRef, owner: &str, kind: &str, sdp: &str) {
        if !self.reports.wants(ReportKind::Jsep) {
            return;
        }
        let mut event = format!("{{\"owner\":\"{owner}\",\"jsep\":{{\"type\":\"{kind}\",\"sdp\":");
        push_string(&mut event, sdp);
        event.push_str("}}");
        self.report_handle(now.realtime, (ReportKind::Jsep, None), handle, &event);
    }

    fn report_ice(&mut self, at: Realtime, handle: HandleRef, state: &str) {
        let event = format!("{{\"ice\":\"{state}\",{COMPONENT}}}");
        self.report_webrtc(at, 1, handle, &event);
    }

    /// Reports a candidate: ours as subtype 2, the client's as 3.
    pub(super) fn report_candidate(
        &mut self,
        now: Now,
        handle: HandleRef,
        subtype: u8,
        candidate: &str,
    ) {
        if !self.reports.wants(ReportKind::Webrtc) {
            return;
        }
        let candidate = candidate.strip_prefix("candidate:").unwrap_or(candidate);
        let side = if subtype == 2 { "local" } else { "remote" };
        let mut event = format!("{{\"{side}-candidate\":");
        push_string(&mut event, candidate);
        event.push_str(&format!(",{COMPONENT}}}"));
        self.report_webrtc(now.realtime, subtype, handle, &event);
    }

    /// Reports what a PeerConnection tells of itself.
    pub(super) fn report_media(
        &mut self,
        now: Now,
        handle: HandleRef,
        peer: PeerId,
        event: &PeerEvent,
    ) {
        match event {
            PeerEvent::Hangup { reason } if *reason == PeerEnd::IceFailed.reason() => {
                self.report_ice(now.realtime, handle, "failed");
            }
            PeerEvent::IceFailed => self.report_ice(now.realtime, handle, "disconnected"),
            PeerEvent::Media {
                mid,
                kind,
                receiving,
                substream,
                seconds,
            } => {
                let mut told = json!({"media": kind.as_str(), "mid": mid});
                if let Some(substream) = substream.filter(|substream| *substream > 0) {
                    told["substream"] = substream.into();
                }
                told["receiving"] = (*receiving).into();
                if let Some(seconds) = seconds {
                    told["seconds"] = (*seconds).into();
                }
                let kind = (ReportKind::Media, Some(1));
                self.report_handle(now.realtime, kind, handle, &told.to_string());
            }
            PeerEvent::SlowLink {
                mid,
                kind,
                uplink,
                lost,
            } => {
                let side = if *uplink { "uplink" } else { "downlink" };
                let told = json!({
                    "media": kind.as_str(), "mid": mid, "slow_link": side, "lost_lastsec": lost,
                });
                let kind = (ReportKind::Media, Some(2));
                self.report_handle(now.realtime, kind, handle, &told.to_string());
            }
            PeerEvent::Statistics(last) => self.report_statistics(now, handle, last),
            PeerEvent::Up => {
                self.report_up(now, handle, peer);
                self.watch_statistics(now, handle);
            }
            PeerEvent::Data { .. }
            | PeerEvent::DataClose { .. }
            | PeerEvent::DataOpen { .. }
            | PeerEvent::Hangup { .. }
            | PeerEvent::Layers { .. }
            | PeerEvent::RecordingFailed { .. }
            | PeerEvent::Remb { .. }
            | PeerEvent::Talking { .. } => {}
        }
    }

    /// Reports the steps of a connection that is up, each with its own time.
    fn report_up(&mut self, now: Now, handle: HandleRef, peer: PeerId) {
        let Some(info) = self.media.info(peer) else {
            return;
        };
        let connected = info
            .connected
            .map_or(now.realtime, |at| realtime_of(now, at));
        if let Some((local, remote)) = info.path {
            let end = |address: std::net::SocketAddr, kind: &str| {
                let family = if address.is_ipv4() { 4 } else { 6 };
                json!({
                    "address": address.ip().to_string(), "port": address.port(),
                    "type": kind, "transport": "udp", "family": family,
                })
            };
            let (local_end, remote_end) = (end(local, "host"), end(remote, "host"));
            let event = format!(
                "{{\"selected-pair\":\"{}\",\"candidates\":{{\"local\":{local_end},\
                 \"remote\":{remote_end}}},{COMPONENT}}}",
                pair(local, remote)
            );
            self.report_webrtc(connected, 4, handle, &event);
        }
        for state in ["connected", "ready"] {
            self.report_ice(connected, handle, state);
        }
        for (at, state) in [(connected, "trying"), (now.realtime, "connected")] {
            let event = format!("{{\"dtls\":\"{state}\",{COMPONENT},\"retransmissions\":0}}");
            self.report_webrtc(at, 5, handle, &event);
        }
        let up = "{\"connection\":\"webrtcup\"}";
        self.report_webrtc(now.realtime, 6, handle, up);
    }
}

/// A pair of addresses as Janus writes it. Which kind the remote one is, is not told apart.
pub(super) fn pair(local: std::net::SocketAddr, remote: std::net::SocketAddr) -> String {
    format!("{local} [host,udp] <-> {remote} [host,udp]")
}

/// The wall clock's time at an instant that has passed.
fn realtime_of(now: Now, at: Monotonic) -> Realtime {
    now.realtime - now.monotonic.saturating_since(at)
}
