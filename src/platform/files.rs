//! Files: those that are written whole stand beside the old one first, are synced, and put in its
//! place; others grow. On threads of their own, because disks block and shards must not: one for all
//! files of a shard that grow, which do so often, and one for each that is written whole.
//!
//! Invariant: whoever opens a file that is replaced finds the old text or the new one, never a part.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::Sender;
use crate::driver::Arrival;
use crate::gateway::outside::{Content, FileWrite, Written};

/// Writes files for one shard.
#[derive(Clone, Debug)]
pub struct Files {
    shard: Sender<Arrival>,
    /// The way to the thread for files that grow, once there is one.
    growing: Arc<Mutex<Option<mpsc::Sender<FileWrite>>>>,
}

/// What is not known of an old file: its secrets are for the owner.
const MODE: u32 = 0o640;

impl Files {
    /// For the shard with this inbox.
    pub fn new(shard: Sender<Arrival>) -> Self {
        let growing = Arc::default();
        Self { shard, growing }
    }

    /// See [`Platform::write_file`](crate::driver::Platform::write_file).
    pub fn begin(&self, write: FileWrite) {
        let id = write.id;
        let begun = match write.content {
            Content::More(_) | Content::Named(_) | Content::New(_) => self.begin_in_line(write),
            Content::Whole(_) => {
                let shard = self.shard.clone();
                let body = move || carry_out(&shard, &write);
                let thread = thread::Builder::new().name("files".to_owned());
                thread.spawn(body).map(|_| ())
            }
        };
        if let Err(error) = begun {
            tracing::error!(%error, "no thread to write a file");
            let written = Written::No;
            self.shard.send(Arrival::Written { id, written });
        }
    }

    /// The queue is as long as there are recordings and captures, because each waits for its last
    /// write.
    fn begin_in_line(&self, write: FileWrite) -> io::Result<()> {
        let mut queue = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match &*queue {
            Some(sender) => match sender.send(write) {
                Ok(()) => return Ok(()),
                Err(refused) => refused.0,
            },
            None => write,
        };
        let (sender, writes) = mpsc::channel();
        let shard = self.shard.clone();
        let body = move || {
            for write in writes {
                carry_out(&shard, &write);
            }
        };
        let thread = thread::Builder::new().name("growing-files".to_owned());
        thread.spawn(body)?;
        let _ = sender.send(refused);
        *queue = Some(sender);
        Ok(())
    }
}

fn carry_out(shard: &Sender<Arrival>, write: &FileWrite) {
    let id = write.id;
    let done = match &write.content {
        Content::Whole(text) => replace(&write.path, text.as_bytes()),
        Content::Named(name) => rename(&write.path, name),
        Content::New(bytes) => make(&write.path, bytes),
        Content::More(bytes) => append(&write.path, bytes),
    };
    let written = match done {
        Ok(()) => Written::Yes,
        // Who asked knows what to do about it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Written::No,
        Err(error) => {
            tracing::error!(%error, path = %write.path.display(), "a file was not written");
            Written::No
        }
    };
    shard.send(Arrival::Written { id, written });
}

/// Nothing is lost that has the name already.
fn rename(path: &Path, name: &Path) -> io::Result<()> {
    match renameat_with(CWD, path, CWD, name, RenameFlags::NOREPLACE) {
        // File systems that cannot tell leave a moment between looking and renaming.
        Err(Errno::INVAL | Errno::NOSYS) if fs::symlink_metadata(name).is_err() => {
            fs::rename(path, name)
        }
        done => Ok(done?),
    }
}

fn make(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path);
    made?.write_all(bytes)
}

/// What is no plain file any more was put there by somebody else.
fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.write_all(bytes)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut beside = name.to_owned();
    beside.push(".new");
    let beside = path.with_file_name(beside);
    let mode = fs::metadata(path).map_or(MODE, |old| old.permissions().mode() & 0o777);
    // What an interrupted attempt has left is no use.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside);
    let written = file.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
        return written;
    }
    // The name is on the disk when its folder is.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::outside::FileId;
    use crate::platform::inbox;
    use std::collections::VecDeque;
    use std::task::{Context, Waker};

    #[test]
    fn files_that_grow_are_written_in_the_order_asked_for() {
        let folder = std::env::temp_dir().join(format!("bifrons-order-{}", std::process::id()));
        let path = folder.join("capture");
        let (sender, mut inbox) = inbox();
        let files = Files::new(sender);
        for number in 0..100_u8 {
            let content = match number {
                0 => Content::New(vec![number]),
                _ => Content::More(vec![number]),
            };
            files.begin(FileWrite {
                id: FileId(number.into()),
                path: path.clone(),
                content,
            });
        }
        let (mut arrived, mut cx) = (VecDeque::new(), Context::from_waker(Waker::noop()));
        while arrived.len() < 100 {
            let _ = inbox.poll_recv(&mut cx, &mut arrived);
            thread::yield_now();
        }
        assert_eq!(fs::read(&path).unwrap(), (0..100).collect::<Vec<u8>>());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_new_file_grows_and_takes_nobodys_place() {
        let folder = std::env::temp_dir().join(format!("bifrons-grow-{}", std::process::id()));
        let path = folder.join("a/capture");
        make(&path, b"begin ").unwrap();
        append(&path, b"end").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"begin end");
        assert!(make(&path, b"other").is_err());
        assert!(append(&folder.join("none"), b"x").is_err());
        std::os::unix::fs::symlink(&path, folder.join("link")).unwrap();
        assert!(append(&folder.join("link"), b"x").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"begin end");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_gets_its_name_unless_that_is_taken() {
        let folder = std::env::temp_dir().join(format!("bifrons-rename-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (open, name) = (folder.join("a.mjr.tmp"), folder.join("a.mjr"));
        fs::write(&open, "new").unwrap();
        fs::write(&name, "old").unwrap();
        assert_eq!(
            rename(&open, &name).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read(&name).unwrap(), b"old");
        rename(&open, &folder.join("b.mjr")).unwrap();
        assert_eq!(fs::read(folder.join("b.mjr")).unwrap(), b"new");
        assert!(!open.exists());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_leaves_nothing_beside_it() {
        let folder = std::env::temp_dir().join(format!("bifrons-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("rooms.jcfg");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.join("rooms.jcfg.new"), "left over").unwrap();

        replace(&path, b"new text").unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"new text");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(replace(&folder.join("none/rooms.jcfg"), b"x").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
