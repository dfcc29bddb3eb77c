//! Scenarios as text: one line per item, in a stable order, with comments.
//!
//! Invariant: what is printed is read back as the same scenario.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

use crate::faults::media::MediaPlan;
use crate::faults::media_text;
use crate::faults::scenario::{
    ClientPlan, ClockPlan, Fault, FaultKind, Finale, GatewayPlan, Link, Role, Scenario, Trigger,
    Via,
};
use crate::kernel::clock::ClockOrigins;
use crate::kernel::tcp::{TcpProfile, Way};
use crate::kernel::time::{SimTime, nanos};

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (clocks, gateway, network) = (&self.clocks, &self.gateway, &self.network);
        writeln!(f, "seed {}", self.seed)?;
        writeln!(
            f,
            "clocks monotonic={} suspended={} realtime={} apart={} granularity={}",
            span(clocks.origins.monotonic),
            span(clocks.origins.suspended),
            clocks.origins.realtime_secs,
            clocks.are_apart,
            span(clocks.granularity),
        )?;
        writeln!(
            f,
            "gateway shards={} session-timeout={} reclaim={} turn={} slack={} mesh={} read={} write={} descriptors={} out={}",
            gateway.shards,
            span(gateway.session_timeout),
            span(gateway.reclaim),
            span(gateway.turn_max),
            span(gateway.slack_max),
            span(gateway.mesh_max),
            gateway.read_max,
            gateway.write_max,
            gateway.descriptors,
            gateway.out_bytes,
        )?;
        writeln!(
            f,
            "network least={} most={} segment={} window={} keeps-received={} shuffle={}",
            span(network.latency.0),
            span(network.latency.1),
            network.segment_max,
            network.window,
            network.keeps_received,
            self.shuffle,
        )?;
        for client in &self.clients {
            writeln!(
                f,
                "client {} via={} start={} messages={} gap={} maxev={} think={} handles={}",
                client.role.name(),
                client.via.name(),
                moment(client.start),
                client.messages,
                span(client.gap),
                client.maxev,
                span(client.think),
                client.handles,
            )?;
        }
        media_text::write(&self.media, f)?;
        for fault in &self.faults {
            writeln!(f, "fault {}", fault_text(fault))?;
        }
        writeln!(f, "heal {}", moment(self.heal))?;
        writeln!(f, "finale {}", self.finale.name())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut scenario = Self::plain();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                read_line(&mut scenario, line).map_err(|why| format!("line {number}: {why}"))?;
            }
        }
        Ok(scenario)
    }
}

impl Scenario {
    /// A scenario in which nothing is special, and nobody comes.
    pub fn plain() -> Self {
        Self {
            seed: 0,
            clocks: ClockPlan {
                origins: ClockOrigins::PLAIN,
                are_apart: false,
                granularity: Duration::ZERO,
            },
            gateway: GatewayPlan {
                shards: 1,
                session_timeout: Duration::from_secs(60),
                reclaim: Duration::ZERO,
                turn_max: Duration::ZERO,
                slack_max: Duration::ZERO,
                mesh_max: Duration::from_micros(1),
                read_max: 65_536,
                write_max: 65_536,
                descriptors: 10_000,
                out_bytes: 2 << 20,
            },
            network: TcpProfile::CLEAN,
            shuffle: false,
            clients: Vec::new(),
            media: MediaPlan::NONE,
            faults: Vec::new(),
            heal: SimTime::from_secs(110),
            finale: Finale::Leave,
        }
    }
}

impl ClientPlan {
    /// A client in which nothing is special.
    pub const PLAIN: Self = Self {
        role: Role::Browser,
        via: Via::Direct,
        start: SimTime::START,
        messages: 1,
        gap: Duration::from_secs(1),
        maxev: 10,
        think: Duration::ZERO,
        handles: 1,
    };
}

