//! A generational table, iterated in slot order.
//!
//! Invariant: a key whose value was removed never finds a later value, until the slot's 32-bit
//! generation wraps.

use std::marker::PhantomData;

/// A key made of a slot and a generation.
pub trait SlabKey: Copy {
    /// Puts a key together.
    fn from_parts(slot: u32, generation: u32) -> Self;
    /// The place in the table.
    fn slot(self) -> u32;
    /// How often the place was given out before.
    fn generation(self) -> u32;
}

#[derive(Debug)]
struct Slot<V> {
    generation: u32,
    value: Option<V>,
}

/// A table that gives out its keys. Reuses the slot that was freed last.
#[derive(Debug)]
pub struct Slab<K, V> {
    slots: Vec<Slot<V>>,
    free: Vec<u32>,
    count: usize,
    keys: PhantomData<fn() -> K>,
}

impl<K, V> Default for Slab<K, V> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            count: 0,
            keys: PhantomData,
        }
    }
}

impl<K: SlabKey, V> Slab<K, V> {
    /// Puts a value in and names it.
    pub fn insert(&mut self, value: V) -> K {
        self.insert_with(|_| value)
    }

    /// Puts in the value that `make` builds for its key.
    pub fn insert_with(&mut self, make: impl FnOnce(K) -> V) -> K {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                value: None,
            });
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        let key = K::from_parts(slot, place.generation);
        place.value = Some(make(key));
        self.count += 1;
        key
    }

    /// Takes a value out; its key finds nothing from here on.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let place = self.slots.get_mut(key.slot() as usize)?;
        if place.generation != key.generation() {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.slot());
        self.count -= 1;
        Some(value)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let place = self.slots.get_mut(key.slot() as usize)?;
        if place.generation == key.generation() {
            place.value.as_mut()
        } else {
            None
        }
    }

    /// All values in slot order, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(|(slot, place)| {
                let key = K::from_parts(slot as u32, place.generation);
                place.value.as_mut().map(|value| (key, value))
            })
    }

    /// The value of a key.
    pub fn get(&self, key: K) -> Option<&V> {
        let place = self.slots.get(key.slot() as usize)?;
        if place.generation == key.generation() {
            place.value.as_ref()
        } else {
            None
        }
    }

    /// All values in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.slots.iter().enumerate().filter_map(|(slot, place)| {
            place
                .value
                .as_ref()
                .map(|value| (K::from_parts(slot as u32, place.generation), value))
        })
    }

    /// All keys in slot order.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.iter().map(|(key, _)| key)
    }

    /// How many values are in.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is in.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A table beside a [`Slab`], whose keys it uses.
#[derive(Debug)]
pub struct SlabMap<K, V> {
    slots: Vec<Option<(u32, V)>>,
    count: usize,
    keys: PhantomData<fn() -> K>,
}

impl<K, V> Default for SlabMap<K, V> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            count: 0,
            keys: PhantomData,
        }
    }
}

impl<K: SlabKey, V> SlabMap<K, V> {
    /// Puts a value in under a key; an older generation in its slot gives way.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let slot = key.slot() as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        let old = self.slots[slot].replace((key.generation(), value));
        self.count += usize::from(old.is_none());
        old.map(|(_, value)| value)
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let place = self.slots.get_mut(key.slot() as usize)?;
        if place.as_ref()?.0 != key.generation() {
            return None;
        }
        self.count -= 1;
        place.take().map(|(_, value)| value)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let (generation, value) = self.slots.get_mut(key.slot() as usize)?.as_mut()?;
        (*generation == key.generation()).then_some(value)
    }

    /// The value of a key.
    pub fn get(&self, key: K) -> Option<&V> {
        let (generation, value) = self.slots.get(key.slot() as usize)?.as_ref()?;
        (*generation == key.generation()).then_some(value)
    }

    /// All values in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.slots.iter().enumerate().filter_map(|(slot, place)| {
            place
                .as_ref()
                .map(|(generation, value)| (K::from_parts(slot as u32, *generation), value))
        })
    }

    /// All keys in slot order.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.iter().map(|(key, _)| key)
    }

    /// How many values are in.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is in.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ConnId;

    #[test]
    fn a_removed_key_does_not_find_its_successor() {
        let mut slab = Slab::<ConnId, &str>::default();
        let old = slab.insert("old");
        assert_eq!(slab.remove(old), Some("old"));
        let new = slab.insert("new");
        assert_eq!(old.slot(), new.slot());
        assert_eq!(slab.get(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!((slab.get(new), slab.len()), (Some(&"new"), 1));
    }

    #[test]
    fn a_mirror_follows_the_generations() {
        let mut slab = Slab::<ConnId, ()>::default();
        let mut mirror = SlabMap::<ConnId, u8>::default();
        let old = slab.insert(());
        mirror.insert(old, 1);
        slab.remove(old);
        let new = slab.insert(());
        assert_eq!(mirror.get(new), None);
        assert_eq!(mirror.remove(new), None);
        assert_eq!(mirror.insert(new, 2), Some(1));
        assert_eq!(
            (mirror.get(old), mirror.get(new), mirror.len()),
            (None, Some(&2), 1)
        );
    }

    #[test]
    fn iteration_is_in_slot_order() {
        let mut slab = Slab::<ConnId, u8>::default();
        let first = slab.insert(0);
        slab.insert(1);
        slab.remove(first);
        slab.insert(2);
        assert_eq!(
            slab.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            [2, 1]
        );
    }
}
