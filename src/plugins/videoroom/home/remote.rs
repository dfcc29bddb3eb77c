//! Publishers of other gateways in the rooms of this shard: others see them as any publisher.
//!
//! Their packets come in on the shard that is the home of the room, since no session is theirs.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::base::id::{HandleId, HandleRef, SessionId, ShardId, SockId};
use crate::gateway::plugin::Cx;
use crate::media::{DataForm, Enabled, LineRef, Talking};
use crate::plugins::videoroom::data::Message;
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::home::people::said;
use crate::plugins::videoroom::home::{Home, Participant, Publishing, Room, no_room, tell};
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::messages::{Managed, Msg, News, Place, TalkWish};
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::recording::Subject;
use crate::plugins::videoroom::remote::{Opened, Opening, RemoteStream, UpdateRemote};
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind};

/// What stands for a publisher of another gateway where handles stand for others: sessions are
/// numbered from 1, so whatever it is told is lost.
const NOBODY: HandleRef = HandleRef {
    session: SessionId(0),
    handle: HandleId(0),
};

impl Place {
    /// The place of somebody without a handle.
    pub(super) const fn nobody(shard: ShardId) -> Self {
        Self {
            shard,
            handle: NOBODY,
        }
    }

    /// Whether nobody is there to be told anything.
    pub(super) fn is_nobody(self) -> bool {
        self.handle == NOBODY
    }
}

impl Home {
    /// Takes in what became of a socket; `false` if it is not for a publisher that comes in.
    pub(in crate::plugins::videoroom) fn opened(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        bound: Option<SocketAddr>,
    ) -> bool {
        let (asked, data) = match self.arrivals.opened(cx, sock, bound) {
            Opened::Failed(opening, fault) => (opening.asked, Err(fault)),
            Opened::NotOurs => return false,
            Opened::Ready(opening) => {
                let asked = opening.asked;
                (asked, self.admit_remote(cx, opening))
            }
            Opened::Waits => return true,
        };
        let (ticket, asker) = asked;
        let answer = Managed::Data(data.unwrap_or_else(|fault| fault.json()));
        cx.send(asker, Msg::Managed { ticket, answer });
        true
    }

    /// Lets a publisher in whose sockets are open.
    fn admit_remote(&mut self, cx: &mut Cx<'_>, opening: Opening) -> Result<Value, Fault> {
        let form = self.form;
        // The room may be gone by now, and the id be taken.
        let room = self.rooms.get_mut(&opening.room);
        let room = room.ok_or_else(|| no_room(&opening.room));
        let room = room.and_then(|room| {
            room.has_place_for(opening.add.id.as_ref())?;
            let add = &opening.add;
            let descriptions = add.streams.iter().filter_map(RemoteStream::description);
            let said = said(add.display.as_deref(), add.metadata.as_ref(), descriptions);
            room.check_crowd(cx.config.limits.room_people_count, said)?;
            Ok(room)
        });
        let peer = match &room {
            Ok(_) => opening.source(cx),
            Err(fault) => Err(fault.clone()),
        };
        let peer = peer.inspect_err(|_| opening.close(cx))?;
        let room = room?;
        let mut answer = json!({"videoroom": "success", "room": opening.room.json(), "id": null});
        opening.describe(&mut answer);
        let Opening { room: id, add, .. } = opening;
        let user = add.id.unwrap_or_else(|| {
            loop {
                let user = Id::draw(cx.rng, form);
                if !room.people.contains_key(&user) {
                    break user;
                }
            }
        });
        answer["id"] = user.json();
        let mut streams = Vec::new();
        for (position, stream) in add.streams.iter().enumerate() {
            streams.push(admitted(stream.at(peer, position), &room.options));
        }
        let mut person = Participant {
            display: add.display,
            metadata: add.metadata,
            publishing: Publishing::Yes,
            streams,
            remote: Some(peer),
            ..Participant::at(Place::nobody(cx.shard))
        };
        person.watch_remote(cx, &room.options);
        person.record_remote(cx, &id, &user, &room.options);
        room.people.insert(user.clone(), person);
        room.tell_publishers(cx, &id, &user);
        self.remotes.insert(peer, (id, user));
        Ok(answer)
    }

