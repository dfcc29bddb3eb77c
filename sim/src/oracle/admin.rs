//! Invariants 55 and 56: the operator's questions are answered in time, and in full.

use std::time::Duration;

use serde_json::Value;

use crate::oracle::fact::{Ask, Exchange};
use crate::oracle::ledger::{Ledger, Session};
use crate::oracle::{About, Oracle};

/// How long the gateway waits for shards that are silent.
const GATHERING: Duration = Duration::from_secs(2);

/// An answer comes in time, with or without shards that are silent.
#[derive(Debug, Default)]
pub struct AdminPrompt;

impl Oracle for AdminPrompt {
    fn about(&self) -> &'static About {
        &About {
            number: 55,
            id: "admin-prompt",
            rule: "a question to all shards is answered within two seconds, whoever is silent",
            kills: &["admin-waits-for-ever"],
        }
    }

    fn answered(&mut self, ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        let (Ask::Admin, Some(offered)) = (&exchange.ask, exchange.offered) else {
            return Ok(());
        };
        // What other shards are late by is not to add to it.
        let own = ledger.plan.slack_max + ledger.plan.turn_max * 8 + Duration::from_millis(1);
        let frozen = ledger.frozen(exchange.begun.shard, exchange.begun.sim, offered.sim);
        // The clock that it waits on may run a little faster than the one that is read here.
        let limit = GATHERING + GATHERING / 8 + (own + frozen) * 2 + ledger.granularity * 4;
        let waited = offered.since(exchange.begun);
        if waited > limit {
            return Err(format!("answered after {waited:?}; the limit is {limit:?}"));
        }
        Ok(())
    }
}

/// An answer that is not said to be partial is complete.
#[derive(Debug, Default)]
pub struct AdminComplete;

impl AdminComplete {
    /// Whether a session was there all the time from the question to the answer.
    fn was_there(ledger: &Ledger, exchange: &Exchange, session: &Session) -> bool {
        let (Some(created_after), Some(alive)) = (session.created_after, session.last_alive) else {
            return false;
        };
        let at = exchange.offered.unwrap_or(exchange.asked);
        let is_alive =
            at.since(alive) + ledger.tolerance(alive.sim, at.sim) < ledger.plan.session_timeout;
        exchange.number > created_after
            && is_alive
            && session.ended_by.is_none()
            && session.orphaned.is_none()
    }
}

impl Oracle for AdminComplete {
    fn about(&self) -> &'static About {
        &About {
            number: 56,
            id: "admin-complete",
            rule: "a list of all sessions has every session that was there all the time, or names the shards that are missing after two seconds",
            kills: &["admin-shard-forgotten"],
        }
    }

    fn answered(&mut self, ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        let (Ask::Admin, Some(answer)) = (&exchange.ask, &exchange.answer) else {
            return Ok(());
        };
        if answer.head.status == 503 || ledger.draining_since.is_some() {
            return Ok(());
        }
        let Some(json) = &answer.json else {
            return Err(format!("no list: status {}", answer.head.status));
        };
        let Some(listed) = json.get("sessions").and_then(Value::as_array) else {
            return Err(format!("no list: {json}"));
        };
        if json.get("partial").is_some() {
            let waited = exchange
                .offered
                .map(|offered| offered.since(exchange.begun));
            let is_late = waited.is_some_and(|waited| waited + ledger.granularity * 2 >= GATHERING);
            return if is_late {
                Ok(())
            } else {
                Err(format!("partial after {waited:?}"))
            };
        }
        let is_listed = |id: u64| listed.iter().any(|one| one.as_u64() == Some(id));
        let mut sessions = ledger.sessions.iter();
        match sessions.find(|(id, it)| Self::was_there(ledger, exchange, it) && !is_listed(**id)) {
            Some((id, _)) => Err(format!("session {id} is not in the list")),
            None => Ok(()),
        }
    }
}
