//! One media section of a peer: what was negotiated for it, and what has arrived lately.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::media::LineState;
use crate::media::event::{PeerEvent, PlayoutDelay, TrackKind};
use crate::media::history::History;
use crate::media::packet::{MediaPacket, PayloadForm};
use crate::media::peer_ext::ValueFilter;
use crate::media::peer_head::HopIds;
use crate::media::peer_plain::ExtensionIds;
use crate::media::rewriter::Rewriter;
use crate::media::statistics::{Look, Reception, Sending, Side};
use crate::wire::rtp::packet::SenderNumbers;
use crate::wire::rtp::{DependencyReader, VideoCodec, red};
use crate::wire::sdp::{
    LayerSource, MediaDescription, MediaKind, MediaPlan, RidOrder, SimulcastPlan, simulcast_layers,
};

/// An accepted audio or video section.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) offer: LineOffer,
    /// The source of what we send, and that of its retransmissions.
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: u32,
    /// The remote takes what we send.
    pub(crate) is_taken: bool,
    /// The remote takes retransmissions in the format made for them.
    pub(crate) takes_rtx: bool,
    /// The remote reports on the numbers that packets of this line have on their way. On those of
    /// another it would report as lost.
    pub(super) is_reported: bool,
    pub(crate) rewriter: Rewriter,
    /// What arrived of each encoding; always one at least.
    pub(crate) watches: Vec<Watch>,
    /// For the dependency descriptors of each encoding.
    readers: Vec<DependencyReader>,
    pub(crate) sent: Traffic,
    /// What of it was sent by sources that the line had before.
    pub(super) sent_before: Traffic,
    /// The library has sent a packet of this source: before, it passes on nothing that the remote
    /// says of it.
    pub(super) has_begun: bool,
    /// For what the remote misses.
    pub(super) history: History,
    /// In place of what packets say, both ways.
    pub(crate) playout_delay: Option<PlayoutDelay>,
    /// Losses that the remote reported, all in all.
    pub(crate) remote_lost: u64,
    pub(crate) remote_lost_lately: u32,
    pub(crate) feedback: Feedback,
    looked: Look,
}

/// What the remote says of what it gets, beside losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Feedback {
    pub(crate) rtt: Duration,
    pub(crate) jitter_ticks: u32,
    pub(crate) nacks: u64,
}

/// What an offer and its answer say about a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineOffer {
    pub(crate) mid: String,
    pub(crate) kind: TrackKind,
    /// The name of the codec, in lower case.
    pub(crate) codec: String,
    pub(crate) video: Option<VideoCodec>,
    pub(crate) clock_rate: u32,
    pub(crate) pt: u8,
    pub(crate) rtx_pt: Option<u8>,
    pub(crate) red_pt: Option<u8>,
    pub(crate) has_nack: bool,
    pub(crate) sends: bool,
    pub(crate) receives: bool,
    pub(crate) encodings: Vec<EncodingSource>,
    pub(crate) is_simulcast: bool,
    pub(crate) values: ValueFilter,
    /// The numbers that the remote has for header extensions.
    pub(crate) extension_ids: ExtensionIds,
    pub(crate) hop_ids: HopIds,
}

/// How packets of an encoding are told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EncodingSource {
    /// By header extensions: a rid, or only the mid.
    Extension { rid: Option<String> },
    /// By a source that the offer names.
    Signalled { ssrc: u32, rtx: Option<u32> },
}

/// Packets and their payload bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets, or messages.
    pub packets: u64,
    /// Bytes of payload in them.
    pub bytes: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// What arrived of one encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) received: Traffic,
    highest: Option<u64>,
    /// Missing since the last look, less those that came late.
    lost_lately: u32,
    /// Missing all in all, less those that came late.
    lost: u64,
    recovered: u64,
    /// What we said of it: jitter in ticks of RTP time, and negative acknowledgements.
    pub(crate) jitter_ticks: u32,
    pub(crate) nacks_sent: u64,
    looked: Look,
    last_at: Option<Monotonic>,
    is_receiving: bool,
}

