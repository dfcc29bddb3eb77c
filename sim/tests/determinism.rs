//! The same seed is the same run, step by step.

use bifrons_sim::faults::profile::Profile;
use bifrons_sim::kernel::trace::Trace;
use bifrons_sim::world::World;

#[test]
fn two_runs_of_a_seed_agree_in_every_step() {
    for seed in 0..20 {
        let steps = || {
            let mut steps = Vec::new();
            let scenario = Profile::Mix.scenario(seed);
            World::new(&scenario, Trace::hashing())
                .run_watched(|at, event, hash| steps.push((at, event, hash)));
            steps
        };
        let (first, second) = (steps(), steps());
        let same = first
            .iter()
            .zip(&second)
            .take_while(|(a, b)| a == b)
            .count();
        assert_eq!(
            first.get(same),
            second.get(same),
            "seed {seed}, step {same}"
        );
    }
}

#[test]
fn keeping_lines_changes_nothing() {
    let scenario = Profile::Storm.scenario(3);
    let keeping = World::new(&scenario, Trace::keeping()).run();
    let hashing = World::new(&scenario, Trace::hashing()).run();
    assert_eq!(keeping.hash, hashing.hash);
    assert!(!keeping.trace.lines().is_empty());
}
