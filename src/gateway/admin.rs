//! The Admin API: requests read and checked, and carried out where they belong.
//!
//! A request about one session or handle is executed by the shard that owns the session. A
//! question about all of them is put to every shard, and so is a change of what all of them share;
//! [`Gather`](super::gather::Gather) makes one reply of their answers.

use serde_json::{Map, Value, json};
use tracing::info;

use crate::base::clock::Now;
use crate::base::error::{ApiError, ErrorCode};
use crate::base::id::{HandleId, HandleRef, SessionId};
use crate::base::json::Fields;
use crate::gateway::capture::CaptureAsked;
use crate::gateway::gather::{Change, Part, Question, Subject};
use crate::gateway::outside::{Family, Sought};
use crate::gateway::queries::{Queried, Target};
use crate::gateway::reply::{Message, Reply};
use crate::gateway::request::{Envelope, HandleField};
use crate::gateway::runtime::{Knob, Runtime};
use crate::gateway::session::{Origin, SessionEnd, Timeout};
use crate::gateway::tokens::{TokenAct, TokenChange};
use crate::gateway::{Gateway, handle_info, kind, misplaced, session_missing};
use crate::metrics::Metrics;
use crate::wire::capture::CaptureForm;

/// Where an Admin request goes.
#[derive(Debug)]
pub enum AdminRoute {
    /// It is answered already.
    Answered(Reply),
    /// To nobody else: the reply follows by [`Gateway::take_replies`].
    Later,
    /// To the shard that owns this session.
    Owner(SessionId),
    /// To all shards.
    Shards(Subject),
}

/// A request that names neither session nor handle.
#[derive(Debug)]
enum Root<'a> {
    Ask(Question),
    Change(Change),
    Event {
        schema: &'a str,
        data: &'a Map<String, Value>,
    },
    Logline {
        line: &'a str,
    },
    Message {
        plugin: &'a str,
        request: &'a Map<String, Value>,
    },
    Query {
        target: Target<'a>,
        query: Option<&'a Map<String, Value>>,
    },
    Resolve {
        address: &'a str,
    },
    Status,
    Stun {
        address: &'a str,
        port: u16,
        local_port: u16,
    },
    Tokens,
}

