//! Recordings of a call: which packets are in the file, with which numbers, and how it is written.

use super::*;
use crate::media::recording::{RecordingAct, RecordingSpec, RecordingWrite};
use crate::wire::mjr::{self, MjrFile, MjrInfo, MjrKind};
use crate::wire::rtp::packet::RtpLayout;

fn spec(line: LineRef, kind: MjrKind, codec: &str) -> RecordingSpec {
    RecordingSpec {
        line,
        info: MjrInfo {
            kind,
            codec: codec.into(),
            fmtp: None,
            description: Some("a camera".into()),
            extensions: Vec::new(),
            red_pt: None,
            is_encrypted: false,
        },
        base: "/rec/a".into(),
        open_ending: Some("tmp".into()),
    }
}

/// A disk with one file, which takes all that is asked of it.
#[derive(Default)]
struct Disk {
    name: String,
    file: Vec<u8>,
    writes: usize,
}

impl Disk {
    fn take(&mut self, call: &mut Call) {
        while let Some(write) = call.media.next_recording_write() {
            let id = write.id;
            self.write(write);
            call.media.recording_written(id, true);
        }
    }

    fn write(&mut self, RecordingWrite { path, act, .. }: RecordingWrite) {
        self.writes += 1;
        let path = path.to_str().unwrap().to_owned();
        match act {
            RecordingAct::Make(bytes) => (self.name, self.file) = (path, bytes),
            RecordingAct::More(bytes) => {
                assert_eq!(self.name, path);
                self.file.extend(bytes);
            }
            RecordingAct::Name(name) => {
                assert_eq!(self.name, path);
                self.name = name.to_str().unwrap().to_owned();
            }
        }
    }

    fn read(&self) -> MjrFile {
        let read = mjr::read(&self.file).unwrap();
        assert!(read.is_whole);
        read
    }
}

/// Sequence number, timestamp, source and payload of each packet.
fn packets(file: &MjrFile) -> Vec<(u16, u32, u32, Vec<u8>)> {
    let packets = file.frames.iter().map(|(_, bytes)| {
        let layout = RtpLayout::read(bytes).unwrap();
        let header = layout.header;
        let payload = bytes[layout.payload.clone()].to_vec();
        (header.sequence, header.timestamp, header.ssrc, payload)
    });
    packets.collect()
}

#[test]
fn a_file_has_the_packets_of_a_line_with_numbers_from_one_on() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    call.connect();
    let pt = pt_of(&answer, 0);
    call.send(mids[0], None, pt, 700, 9_000, &vp8_key(1));
    let before = call.client.keyframe_requests;
    let asked = call.now;
    let (line, mut disk) = (call.line(0), Disk::default());
    call.run(100);
    let id = call
        .media
        .record(call.now, spec(line, MjrKind::Video, "vp8"))
        .unwrap();
    disk.take(&mut call);
    assert_eq!(
        (disk.name.as_str(), &*disk.file),
        ("/rec/a.mjr.tmp", &mjr::MAGIC[..])
    );
    call.run(900);
    assert!(
        call.client.keyframe_requests > before,
        "it begins with a key frame"
    );
    // It cannot be shown without the pictures before.
    call.send(mids[0], None, pt, 799, 47_000, &vp8_delta(1));
    let began = call.now;
    for (index, payload) in [vp8_key(2), vp8_delta(3), vp8_delta(4)].iter().enumerate() {
        call.send(
            mids[0],
            None,
            pt,
            800 + index as u64,
            50_000 + 3_000 * index as u32,
            payload,
        );
        call.run(200);
    }
    disk.take(&mut call);
    assert_eq!(
        disk.writes, 2,
        "what comes within half a second is one write"
    );
    call.run(1_000);
    call.media.stop_recording(id);
    call.send(mids[0], None, pt, 803, 60_000, &vp8_delta(5));
    disk.take(&mut call);
    assert_eq!(disk.name, "/rec/a.mjr");
    assert!(!call.media.has_recordings());

    let file = disk.read();
    let numbers: Vec<_> = packets(&file)
        .iter()
        .map(|packet| (packet.0, packet.1))
        .collect();
    assert_eq!(numbers, [(1, 0), (2, 3_000), (3, 6_000)]);
    assert_eq!(packets(&file)[2].3, vp8_delta(4));
    let millis: Vec<u32> = file.frames.iter().map(|frame| frame.0).collect();
    assert_eq!(millis, [0, 200, 400]);
    let header = file.header.unwrap();
    assert_eq!((&header["t"], &header["c"]), (&"v".into(), &"vp8".into()));
    assert_eq!(header["d"], "a camera");
    assert_eq!(header["s"], asked.realtime.unix_micros() + 100_000);
    assert_eq!(header["u"], began.realtime.unix_micros());
    // What stands in the packets can be read by what stands in the header.
    let ids: Vec<&str> = header["x"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(|uri| uri.as_str())
        .collect();
    assert!(ids.contains(&"urn:3gpp:video-orientation"), "{ids:?}");
    assert_eq!(call.media.counters().frames_recorded, 3);
}

