//! Exports of the publishers on this shard: forwarders and remotizations, carried out where the
//! packets are.
//!
//! All of them send by one socket per address family, which is opened when the first is wanted and
//! closed with the last. The home of a room lists what there is; it is told of every change.
//!
//! Invariant: an export ends with the PeerConnection or source that it sends packets of.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

use crate::base::id::{PeerId, ShardId, SockId};
use crate::gateway::plugin::{Cx, Ticket};
use crate::media::{DataForm, ForwardId, ForwardSpec, ForwardWhat, LineRef, SrtpKeys, remote_ssrc};
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::forward::{
    ENCODINGS, Export, Form, Forward, Host, Leg, Remotize, Target, no_stream,
};
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::messages::Msg;
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind};

/// What the home of a room has a publisher's shard do.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) ticket: Ticket,
    /// The shard whose ticket it is.
    pub(super) asker: ShardId,
    pub(super) room: Id,
    pub(super) user: Id,
    pub(super) streams: Vec<StreamInfo>,
    pub(super) export: Export,
    /// Who asks has shown a secret: any address will do.
    pub(super) is_trusted: bool,
}

/// What became of an [`Order`], for the home of the room.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) ticket: Ticket,
    pub(super) asker: ShardId,
    pub(super) user: Id,
    /// Whose packets they are: the publisher may have another by now.
    pub(super) peer: PeerId,
    pub(super) outcome: Result<Done, Fault>,
}

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    Forwarded {
        forwarders: Vec<(u32, Value)>,
        /// The answer in the form of Janus 0.x, if that was asked for.
        legacy: Option<Value>,
    },
    ForwardStopped(u32),
    Published {
        remote_id: Box<str>,
        shown: Value,
    },
    Unpublished(Box<str>),
}

/// All exports of this shard.
#[derive(Debug, Default)]
pub(super) struct Exports {
    /// For IPv4 and IPv6.
    senders: [Sender; 2],
    /// Orders that wait for a socket.
    waiting: Vec<Order>,
    by_peer: BTreeMap<PeerId, OfPeer>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Sender {
    #[default]
    Closed,
    Open(SockId, SocketAddr),
    Opening(SockId),
}

/// The exports of one publisher.
#[derive(Debug, Default)]
struct OfPeer {
    forwarders: BTreeMap<u32, ForwardId>,
    remotes: BTreeMap<Box<str>, Remote>,
    /// Those that send messages.
    messages: Vec<ForwardId>,
}

#[derive(Debug)]
struct Remote {
    spec: Remotize,
    sock: SockId,
    /// By stream and encoding.
    forwards: BTreeMap<(usize, u8), ForwardId>,
}

/// One forwarder that is to be.
struct Wanted<'a> {
    stream: &'a StreamInfo,
    what: ForwardWhat,
    leg: Leg,
    to: SocketAddr,
    rtcp: Option<SocketAddr>,
    /// The encoding, for lists.
    substream: usize,
}

impl Exports {
    /// Carries out what the home of a room wants, now or when there is a socket for it.
    pub(super) fn order(&mut self, cx: &mut Cx<'_>, order: Order) {
        match self.sockets_for(cx, &order) {
            Ok(true) => self.carry_out(cx, order),
            Ok(false) => self.waiting.push(order),
            Err(fault) => report(cx, order, Err(fault)),
        }
    }

    /// Takes in that a socket is open; `false` if it is none of these.
    pub(super) fn opened(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        bound: Option<SocketAddr>,
    ) -> bool {
        let is_it = |sender: &&mut Sender| matches!(**sender, Sender::Opening(own) if own == sock);
        let Some(sender) = self.senders.iter_mut().find(is_it) else {
            return false;
        };
        *sender = bound.map_or(Sender::Closed, |bound| Sender::Open(sock, bound));
        for order in std::mem::take(&mut self.waiting) {
            if bound.is_none() {
                report(cx, order, Err(no_socket()));
            } else {
                self.order(cx, order);
            }
        }
        true
    }

    /// A publisher has sent a message.
    pub(super) fn message(&self, cx: &mut Cx<'_>, peer: PeerId, form: DataForm, bytes: &[u8]) {
        let Some(of_peer) = self.by_peer.get(&peer) else {
            return;
        };
        for forward in &of_peer.messages {
            cx.media.forward_message(*forward, form, bytes);
        }
    }

