//! Requests of those who subscribe.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::base::id::HandleRef;
use crate::gateway::plugin::{Cx, JsepKind, PluginMessage};
use crate::media::IceRestart;
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::fields::Fields;
use crate::plugins::videoroom::ids::{Id, IdForm};
use crate::plugins::videoroom::member::{
    Asked, Asking, Member, Role, SubscribeAsked, Wishes, token_of,
};
use crate::plugins::videoroom::messages::{Entry, Found, HomeAct, Msg, Subscribe};
use crate::plugins::videoroom::subscriber::{Manner, Subscriber};
use crate::plugins::videoroom::wish::{LineWish, SwitchWish, Unwish, Wish};

impl Member {
    pub(super) fn join_to_subscribe(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        room: Id,
        message: &PluginMessage,
    ) -> Result<(), Fault> {
        let form = IdForm::of(cx.config.videoroom.string_ids);
        let fields = Fields::new(&message.body, form);
        let (wish, request) = match JoinToSubscribe::read(&fields, form, message) {
            Ok(wish) => (wish, Ok(())),
            Err(fault) => (JoinToSubscribe::default(), Err(fault)),
        };
        let JoinToSubscribe {
            wishes,
            private_id,
            manner,
            is_legacy,
        } = wish;
        let feeds = feeds_of(wishes.iter().map(|wish| &wish.feed));
        let wishes = Wishes::Join {
            wishes,
            private_id,
            manner,
            is_legacy,
        };
        let entry = Entry {
            token: token_of(&fields),
            pin: fields.shown("pin"),
            request,
        };
        let transaction = message.transaction.clone();
        let asked = SubscribeAsked { room, wishes };
        self.ask_for_feeds(
            cx,
            handle,
            transaction,
            asked,
            (Some(entry), private_id),
            feeds,
        );
        Ok(())
    }

    pub(super) fn serve_subscriber(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        name: &str,
        message: PluginMessage,
    ) -> Result<(), Fault> {
        let Role::Subscriber(subscriber) = &mut self.role else {
            unreachable!("the role was looked at before");
        };
        let PluginMessage {
            transaction,
            body,
            jsep,
        } = message;
        let form = IdForm::of(cx.config.videoroom.string_ids);
        let fields = Fields::new(&body, form);
        let room = subscriber.room.clone();
        if subscriber.is_kicked && !name.eq_ignore_ascii_case("leave") {
            let text = "Unauthorized, you have been kicked";
            return Err(Fault::new(Code::Unauthorized, text));
        }
        let event = |key: &str, value: &str| {
            let mut event = json!({"videoroom": "event", "room": room.json()});
            event[key] = value.into();
            event
        };
        if let Some(jsep) = &jsep {
            if jsep.kind == JsepKind::Offer {
                let text = "Only publishers send offers";
                return Err(Fault::new(Code::InvalidSdpType, text));
            }
            subscriber.answered(cx, handle, &jsep.sdp)?;
        }
        match &*name.to_ascii_lowercase() {
            "start" => {
                subscriber.pause(cx, false);
                cx.push(handle, Some(transaction), event("started", "ok"), None);
            }
            "pause" => {
                subscriber.pause(cx, true);
                cx.push(handle, Some(transaction), event("paused", "ok"), None);
            }
            "leave" => {
                subscriber.leave(cx, handle);
                cx.push(handle, Some(transaction), event("left", "ok"), None);
                cx.hang_up(handle);
            }
            "configure" => {
                let wishes = LineWish::read_all(&fields, form)?;
                let restarts = fields.may_flag("restart")?.unwrap_or(false);
                let updates = fields.may_flag("update")?.unwrap_or(false);
                let adapts = fields.may_flag("adaptive")?;
                subscriber.check_mids(&wishes)?;
                if let Some(is_adaptive) = adapts {
                    subscriber.adapt(cx, handle, is_adaptive);
                }
                subscriber.configure(cx, handle, &wishes);
                let restart = if restarts {
                    IceRestart::Yes
                } else {
                    IceRestart::No
                };
                let jsep = if (restarts || updates) && subscriber.renew(restart) {
                    Some(subscriber.offer(cx, handle)?)
                } else {
                    None
                };
                cx.push(handle, Some(transaction), event("configured", "ok"), jsep);
            }
            "subscribe" => {
                let array = fields.may_array("streams")?;
                let array = array.ok_or_else(|| Fault::missing("streams"))?;
                if array.is_empty() {
                    return Err(Fault::element("Empty subscription list"));
                }
                let wishes = Wish::read_all(array, form)?;
                self.ask_to_subscribe(cx, handle, transaction, room, wishes, false);
                return Ok(());
            }
            "unsubscribe" => {
                let array = fields.may_array("streams")?;
                let array = array.ok_or_else(|| Fault::missing("streams"))?;
                if array.is_empty() {
                    return Err(Fault::element("Empty unsubscription list"));
                }
                let changed = subscriber.remove(cx, handle, &Unwish::read_all(array, form)?);
                subscriber.update(cx, handle, Some(transaction), changed)?;
            }
            "update" => {
                let wishes = fields.may_array("subscribe")?;
                let unwishes = fields.may_array("unsubscribe")?;
                if wishes.is_none() && unwishes.is_none() {
                    let text =
                        "At least one of either 'subscribe' or 'unsubscribe' must be present";
                    return Err(Fault::new(Code::MissingElement, text));
                }
                if wishes.is_some_and(<[Value]>::is_empty) {
                    return Err(Fault::element("Empty subscription list"));
                }
                if unwishes.is_some_and(<[Value]>::is_empty) {
                    return Err(Fault::element("Empty unsubscription list"));
                }
                let wishes = Wish::read_all(wishes.unwrap_or_default(), form)?;
                let unwishes = Unwish::read_all(unwishes.unwrap_or_default(), form)?;
                let changed = subscriber.remove(cx, handle, &unwishes);
                if !wishes.is_empty() {
                    self.ask_to_subscribe(cx, handle, transaction, room, wishes, changed);
                    return Ok(());
                }
                subscriber.update(cx, handle, Some(transaction), changed)?;
            }
            "switch" => {
                let wishes = SwitchWish::read_all(&fields, form)?;
                let feeds = feeds_of(wishes.iter().map(|wish| &wish.feed));
                let wishes = Wishes::Switch(wishes);
                let asked = SubscribeAsked { room, wishes };
                self.ask_for_feeds(cx, handle, transaction, asked, (None, 0), feeds);
                return Ok(());
            }
            _ => return Err(Fault::unknown_request(name)),
        }
        self.offer_what_is_owed(cx, handle, jsep.is_some())
    }

