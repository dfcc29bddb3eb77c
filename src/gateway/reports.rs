//! What event handlers are told: one JSON object for everything that happens.
//!
//! Invariant: reports wait here for the end of the turn only, and no more than
//! [`REPORTS_MAX`] of them; what is too many is dropped and counted, never waited for.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::base::clock::{Now, Realtime};
use crate::base::id::{HandleRef, SessionId};
use crate::base::json::push_string;
use crate::config::{Config, EventsConfig, ReportKind};
use crate::gateway::Gateway;
use crate::gateway::session::Origin;
use crate::gateway::tweaks::{HandlerSettings, Tweak};

/// Reports of one turn of one shard.
const REPORTS_MAX: usize = 4_096;

/// One report: its kind, by which handlers choose, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is about.
    pub kind: ReportKind,
    /// Compact JSON, shared by all handlers.
    pub text: Arc<str>,
}

/// What carries requests, by the name that Janus has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP.
    Http,
    /// WebSocket.
    WebSockets,
}

impl Transport {
    pub(super) const fn package(self) -> &'static str {
        match self {
            Self::Http => "janus.transport.http",
            Self::WebSockets => "janus.transport.websockets",
        }
    }
}

/// How many sessions, handles and PeerConnections there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Sessions.
    pub sessions: u64,
    /// Handles.
    pub handles: u64,
    /// PeerConnections.
    pub peers: u64,
}

impl std::iter::Sum for Census {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            sessions: sum.sessions + one.sessions,
            handles: sum.handles + one.handles,
            peers: sum.peers + one.peers,
        })
    }
}

/// Whom a report is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About<'a> {
    pub(super) session: Option<SessionId>,
    pub(super) handle: Option<HandleRef>,
    pub(super) opaque_id: Option<&'a str>,
}

/// The reports of the turn at hand.
#[derive(Debug)]
pub(super) struct Reports {
    /// Bits of the kinds that some handler wants; zero while there is none.
    wanted: u16,
    /// What handlers are set to at this moment.
    events: EventsConfig,
    /// The beginning of every report, up to its type.
    head: String,
    waiting: Vec<Report>,
    dropped: u64,
}

impl Reports {
    /// Starts without reports; those that no handler wants are not made.
    pub(super) fn new(config: &Config) -> Self {
        let mut head = String::from("{\"emitter\":");
        push_string(&mut head, &config.general.server_name);
        Self {
            wanted: config.events.wanted(),
            events: config.events.clone(),
            head,
            waiting: Vec::new(),
            dropped: 0,
        }
    }

    /// Changes a handler, and returns what it is set to then.
    pub(super) fn tweak(&mut self, tweak: &Tweak) -> HandlerSettings {
        let settings = tweak.make(&mut self.events);
        self.wanted = self.events.wanted();
        settings
    }

    /// Whether reports of this kind are worth making.
    pub(super) const fn wants(&self, kind: ReportKind) -> bool {
        self.wanted & kind.bit() != 0
    }

    /// Adds a report. `event` is JSON.
    pub(super) fn push(
        &mut self,
        at: Realtime,
        (kind, subtype): (ReportKind, Option<u8>),
        about: About<'_>,
        event: &str,
    ) {
        if !self.wants(kind) {
            return;
        }
        if self.waiting.len() >= REPORTS_MAX {
            self.dropped += 1;
            return;
        }
        let mut text = String::with_capacity(self.head.len() + event.len() + 160);
        text.push_str(&self.head);
        let _ = write!(text, ",\"type\":{}", kind.bit());
        if let Some(subtype) = subtype {
            let _ = write!(text, ",\"subtype\":{subtype}");
        }
        let _ = write!(text, ",\"timestamp\":{}", at.unix_micros());
        let session = about.session.or(about.handle.map(|handle| handle.session));
        if let Some(session) = session {
            let _ = write!(text, ",\"session_id\":{session}");
        }
        if let Some(handle) = about.handle {
            let _ = write!(text, ",\"handle_id\":{}", handle.handle);
        }
        if let Some(opaque_id) = about.opaque_id {
            text.push_str(",\"opaque_id\":");
            push_string(&mut text, opaque_id);
        }
        let _ = write!(text, ",\"event\":{event}}}");
        let text = text.into();
        self.waiting.push(Report { kind, text });
    }
}

