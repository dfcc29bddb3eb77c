//! Reports of how media fares: one a medium and period, or one for all of a PeerConnection.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::base::clock::Now;
use crate::base::id::HandleRef;
use crate::config::ReportKind;
use crate::gateway::{Gateway, Key};
use crate::media::{
    DataStatistics, LineStatistics, PeerStatistics, Reception, Sending, TrackKind, Traffic,
};

const STATISTICS: (ReportKind, Option<u8>) = (ReportKind::Media, Some(3));

impl Gateway {
    /// Begins to report statistics of a PeerConnection that is up.
    pub(super) fn watch_statistics(&mut self, now: Now, handle: HandleRef) {
        let period = self.config.events.stats_period;
        if let Some(period) = period.filter(|_| self.reports.wants(ReportKind::Media)) {
            let at = now.monotonic + period;
            self.timers.arm(Key::Statistics(handle), at);
        }
    }

    /// A period is over. Whoever has no PeerConnection any more is not watched further.
    pub(super) fn expire_statistics(&mut self, now: Now, handle: HandleRef) {
        let peer = self.handle_mut(handle).and_then(|entry| entry.peer);
        let Some(statistics) = peer.and_then(|peer| self.media.statistics(peer)) else {
            return;
        };
        self.report_statistics(now, handle, &statistics);
        self.watch_statistics(now, handle);
    }

    /// Reports the last statistics of a PeerConnection that is about to be closed.
    pub(super) fn report_last_statistics(&mut self, now: Now, handle: HandleRef) {
        if !self.reports.wants(ReportKind::Media) {
            return;
        }
        let peer = self.handle_mut(handle).and_then(|entry| entry.peer);
        let is_up = |peer| self.media.state(peer).is_some_and(|state| state.up);
        let statistics = peer
            .filter(|peer| is_up(*peer))
            .and_then(|peer| self.media.statistics(peer));
        if let Some(statistics) = statistics {
            self.report_statistics(now, handle, &statistics);
        }
    }

    pub(super) fn report_statistics(
        &mut self,
        now: Now,
        handle: HandleRef,
        statistics: &PeerStatistics,
    ) {
        if self.config.events.stats_period.is_none() || !self.reports.wants(ReportKind::Media) {
            return;
        }
        let media = all_media(statistics);
        if self.config.events.combine_media_stats {
            let all = Value::Array(media).to_string();
            self.report_handle(now.realtime, STATISTICS, handle, &all);
            return;
        }
        for one in media {
            self.report_handle(now.realtime, STATISTICS, handle, &one.to_string());
        }
    }
}

/// Statistics of all media, in the order of their sections.
fn all_media(statistics: &PeerStatistics) -> Vec<Value> {
    let mut media: Vec<(usize, Value)> = Vec::new();
    for line in &statistics.lines {
        for (encoding, received) in line.received.iter().enumerate() {
            let shown = encoding_of(line, encoding, received, statistics.remb);
            media.push((line.index, shown));
        }
    }
    if let Some(data) = &statistics.data {
        media.push((data.index, data_of(data)));
    }
    media.sort_by_key(|(index, _)| *index);
    media.into_iter().map(|(_, shown)| shown).collect()
}

/// One encoding of a line. What goes out is told with the first.
fn encoding_of(
    line: &LineStatistics,
    encoding: usize,
    received: &Reception,
    remb: Option<u64>,
) -> Value {
    let is_first = encoding == 0;
    let sent = if is_first {
        line.sent
    } else {
        Sending::NOTHING
    };
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| drop(shown.insert(name.to_owned(), value));
    put("mid", line.mid.as_str().into());
    put("mindex", line.index.into());
    let media = line.kind.as_str();
    match encoding {
        0 => put("media", media.into()),
        further => put("media", format!("{media}-sim{further}").into()),
    }
    put("codec", line.codec.as_str().into());
    put("base", line.clock_rate.into());
    if is_first {
        put("rtt", millis(sent.rtt).into());
    }
    for (name, value) in transport_of(line.clock_rate, received, &sent) {
        put(name, value.into());
    }
    let (came, went) = (received.traffic, sent.traffic);
    for (name, value) in counts(came, went) {
        put(name, value.into());
    }
    put("bytes-received-lastsec", received.bytes_lately.into());
    put("bytes-sent-lastsec", sent.bytes_lately.into());
    put("nacks-received", sent.nacks_received.into());
    put("nacks-sent", received.nacks_sent.into());
    put("retransmissions-received", received.recovered.into());
    if let Some(remb) = remb.filter(|_| is_first && line.kind == TrackKind::Video) {
        put("remb-bitrate", remb.into());
    }
    Value::Object(shown)
}

