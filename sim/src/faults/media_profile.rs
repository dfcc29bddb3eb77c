//! Draws scenarios with media from seeds: calls to the echo, and rooms on several shards.

use std::time::Duration;

use crate::faults::media::{Act, ActKind, Exit, MediaPlan, PeerPlan, PeerRole, Video};
use crate::faults::scenario::{
    ClockPlan, Fault, FaultKind, Finale, GatewayPlan, Scenario, Trigger,
};
use crate::kernel::clock::ClockOrigins;
use crate::kernel::key::{Draws, Key};
use crate::kernel::tcp::{TcpProfile, Way};
use crate::kernel::time::SimTime;
use crate::kernel::udp::UdpProfile;

/// Faults strike before this.
const HEAL: SimTime = SimTime::from_secs(30);
/// Everybody has gone by then, in milliseconds.
const LAST_MS: u64 = 38_000;

/// Calls to the echo.
pub(super) fn media(seed: u64) -> Scenario {
    let key = Key::of_seed(seed).named("media");
    let mut draws = key.named("peers").draws();
    let count = draws.pick(&[1, 1, 1, 2]);
    let peers: Vec<_> = (0..count)
        .map(|_| PeerPlan {
            role: PeerRole::Echo,
            ..peer(&mut draws)
        })
        .collect();
    let mut acts = Vec::new();
    for _ in 0..draws.below(6) {
        let peer = draws.below(count) as u32;
        let at = SimTime::START + draws.millis(2_000, LAST_MS - 4_000);
        let what = match draws.below(8) {
            0 | 1 => ActKind::IceRestart,
            2 => ActKind::Renegotiate,
            3 => ActKind::Say,
            4 => layers(&mut draws),
            5 if draws.chance(1, 3) => ActKind::Rebind,
            5 | 6 if draws.chance(1, 2) => ActKind::HangUp,
            _ if draws.chance(1, 3) => ActKind::Silence,
            _ => ActKind::Say,
        };
        acts.push(Act { at, peer, what });
    }
    scenario(seed, key, peers, acts)
}

/// Rooms: publishers, and subscribers of some of them.
pub(super) fn videoroom(seed: u64) -> Scenario {
    let key = Key::of_seed(seed).named("videoroom");
    let mut draws = key.named("peers").draws();
    let rooms = draws.pick(&[1, 1, 2]);
    let publishers = draws.between(1, 3);
    let subscribers = draws.between(1, 3);
    let mut peers: Vec<PeerPlan> = Vec::new();
    for _ in 0..publishers {
        peers.push(PeerPlan {
            role: PeerRole::Publisher,
            room: 1 + draws.below(rooms) as u32,
            ..peer(&mut draws)
        });
    }
    for _ in 0..subscribers {
        let host = draws.below(publishers) as usize;
        let room = peers[host].room;
        let feeds = (0..publishers)
            .filter(|&each| peers[each as usize].room == room)
            .filter(|&each| each as usize == host || draws.chance(2, 3))
            .fold(0, |mask, each| mask | 1 << each);
        peers.push(PeerPlan {
            role: PeerRole::Subscriber,
            room,
            feeds,
            ..peer(&mut draws)
        });
    }
    let mut acts = room_acts(&mut draws, &peers, publishers);
    more_acts(&mut key.named("more").draws(), &peers, &mut acts);
    scenario(seed, key, peers, acts)
}

