//! What is recorded of a publisher: a file for each of its streams.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::gateway::plugin::Cx;
use crate::gateway::recordings::RecordingWish;
use crate::media::RecordingId;
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind};
use crate::wire::mjr::{MjrInfo, MjrKind};

/// The recordings of one publisher, and what it wants of them.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// What was last said of this publisher alone; otherwise the room decides.
    wish: Option<bool>,
    base: Option<Box<str>>,
    /// By the position of the stream. Without an id it cannot be recorded.
    streams: BTreeMap<usize, Recorded>,
}

#[derive(Debug)]
struct Recorded {
    id: Option<RecordingId>,
    file: String,
    codec: Box<str>,
}

/// A publisher whose streams are recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) room: &'a Id,
    pub(super) user: &'a Id,
    pub(super) options: &'a RoomOptions,
    pub(super) streams: &'a [StreamInfo],
    pub(super) e2ee: bool,
}

/// What a name takes of an id, which may be any text.
const ID_CHARS_MAX: usize = 60;

impl Recording {
    /// Notes what is wanted from here on; [`Recording::settle`] follows.
    pub(super) fn wish(&mut self, wish: Option<bool>, base: Option<Box<str>>) {
        self.wish = wish.or(self.wish);
        self.base = base.or(self.base.take());
    }

    /// The room decides from here on; [`Recording::settle`] follows.
    pub(super) const fn follow_room(&mut self) {
        self.wish = None;
    }

    /// Begins what is to be recorded and is not, and ends what is not to be. Returns the streams
    /// that cannot be recorded.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>, subject: Subject<'_>) -> Vec<usize> {
        let is_wanted = self.wish.unwrap_or(subject.options.record);
        let goes_on = |mindex: usize, recorded: &Recorded| {
            let mut streams = subject.streams.iter();
            let stream = streams.find(|stream| stream.mindex == mindex);
            stream.is_some_and(|stream| !stream.is_disabled && stream.codec == recorded.codec)
        };
        self.streams.retain(|mindex, recorded| {
            let stays = is_wanted && goes_on(*mindex, recorded);
            if let Some(id) = recorded.id.filter(|_| !stays) {
                cx.media.stop_recording(id);
            }
            stays
        });
        let mut failed = Vec::new();
        if !is_wanted {
            return failed;
        }
        let base = self.base.clone().unwrap_or_else(|| {
            let micros = cx.now.realtime.unix_micros();
            let [room, user] = [subject.room, subject.user].map(|id| plain(&id.to_string()));
            format!("videoroom-{room}-user-{user}-{micros}").into()
        });
        for stream in subject.streams.iter().filter(|stream| !stream.is_disabled) {
            if self.streams.contains_key(&stream.mindex) {
                continue;
            }
            let name = format!("{base}-{}-{}", stream.kind.as_str(), stream.mindex);
            let id = cx.record(RecordingWish {
                line: stream.line,
                info: info(stream, subject.e2ee),
                folder: subject.options.rec_dir.as_deref(),
                name: &name,
            });
            if id.is_none() {
                failed.push(stream.mindex);
            }
            let recorded = Recorded {
                id,
                file: format!("{name}.mjr"),
                codec: stream.codec.clone(),
            };
            self.streams.insert(stream.mindex, recorded);
        }
        failed
    }

    /// A file could not be written; it is not tried again.
    pub(super) fn failed(&mut self, id: RecordingId) {
        let mut recorded = self.streams.values_mut();
        if let Some(recorded) = recorded.find(|recorded| recorded.id == Some(id)) {
            recorded.id = None;
        }
    }

    /// Nothing is published any more, and with that nothing is recorded.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The file of a stream that is recorded.
    pub(super) fn file(&self, mindex: usize) -> Option<&str> {
        let recorded = self.streams.get(&mindex)?;
        recorded.id.map(|_| &*recorded.file)
    }
}

/// What a client is told of a stream of its own that cannot be recorded.
pub(super) fn failure(room: &Id, user: &Id, stream: &StreamInfo) -> Value {
    json!({
        "videoroom": "event",
        "room": room.json(),
        "id": user.json(),
        "mid": stream.mid,
        "recording": "failed",
    })
}

fn info(stream: &StreamInfo, e2ee: bool) -> MjrInfo {
    let (kind, codec, fmtp) = match stream.kind {
        StreamKind::Audio => (MjrKind::Audio, stream.codec.clone(), None),
        // Whatever their form, as in Janus.
        StreamKind::Data => (MjrKind::Data, "text".into(), None),
        StreamKind::Video => (MjrKind::Video, stream.codec.clone(), stream.fmtp.clone()),
    };
    MjrInfo {
        kind,
        codec,
        fmtp,
        description: stream.description.clone(),
        extensions: Vec::new(),
        red_pt: None,
        is_encrypted: e2ee && kind != MjrKind::Data,
    }
}

/// An id as a part of the name of a file.
fn plain(id: &str) -> String {
    let chars = id.chars().take(ID_CHARS_MAX);
    chars
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c,
            _ => '_',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_form_make_names_of_files() {
        for (id, name) in [
            ("1234", "1234"),
            ("../a b\0\u{e9}", ".._a_b__"),
            ("6f2c-4d", "6f2c-4d"),
        ] {
            assert_eq!(plain(id), name);
        }
        assert_eq!(plain(&"x".repeat(500)).len(), ID_CHARS_MAX);
    }
}
