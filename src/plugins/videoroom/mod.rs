//! VideoRoom: publishers in rooms, and subscribers that pick what they get.
//!
//! Each room has a home shard with its authoritative state ([`home`]). A handle lives where its
//! session lives, as a [`member`]; it asks the home of its room and is told ([`messages`]), also
//! when that is the same shard. Media never passes through the home. Wire contract: that of Janus'
//! `janus.plugin.videoroom`.

mod data;
mod delay;
mod dummy;
mod exports;
mod fault;
mod fields;
mod forward;
mod guard;
mod home;
mod ids;
mod keeper;
mod manage;
mod member;
mod messages;
mod options;
mod plan;
mod publisher;
mod recording;
mod remote;
mod resolving;
mod stream;
mod subscriber;
mod subscription;
mod told;
mod wish;

use std::any::Any;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::base::error::ApiError;
use crate::base::id::{HandleRef, SessionId, ShardId};
use crate::config::VideoRoomConfig;
use crate::gateway::outside::{FileId, LookupId, Written};
use crate::gateway::plugin::{
    AdminAnswer, Answer, Cx, Plugin, PluginInfo, PluginMessage, PluginMsg, Ticket,
};
use crate::media::{LineRef, Media, PeerEvent, PlainEvent};
use crate::metrics::Metrics;
use exports::Exports;
use fault::{Code, Fault};
use guard::{Guard, Held};
use home::Home;
use keeper::Keeper;
use manage::{Manage, RoomRequest};
use member::Member;
use messages::{HomeAct, Managed, Msg, News};
use resolving::{Resolved, Resolving};

/// What requests of the Admin API count as when it comes to wrong secrets: no session has this id.
const OPERATOR: SessionId = SessionId(0);

/// The package that clients attach to.
pub const PACKAGE: &str = "janus.plugin.videoroom";

/// The plugin.
#[derive(Debug)]
pub struct VideoRoom {
    home: Home,
    members: BTreeMap<HandleRef, Member>,
    /// Lists that wait for the parts of other shards.
    lists: BTreeMap<Ticket, Vec<Option<Vec<Value>>>>,
    /// Requests with names that are being looked up.
    resolving: Resolving,
    /// What publishers here are sent to elsewhere.
    exports: Exports,
    guard: Guard,
    keeper: Keeper,
}

impl VideoRoom {
    /// An instance with the configured rooms whose home is `shard` of `shards`.
    pub fn new(config: &VideoRoomConfig, shard: ShardId, shards: u8) -> Self {
        Self {
            home: Home::new(config, shard, shards),
            members: BTreeMap::new(),
            lists: BTreeMap::new(),
            resolving: Resolving::default(),
            exports: Exports::default(),
            guard: Guard::default(),
            keeper: Keeper::default(),
        }
    }

    /// Passes a request about rooms to where it is carried out.
    fn pass(&mut self, cx: &mut Cx<'_>, ticket: Ticket, source: SessionId, request: Manage) {
        let to = match &request {
            Manage::Create { room: None, .. } => cx.shard,
            Manage::Create {
                room: Some(room), ..
            } => room.home(cx.shards),
            Manage::Room(RoomRequest { room, .. }) => room.home(cx.shards),
            Manage::List { sees_private } => {
                let sees_private = *sees_private;
                self.lists
                    .insert(ticket, vec![None; usize::from(cx.shards)]);
                for shard in (0..cx.shards).map(ShardId) {
                    let request = Manage::List { sees_private };
                    let message = Msg::Manage {
                        ticket,
                        source,
                        request,
                    };
                    cx.send(shard, message);
                }
                return;
            }
        };
        let message = Msg::Manage {
            ticket,
            source,
            request,
        };
        cx.send(to, message);
    }

    /// Takes in a request about rooms, which is answered later; `None` if it is of another kind.
    fn ask(
        &mut self,
        cx: &mut Cx<'_>,
        source: SessionId,
        name: &str,
        body: &Map<String, Value>,
    ) -> Option<Result<Ticket, Fault>> {
        match manage::read(name, body, &cx.config.videoroom)? {
            Ok(request) => {
                let ticket = cx.later();
                let resolved = self.resolving.begin(cx, ticket, source, request);
                self.resolved(cx, resolved);
                Some(Ok(ticket))
            }
            Err(fault) if fault.is_guess => {
                let ticket = cx.later();
                let answer = Held::Resolve(ticket, fault.json());
                self.guard.answer(cx, None, source, answer);
                Some(Ok(ticket))
            }
            Err(fault) => Some(Err(fault)),
        }
    }

    /// Goes on with a request once the names in it are known.
    fn resolved(&mut self, cx: &mut Cx<'_>, resolved: Resolved) {
        match resolved {
            Resolved::Failed(ticket, fault) => cx.resolve(ticket, fault.json()),
            Resolved::Ready(ticket, source, request) => self.pass(cx, ticket, source, request),
            Resolved::Waits => {}
        }
    }

