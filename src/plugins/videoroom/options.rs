//! What can be set of a room: by `create`, by `edit`, and in the configuration.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{DummyStreamConfig, RoomConfig, Secret};
use crate::gateway::plugin::Cx;
use crate::media::TalkRule;
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::fields::Fields;
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::messages::TalkWish;
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind};

/// Codecs that a room's list holds at most; more are ignored, as Janus does.
const CODECS_MAX: usize = 5;

/// Who talks is found out of so many packets.
const ACTIVE_PACKETS: u64 = 100;

/// An average below it is speech, in -dBov.
const LEVEL_AVERAGE: u64 = 25;

/// Key frames that are wanted less often than once a day are not wanted, in seconds.
const FIR_FREQ_MAX: u64 = 86_400;

/// Tokens of one room; more are refused.
const TOKENS_MAX: usize = 10_000;

/// The least cap of a publisher's bitrate other than none, in bit/s.
const BITRATE_MIN: u64 = 64_000;

pub(super) const AUDIO_CODECS: [&str; 10] = [
    "opus",
    "multiopus",
    "red",
    "isac32",
    "isac16",
    "pcmu",
    "pcma",
    "g722",
    "l16-48",
    "l16",
];
pub(super) const VIDEO_CODECS: [&str; 5] = ["vp8", "vp9", "h264", "av1", "h265"];

/// The options of a room.
#[derive(Clone, Debug)]
pub(super) struct RoomOptions {
    pub(super) description: String,
    pub(super) secret: Option<Box<str>>,
    pub(super) pin: Option<Box<str>>,
    pub(super) is_private: bool,
    /// Tokens of those who may publish.
    pub(super) allowed: BTreeSet<Box<str>>,
    /// Only they may; otherwise everybody.
    pub(super) checks_allowed: bool,
    pub(super) require_pvtid: bool,
    pub(super) require_e2ee: bool,
    pub(super) signed_tokens: bool,
    pub(super) publishers: u64,
    pub(super) bitrate: u64,
    pub(super) bitrate_cap: bool,
    pub(super) fir_freq: u64,
    pub(super) audio_codecs: Vec<String>,
    pub(super) video_codecs: Vec<String>,
    pub(super) vp9_profile: Option<String>,
    pub(super) h264_profile: Option<String>,
    pub(super) opus_fec: bool,
    pub(super) opus_dtx: bool,
    pub(super) audiolevel_ext: bool,
    pub(super) audiolevel_event: bool,
    pub(super) audio_active_packets: u64,
    pub(super) audio_level_average: u64,
    pub(super) videoorient_ext: bool,
    pub(super) playoutdelay_ext: bool,
    pub(super) transport_wide_cc_ext: bool,
    /// Subscribers get the layers that they can receive.
    pub(super) adaptive: bool,
    pub(super) record: bool,
    pub(super) rec_dir: Option<String>,
    /// The operator had no say in it.
    is_rec_dir_of_client: bool,
    pub(super) lock_record: bool,
    pub(super) notify_joining: bool,
    pub(super) dummy_publisher: bool,
    /// What it is there for; otherwise all codecs of the room.
    pub(super) dummy_streams: Option<Vec<DummyStreamConfig>>,
    pub(super) dummy_e2ee: bool,
}

impl RoomOptions {
    fn named(description: String) -> Self {
        Self {
            description,
            secret: None,
            pin: None,
            is_private: false,
            allowed: BTreeSet::new(),
            checks_allowed: false,
            require_pvtid: false,
            require_e2ee: false,
            signed_tokens: false,
            publishers: 3,
            bitrate: 0,
            bitrate_cap: false,
            fir_freq: 0,
            audio_codecs: vec!["opus".to_owned()],
            video_codecs: vec!["vp8".to_owned()],
            vp9_profile: None,
            h264_profile: None,
            opus_fec: true,
            opus_dtx: false,
            audiolevel_ext: true,
            audiolevel_event: false,
            audio_active_packets: ACTIVE_PACKETS,
            audio_level_average: LEVEL_AVERAGE,
            videoorient_ext: true,
            playoutdelay_ext: true,
            transport_wide_cc_ext: true,
            adaptive: true,
            record: false,
            rec_dir: None,
            is_rec_dir_of_client: false,
            lock_record: false,
            notify_joining: false,
            dummy_publisher: false,
            dummy_streams: None,
            dummy_e2ee: false,
        }
    }

