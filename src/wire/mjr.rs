//! Recordings in the format of Janus, `.mjr`: one file for one stream, a header in JSON and then
//! its packets, each with the time at which it came.
//!
//! ```text
//! "MJR00002"  size of the header, 16 bits  header
//! "MEET"  milliseconds since the first frame, 32 bits  size, 16 bits  RTP packet or message
//! "MEET"  …                                                              (all big-endian)
//! ```
//!
//! Invariant: a file that was cut off anywhere holds all frames that are whole in it.

use serde_json::Value;

use crate::base::clock::Realtime;
use crate::base::json::push_string;

/// What a file begins with. One that nothing came for ends here.
pub const MAGIC: [u8; 8] = *b"MJR00002";

const FRAME: [u8; 4] = *b"MEET";

/// What a frame may hold, in bytes: its size has 16 bits.
pub const PAYLOAD_BYTES_MAX: usize = u16::MAX as usize;

/// What a message has in front of it: when it came, in microseconds since 1970.
pub const STAMP_SIZE: usize = 8;

/// Readers keep the header in a buffer of 1,500 bytes.
const HEADER_BYTES_MAX: usize = 1_480;

/// What is kept of a description or of parameters where they make the header too long.
const SHORT_CHARS: usize = 64;

/// What a recording is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MjrKind {
    /// Sound.
    Audio,
    /// Messages.
    Data,
    /// Pictures.
    Video,
}

impl MjrKind {
    const fn letter(self) -> char {
        match self {
            Self::Audio => 'a',
            Self::Data => 'd',
            Self::Video => 'v',
        }
    }
}

/// What is said of a recording in its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MjrInfo {
    /// What it is of.
    pub kind: MjrKind,
    /// The name of the codec in lower case; `text` or `binary` for messages.
    pub codec: Box<str>,
    /// The parameters of the codec.
    pub fmtp: Option<Box<str>>,
    /// What its publisher says of the stream.
    pub description: Option<Box<str>>,
    /// The numbers of header extensions, with their URIs.
    pub extensions: Vec<(u8, &'static str)>,
    /// The payload type of packets with copies of earlier ones (RFC 2198).
    pub red_pt: Option<u8>,
    /// Payloads are encrypted end to end.
    pub is_encrypted: bool,
}

impl MjrInfo {
    /// Appends the header: `created` is when the recording was asked for, `began` when its first
    /// frame came.
    pub fn write(&self, created: Realtime, began: Realtime, out: &mut Vec<u8>) {
        let mut header = self.header(created, began, usize::MAX);
        if header.len() > HEADER_BYTES_MAX {
            header = self.header(created, began, SHORT_CHARS);
        }
        out.extend((header.len() as u16).to_be_bytes());
        out.extend(header.into_bytes());
    }

    /// The members stand in the order that Janus gives them, spaced as it does.
    fn header(&self, created: Realtime, began: Realtime, chars_max: usize) -> String {
        let mut header = format!("{{\"t\": \"{}\", \"c\": ", self.kind.letter());
        push_string(&mut header, &self.codec);
        for (name, text) in [("f", &self.fmtp), ("d", &self.description)] {
            if let Some(text) = text {
                header += &format!(", \"{name}\": ");
                let text: String = text.chars().take(chars_max).collect();
                push_string(&mut header, &text);
            }
        }
        if !self.extensions.is_empty() {
            header += ", \"x\": {";
            for (index, (id, uri)) in self.extensions.iter().enumerate() {
                let comma = if index > 0 { ", " } else { "" };
                header += &format!("{comma}\"{id}\": ");
                push_string(&mut header, uri);
            }
            header.push('}');
        }
        let (created, began) = (created.unix_micros(), began.unix_micros());
        header += &format!(", \"s\": {created}, \"u\": {began}");
        if let Some(pt) = self.red_pt {
            header += &format!(", \"or\": {pt}");
        }
        if self.is_encrypted {
            header += ", \"e\": true";
        }
        header.push('}');
        header
    }
}

/// Appends a frame whose payload `write` appends; tells whether it fits. What does not is not there.
pub fn frame(millis: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> bool {
    let begin = out.len();
    out.extend(FRAME);
    out.extend(millis.to_be_bytes());
    out.extend([0; 2]);
    let payload_at = out.len();
    write(out);
    let size = out.len() - payload_at;
    if size > PAYLOAD_BYTES_MAX {
        out.truncate(begin);
        return false;
    }
    out[payload_at - 2..payload_at].copy_from_slice(&(size as u16).to_be_bytes());
    true
}

/// A recording that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MjrFile {
    /// The header; `None` if nothing came after the magic.
    pub header: Option<Value>,
    /// Milliseconds since the first frame, and the payload of each.
    pub frames: Vec<(u32, Vec<u8>)>,
    /// The file does not end within a header or frame.
    pub is_whole: bool,
}

/// Reads a file as far as it goes; `None` if it is none of this format.
pub fn read(file: &[u8]) -> Option<MjrFile> {
    let mut rest = file.strip_prefix(&MAGIC)?;
    let mut read = MjrFile {
        header: None,
        frames: Vec::new(),
        is_whole: rest.is_empty(),
    };
    let Some(header) = take_sized(&mut rest) else {
        return Some(read);
    };
    let header: Value = serde_json::from_slice(header).ok()?;
    for (name, is_there) in [
        ("t", header["t"].is_string()),
        ("c", header["c"].is_string()),
        ("s", header["s"].is_i64()),
        ("u", header["u"].is_i64()),
    ] {
        if !is_there {
            tracing::debug!(name, "a recording lacks a member of its header");
            return None;
        }
    }
    read.header = Some(header);
    while let Some((head, mut behind)) = rest.split_at_checked(FRAME.len() + 4) {
        let (magic, millis) = head.split_at(FRAME.len());
        if magic != FRAME {
            return None;
        }
        let Some(payload) = take_sized(&mut behind) else {
            return Some(read);
        };
        let millis = millis.try_into().expect("four bytes");
        read.frames
            .push((u32::from_be_bytes(millis), payload.to_vec()));
        rest = behind;
    }
    read.is_whole = rest.is_empty();
    Some(read)
}