    /// A publisher has other streams: its remotizations send them too.
    pub(super) fn streams(&mut self, cx: &mut Cx<'_>, streams: &[StreamInfo]) {
        let Some(peer) = peer_of(streams) else {
            return;
        };
        let Some(of_peer) = self.by_peer.get_mut(&peer) else {
            return;
        };
        for remote in of_peer.remotes.values_mut() {
            if let Err(fault) = remote.send(cx, streams, &mut of_peer.messages) {
                tracing::debug!(fault = fault.text, "a stream is not sent on");
            }
        }
    }

    /// Forgets publishers that are gone.
    pub(super) fn prune(&mut self, cx: &mut Cx<'_>) {
        self.by_peer.retain(|peer, _| cx.media.has_lines(*peer));
        self.rest(cx);
    }

    /// Closes the sockets when nobody needs them.
    fn rest(&mut self, cx: &mut Cx<'_>) {
        if !self.by_peer.is_empty() || !self.waiting.is_empty() {
            return;
        }
        for sender in &mut self.senders {
            if let Sender::Open(sock, _) = *sender {
                cx.media.close_socket(sock);
                *sender = Sender::Closed;
            }
        }
    }

    /// Sees to it that there are sockets to send by; `false` if one is being opened.
    fn sockets_for(&mut self, cx: &mut Cx<'_>, order: &Order) -> Result<bool, Fault> {
        let mut are_open = true;
        for address in addresses(&order.export) {
            let sender = &mut self.senders[family(address)];
            match sender {
                Sender::Closed => {
                    let any: IpAddr = if address.is_ipv4() {
                        Ipv4Addr::UNSPECIFIED.into()
                    } else {
                        Ipv6Addr::UNSPECIFIED.into()
                    };
                    let sock = cx.open_socket(SocketAddr::new(any, 0));
                    *sender = Sender::Opening(sock.map_err(|_| no_socket())?);
                    are_open = false;
                }
                Sender::Open(..) => {}
                Sender::Opening(_) => are_open = false,
            }
        }
        Ok(are_open)
    }

    fn sender(&self, to: SocketAddr) -> Option<(SockId, SocketAddr)> {
        match self.senders[family(to.ip())] {
            Sender::Open(sock, bound) => Some((sock, bound)),
            Sender::Closed | Sender::Opening(_) => None,
        }
    }

    fn carry_out(&mut self, cx: &mut Cx<'_>, order: Order) {
        let peer = peer_of(&order.streams).filter(|peer| cx.media.has_lines(*peer));
        let outcome = match (peer, &order.export) {
            (None, _) => Err(no_feed(&order.user)),
            (Some(peer), Export::Forward(forward)) => self.forward(cx, peer, &order, forward),
            (Some(peer), Export::Publish(remotize)) => self.publish(cx, peer, &order, remotize),
            (Some(peer), Export::StopForward(id)) => self.stop(cx, peer, *id),
            (Some(peer), Export::Unpublish(id)) => self.unpublish(cx, peer, id),
        };
        self.by_peer.retain(|_, of_peer| of_peer.count() > 0);
        self.rest(cx);
        report(cx, order, outcome);
    }

