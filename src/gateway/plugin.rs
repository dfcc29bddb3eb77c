//! The boundary between the gateway and its plugins.
//!
//! Invariant: a plugin never sees a request, only messages for its handles; it acts through
//! [`Cx`], and what it pushes reaches the client after the reply to the message at hand.
//!
//! State that spans shards has one of them as its home. A plugin that needs another shard sends it
//! a message ([`Cx::send`]) and goes on; a client that waits for a reply is told later
//! ([`Cx::later`], [`Cx::resolve`]). No shard ever waits for another.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::base::clock::{Monotonic, Now};
use crate::base::error::ApiError;
use crate::base::id::{HandleRef, PeerId, SessionId, ShardId, SockId};
use crate::base::rng::Rng;
use crate::config::Config;
use crate::gateway::acts::{Creditor, Owed};
use crate::gateway::auth;
use crate::gateway::outside::{
    Content, FileId, FileOwner, Files, LookupId, Lookups, Seeker, Sought, Written,
};
use crate::gateway::session::Session;
use crate::media::{
    Enabled, IceRestart, Media, MediaError, OfferManner, OfferOptions, PeerEvent, PeerOwner,
    PlainEvent, PlainOwner,
};
use crate::metrics::Metrics;
use crate::wire::sdp::{AnswerPlan, OfferPlan, SessionDescription};

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
    /// Sections, by their position, that are sent in layers of one stream.
    pub svc: Vec<usize>,
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
    /// Nothing yet: [`Cx::resolve`] follows, or the client is told that it took too long.
    Later(Ticket),
    /// A `success` that carries the data.
    Success(Value),
}

/// What the Admin API is told by a plugin.
#[derive(Clone, Debug)]
pub enum AdminAnswer {
    /// Nothing yet: [`Cx::resolve`] follows.
    Later(Ticket),
    /// This, a fault of the request included.
    Now(Value),
}

/// A reply that is owed to a client. Only the shard that gave it can redeem it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// What one instance of a plugin tells its instance on another shard.
///
/// Plain data: durations and ids may cross, instants may not.
pub trait PluginMsg: Any + Send + fmt::Debug {}

/// A [`PluginMsg`] on its way.
#[derive(Debug)]
pub struct Parcel {
    /// Which plugin, an index into the list that all shards share.
    pub(super) plugin: usize,
    /// What it says.
    pub(super) message: Box<dyn PluginMsg>,
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

/// What a plugin wants done; carried out in order when its call ends.
#[derive(Debug)]
pub(super) enum Act {
    Event(Box<PluginEvent>),
    Hangup(HandleRef),
    Opened(HandleRef),
    Report(Option<HandleRef>, usize, Value),
    Resolve(Ticket, Value),
    Send(ShardId, Parcel),
    Wake(usize, Monotonic),
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
    /// Randomness, fit for ids.
    pub rng: &'a mut Rng,
    /// The shard that this is.
    pub shard: ShardId,
    /// How many there are.
    pub shards: u8,
    pub(super) plugin: usize,
    pub(super) sessions: &'a mut BTreeMap<SessionId, Session>,
    pub(super) acts: &'a mut VecDeque<Act>,
    pub(super) tickets: &'a mut u64,
    pub(super) owed: &'a BTreeMap<Ticket, Owed>,
    pub(super) lookups: &'a mut Lookups,
    pub(super) files: &'a mut Files,
}

impl Cx<'_> {
    /// Tells a handle's client something. A handle that is gone is passed over.
    pub fn push(
        &mut self,
        handle: HandleRef,
        transaction: Option<Box<str>>,
        data: Value,
        jsep: Option<JsepOut>,
    ) {
        self.acts.push_back(Act::Event(Box::new(PluginEvent {
            handle,
            transaction,
            data,
            jsep,
        })));
    }

    /// Closes a handle's PeerConnection after the call. [`PeerEvent::Hangup`] follows, unless it
    /// has none.
    pub fn hang_up(&mut self, handle: HandleRef) {
        self.acts.push_back(Act::Hangup(handle));
    }

    /// Sends a message to this plugin's instance on a shard, be it this one: then it is taken in
    /// after the call at hand. Messages between two shards arrive in order.
    pub fn send(&mut self, to: ShardId, message: impl PluginMsg) {
        let parcel = Parcel {
            plugin: self.plugin,
            message: Box::new(message),
        };
        self.acts.push_back(Act::Send(to, parcel));
    }