fn room_acts(draws: &mut Draws, peers: &[PeerPlan], publishers: u64) -> Vec<Act> {
    let mut acts = Vec::new();
    for _ in 0..draws.below(7) {
        let mut at = SimTime::START + draws.millis(2_000, LAST_MS - 5_000);
        let peer = draws.below(peers.len() as u64) as u32;
        let mut add = |at, what| acts.push(Act { at, peer, what });
        if peers[peer as usize].role == PeerRole::Publisher {
            match draws.below(10) {
                0..=2 => add(at, ActKind::IceRestart),
                3 | 4 => {
                    add(at, ActKind::Mute);
                    at += draws.millis(500, 6_000);
                    add(at, ActKind::Unmute);
                }
                5 | 6 => {
                    add(at, ActKind::Unpublish);
                    at += draws.millis(500, 6_000);
                    add(at, ActKind::Publish);
                }
                7 => add(at, ActKind::Kick(draws.below(publishers) as u32)),
                8 if draws.chance(1, 3) => add(at, ActKind::Destroy),
                8 => add(at, ActKind::Silence),
                _ => add(at, ActKind::HangUp),
            }
        } else {
            match draws.below(10) {
                0 => add(at, ActKind::IceRestart),
                1..=3 => {
                    add(at, ActKind::Pause);
                    at += draws.millis(200, 5_000);
                    add(at, ActKind::Resume);
                }
                4..=7 => {
                    add(at, layers(draws));
                    if draws.chance(1, 2) {
                        at += draws.millis(1, 600);
                        add(at, layers(draws));
                    }
                }
                8 => add(at, ActKind::Kick(draws.below(publishers) as u32)),
                _ if draws.chance(1, 2) => add(at, ActKind::Silence),
                _ => add(at, ActKind::HangUp),
            }
        }
    }
    acts
}

/// What is rarer: a router that gives somebody another address, and a publisher that turns its
/// pictures off and on by another offer.
fn more_acts(draws: &mut Draws, peers: &[PeerPlan], acts: &mut Vec<Act>) {
    let peer = draws.below(peers.len() as u64) as u32;
    let mut at = SimTime::START + draws.millis(3_000, LAST_MS / 2);
    let mut add = |at, what| acts.push(Act { at, peer, what });
    if draws.chance(1, 6) {
        add(at, ActKind::Rebind);
    } else if draws.chance(1, 5) && peers[peer as usize].role == PeerRole::Publisher {
        add(at, ActKind::Renegotiate);
        at += draws.millis(500, 6_000);
        add(at, ActKind::Renegotiate);
    }
}

fn layers(draws: &mut Draws) -> ActKind {
    ActKind::Layers {
        substream: draws.below(3) as u8,
        temporal: draws.below(3) as u8,
    }
}

fn peer(draws: &mut Draws) -> PeerPlan {
    let millis = Duration::from_millis;
    let start = SimTime::START
        + match draws.below(3) {
            0 => millis(0),
            1 => draws.millis(0, 2_000),
            _ => draws.millis(2_000, 15_000),
        };
    PeerPlan {
        role: PeerRole::Echo,
        room: 1,
        start,
        until: SimTime::START + draws.next().span(millis(LAST_MS / 2), millis(LAST_MS)),
        exit: draws.pick(&[Exit::Destroy, Exit::Destroy, Exit::Detach, Exit::Vanish]),
        audio: draws.chance(2, 3),
        video: draws.pick(&[Video::Plain, Video::Plain, Video::Simulcast]),
        data: draws.chance(1, 4),
        feeds: 0,
        sequence: draws.pick(&[1, 1_000, 0x7ff0, 0xff00, 0xfff0]),
        timestamp: draws.pick(&[1, 100_000, 0x7fff_0000, 0xfff0_0000, 0xffff_0000]),
        frame: draws.pick(&[millis(33), millis(40), millis(66), millis(100)]),
        size: draws.pick(&[60, 60, 200, 900]),
    }
}

fn scenario(seed: u64, key: Key, peers: Vec<PeerPlan>, acts: Vec<Act>) -> Scenario {
    let micros = Duration::from_micros;
    let mut draws = key.named("world").draws();
    let level = draws.below(10);
    let gateway = GatewayPlan {
        shards: draws.pick(&[1, 2, 2, 3, 4]),
        session_timeout: Duration::from_secs(60),
        reclaim: Duration::ZERO,
        turn_max: draws.pick(&[micros(0), micros(20), micros(200), micros(2_000)]),
        slack_max: draws.pick(&[micros(0), micros(100), micros(1_000)]),
        mesh_max: draws.pick(&[micros(1), micros(50), micros(1_000), micros(20_000)]),
        read_max: 65_536,
        write_max: 65_536,
        descriptors: 10_000,
        out_bytes: 2 << 20,
    };
    let faults = if level < 3 {
        Vec::new()
    } else {
        let most = if level < 8 { 3 } else { 6 };
        let count = draws.between(1, most);
        let (peers, shards) = (peers.len() as u64, u64::from(gateway.shards));
        (0..count)
            .map(|_| fault(&mut draws, peers, shards))
            .collect()
    };
    Scenario {
        seed,
        clocks: ClockPlan {
            origins: ClockOrigins::draw(key.named("origins")),
            are_apart: draws.chance(1, 2),
            granularity: draws.pick(&[micros(0), micros(0), micros(1_000)]),
        },
        gateway,
        network: TcpProfile::CLEAN,
        shuffle: draws.chance(1, 2),
        clients: Vec::new(),
        media: MediaPlan {
            link: link(&mut key.named("link").draws()),
            peers,
            acts,
        },
        faults,
        heal: HEAL,
        finale: Finale::Leave,
    }
}

