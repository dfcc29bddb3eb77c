//! Blocks: how a journal lies in its file.
//!
//! The file begins with a line that names the format. Blocks follow, those of all shards in the
//! order in which they were written: whose it is, what is in it, which one of its owner it is,
//! how long it is, a hash of all that, and its content. Numbers are little-endian.
//!
//! Invariant: a block is taken whole or not at all; one that is missing or damaged is noticed.

use std::fmt;

use super::hash;

/// How a journal begins. The number is that of the format.
pub const MAGIC: &[u8] = b"bifrons journal 1\n";

/// Who a block belongs to, where it is not a shard.
pub const PROCESS: u8 = u8::MAX;

/// Bytes before a block's content.
pub(super) const HEAD_BYTES: usize = 18;

/// What is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing follows of anybody; the text says why. Without one the process was killed.
    End,
    /// What happened, see [`Entry`](super::Entry).
    Entries,
    /// What its owner started with, as JSON.
    Start,
    /// What its owner's [`Coder`](super::Coder) knew, and what happened then; in tails alone.
    Tail,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Start => 0,
            Self::Entries => 1,
            Self::End => 2,
            Self::Tail => 3,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Start),
            1 => Some(Self::Entries),
            2 => Some(Self::End),
            3 => Some(Self::Tail),
            _ => None,
        }
    }
}

/// A block as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// The shard, or [`PROCESS`].
    pub owner: u8,
    /// What is in it.
    pub kind: Kind,
    /// Which one of its owner it is.
    pub number: u32,
    /// What is in it, as bytes.
    pub content: &'a [u8],
}

/// The head of a block, which goes before its content.
pub fn head(owner: u8, kind: Kind, number: u32, content: &[u8]) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[0] = owner;
    head[1] = kind.byte();
    head[2..6].copy_from_slice(&number.to_le_bytes());
    let size = u32::try_from(content.len()).expect("a block is small");
    head[6..10].copy_from_slice(&size.to_le_bytes());
    let sum = sum(&head[..10], content);
    head[10..].copy_from_slice(&sum.to_le_bytes());
    head
}

/// Why a journal cannot be read, or not further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The block that begins at this byte is not what was written.
    Altered(usize),
    /// A block is missing before the one that begins at this byte.
    Gap(usize),
    /// It is another file, or a journal of another format.
    NotAJournal,
    /// The file ends within the block that begins at this byte.
    Torn(usize),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered(at) => write!(f, "the block at byte {at} is damaged"),
            Self::Gap(at) => write!(f, "a block is missing before byte {at}"),
            Self::NotAJournal => f.write_str("this is no journal that this version can read"),
            Self::Torn(at) => write!(f, "the file ends within the block at byte {at}"),
        }
    }
}

impl std::error::Error for Damage {}

/// Reads the blocks of a journal.
#[derive(Debug)]
pub struct Blocks<'a> {
    file: &'a [u8],
    at: usize,
    /// The number that the next block of each owner has.
    numbers: Box<[u32; 256]>,
}

impl<'a> Blocks<'a> {
    /// Begins with the first block.
    ///
    /// # Errors
    ///
    /// [`Damage::NotAJournal`].
    pub fn new(file: &'a [u8]) -> Result<Self, Damage> {
        if !file.starts_with(MAGIC) {
            return Err(Damage::NotAJournal);
        }
        Ok(Self {
            file,
            at: MAGIC.len(),
            numbers: Box::new([0; 256]),
        })
    }

    /// The next block; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Damage`]; nothing can be read beyond it.
    pub fn next_block(&mut self) -> Result<Option<Block<'a>>, Damage> {
        let at = self.at;
        let rest = &self.file[at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let block = first(rest, at)?;
        let expected = &mut self.numbers[usize::from(block.owner)];
        if block.number != *expected {
            return Err(Damage::Gap(at));
        }
        *expected += 1;
        self.at += HEAD_BYTES + block.content.len();
        Ok(Some(block))
    }
}

/// The block that some bytes begin with, which are at this place of the file.
pub(super) fn first(bytes: &[u8], at: usize) -> Result<Block<'_>, Damage> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES).ok_or(Damage::Torn(at))?;
    let size = number_at(head, 6) as usize;
    let kind = Kind::of(head[1]).ok_or(Damage::Altered(at))?;
    let content = rest.get(..size).ok_or(Damage::Torn(at))?;
    if head[10..] != sum(&head[..10], content).to_le_bytes() {
        return Err(Damage::Altered(at));
    }
    Ok(Block {
        owner: head[0],
        kind,
        number: number_at(head, 2),
        content,
    })
}

fn sum(head: &[u8], content: &[u8]) -> u64 {
    hash::of(head) ^ hash::of(content)
}

fn number_at(bytes: &[u8], at: usize) -> u32 {
    let number = bytes[at..at + 4].try_into();
    u32::from_le_bytes(number.expect("four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(blocks: &[(u8, Kind, u32, &[u8])]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        for &(owner, kind, number, content) in blocks {
            file.extend_from_slice(&head(owner, kind, number, content));
            file.extend_from_slice(content);
        }
        file
    }

    fn read(file: &[u8]) -> (usize, Option<Damage>) {
        let mut blocks = match Blocks::new(file) {
            Ok(blocks) => blocks,
            Err(damage) => return (0, Some(damage)),
        };
        let mut count = 0;
        loop {
            match blocks.next_block() {
                Ok(Some(_)) => count += 1,
                Ok(None) => return (count, None),
                Err(damage) => return (count, Some(damage)),
            }
        }
    }

    const SOME: [(u8, Kind, u32, &[u8]); 4] = [
        (PROCESS, Kind::Start, 0, b"{}"),
        (0, Kind::Start, 0, b""),
        (1, Kind::Entries, 0, b"abc"),
        (0, Kind::Entries, 1, b"defg"),
    ];

    #[test]
    fn what_is_written_is_read() {
        let file = file(&SOME);
        let mut blocks = Blocks::new(&file).unwrap();
        for (owner, kind, number, content) in SOME {
            let block = Block {
                owner,
                kind,
                number,
                content,
            };
            assert_eq!(blocks.next_block(), Ok(Some(block)));
        }
        assert_eq!(blocks.next_block(), Ok(None));
    }

    #[test]
    fn a_file_that_ends_early_is_read_as_far_as_it_goes() {
        let file = file(&SOME);
        let ends: Vec<usize> = (0..=SOME.len())
            .map(|count| self::file(&SOME[..count]).len())
            .collect();
        for size in MAGIC.len()..file.len() {
            let whole = ends.iter().filter(|&&end| end <= size).count() - 1;
            let damage = (ends[whole] != size).then_some(Damage::Torn(ends[whole]));
            assert_eq!(read(&file[..size]), (whole, damage), "{size} bytes");
        }
        assert_eq!(read(&file[..5]), (0, Some(Damage::NotAJournal)));
    }

    #[test]
    fn a_bit_that_fell_over_is_noticed() {
        let file = file(&SOME);
        for bit in 0..file.len() * 8 {
            let mut other = file.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&other).1.is_some(), "bit {bit}");
        }
    }

    #[test]
    fn a_missing_block_is_noticed() {
        let lacking = file(&[SOME[0], SOME[3]]);
        let at = file(&SOME[..1]).len();
        assert_eq!(read(&lacking), (1, Some(Damage::Gap(at))));
    }
}
