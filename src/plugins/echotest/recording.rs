//! What is recorded of an echo: its first audio, its first video and its messages.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::base::id::{HandleRef, PeerId};
use crate::gateway::plugin::Cx;
use crate::gateway::recordings::RecordingWish;
use crate::media::{LineRef, RecordingId, TrackKind};
use crate::wire::mjr::{MjrInfo, MjrKind};

use super::EchoRoute;

/// The recordings of one handle, and what it wants of them.
#[derive(Debug, Default)]
pub(super) struct Recording {
    is_wanted: bool,
    base: Option<Box<str>>,
    pub(super) is_encrypted: bool,
    /// The line of messages.
    pub(super) messages: Option<usize>,
    /// By what they are of. Without an id it cannot be recorded.
    files: BTreeMap<&'static str, (Option<RecordingId>, String)>,
}

/// What a client is told of what cannot be recorded.
pub(super) fn failure(medium: &str) -> Value {
    json!({"echotest": "event", "event": "recording_failed", "media": medium})
}

impl Recording {
    /// Notes what is wanted from here on; [`Recording::settle`] follows.
    pub(super) fn wish(&mut self, record: Option<bool>, base: Option<&str>) {
        self.is_wanted = record.unwrap_or(self.is_wanted);
        if let Some(base) = base {
            self.base = Some(base.into());
        }
    }

    /// Begins what is to be recorded and is not, or ends it all. Returns what cannot be recorded.
    pub(super) fn settle(
        &mut self,
        cx: &mut Cx<'_>,
        handle: HandleRef,
        peer: PeerId,
        routes: &BTreeMap<usize, EchoRoute>,
    ) -> Vec<&'static str> {
        if !self.is_wanted {
            for (id, _) in std::mem::take(&mut self.files).into_values() {
                if let Some(id) = id {
                    cx.media.stop_recording(id);
                }
            }
            return Vec::new();
        }
        let base = self.base.clone().unwrap_or_else(|| {
            let micros = cx.now.realtime.unix_micros();
            format!("echotest-{}-{micros}", handle.handle).into()
        });
        let first = |kind| {
            let mut routes = routes.iter();
            let (line, route) = routes.find(|(_, route)| route.kind == kind)?;
            Some((*line, route.codec.as_str()))
        };
        let mut failed = Vec::new();
        for (medium, kind, found) in [
            ("audio", MjrKind::Audio, first(TrackKind::Audio)),
            ("video", MjrKind::Video, first(TrackKind::Video)),
            (
                "data",
                MjrKind::Data,
                self.messages.map(|line| (line, "text")),
            ),
        ] {
            let Some((line, codec)) = found.filter(|_| !self.files.contains_key(medium)) else {
                continue;
            };
            let name = format!("{base}-{medium}");
            let info = MjrInfo {
                kind,
                codec: codec.into(),
                fmtp: None,
                description: None,
                extensions: Vec::new(),
                red_pt: None,
                is_encrypted: self.is_encrypted && kind != MjrKind::Data,
            };
            let id = cx.record(RecordingWish {
                line: LineRef { peer, line },
                info,
                folder: None,
                name: &name,
            });
            if id.is_none() {
                failed.push(medium);
            }
            self.files.insert(medium, (id, format!("{name}.mjr")));
        }
        failed
    }

    /// Records a message.
    pub(super) fn message(&self, cx: &mut Cx<'_>, peer: PeerId, bytes: &[u8]) {
        if let Some(line) = self.messages {
            cx.media
                .record_message(cx.now, LineRef { peer, line }, bytes);
        }
    }

    /// A file could not be written; it is not tried again. Returns what it was of.
    pub(super) fn failed(&mut self, failed: RecordingId) -> Option<&'static str> {
        let mut files = self.files.iter_mut();
        let (medium, (id, _)) = files.find(|(_, (id, _))| *id == Some(failed))?;
        *id = None;
        Some(medium)
    }

    /// The files that are open.
    pub(super) fn shown(&self) -> Option<Value> {
        let open = self.files.iter().filter(|(_, (id, _))| id.is_some());
        let open = open.map(|(medium, (_, file))| ((*medium).to_owned(), file.as_str().into()));
        let open: Map<String, Value> = open.collect();
        (!open.is_empty()).then(|| open.into())
    }
}
