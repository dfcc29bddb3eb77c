//! Writes a journal to the disk, on a thread of its own, because disks block and shards must not.
//!
//! Invariant: blocks of a shard are written in order, and of the journal none is left out: from the
//! first one that is lost on, for want of room or by the disk's fault, nothing is in it any more.
//! What follows goes into the tail, if there is one.

mod folder;
mod ring;
mod writer;

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::sources::seed;
use crate::config::{Config, JournalConfig, TokenAuth};
use crate::driver::journal::{Coder, Kind, MAGIC, Mask, PROCESS, ProcessStart, Sink, Taken, head};

use folder::{create, tidy};
use ring::Ring;
use writer::Writer;

/// Bytes that wait for the disk, at most: a second of a very busy process. Beyond it the journal
/// ends, because what would be missing could not be made up for, and the tail lacks what is handed
/// over until some have been written.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// How long shards may take to hand over what they have when the process fails.
const HURRY: Duration = Duration::from_millis(300);

/// Memory of a block that waits, beside its content.
const PART_BYTES: usize = size_of::<Message>() + size_of::<Coder>();

const TOO_SLOW: &str = "the disk was too slow";

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
    /// Something is written after the end of the journal.
    has_tail: bool,
    handed_bytes: AtomicU64,
    written_bytes: AtomicU64,
    /// Bytes that were handed over and will not be written.
    lost_bytes: AtomicU64,
    /// Memory of what waits for the disk.
    waiting_bytes: AtomicU64,
    /// A block was lost while others waited.
    has_gap: AtomicBool,
    /// The journal has ended, and what is taken goes into its tail.
    is_in_tail: AtomicBool,
    /// No more is taken.
    is_over: AtomicBool,
    /// No more is written.
    is_done: AtomicBool,
    is_urgent: AtomicBool,
}

impl Shared {
    fn lost(&self, bytes: usize) {
        self.lost_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Message {
    End(&'static str),
    Part(Part),
}

/// A block that is to be written.
#[derive(Debug)]
struct Part {
    owner: u8,
    kind: Kind,
    number: u32,
    /// One of the same shard is missing before it.
    follows_gap: bool,
    /// What it builds upon, where there is a tail.
    before: Option<Box<Coder>>,
    content: Vec<u8>,
    /// How much of what waits it is.
    waiting_bytes: u64,
}

/// Where a shard's blocks go.
#[derive(Debug)]
pub(super) struct ShardSink {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
    hurries: mpsc::Sender<u8>,
    owner: u8,
    number: u32,
    /// A block of this shard was lost.
    has_gap: bool,
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
        let tail_bytes = config.journal.tail;
        let shared = Arc::new(Shared {
            has_tail: tail_bytes > 0,
            ..Shared::default()
        });
        let (queue, messages) = mpsc::channel();
        let mut writer = Writer {
            file,
            path: path.clone(),
            shared: Arc::clone(&shared),
            left: config.journal.size.saturating_sub(start.len() as u64),
            ring: (tail_bytes > 0).then(|| Ring::new(path.clone(), tail_bytes)),
            has_ended: false,
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
            has_gap: false,
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

impl ShardSink {
    /// Loses a block that the disk is too slow for.
    fn lose(&mut self, size: usize) -> Taken {
        let shared = &self.shared;
        if !shared.has_tail {
            if !shared.is_over.swap(true, Ordering::Relaxed) {
                tracing::warn!("the disk is too slow for the journal, which ends");
                let _ = self.queue.send(Message::End(TOO_SLOW));
            }
            return Taken::No;
        }
        shared.lost(size);
        if !shared.has_gap.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the disk is too slow for the journal, which ends, or has a gap in its tail"
            );
        }
        self.has_gap = true;
        self.number = self.number.wrapping_add(1);
        Taken::Lost
    }
}

impl Sink for ShardSink {
    fn put(&mut self, kind: Kind, before: &Coder, content: Vec<u8>) -> Taken {
        let shared = &self.shared;
        let size = content.len();
        shared
            .handed_bytes
            .fetch_add(size as u64, Ordering::Relaxed);
        if shared.is_over.load(Ordering::Relaxed) {
            return Taken::No;
        }
        if shared.waiting_bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX {
            return self.lose(size);
        }
        let waiting_bytes = (content.capacity() + PART_BYTES) as u64;
        shared
            .waiting_bytes
            .fetch_add(waiting_bytes, Ordering::Relaxed);
        let is_in_tail = self.has_gap || shared.is_in_tail.load(Ordering::Relaxed);
        let part = Part {
            owner: self.owner,
            kind,
            number: self.number,
            follows_gap: self.has_gap,
            before: shared.has_tail.then(|| Box::new(before.clone())),
            content,
            waiting_bytes,
        };
        self.number = self.number.wrapping_add(1);
        let sent = self.queue.send(Message::Part(part));
        if shared.is_urgent.load(Ordering::Relaxed) {
            let _ = self.hurries.send(self.owner);
        }
        match sent {
            Ok(()) if is_in_tail => Taken::Tail,
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
        if self.owner != 0 {
            return 0;
        }
        if !self.shared.is_done.load(Ordering::Acquire) {
            // What is not written may yet be.
            return self.shared.lost_bytes.load(Ordering::Relaxed);
        }
        let written = self.shared.written_bytes.load(Ordering::Relaxed);
        let handed = self.shared.handed_bytes.load(Ordering::Relaxed);
        handed.saturating_sub(written)
    }
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
mod tests;
