//! Requests about rooms, which need no handle and are answered at once.

use serde_json::{Map, Value};

use crate::config::VideoRoomConfig;
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::fields::{Fields, Shown};
use crate::plugins::videoroom::forward::{self, Export};
use crate::plugins::videoroom::ids::{Id, IdForm};
use crate::plugins::videoroom::options::{Edit, RoomOptions};
use crate::plugins::videoroom::remote::{self, AddRemote, UpdateRemote};

/// A request that any shard may get.
#[derive(Debug)]
pub(super) enum Manage {
    /// For the home of a new room; without an id, any shard's.
    Create {
        room: Option<Id>,
        options: Box<RoomOptions>,
    },
    /// For all shards.
    List { sees_private: bool },
    /// For the home of a room that should be there.
    Room(RoomRequest),
}

/// A request about one room.
#[derive(Debug)]
pub(super) struct RoomRequest {
    pub(super) room: Id,
    /// Checked where the room has a secret and the request needs it.
    pub(super) secret: Shown,
    pub(super) what: RoomAction,
}

/// What is to be done with a room.
#[derive(Debug)]
pub(super) enum RoomAction {
    AddRemote(Box<AddRemote>),
    Allowed(Allowed),
    Destroy,
    Edit(Box<Edit>),
    EnableRecording(bool),
    Exists,
    Kick {
        id: Id,
    },
    /// Something for the shard of a publisher.
    Export {
        id: Id,
        export: Box<Export>,
        is_trusted: bool,
    },
    ListForwarders,
    ListParticipants,
    ListRemotes {
        id: Id,
    },
    Moderate {
        id: Id,
        mid: Box<str>,
        mute: bool,
    },
    RemoveRemote {
        id: Id,
    },
    UpdateRemote(Box<UpdateRemote>),
}

/// What is to be done with a room's tokens.
#[derive(Debug)]
pub(super) enum Allowed {
    Add(Vec<Box<str>>),
    Disable,
    Enable,
    Remove(Vec<Box<str>>),
}

impl RoomAction {
    /// Whether who asks must know the room's secret.
    pub(super) const fn needs_secret(&self) -> bool {
        match self {
            Self::Exists | Self::ListParticipants => false,
            Self::AddRemote(_)
            | Self::Allowed(_)
            | Self::Destroy
            | Self::Edit(_)
            | Self::EnableRecording(_)
            | Self::Kick { .. }
            | Self::Export { .. }
            | Self::ListForwarders
            | Self::ListRemotes { .. }
            | Self::Moderate { .. }
            | Self::RemoveRemote { .. }
            | Self::UpdateRemote(_) => true,
        }
    }
}

/// Reads a request by its name in lower case; `None` if it is of another kind.
pub(super) fn read(
    name: &str,
    body: &Map<String, Value>,
    config: &VideoRoomConfig,
) -> Option<Result<Manage, Fault>> {
    let fields = Fields::new(body, IdForm::of(config.string_ids));
    Some(match name {
        "create" => create(&fields, config),
        "list" => list(&fields, config),
        "edit" => of_room(&fields, |fields| {
            let edit = Edit::read(fields)?;
            never_permanent(fields, "edit room permanently")?;
            Ok(RoomAction::Edit(Box::new(edit)))
        }),
        "destroy" => of_room(&fields, |fields| {
            never_permanent(fields, "destroy room permanently")?;
            Ok(RoomAction::Destroy)
        }),
        "exists" => of_room(&fields, |_| Ok(RoomAction::Exists)),
        "allowed" => of_room(&fields, allowed),
        "kick" => of_room(&fields, |fields| {
            let id = fields.need_id("id")?;
            Ok(RoomAction::Kick { id })
        }),
        "moderate" => of_room(&fields, |fields| {
            let id = fields.need_id("id")?;
            let mid = fields.need_text("mid")?.into();
            let mute = fields.need_flag("mute")?;
            Ok(RoomAction::Moderate { id, mid, mute })
        }),
        "listparticipants" => of_room(&fields, |_| Ok(RoomAction::ListParticipants)),
        "listforwarders" => of_room(&fields, |_| Ok(RoomAction::ListForwarders)),
        "enable_recording" => of_room(&fields, |fields| {
            Ok(RoomAction::EnableRecording(fields.need_flag("record")?))
        }),
        _ => {
            let action = forward::read(name, &fields, config);
            let action = action.or_else(|| remote::read(name, &fields))?;
            of_room(&fields, |_| action)
        }
    })
}

fn create(fields: &Fields<'_>, config: &VideoRoomConfig) -> Result<Manage, Fault> {
    let options = Box::new(RoomOptions::read(fields)?);
    let admin_key = config.admin_key.as_ref().map(|key| key.expose());
    fields.shown("admin_key").check(admin_key)?;
    never_permanent(fields, "create permanent room")?;
    let is_chosen = |id: &Id| !matches!(id, Id::Number(0));
    let room = fields.may_id("room")?.filter(is_chosen);
    Ok(Manage::Create { room, options })
}

fn list(fields: &Fields<'_>, config: &VideoRoomConfig) -> Result<Manage, Fault> {
    let admin_key = config.admin_key.as_ref().map(|key| key.expose());
    let is_given = match fields.get("admin_key") {
        None => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => return Err(Fault::wrong_type("admin_key", "a string")),
    };
    if admin_key.is_some() && is_given {
        fields.shown("admin_key").check(admin_key)?;
    }
    Ok(Manage::List {
        sees_private: admin_key.is_some() && is_given,
    })
}

fn allowed(fields: &Fields<'_>) -> Result<RoomAction, Fault> {
    let action = fields.need_text("action")?;
    let tokens = fields.may_texts("allowed")?;
    let need = |tokens: Option<Vec<Box<str>>>| tokens.ok_or_else(|| Fault::missing("allowed"));
    Ok(RoomAction::Allowed(match action {
        "add" => Allowed::Add(need(tokens)?),
        "disable" => Allowed::Disable,
        "enable" => Allowed::Enable,
        "remove" => Allowed::Remove(need(tokens)?),
        other => {
            return Err(Fault::element(format!(
                "Unsupported action '{other}' (allowed)"
            )));
        }
    }))
}

fn of_room(
    fields: &Fields<'_>,
    read: impl FnOnce(&Fields<'_>) -> Result<RoomAction, Fault>,
) -> Result<Manage, Fault> {
    Ok(Manage::Room(RoomRequest {
        room: fields.need_id("room")?,
        what: read(fields)?,
        secret: fields.shown("secret"),
    }))
}

/// The configuration is read and never written: rooms last until they are destroyed or the gateway
/// ends, and whoever wants more is told so, in the words of a Janus without the file.
fn never_permanent(fields: &Fields<'_>, what: &str) -> Result<(), Fault> {
    match fields.may_flag("permanent")? {
        Some(true) => Err(Fault::new(
            Code::Unknown,
            format!("No configuration file, can't {what}"),
        )),
        Some(false) | None => Ok(()),
    }
}
