//! The tail of a journal: the newest that happened after it was full, in files that take turns.
//!
//! A tail cannot be replayed, because what led to it is missing. It is there to be read: a block
//! begins with what its owner's [`Coder`] knew, so that one can be read without those before it,
//! and with a mark, so that it is found behind one that is damaged.
//!
//! The files lie beside the journal and have its name, with a number that grows: there are
//! [`FILES`] at most, and the one with the lowest number goes when another one is begun.
//!
//! Invariant: a block is in one file, whole.

use std::path::{Path, PathBuf};

use memchr::memmem;

use super::block::{Block, Damage, HEAD_BYTES, Kind, first, head};
use super::bytes::Broken;
use super::entry::Coder;

/// Files of a tail, at most. All but one are full: so much of a tail's size is there at least.
pub const FILES: u64 = 4;

/// How a file of a tail begins. The number is that of the format.
pub const TAIL_MAGIC: &[u8] = b"bifrons journal tail 1\n";

/// Stands before each block. No text has a byte like the first.
const MARK: [u8; 4] = *b"\xfftl\n";

/// The path of a file of a tail.
pub fn tail_path(journal: &Path, number: u64) -> PathBuf {
    journal.with_extension(format!("tail-{number}"))
}

/// The number of a file of a tail; `None` for other files.
pub fn tail_number(path: &Path) -> Option<u64> {
    let extension = path.extension()?.to_str()?;
    extension.strip_prefix("tail-")?.parse().ok()
}

/// A block as it lies in a tail. Entries follow on what `before` knows.
pub fn tail_block(owner: u8, number: u32, before: &Coder, entries: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    before.encode_state(&mut content);
    content.extend_from_slice(entries);
    marked(owner, Kind::Tail, number, &content)
}

/// The last block of a tail.
pub fn tail_end(owner: u8, why: &str) -> Vec<u8> {
    marked(owner, Kind::End, 0, why.as_bytes())
}

fn marked(owner: u8, kind: Kind, number: u32, content: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(MARK.len() + HEAD_BYTES + content.len());
    block.extend_from_slice(&MARK);
    block.extend_from_slice(&head(owner, kind, number, content));
    block.extend_from_slice(content);
    block
}

/// Reads the blocks of one file of a tail, as many as there are.
#[derive(Debug)]
pub struct TailBlocks<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> TailBlocks<'a> {
    /// Begins with the first block. Nothing is in an empty file, which was about to be written.
    ///
    /// # Errors
    ///
    /// [`Damage::NotAJournal`].
    pub fn new(file: &'a [u8]) -> Result<Self, Damage> {
        if !file.starts_with(TAIL_MAGIC) && !TAIL_MAGIC.starts_with(file) {
            return Err(Damage::NotAJournal);
        }
        let at = TAIL_MAGIC.len().min(file.len());
        Ok(Self { file, at })
    }
}

impl<'a> Iterator for TailBlocks<'a> {
    type Item = Result<Block<'a>, Damage>;

    /// The next block, or the damage that was in the way to it.
    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = &self.file[at..];
        if rest.is_empty() {
            return None;
        }
        let block = match rest.strip_prefix(&MARK) {
            Some(rest) => first(rest, at),
            None if MARK.starts_with(rest) => Err(Damage::Torn(at)),
            None => Err(Damage::Altered(at)),
        };
        self.at = match block {
            Ok(block) => at + MARK.len() + HEAD_BYTES + block.content.len(),
            // The next mark may be one that is in a block by accident, and is passed over, too.
            Err(_) => {
                memmem::find(&rest[1..], &MARK).map_or(self.file.len(), |found| at + 1 + found)
            }
        };
        Some(block)
    }
}

