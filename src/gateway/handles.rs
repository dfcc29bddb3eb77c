//! Requests for handles, and what their PeerConnections report.

use tracing::debug;

use crate::base::clock::Now;
use crate::base::error::{ApiError, ErrorCode};
use crate::base::id::{HandleRef, PeerId, SessionId, draw_handle};
use crate::gateway::handle::{Handle, Trickled};
use crate::gateway::plugin::{Answer, Cx, JsepKind, JsepOut, Plugin, PluginEvent, PluginMessage};
use crate::gateway::reply::{Message, Reply};
use crate::gateway::request::Envelope;
use crate::gateway::{Gateway, jsep, kind, trickle};
use crate::media::PeerEvent;
use crate::metrics::Metrics;
use crate::wire::sdp::Candidate;

/// Candidates kept for a handle that has no PeerConnection yet; more are ignored.
const EARLY_CANDIDATES_MAX: usize = 64;

impl Gateway {
    pub(super) fn attach(
        &mut self,
        now: Now,
        request: &Envelope,
        metrics: &mut Metrics,
    ) -> Result<Reply, ApiError> {
        let fields = request.fields();
        let package = fields.need_str("plugin")?;
        let opaque_id = fields.may_str("opaque_id")?.map(Box::from);
        fields.may_u64("loop_index")?;
        let found = self
            .plugins
            .iter()
            .position(|plugin| plugin.info().package == package);
        let plugin = found.ok_or_else(|| {
            ApiError::new(
                ErrorCode::PluginNotFound,
                format!("No such plugin '{package}'"),
            )
        })?;
        let session_id = SessionId(request.session);
        let Some(session) = self.sessions.get_mut(&session_id) else {
            unreachable!("the session was looked up before the verb");
        };
        if session.handles.len() >= self.config.limits.session_handles_count {
            let reason = "Couldn't attach to plugin: too many handles in this session";
            return Err(ApiError::new(ErrorCode::PluginAttach, reason));
        }
        let id = loop {
            let id = draw_handle(&mut self.rng);
            if !session.handles.contains_key(&id) {
                break id;
            }
        };
        session.handles.insert(
            id,
            Handle {
                plugin,
                opaque_id,
                peer: None,
                early: Vec::new(),
            },
        );
        let handle = HandleRef {
            session: session_id,
            handle: id,
        };
        let outcome = self.with_plugin(now, handle, |plugin, cx| plugin.attach(cx));
        if let Some(Err(fault)) = outcome {
            self.remove_handle(handle);
            return Err(fault);
        }
        self.publish(now, metrics);
        metrics.gateway_handles += 1;
        metrics.gateway_handles_attached += 1;
        debug!(session = %session_id, handle = %id, package, "handle attached");
        Ok(kind(request, "success")
            .raw("data", &format!("{{\"id\":{id}}}"))
            .finish())
    }

    pub(super) fn detach(
        &mut self,
        now: Now,
        handle: HandleRef,
        request: &Envelope,
        metrics: &mut Metrics,
    ) -> Reply {
        let detached = self.event(handle, "detached");
        self.drop_handle(now, handle, metrics);
        self.publish(now, metrics);
        self.push(handle.session, detached.finish(), metrics);
        kind(request, "success").finish()
    }

    pub(super) fn hangup(
        &mut self,
        now: Now,
        handle: HandleRef,
        request: &Envelope,
        metrics: &mut Metrics,
    ) -> Reply {
        let peer = self.handle_mut(handle).and_then(|entry| entry.peer);
        if let Some(peer) = peer {
            self.media.close(now, peer);
            self.hung_up(now, handle, "Janus API", metrics);
        }
        kind(request, "success").finish()
    }

