//! The heads of answers, of which the last is kept: most answers of a second have the same.
//!
//! Invariant: a head that is kept says all that a new one would, the date included.

use crate::base::clock::Realtime;
use crate::wire::http::response::{BodyEnd, ConnectionField, write_head, write_upgrade};
use crate::wire::http::{Cors, HttpDate, Response, Status};

/// Puts heads together. Lives on: every shard, one for each listener.
#[derive(Debug)]
pub(super) struct Heads {
    cors: Cors,
    date: HttpDate,
    /// The last head. The next one uses its memory.
    bytes: Vec<u8>,
    /// What the last head depends on, if the next one may be the same.
    common: Option<Common>,
}

/// What the head of an answer in chunks depends on, but for rare fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Common {
    second: i64,
    status: Status,
    content_type: Option<&'static str>,
    connection: ConnectionField,
}

impl Heads {
    /// Makes it from the CORS fields that every response is to have.
    pub(super) fn new(cors: Cors) -> Self {
        Self {
            cors,
            date: HttpDate::default(),
            bytes: Vec::new(),
            common: None,
        }
    }

    /// The head of an answer.
    pub(super) fn answer(
        &mut self,
        now: Realtime,
        response: &Response<'_>,
        connection: ConnectionField,
        end: BodyEnd,
    ) -> &[u8] {
        let is_common = end == BodyEnd::Chunked && !response.has_rare_fields();
        let common = is_common.then(|| Common {
            second: now.unix_seconds(),
            status: response.status,
            content_type: response.content_type,
            connection,
        });
        if common.is_none() || common != self.common {
            self.common = common;
            self.bytes.clear();
            let date = self.date.at(now);
            write_head(&mut self.bytes, response, date, connection, &self.cors, end);
        }
        &self.bytes
    }

    /// The head that accepts an upgrade to WebSocket.
    pub(super) fn upgrade(&mut self, now: Realtime, accept: &[u8], protocol: &str) -> &[u8] {
        self.common = None;
        self.bytes.clear();
        let date = self.date.at(now);
        write_upgrade(&mut self.bytes, date, accept, protocol, &self.cors);
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::response::EVENT_STREAM;

    #[test]
    fn a_kept_head_is_given_to_equal_answers_only() {
        let json = Response::json(b"{}");
        let stream = Response {
            content_type: Some(EVENT_STREAM),
            ..json
        };
        let busy = Response {
            status: Status::ServiceUnavailable,
            ..json
        };
        let patient = Response {
            retry_after_s: Some(1),
            ..busy
        };
        let mut asked = Vec::new();
        for response in [json, stream, busy, patient] {
            for connection in [ConnectionField::Omitted, ConnectionField::Close] {
                for end in [BodyEnd::Chunked, BodyEnd::Length(2), BodyEnd::Length(3)] {
                    for second in [0, 1] {
                        let now = Realtime::from_unix_micros(second * 1_000_000);
                        asked.push((now, response, connection, end));
                    }
                }
            }
        }
        let fresh = || Heads::new(Cors::any());
        let mut heads = fresh();
        for (now, response, connection, end) in &asked {
            for (later, other, after, until) in &asked {
                heads.answer(*now, response, *connection, *end);
                let kept = heads.answer(*later, other, *after, *until);
                assert_eq!(kept, fresh().answer(*later, other, *after, *until));
            }
        }
    }

    #[test]
    fn an_upgrade_is_not_mistaken_for_an_answer() {
        let now = Realtime::from_unix_micros(0);
        let answer = |heads: &mut Heads| {
            let json = Response::json(b"{}");
            let kept = heads.answer(now, &json, ConnectionField::Omitted, BodyEnd::Chunked);
            kept.to_vec()
        };
        let mut heads = Heads::new(Cors::none());
        let first = answer(&mut heads);
        heads.upgrade(now, b"accept", "janus-protocol");
        assert_eq!(answer(&mut heads), first);
    }
}
