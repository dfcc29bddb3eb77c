//! A handle that joined a room as a publisher.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::base::id::{HandleRef, PeerId};
use crate::config::VideoRoomConfig;
use crate::gateway::plugin::{Cx, Jsep, JsepKind, JsepOut};
use crate::media::{DataForm, Enabled, LineRef, Media, PlayoutDelay, RecordingId, Talking};
use crate::plugins::videoroom::data::Message;
use crate::plugins::videoroom::delay::{Delay, DelayWish};
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::fields::{Fields, Shown};
use crate::plugins::videoroom::ids::{Id, IdForm};
use crate::plugins::videoroom::messages::{HomeAct, Joined, Msg, News, Place, TalkWish};
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::plan::{Forced, PublishWish, locate, publication};
use crate::plugins::videoroom::recording::{Recording, Subject, failure};
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind, own_codecs};

/// Bitrates below it are raised to it, in bit/s.
const BITRATE_MIN: u64 = 64_000;

/// Descriptions that are kept of one publisher: as many as it may have streams.
const DESCRIPTIONS_MAX: usize = 128;

/// A publisher, on the shard of its session.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) room: Id,
    pub(super) id: Id,
    pub(super) private_id: u32,
    options: Arc<RoomOptions>,
    /// It left, was kicked, or the room is gone.
    pub(super) is_out: bool,
    pub(super) bitrate: u64,
    pub(super) display: Option<Box<str>>,
    pub(super) metadata: Option<Value>,
    /// Its media is encrypted end to end.
    e2ee: bool,
    pub(super) talk: TalkWish,
    pub(super) streams: Vec<StreamInfo>,
    /// Lines that the publisher itself has muted.
    muted: Vec<usize>,
    descriptions: Vec<Description>,
    /// How long receivers are to wait, by mid.
    delays: BTreeMap<Box<str>, Delay>,
    /// Those who get its messages.
    pub(super) audience: Vec<Place>,
    /// How many get each stream that somebody gets, by its mid.
    pub(super) subscribers: BTreeMap<Box<str>, u64>,
    pub(super) is_up: bool,
    pub(super) recording: Recording,
}

/// What is to be said of a stream.
#[derive(Clone, Debug)]
pub(super) struct Description {
    mid: Box<str>,
    text: Box<str>,
}

/// What `configure` and its like say.
#[derive(Debug, Default)]
pub(super) struct Settings {
    forced: Forced,
    bitrate: Option<u64>,
    display: Option<Box<str>>,
    metadata: Option<Value>,
    talk: TalkWish,
    record: Option<bool>,
    filename: Option<Box<str>>,
    /// Shown for recordings, where the room is locked.
    secret: Option<Shown>,
    descriptions: Vec<Description>,
    streams: Vec<StreamSettings>,
    audio: Option<bool>,
    video: Option<bool>,
    data: Option<bool>,
}

#[derive(Debug)]
struct StreamSettings {
    mid: Option<Box<str>>,
    send: Option<bool>,
    keyframe: bool,
    delay: DelayWish,
}

impl Settings {
    /// Reads the settings of a plain `join`: what is said of whoever joins. As in Janus, some of what
    /// `joinandconfigure` takes is checked and has no effect, and the rest is not looked at.
    ///
    /// # Errors
    ///
    /// 429 or 430.
    pub(super) fn read_joined(fields: &Fields<'_>) -> Result<Self, Fault> {
        for name in ["audio", "video", "data"] {
            fields.may_flag(name)?;
        }
        fields.may_count("bitrate")?;
        fields.may_flag("record")?;
        fields.may_text("filename")?;
        Ok(Self {
            display: fields.may_label("display")?.map(Box::from),
            metadata: fields.may_metadata()?,
            talk: TalkWish::read_joined(fields),
            descriptions: descriptions(fields)?,
            ..Self::default()
        })
    }

