//! Draws scenarios from seeds.
//!
//! Three profiles, because none finds everything: calm looks at what goes wrong by itself, swarm
//! leaves whole classes of faults out so that the others are not masked, storm has them all.

use std::str::FromStr;
use std::time::Duration;

use crate::faults::media::MediaPlan;
use crate::faults::media_profile;
use crate::faults::scenario::{
    ClientPlan, ClockPlan, Fault, FaultKind, Finale, GatewayPlan, Link, Role, Scenario, Trigger,
    Via,
};
use crate::kernel::clock::ClockOrigins;
use crate::kernel::key::{Draws, Key};
use crate::kernel::tcp::{TcpProfile, Way};
use crate::kernel::time::SimTime;

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Nothing but skewed clocks and a network that splits.
    Calm,
    /// Calls to the echo: media, with faults of all levels.
    Media,
    /// One of the others, by the seed: 20 % calm, 50 % swarm, 30 % storm.
    Mix,
    /// All classes of faults.
    Storm,
    /// Some classes of faults.
    Swarm,
    /// Rooms with publishers and subscribers: media, with faults of all levels.
    VideoRoom,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Calm,
        Self::Media,
        Self::Mix,
        Self::Storm,
        Self::Swarm,
        Self::VideoRoom,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Media => "media",
            Self::Mix => "mix",
            Self::Storm => "storm",
            Self::Swarm => "swarm",
            Self::VideoRoom => "videoroom",
        }
    }

    /// The scenario of a seed.
    pub fn scenario(self, seed: u64) -> Scenario {
        let key = Key::of_seed(seed).named("scenario");
        let profile = match self {
            Self::Mix => match key.named("profile").below(10) {
                0 | 1 => Self::Calm,
                2..=6 => Self::Swarm,
                _ => Self::Storm,
            },
            Self::Media => return media_profile::media(seed),
            Self::VideoRoom => return media_profile::videoroom(seed),
            Self::Calm | Self::Storm | Self::Swarm => self,
        };
        let clients = clients(key.named("clients"));
        let gateway = gateway(&mut key.named("gateway").draws());
        let faults = faults(
            profile,
            &mut key.named("faults").draws(),
            clients.len() as u64,
            u64::from(gateway.shards),
        );
        Scenario {
            seed,
            clocks: clocks(key.named("clocks")),
            gateway,
            network: network(profile, &mut key.named("network").draws()),
            shuffle: key.named("shuffle").chance(1, 2),
            clients,
            media: MediaPlan::NONE,
            faults,
            heal: HEAL,
            finale: key.named("finale").draws().pick(&[
                Finale::Leave,
                Finale::Leave,
                Finale::Leave,
                Finale::Drain,
                Finale::Stop,
            ]),
        }
    }
}

impl FromStr for Profile {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let mut all = Self::ALL.into_iter();
        all.find(|profile| profile.name() == name).ok_or(())
    }
}

/// Faults strike before this.
const HEAL: SimTime = SimTime::from_secs(110);

fn clocks(key: Key) -> ClockPlan {
    let mut draws = key.draws();
    ClockPlan {
        origins: ClockOrigins::draw(key.named("origins")),
        are_apart: draws.chance(1, 2),
        granularity: draws.pick(&[
            Duration::ZERO,
            Duration::ZERO,
            Duration::ZERO,
            Duration::from_millis(1),
            Duration::from_millis(4),
        ]),
    }
}

fn gateway(draws: &mut Draws) -> GatewayPlan {
    let micros = Duration::from_micros;
    GatewayPlan {
        shards: draws.pick(&[1, 1, 2, 2, 3, 4]),
        session_timeout: Duration::from_secs(draws.pick(&[35, 60, 60, 60, 90])),
        reclaim: Duration::from_secs(draws.pick(&[0, 0, 3, 10, 20, 20])),
        turn_max: draws.pick(&[micros(0), micros(20), micros(200), micros(2_000)]),
        slack_max: draws.pick(&[micros(0), micros(100), micros(1_000), micros(20_000)]),
        mesh_max: draws.pick(&[micros(1), micros(50), micros(1_000), micros(30_000)]),
        read_max: draws.pick(&[1, 7, 100, 1_000, 4_096, 65_536, 65_536, 65_536]),
        write_max: draws.pick(&[1, 16, 100, 500, 65_536, 65_536, 65_536, 65_536]),
        descriptors: 10_000,
        out_bytes: draws.pick(&[65_536, 2 << 20]),
    }
}

fn network(profile: Profile, draws: &mut Draws) -> TcpProfile {
    let micros = Duration::from_micros;
    let latency = draws.pick(&[
        (micros(50), micros(50)),
        (micros(20), micros(500)),
        (micros(500), micros(40_000)),
        (micros(30_000), micros(150_000)),
    ]);
    let windows: &[usize] = if profile == Profile::Calm {
        &[65_536]
    } else {
        &[40, 300, 2_000, 65_536, 65_536, 65_536]
    };
    TcpProfile {
        latency,
        segment_max: draws.pick(&[1, 9, 80, 1_460, 1_460, 1_460, 65_536, 65_536]),
        window: draws.pick(windows),
        keeps_received: draws.chance(1, 2),
    }
}

fn clients(key: Key) -> Vec<ClientPlan> {
    let count = key.named("count").draws().pick(&[1, 1, 2, 2, 3, 4]);
    (0..count)
        .map(|index| client(&mut key.at(index).draws()))
        .collect()
}

