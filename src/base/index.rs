//! A hash index for look-ups only.
//!
//! Invariant: it cannot be iterated, so the order of a hash table never reaches the wire, a log
//! or a decision. Its hasher is keyed from the shard's seed: outsiders who choose keys cannot
//! choose collisions, and a seed reproduces a run.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use foldhash::fast::FixedState;

use crate::base::rng::Rng;

/// A map from keys to values, without an order.
pub struct Index<K, V> {
    map: HashMap<K, V, FixedState>,
}

impl<K: Eq + Hash, V> Index<K, V> {
    /// An empty index with a hasher keyed from `rng`.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            map: HashMap::with_hasher(FixedState::with_seed(rng.next_u64())),
        }
    }

    /// Puts a value under a key and returns the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.map.insert(key, value)
    }

    /// Takes the value of a key out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.map.remove(key)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// Whether a key is present.
    pub fn contains(&self, key: &K) -> bool {
        self.map.contains_key(key)
    }

    /// How many keys are present.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether no key is present.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

impl<K, V> fmt::Debug for Index<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index of {}", self.map.len())
    }
}
