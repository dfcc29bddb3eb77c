//! Publishers of other gateways: how requests about them are read, and how their sockets are had.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::base::id::{PeerId, ShardId, SockId};
use crate::gateway::plugin::{Cx, Ticket};
use crate::media::{ExtensionIds, LineRef, SourceLine, SourceSpec, SrtpKeys, TrackKind};
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::fields::Fields;
use crate::plugins::videoroom::forward::{Host, may_port, srtp};
use crate::plugins::videoroom::ids::{Id, IdForm};
use crate::plugins::videoroom::manage::RoomAction;
use crate::plugins::videoroom::options::{AUDIO_CODECS, VIDEO_CODECS};
use crate::plugins::videoroom::plan::has_layers;
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind};

/// `add_remote_publisher`.
#[derive(Debug)]
pub(super) struct AddRemote {
    pub(super) id: Option<Id>,
    pub(super) display: Option<Box<str>>,
    pub(super) metadata: Option<Value>,
    /// Where packets come in, if it matters.
    pub(super) interface: Option<Host>,
    pub(super) port: Option<u16>,
    pub(super) srtp: Option<SrtpKeys>,
    pub(super) streams: Vec<RemoteStream>,
}

/// `update_remote_publisher`.
#[derive(Debug)]
pub(super) struct UpdateRemote {
    pub(super) id: Id,
    pub(super) display: Option<Box<str>>,
    pub(super) metadata: Option<Value>,
    pub(super) srtp: Option<SrtpKeys>,
    pub(super) streams: Vec<RemoteStream>,
}

/// A stream as the other gateway describes it. Its number is its position.
#[derive(Clone, Debug)]
pub(super) struct RemoteStream {
    pub(super) mid: Box<str>,
    /// Without its place; its number and mid are given by [`RemoteStream::at`].
    info: StreamInfo,
    ids: ExtensionIds,
}

/// Streams of one publisher; more are refused.
const STREAMS_MAX: usize = 128;

/// Pairs of ports that are tried before giving up. With half of the range taken, one request in
/// 65,000 fails.
const TRIES_MAX: u32 = 16;

/// Publishers whose sockets are being opened. More are refused.
const OPENING_MAX: usize = 64;

/// Reads a request about publishers of other gateways; `None` if it is another one.
pub(super) fn read(name: &str, fields: &Fields<'_>) -> Option<Result<RoomAction, Fault>> {
    Some(match name {
        "add_remote_publisher" => add(fields),
        "remove_remote_publisher" => {
            let id = fields.need_id("id");
            id.map(|id| RoomAction::RemoveRemote { id })
        }
        "update_remote_publisher" => update(fields),
        _ => return None,
    })
}

fn add(fields: &Fields<'_>) -> Result<RoomAction, Fault> {
    let id = fields.may_id("id")?.filter(Id::is_chosen);
    let display = fields.may_label("display")?.map(Box::from);
    let metadata = fields.may_metadata()?;
    if fields
        .may_text("mcast")?
        .is_some_and(|group| !group.is_empty())
    {
        return Err(Fault::element("Invalid element (mcast is not supported)"));
    }
    let interface = fields.may_text("iface")?.filter(|name| !name.is_empty());
    let interface = interface.map(Host::interface);
    let port = may_port(fields, "port")?;
    let srtp = srtp(fields)?;
    let streams = streams(fields)?;
    Ok(RoomAction::AddRemote(Box::new(AddRemote {
        id,
        display,
        metadata,
        interface,
        port,
        srtp,
        streams,
    })))
}

fn update(fields: &Fields<'_>) -> Result<RoomAction, Fault> {
    Ok(RoomAction::UpdateRemote(Box::new(UpdateRemote {
        id: fields.need_id("id")?,
        display: fields.may_label("display")?.map(Box::from),
        metadata: fields.may_metadata()?,
        srtp: srtp(fields)?,
        streams: streams(fields)?,
    })))
}

fn streams(fields: &Fields<'_>) -> Result<Vec<RemoteStream>, Fault> {
    let array = fields.may_array("streams")?;
    let array = array.ok_or_else(|| Fault::missing("streams"))?;
    if array.is_empty() {
        return Err(Fault::element(
            "Invalid element value (streams can't be empty)",
        ));
    }
    if array.len() > STREAMS_MAX {
        return Err(Fault::element("Invalid element value (too many streams)"));
    }
    array.iter().map(RemoteStream::read).collect()
}

