//! The command line: what to run, and how to show what came of it.

pub mod args;
mod determinism;
mod gate;
mod journal;
mod leaks;
mod marks;
mod mutants;
mod replay;
mod run;

use args::{Args, Usage};

/// How a command ended, as the process's exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Nothing was found.
    Clean = 0,
    /// A rule was broken.
    Violation = 1,
    /// The command line was not understood.
    Usage = 2,
    /// A run could not be repeated.
    Nondeterminism = 3,
    /// A mutant went unnoticed.
    Survivor = 4,
    /// A rare branch was never reached.
    Unmarked = 5,
}

const HELP: &str = "\
bifrons-sim: the whole gateway under network and clock faults, by seed

  run          [--seeds N] [--from N] [--profile calm|swarm|storm|mix] [--jobs N] [--most N]
               [--scenario media|videoroom] [--budget 5m] [--mutant ID] [--json]
  replay       --seed N [--profile P] | --scenario-file F   [--trace] [--timeline out.html]
               --journal FILE|FOLDER   [--trace]
  explain      F.scn                   the sequence chart of a scenario, with clocks
  shrink       --seed N | --scenario-file F   [--invariant ID] [-o F.scn]
  faults       [--faults '@11s clock.wall-step seconds=60; …']
  mutants      [--seeds N] [--mutant ID] [--matrix out.md] [--corpus DIR]
  determinism  [--seeds N] [--from N] [--profile P] [--against OTHER-BINARY]
  hashes       [--seeds N] [--from N] [--profile P] | --steps-of SEED
  gate         [DIR]                   the corpus, and in a build with mutants each of them
  leaks        [--seeds N]             what could differ between two processes
  diff         A B                     where two outputs of `hashes --steps-of` part
  marks        [--seeds N] [--from N]  which rare branches were reached

Exit status: 0 clean, 1 violation, 2 usage, 3 nondeterminism, 4 a mutant survived,
5 a mark was never hit.
";

/// Runs the command that `words` make up.
pub fn main(words: impl Iterator<Item = String>) -> Exit {
    let mut args = Args::new(words);
    let outcome = match args.command().as_deref() {
        Some("determinism") => determinism::determinism(args),
        Some("diff") => determinism::diff(args),
        Some("explain") => replay::explain(args),
        Some("faults") => replay::faults(args),
        Some("hashes") => determinism::hashes(args),
        Some("gate") => gate::gate(args),
        Some("leaks") => leaks::leaks(args),
        Some("marks") => marks::marks(args),
        Some("mutants") => mutants::mutants(args),
        Some("replay") => replay::replay(args),
        Some("shrink") => replay::shrink_one(args),
        Some("run") => run::run(args),
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            return Exit::Clean;
        }
        Some(other) => Err(Usage(format!("there is no command {other:?}"))),
    };
    outcome.unwrap_or_else(|Usage(why)| {
        eprintln!("bifrons-sim: {why}\n\n{HELP}");
        Exit::Usage
    })
}
