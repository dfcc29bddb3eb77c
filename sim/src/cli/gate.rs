//! `gate`: the corpus, clean on this code and, in a build with mutants, still able to find each of
//! them; and the proof that a simulator with one clock for all is blind to Janus issue 3405.

use std::path::PathBuf;

use crate::cli::Exit;
use crate::cli::args::{Args, Usage};
use crate::faults::scenario::Scenario;
use crate::world::World;

/// Replays a folder of scenarios.
pub(super) fn gate(mut args: Args) -> Result<Exit, Usage> {
    let folder = args.word().unwrap_or_else(|| "sim/corpus".to_owned());
    args.finish()?;
    let corpus = read(&folder)?;
    let mut exit = Exit::Clean;
    for Entry { path, scenario, .. } in &corpus {
        if let Some(violation) = World::judge(scenario).violation {
            println!("{}: {violation}", path.display());
            exit = Exit::Violation;
        }
    }
    println!("{} scenarios replayed", corpus.len());
    if exit == Exit::Clean {
        exit = mutants(&corpus)?;
    }
    Ok(exit)
}

struct Entry {
    path: PathBuf,
    scenario: Scenario,
    /// What its comment expects: a rule, and maybe a mutant.
    #[cfg_attr(
        not(feature = "mutants"),
        expect(dead_code, reason = "for mutants only")
    )]
    expected: Vec<String>,
}

fn read(folder: &str) -> Result<Vec<Entry>, Usage> {
    let wrong = |error: std::io::Error| Usage(format!("{folder}: {error}"));
    let mut corpus = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_none_or(|extension| extension != "scn") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(wrong)?;
        let scenario = text
            .parse()
            .map_err(|why| Usage(format!("{}: {why}", path.display())))?;
        let expected = text
            .lines()
            .find_map(|line| line.strip_prefix("# expect "))
            .unwrap_or_default();
        corpus.push(Entry {
            expected: expected.split_whitespace().map(str::to_owned).collect(),
            path,
            scenario,
        });
    }
    corpus.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(corpus)
}

#[cfg(not(feature = "mutants"))]
fn mutants(_: &[Entry]) -> Result<Exit, Usage> {
    println!("this build has no mutants");
    Ok(Exit::Clean)
}

#[cfg(feature = "mutants")]
fn mutants(corpus: &[Entry]) -> Result<Exit, Usage> {
    use bifrons::base::mutant::{Mutant, set};

    // A mutant that panics is expected to; its backtrace helps nobody.
    std::panic::set_hook(Box::new(|_| {}));
    let mut survivors = Vec::new();
    for &mutant in Mutant::ALL {
        let of_it = |entry: &&Entry| matches!(&entry.expected[..], [_, word, id] if word == "mutant" && id == mutant.id());
        let found = corpus.iter().find(of_it).is_some_and(|entry| {
            set(Some(mutant));
            let violation = World::judge(&entry.scenario).violation;
            set(None);
            violation.is_some_and(|violation| violation.invariant == entry.expected[0])
        });
        if !found {
            survivors.push(mutant.id());
        }
    }
    println!(
        "{} of {} mutants found; not found: {survivors:?}",
        Mutant::ALL.len() - survivors.len(),
        Mutant::ALL.len()
    );
    let sees = one_clock_sees_3405();
    println!(
        "3405 with one clock for all: {}",
        if sees { "SEEN" } else { "invisible" }
    );
    Ok(if survivors.is_empty() && !sees {
        Exit::Clean
    } else {
        Exit::Survivor
    })
}

/// With all clocks from zero, a deadline on the wrong clock is the right one.
#[cfg(feature = "mutants")]
fn one_clock_sees_3405() -> bool {
    use bifrons::base::mutant::{Mutant, set};

    use crate::faults::profile::Profile;
    use crate::kernel::clock::ClockOrigins;

    set(Some(Mutant::UptimeKeepalive));
    let sees = (0..40).any(|seed| {
        let mut scenario = Profile::Calm.scenario(seed);
        scenario.clocks.origins = ClockOrigins::ZERO;
        scenario.clocks.are_apart = false;
        World::judge(&scenario).violation.is_some()
    });
    set(None);
    sees
}
