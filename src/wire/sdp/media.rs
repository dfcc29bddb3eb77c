//! A media section: one `m=` line and what belongs to it.

use super::{Attribute, Bandwidth, Candidate, Fingerprint, IceParameters, Setup, Simulcast};

/// A media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaDescription {
    /// What the section carries.
    pub kind: MediaKind,
    /// The port: 9 by custom, 0 when rejected or, with `bundle_only`, when bundled only.
    pub port: u16,
    /// The transport protocol, such as `UDP/TLS/RTP/SAVPF`.
    pub protocol: String,
    /// The codecs in order of preference; empty when the protocol is not RTP.
    pub codecs: Vec<Codec>,
    /// Formats of the `m=` line that name no codec, such as `webrtc-datachannel`.
    pub formats: Vec<String>,
    /// The connection address, `c=`.
    pub connection: Option<String>,
    /// Bandwidth limits, `b=`.
    pub bandwidth: Vec<Bandwidth>,
    /// The identification, `a=mid`.
    pub mid: Option<String>,
    /// The direction, as seen by the sender of the description.
    pub direction: Direction,
    /// Whether RTP and RTCP share the transport.
    pub rtcp_mux: bool,
    /// Whether reduced-size RTCP may be sent.
    pub rtcp_rsize: bool,
    /// Whether the port is 0 only because the section is of no use outside its bundle.
    pub bundle_only: bool,
    /// ICE credentials of this section; `SessionDescription::ice_of` is what it uses.
    pub ice: Option<IceParameters>,
    /// Options of the ICE agent.
    pub ice_options: Vec<String>,
    /// Certificate fingerprints of this section.
    pub fingerprints: Vec<Fingerprint>,
    /// The DTLS role of this section.
    pub setup: Option<Setup>,
    /// Header extensions, in order.
    pub extensions: Vec<Extension>,
    /// The stream and track of the media.
    pub msid: Option<Msid>,
    /// The announced synchronisation sources, in order of first mention.
    pub ssrcs: Vec<Ssrc>,
    /// Groups of synchronisation sources, in order.
    pub ssrc_groups: Vec<SsrcGroup>,
    /// The restrictions of encodings, `a=rid`.
    pub rids: Vec<Rid>,
    /// Which encodings are sent and received together, `a=simulcast`.
    pub simulcast: Option<Simulcast>,
    /// The preferred packet duration, in milliseconds.
    pub ptime: Option<u32>,
    /// The port of the SCTP association.
    pub sctp_port: Option<u16>,
    /// The largest message taken on a data channel, in bytes; 0 for no limit.
    pub max_message_size: Option<u64>,
    /// Attributes without a field of their own, in order.
    pub attributes: Vec<Attribute>,
    /// Transport candidates.
    pub candidates: Vec<Candidate>,
    /// Whether no more candidates follow.
    pub end_of_candidates: bool,
}

impl MediaDescription {
    /// Makes a section with nothing but its `m=` line.
    pub fn new(kind: MediaKind, port: u16, protocol: impl Into<String>) -> Self {
        Self {
            kind,
            port,
            protocol: protocol.into(),
            codecs: Vec::new(),
            formats: Vec::new(),
            connection: None,
            bandwidth: Vec::new(),
            mid: None,
            direction: Direction::SendRecv,
            rtcp_mux: false,
            rtcp_rsize: false,
            bundle_only: false,
            ice: None,
            ice_options: Vec::new(),
            fingerprints: Vec::new(),
            setup: None,
            extensions: Vec::new(),
            msid: None,
            ssrcs: Vec::new(),
            ssrc_groups: Vec::new(),
            rids: Vec::new(),
            simulcast: None,
            ptime: None,
            sctp_port: None,
            max_message_size: None,
            attributes: Vec::new(),
            candidates: Vec::new(),
            end_of_candidates: false,
        }
    }

    /// Tells whether the section is refused, or offered as stopped.
    pub fn is_rejected(&self) -> bool {
        self.port == 0 && !self.bundle_only
    }

    pub(super) fn is_accepted_as(&self, mid: &str) -> bool {
        !self.is_rejected() && self.mid.as_deref() == Some(mid)
    }

    /// Tells whether the section carries RTP.
    pub fn is_rtp(&self) -> bool {
        self.protocol.split('/').any(|part| part == "RTP")
    }

    /// Tells whether the section carries data channels over DTLS.
    pub fn is_data(&self) -> bool {
        self.kind == MediaKind::Application && self.protocol.ends_with("DTLS/SCTP")
    }

    /// Returns the codec with a payload type.
    pub fn codec(&self, pt: u8) -> Option<&Codec> {
        self.codecs.iter().find(|codec| codec.pt == pt)
    }

    /// Returns the payload type of the retransmissions of another payload type.
    pub fn rtx_of(&self, pt: u8) -> Option<u8> {
        let is_rtx = |codec: &&Codec| codec.apt() == Some(pt) && codec.is("rtx");
        self.codecs.iter().find(is_rtx).map(|codec| codec.pt)
    }

