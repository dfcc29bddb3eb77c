//! What event handlers are told of rooms.

use serde_json::{Value, json};

use crate::base::id::HandleRef;
use crate::gateway::plugin::Cx;
use crate::plugins::videoroom::publisher::Publisher;
use crate::plugins::videoroom::stream::StreamInfo;
use crate::plugins::videoroom::subscriber::Subscriber;
use crate::plugins::videoroom::subscription::StreamId;

/// Tells event handlers something, of a handle or of a room, unless the operator wants no such
/// events.
pub(super) fn tell_handlers(cx: &mut Cx<'_>, handle: Option<HandleRef>, event: Value) {
    if cx.config.videoroom.events {
        cx.report(handle, event);
    }
}

impl Publisher {
    pub(super) fn tell_joined(&self, cx: &mut Cx<'_>, handle: HandleRef) {
        let mut event = self.called(json!({
            "event": "joined",
            "room": self.room.json(),
            "id": self.id.json(),
            "private_id": self.private_id,
        }));
        self.talk.show(&mut event);
        tell_handlers(cx, Some(handle), event);
    }

    pub(super) fn tell_configured(&self, cx: &mut Cx<'_>, handle: HandleRef) {
        let event = json!({
            "event": "configured",
            "room": self.room.json(),
            "id": self.id.json(),
            "bitrate": self.bitrate,
        });
        tell_handlers(cx, Some(handle), event);
    }

    /// It publishes for the first time, or something else than before.
    pub(super) fn tell_published(&self, cx: &mut Cx<'_>, handle: HandleRef, name: &str) {
        let mut event = self.called(json!({
            "event": name,
            "room": self.room.json(),
            "id": self.id.json(),
        }));
        event["streams"] = self.streams.iter().map(StreamInfo::json).collect();
        tell_handlers(cx, Some(handle), event);
    }

    /// Adds the names that it goes by.
    pub(super) fn called(&self, mut object: Value) -> Value {
        if let Some(display) = &self.display {
            object["display"] = (&**display).into();
        }
        if let Some(metadata) = &self.metadata {
            object["metadata"] = metadata.clone();
        }
        object
    }
}

impl Subscriber {
    /// It gets streams for the first time, or others than before.
    pub(super) fn tell_streams(&self, cx: &mut Cx<'_>, handle: HandleRef, name: &str) {
        let event = json!({
            "event": name,
            "room": self.room.json(),
            "streams": self.streams(cx),
            "private_id": self.private_id,
        });
        tell_handlers(cx, Some(handle), event);
    }

    /// Lines lost the streams that fed them.
    pub(super) fn tell_unsubscribed(&self, cx: &mut Cx<'_>, handle: HandleRef, lost: &[StreamId]) {
        for stream in lost {
            let event = json!({
                "event": "unsubscribed",
                "room": self.room.json(),
                "feed": stream.feed.json(),
                "mid": stream.mid,
            });
            tell_handlers(cx, Some(handle), event);
        }
    }

    /// Something happened of which there is no more to say than the room.
    pub(super) fn tell_plainly(&self, cx: &mut Cx<'_>, handle: HandleRef, name: &str) {
        let event = json!({"event": name, "room": self.room.json()});
        tell_handlers(cx, Some(handle), event);
    }
}