    /// Reads the settings of a message.
    ///
    /// # Errors
    ///
    /// 429 or 430.
    pub(super) fn read(body: &Map<String, Value>, config: &VideoRoomConfig) -> Result<Self, Fault> {
        let form = IdForm::of(config.string_ids);
        let fields = Fields::new(body, form);
        let mut settings = Self {
            audio: fields.may_flag("audio")?,
            video: fields.may_flag("video")?,
            data: fields.may_flag("data")?,
            forced: Forced {
                audio: fields.may_text("audiocodec")?.map(Box::from),
                video: fields.may_text("videocodec")?.map(Box::from),
            },
            bitrate: fields.may_count("bitrate")?.map(|bitrate| match bitrate {
                0 => 0,
                bitrate => bitrate.max(BITRATE_MIN),
            }),
            ..Self::default()
        };
        settings.record = fields.may_flag("record")?;
        settings.filename = fields.may_text("filename")?.map(Box::from);
        settings.secret = Some(fields.shown("secret"));
        settings.display = fields.may_label("display")?.map(Box::from);
        settings.metadata = fields.may_metadata()?;
        settings.talk = TalkWish::read(&fields)?;
        settings.descriptions = descriptions(&fields)?;
        fields.may_flag("update")?;
        fields.may_flag("restart")?;
        match fields.may_array("streams")? {
            Some(array) => {
                let nothing = Map::new();
                for item in array {
                    let item = Fields::new(item.as_object().unwrap_or(&nothing), form);
                    let stream = StreamSettings::read(&item)?;
                    if stream.mid.is_none() && array.len() > 1 {
                        let text = "Invalid value (mid can't be null in a streams array)";
                        return Err(Fault::element(text));
                    }
                    settings.streams.push(stream);
                }
            }
            None => {
                let stream = StreamSettings::read(&fields)?;
                let says_more = stream.keyframe || stream.delay.is_some();
                if stream.mid.is_some() || stream.send.is_some() || says_more {
                    settings.streams.push(stream);
                }
            }
        }
        Ok(settings)
    }

    /// Takes out the names, which joining has told the room of already.
    pub(super) fn take_names(&mut self) -> (Option<Box<str>>, Option<Value>) {
        (self.display.take(), self.metadata.take())
    }

    /// Checks the codecs that are asked for.
    ///
    /// # Errors
    ///
    /// 430 for a codec that the room does not take.
    fn check_codecs(&self, room: &RoomOptions) -> Result<(), Fault> {
        for (forced, list, text) in [
            (
                &self.forced.audio,
                &room.audio_codecs,
                "Audio codec unavailable in this room",
            ),
            (
                &self.forced.video,
                &room.video_codecs,
                "Video codec unavailable in this room",
            ),
        ] {
            if let Some(forced) = forced
                && !list.iter().any(|codec| **codec == **forced)
            {
                return Err(Fault::element(text));
            }
        }
        Ok(())
    }
}

impl StreamSettings {
    fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        Ok(Self {
            mid: fields.may_text("mid")?.map(Box::from),
            send: fields.may_flag("send")?,
            keyframe: fields.may_flag("keyframe")?.unwrap_or(false),
            delay: DelayWish::read(fields)?,
        })
    }
}

impl TalkWish {
    /// Reads what is said of when somebody counts as talking.
    ///
    /// # Errors
    ///
    /// 430.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        Ok(Self {
            active_packets: fields.may_count("audio_active_packets")?,
            level_average: fields.may_count("audio_level_average")?,
        })
    }

    /// Reads the same of somebody who joins. As in Janus, what has a wrong type is not said then.
    pub(super) fn read_joined(fields: &Fields<'_>) -> Self {
        let count = |name| fields.may_count(name).ok().flatten();
        Self {
            active_packets: count("audio_active_packets"),
            level_average: count("audio_level_average"),
        }
    }

    /// Adds what was said.
    pub(super) fn show(self, object: &mut Value) {
        for (name, wish) in [
            ("audio_active_packets", self.active_packets),
            ("audio_level_average", self.level_average),
        ] {
            if let Some(wish) = wish {
                object[name] = wish.into();
            }
        }
    }
}