    /// Returns the payload type of the redundant audio (RFC 2198) made of another payload type.
    pub fn red_of(&self, pt: u8) -> Option<u8> {
        let made_of = |codec: &Codec| {
            let blocks = codec.fmtp.as_deref().unwrap_or_default();
            blocks
                .split('/')
                .any(|block| block.trim().parse() == Ok(pt))
        };
        self.codecs
            .iter()
            .find(|codec| codec.is("red") && made_of(codec))
            .map(|codec| codec.pt)
    }

    /// Returns the identifier of a header extension, by its URI.
    pub fn extension_id(&self, uri: &str) -> Option<u8> {
        self.extensions
            .iter()
            .find(|each| each.uri == uri)
            .map(|each| each.id)
    }

    /// Returns the pairs of a source and the source of its retransmissions, from the FID groups.
    pub fn fid_pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.ssrc_groups
            .iter()
            .filter(|group| group.semantics == "FID")
            .filter_map(|group| {
                let &[media, rtx] = group.ssrcs.as_slice() else {
                    return None;
                };
                Some((media, rtx))
            })
    }

    /// Returns the sources that carry media, in order: those that are not the retransmissions of
    /// another.
    pub fn media_ssrcs(&self) -> impl Iterator<Item = u32> + '_ {
        let ids = self.ssrcs.iter().map(|ssrc| ssrc.id);
        ids.filter(|id| self.fid_pairs().all(|(_, rtx)| rtx != *id))
    }
}

/// What a media section carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// Data channels, mostly.
    Application,
    /// Sound.
    Audio,
    /// Anything else, by name.
    Other(String),
    /// Pictures.
    Video,
}

impl MediaKind {
    /// Returns the kind as it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Application => "application",
            Self::Audio => "audio",
            Self::Other(name) => name,
            Self::Video => "video",
        }
    }
}

/// Which way media flows, seen by the one who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Not at all.
    Inactive,
    /// Only in.
    RecvOnly,
    /// Only out.
    SendOnly,
    /// Both ways.
    SendRecv,
}

impl Direction {
    /// Returns the same flow seen from the other side: the direction to answer this one with.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Inactive => Self::Inactive,
            Self::RecvOnly => Self::SendOnly,
            Self::SendOnly => Self::RecvOnly,
            Self::SendRecv => Self::SendRecv,
        }
    }

    /// Tells whether the one who says it sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendOnly | Self::SendRecv)
    }

    /// Tells whether the one who says it receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::RecvOnly | Self::SendRecv)
    }

    /// Returns the direction as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::RecvOnly => "recvonly",
            Self::SendOnly => "sendonly",
            Self::SendRecv => "sendrecv",
        }
    }
}

/// A payload type and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// The payload type, 0 to 127.
    pub pt: u8,
    /// The encoding name as written; compare with [`Codec::is`].
    pub name: String,
    /// The clock rate, in Hz.
    pub clock_rate: u32,
    /// The number of channels, where written.
    pub channels: Option<u8>,
    /// The format parameters, as written.
    pub fmtp: Option<String>,
    /// The RTCP feedback messages, such as `nack pli`.
    pub feedback: Vec<String>,
}

impl Codec {
    /// Compares the encoding name, which is case-insensitive.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Tells whether the payload type carries a codec proper, and not retransmissions, redundancy,
    /// error correction, comfort noise or tones.
    pub fn is_primary(&self) -> bool {
        const AUXILIARY: [&str; 7] = [
            "rtx",
            "red",
            "ulpfec",
            "flexfec",
            "flexfec-03",
            "telephone-event",
            "CN",
        ];
        !AUXILIARY.iter().any(|name| self.is(name))
    }

    /// Returns the value of a format parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.fmtp.as_deref()?.split(';').find_map(|each| {
            let (key, value) = each.split_once('=')?;
            key.trim()
                .eq_ignore_ascii_case(name)
                .then_some(value.trim())
        })
    }

    /// Returns the payload type that this one retransmits.
    pub fn apt(&self) -> Option<u8> {
        self.parameter("apt")?.parse().ok()
    }
}

/// A header extension, `a=extmap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The local identifier, 1 to 255.
    pub id: u8,
    /// What the extension is.
    pub uri: String,
    /// The direction it is limited to.
    pub direction: Option<Direction>,
}

/// The stream and track that a media section belongs to, `a=msid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Msid {
    /// The stream, `-` for none.
    pub stream: String,
    /// The track.
    pub track: Option<String>,
}

/// A synchronisation source and what is known of it, `a=ssrc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssrc {
    /// The identifier.
    pub id: u32,
    /// The canonical name.
    pub cname: Option<String>,
    /// The stream and track.
    pub msid: Option<Msid>,
}

/// A group of synchronisation sources, `a=ssrc-group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SsrcGroup {
    /// What the group means: `FID` is media and its retransmissions, `SIM` is simulcast.
    pub semantics: String,
    /// The members, in order.
    pub ssrcs: Vec<u32>,
}

/// An encoding of a media section, `a=rid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rid {
    /// The identifier.
    pub id: String,
    /// Whether the one who says it sends or receives the encoding.
    pub direction: RidDirection,
    /// The restrictions, as written.
    pub parameters: Option<String>,
}

/// Which way an encoding flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RidDirection {
    /// It is received.
    Recv,
    /// It is sent.
    Send,
}

impl RidDirection {
    /// Returns the direction as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recv => "recv",
            Self::Send => "send",
        }
    }
}
