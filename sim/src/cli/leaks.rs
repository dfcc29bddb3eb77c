//! `leaks`: draws on every source that could make two processes differ, and compares.
//!
//! A source that differs is fine as long as no run depends on it: the hashes of runs are sources
//! like the others here, and they are the ones that must not differ. That others do shows that the
//! comparison sees a difference when there is one.

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use crate::cli::Exit;
use crate::cli::args::{Args, Usage};
use crate::cli::determinism::{hash_lines, output};
use crate::faults::profile::Profile;

/// Prints each source, or compares those of two processes.
pub(super) fn leaks(mut args: Args) -> Result<Exit, Usage> {
    let seeds = args.option("--seeds")?.unwrap_or(20_u64);
    let is_printing = args.flag("--print");
    args.finish()?;
    let here = sources(seeds);
    if is_printing {
        for source in &here {
            println!("{} {}", source.name, source.value);
        }
        return Ok(Exit::Clean);
    }
    let binary = std::env::current_exe().map_err(|error| Usage(format!("no own path: {error}")))?;
    let seeds = seeds.to_string();
    let there = output(&binary, &["leaks", "--print", "--seeds", &seeds])?;
    let there: HashMap<&str, &str> = there
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let mut has_leaked = false;
    let mut has_seen = false;
    for source in &here {
        let is_same = there.get(source.name) == Some(&source.value.as_str());
        let verdict = match (is_same, source.must_be_same) {
            (true, true) => "same",
            (true, false) => "same, by chance",
            (false, true) => "DIFFERS: it leaks into runs",
            (false, false) => "differs, and no run depends on it",
        };
        println!("{:<22} {verdict}", source.name);
        has_leaked |= !is_same && source.must_be_same;
        has_seen |= !is_same && !source.must_be_same;
    }
    if !has_seen {
        println!("nothing differs at all: the comparison is blind");
    }
    Ok(if has_leaked || !has_seen {
        Exit::Nondeterminism
    } else {
        Exit::Clean
    })
}

struct Source {
    name: &'static str,
    value: String,
    must_be_same: bool,
}

#[expect(
    clippy::disallowed_methods,
    reason = "to show that the comparison sees them"
)]
fn sources(seeds: u64) -> Vec<Source> {
    let map: HashMap<u32, ()> = (0..64).map(|key| (key, ())).collect();
    let order: Vec<String> = map.keys().map(u32::to_string).collect();
    let wall = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |span| span.as_nanos());
    let leaky = |name, value| Source {
        name,
        value,
        must_be_same: false,
    };
    vec![
        leaky("order-of-a-hash-map", order.join(",")),
        leaky("wall-clock", wall.to_string()),
        leaky("process-clock", format!("{:?}", Instant::now())),
        leaky("process-id", std::process::id().to_string()),
        leaky("address-of-a-value", format!("{:p}", &*Box::new(0_u8))),
        Source {
            name: "hashes-of-runs",
            value: hash_lines(Profile::Mix, 0, seeds).replace('\n', ";"),
            must_be_same: true,
        },
    ]
}