impl RemoteStream {
    fn read(item: &Value) -> Result<Self, Fault> {
        let Value::Object(item) = item else {
            return Err(Fault::wrong_type("streams", "an array"));
        };
        let fields = Fields::new(item, IdForm::Numbers);
        let mid: Box<str> = fields.need_text("mid")?.into();
        let kind = match fields.need_text("type")? {
            "audio" => StreamKind::Audio,
            "data" => StreamKind::Data,
            "video" => StreamKind::Video,
            _ => return Err(Fault::element("Invalid element value (type)")),
        };
        let mindex = fields.may_count("mindex")?;
        mindex.ok_or_else(|| Fault::missing("mindex"))?;
        let known: &[&str] = match kind {
            StreamKind::Audio => &AUDIO_CODECS,
            StreamKind::Data => &[],
            StreamKind::Video => &VIDEO_CODECS,
        };
        let codec = fields
            .may_text("codec")?
            .filter(|_| kind != StreamKind::Data);
        let codec = match codec {
            None if kind == StreamKind::Data => "",
            None => return Err(Fault::missing("codec")),
            Some(codec) if known.contains(&codec) => codec,
            Some(_) => {
                let text = "Invalid element value (unsupported codec)";
                return Err(Fault::new(Code::MissingElement, text));
            }
        };
        let flag = |name| Ok::<_, Fault>(fields.may_flag(name)?.unwrap_or(false));
        let text = |name| Ok::<_, Fault>(fields.may_text(name)?.map(Box::<str>::from));
        let extension = |name: &str| {
            let id = fields.may_count(name)?.and_then(|id| u8::try_from(id).ok());
            Ok::<_, Fault>(id.filter(|id| *id > 0))
        };
        let nowhere = LineRef {
            peer: PeerId(0),
            line: 0,
        };
        let mut info = StreamInfo::new(kind, 0, "".into(), nowhere);
        info.description = text("description")?;
        info.codec = codec.into();
        info.is_disabled = flag("disabled")?;
        info.is_simulcast = flag("simulcast")? && kind == StreamKind::Video;
        info.is_svc = flag("svc")? && has_layers(codec) && !info.is_simulcast;
        info.has_fec = flag("fec")?;
        info.has_dtx = flag("dtx")?;
        info.is_stereo = flag("stereo")?;
        info.h264_profile = text("h264_profile")?;
        info.vp9_profile = text("vp9_profile")?;
        info.audiolevel_ext_id = extension("audiolevel_ext_id")?;
        info.videoorient_ext_id = extension("videoorient_ext_id")?;
        info.playoutdelay_ext_id = extension("playoutdelay_ext_id")?;
        info.dependencydesc_ext_id =
            extension("dependencydesc_ext_id")?.filter(|_| has_layers(codec));
        info.fmtp = fmtp(&info);
        let ids = ExtensionIds {
            audio_level: info.audiolevel_ext_id,
            dependencies: info.dependencydesc_ext_id,
            orientation: info.videoorient_ext_id,
            playout_delay: info.playoutdelay_ext_id,
        };
        Ok(Self { mid, info, ids })
    }

    /// The stream at a position of a publisher.
    pub(super) fn at(&self, peer: PeerId, position: usize) -> StreamInfo {
        StreamInfo {
            mindex: position,
            mid: position.to_string().into(),
            line: LineRef {
                peer,
                line: position,
            },
            ..self.info.clone()
        }
    }

    pub(super) fn line(&self) -> SourceLine {
        SourceLine {
            kind: match self.info.kind {
                StreamKind::Audio => Some(TrackKind::Audio),
                StreamKind::Data => None,
                StreamKind::Video => Some(TrackKind::Video),
            },
            codec: self.info.codec.to_string(),
            is_simulcast: self.info.is_simulcast,
            ids: self.ids,
        }
    }

    pub(super) const fn is_disabled(&self) -> bool {
        self.info.is_disabled
    }

    pub(super) const fn description(&self) -> Option<&str> {
        match &self.info.description {
            Some(text) => Some(text),
            None => None,
        }
    }
}