#[test]
fn the_best_encoding_is_recorded_as_one_source() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add_simulcast(api)));
    call.connect();
    let pt = pt_of(&answer, 0);
    let (line, mut disk) = (call.line(0), Disk::default());
    call.media
        .record(call.now, spec(line, MjrKind::Video, "vp8"))
        .unwrap();
    disk.take(&mut call);
    let send = |call: &mut Call, rid: &str, sequence, picture: &[u8]| {
        call.send(
            mids[0],
            Some(rid.into()),
            pt,
            sequence,
            3_000 * sequence as u32,
            picture,
        );
        call.run(30);
    };
    for sequence in 1..4 {
        send(&mut call, "l", sequence, &vp8_key(sequence as u8));
    }
    // All at once, from here on.
    for sequence in 4..8 {
        send(&mut call, "l", sequence, &vp8_delta(sequence as u8));
        send(
            &mut call,
            "h",
            900 + sequence,
            &vp8_key(100 + sequence as u8),
        );
    }
    let peer = call.peer();
    call.media.close(call.now, peer);
    disk.take(&mut call);
    let packets = packets(&disk.read());
    let sequences: Vec<u16> = packets.iter().map(|packet| packet.0).collect();
    assert_eq!(sequences, (1..=packets.len() as u16).collect::<Vec<_>>());
    let ssrcs: Vec<u32> = packets.iter().map(|packet| packet.2).collect();
    assert!(ssrcs.iter().all(|ssrc| *ssrc == ssrcs[0]), "{ssrcs:?}");
    assert_eq!(packets.len(), 4 + 4, "one encoding at a time");
    // Pictures are numbered as one stream is: the last of the low ones is 4.
    let pictures: Vec<u8> = packets.iter().map(|packet| packet.3[3]).collect();
    assert_eq!(pictures, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(disk.name, "/rec/a.mjr", "it ends with its peer");
}

#[test]
fn what_the_disk_does_not_take_in_time_is_dropped_and_counted() {
    let configure = |_: &mut MediaConfig, limits: &mut Limits| limits.recordings_bytes = 1_000;
    let mut call = Call::with(configure, |config| config);
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    call.connect();
    let line = call.line(0);
    call.media
        .record(call.now, spec(line, MjrKind::Video, "vp8"))
        .unwrap();
    let pt = pt_of(&answer, 0);
    let send = |call: &mut Call, sequence: u64| {
        let picture = vp8_key(sequence as u8);
        let time = 3_000 * sequence as u32;
        call.send(mids[0], None, pt, sequence, time, &picture);
        call.run(20);
    };
    (0..40).for_each(|sequence| send(&mut call, sequence));
    let dropped = call.media.counters().drops(DropReason::RecordingFull);
    assert!(dropped > 5, "{dropped}");
    assert_eq!(call.media.counters().frames_recorded, 40 - dropped);
    // The disk is back. What is missing shows in the numbers.
    let mut disk = Disk::default();
    for sequence in 40..80 {
        disk.take(&mut call);
        send(&mut call, sequence);
    }
    call.media.stop_recordings();
    disk.take(&mut call);
    let packets = packets(&disk.read());
    assert_eq!(packets.len() as u64, 80 - dropped);
    assert_eq!(packets.last().unwrap().0, 80);
    assert!(!call.media.has_recordings());
}

