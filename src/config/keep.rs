//! The VideoRoom's file as Janus writes it: every value a text, no comments.

use std::fmt::Write as _;

use super::schema::{DummyStreamConfig, RoomConfig, VideoRoomConfig};

impl VideoRoomConfig {
    /// Writes the file of the plugin with these rooms in it.
    pub fn to_jcfg(&self, rooms: &[RoomConfig]) -> String {
        let mut out = String::from("general: {\n");
        if let Some(key) = &self.admin_key {
            setting(&mut out, "admin_key", key.expose());
        }
        let word = |flag: bool| if flag { "true" } else { "false" };
        setting(&mut out, "lock_rtp_forward", word(self.lock_rtp_forward));
        setting(&mut out, "events", word(self.events));
        setting(&mut out, "string_ids", word(self.string_ids));
        out.push_str("}\n");
        for room in rooms {
            let _ = writeln!(out, "\nroom-{}: {{", room.id);
            for (name, value) in &room.settings {
                setting(&mut out, name, value.expose());
            }
            if let Some(streams) = &room.dummy_streams {
                dummy_streams(&mut out, streams);
            }
            out.push_str("}\n");
        }
        out
    }

    /// Whether a room with this id can stand in the file: sections have names of few characters.
    pub fn can_keep(id: &str) -> bool {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        !id.is_empty() && id.chars().all(is_plain)
    }
}

fn dummy_streams(out: &mut String, streams: &[DummyStreamConfig]) {
    out.push_str("\tdummy_streams = (");
    for (index, stream) in streams.iter().enumerate() {
        out.push_str(if index == 0 { "\n\t{\n" } else { ",\n\t{\n" });
        setting(out, "codec", &stream.codec);
        if let Some(fmtp) = &stream.fmtp {
            setting(out, "fmtp", fmtp);
        }
        out.push_str("\t}");
    }
    out.push_str(")\n");
}

fn setting(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, "\t{name} = \"");
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push_str("\"\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Secret};

    #[test]
    fn what_is_written_reads_back_whatever_it_is() {
        let odd = "a \"quoted\" \\ text,\n\twith # and // and \u{7} and ü";
        let config = VideoRoomConfig {
            admin_key: Some(Secret::new(odd)),
            lock_rtp_forward: true,
            events: false,
            string_ids: true,
            ..VideoRoomConfig::default()
        };
        let room = |id: &str, name: &str, value: &str| RoomConfig {
            id: id.to_owned(),
            settings: vec![
                (name.to_owned(), Secret::new(value)),
                ("description".to_owned(), Secret::new(odd)),
            ],
            dummy_streams: None,
        };
        let stream = |codec: &str, fmtp: Option<&str>| DummyStreamConfig {
            codec: codec.to_owned(),
            fmtp: fmtp.map(str::to_owned),
        };
        let streams = |id: &str, streams: &[DummyStreamConfig]| RoomConfig {
            dummy_streams: Some(streams.to_vec()),
            ..room(id, "dummy_publisher", "true")
        };
        let rooms = [
            room("1234", "secret", odd),
            room("my-room_2", "publishers", "6"),
            streams("3", &[stream("vp8", Some(odd)), stream("opus", None)]),
            streams("4", &[]),
        ];
        let text = config.to_jcfg(&rooms);
        let name = "janus.plugin.videoroom.jcfg";
        let read = Config::from_jcfg(&[(name, &text)], &|_| unreachable!("nothing is included"));
        let (read, warnings) = read.expect("it is valid");
        assert!(warnings.is_empty(), "{warnings:?}");
        let expected = VideoRoomConfig {
            rooms: rooms.to_vec(),
            file: Some(name.into()),
            ..config
        };
        assert_eq!(read.videoroom, expected);
    }

    #[test]
    fn only_names_of_sections_can_be_kept() {
        for (id, can) in [
            ("1234", true),
            ("a-b_C", true),
            ("", false),
            ("a b", false),
            ("ü", false),
        ] {
            assert_eq!(VideoRoomConfig::can_keep(id), can, "{id}");
        }
    }
}
