//! Exports of the publishers of a room, as its home knows them: what there is, and who asks for it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::base::id::ShardId;
use crate::gateway::plugin::{Cx, Ticket};
use crate::plugins::videoroom::exports::{Done, Order, Report, no_feed, not_remotized, remotized};
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::forward::{Export, no_stream};
use crate::plugins::videoroom::home::{Home, Participant, Room};
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::messages::{Managed, Msg};

/// What is known of the exports of one publisher.
#[derive(Debug)]
pub(super) struct Exported {
    /// As lists show them.
    forwarders: BTreeMap<u32, Value>,
    remotes: BTreeMap<Box<str>, Value>,
}

impl Exported {
    pub(super) const fn new() -> Self {
        Self {
            forwarders: BTreeMap::new(),
            remotes: BTreeMap::new(),
        }
    }

    /// The publisher has stopped: there is nothing to send any more.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }
}

impl Home {
    /// Takes in what the shard of a publisher did, and answers who asked.
    pub(in crate::plugins::videoroom) fn exported(
        &mut self,
        cx: &mut Cx<'_>,
        room_id: &Id,
        report: Report,
    ) {
        let Report {
            ticket,
            asker,
            user,
            peer,
            outcome,
        } = report;
        let person = self.rooms.get_mut(room_id);
        let person = person.and_then(|room| room.people.get_mut(&user));
        // It has gone, or come back as another, while this was under way.
        let is_it = |person: &&mut Participant| {
            let first = person.streams.first();
            first.is_some_and(|stream| stream.line.peer == peer)
        };
        let answer = outcome.and_then(|done| match person.filter(is_it) {
            Some(person) => Ok(person.exported.note(room_id, &user, done)),
            None => Err(no_feed(&user)),
        });
        if let Ok(stopped) = &answer
            && stopped["videoroom"] == "stop_rtp_forward"
            && cx.config.videoroom.events
        {
            cx.report(
                None,
                json!({
                    "event": "stop_rtp_forward",
                    "room": room_id.json(),
                    "publisher_id": user.json(),
                    "stream_id": stopped["stream_id"],
                }),
            );
        }
        let answer = Managed::Data(answer.unwrap_or_else(|fault| fault.json()));
        cx.send(asker, Msg::Managed { ticket, answer });
    }
}

impl Exported {
    /// Notes what was done, and says so.
    fn note(&mut self, room: &Id, user: &Id, done: Done) -> Value {
        let success = || json!({"videoroom": "success", "room": room.json(), "id": user.json()});
        match done {
            Done::ForwardStopped(stream) => {
                self.forwarders.remove(&stream);
                json!({
                    "videoroom": "stop_rtp_forward",
                    "room": room.json(),
                    "publisher_id": user.json(),
                    "stream_id": stream,
                })
            }
            Done::Forwarded { forwarders, legacy } => {
                let mut answer = json!({
                    "videoroom": "rtp_forward",
                    "room": room.json(),
                    "publisher_id": user.json(),
                });
                match legacy {
                    Some(legacy) => answer["rtp_stream"] = legacy,
                    None => {
                        let shown = forwarders.iter().map(|(_, shown)| shown.clone());
                        answer["forwarders"] = shown.collect();
                    }
                }
                self.forwarders.extend(forwarders);
                answer
            }
            Done::Published { remote_id, shown } => {
                let mut answer = success();
                answer["remote_id"] = (&*remote_id).into();
                self.remotes.insert(remote_id, shown);
                answer
            }
            Done::Unpublished(remote_id) => {
                self.remotes.remove(&remote_id);
                success()
            }
        }
    }
}

impl Room {
    /// Has the shard of a publisher do something; its answer comes by [`Home::exported`].
    ///
    /// # Errors
    ///
    /// 428, 430 or 436.
    pub(super) fn export(
        &self,
        cx: &mut Cx<'_>,
        (ticket, asker): (Ticket, ShardId),
        (room, user): (Id, Id),
        export: Export,
        is_trusted: bool,
    ) -> Result<(), Fault> {
        let no_such = || match &export {
            Export::Unpublish(_) => no_publisher(&user),
            Export::Forward(_) | Export::Publish(_) | Export::StopForward(_) => no_feed(&user),
        };
        let person = self.people.get(&user).filter(|person| !person.is_dummy);
        let person = person.ok_or_else(no_such)?;
        let known = &person.exported;
        match &export {
            Export::Publish(_) if person.is_remote() => {
                return Err(Fault::element("Only local publishers can be remotized"));
            }
            Export::Publish(wish) if known.remotes.contains_key(&wish.remote_id) => {
                return Err(remotized(&wish.remote_id));
            }
            Export::StopForward(stream) if !known.forwarders.contains_key(stream) => {
                return Err(no_stream((*stream).into()));
            }
            Export::Unpublish(remote) if !known.remotes.contains_key(remote) => {
                return Err(not_remotized(remote));
            }
            Export::Forward(_)
            | Export::Publish(_)
            | Export::StopForward(_)
            | Export::Unpublish(_) => {}
        }
        let order = Order {
            ticket,
            asker,
            room,
            user,
            streams: person.streams.clone(),
            export,
            is_trusted: is_trusted || self.options.secret.is_some(),
        };
        cx.send(person.place.shard, Msg::Export(Box::new(order)));
        Ok(())
    }

    /// `listforwarders`: publishers with forwarders or remotizations, and their forwarders.
    pub(super) fn forwarders(&self, id: &Id) -> Value {
        let people = self.people.iter().filter(|(_, person)| {
            let known = &person.exported;
            !known.forwarders.is_empty() || !known.remotes.is_empty()
        });
        let publishers = people.map(|(user, person)| {
            let mut shown = json!({"publisher_id": user.json()});
            if let Some(display) = &person.display {
                shown["display"] = (&**display).into();
            }
            shown["forwarders"] = person.exported.forwarders.values().cloned().collect();
            shown
        });
        json!({
            "videoroom": "forwarders",
            "room": id.json(),
            "publishers": publishers.collect::<Vec<_>>(),
        })
    }

    /// `listremotes`.
    pub(super) fn remotes(&self, id: &Id, user: &Id) -> Result<Value, Fault> {
        let person = self.people.get(user).ok_or_else(|| no_publisher(user))?;
        let list: Vec<&Value> = person.exported.remotes.values().collect();
        Ok(json!({"videoroom": "success", "room": id.json(), "id": user.json(), "list": list}))
    }
}

impl Participant {
    /// Tells the shard that sends a publisher elsewhere what it publishes now.
    pub(super) fn tell_exports(&self, cx: &mut Cx<'_>) {
        if !self.exported.remotes.is_empty() {
            let streams = self.streams.clone();
            cx.send(self.place.shard, Msg::ExportStreams(streams));
        }
    }
}

fn no_publisher(user: &Id) -> Fault {
    Fault::new(Code::NoSuchFeed, format!("No such publisher ({user})"))
}
