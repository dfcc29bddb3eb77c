//! Rooms on their home shard: who is in them, and what everybody is told.
//!
//! Invariant: what is said here is so. Members on other shards ask, are told, and never decide
//! about anybody but themselves.

mod exports;
mod manage;
mod people;
mod remote;
mod subscribers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tracing::{debug, warn};

use crate::base::id::{HandleRef, PeerId, ShardId};
use crate::config::VideoRoomConfig;
use crate::gateway::plugin::Cx;
use crate::media::Talking;
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::ids::{Id, IdForm};
use crate::plugins::videoroom::messages::{
    Found, HomeAct, Join, JoinWish, Joined, Msg, News, Place, Subscribe,
};
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::recording::Recording;
use crate::plugins::videoroom::remote::Arrivals;
use crate::plugins::videoroom::stream::StreamInfo;
use crate::plugins::videoroom::told::tell_handlers;
use exports::Exported;
use subscribers::Subscribers;

/// The rooms whose home is this shard.
#[derive(Debug)]
pub(super) struct Home {
    form: IdForm,
    rooms: BTreeMap<Id, Room>,
    /// Publishers of other gateways, by whose packets are theirs.
    remotes: BTreeMap<PeerId, (Id, Id)>,
    /// Those who are about to come in.
    arrivals: Arrivals,
}

/// A room.
#[derive(Debug)]
struct Room {
    options: Arc<RoomOptions>,
    people: BTreeMap<Id, Participant>,
}

/// Somebody who joined as a publisher, publishing or not.
#[derive(Debug)]
struct Participant {
    place: Place,
    private_id: u32,
    display: Option<Box<str>>,
    metadata: Option<Value>,
    publishing: Publishing,
    streams: Vec<StreamInfo>,
    subscribers: Subscribers,
    /// Whose packets are its own, if it is a publisher of another gateway.
    remote: Option<PeerId>,
    /// It never sends.
    is_dummy: bool,
    /// Its media is encrypted end to end.
    e2ee: bool,
    /// Its lines on which somebody talks.
    talking: BTreeSet<usize>,
    exported: Exported,
    /// What is recorded of a publisher of another gateway; those of this one know themselves.
    recording: Recording,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Publishing {
    No,
    /// It negotiates, or waits for its PeerConnection.
    Soon,
    Yes,
}

impl Home {
    /// The configured rooms whose home is `shard`.
    pub(super) fn new(config: &VideoRoomConfig, shard: ShardId, shards: u8) -> Self {
        let form = IdForm::of(config.string_ids);
        let mut rooms = BTreeMap::new();
        for room in &config.rooms {
            let Some(id) = Id::parse(&room.id, form) else {
                warn!(room = room.id, "room skipped: its id is no positive number");
                continue;
            };
            if id.home(shards) != shard {
                continue;
            }
            let (options, odd) = RoomOptions::configured(room);
            for option in odd {
                warn!(room = room.id, option, "setting of a room has no effect");
            }
            let made = Room::new(&id, options, shard);
            rooms.entry(id).or_insert(made);
        }
        Self {
            form,
            rooms,
            remotes: BTreeMap::new(),
            arrivals: Arrivals::default(),
        }
    }

    /// Carries out what a member on some shard wants.
    ///
    /// # Errors
    ///
    /// Tells what cannot be, and to whom.
    pub(super) fn act(
        &mut self,
        cx: &mut Cx<'_>,
        from: ShardId,
        room: &Id,
        act: HomeAct,
    ) -> Result<(), (Place, Fault)> {
        let place = |handle: HandleRef| Place {
            shard: from,
            handle,
        };
        match act {
            HomeAct::Get { handle, feeds } => {
                let Some(room) = self.rooms.get_mut(room) else {
                    return Ok(());
                };
                for (feed, mids) in feeds {
                    if let Some(person) = room.people.get_mut(&feed) {
                        let is_over = mids.is_empty();
                        person.subscribers.feed(place(handle), mids);
                        person.tell_counts(cx);
                        if is_over {
                            person.tell_audience(cx);
                        }
                    }
                }
            }
            HomeAct::Join { handle, join } => {
                let joined = self.join(cx, place(handle), room, *join);
                joined.map_err(|fault| (place(handle), fault))?;
            }
            HomeAct::MayPublish { handle, user } => {
                let room = self.may_publish(room, &user, place(handle));
                let room = room.map_err(|fault| (place(handle), fault))?;
                tell(cx, place(handle), News::MayPublish { room });
            }
            HomeAct::Subscribe { handle, ask } => {
                let found = self.subscribe(cx, room, place(handle), *ask);
                let found = found.map_err(|fault| (place(handle), fault))?;
                tell(cx, place(handle), News::Feeds(Box::new(found)));
            }
            HomeAct::Leave { user } => self.leave(cx, room, &user),
            HomeAct::Rename {
                user,
                display,
                metadata,
            } => self.rename(cx, room, &user, display, metadata),
            HomeAct::Streams {
                user,
                streams,
                e2ee,
            } => self.streams(cx, room, &user, streams, e2ee),
            HomeAct::Talking {
                user,
                line,
                talking,
            } => self.talking(cx, room, &user, line, talking),
            HomeAct::Unpublish { user } => self.unpublish(cx, room, &user),
            HomeAct::Up { user } => {
                let Some(found) = self.rooms.get_mut(room) else {
                    return Ok(());
                };
                let Some(person) = found.people.get_mut(&user) else {
                    return Ok(());
                };
                if person.publishing == Publishing::Soon {
                    person.publishing = Publishing::Yes;
                    found.tell_publishers(cx, room, &user);
                }
            }
        }
        Ok(())
    }

