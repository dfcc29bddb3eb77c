//! The thread that owns all PeerConnections: sends frames when they are due, takes in what comes,
//! and counts.

use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use super::peer::{Arrivals, Frame, Peer, RIDS, Role};
use crate::latency::Latencies;

const EVENTS_MAX: usize = 256;
/// What the kernel merges into one at most.
const BUFFER_BYTES: usize = 65_535;
/// How late a timer of a PeerConnection may be.
const TICK: Duration = Duration::from_millis(20);
/// The name of the bell among descriptors.
const BELL: u64 = u64::MAX;

/// What publishers send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// From one frame of a publisher to its next.
    pub(super) interval: Duration,
    /// Of each encoding, best first.
    pub(super) packets: [u32; RIDS.len()],
    pub(super) payload_bytes: usize,
}

/// What the engine is told.
pub(super) enum Command {
    Add(usize, Box<Peer>),
    Remove(usize),
    /// Publishers send from now on, or not any more.
    Flow(bool),
    /// Counting begins anew.
    Begin,
    /// Tells what was counted.
    End,
}

/// What the engine says.
#[derive(Debug)]
pub(super) enum Notice {
    Connected(usize),
    Failed(usize),
    Counted(Box<Tally>),
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Packets that publishers sent, of all encodings.
    pub(super) sent: u64,
    /// Packets of the best encoding, times the subscribers of their room.
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) gaps: u64,
    /// Frames that were sent so late that the next one was due.
    pub(super) late: u64,
    /// Transport-wide reports of those that only count.
    pub(super) reports: u64,
    pub(super) latencies: Latencies,
}

/// Hands commands over, and wakes the engine for them.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    commands: Sender<Command>,
    bell: Arc<OwnedFd>,
}

impl Handle {
    pub(super) fn tell(&self, command: Command) -> Result<(), String> {
        let sent = self.commands.send(command);
        sent.map_err(|_| "the generator's thread has ended".to_owned())?;
        // It fails only when the counter is full, and then it rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        Ok(())
    }
}

pub(super) struct Engine {
    epoll: OwnedFd,
    bell: Arc<OwnedFd>,
    commands: Receiver<Command>,
    notices: Sender<Notice>,
    peers: Vec<Option<Peer>>,
    shape: Shape,
    began: Instant,
    is_flowing: bool,
    /// When each publisher's next frame is due.
    frames: Vec<(Instant, usize)>,
    /// Subscribers that are up, by room.
    subscribers: Vec<u64>,
    tally: Tally,
    arrivals: Arrivals,
    buffers: Vec<Vec<u8>>,
}

