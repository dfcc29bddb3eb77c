//! Requests about rooms, carried out at their home.

use std::collections::btree_map::Entry;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::id::ShardId;
use crate::gateway::plugin::{Cx, Ticket};
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::home::{Home, Publishing, Room, no_room, tell};
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::manage::{Allowed, RoomAction, RoomRequest};
use crate::plugins::videoroom::messages::News;
use crate::plugins::videoroom::options::RoomOptions;

impl Home {
    /// Makes a room; without an id, one whose home is here.
    ///
    /// # Errors
    ///
    /// 427.
    pub(in crate::plugins::videoroom) fn create(
        &mut self,
        cx: &mut Cx<'_>,
        id: Option<Id>,
        mut options: RoomOptions,
    ) -> Result<Value, Fault> {
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
        match self.rooms.entry(id) {
            Entry::Occupied(entry) => {
                let text = format!("Room {} already exists", entry.key());
                Err(Fault::new(Code::RoomExists, text))
            }
            Entry::Vacant(entry) => {
                let id = entry.key().json();
                entry.insert(Room::new(options));
                Ok(json!({"videoroom": "created", "room": id, "permanent": false}))
            }
        }
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
            RoomAction::Allowed(allowed) => Ok(room.allow(&id, allowed)),
            RoomAction::Destroy => {
                room.end(cx, &id);
                self.rooms.remove(&id);
                self.forget_remotes(cx);
                Ok(json!({"videoroom": "destroyed", "room": id.json(), "permanent": false}))
            }
            RoomAction::Edit(edit) => {
                edit.apply(Arc::make_mut(&mut room.options));
                Ok(json!({"videoroom": "edited", "room": id.json(), "permanent": false}))
            }
            RoomAction::EnableRecording(record) => {
                Arc::make_mut(&mut room.options).record = record;
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

impl Room {
    fn allow(&mut self, id: &Id, allowed: Allowed) -> Value {
        let list = &mut Arc::make_mut(&mut self.options).allowed;
        match allowed {
            Allowed::Add(tokens) => list.get_or_insert_default().extend(tokens),
            Allowed::Disable => *list = None,
            Allowed::Enable => {
                list.get_or_insert_default();
            }
            Allowed::Remove(tokens) => {
                if let Some(list) = list {
                    list.retain(|token| !tokens.contains(token));
                }
            }
        }
        let mut answer = json!({"videoroom": "success", "room": id.json()});
        if let Some(list) = list {
            answer["allowed"] = list.iter().map(|token| Value::from(&**token)).collect();
        }
        answer
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
        let Some(mut person) = self.people.remove(user) else {
            let text = format!("No such user {user} in room {id}");
            return Err(Fault::new(Code::NoSuchFeed, text));
        };
        let leaving = json!({
            "videoroom": "event", "room": id.json(), "leaving": "ok", "reason": "kicked",
        });
        tell(cx, person.place, News::Event(leaving));
        let kicked = json!({"videoroom": "event", "room": id.json()});
        let mut kicked = person.called(kicked);
        kicked["kicked"] = user.json();
        self.tell_others(cx, user, &kicked);
        tell(cx, person.place, News::Ended);
        person.close_remote(cx);
        person.end_feed(cx, user);
        Ok(json!({"videoroom": "success"}))
    }

    fn participants(&self, id: &Id) -> Value {
        let participants = self.people.iter().map(|(user, person)| {
            let mut shown = person.called(json!({"id": user.json()}));
            if person.is_remote() {
                shown["remote"] = true.into();
            }
            let publishes = person.publishing == Publishing::Yes;
            shown["publisher"] = publishes.into();
            if publishes && person.streams.iter().any(|s| s.audiolevel_ext_id.is_some()) {
                shown["talking"] = false.into();
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
            let event = json!({
                "videoroom": "event",
                "room": id.json(),
                "id": user.json(),
                "mid": mid,
                "moderation": if mute { "muted" } else { "unmuted" },
            });
            self.tell_all(cx, &event);
        }
        Ok(json!({"videoroom": "success"}))
    }
}
