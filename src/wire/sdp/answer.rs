//! Answers: what a plugin decides about an offer, and the description that comes of it.

use super::simulcast::sent_rids;
use super::{
    Bandwidth, Candidate, Codec, Direction, Extension, Fingerprint, IceParameters,
    MediaDescription, Msid, Origin, Rid, RidDirection, SessionDescription, Setup, Simulcast,
    SimulcastRid, Ssrc, SsrcGroup,
};

/// What to answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerPlan {
    /// The session name; the offer's own if absent.
    pub name: Option<String>,
    /// One decision for each media section of the offer, in order.
    pub lines: Vec<LinePlan>,
}

/// What to answer to one media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinePlan {
    /// Data channels are accepted.
    Application {
        /// The local port of the SCTP association.
        sctp_port: u16,
        /// The largest message taken, in bytes; not written if absent.
        max_message_size: Option<u64>,
    },
    /// Media is accepted.
    Media(Box<MediaPlan>),
    /// The section is refused.
    Rejected,
}

/// How to accept an audio or video section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPlan {
    /// The payload type of the codec, one of the offer's. That of its retransmissions follows by
    /// itself if it was offered.
    pub pt: u8,
    /// The payload type of redundant audio to accept, one of the offer's; it is preferred to `pt`.
    pub red: Option<u8>,
    /// The format parameters of the codec.
    pub fmtp: Option<String>,
    /// The RTCP feedback messages, as written.
    pub feedback: Vec<String>,
    /// The direction, seen from us.
    pub direction: Direction,
    /// The header extensions to accept, by identifier of the offer.
    pub extensions: Vec<u8>,
    /// Bandwidth limits to ask for.
    pub bandwidth: Vec<Bandwidth>,
    /// The stream and track of what we send.
    pub msid: Option<Msid>,
    /// The source of what we send. Also announced when we only receive: our reports come from it.
    pub ssrc: Option<u32>,
    /// The source of our retransmissions; announced only if we send and they are negotiated.
    pub rtx_ssrc: Option<u32>,
    /// Whether to receive all encodings that are offered.
    pub simulcast: SimulcastPlan,
}

/// What to answer to offered encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimulcastPlan {
    /// Take them all, up to the limit.
    Accept,
    /// Say nothing of them.
    Ignore,
}

/// Our end of the transport, which all accepted sections share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTransport {
    /// The address to write into `o=` and `c=`.
    pub address: String,
    /// Our ICE credentials.
    pub ice: IceParameters,
    /// Whether our ICE agent is a lite one.
    pub ice_lite: bool,
    /// The fingerprint of our DTLS certificate.
    pub fingerprint: Fingerprint,
    /// Our DTLS role: [`Setup::answer`] of the offered one, or the one already taken.
    pub setup: Setup,
    /// Our candidates.
    pub candidates: Vec<Candidate>,
    /// Whether the candidates are part of the description.
    pub trickle: Trickle,
}

/// Where our candidates go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trickle {
    /// They are sent apart; the description has none.
    Full,
    /// They are all in the description, which says that they are complete.
    Half,
}

/// Makes the answer to an offer.
///
/// What the answer repeats comes from the offer: the order of the sections and of the extensions,
/// mids, protocols, identifiers and payload types. A section without mid gets its position as one,
/// see [`SessionDescription::normalise`].
///
/// # Panics
///
/// If the plan does not have one line for each section of the offer, accepts data channels in
/// another kind of section, or names a payload type that the section does not offer: plans are made from the
/// offer.
pub fn build_answer(
    offer: &SessionDescription,
    plan: &AnswerPlan,
    transport: &LocalTransport,
) -> SessionDescription {
    assert_eq!(
        offer.media.len(),
        plan.lines.len(),
        "a plan decides each section"
    );
    let sections = offer.media.iter().zip(&plan.lines).enumerate();
    let media: Vec<MediaDescription> = sections
        .map(|(index, (offered, line))| match line {
            LinePlan::Application {
                sctp_port,
                max_message_size,
            } => {
                let mut answer = accept(offered, index, transport);
                answer.formats.clone_from(&offered.formats);
                answer.sctp_port = Some(*sctp_port);
                answer.max_message_size = *max_message_size;
                answer
            }
            LinePlan::Media(plan) => {
                let mut answer = accept(offered, index, transport);
                answer_media(&mut answer, offered, plan);
                answer
            }
            LinePlan::Rejected => reject(offered, index, transport),
        })
        .collect();
    let accepted = media.iter().filter(|each| !each.is_rejected());
    SessionDescription {
        origin: Origin {
            address: transport.address.clone(),
            ..offer.origin.clone()
        },
        name: plan.name.clone().unwrap_or_else(|| offer.name.clone()),
        connection: None,
        bandwidth: Vec::new(),
        bundle: accepted.filter_map(|each| each.mid.clone()).collect(),
        ice_lite: transport.ice_lite,
        ice_options: trickle_option(),
        ice: None,
        fingerprints: vec![transport.fingerprint.clone()],
        setup: None,
        extmap_allow_mixed: offer.extmap_allow_mixed,
        msid_semantic: Some("WMS *".to_owned()),
        attributes: Vec::new(),
        media,
    }
}

