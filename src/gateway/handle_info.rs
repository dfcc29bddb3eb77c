//! The `info` of `handle_info`: everything that is known of a handle, in the order of Janus.

use serde_json::{Map, Value, json};

use crate::base::clock::{Monotonic, Now};
use crate::base::id::HandleRef;
use crate::gateway::Gateway;
use crate::gateway::call_reports::pair;
use crate::gateway::capture;
use crate::gateway::handle::{Description, Handle};
use crate::gateway::plugin::JsepKind;
use crate::gateway::session::{Owner, Timeout};
use crate::gateway::statistics::{millis, transport_of};
use crate::media::{DataStatistics, LineInfo, PeerInfo, PeerStage, Sending, Traffic};

const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";

/// How much of it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Up to what the plugin says.
    Plugin,
    /// Everything.
    Whole,
}

impl Gateway {
    /// Tells what is known of a handle that exists.
    pub(super) fn handle_info(&self, now: Now, handle: HandleRef, extent: Extent) -> Value {
        let session = self.sessions.get(&handle.session);
        let entry = session.and_then(|session| session.handles.get(&handle.handle));
        let Some((session, entry)) = session.zip(entry) else {
            unreachable!("the handle was looked up before the verb");
        };
        // Times count from the start of the shard, in microseconds, as the newer Janus has them.
        let micros = |at: Monotonic| micros(at.saturating_since(self.started));
        let mut info = Map::new();
        let mut put = |name: &str, value: Value| info.insert(name.to_owned(), value);
        put("session_id", handle.session.0.into());
        put(
            "session_last_activity",
            micros(session.last_activity).into(),
        );
        let timeout = match session.timeout {
            Timeout::After(timeout) => Some(timeout),
            Timeout::Common => self.runtime.session_timeout,
            Timeout::Never => None,
        };
        put(
            "session_timeout",
            timeout.unwrap_or_default().as_secs().into(),
        );
        match session.owner {
            Owner::Http => drop(put("session_transport", "janus.transport.http".into())),
            Owner::Socket(_) => {
                put("session_transport", "janus.transport.websockets".into());
            }
            Owner::Nobody { .. } => {}
        }
        put("handle_id", handle.handle.0.into());
        if let Some(opaque_id) = entry.opaque_id.as_deref() {
            put("opaque_id", opaque_id.into());
        }
        if let Some(token) = entry.token.as_deref() {
            put("token", token.into());
        }
        put("loop-running", true.into());
        put("created", micros(entry.created).into());
        put("current_time", micros(now.monotonic).into());
        let plugin = &self.plugins[entry.plugin];
        put("plugin", plugin.info().package.into());
        put("plugin_specific", plugin.query(&self.media, handle));
        if extent == Extent::Plugin {
            return Value::Object(info);
        }
        let peer = entry.peer.and_then(|peer| self.media.info(peer));
        put("flags", flags(entry, peer.as_ref()));
        if let Some(peer) = &peer {
            put("agent-created", micros(peer.created).into());
            put("agent-started", micros(peer.created).into());
            let mode = if self.config.media.ice_lite {
                "lite"
            } else {
                "full"
            };
            put("ice-mode", mode.into());
            let role = if peer.is_controlling {
                "controlling"
            } else {
                "controlled"
            };
            put("ice-role", role.into());
        }
        put("sdps", sdps(entry));
        if !entry.early.is_empty() {
            put("pending-trickles", entry.early.len().into());
        }
        put("queued-packets", 0.into());
        if let Some(capture) = self.captures.get(&handle) {
            capture::show(capture, |name, value| drop(put(name, value)));
        }
        if let Some(peer) = &peer {
            let times = Times {
                gathered: micros(peer.created),
                connected: peer.connected.map(micros),
                secured: peer.secured.map(micros),
            };
            let nack_queue = u64::try_from(self.runtime.min_nack_queue.as_millis());
            put(
                "webrtc",
                webrtc(entry, peer, &times, nack_queue.unwrap_or(u64::MAX)),
            );
        }
        Value::Object(info)
    }
}

