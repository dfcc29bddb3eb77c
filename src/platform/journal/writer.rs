//! The thread that writes a journal, and after its end the tail.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use super::ring::Ring;
use super::{Message, Part, Shared, TOO_SLOW};
use crate::driver::journal::{Kind, PROCESS, head, tail_block, tail_end};

/// Writes what shards hand over.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) shared: Arc<Shared>,
    /// Bytes that the journal still takes.
    pub(super) left: u64,
    /// What comes after its end; `None` if nothing does.
    pub(super) ring: Option<Ring>,
    /// The journal has its last block.
    pub(super) has_ended: bool,
}

/// Whether there is a place for what follows.
enum Next {
    Over,
    Place,
}

impl Writer {
    pub(super) fn run(&mut self, messages: &mpsc::Receiver<Message>) {
        let written = self.write_all(messages);
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.shared.is_done.store(true, Ordering::Release);
        if let Err(error) = written {
            let path = self.path.display();
            tracing::error!(%error, %path, "the journal ends, it cannot be written");
        }
    }

    /// Writes until there is no more, or no place for it.
    fn write_all(&mut self, messages: &mpsc::Receiver<Message>) -> io::Result<()> {
        let why = loop {
            match messages.recv() {
                Err(_) => break "the process ended",
                Ok(Message::End(why)) => break why,
                Ok(Message::Part(part)) => match self.put(&part)? {
                    Next::Over => break "it was full",
                    Next::Place => {
                        let waiting = &self.shared.waiting_bytes;
                        waiting.fetch_sub(part.waiting_bytes, Ordering::Relaxed);
                    }
                },
            }
        };
        self.finish(why)
    }

    fn finish(&mut self, why: &str) -> io::Result<()> {
        let has_gap = self.shared.has_gap.load(Ordering::Relaxed);
        let had_ended = self.has_ended;
        if !had_ended {
            self.end_journal(if has_gap { TOO_SLOW } else { why })?;
        }
        if let Some(ring) = &mut self.ring
            && (has_gap || had_ended)
        {
            ring.put(&tail_end(PROCESS, why))?;
            ring.sync()?;
        }
        self.file.sync_all()
    }

    fn put(&mut self, part: &Part) -> io::Result<Next> {
        if self.has_ended {
            return self.put_in_tail(part);
        }
        let head = head(part.owner, part.kind, part.number, &part.content);
        let size = (head.len() + part.content.len()) as u64;
        match self.left.checked_sub(size) {
            Some(left) if !part.follows_gap => {
                self.left = left;
                self.file.write_all(&head)?;
                self.file.write_all(&part.content)?;
                self.count(part);
                Ok(Next::Place)
            }
            // The log was told when it came to be.
            Some(_) => self.go_on_in_tail(part, TOO_SLOW),
            None => {
                let (path, has_tail) = (self.path.display(), self.ring.is_some());
                tracing::warn!(%path, has_tail, "the journal is full, and ends");
                self.go_on_in_tail(part, "it was full")
            }
        }
    }

    fn go_on_in_tail(&mut self, part: &Part, why: &str) -> io::Result<Next> {
        self.end_journal(why)?;
        self.shared.is_in_tail.store(true, Ordering::Relaxed);
        self.put_in_tail(part)
    }

    fn put_in_tail(&mut self, part: &Part) -> io::Result<Next> {
        let (Some(ring), Some(before)) = (&mut self.ring, &part.before) else {
            return Ok(Next::Over);
        };
        let block = tail_block(part.owner, part.number, before, &part.content);
        // What a shard began with is of use in a replay alone.
        if part.kind == Kind::Entries && ring.put(&block)? {
            self.count(part);
        } else {
            self.shared.lost(part.content.len());
        }
        Ok(Next::Place)
    }

    fn count(&self, part: &Part) {
        let written = &self.shared.written_bytes;
        written.fetch_add(part.content.len() as u64, Ordering::Relaxed);
    }

    fn end_journal(&mut self, why: &str) -> io::Result<()> {
        self.has_ended = true;
        let head = head(PROCESS, Kind::End, 1, why.as_bytes());
        self.file.write_all(&head)?;
        self.file.write_all(why.as_bytes())
    }
}
