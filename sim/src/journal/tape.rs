//! A journal's file, taken apart: what each shard began with, and what happened to it.

use bifrons::driver::journal::{
    Blocks, Broken, Coder, Damage, Entry, Kind, PROCESS, ProcessStart, ShardStart,
};

/// A journal as it is read.
#[derive(Debug)]
pub struct Journal {
    /// What the process began with.
    pub start: ProcessStart,
    /// One of each shard, in their order.
    pub tapes: Vec<Tape>,
    /// Why nothing follows; `None` when the process was killed.
    pub end: Option<String>,
    /// Where the file ends within a block.
    pub torn: Option<Damage>,
}

/// What happened to one shard.
#[derive(Debug)]
pub struct Tape {
    /// What it began with.
    pub start: ShardStart,
    /// Entries, one behind the other.
    pub bytes: Vec<u8>,
    /// Blocks of it, its start included.
    pub blocks: u32,
}

impl Journal {
    /// Reads a journal's file. One that ends within a block is read up to it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in a sentence.
    pub fn read(file: &[u8]) -> Result<Self, String> {
        let mut blocks = Blocks::new(file).map_err(|damage| damage.to_string())?;
        let (mut start, mut end, mut torn) = (None::<ProcessStart>, None, None);
        let mut tapes: Vec<Option<Tape>> = Vec::new();
        loop {
            let block = match blocks.next_block() {
                Ok(Some(block)) => block,
                Ok(None) => break,
                Err(damage @ Damage::Torn(_)) => {
                    torn = Some(damage);
                    break;
                }
                Err(damage) => return Err(damage.to_string()),
            };
            let content = block.content;
            match (block.owner, block.kind) {
                (PROCESS, Kind::Start) => {
                    let read: ProcessStart = json(content, "the process's start")?;
                    tapes.resize_with(usize::from(read.shards), || None);
                    start = Some(read);
                }
                (PROCESS, Kind::End) => end = Some(String::from_utf8_lossy(content).into_owned()),
                (shard, Kind::Start) => {
                    let start = json(content, "a shard's start")?;
                    let tape = tapes.get_mut(usize::from(shard));
                    *tape.ok_or("it has a shard too many")? = Some(Tape {
                        start,
                        bytes: Vec::new(),
                        blocks: 1,
                    });
                }
                (shard, Kind::Entries) => {
                    let tape = tapes.get_mut(usize::from(shard)).and_then(Option::as_mut);
                    let tape = tape.ok_or("a shard did not begin")?;
                    tape.bytes.extend_from_slice(content);
                    tape.blocks += 1;
                }
                (_, Kind::Tail) => return Err("it has a block of a tail".to_owned()),
                (_, Kind::End) => return Err("a shard ends the process".to_owned()),
            }
        }
        let start = start.ok_or("it ends before it begins")?;
        let tapes: Option<Vec<Tape>> = tapes.into_iter().collect();
        let tapes = tapes.ok_or("it ends before all shards began")?;
        Ok(Self {
            start,
            tapes,
            end,
            torn,
        })
    }
}

impl Tape {
    /// Its entries, each with the place where it begins.
    ///
    /// # Errors
    ///
    /// Of an entry that cannot be read; it is the last item.
    pub fn entries(&self) -> impl Iterator<Item = Result<(usize, Entry<'_>), Broken>> {
        let (mut coder, mut rest) = (Coder::default(), &self.bytes[..]);
        std::iter::from_fn(move || {
            let at = self.bytes.len() - rest.len();
            let entry = coder.decode(&mut rest);
            if entry.is_err() {
                rest = &[];
            }
            entry
                .transpose()
                .map(|entry| entry.map(|entry| (at, entry)))
        })
    }
}

fn json<T: serde::de::DeserializeOwned>(content: &[u8], what: &str) -> Result<T, String> {
    serde_json::from_slice(content).map_err(|error| format!("{what} cannot be read: {error}"))
}
