//! What plugins and the Admin API want of the world outside beside PeerConnections: names looked up,
//! sockets for plain RTP, and files written. All of it takes its time; nobody waits, and who asked
//! is told.
//!
//! Invariant: every lookup that was taken is answered once, as long as the platform answers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::base::clock::Now;
use crate::base::id::HandleRef;
use crate::gateway::Gateway;
use crate::gateway::admin_later::AdminAsked;
use crate::gateway::recordings::file_write;
use crate::metrics::Metrics;

/// A lookup, by which its answer is known. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LookupId(pub u64);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// A host, by any of its addresses.
    Host(Family),
    /// An interface of this host, by its first address.
    Interface,
    /// A STUN server: what this host's address is to it.
    Mapped {
        /// The server's port.
        port: u16,
        /// The port of this host to ask from; zero is any.
        local_port: u16,
    },
}

/// The addresses that will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Whatever comes first.
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Whether an address will do.
    pub fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.to_canonical().is_ipv4(),
            Self::V6 => address.to_canonical().is_ipv6(),
        }
    }
}

/// A name that the platform is to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Names it in the answer.
    pub id: LookupId,
    /// The name.
    pub name: Box<str>,
    /// What it stands for.
    pub sought: Sought,
}

/// A write, by which what became of it is known. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub u64);

/// A file that the platform is to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileWrite {
    /// Names it in the answer.
    pub id: FileId,
    /// Which file.
    pub path: PathBuf,
    /// What is to be in it.
    pub content: Content,
}

/// What is to be written, and how.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// At the end of what is there.
    More(Vec<u8>),
    /// Nothing: the file is to have this name, unless there is such a file.
    Named(PathBuf),
    /// Into a file that is not there yet; its folder is made if it is not there either.
    New(Vec<u8>),
    /// In place of what is there: whoever opens the file finds the old text or the new one.
    Whole(String),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, size) = match self {
            Self::More(bytes) => ("More", bytes.len()),
            Self::Named(_) => ("Named", 0),
            Self::New(bytes) => ("New", bytes.len()),
            Self::Whole(text) => ("Whole", text.len()),
        };
        // It may hold secrets.
        f.debug_tuple(name).field(&size).finish()
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was not: a file that was to be replaced is as it was.
    No,
    /// It was. A file that was replaced is on the disk.
    Yes,
}

/// Who waits for a write.
#[derive(Clone, Copy, Debug)]
pub(super) enum FileOwner {
    /// The capture of a handle.
    Capture(HandleRef),
    /// A plugin, by its number.
    Plugin(usize),
}

/// Writes under way, with those who wait for them.
#[derive(Debug, Default)]
pub(super) struct Files {
    last: u64,
    under_way: BTreeMap<FileId, FileOwner>,
    out: Vec<FileWrite>,
}

impl Files {
    pub(super) fn begin(&mut self, owner: FileOwner, path: PathBuf, content: Content) -> FileId {
        self.last += 1;
        let id = FileId(self.last);
        self.under_way.insert(id, owner);
        self.out.push(FileWrite { id, path, content });
        id
    }
}

impl Lookup {
    /// What the name stands for if it is an address already: all that is to be known without a
    /// network.
    pub fn literal(&self) -> Option<SocketAddr> {
        match self.sought {
            Sought::Host(_) | Sought::Interface => {
                let address: IpAddr = self.name.parse().ok()?;
                Some((address, 0).into())
            }
            Sought::Mapped { .. } => None,
        }
    }
}

/// Who waits for a lookup.
#[derive(Debug)]
pub(super) enum Seeker {
    /// A client of the Admin API.
    Admin(AdminAsked),
    /// A plugin, by its number.
    Plugin(usize),
}

/// STUN servers that one shard waits for: each may be silent for seconds, and none may take the
/// place of a name.
const STUN_MAX: usize = 4;

/// Lookups under way, with those who wait for them.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    last: u64,
    under_way: BTreeMap<LookupId, (Seeker, Sought)>,
    out: Vec<Lookup>,
}

