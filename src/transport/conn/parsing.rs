//! The receiving half of a connection: from bytes to one request at a time.

use super::{CONTINUE, Conn, ConnAction, Partial, Phase, Reading, Request, Shared, Work};
use crate::base::clock::Now;
use crate::mutant;
use crate::wire::http::{BodyLength, BodyProgress, BodyReader, Refusal};

/// Most memory set aside for a body because its length was announced. The rest has to come first.
const BODY_RESERVED_BYTES: u64 = 16 * 1024;

impl Conn {
    /// Parses what waits in the input.
    pub(super) fn parse_input(&mut self, shared: &mut Shared, now: Now) {
        let mut input = std::mem::take(&mut self.input);
        let used = self.parse(shared, now, input.bytes());
        input.consume(used);
        self.input = input;
    }

    /// Parses `bytes` until a request is complete or more are needed; says how many it took.
    pub(super) fn parse(&mut self, shared: &mut Shared, now: Now, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            if rest.is_empty() {
                return used;
            }
            match self.phase {
                Phase::Idle if self.is_backed_up(shared) => return used,
                Phase::Idle => {
                    self.phase = Phase::Head;
                    self.since = now.monotonic;
                    self.heard = true;
                }
                Phase::Head => match self.read_head(shared, rest) {
                    Ok(Some((request, size))) => {
                        used += size;
                        self.begin_body(shared, now, request);
                    }
                    Ok(None) if mutant!(HeadInOneRead) => {
                        self.refuse(shared, now, Refusal::SlowHead, Work::UNKNOWN);
                    }
                    Ok(None) => match self.head.skip_empty_line(rest) {
                        // Some clients end a request with one: nothing has begun with it.
                        Some(size) => {
                            used += size;
                            self.phase = Phase::Idle;
                            self.since = now.monotonic;
                        }
                        None => return used,
                    },
                    Err(refusal) => self.refuse(shared, now, refusal, Work::UNKNOWN),
                },
                Phase::Body => used += self.read_body(shared, now, rest),
                Phase::Ready if mutant!(PipelinedDropped) => return bytes.len(),
                Phase::Ready | Phase::Work | Phase::Parked | Phase::Streaming => return used,
                Phase::Socket => return used + self.read_frames(shared, now, rest),
                Phase::Flushing | Phase::Lingering | Phase::Closed => return bytes.len(),
            }
        }
    }

    /// Reads a head, unless it is known. `bytes` begin with it.
    fn read_head(
        &mut self,
        shared: &Shared,
        bytes: &[u8],
    ) -> Result<Option<(Box<Request>, usize)>, Refusal> {
        if let Some(again) = self.begins_again(shared, bytes) {
            return Ok(Some(again));
        }
        let read = self.head.read(bytes, &shared.limits)?;
        Ok(read.map(|(head, size)| (self.request_of(head), size)))
    }

    fn begin_body(&mut self, shared: &mut Shared, now: Now, mut request: Box<Request>) {
        let Request { head, body } = &mut *request;
        let reader = match BodyReader::new(head.body(), &shared.limits) {
            Ok(reader) => reader,
            Err(refusal) => return self.refuse(shared, now, refusal, Work::of(head)),
        };
        if reader.is_complete() {
            return self.complete(request);
        }
        if head.expect_continue() {
            self.before_write(now);
            if self.out.write(&[CONTINUE]).is_err() {
                return self.abort(shared);
            }
            self.after_write();
        }
        let reserved = match head.body() {
            BodyLength::Length(size) => size.min(BODY_RESERVED_BYTES) as usize,
            BodyLength::Chunked | BodyLength::None => 0,
        };
        body.reserve(reserved);
        self.partial = Some(Partial {
            request,
            reader,
            progress: now.monotonic,
            window_start: now.monotonic,
            window_bytes: 0,
        });
        self.phase = Phase::Body;
    }

    /// Reads on in the body; says how many bytes of `rest` belonged to it.
    fn read_body(&mut self, shared: &mut Shared, now: Now, rest: &[u8]) -> usize {
        let partial = self.partial.as_mut().expect("the phase has a body");
        let body = &mut partial.request.body;
        let before = body.len();
        let progress = partial.reader.read(rest, &shared.limits, body);
        shared.bodies_bytes += body.len() - before;
        partial.progress = now.monotonic;
        let over_budget = shared.bodies_bytes > shared.limits.bodies_bytes;
        match progress {
            Ok(BodyProgress::Complete(used)) => {
                let request = self.release_body(shared).expect("it was just read");
                self.complete(request);
                used
            }
            Ok(BodyProgress::Partial) if mutant!(BodyWithHead) => {
                let request = self.release_body(shared).expect("it was just read");
                self.complete(request);
                rest.len()
            }
            Ok(BodyProgress::Partial) if over_budget => {
                let work = Work::of(&partial.request.head);
                self.refuse(shared, now, Refusal::BodiesTooLarge, work);
                rest.len()
            }
            Ok(BodyProgress::Partial) => {
                partial.window_bytes += rest.len();
                rest.len()
            }
            Err(refusal) => {
                let work = Work::of(&partial.request.head);
                self.refuse(shared, now, refusal, work);
                rest.len()
            }
        }
    }

    fn complete(&mut self, request: Box<Request>) {
        self.ready = Some(request);
        self.phase = Phase::Ready;
    }

    /// Gives up the body that is being read, and its share of the budget. Returns the request as
    /// far as it came.
    pub(super) fn release_body(&mut self, shared: &mut Shared) -> Option<Box<Request>> {
        let Partial { request, .. } = self.partial.take()?;
        shared.bodies_bytes -= request.body.len();
        Some(request)
    }

    /// Ends the connection of a client that closed its sending half in the middle of a request,
    /// or between two.
    pub(super) fn end_cut_off(&mut self, shared: &mut Shared, now: Now) {
        match self.phase {
            // Complete requests may wait there for output to be taken.
            Phase::Idle if !self.input.is_empty() => {}
            Phase::Idle | Phase::Head | Phase::Body => self.end(shared, now),
            Phase::Ready
            | Phase::Work
            | Phase::Parked
            | Phase::Streaming
            | Phase::Socket
            | Phase::Flushing
            | Phase::Lingering
            | Phase::Closed => {}
        }
    }

    /// Stops reading while too much input waits for its turn, and goes on when it got it.
    pub(super) fn pace_reading(&mut self, shared: &Shared) {
        let waits = match self.phase {
            Phase::Idle => self.is_backed_up(shared),
            Phase::Ready | Phase::Work | Phase::Parked | Phase::Streaming => true,
            Phase::Head | Phase::Body => false,
            Phase::Socket => self.has_message() || self.is_backed_up(shared),
            Phase::Flushing | Phase::Lingering | Phase::Closed => return,
        };
        if waits && self.input.bytes().len() >= shared.limits.pipelined_bytes {
            self.pause_reading();
        } else {
            self.resume_reading();
        }
    }

    pub(super) fn pause_reading(&mut self) {
        if self.reading == Reading::On {
            self.reading = Reading::Paused;
            self.actions.push(ConnAction::PauseRead);
        }
    }

    pub(super) fn resume_reading(&mut self) {
        if self.reading == Reading::Paused {
            self.reading = Reading::On;
            self.actions.push(ConnAction::ResumeRead);
        }
    }

    /// Whether so much output is pending that no further request is taken on.
    pub(super) fn is_backed_up(&self, shared: &Shared) -> bool {
        self.out.pending().len() > shared.limits.out_bytes / 4 && !mutant!(BoundlessOutput)
    }
}
