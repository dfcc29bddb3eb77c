//! Where recordings are written: in the folders that the operator named, by themselves or as those of
//! rooms, and nowhere else.
//!
//! Plugins, and with them clients, choose names and folders below those. What leads elsewhere is
//! refused, by its name alone: links that the operator put there are the operator's.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use tracing::warn;

use crate::gateway::outside::{Content, FileId, FileWrite};
use crate::gateway::plugin::Cx;
use crate::media::{LineRef, RecordingAct, RecordingId, RecordingSpec, RecordingWrite};
use crate::wire::mjr::MjrInfo;

/// What a plugin wants to record, and where.
#[derive(Clone, Debug)]
pub struct RecordingWish<'a> {
    /// The line that it comes from.
    pub line: LineRef,
    /// What it is of.
    pub info: MjrInfo,
    /// The folder; `None` is the first that is configured.
    pub folder: Option<&'a str>,
    /// The name, which may have folders in front; the ending is added.
    pub name: &'a str,
}

/// A name in a folder may be 255 bytes long; endings and what goes behind a name that is taken need
/// some.
const NAME_BYTES_MAX: usize = 200;

/// What fits into a path that the system takes.
const PATH_BYTES_MAX: usize = 2_048;

/// Ids of recordings beside those of other files, so that neither depends on how many of the other
/// there are: media, and with it most of what is written, may be missing in a replay.
const RECORDING: u64 = 1 << 63;

impl FileId {
    /// Whether it is the file of a recording, which grows often.
    pub const fn is_recording(self) -> bool {
        self.0 & RECORDING != 0
    }

    pub(super) const fn recording(self) -> Option<RecordingId> {
        if self.is_recording() {
            Some(RecordingId(self.0 & !RECORDING))
        } else {
            None
        }
    }
}

pub(super) fn file_write(write: RecordingWrite) -> FileWrite {
    FileWrite {
        id: FileId(RECORDING | write.id.0),
        path: write.path,
        content: match write.act {
            RecordingAct::Make(bytes) => Content::New(bytes),
            RecordingAct::More(bytes) => Content::More(bytes),
            RecordingAct::Name(path) => Content::Named(path),
        },
    }
}

impl Cx<'_> {
    /// Whether there is a folder for recordings.
    pub fn can_record(&self) -> bool {
        !self.config.recordings.folders.is_empty()
    }

    /// Begins to record a line. `None` if that cannot be, which is logged and counted.
    pub fn record(&mut self, wish: RecordingWish<'_>) -> Option<RecordingId> {
        let RecordingWish {
            line,
            info,
            folder,
            name,
        } = wish;
        let recordings = &self.config.recordings;
        let of_rooms: Vec<&Path> = self.config.videoroom.recordings_folders().collect();
        let begun = match place(&recordings.folders, &of_rooms, folder, name) {
            Err(why) => Err(why),
            Ok(base) => {
                let spec = RecordingSpec {
                    line,
                    info,
                    base,
                    open_ending: recordings.tmp_ext.as_deref().map(Box::from),
                };
                self.media.record(self.now, spec).map_err(|fault| {
                    tracing::debug!(%fault, "no recording");
                    "there are too many"
                })
            }
        };
        match begun {
            Ok(id) => Some(id),
            Err(why) => {
                warn!(why, folder, name, "a recording is refused");
                self.media.recording_refused();
                None
            }
        }
    }
}

/// The file of a recording without its ending.
///
/// A relative folder is below the first of `roots`; an absolute one must be one of them or below
/// one, and `more` are as good for that. A relative name is below the folder, and an absolute one
/// must be.
fn place(
    roots: &[PathBuf],
    more: &[&Path],
    folder: Option<&str>,
    name: &str,
) -> Result<PathBuf, &'static str> {
    let first = || {
        let first = roots.first();
        first.ok_or("recordings.folders names no folder")
    };
    let elsewhere = "it is not in a folder for recordings";
    let root_of = |path: &Path| {
        let all = roots
            .iter()
            .map(PathBuf::as_path)
            .chain(more.iter().copied());
        // The longest: what is above it was chosen by the operator, whatever it is called.
        let above = all.filter(|root| path.starts_with(root));
        above
            .max_by_key(|root| root.as_os_str().len())
            .ok_or(elsewhere)
    };
    let below = |root: &Path, path: &Path| {
        let rest = path.strip_prefix(root).unwrap_or(path);
        Ok::<_, &str>(root.join(plain(rest)?))
    };
    let folder = folder.filter(|folder| !folder.is_empty()).map(Path::new);
    let folder = match folder {
        None => None,
        Some(folder) if folder.is_absolute() => Some(below(root_of(folder)?, folder)?),
        Some(folder) => Some(first()?.join(plain(folder)?)),
    };
    let name = Path::new(name);
    let (within, base) = match folder {
        Some(folder) if !name.is_absolute() => {
            let base = folder.join(plain(name)?);
            (folder, base)
        }
        Some(folder) if name.starts_with(&folder) => {
            let base = below(&folder, name)?;
            (folder, base)
        }
        Some(_) => return Err(elsewhere),
        None if name.is_absolute() => {
            let root = root_of(name)?;
            (root.to_owned(), below(root, name)?)
        }
        None => (first()?.clone(), first()?.join(plain(name)?)),
    };
    // A folder alone is no name.
    let is_file = within != base && !name.as_os_str().as_bytes().ends_with(b"/");
    if !is_file || base.as_os_str().len() > PATH_BYTES_MAX {
        return Err("its name is none that a file can have");
    }
    Ok(base)
}