/// The words of a line, as `name=value` pairs after the first ones.
pub(super) struct Words<'a> {
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn value(&mut self, name: &str) -> Option<&'a str> {
        let at = self
            .words
            .iter()
            .position(|word| word.split_once('=').is_some_and(|(key, _)| key == name))?;
        self.words.remove(at).split_once('=').map(|pair| pair.1)
    }

    /// Replaces `place` by the value called `name`, if it is there.
    pub(super) fn set<T>(
        &mut self,
        name: &str,
        place: &mut T,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<(), String> {
        if let Some(value) = self.value(name) {
            *place = read(value).ok_or_else(|| format!("{name} cannot be {value:?}"))?;
        }
        Ok(())
    }

    pub(super) fn need<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, String> {
        let value = self
            .value(name)
            .ok_or_else(|| format!("{name} is missing"))?;
        read(value).ok_or_else(|| format!("{name} cannot be {value:?}"))
    }

    pub(super) fn next(&mut self) -> Option<&'a str> {
        (!self.words.is_empty()).then(|| self.words.remove(0))
    }

    fn finish(self) -> Result<(), String> {
        match self.words.first() {
            Some(word) => Err(format!("{word:?} means nothing here")),
            None => Ok(()),
        }
    }
}

fn read_line(scenario: &mut Scenario, line: &str) -> Result<(), String> {
    let mut words = Words {
        words: line.split_whitespace().collect(),
    };
    match words.next() {
        Some("seed") => {
            scenario.seed = number(words.next().unwrap_or_default()).ok_or("no seed")?
        }
        Some("clocks") => {
            let clocks = &mut scenario.clocks;
            words.set("monotonic", &mut clocks.origins.monotonic, read_span)?;
            words.set("suspended", &mut clocks.origins.suspended, read_span)?;
            words.set("realtime", &mut clocks.origins.realtime_secs, number)?;
            words.set("apart", &mut clocks.are_apart, number)?;
            words.set("granularity", &mut clocks.granularity, read_span)?;
        }
        Some("gateway") => {
            let gateway = &mut scenario.gateway;
            words.set("shards", &mut gateway.shards, number)?;
            words.set("session-timeout", &mut gateway.session_timeout, read_span)?;
            words.set("reclaim", &mut gateway.reclaim, read_span)?;
            words.set("turn", &mut gateway.turn_max, read_span)?;
            words.set("slack", &mut gateway.slack_max, read_span)?;
            words.set("mesh", &mut gateway.mesh_max, read_span)?;
            words.set("read", &mut gateway.read_max, number)?;
            words.set("write", &mut gateway.write_max, number)?;
            words.set("descriptors", &mut gateway.descriptors, number)?;
            words.set("out", &mut gateway.out_bytes, number)?;
        }
        Some("network") => {
            let network = &mut scenario.network;
            words.set("least", &mut network.latency.0, read_span)?;
            words.set("most", &mut network.latency.1, read_span)?;
            words.set("segment", &mut network.segment_max, number)?;
            words.set("window", &mut network.window, number)?;
            words.set("keeps-received", &mut network.keeps_received, number)?;
            words.set("shuffle", &mut scenario.shuffle, number)?;
        }
        Some("client") => {
            let name = words.next().unwrap_or_default();
            let mut all = Role::ALL.into_iter();
            let role = all.find(|role| role.name() == name);
            let mut client = ClientPlan {
                role: role.ok_or_else(|| format!("no client is a {name:?}"))?,
                ..ClientPlan::PLAIN
            };
            words.set("via", &mut client.via, |value| {
                Via::ALL.into_iter().find(|via| via.name() == value)
            })?;
            words.set("start", &mut client.start, read_moment)?;
            words.set("messages", &mut client.messages, number)?;
            words.set("gap", &mut client.gap, read_span)?;
            words.set("maxev", &mut client.maxev, number)?;
            words.set("think", &mut client.think, read_span)?;
            words.set("handles", &mut client.handles, number)?;
            scenario.clients.push(client);
        }
        Some("act") => scenario.media.acts.push(media_text::read_act(&mut words)?),
        Some("fault") => scenario.faults.push(read_fault(&mut words)?),
        Some("link") => media_text::read_link(&mut words, &mut scenario.media.link)?,
        Some("peer") => scenario
            .media
            .peers
            .push(media_text::read_peer(&mut words)?),
        Some("heal") => {
            scenario.heal = read_moment(words.next().unwrap_or_default()).ok_or("no moment")?;
        }
        Some("finale") => {
            let name = words.next().unwrap_or_default();
            let mut all = Finale::ALL.into_iter();
            let finale = all.find(|finale| finale.name() == name);
            scenario.finale = finale.ok_or_else(|| format!("no scenario ends with {name:?}"))?;
        }
        Some(other) => return Err(format!("there is no item {other:?}")),
        None => {}
    }
    words.finish()
}

