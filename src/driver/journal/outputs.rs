//! What a shard gives out, as a hash that the replay must come to.

use crate::base::id::ConnId;
use crate::base::slab::SlabKey as _;
use crate::gateway::outside::Content;
use crate::gateway::tweaks::HandlerSettings;
use crate::media::SocketAct;
use crate::shard::mesh::MeshMsg;
use crate::shard::{Outbox, TcpAction};

use super::hash::OutputHash;
use super::secrets::{Blank, Place};

/// What media tells its like is replayed with media only.
pub const fn is_media(message: &MeshMsg) -> bool {
    matches!(message, MeshMsg::Media(_))
}

/// How much was in each lane of an outbox.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    sockets: usize,
    datagrams: usize,
    tcp: usize,
    mesh: usize,
    reports: usize,
    lookups: usize,
    writes: usize,
    handlers: usize,
}

impl Lengths {
    /// How much is in it.
    pub const fn of(out: &Outbox) -> Self {
        Self {
            sockets: out.sockets.len(),
            datagrams: out.datagrams.len(),
            tcp: out.tcp.len(),
            mesh: out.mesh.len(),
            reports: out.reports.len(),
            lookups: out.lookups.len(),
            writes: out.writes.len(),
            handlers: out.handlers.len(),
        }
    }
}

/// The hash of all that a shard gives out. Secrets are passed over.
#[derive(Debug)]
pub struct Outputs {
    hash: OutputHash,
    media: bool,
    streams: Vec<Place>,
    scratch: Vec<u8>,
}

impl Outputs {
    /// Nothing was given out. Media counts if it is replayed.
    pub fn new(media: bool) -> Self {
        Self {
            hash: OutputHash::default(),
            media,
            streams: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The hash so far.
    pub const fn hash(&self) -> OutputHash {
        self.hash
    }

    /// A connection begins.
    pub fn opened(&mut self, conn: ConnId) {
        let slot = conn.slot() as usize;
        if slot >= self.streams.len() {
            self.streams.resize_with(slot + 1, Place::default);
        }
        self.streams[slot] = Place::default();
    }

    /// The kernel took this of a connection's output.
    pub fn taken(&mut self, conn: ConnId, bytes: &[u8]) {
        self.hash.number(conn.0);
        match self.streams.get_mut(conn.slot() as usize) {
            Some(place) => text(&mut self.hash, place, &mut self.scratch, bytes),
            None => self.hash.bytes(bytes),
        }
    }

    /// The core put this behind what was in the outbox.
    pub fn given(&mut self, out: &Outbox, before: Lengths) {
        for (conn, action) in &out.tcp[before.tcp..] {
            self.hash.number(conn.0);
            self.hash.number(number_of(*action));
        }
        for (to, message) in &out.mesh[before.mesh..] {
            if self.media || !is_media(message) {
                self.hash.number(0x100 | u64::from(to.0));
            }
        }
        for report in &out.reports[before.reports..] {
            let bytes = report.text.as_bytes();
            text(
                &mut self.hash,
                &mut Place::default(),
                &mut self.scratch,
                bytes,
            );
        }
        for lookup in &out.lookups[before.lookups..] {
            self.hash.number(lookup.id.0);
            self.hash.bytes(lookup.name.as_bytes());
        }
        for write in &out.writes[before.writes..] {
            // What grows is media, which may be missing in the replay, and with it when the file ends.
            let is_media = matches!(write.content, Content::More(_) | Content::Named(_));
            if is_media && !self.media {
                continue;
            }
            self.hash.number(write.id.0);
            self.hash.bytes(write.path.as_os_str().as_encoded_bytes());
            // What is in it may hold secrets, in a form of its own.
            let (how, size) = match &write.content {
                Content::More(bytes) => (0, bytes.len()),
                Content::Named(path) => (3, path.as_os_str().len()),
                Content::New(bytes) => (1, bytes.len()),
                Content::Whole(text) => (2, text.len()),
            };
            self.hash.number((size as u64) << 2 | how);
        }
        for settings in &out.handlers[before.handlers..] {
            self.hash.number(match settings {
                HandlerSettings::Post(_) => 1,
                HandlerSettings::Ws(_) => 2,
            });
        }
        if self.media {
            self.given_media(out, before);
        }
    }

    fn given_media(&mut self, out: &Outbox, before: Lengths) {
        for act in &out.sockets[before.sockets..] {
            self.hash.number(match *act {
                SocketAct::Close(sock) => u64::from(sock.0),
                SocketAct::Open { sock, bind } => {
                    0x1_0000 | u64::from(sock.0) | u64::from(bind.port()) << 32
                }
            });
        }
        for datagram in out.datagrams.iter_from(before.datagrams) {
            let port = u64::from(datagram.to.port());
            self.hash.number(u64::from(datagram.sock.0) << 32 | port);
            self.hash.bytes(datagram.bytes);
        }
    }
}

fn text(hash: &mut OutputHash, place: &mut Place, scratch: &mut Vec<u8>, bytes: &[u8]) {
    if place.goes_by(bytes) {
        return hash.bytes(bytes);
    }
    scratch.clear();
    scratch.extend_from_slice(bytes);
    place.treat(scratch, &mut Blank);
    hash.bytes(scratch);
}

const fn number_of(action: TcpAction) -> u64 {
    match action {
        TcpAction::Abort => 1,
        TcpAction::Close => 2,
        TcpAction::PauseRead => 3,
        TcpAction::ResumeRead => 4,
        TcpAction::ShutdownWrite => 5,
        TcpAction::Write => 6,
    }
}
