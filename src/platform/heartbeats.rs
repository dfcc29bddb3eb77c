//! Whether every shard still takes its turns.
//!
//! Invariant: what counts is how often a shard was asked without an answer, not how much time has
//! passed. A process that was stopped and goes on asks once more before it concludes anything.

use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::base::id::ShardId;

/// How often shards are asked.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(1);
/// Questions without an answer after which a shard counts as silent.
const SILENT_AFTER: u32 = 5;
/// Questions without an answer after which the process is given up, for its supervisor to start
/// it again.
const DEAD_AFTER: u32 = 15;

/// What is known of all shards.
#[derive(Debug)]
pub(super) struct Heartbeats {
    /// Questions without an answer; nothing for a shard that has ended.
    unanswered: Vec<Option<u32>>,
    ask_at: Monotonic,
}

/// What a round of questions showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// Shards that have fallen silent since the last round.
    pub(super) fell_silent: Vec<ShardId>,
    /// A shard that has been silent for too long.
    pub(super) dead: Option<ShardId>,
}

impl Heartbeats {
    pub(super) fn new(shards: usize, now: Monotonic) -> Self {
        Self {
            unanswered: vec![Some(0); shards],
            ask_at: now + ASK_EVERY,
        }
    }

    /// Begins a round: every shard that runs is to be asked now.
    pub(super) fn ask(&mut self, now: Monotonic) -> Round {
        self.ask_at = now + ASK_EVERY;
        let mut round = Round::default();
        for (shard, unanswered) in (0..).map(ShardId).zip(&mut self.unanswered) {
            let Some(unanswered) = unanswered else {
                continue;
            };
            if *unanswered == SILENT_AFTER {
                round.fell_silent.push(shard);
            }
            if *unanswered >= DEAD_AFTER {
                round.dead = Some(shard);
            }
            *unanswered += 1;
        }
        round
    }

    /// A shard answered. Says whether it had been silent.
    pub(super) fn answered(&mut self, shard: ShardId) -> bool {
        let unanswered = self.unanswered[usize::from(shard.0)].as_mut();
        // The question that it answers was counted as the next round began.
        unanswered.is_some_and(|count| std::mem::take(count) > SILENT_AFTER)
    }

    /// A shard ended, and is asked no more.
    pub(super) fn ended(&mut self, shard: ShardId) {
        self.unanswered[usize::from(shard.0)] = None;
    }

    /// When the next round is due.
    pub(super) const fn ask_at(&self) -> Monotonic {
        self.ask_at
    }

    /// The shards that are silent.
    pub(super) fn silent(&self) -> Vec<ShardId> {
        let shards = (0..).map(ShardId).zip(&self.unanswered);
        shards
            .filter(|(_, unanswered)| unanswered.is_some_and(|count| count > SILENT_AFTER))
            .map(|(shard, _)| shard)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Monotonic = Monotonic::from_nanos(7_000_000_000);

    #[test]
    fn shards_that_answer_are_never_silent() {
        let mut beats = Heartbeats::new(2, START);
        for _ in 0..100 {
            assert_eq!(beats.ask(START), Round::default());
            assert!(!beats.answered(ShardId(0)));
            assert!(!beats.answered(ShardId(1)));
        }
        assert_eq!(beats.silent(), []);
    }

    #[test]
    fn a_shard_that_does_not_answer_is_named_once_and_given_up_later() {
        let mut beats = Heartbeats::new(2, START);
        for round in 0..15 {
            let seen = beats.ask(START);
            beats.answered(ShardId(0));
            let fell_silent: &[ShardId] = if round == 5 { &[ShardId(1)] } else { &[] };
            assert_eq!(seen.fell_silent, fell_silent, "round {round}");
            assert_eq!(seen.dead, None, "round {round}");
        }
        assert_eq!(beats.silent(), [ShardId(1)]);
        assert_eq!(beats.ask(START).dead, Some(ShardId(1)));
    }

    #[test]
    fn a_shard_that_answers_late_is_well_again() {
        let mut beats = Heartbeats::new(1, START);
        for _ in 0..8 {
            beats.ask(START);
        }
        assert!(beats.answered(ShardId(0)));
        assert_eq!(beats.silent(), []);
        assert_eq!(beats.ask(START), Round::default());
    }

    #[test]
    fn time_alone_makes_no_shard_silent() {
        let mut beats = Heartbeats::new(1, START);
        beats.ask(START);
        // The process was stopped for an hour.
        assert_eq!(
            beats.ask(START + Duration::from_secs(3_600)),
            Round::default()
        );
    }

    #[test]
    fn a_shard_that_has_ended_is_not_missed() {
        let mut beats = Heartbeats::new(1, START);
        beats.ended(ShardId(0));
        for _ in 0..20 {
            assert_eq!(beats.ask(START), Round::default());
        }
        assert_eq!(beats.silent(), []);
    }
}