impl LineOffer {
    /// The payload type and the payload of a packet for this line; `None` if it cannot be had
    /// without redundancy.
    pub(super) fn payload_of<'a>(
        &self,
        packet: &'a MediaPacket,
    ) -> Option<(u8, Cow<'a, Arc<[u8]>>)> {
        match (packet.form, self.red_pt) {
            (PayloadForm::Plain, _) => Some((self.pt, Cow::Borrowed(&packet.payload))),
            (PayloadForm::Red, Some(pt)) => Some((pt, Cow::Borrowed(&packet.payload))),
            (PayloadForm::Red, None) => {
                let primary = red::primary(&packet.payload)?;
                Some((self.pt, Cow::Owned(primary.into())))
            }
        }
    }

    /// The names of the encodings that have one.
    pub(crate) fn rids(&self) -> Vec<String> {
        let rid = |each: &EncodingSource| match each {
            EncodingSource::Extension { rid } => rid.clone(),
            EncodingSource::Signalled { .. } => None,
        };
        self.encodings.iter().filter_map(rid).collect()
    }

    /// Reads a section that is accepted.
    pub(crate) fn new(
        media: &MediaDescription,
        index: usize,
        plan: &MediaPlan,
        order: RidOrder,
    ) -> Option<Self> {
        let codec = media.codec(plan.pt)?;
        let kind = match media.kind {
            MediaKind::Audio => TrackKind::Audio,
            MediaKind::Video => TrackKind::Video,
            MediaKind::Application | MediaKind::Other(_) => return None,
        };
        let mut values = ValueFilter::default();
        let mut extension_ids = ExtensionIds::default();
        let mut hop_ids = HopIds::default();
        for extension in &media.extensions {
            if plan.extensions.contains(&extension.id) {
                values.allow(&extension.uri);
                extension_ids.note(&extension.uri, extension.id);
                hop_ids.note(&extension.uri, extension.id);
            }
        }
        let encodings = encodings(media, plan, order);
        Some(Self {
            mid: media.mid.clone().unwrap_or_else(|| index.to_string()),
            kind,
            codec: codec.name.to_ascii_lowercase(),
            video: VideoCodec::from_name(&codec.name).filter(|_| kind == TrackKind::Video),
            clock_rate: codec.clock_rate,
            pt: plan.pt,
            rtx_pt: media.rtx_of(plan.pt),
            red_pt: plan.red,
            has_nack: plan.feedback.iter().any(|each| each == "nack"),
            sends: plan.direction.sends(),
            receives: plan.direction.receives(),
            is_simulcast: encodings.len() > 1,
            encodings,
            values,
            extension_ids,
            hop_ids,
        })
    }
}

fn encodings(media: &MediaDescription, plan: &MediaPlan, order: RidOrder) -> Vec<EncodingSource> {
    let source = |ssrc: u32, rtx: Option<u32>| EncodingSource::Signalled { ssrc, rtx };
    if plan.simulcast == SimulcastPlan::Accept {
        let layers = simulcast_layers(media, order);
        if layers.len() > 1 {
            let layer = layers.into_iter().map(|layer| match layer.source {
                LayerSource::Rid(rid) => EncodingSource::Extension { rid: Some(rid) },
                LayerSource::Ssrc { media, rtx } => source(media, rtx),
            });
            return layer.collect();
        }
    }
    // Rids without simulcast name one encoding only.
    let ssrc = media.media_ssrcs().next().filter(|_| media.rids.is_empty());
    let one = match ssrc {
        Some(ssrc) => {
            let rtx = media.fid_pairs().find(|pair| pair.0 == ssrc);
            source(ssrc, rtx.map(|pair| pair.1))
        }
        None => EncodingSource::Extension {
            rid: media.rids.first().map(|rid| rid.id.clone()),
        },
    };
    vec![one]
}

