//! The folder of journals: what is in it, and for how long.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::super::sources::unix_time;
use crate::driver::journal::tail_number;

const SUFFIX: &str = "journal";

/// A new journal.
pub(super) fn create(folder: &Path) -> io::Result<(PathBuf, File)> {
    let (time, process) = (unix_time().as_secs(), std::process::id());
    let path = folder.join(format!("bifrons-{time}-{process}.{SUFFIX}"));
    let file = new_file(&path)?;
    Ok((path, file))
}

/// A new file, that only its owner may read: it holds what ids are made of.
pub(super) fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Makes room for one more journal: removes the oldest ones with their tails, by their names.
pub(super) fn tidy(folder: &Path, most: usize) -> io::Result<()> {
    let mut journals = BTreeMap::<_, Vec<PathBuf>>::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(run) = run_of(&path) {
            journals.entry(run).or_default().push(path);
        }
    }
    let excess = (journals.len() + 1).saturating_sub(most.max(1));
    for path in journals.values().take(excess).flatten() {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// When the run began that a journal or a tail is of, and its process; `None` for other files.
fn run_of(path: &Path) -> Option<(u64, u32)> {
    if path.extension()? != SUFFIX {
        tail_number(path)?;
    }
    let name = path.file_stem()?.to_str()?.strip_prefix("bifrons-")?;
    let (time, process) = name.split_once('-')?;
    Some((time.parse().ok()?, process.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_journals_make_room_with_their_tails_and_other_files_stay() {
        let name = format!("bifrons-journal-old-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let old = [
            "bifrons-9-1.journal",
            "bifrons-9-1.tail-12",
            "bifrons-7-1.tail-0",
        ];
        let kept = [
            "bifrons-10-1.journal",
            "bifrons-10-1.tail-3",
            "bifrons-8-x.journal",
            "bifrons-9-1.tail-x",
            "notes",
        ];
        for name in old.iter().chain(&kept) {
            fs::write(folder.join(name), "").unwrap();
        }
        tidy(&folder, 2).unwrap();
        let names = fs::read_dir(&folder).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, kept);
        fs::remove_dir_all(&folder).unwrap();
    }
}
