//! A handle that gets streams of publishers.
//!
//! Invariant: lines are never taken out and never change their kind; one that has lost its source
//! is offered as inactive, until a stream of the same codec takes it over.

mod lines;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::id::HandleRef;
use crate::gateway::plugin::{Cx, JsepKind, JsepOut};
use crate::media::{Enabled, IceRestart, LineRef, Media, MediaError};
use crate::plugins::videoroom::data::{Channels, Message};
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::messages::{Feed, HomeAct, Msg};
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::stream::StreamKind;
use crate::plugins::videoroom::subscription::{Line, Source, StreamId};
use crate::plugins::videoroom::wish::LineWish;
use crate::wire::sdp::{OfferLine, OfferPlan, SessionDescription};

/// The port that data channels use within DTLS (RFC 8841 section 5).
const SCTP_PORT: u16 = 5000;

/// Bytes of all lines as the client sees them. Beyond it they go without what publishers say of
/// themselves, because it would not fit into an event together with the offer.
const STREAMS_BYTES_MAX: usize = 512 << 10;

/// A subscriber, on the shard of its session.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) room: Id,
    pub(super) options: Arc<RoomOptions>,
    pub(super) private_id: u64,
    pub(super) is_kicked: bool,
    /// Media is encrypted end to end, from all its feeds or from none.
    e2ee: bool,
    manner: Manner,
    lines: Vec<Line>,
    pub(super) channels: Channels,
    is_paused: bool,
    /// Layers follow what the subscriber can receive.
    adaptive: Enabled,
    /// An offer waits for its answer.
    is_offered: bool,
    /// Something changed that was not offered.
    is_stale: bool,
    restart: IceRestart,
    version: u64,
}

/// How a subscriber wants to be served.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// Streams are named after their publishers.
    pub(super) use_msid: bool,
    /// Offers follow by themselves when streams go away.
    pub(super) autoupdate: bool,
}

impl Subscriber {
    pub(super) fn new(
        room: Id,
        options: Arc<RoomOptions>,
        private_id: u64,
        manner: Manner,
    ) -> Self {
        Self {
            adaptive: enabled(options.adaptive),
            room,
            options,
            private_id,
            is_kicked: false,
            e2ee: false,
            manner,
            lines: Vec::new(),
            channels: Channels::default(),
            is_paused: false,
            is_offered: false,
            is_stale: false,
            restart: IceRestart::No,
            version: 0,
        }
    }

    /// Checks that the lines that are named are there.
    ///
    /// # Errors
    ///
    /// 428.
    pub(super) fn check_mids(&self, wishes: &[LineWish]) -> Result<(), Fault> {
        let lines = 0..self.lines.len();
        let is_there = |mid: &str| lines.clone().any(|line| *line.to_string() == *mid);
        let mut mids = wishes.iter().filter_map(|wish| wish.mid.as_deref());
        match mids.find(|mid| !is_there(mid)) {
            None => Ok(()),
            Some(mid) => {
                let text = format!("No such mid '{mid}' in subscription");
                Err(Fault::new(Code::NoSuchFeed, text))
            }
        }
    }

    /// Carries out what `configure` says of lines.
    pub(super) fn configure(&mut self, cx: &mut Cx<'_>, handle: HandleRef, wishes: &[LineWish]) {
        let room = self.room.json();
        for wish in wishes {
            for (index, line) in self.lines.iter_mut().enumerate() {
                let mid = index.to_string();
                if wish.mid.as_ref().is_some_and(|wanted| **wanted != *mid)
                    || wish.kind.is_some_and(|kind| kind != line.kind)
                {
                    continue;
                }
                if let Some(send) = wish.send {
                    line.send = send;
                }
                wish.layers.apply(&mut line.layers);
                if wish.delay.is_some() {
                    wish.delay.apply(&mut line.delay);
                    if let Some(peer) = cx.peer(handle) {
                        let line_ref = LineRef { peer, line: index };
                        cx.media.set_playout_delay(line_ref, line.delay.both());
                    }
                }
                let Some(route) = line.route else { continue };
                cx.media.set_layers(cx.now, route, line.layers);
                let Some(state) = cx.media.route_state(route) else {
                    continue;
                };
                // What is delivered already is told at once, as Janus does.
                let [encoding, temporal] = line.layer_names();
                for (name, wanted, current) in [
                    (encoding, wish.layers.substream, state.substream),
                    (temporal, wish.layers.temporal, state.temporal),
                ] {
                    if wanted.is_some() && wanted == current {
                        let mut data = json!({"videoroom": "event", "room": room, "mid": mid});
                        data[name] = wanted.into();
                        cx.push(handle, None, data, None);
                    }
                }
            }
        }
        self.gate(cx);
    }