impl<'a> Root<'a> {
    /// Reads a request; `None` when there is no such verb.
    fn parse(verb: &str, fields: &Fields<'a>) -> Option<Result<Self, ApiError>> {
        let query = |name, target: fn(&'a str) -> Target<'a>| {
            let target = target(fields.need_str(name)?);
            let query = fields.may_object("request")?;
            Ok(Self::Query { target, query })
        };
        let token =
            |act| token_change(act, fields).map(|change| Self::Change(Change::Token(change)));
        Some(match verb {
            "accept_new_sessions" => {
                let accept = fields.need_bool("accept");
                accept.map(|accept| Self::Change(Change::Accept(accept)))
            }
            "add_token" => token(TokenAct::Add),
            "allow_token" => token(TokenAct::Allow),
            "custom_event" => fields.need_str("schema").and_then(|schema| {
                let data = fields.need_object("data")?;
                Ok(Self::Event { schema, data })
            }),
            "custom_logline" => fields.need_str("line").and_then(|line| {
                fields.may_u64("level")?;
                Ok(Self::Logline { line })
            }),
            "disallow_token" => token(TokenAct::Disallow),
            "get_status" => Ok(Self::Status),
            "list_sessions" => Ok(Self::Ask(Question::Sessions)),
            "list_tokens" => Ok(Self::Tokens),
            "loops_info" => Ok(Self::Ask(Question::Handles)),
            "message_plugin" => fields.need_str("plugin").and_then(|plugin| {
                let request = fields.need_object("request")?;
                Ok(Self::Message { plugin, request })
            }),
            "query_eventhandler" => query("handler", Target::Handler),
            "query_logger" => query("logger", |_| Target::Logger),
            "query_transport" => query("transport", Target::Transport),
            "remove_token" => token(TokenAct::Remove),
            "resolve_address" => fields
                .need_str("address")
                .map(|address| Self::Resolve { address }),
            "test_stun" => fields.need_str("address").and_then(|address| {
                let port = |name, number: u64| {
                    u16::try_from(number).map_err(|_| ApiError::invalid_type(name, "a port"))
                };
                let local_port = fields.may_u64("localport")?.unwrap_or(0);
                Ok(Self::Stun {
                    address,
                    port: port("port", fields.need_u64("port")?)?,
                    local_port: port("localport", local_port)?,
                })
            }),
            verb => {
                return Knob::parse(verb, fields).map(|knob| Ok(Self::Change(Change::Knob(knob?))));
            }
        })
    }
}

fn token_change(act: TokenAct, fields: &Fields<'_>) -> Result<TokenChange, ApiError> {
    let token = fields.need_str("token")?.into();
    let plugins = match act {
        TokenAct::Add => fields.may_array("plugins")?,
        TokenAct::Allow | TokenAct::Disallow => Some(fields.need_array("plugins")?),
        TokenAct::Remove => None,
    };
    // What is no text names no plugin, and is passed over or refused as such.
    let names = plugins.into_iter().flatten();
    let names = names.map(|name| name.as_str().unwrap_or_default().into());
    Ok(TokenChange {
        act,
        token,
        plugins: names.collect(),
    })
}

/// A request for one session.
#[derive(Debug)]
enum OfSession {
    Destroy,
    ListHandles,
    SetTimeout(Timeout),
}

impl OfSession {
    fn parse(verb: &str, fields: &Fields<'_>) -> Option<Result<Self, ApiError>> {
        Some(match verb {
            "destroy_session" => Ok(Self::Destroy),
            "list_handles" => Ok(Self::ListHandles),
            "set_session_timeout" => fields.need_i64("timeout").and_then(|seconds| {
                let timeout = Timeout::from_seconds(seconds);
                timeout.map(Self::SetTimeout).ok_or_else(|| {
                    ApiError::invalid_type("timeout", "a non-negative integer or -1")
                })
            }),
            _ => return None,
        })
    }
}

/// A request for one handle.
#[derive(Debug)]
enum OfHandle {
    Capture(CaptureAsked),
    Detach,
    Hangup,
    Info(handle_info::Extent),
    StopCapture,
}

impl OfHandle {
    fn parse(verb: &str, fields: &Fields<'_>) -> Option<Result<Self, ApiError>> {
        Some(match verb {
            "detach_handle" => Ok(Self::Detach),
            "handle_info" => fields.may_bool("plugin_only").map(|plugin_only| {
                Self::Info(match plugin_only {
                    Some(true) => handle_info::Extent::Plugin,
                    Some(false) | None => handle_info::Extent::Whole,
                })
            }),
            "hangup_webrtc" => Ok(Self::Hangup),
            "start_pcap" => CaptureAsked::parse(CaptureForm::Pcapng, fields).map(Self::Capture),
            "start_text2pcap" => CaptureAsked::parse(CaptureForm::Text, fields).map(Self::Capture),
            "stop_pcap" | "stop_text2pcap" => Ok(Self::StopCapture),
            _ => return None,
        })
    }
}

impl Gateway {
    /// Answers an Admin request where any shard can, and says where the others belong.
    pub fn route_admin(
        &mut self,
        now: Now,
        origin: Origin,
        request: &Envelope,
        metrics: &mut Metrics,
    ) -> AdminRoute {
        let fail = |fault: &ApiError| AdminRoute::Answered(request.fail(fault));
        let verb = request.verb.to_ascii_lowercase();
        let is_root = request.session == 0 && request.handle == HandleField::Absent;
        match verb.as_str() {
            "ping" if is_root => {
                let pong = Message::new("pong").transaction(Some(&request.transaction));
                return AdminRoute::Answered(pong.finish());
            }
            "info" if is_root => return AdminRoute::Answered(self.info(&request.transaction)),
            _ => {}
        }
        if !is_root && (request.session == 0 || request.handle == HandleField::Invalid) {
            return fail(&session_missing());
        }
        let secret = request.fields().get("admin_secret").and_then(Value::as_str);
        if !self.auth.allows_admin(secret) {
            return fail(&ApiError::unauthorized());
        }
        if !is_root {
            return AdminRoute::Owner(SessionId(request.session));
        }
        match Root::parse(&verb, &request.fields()) {
            None => fail(&misplaced(&request.verb)),
            Some(Err(fault)) => fail(&fault),
            Some(Ok(Root::Ask(question))) => AdminRoute::Shards(Subject::Asked(question)),
            Some(Ok(Root::Change(change))) => AdminRoute::Shards(Subject::Changed(change)),
            Some(Ok(Root::Query { target, query })) => match self.query(target, query) {
                Err(fault) => fail(&fault),
                Ok(Queried::Answered(response)) => {
                    let reply = kind(request, "success").value("response", &response);
                    AdminRoute::Answered(reply.finish())
                }
                Ok(Queried::Asked(question)) => AdminRoute::Shards(Subject::Asked(question)),
                Ok(Queried::Changed(change)) => AdminRoute::Shards(Subject::Changed(change)),
            },
            Some(Ok(Root::Message {
                plugin,
                request: body,
            })) => self.message_plugin(now, origin, request, (plugin, body), metrics),
            Some(Ok(Root::Resolve { address })) => {
                let sought = Sought::Host(Family::Any);
                self.seek(now, origin, request, address, sought)
            }
            Some(Ok(Root::Stun {
                address,
                port,
                local_port,
            })) => {
                let sought = Sought::Mapped { port, local_port };
                self.seek(now, origin, request, address, sought)
            }
            Some(Ok(root)) => {
                let message = self.at_root(now, request, &root);
                let reply = message.map_or_else(|fault| request.fail(&fault), Message::finish);
                AdminRoute::Answered(reply)
            }
        }
    }