    /// Tells event handlers something of the plugin, or of one of its handles.
    pub fn report(&mut self, handle: Option<HandleRef>, data: Value) {
        self.acts.push_back(Act::Report(handle, self.plugin, data));
    }

    /// Promises a reply, for [`Answer::Later`].
    pub const fn later(&mut self) -> Ticket {
        *self.tickets += 1;
        Ticket(*self.tickets)
    }

    /// Gives a promised reply. One that is too late is passed over.
    pub fn resolve(&mut self, ticket: Ticket, data: Value) {
        self.acts.push_back(Act::Resolve(ticket, data));
    }

    /// Has [`Plugin::woken`] called at `at`, in place of what was said before.
    pub fn wake(&mut self, at: Monotonic) {
        self.acts.push_back(Act::Wake(self.plugin, at));
    }

    /// Whether a token was signed for this plugin and for `descriptor`; `None` where the gateway
    /// does not sign tokens.
    pub fn is_signed_for(&self, token: &str, package: &str, descriptor: &str) -> Option<bool> {
        let general = &self.config.general;
        auth::is_signed_for(general, self.now.realtime, token, package, descriptor)
    }

    /// Whether somebody still waits for a promised reply. The call that promised it is over.
    pub fn is_awaited(&self, ticket: Ticket) -> bool {
        self.owed.contains_key(&ticket)
    }

    /// The handle whose client waits for a promised reply. The call that promised it is over.
    pub fn asker(&self, ticket: Ticket) -> Option<HandleRef> {
        match self.owed.get(&ticket)?.to {
            Creditor::Admin => None,
            Creditor::Handle(handle) => Some(handle),
        }
    }

    /// Has a name looked up. [`Plugin::looked_up`] follows, perhaps late; `None` if too many names
    /// are waited for already.
    pub fn look_up(&mut self, name: &str, sought: Sought) -> Option<LookupId> {
        let max = self.config.limits.lookups_count;
        let seeker = Seeker::Plugin(self.plugin);
        self.lookups.begin(seeker, name, sought, max)
    }

    /// Has a file replaced. [`Plugin::written`] follows.
    pub fn write_file(&mut self, path: PathBuf, text: String) -> FileId {
        let owner = FileOwner::Plugin(self.plugin);
        self.files.begin(owner, path, Content::Whole(text))
    }

    /// Asks for a socket for plain RTP. [`Plugin::plain_event`] follows.
    ///
    /// # Errors
    ///
    /// Those of [`Media::open_socket`].
    pub fn open_socket(&mut self, bind: SocketAddr) -> Result<SockId, MediaError> {
        self.media.open_socket(PlainOwner(self.plugin), bind)
    }

    /// The PeerConnection of a handle, if it has one.
    pub fn peer(&self, handle: HandleRef) -> Option<PeerId> {
        let session = self.sessions.get(&handle.session)?;
        session.handles.get(&handle.handle)?.peer
    }

    /// Answers an offer: sets up a handle's PeerConnection, or changes it.
    ///
    /// # Errors
    ///
    /// Those of [`Media::accept_offer`]; [`MediaError::NoPeer`] if the handle is gone.
    pub fn accept_offer(
        &mut self,
        handle: HandleRef,
        offer: &SessionDescription,
        plan: &AnswerPlan,
        options: OfferOptions,
    ) -> Result<SessionDescription, MediaError> {
        let now = self.now;
        self.with_peer(handle, |media, peer, owner| {
            let accepted = media.accept_offer(now, peer, owner, offer, plan, options)?;
            Ok((accepted.peer, accepted.answer))
        })
    }

    /// Makes an offer: sets up a handle's PeerConnection, or changes it.
    ///
    /// # Errors
    ///
    /// Those of [`Media::make_offer`]; [`MediaError::NoPeer`] if the handle is gone.
    pub fn make_offer(
        &mut self,
        handle: HandleRef,
        plan: OfferPlan,
        restart: IceRestart,
        estimates: Enabled,
    ) -> Result<SessionDescription, MediaError> {
        let now = self.now;
        let manner = OfferManner {
            restart,
            // As in answers, the gateway takes the candidates out where they are to be trickled.
            trickle: OfferOptions::default().trickle,
            estimates,
        };
        self.with_peer(handle, |media, peer, owner| {
            let offered = media.make_offer(now, peer, owner, plan, manner)?;
            Ok((offered.peer, offered.offer))
        })
    }