    /// Goes on once the publishers are known.
    pub(super) fn subscribed(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        transaction: &str,
        asked: SubscribeAsked,
        found: Found,
    ) -> Result<(), Fault> {
        let Found {
            room: options,
            feeds,
            admission,
            ..
        } = found;
        let feeds = &feeds[..];
        let transaction = Some(transaction.into());
        let max = cx.config.limits.sdp_media_count;
        match (asked.wishes, &mut self.role) {
            (
                Wishes::Join {
                    wishes,
                    private_id,
                    manner,
                    is_legacy,
                },
                Role::None,
            ) => {
                let room = asked.room;
                let mut data = json!({"videoroom": "attached", "room": room.json()});
                let mut subscriber = Box::new(Subscriber::new(room, options, private_id, manner));
                let attached = subscriber.add(&wishes, feeds, true, max).and_then(|_| {
                    admission?;
                    if subscriber.is_empty() {
                        let text = "Can't offer an SDP with no stream";
                        return Err(Fault::new(Code::InvalidSdp, text));
                    }
                    subscriber.offer(cx, handle)
                });
                let jsep = match attached {
                    Ok(jsep) => jsep,
                    Err(fault) => {
                        let feeds = feeds.iter().map(|feed| (feed.id.clone(), Vec::new()));
                        let feeds = feeds.collect();
                        subscriber.tell_home(cx, HomeAct::Get { handle, feeds });
                        return Err(fault);
                    }
                };
                subscriber.tell_feeds(cx, handle, &BTreeSet::new(), feeds);
                data["streams"] = subscriber.streams(cx);
                if let Some(feed) = feeds.first().filter(|_| is_legacy) {
                    data["id"] = feed.id.json();
                    data["warning"] = "deprecated_api".into();
                    if let Some(display) = &feed.display {
                        data["display"] = (&**display).into();
                    }
                    if let Some(metadata) = &feed.metadata {
                        data["metadata"] = metadata.clone();
                    }
                }
                cx.push(handle, transaction, data, Some(jsep));
                subscriber.tell_streams(cx, handle, "subscribing");
                self.role = Role::Subscriber(subscriber);
                Ok(())
            }
            (Wishes::Subscribe { wishes, changed }, Role::Subscriber(subscriber)) => {
                subscriber.options = options;
                let before = subscriber.fed_by();
                let added = subscriber.add(&wishes, feeds, false, max);
                subscriber.tell_feeds(cx, handle, &before, feeds);
                match added {
                    Ok(added) => subscriber.update(cx, handle, transaction, changed || added),
                    Err(fault) => {
                        // What was taken out before needs its offer all the same.
                        if changed {
                            subscriber.update(cx, handle, None, true)?;
                        }
                        Err(fault)
                    }
                }
            }
            (Wishes::Switch(wishes), Role::Subscriber(subscriber)) => {
                let switched = subscriber.switch(cx, handle, &wishes, feeds);
                if switched.is_err() {
                    subscriber.tell_feeds(cx, handle, &subscriber.fed_by(), feeds);
                }
                let (changes, needs_offer) = switched?;
                let data: Value = json!({
                    "videoroom": "event",
                    "switched": "ok",
                    "room": subscriber.room.json(),
                    "changes": changes,
                    "streams": subscriber.streams(cx),
                });
                cx.push(handle, transaction, data, None);
                subscriber.tell_plainly(cx, handle, "switched");
                if needs_offer {
                    subscriber.update(cx, handle, None, true)?;
                }
                Ok(())
            }
            (
                Wishes::Join { .. } | Wishes::Subscribe { .. } | Wishes::Switch(_),
                Role::None | Role::Publisher(_) | Role::Subscriber(_),
            ) => unreachable!("a handle has the role that it asked with"),
        }
    }