    fn at_root(
        &mut self,
        now: Now,
        request: &Envelope,
        root: &Root<'_>,
    ) -> Result<Message, ApiError> {
        let success = kind(request, "success");
        Ok(match root {
            Root::Event { schema, data } => {
                self.report_custom(now, schema, data);
                success
            }
            Root::Logline { line } => {
                info!(line, "custom log line");
                success
            }
            Root::Status => {
                let status = self.runtime.status(&self.config, self.auth.has_tokens());
                success.value("status", &status)
            }
            Root::Tokens => {
                let tokens = self.auth.list_tokens()?;
                success.value("data", &json!({ "tokens": tokens }))
            }
            Root::Ask(_)
            | Root::Change(_)
            | Root::Message { .. }
            | Root::Query { .. }
            | Root::Resolve { .. }
            | Root::Stun { .. } => unreachable!("these are not answered here, or not at once"),
        })
    }

    /// Executes an Admin request on the shard that owns its session. The reply may come later, with
    /// [`Gateway::take_replies`].
    pub fn execute_admin(
        &mut self,
        now: Now,
        origin: Origin,
        request: &Envelope,
        metrics: &mut Metrics,
    ) -> Option<Reply> {
        let outcome = self.of_session(now, origin, request, metrics);
        outcome.unwrap_or_else(|fault| Some(request.fail(&fault)))
    }

