//! What the Admin API asks of event handlers, and changes of them while the gateway runs.
//!
//! Invariant: every shard makes the reports that some handler wants, and one of them tells the
//! platform how handlers are set, so that the last change is the one that counts.

use std::time::Duration;

use serde_json::Value;

use crate::base::clock::Now;
use crate::base::id::HandleRef;
use crate::base::json::Fields;
use crate::config::{
    Backend, EventsConfig, PostConfig, ReportKind, ReportMask, Secret, SocketConfig,
};
use crate::gateway::Gateway;
use crate::gateway::gather::Change;
use crate::gateway::queries::{Queried, Refusal, changed};

/// An event handler with what it is set to.
#[derive(Clone, Debug, PartialEq)]
pub enum HandlerSettings {
    /// The one that posts to an HTTP server.
    Post(PostConfig),
    /// The one that sends to a WebSocket server.
    Ws(SocketConfig),
}

/// An event handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handler {
    Post,
    Ws,
}

/// What is to be changed of one handler. What is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tweak {
    handler: Handler,
    mask: Option<ReportMask>,
    grouping: Option<bool>,
    backend: Option<Backend>,
    /// Empty is none.
    user: Option<String>,
    password: Option<Secret>,
    backoff: Option<Duration>,
    compress: Option<bool>,
    compression: Option<u8>,
    notes: Vec<String>,
}

impl Handler {
    /// The name that Janus has for it.
    pub(super) const fn package(self) -> &'static str {
        match self {
            Self::Post => "janus.eventhandler.sampleevh",
            Self::Ws => "janus.eventhandler.wsevh",
        }
    }

    /// The handler of this name, if it runs.
    pub(super) fn running(package: &str, config: &EventsConfig) -> Option<Self> {
        [Self::Post, Self::Ws]
            .into_iter()
            .find(|handler| handler.package() == package && handler.runs(config))
    }

    /// Whether it was started.
    pub(super) const fn runs(self, config: &EventsConfig) -> bool {
        config.enabled
            && match self {
                Self::Post => config.post.enabled,
                Self::Ws => config.ws.enabled,
            }
    }

    /// Reads what a handler is asked.
    pub(super) fn query(self, fields: &Fields<'_>) -> Result<Queried, Refusal> {
        match fields.need_str("request")? {
            "tweak" => {
                let tweak = self.read_tweak(fields)?;
                Ok(Queried::Changed(Change::Handler(Box::new(tweak))))
            }
            other => Err(Refusal::unknown(other)),
        }
    }

    fn read_tweak(self, fields: &Fields<'_>) -> Result<Tweak, Refusal> {
        let mut notes = Vec::new();
        let words = fields.may_str("events")?;
        let mut tweak = Tweak {
            handler: self,
            mask: words.map(|words| read_mask(words, &mut notes)),
            grouping: fields.may_bool("grouping")?,
            backend: self.read_backend(fields)?,
            user: None,
            password: None,
            backoff: None,
            compress: None,
            compression: None,
            notes: Vec::new(),
        };
        match self {
            Self::Post => {
                tweak.user = fields.may_str("backend_user")?.map(str::to_owned);
                tweak.password = fields.may_str("backend_pwd")?.map(Secret::new);
                if fields.may_u64("max_retransmissions")?.is_some() {
                    notes.push("Reports are sent again until they are taken".to_owned());
                }
                let backoff = fields.may_u64("retransmissions_backoff")?;
                tweak.backoff = match backoff {
                    None => None,
                    Some(millis @ 1..=10_000) => Some(Duration::from_millis(millis)),
                    Some(_) => {
                        let text = "retransmissions_backoff should be between 1 and 10000";
                        return Err(Refusal::invalid(format!("Invalid value ({text})")));
                    }
                };
                tweak.compress = fields.may_bool("compress")?;
                tweak.compression = match fields.may_u64("compression")? {
                    None => None,
                    Some(level) => match u8::try_from(level) {
                        Ok(level @ 1..=9) => Some(level),
                        Ok(_) | Err(_) => {
                            let text = "Invalid value (compression should be between 1 and 9)";
                            return Err(Refusal::invalid(text));
                        }
                    },
                };
            }
            Self::Ws => {}
        }
        tweak.notes = notes;
        Ok(tweak)
    }

    fn read_backend(self, fields: &Fields<'_>) -> Result<Option<Backend>, Refusal> {
        let Some(url) = fields.may_str("backend")? else {
            return Ok(None);
        };
        let (family, is_websocket) = match self {
            Self::Post => ("HTTP", false),
            Self::Ws => ("WebSocket", true),
        };
        let backend =
            Backend::parse(url).filter(|backend| backend.scheme.is_websocket() == is_websocket);
        match backend {
            Some(backend) => Ok(Some(backend)),
            None => Err(Refusal::invalid(format!("Invalid {family} URI '{url}'"))),
        }
    }
}

/// Reads a mask as Janus does: words that are none are passed over, here with a note.
fn read_mask(words: &str, notes: &mut Vec<String>) -> ReportMask {
    let words = words
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let (known, unknown): (Vec<&str>, Vec<&str>) =
        words.partition(|word| ReportMask::parse(word).is_some());
    notes.extend(
        unknown
            .iter()
            .map(|word| format!("Ignored unsupported event type '{word}'")),
    );
    ReportMask::parse(&known.join(",")).expect("each of these words was read before")
}

