//! Deadlines ordered by instant, then by the order in which they were armed.
//!
//! Invariant: a key has at most one deadline; nothing expires early; what is overdue expires once.

use std::collections::BTreeMap;

use crate::base::clock::Monotonic;
use crate::mutant;

/// The armed deadlines of one shard, each under a key that says whose it is.
#[derive(Debug)]
pub struct Timers<K> {
    by_time: BTreeMap<(Monotonic, u64), K>,
    by_key: BTreeMap<K, (Monotonic, u64)>,
    armed: u64,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            by_time: BTreeMap::new(),
            by_key: BTreeMap::new(),
            armed: 0,
        }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// Sets the deadline of a key, in place of the one it had.
    pub fn arm(&mut self, key: K, at: Monotonic) {
        self.armed += 1;
        let place = (at, self.armed);
        if let Some(old) = self.by_key.insert(key, place) {
            self.by_time.remove(&old);
        }
        self.by_time.insert(place, key);
    }

    /// Forgets the deadline of a key, if it has one.
    pub fn cancel(&mut self, key: K) {
        if let Some(place) = self.by_key.remove(&key) {
            self.by_time.remove(&place);
        }
        if mutant!(CancelForgets)
            && let Some((_, key)) = self.by_time.pop_first()
        {
            self.by_key.remove(&key);
        }
    }

    /// Takes out the next key that is due at `now`, earliest first.
    pub fn expire(&mut self, now: Monotonic) -> Option<K> {
        let (&(at, _), _) = self.by_time.first_key_value()?;
        if at > now || at == now && mutant!(TimerStrict) {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Monotonic> {
        self.by_time.first_key_value().map(|(&(at, _), _)| at)
    }

    /// The deadline of a key.
    pub fn deadline_of(&self, key: K) -> Option<Monotonic> {
        self.by_key.get(&key).map(|&(at, _)| at)
    }

    /// How many deadlines are armed.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is armed.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Monotonic {
        Monotonic::from_nanos(nanos)
    }

    #[test]
    fn a_deadline_expires_neither_early_nor_twice() {
        let mut timers = Timers::default();
        timers.arm('a', at(10));
        assert_eq!(timers.expire(at(9)), None);
        assert_eq!(timers.expire(at(10)), Some('a'));
        assert_eq!(timers.expire(at(99)), None);
    }

    #[test]
    fn equal_deadlines_expire_in_arming_order() {
        let mut timers = Timers::default();
        timers.arm('b', at(10));
        timers.arm('a', at(10));
        assert_eq!(
            (timers.expire(at(10)), timers.expire(at(10))),
            (Some('b'), Some('a'))
        );
    }

    #[test]
    fn cancelling_one_deadline_keeps_the_others() {
        let mut timers = Timers::default();
        timers.arm('a', at(1));
        timers.arm('b', at(2));
        timers.cancel('a');
        assert_eq!((timers.next(), timers.len()), (Some(at(2)), 1));
    }

    proptest! {
        /// A plain list, searched from end to end, is the model.
        #[test]
        fn behaves_like_a_plain_list(steps in prop::collection::vec((0_u8..3, 0_u8..6, 0_u64..50), 0..200)) {
            let mut timers = Timers::default();
            let mut model: Vec<(u64, usize, u8)> = Vec::new();
            for (order, (what, key, time)) in steps.into_iter().enumerate() {
                match what {
                    0 => {
                        timers.arm(key, at(time));
                        model.retain(|entry| entry.2 != key);
                        model.push((time, order, key));
                    }
                    1 => {
                        timers.cancel(key);
                        model.retain(|entry| entry.2 != key);
                    }
                    _ => {
                        model.sort_unstable();
                        let due = model.first().copied().filter(|entry| entry.0 <= time);
                        prop_assert_eq!(timers.expire(at(time)), due.map(|entry| entry.2));
                        if due.is_some() {
                            model.remove(0);
                        }
                    }
                }
                prop_assert_eq!(timers.next(), model.iter().map(|entry| at(entry.0)).min());
                prop_assert_eq!(timers.len(), model.len());
            }
        }
    }
}
