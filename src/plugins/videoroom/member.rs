//! A handle: what it is in its room, and one request of it at a time.
//!
//! Invariant: while the home of its room is asked something for a handle, later requests of that
//! handle wait, so that each finds what the one before has done.

mod subscribing;

use std::collections::VecDeque;

use serde_json::{Value, json};
use tracing::debug;

use crate::base::id::{HandleRef, PeerId};
use crate::gateway::plugin::{Cx, Jsep, PluginMessage};
use crate::media::{Media, PeerEvent};
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::fields::Fields;
use crate::plugins::videoroom::ids::{Id, IdForm};
use crate::plugins::videoroom::messages::{
    HomeAct, Join, JoinWish, Joined, Msg, News, TalkWish, TokenShown,
};
use crate::plugins::videoroom::publisher::{Publisher, Settings};
use crate::plugins::videoroom::subscriber::{Manner, Subscriber};
use crate::plugins::videoroom::wish::{SwitchWish, Wish};

/// Requests that are answered by an event, in lower case.
pub(super) const REQUESTS: [&str; 12] = [
    "configure",
    "join",
    "joinandconfigure",
    "leave",
    "pause",
    "publish",
    "start",
    "subscribe",
    "switch",
    "unpublish",
    "unsubscribe",
    "update",
];

/// Requests of one handle that wait for the one before; more are refused.
const WAITING_MAX: usize = 32;

/// One handle.
#[derive(Debug, Default)]
pub(super) struct Member {
    role: Role,
    asking: Option<Asking>,
    waiting: VecDeque<PluginMessage>,
}

#[derive(Debug, Default)]
enum Role {
    #[default]
    None,
    Publisher(Box<Publisher>),
    Subscriber(Box<Subscriber>),
}

/// What the home of the room was asked, and what is to be done with its answer.
#[derive(Debug)]
struct Asking {
    transaction: Box<str>,
    what: Asked,
}

#[derive(Debug)]
enum Asked {
    Join(Box<JoinAsked>),
    Publish {
        settings: Box<Settings>,
        jsep: Box<Jsep>,
        /// What the client is told when it is done.
        data: Value,
    },
    Subscribe(Box<SubscribeAsked>),
}

#[derive(Debug)]
struct SubscribeAsked {
    room: Id,
    wishes: Wishes,
}

/// What is to be done once the publishers are known.
#[derive(Debug)]
enum Wishes {
    Join {
        wishes: Vec<Wish>,
        private_id: u64,
        manner: Manner,
        /// It asked in the way of Janus 0.x.
        is_legacy: bool,
    },
    Subscribe {
        wishes: Vec<Wish>,
        /// Something was taken out before.
        changed: bool,
    },
    Switch(Vec<SwitchWish>),
}

#[derive(Debug)]
struct JoinAsked {
    room: Id,
    settings: Box<Settings>,
    jsep: Option<Box<Jsep>>,
}