impl Engine {
    /// An engine, and how to talk to it.
    pub(super) fn new(shape: Shape, notices: Sender<Notice>) -> io::Result<(Self, Handle)> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = Arc::new(eventfd(0, flags)?);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(BELL);
        epoll::add(&epoll, &bell, data, epoll::EventFlags::IN)?;
        let (sender, commands) = std::sync::mpsc::channel();
        let handle = Handle {
            commands: sender,
            bell: Arc::clone(&bell),
        };
        let engine = Self {
            epoll,
            bell,
            commands,
            notices,
            peers: Vec::new(),
            shape,
            began: Instant::now(),
            is_flowing: false,
            frames: Vec::new(),
            subscribers: Vec::new(),
            tally: Tally::default(),
            arrivals: Arrivals::default(),
            buffers: vec![vec![0; BUFFER_BYTES]; BATCH_SIZE],
        };
        Ok((engine, handle))
    }

    /// Runs until nobody can tell it anything any more.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut next_tick = Instant::now();
        loop {
            let now = Instant::now();
            let frame_due = self.frames.iter().map(|(at, _)| *at).min();
            let due = frame_due.map_or(next_tick, |at| at.min(next_tick));
            let at_most = Timespec::try_from(due.saturating_duration_since(now));
            let at_most = at_most.map_err(io::Error::other)?;
            events.clear();
            let buffer = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, buffer, Some(&at_most)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    BELL => {
                        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
                    }
                    number => self.take_in(number as usize)?,
                }
            }
            if self.listen()? == Heard::End {
                return Ok(());
            }
            self.send_frames();
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                self.tick(now);
            }
        }
    }

    fn listen(&mut self) -> io::Result<Heard> {
        use std::sync::mpsc::TryRecvError;
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command)?,
                Err(TryRecvError::Empty) => return Ok(Heard::All),
                Err(TryRecvError::Disconnected) => return Ok(Heard::End),
            }
        }
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Add(number, mut peer) => {
                let data = epoll::EventData::new_u64(number as u64);
                epoll::add(&self.epoll, &peer.socket, data, epoll::EventFlags::IN)?;
                peer.tick(Instant::now(), &mut self.arrivals);
                if number >= self.peers.len() {
                    self.peers.resize_with(number + 1, || None);
                }
                if peer.room >= self.subscribers.len() {
                    self.subscribers.resize(peer.room + 1, 0);
                }
                self.peers[number] = Some(*peer);
            }
            Command::Remove(number) => self.remove(number),
            Command::Flow(is_flowing) => {
                self.is_flowing = is_flowing;
                self.schedule();
            }
            Command::Begin => {
                self.tally = Tally::default();
                self.arrivals = Arrivals::default();
            }
            Command::End => {
                self.settle();
                let tally = Box::new(std::mem::take(&mut self.tally));
                self.say(Notice::Counted(tally));
            }
        }
        Ok(())
    }

    /// Spreads the publishers' frames evenly over the time between two of one.
    fn schedule(&mut self) {
        self.frames.clear();
        if !self.is_flowing {
            return;
        }
        let is_publisher = |peer: &Peer| matches!(peer.role, Role::Publisher(_));
        let publishers: Vec<usize> = (0..self.peers.len())
            .filter(|number| self.peers[*number].as_ref().is_some_and(is_publisher))
            .collect();
        let count = publishers.len() as u32;
        let now = Instant::now();
        for (index, number) in publishers.into_iter().enumerate() {
            let wait = self.shape.interval * index as u32 / count;
            self.frames.push((now + wait, number));
        }
    }

    fn send_frames(&mut self) {
        for index in 0..self.frames.len() {
            let now = Instant::now();
            let (due, number) = self.frames[index];
            if due > now {
                continue;
            }
            let Shape {
                interval,
                packets,
                payload_bytes,
                ..
            } = self.shape;
            let mut next = due + interval;
            if next < now {
                self.tally.late += 1;
                next = now + interval;
            }
            self.frames[index].0 = next;
            let frame = Frame {
                packets,
                payload_bytes,
                ticks: (interval.as_secs_f64() * 90_000.0) as u32,
                stamp: (now - self.began).as_nanos() as u64,
            };
            let Some(peer) = self.peers.get_mut(number).and_then(Option::as_mut) else {
                continue;
            };
            let Role::Publisher(streams) = &peer.role else {
                continue;
            };
            let sent: u32 = packets[..streams.len()].iter().sum();
            self.tally.sent += u64::from(sent);
            self.tally.expected += u64::from(packets[0]) * self.subscribers[peer.room];
            peer.publish(now, &frame, &mut self.arrivals);
        }
    }

    fn take_in(&mut self, number: usize) -> io::Result<()> {
        let Some(peer) = self.peers.get_mut(number).and_then(Option::as_mut) else {
            return Ok(());
        };
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(&mut []));
        for (slice, buffer) in slices.iter_mut().zip(&mut self.buffers) {
            *slice = IoSliceMut::new(buffer);
        }
        let socket = UdpSockRef::from(&peer.socket);
        let count = match peer.state.recv(socket, &mut slices, &mut metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        for (buffer, meta) in self.buffers.iter().zip(&metas[..count]) {
            for bytes in buffer[..meta.len].chunks(meta.stride.max(1)) {
                peer.receive(now, meta.addr, bytes, &mut self.arrivals);
            }
        }
        self.settle_at(now);
        self.look_at(number);
        Ok(())
    }

    fn tick(&mut self, now: Instant) {
        for number in 0..self.peers.len() {
            let Some(peer) = self.peers[number].as_mut() else {
                continue;
            };
            peer.send_reports(now, &mut self.arrivals);
            if peer.due <= now {
                peer.tick(now, &mut self.arrivals);
                self.look_at(number);
            }
        }
    }

    /// Tells of a peer that has come up or that is over, once.
    fn look_at(&mut self, number: usize) {
        let Some(peer) = self.peers[number].as_mut() else {
            return;
        };
        if peer.is_over {
            self.remove(number);
            self.say(Notice::Failed(number));
        } else if peer.is_connected && !peer.is_told {
            peer.is_told = true;
            if !matches!(peer.role, Role::Publisher(_)) {
                self.subscribers[peer.room] += 1;
            }
            self.say(Notice::Connected(number));
        }
    }

    fn remove(&mut self, number: usize) {
        let Some(peer) = self.peers.get_mut(number).and_then(Option::take) else {
            return;
        };
        if peer.is_told && !matches!(peer.role, Role::Publisher(_)) {
            self.subscribers[peer.room] -= 1;
        }
        self.frames.retain(|(_, each)| *each != number);
    }

    fn settle(&mut self) {
        self.settle_at(Instant::now());
    }

    /// Moves what arrived into the tally.
    fn settle_at(&mut self, now: Instant) {
        let nanos = (now - self.began).as_nanos() as u64;
        self.tally.delivered += std::mem::take(&mut self.arrivals.packets);
        self.tally.gaps += std::mem::take(&mut self.arrivals.gaps);
        self.tally.reports += std::mem::take(&mut self.arrivals.reports);
        for stamp in self.arrivals.stamps.drain(..) {
            let latency = Duration::from_nanos(nanos.saturating_sub(stamp));
            self.tally.latencies.add(latency);
        }
    }

    fn say(&self, notice: Notice) {
        // Nobody listens any more only while all ends.
        let _ = self.notices.send(notice);
    }
}

#[derive(PartialEq, Eq)]
enum Heard {
    All,
    End,
}
