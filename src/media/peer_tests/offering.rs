//! Calls that the server offers, fed by lines of another shard.

use super::*;
use crate::base::id::ShardId;
use crate::media::rewriter::Rewriter;
use crate::wire::sdp::{OfferLine, OfferMedia, OfferPlan, Trickle, extension, offered_codec};

const HERE: ShardId = ShardId(1);
pub(super) const THERE: ShardId = ShardId(0);

pub(super) fn line(mid: &str, codec: &str, is_active: bool) -> OfferLine {
    OfferLine::Media(Box::new(OfferMedia {
        has_red: false,
        mid: mid.to_owned(),
        codec: offered_codec(codec).unwrap(),
        is_video: codec != "opus",
        is_active,
        extensions: vec![extension::MID, extension::TRANSPORT_CC],
        msid: None,
        ssrc: 0,
        rtx_ssrc: 0,
    }))
}

pub(super) fn offer(
    call: &mut Call,
    lines: Vec<OfferLine>,
    restart: IceRestart,
) -> SessionDescription {
    let plan = OfferPlan {
        name: "VideoRoom 5".to_owned(),
        session_id: "1".to_owned(),
        version: 1,
        lines,
    };
    let (now, peer) = (call.now, call.peer);
    let manner = OfferManner {
        restart,
        trickle: Trickle::Half,
        estimates: Enabled::Yes,
    };
    let offered = call
        .media
        .make_offer(now, peer, OWNER, plan, manner)
        .unwrap();
    call.peer = Some(offered.peer);
    offered.offer
}

/// Has the client answer an offer, and the server take the answer.
pub(super) fn answer(call: &mut Call, offer: &SessionDescription) {
    let offer = str0m::change::SdpOffer::from_sdp_string(&offer.to_string()).unwrap();
    let answer = call.client.rtc.sdp_api().accept_offer(offer).unwrap();
    let answer = SessionDescription::parse(&answer.to_sdp_string()).unwrap();
    let (now, peer) = (call.now, call.peer());
    call.media.accept_answer(now, peer, &answer).unwrap();
}

/// A publisher on one shard, and a subscriber on another.
pub(super) struct Pair {
    pub(super) publisher: Call,
    pub(super) mids: Vec<Mid>,
    pub(super) answer: SessionDescription,
    pub(super) subscriber: Call,
}

impl Pair {
    pub(super) fn connected() -> Self {
        let lines = vec![line("0", "opus", true), line("1", "vp8", true)];
        Self::offered(lines, |config| config)
    }

    /// The same with other lines, and a subscriber that knows more.
    pub(super) fn offered(
        lines: Vec<OfferLine>,
        client: impl FnOnce(RtcConfig) -> RtcConfig,
    ) -> Self {
        let mut publisher = Call::new();
        let mut mids = Vec::new();
        let published = publisher.negotiate(|api| {
            mids.push(add(api, RtcKind::Audio));
            mids.push(add(api, RtcKind::Video));
        });
        publisher.connect();
        let mut subscriber = Call::with(|_, _| {}, client);
        let offered = offer(&mut subscriber, lines, IceRestart::No);
        answer(&mut subscriber, &offered);
        subscriber.connect();
        Self {
            publisher,
            mids,
            answer: published,
            subscriber,
        }
    }

    pub(super) fn route(&mut self, index: usize) -> RouteId {
        let from = self.publisher.line(index);
        let from = self.subscriber.media.remote_line(THERE, from);
        let (now, to) = (self.subscriber.now, self.subscriber.line(index));
        let route = self.subscriber.media.route(now, from, to).unwrap();
        self.exchange();
        route
    }

    /// Carries what the shards tell each other; tells how much it was.
    fn exchange(&mut self) -> usize {
        let mut count = 0;
        loop {
            let there = self.publisher.media.take_relays();
            let here = self.subscriber.media.take_relays();
            count += there.len() + here.len();
            if there.is_empty() && here.is_empty() {
                return count;
            }
            for (to, relay) in there {
                assert_eq!(to, HERE);
                let now = self.subscriber.now;
                self.subscriber.media.relayed(now, THERE, relay);
            }
            for (to, relay) in here {
                assert_eq!(to, THERE);
                let now = self.publisher.now;
                self.publisher.media.relayed(now, HERE, relay);
            }
            self.publisher.run(5);
            self.subscriber.run(5);
        }
    }

