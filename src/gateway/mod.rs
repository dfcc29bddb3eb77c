//! The nouns of the Janus API: sessions, handles, transactions, events, plugins.
//!
//! A [`Gateway`] is one shard's share of them. Requests reach it as [`Envelope`]s, on the shard
//! that owns the session; what it has to say to listeners leaves as [`Output`]s.

mod acts;
mod admin;
mod admin_later;
pub mod auth;
mod call_reports;
mod capture;
pub mod events;
pub mod gather;
pub mod handle;
mod handle_info;
mod handles;
mod info;
mod jsep;
mod listeners;
pub mod outside;
mod owners;
pub mod plugin;
mod queries;
pub mod recordings;
pub mod reply;
pub mod reports;
pub mod request;
mod runtime;
pub mod session;
mod statistics;
mod tokens;
pub mod transports;
mod trickle;
pub mod tweaks;
pub mod verb;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tracing::{debug, warn};

use crate::base::clock::{Monotonic, Now};
use crate::base::error::{ApiError, ErrorCode};
use crate::base::id::{HandleId, HandleRef, ID_MAX, SessionId, ShardId, draw_owned, owner_of};
use crate::base::rng::Rng;
use crate::base::timers::Timers;
use crate::config::Config;
use crate::media::Media;
use crate::metrics::Metrics;
use crate::mutant;

use acts::Owed;
use auth::{Auth, Credentials};
use capture::Capture;
use outside::{Files, Lookups};
use plugin::{Act, Parcel, Plugin, Ticket};
use reply::{Message, Reply};
use reports::Reports;
use request::{Envelope, HandleField};
use runtime::Runtime;
use session::{Origin, PollEnd, Session, SessionEnd, Via};
use transports::TransportSettings;
use tweaks::HandlerSettings;

pub use admin::AdminRoute;
pub use listeners::Outcome;
use verb::{Level, Verb};

/// Something for a listener of a session, on whatever shard its connection is.
#[derive(Debug)]
pub enum Output {
    /// Ends a long poll.
    PollAnswer {
        /// Which one.
        origin: Origin,
        /// Its body, compact JSON.
        body: String,
        /// How many events it holds; with some, [`Gateway::poll_done`] must follow.
        events: usize,
        /// Why it ends.
        why: PollEnd,
    },
    /// Closes a socket that does not take what is due to it.
    SocketClose {
        /// Which one.
        origin: Origin,
    },
    /// Sends one event to the socket that owns the session; [`Gateway::event_taken`] must follow.
    SocketEvent {
        /// Which socket.
        origin: Origin,
        /// The session.
        session: SessionId,
        /// The event's number.
        number: u64,
        /// Compact JSON.
        text: Box<str>,
    },
    /// Tells a stream that nothing happened.
    StreamBeat {
        /// Which one.
        origin: Origin,
    },
    /// Begins an event stream.
    StreamBegin {
        /// Which one.
        origin: Origin,
        /// Events between the last that the client saw and the next are lost.
        has_gap: bool,
    },
    /// Ends an event stream, completely.
    StreamEnd {
        /// Which one.
        origin: Origin,
    },
    /// Sends one event; [`Gateway::event_taken`] must follow.
    StreamEvent {
        /// Which stream.
        origin: Origin,
        /// The event's number, by which the client resumes.
        number: u64,
        /// Compact JSON.
        text: Box<str>,
    },
    /// Says that there is no such session to listen to.
    Unknown {
        /// The poll or stream.
        origin: Origin,
    },
}

/// Where a request is executed.
#[derive(Debug)]
pub enum Route {
    /// It is answered already.
    Answered(Reply),
    /// On the shard that owns this session.
    Owner(SessionId),
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// What was captured of a handle's PeerConnection.
    Capture(HandleRef),
    /// A reply that a plugin owes.
    Owed(Ticket),
    /// A plugin that wants to be called.
    Plugin(usize),
    /// A session's oldest long poll.
    Poll(SessionId),
    /// A session that has been silent.
    Session(SessionId),
    /// Statistics of a handle's PeerConnection.
    Statistics(HandleRef),
    /// A session's event stream: heartbeat, or the end of its age.
    Stream(SessionId),
}