    /// Reads the options of `create`. The description is empty if there is none.
    ///
    /// # Errors
    ///
    /// 430 for the first member of the wrong type or value, 499 for too many tokens.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        let mut options = Self::named(String::new());
        let text = |name| Ok::<_, Fault>(fields.may_text(name)?.filter(|text| !text.is_empty()));
        let flag = |name, option: &mut bool| {
            if let Some(flag) = fields.may_flag(name)? {
                *option = flag;
            }
            Ok::<_, Fault>(())
        };
        let count = |name, option: &mut u64| {
            if let Some(count) = fields.may_count(name)? {
                *option = count;
            }
            Ok::<_, Fault>(())
        };
        options.description = fields
            .may_label("description")?
            .unwrap_or_default()
            .to_owned();
        flag("is_private", &mut options.is_private)?;
        if let Some(tokens) = fields.may_texts("allowed")? {
            options.allow(tokens)?;
            options.checks_allowed = true;
        }
        options.secret = text("secret")?.map(Box::from);
        options.pin = text("pin")?.map(Box::from);
        flag("require_pvtid", &mut options.require_pvtid)?;
        flag("signed_tokens", &mut options.signed_tokens)?;
        count("bitrate", &mut options.bitrate)?;
        flag("bitrate_cap", &mut options.bitrate_cap)?;
        count("fir_freq", &mut options.fir_freq)?;
        count("publishers", &mut options.publishers)?;
        if let Some(list) = text("audiocodec")? {
            options.audio_codecs = codecs(list, &AUDIO_CODECS).ok_or_else(audio_fault)?;
        }
        if let Some(list) = text("videocodec")? {
            options.video_codecs = codecs(list, &VIDEO_CODECS).ok_or_else(video_fault)?;
        }
        options.vp9_profile = text("vp9_profile")?.map(str::to_owned);
        options.h264_profile = text("h264_profile")?.map(str::to_owned);
        flag("opus_fec", &mut options.opus_fec)?;
        flag("opus_dtx", &mut options.opus_dtx)?;
        flag("audiolevel_ext", &mut options.audiolevel_ext)?;
        flag("audiolevel_event", &mut options.audiolevel_event)?;
        count("audio_active_packets", &mut options.audio_active_packets)?;
        count("audio_level_average", &mut options.audio_level_average)?;
        flag("videoorient_ext", &mut options.videoorient_ext)?;
        flag("playoutdelay_ext", &mut options.playoutdelay_ext)?;
        flag("transport_wide_cc_ext", &mut options.transport_wide_cc_ext)?;
        flag("adaptive", &mut options.adaptive)?;
        flag("record", &mut options.record)?;
        options.rec_dir = text("rec_dir")?.map(str::to_owned);
        options.is_rec_dir_of_client = options.rec_dir.is_some();
        flag("lock_record", &mut options.lock_record)?;
        flag("notify_joining", &mut options.notify_joining)?;
        flag("require_e2ee", &mut options.require_e2ee)?;
        flag("dummy_publisher", &mut options.dummy_publisher)?;
        options.dummy_streams = fields.may_array("dummy_streams")?.map(dummy_streams);
        flag("dummy_e2ee", &mut options.dummy_e2ee)?;
        // Helper threads have no counterpart here.
        fields.may_count("threads")?;
        options.settle();
        Ok(options)
    }

    /// Adds tokens of those who may publish.
    ///
    /// # Errors
    ///
    /// 499 if there are too many.
    pub(super) fn allow(&mut self, tokens: Vec<Box<str>>) -> Result<(), Fault> {
        if self.allowed.len() + tokens.len() > TOKENS_MAX {
            return Err(Fault::new(Code::Unknown, "Too many tokens"));
        }
        self.allowed.extend(tokens);
        Ok(())
    }

    /// Reads a room of the configuration. What cannot be read has its default, and is named.
    pub(super) fn configured(room: &RoomConfig) -> (Self, Vec<String>) {
        let mut options = Self::named(room.id.clone());
        let mut odd = Vec::new();
        for (name, value) in &room.settings {
            if !options.configure(name, value.expose()) {
                odd.push(name.clone());
            }
        }
        options.dummy_streams.clone_from(&room.dummy_streams);
        options.settle();
        (options, odd)
    }

    fn configure(&mut self, name: &str, value: &str) -> bool {
        let flag = matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "1");
        let filled = (!value.is_empty()).then_some(value);
        let count = |option: &mut u64| match value.parse() {
            Ok(count) => {
                *option = count;
                true
            }
            Err(_) => false,
        };
        let set = |option: &mut bool| {
            *option = flag;
            true
        };
        match name {
            "description" => filled.is_none_or(|text| {
                self.description = text.to_owned();
                true
            }),
            "secret" => {
                self.secret = filled.map(Box::from);
                true
            }
            "pin" => {
                self.pin = filled.map(Box::from);
                true
            }
            "audiocodec" | "videocodec" => {
                let (known, option) = if name == "audiocodec" {
                    (&AUDIO_CODECS[..], &mut self.audio_codecs)
                } else {
                    (&VIDEO_CODECS[..], &mut self.video_codecs)
                };
                let list = codecs(value, known);
                let is_known = list.is_some();
                *option = list.unwrap_or_else(|| option.clone());
                is_known
            }
            "vp9_profile" => {
                self.vp9_profile = filled.map(str::to_owned);
                true
            }
            "h264_profile" => {
                self.h264_profile = filled.map(str::to_owned);
                true
            }
            "rec_dir" => {
                self.rec_dir = filled.map(str::to_owned);
                true
            }
            RoomConfig::REC_DIR_OF_CLIENT => {
                self.is_rec_dir_of_client = true;
                true
            }
            "is_private" => set(&mut self.is_private),
            "require_pvtid" => set(&mut self.require_pvtid),
            "require_e2ee" => set(&mut self.require_e2ee),
            "signed_tokens" => set(&mut self.signed_tokens),
            "bitrate_cap" => set(&mut self.bitrate_cap),
            "opus_fec" => set(&mut self.opus_fec),
            "opus_dtx" => set(&mut self.opus_dtx),
            "audiolevel_ext" => set(&mut self.audiolevel_ext),
            "audiolevel_event" => set(&mut self.audiolevel_event),
            "videoorient_ext" => set(&mut self.videoorient_ext),
            "playoutdelay_ext" => set(&mut self.playoutdelay_ext),
            "transport_wide_cc_ext" => set(&mut self.transport_wide_cc_ext),
            "adaptive" => set(&mut self.adaptive),
            "record" => set(&mut self.record),
            "lock_record" => set(&mut self.lock_record),
            "notify_joining" => set(&mut self.notify_joining),
            "dummy_publisher" => set(&mut self.dummy_publisher),
            "dummy_e2ee" => set(&mut self.dummy_e2ee),
            "publishers" => count(&mut self.publishers),
            "bitrate" => count(&mut self.bitrate),
            "fir_freq" => count(&mut self.fir_freq),
            "audio_active_packets" => count(&mut self.audio_active_packets),
            "audio_level_average" => count(&mut self.audio_level_average),
            // Helper threads have no counterpart here.
            "threads" => true,
            _ => false,
        }
    }

    /// Makes options agree with each other.
    fn settle(&mut self) {
        self.bitrate = raised(self.bitrate);
        if self.audio_active_packets == 0 {
            self.audio_active_packets = ACTIVE_PACKETS;
        }
        if self.audio_level_average == 0 {
            self.audio_level_average = LEVEL_AVERAGE;
        }
        let has = |list: &[String], name: &str| list.iter().any(|codec| codec == name);
        if !has(&self.video_codecs, "vp9") {
            self.vp9_profile = None;
        }
        if !has(&self.video_codecs, "h264") {
            self.h264_profile = None;
        }
        self.opus_fec &= has(&self.audio_codecs, "opus");
    }

    /// The bitrate that a publisher gets that asks for one.
    pub(super) fn capped(&self, bitrate: u64) -> u64 {
        match (self.bitrate_cap && self.bitrate > 0, bitrate) {
            (true, 0) => self.bitrate,
            (true, bitrate) => bitrate.min(self.bitrate),
            (false, bitrate) => bitrate,
        }
    }

    /// Has a stream watched on the shard where its packets come in: who talks, and key frames.
    pub(super) fn watch(&self, cx: &mut Cx<'_>, stream: &StreamInfo, wish: TalkWish) {
        match stream.kind {
            StreamKind::Audio => {
                let or = |wish: Option<u64>, room| wish.filter(|wish| *wish > 0).unwrap_or(room);
                let packets = or(wish.active_packets, self.audio_active_packets);
                let threshold = or(wish.level_average, self.audio_level_average);
                let rule = TalkRule {
                    packets_count: u32::try_from(packets).unwrap_or(u32::MAX),
                    threshold: u8::try_from(threshold).unwrap_or(u8::MAX),
                };
                let is_heard = self.audiolevel_event && stream.audiolevel_ext_id.is_some();
                cx.media.listen(stream.line, is_heard.then_some(rule));
            }
            StreamKind::Data => {}
            StreamKind::Video => {
                let interval = Duration::from_secs(self.fir_freq.min(FIR_FREQ_MAX));
                let interval = Some(interval).filter(|interval| !interval.is_zero());
                cx.media.refresh(cx.now, stream.line, interval);
            }
        }
    }

    /// The options as a configuration file has them. What is not there has its default, so only
    /// what differs from it is written, and what everybody looks for.
    pub(super) fn written(&self, id: &Id) -> RoomConfig {
        let mut all = vec![
            ("description", self.description.clone()),
            ("publishers", self.publishers.to_string()),
            ("bitrate", self.bitrate.to_string()),
            ("audiocodec", self.audio_codecs.join(",")),
            ("videocodec", self.video_codecs.join(",")),
        ];
        let defaults = Self::named(String::new());
        let mut flag = |name, get: fn(&Self) -> bool| {
            if get(self) != get(&defaults) {
                let word = if get(self) { "true" } else { "false" };
                all.push((name, word.to_owned()));
            }
        };
        flag("is_private", |room| room.is_private);
        flag("require_pvtid", |room| room.require_pvtid);
        flag("require_e2ee", |room| room.require_e2ee);
        flag("signed_tokens", |room| room.signed_tokens);
        flag("bitrate_cap", |room| room.bitrate_cap);
        flag("opus_fec", |room| room.opus_fec);
        flag("opus_dtx", |room| room.opus_dtx);
        flag("audiolevel_ext", |room| room.audiolevel_ext);
        flag("audiolevel_event", |room| room.audiolevel_event);
        flag("videoorient_ext", |room| room.videoorient_ext);
        flag("playoutdelay_ext", |room| room.playoutdelay_ext);
        flag("transport_wide_cc_ext", |room| room.transport_wide_cc_ext);
        flag("adaptive", |room| room.adaptive);
        flag("record", |room| room.record);
        flag("lock_record", |room| room.lock_record);
        flag("notify_joining", |room| room.notify_joining);
        flag("dummy_publisher", |room| room.dummy_publisher);
        flag("dummy_e2ee", |room| room.dummy_e2ee);
        flag(RoomConfig::REC_DIR_OF_CLIENT, |room| {
            room.is_rec_dir_of_client
        });
        let mut text = |name, option: Option<&str>| {
            all.extend(option.map(|text| (name, text.to_owned())));
        };
        text("secret", self.secret.as_deref());
        text("pin", self.pin.as_deref());
        text("vp9_profile", self.vp9_profile.as_deref());
        text("h264_profile", self.h264_profile.as_deref());
        text("rec_dir", self.rec_dir.as_deref());
        for (name, count, default) in [
            ("fir_freq", self.fir_freq, 0),
            (
                "audio_active_packets",
                self.audio_active_packets,
                ACTIVE_PACKETS,
            ),
            (
                "audio_level_average",
                self.audio_level_average,
                LEVEL_AVERAGE,
            ),
        ] {
            if count != default {
                all.push((name, count.to_string()));
            }
        }
        let setting = |(name, value): (&str, String)| (name.to_owned(), Secret::new(value));
        RoomConfig {
            id: id.to_string(),
            settings: all.into_iter().map(setting).collect(),
            dummy_streams: self.dummy_streams.clone(),
        }
    }

    /// The room as `list` shows it.
    pub(super) fn listed(&self, room: &Id, participants: usize) -> Value {
        let mut entry = json!({
            "room": room.json(),
            "description": self.description,
            "pin_required": self.pin.is_some(),
            "is_private": self.is_private,
            "max_publishers": self.publishers,
            "bitrate": self.bitrate,
            "fir_freq": self.fir_freq,
            "require_pvtid": self.require_pvtid,
            "require_e2ee": self.require_e2ee,
            "dummy_publisher": self.dummy_publisher,
            "notify_joining": self.notify_joining,
            "audiocodec": self.audio_codecs.join(","),
            "videocodec": self.video_codecs.join(","),
            "record": self.record,
            "lock_record": self.lock_record,
            "num_participants": participants,
            "audiolevel_ext": self.audiolevel_ext,
            "audiolevel_event": self.audiolevel_event,
            "videoorient_ext": self.videoorient_ext,
            "playoutdelay_ext": self.playoutdelay_ext,
            "transport_wide_cc_ext": self.transport_wide_cc_ext,
        });
        for (name, flag) in [
            ("bitrate_cap", self.bitrate_cap),
            ("opus_fec", self.opus_fec),
            ("opus_dtx", self.opus_dtx),
        ] {
            if flag {
                entry[name] = true.into();
            }
        }
        if let Some(rec_dir) = &self.rec_dir {
            entry["rec_dir"] = rec_dir.as_str().into();
        }
        if self.audiolevel_event {
            entry["audio_active_packets"] = self.audio_active_packets.into();
            entry["audio_level_average"] = self.audio_level_average.into();
        }
        entry
    }
}

