//! A platform for tests that does nothing by itself: each step is made by the test.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::base::clock::{Boottime, Monotonic, Now, Realtime};
use crate::base::id::ShardId;
use crate::config::LogLevel;
use crate::driver::buggify::Buggify;
use crate::driver::scripted::Scripted;
use crate::driver::{
    Arrival, Counters, HandlerCounts, Io, MeshIo, News, Platform, Received, TcpAccept, TcpIo,
    UdpIo, run,
};
use crate::gateway::outside::{FileWrite, Lookup, Written};
use crate::gateway::reports::Report;
use crate::gateway::tweaks::HandlerSettings;
use crate::metrics::names::LogDrops;
use crate::shard::mesh::MeshMsg;
use crate::shard::{Control, Listener};

/// A port that cannot be bound.
pub(super) const TAKEN_PORT: u16 = 9;

/// The world of one shard: what the test sees and changes.
#[derive(Clone, Default)]
pub(super) struct World(Rc<Inner>);

#[derive(Default)]
struct Inner {
    clock: Cell<u64>,
    sleeps: RefCell<Vec<(u64, Waker)>>,
    doors: RefCell<VecDeque<io::Result<Wire>>>,
    door_waker: RefCell<Option<Waker>>,
    accept_polls: Cell<usize>,
    news: RefCell<Vec<News>>,
    arrivals: RefCell<VecDeque<Arrival>>,
    mesh_waker: RefCell<Option<Waker>>,
    udp: RefCell<UdpState>,
}

#[derive(Default)]
struct UdpState {
    incoming: VecDeque<(SocketAddr, Vec<u8>, usize)>,
    waker: Option<Waker>,
    sent: Vec<(usize, usize)>,
    /// Calls that it takes before it is full, if there is an end to it.
    room: Option<usize>,
    offload: Offload,
}

/// Whether several datagrams can go in one call.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Offload {
    /// It is not known yet that they cannot.
    Broken,
    None,
    #[default]
    Works,
}

/// The far end of a connection.
#[derive(Clone, Default)]
pub(super) struct Wire(Rc<RefCell<WireState>>);

#[derive(Default)]
struct WireState {
    incoming: VecDeque<io::Result<Vec<u8>>>,
    read_waker: Option<Waker>,
    written: Vec<u8>,
    room: usize,
    write_waker: Option<Waker>,
    end: Option<&'static str>,
}

impl Wire {
    /// A connection of which the kernel takes up to `room` bytes.
    pub(super) fn with_room(room: usize) -> Self {
        let wire = Self::default();
        wire.0.borrow_mut().room = room;
        wire
    }

    pub(super) fn send(&self, text: &str) {
        self.arrive(Ok(text.as_bytes().to_vec()));
    }

    pub(super) fn arrive(&self, what: io::Result<Vec<u8>>) {
        let mut state = self.0.borrow_mut();
        state.incoming.push_back(what);
        let waker = state.read_waker.take();
        drop(state);
        wake(waker);
    }

    /// The client reads, so that the kernel has room again.
    pub(super) fn make_room(&self, room: usize) {
        let mut state = self.0.borrow_mut();
        state.room = room;
        let waker = state.write_waker.take();
        drop(state);
        wake(waker);
    }

    pub(super) fn written(&self) -> Vec<u8> {
        self.0.borrow().written.clone()
    }

