//! `run`: many seeds, and the first that breaks a rule in detail.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cli::Exit;
use crate::cli::args::{Args, Usage};
use crate::faults::profile::Profile;
use crate::oracle::Violation;
use crate::world::World;

/// What came of many runs.
#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    events: u64,
    delivered: u64,
    simulated: Duration,
    violations: Vec<(u64, Violation)>,
}

/// Runs many seeds.
pub(super) fn run(mut args: Args) -> Result<Exit, Usage> {
    let seeds = args.option("--seeds")?.unwrap_or(1_000_u64);
    let from = args.option("--from")?.unwrap_or(0_u64);
    let jobs = args.option("--jobs")?.unwrap_or(1_usize);
    let most = args.option("--most")?.unwrap_or(5_usize);
    let profile = args.option("--profile")?.unwrap_or(Profile::Mix);
    args.finish()?;
    let began = clock();
    let sum = sweep(profile, from, seeds, jobs, most);
    let took = began.elapsed();
    for (seed, violation) in &sum.violations {
        println!("seed {seed}: {violation}");
        println!(
            "  replay: bifrons-sim replay --seed {seed} --profile {}",
            profile.name()
        );
    }
    let rate = sum.runs as f64 / took.as_secs_f64() * 60.0;
    let ratio = sum.simulated.as_secs_f64() / took.as_secs_f64();
    println!(
        "{} scenarios, {} violations, {} events delivered, {} steps; {:.1} s, {rate:.0} scenarios/min, {ratio:.0} simulated s per s",
        sum.runs,
        sum.violations.len(),
        sum.delivered,
        sum.events,
        took.as_secs_f64(),
    );
    Ok(if sum.violations.is_empty() {
        Exit::Clean
    } else {
        Exit::Violation
    })
}

fn sweep(profile: Profile, from: u64, seeds: u64, jobs: usize, most: usize) -> Sum {
    let next = AtomicU64::new(from);
    let is_enough = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    let work = || {
        while !is_enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                break;
            }
            let outcome = World::judge(&profile.scenario(seed));
            let mut sum = sum.lock().expect("no run panics while it holds the lock");
            sum.runs += 1;
            sum.events += outcome.events;
            sum.delivered += u64::from(outcome.delivered);
            sum.simulated += outcome.lasted.saturating_since(Default::default());
            if let Some(violation) = outcome.violation {
                sum.violations.push((seed, violation));
                is_enough.fetch_or(sum.violations.len() >= most, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs {
            scope.spawn(work);
        }
        work();
    });
    let mut sum = sum
        .into_inner()
        .expect("no run panics while it holds the lock");
    sum.violations.sort_by_key(|found| found.0);
    sum
}

/// Real time, for rates only.
fn clock() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "rates are measured in real time")]
    Instant::now()
}
