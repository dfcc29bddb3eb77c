//! EchoTest: what a client sends comes back to it.
//!
//! There is no `request` in a message: the body is a set of settings, and an offer may come along.
//! Every answer is an event. Wire contract: that of Janus' `janus.plugin.echotest`.

mod plan;
mod recording;
mod settings;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::base::error::ApiError;
use crate::base::id::HandleRef;
use crate::gateway::plugin::{
    AdminAnswer, Answer, Cx, JsepKind, JsepOut, Plugin, PluginInfo, PluginMessage,
};
use crate::media::{
    DataForm, Enabled, LayerForm, LayerTarget, LineRef, Media, PeerEvent, RouteId, TrackKind,
};
use crate::wire::sdp::LinePlan;
use recording::Recording;
use settings::Settings;

/// The package that clients attach to.
pub const PACKAGE: &str = "janus.plugin.echotest";

/// The bitrate that stands for "no limit", in bit/s.
const BITRATE_UNLIMITED: u64 = 10_000_000;

/// Error codes of this plugin, in `error_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    InvalidElement = 413,
    InvalidSdp = 414,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    code: Code,
    text: String,
}

impl Fault {
    fn element(text: impl Into<String>) -> Self {
        Self {
            code: Code::InvalidElement,
            text: text.into(),
        }
    }
}

/// One handle's echo.
#[derive(Debug)]
struct Echo {
    audio: Enabled,
    video: Enabled,
    bitrate: u64,
    layers: LayerTarget,
    /// The lines that are echoed, by position in the session description.
    routes: BTreeMap<usize, EchoRoute>,
    recording: Recording,
    /// Messages of the peer's lost packets.
    slowlinks: u64,
}

#[derive(Clone, Debug)]
struct EchoRoute {
    id: RouteId,
    kind: TrackKind,
    codec: String,
}

impl Default for Echo {
    fn default() -> Self {
        Self {
            audio: Enabled::Yes,
            video: Enabled::Yes,
            bitrate: 0,
            layers: LayerTarget::default(),
            routes: BTreeMap::new(),
            recording: Recording::default(),
            slowlinks: 0,
        }
    }
}

/// The plugin.
#[derive(Debug, Default)]
pub struct EchoTest {
    echoes: BTreeMap<HandleRef, Echo>,
}