fn client(draws: &mut Draws) -> ClientPlan {
    let role = match draws.below(22) {
        0 => Role::Abuser,
        1 => Role::HalfCloser,
        2 => Role::Pipeliner,
        3 => Role::ManyPolls,
        4 => Role::SlowReader,
        5 => Role::SlowSender,
        6..=8 => Role::Stream,
        9..=12 => Role::Socket,
        13 | 15 => Role::SlowSocket,
        14 => Role::Operator,
        _ => Role::Browser,
    };
    let via = match draws.below(8) {
        0 => Via::Nginx10,
        1 => Via::Nginx11,
        2 => Via::Nginx11Unbuffered,
        _ => Via::Direct,
    };
    // A proxy is for those who poll.
    let is_direct = matches!(role, Role::Operator | Role::SlowSocket | Role::Socket);
    let via = if is_direct { Via::Direct } else { via };
    ClientPlan {
        role,
        via,
        start: SimTime::START + draws.millis(0, 5_000),
        messages: draws.pick(&[0, 1, 2, 3, 5, 12]),
        gap: match draws.below(4) {
            0 => draws.millis(0, 20),
            1 => draws.millis(200, 3_000),
            2 => draws.millis(2_000, 12_000),
            _ => draws.millis(8_000, 40_000),
        },
        maxev: draws.pick(&[1, 1, 2, 3, 10, 10, 10]),
        think: draws.pick(&[
            Duration::ZERO,
            Duration::ZERO,
            Duration::ZERO,
            Duration::from_millis(300),
            Duration::from_secs(5),
        ]),
        handles: draws.pick(&[1, 1, 1, 2, 3]),
    }
}

fn faults(profile: Profile, draws: &mut Draws, clients: u64, shards: u64) -> Vec<Fault> {
    let count = match profile {
        Profile::Calm => 0,
        Profile::Swarm => draws.between(1, 4),
        Profile::Media | Profile::Mix | Profile::Storm | Profile::VideoRoom => draws.between(4, 12),
    };
    let classes: u64 = if profile == Profile::Swarm {
        draws.below(1 << CLASSES) | 1 << draws.below(CLASSES)
    } else {
        u64::MAX
    };
    (0..count)
        .map(|_| {
            let class = loop {
                let class = draws.below(CLASSES);
                if classes >> class & 1 == 1 {
                    break class;
                }
            };
            fault(class, draws, clients, shards)
        })
        .collect()
}

const CLASSES: u64 = 11;

fn fault(class: u64, draws: &mut Draws, clients: u64, shards: u64) -> Fault {
    let when = Trigger::At(SimTime::START + draws.millis(500, 100_000));
    let client = draws.below(clients) as u32;
    let shard = draws.below(shards) as u8;
    let nth = draws.between(1, 4) as u32;
    let what = match class {
        0 => FaultKind::ClockDrift {
            ppm: draws.pick(&[-50_000, -500, -20, 20, 500, 50_000]),
        },
        1 => FaultKind::ClockWallStep {
            seconds: draws.pick(&[-315_360_000, -86_400, -31, -1, 1, 29, 3_600, 315_360_000]),
        },
        2 => FaultKind::ClockSlew {
            ppm: draws.pick(&[-100_000, -500, 500, 100_000]),
            span: draws.millis(1_000, 60_000),
        },
        3 => FaultKind::ClockStrobe {
            by: draws.millis(10, 400_000),
            times: draws.between(2, 12) as u32,
            every: draws.millis(50, 4_000),
        },
        4 => FaultKind::ClockSuspend {
            span: draws.millis(100, 90_000),
        },
        5 => FaultKind::ShardFreeze {
            shard,
            span: draws.millis(1, 6_000),
        },
        6 => FaultKind::MeshDelay {
            by: draws.millis(1, 800),
            span: draws.millis(100, 20_000),
        },
        7 => FaultKind::Refuse {
            span: draws.millis(10, 6_000),
        },
        8 => FaultKind::Descriptors {
            shard,
            count: draws.below(4) as usize,
            span: draws.millis(100, 9_000),
        },
        9 => FaultKind::TcpHold {
            client,
            way: draws.pick(&[Way::In, Way::Out]),
            span: draws.millis(10, 40_000),
        },
        _ => {
            let which = draws.pick(&[Link::Control, Link::Poll, Link::Poll, Link::Upstream]);
            let when = match draws.below(4) {
                0 => when,
                1 => Trigger::OnEvent { client, nth },
                2 => Trigger::OnPoll { client, nth },
                _ => Trigger::OnPartialAnswer { client, nth },
            };
            return Fault {
                when,
                what: FaultKind::TcpReset { client, which },
            };
        }
    };
    Fault { when, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_one_scenario() {
        for profile in Profile::ALL {
            assert_eq!(profile.scenario(7), profile.scenario(7));
            assert_ne!(profile.scenario(7), profile.scenario(8));
        }
    }

    #[test]
    fn every_role_route_and_class_of_faults_is_drawn() {
        let drawn: Vec<_> = (0..400).map(|seed| Profile::Mix.scenario(seed)).collect();
        let has = |test: &dyn Fn(&Scenario) -> bool| drawn.iter().any(test);
        for role in Role::ALL {
            assert!(
                has(&|it| it.clients.iter().any(|client| client.role == role)),
                "{role:?}"
            );
        }
        for via in Via::ALL {
            assert!(
                has(&|it| it.clients.iter().any(|client| client.via == via)),
                "{via:?}"
            );
        }
        let mut kinds: Vec<_> = drawn
            .iter()
            .flat_map(|it| &it.faults)
            .map(|fault| std::mem::discriminant(&fault.what))
            .collect();
        kinds.sort_by_key(|kind| format!("{kind:?}"));
        kinds.dedup();
        assert_eq!(kinds.len() as u64, CLASSES);
        assert!(has(&|it| it.faults.is_empty()));
    }
}