/// What a gateway is made of.
#[derive(Debug)]
pub struct Parts {
    /// The shard that it is on.
    pub id: ShardId,
    /// How many shards there are.
    pub shards: u8,
    /// When it began.
    pub started: Monotonic,
    /// The configuration.
    pub config: Arc<Config>,
    /// Its randomness.
    pub rng: Rng,
    /// Its PeerConnections.
    pub media: Media,
    /// Its plugins.
    pub plugins: Vec<Box<dyn Plugin>>,
}

/// One shard's sessions and handles.
#[derive(Debug)]
pub struct Gateway {
    id: ShardId,
    shards: u8,
    config: Arc<Config>,
    auth: Auth,
    rng: Rng,
    media: Media,
    plugins: Vec<Box<dyn Plugin>>,
    sessions: BTreeMap<SessionId, Session>,
    /// The sessions of each socket, wherever that is.
    owned: BTreeSet<(Origin, SessionId)>,
    timers: Timers<Key>,
    /// Sessions with events that somebody may be waiting for.
    awaited: Vec<SessionId>,
    /// What plugins wanted during the call at hand.
    acts: VecDeque<Act>,
    /// Replies that plugins have promised.
    owed: BTreeMap<Ticket, Owed>,
    tickets: u64,
    /// Names that plugins want to be looked up.
    lookups: Lookups,
    files: Files,
    captures: BTreeMap<HandleRef, Capture>,
    /// Promised replies that are there.
    replies: Vec<(Origin, Reply)>,
    /// What plugins tell their like on other shards.
    parcels: Vec<(ShardId, Parcel)>,
    outputs: Vec<Output>,
    /// What is told to event handlers.
    reports: Reports,
    runtime: Runtime,
    transports: TransportSettings,
    /// What a handler that was changed is to be told.
    handler_settings: Option<HandlerSettings>,
    started: Monotonic,
    /// The Admin API lets new sessions in.
    is_open: bool,
    is_draining: bool,
    /// Event handlers know that the gateway runs.
    is_announced: bool,
    /// The signal that asked the process to stop.
    signal: Option<i32>,
}

impl Gateway {
    /// A gateway without sessions.
    pub fn new(parts: Parts) -> Self {
        Self {
            id: parts.id,
            shards: parts.shards,
            auth: Auth::new(&parts.config.general, parts.config.admin.secret.as_ref()),
            reports: Reports::new(&parts.config),
            runtime: Runtime::new(&parts.config),
            transports: TransportSettings::new(&parts.config),
            handler_settings: None,
            started: parts.started,
            config: parts.config,
            rng: parts.rng,
            media: parts.media,
            plugins: parts.plugins,
            sessions: BTreeMap::new(),
            owned: BTreeSet::new(),
            timers: Timers::default(),
            awaited: Vec::new(),
            acts: VecDeque::new(),
            owed: BTreeMap::new(),
            tickets: 0,
            lookups: Lookups::default(),
            files: Files::default(),
            captures: BTreeMap::new(),
            replies: Vec::new(),
            parcels: Vec::new(),
            outputs: Vec::new(),
            is_open: true,
            is_draining: false,
            is_announced: false,
            signal: None,
        }
    }

    /// Answers what any shard can answer, and says where the rest is to be executed.
    ///
    /// A `create` without an id of the client's stays here: an id is drawn that this shard owns.
    pub fn route(
        &mut self,
        now: Now,
        via: Via,
        request: &Envelope,
        metrics: &mut Metrics,
    ) -> Route {
        let verb = Verb::parse(&request.verb);
        *Verb::counter(verb, metrics) += 1;
        let fail = |fault: &ApiError| Route::Answered(request.fail(fault));
        if request.session == 0 {
            return match (request.handle, verb) {
                (HandleField::Named(_), _) => fail(&session_missing()),
                (_, Some(Verb::Ping)) => {
                    let pong = Message::new("pong").transaction(Some(&request.transaction));
                    Route::Answered(pong.finish())
                }
                (_, Some(Verb::Info)) => Route::Answered(self.info(&request.transaction)),
                (_, Some(Verb::Create)) => match self.admit(now, request) {
                    Err(fault) => fail(&fault),
                    Ok(0) => Route::Answered(self.create(now, via, request, metrics)),
                    Ok(id) => Route::Owner(SessionId(id)),
                },
                (_, Some(_) | None) => fail(&misplaced(&request.verb)),
            };
        }
        if request.handle == HandleField::Invalid {
            let fault = ApiError::new(ErrorCode::HandleNotFound, "Handle not found");
            return fail(&fault);
        }
        let shown = Credentials::of(request.fields());
        if !self.auth.allows(now.realtime, shown) {
            return fail(&ApiError::unauthorized());
        }
        Route::Owner(SessionId(request.session))
    }

