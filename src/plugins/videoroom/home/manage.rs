//! Requests about rooms, carried out at their home.

use std::sync::Arc;

use serde_json::{Value, json};
use tracing::warn;

use crate::base::id::ShardId;
use crate::config::{RoomConfig, VideoRoomConfig};
use crate::gateway::plugin::{Cx, Ticket};
use crate::mutant;
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::home::{Home, Publishing, Room, no_room, tell};
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::keeper::{KEEPER, Keep};
use crate::plugins::videoroom::manage::{Allowed, Permanent, RoomAction, RoomRequest};
use crate::plugins::videoroom::messages::{Msg, News};
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::told::tell_handlers;

impl Home {
    /// Makes a room; without an id, one whose home is here. `None` if the answer comes later.
    ///
    /// # Errors
    ///
    /// 427, 499.
    pub(in crate::plugins::videoroom) fn create(
        &mut self,
        cx: &mut Cx<'_>,
        asked: (Ticket, ShardId),
        id: Option<Id>,
        mut options: RoomOptions,
        permanent: Permanent,
    ) -> Result<Option<Value>, Fault> {
        let max = cx.config.limits.rooms_count.div_ceil(cx.shards.into());
        let id = id.unwrap_or_else(|| {
            loop {
                let id = Id::draw(cx.rng, self.form);
                if id.home(cx.shards) == cx.shard && !self.rooms.contains_key(&id) {
                    break id;
                }
            }
        });
        if options.description.is_empty() {
            options.description = format!("Room {id}");
        }
        if self.rooms.contains_key(&id) {
            let text = format!("Room {id} already exists");
            return Err(Fault::new(Code::RoomExists, text));
        }
        if self.rooms.len() >= max {
            return Err(Fault::new(Code::Unknown, "Too many rooms"));
        }
        let answer = json!({"videoroom": "created", "room": id.json(), "permanent": false});
        let config = options.written(&id);
        self.rooms
            .insert(id.clone(), Room::new(&id, options, cx.shard));
        let keep = (asked, id, Some(config));
        Ok(kept(cx, permanent, keep, answer))
    }

    /// How many rooms there are here, and how many people in them.
    pub(in crate::plugins::videoroom) fn counts(&self) -> (usize, usize) {
        let people = self.rooms.values().map(|room| room.people.len());
        (self.rooms.len(), people.sum())
    }

    /// The rooms of this shard, as `list` shows them.
    pub(in crate::plugins::videoroom) fn list(&self, sees_private: bool) -> Vec<Value> {
        let rooms = self.rooms.iter();
        let rooms = rooms.filter(|(_, room)| sees_private || !room.options.is_private);
        rooms
            .map(|(id, room)| room.options.listed(id, room.people.len()))
            .collect()
    }

