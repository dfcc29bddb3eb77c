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
        permanent: Permanent,
    },
    /// For all shards.
    List { sees_private: bool },
    /// For the home of a room that should be there.
    Room(RoomRequest),
}

impl Manage {
    /// The room that it is about, if it names one that should be there.
    pub(super) const fn room(&self) -> Option<&Id> {
        match self {
            Self::Room(request) => Some(&request.room),
            Self::Create { .. } | Self::List { .. } => None,
        }
    }
}

/// Whether a change is to outlast the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permanent {
    No,
    Yes,
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
    Destroy(Permanent),
    Edit(Box<Edit>, Permanent),
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
            | Self::Destroy(_)
            | Self::Edit(..)
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
            let permanent = permanent(fields, config, "edit room permanently")?;
            Ok(RoomAction::Edit(Box::new(edit), permanent))
        }),
        "destroy" => of_room(&fields, |fields| {
            let permanent = permanent(fields, config, "destroy room permanently")?;
            Ok(RoomAction::Destroy(permanent))
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
        "enable_recording" => enable_recording(&fields),
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
    let permanent = permanent(fields, config, "create permanent room")?;
    let room = fields.may_id("room")?.filter(Id::is_chosen);
    Ok(Manage::Create {
        room,
        options,
        permanent,
    })
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
    let tokens = fields.may_texts("allowed")?.unwrap_or_default();
    Ok(RoomAction::Allowed(match action {
        "add" => Allowed::Add(tokens),
        "disable" => Allowed::Disable,
        "enable" => Allowed::Enable,
        "remove" => Allowed::Remove(tokens),
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

/// The room is looked for before it is missed, as in Janus.
fn enable_recording(fields: &Fields<'_>) -> Result<Manage, Fault> {
    let record = fields.need_flag("record")?;
    if fields.get("room").is_none() {
        return Err(Fault::new(Code::NoSuchRoom, "No such room (0)"));
    }
    of_room(fields, |_| Ok(RoomAction::EnableRecording(record)))
}

fn permanent(
    fields: &Fields<'_>,
    config: &VideoRoomConfig,
    what: &str,
) -> Result<Permanent, Fault> {
    match (fields.may_flag("permanent")?, &config.file) {
        (Some(false) | None, _) => Ok(Permanent::No),
        (Some(true), Some(_)) => Ok(Permanent::Yes),
        (Some(true), None) => Err(Fault::new(
            Code::Unknown,
            format!("No configuration file, can't {what}"),
        )),
    }
}
