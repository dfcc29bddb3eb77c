//! One session at the server, over a connection of its own: requests, and the events they cause.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::websocket::WebSocket;
use crate::client::complete;
use crate::target::{Scheme, Target, Url};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Polls without the event that is waited for.
const POLLS_MAX: usize = 100;

/// A session with one handle of the VideoRoom.
#[derive(Debug)]
pub(super) struct Session {
    wire: Wire,
    /// For messages to whoever reads of a failure.
    name: String,
    session: u64,
    handle: u64,
    requests: u64,
    /// Messages that came while another was waited for.
    early: VecDeque<Value>,
}

#[derive(Debug)]
enum Wire {
    Rest { stream: TcpStream, url: Url },
    Ws(WebSocket),
}

impl Session {
    /// Makes a session and attaches it to the plugin.
    pub(super) fn open(target: &Target) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", target.name);
        let url = &target.url;
        let stream = TcpStream::connect(url.address).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let wire = match url.scheme {
            Scheme::Http => Wire::Rest {
                stream,
                url: url.clone(),
            },
            Scheme::Ws => Wire::Ws(WebSocket::open(stream, url).map_err(failed)?),
        };
        let mut session = Self {
            wire,
            name: target.name.clone(),
            session: 0,
            handle: 0,
            requests: 0,
            early: VecDeque::new(),
        };
        session.session = session.id_of(json!({"janus": "create"}))?;
        let attach = json!({"janus": "attach", "plugin": "janus.plugin.videoroom"});
        session.handle = session.id_of(attach)?;
        Ok(session)
    }

    /// A plugin request that is answered at once.
    pub(super) fn ask(&mut self, body: Value) -> Result<Value, String> {
        let (_, reply) = self.request(json!({"janus": "message", "body": body}))?;
        data_of(&self.name, &reply)
    }

    /// A plugin request that is answered by an event: its data, and its session description.
    pub(super) fn tell(
        &mut self,
        body: Value,
        jsep: Option<(&str, String)>,
    ) -> Result<(Value, Option<String>), String> {
        let mut message = json!({"janus": "message", "body": body});
        if let Some((kind, sdp)) = jsep {
            message["jsep"] = json!({"type": kind, "sdp": sdp});
        }
        let (transaction, reply) = self.request(message)?;
        if reply["janus"] != "ack" {
            return Err(format!("{}: no ack: {reply}", self.name));
        }
        let event = self.event(&transaction)?;
        let data = data_of(&self.name, &event)?;
        let sdp = event["jsep"]["sdp"].as_str().map(str::to_owned);
        Ok((data, sdp))
    }

    /// Says that no more candidates follow.
    pub(super) fn end_of_candidates(&mut self) -> Result<(), String> {
        self.request(json!({"janus": "trickle", "candidate": {"completed": true}}))?;
        Ok(())
    }

    /// Keeps the session from being taken for dead.
    pub(super) fn keep_alive(&mut self) -> Result<(), String> {
        let handle = std::mem::take(&mut self.handle);
        let done = self.request(json!({"janus": "keepalive"}));
        self.handle = handle;
        done.map(|_| ())
    }

    /// Ends the session, with what it has.
    pub(super) fn close(mut self) -> Result<(), String> {
        self.handle = 0;
        self.request(json!({"janus": "destroy"})).map(|_| ())
    }

    fn id_of(&mut self, message: Value) -> Result<u64, String> {
        let (_, reply) = self.request(message)?;
        let id = reply["data"]["id"].as_u64();
        id.ok_or_else(|| format!("{}: no id: {reply}", self.name))
    }

    /// One request and its direct reply.
    fn request(&mut self, mut message: Value) -> Result<(String, Value), String> {
        self.requests += 1;
        let transaction = format!("t{}", self.requests);
        message["transaction"] = json!(transaction);
        let failed = |error: io::Error| format!("{}: {error}", self.name);
        let reply = match &mut self.wire {
            Wire::Rest { stream, url } => {
                let below = match (self.session, self.handle) {
                    (0, _) => String::new(),
                    (session, 0) => format!("/{session}"),
                    (session, handle) => format!("/{session}/{handle}"),
                };
                let request = url.post(&below, &message.to_string());
                rest(stream, &request).map_err(failed)?
            }
            Wire::Ws(socket) => {
                if self.session != 0 {
                    message["session_id"] = json!(self.session);
                }
                if self.handle != 0 {
                    message["handle_id"] = json!(self.handle);
                }
                socket.send(&message.to_string()).map_err(failed)?;
                loop {
                    let text = socket.receive().map_err(failed)?;
                    let value = parse(&text).map_err(failed)?;
                    if value["transaction"] == transaction && value["janus"] != "event" {
                        break value;
                    }
                    self.early.push_back(value);
                }
            }
        };
        if reply["janus"] == "error" {
            return Err(format!("{}: {message} got {reply}", self.name));
        }
        Ok((transaction, reply))
    }

    /// Waits for the event that a request led to. Others are of no interest.
    fn event(&mut self, transaction: &str) -> Result<Value, String> {
        let failed = |error: io::Error| format!("{}: {error}", self.name);
        for _ in 0..POLLS_MAX {
            let value = match (self.early.pop_front(), &mut self.wire) {
                (Some(early), _) => early,
                (None, Wire::Rest { stream, url }) => {
                    let below = format!("/{}?maxev=1", self.session);
                    rest(stream, &url.get(&below)).map_err(failed)?
                }
                (None, Wire::Ws(socket)) => {
                    let text = socket.receive().map_err(failed)?;
                    parse(&text).map_err(failed)?
                }
            };
            if value["janus"] == "event" && value["transaction"] == transaction {
                return Ok(value);
            }
        }
        Err(format!("{}: an event did not come", self.name))
    }
}

fn data_of(name: &str, reply: &Value) -> Result<Value, String> {
    let data = &reply["plugindata"]["data"];
    if data.is_object() && data.get("error_code").is_none() {
        Ok(data.clone())
    } else {
        Err(format!("{name}: refused: {reply}"))
    }
}

fn rest(stream: &mut TcpStream, request: &[u8]) -> io::Result<Value> {
    stream.write_all(request)?;
    let mut input = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::Error::other("the server closed before it had answered"));
        }
        input.extend_from_slice(&buffer[..count]);
        if let Some((answer, _)) = complete(&input).map_err(io::Error::other)? {
            let value = parse(&answer.body)?;
            // A poll that was asked for more than one event answers with a list.
            let first = value.as_array().and_then(|list| list.first()).cloned();
            return Ok(first.unwrap_or(value));
        }
    }
}

fn parse(text: &[u8]) -> io::Result<Value> {
    serde_json::from_slice(text).map_err(io::Error::other)
}
