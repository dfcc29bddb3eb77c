//! `run`: many seeds, and the first that breaks a rule in detail.

use std::process::Command;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cli::Exit;
use crate::cli::args::{Args, Usage};
use crate::faults::profile::Profile;
use crate::faults::shrink::shrink;
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
    let family = args.option("--scenario")?;
    let profile = args.option("--profile")?.or(family).unwrap_or(Profile::Mix);
    let budget = args.option::<Budget>("--budget")?;
    let is_json = args.flag("--json");
    switch_on(args.option::<String>("--mutant")?)?;
    args.finish()?;
    let began = clock();
    let until = budget.map(|Budget(span)| began + span);
    let plan = Plan {
        profile,
        from,
        seeds,
        most,
        until,
    };
    let sum = sweep(&plan, jobs);
    let took = began.elapsed();
    if is_json {
        print_records(&sum, profile);
    } else {
        for (index, (seed, violation)) in sum.violations.iter().enumerate() {
            show(profile, *seed, violation, index == 0);
        }
    }
    let rate = sum.runs as f64 / took.as_secs_f64() * 60.0;
    let ratio = sum.simulated.as_secs_f64() / took.as_secs_f64();
    eprintln!(
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

/// What to run.
#[derive(Debug)]
struct Plan {
    profile: Profile,
    from: u64,
    seeds: u64,
    /// So many violations are enough.
    most: usize,
    /// No seed begins after this.
    until: Option<Instant>,
}

/// A span of real time: `90s`, `5m`, `1h`.
#[derive(Debug)]
struct Budget(Duration);

impl FromStr for Budget {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (digits, unit) = text.split_at(text.len().saturating_sub(1));
        let factor = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return Err(()),
        };
        let count: u64 = digits.parse().map_err(|_| ())?;
        Ok(Self(Duration::from_secs(count * factor)))
    }
}

/// Shows a violation, and for the first one the shrunk scenario too.
fn show(profile: Profile, seed: u64, violation: &Violation, is_first: bool) {
    println!("seed {seed}: {violation}");
    println!(
        "  commit {}; replay: bifrons-sim replay --seed {seed} --profile {} --trace",
        commit(),
        profile.name()
    );
    if is_first {
        let shrunk = shrink(&profile.scenario(seed), violation.invariant);
        println!("  shrunk in {} runs:\n", shrunk.runs);
        println!("# expect {}\n{}", violation.invariant, shrunk.scenario);
    }
}

/// One JSON object a line for each violation.
fn print_records(sum: &Sum, profile: Profile) {
    for (seed, violation) in &sum.violations {
        let record = serde_json::json!({
            "seed": seed,
            "profile": profile.name(),
            "commit": commit(),
            "invariant": violation.invariant,
            "at_s": violation.at.to_string(),
            "detail": violation.detail,
        });
        println!("{record}");
    }
}

/// The commit that is checked out, as far as anybody can tell.
fn commit() -> String {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Switches a mutant on for all runs.
#[cfg(feature = "mutants")]
pub(super) fn switch_on(id: Option<String>) -> Result<(), Usage> {
    use bifrons::base::mutant::{Mutant, set};

    let Some(id) = id else {
        return Ok(());
    };
    let mutant = Mutant::ALL.iter().find(|mutant| mutant.id() == id);
    set(Some(*mutant.ok_or_else(|| {
        Usage(format!("there is no mutant {id:?}"))
    })?));
    Ok(())
}

#[cfg(not(feature = "mutants"))]
pub(super) fn switch_on(id: Option<String>) -> Result<(), Usage> {
    match id {
        Some(_) => Err(Usage("this build has no mutants".to_owned())),
        None => Ok(()),
    }
}

fn sweep(plan: &Plan, jobs: usize) -> Sum {
    let Plan {
        profile,
        from,
        seeds,
        most,
        until,
    } = *plan;
    let next = AtomicU64::new(from);
    let is_enough = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    let work = || {
        while !is_enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds || until.is_some_and(|until| clock() >= until) {
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
