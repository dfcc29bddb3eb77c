//! Invariants 13 to 15: events come in order, once, and all of them.
//!
//! An event counts as delivered when the kernel took the last byte of a complete answer that
//! holds it; what a broken connection then loses is nobody's fault.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::oracle::fact::{Ask, Exchange, Stamp, Streamed};
use crate::oracle::ledger::{Ledger, Message, Session};
use crate::oracle::socket::told;
use crate::oracle::tap::SocketFact;
use crate::oracle::{About, Oracle};

/// Events of a handle come in the order in which they were emitted.
#[derive(Debug, Default)]
pub struct EventOrder;

impl EventOrder {
    /// Looks for a message that was acknowledged before this one was sent, and whose event has
    /// not come yet.
    fn check(session: &Session, message: &Message, seen: &BTreeSet<&str>) -> Result<(), String> {
        let overtaken = session.messages.iter().find(|earlier| {
            earlier.handle == message.handle
                && !earlier.is_refused
                && earlier.polled + earlier.streamed == 0
                && !seen.contains(earlier.transaction.as_str())
                && earlier
                    .acked
                    .is_some_and(|acked| acked.elapsed < message.asked.elapsed)
        });
        match overtaken {
            Some(earlier) => Err(format!(
                "the event of {} came before that of {}",
                message.transaction, earlier.transaction
            )),
            None => Ok(()),
        }
    }
}

impl Oracle for EventOrder {
    fn about(&self) -> &'static About {
        &About {
            number: 13,
            id: "event-order",
            rule: "events of a handle come in the order in which they were emitted",
            kills: &["events-reversed"],
        }
    }

    fn answered(&mut self, ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (session, message) in messages(ledger, exchange) {
            Self::check(session, message, &seen)?;
            seen.insert(message.transaction.as_str());
        }
        Ok(())
    }

    fn socket(&mut self, ledger: &Ledger, fact: &SocketFact<'_>) -> Result<(), String> {
        match told(ledger, fact) {
            // What comes again comes before what is new, and is no new event.
            Some((session, message)) if message.streamed == 0 => {
                Self::check(session, message, &BTreeSet::new())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn streamed(&mut self, ledger: &Ledger, streamed: &Streamed<'_>) -> Result<(), String> {
        match message_of(ledger, streamed.exchange, streamed.event) {
            Some((session, message)) => Self::check(session, message, &BTreeSet::new()),
            None => Ok(()),
        }
    }
}

/// No event is delivered twice.
#[derive(Debug, Default)]
pub struct EventExactlyOnce;

impl Oracle for EventExactlyOnce {
    fn about(&self) -> &'static About {
        &About {
            number: 14,
            id: "event-exactly-once",
            rule: "no event is taken twice by the kernel in complete answers to polls, nor streamed again to a client that said it has it",
            kills: &["delivered-queued-again"],
        }
    }

    fn answered(&mut self, ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        for (session, message) in messages(ledger, exchange) {
            if message.polled > 0 || (message.streamed > 0 && !session.has_streamed) {
                return Err(format!("the event of {} came twice", message.transaction));
            }
        }
        Ok(())
    }

    fn streamed(&mut self, _ledger: &Ledger, streamed: &Streamed<'_>) -> Result<(), String> {
        let Ask::Stream {
            last: Some(last), ..
        } = &streamed.exchange.ask
        else {
            return Ok(());
        };
        let number = |text: &str| text.parse::<u64>().ok();
        match (number(last), streamed.id.and_then(number)) {
            (Some(last), Some(id)) if id <= last => Err(format!(
                "event {id} was streamed to a client that has {last}"
            )),
            _ => Ok(()),
        }
    }
}

/// Each event is delivered, or still due to somebody who does not listen.
#[derive(Debug, Default)]
pub struct EventNotLost;

impl Oracle for EventNotLost {
    fn about(&self) -> &'static About {
        &About {
            number: 15,
            id: "event-not-lost",
            rule: "a session with a listener that waits has no event that was not delivered",
            kills: &["event-in-flight-lost", "poll-resumed-unparked"],
        }
    }

    fn leaving(&mut self, ledger: &Ledger, stamp: Stamp) -> Result<(), String> {
        for (id, session) in &ledger.sessions {
            let [listener] = session.listeners.values().collect::<Vec<_>>()[..] else {
                continue;
            };
            let settled = |since: Stamp| {
                let slack = std::time::Duration::from_secs(1);
                stamp.since(since) > ledger.tolerance(since.sim, stamp.sim) + slack
            };
            // What is on its way to a poll has not come yet, and is not lost.
            let is_answered = listener.is_offered && !listener.is_stream;
            if session.ended_by.is_some() || is_answered || !settled(listener.asked) {
                continue;
            }
            let lost = session.messages.iter().find(|message| {
                !message.is_refused
                    && message.polled + message.streamed == 0
                    && message.acked.is_some_and(settled)
            });
            if let Some(lost) = lost {
                return Err(format!(
                    "session {id} listens, and the event of {} never came",
                    lost.transaction
                ));
            }
        }
        Ok(())
    }
}

fn message_of<'a>(
    ledger: &'a Ledger,
    exchange: &Exchange,
    event: &Value,
) -> Option<(&'a Session, &'a Message)> {
    let session = ledger.sessions.get(&exchange.ask.session()?)?;
    let message = session.message(event.get("transaction")?.as_str()?)?;
    Some((session, message))
}

/// The messages whose events are in the answer to a poll, in order.
fn messages<'a>(ledger: &'a Ledger, exchange: &Exchange) -> Vec<(&'a Session, &'a Message)> {
    let (Ask::Poll { .. }, Some(answer)) = (&exchange.ask, &exchange.answer) else {
        return Vec::new();
    };
    let of = |event| message_of(ledger, exchange, event);
    answer.events().iter().filter_map(of).collect()
}
