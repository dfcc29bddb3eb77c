//! Which sources have something to do: a set of bits that wakers set and the pump takes.
//!
//! All sockets of a shard are polled by one task. Each is polled with a waker of its own, which
//! marks the source here and wakes the task once, however many sources become ready before it
//! runs. A turn then costs what the ready sources cost, not what the open ones do.
//!
//! Invariant: a source that was marked is either in the set or was handed out after the mark.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

const BITS: usize = u64::BITS as usize;

/// The set, seen by its one reader.
#[derive(Debug)]
pub(super) struct Ready {
    shared: Arc<Shared>,
    wakers: Vec<Option<Waker>>,
    /// The word from which the next look begins, so that low sources cannot starve high ones.
    next: usize,
}

#[derive(Debug)]
struct Shared {
    words: Box<[AtomicU64]>,
    /// A bit for every word that may not be zero.
    summary: Box<[AtomicU64]>,
    /// The task was woken and has not begun to look yet.
    woken: AtomicBool,
    task: Waker,
}

#[derive(Debug)]
struct SourceWaker {
    shared: Arc<Shared>,
    source: usize,
}

impl Ready {
    /// A set with room for `sources_max` sources, for the task that `task` wakes. The first
    /// `marked` are marked: nobody has polled them with a waker of this set.
    pub(super) fn new(sources_max: usize, marked: usize, task: &Waker) -> Self {
        let words = sources_max.div_ceil(BITS);
        let zeroes = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let ready = Self {
            shared: Arc::new(Shared {
                words: zeroes(words),
                summary: zeroes(words.div_ceil(BITS)),
                woken: AtomicBool::new(true),
                task: task.clone(),
            }),
            wakers: Vec::new(),
            next: 0,
        };
        for source in 0..marked {
            ready.mark(source);
        }
        ready
    }

    /// Begins a look: whatever is marked from here on wakes the task again.
    ///
    /// Says false when the task has another waker than the one that the set was made with; the
    /// set is of no use then.
    pub(super) fn begin(&self, cx: &Context<'_>) -> bool {
        self.shared.woken.swap(false, Ordering::AcqRel);
        cx.waker().will_wake(&self.shared.task)
    }

    /// Marks a source without waking the task.
    pub(super) fn mark(&self, source: usize) {
        self.shared.mark(source);
    }

    /// The waker of one source.
    pub(super) fn waker(&mut self, source: usize) -> &Waker {
        if source >= self.wakers.len() {
            self.wakers.resize(source + 1, None);
        }
        self.wakers[source].get_or_insert_with(|| {
            Waker::from(Arc::new(SourceWaker {
                shared: Arc::clone(&self.shared),
                source,
            }))
        })
    }

    /// Takes up to `max` marked sources out of the set.
    pub(super) fn take(&mut self, max: usize, into: &mut Vec<usize>) {
        let words = self.shared.words.len();
        let (mut room, mut at, mut unseen) = (max, self.next, words);
        while unseen > 0 {
            // A division costs more than all else that is done for a word.
            if at == words {
                at = 0;
            }
            let skip = self.shared.unmarked_from(at).min(words - at);
            if skip > 0 {
                unseen = unseen.saturating_sub(skip);
                at += skip;
                continue;
            }
            let mut bits = self.shared.take_word(at);
            while bits != 0 {
                if room == 0 {
                    self.shared.put_back(at, bits);
                    self.next = at;
                    return;
                }
                into.push(at * BITS + bits.trailing_zeros() as usize);
                bits &= bits - 1;
                room -= 1;
            }
            unseen -= 1;
            at += 1;
        }
    }

    /// Whether a source is marked.
    pub(super) fn left(&self) -> Left {
        let marked = |word: &AtomicU64| word.load(Ordering::Acquire) != 0;
        if self.shared.summary.iter().any(marked) {
            Left::Some
        } else {
            Left::None
        }
    }
}

/// Whether something is left for the next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    None,
    Some,
}

impl Shared {
    fn mark(&self, source: usize) {
        self.put_back(source / BITS, 1 << (source % BITS));
    }

    fn put_back(&self, word: usize, bits: u64) {
        self.words[word].fetch_or(bits, Ordering::Release);
        self.summary[word / BITS].fetch_or(1 << (word % BITS), Ordering::Release);
    }

    /// How many words from `word` on are without a mark, as far as one load tells.
    fn unmarked_from(&self, word: usize) -> usize {
        let ahead = self.summary[word / BITS].load(Ordering::Acquire) >> (word % BITS);
        if ahead == 0 {
            BITS - word % BITS
        } else {
            ahead.trailing_zeros() as usize
        }
    }

    fn take_word(&self, word: usize) -> u64 {
        self.summary[word / BITS].fetch_and(!(1 << (word % BITS)), Ordering::AcqRel);
        self.words[word].swap(0, Ordering::AcqRel)
    }
}

impl Wake for SourceWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.shared.mark(self.source);
        if !self.shared.woken.swap(true, Ordering::AcqRel) {
            self.shared.task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn emptied(sources: usize) -> (Ready, Arc<Counter>, Waker) {
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&counter));
        let mut ready = Ready::new(sources, sources, &waker);
        let mut all = Vec::new();
        ready.take(usize::MAX, &mut all);
        assert_eq!(all, (0..sources).collect::<Vec<_>>());
        assert!(ready.begin(&Context::from_waker(&waker)));
        (ready, counter, waker)
    }

    fn taken(ready: &mut Ready, max: usize) -> (Vec<usize>, Left) {
        let mut into = Vec::new();
        ready.take(max, &mut into);
        (into, ready.left())
    }

    #[test]
    fn many_marks_wake_the_task_once_until_it_looks() {
        let (mut ready, counter, task) = emptied(200);
        for source in [199, 3, 3, 64] {
            ready.waker(source).wake_by_ref();
        }
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        ready.begin(&Context::from_waker(&task));
        assert_eq!(taken(&mut ready, 10), (vec![3, 64, 199], Left::None));
        ready.waker(5).wake_by_ref();
        assert_eq!(counter.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_a_budget_leaves_comes_first_in_the_next_turn() {
        let (mut ready, ..) = emptied(200);
        for source in [0, 1, 70, 71, 199] {
            ready.mark(source);
        }
        assert_eq!(taken(&mut ready, 3), (vec![0, 1, 70], Left::Some));
        ready.mark(0);
        assert_eq!(taken(&mut ready, 2), (vec![71, 199], Left::Some));
        assert_eq!(taken(&mut ready, 9), (vec![0], Left::None));
    }

    #[test]
    fn another_waker_of_the_task_is_noticed() {
        let (ready, ..) = emptied(1);
        let other = Waker::from(Arc::new(Counter::default()));
        assert!(!ready.begin(&Context::from_waker(&other)));
    }
}