/// Begins an answer with what all sections have in common.
fn begin(offered: &MediaDescription, index: usize, port: u16) -> MediaDescription {
    let mut answer = MediaDescription::new(offered.kind.clone(), port, offered.protocol.clone());
    answer.mid = Some(offered.mid.clone().unwrap_or_else(|| index.to_string()));
    answer
}

fn reject(
    offered: &MediaDescription,
    index: usize,
    transport: &LocalTransport,
) -> MediaDescription {
    let mut answer = begin(offered, index, 0);
    answer.connection = Some(transport.address.clone());
    answer.direction = Direction::Inactive;
    answer.formats.push("0".to_owned());
    answer
}

fn accept(
    offered: &MediaDescription,
    index: usize,
    transport: &LocalTransport,
) -> MediaDescription {
    // RFC 8840 section 4.1.1: nothing is known to listen there; checks start from the candidates.
    const DISCARD_PORT: u16 = 9;
    let mut answer = begin(offered, index, DISCARD_PORT);
    begin_section(&mut answer, transport);
    answer
}

/// Writes our end of the transport into a section.
pub(super) fn begin_section(section: &mut MediaDescription, transport: &LocalTransport) {
    section.connection = Some(transport.address.clone());
    section.ice = Some(transport.ice.clone());
    section.ice_options = trickle_option();
    section.setup = Some(transport.setup);
    if transport.trickle == Trickle::Half {
        section.candidates.clone_from(&transport.candidates);
        section.end_of_candidates = true;
    }
}

pub(super) fn trickle_option() -> Vec<String> {
    vec!["trickle".to_owned()]
}

fn answer_media(answer: &mut MediaDescription, offered: &MediaDescription, plan: &MediaPlan) {
    let codec = |pt: u8| {
        let codec = offered
            .codec(pt)
            .expect("a plan names payload types of the offer");
        Codec {
            feedback: Vec::new(),
            ..codec.clone()
        }
    };
    answer.direction = plan.direction;
    answer.rtcp_mux = true;
    answer.bandwidth.clone_from(&plan.bandwidth);
    answer.codecs.extend(plan.red.map(codec));
    answer.codecs.push(Codec {
        fmtp: plan.fmtp.clone(),
        feedback: plan.feedback.clone(),
        ..codec(plan.pt)
    });
    let rtx = offered.rtx_of(plan.pt);
    answer.codecs.extend(rtx.map(codec));
    let accepted = offered
        .extensions
        .iter()
        .filter(|each| plan.extensions.contains(&each.id));
    answer.extensions = accepted
        .map(|each| Extension {
            direction: each.direction.map(Direction::reversed),
            ..each.clone()
        })
        .collect();
    let sends = plan.direction.sends();
    let rtx_ssrc = plan.rtx_ssrc.filter(|_| sends && rtx.is_some());
    if let Some((ssrc, rtx_ssrc)) = plan.ssrc.zip(rtx_ssrc) {
        let semantics = "FID".to_owned();
        answer.ssrc_groups.push(SsrcGroup {
            semantics,
            ssrcs: vec![ssrc, rtx_ssrc],
        });
    }
    let announced = plan.ssrc.into_iter().chain(rtx_ssrc);
    answer.ssrcs = announced
        .map(|id| Ssrc {
            id,
            cname: cname(),
            msid: None,
        })
        .collect();
    if plan.direction != Direction::Inactive {
        answer.msid.clone_from(&plan.msid);
    }
    if plan.simulcast == SimulcastPlan::Accept && plan.direction.receives() {
        accept_encodings(answer, offered);
    }
}

/// The canonical name of all our sources; clients of Janus see this one.
pub(super) fn cname() -> Option<String> {
    Some("janus".to_owned())
}

fn accept_encodings(answer: &mut MediaDescription, offered: &MediaDescription) {
    let rids = sent_rids(offered);
    if rids.is_empty() {
        return;
    }
    let rid = |each: &SimulcastRid| Rid {
        id: each.rid.clone(),
        direction: RidDirection::Recv,
        parameters: None,
    };
    answer.rids = rids.iter().map(rid).collect();
    let recv = rids.into_iter().map(|each| vec![each]).collect();
    answer.simulcast = Some(Simulcast {
        send: Vec::new(),
        recv,
    });
}