    fn managed(&mut self, cx: &mut Cx<'_>, from: ShardId, ticket: Ticket, answer: Managed) {
        match answer {
            Managed::Data(data) => {
                let name = data["videoroom"].as_str();
                if let Some(name @ ("created" | "destroyed" | "edited")) = name {
                    let event = json!({"event": name, "room": data["room"]});
                    told::tell_handlers(cx, cx.asker(ticket), event);
                }
                cx.resolve(ticket, data);
            }
            Managed::Rooms(rooms) => {
                let Some(parts) = self.lists.get_mut(&ticket) else {
                    return;
                };
                parts[usize::from(from.0)] = Some(rooms);
                if parts.iter().any(Option::is_none) {
                    return;
                }
                let parts = self.lists.remove(&ticket).into_iter().flatten();
                let list: Vec<Value> = parts.flatten().flatten().collect();
                let answer = json!({"videoroom": "success", "list": list});
                // Written with blanks it may be twice as long, and no answer may be longer than
                // what a connection holds.
                if answer.to_string().len() > cx.config.limits.out_bytes / 2 {
                    let fault = Fault::new(Code::Unknown, "Too many rooms to list");
                    return cx.resolve(ticket, fault.json());
                }
                cx.resolve(ticket, answer);
            }
        }
    }

    /// Carries out a request about rooms here; `None` if its answer comes later.
    fn manage(
        &mut self,
        cx: &mut Cx<'_>,
        asked: (Ticket, ShardId),
        request: Manage,
    ) -> Result<Option<Managed>, Fault> {
        let data = match request {
            Manage::Create {
                room,
                options,
                permanent,
            } => self.home.create(cx, asked, room, *options, permanent)?,
            Manage::List { sees_private } => {
                return Ok(Some(Managed::Rooms(self.home.list(sees_private))));
            }
            Manage::Room(request) => self.home.manage(cx, asked, request)?,
        };
        Ok(data.map(Managed::Data))
    }

    fn news(&mut self, cx: &mut Cx<'_>, handle: HandleRef, news: News) {
        match self.members.get_mut(&handle) {
            Some(member) => member.news(cx, handle, news),
            None => {
                // It went away while it was waiting to get in.
                let (room, act) = match news {
                    News::Joined(joined) => {
                        let user = joined.id;
                        (joined.room_id, HomeAct::Leave { user })
                    }
                    News::Feeds(found) => {
                        let feeds = found.feeds.into_iter();
                        let feeds = feeds.map(|feed| (feed.id, Vec::new())).collect();
                        (found.room_id, HomeAct::Get { handle, feeds })
                    }
                    News::Ended
                    | News::Audience(_)
                    | News::Data { .. }
                    | News::Event(_)
                    | News::FeedChanged(_)
                    | News::FeedGone(_)
                    | News::MayPublish { .. }
                    | News::Moderated { .. }
                    | News::Recording(_)
                    | News::Refused(_)
                    | News::Room(_)
                    | News::Subscribers(_) => return,
                };
                cx.send(room.home(cx.shards), Msg::Home { room, act });
            }
        }
    }
}