    /// Whether a session may be created, and under which id; zero is any.
    fn admit(&self, now: Now, request: &Envelope) -> Result<u64, ApiError> {
        if !self.is_accepting() {
            return Err(not_accepting());
        }
        let shown = Credentials::of(request.fields());
        if !self.auth.allows(now.realtime, shown) {
            return Err(ApiError::unauthorized());
        }
        let chosen = request.fields().may_u64("id")?.unwrap_or(0);
        if chosen > ID_MAX {
            warn!(id = chosen, "session id is beyond what JavaScript can hold");
        }
        Ok(chosen)
    }

    /// Executes a request on the shard that owns its session. Without a reply, one
    /// follows by [`Self::take_replies`].
    pub fn execute(
        &mut self,
        now: Now,
        origin: Origin,
        via: Via,
        request: Envelope,
        metrics: &mut Metrics,
    ) -> Option<Reply> {
        if request.session == 0 {
            return Some(self.create(now, via, &request, metrics));
        }
        let id = SessionId(request.session);
        let Some(session) = self.sessions.get_mut(&id) else {
            let reason = format!("No such session {id}");
            return Some(request.fail(&ApiError::new(ErrorCode::SessionNotFound, reason)));
        };
        session.last_activity = now.monotonic;
        let level = match request.handle {
            HandleField::Named(handle) => {
                if !session.handles.contains_key(&HandleId(handle)) {
                    let reason = format!("No such handle {handle} in session {id}");
                    return Some(request.fail(&ApiError::new(ErrorCode::HandleNotFound, reason)));
                }
                Level::Handle
            }
            HandleField::Absent | HandleField::Invalid => Level::Session,
        };
        let verb = match Verb::parse(&request.verb) {
            Some(verb) if verb.fits(level) => verb,
            Some(verb) if !verb.is_root_only() => {
                return Some(request.fail(&misplaced(&request.verb)));
            }
            Some(_) | None => {
                let reason = format!("Unknown request '{}'", request.verb);
                return Some(request.fail(&ApiError::new(ErrorCode::UnknownRequest, reason)));
            }
        };
        let handle = HandleRef {
            session: id,
            handle: match request.handle {
                HandleField::Named(handle) => HandleId(handle),
                HandleField::Absent | HandleField::Invalid => HandleId(0),
            },
        };
        let outcome = match verb {
            Verb::Keepalive => Ok(kind(&request, "ack").finish()),
            Verb::Attach => self.attach(now, &request, metrics),
            Verb::Destroy => {
                self.end_session(now, id, SessionEnd::Destroyed, metrics);
                Ok(kind(&request, "success").finish())
            }
            Verb::Claim => {
                self.claim(id, via, metrics);
                Ok(kind(&request, "success").finish())
            }
            Verb::Detach => Ok(self.detach(now, handle, &request, metrics)),
            Verb::Hangup => Ok(self.hangup(now, handle, &request, "Janus API", metrics)),
            Verb::Message => return self.message(now, origin, handle, request, metrics),
            Verb::Trickle => self.trickle(now, handle, &request),
            Verb::Create | Verb::Info | Verb::Ping => {
                unreachable!("root verbs do not fit sessions and handles")
            }
        };
        Some(outcome.unwrap_or_else(|fault| request.fail(&fault)))
    }