    pub(super) fn publish(&mut self, index: usize, number: u8) -> usize {
        let payload = if index == 0 {
            vec![number; 20]
        } else {
            vp8_key(number)
        };
        let pt = pt_of(&self.answer, index);
        let (mid, seq) = (self.mids[index], 100 + u64::from(number));
        self.publisher
            .send(mid, None, pt, seq, number.into(), &payload);
        self.exchange()
    }
}

#[test]
fn a_subscriber_gets_what_is_published_on_another_shard() {
    let mut pair = Pair::connected();
    pair.route(0);
    pair.route(1);
    assert_eq!(pair.subscriber.media.peers_count(), 1, "stand-ins are none");
    assert!(
        pair.publisher.client.keyframe_requests > 0,
        "who comes late needs a key frame"
    );
    for number in 0..5 {
        pair.publish(0, number);
        pair.publish(1, number);
    }
    for (pt, payload) in [(111, vec![4; 20]), (96, vp8_key(4))] {
        let packets = pair.subscriber.client.packets.iter();
        let of: Vec<_> = packets
            .filter(|packet| *packet.header.payload_type == pt)
            .collect();
        assert_eq!(of.len(), 5, "payload type {pt}");
        assert_eq!(of[4].payload[..], payload[..]);
    }
}

#[test]
fn what_nobody_takes_any_more_is_not_sent_to_the_other_shard() {
    let mut pair = Pair::connected();
    let route = pair.route(0);
    pair.publish(0, 1);
    pair.subscriber.media.unroute(route);
    assert_eq!(pair.publish(0, 2), 2, "a batch, and that it is not wanted");
    assert_eq!(pair.publish(0, 3), 0);
    assert_eq!(pair.subscriber.client.packets.len(), 1);
    // It can be wanted again.
    pair.route(0);
    pair.publish(0, 4);
    assert_eq!(pair.subscriber.client.packets.len(), 2);
}

#[test]
fn a_publisher_that_goes_away_takes_its_routes_on_other_shards_along() {
    let mut pair = Pair::connected();
    let route = pair.route(0);
    let (now, peer) = (pair.publisher.now, pair.publisher.peer());
    pair.publisher.media.close(now, peer);
    pair.exchange();
    assert_eq!(pair.subscriber.media.route_state(route), None);
    assert_eq!(pair.subscriber.media.peers_count(), 1);
}

#[test]
fn a_key_frame_that_nobody_waits_for_any_more_is_not_asked_for() {
    let mut pair = Pair::connected();
    let route = pair.route(1);
    pair.publish(1, 1);
    let wait = |pair: &mut Pair| {
        for _ in 0..40 {
            pair.subscriber.run(500);
            pair.exchange();
            pair.publisher.run(500);
        }
        std::mem::take(&mut pair.publisher.client.keyframe_requests)
    };
    let ask = |pair: &mut Pair| {
        let (now, from) = (pair.subscriber.now.monotonic, pair.publisher.line(1));
        let line = pair.subscriber.media.remote_line(THERE, from);
        let of = EncodingRef { line, encoding: 0 };
        pair.subscriber.media.keyframes.want(now, of);
    };
    wait(&mut pair);
    ask(&mut pair);
    assert!(wait(&mut pair) > 10, "it is asked for until it comes");
    pair.publish(1, 2);
    wait(&mut pair);
    pair.subscriber.media.unroute(route);
    ask(&mut pair);
    assert_eq!(wait(&mut pair), 0);
    assert!(pair.subscriber.media.keyframes.deadline().is_none());
}

#[test]
fn a_muted_line_is_silent_on_every_shard() {
    let mut pair = Pair::connected();
    pair.route(0);
    let (now, line) = (pair.publisher.now, pair.publisher.line(0));
    pair.publisher
        .media
        .set_line_enabled(now, line, Enabled::No);
    assert_eq!(pair.publish(0, 1), 0);
    pair.publisher
        .media
        .set_line_enabled(now, line, Enabled::Yes);
    pair.publish(0, 2);
    assert_eq!(pair.subscriber.client.packets.len(), 1);
}

