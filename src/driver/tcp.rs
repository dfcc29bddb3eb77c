//! Connections: accepted, read, written and ended as the core says.
//!
//! Invariant: once a connection has ended, by `TcpClosed` or by the core's `Close` or `Abort`, the
//! core hears no more of it, also within the turn.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::clock::{Monotonic, Now};
use crate::base::id::ConnId;
use crate::base::slab::{Slab, SlabKey as _};
use crate::driver::buggify::Buggify;
use crate::driver::core::Core;
use crate::driver::platform::{TcpAccept, TcpIo};
use crate::driver::pump::Counters;
use crate::driver::ready::{Left, Ready};
use crate::shard::{Input, Listener, Outbox, TcpAction};

/// Connections of one listener that one turn accepts: each costs about 20 µs.
const ACCEPTS_MAX: usize = 32;

/// Bytes that one turn reads of a connection. The buffer is shared by all.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes that one turn writes to a connection, so that a large answer does not hold up others.
const WRITE_BYTES_MAX: usize = 256 * 1024;

/// A listener that failed rests this long: connections that end in the meantime free descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The lane of connections.
#[derive(Debug)]
pub(super) struct TcpLane<L: TcpAccept> {
    listeners: Vec<Door<L>>,
    conns: Slab<ConnId, Conn<L::Stream>>,
    /// The connection that had each slot last.
    names: Vec<Option<ConnId>>,
    connections_max: usize,
    /// Where the sources of connections begin.
    sources_from: usize,
    /// Connections that are worth a look in this turn.
    awake: Vec<ConnId>,
    /// Connections with output that the kernel may take.
    writable: Vec<ConnId>,
    actions: Vec<(ConnId, TcpAction)>,
    /// How many of the outbox's actions were looked at as they came.
    noted: usize,
    buffer: Box<[u8]>,
    buggify: Buggify,
}

#[derive(Debug)]
struct Door<L> {
    speaks: Listener,
    socket: L,
    rests_until: Option<Monotonic>,
}

#[derive(Debug)]
struct Conn<S> {
    stream: S,
    reading: Reading,
    /// The kernel's buffer is full; the stream wakes us.
    blocked: bool,
    /// The core asked to end it, in this turn.
    ending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// The client sends no more.
    Ended,
    On,
    Paused,
}

/// What a lane works on: the core with its outbox, the turn's clocks, and the counters.
pub(super) struct Scene<'a, C> {
    pub(super) core: &'a mut C,
    pub(super) out: &'a mut Outbox,
    pub(super) now: Now,
    pub(super) ready: &'a mut Ready,
    pub(super) counters: &'a mut Counters,
}

impl<L: TcpAccept> TcpLane<L> {
    pub(super) fn new(
        listeners: Vec<(Listener, L)>,
        connections_max: usize,
        sources_from: usize,
        buggify: Buggify,
    ) -> Self {
        let listeners = listeners.into_iter().map(|(speaks, socket)| Door {
            speaks,
            socket,
            rests_until: None,
        });
        Self {
            listeners: listeners.collect(),
            conns: Slab::default(),
            names: Vec::new(),
            connections_max,
            sources_from,
            awake: Vec::new(),
            writable: Vec::new(),
            actions: Vec::new(),
            noted: 0,
            buffer: vec![0; READ_BYTES_MAX].into_boxed_slice(),
            buggify,
        }
    }