    fn create(&mut self, now: Now, via: Via, request: &Envelope, metrics: &mut Metrics) -> Reply {
        // The shard that took the request in may not have begun to drain yet.
        if !self.is_accepting() || self.sessions.len() >= self.config.limits.sessions_count {
            return request.fail(&not_accepting());
        }
        let id = match request.fields().may_u64("id").ok().flatten() {
            None | Some(0) => loop {
                let id = draw_owned(&mut self.rng, self.id, self.shards);
                if !self.sessions.contains_key(&id) {
                    break id;
                }
            },
            Some(id) => SessionId(id),
        };
        if self.sessions.contains_key(&id) {
            let fault = ApiError::new(ErrorCode::SessionConflict, "Session ID already in use");
            return reply::error(Some(id.0), Some(&request.transaction), &fault);
        }
        debug_assert_eq!(
            owner_of(id, self.shards),
            self.id,
            "a session is made by its owner"
        );
        let session = Session::new(now.monotonic, via.into());
        self.sessions.insert(id, session);
        if let Via::Socket(origin) = via {
            self.owned.insert((origin, id));
        }
        self.arm_session(id);
        metrics.gateway_sessions += 1;
        metrics.gateway_sessions_created += 1;
        debug!(session = %id, "session created");
        self.report_created(now, id, via);
        Message::new("success")
            .transaction(Some(&request.transaction))
            .raw("data", &format!("{{\"id\":{id}}}"))
            .finish()
    }

    /// The reply to `info`.
    pub fn info(&self, transaction: &str) -> Reply {
        let plugins = self.plugins.iter().map(|plugin| plugin.info());
        info::server_info(transaction, &self.config, plugins, self.is_accepting())
    }

    /// Ends a session: its handles, its PeerConnections, its listeners. Nothing is told to the
    /// client but that its polls and streams end.
    fn end_session(&mut self, now: Now, id: SessionId, end: SessionEnd, metrics: &mut Metrics) {
        self.release_listeners(id, PollEnd::Destroyed, metrics);
        let handles: Vec<_> = match self.sessions.get(&id) {
            Some(session) => session.handles.keys().copied().collect(),
            None => return,
        };
        for handle in handles {
            self.drop_handle(
                now,
                HandleRef {
                    session: id,
                    handle,
                },
                metrics,
            );
        }
        self.publish(now, metrics);
        if let Some(session) = self.sessions.remove(&id) {
            self.disown(id, session.owner, metrics);
            let drops = &mut metrics.gateway_events_dropped;
            let counter = match end {
                SessionEnd::Overflow => &mut drops.overflow,
                SessionEnd::Destroyed
                | SessionEnd::Shutdown
                | SessionEnd::Timeout
                | SessionEnd::TransportGone => &mut drops.session_ended,
            };
            *counter += session.events.queued() as u64;
        }
        for key in [Key::Poll(id), Key::Session(id), Key::Stream(id)] {
            self.timers.cancel(key);
        }
        let is_miscounted = match end {
            SessionEnd::Timeout => mutant!(SessionMiscounted),
            SessionEnd::TransportGone => mutant!(WsLossMiscounted),
            SessionEnd::Destroyed | SessionEnd::Overflow | SessionEnd::Shutdown => false,
        };
        if !is_miscounted {
            metrics.gateway_sessions -= 1;
        }
        if end != SessionEnd::Timeout {
            self.report_session(now, id, "{\"name\":\"destroyed\"}");
        }
        *end.counter(metrics) += 1;
        debug!(session = %id, ?end, "session ended");
    }

    /// Expires what is due and hands events to those who wait for them.
    pub fn flush(&mut self, now: Now, metrics: &mut Metrics) {
        self.announce(now);
        self.take_media_events(now, metrics);
        self.take_plain_events(now, metrics);
        for _ in 0..EXPIRIES_PER_TURN {
            let Some(key) = self.timers.expire(now.monotonic) else {
                break;
            };
            metrics.driver_timers_fired += 1;
            match key {
                Key::Capture(handle) => self.write_capture(now, handle),
                Key::Owed(ticket) => self.expire_owed(ticket),
                Key::Plugin(plugin) => {
                    self.call(now, plugin, |plugin, cx| plugin.woken(cx));
                    self.publish(now, metrics);
                }
                Key::Poll(id) => self.expire_polls(now, id, metrics),
                Key::Session(id) => self.expire_session(now, id, metrics),
                Key::Statistics(handle) => self.expire_statistics(now, handle),
                Key::Stream(id) => self.expire_stream(now, id, metrics),
            }
        }
        self.deliver(now, metrics);
    }

