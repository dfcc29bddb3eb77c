//! Captures: what one handle's PeerConnection sends and receives, in the clear and in the form of a
//! file.
//!
//! Invariant: the session that is listened to does not notice, and what is not fetched in time is
//! dropped, and counted, beyond a bound.

use std::net::SocketAddr;

use str0m::config::CryptoProvider;

use crate::base::clock::{Monotonic, Now, Realtime};
use crate::base::id::PeerId;
use crate::media::counters::DropReason;
use crate::media::event::PeerOwner;
use crate::media::peer_keys::{Keys, Sender};
use crate::media::peer_open::Opener;
use crate::media::{LocalSocket, Media};
use crate::wire::capture::{CaptureForm, Captured, Direction};

/// What a capture is to be.
#[derive(Clone, Copy, Debug)]
pub struct TapSpec {
    /// The form of the file.
    pub form: CaptureForm,
    /// How much is kept of each packet, in bytes.
    pub kept: usize,
    /// How much may wait to be fetched, in bytes.
    pub waiting_bytes: usize,
}

/// One capture.
pub(super) struct Tap {
    spec: TapSpec,
    /// Ties packets to the wall clock as it was at the start, so that their distances are right
    /// whatever is done to it.
    since: (Monotonic, Realtime),
    /// The session that is listened to, with what opens both of its directions.
    session: Option<Session>,
    waiting: Vec<u8>,
    plain: Vec<u8>,
    packets: u64,
}

struct Session {
    peer: PeerId,
    inbound: Opener,
    outbound: Opener,
}

/// A datagram of a peer.
pub(super) struct Heard<'a> {
    pub(super) direction: Direction,
    /// Our side.
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) bytes: &'a [u8],
}

/// What is known of the session of a datagram.
pub(super) struct Known<'a> {
    pub(super) peer: PeerId,
    pub(super) keys: &'a Keys,
    pub(super) is_client: bool,
    pub(super) provider: &'a CryptoProvider,
}

impl Tap {
    fn hear(&mut self, at: Monotonic, heard: &Heard<'_>, known: &Known<'_>) -> Option<DropReason> {
        let is_same = |session: &Session| session.peer == known.peer;
        if !self.session.as_ref().is_some_and(is_same) {
            let (ours, theirs) = Sender::sides(known.is_client);
            let opener =
                |sender| Opener::new(known.provider, known.keys.suite, known.keys.of(sender));
            self.session = Some(Session {
                peer: known.peer,
                inbound: opener(theirs),
                outbound: opener(ours),
            });
        }
        let session = self.session.as_mut()?;
        let (opener, from, to) = match heard.direction {
            Direction::Inbound => (&mut session.inbound, heard.remote, heard.local),
            Direction::Outbound => (&mut session.outbound, heard.local, heard.remote),
        };
        self.plain.clear();
        if !opener.open(heard.bytes, &mut self.plain) {
            return Some(DropReason::CaptureSealed);
        }
        if self.waiting.len() + self.plain.len() > self.spec.waiting_bytes {
            return Some(DropReason::CaptureFull);
        }
        let (began, wall) = self.since;
        let packet = Captured {
            at: wall + at.saturating_since(began),
            direction: heard.direction,
            from,
            to,
            bytes: &self.plain,
            kept: self.spec.kept,
        };
        self.spec.form.packet(&packet, &mut self.waiting);
        self.packets += 1;
        None
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap")
            .field("spec", &self.spec)
            .field("packets", &self.packets)
            .finish_non_exhaustive()
    }
}

impl Media {
    /// Begins to capture what the PeerConnections of a handle send and receive, the one that is
    /// there and those to come. [`Media::untap`] must follow.
    pub fn tap(&mut self, now: Now, owner: PeerOwner, spec: TapSpec) {
        let tap = Tap {
            spec,
            since: (now.monotonic, now.realtime),
            session: None,
            waiting: Vec::new(),
            plain: Vec::new(),
            packets: 0,
        };
        self.taps.insert(owner, tap);
    }

    /// Takes what was captured since the last time.
    pub fn take_tapped(&mut self, owner: PeerOwner) -> Vec<u8> {
        let tap = self.taps.get_mut(&owner);
        tap.map(|tap| std::mem::take(&mut tap.waiting))
            .unwrap_or_default()
    }

    /// Ends a capture. What was not taken is gone.
    pub fn untap(&mut self, owner: PeerOwner) {
        self.taps.remove(&owner);
    }

    /// Shows what a peer sends to its capture: the datagrams behind those `before`.
    pub(super) fn overhear_output(&mut self, at: Monotonic, id: PeerId, before: usize) {
        let datagrams = std::mem::take(&mut self.output.datagrams);
        for datagram in datagrams.iter_from(before) {
            let local = self.setup.sockets.get(usize::from(datagram.sock.0));
            let Some(local) = local.map(LocalSocket::base) else {
                continue;
            };
            let heard = Heard {
                direction: Direction::Outbound,
                local,
                remote: datagram.to,
                bytes: datagram.bytes,
            };
            self.overhear(at, id, &heard);
        }
        self.output.datagrams = datagrams;
    }

    /// Shows a datagram to the capture that it belongs to, if there is one.
    pub(super) fn overhear(&mut self, at: Monotonic, id: PeerId, heard: &Heard<'_>) {
        let is_media = heard.bytes.first().is_some_and(|first| first >> 6 == 2);
        let Some(peer) = self.peers.get(id).filter(|_| is_media) else {
            return;
        };
        let (Some(tap), Some(keys)) = (self.taps.get_mut(&peer.owner), &peer.keys) else {
            return;
        };
        let provider = self.setup.provider();
        let known = Known {
            peer: id,
            keys,
            is_client: peer.is_dtls_client(),
            provider: &provider,
        };
        match tap.hear(at, heard, &known) {
            None => self.counters.packets_captured += 1,
            Some(why) => self.counters.dropped(why),
        }
    }
}