impl Tweak {
    /// What to say when it is made.
    pub(super) fn shown(&self) -> Value {
        changed(&self.notes)
    }

    /// Makes it, and returns what the handler is set to then.
    pub(super) fn make(&self, config: &mut EventsConfig) -> HandlerSettings {
        match self.handler {
            Handler::Post => {
                let post = &mut config.post;
                change(&mut post.mask, self.mask);
                change(&mut post.grouping, self.grouping);
                change(&mut post.backoff, self.backoff);
                change(&mut post.compress, self.compress);
                change(&mut post.compression, self.compression);
                if self.backend.is_some() {
                    post.backend.clone_from(&self.backend);
                }
                if let Some(user) = &self.user {
                    post.user = Some(user.clone()).filter(|user| !user.is_empty());
                }
                if self.password.is_some() {
                    post.password.clone_from(&self.password);
                }
                HandlerSettings::Post(post.clone())
            }
            Handler::Ws => {
                let ws = &mut config.ws;
                change(&mut ws.mask, self.mask);
                change(&mut ws.grouping, self.grouping);
                if self.backend.is_some() {
                    ws.backend.clone_from(&self.backend);
                }
                HandlerSettings::Ws(ws.clone())
            }
        }
    }
}

const fn change<T: Copy>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

impl Gateway {
    /// Makes the reports that a changed handler wants from here on.
    pub(super) fn tweak(&mut self, now: Now, tweak: &Tweak) {
        let watched = self.reports.wants(ReportKind::Media);
        self.handler_settings = Some(self.reports.tweak(tweak));
        if watched || !self.reports.wants(ReportKind::Media) {
            return;
        }
        // Those that began while nobody wanted to know.
        let handles = self.sessions.iter().flat_map(|(session, entry)| {
            let up = entry.handles.iter().filter(|(_, handle)| {
                let state = handle.peer.and_then(|peer| self.media.state(peer));
                state.is_some_and(|state| state.up)
            });
            up.map(|(handle, _)| HandleRef {
                session: *session,
                handle: *handle,
            })
        });
        for handle in handles.collect::<Vec<_>>() {
            self.watch_statistics(now, handle);
        }
    }

    /// What the platform is to tell a handler that was changed.
    pub const fn take_handler_settings(&mut self) -> Option<HandlerSettings> {
        self.handler_settings.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(handler: Handler, query: &Value) -> Result<Tweak, Refusal> {
        handler.read_tweak(&Fields::new(query.as_object().expect("an object")))
    }

    #[test]
    fn what_is_absent_stays_as_it_is() {
        let mut config = EventsConfig::default();
        config.post.user = Some("u".to_owned());
        let before = config.clone();
        for handler in [Handler::Post, Handler::Ws] {
            let tweak = read(handler, &json!({})).unwrap();
            tweak.make(&mut config);
            assert_eq!(config, before);
            assert_eq!(tweak.shown(), json!({"result": 200}));
        }
    }

    #[test]
    fn all_that_is_there_is_changed() {
        let mut config = EventsConfig::default();
        let query = json!({
            "events": "jsep, bogus", "grouping": false, "backend": "https://a:1/b",
            "backend_user": "u", "backend_pwd": "p", "max_retransmissions": 3,
            "retransmissions_backoff": 250, "compress": true, "compression": 3,
        });
        let tweak = read(Handler::Post, &query).unwrap();
        assert_eq!(tweak.notes.len(), 2, "{:?}", tweak.notes);
        tweak.make(&mut config);
        let wanted = PostConfig {
            mask: ReportMask::parse("jsep").unwrap(),
            grouping: false,
            backend: Backend::parse("https://a:1/b"),
            user: Some("u".to_owned()),
            password: Some(Secret::new("p")),
            compress: true,
            compression: 3,
            backoff: Duration::from_millis(250),
            ..PostConfig::default()
        };
        assert_eq!(config.post, wanted);
        read(Handler::Post, &json!({"backend_user": ""}))
            .unwrap()
            .make(&mut config);
        assert_eq!(config.post.user, None);

        let query = json!({"events": "none", "grouping": false, "backend": "wss://c/"});
        read(Handler::Ws, &query).unwrap().make(&mut config);
        let wanted = SocketConfig {
            mask: ReportMask::parse("none").unwrap(),
            grouping: false,
            backend: Backend::parse("wss://c/"),
            ..SocketConfig::default()
        };
        assert_eq!(config.ws, wanted);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (handler, query) in [
            (Handler::Post, json!({"events": 7})),
            (Handler::Post, json!({"grouping": "x"})),
            (Handler::Post, json!({"backend": "ftp://x"})),
            (Handler::Post, json!({"backend": "ws://x"})),
            (Handler::Post, json!({"max_retransmissions": -1})),
            (Handler::Post, json!({"retransmissions_backoff": 0})),
            (Handler::Post, json!({"compression": 10})),
            (Handler::Post, json!({"compression": 266})),
            (Handler::Ws, json!({"backend": "http://x"})),
        ] {
            let refusal = read(handler, &query).map_err(Queried::from);
            let Err(Queried::Answered(shown)) = refusal else {
                panic!("{query}");
            };
            assert_eq!(shown["error_code"], 413, "{query}");
        }
    }
}
