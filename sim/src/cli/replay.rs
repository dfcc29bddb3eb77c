//! `replay`: one scenario, with everything that happened.

use crate::cli::Exit;
use crate::cli::args::{Args, Usage};
use crate::faults::profile::Profile;
use crate::kernel::trace::Trace;
use crate::world::World;

/// Runs one scenario and shows its record.
pub(super) fn replay(mut args: Args) -> Result<Exit, Usage> {
    let seed = args.option("--seed")?.unwrap_or(0_u64);
    let profile = args.option("--profile")?.unwrap_or(Profile::Mix);
    let from = args.option("--after")?.unwrap_or(0_u64);
    args.finish()?;
    let scenario = profile.scenario(seed);
    let outcome = World::new(&scenario, Trace::keeping()).run();
    println!("{scenario:#?}");
    for line in outcome.trace.lines() {
        if line.at.as_nanos() >= from * 1_000_000_000 {
            println!("{:>12} {:?}: {}", line.at, line.lane, line.text);
        }
    }
    match outcome.violation {
        None => Ok(Exit::Clean),
        Some(violation) => {
            println!("VIOLATION {violation}");
            Ok(Exit::Violation)
        }
    }
}
