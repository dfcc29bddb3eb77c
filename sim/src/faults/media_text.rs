//! The lines of a scenario that are about media, as text.

use std::fmt;

use crate::faults::media::{Act, ActKind, Exit, MediaPlan, PeerPlan, PeerRole, Video};
use crate::faults::text::{Words, moment, number, read_moment, read_span, span};
use crate::kernel::udp::UdpProfile;

/// Writes all lines about media; none if nobody calls.
pub(super) fn write(media: &MediaPlan, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let link = media.link;
    if link != UdpProfile::CLEAN {
        writeln!(
            f,
            "link least={} most={} loss={} duplicate={} bandwidth={} queue={} mtu={}",
            span(link.latency.0),
            span(link.latency.1),
            link.loss_permille,
            link.duplicate_permille,
            link.bandwidth.unwrap_or(0),
            span(link.queue_max),
            link.mtu,
        )?;
    }
    for peer in &media.peers {
        writeln!(
            f,
            "peer {} room={} start={} until={} exit={} audio={} video={} data={} feeds={} sequence={} timestamp={} frame={} size={}",
            peer.role.name(),
            peer.room,
            moment(peer.start),
            moment(peer.until),
            peer.exit.name(),
            peer.audio,
            peer.video.name(),
            peer.data,
            peer.feeds,
            peer.sequence,
            peer.timestamp,
            span(peer.frame),
            peer.size,
        )?;
    }
    for act in &media.acts {
        write!(
            f,
            "act @{} {} peer={}",
            moment(act.at),
            act.what.name(),
            act.peer
        )?;
        match act.what {
            ActKind::Kick(whom) => writeln!(f, " whom={whom}")?,
            ActKind::Layers {
                substream,
                temporal,
            } => writeln!(f, " substream={substream} temporal={temporal}")?,
            ActKind::Destroy
            | ActKind::HangUp
            | ActKind::IceRestart
            | ActKind::Mute
            | ActKind::Pause
            | ActKind::Publish
            | ActKind::Rebind
            | ActKind::Renegotiate
            | ActKind::Resume
            | ActKind::Say
            | ActKind::Silence
            | ActKind::Unmute
            | ActKind::Unpublish => writeln!(f)?,
        }
    }
    Ok(())
}

/// Reads the rest of a line that begins with `link`.
pub(super) fn read_link(words: &mut Words<'_>, link: &mut UdpProfile) -> Result<(), String> {
    words.set("least", &mut link.latency.0, read_span)?;
    words.set("most", &mut link.latency.1, read_span)?;
    words.set("loss", &mut link.loss_permille, number)?;
    words.set("duplicate", &mut link.duplicate_permille, number)?;
    words.set("bandwidth", &mut link.bandwidth, |text| {
        let rate: u64 = number(text)?;
        Some((rate > 0).then_some(rate))
    })?;
    words.set("queue", &mut link.queue_max, read_span)?;
    words.set("mtu", &mut link.mtu, number)
}

/// Reads the rest of a line that begins with `peer`.
pub(super) fn read_peer(words: &mut Words<'_>) -> Result<PeerPlan, String> {
    let name = words.next().unwrap_or_default();
    let role = PeerRole::ALL.into_iter().find(|role| role.name() == name);
    let mut peer = PeerPlan {
        role: role.ok_or_else(|| format!("no peer is a {name:?}"))?,
        ..PeerPlan::PLAIN
    };
    words.set("room", &mut peer.room, number)?;
    words.set("start", &mut peer.start, read_moment)?;
    words.set("until", &mut peer.until, read_moment)?;
    words.set("exit", &mut peer.exit, |text| {
        Exit::ALL.into_iter().find(|exit| exit.name() == text)
    })?;
    words.set("audio", &mut peer.audio, number)?;
    words.set("video", &mut peer.video, |text| {
        Video::ALL.into_iter().find(|video| video.name() == text)
    })?;
    words.set("data", &mut peer.data, number)?;
    words.set("feeds", &mut peer.feeds, number)?;
    words.set("sequence", &mut peer.sequence, number)?;
    words.set("timestamp", &mut peer.timestamp, number)?;
    words.set("frame", &mut peer.frame, read_span)?;
    words.set("size", &mut peer.size, number)?;
    Ok(peer)
}

/// Reads the rest of a line that begins with `act`.
pub(super) fn read_act(words: &mut Words<'_>) -> Result<Act, String> {
    let when = words.next().unwrap_or_default();
    let at = when.strip_prefix('@').and_then(read_moment);
    let at = at.ok_or_else(|| format!("{when:?} is no time for an act"))?;
    let name = words.next().unwrap_or_default();
    let what = match name {
        "kick" => ActKind::Kick(words.need("whom", number)?),
        "layers" => ActKind::Layers {
            substream: words.need("substream", number)?,
            temporal: words.need("temporal", number)?,
        },
        _ => {
            let mut all = ActKind::PLAIN.into_iter();
            let what = all.find(|what| what.name() == name);
            what.ok_or_else(|| format!("nobody can {name:?}"))?
        }
    };
    Ok(Act {
        at,
        peer: words.need("peer", number)?,
        what,
    })
}
