//! A room and the people in it, as they look to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::id::ShardId;
use crate::gateway::plugin::Cx;
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::home::exports::Exported;
use crate::plugins::videoroom::home::subscribers::Subscribers;
use crate::plugins::videoroom::home::{Participant, Publishing, Room, tell};
use crate::plugins::videoroom::ids::{Id, IdForm};
use crate::plugins::videoroom::messages::{Feed, News, Place, TalkWish, TokenShown};
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::recording::Recording;
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind, first_codec};
use crate::plugins::videoroom::told::tell_handlers;
use crate::plugins::videoroom::{PACKAGE, dummy};

/// Bytes of names, metadata and descriptions of all in a room. They go into one event for those who
/// join, and a session may have a megabyte of events.
const SAID_BYTES_MAX: usize = 512 << 10;

impl Room {
    pub(super) fn new(id: &Id, options: RoomOptions, shard: ShardId) -> Self {
        let mut people = BTreeMap::new();
        if options.dummy_publisher {
            let form = match id {
                Id::Number(_) => IdForm::Numbers,
                Id::Text(_) => IdForm::Texts,
            };
            let dummy = Participant {
                display: Some(dummy::DISPLAY.into()),
                publishing: Publishing::Yes,
                streams: dummy::streams(&options),
                is_dummy: true,
                e2ee: options.dummy_e2ee,
                ..Participant::at(Place::nobody(shard))
            };
            people.insert(Id::of_dummy(id, form), dummy);
        }
        Self {
            options: Arc::new(options),
            people,
        }
    }

    /// Whether a token opens a room that wants one. Only a gateway that signs tokens can tell.
    ///
    /// # Errors
    ///
    /// 429, 430 or 433.
    pub(super) fn check_token(&self, cx: &Cx<'_>, id: &Id, shown: TokenShown) -> Result<(), Fault> {
        if !self.options.signed_tokens {
            return Ok(());
        }
        let descriptor = format!("room={id}");
        let is_signed = |token: &str| cx.is_signed_for(token, PACKAGE, &descriptor);
        if is_signed("").is_none() {
            return Ok(());
        }
        let token = shown?.ok_or_else(|| Fault::missing("token"))?;
        match is_signed(&token) {
            Some(true) | None => Ok(()),
            Some(false) => Err(Fault {
                is_guess: true,
                ..Fault::new(Code::Unauthorized, "Unauthorized (wrong token)")
            }),
        }
    }

    /// Whether one more fits in, with all that everybody is to know of it.
    ///
    /// # Errors
    ///
    /// 432.
    pub(super) fn check_crowd(&self, max: usize, said: usize) -> Result<(), Fault> {
        let text = if self.people.len() >= max {
            format!("Maximum number of participants ({max}) already reached")
        } else if self.said() + said > SAID_BYTES_MAX {
            "Too much is said of the participants of this room".to_owned()
        } else {
            return Ok(());
        };
        Err(Fault::new(Code::PublishersFull, text))
    }

    /// Whether all that is said of people can be told at once.
    pub(super) fn can_tell_all(&self) -> bool {
        self.said() <= SAID_BYTES_MAX
    }

    fn said(&self) -> usize {
        self.people.values().map(Participant::said).sum()
    }

    /// What somebody who joins is told.
    pub(super) fn joined(&self, id: &Id, user: &Id, private_id: u32, talk: TalkWish) -> Value {
        let mut publishers = Vec::new();
        let mut attendees = Vec::new();
        for (other, person) in &self.people {
            if person.publishing == Publishing::Yes {
                publishers.push(person.met(other));
            } else {
                attendees.push(person.called(json!({"id": other.json()})));
            }
        }
        let mut data = json!({
            "videoroom": "joined",
            "room": id.json(),
            "description": self.options.description,
            "id": user.json(),
            "private_id": private_id,
            "publishers": publishers,
        });
        talk.show(&mut data);
        if self.options.notify_joining {
            data["attendees"] = attendees.into();
        }
        data
    }

    pub(super) fn tell_others(&self, cx: &mut Cx<'_>, user: &Id, event: &Value) {
        for (_, person) in self.people.iter().filter(|(other, _)| *other != user) {
            tell(cx, person.place, News::Event(event.clone()));
        }
    }

    pub(super) fn tell_all(&self, cx: &mut Cx<'_>, event: &Value) {
        for person in self.people.values() {
            tell(cx, person.place, News::Event(event.clone()));
        }
    }

    /// Tells all others what somebody publishes.
    pub(super) fn tell_publishers(&self, cx: &mut Cx<'_>, id: &Id, user: &Id) {
        let Some(person) = self.people.get(user) else {
            return;
        };
        let publishers = [person.publisher(user)];
        let event = json!({
            "videoroom": "event", "room": id.json(), "publishers": publishers,
        });
        self.tell_others(cx, user, &event);
    }
}