    pub(super) fn message(
        &mut self,
        now: Now,
        handle: HandleRef,
        request: Envelope,
        metrics: &mut Metrics,
    ) -> Reply {
        let Envelope {
            transaction,
            mut members,
            session,
            ..
        } = request;
        let fail = |fault: &ApiError| {
            crate::gateway::reply::error(Some(session), Some(&transaction), fault)
        };
        let body = match members.remove("body") {
            Some(serde_json::Value::Object(body)) => body,
            Some(_) => return fail(&ApiError::invalid_type("body", "an object")),
            None => return fail(&ApiError::missing("body")),
        };
        let limits = &self.config.limits;
        let jsep = members.get("jsep").map(|value| jsep::parse(value, limits));
        let jsep = match jsep.transpose() {
            Ok(jsep) => jsep,
            Err(fault) => return fail(&fault),
        };
        if jsep
            .as_ref()
            .is_some_and(|jsep| jsep.kind == JsepKind::Answer)
        {
            let reason = "Unexpected ANSWER (did we offer?)";
            return fail(&ApiError::new(ErrorCode::UnexpectedAnswer, reason));
        }
        let had_peer = self
            .handle_mut(handle)
            .is_some_and(|entry| entry.peer.is_some());
        let is_whole = jsep.as_ref().is_some_and(|jsep| !jsep.is_trickling);
        let message = PluginMessage {
            transaction: transaction.clone(),
            body,
            jsep,
        };
        let outcome = self.with_plugin(now, handle, |plugin, cx| plugin.message(cx, message));
        if !had_peer {
            self.take_early_candidates(now, handle);
        }
        if is_whole && let Some(peer) = self.handle_mut(handle).and_then(|entry| entry.peer) {
            self.media.end_of_candidates(now, peer);
        }
        self.publish(now, metrics);
        let message = |kind: &str| {
            Message::new(kind)
                .session(Some(session))
                .transaction(Some(&transaction))
        };
        match outcome {
            Some(Ok(Answer::Ack { hint: Some(hint) })) => {
                message("ack").string("hint", hint).finish()
            }
            Some(Ok(Answer::Ack { hint: None })) => message("ack").finish(),
            Some(Ok(Answer::Success(data))) => {
                let plugindata = self.plugindata(handle, &data);
                message("success")
                    .sender(handle.handle)
                    .raw("plugindata", &plugindata)
                    .finish()
            }
            Some(Err(fault)) => fail(&fault),
            None => unreachable!("the handle was looked up before the verb"),
        }
    }

    pub(super) fn trickle(
        &mut self,
        now: Now,
        handle: HandleRef,
        request: &Envelope,
    ) -> Result<Reply, ApiError> {
        let peer = self.handle_mut(handle).and_then(|entry| entry.peer);
        let trickled = trickle::parse(&request.fields(), peer.is_some())?;
        match peer {
            Some(peer) => {
                for item in trickled {
                    self.add_candidate(now, peer, &item);
                }
            }
            None => {
                if let Some(entry) = self.handle_mut(handle) {
                    let room = EARLY_CANDIDATES_MAX.saturating_sub(entry.early.len());
                    let items = trickled.into_iter().take(room);
                    entry.early.extend(items.map(|item| (now.monotonic, item)));
                }
            }
        }
        Ok(kind(request, "ack").finish())
    }

    fn take_early_candidates(&mut self, now: Now, handle: HandleRef) {
        let age_max = self.config.general.candidates_timeout;
        let Some(entry) = self.handle_mut(handle) else {
            return;
        };
        let Some(peer) = entry.peer else { return };
        for (came, item) in std::mem::take(&mut entry.early) {
            if now.monotonic.saturating_since(came) <= age_max {
                self.add_candidate(now, peer, &item);
            }
        }
    }

    fn add_candidate(&mut self, now: Now, peer: PeerId, item: &Trickled) {
        match item {
            Trickled::Completed => self.media.end_of_candidates(now, peer),
            // What is no candidate is acknowledged and passed over, as Janus does.
            Trickled::Candidate(line) => match line.parse::<Candidate>() {
                Ok(candidate) => self.media.add_remote_candidate(now, peer, &candidate),
                Err(fault) => debug!(%fault, "candidate ignored"),
            },
        }
    }

