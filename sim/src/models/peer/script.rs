//! What a peer says to the gateway, and does with what it hears.

use std::time::Duration;

use serde_json::{Value, json};
use str0m::media::Direction;

use crate::faults::media::{ActKind, PeerRole, Video};
use crate::kernel::trace::Lane;
use crate::models::peer::api::{Ask, News, Power};
use crate::models::peer::call::{Change, candidate_port};
use crate::models::peer::{LANES, Peer, RETRY, RETRY_AFTER, Stage};
use crate::oracle::fact::verb_of;
use crate::oracle::media::fact::{MediaFact, Step};
use crate::world::gateway::MEDIA_PORT;
use crate::world::physics::Physics;

/// The identity of peer 0 in its room; others follow.
const FIRST_ID: u32 = 1_001;

impl Peer {
    pub(super) fn on_news(&mut self, world: &mut Physics, news: News) {
        match news {
            News::Answer(ask, value) => self.on_answer(world, ask, &value),
            News::Event(event) => self.on_event(world, &event),
            // What became of the request is unknown.
            News::Lost => self.vanish(world),
        }
    }

    fn on_answer(&mut self, world: &mut Physics, ask: Ask, value: &Value) {
        let is_well = matches!(verb_of(value), "success" | "ack");
        let data = value
            .pointer("/plugindata/data/videoroom")
            .and_then(Value::as_str);
        match ask {
            Ask::Create if is_well => {
                let plugin = match self.plan.role {
                    PeerRole::Echo => "janus.plugin.echotest",
                    PeerRole::Publisher | PeerRole::Subscriber => "janus.plugin.videoroom",
                };
                let body = json!({"janus": "attach", "plugin": plugin});
                self.api.ask(world, Ask::Attach, body);
            }
            Ask::Attach if is_well => self.join(world),
            Ask::Power(Power::Kick(whom)) if data == Some("success") => {
                world.media(&MediaFact::Out { peer: whom });
            }
            Ask::Power(Power::Destroy) if data == Some("destroyed") => {
                for peer in world.watch.ledger.media.people_of(self.plan.room) {
                    world.media(&MediaFact::Out { peer });
                }
            }
            Ask::Detach if is_well => {
                let body = json!({"janus": "destroy"});
                self.api.ask(world, Ask::Destroy, body);
            }
            Ask::Destroy => self.api.close(world),
            // Its session or handle is gone.
            Ask::Create | Ask::Attach => self.vanish(world),
            Ask::Detach | Ask::HangUp | Ask::Later | Ask::Now | Ask::Power(_) => {}
        }
    }

    fn join(&mut self, world: &mut Physics) {
        match self.plan.role {
            PeerRole::Echo => self.call_out(world),
            PeerRole::Publisher => {
                self.make_room(world);
                self.call_out(world);
            }
            PeerRole::Subscriber => {
                self.make_room(world);
                self.subscribe(world);
            }
        }
    }

    fn make_room(&mut self, world: &mut Physics) {
        let body = json!({
            "request": "create", "room": self.plan.room, "publishers": 20, "bitrate": ROOM_BITRATE,
            // What is paced, probed and padded is no copy of what was sent.
            "adaptive": false,
        });
        self.message(world, Ask::Now, body, None);
    }

    /// Offers a call, and joins with it where there is something to join.
    fn call_out(&mut self, world: &mut Physics) {
        let plan = self.plan;
        self.has_pictures = plan.video != Video::None;
        // What was muted ended with the call, and what is muted between two is nothing.
        self.is_muted = false;
        let offer = self.begin_call(world).offer(&plan);
        let body = match plan.role {
            PeerRole::Echo => json!({"audio": true, "video": true}),
            PeerRole::Publisher | PeerRole::Subscriber if self.stage == Stage::Joining => json!({
                "request": "joinandconfigure", "ptype": "publisher", "room": plan.room,
                "id": FIRST_ID + self.index,
            }),
            PeerRole::Publisher | PeerRole::Subscriber => json!({"request": "publish"}),
        };
        self.message(world, Ask::Later, body, Some(("offer", offer)));
    }

