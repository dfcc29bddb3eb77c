//! Routes: which lines feed which, and what of a packet reaches a line.
//!
//! Invariant: a line is fed by one route at most.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::clock::Monotonic;
use crate::base::id::PeerId;
use crate::base::slab::Slab;
use crate::media::RouteState;
use crate::media::event::{Enabled, LayerForm, LayerTarget, LineRef, RouteId};
use crate::media::packet::MediaPacket;
use crate::media::rewriter::{Rewriter, Rewritten, Vp8Numbers};
use crate::media::selector::{Decision, LayerLimit, LayerSelector, Verdict};
use crate::mutant;

/// All routes of a shard.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    routes: Slab<RouteId, Route>,
    by_source: BTreeMap<LineRef, Vec<RouteId>>,
    by_target: BTreeMap<LineRef, RouteId>,
    /// Lines of which nothing is forwarded, whatever their routes say.
    muted: BTreeSet<LineRef>,
}

/// A route from one line to another.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) from: LineRef,
    pub(crate) to: LineRef,
    enabled: Enabled,
    /// Packets were held back: the next one continues the sequence.
    must_rebase: bool,
    selector: LayerSelector,
}

/// What a packet becomes on its way to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    pub(crate) numbers: Rewritten,
    pub(crate) vp8: Vp8Numbers,
    /// In place of that in the dependency descriptor.
    pub(crate) frame: Option<u16>,
    pub(crate) marker: bool,
}

/// What else a packet led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerNews {
    /// The encoding or spatial layer that is delivered since.
    pub(crate) substream: Option<u8>,
    /// The temporal layer that is delivered since.
    pub(crate) temporal: Option<u8>,
    /// An encoding of which a key frame is needed.
    pub(crate) wanted: Option<u8>,
}

impl Switch {
    /// Adds a route, in place of the one that fed the line before.
    pub(crate) fn route(&mut self, from: LineRef, to: LineRef) -> RouteId {
        if let Some(former) = self.by_target.get(&to) {
            self.unroute(*former);
        }
        let id = self.routes.insert(Route {
            from,
            to,
            enabled: Enabled::Yes,
            must_rebase: false,
            selector: LayerSelector::new(LayerTarget::default()),
        });
        self.by_source.entry(from).or_default().push(id);
        self.by_target.insert(to, id);
        id
    }

    /// Takes a route out.
    pub(crate) fn unroute(&mut self, id: RouteId) {
        let Some(route) = self.routes.remove(id) else {
            return;
        };
        self.by_target.remove(&route.to);
        if let Some(routes) = self.by_source.get_mut(&route.from) {
            routes.retain(|each| *each != id);
            if routes.is_empty() {
                self.by_source.remove(&route.from);
            }
        }
    }

    /// Mutes a line or lets it pass; tells whether that changed anything.
    pub(crate) fn set_source_enabled(&mut self, line: LineRef, enabled: Enabled) -> bool {
        match enabled {
            Enabled::No => {
                for id in self.by_source.get(&line).map_or(&[][..], Vec::as_slice) {
                    if let Some(route) = self.routes.get_mut(*id) {
                        route.hold();
                    }
                }
                self.muted.insert(line)
            }
            Enabled::Yes => self.muted.remove(&line),
        }
    }

    /// Whether a line is muted.
    pub(crate) fn is_muted(&self, line: LineRef) -> bool {
        self.muted.contains(&line)
    }

    /// Takes out all routes from and to a peer.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        let lines = LineRef { peer, line: 0 }..=LineRef {
            peer,
            line: usize::MAX,
        };
        self.muted.retain(|line| line.peer != peer);
        let from = self.by_source.range(lines.clone());
        let mut routes: Vec<RouteId> = from.flat_map(|(_, routes)| routes).copied().collect();
        routes.extend(self.by_target.range(lines).map(|(_, route)| *route));
        for route in routes {
            self.unroute(route);
        }
    }

    /// How many routes there are.
    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }

    pub(crate) fn get(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: RouteId) -> Option<&mut Route> {
        self.routes.get_mut(id)
    }

    /// A route, unless the line that feeds it is muted.
    pub(crate) fn open(&mut self, id: RouteId) -> Option<&mut Route> {
        let route = self.routes.get_mut(id)?;
        (!self.muted.contains(&route.from)).then_some(route)
    }

    /// The routes that a line feeds.
    pub(crate) fn routes_from(&self, line: LineRef) -> &[RouteId] {
        if mutant!(RoomLeak) {
            let mut all = self.by_source.iter();
            let found = all.find(|(from, _)| from.line == line.line);
            return found.map_or(&[], |(_, routes)| routes);
        }
        self.by_source.get(&line).map_or(&[], Vec::as_slice)
    }

    /// Whether any line of a peer feeds a route.
    pub(crate) fn has_routes_from(&self, peer: PeerId) -> bool {
        let lines = LineRef { peer, line: 0 }..=LineRef {
            peer,
            line: usize::MAX,
        };
        self.by_source.range(lines).next().is_some()
    }

    /// The route that feeds a line.
    pub(crate) fn route_to(&self, line: LineRef) -> Option<RouteId> {
        self.by_target.get(&line).copied()
    }
}