/// Reads `descriptions`: what is to be said of each mid.
pub(super) fn descriptions(fields: &Fields<'_>) -> Result<Vec<Description>, Fault> {
    let Some(array) = fields.may_array("descriptions")? else {
        return Ok(Vec::new());
    };
    let nothing = Map::new();
    let mut all = Vec::new();
    for item in array {
        let item = Fields::new(item.as_object().unwrap_or(&nothing), IdForm::Numbers);
        all.push(Description {
            mid: item.need_text("mid")?.into(),
            text: item
                .may_label("description")?
                .ok_or_else(|| Fault::missing("description"))?
                .into(),
        });
    }
    Ok(all)
}

impl Publisher {
    pub(super) fn new(room: Id, joined: &Joined) -> Self {
        Self {
            room,
            id: joined.id.clone(),
            private_id: joined.private_id,
            bitrate: joined.room.bitrate,
            e2ee: false,
            talk: joined.talk,
            options: Arc::clone(&joined.room),
            display: None,
            metadata: None,
            is_out: false,
            streams: Vec::new(),
            muted: Vec::new(),
            descriptions: Vec::new(),
            delays: BTreeMap::new(),
            audience: Vec::new(),
            subscribers: BTreeMap::new(),
            is_up: false,
            recording: Recording::default(),
        }
    }

    /// Tells the home of the room something.
    pub(super) fn tell_home(&self, cx: &mut Cx<'_>, act: HomeAct) {
        let room = self.room.clone();
        let home = room.home(cx.shards);
        cx.send(home, Msg::Home { room, act });
    }

    /// Checks that the streams that settings name are published.
    ///
    /// # Errors
    ///
    /// 428.
    pub(super) fn check_mids(&self, settings: &Settings) -> Result<(), Fault> {
        let mut mids = settings.streams.iter().filter_map(|set| set.mid.as_deref());
        let is_there = |mid: &&str| self.streams.iter().any(|stream| *stream.mid == **mid);
        match mids.find(|mid| !is_there(mid)) {
            None => Ok(()),
            Some(mid) => {
                let text = format!("No such mid '{mid}' published");
                Err(Fault::new(Code::NoSuchFeed, text))
            }
        }
    }

    /// Takes over settings that need no session description.
    pub(super) fn apply(&mut self, cx: &mut Cx<'_>, handle: HandleRef, settings: &mut Settings) {
        if let Some(bitrate) = settings.bitrate {
            self.bitrate = self.options.capped(bitrate);
            if let Some(peer) = cx.peer(handle) {
                cx.media.set_bitrate(cx.now, peer, self.bitrate);
            }
        }
        self.talk = TalkWish {
            active_packets: settings.talk.active_packets.or(self.talk.active_packets),
            level_average: settings.talk.level_average.or(self.talk.level_average),
        };
        self.watch(cx);
        let (display, metadata) = settings.take_names();
        if display.is_some() {
            self.display.clone_from(&display);
        }
        if metadata.is_some() {
            self.metadata.clone_from(&metadata);
        }
        if display.is_some() || metadata.is_some() {
            let user = self.id.clone();
            let act = HomeAct::Rename {
                user,
                display,
                metadata,
            };
            self.tell_home(cx, act);
        }
        let has_mids = settings.streams.iter().any(|stream| stream.mid.is_some());
        for (kind, send) in [
            (StreamKind::Audio, settings.audio),
            (StreamKind::Video, settings.video),
            (StreamKind::Data, settings.data),
        ] {
            if let Some(send) = send.filter(|_| !has_mids) {
                self.send_all(cx, send, |stream| stream.kind == kind);
            }
        }
        for setting in &settings.streams {
            if let Some(send) = setting.send {
                let mid = setting.mid.as_deref();
                self.send_all(cx, send, |stream| mid.is_none_or(|mid| mid == &*stream.mid));
            }
            if setting.delay.is_some() {
                self.delay(cx, setting.mid.as_deref(), setting.delay);
            }
            if setting.keyframe {
                let mid = setting.mid.as_deref();
                for stream in &self.streams {
                    if mid.is_none_or(|mid| mid == &*stream.mid) {
                        cx.media.request_keyframe(cx.now, stream.line);
                    }
                }
            }
        }
        self.describe(cx, std::mem::take(&mut settings.descriptions));
        if self.may_record(settings) {
            let filename = settings.filename.take();
            self.recording.wish(settings.record, filename);
        }
        // Streams may have come or gone.
        self.settle_recording(cx, handle);
    }

