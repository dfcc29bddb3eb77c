//! Rooms that outlast the gateway: the plugin's configuration file, written anew with each change.
//!
//! Rooms are at home on all shards and there is one file, so one shard writes it. Whoever asked is
//! answered when the file is on the disk, or when it cannot be.
//!
//! Invariant: one write is under way at a time; what changes meanwhile is in the next one.

use serde_json::Value;

use crate::base::id::ShardId;
use crate::config::RoomConfig;
use crate::gateway::outside::{FileId, Written};
use crate::gateway::plugin::{Cx, Ticket};
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::messages::{Managed, Msg};

/// The shard that writes the file.
pub(super) const KEEPER: ShardId = ShardId(0);

/// A room that changed for good.
#[derive(Debug)]
pub(super) struct Keep {
    /// Who asked, and by which ticket.
    pub(super) asked: (Ticket, ShardId),
    pub(super) room: Id,
    /// `None` if it is no more.
    pub(super) config: Option<RoomConfig>,
    /// What the client is told; only whether it was written is missing.
    pub(super) answer: Value,
}

/// The file as it is to be, on the shard that writes it.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// The rooms in it; `None` until the first change.
    rooms: Option<Vec<RoomConfig>>,
    under_way: Option<FileId>,
    /// Those whose changes are in the write under way.
    writing: Vec<Keep>,
    /// Those whose changes are in the next one.
    waiting: Vec<Keep>,
}

impl Keeper {
    /// Takes in a change.
    pub(super) fn keep(&mut self, cx: &mut Cx<'_>, keep: Keep) {
        let configured = || cx.config.videoroom.rooms.clone();
        let rooms = self.rooms.get_or_insert_with(configured);
        let id = keep.room.to_string();
        let at = rooms.iter().position(|room| room.id == id);
        match (at, keep.config.clone()) {
            (Some(at), Some(config)) => rooms[at] = config,
            (Some(at), None) => {
                rooms.remove(at);
            }
            (None, Some(config)) => rooms.push(config),
            (None, None) => {}
        }
        self.waiting.push(keep);
        self.write(cx);
    }

    /// A file was written, or was not.
    pub(super) fn written(&mut self, cx: &mut Cx<'_>, id: FileId, written: Written) {
        if self.under_way != Some(id) {
            return;
        }
        self.under_way = None;
        for keep in std::mem::take(&mut self.writing) {
            let mut data = keep.answer;
            data["permanent"] = (written == Written::Yes).into();
            let (ticket, asker) = keep.asked;
            let answer = Managed::Data(data);
            cx.send(asker, Msg::Managed { ticket, answer });
        }
        self.write(cx);
    }

    fn write(&mut self, cx: &mut Cx<'_>) {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return;
        }
        let Some(path) = cx.config.videoroom.file.clone() else {
            unreachable!("without a file nothing is asked to be kept");
        };
        let rooms = self.rooms.as_deref().unwrap_or_default();
        let text = cx.config.videoroom.to_jcfg(rooms);
        self.writing = std::mem::take(&mut self.waiting);
        self.under_way = Some(cx.write_file(path, text));
    }
}
