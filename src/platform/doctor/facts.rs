//! What can be read of a host: files of `/proc` and `/sys`, limits, and what only trying tells.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use crate::config::Runtime;
use crate::platform::datagrams::Offload;
use crate::platform::host;

/// A host, or what a test makes of one.
pub(super) struct Facts {
    /// Where `/` is.
    root: PathBuf,
    /// Cores that the process may use.
    pub(super) cores: usize,
    /// Hard limits; `None` is without limit.
    pub(super) descriptors: Option<u64>,
    pub(super) memlock_bytes: Option<u64>,
    /// Why no ring can be made.
    pub(super) ring_trouble: Option<String>,
    pub(super) offload: Option<Offload>,
}

impl Facts {
    pub(super) fn of_this_host() -> Self {
        Self {
            root: PathBuf::from("/"),
            cores: host::cores().len(),
            descriptors: getrlimit(Resource::Nofile).maximum,
            memlock_bytes: getrlimit(Resource::Memlock).maximum,
            ring_trouble: host::probe_ring(Runtime::Uring)
                .err()
                .map(|trouble| trouble.to_string()),
            offload: Offload::of_this_host(),
        }
    }

    #[cfg(test)]
    pub(super) fn of_a_test(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            cores: 4,
            descriptors: Some(65_536),
            memlock_bytes: Some(8 << 20),
            ring_trouble: None,
            offload: Some(Offload {
                send_segments: 64,
                receive_segments: 64,
            }),
        }
    }

    /// What a file says, without blanks around it.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The first number in a file.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.split_whitespace().next()?.parse().ok()
    }

    /// The names in a folder, in order; none if it is not there.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(path));
        let names = entries.into_iter().flatten().flatten();
        let mut names: Vec<String> = names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        Path::exists(&self.root.join(path))
    }
}