    /// Whether it may decide on its recordings. If not, what it says of them is passed over.
    fn may_record(&self, settings: &Settings) -> bool {
        let asks = settings.record.is_some() || settings.filename.is_some();
        let lock = self.lock();
        let shown = settings.secret.as_ref();
        asks && shown.is_none_or(|secret| secret.check(lock).is_ok())
    }

    /// What those must know who decide on recordings.
    fn lock(&self) -> Option<&str> {
        let secret = self.options.secret.as_deref();
        secret.filter(|_| self.options.lock_record)
    }

    /// Records what is to be recorded.
    pub(super) fn settle_recording(&mut self, cx: &mut Cx<'_>, handle: HandleRef) {
        if !self.is_up || self.is_out {
            return;
        }
        let subject = Subject {
            room: &self.room,
            user: &self.id,
            options: &self.options,
            streams: &self.streams,
            e2ee: self.e2ee,
        };
        for mindex in self.recording.settle(cx, subject) {
            self.tell_unrecorded(cx, handle, mindex);
        }
    }

    /// The file of one of its recordings could not be written.
    pub(super) fn recording_failed(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        id: RecordingId,
        line: usize,
    ) {
        self.recording.failed(id);
        self.tell_unrecorded(cx, handle, line);
    }

    fn tell_unrecorded(&self, cx: &mut Cx<'_>, handle: HandleRef, mindex: usize) {
        let stream = self.streams.iter().find(|stream| stream.mindex == mindex);
        // Where recordings are locked it would tell whether a secret was the right one.
        if let Some(stream) = stream.filter(|_| self.lock().is_none()) {
            cx.push(handle, None, failure(&self.room, &self.id, stream), None);
        }
    }

    fn describe(&mut self, cx: &mut Cx<'_>, descriptions: Vec<Description>) {
        if descriptions.is_empty() {
            return;
        }
        for new in descriptions {
            let stream = self.streams.iter_mut().find(|stream| stream.mid == new.mid);
            if let Some(stream) = stream {
                stream.description = Some(new.text.clone());
            }
            self.remember(new);
        }
        if !self.streams.is_empty() {
            self.tell_streams(cx);
        }
    }

    fn remember(&mut self, new: Description) {
        self.descriptions.retain(|known| known.mid != new.mid);
        if self.descriptions.len() < DESCRIPTIONS_MAX {
            self.descriptions.push(new);
        }
    }

    fn tell_streams(&self, cx: &mut Cx<'_>) {
        let act = HomeAct::Streams {
            user: self.id.clone(),
            streams: self.streams.clone(),
            e2ee: self.e2ee,
        };
        self.tell_home(cx, act);
    }

    fn delay_of(&self, stream: &StreamInfo) -> Option<PlayoutDelay> {
        self.delays.get(&stream.mid)?.both()
    }

    /// Changes how long receivers are to wait for a stream, or for all that are video.
    fn delay(&mut self, cx: &mut Cx<'_>, mid: Option<&str>, wish: DelayWish) {
        for stream in &self.streams {
            let is_meant = match mid {
                Some(mid) => *stream.mid == *mid,
                None => stream.kind == StreamKind::Video,
            };
            if is_meant {
                let delay = self.delays.entry(stream.mid.clone()).or_default();
                wish.apply(delay);
                cx.media.set_playout_delay(stream.line, delay.both());
            }
        }
    }

    /// Has its streams watched as the room and it want it.
    fn watch(&self, cx: &mut Cx<'_>) {
        for stream in &self.streams {
            self.options.watch(cx, stream, self.talk);
        }
    }