impl Plugin for EchoTest {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            package: PACKAGE,
            name: "EchoTest",
            description: "Sends back what it gets: audio, video and data",
            version: 7,
            version_string: "0.0.7",
        }
    }

    fn attach(&mut self, _cx: &mut Cx<'_>, handle: HandleRef) -> Result<(), ApiError> {
        self.echoes.insert(handle, Echo::default());
        Ok(())
    }

    fn message(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        message: PluginMessage,
    ) -> Result<Answer, ApiError> {
        let PluginMessage {
            transaction,
            body,
            jsep,
        } = message;
        let echo = self.echoes.entry(handle).or_default();
        let done = Settings::read(&body, jsep.is_some()).and_then(|settings| {
            echo.apply(cx, handle, &settings)?;
            let Some(jsep) = jsep else {
                echo.record(cx, handle);
                return Ok(None);
            };
            let e2ee = jsep.e2ee;
            let sdp = echo.negotiate(cx, handle, &settings, &jsep)?;
            echo.recording.is_encrypted = e2ee;
            echo.record(cx, handle);
            Ok(Some(JsepOut {
                kind: JsepKind::Answer,
                sdp,
                e2ee,
            }))
        });
        match done {
            Ok(jsep) => {
                let data = json!({"echotest": "event", "result": "ok"});
                cx.push(handle, Some(transaction), data, jsep);
                if cx.config.echotest.events {
                    let data = json!({
                        "audio_active": echo.audio == Enabled::Yes,
                        "video_active": echo.video == Enabled::Yes,
                        "bitrate": echo.bitrate,
                    });
                    cx.report(Some(handle), data);
                }
            }
            Err(Fault { code, text }) => {
                let data = json!({"echotest": "event", "error_code": code as u16, "error": text});
                cx.push(handle, Some(transaction), data, None);
            }
        }
        Ok(Answer::Ack {
            hint: Some("I'm taking my time!"),
        })
    }

    fn peer_event(&mut self, cx: &mut Cx<'_>, handle: HandleRef, event: &PeerEvent) {
        let Some(echo) = self.echoes.get_mut(&handle) else {
            return;
        };
        match event {
            PeerEvent::Data {
                channel,
                form,
                bytes,
                ..
            } => {
                let Some(peer) = cx.peer(handle) else { return };
                echo.recording.message(cx, peer, bytes);
                let answer = match form {
                    DataForm::Binary => bytes.clone(),
                    DataForm::Text => [b"Janus EchoTest here! You wrote: ", &bytes[..]].concat(),
                };
                // A channel that closed meanwhile has nobody to answer to.
                let _ = cx.media.send_data(cx.now, peer, *channel, *form, &answer);
            }
            PeerEvent::Hangup { .. } => {
                *echo = Echo::default();
                cx.push(
                    handle,
                    None,
                    json!({"echotest": "event", "result": "done"}),
                    None,
                );
            }
            PeerEvent::Layers {
                line,
                form,
                substream,
                temporal,
                ..
            } => {
                let codec = echo
                    .routes
                    .get(line)
                    .map_or("", |route| route.codec.as_str());
                let mut data = json!({"echotest": "event", "videocodec": codec});
                let [quality, rate] = layer_names(*form);
                if let Some(substream) = substream {
                    data[quality] = (*substream).into();
                }
                if let Some(temporal) = temporal {
                    data[rate] = (*temporal).into();
                }
                cx.push(handle, None, data, None);
            }
            PeerEvent::RecordingFailed { id, .. } => {
                if let Some(medium) = echo.recording.failed(*id) {
                    cx.push(handle, None, recording::failure(medium), None);
                }
            }
            PeerEvent::SlowLink { kind, uplink, .. } => {
                echo.slowlinks += 1;
                // As Janus does: the client is told of what its own sending limit would mend.
                if !uplink && *kind == TrackKind::Video {
                    let data = json!({
                        "echotest": "event",
                        "event": "slow_link",
                        "media": kind.as_str(),
                        "current-bitrate": echo.limit(),
                    });
                    cx.push(handle, None, data, None);
                }
            }
            PeerEvent::Up => echo.send_limit(cx, handle),
            PeerEvent::DataClose { .. }
            | PeerEvent::DataOpen { .. }
            | PeerEvent::IceFailed
            | PeerEvent::Media { .. }
            | PeerEvent::Remb { .. }
            | PeerEvent::Statistics(_)
            | PeerEvent::Talking { .. } => {}
        }
    }

    fn detach(&mut self, _cx: &mut Cx<'_>, handle: HandleRef) {
        self.echoes.remove(&handle);
    }

    fn admin(
        &mut self,
        _cx: &mut Cx<'_>,
        request: &serde_json::Map<String, Value>,
    ) -> Option<AdminAnswer> {
        Some(AdminAnswer::Now(Value::Object(request.clone())))
    }

    fn query(&self, _media: &Media, handle: HandleRef) -> Value {
        let Some(echo) = self.echoes.get(&handle) else {
            return json!({});
        };
        let codec = |kind| {
            let route = echo.routes.values().find(|route| route.kind == kind);
            route.map(|route| route.codec.as_str())
        };
        let mut shown = json!({
            "audio_active": echo.audio == Enabled::Yes,
            "video_active": echo.video == Enabled::Yes,
            "audio_codec": codec(TrackKind::Audio),
            "video_codec": codec(TrackKind::Video),
            "bitrate": echo.bitrate,
            "substream-target": echo.layers.substream,
            "temporal-layer-target": echo.layers.temporal,
            "fallback": u64::try_from(echo.layers.fallback.as_micros()).unwrap_or(u64::MAX),
            "slowlink_count": echo.slowlinks,
            "hangingup": false,
            "destroyed": false,
        });
        if let Some(recording) = echo.recording.shown() {
            shown["recording"] = recording;
        }
        shown
    }
}

/// What clients call qualities and frame rates.
const fn layer_names(form: LayerForm) -> [&'static str; 2] {
    match form {
        LayerForm::Encodings => ["substream", "temporal"],
        LayerForm::Spatial => ["spatial_layer", "temporal_layer"],
    }
}

