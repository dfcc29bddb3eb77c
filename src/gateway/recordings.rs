//! Where recordings are written: in the folders that the operator named, and nowhere else.
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
        let begun = match place(&recordings.folders, folder, name) {
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
/// A relative folder is below the first that is configured; an absolute one must be one of them or
/// below one. A relative name is below the folder, and an absolute one must be.
fn place(roots: &[PathBuf], folder: Option<&str>, name: &str) -> Result<PathBuf, &'static str> {
    let Some(first) = roots.first() else {
        return Err("recordings.folders names no folder");
    };
    let folder = folder.filter(|folder| !folder.is_empty()).map(Path::new);
    let elsewhere = "it is not in a folder for recordings";
    let within: Vec<PathBuf> = match folder {
        None => roots.to_vec(),
        Some(folder) if folder.is_absolute() => {
            let is_below = |root: &PathBuf| folder.starts_with(root);
            let root = roots.iter().find(|root| is_below(root)).ok_or(elsewhere)?;
            let below = folder.strip_prefix(root).unwrap_or(folder);
            vec![root.join(plain(below)?)]
        }
        Some(folder) => vec![first.join(plain(folder)?)],
    };
    let name = Path::new(name);
    let base = if name.is_absolute() {
        let root = within.iter().find(|root| name.starts_with(root));
        let root = root.ok_or(elsewhere)?;
        root.join(plain(name.strip_prefix(root).unwrap_or(name))?)
    } else {
        within[0].join(plain(name)?)
    };
    // A folder alone is no name.
    let is_file = !within.contains(&base) && !name.as_os_str().as_bytes().ends_with(b"/");
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
        let placed = place(&roots, folder, name).ok()?;
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
        assert!(place(&[], None, "a").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_named_stays_below(
            folder in prop::option::of("(/var/rec|/data/calls|/)?[a./]{0,12}"),
            name in "(/var/rec|/data/calls|/)?[a./]{0,12}",
        ) {
            if let Some(path) = placed(folder.as_deref(), &name) {
                prop_assert!(path.starts_with("/var/rec/") || path.starts_with("/data/calls/"));
                prop_assert!(!path.contains("/.") && !path.ends_with('/'), "{}", path);
            }
        }
    }
}