    /// Changes what is known of a publisher.
    ///
    /// # Errors
    ///
    /// 428.
    pub(super) fn update_remote(
        &mut self,
        cx: &mut Cx<'_>,
        id: &Id,
        update: UpdateRemote,
    ) -> Result<Value, Fault> {
        let room = self.rooms.get_mut(id).ok_or_else(|| no_room(id))?;
        let options = room.options.clone();
        let user = update.id;
        let person = room.people.get_mut(&user).and_then(|person| {
            let peer = person.remote?;
            Some((person, peer))
        });
        let (person, peer) = person.ok_or_else(|| no_remote(&user))?;
        let mut streams = person.streams.clone();
        let mut lines = cx.media.source_lines(peer);
        for stream in &update.streams {
            match streams.iter_mut().find(|known| known.mid == stream.mid) {
                Some(known) => {
                    if let Some(text) = stream.description() {
                        known.description = Some(text.into());
                    }
                    known.is_disabled = stream.is_disabled() || !fits(known, &options);
                }
                None => {
                    let position = streams.len();
                    streams.push(admitted(stream.at(peer, position), &options));
                    lines.push(stream.line());
                }
            }
        }
        cx.media.update_source(peer, lines, update.srtp.as_ref());
        let mut is_other = streams != person.streams;
        is_other |= update.display.is_some() && person.display != update.display;
        let before = (person.display.clone(), person.metadata.clone());
        person.display = update.display.or(person.display.take());
        is_other |= update.metadata.is_some() && person.metadata != update.metadata;
        person.metadata = update.metadata.or(person.metadata.take());
        if !room.can_tell_all() {
            if let Some(person) = room.people.get_mut(&user) {
                (person.display, person.metadata) = before;
            }
            let text = "Too much is said of the participants of this room";
            return Err(Fault::new(Code::PublishersFull, text));
        }
        if is_other {
            self.streams(cx, id, &user, streams, false);
            if let Some(room) = self.rooms.get_mut(id) {
                room.watch_remotes(cx);
                if let Some(person) = room.people.get_mut(&user) {
                    person.record_remote(cx, id, &user, &options);
                }
            }
        }
        Ok(json!({"videoroom": "success"}))
    }

    /// Takes a publisher out.
    ///
    /// # Errors
    ///
    /// 428.
    pub(super) fn remove_remote(
        &mut self,
        cx: &mut Cx<'_>,
        id: &Id,
        user: &Id,
    ) -> Result<Value, Fault> {
        let room = self.rooms.get_mut(id).ok_or_else(|| no_room(id))?;
        let person = room.people.get(user).filter(|person| person.is_remote());
        person.ok_or_else(|| no_remote(user))?;
        let mut person = room.people.remove(user).expect("it was just found");
        person.close_remote(cx);
        person.end_feed(cx, user);
        let mut event = person.called(json!({"videoroom": "event", "room": id.json()}));
        event["leaving"] = user.json();
        room.tell_others(cx, user, &event);
        self.forget_remotes(cx);
        Ok(json!({"videoroom": "success"}))
    }

    /// A publisher of another gateway has sent a message. Says whether it may be heard.
    pub(in crate::plugins::videoroom) fn remote_message(
        &self,
        cx: &mut Cx<'_>,
        line: LineRef,
        form: DataForm,
        bytes: &[u8],
    ) -> bool {
        let Some((room, user)) = self.remotes.get(&line.peer) else {
            return false;
        };
        let room = self.rooms.get(room);
        let Some(person) = room.and_then(|room| room.people.get(user)) else {
            return false;
        };
        let stream = person.streams.get(line.line);
        if stream.is_none_or(|stream| stream.is_moderated || stream.is_disabled) {
            return false;
        }
        cx.media.record_message(cx.now, line, bytes);
        let message = Message {
            form,
            bytes: bytes.into(),
        };
        for place in person.subscribers.places() {
            let feed = user.clone();
            let message = message.clone();
            tell(cx, place, News::Data { feed, message });
        }
        true
    }

