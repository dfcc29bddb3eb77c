//! Answering offers of many kinds of clients.
//!
//! The expected answers follow what Janus answered to the same offers in its EchoTest, with its
//! random and local values replaced; they differ where Janus claims what was not offered: mixed
//! header extensions, and congestion feedback without the extension for it.

use super::*;

#[test]
fn what_is_limited_to_one_direction_is_answered_in_the_other() {
    let text =
        fixture(OFFERS, "chrome-simulcast-rid").replace("a=extmap:4 ", "a=extmap:4/sendonly ");
    let mut offer = SessionDescription::parse(&text).unwrap();
    let plan = echo_plan(&offer, &Wishes::default());
    let answer = build_answer(&offer, &plan, &transport(Trickle::Half));
    let mid = |media: &MediaDescription| {
        let extension = media
            .extensions
            .iter()
            .find(|each| each.uri == extension::MID);
        extension.unwrap().direction
    };
    assert_eq!(mid(&offer.media[1]), Some(Direction::SendOnly));
    assert_eq!(mid(&answer.media[1]), Some(Direction::RecvOnly));
    assert_eq!(answer.media[1].rids.len(), 3);

    offer.media[1].direction = Direction::Inactive;
    let plan = echo_plan(&offer, &Wishes::default());
    let answer = build_answer(&offer, &plan, &transport(Trickle::Half));
    assert_eq!(
        (answer.media[1].rids.len(), &answer.media[1].simulcast),
        (0, &None)
    );
}

#[test]
fn answers_have_the_shape_of_those_of_janus() {
    for (name, expected) in ANSWERS {
        let (offer, wishes) = answered_offer(name);
        let plan = echo_plan(&offer, &wishes);
        let answer = build_answer(&offer, &plan, &local_transport(name)).to_string();
        let lines = answer.split("\r\n").zip(expected.split("\r\n"));
        for (line, expected) in lines {
            assert_eq!(line, expected, "{name}");
        }
        assert_eq!(answer, *expected, "{name}");
    }
}

#[test]
fn full_trickle_leaves_the_candidates_out_of_all_sections() {
    for (name, text) in OFFERS {
        let mut offer = SessionDescription::parse(text).unwrap();
        offer.normalise().unwrap();
        let plan = echo_plan(&offer, &Wishes::default());
        let answer = build_answer(&offer, &plan, &transport(Trickle::Full)).to_string();
        assert!(!answer.contains("candidate"), "{name}");
        assert!(answer.contains("a=ice-options:trickle"), "{name}");
    }
}

#[test]
fn an_offer_without_mids_is_answered_by_position() {
    let text = fixture(OFFERS, "chrome").replace("a=group:BUNDLE 0 1\r\n", "");
    let text = text.replace("a=mid:0\r\n", "").replace("a=mid:1\r\n", "");
    let mut offer = SessionDescription::parse(&text).unwrap();
    let plan = echo_plan(&offer, &Wishes::default());
    let raw = build_answer(&offer, &plan, &transport(Trickle::Half));
    offer.normalise().unwrap();
    assert_eq!(offer.bundle, ["0", "1"]);
    let answer = build_answer(&offer, &plan, &transport(Trickle::Half));
    assert_eq!(answer.bundle, ["0", "1"]);
    assert_eq!(raw, answer);
}

#[test]
fn offers_with_one_transport_pass_for_bundled() {
    let check = |text: &str, expected: Result<&[&str], SdpError>| {
        let mut offer = SessionDescription::parse(text).unwrap();
        let normalised = offer.normalise().map(|()| offer.bundle);
        let expected = expected.map(|mids| mids.iter().map(|&mid| mid.to_owned()).collect());
        assert_eq!(normalised, expected);
    };
    let chrome = fixture(OFFERS, "chrome");
    let (head, video) = chrome.split_once("m=video").unwrap();
    let rejected = format!("{head}m=video{}", video.replacen(" 9 ", " 0 ", 1));
    let other_user = format!("{head}m=video{}", video.replace("fxAb", "othr"));
    let other_port = format!("{head}m=video{}", video.replacen(" 9 ", " 5002 ", 1));
    let without_group = |text: &str| text.replace("a=group:BUNDLE 0 1\r\n", "");
    check(chrome, Ok(&["0", "1"]));
    check(&chrome.replace("BUNDLE 0 1", "BUNDLE 1 0"), Ok(&["1", "0"]));
    check(&chrome.replace("BUNDLE 0 1", "BUNDLE 0 7"), Ok(&["0", "1"]));
    check(&without_group(chrome), Ok(&["0", "1"]));
    check(&rejected, Ok(&["0"]));
    check(&without_group(&rejected), Ok(&["0"]));
    check(&other_user, Ok(&["0", "1"]));
    check(&without_group(&other_user), Err(SdpError::Unbundled));
    check(&without_group(&other_port), Err(SdpError::Unbundled));
    check(
        &other_user.replace("BUNDLE 0 1", "BUNDLE 0"),
        Err(SdpError::Unbundled),
    );
    check(fixture(OFFERS, "plain-audio"), Ok(&["0"]));
    check(fixture(OFFERS, "gstreamer-like"), Ok(&["video0", "audio1"]));
    check(fixture(OFFERS, "aiortc"), Ok(&["0", "1", "2"]));
    let clash = without_group(&chrome.replace("a=mid:0\r\n", "").replace("mid:1", "mid:0"));
    check(&clash, Err(SdpError::DuplicateMid("0".to_owned())));
}