    fn send_all(&mut self, cx: &mut Cx<'_>, send: bool, which: impl Fn(&StreamInfo) -> bool) {
        for stream in self.streams.iter().filter(|stream| which(stream)) {
            self.muted.retain(|line| *line != stream.mindex);
            if !send {
                self.muted.push(stream.mindex);
            }
        }
        self.gate(cx);
    }

    /// A moderator mutes a stream, or lets it pass again.
    pub(super) fn moderate(&mut self, cx: &mut Cx<'_>, mid: &str, mute: bool) {
        for stream in self.streams.iter_mut().filter(|stream| &*stream.mid == mid) {
            stream.is_moderated = mute;
        }
        self.gate(cx);
    }

    /// Lets pass what neither the publisher nor a moderator has muted.
    fn gate(&self, cx: &mut Cx<'_>) {
        for stream in &self.streams {
            let passes = self.passes(stream);
            let enabled = if passes { Enabled::Yes } else { Enabled::No };
            cx.media.set_line_enabled(cx.now, stream.line, enabled);
        }
    }

    fn passes(&self, stream: &StreamInfo) -> bool {
        !stream.is_moderated && !self.muted.contains(&stream.mindex)
    }

    /// Checks an offer before the room is asked for a place.
    ///
    /// # Errors
    ///
    /// 430, 431, 433.
    pub(super) fn check_offer(&self, jsep: &Jsep, settings: &Settings) -> Result<(), Fault> {
        if jsep.kind != JsepKind::Offer {
            return Err(Fault::new(
                Code::InvalidSdpType,
                "Only publishers send offers",
            ));
        }
        settings.check_codecs(&self.options)?;
        if self.options.require_e2ee && !jsep.e2ee {
            let text = "Room requires end-to-end encrypted media";
            return Err(Fault::new(Code::Unauthorized, text));
        }
        Ok(())
    }

    /// Answers an offer. Adds what the client is told of it to `data`.
    ///
    /// # Errors
    ///
    /// 437.
    pub(super) fn negotiate(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        jsep: &Jsep,
        settings: &mut Settings,
        data: &mut Value,
    ) -> Result<JsepOut, Fault> {
        let name = format!("VideoRoom {}", self.room);
        for new in std::mem::take(&mut settings.descriptions) {
            self.remember(new);
        }
        let described = |mid: &str| {
            let known = self.descriptions.iter().find(|known| &*known.mid == mid);
            known.map(|known| known.text.clone())
        };
        let wish = PublishWish {
            forced: &settings.forced,
            rid_order: jsep.options.rid_order,
            svc: &jsep.svc,
        };
        let (plan, mut streams) = publication(&jsep.sdp, &self.options, &name, &wish, described);
        if streams.is_empty() {
            let text = "Can't offer an SDP with no stream";
            return Err(Fault::new(Code::InvalidSdp, text));
        }
        let sdp = cx
            .accept_offer(handle, &jsep.sdp, &plan, jsep.options)
            .map_err(|fault| {
                Fault::new(Code::InvalidSdp, format!("Error parsing offer: {fault}"))
            })?;
        let peer = cx.peer(handle).expect("an accepted offer has a peer");
        locate(&mut streams, peer);
        for stream in &mut streams {
            let before = self.streams.iter().find(|old| old.mid == stream.mid);
            stream.is_moderated = before.is_some_and(|old| old.is_moderated);
        }
        self.streams = streams;
        self.e2ee = jsep.e2ee;
        self.gate(cx);
        self.watch(cx);
        for (key, codec) in own_codecs(&self.streams) {
            data[key] = codec.into();
        }
        data["streams"] = self.streams.iter().map(StreamInfo::own_json).collect();
        self.tell_streams(cx);
        if self.is_up {
            self.tell_published(cx, handle, "updated");
        }
        Ok(JsepOut {
            kind: JsepKind::Answer,
            sdp,
            e2ee: jsep.e2ee,
        })
    }

    /// Takes over the options that the room has by now.
    pub(super) fn refresh(&mut self, cx: &mut Cx<'_>, room: Arc<RoomOptions>) {
        self.options = room;
        self.watch(cx);
    }

