//! Invariants 30 and 36: no buffer grows without bound, and nobody waits for somebody else.

use crate::oracle::fact::{Ask, Exchange};
use crate::oracle::ledger::Ledger;
use crate::oracle::{About, Oracle, TurnOracle};

/// Output that waits on a connection stays within its bound.
#[derive(Debug, Default)]
pub struct BoundedOutput;

impl Oracle for BoundedOutput {
    fn about(&self) -> &'static About {
        &About {
            number: 30,
            id: "bounded-output-buffer",
            rule: "output that waits on a connection stays within half of its bound, because reading pauses at a quarter",
            kills: &["no-back-pressure"],
        }
    }

    fn of_turns(&mut self) -> Option<&mut dyn TurnOracle> {
        Some(self)
    }
}

impl TurnOracle for BoundedOutput {
    fn offered(&mut self, ledger: &Ledger, waiting: usize) -> Result<(), String> {
        // Pipelined requests wait while a quarter is full; half of it is never needed.
        if waiting > ledger.limits.out_bytes / 2 {
            return Err(format!("{waiting} bytes wait on one connection"));
        }
        Ok(())
    }
}

/// A request that waits for nothing is answered at once, whatever others do.
#[derive(Debug, Default)]
pub struct AnswerPrompt;

impl Oracle for AnswerPrompt {
    fn about(&self) -> &'static About {
        &About {
            number: 36,
            id: "slow-client-isolated",
            rule: "a request that waits for nothing is answered within a few turns, whatever other clients do",
            kills: &["ws-blocked-holds-all"],
        }
    }

    fn answered(&mut self, ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        let (Ask::Api { verb, .. }, Some(offered)) = (&exchange.ask, exchange.offered) else {
            return Ok(());
        };
        let waited = offered.since(exchange.begun);
        let limit = ledger.tolerance(exchange.begun.sim, offered.sim);
        if waited > limit {
            return Err(format!(
                "{verb} was answered after {waited:?}; the limit is {limit:?}"
            ));
        }
        Ok(())
    }
}
