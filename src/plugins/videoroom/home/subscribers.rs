//! Who gets streams of one publisher, and how many get each.
//!
//! Invariant: the counts are those of the places, so nobody has to walk over all to tell them.

use std::collections::BTreeMap;

use crate::plugins::videoroom::messages::Place;

/// The subscribers of a publisher.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    /// By the mids of the streams that they get.
    places: BTreeMap<Place, Vec<Box<str>>>,
    counts: BTreeMap<Box<str>, u64>,
}

impl Subscribers {
    /// Takes somebody in, of whose streams [`Subscribers::feed`] tells later.
    pub(super) fn add(&mut self, place: Place) {
        self.places.entry(place).or_default();
    }

    /// Notes which streams somebody gets, each once; with none it is no subscriber any more. Who
    /// was not taken in is passed over: it speaks of what the publisher published before.
    pub(super) fn feed(&mut self, place: Place, mids: Vec<Box<str>>) {
        let Some(before) = self.places.get_mut(&place) else {
            return;
        };
        for mid in &mids {
            *self.counts.entry(mid.clone()).or_default() += 1;
        }
        for mid in before.drain(..) {
            let count = self.counts.get_mut(&mid).expect("it was counted");
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&mid);
            }
        }
        if mids.is_empty() {
            self.places.remove(&place);
        } else {
            *before = mids;
        }
    }

    /// Where they are.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.places.keys().copied()
    }

    /// How many get each stream, by its mid; streams that nobody gets are left out.
    pub(super) const fn counts(&self) -> &BTreeMap<Box<str>, u64> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{HandleId, HandleRef, SessionId, ShardId};

    fn place(shard: u8) -> Place {
        let handle = HandleRef {
            session: SessionId(1),
            handle: HandleId(1),
        };
        Place {
            shard: ShardId(shard),
            handle,
        }
    }

    fn counts(subscribers: &Subscribers) -> Vec<(&str, u64)> {
        let counts = subscribers.counts().iter();
        counts.map(|(mid, count)| (&**mid, *count)).collect()
    }

    #[test]
    fn streams_are_counted_as_their_subscribers_come_and_go() {
        let mut subscribers = Subscribers::default();
        let mids = |mids: &[&str]| mids.iter().map(|mid| Box::from(*mid)).collect();
        for shard in 0..3 {
            subscribers.add(place(shard));
            subscribers.feed(place(shard), mids(&["0", "1"]));
        }
        assert_eq!(counts(&subscribers), [("0", 3), ("1", 3)]);
        subscribers.add(place(0));
        subscribers.feed(place(0), mids(&["1", "2"]));
        subscribers.feed(place(1), mids(&[]));
        assert_eq!(counts(&subscribers), [("0", 1), ("1", 2), ("2", 1)]);
        let places: Vec<Place> = subscribers.places().collect();
        assert_eq!(places, [place(0), place(2)]);
        // Who is gone is not counted, whatever it still says.
        subscribers.feed(place(1), mids(&["0"]));
        subscribers.feed(place(0), mids(&[]));
        subscribers.feed(place(2), mids(&[]));
        assert_eq!(counts(&subscribers), []);
    }
}