    /// Pauses everything, or lets it pass again.
    pub(super) fn pause(&mut self, cx: &mut Cx<'_>, is_paused: bool) {
        self.is_paused = is_paused;
        self.gate(cx);
    }

    /// Lets layers follow what the subscriber can receive, or not.
    pub(super) fn adapt(&mut self, cx: &mut Cx<'_>, handle: HandleRef, is_adaptive: bool) {
        self.adaptive = enabled(is_adaptive);
        if let Some(peer) = cx.peer(handle) {
            cx.media.set_adaptive(peer, self.adaptive);
        }
    }

    /// Takes an answer. What changed since the offer follows as another one.
    ///
    /// # Errors
    ///
    /// 437.
    pub(super) fn answered(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        answer: &SessionDescription,
    ) -> Result<(), Fault> {
        cx.accept_answer(handle, answer).map_err(invalid_sdp)?;
        self.is_offered = false;
        for line in &mut self.lines {
            line.is_ready = line.source.is_some() || line.kind == StreamKind::Data;
        }
        Ok(())
    }

    /// Tells the client of changes, with an offer if there is none on its way. `changed` is
    /// whether something did.
    ///
    /// # Errors
    ///
    /// 437 if no offer can be made.
    pub(super) fn update(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        transaction: Option<Box<str>>,
        changed: bool,
    ) -> Result<(), Fault> {
        let room = self.room.json();
        if !changed && !self.is_stale {
            let data = json!({"videoroom": "updated", "room": room});
            cx.push(handle, transaction, data, None);
            return Ok(());
        }
        self.is_stale = true;
        if self.is_offered {
            if transaction.is_some() {
                let data = json!({"videoroom": "updating", "room": room});
                cx.push(handle, transaction, data, None);
            }
            return Ok(());
        }
        let jsep = self.offer(cx, handle)?;
        let data = json!({
            "videoroom": "updated", "room": room, "streams": self.streams(cx),
        });
        cx.push(handle, transaction, data, Some(jsep));
        self.tell_streams(cx, handle, "updated");
        Ok(())
    }

    /// Makes an offer of all lines as they are.
    ///
    /// # Errors
    ///
    /// 437.
    pub(super) fn offer(&mut self, cx: &mut Cx<'_>, handle: HandleRef) -> Result<JsepOut, Fault> {
        self.version += 1;
        let lines = self
            .lines
            .iter()
            .enumerate()
            .map(|(index, line)| match line.kind {
                StreamKind::Data => OfferLine::Application {
                    mid: index.to_string(),
                    sctp_port: SCTP_PORT,
                },
                StreamKind::Audio | StreamKind::Video => {
                    let media = line.offered(index, &self.options, self.manner.use_msid);
                    OfferLine::Media(Box::new(media))
                }
            });
        let plan = OfferPlan {
            name: format!("VideoRoom {}", self.room),
            // Digits only (RFC 8866 section 5.2), wherever the wall clock stands.
            session_id: cx.now.realtime.unix_micros().unsigned_abs().to_string(),
            version: self.version,
            lines: lines.collect(),
        };
        let sdp = cx
            .make_offer(handle, plan, self.restart, self.estimates())
            .map_err(invalid_sdp)?;
        self.is_offered = true;
        self.is_stale = false;
        for line in &mut self.lines {
            line.is_offered_inactive = line.source.is_some() && !line.is_active();
        }
        self.restart = IceRestart::No;
        self.route_all(cx, handle);
        Ok(JsepOut {
            kind: JsepKind::Offer,
            sdp,
            e2ee: self.e2ee,
        })
    }

    /// Asks for new ICE credentials with the next offer; tells whether that can be made now.
    pub(super) fn renew(&mut self, restart: IceRestart) -> bool {
        if restart == IceRestart::Yes {
            self.restart = restart;
        }
        self.is_stale |= self.is_offered;
        !self.is_offered
    }

    /// Whether something changed that was not offered, and can be.
    pub(super) const fn owes_offer(&self) -> bool {
        self.is_stale && !self.is_offered
    }

