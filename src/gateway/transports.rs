//! What the Admin API asks of transports, and changes of them while the gateway runs.
//!
//! Invariant: every shard has the same settings, as with those of [`runtime`](super::runtime).

use serde_json::{Value, json};

use crate::base::json::{Fields, Form};
use crate::config::{Config, SocketLog};
use crate::gateway::gather::{Change, Question};
use crate::gateway::queries::{Queried, Refusal, changed};
use crate::gateway::reports::Transport;

/// The settings of transports at this moment.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// The form of what the REST API answers.
    pub rest_json: Form,
    /// The form of what the Admin API answers over HTTP.
    pub admin_json: Form,
    /// Event handlers are told of HTTP requests.
    pub http_events: bool,
    /// The form of messages to WebSockets.
    pub ws_json: Form,
    /// Event handlers are told of WebSockets.
    pub ws_events: bool,
    /// What is logged of WebSockets.
    pub ws_logging: SocketLog,
}

/// What is to be changed of one transport. What is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportChange {
    transport: Transport,
    json: Option<Form>,
    events: Option<bool>,
    logging: Option<SocketLog>,
    notes: Vec<String>,
}

/// Connections of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Of the REST API, with TLS or without.
    pub http: u64,
    /// Of the Admin API over HTTP, with TLS or without.
    pub admin_http: u64,
    /// WebSockets of either API, on whatever port.
    pub sockets: u64,
    /// HTTP requests that wait for their answer, long polls aside.
    pub messages: u64,
}

impl std::iter::Sum for Connections {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            http: sum.http + one.http,
            admin_http: sum.admin_http + one.admin_http,
            sockets: sum.sockets + one.sockets,
            messages: sum.messages + one.messages,
        })
    }
}

impl Connections {
    /// The answer of a transport, as Janus' has it.
    pub(super) fn shown(self, transport: Transport) -> Value {
        match transport {
            Transport::Http => json!({
                "result": 200,
                "connections": {"http": self.http, "admin_http": self.admin_http},
                "messages": self.messages,
            }),
            Transport::WebSockets => json!({"result": 200, "connections": self.sockets}),
        }
    }
}

impl TransportSettings {
    pub(super) const fn new(config: &Config) -> Self {
        Self {
            rest_json: config.http.json,
            admin_json: config.admin.json,
            http_events: config.http.events,
            ws_json: config.ws.json,
            ws_events: config.ws.events,
            ws_logging: config.ws.logging,
        }
    }

    /// Makes a change.
    pub(super) const fn change(&mut self, change: &TransportChange) {
        match change.transport {
            Transport::Http => {
                if let Some(form) = change.json {
                    // One form for both listeners, as in Janus' file.
                    (self.rest_json, self.admin_json) = (form, form);
                }
                if let Some(events) = change.events {
                    self.http_events = events;
                }
            }
            Transport::WebSockets => {
                if let Some(form) = change.json {
                    self.ws_json = form;
                }
                if let Some(events) = change.events {
                    self.ws_events = events;
                }
                if let Some(logging) = change.logging {
                    self.ws_logging = logging;
                }
            }
        }
    }
}

impl TransportChange {
    /// What to say when it is made.
    pub(super) fn shown(&self) -> Value {
        changed(&self.notes)
    }
}

impl Transport {
    /// The transport of this name, if it is served.
    pub(super) fn served(package: &str, config: &Config) -> Option<Self> {
        [Self::Http, Self::WebSockets]
            .into_iter()
            .find(|transport| transport.package() == package && transport.is_served(config))
    }

    /// Whether anything listens for it.
    pub(super) fn is_served(self, config: &Config) -> bool {
        let ws = &config.ws;
        match self {
            Self::Http => config.http.enabled || config.admin.enabled,
            Self::WebSockets => {
                ws.enabled
                    || !ws.admin_bind.is_empty()
                    || !ws.admin_secure_bind.is_empty()
                    || (config.http.enabled && config.http.ws_path.is_some())
            }
        }
    }

    /// Reads what a transport is asked.
    pub(super) fn query(self, fields: &Fields<'_>, config: &Config) -> Result<Queried, Refusal> {
        match fields.need_str("request")? {
            "configure" => {
                let change = self.read_change(fields, config)?;
                Ok(Queried::Changed(Change::Transport(change)))
            }
            "connections" => Ok(Queried::Asked(Question::Connections(self))),
            other => Err(Refusal::unknown(other)),
        }
    }

    fn read_change(self, fields: &Fields<'_>, config: &Config) -> Result<TransportChange, Refusal> {
        let mut notes = Vec::new();
        let json = fields.may_str("json")?.and_then(|word| match word {
            "compact" => Some(Form::Compact),
            "indented" => Some(Form::Indented),
            "plain" => Some(Form::Plain),
            _ => {
                notes.push("Ignored unsupported indentation format".to_owned());
                None
            }
        });
        let events = fields.may_bool("events")?;
        if events == Some(true) && !config.events.enabled {
            notes.push("Event handlers disabled at the core level".to_owned());
        }
        let words = match self {
            Self::Http => None,
            Self::WebSockets => fields.may_str("logging")?,
        };
        let logging = words.and_then(|words| {
            let logging = SocketLog::parse(words);
            if logging.is_none() {
                notes.push("Ignored unsupported logging level".to_owned());
            }
            logging
        });
        Ok(TransportChange {
            transport: self,
            json,
            events,
            logging,
            notes,
        })
    }
}
