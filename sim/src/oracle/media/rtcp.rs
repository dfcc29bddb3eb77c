//! Invariant 44: reports say what is so: no losses where nothing is lost, the bitrate that the
//! room allows, and sender reports on the time line of their stream.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::faults::media::PeerRole;
use crate::kernel::time::SimTime;
use crate::models::peer::ROOM_BITRATE;
use crate::oracle::ledger::Ledger;
use crate::oracle::media::fact::MediaFact;
use crate::oracle::media::ledger::MediaLedger;
use crate::oracle::{About, Oracle};

/// Reports say what is so.
#[derive(Debug, Default)]
pub(super) struct RtcpSane {
    rates: BTreeMap<(u32, u32), u32>,
    /// The newest report of each source: its wall time and its timestamp.
    reports: BTreeMap<(u32, u32), (u64, u32, SimTime)>,
}

static ABOUT: About = About {
    number: 44,
    id: "rtcp-sane",
    rule: "receiver reports, bitrate limits and sender reports agree with what happened",
    kills: &["remb-in-kilobits"],
};

impl Oracle for RtcpSane {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn media(&mut self, ledger: &Ledger, at: SimTime, fact: &MediaFact) -> Result<(), String> {
        let media = &ledger.media;
        match fact {
            MediaFact::Got {
                peer, ssrc, tag, ..
            } => {
                self.rates.insert((*peer, *ssrc), tag.kind.clock_rate());
            }
            MediaFact::Ended { peer } => self.reports.retain(|(owner, _), _| owner != peer),
            MediaFact::Missed { peer, count } if *count > REORDERED_MAX => {
                let state = media.state(*peer);
                let since = state.up.unwrap_or(at);
                let span = at.saturating_since(since);
                let is_calm = media.calm(&[*peer], since, at) == span && state.changed == since;
                if is_calm && !media.may_be_lost(&[*peer], since, at) {
                    return Err(format!(
                        "peer {peer} is told that {count} of its packets are lost"
                    ));
                }
            }
            MediaFact::Remb { peer, bitrate }
                if media.plan(*peer).role == PeerRole::Publisher && !is_allowed(*bitrate) =>
            {
                return Err(format!(
                    "peer {peer} may send {bitrate} bit/s in a room of {ROOM_BITRATE}"
                ));
            }
            MediaFact::Report {
                peer,
                ssrc,
                ntp,
                timestamp,
            } => return self.report(media, at, (*peer, *ssrc), (*ntp, *timestamp)),
            _ => {}
        }
        Ok(())
    }
}

/// What a publisher may be told: at the beginning a fourth, a third and a half of what the room
/// allows, then all of it. The report holds 18 bits and a power of two.
fn is_allowed(bitrate: u64) -> bool {
    (1..=4).any(|part| (bitrate * part).abs_diff(ROOM_BITRATE) <= ROOM_BITRATE / 100)
}

impl RtcpSane {
    /// Two reports of a source are as far apart in one clock as in the other: its timestamps go
    /// on as time does, whoever feeds it.
    fn report(
        &mut self,
        media: &MediaLedger,
        at: SimTime,
        (peer, ssrc): (u32, u32),
        (ntp, timestamp): (u64, u32),
    ) -> Result<(), String> {
        // Before its first packet the library says zero.
        if timestamp == 0 {
            return Ok(());
        }
        let report = (ntp, timestamp, at);
        let known = self.reports.get(&(peer, ssrc));
        // Each packet brings the newest report up again.
        if known.is_some_and(|(known, ..)| *known == ntp) {
            return Ok(());
        }
        let before = self.reports.insert((peer, ssrc), report);
        let rate = self.rates.get(&(peer, ssrc));
        let (Some((ntp_before, before, since)), Some(rate)) = (before, rate) else {
            return Ok(());
        };
        let passed_ms = ntp.cast_signed().wrapping_sub(ntp_before.cast_signed()) / 1_000_000;
        let ticks = i64::from(timestamp.wrapping_sub(before).cast_signed());
        let apart_ms = ticks * 1_000 / i64::from(*rate);
        // The gateway's clock stands while it is suspended; a publisher's does not.
        // A report that a path has lost packets after is noticed long after it came.
        let span = Duration::from_millis(passed_ms.max(apart_ms).max(0).unsigned_abs());
        let sent = SimTime::START + at.saturating_since(SimTime::START).saturating_sub(span);
        let since = since.min(sent);
        let rough = at
            .saturating_since(since)
            .saturating_sub(media.calm(&[], since, at));
        let most_ms = REPORT_MAX_MS + rough.as_millis() as i64;
        if (apart_ms - passed_ms).abs() > most_ms {
            return Err(format!(
                "two reports of source {ssrc} at peer {peer} are {passed_ms} ms apart, and their \
                 timestamps {apart_ms} ms"
            ));
        }
        Ok(())
    }
}

/// Packets that others have overtaken are missing for a moment.
const REORDERED_MAX: u64 = 10;
/// A publisher that begins anew may take a moment, and so may a packet on its way.
const REPORT_MAX_MS: i64 = 3_000;
