//! Messages from and to other shards, and the operator's wishes.

use std::collections::VecDeque;
use std::task::Context;

use crate::base::clock::Now;
use crate::driver::core::Core;
use crate::driver::platform::{Arrival, MeshIo, News};
use crate::driver::ready::Left;
use crate::shard::mesh::MeshMsg;
use crate::shard::{Input, Outbox};

/// Messages that one turn takes in, to the end of the batch that passes it. A message costs about
/// a microsecond, so that a turn stays far below a millisecond.
const MESSAGES_MAX: usize = 256;

/// The lane between shards.
#[derive(Debug)]
pub(super) struct MeshLane<M> {
    mesh: M,
    arrived: VecDeque<Arrival>,
    /// One batch per target, in the order of shards.
    batches: Vec<Vec<MeshMsg>>,
    is_over: bool,
}

impl<M: MeshIo> MeshLane<M> {
    pub(super) fn new(mesh: M) -> Self {
        Self {
            mesh,
            arrived: VecDeque::new(),
            batches: Vec::new(),
            is_over: false,
        }
    }

    /// Fetches what has arrived and waits for more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        while self.mesh.poll_recv(cx, &mut self.arrived).is_ready() {}
    }

    /// Hands what has arrived to the core, within the budget.
    pub(super) fn take_in<C: Core>(&mut self, now: Now, core: &mut C, out: &mut Outbox) -> Left {
        let mut room = MESSAGES_MAX;
        while room > 0 {
            match self.arrived.pop_front() {
                Some(Arrival::Beat) => self.mesh.tell_operator(News::Alive),
                Some(Arrival::Control(control)) => {
                    core.handle(now, Input::Control(control), out);
                    room -= 1;
                }
                Some(Arrival::LookedUp { id, address }) => {
                    core.handle(now, Input::LookedUp { id, address }, out);
                    room -= 1;
                }
                Some(Arrival::Mesh { from, batch }) => {
                    room = room.saturating_sub(batch.len());
                    for message in batch {
                        core.handle(now, Input::Mesh { from, message }, out);
                    }
                }
                Some(Arrival::Written { id, written }) => {
                    core.handle(now, Input::Written { id, written }, out);
                    room -= 1;
                }
                Some(Arrival::Over) => self.is_over = true,
                None => return Left::None,
            }
        }
        if self.arrived.is_empty() {
            Left::None
        } else {
            Left::Some
        }
    }

    /// Tells the operator that this shard is drained.
    pub(super) fn report_drained(&mut self) {
        self.mesh.tell_operator(News::Drained);
    }

    /// Whether all shards are drained.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Sends the turn's messages: one push per target.
    pub(super) fn send(&mut self, out: &mut Outbox) {
        if out.mesh.is_empty() {
            return;
        }
        for (to, message) in out.mesh.drain(..) {
            let to = usize::from(to.0);
            if to >= self.batches.len() {
                self.batches.resize_with(to + 1, Vec::new);
            }
            self.batches[to].push(message);
        }
        for (to, batch) in (0..).map(crate::base::id::ShardId).zip(&mut self.batches) {
            if !batch.is_empty() {
                self.mesh.send(to, std::mem::take(batch));
            }
        }
    }
}
