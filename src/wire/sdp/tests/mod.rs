//! Reading and writing whole descriptions, over offers of many kinds of clients.

mod answers;
mod properties;

use super::*;
use crate::base::limits::Limits;

macro_rules! fixtures {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$((
            $name,
            include_str!(concat!("../../../../tests/fixtures/sdp/", $folder, "/", $name, ".sdp")),
        )),*]
    };
}

const OFFERS: &[(&str, &str)] = fixtures!("offers":
    "aiortc", "chrome", "chrome-data", "chrome-simulcast-rid", "chrome-simulcast-ssrc", "firefox",
    "gstreamer-like", "plain-audio", "safari-like",
);

const ANSWERS: &[(&str, &str)] = fixtures!("answers":
    "aiortc", "chrome", "chrome-data", "chrome-data-lite", "chrome-h264", "chrome-inactive",
    "chrome-paused-rid", "chrome-red", "chrome-rejected-video", "chrome-simulcast-rid",
    "chrome-simulcast-ssrc", "firefox", "gstreamer-like", "safari-like",
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
    let offer = fixture(OFFERS, "aiortc")
        .replace("sha-256", "sha-1")
        .replace("sha-384", "SHA-256");
    let offer = SessionDescription::parse(&offer).unwrap();
    let (all, best) = (
        &offer.media[0].fingerprints,
        offer.fingerprint_of(&offer.media[0]),
    );
    assert_eq!(all.len(), 3);
    assert_eq!(best, Some(&all[1]));
}

#[test]
fn repetition_does_not_multiply() {
    let edited = |from: &str, to: &str| {
        let text = fixture(OFFERS, "chrome").replacen(from, to, 1);
        SessionDescription::parse(&text).unwrap().media.remove(0)
    };
    let known = edited("", "");
    assert_eq!(edited("SAVPF 111 63", "SAVPF 111 63 111"), known);
    let fb = "a=rtcp-fb:111 transport-cc";
    assert_eq!(
        edited(
            fb,
            &format!("{fb}\r\n{fb}\r\na=rtcp-fb:111 {}", "x".repeat(65))
        ),
        known
    );
    let msid = "a=msid:fixture-stream fixture-audio";
    assert_eq!(
        edited(msid, &format!("{msid}\r\na=msid:other track")),
        known
    );
    let many: String = (0..50)
        .map(|index| format!("a=rtcp-fb:* x{index}\r\n"))
        .collect();
    let flooded = edited(fb, &format!("{many}{fb}"));
    assert!(
        flooded
            .codecs
            .iter()
            .all(|codec| codec.feedback.len() == 16)
    );
}

#[test]
fn a_tab_is_no_control_character() {
    let text = fixture(OFFERS, "chrome").replace("s=-", "s=a\tb");
    assert_eq!(SessionDescription::parse(&text).unwrap().name, "a\tb");
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

fn fixture(all: &[(&'static str, &'static str)], name: &str) -> &'static str {
    all.iter()
        .find(|each| each.0 == name)
        .expect("a fixture of that name")
        .1
}