impl Member {
    /// Takes a request that is in [`REQUESTS`].
    pub(super) fn message(&mut self, cx: &mut Cx<'_>, handle: HandleRef, message: PluginMessage) {
        if self.asking.is_none() {
            self.begin(cx, handle, message);
        } else if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(message);
        } else {
            let fault = Fault::new(Code::Unknown, "Too many requests at a time");
            cx.push(handle, Some(message.transaction), fault.json(), None);
        }
    }

    /// Takes what the home of the room says.
    pub(super) fn news(&mut self, cx: &mut Cx<'_>, handle: HandleRef, news: News) {
        match news {
            News::Audience(audience) => {
                if let Role::Publisher(publisher) = &mut self.role {
                    publisher.audience = audience;
                }
            }
            News::Data { feed, message } => {
                if let Role::Subscriber(subscriber) = &mut self.role {
                    subscriber.message(cx, handle, &feed, message);
                }
            }
            News::Ended => {
                if let Role::Publisher(publisher) = &mut self.role {
                    publisher.is_out = true;
                    cx.hang_up(handle);
                }
            }
            News::Event(data) => cx.push(handle, None, data, None),
            News::Moderated { mid, mute } => {
                if let Role::Publisher(publisher) = &mut self.role {
                    publisher.moderate(cx, &mid, mute);
                }
            }
            News::FeedChanged(feed) => {
                if let Role::Subscriber(subscriber) = &mut self.role
                    && let Err(fault) = subscriber.feed_changed(cx, handle, &feed)
                {
                    debug!(fault = fault.text, "no offer follows the change of a feed");
                }
            }
            News::FeedGone(feed) => {
                if let Role::Subscriber(subscriber) = &mut self.role
                    && let Err(fault) = subscriber.feed_gone(cx, handle, &feed)
                {
                    debug!(fault = fault.text, "no offer follows the end of a feed");
                }
            }
            News::Recording(room) => {
                if let Role::Publisher(publisher) = &mut self.role {
                    publisher.refresh(cx, room);
                    publisher.recording.follow_room();
                    publisher.settle_recording(cx, handle);
                }
            }
            News::Room(room) => {
                if let Role::Publisher(publisher) = &mut self.role {
                    publisher.refresh(cx, room);
                }
            }
            News::Subscribers(counts) => {
                if let Role::Publisher(publisher) = &mut self.role {
                    publisher.subscribers = counts;
                }
            }
            News::Feeds(_) | News::Joined(_) | News::MayPublish { .. } | News::Refused(_) => {
                self.answered(cx, handle, news);
                self.go_on(cx, handle);
            }
        }
    }

    pub(super) fn peer_event(&mut self, cx: &mut Cx<'_>, handle: HandleRef, event: &PeerEvent) {
        match (&mut self.role, event) {
            (Role::Publisher(publisher), PeerEvent::Up) => publisher.up(cx, handle),
            (Role::Publisher(publisher), PeerEvent::Hangup { .. }) => publisher.unpublished(cx),
            (Role::Publisher(publisher), PeerEvent::SlowLink { uplink: false, .. }) => {
                publisher.tell_slow_link(cx, handle);
            }
            (Role::Publisher(publisher), PeerEvent::Talking { line, talking }) => {
                publisher.talking(cx, *line, *talking);
            }
            (Role::Publisher(publisher), PeerEvent::RecordingFailed { id, line }) => {
                publisher.recording_failed(cx, handle, *id, *line);
            }
            (Role::Subscriber(_), PeerEvent::SlowLink { uplink: true, .. }) => {
                cx.push(handle, None, json!({"videoroom": "slow_link"}), None);
            }
            (Role::Publisher(publisher), PeerEvent::Data { form, bytes, .. }) => {
                publisher.relay(cx, *form, bytes);
            }
            (Role::Subscriber(subscriber), PeerEvent::DataClose { channel, .. }) => {
                subscriber.channels.closed(*channel);
            }
            (Role::Subscriber(subscriber), PeerEvent::DataOpen { channel, label, .. }) => {
                if let Some(peer) = cx.peer(handle) {
                    subscriber.channels.opened(cx, peer, label, *channel);
                }
            }
            (Role::Subscriber(subscriber), PeerEvent::Up) => {
                subscriber.up(cx);
                subscriber.tell_plainly(cx, handle, "subscribed");
            }
            (Role::Subscriber(subscriber), PeerEvent::Hangup { .. }) => subscriber.hung_up(),
            (
                Role::Subscriber(subscriber),
                PeerEvent::Layers {
                    line,
                    substream,
                    temporal,
                    ..
                },
            ) => {
                subscriber.tell_layers(cx, handle, *line, [*substream, *temporal]);
            }
            (Role::None | Role::Publisher(_) | Role::Subscriber(_), _) => {}
        }
    }

    /// Whose messages they are, if what it sends may be heard.
    pub(super) fn peer_of_messages(&self) -> Option<PeerId> {
        match &self.role {
            Role::Publisher(publisher) => publisher.peer_of_messages(),
            Role::None | Role::Subscriber(_) => None,
        }
    }

    /// The handle goes away.
    pub(super) fn detach(&mut self, cx: &mut Cx<'_>, handle: HandleRef) {
        match &mut self.role {
            Role::None => {}
            Role::Publisher(publisher) => leave(cx, publisher),
            Role::Subscriber(subscriber) => subscriber.leave(cx, handle),
        }
    }

    /// Whoever shows this private id in this room gets nothing any more.
    pub(super) fn kicked(&mut self, cx: &mut Cx<'_>, room: &Id, private_id: u32) {
        if let Role::Subscriber(subscriber) = &mut self.role
            && subscriber.is_of(room, private_id)
        {
            subscriber.kick(cx);
        }
    }

    pub(super) fn query(&self, media: &Media) -> Value {
        let mut shown = match &self.role {
            Role::None => json!({"type": "none"}),
            Role::Publisher(publisher) => publisher.query(media),
            Role::Subscriber(subscriber) => subscriber.query(media),
        };
        // Never so of a handle that can be asked; dashboards expect them.
        for name in ["hangingup", "destroyed"] {
            shown[name] = 0.into();
        }
        shown
    }

    /// Takes the requests that waited, until one has to ask.
    fn go_on(&mut self, cx: &mut Cx<'_>, handle: HandleRef) {
        while self.asking.is_none()
            && let Some(message) = self.waiting.pop_front()
        {
            self.begin(cx, handle, message);
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>, handle: HandleRef, message: PluginMessage) {
        let transaction = message.transaction.clone();
        if let Err(fault) = self.serve(cx, handle, message) {
            cx.push(handle, Some(transaction), fault.json(), None);
        }
    }

    fn serve(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        message: PluginMessage,
    ) -> Result<(), Fault> {
        let name = message.body.get("request").and_then(Value::as_str);
        let name = name.unwrap_or_default().to_owned();
        let is_join = ["join", "joinandconfigure"]
            .iter()
            .any(|join| name.eq_ignore_ascii_case(join));
        match &mut self.role {
            Role::None if is_join => self.join(cx, handle, message),
            Role::None => Err(Fault::new(
                Code::JoinFirst,
                "Invalid request on unconfigured participant",
            )),
            Role::Publisher(publisher) if is_join => {
                let text = if publisher.is_out {
                    "Not in a room (create a new handle)"
                } else {
                    "Already in as a publisher on this handle"
                };
                Err(Fault::new(Code::AlreadyJoined, text))
            }
            Role::Publisher(_) => self.serve_publisher(cx, handle, &name, message),
            Role::Subscriber(_) if name.eq_ignore_ascii_case("join") => {
                let text = "Already in as a subscriber on this handle";
                Err(Fault::new(Code::AlreadyJoined, text))
            }
            Role::Subscriber(_) => self.serve_subscriber(cx, handle, &name, message),
        }
    }

    fn join(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        message: PluginMessage,
    ) -> Result<(), Fault> {
        let config = &cx.config.videoroom;
        let fields = Fields::new(&message.body, IdForm::of(config.string_ids));
        let room = fields.need_id("room")?;
        match fields.need_text("ptype")? {
            "publisher" => {}
            "subscriber" => return self.join_to_subscribe(cx, handle, room, &message),
            _ => return Err(Fault::element("Invalid element (ptype)")),
        }
        let wish = JoinWish::read(&fields);
        let name = fields
            .may_text("request")
            .ok()
            .flatten()
            .unwrap_or_default();
        let settings = if name.eq_ignore_ascii_case("join") {
            Settings::read_joined(&fields)
        } else {
            Settings::read(&message.body, config)
        };
        let (wish, settings) = match (wish, settings) {
            (Ok(wish), Ok(settings)) => (Ok(wish), settings),
            (Err(fault), _) | (_, Err(fault)) => (Err(fault), Settings::default()),
        };
        let join = Box::new(Join {
            token: token_of(&fields),
            pin: fields.shown("pin"),
            wish,
        });
        let home = room.home(cx.shards);
        self.asking = Some(Asking {
            transaction: message.transaction,
            what: Asked::Join(Box::new(JoinAsked {
                room: room.clone(),
                settings: Box::new(settings),
                jsep: message.jsep.map(Box::new),
            })),
        });
        let act = HomeAct::Join { handle, join };
        cx.send(home, Msg::Home { room, act });
        Ok(())
    }

    fn serve_publisher(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        name: &str,
        message: PluginMessage,
    ) -> Result<(), Fault> {
        let Role::Publisher(publisher) = &mut self.role else {
            unreachable!("the role was looked at before");
        };
        let PluginMessage {
            transaction,
            body,
            jsep,
        } = message;
        let room = publisher.room.json();
        let lower = name.to_ascii_lowercase();
        if !["configure", "leave", "publish", "unpublish"].contains(&&*lower) {
            return Err(Fault::unknown_request(name));
        }
        if publisher.is_out {
            return Err(Fault::new(Code::NoSuchRoom, "No such room"));
        }
        match &*lower {
            "leave" => {
                let data = json!({"videoroom": "event", "room": room, "leaving": "ok"});
                cx.push(handle, Some(transaction), data, None);
                leave(cx, publisher);
                cx.hang_up(handle);
            }
            "unpublish" => {
                if !publisher.publishes() {
                    let text = "Can't unpublish, not published";
                    return Err(Fault::new(Code::NotPublished, text));
                }
                let data = json!({"videoroom": "event", "room": room, "unpublished": "ok"});
                cx.push(handle, Some(transaction), data, None);
                cx.hang_up(handle);
            }
            _ => {
                if lower == "publish" && publisher.is_up {
                    let text = "Can't publish, already published";
                    return Err(Fault::new(Code::AlreadyPublished, text));
                }
                let mut settings = Box::new(Settings::read(&body, &cx.config.videoroom)?);
                let data = publisher.configured();
                match jsep {
                    None => {
                        publisher.check_mids(&settings)?;
                        publisher.apply(cx, handle, &mut settings);
                        cx.push(handle, Some(transaction), data, None);
                        publisher.tell_configured(cx, handle);
                    }
                    Some(jsep) => {
                        self.ask_to_publish(
                            cx,
                            handle,
                            transaction,
                            settings,
                            Box::new(jsep),
                            data,
                        )?;
                    }
                }
            }
        }
        Ok(())
    }

    fn ask_to_publish(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        transaction: Box<str>,
        settings: Box<Settings>,
        jsep: Box<Jsep>,
        data: Value,
    ) -> Result<(), Fault> {
        let Role::Publisher(publisher) = &mut self.role else {
            unreachable!("only publishers publish");
        };
        publisher.check_offer(&jsep, &settings)?;
        let user = publisher.id.clone();
        publisher.tell_home(cx, HomeAct::MayPublish { handle, user });
        self.asking = Some(Asking {
            transaction,
            what: Asked::Publish {
                settings,
                jsep,
                data,
            },
        });
        Ok(())
    }

    /// Goes on with what was asked for.
    fn answered(&mut self, cx: &mut Cx<'_>, handle: HandleRef, news: News) {
        let Some(Asking { transaction, what }) = self.asking.take() else {
            return;
        };
        let done = match (news, what) {
            (News::Joined(joined), Asked::Join(asked)) => {
                self.joined(cx, handle, &transaction, *asked, *joined)
            }
            (
                News::MayPublish { room },
                Asked::Publish {
                    mut settings,
                    jsep,
                    mut data,
                },
            ) => {
                let Role::Publisher(publisher) = &mut self.role else {
                    unreachable!("only publishers publish");
                };
                publisher.refresh(cx, room);
                let answer = publisher.negotiate(cx, handle, &jsep, &mut settings, &mut data);
                match answer {
                    Ok(answer) => {
                        cx.push(handle, Some(transaction.clone()), data, Some(answer));
                        publisher.apply(cx, handle, &mut settings);
                        publisher.tell_configured(cx, handle);
                        Ok(())
                    }
                    Err(fault) => {
                        if !publisher.publishes() {
                            let user = publisher.id.clone();
                            publisher.tell_home(cx, HomeAct::Unpublish { user });
                        }
                        Err(fault)
                    }
                }
            }
            (News::Feeds(found), Asked::Subscribe(asked)) => {
                self.subscribed(cx, handle, &transaction, *asked, *found)
            }
            (News::Refused(fault), what) => self.refused(cx, handle, fault, what),
            (_, Asked::Join(_) | Asked::Publish { .. } | Asked::Subscribe(_)) => {
                unreachable!("answers fit what was asked")
            }
        };
        if let Err(fault) = done {
            cx.push(handle, Some(transaction), fault.json(), None);
        }
    }

    fn joined(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        transaction: &str,
        asked: JoinAsked,
        joined: Joined,
    ) -> Result<(), Fault> {
        let JoinAsked {
            room,
            mut settings,
            jsep,
        } = asked;
        let mut publisher = Box::new(Publisher::new(room, &joined));
        (publisher.display, publisher.metadata) = settings.take_names();
        publisher.tell_joined(cx, handle);
        match jsep {
            None => {
                publisher.apply(cx, handle, &mut settings);
                self.role = Role::Publisher(publisher);
                cx.push(handle, Some(transaction.into()), joined.data, None);
                Ok(())
            }
            Some(jsep) => {
                self.role = Role::Publisher(publisher);
                let transaction = transaction.into();
                self.ask_to_publish(cx, handle, transaction, settings, jsep, joined.data)
            }
        }
    }
}

/// What a client shows as a token.
fn token_of(fields: &Fields<'_>) -> TokenShown {
    Ok(fields.may_text("token")?.map(Box::from))
}

impl JoinWish {
    fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: fields.may_id("id")?.filter(Id::is_chosen),
            display: fields.may_label("display")?.map(Box::from),
            metadata: fields.may_metadata()?,
            token: fields.may_text("token")?.map(Box::from),
            talk: TalkWish::read_joined(fields),
        })
    }
}

fn leave(cx: &mut Cx<'_>, publisher: &mut Publisher) {
    if !std::mem::replace(&mut publisher.is_out, true) {
        let user = publisher.id.clone();
        publisher.tell_home(cx, HomeAct::Leave { user });
    }
}