fn fault_text(fault: &Fault) -> String {
    let mut text = match fault.when {
        Trigger::At(at) => format!("@{}", moment(at)),
        Trigger::OnEvent { client, nth } => format!("@event:{client}:{nth}"),
        Trigger::OnPartialAnswer { client, nth } => format!("@partial-answer:{client}:{nth}"),
        Trigger::OnPoll { client, nth } => format!("@poll:{client}:{nth}"),
    };
    let _ = match fault.what {
        FaultKind::ClockDrift { ppm } => write!(text, " clock.drift ppm={ppm}"),
        FaultKind::ClockSlew { ppm, span: long } => {
            write!(text, " clock.slew ppm={ppm} span={}", span(long))
        }
        FaultKind::ClockStrobe { by, times, every } => write!(
            text,
            " clock.strobe by={} times={times} every={}",
            span(by),
            span(every)
        ),
        FaultKind::ClockSuspend { span: long } => {
            write!(text, " clock.suspend span={}", span(long))
        }
        FaultKind::ClockWallStep { seconds } => write!(text, " clock.wall-step seconds={seconds}"),
        FaultKind::Descriptors {
            shard,
            count,
            span: long,
        } => write!(
            text,
            " shard.descriptors shard={shard} count={count} span={}",
            span(long)
        ),
        FaultKind::MeshDelay { by, span: long } => {
            write!(text, " mesh.delay by={} span={}", span(by), span(long))
        }
        FaultKind::Refuse { span: long } => write!(text, " tcp.refuse span={}", span(long)),
        FaultKind::ShardFreeze { shard, span: long } => {
            write!(text, " shard.freeze shard={shard} span={}", span(long))
        }
        FaultKind::TcpHold {
            client,
            way,
            span: long,
        } => write!(
            text,
            " tcp.hold client={client} way={} span={}",
            way_name(way),
            span(long)
        ),
        FaultKind::TcpReset { client, which } => {
            write!(
                text,
                " tcp.reset client={client} which={}",
                link_name(which)
            )
        }
        FaultKind::UdpBlock {
            peer,
            way,
            span: long,
        } => write!(
            text,
            " udp.block peer={peer} way={} span={}",
            way_name(way),
            span(long)
        ),
    };
    text
}

/// The names of all faults, with what they take.
pub const FAULTS: &[&str] = &[
    "clock.drift ppm=N",
    "clock.slew ppm=N span=T",
    "clock.strobe by=T times=N every=T",
    "clock.suspend span=T",
    "clock.wall-step seconds=N",
    "mesh.delay by=T span=T",
    "shard.descriptors shard=N count=N span=T",
    "shard.freeze shard=N span=T",
    "tcp.hold client=N way=in|out span=T",
    "tcp.refuse span=T",
    "tcp.reset client=N which=control|poll|upstream",
    "udp.block peer=N way=in|out span=T",
];

fn read_fault(words: &mut Words<'_>) -> Result<Fault, String> {
    let when = words.next().unwrap_or_default();
    let when = read_trigger(when).ok_or_else(|| format!("{when:?} is no time for a fault"))?;
    let name = words.next().unwrap_or_default();
    let what = match name {
        "clock.drift" => FaultKind::ClockDrift {
            ppm: words.need("ppm", number)?,
        },
        "clock.slew" => FaultKind::ClockSlew {
            ppm: words.need("ppm", number)?,
            span: words.need("span", read_span)?,
        },
        "clock.strobe" => FaultKind::ClockStrobe {
            by: words.need("by", read_span)?,
            times: words.need("times", number)?,
            every: words.need("every", read_span)?,
        },
        "clock.suspend" => FaultKind::ClockSuspend {
            span: words.need("span", read_span)?,
        },
        "clock.wall-step" => FaultKind::ClockWallStep {
            seconds: words.need("seconds", number)?,
        },
        "shard.descriptors" => FaultKind::Descriptors {
            shard: words.need("shard", number)?,
            count: words.need("count", number)?,
            span: words.need("span", read_span)?,
        },
        "mesh.delay" => FaultKind::MeshDelay {
            by: words.need("by", read_span)?,
            span: words.need("span", read_span)?,
        },
        "tcp.refuse" => FaultKind::Refuse {
            span: words.need("span", read_span)?,
        },
        "shard.freeze" => FaultKind::ShardFreeze {
            shard: words.need("shard", number)?,
            span: words.need("span", read_span)?,
        },
        "tcp.hold" => FaultKind::TcpHold {
            client: words.need("client", number)?,
            way: words.need("way", read_way)?,
            span: words.need("span", read_span)?,
        },
        "tcp.reset" => FaultKind::TcpReset {
            client: words.need("client", number)?,
            which: words.need("which", read_link)?,
        },
        "udp.block" => FaultKind::UdpBlock {
            peer: words.need("peer", number)?,
            way: words.need("way", read_way)?,
            span: words.need("span", read_span)?,
        },
        other => return Err(format!("there is no fault {other:?}")),
    };
    Ok(Fault { when, what })
}