    /// A publisher publishes something else. A stream that is sent again goes on where the offer
    /// has a place for it; where the latest one has none, another offer follows.
    ///
    /// # Errors
    ///
    /// 437 if no offer can be made.
    pub(super) fn feed_changed(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        feed: &Feed,
    ) -> Result<(), Fault> {
        for line in &mut self.lines {
            let Some(source) = &mut line.source else {
                continue;
            };
            let stream = feed
                .streams
                .iter()
                .find(|stream| stream.mid == source.stream.mid);
            if let Some(stream) = stream.filter(|_| source.feed == feed.id) {
                let is_elsewhere = stream.line != source.stream.line;
                *source = Source::new(feed, stream);
                if is_elsewhere {
                    line.unroute(cx);
                }
            }
        }
        self.route_all(cx, handle);
        let is_back = |line: &Line| line.is_offered_inactive && line.is_active();
        let changed = cx.peer(handle).is_some() && self.lines.iter().any(is_back);
        if changed && self.manner.autoupdate {
            return self.update(cx, handle, None, true);
        }
        self.is_stale |= changed;
        Ok(())
    }

    /// A publisher publishes nothing any more.
    ///
    /// # Errors
    ///
    /// 437 if no offer can be made.
    pub(super) fn feed_gone(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        feed: &Id,
    ) -> Result<(), Fault> {
        let mut lost = Vec::new();
        let mut changed = false;
        for line in &mut self.lines {
            lost.extend(line.forget_data(feed));
            if line.feed_id() == Some(feed) {
                lost.extend(line.starve(cx));
                changed = true;
            }
        }
        self.tell_unsubscribed(cx, handle, &lost);
        if changed && self.manner.autoupdate {
            return self.update(cx, handle, None, true);
        }
        self.is_stale |= changed;
        Ok(())
    }

    /// The PeerConnection is up: those who come late need a key frame.
    pub(super) fn up(&self, cx: &mut Cx<'_>) {
        for source in self.lines.iter().filter_map(|line| line.source.as_ref()) {
            if let Some(line) = source.line(cx) {
                cx.media.request_keyframe(cx.now, line);
            }
        }
    }

    /// The PeerConnection is gone.
    pub(super) fn hung_up(&mut self) {
        for line in &mut self.lines {
            line.route = None;
            line.is_ready = false;
        }
        self.channels.clear();
        self.is_offered = false;
    }

    /// Passes a message of a publisher on.
    pub(super) fn message(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        feed: &Id,
        message: Message,
    ) {
        let line = self
            .lines
            .iter()
            .find(|line| line.data_feeds.contains_key(feed));
        let passes = line.is_some_and(|line| line.is_ready && line.send)
            && !self.is_paused
            && !self.is_kicked;
        if let Some(peer) = cx.peer(handle).filter(|_| passes) {
            self.channels.send(cx, peer, feed, message);
        }
    }

    /// Whether it joined this room and showed this private id.
    pub(super) fn is_of(&self, room: &Id, private_id: u32) -> bool {
        self.room == *room && self.private_id == u64::from(private_id)
    }

    /// Gets nothing any more, because whose private id it showed was kicked.
    pub(super) fn kick(&mut self, cx: &mut Cx<'_>) {
        self.is_kicked = true;
        self.gate(cx);
    }