    /// Asks for all streams that it wants and does not have.
    fn subscribe(&mut self, world: &mut Physics) {
        let missing = self.plan.feeds & !self.fed_by;
        let feeds = (0..u32::BITS).filter(|peer| missing >> peer & 1 == 1);
        let streams: Vec<_> = feeds.map(|peer| json!({"feed": FIRST_ID + peer})).collect();
        if streams.is_empty() {
            return;
        }
        // One that is not there spoils it for all: each is asked for in its turn.
        let turn = self.said as usize % streams.len();
        self.said += 1;
        let streams = [streams[turn].clone()];
        let body = if self.stage == Stage::Joining {
            json!({
                "request": "join", "ptype": "subscriber", "room": self.plan.room,
                "streams": streams,
            })
        } else {
            json!({"request": "subscribe", "streams": streams})
        };
        self.message(world, Ask::Later, body, None);
    }

    /// Looks again for publishers that were not there.
    pub(super) fn retry(&mut self, world: &mut Physics) {
        self.is_retry_due = false;
        if self.plan.role == PeerRole::Subscriber && self.stage <= Stage::In {
            if !self.is_starting {
                self.subscribe(world);
            }
            self.retry_later(world);
        }
    }

    fn message(&mut self, world: &mut Physics, ask: Ask, body: Value, sdp: Option<(&str, String)>) {
        let mut message = json!({"janus": "message", "body": body});
        if let Some((kind, sdp)) = sdp {
            message["jsep"] = json!({"type": kind, "sdp": sdp});
        }
        self.api.ask(world, ask, message);
    }

    fn on_event(&mut self, world: &mut Physics, event: &Value) {
        world.line(Lane::Client(LANES + self.index), || format!("gets {event}"));
        let at = world.now();
        let text = event.to_string();
        world
            .trace
            .bytes(at, "event", u64::from(self.index), text.as_bytes());
        if self.stage >= Stage::Out {
            return;
        }
        let peer = self.index;
        match verb_of(event) {
            "event" => {
                self.progress.events_count += 1;
                let sdp = |kind: &str| {
                    let jsep = event.get("jsep")?;
                    let is_it = jsep.get("type")?.as_str()? == kind;
                    is_it.then(|| jsep.get("sdp")?.as_str().map(str::to_owned))?
                };
                if let Some(answer) = sdp("answer") {
                    self.on_answer_sdp(world, &answer);
                }
                let data = event.pointer("/plugindata/data").unwrap_or(&Value::Null);
                self.on_data(world, data, sdp("offer"));
            }
            "hangup" => {
                let reason = event.get("reason").and_then(Value::as_str);
                let reason = reason.unwrap_or_default().to_owned();
                world.media(&MediaFact::HungUp { peer, reason });
                self.end_call(world);
            }
            "webrtcup" => world.media(&MediaFact::ToldUp { peer }),
            _ => {}
        }
    }

    fn on_answer_sdp(&mut self, world: &mut Physics, sdp: &str) {
        self.shard = shard_of(sdp);
        self.stage = self.stage.max(Stage::In);
        let is_simulcast = self.plan.video == Video::Simulcast;
        let Some(call) = &mut self.call else { return };
        if let Err(why) = call.answered(sdp, is_simulcast) {
            if call.is_offering() {
                let at = world.now();
                let detail = format!("peer {} cannot take the answer: {why}", self.index);
                world.watch.report("sdp-acceptable", at, detail);
            }
            return;
        }
        let events = call.advance(world.now());
        self.on_call(world, events);
    }