    fn forward(
        &mut self,
        cx: &mut Cx<'_>,
        peer: PeerId,
        order: &Order,
        forward: &Forward,
    ) -> Result<Done, Fault> {
        let wanted = wanted(forward, &order.streams)?;
        for wanted in &wanted {
            check_address(cx, order, wanted.to)?;
        }
        let max = cx.config.limits.publisher_forwards_count;
        let has = self.by_peer.get(&peer).map_or(0, OfPeer::count);
        if has + wanted.len() > max {
            return Err(too_many());
        }
        let senders: Result<Vec<_>, Fault> = wanted
            .iter()
            .map(|wanted| self.sender(wanted.to).ok_or_else(no_socket))
            .collect();
        let mut done: Vec<(u32, Value, &Wanted<'_>)> = Vec::new();
        let senders = senders?;
        let of_peer = self.by_peer.entry(peer).or_default();
        let mut added = Vec::new();
        for (wanted, sender) in wanted.iter().zip(senders) {
            let spec = ForwardSpec {
                line: wanted.stream.line,
                what: wanted.what,
                sock: sender.0,
                to: wanted.to,
                pt: wanted.leg.pt,
                ssrc: wanted.leg.ssrc,
                srtp: forward.srtp.clone(),
                rtcp: wanted.rtcp,
            };
            let id = match cx.media.add_forward(cx.now.monotonic, spec) {
                Ok(id) => id,
                Err(_) => {
                    for (stream_id, id) in added {
                        of_peer.remove(cx, id);
                        of_peer.forwarders.remove(&stream_id);
                    }
                    return Err(too_many());
                }
            };
            let stream_id = loop {
                let drawn = cx.rng.next_u64() as u32;
                if drawn != 0 && !of_peer.forwarders.contains_key(&drawn) {
                    break drawn;
                }
            };
            of_peer.forwarders.insert(stream_id, id);
            if wanted.what == ForwardWhat::Messages {
                of_peer.messages.push(id);
            }
            added.push((stream_id, id));
            let shown = wanted.shown(stream_id, sender.1.port(), forward.srtp.as_ref());
            done.push((stream_id, shown, wanted));
        }
        for (_, shown, wanted) in &done {
            tell_handlers(cx, order, shown, wanted);
        }
        let legacy = matches!(forward.form, Form::Legacy { .. }).then(|| legacy(forward, &done));
        let forwarders = done.into_iter().map(|(id, shown, _)| (id, shown)).collect();
        Ok(Done::Forwarded { forwarders, legacy })
    }

    fn publish(
        &mut self,
        cx: &mut Cx<'_>,
        peer: PeerId,
        order: &Order,
        spec: &Remotize,
    ) -> Result<Done, Fault> {
        let to = spec
            .host
            .at(spec.port)
            .ok_or_else(|| spec.host.unresolved())?;
        check_address(cx, order, to)?;
        let (sock, _) = self.sender(to).ok_or_else(no_socket)?;
        let of_peer = self.by_peer.entry(peer).or_default();
        let max = cx.config.limits.publisher_forwards_count;
        if of_peer.count() + order.streams.len() > max {
            return Err(too_many());
        }
        let remote_id = spec.remote_id.clone();
        if of_peer.remotes.contains_key(&remote_id) {
            return Err(remotized(&remote_id));
        }
        let mut remote = Remote {
            spec: spec.clone(),
            sock,
            forwards: BTreeMap::new(),
        };
        let sent = remote.send(cx, &order.streams, &mut of_peer.messages);
        of_peer.remotes.insert(remote_id.clone(), remote);
        if let Err(fault) = sent {
            of_peer.unpublish(cx, &remote_id);
            return Err(fault);
        }
        let mut shown = json!({
            "remote_id": remote_id, "host": to.ip().to_string(), "port": to.port(),
        });
        if let Some(port) = spec.rtcp_port {
            shown["rtcp_port"] = port.into();
        }
        if spec.srtp.is_some() {
            shown["srtp"] = true.into();
        }
        Ok(Done::Published { remote_id, shown })
    }

    fn stop(&mut self, cx: &mut Cx<'_>, peer: PeerId, stream_id: u32) -> Result<Done, Fault> {
        let of_peer = self.by_peer.get_mut(&peer);
        let of_peer = of_peer.ok_or_else(|| no_stream(stream_id.into()))?;
        let id = of_peer.forwarders.remove(&stream_id);
        of_peer.remove(cx, id.ok_or_else(|| no_stream(stream_id.into()))?);
        Ok(Done::ForwardStopped(stream_id))
    }

    fn unpublish(&mut self, cx: &mut Cx<'_>, peer: PeerId, id: &str) -> Result<Done, Fault> {
        let of_peer = self.by_peer.get_mut(&peer);
        let of_peer = of_peer.filter(|of_peer| of_peer.remotes.contains_key(id));
        let of_peer = of_peer.ok_or_else(|| not_remotized(id))?;
        of_peer.unpublish(cx, id);
        Ok(Done::Unpublished(id.into()))
    }
}

impl OfPeer {
    fn count(&self) -> usize {
        let remotes = self
            .remotes
            .values()
            .map(|remote| remote.forwards.len().max(1));
        self.forwarders.len() + remotes.sum::<usize>()
    }

    fn remove(&mut self, cx: &mut Cx<'_>, id: ForwardId) {
        self.messages.retain(|each| *each != id);
        cx.media.remove_forward(id);
    }