/// The parameters that subscribers are offered a codec with.
fn fmtp(info: &StreamInfo) -> Option<Box<str>> {
    match &*info.codec {
        "opus" => {
            let parameters = [
                ("useinbandfec=1", info.has_fec),
                ("usedtx=1", info.has_dtx),
                ("stereo=1", info.is_stereo),
            ];
            let taken = parameters.iter().filter(|(_, is_taken)| *is_taken);
            let taken: Vec<&str> = taken.map(|(parameter, _)| *parameter).collect();
            (!taken.is_empty()).then(|| taken.join(";").into())
        }
        "h264" => {
            let profile = info.h264_profile.as_deref().unwrap_or("42e01f");
            let rest = "level-asymmetry-allowed=1;packetization-mode=1";
            Some(format!("profile-level-id={profile};{rest}").into())
        }
        "vp9" => {
            let profile = info.vp9_profile.as_deref()?;
            Some(format!("profile-id={profile}").into())
        }
        _ => None,
    }
}

/// Publishers whose sockets are being opened, on the home of their rooms.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    opening: Vec<Opening>,
}

/// A publisher whose sockets are being opened.
#[derive(Debug)]
pub(super) struct Opening {
    /// Who asked, and by which ticket.
    pub(super) asked: (Ticket, ShardId),
    pub(super) room: Id,
    pub(super) add: AddRemote,
    /// Where to bind, and how others reach it.
    address: (IpAddr, IpAddr),
    rtp: Half,
    rtcp: Half,
    tries_count: u32,
}

/// One of the two sockets.
#[derive(Clone, Copy, Debug)]
struct Half {
    sock: SockId,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Failed,
    Open(u16),
    Opening,
}

/// What became of an [`Opening`].
#[derive(Debug)]
pub(super) enum Opened {
    /// No port could be had.
    Failed(Opening, Fault),
    /// The socket is none of those that are being opened.
    NotOurs,
    /// Both sockets are open.
    Ready(Opening),
    /// More is to come.
    Waits,
}

impl Arrivals {
    /// Begins to take in a publisher.
    ///
    /// # Errors
    ///
    /// 499.
    pub(super) fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        asked: (Ticket, ShardId),
        room: Id,
        add: AddRemote,
    ) -> Result<(), Fault> {
        let address = match &add.interface {
            Some(interface) => {
                let ip = interface.address.ok_or_else(|| interface.unresolved())?;
                (ip, ip)
            }
            None => cx.media.plain_address().ok_or_else(no_socket)?,
        };
        if self.opening.len() >= OPENING_MAX {
            return Err(no_socket());
        }
        let (rtp, rtcp) = open_pair(cx, address.0, add.port)?;
        self.opening.push(Opening {
            asked,
            room,
            add,
            address,
            rtp,
            rtcp,
            tries_count: 1,
        });
        Ok(())
    }

    /// Takes in what became of a socket.
    pub(super) fn opened(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        bound: Option<SocketAddr>,
    ) -> Opened {
        let has_it = |opening: &Opening| opening.rtp.sock == sock || opening.rtcp.sock == sock;
        let Some(at) = self.opening.iter().position(has_it) else {
            return Opened::NotOurs;
        };
        let opening = &mut self.opening[at];
        let half = if opening.rtp.sock == sock {
            &mut opening.rtp
        } else {
            &mut opening.rtcp
        };
        half.stage = bound.map_or(Stage::Failed, |bound| Stage::Open(bound.port()));
        match (opening.rtp.stage, opening.rtcp.stage) {
            (Stage::Opening, _) | (_, Stage::Opening) => Opened::Waits,
            (Stage::Open(_), Stage::Open(_)) => Opened::Ready(self.opening.swap_remove(at)),
            (Stage::Failed, _) | (_, Stage::Failed) => match opening.again(cx) {
                Ok(()) => Opened::Waits,
                Err(fault) => Opened::Failed(self.opening.swap_remove(at), fault),
            },
        }
    }
}

impl Opening {
    /// Gives the sockets back.
    pub(super) fn close(&self, cx: &mut Cx<'_>) {
        // One that could not be opened is gone already, and its number may be another's.
        for half in [self.rtp, self.rtcp] {
            if half.stage != Stage::Failed {
                cx.media.close_socket(half.sock);
            }
        }
    }

    /// Makes a source of open sockets.
    ///
    /// # Errors
    ///
    /// 499.
    pub(super) fn source(&self, cx: &mut Cx<'_>) -> Result<PeerId, Fault> {
        let source = cx.media.add_source(SourceSpec {
            rtp: self.rtp.sock,
            rtcp: self.rtcp.sock,
            lines: self.add.streams.iter().map(RemoteStream::line).collect(),
            srtp: self.add.srtp.clone(),
        });
        source.map_err(|_| no_socket())
    }