    fn on_data(&mut self, world: &mut Physics, data: &Value, offer: Option<String>) {
        let what = data.get("videoroom").and_then(Value::as_str);
        let is_refused = data.get("error_code").is_some();
        match (self.plan.role, what) {
            (PeerRole::Subscriber, Some("attached" | "updated")) => {
                if self.call.is_none() && offer.is_some() {
                    self.begin_call(world);
                }
                if data.get("streams").is_some() {
                    self.fed_by = fed_by(data);
                    self.tell_watching(world, self.watching & self.fed_by);
                }
                if let Some(offer) = offer {
                    self.take_offer(world, &offer);
                }
            }
            (PeerRole::Subscriber, Some("event")) => {
                // Its request for other ICE credentials is answered by an offer.
                if let Some(offer) = offer.filter(|_| self.call.is_some()) {
                    self.take_offer(world, &offer);
                }
                if data.get("started").is_some() {
                    self.is_starting = false;
                    self.tell_watching(world, self.fed_by);
                    if self.plan.feeds & !self.fed_by != 0 {
                        self.subscribe(world);
                    }
                } else if is_refused && self.stage == Stage::Joining {
                    self.retry_later(world);
                }
            }
            _ => {}
        }
    }

    fn take_offer(&mut self, world: &mut Physics, offer: &str) {
        self.shard = shard_of(offer);
        if self.stage == Stage::Joining {
            self.stage = Stage::In;
        }
        self.retry_later(world);
        let call = self.call.as_mut().expect("an offer begins one");
        match call.answer(offer) {
            Ok(answer) => {
                self.is_starting = true;
                // It ends a pause, too.
                self.is_paused = false;
                let body = json!({"request": "start", "room": self.plan.room});
                self.message(world, Ask::Later, body, Some(("answer", answer)));
            }
            Err(why) => {
                let at = world.now();
                let detail = format!("peer {} cannot take the offer: {why}", self.index);
                world.watch.report("sdp-acceptable", at, detail);
            }
        }
        if let Some(call) = &mut self.call {
            let events = call.advance(world.now());
            self.on_call(world, events);
        }
    }

    /// Says whose streams it should be getting.
    fn tell_watching(&mut self, world: &mut Physics, mask: u32) {
        let is_ready = !self.is_paused && self.call.is_some();
        let mask = if is_ready { mask } else { 0 };
        if self.watching != mask {
            self.watching = mask;
            self.tell(world, Step::Watches(mask));
        }
    }

    /// Streams that have gone, or are not there yet, are looked for from time to time.
    fn retry_later(&mut self, world: &mut Physics) {
        if !std::mem::replace(&mut self.is_retry_due, true) {
            self.wake(world, RETRY_AFTER, RETRY);
        }
    }