    /// Takes a handle away, with its PeerConnection, and tells its plugin.
    pub(super) fn drop_handle(&mut self, now: Now, handle: HandleRef, metrics: &mut Metrics) {
        let peer = self.handle_mut(handle).and_then(|entry| entry.peer.take());
        if let Some(peer) = peer {
            self.media.close(now, peer);
        }
        self.with_plugin(now, handle, |plugin, cx| plugin.detach(cx));
        if self.remove_handle(handle) {
            metrics.gateway_handles -= 1;
            metrics.gateway_handles_detached += 1;
        }
    }

    /// What follows the end of a PeerConnection: the plugin's word, then the core's.
    fn hung_up(
        &mut self,
        now: Now,
        handle: HandleRef,
        reason: &'static str,
        metrics: &mut Metrics,
    ) {
        if let Some(entry) = self.handle_mut(handle) {
            entry.peer = None;
        }
        let event = PeerEvent::Hangup { reason };
        self.with_plugin(now, handle, |plugin, cx| plugin.peer_event(cx, &event));
        self.publish(now, metrics);
        let hangup = self
            .event(handle, "hangup")
            .string("reason", reason)
            .finish();
        self.push(handle.session, hangup, metrics);
    }

    /// Passes on what PeerConnections report: to the client what the API names, to the plugin all.
    pub(super) fn take_media_events(&mut self, now: Now, metrics: &mut Metrics) {
        while let Some((peer, owner, event)) = self.media.next_event() {
            let handle = HandleRef {
                session: owner.session,
                handle: owner.handle,
            };
            if self
                .handle_mut(handle)
                .is_none_or(|entry| entry.peer != Some(peer))
            {
                continue;
            }
            let told = match &event {
                PeerEvent::Hangup { reason } => {
                    self.hung_up(now, handle, reason, metrics);
                    continue;
                }
                PeerEvent::IceFailed => Some(self.event(handle, "ice-failed")),
                PeerEvent::Up => Some(self.event(handle, "webrtcup")),
                PeerEvent::Media {
                    mid,
                    kind,
                    receiving,
                    substream,
                    seconds,
                } => {
                    let mut told = self
                        .event(handle, "media")
                        .string("mid", mid)
                        .string("type", kind.as_str());
                    if let Some(substream) = substream.filter(|substream| *substream > 0) {
                        told = told.integer("substream", substream.into());
                    }
                    told = told.boolean("receiving", *receiving);
                    Some(match seconds {
                        Some(seconds) => told.integer("seconds", *seconds),
                        None => told,
                    })
                }
                PeerEvent::SlowLink {
                    mid,
                    kind,
                    uplink,
                    lost,
                } => Some(
                    self.event(handle, "slowlink")
                        .string("mid", mid)
                        .string("media", kind.as_str())
                        .boolean("uplink", *uplink)
                        .integer("lost", (*lost).into()),
                ),
                PeerEvent::Data { .. }
                | PeerEvent::DataClose { .. }
                | PeerEvent::DataOpen { .. }
                | PeerEvent::Layers { .. }
                | PeerEvent::Remb { .. } => None,
            };
            self.with_plugin(now, handle, |plugin, cx| plugin.peer_event(cx, &event));
            self.publish(now, metrics);
            if let Some(told) = told {
                self.push(handle.session, told.finish(), metrics);
            }
        }
    }

    /// Queues what plugins said during the last call, behind what was queued before.
    fn publish(&mut self, now: Now, metrics: &mut Metrics) {
        let said = std::mem::take(&mut self.said);
        for event in said {
            self.publish_one(now, event, metrics);
        }
    }

