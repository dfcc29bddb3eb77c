//! `replay`, `explain`, `shrink` and `faults`: one scenario, looked at closely.

use crate::cli::args::{Args, Usage};
use crate::cli::run::switch_on;
use crate::cli::{Exit, journal};
use crate::faults::profile::Profile;
use crate::faults::scenario::{ClientPlan, Scenario};
use crate::faults::shrink::shrink;
use crate::faults::text::FAULTS;
use crate::kernel::trace::Trace;
use crate::report::{chart, timeline};
use crate::world::World;

/// Runs one scenario and shows what happened.
pub(super) fn replay(mut args: Args) -> Result<Exit, Usage> {
    if let Some(path) = args.option::<String>("--journal")? {
        return journal::replay_journal(&path, args);
    }
    let scenario = scenario(&mut args)?;
    let page = args.option::<String>("--timeline")?;
    let is_traced = args.flag("--trace");
    switch_on(args.option("--mutant")?)?;
    args.finish()?;
    show(&scenario, is_traced, page.as_deref())
}

/// Runs the scenario of a file, with its chart.
pub(super) fn explain(mut args: Args) -> Result<Exit, Usage> {
    let path = args
        .word()
        .ok_or_else(|| Usage("explain which file?".to_owned()))?;
    args.finish()?;
    show(&read(&path)?, true, None)
}

/// Makes a failing scenario smaller.
pub(super) fn shrink_one(mut args: Args) -> Result<Exit, Usage> {
    let scenario = scenario(&mut args)?;
    let wanted = args.option::<String>("--invariant")?;
    let path = args.option::<String>("-o")?;
    args.finish()?;
    let Some(violation) = World::judge(&scenario).violation else {
        println!("no rule is broken");
        return Ok(Exit::Clean);
    };
    if wanted.is_some_and(|id| id != violation.invariant) {
        println!("another rule is broken: {violation}");
        return Ok(Exit::Violation);
    }
    let shrunk = shrink(&scenario, violation.invariant);
    let text = format!("# expect {}\n{}", violation.invariant, shrunk.scenario);
    println!("# {} runs", shrunk.runs);
    match path {
        Some(path) => write(&path, &text)?,
        None => print!("{text}"),
    }
    Ok(Exit::Violation)
}

/// Lists all faults, or runs a browser under some.
pub(super) fn faults(mut args: Args) -> Result<Exit, Usage> {
    let Some(list) = args.option::<String>("--faults")? else {
        let _ = args.word();
        args.finish()?;
        println!("fault @TIME NAME PARAMETER=VALUE…, where TIME is a span since the beginning,");
        println!("event:CLIENT:NTH, poll:CLIENT:NTH or partial-answer:CLIENT:NTH:\n");
        for fault in FAULTS {
            println!("  {fault}");
        }
        return Ok(Exit::Clean);
    };
    args.finish()?;
    let lines: String = list
        .split(';')
        .map(|fault| format!("fault {}\n", fault.trim()))
        .collect();
    let mut scenario: Scenario = lines.parse().map_err(Usage)?;
    scenario.clients.push(ClientPlan {
        messages: 3,
        ..ClientPlan::PLAIN
    });
    show(&scenario, true, None)
}

fn show(scenario: &Scenario, is_traced: bool, page: Option<&str>) -> Result<Exit, Usage> {
    let outcome = World::run_told(scenario, Trace::keeping(), |_, _, _| {});
    let judged = World::judge(scenario);
    let violation = outcome.violation.or(judged.violation);
    println!("{scenario}");
    if is_traced {
        print!(
            "{}",
            chart(scenario, outcome.trace.lines(), violation.as_ref())
        );
    }
    if let Some(path) = page {
        let text = timeline(scenario, outcome.trace.lines(), violation.as_ref());
        write(path, &text)?;
    }
    match violation {
        None => {
            println!(
                "clean: {} steps, hash {:016x}",
                outcome.events, outcome.hash
            );
            Ok(Exit::Clean)
        }
        Some(violation) => {
            println!("VIOLATION {violation}");
            Ok(Exit::Violation)
        }
    }
}

fn scenario(args: &mut Args) -> Result<Scenario, Usage> {
    let profile = args.option("--profile")?.unwrap_or(Profile::Mix);
    match (
        args.option::<u64>("--seed")?,
        args.option::<String>("--scenario-file")?,
    ) {
        (Some(seed), None) => Ok(profile.scenario(seed)),
        (None, Some(path)) => read(&path),
        _ => Err(Usage("give either --seed or --scenario-file".to_owned())),
    }
}

fn read(path: &str) -> Result<Scenario, Usage> {
    let text = std::fs::read_to_string(path).map_err(|error| Usage(format!("{path}: {error}")))?;
    text.parse().map_err(|why| Usage(format!("{path}: {why}")))
}

fn write(path: &str, text: &str) -> Result<(), Usage> {
    std::fs::write(path, text).map_err(|error| Usage(format!("{path}: {error}")))
}
