//! One thing in a shard's journal, and how it lies there.
//!
//! Clocks and counters are written as what changed since the entry before, so that a turn costs
//! some ten bytes beside what came in.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::base::clock::Now;
use crate::base::id::{ConnId, ShardId, SockId};
use crate::base::slab::SlabKey as _;
use crate::driver::platform::HandlerCounts;
use crate::driver::pump::{Counters, JournalCounts};
use crate::gateway::outside::{FileId, LookupId, Written};
use crate::metrics::names::{ByHandler, LogDrops};
use crate::shard::Listener;

use super::bytes::{Broken, Taker, put, put_address, put_bytes, put_maybe_address, put_signed};

/// Something that a shard was told, or that it was asked to do. Bytes are borrowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    /// A connection's client sent bytes; secrets in them are masked.
    Bytes { conn: ConnId, bytes: &'a [u8] },
    /// A connection failed.
    Closed { conn: ConnId },
    /// Another configuration, as JSON.
    Configure { config: &'a str },
    /// A datagram; without its bytes it cannot be replayed.
    Datagram {
        sock: SockId,
        from: SocketAddr,
        size: usize,
        bytes: Option<&'a [u8]>,
    },
    /// The operator wants the shard to drain.
    Drain,
    /// The shard's last turn is over.
    End { how: End, hash: u64 },
    /// A connection's client sends no more.
    Eof { conn: ConnId },
    /// A batch of inputs ended.
    Flush,
    /// A name was looked up.
    LookedUp {
        id: LookupId,
        address: Option<SocketAddr>,
    },
    /// The next message of another shard came in.
    Mesh { from: ShardId },
    /// A turn began: the clocks are read.
    Now(Reading),
    /// A connection was accepted.
    Opened {
        conn: ConnId,
        listener: Listener,
        peer: SocketAddr,
    },
    /// A signal asks the process to stop.
    Signal(i32),
    /// Shards that do not take their turns.
    Silent(Vec<ShardId>),
    /// A socket was opened, or not.
    SocketOpened {
        sock: SockId,
        bound: Option<SocketAddr>,
    },
    /// The operator wants the shard to stop.
    Stop,
    /// A deadline has come.
    Tick,
    /// A turn is over: what the driver has counted, and the hash of all output so far.
    Turn { counters: Counters, hash: u32 },
    /// A file was written, or not.
    Written { id: FileId, written: Written },
    /// The kernel took output of a connection.
    Wrote { conn: ConnId, count: usize },
}

/// How a shard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    InOrder,
    /// It panicked, in what the last entry asked of it.
    Panicked,
}

/// The clocks, as numbers: what is read from a journal is no time of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Nanoseconds of the monotonic clock.
    pub monotonic: u64,
    /// Nanoseconds of the clock that also runs while the host is suspended.
    pub boottime: u64,
    /// Microseconds of the wall clock.
    pub realtime: i64,
}

impl From<Now> for Reading {
    fn from(now: Now) -> Self {
        Self {
            monotonic: now.monotonic.as_nanos(),
            boottime: now.boottime.as_nanos(),
            realtime: now.realtime.unix_micros(),
        }
    }
}

mod tag {
    pub(super) const NOW: u8 = 0;
    pub(super) const FLUSH: u8 = 1;
    pub(super) const TURN: u8 = 2;
    pub(super) const TICK: u8 = 3;
    pub(super) const BYTES: u8 = 4;
    pub(super) const WROTE: u8 = 5;
    pub(super) const MESH: u8 = 6;
    pub(super) const OPENED: u8 = 7;
    pub(super) const EOF: u8 = 8;
    pub(super) const CLOSED: u8 = 9;
    pub(super) const DATAGRAM_HEAD: u8 = 10;
    pub(super) const DATAGRAM: u8 = 11;
    pub(super) const LOOKED_UP: u8 = 12;
    pub(super) const WRITTEN: u8 = 13;
    pub(super) const SOCKET_OPENED: u8 = 14;
    pub(super) const CONFIGURE: u8 = 15;
    pub(super) const DRAIN: u8 = 16;
    pub(super) const SIGNAL: u8 = 17;
    pub(super) const SILENT: u8 = 18;
    pub(super) const STOP: u8 = 19;
    pub(super) const END: u8 = 20;
}

