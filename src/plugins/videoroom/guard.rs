//! Those who guess: wrong secrets are counted, and where there are many, their answers wait.
//!
//! Invariant: nothing is refused that would be allowed otherwise; only answers to wrong secrets
//! come later, and what is kept of them is bounded.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::base::clock::Monotonic;
use crate::base::id::{SessionId, ShardId};
use crate::gateway::plugin::{Cx, Ticket};
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::messages::Msg;

/// Wrong secrets of one session within [`SOURCE_SPAN`] that are answered at once.
const SOURCE_MAX: u32 = 5;
const SOURCE_SPAN: Duration = Duration::from_secs(10);

/// Wrong secrets for one room within [`ROOM_SPAN`] that are answered at once.
const ROOM_MAX: u32 = 50;
const ROOM_SPAN: Duration = Duration::from_secs(1);

/// How long an answer is held back: a guess a second is no attack.
const HOLD: Duration = Duration::from_secs(1);

/// Answers that are held back on one shard. Those who guess faster get none.
const HELD_MAX: usize = 1_024;

/// Sessions and rooms that are watched on one shard; beyond it, the oldest is forgotten.
const WATCHED_MAX: usize = 4_096;

/// An answer to a wrong secret.
#[derive(Debug)]
pub(super) enum Held {
    Resolve(Ticket, Value),
    Send(ShardId, Msg),
}

/// What was guessed lately.
#[derive(Debug, Default)]
pub(super) struct Guard {
    sources: Windows<SessionId>,
    /// `None` for the key of the whole plugin.
    rooms: Windows<Option<Id>>,
    held: VecDeque<(Monotonic, Held)>,
    pub(super) counts: Counts,
}

/// For the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) wrong: u64,
    pub(super) held: u64,
    pub(super) dropped: u64,
}

#[derive(Debug)]
struct Windows<K> {
    seen: BTreeMap<K, Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Monotonic,
    count: u32,
}

impl<K> Default for Windows<K> {
    fn default() -> Self {
        Self {
            seen: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Windows<K> {
    /// Counts one more; tells whether there are too many.
    fn count(&mut self, now: Monotonic, key: K, span: Duration, max: u32) -> bool {
        if self.seen.len() >= WATCHED_MAX && !self.seen.contains_key(&key) {
            self.seen
                .retain(|_, window| now.saturating_since(window.since) < span);
            if self.seen.len() >= WATCHED_MAX {
                let oldest = self.seen.iter().min_by_key(|(_, window)| window.since);
                if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                    self.seen.remove(&oldest);
                }
            }
        }
        let window = self.seen.entry(key).or_insert(Window {
            since: now,
            count: 0,
        });
        if now.saturating_since(window.since) >= span {
            *window = Window {
                since: now,
                count: 0,
            };
        }
        window.count = window.count.saturating_add(1);
        window.count > max
    }
}

impl Guard {
    /// Gives an answer to a wrong secret, at once or later.
    pub(super) fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        room: Option<Id>,
        source: SessionId,
        answer: Held,
    ) {
        let now = cx.now.monotonic;
        if !self.is_suspect(now, room, source) {
            answer.give(cx);
        } else if self.held.len() < HELD_MAX {
            self.counts.held += 1;
            if self.held.is_empty() {
                cx.wake(now + HOLD);
            }
            self.held.push_back((now + HOLD, answer));
        } else {
            self.counts.dropped += 1;
        }
    }

    /// Gives the answers whose time has come.
    pub(super) fn woken(&mut self, cx: &mut Cx<'_>) {
        while let Some((due, answer)) = self.held.pop_front() {
            if due > cx.now.monotonic {
                cx.wake(due);
                self.held.push_front((due, answer));
                return;
            }
            answer.give(cx);
        }
    }

    fn is_suspect(&mut self, now: Monotonic, room: Option<Id>, source: SessionId) -> bool {
        self.counts.wrong += 1;
        let by_room = self.rooms.count(now, room, ROOM_SPAN, ROOM_MAX);
        self.sources.count(now, source, SOURCE_SPAN, SOURCE_MAX) || by_room
    }
}

impl Held {
    fn give(self, cx: &mut Cx<'_>) {
        match self {
            Self::Resolve(ticket, data) => cx.resolve(ticket, data),
            Self::Send(shard, message) => cx.send(shard, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_source_may_be_wrong_five_times_in_ten_seconds() {
        let mut guard = Guard::default();
        let mut guess = |millis| guard.is_suspect(at(millis), None, SessionId(1));
        let early: Vec<bool> = (0..7).map(|n| guess(n * 100)).collect();
        assert_eq!(early, [false, false, false, false, false, true, true]);
        assert!(guess(9_999));
        assert!(!guess(10_000), "a new window");
    }

    #[test]
    fn a_room_is_guarded_against_many_sources() {
        let mut guard = Guard::default();
        let room = || Some(Id::Number(7));
        for source in 1..=50 {
            assert!(!guard.is_suspect(at(0), room(), SessionId(source)));
        }
        assert!(guard.is_suspect(at(999), room(), SessionId(51)));
        assert!(!guard.is_suspect(at(999), Some(Id::Number(8)), SessionId(52)));
        assert!(!guard.is_suspect(at(1_000), room(), SessionId(53)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut guard = Guard::default();
        for source in 0..2 * WATCHED_MAX as u64 {
            guard.is_suspect(at(source), None, SessionId(source));
        }
        assert!(guard.sources.seen.len() <= WATCHED_MAX);
    }
}