    /// Somebody at another gateway began or ceased to talk.
    pub(in crate::plugins::videoroom) fn remote_talking(
        &mut self,
        cx: &mut Cx<'_>,
        from: LineRef,
        talking: Talking,
    ) {
        if let Some((room, user)) = self.remotes.get(&from.peer).cloned() {
            self.talking(cx, &room, &user, from.line, talking);
        }
    }

    /// Forgets publishers whose sources are gone.
    pub(super) fn forget_remotes(&mut self, cx: &Cx<'_>) {
        self.remotes.retain(|peer, _| cx.media.has_lines(*peer));
    }
}

impl Room {
    /// Whether an id is free.
    ///
    /// # Errors
    ///
    /// 436.
    pub(super) fn has_place_for(&self, user: Option<&Id>) -> Result<(), Fault> {
        match user {
            Some(user) if self.people.contains_key(user) => {
                let text = format!("User ID {user} already exists");
                Err(Fault::new(Code::IdExists, text))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Has the room's publishers of other gateways watched as it says.
    pub(super) fn watch_remotes(&self, cx: &mut Cx<'_>) {
        for person in self.people.values() {
            person.watch_remote(cx, &self.options);
        }
    }

    /// Ends all sources of the room's publishers.
    pub(super) fn close_remotes(&self, cx: &mut Cx<'_>) {
        for person in self.people.values() {
            person.close_remote(cx);
        }
    }
}

impl Participant {
    pub(super) const fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Ends the source, if it is one.
    pub(super) fn close_remote(&self, cx: &mut Cx<'_>) {
        if let Some(peer) = self.remote {
            cx.media.close_source(peer);
        }
    }

    /// Records it as it is to be, if it is one.
    pub(super) fn record_remote(
        &mut self,
        cx: &mut Cx<'_>,
        room: &Id,
        user: &Id,
        options: &RoomOptions,
    ) {
        if self.is_remote() {
            let subject = Subject {
                room,
                user,
                options,
                streams: &self.streams,
                e2ee: self.e2ee,
            };
            // Its client is at another gateway; the log has what failed.
            self.recording.settle(cx, subject);
        }
    }

    fn watch_remote(&self, cx: &mut Cx<'_>, options: &RoomOptions) {
        if self.is_remote() {
            for stream in &self.streams {
                options.watch(cx, stream, TalkWish::default());
            }
        }
    }

    /// A moderator mutes a stream of it, or lets it pass again.
    pub(super) fn moderate_remote(&self, cx: &mut Cx<'_>, line: LineRef, mute: bool) {
        if self.is_remote() {
            let enabled = if mute { Enabled::No } else { Enabled::Yes };
            cx.media.set_line_enabled(cx.now, line, enabled);
        }
    }
}

/// A stream as the room takes it: one in a codec that it does not have is there, and disabled.
fn admitted(mut stream: StreamInfo, options: &RoomOptions) -> StreamInfo {
    stream.is_disabled |= !fits(&stream, options);
    stream
}

fn fits(stream: &StreamInfo, options: &RoomOptions) -> bool {
    let list = match stream.kind {
        StreamKind::Audio => &options.audio_codecs,
        StreamKind::Data => return true,
        StreamKind::Video => &options.video_codecs,
    };
    list.iter().any(|codec| **codec == *stream.codec)
}

fn no_remote(user: &Id) -> Fault {
    Fault::new(
        Code::NoSuchFeed,
        format!("No such remote publisher ({user})"),
    )
}