    /// Packets of it were lost on the way.
    pub(super) fn tell_slow_link(&self, cx: &mut Cx<'_>, handle: HandleRef) {
        let data = json!({"videoroom": "slow_link", "current-bitrate": self.bitrate});
        cx.push(handle, None, data, None);
    }

    /// It began or ceased to talk.
    pub(super) fn talking(&self, cx: &mut Cx<'_>, line: usize, talking: Talking) {
        if !self.is_out {
            let user = self.id.clone();
            let act = HomeAct::Talking {
                user,
                line,
                talking,
            };
            self.tell_home(cx, act);
        }
    }

    /// The PeerConnection is up.
    pub(super) fn up(&mut self, cx: &mut Cx<'_>, handle: HandleRef) {
        self.is_up = true;
        if let Some(peer) = cx.peer(handle).filter(|_| self.bitrate > 0) {
            cx.media.set_bitrate(cx.now, peer, self.bitrate);
        }
        let user = self.id.clone();
        self.tell_home(cx, HomeAct::Up { user });
        self.tell_published(cx, handle, "published");
        self.settle_recording(cx, handle);
    }

    /// Whose messages they are, if neither it nor a moderator has muted them.
    pub(super) fn peer_of_messages(&self) -> Option<PeerId> {
        self.line_of_messages().map(|line| line.peer)
    }

    fn line_of_messages(&self) -> Option<LineRef> {
        let is_data = |stream: &&StreamInfo| stream.kind == StreamKind::Data;
        let stream = self.streams.iter().find(is_data)?;
        (self.passes(stream) && !self.is_out).then_some(stream.line)
    }

    /// It has sent a message.
    pub(super) fn relay(&self, cx: &mut Cx<'_>, form: DataForm, bytes: &[u8]) {
        let Some(line) = self.line_of_messages() else {
            return;
        };
        cx.media.record_message(cx.now, line, bytes);
        let message = Message {
            form,
            bytes: bytes.into(),
        };
        for place in &self.audience {
            let news = News::Data {
                feed: self.id.clone(),
                message: message.clone(),
            };
            let handle = place.handle;
            cx.send(place.shard, Msg::Member { handle, news });
        }
    }

    /// Nothing is published any more.
    pub(super) fn unpublished(&mut self, cx: &mut Cx<'_>) {
        self.is_up = false;
        self.muted.clear();
        self.delays.clear();
        self.recording.clear();
        if !std::mem::take(&mut self.streams).is_empty() && !self.is_out {
            let user = self.id.clone();
            self.tell_home(cx, HomeAct::Unpublish { user });
        }
    }

    /// Whether something is published, or about to be.
    pub(super) fn publishes(&self) -> bool {
        !self.streams.is_empty()
    }

    /// What the client is told when all is well.
    pub(super) fn configured(&self) -> Value {
        json!({"videoroom": "event", "room": self.room.json(), "configured": "ok"})
    }

    pub(super) fn query(&self, media: &Media) -> Value {
        let streams = self.streams.iter().map(|stream| {
            let mut shown = stream.query_json();
            if let Some(PlayoutDelay { min, max }) = self.delay_of(stream) {
                shown["playout-delay"] = json!({"min-delay": min, "max-delay": max});
            }
            if stream.audiolevel_ext_id.is_some() {
                shown["talking"] = media.talks(stream.line).into();
            }
            if let Some(level) = media.level(stream.line) {
                shown["audio-level-dBov"] = level.into();
            }
            if let Some(file) = self.recording.file(stream.mindex) {
                shown["recording"] = file.into();
            }
            if stream.is_moderated {
                shown["moderated"] = true.into();
            }
            let count = self.subscribers.get(&stream.mid).copied();
            shown["subscribers"] = count.unwrap_or(0).into();
            shown
        });
        self.called(json!({
            "type": "publisher",
            "room": self.room.json(),
            "id": self.id.json(),
            "private_id": self.private_id,
            "bitrate": self.bitrate,
            "e2ee": self.e2ee,
            "streams": streams.collect::<Vec<_>>(),
        }))
    }
}