/// Takes what an owner's coder knew off the front of a block of a tail.
///
/// # Errors
///
/// [`Broken`].
pub fn tail_entries<'a>(block: &Block<'a>) -> Result<(Coder, &'a [u8]), Broken> {
    let mut rest = block.content;
    let coder = Coder::of_state(&mut rest)?;
    Ok((coder, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::journal::{Entry, Reading};

    /// A file, and where its blocks end.
    fn file() -> (Vec<u8>, Vec<usize>) {
        let (mut coder, mut file) = (Coder::default(), TAIL_MAGIC.to_vec());
        let mut ends = vec![file.len()];
        for number in 7..12 {
            let (before, mut entries) = (coder.clone(), Vec::new());
            let reading = Reading {
                monotonic: u64::from(number) * 1_000,
                ..Reading::default()
            };
            coder.encode(&Entry::Now(reading), &mut entries);
            coder.encode(&Entry::Tick, &mut entries);
            file.extend(tail_block(3, number, &before, &entries));
            ends.push(file.len());
        }
        (file, ends)
    }

    /// The numbers of the blocks that can be read, and whether there is damage.
    fn read(file: &[u8]) -> (Vec<u32>, Vec<Damage>) {
        let (mut numbers, mut damages) = (Vec::new(), Vec::new());
        for block in TailBlocks::new(file).unwrap() {
            match block {
                Ok(block) => {
                    let (mut coder, mut rest) = tail_entries(&block).unwrap();
                    let entry = coder.decode(&mut rest).unwrap();
                    let Some(Entry::Now(reading)) = entry else {
                        panic!("{entry:?}")
                    };
                    assert_eq!(reading.monotonic, u64::from(block.number) * 1_000);
                    numbers.push(block.number);
                }
                Err(damage) => damages.push(damage),
            }
        }
        (numbers, damages)
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&file().0), (vec![7, 8, 9, 10, 11], vec![]));
    }

    #[test]
    fn a_file_that_ends_early_is_read_as_far_as_it_goes() {
        let (file, ends) = file();
        for size in 0..file.len() {
            let whole = ends.iter().skip(1).filter(|&&end| end <= size).count();
            let is_torn = size > ends[0] && ends[whole] != size;
            let damage: Vec<Damage> = is_torn
                .then(|| Damage::Torn(ends[whole]))
                .into_iter()
                .collect();
            let numbers: Vec<u32> = (7..).take(whole).collect();
            assert_eq!(read(&file[..size]), (numbers, damage), "{size} bytes");
        }
    }

    #[test]
    fn behind_damage_reading_goes_on_with_the_next_block() {
        let (file, ends) = file();
        for bit in ends[0] * 8..file.len() * 8 {
            let mut other = file.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let lost = ends.iter().filter(|&&end| end <= bit / 8).count() - 1;
            let (numbers, damages) = read(&other);
            let others: Vec<u32> = (7..12)
                .filter(|&number| number != 7 + lost as u32)
                .collect();
            assert_eq!(numbers, others, "bit {bit}");
            assert!(!damages.is_empty(), "bit {bit}");
        }
    }

    #[test]
    fn a_hole_in_a_file_is_passed_over() {
        let (mut file, ends) = file();
        file[ends[1] - 9..ends[3] + 9].fill(0);
        let (numbers, damages) = read(&file);
        assert_eq!(numbers, [11]);
        assert_eq!(damages[0], Damage::Altered(ends[0]));
    }

    #[test]
    fn a_file_of_a_tail_is_known_by_its_name() {
        let path = tail_path(Path::new("/a/bifrons-17-4.journal"), 12);
        assert_eq!(path, Path::new("/a/bifrons-17-4.tail-12"));
        assert_eq!(tail_number(&path), Some(12));
        assert_eq!(tail_number(Path::new("bifrons-17-4.journal")), None);
        assert_eq!(tail_number(Path::new("bifrons-17-4.tail-x")), None);
    }

    #[test]
    fn another_file_is_refused() {
        assert_eq!(
            TailBlocks::new(b"bifrons journal 1\n").err(),
            Some(Damage::NotAJournal)
        );
    }
}
