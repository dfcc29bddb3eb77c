//! What plugins want done: events for clients, replies that were promised, messages to other shards.
//!
//! Invariant: a promised reply is given once, by the plugin or by the deadline.

use std::time::Duration;

use serde_json::Value;

use crate::base::clock::Now;
use crate::base::error::{ApiError, ErrorCode};
use crate::base::id::{HandleRef, ShardId};
use crate::gateway::plugin::{Act, Cx, JsepKind, JsepOut, Parcel, Plugin, PluginEvent, Ticket};
use crate::gateway::reply::{self, Message, Reply};
use crate::gateway::session::Origin;
use crate::gateway::{Gateway, Key};
use crate::media::PeerEvent;
use crate::metrics::Metrics;

/// How long a plugin may take for a promised reply: shards answer each other within milliseconds,
/// and clients give up after some seconds.
const OWED_MAX: Duration = Duration::from_secs(5);

/// Acts of one call and all that follows from it. Beyond it, a plugin talks to itself.
const ACTS_MAX: usize = 1_000_000;

/// Whom a plugin promised a reply, which decides on its form.
#[derive(Clone, Copy, Debug)]
pub(super) enum Creditor {
    /// A client of the Admin API.
    Admin,
    /// A handle's client.
    Handle(HandleRef),
}

/// A reply that a client waits for.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) origin: Origin,
    pub(super) to: Creditor,
    pub(super) transaction: Box<str>,
    /// The data, if they came before the call that promised them ended.
    pub(super) early: Option<Value>,
    /// That call has not ended.
    pub(super) is_new: bool,
}

impl Gateway {
    /// Takes in a plugin's message from another shard.
    pub fn remote(&mut self, now: Now, from: ShardId, parcel: Parcel, metrics: &mut Metrics) {
        self.call(now, parcel.plugin, |plugin, cx| {
            plugin.remote(cx, from, parcel.message);
        });
        self.publish(now, metrics);
    }

    /// The next messages of plugins to other shards.
    pub fn take_parcels(&mut self) -> Vec<(ShardId, Parcel)> {
        std::mem::take(&mut self.parcels)
    }

    /// The next replies to requests that had none at once.
    pub fn take_replies(&mut self) -> Vec<(Origin, Reply)> {
        std::mem::take(&mut self.replies)
    }

    /// Whether there is something to hand out.
    pub fn has_news(&self) -> bool {
        !self.awaited.is_empty()
            || !self.outputs.is_empty()
            || !self.parcels.is_empty()
            || !self.replies.is_empty()
    }

