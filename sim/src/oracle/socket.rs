//! Invariants 21 to 23, 52 to 54: what is true of every WebSocket.

use std::time::Duration;

use serde_json::Value;

use crate::oracle::fact::{Ask, Ending, Stamp};
use crate::oracle::ledger::{Ledger, Message, Session};
use crate::oracle::tap::{SocketEnded, SocketFact};
use crate::oracle::{About, Oracle};

/// What may still be on its way when it is looked for.
const SLACK: Duration = Duration::from_secs(1);

/// Frames are strict, and none is interleaved with another.
#[derive(Debug, Default)]
pub struct FrameAtomic;

impl Oracle for FrameAtomic {
    fn about(&self) -> &'static About {
        &About {
            number: 21,
            id: "frame-atomic",
            rule: "a strict reader accepts every frame: none is interleaved, masked, longer than need be, or after a close",
            kills: &["ws-length-not-minimal"],
        }
    }

    fn socket(&mut self, _ledger: &Ledger, fact: &SocketFact<'_>) -> Result<(), String> {
        if let SocketFact::Misframed(why) = fact {
            return Err((*why).to_owned());
        }
        Ok(())
    }
}

/// Every ping is answered, in order.
#[derive(Debug, Default)]
pub struct PingAnswered;

impl Oracle for PingAnswered {
    fn about(&self) -> &'static About {
        &About {
            number: 22,
            id: "ping-answered",
            rule: "each ping gets one pong that carries what it carries",
            kills: &["ws-ping-ignored"],
        }
    }

    fn socket(&mut self, ledger: &Ledger, fact: &SocketFact<'_>) -> Result<(), String> {
        if matches!(fact, SocketFact::Pong) {
            return Err("a pong that answers no ping".to_owned());
        }
        if let SocketFact::UnansweredPing(at) = fact
            && is_overdue(ledger, *at)
        {
            return Err(format!("a ping of {} s was never answered", at.sim));
        }
        Ok(())
    }
}

/// A connection that the gateway ends has been told so.
#[derive(Debug, Default)]
pub struct CloseSaid;

impl Oracle for CloseSaid {
    fn about(&self) -> &'static About {
        &About {
            number: 23,
            id: "close-handshake",
            rule: "a socket that the gateway ends gets a close frame first, unless its client does not read, or shows no life",
            kills: &["ws-close-without-frame"],
        }
    }

    fn socket(&mut self, ledger: &Ledger, fact: &SocketFact<'_>) -> Result<(), String> {
        let SocketFact::Ended(ended) = fact else {
            return Ok(());
        };
        let SocketEnded { how, at, heard, .. } = *ended;
        let tolerance = ledger.tolerance(heard.sim, at.sim);
        // Two pings without an answer are the end of a client that shows no life.
        let is_silent = at.since(heard) + tolerance >= ledger.ping_interval * 2;
        let is_excused = how == Ending::Lost
            || ended.is_close_said
            || ended.is_input_ended
            || is_silent
            || ended.stalled_since.is_some() && ledger.may_give_up(ended.stalled_since, at);
        if is_excused {
            Ok(())
        } else {
            Err(format!("the socket ended ({how:?}) without a close frame"))
        }
    }
}

/// Each request on a socket has one reply, in order.
#[derive(Debug, Default)]
pub struct OneReply;

impl Oracle for OneReply {
    fn about(&self) -> &'static About {
        &About {
            number: 52,
            id: "socket-one-reply",
            rule: "each request on a socket gets one reply, in the order of the requests, whatever shards they are for",
            kills: &[
                "ws-first-fragment-only",
                "ws-one-object-a-message",
                "ws-reply-overtakes",
            ],
        }
    }

    fn socket(&mut self, ledger: &Ledger, fact: &SocketFact<'_>) -> Result<(), String> {
        if let SocketFact::UnexpectedReply { reply, wanted } = fact {
            return Err(format!(
                "{reply} came where the reply to {wanted:?} was due"
            ));
        }
        if let SocketFact::UnansweredRequest(exchange) = fact
            && is_overdue(ledger, exchange.asked)
        {
            return Err(format!("{:?} has no reply", exchange.ask));
        }
        Ok(())
    }
}

/// A session keeps its events from one socket to the next, and tells each once.
#[derive(Debug, Default)]
pub struct ClaimKeeps;