#[test]
fn sections_are_added_and_become_inactive() {
    let mut pair = Pair::connected();
    pair.route(0);
    let lines = vec![
        line("0", "opus", true),
        line("1", "vp8", false),
        line("2", "h264", true),
    ];
    let offered = offer(&mut pair.subscriber, lines, IceRestart::No);
    assert_eq!(offered.media.len(), 3);
    answer(&mut pair.subscriber, &offered);
    pair.route(1);
    pair.publish(0, 1);
    pair.publish(1, 1);
    let packets = &pair.subscriber.client.packets;
    let pts: Vec<u8> = packets
        .iter()
        .map(|packet| *packet.header.payload_type)
        .collect();
    assert_eq!(pts, [111], "an inactive section sends nothing");
}

#[test]
fn a_section_has_a_new_source_when_it_comes_back_which_sends_once_it_is_answered() {
    let mut pair = Pair::offered(vec![line("0", "opus", true)], |config| config);
    let offered = |pair: &mut Pair, is_active| {
        let lines = vec![line("0", "opus", true), line("1", "vp8", is_active)];
        offer(&mut pair.subscriber, lines, IceRestart::No)
    };
    let source = |offer: &SessionDescription, index: usize| offer.media[index].media_ssrcs().next();
    let heard = |pair: &mut Pair, number| {
        pair.publish(1, number);
        let sent = pair.subscriber.media.counters.packets_forwarded;
        assert_eq!(sent, pair.subscriber.client.packets.len() as u64);
        sent
    };
    let first = offered(&mut pair, true);
    // Its numbers begin anew with the third packet.
    let peer = pair.subscriber.peer();
    let peer = pair.subscriber.media.peers.get_mut(peer).unwrap();
    peer.line_mut(1).unwrap().rewriter = Rewriter::new(90_000, u16::MAX - 2);
    pair.route(1);
    assert_eq!(heard(&mut pair, 1), 0, "a stranger's packets");
    answer(&mut pair.subscriber, &first);
    for number in 2..5 {
        assert_eq!(heard(&mut pair, number), u64::from(number) - 1);
    }
    let inactive = offered(&mut pair, false);
    answer(&mut pair.subscriber, &inactive);
    assert_eq!(heard(&mut pair, 5), 3);
    let again = offered(&mut pair, true);
    assert_eq!(source(&first, 0), source(&again, 0), "it never stopped");
    assert!(source(&again, 1).is_some());
    assert_ne!(source(&first, 1), source(&again, 1));
    answer(&mut pair.subscriber, &again);
    assert_eq!(heard(&mut pair, 6), 4);
}

#[test]
fn a_restart_takes_effect_with_its_answer() {
    let mut pair = Pair::connected();
    pair.route(0);
    let lines = || vec![line("0", "opus", true), line("1", "vp8", true)];
    let before = offer(&mut pair.subscriber, lines(), IceRestart::No);
    let restarted = offer(&mut pair.subscriber, lines(), IceRestart::Yes);
    let ice = |offer: &SessionDescription| offer.media[0].ice.clone().unwrap();
    assert_ne!(ice(&before), ice(&restarted));
    pair.publish(0, 1);
    assert_eq!(pair.subscriber.client.packets.len(), 1, "media flows on");
    answer(&mut pair.subscriber, &restarted);
    pair.subscriber.run(2_000);
    pair.publish(0, 2);
    assert_eq!(pair.subscriber.client.packets.len(), 2);
}

#[test]
fn an_answer_that_does_not_fit_is_refused() {
    let mut call = Call::new();
    let offered = offer(&mut call, vec![line("0", "opus", true)], IceRestart::No);
    let mut short = offered.clone();
    short.media.clear();
    let mut bare = offered;
    bare.fingerprints.clear();
    for wrong in [short, bare] {
        let (now, peer) = (call.now, call.peer());
        let refused = call.media.accept_answer(now, peer, &wrong);
        assert!(matches!(refused, Err(MediaError::Offer(_))), "{refused:?}");
    }
}