    /// Calls a plugin by its number.
    pub(super) fn call<T>(
        &mut self,
        now: Now,
        plugin: usize,
        call: impl FnOnce(&mut dyn Plugin, &mut Cx<'_>) -> T,
    ) -> T {
        let mut cx = Cx {
            now,
            config: &self.config,
            media: &mut self.media,
            rng: &mut self.rng,
            shard: self.id,
            shards: self.shards,
            plugin,
            sessions: &mut self.sessions,
            acts: &mut self.acts,
            tickets: &mut self.tickets,
            owed: &self.owed,
            lookups: &mut self.lookups,
            files: &mut self.files,
        };
        call(self.plugins[plugin].as_mut(), &mut cx)
    }

    /// Carries out what plugins wanted during the last call, and what follows from that.
    pub(super) fn publish(&mut self, now: Now, metrics: &mut Metrics) {
        for _ in 0..ACTS_MAX {
            let Some(act) = self.acts.pop_front() else {
                return;
            };
            match act {
                Act::Event(event) => self.publish_one(now, *event, metrics),
                Act::Hangup(handle) => {
                    self.report_last_statistics(now, handle);
                    let peer = self.handle_mut(handle).and_then(|entry| entry.peer.take());
                    let Some(peer) = peer else { continue };
                    self.media.close(now, peer);
                    let reason = "Close PC";
                    self.report_hangup(now, handle, reason);
                    let event = PeerEvent::Hangup { reason };
                    self.with_plugin(now, handle, |plugin, cx| {
                        plugin.peer_event(cx, handle, &event);
                    });
                    let hangup = self.event(handle, "hangup").string("reason", reason);
                    self.push(handle.session, hangup.finish(), metrics);
                }
                Act::Opened(handle) => self.take_early_candidates(now, handle),
                Act::Report(handle, plugin, data) => {
                    self.report_plugin(now, handle, plugin, &data);
                }
                Act::Resolve(ticket, data) => self.resolve(ticket, data),
                Act::Send(to, parcel) if to == self.id => {
                    self.call(now, parcel.plugin, |plugin, cx| {
                        plugin.remote(cx, to, parcel.message);
                    });
                }
                Act::Send(to, parcel) => self.parcels.push((to, parcel)),
                Act::Wake(plugin, at) => self.timers.arm(Key::Plugin(plugin), at),
            }
        }
        unreachable!("a plugin that talks to itself comes to an end");
    }

    /// Gives a promised reply if it is there already; otherwise it has until a deadline.
    pub(super) fn owe(&mut self, now: Now, ticket: Ticket) -> Option<Reply> {
        let Some(owed) = self.owed.get_mut(&ticket) else {
            unreachable!("it was promised by the call that just ended");
        };
        if let Some(data) = owed.early.take() {
            let (to, transaction) = (owed.to, owed.transaction.clone());
            self.owed.remove(&ticket);
            return Some(self.kept(to, &transaction, &data));
        }
        owed.is_new = false;
        self.timers.arm(Key::Owed(ticket), now.monotonic + OWED_MAX);
        None
    }

    /// Answers with an error where a plugin did not keep its promise.
    pub(super) fn expire_owed(&mut self, ticket: Ticket) {
        let Some(owed) = self.owed.remove(&ticket) else {
            return;
        };
        let fault = ApiError::new(ErrorCode::PluginMessage, "The plugin took too long");
        let session = match owed.to {
            Creditor::Admin => None,
            Creditor::Handle(handle) => Some(handle.session.0),
        };
        let reply = reply::error(session, Some(&owed.transaction), &fault);
        let origin = owed.origin;
        self.replies.push((origin, reply));
    }

    fn resolve(&mut self, ticket: Ticket, data: Value) {
        let Some(owed) = self.owed.get_mut(&ticket) else {
            return;
        };
        if owed.is_new {
            owed.early = Some(data);
            return;
        }
        let (origin, to) = (owed.origin, owed.to);
        let transaction = owed.transaction.clone();
        self.owed.remove(&ticket);
        self.timers.cancel(Key::Owed(ticket));
        let reply = self.kept(to, &transaction, &data);
        self.replies.push((origin, reply));
    }

    /// The reply that was promised.
    fn kept(&mut self, to: Creditor, transaction: &str, data: &Value) -> Reply {
        match to {
            Creditor::Admin => Message::new("success")
                .transaction(Some(transaction))
                .value("response", data)
                .finish(),
            Creditor::Handle(handle) => self.success(handle, transaction, data),
        }
    }

    /// The reply to a message whose data are there.
    pub(super) fn success(&mut self, handle: HandleRef, transaction: &str, data: &Value) -> Reply {
        let plugindata = self.plugindata(handle, data);
        Message::new("success")
            .session(Some(handle.session.0))
            .transaction(Some(transaction))
            .sender(handle.handle)
            .raw("plugindata", &plugindata)
            .finish()
    }

    fn publish_one(&mut self, now: Now, event: PluginEvent, metrics: &mut Metrics) {
        let PluginEvent {
            handle,
            transaction,
            data,
            jsep,
        } = event;
        let Some(entry) = self.handle_mut(handle) else {
            return;
        };
        entry.has_offered |= jsep
            .as_ref()
            .is_some_and(|jsep| jsep.kind == JsepKind::Offer);
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
            self.note_local(now, handle, &jsep);
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

    fn plugindata(&mut self, handle: HandleRef, data: &Value) -> String {
        let plugin = self.handle_mut(handle).map_or(0, |entry| entry.plugin);
        let package = self.plugins[plugin].info().package;
        format!("{{\"plugin\":\"{package}\",\"data\":{data}}}")
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