impl Echo {
    /// Takes over settings, and carries them out where there is a PeerConnection.
    fn apply(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        settings: &Settings,
    ) -> Result<(), Fault> {
        if settings.record == Some(true) && !cx.can_record() {
            return Err(Fault::element("Recording is not available"));
        }
        let filename = settings.filename.as_deref();
        self.recording.wish(settings.record, filename);
        if let Some(audio) = settings.audio {
            self.audio = audio;
            self.switch(cx, TrackKind::Audio, audio);
        }
        if let Some(video) = settings.video {
            self.video = video;
            self.switch(cx, TrackKind::Video, video);
        }
        if let Some(bitrate) = settings.bitrate {
            self.bitrate = bitrate;
            self.send_limit(cx, handle);
        }
        let layers = LayerTarget {
            substream: settings.substream.unwrap_or(self.layers.substream),
            temporal: settings.temporal.unwrap_or(self.layers.temporal),
            fallback: settings.fallback.unwrap_or(self.layers.fallback),
        };
        if layers != self.layers {
            self.layers = layers;
            for route in self
                .routes
                .values()
                .filter(|route| route.kind == TrackKind::Video)
            {
                cx.media.set_layers(cx.now, route.id, layers);
            }
        }
        self.tell_current(cx, handle, settings);
        Ok(())
    }

    /// Records what is to be recorded.
    fn record(&mut self, cx: &mut Cx<'_>, handle: HandleRef) {
        let Some(peer) = cx.peer(handle) else { return };
        for medium in self.recording.settle(cx, handle, peer, &self.routes) {
            cx.push(handle, None, recording::failure(medium), None);
        }
    }

    /// Confirms a layer that is asked for and delivered already, as Janus does.
    fn tell_current(&self, cx: &mut Cx<'_>, handle: HandleRef, settings: &Settings) {
        let video = self
            .routes
            .values()
            .find(|route| route.kind == TrackKind::Video);
        let Some(route) = video else { return };
        let Some(state) = cx.media.route_state(route.id) else {
            return;
        };
        let codec = route.codec.as_str();
        let [quality, rate] = layer_names(state.form);
        for (name, asked, current) in [
            (quality, settings.substream, state.substream),
            (rate, settings.temporal, state.temporal),
        ] {
            if asked.is_some() && asked == current {
                let mut data = json!({"echotest": "event", "videocodec": codec});
                data[name] = asked.into();
                cx.push(handle, None, data, None);
            }
        }
    }

    fn switch(&self, cx: &mut Cx<'_>, kind: TrackKind, enabled: Enabled) {
        for route in self.routes.values().filter(|route| route.kind == kind) {
            cx.media.set_route_enabled(cx.now, route.id, enabled);
        }
    }

    const fn limit(&self) -> u64 {
        if self.bitrate == 0 {
            BITRATE_UNLIMITED
        } else {
            self.bitrate
        }
    }

    fn send_limit(&self, cx: &mut Cx<'_>, handle: HandleRef) {
        if let Some(peer) = cx.peer(handle) {
            cx.media.set_bitrate(cx.now, peer, self.limit());
        }
    }

    /// Answers an offer, and routes every line that sends back to itself.
    fn negotiate(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        settings: &Settings,
        jsep: &crate::gateway::plugin::Jsep,
    ) -> Result<crate::wire::sdp::SessionDescription, Fault> {
        let (plan, tracks) = plan::echo(&jsep.sdp, settings);
        let is_data = |line: &LinePlan| matches!(line, LinePlan::Application { .. });
        self.recording.messages = plan.lines.iter().position(is_data);
        let answer = cx
            .accept_offer(handle, &jsep.sdp, &plan, jsep.options)
            .map_err(|fault| Fault {
                code: Code::InvalidSdp,
                text: fault.to_string(),
            })?;
        let peer = cx.peer(handle).expect("an accepted offer has a peer");
        self.routes.retain(|line, route| {
            let stays = tracks.iter().any(|track| track.line == *line);
            if !stays {
                cx.media.unroute(route.id);
            }
            stays
        });
        for track in tracks {
            let line = LineRef {
                peer,
                line: track.line,
            };
            if let Some(route) = self.routes.get_mut(&track.line) {
                route.codec = track.codec;
                continue;
            }
            let Some(id) = cx.media.route(cx.now, line, line) else {
                continue;
            };
            let enabled = match track.kind {
                TrackKind::Audio => self.audio,
                TrackKind::Video => self.video,
            };
            cx.media.set_route_enabled(cx.now, id, enabled);
            if track.kind == TrackKind::Video {
                cx.media.set_layers(cx.now, id, self.layers);
            }
            let route = EchoRoute {
                id,
                kind: track.kind,
                codec: track.codec,
            };
            self.routes.insert(track.line, route);
        }
        Ok(answer)
    }
}
