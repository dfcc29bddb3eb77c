//! Reading, writing and answering whole descriptions, over offers of many kinds of clients.
//!
//! The expected answers follow what Janus answered to the same offers in its EchoTest, with its
//! random and local values replaced; they differ where Janus claims what was not offered: mixed
//! header extensions, and congestion feedback without the extension for it.

use proptest::prelude::*;

use super::*;
use crate::base::limits::Limits;

macro_rules! fixtures {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$((
            $name,
            include_str!(concat!("../../../tests/fixtures/sdp/", $folder, "/", $name, ".sdp")),
        )),*]
    };
}

const OFFERS: &[(&str, &str)] = fixtures!("offers":
    "aiortc", "chrome", "chrome-data", "chrome-simulcast-rid", "chrome-simulcast-ssrc", "firefox",
    "gstreamer-like", "plain-audio", "safari-like",
);

const ANSWERS: &[(&str, &str)] = fixtures!("answers":
    "aiortc", "chrome", "chrome-data", "chrome-data-lite", "chrome-h264", "chrome-inactive", "chrome-paused-rid",
    "chrome-red", "chrome-rejected-video", "chrome-simulcast-rid", "chrome-simulcast-ssrc",
    "firefox", "gstreamer-like", "safari-like",
);

#[test]
fn what_is_written_reads_the_same() {
    for (name, text) in OFFERS.iter().chain(ANSWERS) {
        let read = SessionDescription::parse(text).unwrap();
        let again = SessionDescription::parse(&read.to_string());
        assert_eq!(again.as_ref(), Ok(&read), "{name}");
    }
}

#[test]
fn recorded_answers_are_written_byte_for_byte() {
    for (name, text) in ANSWERS {
        let written = SessionDescription::parse(text).unwrap().to_string();
        assert_eq!(written, *text, "{name}");
    }
}

#[test]
fn bare_line_feeds_and_empty_lines_are_taken() {
    for (name, text) in OFFERS {
        let read = SessionDescription::parse(text);
        assert_eq!(
            SessionDescription::parse(&text.replace("\r\n", "\n")),
            read,
            "{name}"
        );
        assert_eq!(
            SessionDescription::parse(&text.replace('\n', "\n\r\n")),
            read,
            "{name}"
        );
    }
}

#[test]
fn a_browser_offer_is_read_in_full() {
    let offer = SessionDescription::parse(fixture(OFFERS, "chrome-data")).unwrap();
    assert_eq!(offer.bundle, ["0", "1", "2"]);
    assert!(offer.extmap_allow_mixed && !offer.ice_lite);
    let [audio, video, data] = offer.media.as_slice() else {
        panic!("three sections")
    };
    assert_eq!(audio.kind, MediaKind::Audio);
    assert_eq!(audio.codecs.len(), 8);
    let opus = audio.codec(111).unwrap();
    assert_eq!((opus.clock_rate, opus.channels), (48_000, Some(2)));
    assert_eq!(opus.parameter("minptime"), Some("10"));
    assert_eq!(opus.feedback, ["transport-cc"]);
    assert_eq!(audio.red_of(111), Some(63));
    assert_eq!(video.rtx_of(102), Some(103));
    assert_eq!(video.rtx_of(104), None);
    assert_eq!(video.codec(96).unwrap().feedback.len(), 5);
    assert_eq!(video.extension_id(extension::RID), Some(10));
    assert_eq!(video.fid_pairs().collect::<Vec<_>>(), [(2001, 3001)]);
    assert_eq!(video.media_ssrcs().collect::<Vec<_>>(), [2001]);
    assert!(video.rtcp_mux && video.rtcp_rsize);
    assert!(data.is_data() && !data.is_rtp() && video.is_rtp() && !video.is_data());
    assert_eq!(
        (data.sctp_port, data.max_message_size),
        (Some(5000), Some(262_144))
    );
    assert_eq!(offer.ice_of(video).unwrap().ufrag, "fxAb");
    assert_eq!(offer.setup_of(data), Some(Setup::Actpass));
}

#[test]
fn values_of_the_session_hold_for_sections_without_their_own() {
    let offer = SessionDescription::parse(fixture(OFFERS, "plain-audio")).unwrap();
    let audio = &offer.media[0];
    assert_eq!(audio.ice, None);
    assert_eq!(offer.ice_of(audio).unwrap().ufrag, "emb1");
    assert_eq!(offer.setup_of(audio), Some(Setup::Passive));
    let fingerprint = offer.fingerprint_of(audio).unwrap();
    assert_eq!(
        (fingerprint.hash.as_str(), fingerprint.bytes.len()),
        ("sha-256", 32)
    );
    assert_eq!(
        audio.codec(8).map(|codec| codec.name.as_str()),
        Some("PCMA")
    );
    assert_eq!(audio.candidates.len(), 2);
    assert_eq!((audio.ptime, audio.bandwidth[0].value), (Some(20), 80));
}