    /// What the client is told of the sockets.
    pub(super) fn describe(&self, answer: &mut Value) {
        answer["ip"] = self.address.1.to_string().into();
        for (name, half) in [("port", self.rtp), ("rtcp_port", self.rtcp)] {
            if let Stage::Open(port) = half.stage {
                answer[name] = port.into();
            }
        }
    }

    /// Tries other ports.
    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.close(cx);
        // A port that was asked for cannot be had: another will not do.
        let is_hopeless = self.add.port.is_some() && self.rtp.stage == Stage::Failed;
        if is_hopeless || self.tries_count == TRIES_MAX {
            return Err(no_socket());
        }
        self.tries_count += 1;
        (self.rtp, self.rtcp) = open_pair(cx, self.address.0, self.add.port)?;
        Ok(())
    }
}

/// Asks for two sockets: at neighbouring ports, unless the first was named and there is none above.
fn open_pair(cx: &mut Cx<'_>, ip: IpAddr, port: Option<u16>) -> Result<(Half, Half), Fault> {
    let (first, last) = cx.config.videoroom.remote_ports;
    let pairs = u64::from(last.saturating_sub(first).saturating_add(1) / 2).max(1);
    let drawn = first.saturating_add(2 * (cx.rng.next_u64() % pairs) as u16);
    let (rtp_port, rtcp_port) = match port {
        Some(port) => (port, drawn),
        None => (drawn, drawn.saturating_add(1)),
    };
    let mut open = |port| {
        let sock = cx.open_socket(SocketAddr::new(ip, port));
        let sock = sock.map_err(|_| no_socket())?;
        Ok::<_, Fault>(Half {
            sock,
            stage: Stage::Opening,
        })
    };
    let rtp = open(rtp_port)?;
    match open(rtcp_port) {
        Ok(rtcp) => Ok((rtp, rtcp)),
        Err(fault) => {
            cx.media.close_socket(rtp.sock);
            Err(fault)
        }
    }
}

fn no_socket() -> Fault {
    Fault::new(Code::Unknown, "Could not open UDP socket for RTP stream")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_json(name: &str, body: &Value) -> Result<RoomAction, Fault> {
        let Value::Object(body) = body else {
            unreachable!("requests are objects");
        };
        read(name, &Fields::new(body, IdForm::Numbers)).unwrap()
    }

    #[test]
    fn what_is_wrong_is_named_in_the_words_of_janus() {
        let of = |stream: Value| json!({"streams": [stream]});
        for (body, wanted) in [
            (json!({}), "Missing mandatory element (streams)"),
            (
                json!({"streams": []}),
                "Invalid element value (streams can't be empty)",
            ),
            (of(json!({})), "Missing mandatory element (mid)"),
            (
                of(json!({"mid": "0", "type": "foo"})),
                "Invalid element value (type)",
            ),
            (
                of(json!({"mid": "0", "type": "audio"})),
                "Missing mandatory element (mindex)",
            ),
            (
                of(json!({"mid": "0", "type": "audio", "mindex": 0})),
                "Missing mandatory element (codec)",
            ),
            (
                of(json!({"mid": "0", "type": "audio", "mindex": 0, "codec": "vp8"})),
                "Invalid element value (unsupported codec)",
            ),
        ] {
            let fault = read_json("add_remote_publisher", &body).unwrap_err();
            assert_eq!(fault.text, wanted);
        }
        let fault = read_json("update_remote_publisher", &json!({})).unwrap_err();
        assert_eq!(fault.text, "Missing mandatory element (id)");
    }

    #[test]
    fn streams_are_numbered_by_position() {
        let body = json!({"iface": "192.0.2.1", "streams": [
            {"mid": "a", "mindex": 7, "type": "audio", "codec": "opus", "fec": true,
             "audiolevel_ext_id": 3},
            {"mid": "a", "mindex": 7, "type": "data"},
        ]});
        let action = read_json("add_remote_publisher", &body).unwrap();
        let RoomAction::AddRemote(add) = action else {
            unreachable!("it adds one");
        };
        let audio = add.streams[0].at(PeerId(9), 0);
        assert_eq!((&*audio.mid, audio.mindex), ("0", 0));
        assert_eq!(audio.fmtp.as_deref(), Some("useinbandfec=1"));
        assert_eq!(add.streams[0].line().ids.audio_level, Some(3));
        let data = add.streams[1].at(PeerId(9), 1);
        assert_eq!((&*data.mid, data.line.line), ("1", 1));
        assert_eq!(add.streams[1].line().kind, None);
        let interface = add.interface.unwrap();
        assert_eq!(interface.address, Some([192, 0, 2, 1].into()));
    }
}
