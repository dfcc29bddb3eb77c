//! What the instances of the plugin on different shards tell each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::base::id::{HandleRef, SessionId, ShardId};
use crate::gateway::plugin::{PluginMsg, Ticket};
use crate::media::Talking;
use crate::plugins::videoroom::data::Message;
use crate::plugins::videoroom::exports::{Order, Report};
use crate::plugins::videoroom::fault::Fault;
use crate::plugins::videoroom::fields::Shown;
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::keeper::Keep;
use crate::plugins::videoroom::manage::Manage;
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::stream::StreamInfo;

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) shard: ShardId,
    pub(super) handle: HandleRef,
}

/// A message between instances.
#[derive(Debug)]
pub(super) enum Msg {
    /// A request about rooms.
    Manage {
        ticket: Ticket,
        /// Whose request it is.
        source: SessionId,
        request: Manage,
    },
    /// Its answer, or a part of it.
    Managed { ticket: Ticket, answer: Managed },
    /// From the home of a room, for the shard of a publisher.
    Export(Box<Order>),
    /// Its answer.
    Exported { room: Id, report: Box<Report> },
    /// From the home of a room, for the shard of a publisher that is sent elsewhere: its streams
    /// are these now.
    ExportStreams(Vec<StreamInfo>),
    /// From the home of a room, for the shard that keeps the file.
    Keep(Box<Keep>),
    /// From the home of a room, for all shards: who shows this private id gets nothing any more.
    Kicked { room: Id, private_id: u32 },
    /// From a member, for the home of its room.
    Home { room: Id, act: HomeAct },
    /// From the home of a room, for a member.
    Member { handle: HandleRef, news: News },
}

impl PluginMsg for Msg {}

/// The answer to [`Msg::Manage`].
#[derive(Debug)]
pub(super) enum Managed {
    /// All there is to say.
    Data(Value),
    /// The sender's rooms, one of all shards' parts.
    Rooms(Vec<Value>),
}

/// What a member wants of the home of its room.
#[derive(Debug)]
pub(super) enum HomeAct {
    /// To be known as who gets these streams of some publishers, by their mids, and no others of
    /// them; none of one ends the subscription to it.
    Get {
        handle: HandleRef,
        feeds: Vec<(Id, Vec<Box<str>>)>,
    },
    /// To be somebody in the room.
    Join { handle: HandleRef, join: Box<Join> },
    /// To go; the PeerConnection is gone or will be.
    Leave { user: Id },
    /// To publish: is there room?
    MayPublish { handle: HandleRef, user: Id },
    /// To be called something else.
    Rename {
        user: Id,
        display: Option<Box<str>>,
        metadata: Option<Value>,
    },
    /// What is published now.
    Streams {
        user: Id,
        streams: Vec<StreamInfo>,
        e2ee: bool,
    },
    /// It began or ceased to talk.
    Talking {
        user: Id,
        line: usize,
        talking: Talking,
    },
    /// To get streams of others.
    Subscribe {
        handle: HandleRef,
        ask: Box<Subscribe>,
    },
    /// To publish nothing.
    Unpublish { user: Id },
    /// The PeerConnection of a publisher is up.
    Up { user: Id },
}

/// Who wants to join, and as whom.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) token: TokenShown,
    pub(super) pin: Shown,
    /// What is wrong with it counts after the PIN.
    pub(super) wish: Result<JoinWish, Fault>,
}

#[derive(Debug)]
pub(super) struct JoinWish {
    pub(super) id: Option<Id>,
    pub(super) display: Option<Box<str>>,
    pub(super) metadata: Option<Value>,
    pub(super) token: Option<Box<str>>,
    /// What it says of when it talks.
    pub(super) talk: TalkWish,
}

/// What a client says of when it counts as talking.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TalkWish {
    pub(super) active_packets: Option<u64>,
    pub(super) level_average: Option<u64>,
}

/// What a client gave as a token.
pub(super) type TokenShown = Result<Option<Box<str>>, Fault>;

/// What somebody shows to be let in.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) token: TokenShown,
    pub(super) pin: Shown,
    /// What is wrong with the request counts after both.
    pub(super) request: Result<(), Fault>,
}

/// Who wants to subscribe, and to whom.
#[derive(Debug)]
pub(super) struct Subscribe {
    /// Only of those who are not in the room yet.
    pub(super) entry: Option<Entry>,
    pub(super) private_id: u64,
    /// In the order asked for.
    pub(super) feeds: Vec<Id>,
}

/// What the home of a room tells a member.
#[derive(Debug)]
pub(super) enum News {
    /// Those who get what it publishes.
    Audience(Vec<Place>),
    /// A publisher has sent a message.
    Data { feed: Id, message: Message },
    /// The room or the membership is over: destroyed or kicked.
    Ended,
    /// An event.
    Event(Value),
    /// A publisher publishes something else.
    FeedChanged(Box<Feed>),
    /// A publisher publishes nothing any more.
    FeedGone(Id),
    /// These publishers are there.
    Feeds(Box<Found>),
    /// It is in.
    Joined(Box<Joined>),
    /// It may publish.
    MayPublish { room: Arc<RoomOptions> },
    /// A stream of it is muted by a moderator, or not any more.
    Moderated { mid: Box<str>, mute: bool },
    /// The room is recorded from here on, or not any more.
    Recording(Arc<RoomOptions>),
    /// What it wanted cannot be.
    Refused(Fault),
    /// The room is another than before.
    Room(Arc<RoomOptions>),
    /// How many get each of its streams, by the mid.
    Subscribers(BTreeMap<Box<str>, u64>),
}

/// A new member of a room.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) room_id: Id,
    pub(super) id: Id,
    pub(super) private_id: u32,
    pub(super) room: Arc<RoomOptions>,
    pub(super) talk: TalkWish,
    /// What its client is told.
    pub(super) data: Value,
}

/// The publishers that somebody wants to subscribe to.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) room_id: Id,
    pub(super) room: Arc<RoomOptions>,
    pub(super) feeds: Vec<Feed>,
    /// Whether the private id that was shown is one of the room. It counts after the streams that
    /// are asked for, as in Janus, and who shows a wrong one is nobody's subscriber.
    pub(super) admission: Result<(), Fault>,
}

/// A publisher as subscribers see it.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) id: Id,
    pub(super) display: Option<Box<str>>,
    pub(super) metadata: Option<Value>,
    pub(super) streams: Vec<StreamInfo>,
    pub(super) shard: ShardId,
    /// Nothing ever comes from there.
    pub(super) is_dummy: bool,
    /// Its media is encrypted end to end.
    pub(super) e2ee: bool,
}
