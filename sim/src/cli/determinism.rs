//! `determinism`, `hashes` and `diff`: the same seed is the same run, in any process and build.

use std::process::Command;

use crate::cli::Exit;
use crate::cli::args::{Args, Usage};
use crate::faults::profile::Profile;
use crate::kernel::trace::Trace;
use crate::world::World;

/// Compares each seed with itself, and with another process, maybe of another build.
pub(super) fn determinism(mut args: Args) -> Result<Exit, Usage> {
    let seeds = args.option("--seeds")?.unwrap_or(200_u64);
    let from = args.option("--from")?.unwrap_or(0_u64);
    let against = args.option::<String>("--against")?;
    let profile = args.option("--profile")?.unwrap_or(Profile::Mix);
    args.finish()?;
    let here = hash_lines(profile, from, seeds);
    if let Some(seed) = first_difference(&here, &hash_lines(profile, from, seeds)) {
        println!("two runs in one process differ: {seed}");
        return Ok(Exit::Nondeterminism);
    }
    let binary = match against {
        Some(path) => path.into(),
        None => std::env::current_exe().map_err(|error| Usage(format!("no own path: {error}")))?,
    };
    let words = [
        "hashes",
        "--profile",
        profile.name(),
        "--from",
        &from.to_string(),
        "--seeds",
        &seeds.to_string(),
    ];
    let there = output(&binary, &words)?;
    if let Some(line) = first_difference(&here, &there) {
        println!("{} differs: {line}", binary.display());
        let seed = line
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned();
        let theirs = output(
            &binary,
            &["hashes", "--profile", profile.name(), "--steps-of", &seed],
        )?;
        let ours = step_lines(profile, seed.parse().unwrap_or_default());
        explain(&ours, &theirs);
        return Ok(Exit::Nondeterminism);
    }
    println!(
        "{seeds} seeds: identical twice here, and in {}",
        binary.display()
    );
    Ok(Exit::Clean)
}

/// Prints the hash of each seed's run, or of each step of one run.
pub(super) fn hashes(mut args: Args) -> Result<Exit, Usage> {
    let seeds = args.option("--seeds")?.unwrap_or(10_u64);
    let from = args.option("--from")?.unwrap_or(0_u64);
    let steps_of = args.option("--steps-of")?;
    let profile = args.option("--profile")?.unwrap_or(Profile::Mix);
    args.finish()?;
    match steps_of {
        Some(seed) => print!("{}", step_lines(profile, seed)),
        None => print!("{}", hash_lines(profile, from, seeds)),
    }
    Ok(Exit::Clean)
}

/// Shows where two files of steps part.
pub(super) fn diff(mut args: Args) -> Result<Exit, Usage> {
    let mut next = || {
        let path = args
            .word()
            .ok_or_else(|| Usage("diff which two files?".to_owned()))?;
        std::fs::read_to_string(&path).map_err(|error| Usage(format!("{path}: {error}")))
    };
    let (a, b) = (next()?, next()?);
    args.finish()?;
    if first_difference(&a, &b).is_none() {
        println!("identical");
        return Ok(Exit::Clean);
    }
    explain(&a, &b);
    Ok(Exit::Nondeterminism)
}

pub(super) fn hash_lines(profile: Profile, from: u64, seeds: u64) -> String {
    (from..from + seeds)
        .map(|seed| {
            let outcome = World::run_caught(&profile.scenario(seed), Trace::hashing());
            format!("{seed} {:016x} {}\n", outcome.hash, outcome.events)
        })
        .collect()
}

fn step_lines(profile: Profile, seed: u64) -> String {
    let mut lines = String::new();
    World::run_told(
        &profile.scenario(seed),
        Trace::hashing(),
        |at, event, hash| {
            lines.push_str(&format!("{at} {hash:016x} {event:?}\n"));
        },
    );
    lines
}

fn first_difference(a: &str, b: &str) -> Option<String> {
    let mut pairs = a.lines().zip(b.lines());
    match pairs.find(|(a, b)| a != b) {
        Some((a, b)) => Some(format!("{a} | {b}")),
        None if a.lines().count() != b.lines().count() => Some("one is longer".to_owned()),
        None => None,
    }
}

const CONTEXT: usize = 5;

/// Shows the first step that differs, with those before it.
fn explain(a: &str, b: &str) {
    let (a, b): (Vec<_>, Vec<_>) = (a.lines().collect(), b.lines().collect());
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    for line in &a[same.saturating_sub(CONTEXT)..same] {
        println!("  {line}");
    }
    println!("< {}", a.get(same).unwrap_or(&"(it ends)"));
    println!("> {}", b.get(same).unwrap_or(&"(it ends)"));
}

pub(super) fn output(binary: &std::path::Path, words: &[&str]) -> Result<String, Usage> {
    let output = Command::new(binary)
        .args(words)
        .output()
        .map_err(|error| Usage(format!("{}: {error}", binary.display())))?;
    String::from_utf8(output.stdout).map_err(|_| Usage("its output is no text".to_owned()))
}
