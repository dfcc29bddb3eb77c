//! What the driver drives, as a trait, so that tests can put a scripted core in a shard's place.

use crate::base::clock::{Monotonic, Now};
use crate::base::id::ConnId;
use crate::driver::pump::Counters;
use crate::shard::{Input, Outbox, Shard};

/// A state machine without input and output of its own. [`Shard`] has the promises.
pub trait Core: 'static {
    /// See [`Shard::handle`].
    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox);
    /// See [`Shard::flush`].
    fn flush(&mut self, now: Now, out: &mut Outbox);
    /// See [`Shard::pending`].
    fn pending(&self, conn: ConnId) -> &[u8];
    /// See [`Shard::deadline`].
    fn deadline(&self) -> Option<Monotonic>;
    /// See [`Shard::is_drained`].
    fn is_drained(&self) -> bool;
    /// Takes what the driver has counted since the start, to be shown with its own counters.
    fn report(&mut self, counters: &Counters);
}

impl Core for Shard {
    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) {
        self.handle(now, input, out);
    }

    fn flush(&mut self, now: Now, out: &mut Outbox) {
        self.flush(now, out);
    }

    fn pending(&self, conn: ConnId) -> &[u8] {
        self.pending(conn)
    }

    fn deadline(&self) -> Option<Monotonic> {
        self.deadline()
    }

    fn is_drained(&self) -> bool {
        self.is_drained()
    }

    fn report(&mut self, counters: &Counters) {
        counters.show_in(self.metrics_mut());
    }
}
