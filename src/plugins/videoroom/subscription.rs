//! A line of a subscriber: what feeds it, and how it is offered and shown.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::base::id::ShardId;
use crate::gateway::plugin::Cx;
use crate::media::{LayerTarget, LineRef, Media, PlayoutDelay, RouteId};
use crate::plugins::videoroom::delay::Delay;
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::messages::Feed;
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind};
use crate::wire::sdp::{Msid, OfferMedia, extension, offered_codec};

/// A media section that is offered to a subscriber.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) kind: StreamKind,
    /// In lower case; empty for data.
    pub(super) codec: Box<str>,
    fmtp: Option<Box<str>>,
    pub(super) crossref: Option<Box<str>>,
    /// What feeds it, if it is audio or video.
    pub(super) source: Option<Source>,
    /// Whose messages it gets, and of which of their mids, if it is data.
    pub(super) data_feeds: BTreeMap<Id, Box<str>>,
    pub(super) send: bool,
    /// It was offered and answered.
    pub(super) is_ready: bool,
    /// The latest offer shows it as inactive, because its stream was disabled.
    pub(super) is_offered_inactive: bool,
    pub(super) layers: LayerTarget,
    pub(super) delay: Delay,
    pub(super) route: Option<RouteId>,
}

/// Which stream of a room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId {
    /// Its publisher.
    pub(super) feed: Id,
    /// Its mid there.
    pub(super) mid: Box<str>,
}

/// A stream of a publisher.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) feed: Id,
    display: Option<Box<str>>,
    metadata: Option<Value>,
    shard: ShardId,
    is_dummy: bool,
    pub(super) stream: StreamInfo,
}

impl Source {
    pub(super) fn new(feed: &Feed, stream: &StreamInfo) -> Self {
        Self {
            feed: feed.id.clone(),
            display: feed.display.clone(),
            metadata: feed.metadata.clone(),
            shard: feed.shard,
            is_dummy: feed.is_dummy,
            stream: stream.clone(),
        }
    }

    fn id(&self) -> StreamId {
        StreamId {
            feed: self.feed.clone(),
            mid: self.stream.mid.clone(),
        }
    }

    /// Where its packets come from, on this shard; `None` if there are none.
    pub(super) fn line(&self, cx: &mut Cx<'_>) -> Option<LineRef> {
        if self.is_dummy {
            None
        } else if self.shard == cx.shard {
            Some(self.stream.line)
        } else {
            Some(cx.media.remote_line(self.shard, self.stream.line))
        }
    }
}

impl Line {
    /// A line for streams like this one.
    pub(super) fn new(stream: &StreamInfo) -> Self {
        Self {
            kind: stream.kind,
            codec: stream.codec.clone(),
            fmtp: None,
            crossref: None,
            source: None,
            data_feeds: BTreeMap::new(),
            send: true,
            is_ready: false,
            is_offered_inactive: false,
            layers: LayerTarget::default(),
            delay: Delay::default(),
            route: None,
        }
    }

    /// A line for data.
    pub(super) fn of_data(feed: Id, mid: Box<str>) -> Self {
        Self {
            kind: StreamKind::Data,
            codec: "".into(),
            fmtp: None,
            crossref: None,
            source: None,
            data_feeds: BTreeMap::from([(feed, mid)]),
            send: true,
            is_ready: false,
            is_offered_inactive: false,
            layers: LayerTarget::default(),
            delay: Delay::default(),
            route: None,
        }
    }

    /// Takes a source.
    pub(super) fn feed(&mut self, source: Source) {
        self.fmtp.clone_from(&source.stream.fmtp);
        self.layers = LayerTarget::default();
        self.source = Some(source);
    }

    /// Loses its source, and tells which it was.
    pub(super) fn starve(&mut self, cx: &mut Cx<'_>) -> Option<StreamId> {
        self.unroute(cx);
        self.crossref = None;
        self.delay = Delay::default();
        self.is_ready = false;
        self.source.take().map(|source| source.id())
    }

    /// Gets no messages of a publisher any more; tells which stream they were of.
    pub(super) fn forget_data(&mut self, feed: &Id) -> Option<StreamId> {
        let (feed, mid) = self.data_feeds.remove_entry(feed)?;
        Some(StreamId { feed, mid })
    }

    /// What feeds it.
    pub(super) fn streams(&self) -> impl Iterator<Item = StreamId> {
        let data = self.data_feeds.iter().map(|(feed, mid)| StreamId {
            feed: feed.clone(),
            mid: mid.clone(),
        });
        self.source.iter().map(Source::id).chain(data)
    }

    pub(super) fn unroute(&mut self, cx: &mut Cx<'_>) {
        if let Some(route) = self.route.take() {
            cx.media.unroute(route);
        }
    }

    pub(super) fn feed_id(&self) -> Option<&Id> {
        self.source.as_ref().map(|source| &source.feed)
    }

