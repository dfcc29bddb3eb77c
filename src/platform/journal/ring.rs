//! The files of a journal's tail, on the disk.
//!
//! Invariant: together they never hold more than the size that was asked for.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::folder::new_file;
use crate::driver::journal::{FILES, TAIL_MAGIC, tail_path};

/// The newest blocks of all shards.
#[derive(Debug)]
pub(super) struct Ring {
    journal: PathBuf,
    /// Bytes of one file, at most.
    file_bytes: u64,
    /// The file that is being written, and how much it still takes.
    file: Option<(File, u64)>,
    /// The number of the next file.
    number: u64,
}

impl Ring {
    /// A tail beside a journal. There is no file before there is a block.
    pub(super) const fn new(journal: PathBuf, bytes: u64) -> Self {
        Self {
            journal,
            file_bytes: bytes / FILES,
            file: None,
            number: 0,
        }
    }

    /// Writes a block; says whether it is smaller than a file, as it has to be.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub(super) fn put(&mut self, block: &[u8]) -> io::Result<bool> {
        let size = block.len() as u64;
        let Some(room) = self.file_bytes.checked_sub(TAIL_MAGIC.len() as u64) else {
            return Ok(false);
        };
        if size > room {
            return Ok(false);
        }
        let (mut file, left) = match self.file.take() {
            Some((file, left)) if left >= size => (file, left),
            Some(_) | None => (self.begin()?, room),
        };
        file.write_all(block)?;
        self.file = Some((file, left - size));
        Ok(true)
    }

    /// Puts what was written where it outlives the host.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file
            .as_ref()
            .map_or(Ok(()), |(file, _)| file.sync_all())
    }

    /// Begins the next file, in the place of the oldest.
    fn begin(&mut self) -> io::Result<File> {
        if let Some(oldest) = self.number.checked_sub(FILES) {
            match fs::remove_file(tail_path(&self.journal, oldest)) {
                // Somebody else made the room.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        let mut file = new_file(&tail_path(&self.journal, self.number))?;
        self.number += 1;
        file.write_all(TAIL_MAGIC)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::journal::{Coder, TailBlocks, tail_block, tail_number};

    fn folder(name: &str) -> PathBuf {
        let name = format!("bifrons-ring-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// The files, the oldest first.
    fn files(folder: &PathBuf) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(folder).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort_by_key(|path| tail_number(path).unwrap());
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    #[test]
    fn the_newest_blocks_are_there_and_no_more_than_the_bound() {
        let folder = folder("newest");
        let bound = 40_000;
        let mut ring = Ring::new(folder.join("bifrons-1-1.journal"), bound);
        for count in 1..=300_u32 {
            let entries = vec![0; 400 + count as usize % 7 * 100];
            let block = tail_block(0, count, &Coder::default(), &entries);
            assert!(ring.put(&block).unwrap());
            let files = files(&folder);
            let sizes: Vec<usize> = files.iter().map(Vec::len).collect();
            let held = sizes.iter().sum::<usize>() as u64;
            assert!(held <= bound, "{sizes:?}");
            let blocks = files.iter().flat_map(|file| TailBlocks::new(file).unwrap());
            let numbers: Vec<u32> = blocks.map(|block| block.unwrap().number).collect();
            let first = numbers[0];
            assert!(numbers.iter().copied().eq(first..=count), "{numbers:?}");
            // All files but one are full to the size of a block.
            assert!(first == 1 || held >= bound * 3 / 4 - 3 * 1_200, "{sizes:?}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_block_that_no_file_could_hold_is_left_out() {
        let folder = folder("large");
        let mut ring = Ring::new(folder.join("bifrons-1-1.journal"), 4_000);
        assert!(ring.put(&[1; 900]).unwrap());
        assert!(!ring.put(&[2; 1_000]).unwrap());
        assert!(ring.put(&[3; 50]).unwrap());
        assert_eq!(files(&folder).len(), 1);
        assert!(!Ring::new(folder.join("a"), 3).put(&[1]).unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_somebody_removed_is_not_missed() {
        let folder = folder("removed");
        let path = folder.join("bifrons-1-1.journal");
        let mut ring = Ring::new(path.clone(), 4_000);
        for round in 0..20 {
            assert!(ring.put(&[0; 900]).unwrap());
            if round == 3 {
                fs::remove_file(tail_path(&path, 0)).unwrap();
            }
        }
        assert_eq!(files(&folder).len(), 4);
        fs::remove_dir_all(&folder).unwrap();
    }
}
