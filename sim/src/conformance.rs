//! One conversation for every level: what a client says, and what it hears, without what differs
//! from run to run. Whoever drives the gateway drives this beside it.
//!
//! Invariant: the transcript names no id, no length and no time; everything else that an
//! application sees is in it, in the order in which it was seen.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::models::request::Request;

/// A connection of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// For requests that are answered at once.
    Control,
    /// For long polls.
    Poll,
    /// A WebSocket.
    Socket,
}

/// What a client does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Waits for the oldest answer that is due, or for the next message of the socket.
    Await(Line),
    /// Does nothing for a while, so that what was asked has arrived.
    Rest(Duration),
    /// Says something on its socket.
    Say(String),
    /// Sends a request.
    Send(Line, Request),
}

/// The fields of an answer that applications go by.
const FIELDS: [&str; 6] = [
    "access-control-allow-origin",
    "allow",
    "cache-control",
    "connection",
    "content-type",
    "transfer-encoding",
];

/// A client that follows a script.
#[derive(Debug, Default)]
pub struct Conversation {
    /// What its transactions begin with: no two conversations share one.
    name: &'static str,
    steps: VecDeque<Step>,
    /// What ids are called in the transcript.
    names: BTreeMap<u64, &'static str>,
    transcript: Vec<String>,
}