/// What `edit` changes; the rest stays.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    description: Option<String>,
    secret: Option<Box<str>>,
    pin: Option<Box<str>>,
    is_private: Option<bool>,
    require_pvtid: Option<bool>,
    bitrate: Option<u64>,
    fir_freq: Option<u64>,
    publishers: Option<u64>,
    lock_record: Option<bool>,
    rec_dir: Option<String>,
}

impl Edit {
    /// Reads the changes of `edit`. Empty texts change nothing.
    ///
    /// # Errors
    ///
    /// 430 for the first member of the wrong type.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        let text = |name| Ok::<_, Fault>(fields.may_text(name)?.filter(|text| !text.is_empty()));
        Ok(Self {
            description: fields
                .may_label("new_description")?
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
            is_private: fields.may_flag("new_is_private")?,
            secret: text("new_secret")?.map(Box::from),
            pin: text("new_pin")?.map(Box::from),
            require_pvtid: fields.may_flag("new_require_pvtid")?,
            bitrate: fields.may_count("new_bitrate")?,
            fir_freq: fields.may_count("new_fir_freq")?,
            publishers: fields.may_count("new_publishers")?,
            lock_record: fields.may_flag("new_lock_record")?,
            rec_dir: fields.may_text("new_rec_dir")?.map(str::to_owned),
        })
    }

    pub(super) fn apply(self, options: &mut RoomOptions) {
        fn take<T>(option: &mut T, new: Option<T>) {
            if let Some(new) = new {
                *option = new;
            }
        }
        take(&mut options.description, self.description);
        take(&mut options.is_private, self.is_private);
        take(&mut options.secret, self.secret.map(Some));
        take(&mut options.pin, self.pin.map(Some));
        take(&mut options.require_pvtid, self.require_pvtid);
        take(&mut options.bitrate, self.bitrate.map(raised));
        take(&mut options.fir_freq, self.fir_freq);
        take(&mut options.publishers, self.publishers);
        take(&mut options.lock_record, self.lock_record);
        if self.rec_dir.is_some() && self.rec_dir != options.rec_dir {
            options.rec_dir = self.rec_dir;
            options.is_rec_dir_of_client = true;
        }
    }
}

/// Reads `dummy_streams`. As in Janus, items without a codec are passed over.
fn dummy_streams(array: &[Value]) -> Vec<DummyStreamConfig> {
    let streams = array.iter().filter_map(|item| {
        let text = |name| item.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(DummyStreamConfig {
            codec: text("codec")?,
            fmtp: text("fmtp"),
        })
    });
    streams.collect()
}

const fn raised(bitrate: u64) -> u64 {
    if bitrate > 0 && bitrate < BITRATE_MIN {
        BITRATE_MIN
    } else {
        bitrate
    }
}

/// A list of codecs with commas in between, or nothing if one is not known.
fn codecs(list: &str, known: &[&str]) -> Option<Vec<String>> {
    let names = list.split(',').take(CODECS_MAX);
    let known = |name: &str| known.contains(&name).then(|| name.to_owned());
    names.map(known).collect()
}

fn audio_fault() -> Fault {
    Fault::element(
        "Invalid element (audiocodec can only be or contain opus, isac32, isac16, pcmu, pcma or g722)",
    )
}

fn video_fault() -> Fault {
    Fault::element(
        "Invalid element (videocodec can only be or contain vp8, vp9, av1, h264 or h265)",
    )
}