impl ClaimKeeps {
    /// An event that the gateway knew to be taken when the session was claimed must not come
    /// again.
    fn check_once(ledger: &Ledger, event: &Value) -> Result<(), String> {
        let Some((session, message)) = ledger.message_anywhere(event) else {
            return Ok(());
        };
        let Some(taken) = message.taken else {
            return Ok(());
        };
        let tolerance = ledger.tolerance(taken.sim, ledger.now) + SLACK;
        // What is taken while the owner changes is not known to have been told.
        let is_doubtful = |change: &Stamp| {
            change.elapsed + tolerance >= taken.elapsed
                && change.elapsed <= taken.elapsed + tolerance
        };
        if session.changes.iter().any(is_doubtful) {
            return Ok(());
        }
        Err(format!(
            "the event of {} came again, though its owner had it since {} s",
            message.transaction, taken.sim
        ))
    }

    fn lost<'a>(ledger: &Ledger, session: &'a Session) -> Option<&'a Message> {
        let owner = session.owner?;
        if session.ended_by.is_some() || ledger.stalled.contains(&owner.0) {
            return None;
        }
        let is_settled = |since: Stamp| is_overdue(ledger, since);
        let is_lost = |message: &&Message| {
            !message.is_refused
                && message.polled + message.streamed == 0
                && message.acked.is_some_and(is_settled)
        };
        is_settled(owner.1)
            .then(|| session.messages.iter().find(is_lost))
            .flatten()
    }
}

impl Oracle for ClaimKeeps {
    fn about(&self) -> &'static About {
        &About {
            number: 53,
            id: "claim-keeps-events",
            rule: "a session that is claimed has told its new owner all that the old one was not told, and nothing that the old one was known to have been told",
            kills: &["ws-claim-drops-queue", "ws-event-taken-requeued"],
        }
    }

    fn socket(&mut self, ledger: &Ledger, fact: &SocketFact<'_>) -> Result<(), String> {
        if let SocketFact::Event { event, .. } = fact {
            return Self::check_once(ledger, event);
        }
        Ok(())
    }

    fn leaving(&mut self, ledger: &Ledger, _stamp: Stamp) -> Result<(), String> {
        for (id, session) in &ledger.sessions {
            if let Some(message) = Self::lost(ledger, session) {
                return Err(format!(
                    "a socket owns session {id}, and the event of {} never came",
                    message.transaction
                ));
            }
        }
        Ok(())
    }
}

/// Sessions of a lost socket wait to be claimed for as long as is configured.
#[derive(Debug, Default)]
pub struct ReclaimInTime;

impl Oracle for ReclaimInTime {
    fn about(&self) -> &'static About {
        &About {
            number: 54,
            id: "reclaim-in-time",
            rule: "a session can be claimed for the whole reclaim time, counted from the loss of its socket",
            kills: &["ws-reclaim-from-activity"],
        }
    }

    fn socket(&mut self, ledger: &Ledger, fact: &SocketFact<'_>) -> Result<(), String> {
        let SocketFact::Replied(exchange) = fact else {
            return Ok(());
        };
        let (Some(answer), Ask::Api { verb, .. }) = (&exchange.answer, &exchange.ask) else {
            return Ok(());
        };
        let session = exchange.ask.session();
        let session = session.and_then(|id| ledger.sessions.get(&id));
        let Some(session) = session.filter(|_| verb == "claim" && answer.denies_session()) else {
            return Ok(());
        };
        let (Some(lost), Some(alive)) = (session.orphaned, session.last_alive) else {
            return Ok(());
        };
        let is_within = |since: Stamp, limit: Duration| {
            let tolerance = ledger.tolerance(since.sim, answer.taken.sim);
            answer.taken.since(since) + tolerance < limit
        };
        let is_wrong = session.ended_by.is_none()
            && ledger.draining_since.is_none()
            && is_within(lost, ledger.plan.reclaim)
            && is_within(alive, ledger.plan.session_timeout);
        if is_wrong {
            return Err(format!(
                "a claim {:?} after the loss was denied; the limit is {:?}",
                exchange.asked.since(lost),
                ledger.plan.reclaim
            ));
        }
        Ok(())
    }
}

/// Whether something that began then should have come about by now.
fn is_overdue(ledger: &Ledger, since: Stamp) -> bool {
    ledger
        .leaving
        .is_some_and(|now| now.since(since) > ledger.tolerance(since.sim, now.sim) + SLACK)
}

/// Looks at an event that a socket told, as at those of polls and streams.
pub(super) fn told<'a>(
    ledger: &'a Ledger,
    fact: &SocketFact<'_>,
) -> Option<(&'a Session, &'a Message)> {
    let SocketFact::Event { event, .. } = fact else {
        return None;
    };
    ledger.message_anywhere(event)
}