/// A line of the script, with names for ids.
#[derive(Clone, Debug)]
enum Step {
    Await(Line),
    Get(Line, &'static str),
    Post(&'static str, Value),
    Rest,
    Say(Value),
    With(&'static str, &'static str),
}

/// Long enough for a request to have arrived, on a busy machine, too.
const REST: Duration = Duration::from_millis(400);
const SESSION: &str = "/janus/{session}";
const HANDLE: &str = "/janus/{session}/{handle}";
const MANY: &str = "/janus/{session}?maxev=5";

impl Conversation {
    /// The REST API, from the first request of a session to its end and beyond.
    pub fn rest() -> Self {
        let message = json!({"janus": "message", "body": {"audio": true}});
        Self::named("rest-")
            .post("/janus", json!({"janus": "ping"}))
            .post("/janus", json!({"janus": "create"}))
            .post(SESSION, json!({"janus": "attach", "plugin": ECHOTEST}))
            // Events that wait for their poll: one of them, then the others.
            .post(HANDLE, message.clone())
            .post(HANDLE, message.clone())
            .post(HANDLE, message.clone())
            .then(Step::Get(Line::Poll, SESSION))
            .then(Step::Await(Line::Poll))
            .then(Step::Get(Line::Poll, MANY))
            .then(Step::Await(Line::Poll))
            // A poll that waits for its event.
            .then(Step::Get(Line::Poll, MANY))
            .then(Step::Rest)
            .post(HANDLE, message)
            .then(Step::Await(Line::Poll))
            // What is refused, and how.
            .post(HANDLE, json!({"janus": "message"}))
            .post(HANDLE, json!({"janus": "sing"}))
            .post("/janus/1", json!({"janus": "keepalive"}))
            .post(SESSION, json!([]))
            .with("PUT", "/janus")
            .with("OPTIONS", "/janus")
            .with("GET", "/elsewhere")
            // Polls that their handle and their session do not outlive.
            .then(Step::Get(Line::Poll, MANY))
            .then(Step::Rest)
            .post(HANDLE, json!({"janus": "detach"}))
            .then(Step::Await(Line::Poll))
            .then(Step::Get(Line::Poll, MANY))
            .then(Step::Rest)
            .post(SESSION, json!({"janus": "destroy"}))
            .then(Step::Await(Line::Poll))
            .then(Step::Get(Line::Poll, SESSION))
            .then(Step::Await(Line::Poll))
    }

    /// The same on a WebSocket.
    pub fn socket() -> Self {
        let of_session = |mut request: Value| {
            request["session_id"] = json!("{session}");
            request
        };
        let of_handle = |request: Value| {
            let mut request = of_session(request);
            request["handle_id"] = json!("{handle}");
            request
        };
        let message = of_handle(json!({"janus": "message", "body": {"audio": true}}));
        Self::named("socket-")
            .say(json!({"janus": "ping"}), 1)
            .say(json!({"janus": "create"}), 1)
            .say(
                of_session(json!({"janus": "attach", "plugin": ECHOTEST})),
                1,
            )
            // An acknowledgement and an event each.
            .say(message.clone(), 2)
            .say(message, 2)
            .say(of_handle(json!({"janus": "message"})), 1)
            .say(of_handle(json!({"janus": "sing"})), 1)
            .say(json!({"janus": "keepalive", "session_id": 1}), 1)
            .say(of_session(json!({"janus": "keepalive"})), 1)
            .say(of_handle(json!({"janus": "detach"})), 2)
            .say(of_session(json!({"janus": "destroy"})), 1)
    }

    /// The next thing to do; `None` when the script is over.
    pub fn next_act(&mut self) -> Option<Act> {
        Some(match self.steps.pop_front()? {
            Step::Await(line) => Act::Await(line),
            Step::Get(line, path) => self.request(line, Request::new("GET", self.filled(path))),
            Step::Post(path, body) => {
                let body = self.filled(&body.to_string());
                let request = Request::post(self.filled(path), body);
                self.request(Line::Control, request)
            }
            Step::Rest => Act::Rest(REST),
            Step::Say(request) => {
                // Names of ids are strings until they are known.
                let text = self.filled(&request.to_string());
                self.note(Line::Socket, &format!("says {}", self.plain(&text)));
                Act::Say(text)
            }
            Step::With(method, path) => {
                self.request(Line::Control, Request::new(method, self.filled(path)))
            }
        })
    }

    /// Takes in an answer: its status, its fields with names in lower case, its body.
    pub fn answered(&mut self, line: Line, status: u16, fields: &[(String, String)], body: &[u8]) {
        let mut text = format!("gets {status}");
        for name in FIELDS {
            let values = fields.iter().filter(|field| field.0 == name);
            for (_, value) in values {
                let _ = write!(text, ", {name}: {value}");
            }
        }
        let body = String::from_utf8_lossy(body);
        self.learn(&body);
        let _ = write!(text, ", {}", self.plain(&body));
        self.note(line, &text);
    }

    /// Takes in a message of the socket.
    pub fn heard(&mut self, text: &str) {
        self.learn(text);
        self.note(Line::Socket, &format!("hears {}", self.plain(text)));
    }

    /// What was said and heard.
    pub fn transcript(&self) -> &[String] {
        &self.transcript
    }

    fn named(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    fn post(self, path: &'static str, body: Value) -> Self {
        let body = self.marked(body);
        self.then(Step::Post(path, body))
            .then(Step::Await(Line::Control))
    }

    fn with(self, method: &'static str, path: &'static str) -> Self {
        self.then(Step::With(method, path))
            .then(Step::Await(Line::Control))
    }

    fn say(self, request: Value, replies: usize) -> Self {
        let request = self.marked(request);
        let said = self.then(Step::Say(request));
        (0..replies).fold(said, |said, _| said.then(Step::Await(Line::Socket)))
    }

    /// With a transaction of its own.
    fn marked(&self, mut request: Value) -> Value {
        let transaction = format!("{}{}", self.name, self.steps.len());
        if let Some(fields) = request.as_object_mut() {
            fields.insert("transaction".to_owned(), json!(transaction));
        }
        request
    }

    fn request(&mut self, line: Line, request: Request) -> Act {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let (method, target) = (&request.method, self.plain(&request.target));
        let text = format!("sends {method} {target} {}", self.plain(&body));
        self.note(line, text.trim_end());
        Act::Send(line, request)
    }

    fn note(&mut self, line: Line, text: &str) {
        self.transcript.push(format!("{line:?} {text}"));
    }

    /// The first two ids that a success tells are those of the session and of its handle.
    fn learn(&mut self, text: &str) {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        if let Some(id) = value.pointer("/data/id").and_then(Value::as_u64)
            && let Some(name) = ["{session}", "{handle}"].get(self.names.len())
        {
            self.names.insert(id, name);
        }
    }

    /// With ids for their names.
    fn filled(&self, text: &str) -> String {
        let named = self.names.iter();
        named.fold(text.to_owned(), |text, (id, name)| {
            let id = id.to_string();
            text.replace(&format!("\"{name}\""), &id).replace(name, &id)
        })
    }

    /// With names for ids.
    fn plain(&self, text: &str) -> String {
        let named = self.names.iter();
        named.fold(text.to_owned(), |text, (id, name)| {
            text.replace(&id.to_string(), name)
        })
    }
}

const ECHOTEST: &str = "janus.plugin.echotest";
