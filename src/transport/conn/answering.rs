//! The sending half of a connection: answers, and the ways in which a connection ends.

use super::{Conn, ConnAction, Phase, Shared, SocketEnd, Work};
use crate::base::clock::{Monotonic, Now};
use crate::base::outbuf::Full;
use crate::mutant;
use crate::wire::http::response::{BodyEnd, ConnectionField};
use crate::wire::http::{
    ChunkedBody, Connection, Finished, Framing, Refusal, Response, Status, Version,
};

impl Conn {
    /// What an answer says about the connection, from what the handler, the client and the
    /// operator want.
    pub(super) fn connection_after(&self, wanted: Connection) -> ConnectionField {
        let nothing_more = self.half_closed && self.input.is_empty();
        if wanted == Connection::Close || !self.work.keep_alive || self.draining || nothing_more {
            return ConnectionField::Close;
        }
        match self.work.version {
            Version::Http10 => ConnectionField::KeepAlive,
            Version::Http11 => ConnectionField::Omitted,
        }
    }

    /// Writes a complete answer, or nothing.
    pub(super) fn write_response(
        &mut self,
        shared: &mut Shared,
        now: Now,
        response: &Response<'_>,
        connection: ConnectionField,
    ) -> Result<Finished, Full> {
        let chunks = response.framing == Framing::Chunked
            && self.work.version == Version::Http11
            && !self.work.head_only;
        let end = if !response.status.may_have_body() {
            BodyEnd::NoBody
        } else if chunks {
            BodyEnd::Chunked
        } else {
            BodyEnd::Length(response.body.len())
        };
        self.before_write(now);
        let head = shared.heads.answer(now.realtime, response, connection, end);
        let finished = match end {
            BodyEnd::Chunked => {
                let done = ChunkedBody::whole(&mut self.out, head, response.body)?;
                shared.chunked.begun_count += 1;
                shared.chunked.finished_count += 1;
                done
            }
            BodyEnd::Length(_) if !self.work.head_only => {
                self.out.write(&[head, response.body])?;
                Finished::at(&self.out)
            }
            BodyEnd::Length(_) | BodyEnd::NoBody => {
                self.out.write(&[head])?;
                Finished::at(&self.out)
            }
        };
        self.after_write();
        Ok(finished)
    }

    /// Answers what cannot be taken, and ends the connection.
    pub(super) fn refuse(&mut self, shared: &mut Shared, now: Now, refusal: Refusal, work: Work) {
        self.release_body(shared);
        self.refusal = Some(refusal);
        self.work = work;
        let status = refusal.status();
        let response = Response {
            connection: Connection::Close,
            retry_after_s: (status == Status::ServiceUnavailable).then_some(1),
            ..Response::text(status, refusal.text())
        };
        match self.write_response(shared, now, &response, ConnectionField::Close) {
            Ok(_) => self.end(shared, now),
            Err(Full) => self.abort(shared),
        }
    }

    /// Goes on to the next request after an answer, or ends.
    pub(super) fn after_answer(
        &mut self,
        shared: &mut Shared,
        now: Now,
        connection: ConnectionField,
    ) {
        self.served_count = self.served_count.saturating_add(1);
        match connection {
            ConnectionField::Close => self.end(shared, now),
            ConnectionField::KeepAlive | ConnectionField::Omitted => {
                self.phase = Phase::Idle;
                self.since = now.monotonic;
            }
        }
    }

    /// Ends the body of the open stream, if there is one.
    pub(super) fn finish_stream(&mut self, shared: &mut Shared, now: Now) -> Option<Finished> {
        self.before_write(now);
        let finished = self.stream.take()?.finish(&mut self.out);
        shared.chunked.finished_count += 1;
        self.after_write();
        Some(finished)
    }

    /// To be called before output is written: the kernel's time to take it begins when there is
    /// something to take.
    pub(super) fn before_write(&mut self, now: Now) {
        if self.out.is_empty() {
            self.write_progress = now.monotonic;
        }
    }

    /// To be called when output was written.
    pub(super) fn after_write(&mut self) {
        if !self.out.is_empty() {
            self.actions.push(ConnAction::Write);
        }
    }

    /// Takes no more requests, and ends the connection when the output was taken.
    pub(super) fn end(&mut self, shared: &mut Shared, now: Now) {
        self.release_body(shared);
        self.kept = None;
        self.input = super::Input::default();
        self.phase = Phase::Flushing;
        self.drained_bytes = 0;
        self.resume_reading();
        if self.out.is_empty() {
            self.flushed(shared, now.monotonic);
        }
    }

    /// The last answer was taken. The sending half is closed first, and input is read until the
    /// client closes too: closing at once would reset the connection if there is unread input,
    /// and the client might lose the answer (RFC 9112 §9.6).
    pub(super) fn flushed(&mut self, shared: &mut Shared, now: Monotonic) {
        if self.half_closed
            || mutant!(CloseAtOnce)
            || self.drained_bytes > shared.limits.linger_bytes
        {
            return self.close(shared);
        }
        self.phase = Phase::Lingering;
        self.since = now;
        self.actions.push(ConnAction::ShutdownWrite);
    }

    /// Throws input away, up to a bound.
    pub(super) fn drain(&mut self, shared: &mut Shared, count: usize) {
        self.drained_bytes += count;
        if self.drained_bytes <= shared.limits.linger_bytes {
            return;
        }
        if self.phase == Phase::Lingering {
            self.close(shared);
        } else {
            self.pause_reading();
        }
    }

    pub(super) fn close(&mut self, shared: &mut Shared) {
        self.over(shared, ConnAction::Close);
    }

    /// Ends the connection with something due to the client that it will not get.
    pub(super) fn abort(&mut self, shared: &mut Shared) {
        self.gone = true;
        self.over(shared, ConnAction::Abort);
    }

    fn over(&mut self, shared: &mut Shared, action: ConnAction) {
        self.release_body(shared);
        self.kept = None;
        self.input = super::Input::default();
        self.ready = None;
        // The stream is lost together with the buffer that holds room for its end.
        self.stream = None;
        self.lose_socket(SocketEnd::Lost);
        self.phase = Phase::Closed;
        self.actions.push(action);
    }
}
