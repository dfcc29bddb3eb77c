//! One task, the sockets that wake it, and its timers.
//!
//! A socket is watched from its first use to its end by one request to the ring, which reports
//! every change: reading, writing and waiting again need no further one. The thread enters the
//! kernel for the ring only when the task has nothing left to do, and then once: to hand over
//! what is new, and to wait for a report or the earliest timer. Reports that came meanwhile are
//! read from memory.
//!
//! Invariant: a watch is taken back before its descriptor is closed. A descriptor that is not
//! known to be empty counts as readable, so that no data waits unseen.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::ring::{Events, NOBODY, Report, Ring};
use crate::base::clock::Monotonic;
use crate::platform::Clocks;

/// The name of the bell among watches.
const BELL: u64 = NOBODY - 1;

/// Reports that are taken at a time; more wait until the task has run.
const REPORTS_MAX: usize = 256;

/// The reactor of the calling thread.
#[derive(Clone, Debug)]
pub struct Reactor(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    state: RefCell<State>,
    bell: Arc<Bell>,
    clocks: Clocks,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    slots: Vec<Slot>,
    free: Vec<u32>,
    timers: BTreeMap<(Monotonic, u64), Waker>,
    timers_armed: u64,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    /// What the descriptor is watched for; nothing when the slot is free.
    watched: Option<(RawFd, Events)>,
    readable: bool,
    writable: bool,
    /// The other side has ended or failed: a short read does not mean that nothing follows.
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What a descriptor is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    Read,
    ReadWrite,
}

impl Reactor {
    /// Makes a ring for the calling thread.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub fn new() -> io::Result<Self> {
        let bell = Bell {
            state: AtomicU8::new(AWAKE),
            fd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        };
        let bell = Arc::new(bell);
        let mut ring = Ring::new()?;
        ring.watch(bell.fd.as_raw_fd(), Events::IN, BELL);
        let state = State {
            ring,
            slots: Vec::new(),
            free: Vec::new(),
            timers: BTreeMap::new(),
            timers_armed: 0,
        };
        Ok(Self(Rc::new(Shared {
            state: RefCell::new(state),
            bell,
            clocks: Clocks::default(),
        })))
    }

    /// Runs a task to its end.
    ///
    /// # Errors
    ///
    /// When the ring fails.
    pub fn run<T>(&self, task: impl Future<Output = T>) -> io::Result<T> {
        let mut task = pin!(task);
        let waker = Waker::from(Arc::clone(&self.0.bell));
        let cx = &mut Context::from_waker(&waker);
        loop {
            if let Poll::Ready(done) = task.as_mut().poll(cx) {
                return Ok(done);
            }
            self.look()?;
            while !self.0.bell.answer() {
                self.sleep()?;
                self.look()?;
            }
        }
    }

    /// Watches a descriptor, which is taken to be ready until it shows that it is not.
    pub(super) fn adopt(&self, fd: OwnedFd, interest: Interest) -> Watched {
        let mut state = self.0.state.borrow_mut();
        let events = match interest {
            Interest::Read => Events::IN,
            Interest::ReadWrite => Events::IN.and(Events::OUT).and(Events::READ_HUNG_UP),
        };
        let index = match state.free.pop() {
            Some(index) => index,
            None => {
                state.slots.push(Slot::FREE);
                (state.slots.len() - 1) as u32
            }
        };
        let generation = state.slots[index as usize].generation;
        state.slots[index as usize] = Slot {
            generation,
            watched: Some((fd.as_raw_fd(), events)),
            readable: true,
            writable: true,
            ..Slot::FREE
        };
        let name = name_of(index, generation);
        state.ring.watch(fd.as_raw_fd(), events, name);
        Watched {
            fd,
            index,
            reactor: self.clone(),
        }
    }

    /// Completes at `at` or later.
    pub(super) fn sleep_until(&self, at: Monotonic) -> Sleep {
        Sleep {
            reactor: self.clone(),
            at,
            key: None,
        }
    }

    /// Takes in what the kernel reported so far, without entering it unless something is to be
    /// handed over.
    fn look(&self) -> io::Result<()> {
        let mut state = self.0.state.borrow_mut();
        state.ring.hand_over()?;
        for _ in 0..REPORTS_MAX {
            let Some(report) = state.ring.next_report() else {
                break;
            };
            state.take(report, &self.0.bell);
        }
        Ok(())
    }

    /// Waits for an event, the bell or the earliest timer.
    fn sleep(&self) -> io::Result<()> {
        let mut state = self.0.state.borrow_mut();
        let now = self.0.clocks.monotonic();
        let left = match state.timers.first_key_value() {
            Some((&(at, _), _)) if at <= now => {
                let (_, waker) = state.timers.pop_first().expect("it was just seen");
                waker.wake();
                return Ok(());
            }
            Some((&(at, _), _)) => Some(at.saturating_since(now)),
            None => None,
        };
        // Watches that had to be set up anew are handed over by the next look.
        if !state.ring.is_up_to_date() || !self.0.bell.fall_asleep() {
            return Ok(());
        }
        let slept = state.ring.wait(left);
        self.0.bell.wake_up();
        slept
    }
}