    /// Carries out a request about one room; `None` if its answer comes later.
    ///
    /// # Errors
    ///
    /// 426, 428, 430, 436, 499, or those of the secret.
    pub(in crate::plugins::videoroom) fn manage(
        &mut self,
        cx: &mut Cx<'_>,
        asked: (Ticket, ShardId),
        request: RoomRequest,
    ) -> Result<Option<Value>, Fault> {
        let RoomRequest {
            room: id,
            secret,
            what,
        } = request;
        let Some(room) = self.rooms.get_mut(&id) else {
            if matches!(what, RoomAction::Exists) {
                let answer = json!({"videoroom": "success", "room": id.json(), "exists": false});
                return Ok(Some(answer));
            }
            return Err(no_room(&id));
        };
        if what.needs_secret() {
            secret.check(room.options.secret.as_deref())?;
        }
        let answer = match what {
            RoomAction::AddRemote(add) => {
                room.has_place_for(add.id.as_ref())?;
                self.arrivals.begin(cx, asked, id, *add)?;
                return Ok(None);
            }
            RoomAction::Allowed(allowed) => room.allow(&id, allowed),
            RoomAction::Destroy(permanent) => {
                room.end(cx, &id);
                self.rooms.remove(&id);
                self.forget_remotes(cx);
                let answer = json!({
                    "videoroom": "destroyed", "room": id.json(), "permanent": false,
                });
                return Ok(kept(cx, permanent, (asked, id, None), answer));
            }
            RoomAction::Edit(edit, permanent) => {
                edit.apply(Arc::make_mut(&mut room.options));
                for person in room.people.values() {
                    tell(cx, person.place, News::Room(Arc::clone(&room.options)));
                }
                room.watch_remotes(cx);
                let answer = json!({"videoroom": "edited", "room": id.json(), "permanent": false});
                let config = room.options.written(&id);
                let keep = (asked, id, Some(config));
                return Ok(kept(cx, permanent, keep, answer));
            }
            RoomAction::EnableRecording(record) => {
                if room.options.record != record {
                    Arc::make_mut(&mut room.options).record = record;
                    room.record_all(cx, &id);
                }
                Ok(json!({"videoroom": "success", "record": record}))
            }
            RoomAction::Exists => {
                Ok(json!({"videoroom": "success", "room": id.json(), "exists": true}))
            }
            RoomAction::Kick { id: user } => {
                let kicked = room.kick(cx, &id, &user);
                self.forget_remotes(cx);
                kicked
            }
            RoomAction::Export {
                id: user,
                export,
                is_trusted,
            } => {
                room.export(cx, asked, (id, user), *export, is_trusted)?;
                return Ok(None);
            }
            RoomAction::ListForwarders => Ok(room.forwarders(&id)),
            RoomAction::ListParticipants => Ok(room.participants(&id)),
            RoomAction::ListRemotes { id: user } => room.remotes(&id, &user),
            RoomAction::Moderate {
                id: user,
                mid,
                mute,
            } => room.moderate(cx, &id, &user, &mid, mute),
            RoomAction::RemoveRemote { id: user } => self.remove_remote(cx, &id, &user),
            RoomAction::UpdateRemote(update) => self.update_remote(cx, &id, *update),
        };
        answer.map(Some)
    }
}

/// What is to be written of a room: who waits for it, the room, and how it is if it stays.
type Kept = ((Ticket, ShardId), Id, Option<RoomConfig>);

/// Gives the answer now, or lets it wait for the file.
fn kept(
    cx: &mut Cx<'_>,
    permanent: Permanent,
    (asked, room, config): Kept,
    answer: Value,
) -> Option<Value> {
    match permanent {
        Permanent::No => return Some(answer),
        Permanent::Yes if !VideoRoomConfig::can_keep(&room.to_string()) => {
            warn!("a room is not kept: its id cannot name a section of the file");
            return Some(answer);
        }
        Permanent::Yes => {}
    }
    let keep = Keep {
        asked,
        room,
        config,
        answer,
    };
    cx.send(KEEPER, Msg::Keep(Box::new(keep)));
    None
}

impl Room {
    fn allow(&mut self, id: &Id, allowed: Allowed) -> Result<Value, Fault> {
        let options = Arc::make_mut(&mut self.options);
        let mut answer = json!({"videoroom": "success", "room": id.json()});
        match allowed {
            Allowed::Add(tokens) => {
                options.allow(tokens)?;
            }
            Allowed::Disable => {
                options.checks_allowed = false;
                return Ok(answer);
            }
            Allowed::Enable => options.checks_allowed = true,
            Allowed::Remove(tokens) => {
                options.allowed.retain(|token| !tokens.contains(token));
            }
        }
        let tokens = options.allowed.iter().map(|token| Value::from(&**token));
        answer["allowed"] = tokens.collect();
        Ok(answer)
    }

    /// Tells everybody that the room is no more.
    fn end(&mut self, cx: &mut Cx<'_>, id: &Id) {
        self.tell_all(cx, &json!({"videoroom": "destroyed", "room": id.json()}));
        for person in self.people.values() {
            tell(cx, person.place, News::Ended);
        }
        self.close_remotes(cx);
    }