/// What a client asks of the echo, beside its offer.
#[derive(Default)]
pub(super) struct Wishes {
    red: bool,
    video_codec: Option<&'static str>,
}

/// The offer and the wishes that a recorded answer belongs to.
fn answered_offer(name: &str) -> (SessionDescription, Wishes) {
    let chrome = fixture(OFFERS, "chrome");
    let mut wishes = Wishes::default();
    let text = match name {
        "chrome-data-lite" => fixture(OFFERS, "chrome-data").to_owned(),
        "chrome-h264" => {
            wishes.video_codec = Some("h264");
            chrome.to_owned()
        }
        "chrome-inactive" => chrome.replace("a=sendrecv", "a=inactive"),
        "chrome-paused-rid" => fixture(OFFERS, "chrome-simulcast-rid").replace(";m;", ";~m;"),
        "chrome-red" => {
            wishes.red = true;
            chrome.to_owned()
        }
        "chrome-rejected-video" => chrome.replace("m=video 9", "m=video 0"),
        name => fixture(OFFERS, name).to_owned(),
    };
    (SessionDescription::parse(&text).unwrap(), wishes)
}

/// Decides as the EchoTest does.
pub(super) fn echo_plan(offer: &SessionDescription, wishes: &Wishes) -> AnswerPlan {
    let line = |(index, media): (usize, &MediaDescription)| {
        if media.is_data() && !media.is_rejected() {
            return LinePlan::Application {
                sctp_port: 5000,
                max_message_size: None,
            };
        }
        match echo_codec(media, wishes) {
            Some(codec) => LinePlan::Media(Box::new(echo_media(index, media, codec, wishes))),
            None => LinePlan::Rejected,
        }
    };
    AnswerPlan {
        name: None,
        lines: offer.media.iter().enumerate().map(line).collect(),
    }
}

fn echo_codec<'a>(media: &'a MediaDescription, wishes: &Wishes) -> Option<&'a Codec> {
    let preferences: &[&str] = match media.kind {
        MediaKind::Audio => &["opus", "pcmu", "pcma", "g722"],
        MediaKind::Video => &["vp8", "vp9", "h264", "av1"],
        MediaKind::Application | MediaKind::Other(_) => &[],
    };
    if media.is_rejected() {
        return None;
    }
    match wishes.video_codec {
        Some(name) if media.kind == MediaKind::Video => codec_by_preference(media, &[name]),
        _ => codec_by_preference(media, preferences),
    }
}

fn echo_media(index: usize, media: &MediaDescription, codec: &Codec, wishes: &Wishes) -> MediaPlan {
    const SUPPORTED: [&str; 7] = [
        extension::AUDIO_LEVEL,
        extension::MID,
        extension::ORIENTATION,
        extension::PLAYOUT_DELAY,
        extension::REPAIRED_RID,
        extension::RID,
        extension::TRANSPORT_CC,
    ];
    let direction = match media.direction.reversed() {
        Direction::SendOnly => Direction::Inactive,
        other @ (Direction::Inactive | Direction::RecvOnly | Direction::SendRecv) => other,
    };
    let extensions = accepted_extensions(media, &SUPPORTED);
    // The version of Janus that was recorded leaves feedback for audio out.
    let is_video = media.kind == MediaKind::Video;
    let feedback = if is_video {
        answer_feedback(media, codec, &extensions)
    } else {
        vec![]
    };
    // Sources are numbered from 101 in the recordings.
    let ssrc = 101 + u32::try_from(index).unwrap();
    let mid = media.mid.clone().unwrap_or_else(|| index.to_string());
    MediaPlan {
        pt: codec.pt,
        red: if wishes.red {
            media.red_of(codec.pt)
        } else {
            None
        },
        fmtp: answer_fmtp(codec),
        feedback,
        direction,
        extensions,
        bandwidth: vec![],
        msid: Some(Msid {
            stream: "janus".to_owned(),
            track: Some(format!("janus{mid}")),
        }),
        ssrc: Some(ssrc),
        rtx_ssrc: Some(ssrc + 1),
        simulcast: SimulcastPlan::Accept,
    }
}

/// Our side of the transport in a recorded answer.
fn local_transport(name: &str) -> LocalTransport {
    match name {
        "chrome-data-lite" => LocalTransport {
            ice_lite: true,
            ..transport(Trickle::Full)
        },
        _ => transport(Trickle::Half),
    }
}

pub(super) fn transport(trickle: Trickle) -> LocalTransport {
    LocalTransport {
        address: "192.0.2.10".to_owned(),
        ice: IceParameters {
            ufrag: "srvU".to_owned(),
            pwd: "serverPasswordOf24Chars0".to_owned(),
        },
        ice_lite: false,
        fingerprint: Fingerprint {
            hash: "sha-256".to_owned(),
            bytes: (0..32).map(|index| 3 * index + 1).collect(),
        },
        setup: Setup::Active,
        candidates: vec![
            "candidate:1 1 udp 2015363327 192.0.2.10 20001 typ host"
                .parse()
                .unwrap(),
        ],
        trickle,
    }
}