/// Takes what has its size in 16 bits in front; `None` if it is not all there.
fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (size, behind) = rest.split_first_chunk()?;
    let (taken, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
    *rest = behind;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn info() -> MjrInfo {
        MjrInfo {
            kind: MjrKind::Audio,
            codec: "pcmu".into(),
            fmtp: None,
            description: None,
            extensions: Vec::new(),
            red_pt: None,
            is_encrypted: false,
        }
    }

    fn at(micros: i64) -> Realtime {
        Realtime::from_unix_micros(micros)
    }

    fn begun(info: &MjrInfo) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        info.write(
            at(1_795_327_491_371_958),
            at(1_795_327_491_386_951),
            &mut file,
        );
        file
    }

    #[test]
    fn a_file_is_as_janus_writes_it() {
        let mut file = begun(&info());
        assert!(frame(0, &mut file, |out| out.extend([0x90, 0x80])));
        let header = br#"{"t": "a", "c": "pcmu", "s": 1795327491371958, "u": 1795327491386951}"#;
        let mut wanted = b"MJR00002\x00\x45".to_vec();
        wanted.extend(header);
        wanted.extend(b"MEET\x00\x00\x00\x00\x00\x02\x90\x80");
        assert_eq!(file, wanted);
    }

    #[test]
    fn all_that_a_header_may_say_stands_in_the_order_of_janus() {
        let info = MjrInfo {
            kind: MjrKind::Video,
            codec: "h264".into(),
            fmtp: Some("profile-level-id=42e01f".into()),
            description: Some("a \"camera\"".into()),
            extensions: vec![(3, "urn:a"), (13, "urn:b")],
            red_pt: Some(63),
            is_encrypted: true,
        };
        let header = info.header(at(1), at(2), usize::MAX);
        assert_eq!(
            header,
            concat!(
                r#"{"t": "v", "c": "h264", "f": "profile-level-id=42e01f", "d": "a \"camera\"", "#,
                r#""x": {"3": "urn:a", "13": "urn:b"}, "s": 1, "u": 2, "or": 63, "e": true}"#
            )
        );
    }

    #[test]
    fn long_texts_are_cut_so_that_readers_can_hold_the_header() {
        let long = MjrInfo {
            fmtp: Some("f".repeat(3_000).into()),
            description: Some("\u{1f39e}".repeat(3_000).into()),
            ..info()
        };
        let header = read(&begun(&long)).unwrap().header.unwrap();
        assert!(header.to_string().len() < 1_500);
        assert_eq!(header["f"], "f".repeat(SHORT_CHARS));
        assert_eq!(header["d"], "\u{1f39e}".repeat(SHORT_CHARS));
    }

    #[test]
    fn what_is_too_long_for_a_frame_leaves_no_trace() {
        let mut file = begun(&info());
        let before = file.clone();
        let longest = vec![7; PAYLOAD_BYTES_MAX];
        assert!(!frame(1, &mut file, |out| {
            out.extend(&longest);
            out.push(7);
        }));
        assert_eq!(file, before);
        assert!(frame(1, &mut file, |out| out.extend(&longest)));
        assert_eq!(read(&file).unwrap().frames, [(1, longest)]);
    }

    #[test]
    fn what_is_no_recording_is_not_read() {
        assert_eq!(read(b"MJR00001"), None);
        assert_eq!(read(b"MJR00002\x00\x02{}"), None);
        let mut file = begun(&info());
        file.extend(b"MOOT\x00\x00\x00\x00\x00\x00");
        assert_eq!(read(&file), None);
        let nothing = read(&MAGIC).unwrap();
        assert!(nothing.is_whole && nothing.header.is_none());
    }

    proptest! {
        /// What is written is read, and a file that was cut off has what is whole in it.
        #[test]
        fn any_part_of_a_file_has_its_first_frames(
            frames in prop::collection::vec(
                (any::<u32>(), prop::collection::vec(any::<u8>(), 0..200)), 0..12),
            description in ".{0,400}",
            cut in any::<prop::sample::Index>(),
        ) {
            let info = MjrInfo { description: Some(description.into()), ..info() };
            let mut file = begun(&info);
            let mut ends = vec![file.len()];
            for (millis, payload) in &frames {
                prop_assert!(frame(*millis, &mut file, |out| out.extend(payload)));
                ends.push(file.len());
            }
            let whole = read(&file).expect("it is a recording");
            prop_assert!(whole.is_whole);
            prop_assert_eq!(&whole.frames, &frames);
            let end = MAGIC.len() + cut.index(file.len() - MAGIC.len() + 1);
            let part = read(&file[..end]).expect("it begins like one");
            let count = ends.iter().filter(|each| **each <= end).count();
            prop_assert_eq!(part.header.is_some(), count > 0);
            prop_assert_eq!(&part.frames[..], &frames[..count.saturating_sub(1)]);
            prop_assert_eq!(part.is_whole, end == MAGIC.len() || ends.contains(&end));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut file = MAGIC.to_vec();
            file.extend(&bytes);
            read(&file);
            read(&bytes);
        }
    }
}
