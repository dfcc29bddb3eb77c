//! Reading one media section.
//!
//! Formats, their names, parameters and feedback come on separate lines in any order, so they are
//! collected first and put together when the section is complete.

use super::error::excerpt;
use super::parse::{TransportReader, attribute, parse_mid, too_many};
use super::{
    Codec, Direction, Extension, MediaDescription, MediaKind, Msid, Rid, RidDirection, SdpError,
    Simulcast, SimulcastRid, Ssrc, SsrcGroup,
};
use crate::base::limits::Limits;

/// The most synchronisation sources of a media section; simulcast with retransmissions has 6.
pub const SDP_SSRCS_MAX: usize = 64;
/// How many feedback messages are kept for each codec, and how long they may be: one line may
/// stand for all codecs, and must not multiply memory.
const FEEDBACK_MAX: usize = 16;
const FEEDBACK_SIZE_MAX: usize = 64;
/// How many encodings of a section are kept.
const RIDS_MAX: usize = 16;

/// A media section while it is read.
pub(super) struct Section {
    pub(super) media: MediaDescription,
    direction: Option<Direction>,
    transport: TransportReader,
    names: Vec<(u8, CodecName)>,
    parameters: Vec<(u8, String)>,
    /// Feedback of a payload type, or of all.
    feedback: Vec<(Option<u8>, String)>,
}

#[derive(Clone)]
struct CodecName {
    name: String,
    clock_rate: u32,
    channels: Option<u8>,
}

impl Section {
    /// Starts a section from its `m=` line.
    pub(super) fn open(value: &str, line: &str, limits: &Limits) -> Result<Self, SdpError> {
        let invalid = || SdpError::invalid_line(line);
        let mut words = value.split_ascii_whitespace();
        let kind = match words.next().ok_or_else(invalid)? {
            "application" => MediaKind::Application,
            "audio" => MediaKind::Audio,
            "video" => MediaKind::Video,
            other => MediaKind::Other(other.to_owned()),
        };
        let port = words.next().ok_or_else(invalid)?;
        let port = port
            .split('/')
            .next()
            .unwrap_or(port)
            .parse()
            .map_err(|_| invalid())?;
        let protocol = words.next().ok_or_else(invalid)?;
        let mut media = MediaDescription::new(kind, port, protocol);
        for format in words {
            media.formats.push(format.to_owned());
            too_many(
                media.formats.len(),
                limits.sdp_codecs_count,
                "formats of an m= line",
            )?;
        }
        if media.formats.is_empty() {
            return Err(SdpError::NoFormats(excerpt(line)));
        }
        Ok(Self {
            media,
            direction: None,
            transport: TransportReader::default(),
            names: Vec::new(),
            parameters: Vec::new(),
            feedback: Vec::new(),
        })
    }

    pub(super) fn attribute(
        &mut self,
        name: &str,
        rest: Option<&str>,
        line: &str,
    ) -> Result<(), SdpError> {
        if self.transport.attribute(name, rest, line)? {
            return Ok(());
        }
        match rest {
            Some(value) => self.valued_attribute(name, value, line),
            None => {
                self.flag(name);
                Ok(())
            }
        }
    }

    /// Completes the section; `direction` is that of the session.
    pub(super) fn close(self, direction: Direction) -> Result<MediaDescription, SdpError> {
        let mut media = self.media;
        media.direction = self.direction.unwrap_or(direction);
        media.ice = self.transport.ice();
        media.ice_options = self.transport.ice_options;
        media.fingerprints = self.transport.fingerprints;
        media.setup = self.transport.setup;
        too_many(media.ssrcs.len(), SDP_SSRCS_MAX, "sources of an m= line")?;
        if !media.is_rtp() {
            return Ok(media);
        }
        let formats = std::mem::take(&mut media.formats);
        for format in formats {
            let pt = format.parse().ok().filter(|pt| *pt <= 127);
            let named = |pt: u8| self.names.iter().find(|each| each.0 == pt);
            // The format `0` of a rejected section is a filler, not PCMU.
            let has_fixed = media.kind == MediaKind::Audio && !media.is_rejected();
            let fixed = |pt: u8| fixed_codec(pt).filter(|_| has_fixed);
            let codec = pt.and_then(|pt| {
                named(pt)
                    .map(|each| each.1.clone())
                    .or_else(|| fixed(pt))
                    .map(|name| (pt, name))
            });
            match codec {
                Some((pt, _)) if media.codec(pt).is_some() => {}
                Some((pt, name)) => media.codecs.push(Codec {
                    pt,
                    name: name.name,
                    clock_rate: name.clock_rate,
                    channels: name.channels,
                    fmtp: self
                        .parameters
                        .iter()
                        .find(|each| each.0 == pt)
                        .map(|e| e.1.clone()),
                    feedback: feedback_of(&self.feedback, pt),
                }),
                None => media.formats.push(format),
            }
        }
        Ok(media)
    }

