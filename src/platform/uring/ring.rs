//! The ring itself, as far as watching descriptors goes.
//!
//! Invariant: the kernel is never given a pointer to memory of this process: all that is asked of
//! it is to watch a descriptor, or to stop that. So nothing has to outlive a request.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::io::Errno;

/// Requests that are handed over at a time; more are handed over in several steps.
const REQUESTS_COUNT: u32 = 256;

/// Events that the kernel may report before it has to put them into memory of its own.
const EVENTS_COUNT: u32 = 4_096;

/// The name of what needs no answer. No watch may have it.
pub(super) const NOBODY: u64 = u64::MAX;

/// What happened to a descriptor, or what it is watched for: bits of `poll(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Events(u32);

impl Events {
    pub(super) const IN: Self = Self(0x1);
    pub(super) const OUT: Self = Self(0x4);
    pub(super) const ERROR: Self = Self(0x8);
    pub(super) const HUNG_UP: Self = Self(0x10);
    pub(super) const READ_HUNG_UP: Self = Self(0x2000);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn has_any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }
}

/// An event of a watch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    /// The name of the watch.
    pub(super) name: u64,
    /// What the descriptor is ready for. An error when the watch failed.
    pub(super) events: Result<Events, Errno>,
    /// Whether the watch goes on.
    pub(super) goes_on: bool,
}

/// A ring that only its own thread uses.
pub(super) struct Ring {
    ring: IoUring,
    /// Requests that are not in the kernel's queue yet, oldest first.
    fresh: VecDeque<squeue::Entry>,
}

impl Ring {
    /// # Errors
    ///
    /// What the kernel says against it; `ENOSYS` if it is older than 5.13.
    pub(super) fn new() -> io::Result<Self> {
        // The kernel's work for this thread is done when the thread asks for its reports, and
        // neither interrupts it nor makes other calls longer. Linux 5.19 to 6.1 brought the flags.
        let quiet = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(EVENTS_COUNT)
            .build(REQUESTS_COUNT);
        let ring = match quiet {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => IoUring::builder()
                .setup_cqsize(EVENTS_COUNT)
                .build(REQUESTS_COUNT)?,
            made => made?,
        };
        // 5.13, which brought watches that report more than once, has this too.
        if ring.params().is_feature_ext_arg() && ring.params().is_feature_resource_tagging() {
            let fresh = VecDeque::new();
            Ok(Self { ring, fresh })
        } else {
            Err(Errno::NOSYS.into())
        }
    }

    /// Watches a descriptor for every change, until [`Ring::forget`]. Reports at once what it is
    /// ready for.
    pub(super) fn watch(&mut self, fd: RawFd, events: Events, name: u64) {
        let entry = opcode::PollAdd::new(types::Fd(fd), events.0).multi(true);
        self.fresh.push_back(entry.build().user_data(name));
    }

    /// Ends a watch. Its descriptor may be closed before the kernel hears of this.
    pub(super) fn forget(&mut self, name: u64) {
        let entry = opcode::PollRemove::new(name).build().user_data(NOBODY);
        self.fresh.push_back(entry);
    }

    /// Hands over requests, if there are any, and has the kernel report what it knows, without
    /// waiting. Some requests may be left when the kernel wants its reports taken first.
    pub(super) fn hand_over(&mut self) -> io::Result<()> {
        loop {
            let mut queue = self.ring.submission();
            while let Some(entry) = self.fresh.front() {
                // SAFETY: the entries made here refer to descriptors by number and to no memory,
                // so nothing has to stay valid until they are completed. A number that is closed
                // by then makes them fail; one that is used again is watched under the old name
                // until the request behind it, which ends that.
                if unsafe { queue.push(entry) }.is_err() {
                    break;
                }
                self.fresh.pop_front();
            }
            let has_reports = queue.cq_overflow() || queue.taskrun();
            let (had, idle) = (queue.len(), queue.is_empty() && !has_reports);
            drop(queue);
            if idle {
                return Ok(());
            }
            settle(self.ring.submit())?;
            if self.fresh.is_empty() || self.ring.submission().len() == had {
                return Ok(());
            }
        }
    }

    /// Whether all requests were handed over.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.fresh.is_empty()
    }

    /// Waits for a report, at most for a time if there is one.
    pub(super) fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        let submitter = self.ring.submitter();
        settle(match at_most {
            Some(time) => {
                let time = types::Timespec::from(time);
                submitter.submit_with_args(1, &types::SubmitArgs::new().timespec(&time))
            }
            None => submitter.submit_and_wait(1),
        })
    }

    /// Takes out the next report that is there.
    pub(super) fn next_report(&mut self) -> Option<Report> {
        let entry = self.ring.completion().next()?;
        let result = entry.result();
        Some(Report {
            name: entry.user_data(),
            events: match u32::try_from(result) {
                Ok(events) => Ok(Events(events)),
                Err(_) => Err(Errno::from_raw_os_error(-result)),
            },
            goes_on: cqueue::more(entry.flags()),
        })
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

/// The time was over, a signal came, or reports have to be taken first: all as expected.
fn settle(done: io::Result<usize>) -> io::Result<()> {
    match done {
        Ok(_) => Ok(()),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::BUSY | Errno::INTR | Errno::TIME) => Ok(()),
            _ => Err(error),
        },
    }
}