    fn join(&mut self, cx: &mut Cx<'_>, place: Place, id: &Id, join: Join) -> Result<(), Fault> {
        let room = self.rooms.get_mut(id).ok_or_else(|| no_room(id))?;
        room.check_token(cx, id, join.token)?;
        join.pin.check(room.options.pin.as_deref())?;
        let JoinWish {
            id: wanted,
            display,
            metadata,
            token,
            talk,
        } = join.wish?;
        let allowed = &room.options.allowed;
        let is_allowed = |token: &str| allowed.contains(token);
        if room.options.checks_allowed && !token.as_deref().is_some_and(is_allowed) {
            let text = "Unauthorized (not in the allowed list)";
            return Err(Fault::new(Code::Unauthorized, text));
        }
        let user = match wanted {
            Some(user) if room.people.contains_key(&user) => {
                let text = format!("User ID {user} already exists");
                return Err(Fault::new(Code::IdExists, text));
            }
            Some(user) => user,
            None => loop {
                let user = Id::draw(cx.rng, self.form);
                if !room.people.contains_key(&user) {
                    break user;
                }
            },
        };
        // Not zero, which stands for none.
        let private_id = (cx.rng.next_u64() >> 32) as u32 | 1;
        let data = room.joined(id, &user, private_id, talk);
        let person = Participant {
            private_id,
            display,
            metadata,
            ..Participant::at(place)
        };
        room.check_crowd(cx.config.limits.room_people_count, person.said())?;
        let joining = person.called(json!({"id": user.json()}));
        room.people.insert(user.clone(), person);
        let joined = Joined {
            room_id: id.clone(),
            id: user.clone(),
            private_id,
            room: Arc::clone(&room.options),
            talk,
            data,
        };
        tell(cx, place, News::Joined(Box::new(joined)));
        if room.options.notify_joining {
            let event = json!({"videoroom": "event", "room": id.json(), "joining": joining});
            room.tell_others(cx, &user, &event);
        }
        Ok(())
    }

    fn may_publish(&mut self, id: &Id, user: &Id, place: Place) -> Result<Arc<RoomOptions>, Fault> {
        let room = self.rooms.get_mut(id).ok_or_else(gone_room)?;
        let publishers = room.people.iter();
        let publishers = publishers
            .filter(|(other, person)| *other != user && person.is_local())
            .filter(|(_, person)| person.publishing != Publishing::No)
            .count() as u64;
        let person = room.people.get_mut(user);
        let person = person
            .filter(|person| person.place == place)
            .ok_or_else(gone_room)?;
        if person.publishing == Publishing::No {
            let max = room.options.publishers;
            if publishers >= max {
                return Err(Fault::new(
                    Code::PublishersFull,
                    format!("Maximum number of publishers ({max}) already reached"),
                ));
            }
            person.publishing = Publishing::Soon;
        }
        Ok(Arc::clone(&room.options))
    }

    fn subscribe(
        &mut self,
        cx: &mut Cx<'_>,
        id: &Id,
        place: Place,
        ask: Subscribe,
    ) -> Result<Found, Fault> {
        let room = self.rooms.get_mut(id).ok_or_else(|| no_room(id))?;
        let is_new = ask.entry.is_some();
        if let Some(entry) = ask.entry {
            room.check_token(cx, id, entry.token)?;
            entry.pin.check(room.options.pin.as_deref())?;
            entry.request?;
        }
        let is_active = |person: &&Participant| person.publishing == Publishing::Yes;
        for feed in &ask.feeds {
            let person = room.people.get(feed).filter(is_active);
            person.ok_or_else(|| Fault::new(Code::NoSuchFeed, format!("No such feed ({feed})")))?;
        }
        let knows_one = |private_id: u64| {
            let mut people = room.people.values();
            private_id != 0 && people.any(|person| u64::from(person.private_id) == private_id)
        };
        let is_wrong = room.options.require_pvtid && is_new && !knows_one(ask.private_id);
        let admission = if is_wrong {
            let text = "Unauthorized (this room requires a valid private_id)";
            Err(Fault::new(Code::Unauthorized, text))
        } else {
            Ok(())
        };
        let mut feeds = Vec::new();
        for feed in &ask.feeds {
            let Some(person) = room.people.get_mut(feed) else {
                unreachable!("all feeds were looked up");
            };
            if admission.is_ok() {
                person.subscribers.add(place);
                person.tell_audience(cx);
            }
            feeds.push(person.feed(feed));
        }
        Ok(Found {
            room_id: id.clone(),
            room: Arc::clone(&room.options),
            feeds,
            admission,
        })
    }