    /// Does what the scenario says, where it makes sense.
    pub(super) fn carry_out(&mut self, world: &mut Physics, what: ActKind) {
        if self.stage != Stage::In || self.is_silenced {
            return;
        }
        let role = self.plan.role;
        let room = self.plan.room;
        match (what, role) {
            (ActKind::Destroy, PeerRole::Publisher | PeerRole::Subscriber) => {
                let body = json!({"request": "destroy", "room": room});
                self.message(world, Ask::Power(Power::Destroy), body, None);
            }
            (ActKind::Kick(whom), PeerRole::Publisher | PeerRole::Subscriber) => {
                let body = json!({"request": "kick", "room": room, "id": FIRST_ID + whom});
                self.message(world, Ask::Power(Power::Kick(whom)), body, None);
            }
            (ActKind::HangUp, _) => {
                self.tell_watching(world, 0);
                self.api.ask(world, Ask::HangUp, json!({"janus": "hangup"}));
            }
            (ActKind::IceRestart, PeerRole::Subscriber) => {
                let body = json!({"request": "configure", "restart": true});
                self.message(world, Ask::Later, body, None);
            }
            (ActKind::IceRestart, _) => self.offer_again(world, Change::IceRestart),
            (ActKind::Renegotiate, PeerRole::Echo | PeerRole::Publisher) => {
                let direction = match (self.has_pictures, role) {
                    (true, _) => Direction::Inactive,
                    (false, PeerRole::Echo) => Direction::SendRecv,
                    (false, _) => Direction::SendOnly,
                };
                self.offer_again(world, Change::Pictures(direction));
            }
            (
                ActKind::Layers {
                    substream,
                    temporal,
                },
                PeerRole::Subscriber | PeerRole::Echo,
            ) => {
                let body = json!({
                    "request": "configure", "substream": substream, "temporal": temporal,
                });
                self.message(world, Ask::Later, body, None);
                self.tell(
                    world,
                    Step::Layers {
                        substream,
                        temporal,
                    },
                );
            }
            (ActKind::Mute | ActKind::Unmute, PeerRole::Publisher)
                if self.call.is_some() && self.is_muted != (what == ActKind::Mute) =>
            {
                self.is_muted = what == ActKind::Mute;
                let body = json!({"request": "configure", "video": !self.is_muted});
                self.message(world, Ask::Later, body, None);
                self.tell(world, Step::Pictures(self.has_pictures && !self.is_muted));
            }
            (ActKind::Pause | ActKind::Resume, PeerRole::Subscriber) => {
                self.is_paused = what == ActKind::Pause;
                let request = if self.is_paused { "pause" } else { "start" };
                self.message(world, Ask::Later, json!({"request": request}), None);
                if self.is_paused {
                    self.tell_watching(world, 0);
                }
            }
            (ActKind::Publish, PeerRole::Publisher) if self.call.is_none() => self.call_out(world),
            (ActKind::Unpublish, PeerRole::Publisher) if self.call.is_some() => {
                self.stop_sending(world);
                self.message(world, Ask::Later, json!({"request": "unpublish"}), None);
            }
            (ActKind::Rebind, _) => {
                world.datagrams.rebind(self.index);
                let now = world.now();
                let media = &mut world.watch.ledger.media;
                media.note_search(self.index, now, UNTIL_FOUND);
                self.tell(world, Step::Changes);
            }
            (ActKind::Say, _) => self.say(world),
            (ActKind::Silence, _) => {
                self.stop_sending(world);
                self.is_silenced = true;
                self.tell(world, Step::Silent);
            }
            _ => {}
        }
    }

    fn offer_again(&mut self, world: &mut Physics, change: Change) {
        let Some(call) = self
            .call
            .as_mut()
            .filter(|call| call.is_up() && !call.is_offering())
        else {
            return;
        };
        let Some(offer) = call.offer_again(change) else {
            return;
        };
        if let Change::Pictures(direction) = change {
            self.has_pictures = direction != Direction::Inactive;
            self.source.refresh();
            self.tell(world, Step::Pictures(self.has_pictures && !self.is_muted));
        }
        self.tell(world, Step::Changes);
        let body = match self.plan.role {
            PeerRole::Echo => json!({"audio": true, "video": true}),
            PeerRole::Publisher | PeerRole::Subscriber => json!({"request": "configure"}),
        };
        self.message(world, Ask::Later, body, Some(("offer", offer)));
    }

    fn say(&mut self, world: &mut Physics) {
        self.said += 1;
        let text = format!("message {} of peer {}", self.said, self.index);
        let now = world.now();
        if let Some(call) = &mut self.call
            && call.say(text.as_bytes())
        {
            let events = call.advance(now);
            self.on_call(world, events);
        }
    }
}

/// Until the gateway finds a peer at its new address, by its own clock. Its ICE is lite, and its
/// library holds on to the pair of the former address until no check has come from there for so
/// long; pairs that are nominated later are no better.
const UNTIL_FOUND: Duration = Duration::from_secs(15);

/// What rooms let each publisher send, in bit/s.
pub(crate) const ROOM_BITRATE: u64 = 512_000;

/// The peers whose streams a subscriber is offered.
fn fed_by(data: &Value) -> u32 {
    let streams = data.get("streams").and_then(Value::as_array);
    let feeds = streams.into_iter().flatten().filter_map(|stream| {
        let id = stream.get("feed_id")?.as_u64()?;
        u32::try_from(id).ok()?.checked_sub(FIRST_ID)
    });
    feeds.fold(0, |mask, peer| mask | 1_u32.checked_shl(peer).unwrap_or(0))
}

fn shard_of(sdp: &str) -> Option<u8> {
    let port = candidate_port(sdp)?.checked_sub(MEDIA_PORT)?;
    u8::try_from(port).ok()
}
