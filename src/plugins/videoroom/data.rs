//! Messages of publishers on their way to a subscriber: one channel per feed, named after it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tracing::debug;

use crate::base::id::PeerId;
use crate::gateway::plugin::Cx;
use crate::media::{ChannelNumber, DataForm, DropReason, MediaError};
use crate::plugins::videoroom::ids::Id;

/// Messages that wait for one channel to open; more are dropped.
const WAITING_MAX: usize = 64;

/// A message of a publisher.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) form: DataForm,
    pub(super) bytes: Arc<[u8]>,
}

/// The channels of one subscriber.
#[derive(Debug, Default)]
pub(super) struct Channels {
    by_feed: BTreeMap<Id, Channel>,
}

#[derive(Debug)]
enum Channel {
    Open(ChannelNumber),
    Opening(VecDeque<Message>),
}

impl Channels {
    /// Sends a message, or keeps it until its channel is open.
    pub(super) fn send(&mut self, cx: &mut Cx<'_>, peer: PeerId, feed: &Id, message: Message) {
        match self.by_feed.get_mut(feed) {
            Some(Channel::Open(number)) => deliver(cx, peer, *number, &message),
            Some(Channel::Opening(waiting)) => {
                if waiting.len() < WAITING_MAX {
                    waiting.push_back(message);
                } else {
                    cx.media.dropped_message(DropReason::DataWaitingFull);
                }
            }
            None => match cx.media.open_channel(cx.now, peer, &feed.to_string(), "") {
                Ok(()) => {
                    let waiting = VecDeque::from([message]);
                    self.by_feed.insert(feed.clone(), Channel::Opening(waiting));
                }
                Err(fault) => {
                    debug!(%fault, "a message was dropped: no channel for it");
                    cx.media.dropped_message(DropReason::DataNoChannel);
                }
            },
        }
    }

    /// A channel is open: sends what waited for it.
    pub(super) fn opened(
        &mut self,
        cx: &mut Cx<'_>,
        peer: PeerId,
        label: &str,
        number: ChannelNumber,
    ) {
        for (feed, channel) in &mut self.by_feed {
            let Channel::Opening(waiting) = channel else {
                continue;
            };
            if feed.to_string() == label {
                for message in std::mem::take(waiting) {
                    deliver(cx, peer, number, &message);
                }
                *channel = Channel::Open(number);
            }
        }
    }

    /// A channel is closed; the next message opens another.
    pub(super) fn closed(&mut self, number: ChannelNumber) {
        let is_it = |channel: &Channel| matches!(channel, Channel::Open(open) if *open == number);
        self.by_feed.retain(|_, channel| !is_it(channel));
    }

    /// The PeerConnection is gone.
    pub(super) fn clear(&mut self) {
        self.by_feed.clear();
    }
}

fn deliver(cx: &mut Cx<'_>, peer: PeerId, number: ChannelNumber, message: &Message) {
    let sent = cx
        .media
        .send_data(cx.now, peer, number, message.form, &message.bytes);
    match sent {
        Ok(()) => {}
        // Media has counted it.
        Err(MediaError::Limit(_)) => debug!("a message was dropped: its channel is full"),
        Err(_) => cx.media.dropped_message(DropReason::DataNoChannel),
    }
}