impl Lookups {
    /// Begins a lookup, unless there are `max` under way, or [`STUN_MAX`] if a STUN server is asked.
    pub(super) fn begin(
        &mut self,
        seeker: Seeker,
        name: &str,
        sought: Sought,
        max: usize,
    ) -> Option<LookupId> {
        let is_stun = |sought| matches!(sought, Sought::Mapped { .. });
        let of_kind = self
            .under_way
            .values()
            .filter(|(_, under_way)| is_stun(*under_way) == is_stun(sought));
        let max = if is_stun(sought) { STUN_MAX } else { max };
        if of_kind.count() >= max {
            return None;
        }
        self.last += 1;
        let id = LookupId(self.last);
        self.under_way.insert(id, (seeker, sought));
        let name = name.into();
        self.out.push(Lookup { id, name, sought });
        Some(id)
    }
}

impl Gateway {
    /// Names that are to be looked up. [`Gateway::looked_up`] must follow for each.
    pub fn take_lookups(&mut self) -> Vec<Lookup> {
        std::mem::take(&mut self.lookups.out)
    }

    /// Takes in what a name stands for; `None` if nothing is known of it. The port is zero unless
    /// one was sought.
    pub fn looked_up(
        &mut self,
        now: Now,
        id: LookupId,
        address: Option<SocketAddr>,
        metrics: &mut Metrics,
    ) {
        match self.lookups.under_way.remove(&id).map(|(seeker, _)| seeker) {
            None => {}
            Some(Seeker::Admin(asked)) => self.tell_admin(now, &asked, address),
            Some(Seeker::Plugin(plugin)) => {
                let address = address.map(|address| address.ip());
                self.call(now, plugin, |plugin, cx| plugin.looked_up(cx, id, address));
                self.publish(now, metrics);
            }
        }
    }

    /// Files that are to be written. [`Gateway::written`] must follow for each.
    pub fn take_writes(&mut self) -> Vec<FileWrite> {
        let mut writes = std::mem::take(&mut self.files.out);
        while let Some(write) = self.media.next_recording_write() {
            writes.push(file_write(write));
        }
        writes
    }

    /// Takes in what became of a write.
    pub fn written(&mut self, now: Now, id: FileId, written: Written, metrics: &mut Metrics) {
        if let Some(id) = id.recording() {
            self.media.recording_written(id, written == Written::Yes);
            return;
        }
        match self.files.under_way.remove(&id) {
            None => {}
            Some(FileOwner::Capture(handle)) => self.capture_written(now, handle, written),
            Some(FileOwner::Plugin(plugin)) => {
                self.call(now, plugin, |plugin, cx| plugin.written(cx, id, written));
                self.publish(now, metrics);
            }
        }
    }

    /// Passes on what happened to plain RTP.
    pub(super) fn take_plain_events(&mut self, now: Now, metrics: &mut Metrics) {
        while let Some((owner, event)) = self.media.next_plain_event() {
            self.call(now, owner.0, |plugin, cx| plugin.plain_event(cx, event));
            self.publish(now, metrics);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_are_bounded_until_they_are_answered() {
        let mut lookups = Lookups::default();
        let mut begin = || {
            let seeker = Seeker::Plugin(0);
            lookups.begin(seeker, "host.example", Sought::Interface, 2)
        };
        let first = begin().unwrap();
        assert_ne!(Some(first), begin());
        assert_eq!(begin(), None);
        lookups.under_way.remove(&first);
        let seeker = Seeker::Plugin(0);
        assert!(
            lookups
                .begin(seeker, "other.example", Sought::Interface, 2)
                .is_some()
        );
        assert_eq!(lookups.out.len(), 3);
    }

    #[test]
    fn silent_stun_servers_leave_room_for_names() {
        let mut lookups = Lookups::default();
        let mut begin = |sought| lookups.begin(Seeker::Plugin(0), "host.example", sought, 1);
        let stun = Sought::Mapped {
            port: 3_478,
            local_port: 0,
        };
        for _ in 0..STUN_MAX {
            assert!(begin(stun).is_some());
        }
        assert_eq!(begin(stun), None);
        assert!(begin(Sought::Interface).is_some());
        assert_eq!(begin(Sought::Host(Family::Any)), None);
    }

    #[test]
    fn a_family_has_its_addresses_however_they_are_written() {
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert!(Family::V4.has(mapped) && !Family::V6.has(mapped) && Family::Any.has(mapped));
    }
}
