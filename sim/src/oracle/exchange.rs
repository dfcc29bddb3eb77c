//! Invariants 5, 7, 9, 10 and 20: each request has its answer, and what is no request is refused.

use crate::oracle::fact::{Ask, Ended, Ending, Exchange};
use crate::oracle::ledger::Ledger;
use crate::oracle::{About, Oracle};

/// Each complete request gets exactly one response, in order.
#[derive(Debug, Default)]
pub struct OneAnswer;

impl Oracle for OneAnswer {
    fn about(&self) -> &'static About {
        &About {
            number: 5,
            id: "one-answer",
            rule: "each complete request gets exactly one response, in order, also when pipelined",
            kills: &["pipelined-dropped"],
        }
    }

    fn ended(&mut self, ledger: &Ledger, ended: &Ended<'_>) -> Result<(), String> {
        match unanswered(ledger, ended) {
            Some(exchange) if !ended.is_input_ended => Err(describe(exchange, ended)),
            Some(_) | None => Ok(()),
        }
    }
}

/// A client's FIN after a request does not cancel its answer.
#[derive(Debug, Default)]
pub struct HalfCloseServed;

impl Oracle for HalfCloseServed {
    fn about(&self) -> &'static About {
        &About {
            number: 9,
            id: "half-close-served",
            rule: "FIN after a request does not cancel its answer, unless the answer waits for an event",
            kills: &["body-with-head-assumed"],
        }
    }

    fn ended(&mut self, ledger: &Ledger, ended: &Ended<'_>) -> Result<(), String> {
        match unanswered(ledger, ended) {
            Some(exchange) if ended.is_input_ended && !is_listening(exchange) => {
                Err(describe(exchange, ended))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The oldest request without an answer, if the gateway had no reason to leave it without one.
fn unanswered<'a>(ledger: &Ledger, ended: &Ended<'a>) -> Option<&'a Exchange> {
    let is_stalled = ledger.may_give_up(ended.stalled_since, ended.at);
    if ended.how == Ending::Lost || ended.is_last_said || is_stalled {
        return None;
    }
    ended.unanswered.first().copied()
}

fn is_listening(exchange: &Exchange) -> bool {
    matches!(exchange.ask, Ask::Poll { .. } | Ask::Stream { .. })
}

fn describe(exchange: &Exchange, ended: &Ended<'_>) -> String {
    format!(
        "{} {} of {:?} s was never answered; the gateway ended the connection ({:?})",
        exchange.request.method,
        exchange.request.target,
        exchange.asked.sim.to_string(),
        ended.how,
    )
}

/// What is no strict request is refused, and the connection ends.
#[derive(Debug, Default)]
pub struct NoSmuggling;

impl Oracle for NoSmuggling {
    fn about(&self) -> &'static About {
        &About {
            number: 7,
            id: "no-smuggling",
            rule: "two framings, bad sizes, bare line ends and folded fields are refused with 4xx, and the connection closes",
            kills: &["head-in-one-read-assumed"],
        }
    }

    fn ended(&mut self, _ledger: &Ledger, ended: &Ended<'_>) -> Result<(), String> {
        if ended.is_malformed && ended.how == Ending::Closed && !ended.is_last_said {
            return Err(
                "a malformed request was not refused with an answer that closes".to_owned(),
            );
        }
        Ok(())
    }
}

/// A head that does not end is refused in time.
#[derive(Debug, Default)]
pub struct HeadLimits;

impl Oracle for HeadLimits {
    fn about(&self) -> &'static About {
        &About {
            number: 10,
            id: "head-limits",
            rule: "a request that does not become complete is given up after the time limits of head and body",
            kills: &["slow-head-waits-forever"],
        }
    }

    fn ended(&mut self, ledger: &Ledger, ended: &Ended<'_>) -> Result<(), String> {
        let Some(since) = ended.partial_since else {
            return Ok(());
        };
        let limit = ledger.limits.head_timeout
            + ledger.limits.body_timeout * 2
            + ledger.limits.linger_timeout
            + ledger.limits.write_timeout
            + ledger.tolerance(since.sim, ended.at.sim);
        if ended.at.since(since) > limit {
            return Err(format!(
                "an incomplete request was waited for {:?}",
                ended.at.since(since)
            ));
        }
        Ok(())
    }
}

/// Every reply carries its request's transaction.
#[derive(Debug, Default)]
pub struct TransactionEcho;

impl Oracle for TransactionEcho {
    fn about(&self) -> &'static About {
        &About {
            number: 20,
            id: "transaction-echo",
            rule: "every reply carries its request's transaction, and no event has one that nobody sent",
            kills: &[],
        }
    }

    fn answered(&mut self, ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        let Some(answer) = &exchange.answer else {
            return Ok(());
        };
        match &exchange.ask {
            Ask::Api {
                transaction: Some(wanted),
                ..
            } if answer.head.status == 200 => {
                let echoed = answer
                    .json
                    .as_ref()
                    .and_then(|json| json.get("transaction"));
                let echoed = echoed.and_then(|value| value.as_str());
                // Requests that cannot be read as one get an error without transaction.
                let may_lack = matches!(answer.error_code(), Some(454..=457 | 467));
                if echoed != Some(wanted) && !(echoed.is_none() && may_lack) {
                    return Err(format!("the reply to {wanted} carries {echoed:?}"));
                }
            }
            Ask::Poll { session, .. } => {
                let Some(session) = ledger.sessions.get(session) else {
                    return Ok(());
                };
                for event in answer.events() {
                    let transaction = event.get("transaction").and_then(|value| value.as_str());
                    if let Some(transaction) = transaction
                        && session.message(transaction).is_none()
                    {
                        return Err(format!("an event has {transaction}, which nobody sent"));
                    }
                }
            }
            Ask::Admin | Ask::Api { .. } | Ask::Other | Ask::Stream { .. } => {}
        }
        Ok(())
    }
}