    fn expire_session(&mut self, now: Now, id: SessionId, metrics: &mut Metrics) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        match session.expires(self.runtime.session_timeout) {
            None => {}
            Some(_) if mutant!(SessionNeverEnds) => {}
            Some(at) if at > now.monotonic => self.timers.arm(Key::Session(id), at),
            Some(_) if session.is_unclaimed(now.monotonic) => {
                self.end_session(now, id, SessionEnd::TransportGone, metrics);
            }
            Some(_) => {
                self.tell_timeout(id, metrics);
                self.report_session(now, id, "{\"name\":\"timeout\"}");
                self.end_session(now, id, SessionEnd::Timeout, metrics);
            }
        }
    }

    /// Refuses new sessions and lets everybody go who waits for events.
    pub fn drain(&mut self, metrics: &mut Metrics) {
        self.is_draining = true;
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        for id in ids {
            self.release_listeners(id, PollEnd::Shutdown, metrics);
        }
    }

    /// Ends all sessions.
    pub fn end_all(&mut self, now: Now, metrics: &mut Metrics) {
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        for id in ids {
            self.end_session(now, id, SessionEnd::Shutdown, metrics);
        }
        self.media.stop_recordings();
        self.report_shutdown(now);
    }

    /// Whether files of recordings or captures are open.
    pub fn has_open_files(&self) -> bool {
        self.media.has_recordings() || !self.captures.is_empty()
    }

    /// Waits no longer for the files of recordings and captures.
    pub fn abandon_files(&mut self) {
        self.media.abandon_recordings();
        self.abandon_captures();
    }

    /// Uses another configuration from here on. Sessions keep the timeout that they began with.
    pub fn configure(&mut self, config: Arc<Config>) {
        self.auth
            .reload(&config.general, config.admin.secret.as_ref());
        self.runtime = Runtime::new(&config);
        self.transports = TransportSettings::new(&config);
        self.config = config;
    }

    /// Whether new sessions are let in.
    const fn is_accepting(&self) -> bool {
        self.is_open && !self.is_draining
    }

    /// Arms the end of a session that stays silent, or none.
    fn arm_session(&mut self, id: SessionId) {
        let session = self.sessions.get(&id);
        match session.and_then(|session| session.expires(self.runtime.session_timeout)) {
            Some(at) => self.timers.arm(Key::Session(id), at),
            None => self.timers.cancel(Key::Session(id)),
        }
    }

    /// Takes the next thing to say to a listener.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The PeerConnections, to feed with datagrams.
    pub fn media_mut(&mut self) -> &mut Media {
        &mut self.media
    }

    /// Adds what plugins count to a shard's metrics.
    pub fn add_plugins_to(&self, metrics: &mut Metrics) {
        for plugin in &self.plugins {
            plugin.add_to(metrics);
        }
    }

    /// The PeerConnections.
    pub const fn media(&self) -> &Media {
        &self.media
    }

    /// A transaction of our own, for requests that cannot carry one.
    pub fn draw_transaction(&mut self) -> String {
        self.rng.text(11)
    }

    /// What transports are set to.
    pub const fn transports(&self) -> &TransportSettings {
        &self.transports
    }

    /// Who may use the API.
    pub const fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Whether there are sessions.
    pub fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// When to call [`Self::flush`] again at the latest.
    pub fn deadline(&self) -> Option<Monotonic> {
        earliest(self.timers.next(), self.media.deadline())
    }
}

/// Deadlines that expire in one turn; more wait for the next one, which follows at once.
const EXPIRIES_PER_TURN: usize = 128;

fn earliest(a: Option<Monotonic>, b: Option<Monotonic>) -> Option<Monotonic> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A reply to `request` of a kind, with its session and transaction.
fn kind(request: &Envelope, kind: &str) -> Message {
    Message::new(kind)
        .session(request.session_shown())
        .transaction(Some(&request.transaction))
}

fn misplaced(verb: &str) -> ApiError {
    ApiError::new(
        ErrorCode::InvalidRequestPath,
        format!("Unhandled request '{verb}' at this path"),
    )
}

fn session_missing() -> ApiError {
    ApiError::new(ErrorCode::SessionNotFound, "Session not found")
}

fn not_accepting() -> ApiError {
    ApiError::new(
        ErrorCode::NotAcceptingSessions,
        "Currently not accepting new sessions",
    )
}