fn link(draws: &mut Draws) -> UdpProfile {
    let millis = Duration::from_millis;
    let micros = Duration::from_micros;
    UdpProfile {
        latency: draws.pick(&[
            (micros(200), micros(200)),
            (millis(5), millis(5)),
            (millis(5), millis(30)),
            (millis(60), millis(80)),
        ]),
        loss_permille: draws.pick(&[0, 0, 0, 10, 50]),
        duplicate_permille: draws.pick(&[0, 0, 20]),
        bandwidth: draws.pick(&[None, None, None, None, Some(200_000)]),
        ..UdpProfile::CLEAN
    }
}

fn fault(draws: &mut Draws, peers: u64, shards: u64) -> Fault {
    let at = SimTime::START + draws.millis(500, 27_000);
    let shard = draws.below(shards) as u8;
    let what = match draws.below(10) {
        0 => FaultKind::ClockDrift {
            ppm: draws.pick(&[-20_000, -500, 500, 20_000]),
        },
        1 | 2 => FaultKind::ClockWallStep {
            seconds: draws.pick(&[-315_360_000, -3_600, -31, 31, 3_600, 315_360_000]),
        },
        3 => FaultKind::ClockSlew {
            ppm: draws.pick(&[-500_000, 500_000]),
            span: draws.millis(1_000, 10_000),
        },
        4 => FaultKind::ClockStrobe {
            by: draws.millis(1, 60_000),
            times: draws.between(2, 20) as u32,
            every: draws.millis(100, 1_000),
        },
        5 => FaultKind::ClockSuspend {
            span: draws.millis(10, 4_000),
        },
        6 => FaultKind::ShardFreeze {
            shard,
            span: draws.millis(1, 3_000),
        },
        7 => FaultKind::MeshDelay {
            by: draws.millis(1, 800),
            span: draws.millis(100, 8_000),
        },
        _ => FaultKind::UdpBlock {
            peer: draws.below(peers) as u32,
            way: draws.pick(&[Way::In, Way::Out]),
            span: draws.millis(50, 3_000),
        },
    };
    Fault {
        when: Trigger::At(at),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_with_media_are_read_back_from_their_text() {
        for seed in 0..200 {
            for scenario in [media(seed), videoroom(seed)] {
                let text = scenario.to_string();
                assert_eq!(text.parse(), Ok(scenario), "{text}");
            }
        }
    }

    #[test]
    fn every_act_fault_and_way_out_is_drawn() {
        let drawn: Vec<_> = (0..400)
            .flat_map(|seed| [media(seed), videoroom(seed)])
            .collect();
        let plain = ActKind::PLAIN.into_iter();
        for what in plain.map(ActKind::name).chain(["kick", "layers"]) {
            let has = |it: &Scenario| it.media.acts.iter().any(|act| act.what.name() == what);
            assert!(drawn.iter().any(has), "{what}");
        }
        for exit in Exit::ALL {
            let has = |it: &Scenario| it.media.peers.iter().any(|peer| peer.exit == exit);
            assert!(drawn.iter().any(has), "{exit:?}");
        }
        let has_block = |it: &Scenario| {
            let mut faults = it.faults.iter();
            faults.any(|fault| matches!(fault.what, FaultKind::UdpBlock { .. }))
        };
        assert!(drawn.iter().any(has_block));
    }
}