    pub(super) fn is_fed_by(&self, feed: &Id, mid: &str) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| source.feed == *feed && *source.stream.mid == *mid)
            || self
                .data_feeds
                .get(feed)
                .is_some_and(|known| **known == *mid)
    }

    /// What clients call the encoding or spatial layer, and the temporal layer.
    pub(super) fn layer_names(&self) -> [&'static str; 2] {
        let source = self.source.as_ref();
        if source.is_some_and(|source| source.stream.is_svc) {
            ["spatial_layer", "temporal_layer"]
        } else {
            ["substream", "temporal"]
        }
    }

    /// Whether its publisher says that it sends layers, which is when clients hear of them.
    pub(super) fn has_layers(&self) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| source.stream.is_simulcast || source.stream.is_svc)
    }

    pub(super) fn is_active(&self) -> bool {
        let source = self.source.as_ref();
        self.kind == StreamKind::Data || source.is_some_and(|source| !source.stream.is_disabled)
    }

    /// The section as it is offered.
    pub(super) fn offered(&self, index: usize, room: &RoomOptions, use_msid: bool) -> OfferMedia {
        let is_video = self.kind == StreamKind::Video;
        let mid = index.to_string();
        // Codecs without a number of their own cannot be published.
        let mut codec = offered_codec(&self.codec)
            .or_else(|| offered_codec(if is_video { "vp8" } else { "opus" }))
            .expect("these are known");
        codec.fmtp = self.fmtp.as_deref().map(str::to_owned);
        let mut extensions = vec![extension::MID];
        if room.transport_wide_cc_ext {
            codec.feedback.push("transport-cc".to_owned());
            extensions.push(extension::TRANSPORT_CC);
        }
        if is_video {
            extensions.push(extension::ABS_SEND_TIME);
        }
        let stream = self.source.as_ref().map(|source| &source.stream);
        for (uri, id) in [
            (
                extension::AUDIO_LEVEL,
                stream.and_then(|s| s.audiolevel_ext_id),
            ),
            (
                extension::ORIENTATION,
                stream.and_then(|s| s.videoorient_ext_id),
            ),
        ] {
            extensions.extend(id.map(|_| uri));
        }
        // Without it, browsers cannot tell the spatial layers of AV1 apart. Encodings have numbers
        // of their own, so those who are switched between them do better without.
        let is_described = stream.is_some_and(|stream| !stream.is_simulcast);
        if is_described && *self.codec == *"av1" {
            extensions.push(extension::DEPENDENCY_DESCRIPTOR);
        }
        let has_delay = stream.is_some_and(|stream| stream.playoutdelay_ext_id.is_some());
        if is_video && (has_delay || self.delay.both().is_some()) {
            extensions.push(extension::PLAYOUT_DELAY);
        }
        let msid = match (&self.source, use_msid) {
            (Some(source), true) => Msid {
                stream: source.feed.to_string(),
                track: Some(mid.clone()),
            },
            (Some(_) | None, _) => Msid {
                stream: "janus".to_owned(),
                track: Some(format!("janus{mid}")),
            },
        };
        OfferMedia {
            mid,
            codec,
            has_red: stream.is_some_and(|stream| stream.has_red),
            is_video,
            is_active: self.is_active(),
            extensions,
            msid: Some(msid),
            ssrc: 0,
            rtx_ssrc: 0,
        }
    }

    /// The line as the client sees it.
    pub(super) fn json(&self, index: usize, media: &Media) -> Value {
        let mut shown = json!({
            "type": self.kind.as_str(),
            "active": self.is_active(),
            "mindex": index,
            "mid": index.to_string(),
            "ready": self.is_ready,
            "send": self.send,
        });
        if let Some(crossref) = &self.crossref {
            shown["crossrefid"] = (&**crossref).into();
        }
        if !self.data_feeds.is_empty() {
            shown["sources"] = self.data_feeds.len().into();
            shown["source_ids"] = self.data_feeds.keys().map(Id::json).collect();
        }
        let Some(source) = &self.source else {
            return shown;
        };
        let stream = &source.stream;
        shown["feed_id"] = source.feed.json();
        if let Some(display) = &source.display {
            shown["feed_display"] = (&**display).into();
        }
        if let Some(metadata) = &source.metadata {
            shown["feed_metadata"] = metadata.clone();
        }
        shown["feed_mid"] = (&*stream.mid).into();
        if let Some(description) = &stream.description {
            shown["feed_description"] = (&**description).into();
        }
        shown["codec"] = (&*stream.codec).into();
        for (name, profile) in [
            ("h264-profile", &stream.h264_profile),
            ("vp9-profile", &stream.vp9_profile),
        ] {
            if let Some(profile) = profile {
                shown[name] = (&**profile).into();
            }
        }
        if let Some(PlayoutDelay { min, max }) = self.delay.both() {
            shown["playout-delay"] = json!({"min-delay": min, "max-delay": max});
        }
        if stream.is_svc {
            let state = self.route.and_then(|route| media.route_state(route));
            let number = |layer: Option<u8>| layer.map_or(-1, i64::from);
            shown["svc"] = json!({
                "spatial-layer": number(state.and_then(|state| state.substream)),
                "target-spatial-layer": self.layers.substream,
                "temporal-layer": number(state.and_then(|state| state.temporal)),
                "target-temporal-layer": self.layers.temporal,
            });
        }
        if stream.is_simulcast {
            let state = self.route.and_then(|route| media.route_state(route));
            let number = |layer: Option<u8>| layer.map_or(-1, i64::from);
            shown["simulcast"] = json!({
                "substream": number(state.and_then(|state| state.substream)),
                "substream-target": self.layers.substream,
                "temporal-layer": number(state.and_then(|state| state.temporal)),
                "temporal-layer-target": self.layers.temporal,
                "fallback": u64::try_from(self.layers.fallback.as_micros()).unwrap_or(u64::MAX),
            });
        }
        shown
    }
}
