//! A journal's tail, to be read: what happened last, after the journal was full.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bifrons::base::id::ShardId;
use bifrons::driver::journal::{
    Block, Damage, Entry, Kind, Reading, TailBlocks, tail_entries, tail_number,
};

use super::tape::Journal;

/// The files of a tail.
#[derive(Debug)]
pub struct Tail {
    /// The oldest first.
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// What a tail tells, in the order in which it was written: that of each shard is the order of
/// time, and shards follow one another by blocks.
#[derive(Clone, Debug, PartialEq)]
pub enum Told<'a> {
    /// There are entries that cannot be read in a block that was written as it is.
    Broken { shard: ShardId },
    /// Something in a file cannot be read; what follows is what was found behind it.
    Damaged { file: &'a Path, damage: Damage },
    /// Why nothing follows. Without it the process was killed.
    End { why: String },
    /// An entry that came in this turn, and the clocks as they were read before it.
    Entry {
        shard: ShardId,
        turn: u64,
        reading: Reading,
        entry: Entry<'a>,
    },
    /// Blocks of a shard are missing between others of it.
    Missing { shard: ShardId, blocks: u32 },
    /// Blocks of a shard made room between the journal and the first of the tail.
    Overwritten { shard: ShardId, blocks: u32 },
}

impl Tail {
    /// Finds the tail of the journal at `path`; `None` if it has none.
    ///
    /// # Errors
    ///
    /// When the folder or a file cannot be read.
    pub fn beside(path: &Path) -> io::Result<Option<Self>> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        let mut numbered = BTreeMap::new();
        for file in std::fs::read_dir(folder)? {
            let file = file?.path();
            if file.file_stem() == path.file_stem()
                && let Some(number) = tail_number(&file)
            {
                numbered.insert(number, file);
            }
        }
        let mut files = Vec::new();
        for file in numbered.into_values() {
            match std::fs::read(&file) {
                Ok(bytes) => files.push((file, bytes)),
                // A process that still runs has made room.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok((!files.is_empty()).then_some(Self { files }))
    }

    /// Where the files are, the oldest first.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// Bytes of all files.
    pub fn size(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Tells all that is in it. `journal` is what it goes on from, where that can be read.
    pub fn tell<'a>(&'a self, journal: Option<&Journal>, mut told: impl FnMut(Told<'a>)) {
        // The number of the next block of each shard, and whether one was in the tail.
        let tapes = journal.map(|journal| &journal.tapes[..]);
        let mut next: BTreeMap<u8, (u32, bool)> = (0..)
            .zip(tapes.unwrap_or_default())
            .map(|(shard, tape)| (shard, (tape.blocks, false)))
            .collect();
        for (file, bytes) in &self.files {
            let blocks = match TailBlocks::new(bytes) {
                Ok(blocks) => blocks,
                Err(damage) => {
                    told(Told::Damaged { file, damage });
                    continue;
                }
            };
            for block in blocks {
                match block {
                    Err(damage) => told(Told::Damaged { file, damage }),
                    Ok(block) if block.kind == Kind::End => {
                        let why = String::from_utf8_lossy(block.content).into_owned();
                        told(Told::End { why });
                    }
                    Ok(block) => {
                        let known = next.insert(block.owner, (block.number.wrapping_add(1), true));
                        tell_missing(&block, known, &mut told);
                        tell_block(&block, &mut told);
                    }
                }
            }
        }
    }
}

/// Tells how many blocks are missing before one; `known` is which one ought to have come.
fn tell_missing<'a>(
    block: &Block<'_>,
    known: Option<(u32, bool)>,
    told: &mut impl FnMut(Told<'a>),
) {
    let shard = ShardId(block.owner);
    let Some((expected, has_begun)) = known else {
        return;
    };
    let blocks = block.number.wrapping_sub(expected);
    if blocks == 0 {
        return;
    }
    told(match has_begun {
        true => Told::Missing { shard, blocks },
        false => Told::Overwritten { shard, blocks },
    });
}

fn tell_block<'a>(block: &Block<'a>, told: &mut impl FnMut(Told<'a>)) {
    let shard = ShardId(block.owner);
    let Ok((mut coder, mut rest)) = tail_entries(block) else {
        return told(Told::Broken { shard });
    };
    loop {
        // The entry that ends a turn is of that turn.
        let turn = coder.turns() + 1;
        match coder.decode(&mut rest) {
            Ok(Some(entry)) => told(Told::Entry {
                shard,
                turn,
                reading: coder.reading(),
                entry,
            }),
            Ok(None) => return,
            Err(_) => return told(Told::Broken { shard }),
        }
    }
}

#[cfg(test)]
mod tests {
    use bifrons::driver::Counters;
    use bifrons::driver::journal::{Coder, TAIL_MAGIC, tail_block, tail_end};

    use super::*;

    /// A file with blocks of these shards and numbers, of a tick each.
    fn file(blocks: &[(u8, u32)]) -> Vec<u8> {
        let mut bytes = TAIL_MAGIC.to_vec();
        for &(shard, number) in blocks {
            let (mut coder, mut entries) = (Coder::default(), Vec::new());
            let counters = Counters {
                turns: 41,
                ..Counters::default()
            };
            coder.encode(&Entry::Turn { counters, hash: 0 }, &mut entries);
            let before = coder.clone();
            entries.clear();
            coder.encode(&Entry::Tick, &mut entries);
            bytes.extend(tail_block(shard, number, &before, &entries));
        }
        bytes
    }

    fn told(files: Vec<Vec<u8>>) -> Vec<String> {
        let files = files.into_iter().map(|bytes| (PathBuf::from("f"), bytes));
        let tail = Tail {
            files: files.collect(),
        };
        let mut all = Vec::new();
        tail.tell(None, |told| {
            all.push(match told {
                Told::Entry { shard, turn, .. } => format!("{shard} turn {turn}"),
                Told::Broken { .. }
                | Told::Damaged { .. }
                | Told::End { .. }
                | Told::Missing { .. }
                | Told::Overwritten { .. } => format!("{told:?}"),
            });
        });
        all
    }

    #[test]
    fn shards_are_told_of_over_all_files_and_gaps_are_seen() {
        let mut last = file(&[(0, 6), (1, 9)]);
        last.extend(tail_end(255, "why"));
        let wanted = [
            "0 turn 42",
            "1 turn 42",
            "0 turn 42",
            "Missing { shard: ShardId(1), blocks: 3 }",
            "1 turn 42",
            r#"End { why: "why" }"#,
        ];
        assert_eq!(told(vec![file(&[(0, 5), (1, 5)]), last]), wanted);
    }

    #[test]
    fn a_torn_block_is_told_and_the_others_are_read() {
        let mut torn = file(&[(0, 5), (0, 6)]);
        torn.truncate(torn.len() - 1);
        let told = told(vec![torn, Vec::new(), file(&[(0, 7)])]);
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[1].contains("Torn"), "{told:?}");
        assert!(told[2].contains("Missing"), "{told:?}");
        assert_eq!(told[3], "0 turn 42");
    }
}
