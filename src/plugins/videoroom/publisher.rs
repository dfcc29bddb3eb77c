//! A handle that joined a room as a publisher.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::base::id::{HandleRef, PeerId};
use crate::config::VideoRoomConfig;
use crate::gateway::plugin::{Cx, Jsep, JsepKind, JsepOut};
use crate::media::{DataForm, Enabled};
use crate::plugins::videoroom::data::Message;
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::fields::Fields;
use crate::plugins::videoroom::ids::{Id, IdForm};
use crate::plugins::videoroom::messages::{HomeAct, Joined, Msg, News, Place};
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::plan::{Forced, locate, publication};
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind, first_codec};

/// Bitrates below it are raised to it, in bit/s.
const BITRATE_MIN: u64 = 64_000;

/// A publisher, on the shard of its session.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) room: Id,
    pub(super) id: Id,
    pub(super) private_id: u32,
    options: Arc<RoomOptions>,
    /// It left, was kicked, or the room is gone.
    pub(super) is_out: bool,
    bitrate: u64,
    streams: Vec<StreamInfo>,
    /// Lines that the publisher itself has muted.
    muted: Vec<usize>,
    descriptions: Vec<Description>,
    /// Those who get its messages.
    pub(super) audience: Vec<Place>,
    pub(super) is_up: bool,
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
}

impl Settings {
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
        fields.may_flag("record")?;
        fields.may_text("filename")?;
        settings.display = fields.may_text("display")?.map(Box::from);
        settings.metadata = fields.may_object("metadata")?.cloned();
        fields.may_count("audio_active_packets")?;
        fields.may_count("audio_level_average")?;
        settings.descriptions = descriptions(&fields)?;
        fields.may_flag("update")?;
        fields.may_flag("restart")?;
        match fields.may_array("streams")? {
            Some(array) => {
                for item in array {
                    let Value::Object(item) = item else {
                        return Err(Fault::wrong_type("streams", "an array"));
                    };
                    let item = Fields::new(item, form);
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
                if stream.mid.is_some() || stream.send.is_some() || stream.keyframe {
                    settings.streams.push(stream);
                }
            }
        }
        Ok(settings)
    }

    /// Leaves out what joining has taken over already.
    pub(super) fn forget_names(&mut self) {
        self.display = None;
        self.metadata = None;
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
        })
    }
}

/// Reads `descriptions`: what is to be said of each mid.
pub(super) fn descriptions(fields: &Fields<'_>) -> Result<Vec<Description>, Fault> {
    let Some(array) = fields.may_array("descriptions")? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for item in array {
        let Value::Object(item) = item else {
            return Err(Fault::wrong_type("descriptions", "an array"));
        };
        let item = Fields::new(item, IdForm::Numbers);
        all.push(Description {
            mid: item.need_text("mid")?.into(),
            text: item.need_text("description")?.into(),
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
            options: Arc::clone(&joined.room),
            is_out: false,
            streams: Vec::new(),
            muted: Vec::new(),
            descriptions: Vec::new(),
            audience: Vec::new(),
            is_up: false,
        }
    }

    /// Tells the home of the room something.
    pub(super) fn tell_home(&self, cx: &mut Cx<'_>, act: HomeAct) {
        let room = self.room.clone();
        let home = room.home(cx.shards);
        cx.send(home, Msg::Home { room, act });
    }

    /// Takes over settings that need no session description.
    pub(super) fn apply(&mut self, cx: &mut Cx<'_>, handle: HandleRef, settings: &mut Settings) {
        if let Some(bitrate) = settings.bitrate {
            self.bitrate = bitrate;
            if let Some(peer) = cx.peer(handle).filter(|_| bitrate > 0) {
                cx.media.set_bitrate(cx.now, peer, bitrate);
            }
        }
        let (display, metadata) = (settings.display.take(), settings.metadata.take());
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
            let (user, streams) = (self.id.clone(), self.streams.clone());
            self.tell_home(cx, HomeAct::Streams { user, streams });
        }
    }

    fn remember(&mut self, new: Description) {
        self.descriptions.retain(|known| known.mid != new.mid);
        self.descriptions.push(new);
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
        let (plan, mut streams) =
            publication(&jsep.sdp, &self.options, &name, &settings.forced, described);
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
        self.gate(cx);
        for (key, kind) in [
            ("audio_codec", StreamKind::Audio),
            ("video_codec", StreamKind::Video),
        ] {
            if let Some(codec) = first_codec(&self.streams, kind) {
                data[key] = codec.into();
            }
        }
        data["streams"] = self.streams.iter().map(StreamInfo::own_json).collect();
        let (user, streams) = (self.id.clone(), self.streams.clone());
        self.tell_home(cx, HomeAct::Streams { user, streams });
        Ok(JsepOut {
            kind: JsepKind::Answer,
            sdp,
            e2ee: jsep.e2ee,
        })
    }

    /// Takes over the options that the room has when it gives a place.
    pub(super) fn refresh(&mut self, room: Arc<RoomOptions>) {
        self.options = room;
    }

    /// The PeerConnection is up.
    pub(super) fn up(&mut self, cx: &mut Cx<'_>, handle: HandleRef) {
        self.is_up = true;
        if let Some(peer) = cx.peer(handle).filter(|_| self.bitrate > 0) {
            cx.media.set_bitrate(cx.now, peer, self.bitrate);
        }
        let user = self.id.clone();
        self.tell_home(cx, HomeAct::Up { user });
    }

    /// Whose messages they are, if neither it nor a moderator has muted them.
    pub(super) fn peer_of_messages(&self) -> Option<PeerId> {
        let is_data = |stream: &&StreamInfo| stream.kind == StreamKind::Data;
        let stream = self.streams.iter().find(is_data)?;
        (self.passes(stream) && !self.is_out).then_some(stream.line.peer)
    }

    /// It has sent a message.
    pub(super) fn relay(&self, cx: &mut Cx<'_>, form: DataForm, bytes: &[u8]) {
        if self.peer_of_messages().is_none() {
            return;
        }
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

    pub(super) fn query(&self) -> Value {
        let streams: Vec<Value> = self.streams.iter().map(StreamInfo::own_json).collect();
        json!({
            "type": "publisher",
            "room": self.room.json(),
            "id": self.id.json(),
            "private_id": self.private_id,
            "bitrate": self.bitrate,
            "streams": streams,
        })
    }
}
