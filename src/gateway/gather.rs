//! One question, or one change, to all shards, and their answers put together.
//!
//! Invariant: answers stand in the order of shards, whatever order they came in.

use serde_json::{Value, json};

use crate::base::error::ApiError;
use crate::base::id::ShardId;
use crate::gateway::reply::{Message, Reply, error};
use crate::gateway::reports::Transport;
use crate::gateway::runtime::Knob;
use crate::gateway::tokens::TokenChange;
use crate::gateway::transports::{Connections, TransportChange};
use crate::gateway::tweaks::Tweak;
use crate::mutant;

/// What is asked of every shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// How many connections it has, for this transport to tell.
    Connections(Transport),
    /// How many handles it has.
    Handles,
    /// Which sessions it has.
    Sessions,
}

/// What every shard is to change. All of them apply all changes in one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Whether new sessions are accepted.
    Accept(bool),
    /// An event handler.
    Handler(Box<Tweak>),
    /// A setting.
    Knob(Knob),
    /// The stored tokens.
    Token(TokenChange),
    /// A transport.
    Transport(TransportChange),
}

/// What is gathered.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Answers to a question.
    Asked(Question),
    /// Receipts for a change.
    Changed(Change),
}

/// One shard's answer.
#[derive(Clone, Debug)]
pub enum Part {
    /// The change is made; this is what to say of it. Equal on every shard.
    Applied(Result<Option<Value>, ApiError>),
    /// Open connections.
    Connections(Connections),
    /// How many handles there are.
    Handles(u64),
    /// Ids of sessions, in order.
    Sessions(Vec<u64>),
}

/// Answers on their way.
#[derive(Debug)]
pub struct Gather {
    transaction: Box<str>,
    subject: Subject,
    parts: Vec<Option<Part>>,
}

impl Gather {
    /// Waits for every one of `shards`.
    pub fn new(transaction: Box<str>, subject: Subject, shards: u8) -> Self {
        Self {
            transaction,
            subject,
            parts: vec![None; usize::from(shards)],
        }
    }

    /// Takes a shard's answer. Says whether all are there.
    pub fn put(&mut self, shard: ShardId, part: Part) -> bool {
        if let Some(place) = self.parts.get_mut(usize::from(shard.0)) {
            *place = Some(part);
        }
        self.parts.iter().all(Option::is_some)
    }

    /// Makes the reply of the answers that are there, and names the shards whose are not.
    pub fn finish(self) -> Reply {
        let message = Message::new("success").transaction(Some(&self.transaction));
        let silent: Vec<usize> = (0..self.parts.len())
            .filter(|&shard| self.parts[shard].is_none())
            .collect();
        let parts_count = self.parts.len();
        let parts = self.parts.into_iter().enumerate();
        let parts = parts.filter_map(|(shard, part)| part.map(|part| (shard, part)));
        let message = match self.subject {
            Subject::Asked(Question::Connections(transport)) => {
                let counted = parts.filter_map(|(_, part)| match part {
                    Part::Connections(counted) => Some(counted),
                    Part::Applied(_) | Part::Handles(_) | Part::Sessions(_) => None,
                });
                let all: Connections = counted.sum();
                message.value("response", &all.shown(transport))
            }
            Subject::Asked(Question::Handles) => {
                let one = |(id, part)| match part {
                    Part::Handles(handles) => json!({"id": id, "handles": handles}),
                    Part::Applied(_) | Part::Connections(_) | Part::Sessions(_) => Value::Null,
                };
                message.value("loops", &parts.map(one).collect())
            }
            Subject::Asked(Question::Sessions) => {
                let most = if mutant!(AdminShardForgotten) {
                    parts_count.saturating_sub(1).max(1)
                } else {
                    usize::MAX
                };
                let ids = parts.take(most).flat_map(|(_, part)| match part {
                    Part::Sessions(ids) => ids,
                    Part::Applied(_) | Part::Connections(_) | Part::Handles(_) => Vec::new(),
                });
                message.value("sessions", &ids.collect())
            }
            Subject::Changed(change) => {
                let outcome = parts.into_iter().find_map(|(_, part)| match part {
                    Part::Applied(outcome) => Some(outcome),
                    Part::Connections(_) | Part::Handles(_) | Part::Sessions(_) => None,
                });
                match (outcome, change) {
                    (Some(Err(fault)), _) => return error(None, Some(&self.transaction), &fault),
                    (_, Change::Accept(is_on)) => message.boolean("accept", is_on),
                    (_, Change::Handler(tweak)) => message.value("response", &tweak.shown()),
                    (_, Change::Knob(knob)) => {
                        let (name, value) = knob.shown();
                        message.value(name, &value)
                    }
                    (Some(Ok(Some(data))), Change::Token(_)) => message.value("data", &data),
                    (Some(Ok(None)) | None, Change::Token(_)) => message,
                    (_, Change::Transport(change)) => message.value("response", &change.shown()),
                }
            }
        };
        if silent.is_empty() {
            return message.finish();
        }
        message
            .boolean("partial", true)
            .value("missing_shards", &silent.into())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(parts: &[(u8, &[u64])], shards: u8) -> (bool, String) {
        let mut gather = Gather::new("t".into(), Subject::Asked(Question::Sessions), shards);
        let mut is_whole = false;
        for (shard, ids) in parts {
            is_whole = gather.put(ShardId(*shard), Part::Sessions(ids.to_vec()));
        }
        (is_whole, gather.finish().into_text())
    }

    #[test]
    fn answers_stand_in_the_order_of_shards() {
        assert_eq!(
            sessions(&[(2, &[5]), (0, &[9, 10]), (1, &[])], 3),
            (
                true,
                r#"{"janus":"success","transaction":"t","sessions":[9,10,5]}"#.to_owned()
            )
        );
    }

    #[test]
    fn a_silent_shard_is_named() {
        assert_eq!(
            sessions(&[(1, &[5])], 3),
            (
                false,
                r#"{"janus":"success","transaction":"t","sessions":[5],"partial":true,"missing_shards":[0,2]}"#
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_change_that_failed_is_an_error() {
        let change = Subject::Changed(Change::Accept(true));
        let mut gather = Gather::new("t".into(), change, 1);
        gather.put(ShardId(0), Part::Applied(Err(ApiError::unauthorized())));
        assert!(gather.finish().fault().is_some());
    }
}
