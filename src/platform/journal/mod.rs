//! Writes a journal to the disk, on a thread of its own, because disks block and shards must not.
//!
//! Invariant: blocks of a shard are written in order, and none is left out: from the first one that
//! is lost on, for want of room or by the disk's fault, nothing is taken any more.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::sources::{seed, unix_time};
use crate::config::{Config, JournalConfig, TokenAuth};
use crate::driver::journal::{Kind, MAGIC, Mask, PROCESS, ProcessStart, Sink, Taken, head};

/// Bytes that wait for the disk, at most: a second of a very busy process. Beyond it the journal
/// ends, because what would be missing could not be made up for.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// How long shards may take to hand over what they have when the process fails.
const HURRY: Duration = Duration::from_millis(300);

const SUFFIX: &str = "journal";

/// The journal of this process.
#[derive(Debug)]
pub(super) struct Journal {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
    thread: JoinHandle<()>,
    mask: Mask,
    /// Shards that have handed over what they had, since it is urgent.
    hurried: mpsc::Receiver<u8>,
    hurries: mpsc::Sender<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    handed_bytes: AtomicU64,
    written_bytes: AtomicU64,
    /// No more is taken.
    is_over: AtomicBool,
    /// No more is written.
    is_done: AtomicBool,
    is_urgent: AtomicBool,
}

#[derive(Debug)]
enum Message {
    Block([u8; 18], Vec<u8>),
    End(&'static str),
}

/// Where a shard's blocks go.
#[derive(Debug)]
pub(super) struct ShardSink {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
    hurries: mpsc::Sender<u8>,
    owner: u8,
    number: u32,
}

/// Why a configuration cannot be recorded so that a replay comes to the same.
pub(super) fn hindrance(config: &Config) -> Option<&'static str> {
    let has_tls = [
        (config.http.enabled, &config.http.secure_bind),
        (config.admin.enabled, &config.admin.secure_bind),
        (config.ws.enabled, &config.ws.secure_bind),
        (true, &config.ws.admin_secure_bind),
    ]
    .into_iter()
    .any(|(is_enabled, binds)| is_enabled && !binds.is_empty());
    if has_tls {
        return Some("the keys of TLS connections are not its own to repeat");
    }
    matches!(config.general.token_auth, TokenAuth::Signed(_))
        .then_some("signed tokens cannot be masked and stay valid")
}

impl Journal {
    /// Begins a journal.
    ///
    /// # Errors
    ///
    /// When the folder or the file cannot be made, or there is no entropy or no thread.
    pub(super) fn start(config: &Config, folder: &Path, shards: u8) -> io::Result<Self> {
        let mut key = [0; 16];
        key.copy_from_slice(&seed()?[..16]);
        let mut mask = Mask::new(key);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        tidy(folder, config.journal.files)?;
        let (path, mut file) = create(folder)?;
        let start = ProcessStart::new(config, shards, &mut mask);
        let start = serde_json::to_vec(&start).expect("it is plain data");
        file.write_all(MAGIC)?;
        file.write_all(&head(PROCESS, Kind::Start, 0, &start))?;
        file.write_all(&start)?;
        let shared = Arc::<Shared>::default();
        let (queue, messages) = mpsc::channel();
        let mut writer = Writer {
            file,
            path: path.clone(),
            shared: Arc::clone(&shared),
            left: config.journal.size.saturating_sub(start.len() as u64),
        };
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&messages))?;
        tracing::info!(path = %path.display(), "writing a journal");
        let (hurries, hurried) = mpsc::channel();
        Ok(Self {
            shared,
            queue,
            thread,
            mask,
            hurried,
            hurries,
        })
    }

    /// The way of a shard's blocks, and what masks its secrets.
    pub(super) fn sink(&self, owner: u8) -> (ShardSink, Mask) {
        let sink = ShardSink {
            shared: Arc::clone(&self.shared),
            queue: self.queue.clone(),
            hurries: self.hurries.clone(),
            owner,
            number: 0,
        };
        (sink, self.mask.clone())
    }

    /// Lets shards hand over all that they have, because the process ends before they do; `wake`
    /// has those turn that sleep.
    pub(super) fn hurry(&self, shards: usize, wake: impl FnOnce()) {
        self.shared.is_urgent.store(true, Ordering::Relaxed);
        wake();
        let mut done = BTreeSet::new();
        while done.len() < shards {
            match self.hurried.recv_timeout(HURRY) {
                Ok(shard) => done.insert(shard),
                Err(_) => return,
            };
        }
    }

    /// Writes what waits, and says why nothing follows.
    pub(super) fn finish(self, why: &'static str) {
        // A writer that has ended has said so.
        let _ = self.queue.send(Message::End(why));
        let _ = self.thread.join();
    }
}