    /// Accepts connections, within the budget.
    pub(super) fn accept<C: Core>(&mut self, index: usize, source: usize, s: &mut Scene<'_, C>) {
        let cx = &mut Context::from_waker(s.ready.waker(source));
        let Some(door) = self.listeners.get_mut(index) else {
            return; // The listeners were closed.
        };
        if door
            .rests_until
            .is_some_and(|until| until > s.now.monotonic)
        {
            return;
        }
        door.rests_until = None;
        for _ in 0..ACCEPTS_MAX {
            let (stream, peer) = match door.socket.poll_accept(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(accepted)) => accepted,
                Poll::Ready(Err(error)) if is_of_one_connection(&error) => continue,
                Poll::Ready(Err(error)) => {
                    tracing::warn!(%error, "cannot accept, the listener rests");
                    s.counters.tcp_accept_errors += 1;
                    door.rests_until = Some(s.now.monotonic + ACCEPT_REST);
                    return;
                }
            };
            if self.conns.len() >= self.connections_max {
                s.counters.tcp_shed += 1;
                stream.abort();
                continue;
            }
            let conn = self.conns.insert(Conn {
                stream,
                reading: Reading::On,
                blocked: false,
                ending: false,
            });
            let slot = conn.slot() as usize;
            if slot >= self.names.len() {
                self.names.resize(slot + 1, None);
            }
            self.names[slot] = Some(conn);
            self.awake.push(conn);
            s.counters.tcp_accepted += 1;
            let listener = door.speaks;
            let opened = Input::TcpOpened {
                conn,
                listener,
                peer,
            };
            s.core.handle(s.now, opened, s.out);
        }
        s.ready.mark(source);
    }

    /// A connection's source was marked.
    pub(super) fn wake(&mut self, source: usize) {
        let slot = source - self.sources_from;
        if let Some(conn) = self.names.get(slot).copied().flatten() {
            self.awake.push(conn);
        }
    }

    /// Reads the connections that are awake.
    pub(super) fn take_in<C: Core>(&mut self, s: &mut Scene<'_, C>) {
        self.note(s);
        let mut awake = std::mem::take(&mut self.awake);
        for conn in awake.drain(..) {
            if let Some(state) = self.conns.get_mut(conn)
                && std::mem::take(&mut state.blocked)
            {
                self.writable.push(conn);
            }
            self.read(conn, s);
        }
        self.awake = awake;
    }

    /// Goes on writing to connections whose output did not fit before.
    pub(super) fn go_on<C: Core>(&mut self, s: &mut Scene<'_, C>) {
        let mut writable = std::mem::take(&mut self.writable);
        for conn in writable.drain(..) {
            self.write(conn, s);
        }
        // What does not fit into this turn either was put into the new list.
        writable.append(&mut self.writable);
        self.writable = writable;
    }

    /// Does what the core wants done with connections. Says whether the core heard of something
    /// by it, so that its batch has to be ended again.
    pub(super) fn serve<C: Core>(&mut self, s: &mut Scene<'_, C>) -> Heard {
        self.note(s);
        let mut heard = Heard::Nothing;
        while !s.out.tcp.is_empty() {
            std::mem::swap(&mut self.actions, &mut s.out.tcp);
            self.noted = 0;
            let mut actions = std::mem::take(&mut self.actions);
            for (conn, action) in actions.drain(..) {
                match action {
                    TcpAction::Abort => {
                        if let Some(ended) = self.conns.remove(conn) {
                            ended.stream.abort();
                        }
                    }
                    TcpAction::Close => drop(self.conns.remove(conn)),
                    // Done when they were noted.
                    TcpAction::PauseRead => {}
                    TcpAction::ResumeRead => {}
                    TcpAction::ShutdownWrite => {
                        if let Some(state) = self.conns.get_mut(conn)
                            && let Err(error) = state.stream.shutdown_write()
                        {
                            // The client has reset it; reading tells the core.
                            tracing::debug!(%conn, %error, "cannot end the output");
                        }
                    }
                    TcpAction::Write => heard = heard.or(self.write(conn, s)),
                }
            }
            self.actions = actions;
        }
        heard
    }

    /// Whether a connection waits for its next turn, not for the kernel.
    pub(super) fn left(&self) -> Left {
        if self.writable.is_empty() {
            Left::None
        } else {
            Left::Some
        }
    }

    /// How many sources of connections there ever were at a time.
    pub(super) fn slots_count(&self) -> usize {
        self.names.len()
    }

    /// Stops listening, for good.
    pub(super) fn close_listeners(&mut self) {
        self.listeners.clear();
    }

    /// Marks the listeners whose rest is over. Says when the next one's is.
    pub(super) fn rested(
        &mut self,
        now: Now,
        first_source: usize,
        ready: &Ready,
    ) -> Option<Monotonic> {
        let mut next: Option<Monotonic> = None;
        for (index, door) in self.listeners.iter().enumerate() {
            match door.rests_until {
                Some(until) if until <= now.monotonic => ready.mark(first_source + index),
                Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
                None => {}
            }
        }
        next
    }

    fn read<C: Core>(&mut self, conn: ConnId, s: &mut Scene<'_, C>) {
        let source = self.sources_from + conn.slot() as usize;
        let mut room = READ_BYTES_MAX;
        while room > 0 {
            let Some(state) = self.conns.get_mut(conn) else {
                return;
            };
            if state.ending || state.reading != Reading::On {
                return;
            }
            let most = self.buggify.portion(room);
            let cx = &mut Context::from_waker(s.ready.waker(source));
            match state.stream.poll_read(cx, &mut self.buffer[..most]) {
                Poll::Pending if self.buggify.is_rare() => break,
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => {
                    state.reading = Reading::Ended;
                    s.core.handle(s.now, Input::TcpEof { conn }, s.out);
                }
                Poll::Ready(Ok(count)) => {
                    room -= count;
                    let bytes = &self.buffer[..count];
                    s.core.handle(s.now, Input::TcpBytes { conn, bytes }, s.out);
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => break,
                Poll::Ready(Err(error)) => self.fail(conn, &error, s),
            }
            self.note(s);
        }
        s.ready.mark(source);
    }

    /// Offers a connection's output to the kernel until it takes no more.
    fn write<C: Core>(&mut self, conn: ConnId, s: &mut Scene<'_, C>) -> Heard {
        let source = self.sources_from + conn.slot() as usize;
        let (mut room, mut heard) = (WRITE_BYTES_MAX, Heard::Nothing);
        loop {
            let Some(state) = self.conns.get_mut(conn) else {
                return heard;
            };
            let bytes = s.core.pending(conn);
            if state.blocked || state.ending || bytes.is_empty() {
                return heard;
            }
            if room == 0 || self.buggify.is_rare() {
                self.writable.push(conn);
                return heard;
            }
            let most = self.buggify.portion(bytes.len().min(room));
            let offered = &bytes[..most];
            let cx = &mut Context::from_waker(s.ready.waker(source));
            match state.stream.poll_write(cx, offered) {
                Poll::Pending => {
                    state.blocked = true;
                    return heard;
                }
                Poll::Ready(Ok(0)) => self.fail(conn, &io::ErrorKind::WriteZero.into(), s),
                Poll::Ready(Ok(count)) => {
                    debug_assert!(count <= offered.len(), "the kernel took what was offered");
                    room -= count;
                    s.core.handle(s.now, Input::Wrote { conn, count }, s.out);
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Poll::Ready(Err(error)) => self.fail(conn, &error, s),
            }
            heard = Heard::Something;
            self.note(s);
        }
    }

    fn fail<C: Core>(&mut self, conn: ConnId, error: &io::Error, s: &mut Scene<'_, C>) {
        tracing::debug!(%conn, %error, "connection failed");
        self.conns.remove(conn);
        s.counters.tcp_failed += 1;
        s.core.handle(s.now, Input::TcpClosed { conn }, s.out);
    }

    /// Looks at actions as they come: what the core wants read, and what it wants to hear no more
    /// of, holds from then on and not from the end of the turn.
    fn note<C: Core>(&mut self, s: &mut Scene<'_, C>) {
        for &(conn, action) in &s.out.tcp[self.noted..] {
            let Some(state) = self.conns.get_mut(conn) else {
                continue; // It failed after the core asked.
            };
            match action {
                TcpAction::Abort => state.ending = true,
                TcpAction::Close => state.ending = true,
                TcpAction::PauseRead if state.reading == Reading::On => {
                    state.reading = Reading::Paused;
                }
                TcpAction::PauseRead => {}
                TcpAction::ResumeRead if state.reading == Reading::Paused => {
                    state.reading = Reading::On;
                    // Its waker may have come and gone meanwhile.
                    s.ready.mark(self.sources_from + conn.slot() as usize);
                }
                TcpAction::ResumeRead => {}
                TcpAction::ShutdownWrite => {}
                TcpAction::Write => {}
            }
        }
        self.noted = s.out.tcp.len();
    }
}

/// Whether the core was given an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    Something,
}

impl Heard {
    fn or(self, other: Self) -> Self {
        if self == Self::Nothing { other } else { self }
    }
}

/// Whether an error of `accept` is about the one connection, so that the next may do better.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NotConnected
    )
}