/// By the bytes that stand for them.
const LISTENERS: [Listener; 8] = [
    Listener::Admin,
    Listener::AdminTls,
    Listener::AdminWebSocket,
    Listener::AdminWebSocketTls,
    Listener::Rest,
    Listener::RestTls,
    Listener::WebSocket,
    Listener::WebSocketTls,
];

const COUNTERS: usize = 23;

/// Writes or reads the entries of one shard, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coder {
    latest: Reading,
    counters: [u64; COUNTERS],
}

impl Coder {
    /// Goes on where another one was that wrote [`Self::encode_state`]; takes that off the front.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn of_state(from: &mut &[u8]) -> Result<Self, Broken> {
        let mut coder = Self::default();
        let (reading, turn) = (coder.decode(from)?, coder.decode(from)?);
        match (reading, turn) {
            (Some(Entry::Now(_)), Some(Entry::Turn { .. })) => Ok(coder),
            _ => Err(Broken),
        }
    }

    /// Appends an entry.
    pub fn encode(&mut self, entry: &Entry<'_>, into: &mut Vec<u8>) {
        match entry {
            Entry::Bytes { conn, bytes } => {
                put_conn(into, tag::BYTES, *conn);
                put_bytes(into, bytes);
            }
            Entry::Closed { conn } => put_conn(into, tag::CLOSED, *conn),
            Entry::Configure { config } => {
                into.push(tag::CONFIGURE);
                put_bytes(into, config.as_bytes());
            }
            Entry::Datagram {
                sock,
                from,
                size,
                bytes,
            } => {
                let is_whole = bytes.is_some();
                into.push(if is_whole {
                    tag::DATAGRAM
                } else {
                    tag::DATAGRAM_HEAD
                });
                put(into, sock.0.into());
                put_address(into, *from);
                put(into, *size as u64);
                into.extend_from_slice(bytes.unwrap_or_default());
            }
            Entry::Drain => into.push(tag::DRAIN),
            Entry::End { how, hash } => {
                into.extend_from_slice(&[tag::END, u8::from(*how == End::Panicked)]);
                into.extend_from_slice(&hash.to_le_bytes());
            }
            Entry::Eof { conn } => put_conn(into, tag::EOF, *conn),
            Entry::Flush => into.push(tag::FLUSH),
            Entry::LookedUp { id, address } => {
                into.push(tag::LOOKED_UP);
                put(into, id.0);
                put_maybe_address(into, *address);
            }
            Entry::Mesh { from } => into.extend_from_slice(&[tag::MESH, from.0]),
            Entry::Now(reading) => self.encode_reading(*reading, into),
            Entry::Opened {
                conn,
                listener,
                peer,
            } => {
                put_conn(into, tag::OPENED, *conn);
                let index = LISTENERS.iter().position(|known| known == listener);
                into.push(index.expect("all are there") as u8);
                put_address(into, *peer);
            }
            Entry::Signal(number) => {
                into.push(tag::SIGNAL);
                put_signed(into, i64::from(*number));
            }
            Entry::Silent(shards) => {
                into.push(tag::SILENT);
                put(into, shards.len() as u64);
                into.extend(shards.iter().map(|shard| shard.0));
            }
            Entry::SocketOpened { sock, bound } => {
                into.push(tag::SOCKET_OPENED);
                put(into, sock.0.into());
                put_maybe_address(into, *bound);
            }
            Entry::Stop => into.push(tag::STOP),
            Entry::Tick => into.push(tag::TICK),
            Entry::Turn { counters, hash } => self.encode_turn(counters, *hash, into),
            Entry::Written { id, written } => {
                into.push(tag::WRITTEN);
                put(into, id.0);
                into.push(u8::from(*written == Written::Yes));
            }
            Entry::Wrote { conn, count } => {
                put_conn(into, tag::WROTE, *conn);
                put(into, *count as u64);
            }
        }
    }

    /// Takes the next entry off the front of `from`; `None` at its end.
    ///
    /// # Errors
    ///
    /// [`Broken`]; `from` is where the entry began.
    pub fn decode<'a>(&mut self, from: &mut &'a [u8]) -> Result<Option<Entry<'a>>, Broken> {
        if from.is_empty() {
            return Ok(None);
        }
        let mut taker = Taker(from);
        let entry = self.decode_one(&mut taker)?;
        *from = taker.0;
        Ok(Some(entry))
    }

    /// Appends what the next entries build upon, as entries that build upon nothing.
    pub fn encode_state(&self, into: &mut Vec<u8>) {
        let mut fresh = Self::default();
        let counters = whole(self.counters);
        fresh.encode(&Entry::Now(self.latest), into);
        fresh.encode(&Entry::Turn { counters, hash: 0 }, into);
    }

    /// The clocks as they were read last.
    pub const fn reading(&self) -> Reading {
        self.latest
    }

    /// Turns that are over.
    pub const fn turns(&self) -> u64 {
        self.counters[TURNS]
    }

    fn decode_one<'a>(&mut self, from: &mut Taker<'a>) -> Result<Entry<'a>, Broken> {
        Ok(match from.byte()? {
            tag::BYTES => Entry::Bytes {
                conn: conn(from)?,
                bytes: from.bytes()?,
            },
            tag::CLOSED => Entry::Closed { conn: conn(from)? },
            tag::CONFIGURE => Entry::Configure {
                config: std::str::from_utf8(from.bytes()?).map_err(|_| Broken)?,
            },
            tag @ (tag::DATAGRAM | tag::DATAGRAM_HEAD) => {
                let (sock, address) = (SockId(from.small()?), from.address()?);
                let size = from.small()?;
                let is_whole = tag == tag::DATAGRAM;
                let bytes = is_whole.then(|| from.exactly(size)).transpose()?;
                Entry::Datagram {
                    sock,
                    from: address,
                    size,
                    bytes,
                }
            }
            tag::DRAIN => Entry::Drain,
            tag::END => {
                let how = if from.byte()? == 0 {
                    End::InOrder
                } else {
                    End::Panicked
                };
                let hash = u64::from_le_bytes(from.array()?);
                Entry::End { how, hash }
            }
            tag::EOF => Entry::Eof { conn: conn(from)? },
            tag::FLUSH => Entry::Flush,
            tag::LOOKED_UP => Entry::LookedUp {
                id: LookupId(from.number()?),
                address: from.maybe_address()?,
            },
            tag::MESH => Entry::Mesh {
                from: ShardId(from.byte()?),
            },
            tag::NOW => self.decode_reading(from)?,
            tag::OPENED => Entry::Opened {
                conn: conn(from)?,
                listener: *LISTENERS.get(usize::from(from.byte()?)).ok_or(Broken)?,
                peer: from.address()?,
            },
            tag::SIGNAL => Entry::Signal(i32::try_from(from.signed()?).map_err(|_| Broken)?),
            tag::SILENT => {
                let shards = from.bytes()?;
                Entry::Silent(shards.iter().copied().map(ShardId).collect())
            }
            tag::SOCKET_OPENED => Entry::SocketOpened {
                sock: SockId(from.small()?),
                bound: from.maybe_address()?,
            },
            tag::STOP => Entry::Stop,
            tag::TICK => Entry::Tick,
            tag::TURN => self.decode_turn(from)?,
            tag::WRITTEN => Entry::Written {
                id: FileId(from.number()?),
                written: if from.byte()? == 0 {
                    Written::No
                } else {
                    Written::Yes
                },
            },
            tag::WROTE => Entry::Wrote {
                conn: conn(from)?,
                count: from.small()?,
            },
            _ => return Err(Broken),
        })
    }

    /// The other clocks mostly go on as the monotonic one does.
    fn encode_reading(&mut self, reading: Reading, into: &mut Vec<u8>) {
        let latest = std::mem::replace(&mut self.latest, reading);
        let monotonic = reading.monotonic.wrapping_sub(latest.monotonic);
        let boottime = reading.boottime.wrapping_sub(latest.boottime);
        let realtime = reading.realtime.wrapping_sub(latest.realtime);
        into.push(tag::NOW);
        put(into, monotonic);
        put_signed(into, boottime.wrapping_sub(monotonic).cast_signed());
        put_signed(
            into,
            realtime.wrapping_sub((monotonic / 1_000).cast_signed()),
        );
    }

    fn decode_reading<'a>(&mut self, from: &mut Taker<'a>) -> Result<Entry<'a>, Broken> {
        let monotonic = from.number()?;
        let boottime = monotonic.wrapping_add(from.signed()?.cast_unsigned());
        let realtime = from
            .signed()?
            .wrapping_add((monotonic / 1_000).cast_signed());
        let latest = &mut self.latest;
        latest.monotonic = latest.monotonic.wrapping_add(monotonic);
        latest.boottime = latest.boottime.wrapping_add(boottime);
        latest.realtime = latest.realtime.wrapping_add(realtime);
        Ok(Entry::Now(*latest))
    }

    /// Of most turns there is nothing to tell but that it was one more.
    fn encode_turn(&mut self, counters: &Counters, hash: u32, into: &mut Vec<u8>) {
        into.push(tag::TURN);
        into.extend_from_slice(&hash.to_le_bytes());
        let counters = flat(counters);
        let mut latest = std::mem::replace(&mut self.counters, counters);
        latest[TURNS] = latest[TURNS].wrapping_add(1);
        if counters == latest {
            return put(into, 0);
        }
        let pairs = || counters.iter().zip(&latest).enumerate();
        let changed = pairs().filter(|(_, (a, b))| a != b);
        put(into, changed.fold(0, |mask, (index, _)| mask | 1 << index));
        for (_, (new, old)) in pairs().filter(|(_, (a, b))| a != b) {
            put_signed(into, new.wrapping_sub(*old).cast_signed());
        }
    }

    fn decode_turn<'a>(&mut self, from: &mut Taker<'a>) -> Result<Entry<'a>, Broken> {
        let hash = u32::from_le_bytes(from.array()?);
        let mask = from.number()?;
        if mask >> COUNTERS != 0 {
            return Err(Broken);
        }
        self.counters[TURNS] = self.counters[TURNS].wrapping_add(1);
        for (index, counter) in self.counters.iter_mut().enumerate() {
            if mask >> index & 1 == 1 {
                *counter = counter.wrapping_add(from.signed()?.cast_unsigned());
            }
        }
        let counters = whole(self.counters);
        Ok(Entry::Turn { counters, hash })
    }
}