impl Sink for ShardSink {
    fn put(&mut self, kind: Kind, content: Vec<u8>) -> Taken {
        let shared = &self.shared;
        let size = content.len() as u64;
        let handed = shared.handed_bytes.fetch_add(size, Ordering::Relaxed);
        if shared.is_over.load(Ordering::Relaxed) {
            return Taken::No;
        }
        let written = shared.written_bytes.load(Ordering::Relaxed);
        if handed.saturating_sub(written) > WAITING_BYTES_MAX {
            if !shared.is_over.swap(true, Ordering::Relaxed) {
                tracing::warn!("the disk is too slow for the journal, which ends");
                let _ = self.queue.send(Message::End("the disk was too slow"));
            }
            return Taken::No;
        }
        let head = head(self.owner, kind, self.number, &content);
        self.number += 1;
        let sent = self.queue.send(Message::Block(head, content));
        if shared.is_urgent.load(Ordering::Relaxed) {
            let _ = self.hurries.send(self.owner);
        }
        match sent {
            Ok(()) => Taken::Yes,
            Err(_) => Taken::No,
        }
    }

    fn is_urgent(&self) -> bool {
        self.shared.is_urgent.load(Ordering::Relaxed)
    }

    fn is_panicking(&self) -> bool {
        thread::panicking()
    }

    fn lost_bytes(&self) -> u64 {
        // Before, what is not written may yet be.
        if self.owner != 0 || !self.shared.is_done.load(Ordering::Acquire) {
            return 0;
        }
        let written = self.shared.written_bytes.load(Ordering::Relaxed);
        let handed = self.shared.handed_bytes.load(Ordering::Relaxed);
        handed.saturating_sub(written)
    }
}

#[derive(Debug)]
struct Writer {
    file: File,
    path: PathBuf,
    shared: Arc<Shared>,
    left: u64,
}

impl Writer {
    fn run(&mut self, messages: &mpsc::Receiver<Message>) {
        let written = self.write_all(messages);
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.shared.is_done.store(true, Ordering::Release);
        if let Err(error) = written {
            let path = self.path.display();
            tracing::error!(%error, %path, "the journal ends, it cannot be written");
        }
    }

    /// Writes until there is no more, or no more room.
    fn write_all(&mut self, messages: &mpsc::Receiver<Message>) -> io::Result<()> {
        let why = loop {
            match messages.recv() {
                Err(_) => break "the process ended",
                Ok(Message::End(why)) => break why,
                Ok(Message::Block(head, content)) => {
                    let size = (head.len() + content.len()) as u64;
                    let Some(left) = self.left.checked_sub(size) else {
                        let path = self.path.display();
                        tracing::warn!(%path, "the journal is full, and ends");
                        break "it was full";
                    };
                    self.left = left;
                    self.file.write_all(&head)?;
                    self.file.write_all(&content)?;
                    let written = &self.shared.written_bytes;
                    written.fetch_add(content.len() as u64, Ordering::Relaxed);
                }
            }
        };
        self.file
            .write_all(&head(PROCESS, Kind::End, 1, why.as_bytes()))?;
        self.file.write_all(why.as_bytes())?;
        self.file.sync_all()
    }
}

/// A new file, that only its owner may read: it holds what ids are made of.
fn create(folder: &Path) -> io::Result<(PathBuf, File)> {
    let (time, process) = (unix_time().as_secs(), std::process::id());
    let path = folder.join(format!("bifrons-{time}-{process}.{SUFFIX}"));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    Ok((path, file))
}

/// Makes room for one more journal: removes the oldest ones, by their names.
fn tidy(folder: &Path, most: usize) -> io::Result<()> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(time) = time_of(&path) {
            journals.push((time, path));
        }
    }
    journals.sort();
    let excess = (journals.len() + 1).saturating_sub(most.max(1));
    for (_, path) in journals.drain(..excess) {
        fs::remove_file(&path)?;
    }
    Ok(())
}

/// When a journal was begun; `None` for other files.
fn time_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_prefix("bifrons-")?.strip_suffix(".journal")?;
    let (time, process) = name.split_once('-')?;
    process.parse::<u32>().ok()?;
    time.parse().ok()
}