impl State {
    fn take(&mut self, report: Report, bell: &Bell) {
        let Report { name, events, .. } = report;
        if name == NOBODY {
            return;
        }
        if name == BELL {
            bell.silence();
            if !report.goes_on {
                self.ring.watch(bell.fd.as_raw_fd(), Events::IN, BELL);
            }
            return;
        }
        let (index, generation) = (name as u32, (name >> 32) as u32);
        let slot = &mut self.slots[index as usize];
        if slot.generation != generation {
            return; // Of a descriptor that was given up meanwhile.
        }
        // A watch that failed cannot tell what comes: only trying does.
        slot.notice(events.unwrap_or(Events::ERROR));
        // The kernel gives a watch up when it has no room for its reports. Set up anew, it reports
        // at once what is there.
        if let (false, Ok(_), Some((fd, events))) = (report.goes_on, events, slot.watched) {
            self.ring.watch(fd, events, name);
        }
    }

    fn forget(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        self.ring.forget(name_of(index, slot.generation));
        *slot = Slot {
            generation: slot.generation.wrapping_add(1),
            ..Slot::FREE
        };
        self.free.push(index);
    }
}

impl Slot {
    const FREE: Self = Self {
        generation: 0,
        watched: None,
        readable: false,
        writable: false,
        ended: false,
        reader: None,
        writer: None,
    };

    /// Takes in what the kernel says about the descriptor.
    fn notice(&mut self, events: Events) {
        let failed = events.has_any(Events::ERROR.and(Events::HUNG_UP));
        let ended = failed || events.has_any(Events::READ_HUNG_UP);
        self.ended |= ended;
        if ended || events.has_any(Events::IN) {
            self.readable = true;
            if let Some(waker) = self.reader.take() {
                waker.wake();
            }
        }
        if failed || events.has_any(Events::OUT) {
            self.writable = true;
            if let Some(waker) = self.writer.take() {
                waker.wake();
            }
        }
    }
}

fn name_of(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

/// A descriptor that the ring watches.
#[derive(Debug)]
pub(super) struct Watched {
    fd: OwnedFd,
    index: u32,
    reactor: Reactor,
}

impl Watched {
    /// Tries to read, unless nothing can be there. `act` says how many bytes it read, of how many
    /// it had room for.
    pub(super) fn read(
        &self,
        cx: &Context<'_>,
        room: usize,
        act: impl FnOnce(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        if self.poll_readable(cx).is_pending() {
            return Poll::Pending;
        }
        match act(self.fd.as_fd()) {
            Ok(count) => {
                if count < room {
                    self.drained();
                }
                Poll::Ready(Ok(count))
            }
            Err(Errno::AGAIN) => {
                self.blocked();
                self.poll_readable(cx)
                    .map(|()| Err(io::ErrorKind::Interrupted.into()))
            }
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }

    /// Tries to write, unless the kernel has no room.
    pub(super) fn write(
        &self,
        cx: &Context<'_>,
        act: impl FnOnce(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        if self.slot(|slot| slot.writable) {
            match act(self.fd.as_fd()) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(Errno::AGAIN) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        self.slot(|slot| {
            slot.writable = false;
            slot.writer = Some(cx.waker().clone());
        });
        Poll::Pending
    }

    /// Waits until reading is worth a try.
    pub(super) fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        self.slot(|slot| {
            if slot.readable {
                return Poll::Ready(());
            }
            let waker = cx.waker();
            if !slot.reader.as_ref().is_some_and(|old| old.will_wake(waker)) {
                slot.reader = Some(waker.clone());
            }
            Poll::Pending
        })
    }

    /// Nothing was there.
    pub(super) fn blocked(&self) {
        self.slot(|slot| slot.readable = false);
    }

    /// Less was read than there was room for: more comes with a report, except when that of the
    /// end has come already.
    fn drained(&self) {
        self.slot(|slot| slot.readable = slot.ended);
    }

    fn slot<T>(&self, act: impl FnOnce(&mut Slot) -> T) -> T {
        act(&mut self.reactor.0.state.borrow_mut().slots[self.index as usize])
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The kernel keeps a socket that is watched open, until it has seen this.
        self.reactor.0.state.borrow_mut().forget(self.index);
    }
}

/// A sleep; dropping it cancels it.
#[derive(Debug)]
pub(super) struct Sleep {
    reactor: Reactor,
    at: Monotonic,
    key: Option<(Monotonic, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = Rc::clone(&self.reactor.0);
        if self.at <= shared.clocks.monotonic() {
            return Poll::Ready(());
        }
        let mut state = shared.state.borrow_mut();
        let at = self.at;
        let key = *self.key.get_or_insert_with(|| {
            state.timers_armed += 1;
            (at, state.timers_armed)
        });
        state.timers.insert(key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.reactor.0.state.borrow_mut().timers.remove(&key);
        }
    }
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const RUNG: u8 = 2;

/// What wakes the task, from this thread or another. Only a thread that sleeps costs a system
/// call to wake.
#[derive(Debug)]
struct Bell {
    state: AtomicU8,
    fd: OwnedFd,
}

impl Bell {
    /// Whether it was rung since it was answered last.
    fn answer(&self) -> bool {
        self.state.swap(AWAKE, Ordering::AcqRel) == RUNG
    }

    /// Says false when it was rung.
    fn fall_asleep(&self) -> bool {
        self.state
            .compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn wake_up(&self) {
        // Whoever rang while it slept stays heard.
        let _ = self
            .state
            .compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Takes back what rang the descriptor.
    fn silence(&self) {
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP {
            // It fails only when the counter is full, and then it rings already.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }
}
