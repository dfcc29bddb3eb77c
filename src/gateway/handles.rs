//! Requests for handles, and what their PeerConnections report.

use tracing::debug;

use crate::base::clock::Now;
use crate::base::error::{ApiError, ErrorCode};
use crate::base::id::{HandleRef, PeerId, SessionId, draw_handle};
use crate::base::members::Members;
use crate::gateway::acts::{Creditor, Owed};
use crate::gateway::auth::{Credentials, masked};
use crate::gateway::handle::{Handle, Sdps, Trickled};
use crate::gateway::plugin::{Answer, Cx, JsepKind, Plugin, PluginMessage};
use crate::gateway::reply::{Message, Reply};
use crate::gateway::request::Envelope;
use crate::gateway::session::Origin;
use crate::gateway::{Gateway, jsep, kind, trickle};
use crate::media::PeerEvent;
use crate::metrics::Metrics;
use crate::mutant;
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
        let token = Credentials::of(fields).token;
        self.auth.check_plugin(now.realtime, token, package)?;
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
                token: token.map(masked),
                created: now.monotonic,
                peer: None,
                sdps: Sdps::default(),
                has_offered: false,
                early: Vec::new(),
            },
        );
        let handle = HandleRef {
            session: session_id,
            handle: id,
        };
        let outcome = self.with_plugin(now, handle, |plugin, cx| plugin.attach(cx, handle));
        if let Some(Err(fault)) = outcome {
            self.remove_handle(handle);
            return Err(fault);
        }
        self.publish(now, metrics);
        metrics.gateway_handles += 1;
        metrics.gateway_handles_attached += 1;
        debug!(session = %session_id, handle = %id, package, "handle attached");
        self.report_attachment(now, handle, "attached");
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
        reason: &'static str,
        metrics: &mut Metrics,
    ) -> Reply {
        let peer = self.handle_mut(handle).and_then(|entry| entry.peer);
        if let Some(peer) = peer {
            self.report_last_statistics(now, handle);
            self.media.close(now, peer);
            self.hung_up(now, handle, reason, metrics);
        }
        kind(request, "success").finish()
    }

    pub(super) fn message(
        &mut self,
        now: Now,
        origin: Origin,
        handle: HandleRef,
        request: Envelope,
        metrics: &mut Metrics,
    ) -> Option<Reply> {
        let Envelope {
            transaction,
            mut members,
            session,
            ..
        } = request;
        let fail = |fault: &ApiError| {
            crate::gateway::reply::error(Some(session), Some(&transaction), fault)
        };
        let message = match self.read_message(handle, &mut members, &transaction) {
            Ok(message) => {
                self.note_remote(now, handle, &message, &members);
                message
            }
            Err(fault) => return Some(fail(&fault)),
        };
        let outcome = self.with_plugin(now, handle, |plugin, cx| {
            plugin.message(cx, handle, message)
        });
        let owed = Owed {
            origin,
            to: Creditor::Handle(handle),
            transaction: transaction.clone(),
            early: None,
            is_new: true,
        };
        if let Some(Ok(Answer::Later(ticket))) = &outcome {
            self.owed.insert(*ticket, owed);
        }
        self.publish(now, metrics);
        let message = |kind: &str| {
            Message::new(kind)
                .session(Some(session))
                .transaction(Some(&transaction))
        };
        match outcome {
            Some(Ok(Answer::Ack { hint: Some(hint) })) => {
                Some(message("ack").string("hint", hint).finish())
            }
            Some(Ok(Answer::Ack { hint: None })) => Some(message("ack").finish()),
            Some(Ok(Answer::Later(ticket))) => self.owe(now, ticket),
            Some(Ok(Answer::Success(data))) => Some(self.success(handle, &transaction, &data)),
            Some(Err(fault)) => Some(fail(&fault)),
            None => unreachable!("the handle was looked up before the verb"),
        }
    }

    fn read_message(
        &mut self,
        handle: HandleRef,
        members: &mut Members,
        transaction: &str,
    ) -> Result<PluginMessage, ApiError> {
        let body = match members.remove("body") {
            Some(serde_json::Value::Object(body)) => body,
            Some(_) => return Err(ApiError::invalid_type("body", "an object")),
            None => return Err(ApiError::missing("body")),
        };
        let limits = &self.config.limits;
        let jsep = members.get("jsep").map(|value| jsep::parse(value, limits));
        let jsep = jsep.transpose()?;
        let kind = jsep.as_ref().map(|jsep| jsep.kind);
        let Some(entry) = self.handle_mut(handle) else {
            unreachable!("the handle was looked up before the verb");
        };
        if kind == Some(JsepKind::Answer) && !entry.has_offered {
            let reason = "Unexpected ANSWER (did we offer?)";
            return Err(ApiError::new(ErrorCode::UnexpectedAnswer, reason));
        }
        Ok(PluginMessage {
            transaction: transaction.into(),
            body,
            jsep,
        })
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

    pub(super) fn take_early_candidates(&mut self, now: Now, handle: HandleRef) {
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
        self.report_last_statistics(now, handle);
        let peer = self.handle_mut(handle).and_then(|entry| entry.peer.take());
        if let Some(peer) = peer.filter(|_| !mutant!(HandleLeavesPeer)) {
            self.media.close(now, peer);
        }
        if peer.is_some() {
            self.report_hangup(now, handle, "Handle detached");
        }
        self.end_capture(now, handle);
        self.with_plugin(now, handle, |plugin, cx| plugin.detach(cx, handle));
        self.report_attachment(now, handle, "detached");
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
            entry.sdps = Sdps::ended();
        }
        self.report_hangup(now, handle, reason);
        let event = PeerEvent::Hangup { reason };
        self.with_plugin(now, handle, |plugin, cx| {
            plugin.peer_event(cx, handle, &event)
        });
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
            self.report_media(now, handle, peer, &event);
            let told = match &event {
                PeerEvent::Statistics(_) => continue,
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
                | PeerEvent::RecordingFailed { .. }
                | PeerEvent::Remb { .. }
                | PeerEvent::Talking { .. } => None,
            };
            self.with_plugin(now, handle, |plugin, cx| {
                plugin.peer_event(cx, handle, &event)
            });
            self.publish(now, metrics);
            if let Some(told) = told {
                self.push(handle.session, told.finish(), metrics);
            }
        }
    }

    /// Begins an event of a handle that answers no request.
    pub(super) fn event(&mut self, handle: HandleRef, kind: &str) -> Message {
        let begun = Message::new(kind)
            .session(Some(handle.session.0))
            .sender(handle.handle);
        self.opaque(handle, begun)
    }

    /// Adds the handle's opaque id where the configuration wants it.
    pub(super) fn opaque(&mut self, handle: HandleRef, message: Message) -> Message {
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
    pub(super) fn with_plugin<T>(
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
        let plugin = entry.plugin;
        Some(self.call(now, plugin, call))
    }

    pub(super) fn handle_mut(&mut self, handle: HandleRef) -> Option<&mut Handle> {
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