/// Starts a journal where the configuration wants one and it is of use.
pub(super) fn wanted(config: &Config, shards: u8) -> io::Result<Option<Journal>> {
    let JournalConfig {
        folder: Some(folder),
        ..
    } = &config.journal
    else {
        return Ok(None);
    };
    if let Some(why) = hindrance(config) {
        tracing::warn!(why, "no journal is written");
        return Ok(None);
    }
    Journal::start(config, folder, shards).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::driver::journal::{Blocks, Damage};

    fn folder(name: &str) -> PathBuf {
        let name = format!("bifrons-journal-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn pause() {
        let (_sender, receiver) = mpsc::channel::<()>();
        let _ = receiver.recv_timeout(Duration::from_millis(1));
    }

    fn config(folder: &Path, size: u64) -> Config {
        let mut config = Config::default();
        config.journal.folder = Some(folder.to_owned());
        config.journal.size = size;
        config
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    fn blocks(file: &[u8]) -> Result<Vec<(u8, Kind, Vec<u8>)>, Damage> {
        let mut blocks = Blocks::new(file)?;
        let mut all = Vec::new();
        while let Some(block) = blocks.next_block()? {
            all.push((block.owner, block.kind, block.content.to_vec()));
        }
        Ok(all)
    }

    #[test]
    fn what_shards_hand_over_is_in_the_file() {
        let folder = folder("whole");
        let journal = Journal::start(&config(&folder, 1 << 20), &folder, 2).unwrap();
        let (mut a, mut b) = (journal.sink(0).0, journal.sink(1).0);
        assert_eq!(a.put(Kind::Start, b"{}".to_vec()), Taken::Yes);
        assert_eq!(b.put(Kind::Start, b"{}".to_vec()), Taken::Yes);
        assert_eq!(a.put(Kind::Entries, vec![1]), Taken::Yes);
        journal.finish("a test");
        assert_eq!(a.put(Kind::Entries, vec![2]), Taken::No);
        let [path] = &files(&folder)[..] else {
            panic!("there is one file")
        };
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let all = blocks(&fs::read(path).unwrap()).unwrap();
        let owners: Vec<_> = all.iter().map(|(owner, kind, _)| (*owner, *kind)).collect();
        let wanted = [
            (PROCESS, Kind::Start),
            (0, Kind::Start),
            (1, Kind::Start),
            (0, Kind::Entries),
            (PROCESS, Kind::End),
        ];
        assert_eq!(owners, wanted);
        assert_eq!(all[4].2, b"a test");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_journal_ends_and_says_so() {
        let folder = folder("full");
        let journal = Journal::start(&config(&folder, 64 << 10), &folder, 1).unwrap();
        let mut sink = journal.sink(0).0;
        let mut put = 0;
        while sink.put(Kind::Entries, vec![0; 10_000]) == Taken::Yes {
            put += 1;
            pause();
            assert!(put < 1_000, "it never ends");
        }
        journal.finish("a test");
        let file = fs::read(&files(&folder)[0]).unwrap();
        assert!(file.len() <= (64 << 10) + 100, "{}", file.len());
        let all = blocks(&file).unwrap();
        let written = all.iter().filter(|block| block.1 == Kind::Entries).count();
        assert_eq!(sink.lost_bytes(), (put + 1 - written) as u64 * 10_000);
        assert_eq!(all.last().unwrap().2, b"it was full");
        assert!(all.len() < put + 2 && all.len() > 3);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn old_journals_make_room_and_other_files_stay() {
        let folder = folder("old");
        fs::create_dir_all(&folder).unwrap();
        for name in [
            "bifrons-9-1.journal",
            "bifrons-10-1.journal",
            "bifrons-8-x.journal",
            "notes",
        ] {
            fs::write(folder.join(name), "").unwrap();
        }
        let mut config = config(&folder, 1 << 20);
        config.journal.files = 2;
        Journal::start(&config, &folder, 1)
            .unwrap()
            .finish("a test");
        let names: Vec<String> = files(&folder)
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(
            !names.contains(&"bifrons-9-1.journal".to_owned()),
            "{names:?}"
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_could_not_be_replayed_is_not_recorded() {
        let mut config = Config::default();
        assert_eq!(hindrance(&config), None);
        config.http.secure_bind = config.http.bind.clone();
        assert!(hindrance(&config).is_some_and(|why| why.contains("TLS")));
        config.http.enabled = false;
        config.general.token_auth = TokenAuth::Signed(Secret::new("k"));
        assert!(hindrance(&config).is_some_and(|why| why.contains("signed")));
    }
}
