//! The last request of a connection, kept for the next one: clients repeat their heads to the byte.
//!
//! Invariant: a head that is taken from here is what reading the same bytes again would give: it
//! was read under the bounds that hold, and they are the only other thing that reading depends on.

use super::{Conn, Phase, Request, Shared};
use crate::wire::http::{HeadReader, RequestHead};

/// Largest head that is kept, bytes. Browsers send some 700.
const HEAD_MAX: usize = 1024;

/// Most memory of a body that is kept, bytes.
const BODY_MAX: usize = 1024;

/// A request that was answered.
#[derive(Debug)]
pub(super) struct Kept {
    /// Without its body, of which only the memory is there.
    request: Box<Request>,
    /// [`Shared::reloads`] when its head was read.
    reloads: u64,
}

impl Conn {
    /// Takes a request back that was handed out and is answered, or soon will be.
    pub fn take_back(&mut self, shared: &Shared, mut request: Box<Request>) {
        let goes_on = matches!(self.phase, Phase::Idle | Phase::Work);
        let is_small = request.head.size() <= HEAD_MAX && request.body.capacity() <= BODY_MAX;
        if goes_on && is_small {
            request.body.clear();
            self.kept = Some(Kept {
                request,
                reloads: shared.reloads,
            });
        }
    }

    /// Takes the kept request out if `bytes`, which begin a head, begin with its head. Says how long
    /// that is.
    pub(super) fn begins_again(
        &mut self,
        shared: &Shared,
        bytes: &[u8],
    ) -> Option<(Box<Request>, usize)> {
        let kept = self.kept.as_ref()?;
        let size = kept.request.head.again_in(bytes)?;
        if kept.reloads != shared.reloads {
            return None;
        }
        // It may have seen a part of the head.
        self.head = HeadReader::default();
        let Kept { request, .. } = self.kept.take()?;
        Some((request, size))
    }

    /// A request without its body yet, in the memory of the kept one if there is one: none is kept
    /// while another is read or waits for an event.
    pub(super) fn request_of(&mut self, head: RequestHead) -> Box<Request> {
        match self.kept.take() {
            Some(Kept { mut request, .. }) => {
                request.head = head;
                request
            }
            None => Box::new(Request {
                head,
                body: Vec::new(),
            }),
        }
    }
}