impl Line {
    pub(crate) fn new(offer: LineOffer, ssrc: u32, rtx_ssrc: u32, first: u16) -> Self {
        Self {
            ssrc,
            rtx_ssrc,
            is_taken: true,
            takes_rtx: true,
            is_reported: false,
            rewriter: Rewriter::new(offer.clock_rate, first),
            watches: vec![Watch::default(); offer.encodings.len()],
            readers: vec![DependencyReader::default(); offer.encodings.len()],
            sent: Traffic::default(),
            sent_before: Traffic::default(),
            has_begun: false,
            history: History::default(),
            playout_delay: None,
            remote_lost: 0,
            remote_lost_lately: 0,
            feedback: Feedback::default(),
            looked: Look::default(),
            offer,
        }
    }

    /// Takes a new offer for the same section, which is declared anew to the library.
    pub(crate) fn update(&mut self, offer: LineOffer) {
        self.has_begun = false;
        self.watches.resize(offer.encodings.len(), Watch::default());
        self.readers
            .resize_with(offer.encodings.len(), DependencyReader::default);
        self.offer = offer;
    }

    /// Notes a packet of an encoding; says so when it is the first after a silence.
    pub(crate) fn on_packet(
        &mut self,
        now: Monotonic,
        encoding: u8,
        sequence: u64,
        bytes: usize,
    ) -> Option<PeerEvent> {
        let watch = self.watches.get_mut(usize::from(encoding))?;
        watch.on_packet(now, sequence, bytes);
        if watch.is_receiving {
            return None;
        }
        watch.is_receiving = true;
        Some(self.media_event(encoding, true, None))
    }

    /// Notes that an encoding has another source, whose numbers begin anywhere.
    pub(crate) fn on_new_source(&mut self, encoding: u8) {
        if let Some(watch) = self.watches.get_mut(usize::from(encoding)) {
            watch.highest = None;
        }
        if let Some(reader) = self.reader_mut(encoding) {
            *reader = DependencyReader::default();
        }
    }

    /// What reads the dependency descriptors of an encoding.
    pub(crate) fn reader_mut(&mut self, encoding: u8) -> Option<&mut DependencyReader> {
        self.readers.get_mut(usize::from(encoding))
    }

    /// The payload type of retransmissions, if the remote takes them in the format made for them.
    pub(super) fn rtx_pt(&self) -> Option<u8> {
        self.offer.rtx_pt.filter(|_| self.takes_rtx)
    }

    /// Whether there is anything for it in what the remote reports.
    pub(super) const fn listens(&self) -> bool {
        self.has_begun && (self.offer.has_nack || self.is_reported)
    }

    /// What sender reports say (RFC 3550 section 6.4.1); `None` before the first packet.
    pub(super) fn sender_numbers(&self, now: Monotonic) -> Option<SenderNumbers> {
        let (all, before) = (self.sent, self.sent_before);
        Some(SenderNumbers {
            timestamp: self.rewriter.time_at(now)?,
            packets: (all.packets - before.packets) as u32,
            octets: (all.bytes - before.bytes) as u32,
        })
    }

    /// Begins anew with another source, whose first number follows `before`.
    pub(super) fn change_source(&mut self, ssrc: u32, rtx_ssrc: u32, before: u16) {
        (self.ssrc, self.rtx_ssrc) = (ssrc, rtx_ssrc);
        self.rewriter = Rewriter::new(self.offer.clock_rate, before);
        self.history = History::default();
        self.sent_before = self.sent;
    }

    /// Notes the losses that the remote reported so far.
    pub(crate) fn on_remote_losses(&mut self, lost: u64) {
        self.remote_lost_lately += lost.saturating_sub(self.remote_lost) as u32;
        self.remote_lost = lost;
    }