    pub(super) fn end(&self) -> Option<&'static str> {
        self.0.borrow().end
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

pub(super) struct MockTcp(Wire);

impl TcpIo for MockTcp {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.0.borrow_mut();
        match state.incoming.pop_front() {
            None => {
                state.read_waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(Ok(mut bytes)) => {
                let count = bytes.len().min(into.len());
                into[..count].copy_from_slice(&bytes[..count]);
                if count < bytes.len() {
                    state.incoming.push_front(Ok(bytes.split_off(count)));
                }
                Poll::Ready(Ok(count))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.0.borrow_mut();
        let count = bytes.len().min(state.room);
        if count == 0 {
            state.write_waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.room -= count;
        state.written.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.0.borrow_mut().end = Some("fin");
        Ok(())
    }

    fn abort(self) {
        self.0.0.borrow_mut().end = Some("aborted");
    }
}

impl Drop for MockTcp {
    fn drop(&mut self) {
        self.0.0.borrow_mut().end.get_or_insert("closed");
    }
}

pub(super) struct MockListener(World);

impl TcpAccept for MockListener {
    type Stream = MockTcp;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(MockTcp, SocketAddr)>> {
        let inner = &self.0.0;
        inner.accept_polls.set(inner.accept_polls.get() + 1);
        match inner.doors.borrow_mut().pop_front() {
            None => {
                *inner.door_waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(Ok(wire)) => Poll::Ready(Ok((MockTcp(wire), peer()))),
            Some(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

pub(super) struct MockUdp(World);

impl UdpIo for MockUdp {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.0.udp.borrow_mut();
        if state.incoming.is_empty() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn try_recv(&mut self, buffers: &mut [Vec<u8>], got: &mut [Received]) -> io::Result<usize> {
        let mut state = self.0.0.udp.borrow_mut();
        let mut count = 0;
        while count < got.len()
            && let Some((from, bytes, stride)) = state.incoming.pop_front()
        {
            buffers[count][..bytes.len()].copy_from_slice(&bytes);
            got[count] = Received {
                from,
                size: bytes.len(),
                stride,
            };
            count += 1;
        }
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    fn try_send(&mut self, _to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
        let mut state = self.0.0.udp.borrow_mut();
        if state.room == Some(0) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if bytes.len() > segment && state.offload == Offload::Broken {
            state.offload = Offload::None;
            return Err(io::Error::other("no offload here"));
        }
        state.room = state.room.map(|room| room - 1);
        state.sent.push((bytes.len(), segment));
        Ok(())
    }

    fn segments_max(&self) -> usize {
        match self.0.0.udp.borrow().offload {
            Offload::Broken | Offload::Works => 64,
            Offload::None => 1,
        }
    }
}

pub(super) struct MockMesh(World);

impl MeshIo for MockMesh {
    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut VecDeque<Arrival>) -> Poll<()> {
        let inner = &self.0.0;
        if inner.arrivals.borrow().is_empty() {
            *inner.mesh_waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        into.append(&mut inner.arrivals.borrow_mut());
        Poll::Ready(())
    }

    fn send(&mut self, _to: ShardId, _batch: Vec<MeshMsg>) {}

    fn tell_operator(&mut self, news: News) {
        self.0.0.news.borrow_mut().push(news);
    }
}

impl Platform for World {
    type Listener = MockListener;
    type Tcp = MockTcp;
    type Udp = MockUdp;
    type Mesh = MockMesh;

    fn sample(&self) -> Now {
        let nanos = self.0.clock.get();
        Now {
            monotonic: Monotonic::from_nanos(nanos),
            boottime: Boottime::from_nanos(7),
            realtime: Realtime::from_unix_micros(9),
        }
    }

    fn sleep_until(&self, at: Monotonic) -> impl Future<Output = ()> + 'static {
        let world = self.clone();
        std::future::poll_fn(move |cx| {
            if world.0.clock.get() >= at.as_nanos() {
                return Poll::Ready(());
            }
            let sleep = (at.as_nanos(), cx.waker().clone());
            world.0.sleeps.borrow_mut().push(sleep);
            Poll::Pending
        })
    }

    fn log_drops(&self) -> LogDrops {
        LogDrops {
            rate: 5,
            ..LogDrops::default()
        }
    }

    fn tell_handlers(&self, reports: &mut Vec<Report>) -> u64 {
        reports.clear();
        0
    }

    fn handler_counts(&self) -> HandlerCounts {
        HandlerCounts::default()
    }

    fn set_handler(&self, _: HandlerSettings) {}

    fn set_log_level(&self, _: LogLevel) {}

    fn open_udp(&self, bind: SocketAddr) -> io::Result<(MockUdp, SocketAddr)> {
        if bind.port() == TAKEN_PORT {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok((MockUdp(self.clone()), bind))
    }

    fn look_up(&self, lookup: Lookup) {
        self.0.arrivals.borrow_mut().push_back(Arrival::LookedUp {
            id: lookup.id,
            address: lookup.literal(),
        });
        wake(self.0.mesh_waker.take());
    }

    fn write_file(&self, write: FileWrite) {
        self.0.arrivals.borrow_mut().push_back(Arrival::Written {
            id: write.id,
            written: Written::Yes,
        });
        wake(self.0.mesh_waker.take());
    }

    async fn yield_now(&self) {
        let mut yielded = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// A scripted core, driven in a world.
pub(super) struct Stage {
    pub(super) world: World,
    woken: Arc<Flag>,
    running: Pin<Box<dyn Future<Output = Counters>>>,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Stage {
    pub(super) fn new(connections_max: usize) -> Self {
        let world = World::default();
        world.0.clock.set(1_000_000_000);
        let io = Io {
            listeners: vec![(Listener::Rest, MockListener(world.clone()))],
            udp: vec![MockUdp(world.clone())],
            udp_more_max: 4,
            mesh: MockMesh(world.clone()),
            connections_max,
            buggify: Buggify::default(),
        };
        let mut stage = Self {
            woken: Arc::new(Flag(AtomicBool::new(true))),
            running: Box::pin(run(world.clone(), Scripted::default(), io)),
            world,
        };
        stage.settle();
        stage
    }

    /// Lets the driver run until it waits. Says how often it had to.
    pub(super) fn settle(&mut self) -> usize {
        let mut polls = 0;
        while self.woken.0.swap(false, Ordering::AcqRel) {
            assert!(self.poll().is_pending(), "nobody stopped it");
            polls += 1;
            assert!(polls < 1_000, "the driver spins");
        }
        polls
    }

    /// Lets the driver take one turn.
    pub(super) fn settle_once(&mut self) {
        assert!(self.woken.0.swap(false, Ordering::AcqRel), "it was woken");
        assert!(self.poll().is_pending(), "nobody stopped it");
    }

    /// What the driver told the operator so far.
    pub(super) fn news(&self) -> Vec<News> {
        self.world.0.news.borrow().clone()
    }

    /// Stops the core and takes the counters.
    pub(super) fn stop(mut self) -> Counters {
        self.arrive(Arrival::Control(Control::Stop));
        self.settle();
        assert_eq!(self.news(), [News::Drained]);
        self.arrive(Arrival::Over);
        match self.poll() {
            Poll::Ready(counters) => counters,
            Poll::Pending => panic!("nothing holds the driver"),
        }
    }

    /// Something from another thread.
    pub(super) fn arrive(&mut self, what: Arrival) {
        self.world.0.arrivals.borrow_mut().push_back(what);
        wake(self.world.0.mesh_waker.take());
    }

    pub(super) fn connect(&mut self, room: usize) -> Wire {
        let wire = Wire::with_room(room);
        self.knock(Ok(wire.clone()));
        self.settle();
        wire
    }

    /// A connection, or an error of `accept`.
    pub(super) fn knock(&mut self, what: io::Result<Wire>) {
        self.world.0.doors.borrow_mut().push_back(what);
        wake(self.world.0.door_waker.take());
    }

    pub(super) fn accept_polls(&self) -> usize {
        self.world.0.accept_polls.get()
    }

    /// Lets time pass, and wakes those that slept until then.
    pub(super) fn pass(&mut self, time: Duration) {
        let inner = &self.world.0;
        let nanos = u64::try_from(time.as_nanos()).expect("short");
        inner.clock.set(inner.clock.get() + nanos);
        let now = inner.clock.get();
        let (due, later): (Vec<_>, _) = inner.sleeps.take().into_iter().partition(|s| s.0 <= now);
        inner.sleeps.replace(later);
        for (_, waker) in due {
            waker.wake();
        }
        self.settle();
    }

    /// A datagram, or several of one sender that the kernel has merged.
    pub(super) fn datagram(&mut self, bytes: &[u8], stride: usize) {
        let mut state = self.world.0.udp.borrow_mut();
        state.incoming.push_back((peer(), bytes.to_vec(), stride));
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// What was sent since the last time: bytes and segment size of each call.
    pub(super) fn sent(&self) -> Vec<(usize, usize)> {
        std::mem::take(&mut self.world.0.udp.borrow_mut().sent)
    }

    pub(super) fn set_udp_room(&self, room: Option<usize>) {
        self.world.0.udp.borrow_mut().room = room;
    }

    pub(super) fn set_offload(&self, offload: Offload) {
        self.world.0.udp.borrow_mut().offload = offload;
    }

    fn poll(&mut self) -> Poll<Counters> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.running.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_000))
}