#[test]
fn a_taken_name_gets_the_time_behind_it_and_a_refusal_is_told_once() {
    let mut call = Call::new();
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    call.connect();
    let line = call.line(0);
    let id = call
        .media
        .record(call.now, spec(line, MjrKind::Audio, "opus"))
        .unwrap();
    let micros = call.now.realtime.unix_micros();
    let mut names = Vec::new();
    for _ in 0..2 {
        let write = call.media.next_recording_write().unwrap();
        assert!(matches!(write.act, RecordingAct::Make(_)));
        names.push(write.path.to_str().unwrap().to_owned());
        call.media.recording_written(id, false);
    }
    assert_eq!(
        names,
        [
            "/rec/a.mjr.tmp".to_owned(),
            format!("/rec/a-{micros}.mjr.tmp")
        ]
    );
    assert_eq!(call.media.next_recording_write(), None);
    call.run(10);
    let told = PeerEvent::RecordingFailed { id, line: 0 };
    assert_eq!(call.count(|event| *event == told), 1);
    assert_eq!(call.media.counters().recordings_failed, 1);
    assert!(!call.media.has_recordings());

    // The file is there, but not its name.
    let id = call
        .media
        .record(call.now, spec(line, MjrKind::Audio, "opus"))
        .unwrap();
    call.media.next_recording_write().unwrap();
    call.media.recording_written(id, true);
    call.media.stop_recording(id);
    for wanted in [
        "/rec/a.mjr".to_owned(),
        format!("/rec/a-{}.mjr", call.now.realtime.unix_micros()),
    ] {
        let write = call.media.next_recording_write().unwrap();
        assert_eq!(write.act, RecordingAct::Name(wanted.into()));
        assert_eq!(write.path.to_str(), Some("/rec/a.mjr.tmp"));
        call.media.recording_written(id, false);
    }
    assert!(!call.media.has_recordings());
    call.run(10);
    let told = |event: &PeerEvent| matches!(event, PeerEvent::RecordingFailed { .. });
    assert_eq!(call.count(told), 1, "nobody asks for it any more");
}

#[test]
fn pictures_without_a_key_frame_are_left_out_for_some_seconds() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    call.connect();
    let (line, mut disk) = (call.line(0), Disk::default());
    call.media
        .record(call.now, spec(line, MjrKind::Video, "vp8"))
        .unwrap();
    for second in 0..13 {
        let pt = pt_of(&answer, 0);
        let time = 90_000 * second as u32;
        call.send(mids[0], None, pt, second, time, &vp8_delta(second as u8));
        call.run(1_000);
        disk.take(&mut call);
    }
    call.media.stop_recordings();
    disk.take(&mut call);
    assert_eq!(packets(&disk.read()).len(), 3);
}

#[test]
fn messages_have_the_time_in_front() {
    let mut call = Call::new();
    call.negotiate(|api| {
        api.add_channel("chat".to_owned());
    });
    call.connect();
    let (line, mut disk) = (call.line(0), Disk::default());
    call.media
        .record(call.now, spec(line, MjrKind::Data, "text"))
        .unwrap();
    disk.take(&mut call);
    let mut times = Vec::new();
    for text in ["one", "two"] {
        call.run(250);
        times.push(call.now.realtime.unix_micros());
        call.media.record_message(call.now, line, text.as_bytes());
    }
    call.media.record_message(call.now, line, &[7; 65_528]);
    let counters = call.media.counters();
    assert_eq!(counters.drops(DropReason::RecordingTooBig), 1);
    call.media.record_message(call.now, line, &[7; 65_527]);
    call.media.stop_recordings();
    disk.take(&mut call);
    let file = disk.read();
    assert_eq!(file.header.unwrap()["t"], "d");
    for (index, text) in ["one", "two"].into_iter().enumerate() {
        let (millis, bytes) = &file.frames[index];
        assert_eq!(*millis, 250 * index as u32);
        assert_eq!(bytes[..8], times[index].to_be_bytes());
        assert_eq!(&bytes[8..], text.as_bytes());
    }
    assert_eq!(file.frames[2].1.len(), 65_535);
}