/// When a PeerConnection came how far, in microseconds.
struct Times {
    gathered: u64,
    connected: Option<u64>,
    secured: Option<u64>,
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn flags(entry: &Handle, peer: Option<&PeerInfo>) -> Value {
    let sdps = &entry.sdps;
    let is = |side: &Option<Description>, kind| side.as_ref().is_some_and(|it| it.kind == kind);
    let got = |kind| peer.is_some() && (is(&sdps.remote, kind) || is(&sdps.local, kind));
    let has = |kind: &str| {
        let mut lines = peer.iter().flat_map(|peer| peer.lines.iter().flatten());
        lines.any(|line| line.state.kind.as_str() == kind)
    };
    let is_up = peer.is_some_and(|peer| peer.stage == PeerStage::Up);
    let has_both = got(JsepKind::Offer) && got(JsepKind::Answer);
    let has_data = peer.is_some_and(|peer| peer.has_data);
    json!({
        "got-offer": got(JsepKind::Offer),
        "got-answer": got(JsepKind::Answer),
        "negotiated": has_both,
        "processing-offer": false,
        "starting": has_both && !is_up,
        "ice-restart": false,
        "ready": is_up,
        "stopped": false,
        "alert": peer.is_none() && (sdps.has_ended || sdps.remote.is_none()),
        "trickle": peer.is_some() && sdps.is_trickling,
        "all-trickles": peer.is_some() && !sdps.is_trickling,
        "resend-trickles": false,
        "trickle-synced": false,
        "data-channels": has_data,
        "has-audio": has("audio"),
        "has-video": has("video"),
        "new-datachan-sdp": has_data,
        "rfc4588-rtx": peer.is_some_and(|peer| {
            peer.lines.iter().flatten().any(|line| line.rtx_pt.is_some())
        }),
        "cleaning": false,
        "e2ee": sdps.e2ee,
    })
}

fn sdps(entry: &Handle) -> Value {
    let mut sdps = Map::new();
    let sides = [("local", &entry.sdps.local), ("remote", &entry.sdps.remote)];
    if entry.peer.is_some() {
        sdps.insert("profile".to_owned(), "UDP/TLS/RTP/SAVPF".into());
        for (name, side) in sides {
            if let Some(side) = side {
                sdps.insert(name.to_owned(), side.sdp.as_ref().into());
            }
        }
    }
    Value::Object(sdps)
}

/// The values of an attribute, each once.
fn attributes<'a>(side: Option<&'a Description>, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for line in side.map_or("", |side| &side.sdp).lines() {
        let value = line.strip_prefix(name).map(str::trim_end);
        if let Some(value) = value.filter(|value| !found.contains(value)) {
            found.push(value);
        }
    }
    found
}

