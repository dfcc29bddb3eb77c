//! Which streams feed which lines of a subscriber: added, taken out, switched.

use crate::base::id::HandleRef;
use crate::gateway::plugin::Cx;
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::messages::Feed;
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind};
use crate::plugins::videoroom::subscriber::Subscriber;
use crate::plugins::videoroom::subscription::{Line, Source};
use crate::plugins::videoroom::wish::{SwitchWish, Unwish, Wish};

impl Subscriber {
    /// Adds the streams that are wished for; tells whether that needs an offer. `keeps_disabled`
    /// takes those too that their publishers have stopped. No more than `max` lines come to be.
    ///
    /// # Errors
    ///
    /// 428, 438 or 499, and then nothing is added.
    pub(in crate::plugins::videoroom) fn add(
        &mut self,
        wishes: &[Wish],
        feeds: &[Feed],
        keeps_disabled: bool,
        max: usize,
    ) -> Result<bool, Fault> {
        self.check_encryption(feeds)?;
        let mut picked = Vec::new();
        for wish in wishes {
            let feed = feeds.iter().find(|feed| feed.id == wish.feed);
            let Some(feed) = feed else {
                unreachable!("the room has told of all feeds that were asked for");
            };
            let streams = wish.pick(&feed.streams)?.into_iter();
            let streams = streams.filter(|stream| keeps_disabled || !stream.is_disabled);
            picked.extend(streams.map(|stream| (wish, feed, stream)));
        }
        if self.lines.len() + self.missing(picked.iter().map(|(_, feed, stream)| (*feed, *stream)))
            > max
        {
            return Err(Fault::new(Code::Unknown, "Too many streams"));
        }
        if self.lines.is_empty() {
            self.e2ee = feeds.first().is_some_and(|feed| feed.e2ee);
        }
        let mut changed = false;
        for (wish, feed, stream) in picked {
            changed |= self.add_stream(wish, feed, stream);
        }
        Ok(changed)
    }

    /// Those who encrypt end to end and those who do not cannot share a PeerConnection.
    fn check_encryption(&self, feeds: &[Feed]) -> Result<(), Fault> {
        let wrong = |text: String| Err(Fault::new(Code::InvalidFeed, text));
        if self.lines.is_empty() {
            let mut pairs = feeds.windows(2);
            if pairs.any(|pair| pair[0].e2ee != pair[1].e2ee) {
                let text = "Can't mix normal and end-to-end encrypted subscriptions";
                return wrong(text.to_owned());
            }
            return Ok(());
        }
        match feeds.iter().find(|feed| feed.e2ee != self.e2ee) {
            None => Ok(()),
            Some(feed) => {
                let not = if feed.e2ee { "" } else { "not " };
                let id = &feed.id;
                wrong(format!(
                    "Can't have {not}end-to-end encrypted feed in this subscription ({id})"
                ))
            }
        }
    }

