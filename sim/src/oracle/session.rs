//! Invariants 17 and 18: sessions end when they were silent for long enough, not before.

use crate::oracle::fact::Exchange;
use crate::oracle::ledger::Ledger;
use crate::oracle::{About, Oracle};

/// A session that shows life is not ended.
#[derive(Debug, Default)]
pub struct NoEarlyReap;

impl Oracle for NoEarlyReap {
    fn about(&self) -> &'static About {
        &About {
            number: 17,
            id: "no-early-reap",
            rule: "a session is not ended by silence before its timeout has passed since the last request that was served, a poll's start included",
            kills: &["poll-no-sign-of-life"],
        }
    }

    fn answered(&mut self, ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        let (Some(answer), Some(offered)) = (&exchange.answer, exchange.offered) else {
            return Ok(());
        };
        let Some(session) = exchange
            .ask
            .session()
            .and_then(|id| ledger.sessions.get(&id))
        else {
            return Ok(());
        };
        let (true, None, Some(alive)) = (
            answer.denies_session(),
            session.ended_by,
            session.last_alive,
        ) else {
            return Ok(());
        };
        if ledger.draining_since.is_some() {
            return Ok(());
        }
        let silent = offered.since(alive);
        let timeout = ledger.plan.session_timeout;
        if silent + ledger.granularity * 2 < timeout {
            return Err(format!(
                "a session ended after {silent:?} of silence; the limit is {timeout:?}"
            ));
        }
        Ok(())
    }
}

/// A session that shows no life is ended in time.
#[derive(Debug, Default)]
pub struct ExpiryBounded;

impl Oracle for ExpiryBounded {
    fn about(&self) -> &'static About {
        &About {
            number: 18,
            id: "session-expiry-bounded",
            rule: "a session without any sign of life is gone after its timeout and the tolerance",
            kills: &[],
        }
    }

    fn answered(&mut self, ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        let (Some(answer), Some(since)) = (&exchange.answer, exchange.silent_since) else {
            return Ok(());
        };
        if !answer.proves_life() {
            return Ok(());
        }
        let silence = exchange.asked.since(since);
        let limit = ledger.plan.session_timeout + ledger.tolerance(since.sim, exchange.asked.sim);
        if silence > limit {
            return Err(format!(
                "a session lived on after {silence:?} of silence; the limit is {limit:?}"
            ));
        }
        Ok(())
    }
}