fn webrtc(entry: &Handle, peer: &PeerInfo, times: &Times, nack_queue_ms: u64) -> Value {
    let (local, remote) = (entry.sdps.local.as_ref(), entry.sdps.remote.as_ref());
    let is_connected = times.connected.is_some();
    let mut ice = json!({
        "stream_id": 1,
        "component_id": 1,
        "state": match peer.stage {
            PeerStage::Checking => "connecting",
            PeerStage::Handshake => "connected",
            PeerStage::Lost => "disconnected",
            PeerStage::Up => "ready",
        },
        "gathered": times.gathered,
    });
    if let Some(connected) = times.connected {
        ice["connected"] = connected.into();
    }
    ice["local-candidates"] = attributes(local, "a=candidate:").into();
    ice["remote-candidates"] = attributes(remote, "a=candidate:").into();
    if let Some((local, remote)) = peer.path {
        ice["selected-pair"] = pair(local, remote).into();
    }
    ice["ready"] = u8::from(is_connected).into();
    let fingerprint = |side| attributes(side, "a=fingerprint:").first().copied();
    let bare = |side| fingerprint(side).and_then(|text: &str| text.split(' ').nth(1));
    let mut dtls = json!({
        "fingerprint": bare(local),
        "remote-fingerprint": bare(remote),
        "remote-fingerprint-hash": fingerprint(remote).and_then(|text| text.split(' ').next()),
        "dtls-role": if peer.is_dtls_client { "active" } else { "passive" },
        "dtls-state": match (times.secured, is_connected) {
            (Some(_), _) => "connected",
            (None, true) => "trying",
            (None, false) => "created",
        },
        "retransmissions": peer.dtls_retransmissions,
        "valid": times.secured.is_some(),
    });
    if let Some(profile) = peer.srtp_profile {
        dtls["srtp-profile"] = profile.into();
    }
    dtls["ready"] = times.secured.is_some().into();
    if let Some(connected) = times.connected {
        dtls["handshake-started"] = connected.into();
    }
    if let Some(secured) = times.secured {
        dtls["connected"] = secured.into();
    }
    dtls["sctp-association"] = peer.has_data.into();
    let sum = |get: fn(&LineInfo) -> u64| peer.lines.iter().flatten().map(get).sum::<u64>();
    dtls["stats"] = json!({
        "in": {
            "packets": sum(|line| line.state.packets_received),
            "bytes": sum(|line| line.state.bytes_received),
        },
        "out": {
            "packets": sum(|line| line.state.packets_sent),
            "bytes": sum(|line| line.state.bytes_sent),
        },
    });
    let local_sdp = local.map_or("", |local| &local.sdp);
    let extensions = local_sdp.lines().filter_map(extension);
    let extensions: Map<String, Value> = extensions
        .map(|(id, uri)| (uri.to_owned(), id.into()))
        .collect();
    let twcc = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    let twcc = extensions.get(twcc).cloned();
    let lines = peer.lines.iter().enumerate();
    let mut media: Vec<(usize, &str, Value)> = lines
        .filter_map(|(index, line)| {
            let line = line.as_ref()?;
            let shown = media_line(index, line, remote, nack_queue_ms);
            Some((index, line.state.mid.as_str(), shown))
        })
        .collect();
    if let Some(data) = &peer.data {
        media.push((data.index, &data.mid, data_section(data)));
    }
    media.sort_by_key(|(index, ..)| *index);
    let media: Map<String, Value> = media
        .into_iter()
        .map(|(_, mid, shown)| (mid.to_owned(), shown))
        .collect();
    json!({
        "ice": ice,
        "dtls": dtls,
        "extensions": extensions,
        "bwe": {"twcc": twcc.is_some(), "twcc-ext-id": twcc.unwrap_or(0.into())},
        "media": media,
    })
}