impl Gateway {
    /// Moves the reports of this turn to the end of `out`, and says how many were dropped.
    pub fn take_reports(&mut self, out: &mut Vec<Report>) -> u64 {
        out.append(&mut self.reports.waiting);
        std::mem::take(&mut self.reports.dropped)
    }

    /// Reports that the gateway has started, once, by one shard.
    pub(super) fn announce(&mut self, now: Now) {
        if std::mem::replace(&mut self.is_announced, true) || self.id.0 > 0 {
            return;
        }
        if self.reports.wants(ReportKind::Core) {
            let info = self
                .info("")
                .into_text()
                .replacen(",\"transaction\":\"\"", "", 1);
            let event = format!("{{\"status\":\"started\",\"info\":{info}}}");
            let kind = (ReportKind::Core, Some(1));
            self.reports
                .push(now.realtime, kind, About::default(), &event);
        }
    }

    /// Reports that the gateway stops, by the one shard that reported its start.
    pub(super) fn report_shutdown(&mut self, now: Now) {
        if self.id.0 == 0 {
            let event = match self.signal {
                Some(signal) => format!("{{\"status\":\"shutdown\",\"signum\":{signal}}}"),
                None => "{\"status\":\"shutdown\"}".to_owned(),
            };
            let kind = (ReportKind::Core, Some(2));
            self.reports
                .push(now.realtime, kind, About::default(), &event);
        }
    }

    /// Notes the number of the signal by which the process is asked to stop.
    pub const fn note_signal(&mut self, signal: i32) {
        self.signal = Some(signal);
    }

    /// Whether event handlers want reports of this kind.
    pub const fn reports(&self, kind: ReportKind) -> bool {
        self.reports.wants(kind)
    }

    /// Reports how many of everything there are, on all shards.
    pub fn report_census(&mut self, now: Now, census: Census) {
        let period = self.config.events.stats_period.unwrap_or_default();
        let event = serde_json::json!({"status": "update", "info": {
            "sessions": census.sessions,
            "handles": census.handles,
            "peerconnections": census.peers,
            "stats-period": period.as_secs(),
        }});
        let kind = (ReportKind::Core, Some(1));
        self.reports
            .push(now.realtime, kind, About::default(), &event.to_string());
    }

    /// Reports something of a transport: of the connection or request of this name.
    pub fn report_transport(
        &mut self,
        now: Now,
        transport: Transport,
        origin: Origin,
        data: &Value,
    ) {
        let event = serde_json::json!({
            "transport": transport.package(), "id": origin.number().to_string(), "data": data,
        });
        let kind = (ReportKind::Transports, None);
        self.reports
            .push(now.realtime, kind, About::default(), &event.to_string());
    }

    /// Reports something of a handle, with its opaque id.
    pub(super) fn report_handle(
        &mut self,
        at: Realtime,
        kind: (ReportKind, Option<u8>),
        handle: HandleRef,
        event: &str,
    ) {
        let session = self.sessions.get(&handle.session);
        let entry = session.and_then(|session| session.handles.get(&handle.handle));
        let about = About {
            session: None,
            handle: Some(handle),
            opaque_id: entry.and_then(|entry| entry.opaque_id.as_deref()),
        };
        self.reports.push(at, kind, about, event);
    }

    /// Reports something of a session.
    pub(super) fn report_session(&mut self, now: Now, session: SessionId, event: &str) {
        let about = About {
            session: Some(session),
            ..About::default()
        };
        self.reports
            .push(now.realtime, (ReportKind::Sessions, None), about, event);
    }

    /// Reports what the Admin API asks to be told.
    pub(super) fn report_custom(&mut self, now: Now, schema: &str, data: &Map<String, Value>) {
        let event = serde_json::json!({"schema": schema, "data": data}).to_string();
        let kind = (ReportKind::External, None);
        self.reports
            .push(now.realtime, kind, About::default(), &event);
    }
}