    fn flag(&mut self, name: &str) {
        if let Some(direction) = Direction::parse(name) {
            self.direction = Some(direction);
            return;
        }
        match name {
            "bundle-only" => self.media.bundle_only = true,
            "end-of-candidates" => self.media.end_of_candidates = true,
            "rtcp-mux" => self.media.rtcp_mux = true,
            "rtcp-rsize" => self.media.rtcp_rsize = true,
            _ => self.media.attributes.push(attribute(name, None)),
        }
    }

    fn valued_attribute(&mut self, name: &str, value: &str, line: &str) -> Result<(), SdpError> {
        let media = &mut self.media;
        match name {
            "candidate" => media.candidates.extend(line.parse()),
            "extmap" => media.extensions.extend(parse_extension(value)),
            "fmtp" => self.parameters.extend(parse_numbered(value)),
            "max-message-size" => media.max_message_size = value.trim().parse().ok(),
            "mid" => {
                media.mid = Some(parse_mid(value).ok_or_else(|| SdpError::invalid_line(line))?);
            }
            "msid" if media.msid.is_none() => media.msid = parse_msid(value),
            "msid" => {}
            "ptime" => media.ptime = value.trim().parse().ok(),
            "rid" if media.rids.len() < RIDS_MAX => media.rids.extend(parse_rid(value)),
            "rid" => {}
            "rtcp-fb" => self.feedback.extend(parse_feedback(value)),
            "rtpmap" => self.names.extend(parse_rtpmap(value)),
            "sctp-port" => media.sctp_port = value.trim().parse().ok(),
            // The form before RFC 8841: `5000 webrtc-datachannel 1024`.
            "sctpmap" => {
                media.sctp_port = value
                    .split_ascii_whitespace()
                    .next()
                    .and_then(|p| p.parse().ok());
            }
            "simulcast" => media.simulcast = parse_simulcast(value),
            "ssrc" => take_ssrc(media, value),
            "ssrc-group" => media.ssrc_groups.extend(parse_ssrc_group(value)),
            _ => media.attributes.push(attribute(name, Some(value))),
        }
        Ok(())
    }
}

/// Returns the codec of a payload type that needs no `rtpmap` (RFC 3551 section 6).
fn fixed_codec(pt: u8) -> Option<CodecName> {
    let name = match pt {
        0 => "PCMU",
        3 => "GSM",
        8 => "PCMA",
        9 => "G722",
        13 => "CN",
        18 => "G729",
        _ => return None,
    };
    Some(CodecName {
        name: name.to_owned(),
        clock_rate: 8000,
        channels: None,
    })
}

/// Returns the feedback of a payload type, without repetition.
fn feedback_of(all: &[(Option<u8>, String)], pt: u8) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, message) in all
        .iter()
        .filter(|each| each.0.is_none_or(|number| number == pt))
    {
        if found.len() < FEEDBACK_MAX && !found.contains(message) {
            found.push(message.clone());
        }
    }
    found
}