#[test]
fn the_sha_256_fingerprint_is_preferred() {
    let offer = fixture(OFFERS, "aiortc").replace("a=fingerprint:sha-256", "a=was");
    let offer = SessionDescription::parse(&offer).unwrap();
    assert_eq!(
        offer.fingerprint_of(&offer.media[0]).unwrap().hash,
        "sha-384"
    );
    let offer = fixture(OFFERS, "aiortc").replace("sha-384", "sha-1");
    let offer = SessionDescription::parse(&offer).unwrap();
    assert_eq!(offer.fingerprints_of(&offer.media[0]).len(), 3);
    assert_eq!(
        offer.fingerprint_of(&offer.media[0]).unwrap().hash,
        "sha-256"
    );
}

#[test]
fn refusals_are_worded_as_janus_words_them() {
    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n";
    let chrome = fixture(OFFERS, "chrome");
    let check = |text: &str, reason: &str| {
        let refused = SessionDescription::parse(text).expect_err(reason);
        assert_eq!(refused.to_string(), reason);
    };
    check("", "Invalid SDP (doesn't start with v=)");
    check("this is not an SDP", "Invalid SDP (doesn't start with v=)");
    check("v=0\r\n", "Missing mandatory lines (o=, s= or m=)");
    check(HEAD, "Missing mandatory lines (o=, s= or m=)");
    check(
        "v=0\nm=audio 9 RTP/SAVPF 0\n",
        "Missing mandatory lines (o=, s= or m=)",
    );
    check(
        &format!("{HEAD}zzz\r\n"),
        "Invalid line (2nd char is not '='): zzz",
    );
    check(&format!("{HEAD}a\r\n"), "Invalid line (1 bytes): a");
    check(&format!("{HEAD}a=\r\n"), "Invalid line (2 bytes): a=");
    check(&format!("{HEAD}m=audio\r\n"), "Invalid m= line: m=audio");
    check(
        &format!("{HEAD}m=audio x RTP/SAVPF 0\r\n"),
        "Invalid m= line: m=audio x RTP/SAVPF 0",
    );
    check(
        &format!("{HEAD}m=audio 9 RTP/SAVPF\r\n"),
        "Invalid m= line (no payload types/formats): m=audio 9 RTP/SAVPF",
    );
    check("v=0\r\no=- 1\r\n", "Invalid o= line: o=- 1");
    check(&format!("{HEAD}c=foo\r\n"), "Invalid c= line: c=foo");
    check(
        &format!("{HEAD}a=fingerprint:sha-256 0\r\n"),
        "Invalid a= line: a=fingerprint:sha-256 0",
    );
    check(
        &format!("{HEAD}a=setup:both\r\n"),
        "Invalid a= line: a=setup:both",
    );
    check(
        &format!("{HEAD}a=ice-ufrag:a b\r\n"),
        "Invalid a= line: a=ice-ufrag:a b",
    );
    check(&format!("{HEAD}a=x\ry\r\n"), "Invalid a= line: a=x\ry");
    check(
        &chrome.replace("a=mid:1", "a=mid:0"),
        "Two m= lines with the same mid: 0",
    );
    let long = "a=mid:12345678901234567";
    check(
        &chrome.replace("a=mid:1", long),
        &format!("Invalid a= line: {long}"),
    );
}

#[test]
fn a_refusal_repeats_only_the_beginning_of_a_line() {
    let text = format!("v=0\r\nzzz{}\r\n", "é".repeat(50_000));
    assert!(
        SessionDescription::parse(&text)
            .unwrap_err()
            .to_string()
            .len()
            < 500
    );
}

#[test]
fn limits_hold_and_are_reachable() {
    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n";
    const AUDIO: &str = "m=audio 9 RTP/SAVPF 0\r\n";
    let limits = Limits::default();
    let check = |build: &dyn Fn(usize) -> String, max: usize, what: &'static str| {
        assert!(
            SessionDescription::parse(&build(max)).is_ok(),
            "{max} {what}"
        );
        let refused = SessionDescription::parse(&build(max + 1));
        assert_eq!(refused, Err(SdpError::TooMany { what, max }));
    };
    let sized = |size: usize| {
        let text = format!("{HEAD}{AUDIO}");
        format!("{text}a={}\r\n", "x".repeat(size - text.len() - 4))
    };
    check(&sized, limits.sdp_bytes, "bytes of SDP");
    let lined = |count: usize| format!("{HEAD}{AUDIO}{}", "a=x\r\n".repeat(count - 4));
    check(&lined, limits.sdp_lines_count, "lines of SDP");
    let sections = |count: usize| format!("{HEAD}{}", AUDIO.repeat(count));
    check(&sections, limits.sdp_media_count, "m= lines");
    let formats = |count: usize| format!("{HEAD}m=audio 9 RTP/SAVPF{}\r\n", " 0".repeat(count));
    check(&formats, limits.sdp_codecs_count, "formats of an m= line");
    let sources = |count: usize| {
        let lines: String = (0..count)
            .map(|id| format!("a=ssrc:{id} cname:x\r\n"))
            .collect();
        format!("{HEAD}{AUDIO}{lines}")
    };
    check(&sources, SDP_SSRCS_MAX, "sources of an m= line");
    let narrow = Limits {
        sdp_lines_count: 3,
        ..limits
    };
    let refused = SessionDescription::parse_within(&lined(4), &narrow);
    assert_eq!(
        refused,
        Err(SdpError::TooMany {
            what: "lines of SDP",
            max: 3
        })
    );
}

