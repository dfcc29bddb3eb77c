//! The boundary between the gateway and its plugins.
//!
//! Invariant: a plugin never sees a request, only messages for its handles; it acts through
//! [`Cx`], and what it pushes reaches the client after the reply to the message at hand.

use std::fmt;

use serde_json::{Map, Value};

use crate::base::clock::Now;
use crate::base::error::ApiError;
use crate::base::id::{HandleRef, PeerId};
use crate::config::Config;
use crate::media::{Media, MediaError, OfferOptions, PeerEvent, PeerOwner};
use crate::wire::sdp::{AnswerPlan, SessionDescription};

/// How a plugin introduces itself in `info`.
#[derive(Clone, Copy, Debug)]
pub struct PluginInfo {
    /// The name that clients attach to, for instance `janus.plugin.echotest`.
    pub package: &'static str,
    /// A name for people.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub description: &'static str,
    /// Its version as a number.
    pub version: u32,
    /// Its version as text.
    pub version_string: &'static str,
}

/// A message for a handle.
#[derive(Debug)]
pub struct PluginMessage {
    /// The client's name for the request; an event that answers it repeats it.
    pub transaction: Box<str>,
    /// What the client says.
    pub body: Map<String, Value>,
    /// The session description that came along.
    pub jsep: Option<Jsep>,
}

/// A session description from the client.
#[derive(Debug)]
pub struct Jsep {
    /// Offer or answer.
    pub kind: JsepKind,
    /// The description.
    pub sdp: SessionDescription,
    /// How to take it.
    pub options: OfferOptions,
    /// More candidates may follow.
    pub is_trickling: bool,
    /// Media is encrypted end to end: payloads cannot be looked into.
    pub e2ee: bool,
}

/// Offer or answer (RFC 3264).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsepKind {
    /// Answers an offer of ours.
    Answer,
    /// Wants an answer.
    Offer,
}

impl JsepKind {
    /// The word in `jsep.type`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Offer => "offer",
        }
    }
}

/// What the client is told at once.
#[derive(Clone, Debug)]
pub enum Answer {
    /// An `ack`, with a hint for people; an event follows.
    Ack {
        /// Free text.
        hint: Option<&'static str>,
    },
    /// A `success` that carries the data.
    Success(Value),
}

/// Something that a plugin tells a handle's client.
#[derive(Debug)]
pub struct PluginEvent {
    /// To whom.
    pub handle: HandleRef,
    /// The request that it answers, if it answers one.
    pub transaction: Option<Box<str>>,
    /// The plugin's part of the event.
    pub data: Value,
    /// The session description that goes along.
    pub jsep: Option<JsepOut>,
}

/// A session description for the client.
#[derive(Debug)]
pub struct JsepOut {
    /// Offer or answer.
    pub kind: JsepKind,
    /// The description.
    pub sdp: SessionDescription,
    /// Media is encrypted end to end.
    pub e2ee: bool,
}

/// What a plugin sees and may do during one call.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The time.
    pub now: Now,
    /// The configuration.
    pub config: &'a Config,
    /// The PeerConnections and the switch.
    pub media: &'a mut Media,
    /// The handle that the call is about.
    pub handle: HandleRef,
    /// Its PeerConnection.
    pub peer: &'a mut Option<PeerId>,
    /// What is told to clients, in order.
    pub events: &'a mut Vec<PluginEvent>,
}

impl Cx<'_> {
    /// Tells the handle's client something.
    pub fn push(&mut self, transaction: Option<Box<str>>, data: Value, jsep: Option<JsepOut>) {
        self.events.push(PluginEvent {
            handle: self.handle,
            transaction,
            data,
            jsep,
        });
    }

    /// Answers an offer: sets up the handle's PeerConnection, or changes it.
    ///
    /// # Errors
    ///
    /// Those of [`Media::accept_offer`].
    pub fn accept_offer(
        &mut self,
        offer: &SessionDescription,
        plan: &AnswerPlan,
        options: OfferOptions,
    ) -> Result<SessionDescription, MediaError> {
        let owner = PeerOwner {
            session: self.handle.session,
            handle: self.handle.handle,
        };
        let accepted = self
            .media
            .accept_offer(self.now, *self.peer, owner, offer, plan, options)?;
        *self.peer = Some(accepted.peer);
        Ok(accepted.answer)
    }
}

/// One instance per plugin and shard. Every method runs to completion; none waits.
pub trait Plugin: fmt::Debug {
    /// Who it is.
    fn info(&self) -> PluginInfo;

    /// A client attaches a handle.
    ///
    /// # Errors
    ///
    /// When the plugin refuses it; the client gets that error.
    fn attach(&mut self, cx: &mut Cx<'_>) -> Result<(), ApiError>;

    /// A client's message for a handle.
    ///
    /// # Errors
    ///
    /// When the plugin cannot take messages at all. What is wrong with the message itself is told
    /// in the plugin's own words, by an event or in [`Answer::Success`].
    fn message(&mut self, cx: &mut Cx<'_>, message: PluginMessage) -> Result<Answer, ApiError>;

    /// Something happened to the handle's PeerConnection. On [`PeerEvent::Hangup`] it is gone.
    fn peer_event(&mut self, cx: &mut Cx<'_>, event: &PeerEvent);

    /// The handle goes away; its PeerConnection is gone.
    fn detach(&mut self, cx: &mut Cx<'_>);

    /// The state of a handle, for the Admin API.
    fn query(&self, handle: HandleRef) -> Value;
}