    fn leave(&mut self, cx: &mut Cx<'_>, id: &Id, user: &Id) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let Some(mut person) = room.people.remove(user) else {
            return;
        };
        person.end_feed(cx, user);
        let event = json!({"videoroom": "event", "room": id.json()});
        let mut event = person.called(event);
        if person.publishing == Publishing::Yes {
            let mut unpublished = event.clone();
            unpublished["unpublished"] = user.json();
            room.tell_others(cx, user, &unpublished);
            person.tell_of_end(cx, id, user, "unpublished");
        }
        event["leaving"] = user.json();
        room.tell_others(cx, user, &event);
        person.tell_of_end(cx, id, user, "leaving");
    }

    fn rename(
        &mut self,
        cx: &mut Cx<'_>,
        id: &Id,
        user: &Id,
        display: Option<Box<str>>,
        metadata: Option<Value>,
    ) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let Some(person) = room.people.get_mut(user) else {
            return;
        };
        let before = (person.display.clone(), person.metadata.clone());
        // Those who had no name before are not announced, as in Janus.
        let mut event = None;
        if metadata.is_some() {
            let old = std::mem::replace(&mut person.metadata, metadata);
            if old.is_some() {
                let metadata = &person.metadata;
                event = Some(json!({
                    "videoroom": "event", "id": user.json(), "metadata": metadata,
                }));
            }
        }
        if display.is_some() {
            let old = std::mem::replace(&mut person.display, display);
            if old.is_some() {
                event = Some(person.called(json!({"videoroom": "event", "id": user.json()})));
            }
        }
        if !room.can_tell_all() {
            debug!("a new name is passed over: too much is said in its room");
            if let Some(person) = room.people.get_mut(user) {
                (person.display, person.metadata) = before;
            }
            return;
        }
        if let Some(person) = room.people.get(user) {
            person.tell_subscribers(cx, user);
        }
        if let Some(event) = event {
            room.tell_others(cx, user, &event);
        }
    }

    fn streams(
        &mut self,
        cx: &mut Cx<'_>,
        id: &Id,
        user: &Id,
        streams: Vec<StreamInfo>,
        e2ee: bool,
    ) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let Some(person) = room.people.get_mut(user) else {
            return;
        };
        person.streams = streams;
        person.e2ee = e2ee;
        if !room.can_tell_all() {
            debug!("descriptions are left out: too much is said in their room");
            if let Some(person) = room.people.get_mut(user) {
                for stream in &mut person.streams {
                    stream.description = None;
                }
            }
        }
        let Some(person) = room.people.get_mut(user) else {
            return;
        };
        person.tell_exports(cx);
        person.tell_audience(cx);
        if person.publishing != Publishing::Yes {
            return;
        }
        person.tell_subscribers(cx, user);
        room.tell_publishers(cx, id, user);
    }

    /// Tells everybody, also who it is, that somebody began or ceased to talk.
    pub(super) fn talking(
        &mut self,
        cx: &mut Cx<'_>,
        id: &Id,
        user: &Id,
        line: usize,
        talking: Talking,
    ) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let Some(person) = room.people.get_mut(user) else {
            return;
        };
        let Some(stream) = person.streams.iter().find(|stream| stream.mindex == line) else {
            return;
        };
        let what = if talking.talks {
            person.talking.insert(line);
            "talking"
        } else {
            person.talking.remove(&line);
            "stopped-talking"
        };
        let event = json!({
            "videoroom": what,
            "room": id.json(),
            "id": user.json(),
            "mindex": line,
            "mid": stream.mid,
            "audio-level-dBov-avg": f64::from(talking.level_hundredths) / 100.0,
        });
        room.tell_all(cx, &event);
        tell_handlers(cx, None, event);
    }

    fn unpublish(&mut self, cx: &mut Cx<'_>, id: &Id, user: &Id) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let Some(person) = room.people.get_mut(user) else {
            return;
        };
        let was = std::mem::replace(&mut person.publishing, Publishing::No);
        person.streams.clear();
        person.talking.clear();
        person.exported.clear();
        person.end_feed(cx, user);
        if was == Publishing::Yes {
            let event = json!({"videoroom": "event", "room": id.json()});
            let mut event = person.called(event);
            event["unpublished"] = user.json();
            room.tell_others(cx, user, &event);
            if let Some(person) = room.people.get(user) {
                person.tell_of_end(cx, id, user, "unpublished");
            }
        }
    }
}

fn tell(cx: &mut Cx<'_>, place: Place, news: News) {
    if place.is_nobody() {
        return;
    }
    let handle = place.handle;
    cx.send(place.shard, Msg::Member { handle, news });
}

fn no_room(id: &Id) -> Fault {
    Fault::new(Code::NoSuchRoom, format!("No such room ({id})"))
}

fn gone_room() -> Fault {
    Fault::new(Code::NoSuchRoom, "No such room")
}