/// Reads `111 minptime=10;useinbandfec=1`.
fn parse_numbered(value: &str) -> Option<(u8, String)> {
    let (pt, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    (!rest.is_empty()).then_some((pt.parse().ok()?, rest.to_owned()))
}

/// Reads `111 opus/48000/2`.
fn parse_rtpmap(value: &str) -> Option<(u8, CodecName)> {
    let mut words = value.split_ascii_whitespace();
    let pt = words.next()?.parse().ok()?;
    let mut parts = words.next()?.split('/');
    let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
    let clock_rate = parts.next()?.parse().ok().filter(|rate| *rate != 0)?;
    let channels = parts.next().map(str::parse).transpose().ok()?;
    Some((
        pt,
        CodecName {
            name,
            clock_rate,
            channels,
        },
    ))
}

/// Reads `96 nack pli` or `* nack`.
fn parse_feedback(value: &str) -> Option<(Option<u8>, String)> {
    let mut words = value.split_ascii_whitespace();
    let pt = match words.next()? {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    let message = words.collect::<Vec<_>>().join(" ");
    (1..=FEEDBACK_SIZE_MAX)
        .contains(&message.len())
        .then_some((pt, message))
}

/// Reads `4 uri` or `4/recvonly uri attributes`; identifiers above 255 name nothing on the wire.
fn parse_extension(value: &str) -> Option<Extension> {
    let mut words = value.split_ascii_whitespace();
    let number = words.next()?;
    let (id, direction) = match number.split_once('/') {
        Some((id, direction)) => (id, Some(Direction::parse(direction)?)),
        None => (number, None),
    };
    let id = id.parse().ok().filter(|id| *id != 0)?;
    Some(Extension {
        id,
        uri: words.next()?.to_owned(),
        direction,
    })
}

fn parse_msid(value: &str) -> Option<Msid> {
    let mut words = value.split_ascii_whitespace().map(str::to_owned);
    Some(Msid {
        stream: words.next()?,
        track: words.next(),
    })
}

/// Reads `h send pt=96;max-width=1280`.
fn parse_rid(value: &str) -> Option<Rid> {
    let mut words = value.split_ascii_whitespace();
    let id = parse_rid_id(words.next()?)?;
    let direction = match words.next()? {
        "recv" => RidDirection::Recv,
        "send" => RidDirection::Send,
        _ => return None,
    };
    Some(Rid {
        id,
        direction,
        parameters: words.next().map(str::to_owned),
    })
}

/// RFC 8852 section 3.1 allows letters and digits; old clients also use `-` and `_`.
fn parse_rid_id(word: &str) -> Option<String> {
    let is_rid_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let fits = (1..=16).contains(&word.len());
    (fits && word.bytes().all(is_rid_byte)).then(|| word.to_owned())
}

/// Reads `send h;~m;l,x recv y`, and the older `send rid=h;m;l`.
fn parse_simulcast(value: &str) -> Option<Simulcast> {
    let mut simulcast = Simulcast::default();
    let mut words = value.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let list = match word {
            "recv" => &mut simulcast.recv,
            "send" => &mut simulcast.send,
            _ => return None,
        };
        let entries = words.next()?;
        let entries = entries.strip_prefix("rid=").unwrap_or(entries);
        for entry in entries.split(';').take(RIDS_MAX) {
            let alternatives = entry.split(',').take(RIDS_MAX).map(parse_simulcast_rid);
            list.push(alternatives.collect::<Option<Vec<_>>>()?);
        }
    }
    let has_any = !simulcast.send.is_empty() || !simulcast.recv.is_empty();
    has_any.then_some(simulcast)
}

fn parse_simulcast_rid(word: &str) -> Option<SimulcastRid> {
    let (rid, paused) = match word.strip_prefix('~') {
        Some(rid) => (rid, true),
        None => (word, false),
    };
    Some(SimulcastRid {
        rid: parse_rid_id(rid)?,
        paused,
    })
}

/// Reads `1001 cname:name` or `1001 msid:stream track`.
fn take_ssrc(media: &mut MediaDescription, value: &str) {
    let (id, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    let Ok(id) = id.parse::<u32>() else { return };
    let index = media
        .ssrcs
        .iter()
        .position(|ssrc| ssrc.id == id)
        .unwrap_or_else(|| {
            // One more than the limit is enough to refuse the section when it is complete.
            if media.ssrcs.len() <= SDP_SSRCS_MAX {
                media.ssrcs.push(Ssrc {
                    id,
                    cname: None,
                    msid: None,
                });
            }
            media.ssrcs.len() - 1
        });
    let ssrc = &mut media.ssrcs[index];
    match rest.trim().split_once(':') {
        Some(("cname", name)) => ssrc.cname = Some(name.trim().to_owned()),
        Some(("msid", msid)) => ssrc.msid = parse_msid(msid),
        _ => {}
    }
}

/// Reads `FID 2001 3001`.
fn parse_ssrc_group(value: &str) -> Option<SsrcGroup> {
    let mut words = value.split_ascii_whitespace();
    let semantics = words.next()?.to_owned();
    let ssrcs = words.map(|word| word.parse().ok()).take(SDP_SSRCS_MAX);
    let ssrcs = ssrcs.collect::<Option<Vec<u32>>>()?;
    (!ssrcs.is_empty()).then_some(SsrcGroup { semantics, ssrcs })
}
