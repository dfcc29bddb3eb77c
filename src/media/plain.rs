//! Sockets for plain RTP: opened and closed on demand, each for one plugin.
//!
//! The shard asks the platform for them ([`SocketAct`]) and is told what became of it
//! ([`Media::socket_opened`]); nothing waits meanwhile.
//!
//! Invariant: the number of a socket is given out again only after the platform has said what
//! became of its opening.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::base::clock::Now;
use crate::base::id::{PeerId, SockId};
use crate::media::Media;
use crate::media::counters::DropReason;
use crate::media::event::{DataForm, MediaError};
use crate::media::peer_offer::may_check;
use crate::media::talk::Talking;

/// Ports of one address that a shard may take, whatever its limit.
pub const SOCKETS_MAX: usize = 1 << 15;

/// What is wanted of the platform's sockets, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketAct {
    /// Close it. What waits to be sent is dropped.
    Close(SockId),
    /// Open it.
    Open {
        /// Its number.
        sock: SockId,
        /// The address to bind; port 0 is any.
        bind: SocketAddr,
    },
}

/// What happened to plain RTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlainEvent {
    /// A message came from a source of another gateway.
    Message {
        /// The source.
        source: PeerId,
        /// Its line.
        line: usize,
        /// Text or bytes.
        form: DataForm,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A socket is open, at this address, or cannot be opened.
    Opened {
        /// The socket.
        sock: SockId,
        /// Where it is bound.
        bound: Option<SocketAddr>,
    },
    /// Somebody began or ceased to talk.
    Talking {
        /// The source.
        source: PeerId,
        /// Its line.
        line: usize,
        /// Which of the two, and how loud.
        talking: Talking,
    },
}

/// Who an event about plain RTP is for. Media only carries it along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainOwner(pub usize);

/// What a socket is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Sends; what comes in is feedback of those it sends to.
    Sending,
    /// Takes in the feedback channel of a source.
    SourceRtcp(PeerId),
    /// Takes in the packets of a source.
    SourceRtp(PeerId),
}

#[derive(Debug)]
struct PlainSocket {
    owner: PlainOwner,
    purpose: Purpose,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is closed as soon as it is known to be open.
    GivenUp,
    Open,
    Opening,
}

/// All plain sockets of a shard.
#[derive(Debug)]
pub(super) struct PlainSockets {
    /// Sockets with lower numbers are those of PeerConnections.
    first: usize,
    sockets: Vec<Option<PlainSocket>>,
    acts: Vec<SocketAct>,
    pub(super) events: VecDeque<(PlainOwner, PlainEvent)>,
}