impl Route {
    /// Mutes the route or lets it pass; tells whether that changed anything.
    pub(crate) fn set_enabled(&mut self, enabled: Enabled) -> bool {
        let changes = self.enabled != enabled;
        self.enabled = enabled;
        changes
    }

    pub(crate) fn set_target(&mut self, now: Monotonic, target: LayerTarget) {
        if mutant!(LayersForgotten) && self.wanted(now).is_some() {
            return;
        }
        self.selector.set_target(now, target);
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled == Enabled::Yes
    }

    /// Sets what the receiver can take; tells whether another encoding is to be delivered for it.
    pub(crate) fn set_limit(&mut self, now: Monotonic, limit: LayerLimit) -> bool {
        self.selector.set_limit(now, limit)
    }

    /// What the receiver can take.
    pub(crate) const fn limit(&self) -> LayerLimit {
        self.selector.limit()
    }

    /// The encoding that is needed and not delivered.
    pub(crate) fn wanted(&self, now: Monotonic) -> Option<u8> {
        self.selector.wanted(now)
    }

    /// What the qualities of the source are.
    pub(crate) const fn form(&self) -> LayerForm {
        self.selector.form()
    }

    /// The encoding whose key frames help the receiver.
    pub(crate) fn encoding(&self) -> u8 {
        self.selector.encoding()
    }

    pub(crate) const fn state(&self) -> RouteState {
        RouteState {
            target: self.selector.target(),
            form: self.selector.form(),
            substream: self.selector.substream(),
            temporal: self.selector.temporal(),
        }
    }

    /// What overtook a packet that passed, in its order: it is to pass after it.
    pub(crate) fn overtakers(&mut self, now: Monotonic, packet: &MediaPacket) -> Vec<MediaPacket> {
        self.selector.overtakers(now, packet)
    }

    /// Notes that packets are held back.
    fn hold(&mut self) {
        self.must_rebase = true;
        self.selector.close();
    }

    /// Decides on a packet, and numbers it if it is to be sent.
    pub(crate) fn pass(
        &mut self,
        now: Monotonic,
        packet: &MediaPacket,
        rewriter: &mut Rewriter,
    ) -> (Option<Forwarded>, LayerNews) {
        if self.enabled == Enabled::No {
            self.hold();
            return (None, LayerNews::default());
        }
        let mut news = LayerNews::default();
        let before = (self.selector.substream(), self.selector.temporal());
        let Decision {
            verdict,
            ends_picture,
        } = self.selector.judge(now, packet);
        let after = (self.selector.substream(), self.selector.temporal());
        news.substream = after.0.filter(|_| after.0 != before.0);
        news.temporal = after.1.filter(|_| after.1 != before.1);
        if packet.is_simulcast || packet.facts.layered.is_some() {
            news.wanted = self.selector.wanted(now);
        }
        match verdict {
            Verdict::Forward => {}
            Verdict::Other => return (None, news),
            Verdict::Skip => {
                rewriter.skip(packet.source, packet.sequence);
                return (None, news);
            }
        }
        let switched = rewriter.source() != Some(packet.source);
        if std::mem::take(&mut self.must_rebase) {
            rewriter.rebase(packet.source, packet.sequence);
        }
        let numbers = rewriter.map(now, packet.source, packet.sequence, packet.timestamp);
        let forwarded = numbers.map(|numbers| Forwarded {
            numbers,
            marker: packet.marker || ends_picture,
            frame: packet.facts.frame_number().and_then(|number| {
                let mapped = rewriter.map_frame(number, switched, numbers.is_newest);
                (mapped != number).then_some(mapped)
            }),
            vp8: packet.vp8.map_or_else(Vp8Numbers::default, |descriptor| {
                let vp8 = rewriter.map_vp8(&descriptor, switched, numbers.is_newest);
                let as_it_is = Vp8Numbers {
                    picture_id: descriptor.picture_id.map(|id| id.number),
                    tl0_index: descriptor.tl0_index,
                };
                // Nothing to patch.
                if vp8 == as_it_is {
                    Vp8Numbers::default()
                } else {
                    vp8
                }
            }),
        });
        if forwarded.is_none() && packet.facts.keyframe {
            // It was lost first, and its place is before what the receiver began with, which needs
            // another one.
            news.wanted = Some(self.selector.encoding());
        }
        (forwarded, news)
    }
}