fn put_conn(into: &mut Vec<u8>, tag: u8, conn: ConnId) {
    into.push(tag);
    put(into, conn.slot().into());
    put(into, conn.generation().into());
}

fn conn(from: &mut Taker<'_>) -> Result<ConnId, Broken> {
    Ok(ConnId::from_parts(from.small()?, from.small()?))
}

const TURNS: usize = 0;

fn flat(counters: &Counters) -> [u64; COUNTERS] {
    let Counters {
        tcp_accepted,
        tcp_accept_errors,
        tcp_failed,
        tcp_shed,
        turns,
        turns_full,
        udp_receive_errors,
        udp_sent,
        udp_send_dropped,
        reports_dropped,
        handlers:
            HandlerCounts {
                delivered,
                failed,
                refused,
            },
        log_drops,
        journal,
    } = *counters;
    [
        turns,
        turns_full,
        tcp_accepted,
        tcp_accept_errors,
        tcp_failed,
        tcp_shed,
        udp_receive_errors,
        udp_sent,
        udp_send_dropped,
        reports_dropped,
        delivered.post,
        delivered.ws,
        failed.post,
        failed.ws,
        refused,
        log_drops.queue_full,
        log_drops.rate,
        log_drops.sink,
        journal.written_bytes,
        journal.lost_bytes,
        journal.lost_turns,
        journal.tail_bytes,
        journal.tail_turns,
    ]
}

fn whole(counters: [u64; COUNTERS]) -> Counters {
    let [
        turns,
        turns_full,
        tcp_accepted,
        tcp_accept_errors,
        tcp_failed,
        tcp_shed,
        udp_receive_errors,
        udp_sent,
        udp_send_dropped,
        reports_dropped,
        delivered_post,
        delivered_ws,
        failed_post,
        failed_ws,
        refused,
        queue_full,
        rate,
        sink,
        written_bytes,
        lost_bytes,
        lost_turns,
        tail_bytes,
        tail_turns,
    ] = counters;
    Counters {
        tcp_accepted,
        tcp_accept_errors,
        tcp_failed,
        tcp_shed,
        turns,
        turns_full,
        udp_receive_errors,
        udp_sent,
        udp_send_dropped,
        reports_dropped,
        handlers: HandlerCounts {
            delivered: ByHandler {
                post: delivered_post,
                ws: delivered_ws,
            },
            failed: ByHandler {
                post: failed_post,
                ws: failed_ws,
            },
            refused,
        },
        log_drops: LogDrops {
            queue_full,
            rate,
            sink,
        },
        journal: JournalCounts {
            written_bytes,
            lost_bytes,
            lost_turns,
            tail_bytes,
            tail_turns,
        },
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