impl PlainSockets {
    pub(super) fn new(first: usize) -> Self {
        Self {
            first,
            sockets: Vec::new(),
            acts: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// What a socket is there for; `None` if it is not one of these.
    pub(super) fn purpose(&self, sock: SockId) -> Option<Purpose> {
        Some(self.get(sock)?.purpose)
    }

    pub(super) fn set_purpose(&mut self, sock: SockId, purpose: Purpose) {
        if let Some(socket) = self.get_mut(sock) {
            socket.purpose = purpose;
        }
    }

    pub(super) fn owner(&self, sock: SockId) -> Option<PlainOwner> {
        Some(self.get(sock)?.owner)
    }

    fn is_plain(&self, sock: SockId) -> bool {
        usize::from(sock.0) >= self.first
    }

    fn get(&self, sock: SockId) -> Option<&PlainSocket> {
        let at = usize::from(sock.0).checked_sub(self.first)?;
        self.sockets.get(at)?.as_ref()
    }

    fn get_mut(&mut self, sock: SockId) -> Option<&mut PlainSocket> {
        let at = usize::from(sock.0).checked_sub(self.first)?;
        self.sockets.get_mut(at)?.as_mut()
    }

    fn free(&mut self, sock: SockId) {
        let at = usize::from(sock.0).checked_sub(self.first);
        if let Some(slot) = at.and_then(|at| self.sockets.get_mut(at)) {
            *slot = None;
        }
    }
}

impl Media {
    /// Asks for a socket for plain RTP. [`PlainEvent::Opened`] follows; what is sent before
    /// leaves as soon as it is open.
    ///
    /// # Errors
    ///
    /// [`MediaError::Limit`] if there are too many.
    pub fn open_socket(
        &mut self,
        owner: PlainOwner,
        bind: SocketAddr,
    ) -> Result<SockId, MediaError> {
        let plain = &mut self.plain;
        let free = plain.sockets.iter().position(Option::is_none);
        let at = free.unwrap_or(plain.sockets.len());
        if at >= self.setup.limits.plain_sockets_count.min(SOCKETS_MAX) {
            return Err(MediaError::Limit("sockets"));
        }
        if at == plain.sockets.len() {
            plain.sockets.push(None);
        }
        plain.sockets[at] = Some(PlainSocket {
            owner,
            purpose: Purpose::Sending,
            stage: Stage::Opening,
        });
        let number = u16::try_from(plain.first + at).expect("the limit fits");
        let sock = SockId(number);
        plain.acts.push(SocketAct::Open { sock, bind });
        Ok(sock)
    }

    /// Closes a socket for plain RTP. No event follows.
    pub fn close_socket(&mut self, sock: SockId) {
        let Some(socket) = self.plain.get_mut(sock) else {
            return;
        };
        match socket.stage {
            Stage::GivenUp => {}
            Stage::Open => {
                self.plain.free(sock);
                self.plain.acts.push(SocketAct::Close(sock));
            }
            Stage::Opening => socket.stage = Stage::GivenUp,
        }
    }

    /// Takes in what became of opening a socket.
    pub fn socket_opened(&mut self, sock: SockId, bound: Option<SocketAddr>) {
        let Some(socket) = self.plain.get_mut(sock) else {
            return;
        };
        let (owner, stage) = (socket.owner, socket.stage);
        socket.stage = Stage::Open;
        if bound.is_none() {
            self.plain.free(sock);
        }
        if stage == Stage::GivenUp {
            if bound.is_some() {
                self.close_socket(sock);
            }
            return;
        }
        let event = PlainEvent::Opened { sock, bound };
        self.plain.events.push_back((owner, event));
    }

    /// What is wanted of the platform's sockets.
    pub fn take_socket_acts(&mut self) -> Vec<SocketAct> {
        std::mem::take(&mut self.plain.acts)
    }

    /// The next event about plain RTP, and for whom.
    pub fn next_plain_event(&mut self) -> Option<(PlainOwner, PlainEvent)> {
        self.plain.events.pop_front()
    }

    /// Whether plain RTP may be sent to an address that somebody named who need not be trusted.
    pub fn may_send_to(&self, address: SocketAddr) -> bool {
        let sockets = self.setup.sockets.iter();
        let bases: Vec<SocketAddr> = sockets.map(|socket| socket.bound).collect();
        may_check(address, &bases)
    }

    /// The address that plain RTP is received at where nobody names another, and the one by which
    /// others reach it.
    pub fn plain_address(&self) -> Option<(std::net::IpAddr, std::net::IpAddr)> {
        let socket = self.setup.sockets.first()?;
        Some((socket.bound.ip(), socket.base().ip()))
    }

    /// Takes in a datagram if it came by a plain socket.
    pub(super) fn plain_datagram(
        &mut self,
        now: Now,
        sock: SockId,
        from: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        if !self.plain.is_plain(sock) {
            return false;
        }
        match self.plain.purpose(sock) {
            Some(Purpose::Sending) => self.forward_feedback(now.monotonic, sock, from, bytes),
            Some(Purpose::SourceRtp(source)) => self.source_packet(source, bytes),
            Some(Purpose::SourceRtcp(source)) => self.source_latched(now.monotonic, source, from),
            // It was closed while the datagram was on its way.
            None => self.counters.dropped(DropReason::PlainUnknown),
        }
        true
    }
}