    fn publish_one(&mut self, _now: Now, event: PluginEvent, metrics: &mut Metrics) {
        let PluginEvent {
            handle,
            transaction,
            data,
            jsep,
        } = event;
        if self.handle_mut(handle).is_none() {
            return;
        }
        let session = Some(handle.session.0);
        let plugindata = self.plugindata(handle, &data);
        let begun = Message::new("event")
            .session(session)
            .transaction(transaction.as_deref())
            .sender(handle.handle);
        let mut told = self.opaque(handle, begun).raw("plugindata", &plugindata);
        let mut trickled = Vec::new();
        if let Some(mut jsep) = jsep {
            if self.config.media.full_trickle {
                trickled = take_candidates(&mut jsep);
            }
            told = told.raw("jsep", &jsep_text(&jsep));
        }
        self.push(handle.session, told.finish(), metrics);
        for candidate in trickled {
            let told = self
                .event(handle, "trickle")
                .raw("candidate", &candidate)
                .finish();
            self.push(handle.session, told, metrics);
        }
    }

    fn plugindata(&mut self, handle: HandleRef, data: &serde_json::Value) -> String {
        let plugin = self.handle_mut(handle).map_or(0, |entry| entry.plugin);
        let package = self.plugins[plugin].info().package;
        format!("{{\"plugin\":\"{package}\",\"data\":{data}}}")
    }

    /// Begins an event of a handle that answers no request.
    fn event(&mut self, handle: HandleRef, kind: &str) -> Message {
        let begun = Message::new(kind)
            .session(Some(handle.session.0))
            .sender(handle.handle);
        self.opaque(handle, begun)
    }

    /// Adds the handle's opaque id where the configuration wants it.
    fn opaque(&mut self, handle: HandleRef, message: Message) -> Message {
        if !self.config.general.opaqueid_in_api {
            return message;
        }
        match self
            .handle_mut(handle)
            .and_then(|entry| entry.opaque_id.as_deref())
        {
            Some(opaque_id) => message.string("opaque_id", opaque_id),
            None => message,
        }
    }

    /// Calls the plugin of a handle; `None` when there is no such handle.
    fn with_plugin<T>(
        &mut self,
        now: Now,
        handle: HandleRef,
        call: impl FnOnce(&mut dyn Plugin, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let entry = self
            .sessions
            .get_mut(&handle.session)?
            .handles
            .get_mut(&handle.handle)?;
        let mut cx = Cx {
            now,
            config: &self.config,
            media: &mut self.media,
            handle,
            peer: &mut entry.peer,
            events: &mut self.said,
        };
        Some(call(self.plugins[entry.plugin].as_mut(), &mut cx))
    }

    fn handle_mut(&mut self, handle: HandleRef) -> Option<&mut Handle> {
        self.sessions
            .get_mut(&handle.session)?
            .handles
            .get_mut(&handle.handle)
    }

    fn remove_handle(&mut self, handle: HandleRef) -> bool {
        let session = self.sessions.get_mut(&handle.session);
        session.is_some_and(|session| session.handles.remove(&handle.handle).is_some())
    }
}

/// Takes our candidates out of a description, as the `candidate` members of trickle events.
fn take_candidates(jsep: &mut JsepOut) -> Vec<String> {
    let mut trickled = Vec::new();
    for (index, media) in jsep.sdp.media.iter_mut().enumerate() {
        let candidates = std::mem::take(&mut media.candidates);
        media.end_of_candidates = false;
        if index > 0 {
            continue; // All lines share one transport.
        }
        let mid = media.mid.as_deref().unwrap_or_default();
        trickled.extend(candidates.iter().map(|candidate| {
            serde_json::json!({
                "sdpMid": mid,
                "sdpMLineIndex": index,
                "candidate": candidate.to_string(),
            })
            .to_string()
        }));
    }
    trickled.push("{\"completed\":true}".to_owned());
    trickled
}

fn jsep_text(jsep: &JsepOut) -> String {
    let mut text = format!("{{\"type\":\"{}\",\"sdp\":", jsep.kind.word());
    crate::base::json::push_string(&mut text, &jsep.sdp.to_string());
    text.push_str(if jsep.e2ee { ",\"e2ee\":true}" } else { "}" });
    text
}