impl Plugin for VideoRoom {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            package: PACKAGE,
            name: "VideoRoom",
            description: "Forwards what publishers of a room send to who subscribes to it",
            version: 9,
            version_string: "0.0.9",
        }
    }

    fn attach(&mut self, _cx: &mut Cx<'_>, handle: HandleRef) -> Result<(), ApiError> {
        self.members.insert(handle, Member::default());
        Ok(())
    }

    fn message(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        message: PluginMessage,
    ) -> Result<Answer, ApiError> {
        let fault = match message.body.get("request") {
            Some(Value::String(name)) => {
                let lower = name.to_ascii_lowercase();
                match self.ask(cx, handle.session, &lower, &message.body) {
                    Some(Ok(ticket)) => return Ok(Answer::Later(ticket)),
                    Some(Err(fault)) => fault,
                    None if member::REQUESTS.contains(&&*lower) => {
                        let member = self.members.entry(handle).or_default();
                        member.message(cx, handle, message);
                        return Ok(Answer::Ack { hint: None });
                    }
                    None => Fault::unknown_request(name),
                }
            }
            Some(_) => Fault::wrong_type("request", "a string"),
            None => Fault::missing("request"),
        };
        Ok(Answer::Success(fault.json()))
    }

    fn peer_event(&mut self, cx: &mut Cx<'_>, handle: HandleRef, event: &PeerEvent) {
        let Some(member) = self.members.get_mut(&handle) else {
            return;
        };
        member.peer_event(cx, handle, event);
        match event {
            PeerEvent::Data { form, bytes, .. } => {
                if let Some(peer) = member.peer_of_messages() {
                    self.exports.message(cx, peer, *form, bytes);
                }
            }
            PeerEvent::Hangup { .. } => self.exports.prune(cx),
            PeerEvent::DataClose { .. }
            | PeerEvent::DataOpen { .. }
            | PeerEvent::IceFailed
            | PeerEvent::Layers { .. }
            | PeerEvent::Media { .. }
            | PeerEvent::RecordingFailed { .. }
            | PeerEvent::Remb { .. }
            | PeerEvent::SlowLink { .. }
            | PeerEvent::Statistics(_)
            | PeerEvent::Talking { .. }
            | PeerEvent::Up => {}
        }
    }

    fn detach(&mut self, cx: &mut Cx<'_>, handle: HandleRef) {
        if let Some(mut member) = self.members.remove(&handle) {
            member.detach(cx, handle);
        }
        self.exports.prune(cx);
    }

    fn query(&self, media: &Media, handle: HandleRef) -> Value {
        let member = self.members.get(&handle);
        member.map_or(json!({}), |member| member.query(media))
    }

    fn woken(&mut self, cx: &mut Cx<'_>) {
        self.guard.woken(cx);
    }

    fn written(&mut self, cx: &mut Cx<'_>, id: FileId, written: Written) {
        self.keeper.written(cx, id, written);
    }

    fn add_to(&self, metrics: &mut Metrics) {
        let (rooms, people) = self.home.counts();
        metrics.videoroom_rooms += rooms as u64;
        metrics.videoroom_people += people as u64;
        metrics.videoroom_wrong_secrets += self.guard.counts.wrong;
        metrics.videoroom_held_answers += self.guard.counts.held;
        metrics.videoroom_dropped_answers += self.guard.counts.dropped;
    }

    fn admin(&mut self, cx: &mut Cx<'_>, request: &Map<String, Value>) -> Option<AdminAnswer> {
        let fault = match request.get("request") {
            // What needs a handle is as unknown here as what there is not.
            Some(Value::String(name)) => {
                match self.ask(cx, OPERATOR, &name.to_ascii_lowercase(), request) {
                    Some(Ok(ticket)) => return Some(AdminAnswer::Later(ticket)),
                    Some(Err(fault)) => fault,
                    None => Fault::unknown_request(name),
                }
            }
            Some(_) => Fault::wrong_type("request", "a string"),
            None => Fault::missing("request"),
        };
        Some(AdminAnswer::Now(fault.json()))
    }

    fn looked_up(&mut self, cx: &mut Cx<'_>, id: LookupId, address: Option<IpAddr>) {
        let resolved = self.resolving.found(cx, id, address);
        self.resolved(cx, resolved);
    }

    fn plain_event(&mut self, cx: &mut Cx<'_>, event: PlainEvent) {
        match event {
            PlainEvent::Message {
                source,
                line,
                form,
                bytes,
            } => {
                let from = LineRef { peer: source, line };
                if self.home.remote_message(cx, from, form, &bytes) {
                    self.exports.message(cx, source, form, &bytes);
                }
            }
            PlainEvent::Talking {
                source,
                line,
                talking,
            } => {
                let from = LineRef { peer: source, line };
                self.home.remote_talking(cx, from, talking);
            }
            PlainEvent::Opened { sock, bound } => {
                if !self.exports.opened(cx, sock, bound) {
                    self.home.opened(cx, sock, bound);
                }
            }
        }
    }

    fn remote(&mut self, cx: &mut Cx<'_>, from: ShardId, message: Box<dyn PluginMsg>) {
        let message: Box<dyn Any> = message;
        let message = message
            .downcast::<Msg>()
            .expect("instances of a plugin send each other its own messages");
        match *message {
            Msg::Export(order) => self.exports.order(cx, *order),
            Msg::Exported { room, report } => self.home.exported(cx, &room, *report),
            Msg::ExportStreams(streams) => self.exports.streams(cx, &streams),
            Msg::Home { room, act } => {
                if let Err((place, fault)) = self.home.act(cx, from, &room, act) {
                    let is_guess = fault.is_guess;
                    let (handle, news) = (place.handle, News::Refused(fault));
                    let message = Msg::Member { handle, news };
                    if is_guess {
                        let answer = Held::Send(place.shard, message);
                        self.guard.answer(cx, Some(room), handle.session, answer);
                    } else {
                        cx.send(place.shard, message);
                    }
                }
            }
            Msg::Keep(keep) => self.keeper.keep(cx, *keep),
            Msg::Kicked { room, private_id } => {
                for member in self.members.values_mut() {
                    member.kicked(cx, &room, private_id);
                }
            }
            Msg::Manage {
                ticket,
                source,
                request,
            } => {
                let room = request.room().cloned();
                match self.manage(cx, (ticket, from), request) {
                    Ok(Some(answer)) => cx.send(from, Msg::Managed { ticket, answer }),
                    Ok(None) => {}
                    Err(fault) => {
                        let answer = Managed::Data(fault.json());
                        let message = Msg::Managed { ticket, answer };
                        if fault.is_guess {
                            let answer = Held::Send(from, message);
                            self.guard.answer(cx, room, source, answer);
                        } else {
                            cx.send(from, message);
                        }
                    }
                }
                // What was ended may have been sent elsewhere.
                self.exports.prune(cx);
            }
            Msg::Managed { ticket, answer } => self.managed(cx, from, ticket, answer),
            Msg::Member { handle, news } => self.news(cx, handle, news),
        }
    }
}
