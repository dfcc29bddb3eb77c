//! Invariants 1 to 4: every response is whole, and strict HTTP.

use crate::models::decode::FramingError;
use crate::oracle::fact::{Ended, Ending, Exchange};
use crate::oracle::ledger::Ledger;
use crate::oracle::{About, Oracle};

/// A chunked response that was begun ends with the zero chunk.
#[derive(Debug, Default)]
pub struct ChunkedComplete;

impl Oracle for ChunkedComplete {
    fn about(&self) -> &'static About {
        &About {
            number: 1,
            id: "chunked-complete",
            rule: "a chunked response that was begun ends with its zero chunk, unless the client stops reading for the write timeout",
            kills: &["clock-uptime-teardown", "chunk-terminator-lost"],
        }
    }

    fn misframed(&mut self, _ledger: &Ledger, error: &FramingError) -> Result<(), String> {
        fail_if(*error == FramingError::IncompleteChunked, error)
    }

    fn ended(&mut self, ledger: &Ledger, ended: &Ended<'_>) -> Result<(), String> {
        let is_stalled = ledger.may_give_up(ended.stalled_since, ended.at);
        if ended.how == Ending::Aborted && ended.is_cut && !is_stalled {
            return Err("the gateway reset the connection within a response".to_owned());
        }
        Ok(())
    }
}

/// A strict decoder accepts every byte.
#[derive(Debug, Default)]
pub struct StrictFraming;

impl Oracle for StrictFraming {
    fn about(&self) -> &'static About {
        &About {
            number: 2,
            id: "strict-framing",
            rule: "a strict decoder accepts every byte, and nothing follows the end of a response without a request",
            kills: &["half-close-aborts", "short-write-drops-rest"],
        }
    }

    fn misframed(&mut self, _ledger: &Ledger, error: &FramingError) -> Result<(), String> {
        let others = [
            FramingError::IncompleteChunked,
            FramingError::IncompleteLength,
        ];
        fail_if(!others.contains(error), error)
    }
}

/// A JSON answer has a body: an empty chunk before the payload ends it too early.
#[derive(Debug, Default)]
pub struct BodyNonempty;

impl Oracle for BodyNonempty {
    fn about(&self) -> &'static About {
        &About {
            number: 3,
            id: "body-nonempty",
            rule: "no data chunk is empty: a 200 answer of JSON carries a JSON text",
            kills: &["chunk-empty-first"],
        }
    }

    fn answered(&mut self, _ledger: &Ledger, exchange: &Exchange) -> Result<(), String> {
        let Some(answer) = &exchange.answer else {
            return Ok(());
        };
        let is_json = answer
            .head
            .field("content-type")
            .is_some_and(|value| value.starts_with("application/json"));
        let has_body = exchange.request.method != "HEAD";
        if answer.head.status == 200 && is_json && has_body && answer.json.is_none() {
            return Err(format!(
                "{} {} was answered with {:?}",
                exchange.request.method,
                exchange.request.target,
                String::from_utf8_lossy(&answer.body)
            ));
        }
        Ok(())
    }
}

/// Content-Length equals the body.
#[derive(Debug, Default)]
pub struct LengthExact;

impl Oracle for LengthExact {
    fn about(&self) -> &'static About {
        &About {
            number: 4,
            id: "length-exact",
            rule: "Content-Length equals the length of the body",
            kills: &[],
        }
    }

    fn misframed(&mut self, _ledger: &Ledger, error: &FramingError) -> Result<(), String> {
        fail_if(*error == FramingError::IncompleteLength, error)
    }
}

fn fail_if(is_wrong: bool, error: &FramingError) -> Result<(), String> {
    if is_wrong {
        Err(error.to_string())
    } else {
        Ok(())
    }
}