    fn unpublish(&mut self, cx: &mut Cx<'_>, id: &str) {
        let remote = self.remotes.remove(id);
        for forward in remote
            .into_iter()
            .flat_map(|remote| remote.forwards.into_values())
        {
            self.remove(cx, forward);
        }
    }
}

impl Remote {
    /// Sends the streams that it does not send yet.
    fn send(
        &mut self,
        cx: &mut Cx<'_>,
        streams: &[StreamInfo],
        messages: &mut Vec<ForwardId>,
    ) -> Result<(), Fault> {
        for stream in streams.iter().filter(|stream| !stream.is_disabled) {
            let encodings = if stream.is_simulcast {
                ENCODINGS as u8
            } else {
                1
            };
            for encoding in 0..encodings {
                let key = (stream.mindex, encoding);
                if self.forwards.contains_key(&key) {
                    continue;
                }
                let spec = self.spec_for(stream, encoding)?;
                let what = spec.what;
                let id = cx
                    .media
                    .add_forward(cx.now.monotonic, spec)
                    .map_err(|_| too_many())?;
                self.forwards.insert(key, id);
                if what == ForwardWhat::WrappedMessages {
                    messages.push(id);
                }
            }
        }
        Ok(())
    }

    fn spec_for(&self, stream: &StreamInfo, encoding: u8) -> Result<ForwardSpec, Fault> {
        let host = &self.spec.host;
        let at = |port| host.at(port).ok_or_else(|| host.unresolved());
        // Feedback is about pictures.
        let rtcp = self
            .spec
            .rtcp_port
            .filter(|_| stream.kind == StreamKind::Video);
        Ok(ForwardSpec {
            line: stream.line,
            what: match stream.kind {
                StreamKind::Audio | StreamKind::Video => ForwardWhat::Encoding(encoding),
                StreamKind::Data => ForwardWhat::WrappedMessages,
            },
            sock: self.sock,
            to: at(self.spec.port)?,
            pt: None,
            ssrc: Some(remote_ssrc(stream.mindex, encoding)),
            srtp: self.spec.srtp.clone(),
            rtcp: rtcp.map(at).transpose()?,
        })
    }
}

impl Wanted<'_> {
    /// A forwarder as lists show it.
    fn shown(&self, stream_id: u32, local_port: u16, srtp: Option<&SrtpKeys>) -> Value {
        let mut shown = json!({
            "stream_id": stream_id,
            "host": self.to.ip().to_string(),
            "port": self.to.port(),
            "type": self.stream.kind.as_str(),
        });
        if let Some(rtcp) = self.rtcp {
            shown["local_rtcp_port"] = local_port.into();
            shown["remote_rtcp_port"] = rtcp.port().into();
        }
        if let Some(pt) = self.leg.pt {
            shown["pt"] = pt.into();
        }
        if let Some(ssrc) = self.leg.ssrc {
            shown["ssrc"] = ssrc.into();
        }
        if self.substream > 0 {
            shown["substream"] = self.substream.into();
        }
        if srtp.is_some() && self.what != ForwardWhat::Messages {
            shown["srtp"] = true.into();
        }
        shown
    }
}

/// The forwarders that a request asks for. Streams that are not there are passed over.
fn wanted<'a>(forward: &Forward, streams: &'a [StreamInfo]) -> Result<Vec<Wanted<'a>>, Fault> {
    let mut all = Vec::new();
    match &forward.form {
        Form::Legacy { audio, video, data } => {
            for (kind, target) in [
                (StreamKind::Audio, audio),
                (StreamKind::Video, video),
                (StreamKind::Data, data),
            ] {
                let stream = streams.iter().find(|stream| stream.kind == kind);
                if let Some((stream, target)) = stream.zip(target.as_ref()) {
                    add_wanted(&mut all, stream, &forward.host, target)?;
                }
            }
        }
        Form::Streams(wishes) => {
            for wish in wishes {
                let stream = streams.iter().find(|stream| stream.mid == wish.mid);
                if let Some(stream) = stream {
                    let host = wish.host.as_ref().unwrap_or(&forward.host);
                    add_wanted(&mut all, stream, host, &wish.target)?;
                }
            }
        }
    }
    Ok(all)
}

fn add_wanted<'a>(
    all: &mut Vec<Wanted<'a>>,
    stream: &'a StreamInfo,
    host: &Host,
    target: &Target,
) -> Result<(), Fault> {
    let at = |port| host.at(port).ok_or_else(|| host.unresolved());
    let is_video = stream.kind == StreamKind::Video;
    let legs_count = if is_video && !target.is_best {
        ENCODINGS
    } else {
        1
    };
    for (encoding, leg) in target.legs.iter().enumerate().take(legs_count) {
        let Some(leg) = *leg else { continue };
        // Feedback comes for all encodings by one port, that of the first.
        let rtcp = target
            .rtcp_port
            .filter(|_| encoding == 0 && stream.kind != StreamKind::Data);
        all.push(Wanted {
            stream,
            what: match stream.kind {
                StreamKind::Data => ForwardWhat::Messages,
                StreamKind::Video if target.is_best => ForwardWhat::Best,
                StreamKind::Audio | StreamKind::Video => ForwardWhat::Encoding(encoding as u8),
            },
            leg,
            to: at(leg.port)?,
            rtcp: rtcp.map(at).transpose()?,
            substream: encoding,
        });
    }
    Ok(())
}