    /// Sets up a handle's PeerConnection, or changes it, and keeps which one it is.
    fn with_peer(
        &mut self,
        handle: HandleRef,
        negotiate: impl FnOnce(
            &mut Media,
            Option<PeerId>,
            PeerOwner,
        ) -> Result<(PeerId, SessionDescription), MediaError>,
    ) -> Result<SessionDescription, MediaError> {
        let session = self.sessions.get_mut(&handle.session);
        let entry = session.and_then(|session| session.handles.get_mut(&handle.handle));
        let entry = entry.ok_or(MediaError::NoPeer)?;
        let owner = PeerOwner {
            session: handle.session,
            handle: handle.handle,
        };
        let (peer, description) = negotiate(self.media, entry.peer, owner)?;
        if entry.peer.replace(peer).is_none() {
            self.acts.push_back(Act::Opened(handle));
        }
        Ok(description)
    }

    /// Takes the answer to the last offer that a handle was made.
    ///
    /// # Errors
    ///
    /// Those of [`Media::accept_answer`]; [`MediaError::NoPeer`] if there is no PeerConnection.
    pub fn accept_answer(
        &mut self,
        handle: HandleRef,
        answer: &SessionDescription,
    ) -> Result<(), MediaError> {
        let peer = self.peer(handle).ok_or(MediaError::NoPeer)?;
        self.media.accept_answer(self.now, peer, answer)
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
    fn attach(&mut self, cx: &mut Cx<'_>, handle: HandleRef) -> Result<(), ApiError>;

    /// A client's message for a handle.
    ///
    /// # Errors
    ///
    /// When the plugin cannot take messages at all. What is wrong with the message itself is told
    /// in the plugin's own words, by an event or in [`Answer::Success`].
    fn message(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        message: PluginMessage,
    ) -> Result<Answer, ApiError>;

    /// Something happened to a handle's PeerConnection. On [`PeerEvent::Hangup`] it is gone.
    fn peer_event(&mut self, cx: &mut Cx<'_>, handle: HandleRef, event: &PeerEvent);

    /// A handle goes away; its PeerConnection is gone.
    fn detach(&mut self, cx: &mut Cx<'_>, handle: HandleRef);

    /// The state of a handle, for the Admin API.
    fn query(&self, media: &Media, handle: HandleRef) -> Value;

    /// Answers a request of the Admin API; `None` when the plugin takes none.
    fn admin(&mut self, cx: &mut Cx<'_>, request: &Map<String, Value>) -> Option<AdminAnswer> {
        let _ = (cx, request);
        None
    }

    /// The time that [`Cx::wake`] named has come.
    fn woken(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
        unreachable!("this plugin wants not to be woken");
    }

    /// Adds what the plugin counts to a shard's metrics.
    fn add_to(&self, metrics: &mut Metrics) {
        let _ = metrics;
    }

    /// A name that was looked up stands for an address, or for nothing; see [`Cx::look_up`].
    fn looked_up(&mut self, cx: &mut Cx<'_>, id: LookupId, address: Option<IpAddr>) {
        let _ = (cx, address);
        unreachable!("this plugin looks up no names: {id:?}");
    }

    /// A file was replaced, or could not be; see [`Cx::write_file`].
    fn written(&mut self, cx: &mut Cx<'_>, id: FileId, written: Written) {
        let _ = (cx, written);
        unreachable!("this plugin writes no files: {id:?}");
    }

    /// Something happened to plain RTP of this plugin, see [`Cx::open_socket`].
    fn plain_event(&mut self, cx: &mut Cx<'_>, event: PlainEvent) {
        let _ = cx;
        unreachable!("this plugin has no plain RTP: {event:?}");
    }

    /// A message of this plugin's instance on a shard, see [`Cx::send`].
    fn remote(&mut self, cx: &mut Cx<'_>, from: ShardId, message: Box<dyn PluginMsg>) {
        let _ = (cx, from);
        unreachable!("this plugin sends no messages between shards: {message:?}");
    }
}