    /// Wants nothing any more. Its PeerConnection ends, so what it may subscribe to later begins
    /// with the first line, as in Janus.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_>, handle: HandleRef) {
        let before = self.fed_by();
        let mut lost = Vec::new();
        for mut line in std::mem::take(&mut self.lines) {
            lost.extend(line.streams());
            line.starve(cx);
        }
        self.is_stale = false;
        self.restart = IceRestart::No;
        self.tell_feeds(cx, handle, &before, &[]);
        self.tell_unsubscribed(cx, handle, &lost);
    }

    /// Tells the client which layers a line is given.
    pub(super) fn tell_layers(
        &self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        line: usize,
        layers: [Option<u8>; 2],
    ) {
        let line_of = self.lines.get(line).filter(|line| line.has_layers());
        let Some(names) = line_of.map(Line::layer_names) else {
            return;
        };
        for (name, layer) in names.into_iter().zip(layers) {
            let Some(layer) = layer else { continue };
            let mut data = json!({
                "videoroom": "event", "room": self.room.json(), "mid": line.to_string(),
            });
            data[name] = layer.into();
            cx.push(handle, None, data, None);
        }
    }

    /// All lines, as the client sees them.
    pub(super) fn streams(&self, cx: &Cx<'_>) -> Value {
        let lines = self.lines.iter().enumerate();
        let mut lines: Vec<Value> = lines
            .map(|(index, line)| line.json(index, cx.media))
            .collect();
        let size: usize = lines.iter().map(|line| line.to_string().len()).sum();
        if size > STREAMS_BYTES_MAX {
            for line in lines.iter_mut().filter_map(Value::as_object_mut) {
                for label in ["feed_display", "feed_metadata", "feed_description"] {
                    line.remove(label);
                }
            }
        }
        lines.into()
    }

    /// Whether there is anything to offer.
    pub(super) const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Tells the home of the room something.
    pub(super) fn tell_home(&self, cx: &mut Cx<'_>, act: HomeAct) {
        let room = self.room.clone();
        let home = room.home(cx.shards);
        cx.send(home, Msg::Home { room, act });
    }

    pub(super) fn query(&self, media: &Media) -> Value {
        let lines = self.lines.iter().enumerate();
        let streams: Vec<Value> = lines.map(|(index, line)| line.json(index, media)).collect();
        json!({
            "type": "subscriber",
            "room": self.room.json(),
            "private_id": self.private_id,
            "answered": !self.is_offered,
            "pending_offer": self.is_stale,
            "pending_restart": self.restart == IceRestart::Yes,
            "paused": self.is_paused,
            "e2ee": self.e2ee,
            "streams": streams,
        })
    }

    /// Whether there is anything to choose by what the client can receive.
    fn estimates(&self) -> Enabled {
        enabled(self.adaptive == Enabled::Yes && self.lines.iter().any(Line::has_layers))
    }

    /// The streams that feed its lines.
    pub(super) fn fed_by(&self) -> BTreeSet<StreamId> {
        self.lines.iter().flat_map(Line::streams).collect()
    }

    /// Tells the room what it gets of publishers that it asked for, and of those that it gets
    /// something else of than before.
    pub(super) fn tell_feeds(
        &self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        before: &BTreeSet<StreamId>,
        asked: &[Feed],
    ) {
        let after = self.fed_by();
        let changed = before.symmetric_difference(&after);
        let changed = changed.map(|stream| &stream.feed);
        let feeds: BTreeSet<&Id> = asked.iter().map(|feed| &feed.id).chain(changed).collect();
        let mids_of = |feed: &Id| {
            let streams = after.iter().filter(|stream| stream.feed == *feed);
            streams.map(|stream| stream.mid.clone()).collect()
        };
        let feeds = feeds.into_iter().map(|feed| (feed.clone(), mids_of(feed)));
        let feeds: Vec<_> = feeds.collect();
        if !feeds.is_empty() {
            self.tell_home(cx, HomeAct::Get { handle, feeds });
        }
    }

    /// Feeds lines that have a source and no route yet.
    fn route_all(&mut self, cx: &mut Cx<'_>, handle: HandleRef) {
        let Some(peer) = cx.peer(handle) else { return };
        cx.media.set_adaptive(peer, self.adaptive);
        for (index, line) in self.lines.iter_mut().enumerate() {
            let Some(source) = line.source.as_ref().filter(|_| line.route.is_none()) else {
                continue;
            };
            let Some(from) = source.line(cx) else {
                continue;
            };
            let to = LineRef { peer, line: index };
            cx.media.set_playout_delay(to, line.delay.both());
            line.route = cx.media.route(cx.now, from, to);
            if let Some(route) = line.route {
                cx.media.set_layers(cx.now, route, line.layers);
            }
        }
        self.gate(cx);
    }

    /// Lets pass what is ready, wanted and not paused.
    fn gate(&self, cx: &mut Cx<'_>) {
        for line in &self.lines {
            let Some(route) = line.route else { continue };
            let passes = line.is_ready && line.send && !self.is_paused && !self.is_kicked;
            let enabled = if passes { Enabled::Yes } else { Enabled::No };
            cx.media.set_route_enabled(cx.now, route, enabled);
        }
    }
}

const fn enabled(is_on: bool) -> Enabled {
    if is_on { Enabled::Yes } else { Enabled::No }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn invalid_sdp(fault: MediaError) -> Fault {
    Fault::new(Code::InvalidSdp, format!("Error processing SDP: {fault}"))
}