    fn kick(&mut self, cx: &mut Cx<'_>, id: &Id, user: &Id) -> Result<Value, Fault> {
        let person = self.people.get(user);
        if person.is_some_and(|person| person.is_dummy) {
            return Err(Fault::new(Code::NoSuchFeed, "Can't kick dummy users"));
        }
        let Some(mut person) = self.people.remove(user) else {
            let text = format!("No such user {user} in room {id}");
            return Err(Fault::new(Code::NoSuchFeed, text));
        };
        let leaving = json!({
            "videoroom": "event", "room": id.json(), "leaving": "ok", "reason": "kicked",
        });
        tell(cx, person.place, News::Event(leaving));
        if self.options.require_pvtid {
            for shard in (0..cx.shards).map(ShardId) {
                let (room, private_id) = (id.clone(), person.private_id);
                cx.send(shard, Msg::Kicked { room, private_id });
            }
        }
        let kicked = json!({"videoroom": "event", "room": id.json()});
        let mut kicked = person.called(kicked);
        kicked["kicked"] = user.json();
        self.tell_others(cx, user, &kicked);
        if mutant!(KickStays) {
            return Ok(json!({"videoroom": "success"}));
        }
        tell(cx, person.place, News::Ended);
        person.close_remote(cx);
        person.end_feed(cx, user);
        person.tell_of_end(cx, id, user, "kicked");
        Ok(json!({"videoroom": "success"}))
    }

    /// Has everybody recorded as the room says, whatever was said of somebody before.
    fn record_all(&mut self, cx: &mut Cx<'_>, id: &Id) {
        for (user, person) in &mut self.people {
            tell(cx, person.place, News::Recording(Arc::clone(&self.options)));
            person.recording.follow_room();
            person.record_remote(cx, id, user, &self.options);
        }
    }

    fn participants(&self, id: &Id) -> Value {
        let participants = self.people.iter().map(|(user, person)| {
            let mut shown = person.called(json!({"id": user.json()}));
            for (name, flag) in [("dummy", person.is_dummy), ("remote", person.is_remote())] {
                if flag {
                    shown[name] = true.into();
                }
            }
            let publishes = person.publishing == Publishing::Yes;
            shown["publisher"] = publishes.into();
            if publishes && person.has_levels() {
                shown["talking"] = (!person.talking.is_empty()).into();
            }
            shown
        });
        json!({
            "videoroom": "participants",
            "room": id.json(),
            "participants": participants.collect::<Vec<_>>(),
        })
    }

    fn moderate(
        &mut self,
        cx: &mut Cx<'_>,
        id: &Id,
        user: &Id,
        mid: &str,
        mute: bool,
    ) -> Result<Value, Fault> {
        let person = self.people.get_mut(user).ok_or_else(|| {
            Fault::new(
                Code::NoSuchFeed,
                format!("No such user {user} in room {id}"),
            )
        })?;
        let stream = person.streams.iter_mut().find(|stream| &*stream.mid == mid);
        let stream =
            stream.ok_or_else(|| Fault::new(Code::NoSuchFeed, format!("No such stream {mid}")))?;
        if stream.is_moderated != mute {
            stream.is_moderated = mute;
            let line = stream.line;
            person.moderate_remote(cx, line, mute);
            let news = News::Moderated {
                mid: mid.into(),
                mute,
            };
            tell(cx, person.place, news);
            let mut event = json!({
                "videoroom": "event",
                "room": id.json(),
                "id": user.json(),
                "mid": mid,
                "moderation": if mute { "muted" } else { "unmuted" },
            });
            self.tell_all(cx, &event);
            event["videoroom"] = "moderated".into();
            tell_handlers(cx, None, event);
        }
        Ok(json!({"videoroom": "success"}))
    }
}