    fn of_session(
        &mut self,
        now: Now,
        origin: Origin,
        request: &Envelope,
        metrics: &mut Metrics,
    ) -> Result<Option<Reply>, ApiError> {
        let id = SessionId(request.session);
        let Some(session) = self.sessions.get_mut(&id) else {
            let reason = format!("No such session {id}");
            return Err(ApiError::new(ErrorCode::SessionNotFound, reason));
        };
        let verb = request.verb.to_ascii_lowercase();
        let fields = request.fields();
        if let HandleField::Named(named) = request.handle {
            let handle = HandleId(named);
            if !session.handles.contains_key(&handle) {
                let reason = format!("No such handle {handle} in session {id}");
                return Err(ApiError::new(ErrorCode::HandleNotFound, reason));
            }
            let asked = OfHandle::parse(&verb, &fields);
            let asked = asked.ok_or_else(|| misplaced(&request.verb))??;
            let handle = HandleRef {
                session: id,
                handle,
            };
            return Ok(Some(match asked {
                OfHandle::Capture(asked) => {
                    self.start_capture(now, origin, handle, request, &asked)?;
                    return Ok(None);
                }
                OfHandle::StopCapture => {
                    self.stop_capture(now, origin, handle, request)?;
                    return Ok(None);
                }
                OfHandle::Detach => self.detach(now, handle, request, metrics),
                OfHandle::Hangup => self.hangup(now, handle, request, "Admin API", metrics),
                OfHandle::Info(extent) => {
                    let info = self.handle_info(now, handle, extent);
                    kind(request, "success")
                        .integer("handle_id", named)
                        .value("info", &info)
                        .finish()
                }
            }));
        }
        let asked = OfSession::parse(&verb, &fields);
        let asked = asked.ok_or_else(|| misplaced(&request.verb))??;
        let success = kind(request, "success");
        Ok(Some(match asked {
            OfSession::Destroy => {
                self.end_session(now, id, SessionEnd::Destroyed, metrics);
                success.finish()
            }
            OfSession::ListHandles => {
                let handles = session.handles.keys().map(|handle| handle.0);
                success.value("handles", &handles.collect()).finish()
            }
            OfSession::SetTimeout(timeout) => {
                session.timeout = timeout;
                let shown = timeout.seconds();
                self.arm_session(id);
                success.value("timeout", &shown.into()).finish()
            }
        }))
    }

    /// This shard's answer to a question, or `None` when it is not the gateway's to answer.
    pub fn answer_question(&self, question: Question) -> Option<Part> {
        match question {
            Question::Connections(_) => None,
            Question::Handles => {
                let handles = self
                    .sessions
                    .values()
                    .map(|session| session.handles.len() as u64);
                Some(Part::Handles(handles.sum()))
            }
            Question::Sessions => {
                let ids = self.sessions.keys().map(|id| id.0);
                Some(Part::Sessions(ids.collect()))
            }
        }
    }

    /// Makes a change on this shard.
    pub fn apply(&mut self, now: Now, change: &Change) -> Part {
        Part::Applied(match change {
            Change::Accept(is_on) => {
                self.is_open = *is_on;
                Ok(None)
            }
            Change::Handler(tweak) => {
                self.tweak(now, tweak);
                Ok(None)
            }
            Change::Knob(knob) => {
                self.turn(*knob);
                Ok(None)
            }
            Change::Token(change) => {
                let known: Vec<_> = self
                    .plugins
                    .iter()
                    .map(|each| each.info().package)
                    .collect();
                self.auth.change_tokens(change, &known)
            }
            Change::Transport(change) => {
                self.transports.change(change);
                Ok(None)
            }
        })
    }

    fn turn(&mut self, knob: Knob) {
        self.runtime.turn(knob);
        let Runtime {
            no_media_timer,
            slowlink_threshold,
            min_nack_queue,
            ..
        } = self.runtime;
        match knob {
            Knob::MinNackQueue(_) | Knob::NoMediaTimer(_) | Knob::SlowlinkThreshold(_) => {
                self.media
                    .watch(no_media_timer, slowlink_threshold, min_nack_queue);
            }
            Knob::SessionTimeout(_) => {
                let ids: Vec<_> = self.sessions.keys().copied().collect();
                for id in ids {
                    self.arm_session(id);
                }
            }
            Knob::LogLevel(_)
            | Knob::LockingDebug(_)
            | Knob::LogColors(_)
            | Knob::LogTimestamps(_)
            | Knob::NackOptimizations(_)
            | Knob::RefcountDebug(_) => {}
        }
    }
}