/// How an encoding fares on its way, in both directions: losses, jitter in milliseconds, shares in
/// percent.
pub(super) fn transport_of(
    clock_rate: u32,
    received: &Reception,
    sent: &Sending,
) -> [(&'static str, u64); 8] {
    let jitter = |ticks| ticks_to_millis(ticks, clock_rate);
    [
        ("lost", received.lost),
        ("lost-by-remote", sent.lost),
        ("jitter-local", jitter(received.jitter_ticks)),
        ("jitter-remote", jitter(sent.jitter_ticks)),
        ("in-link-quality", received.link_quality.into()),
        ("in-media-link-quality", received.media_quality.into()),
        ("out-link-quality", sent.link_quality.into()),
        ("out-media-link-quality", sent.media_quality.into()),
    ]
}

fn data_of(data: &DataStatistics) -> Value {
    let mut shown = json!({"mid": data.mid, "mindex": data.index, "media": "data"});
    for (name, value) in counts(data.received, data.sent) {
        shown[name] = value.into();
    }
    shown
}

fn counts(came: Traffic, went: Traffic) -> [(&'static str, u64); 4] {
    [
        ("packets-received", came.packets),
        ("packets-sent", went.packets),
        ("bytes-received", came.bytes),
        ("bytes-sent", went.bytes),
    ]
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn ticks_to_millis(ticks: u32, clock_rate: u32) -> u64 {
    (u64::from(ticks) * 1_000)
        .checked_div(u64::from(clock_rate))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: TrackKind, index: usize, encodings: usize) -> LineStatistics {
        let received = (0..encodings as u64).map(|encoding| Reception {
            traffic: Traffic {
                packets: 10 + encoding,
                bytes: 100,
            },
            jitter_ticks: 96,
            link_quality: 99,
            media_quality: 100,
            ..Reception::default()
        });
        LineStatistics {
            mid: index.to_string(),
            index,
            kind,
            codec: "opus".to_owned(),
            clock_rate: 48_000,
            received: received.collect(),
            sent: Sending {
                rtt: Duration::from_micros(2_900),
                link_quality: 98,
                ..Sending::default()
            },
        }
    }

    #[test]
    fn members_are_those_of_janus_in_its_order() {
        let statistics = PeerStatistics {
            lines: vec![line(TrackKind::Audio, 0, 1)],
            data: None,
            remb: None,
        };
        let shown = all_media(&statistics)[0].to_string();
        assert_eq!(
            shown,
            "{\"mid\":\"0\",\"mindex\":0,\"media\":\"audio\",\"codec\":\"opus\",\"base\":48000,\
             \"rtt\":2,\"lost\":0,\"lost-by-remote\":0,\"jitter-local\":2,\"jitter-remote\":0,\
             \"in-link-quality\":99,\"in-media-link-quality\":100,\"out-link-quality\":98,\
             \"out-media-link-quality\":0,\"packets-received\":10,\"packets-sent\":0,\
             \"bytes-received\":100,\"bytes-sent\":0,\"bytes-received-lastsec\":0,\
             \"bytes-sent-lastsec\":0,\"nacks-received\":0,\"nacks-sent\":0,\
             \"retransmissions-received\":0}"
        );
    }

    #[test]
    fn media_come_in_the_order_of_sections_and_encodings() {
        let statistics = PeerStatistics {
            lines: vec![line(TrackKind::Audio, 0, 1), line(TrackKind::Video, 2, 3)],
            data: Some(DataStatistics {
                mid: "1".to_owned(),
                index: 1,
                received: Traffic::default(),
                sent: Traffic::default(),
            }),
            remb: Some(5),
        };
        let media = all_media(&statistics);
        let names: Vec<_> = media.iter().map(|one| one["media"].as_str()).collect();
        let wanted = ["audio", "data", "video", "video-sim1", "video-sim2"];
        assert_eq!(names, wanted.map(Some));
        let with_remb: Vec<_> = media
            .iter()
            .map(|one| one.get("remb-bitrate").is_some())
            .collect();
        assert_eq!(with_remb, [false, false, true, false, false]);
    }
}