/// The answer as clients of Janus 0.x know it.
fn legacy(forward: &Forward, done: &[(u32, Value, &Wanted<'_>)]) -> Value {
    let mut answer = json!({});
    for (stream_id, shown, wanted) in done {
        let kind = wanted.stream.kind.as_str();
        let suffix = match wanted.substream {
            0 => String::new(),
            other => format!("_{}", other + 1),
        };
        answer[format!("{kind}_stream_id{suffix}")] = (*stream_id).into();
        answer[format!("{kind}{suffix}")] = wanted.leg.port.into();
        if wanted.stream.kind == StreamKind::Video && wanted.rtcp.is_some() {
            answer["video_rtcp"] = shown["remote_rtcp_port"].clone();
        }
    }
    answer["warning"] = "deprecated_api".into();
    let address = forward.host.address.map(|address| address.to_string());
    answer["host"] = address.into();
    answer
}

fn tell_handlers(cx: &mut Cx<'_>, order: &Order, shown: &Value, wanted: &Wanted<'_>) {
    if !cx.config.videoroom.events {
        return;
    }
    let mut event = json!({
        "event": "rtp_forward",
        "room": order.room.json(),
        "publisher_id": order.user.json(),
        "media": wanted.stream.kind.as_str(),
    });
    if !wanted.stream.codec.is_empty() {
        event["codec"] = (&*wanted.stream.codec).into();
    }
    if wanted.stream.kind == StreamKind::Video && wanted.substream > 0 {
        event["video_substream"] = wanted.substream.into();
    }
    for (name, value) in shown.as_object().into_iter().flatten() {
        event[name] = value.clone();
    }
    cx.report(None, event);
}

/// The addresses that an export sends to.
fn addresses(export: &Export) -> Vec<IpAddr> {
    match export {
        Export::Forward(forward) => {
            let mut hosts = vec![&forward.host];
            if let Form::Streams(streams) = &forward.form {
                hosts.extend(streams.iter().filter_map(|stream| stream.host.as_ref()));
            }
            hosts.into_iter().filter_map(|host| host.address).collect()
        }
        Export::Publish(remotize) => remotize.host.address.into_iter().collect(),
        Export::StopForward(_) | Export::Unpublish(_) => Vec::new(),
    }
}

/// Refuses addresses of the gateway's own network to those who have shown no secret.
fn check_address(cx: &Cx<'_>, order: &Order, to: SocketAddr) -> Result<(), Fault> {
    if order.is_trusted || cx.media.may_send_to(to) {
        return Ok(());
    }
    Err(Fault::element(format!(
        "Invalid element (without a secret of the room, media may not be sent to {})",
        to.ip()
    )))
}

const fn family(address: IpAddr) -> usize {
    if address.is_ipv4() { 0 } else { 1 }
}

fn peer_of(streams: &[StreamInfo]) -> Option<PeerId> {
    let LineRef { peer, .. } = streams.first()?.line;
    Some(peer)
}

fn report(cx: &mut Cx<'_>, order: Order, outcome: Result<Done, Fault>) {
    let report = Report {
        ticket: order.ticket,
        asker: order.asker,
        user: order.user,
        peer: peer_of(&order.streams).unwrap_or(PeerId(0)),
        outcome,
    };
    let room = order.room;
    let home = room.home(cx.shards);
    let report = Box::new(report);
    cx.send(home, Msg::Exported { room, report });
}

fn no_socket() -> Fault {
    Fault::new(Code::Unknown, "Could not open UDP socket for RTP stream")
}

fn too_many() -> Fault {
    Fault::new(Code::Unknown, "Too many streams are forwarded already")
}

pub(super) fn no_feed(user: &Id) -> Fault {
    Fault::new(Code::NoSuchFeed, format!("No such feed ({user})"))
}

pub(super) fn remotized(id: &str) -> Fault {
    Fault::new(
        Code::IdExists,
        format!("Remotization already exists ({id})"),
    )
}

pub(super) fn not_remotized(id: &str) -> Fault {
    Fault::new(Code::NoSuchFeed, format!("No such remotization ({id})"))
}