fn media_line(
    index: usize,
    line: &LineInfo,
    remote: Option<&Description>,
    nack_queue_ms: u64,
) -> Value {
    let state = &line.state;
    let mut shown = json!({
        "type": state.kind.as_str(),
        "mindex": index,
        "mid": state.mid,
    });
    // The section of the remote description names the stream and the track.
    let section = section(remote, index);
    let msid = section
        .lines()
        .find_map(|line| line.strip_prefix("a=msid:"));
    if let Some((stream, track)) = msid.and_then(|msid| msid.trim_end().split_once(' ')) {
        shown["msid"] = json!({"remote-stream": stream, "remote-track": track});
    }
    shown["do_nacks"] = line.has_nack.into();
    shown["nack-queue-ms"] = nack_queue_ms.into();
    let mut ssrc = json!({"ssrc": line.ssrc});
    if line.rtx_pt.is_some() {
        ssrc["ssrc-rtx"] = line.rtx_ssrc.into();
    }
    for (place, (peer, rtx)) in line.peer_ssrcs.iter().enumerate() {
        let suffix = match place {
            0 => String::new(),
            sim => format!("-sim-{sim}"),
        };
        ssrc[format!("ssrc-peer{suffix}")] = (*peer).into();
        if let Some(rtx) = rtx {
            let name = match place {
                0 => "ssrc-peer-rtx".to_owned(),
                sim => format!("ssrc-peer-sim-{sim}-rtx"),
            };
            ssrc[name] = (*rtx).into();
        }
    }
    shown["ssrc"] = ssrc;
    if !line.rids.is_empty() && state.encodings > 1 {
        shown["rid-simulcast"] = rid_simulcast(&line.rids, section);
    }
    shown["direction"] = json!({"send": line.sends, "recv": line.receives});
    let mut codecs = json!({"pt": line.pt});
    if let Some(rtx_pt) = line.rtx_pt {
        codecs["rtx-pt"] = rtx_pt.into();
    }
    codecs["codec"] = state.codec.as_str().into();
    if let Some(red_pt) = line.red_pt {
        codecs["opus-red-pt"] = red_pt.into();
    }
    shown["codecs"] = codecs;
    let rtcp = line.received.iter().enumerate().map(|(place, received)| {
        let is_first = place == 0;
        let sent = if is_first {
            line.sent
        } else {
            Sending::NOTHING
        };
        let name = if is_first {
            "main".to_owned()
        } else {
            format!("sim{place}")
        };
        let mut seen = json!({"base": line.clock_rate});
        if is_first {
            seen["rtt"] = millis(sent.rtt).into();
        }
        for (name, value) in transport_of(line.clock_rate, received, &sent) {
            seen[name] = value.into();
        }
        (name, seen)
    });
    shown["rtcp"] = Value::Object(rtcp.collect());
    let mut received = line.received.iter().map(|received| {
        let mut counts = traffic(received.traffic);
        counts["bytes_lastsec"] = received.bytes_lately.into();
        if line.has_nack {
            counts["nacks"] = received.nacks_sent.into();
            counts["retransmissions"] = received.recovered.into();
        }
        counts
    });
    let mut came = received.next().unwrap_or_default();
    for (place, layer) in (1..).zip(received) {
        came[format!("video-simulcast-{place}")] = layer;
    }
    let mut went = traffic(line.sent.traffic);
    went["bytes_lastsec"] = line.sent.bytes_lately.into();
    went["nacks"] = line.sent.nacks_received.into();
    shown["stats"] = json!({"in": came, "out": went});
    shown
}

fn data_section(data: &DataStatistics) -> Value {
    json!({
        "type": "data",
        "mindex": data.index,
        "mid": data.mid,
        "stats": {"in": traffic(data.received), "out": traffic(data.sent)},
    })
}

fn traffic(traffic: Traffic) -> Value {
    json!({"packets": traffic.packets, "bytes": traffic.bytes})
}

/// How encodings of one source are told apart by their names.
fn rid_simulcast(rids: &[String], section: &str) -> Value {
    let mut offered = section
        .lines()
        .filter_map(|line| line.strip_prefix("a=rid:"));
    let first = offered.next().and_then(|rid| rid.split(' ').next());
    let is_low_first = first == rids.first().map(String::as_str);
    let id_of = |wanted: &str| {
        let mut extensions = section.lines().filter_map(extension);
        extensions
            .find(|(_, uri)| *uri == wanted)
            .map_or(0, |found| found.0)
    };
    json!({
        "rid": rids,
        "rid-ext-id": id_of(RID),
        "ridrtx-ext-id": id_of(REPAIRED_RID),
        "rid-order": if is_low_first { "lmh" } else { "hml" },
        "rid-syntax": if section.contains("send rid=") { "old" } else { "new" },
    })
}

/// A media section of a description; empty if it has none there.
fn section(side: Option<&Description>, index: usize) -> &str {
    let sdp = side.map_or("", |side| &side.sdp);
    sdp.split("\nm=").nth(index + 1).unwrap_or_default()
}

/// The number and the name of a header extension (RFC 8285 section 5).
fn extension(line: &str) -> Option<(u8, &str)> {
    let (id, uri) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
    let id = id.split('/').next()?.parse().ok()?;
    Some((id, uri.trim_end().split(' ').next()?))
}