/// The same path if it leads down and nowhere else.
fn plain(path: &Path) -> Result<PathBuf, &'static str> {
    let is_plain = |name: &OsStr| {
        let bytes = name.as_bytes();
        !bytes.starts_with(b".")
            && bytes.len() <= NAME_BYTES_MAX
            && !bytes.iter().any(|byte| byte.is_ascii_control())
    };
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) if is_plain(name) => plain.push(name),
            Component::Normal(_)
            | Component::ParentDir
            | Component::Prefix(_)
            | Component::RootDir => return Err("a part of its name is not allowed"),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn placed(folder: Option<&str>, name: &str) -> Option<String> {
        let roots = ["/var/rec".into(), "/data/calls".into()];
        let placed = place(&roots, &[Path::new("/rooms/7")], folder, name).ok()?;
        Some(placed.to_str().unwrap().to_owned())
    }

    #[track_caller]
    fn check(folder: Option<&str>, name: &str, expected: Option<&str>) {
        assert_eq!(
            placed(folder, name).as_deref(),
            expected,
            "{folder:?} {name:?}"
        );
    }

    #[test]
    fn files_are_in_a_folder_for_recordings_or_below_it() {
        check(None, "a", Some("/var/rec/a"));
        check(Some(""), "a", Some("/var/rec/a"));
        check(None, "room/a", Some("/var/rec/room/a"));
        check(Some("room"), "./a", Some("/var/rec/room/a"));
        check(Some("/data/calls"), "a", Some("/data/calls/a"));
        check(Some("/data/calls/x/"), "y/a", Some("/data/calls/x/y/a"));
        check(None, "/data/calls/a", Some("/data/calls/a"));
        check(
            Some("/data/calls/x"),
            "/data/calls/x/a",
            Some("/data/calls/x/a"),
        );
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for folder in [
            "/tmp",
            "..",
            "a/../..",
            "/var/rec/../log",
            "/",
            "/var/recs",
            ".ssh",
        ] {
            check(Some(folder), "a", None);
        }
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for name in [
            "../a",
            "/a",
            "a/../../b",
            "..",
            ".",
            "",
            "a/",
            ".hidden",
            "a\0b",
            "a\nb",
            "/var/rec",
            &long,
            "/etc/passwd",
            "/var/rec/../x",
        ] {
            check(None, name, None);
        }
        // A room's own folder holds what its publishers name.
        check(Some("/data/calls/x"), "/data/calls/y/a", None);
        check(Some("room"), "../a", None);
        assert!(place(&[], &[], None, "a").is_err());
    }

    #[test]
    fn the_folder_of_a_room_holds_what_names_it_and_nothing_else() {
        check(Some("/rooms/7"), "a", Some("/rooms/7/a"));
        check(Some("/rooms/7/x"), "/rooms/7/x/a", Some("/rooms/7/x/a"));
        check(None, "/rooms/7/a", Some("/rooms/7/a"));
        for (folder, name) in [
            (Some("/rooms"), "a"),
            (Some("/rooms/8"), "a"),
            (Some("/rooms/7/.."), "a"),
            (Some("/rooms/7"), "../a"),
            (Some("/rooms/7"), "/var/rec/a"),
            (None, "/rooms/7"),
        ] {
            check(folder, name, None);
        }
        // What names no folder goes to none of these.
        let only = [Path::new("/rooms/7")];
        assert!(place(&[], &only, None, "a").is_err());
        assert!(place(&[], &only, Some("x"), "a").is_err());
        assert!(place(&[], &only, Some("/rooms/7"), "a").is_ok());
        let hidden = [Path::new("/data/.calls")];
        assert!(place(&["/data".into()], &hidden, Some("/data/.calls"), "a").is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_named_stays_below(
            folder in prop::option::of("(/var/rec|/data/calls|/rooms/7|/)?[a./]{0,12}"),
            name in "(/var/rec|/data/calls|/rooms/7|/)?[a./]{0,12}",
        ) {
            if let Some(path) = placed(folder.as_deref(), &name) {
                let roots = ["/var/rec/", "/data/calls/", "/rooms/7/"];
                prop_assert!(roots.iter().any(|root| path.starts_with(root)), "{}", path);
                prop_assert!(!path.contains("/.") && !path.ends_with('/'), "{}", path);
            }
        }
    }
}