#[test]
fn attributes_that_cannot_be_read_are_left_out() {
    let check = |from: &str, to: &str| {
        let text = fixture(OFFERS, "chrome");
        assert!(text.contains(from), "{from}");
        let offer = SessionDescription::parse(&text.replace(from, to)).unwrap();
        let again = SessionDescription::parse(&offer.to_string());
        assert_eq!(again, Ok(offer), "{to}");
    };
    check("a=rtpmap:111 opus/48000/2", "a=rtpmap:111");
    check("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 opus/0");
    check("a=extmap:1 ", "a=extmap:xx ");
    check("a=extmap:1 ", "a=extmap:4096 ");
    check("a=mid:0", "a=mid:0\r\na=candidate:foo");
    check("SAVPF 111 63", "SAVPF abc 300 111 111 63");
    check(
        "a=ssrc:1001 cname:fixture",
        "a=ssrc:x\r\na=ssrc:7\r\na=ssrc-group:FID x",
    );
    check("t=0 0", "b=foo\r\nb=AS:900\r\nx=unknown\r\nt=0 0");
    check(
        "a=mid:0",
        "a=mid:0\r\na=simulcast:both h\r\na=rid:h\r\na=rid:h!x send",
    );
    check(
        "a=rtcp-mux",
        "a=rtcp-fb:* nack\r\na=ptime:x\r\na=simulcast:send a,~b;c recv d",
    );
}

#[test]
fn a_written_value_stays_on_its_line() {
    let mut offer = SessionDescription::parse(fixture(OFFERS, "chrome")).unwrap();
    offer.name = "room\r\nm=evil 1 X 1\n\0".to_owned();
    let text = offer.to_string();
    assert!(
        text.contains("\r\ns=room  m=evil 1 X 1  \r\nt=0 0\r\n"),
        "{text}"
    );
    assert_eq!(SessionDescription::parse(&text).unwrap().media, offer.media);
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

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(v=0\n)?([ovscbtamz]=[ -~]{0,40}\r?\n|.{0,9}){0,40}") {
        let _ = SessionDescription::parse(&text);
    }

    #[test]
    fn mutated_offers_are_refused_or_written_back_and_answered(
        which in 0..OFFERS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..8),
    ) {
        let mut lines: Vec<String> = OFFERS[which].1.lines().map(str::to_owned).collect();
        for (index, edit) in &edits {
            edit.apply(index.index(lines.len()), &mut lines);
        }
        if let Ok(read) = SessionDescription::parse(&lines.join("\n")) {
            prop_assert_eq!(&SessionDescription::parse(&read.to_string()), &Ok(read.clone()));
            let mut offer = read;
            if offer.normalise().is_ok() {
                let plan = echo_plan(&offer, &Wishes::default());
                let answer = build_answer(&offer, &plan, &transport(Trickle::Half));
                prop_assert_eq!(SessionDescription::parse(&answer.to_string()), Ok(answer));
            }
        }
    }
}

/// A change to one line of an offer.
#[derive(Clone, Debug)]
enum Edit {
    Cut(prop::sample::Index),
    Drop,
    Insert(prop::sample::Index, String),
    Repeat,
}

fn edit() -> impl Strategy<Value = Edit> {
    let scrap = "[ -~]{1,6}|:|;|/| 0|~|\\PC";
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Edit::Cut),
        Just(Edit::Drop),
        (any::<prop::sample::Index>(), scrap).prop_map(|(at, text)| Edit::Insert(at, text)),
        Just(Edit::Repeat),
    ]
}

impl Edit {
    fn apply(&self, index: usize, lines: &mut Vec<String>) {
        let place = |at: &prop::sample::Index, line: &str| {
            line.char_indices()
                .map(|(place, _)| place)
                .nth(at.index(line.chars().count()))
        };
        match self {
            Self::Cut(at) if !lines[index].is_empty() => {
                let place = place(at, &lines[index]).unwrap();
                lines[index].truncate(place);
            }
            Self::Insert(at, text) if !lines[index].is_empty() => {
                let place = place(at, &lines[index]).unwrap();
                lines[index].insert_str(place, text);
            }
            Self::Cut(_) | Self::Insert(..) => {}
            Self::Drop if lines.len() > 1 => drop(lines.remove(index)),
            Self::Drop => {}
            Self::Repeat => lines.insert(index, lines[index].clone()),
        }
    }
}

fn fixture(all: &[(&'static str, &'static str)], name: &str) -> &'static str {
    all.iter()
        .find(|each| each.0 == name)
        .expect("a fixture of that name")
        .1
}

/// What a client asks of the echo, beside its offer.
#[derive(Default)]
struct Wishes {
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
fn echo_plan(offer: &SessionDescription, wishes: &Wishes) -> AnswerPlan {
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

fn transport(trickle: Trickle) -> LocalTransport {
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