fn read_trigger(text: &str) -> Option<Trigger> {
    let text = text.strip_prefix('@')?;
    let mut parts = text.split(':');
    let kind = parts.next()?;
    let (Some(client), Some(nth)) = (parts.next(), parts.next()) else {
        return read_moment(kind).map(Trigger::At);
    };
    let (client, nth) = (number(client)?, number(nth)?);
    match kind {
        "event" => Some(Trigger::OnEvent { client, nth }),
        "partial-answer" => Some(Trigger::OnPartialAnswer { client, nth }),
        "poll" => Some(Trigger::OnPoll { client, nth }),
        _ => None,
    }
}

const fn way_name(way: Way) -> &'static str {
    match way {
        Way::In => "in",
        Way::Out => "out",
    }
}

fn read_way(text: &str) -> Option<Way> {
    [Way::In, Way::Out]
        .into_iter()
        .find(|&way| way_name(way) == text)
}

const fn link_name(link: Link) -> &'static str {
    match link {
        Link::Control => "control",
        Link::Poll => "poll",
        Link::Upstream => "upstream",
    }
}

fn read_link(text: &str) -> Option<Link> {
    [Link::Control, Link::Poll, Link::Upstream]
        .into_iter()
        .find(|&link| link_name(link) == text)
}

pub(super) fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// A span in the largest unit that keeps it whole.
pub(super) fn span(span: Duration) -> String {
    let all = nanos(span);
    for (unit, size) in UNITS {
        if all.is_multiple_of(size) {
            return format!("{}{unit}", all / size);
        }
    }
    unreachable!("every span is a multiple of a nanosecond")
}

pub(super) fn moment(at: SimTime) -> String {
    span(at.saturating_since(SimTime::START))
}

pub(super) fn read_span(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (amount, unit) = text.split_at(split);
    let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let all = amount.parse::<u64>().ok()?.checked_mul(size)?;
    Some(Duration::from_nanos(all))
}

pub(super) fn read_moment(text: &str) -> Option<SimTime> {
    read_span(text).map(|span| SimTime::START + span)
}

const UNITS: [(&str, u64); 4] = [
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::profile::Profile;

    #[test]
    fn what_is_printed_is_read_back() {
        for seed in 0..500 {
            let scenario = Profile::Mix.scenario(seed);
            let text = scenario.to_string();
            assert_eq!(text.parse(), Ok(scenario), "{text}");
        }
    }

    #[test]
    fn comments_and_defaults_are_allowed() {
        let scenario: Scenario = "# a comment\nclient browser maxev=1 # one\nfault @poll:0:2 tcp.reset client=0 which=poll\n"
            .parse()
            .expect("it is well formed");
        assert_eq!((scenario.clients.len(), scenario.clients[0].maxev), (1, 1));
        assert_eq!(scenario.clients[0].gap, ClientPlan::PLAIN.gap);
        assert_eq!(
            scenario.faults[0].when,
            Trigger::OnPoll { client: 0, nth: 2 }
        );
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, why) in [
            (
                "\nclocks monotonic=soon",
                "line 2: monotonic cannot be \"soon\"",
            ),
            ("client ghost", "line 1: no client is a \"ghost\""),
            (
                "fault @1s tcp.melt",
                "line 1: there is no fault \"tcp.melt\"",
            ),
            ("fault @1s tcp.refuse", "line 1: span is missing"),
            ("heal 3s now", "line 1: \"now\" means nothing here"),
        ] {
            assert_eq!(text.parse::<Scenario>(), Err(why.to_owned()));
        }
    }
}