    /// How many lines more it takes to have these streams, too.
    fn missing<'a>(&self, streams: impl Iterator<Item = (&'a Feed, &'a StreamInfo)>) -> usize {
        let is_free = |line: &&Line| line.source.is_none() && line.kind != StreamKind::Data;
        let free = self.lines.iter().filter(is_free);
        let mut free: Vec<(StreamKind, &str)> =
            free.map(|line| (line.kind, &*line.codec)).collect();
        let mut has_data = self.lines.iter().any(|line| line.kind == StreamKind::Data);
        let mut count = 0;
        for (feed, stream) in streams {
            let is_there = match stream.kind {
                StreamKind::Data => std::mem::replace(&mut has_data, true),
                StreamKind::Audio | StreamKind::Video => {
                    let mut lines = self.lines.iter();
                    lines.any(|line| line.is_fed_by(&feed.id, &stream.mid))
                }
            };
            let like = (stream.kind, &*stream.codec);
            match free.iter().position(|line| *line == like) {
                _ if is_there => {}
                Some(line) => {
                    free.swap_remove(line);
                }
                None => count += 1,
            }
        }
        count
    }

    fn add_stream(&mut self, wish: &Wish, feed: &Feed, stream: &StreamInfo) -> bool {
        if stream.kind == StreamKind::Data {
            let line = self
                .lines
                .iter_mut()
                .find(|line| line.kind == StreamKind::Data);
            if let Some(line) = line {
                line.data_feeds.insert(feed.id.clone(), stream.mid.clone());
                return false;
            }
            self.lines
                .push(Line::of_data(feed.id.clone(), stream.mid.clone()));
            return true;
        }
        if self
            .lines
            .iter()
            .any(|line| line.is_fed_by(&feed.id, &stream.mid))
        {
            return false;
        }
        let fits = |line: &&mut Line| {
            line.source.is_none() && line.kind == stream.kind && line.codec == stream.codec
        };
        let line = match self.lines.iter_mut().find(fits) {
            Some(line) => line,
            None => {
                self.lines.push(Line::new(stream));
                self.lines.last_mut().expect("it was just pushed")
            }
        };
        line.feed(Source::new(feed, stream));
        line.crossref.clone_from(&wish.crossref);
        line.send = wish.send.unwrap_or(true);
        wish.layers.apply(&mut line.layers);
        wish.delay.apply(&mut line.delay);
        true
    }

    /// Takes out what is wanted no more; tells whether that needs an offer.
    pub(in crate::plugins::videoroom) fn remove(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        wishes: &[Unwish],
    ) -> bool {
        let before = self.fed_by();
        let mut changed = false;
        let mut lost = Vec::new();
        for wish in wishes {
            for (index, line) in self.lines.iter_mut().enumerate() {
                let is_meant = match (&wish.sub_mid, &wish.feed) {
                    (Some(mid), _) => **mid == *index.to_string(),
                    (None, Some(feed)) => match &wish.mid {
                        Some(mid) => line.is_fed_by(feed, mid),
                        None => line.feed_id() == Some(feed) || line.data_feeds.contains_key(feed),
                    },
                    (None, None) => false,
                };
                if !is_meant {
                    continue;
                }
                match (&line.kind, &wish.feed) {
                    (StreamKind::Data, Some(feed)) => {
                        lost.extend(line.forget_data(feed));
                    }
                    (StreamKind::Data, None) => {
                        lost.extend(line.streams());
                        line.data_feeds.clear();
                    }
                    (StreamKind::Audio | StreamKind::Video, _) => {
                        lost.extend(line.starve(cx));
                        changed = true;
                    }
                }
            }
        }
        self.tell_feeds(cx, handle, &before, &[]);
        self.tell_unsubscribed(cx, handle, &lost);
        changed
    }

    /// Feeds lines by other streams, without an offer; tells how many, and whether one of them was
    /// inactive.
    ///
    /// # Errors
    ///
    /// 428.
    pub(in crate::plugins::videoroom) fn switch(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        wishes: &[SwitchWish],
        feeds: &[Feed],
    ) -> Result<(u64, bool), Fault> {
        self.check_encryption(feeds)?;
        let mut pairs = Vec::new();
        for wish in wishes {
            let feed = feeds.iter().find(|feed| feed.id == wish.feed);
            let Some(feed) = feed else {
                unreachable!("the room has told of all feeds that were asked for");
            };
            let stream = feed.streams.iter().find(|stream| stream.mid == wish.mid);
            let stream = stream.ok_or_else(|| {
                let text = format!("No such mid '{}' in feed ({})", wish.mid, wish.feed);
                Fault::new(Code::NoSuchFeed, text)
            })?;
            pairs.push((wish, feed, stream));
        }
        let before = self.fed_by();
        let (mut changes, mut needs_offer) = (0, false);
        for (wish, feed, stream) in pairs {
            let index = wish.sub_mid.parse::<usize>().ok();
            let line = index.and_then(|index| self.lines.get_mut(index));
            let Some(line) = line.filter(|line| {
                line.kind == stream.kind
                    && line.kind != StreamKind::Data
                    && line.codec == stream.codec
                    && !line.is_fed_by(&feed.id, &stream.mid)
            }) else {
                continue;
            };
            needs_offer |= line.source.is_none();
            line.unroute(cx);
            line.feed(Source::new(feed, stream));
            line.send = true;
            wish.layers.apply(&mut line.layers);
            changes += 1;
        }
        self.tell_feeds(cx, handle, &before, feeds);
        self.route_all(cx, handle);
        Ok((changes, needs_offer))
    }
}