    /// Goes on when what was asked for cannot be: what was taken out before needs its offer.
    pub(super) fn refused(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        fault: Fault,
        what: Asked,
    ) -> Result<(), Fault> {
        if let (Asked::Subscribe(asked), Role::Subscriber(subscriber)) = (what, &mut self.role)
            && let Wishes::Subscribe { changed: true, .. } = asked.wishes
        {
            subscriber.update(cx, handle, None, true)?;
        }
        Err(fault)
    }

    /// After an answer: offers what changed while it was on its way.
    fn offer_what_is_owed(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        has_answer: bool,
    ) -> Result<(), Fault> {
        match &mut self.role {
            Role::Subscriber(subscriber) if has_answer && subscriber.owes_offer() => {
                subscriber.update(cx, handle, None, true)
            }
            Role::None | Role::Publisher(_) | Role::Subscriber(_) => Ok(()),
        }
    }

    fn ask_to_subscribe(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        transaction: Box<str>,
        room: Id,
        wishes: Vec<Wish>,
        changed: bool,
    ) {
        let feeds = feeds_of(wishes.iter().map(|wish| &wish.feed));
        let wishes = Wishes::Subscribe { wishes, changed };
        let asked = SubscribeAsked { room, wishes };
        self.ask_for_feeds(cx, handle, transaction, asked, (None, 0), feeds);
    }

    fn ask_for_feeds(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        transaction: Box<str>,
        asked: SubscribeAsked,
        (entry, private_id): (Option<Entry>, u64),
        feeds: Vec<Id>,
    ) {
        let room = asked.room.clone();
        let home = room.home(cx.shards);
        self.asking = Some(Asking {
            transaction,
            what: Asked::Subscribe(Box::new(asked)),
        });
        let ask = Box::new(Subscribe {
            entry,
            private_id,
            feeds,
        });
        let act = HomeAct::Subscribe { handle, ask };
        cx.send(home, Msg::Home { room, act });
    }
}

/// What a subscriber joins with.
#[derive(Default)]
struct JoinToSubscribe {
    wishes: Vec<Wish>,
    private_id: u64,
    manner: Manner,
    /// It asked in the way of Janus 0.x.
    is_legacy: bool,
}

impl JoinToSubscribe {
    fn read(fields: &Fields<'_>, form: IdForm, message: &PluginMessage) -> Result<Self, Fault> {
        token_of(fields)?;
        let private_id = fields.may_count("private_id")?.unwrap_or(0);
        let manner = Manner {
            use_msid: fields.may_flag("use_msid")?.unwrap_or(false),
            autoupdate: fields.may_flag("autoupdate")?.unwrap_or(true),
        };
        let (wishes, is_legacy) = Wish::read_joined(fields, form)?;
        if message.jsep.is_some() {
            return Err(Fault::new(
                Code::InvalidRequest,
                "Can't send an offer to create subscribers",
            ));
        }
        Ok(Self {
            wishes,
            private_id,
            manner,
            is_legacy,
        })
    }
}

/// Each of these once, in order.
fn feeds_of<'a>(ids: impl Iterator<Item = &'a Id>) -> Vec<Id> {
    let mut feeds: Vec<Id> = Vec::new();
    for id in ids {
        if !feeds.contains(id) {
            feeds.push(id.clone());
        }
    }
    feeds
}
