//! Calls in the simulator: they come about, media flows, and a seed is one run to the last bit.

use bifrons_sim::faults::media::{PeerPlan, PeerRole, Video};
use bifrons_sim::faults::scenario::Scenario;
use bifrons_sim::kernel::trace::Trace;
use bifrons_sim::world::{Outcome, World};

fn run(text: &str) -> Outcome {
    let scenario: Scenario = text.parse().expect("it is well formed");
    World::run_caught(&scenario, Trace::keeping())
}

#[track_caller]
fn clean(text: &str) -> Outcome {
    let outcome = run(text);
    if let Some(violation) = &outcome.violation {
        for line in outcome.trace.lines() {
            println!("{line:?}");
        }
        panic!("{violation}");
    }
    outcome
}

const ECHO: &str = "heal 20s\npeer echo until=15s data=true\n";

#[test]
fn an_echo_comes_back() {
    let outcome = clean(ECHO);
    assert!(
        outcome.metrics.media_sent_packets > 900,
        "{}",
        outcome.metrics.media_sent_packets
    );
}

#[test]
fn a_call_is_the_same_run_to_the_last_bit() {
    let (one, other) = (run(ECHO), run(ECHO));
    assert_eq!((one.hash, one.events), (other.hash, other.events));
}

#[test]
fn rooms_carry_media_across_shards() {
    let outcome = clean(
        "heal 20s\ngateway shards=3\n\
         peer publisher room=1 until=15s video=simulcast\n\
         peer publisher room=1 until=15s\n\
         peer subscriber room=1 feeds=3 until=15s\n\
         peer subscriber room=1 feeds=2 until=15s\n",
    );
    assert!(
        outcome.metrics.media_sent_packets > 1_000,
        "{}",
        outcome.metrics.media_sent_packets
    );
}

#[test]
fn plans_have_what_scenarios_say() {
    let scenario: Scenario = "peer publisher video=simulcast".parse().expect("it is");
    let expected = PeerPlan {
        role: PeerRole::Publisher,
        video: Video::Simulcast,
        ..PeerPlan::PLAIN
    };
    assert_eq!(scenario.media.peers, [expected]);
}