/// Bytes of what is said of somebody.
pub(super) fn said<'a>(
    display: Option<&str>,
    metadata: Option<&Value>,
    descriptions: impl Iterator<Item = &'a str>,
) -> usize {
    let metadata = metadata.map_or(0, |value| value.to_string().len());
    display.map_or(0, str::len) + metadata + descriptions.map(str::len).sum::<usize>()
}

impl Participant {
    /// Somebody who does nothing yet.
    pub(super) fn at(place: Place) -> Self {
        Self {
            place,
            private_id: 0,
            display: None,
            metadata: None,
            publishing: Publishing::No,
            streams: Vec::new(),
            subscribers: Subscribers::default(),
            remote: None,
            is_dummy: false,
            e2ee: false,
            talking: BTreeSet::new(),
            exported: Exported::new(),
            recording: Recording::default(),
        }
    }

    /// Bytes of what everybody is told of it in its own words.
    pub(super) fn said(&self) -> usize {
        let (display, metadata) = (self.display.as_deref(), self.metadata.as_ref());
        let descriptions = self.streams.iter().filter_map(|s| s.description.as_deref());
        said(display, metadata, descriptions)
    }

    /// Whether it has a handle here.
    pub(super) const fn is_local(&self) -> bool {
        self.remote.is_none() && !self.is_dummy
    }

    /// Whether it is told how loud it is.
    pub(super) fn has_levels(&self) -> bool {
        let mut streams = self.streams.iter();
        streams.any(|stream| stream.audiolevel_ext_id.is_some())
    }

    /// It as somebody who joins meets it.
    pub(super) fn met(&self, user: &Id) -> Value {
        let mut publisher = self.publisher(user);
        if self.is_dummy {
            publisher["dummy"] = true.into();
        }
        for (index, stream) in self.streams.iter().enumerate() {
            if stream.audiolevel_ext_id.is_some() && !stream.is_disabled {
                let talks = self.talking.contains(&stream.mindex);
                publisher["streams"][index]["talking"] = talks.into();
            }
        }
        if self.has_levels() {
            publisher["talking"] = (!self.talking.is_empty()).into();
        }
        publisher
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

    /// Tells event handlers that it, or what it publishes, is no more.
    pub(super) fn tell_of_end(&self, cx: &mut Cx<'_>, room: &Id, user: &Id, name: &str) {
        let event = json!({"event": name, "room": room.json(), "id": user.json()});
        let event = self.called(event);
        tell_handlers(cx, None, event);
    }

    /// It as an element of `publishers`.
    pub(super) fn publisher(&self, user: &Id) -> Value {
        let mut publisher = self.called(json!({"id": user.json()}));
        for (name, kind) in [
            ("audio_codec", StreamKind::Audio),
            ("video_codec", StreamKind::Video),
        ] {
            if let Some(codec) = first_codec(&self.streams, kind) {
                publisher[name] = codec.into();
            }
        }
        let streams = self.streams.iter().map(|stream| {
            let mut shown = stream.json();
            if stream.is_moderated && !stream.is_disabled {
                shown["moderated"] = true.into();
            }
            shown
        });
        publisher["streams"] = streams.collect::<Vec<_>>().into();
        publisher
    }

    pub(super) fn feed(&self, user: &Id) -> Feed {
        Feed {
            id: user.clone(),
            display: self.display.clone(),
            metadata: self.metadata.clone(),
            streams: self.streams.clone(),
            shard: self.place.shard,
            is_dummy: self.is_dummy,
            e2ee: self.e2ee,
        }
    }

    /// Tells a publisher of messages who gets them, so that they need not pass here.
    pub(super) fn tell_audience(&self, cx: &mut Cx<'_>) {
        let is_data = |stream: &StreamInfo| stream.kind == StreamKind::Data;
        if self.streams.iter().any(is_data) {
            let audience = self.subscribers.places().collect();
            tell(cx, self.place, News::Audience(audience));
        }
    }

    /// Tells a publisher how many get each of its streams.
    pub(super) fn tell_counts(&self, cx: &mut Cx<'_>) {
        let counts = self.subscribers.counts().clone();
        tell(cx, self.place, News::Subscribers(counts));
    }

    /// Tells those who subscribed what it publishes by now, and as whom.
    pub(super) fn tell_subscribers(&self, cx: &mut Cx<'_>, user: &Id) {
        for place in self.subscribers.places() {
            tell(cx, place, News::FeedChanged(Box::new(self.feed(user))));
        }
    }

    /// Tells those who subscribed that there is nothing more to get.
    pub(super) fn end_feed(&mut self, cx: &mut Cx<'_>, user: &Id) {
        for place in std::mem::take(&mut self.subscribers).places() {
            tell(cx, place, News::FeedGone(user.clone()));
        }
        self.tell_counts(cx);
    }
}