    /// Looks back at the last second: silence and losses.
    pub(crate) fn look(
        &mut self,
        now: Monotonic,
        no_media: Option<Duration>,
        slowlink_threshold: u32,
        mut emit: impl FnMut(PeerEvent),
    ) {
        for encoding in 0..self.watches.len() {
            let watch = &mut self.watches[encoding];
            let silent = watch.last_at.map(|at| now.saturating_since(at));
            let timer = no_media.filter(|timer| silent.is_some_and(|silent| silent >= *timer));
            if let Some(timer) = timer.filter(|_| watch.is_receiving) {
                watch.is_receiving = false;
                emit(self.media_event(encoding as u8, false, Some(timer.as_secs())));
            }
        }
        for watch in &mut self.watches {
            let Watch {
                received,
                lost,
                nacks_sent,
                ..
            } = *watch;
            watch
                .looked
                .again(received, lost, nacks_sent, Side::Receiving);
        }
        let nacks = self.feedback.nacks;
        self.looked
            .again(self.sent, self.remote_lost, nacks, Side::Sending);
        let lost_here = self.watches.iter_mut().map(Watch::take_lost).sum();
        let lost_there = std::mem::take(&mut self.remote_lost_lately);
        if slowlink_threshold == 0 {
            return;
        }
        for (uplink, lost) in [(false, lost_here), (true, lost_there)] {
            if lost >= slowlink_threshold {
                emit(PeerEvent::SlowLink {
                    mid: self.offer.mid.clone(),
                    kind: self.offer.kind,
                    uplink,
                    lost,
                });
            }
        }
    }

    /// What comes in, encoding by encoding.
    pub(crate) fn receptions(&self) -> impl Iterator<Item = Reception> {
        let has_nack = self.offer.has_nack;
        self.watches.iter().map(move |watch| {
            watch.looked.reception(Reception {
                traffic: watch.received,
                lost: watch.lost,
                jitter_ticks: watch.jitter_ticks,
                nacks_sent: watch.nacks_sent,
                recovered: if has_nack { watch.recovered } else { 0 },
                ..Reception::default()
            })
        })
    }

    /// What goes out.
    pub(crate) fn sending(&self) -> Sending {
        self.looked.sending(Sending {
            traffic: self.sent,
            lost: self.remote_lost,
            rtt: self.feedback.rtt,
            jitter_ticks: self.feedback.jitter_ticks,
            nacks_received: self.feedback.nacks,
            ..Sending::default()
        })
    }

    pub(crate) fn state(&self) -> LineState {
        let received = |get: fn(&Traffic) -> u64| {
            let each = self.watches.iter().map(|watch| get(&watch.received));
            each.sum()
        };
        LineState {
            mid: self.offer.mid.clone(),
            kind: self.offer.kind,
            codec: self.offer.codec.clone(),
            encodings: self.watches.len() as u8,
            packets_received: received(|traffic| traffic.packets),
            bytes_received: received(|traffic| traffic.bytes),
            packets_sent: self.sent.packets,
            bytes_sent: self.sent.bytes,
        }
    }

    fn media_event(&self, encoding: u8, receiving: bool, seconds: Option<u64>) -> PeerEvent {
        PeerEvent::Media {
            mid: self.offer.mid.clone(),
            kind: self.offer.kind,
            receiving,
            substream: self.offer.is_simulcast.then_some(encoding),
            seconds,
        }
    }
}

impl Watch {
    fn on_packet(&mut self, now: Monotonic, sequence: u64, bytes: usize) {
        self.received.add(bytes);
        self.last_at = Some(now);
        match self.highest {
            Some(highest) if sequence <= highest => {
                self.lost_lately = self.lost_lately.saturating_sub(1);
                self.lost = self.lost.saturating_sub(1);
                self.recovered += 1;
                return;
            }
            Some(highest) => {
                let missing = u32::try_from(sequence - highest - 1).unwrap_or(u32::MAX);
                self.lost_lately = self.lost_lately.saturating_add(missing);
                self.lost += u64::from(missing);
            }
            None => {}
        }
        self.highest = Some(sequence);
    }

    fn take_lost(&mut self) -> u32 {
        std::mem::take(&mut self.lost_lately)
    }
}
