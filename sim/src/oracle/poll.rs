//! Invariants 11, 12, 16 and 19: long polls end when they should, with what was asked for.

use serde_json::Value;

use crate::oracle::fact::{Ask, Exchange, Stamp};
use crate::oracle::ledger::Ledger;
use crate::oracle::{About, Oracle};

/// A keepalive comes no earlier than the poll timeout.
#[derive(Debug, Default)]
pub struct PollNotEarly;

impl Oracle for PollNotEarly {
    fn about(&self) -> &'static About {
        &About {
            number: 11,
            id: "poll-not-early",
            rule: "a keepalive comes no earlier than the poll timeout of the host's monotonic clock, unless a newer listener took its place, another got events, or the session ended",
            kills: &[
                "clock-uptime-keepalive",
                "deadline-32-bit",
                "poll-older-supersedes",
                "poll-resumed-twice",
            ],
        }
    }

    fn answered(&mut self, ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        let (Ask::Poll { session, .. }, Some(answer), Some(offered)) =
            (&exchange.ask, &exchange.answer, exchange.offered)
        else {
            return Ok(());
        };
        if !answer.is_keepalive() {
            return Ok(());
        }
        let waited = offered.since(exchange.asked);
        if waited + ledger.granularity * 2 >= ledger.limits.poll_timeout {
            return Ok(());
        }
        let tolerance = ledger.tolerance(exchange.asked.sim, offered.sim);
        let is_excused = ledger.draining_since.is_some()
            || ledger.sessions.get(session).is_none_or(|session| {
                session.may_give_way(exchange.number, exchange.asked, tolerance)
                    || session.ended_by.is_some()
            });
        if is_excused {
            return Ok(());
        }
        Err(format!(
            "keepalive after {waited:?} of monotonic time; the limit is {:?}",
            ledger.limits.poll_timeout
        ))
    }
}

/// A poll is answered no later than its timeout and the tolerance.
#[derive(Debug, Default)]
pub struct PollNotLate;

impl PollNotLate {
    fn check(ledger: &Ledger, begun: Stamp, until: Stamp) -> Result<(), String> {
        let waited = until.since(begun);
        let limit = ledger.limits.poll_timeout + ledger.tolerance(begun.sim, until.sim);
        if waited > limit {
            return Err(format!("a poll waited {waited:?}; the limit is {limit:?}"));
        }
        Ok(())
    }
}

impl Oracle for PollNotLate {
    fn about(&self) -> &'static About {
        &About {
            number: 12,
            id: "poll-not-late",
            rule: "a poll is answered no later than its timeout, plus timer slack, mesh and injected delays",
            kills: &[
                "clock-boottime-deadline",
                "clock-wall-deadline",
                "timer-cancel-forgets-another",
            ],
        }
    }

    fn answered(&mut self, ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        match (&exchange.ask, exchange.offered) {
            (Ask::Poll { .. }, Some(offered)) => Self::check(ledger, exchange.begun, offered),
            (Ask::Admin | Ask::Api { .. } | Ask::Other | Ask::Stream { .. }, _)
            | (Ask::Poll { .. }, None) => Ok(()),
        }
    }

    fn leaving(&mut self, ledger: &Ledger, stamp: Stamp) -> Result<(), String> {
        ledger
            .sessions
            .values()
            .flat_map(|session| session.listeners.values())
            .filter(|listener| !listener.is_stream && !listener.is_offered)
            .try_for_each(|listener| Self::check(ledger, listener.asked, stamp))
    }
}

/// A poll gets what it asked for: one object, or a list of at most so many.
#[derive(Debug, Default)]
pub struct MaxevRespected;

impl Oracle for MaxevRespected {
    fn about(&self) -> &'static About {
        &About {
            number: 16,
            id: "maxev-respected",
            rule: "a poll gets at most maxev events: a list if it asked for more than one, else an object",
            kills: &["maxev-ignored"],
        }
    }

    fn answered(&mut self, _ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        let (Ask::Poll { maxev, .. }, Some(answer)) = (&exchange.ask, &exchange.answer) else {
            return Ok(());
        };
        if answer.head.status != 200 {
            return Ok(());
        }
        let is_list = matches!(answer.json, Some(Value::Array(_)));
        let count = answer.events().len();
        if is_list != (*maxev > 1) || count > *maxev as usize || count == 0 {
            return Err(format!(
                "maxev {maxev} got {count} events{}",
                if is_list { " in a list" } else { "" }
            ));
        }
        Ok(())
    }
}

/// Only so many polls wait on a session.
#[derive(Debug, Default)]
pub struct PollsBounded;

impl Oracle for PollsBounded {
    fn about(&self) -> &'static About {
        &About {
            number: 19,
            id: "polls-bounded",
            rule: "at most the configured number of polls wait on a session; a newer one ends the oldest",
            kills: &["polls-unbounded"],
        }
    }

    fn asked(&mut self, ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        let Some(session) = exchange
            .ask
            .session()
            .and_then(|id| ledger.sessions.get(&id))
        else {
            return Ok(());
        };
        let now = exchange.asked;
        let waiting = session.listeners.values().filter(|listener| {
            let tolerance = ledger.tolerance(listener.asked.sim, now.sim);
            !listener.is_stream && !listener.is_offered && now.since(listener.asked) > tolerance
        });
        let count = waiting.count();
        if count > ledger.limits.session_polls_count {
            return Err(format!("{count} polls wait on a session"));
        }
        Ok(())
    }
}
