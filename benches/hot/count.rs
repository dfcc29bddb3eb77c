//! Runs one hot path for an instruction counter: `instructions CASE ROUNDS`, `instructions` lists.
//!
//! What counts is inside of [`measured`]; preparation and the first rounds are outside.

#[path = "cases.rs"]
mod cases;
#[path = "media.rs"]
mod media;

use std::process::ExitCode;

// The product's allocator, because its work counts too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WARM_UP: u64 = 100;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(name) = words.next() else {
        for case in cases::CASES {
            println!("{} {}", case.name, case.operations);
        }
        return ExitCode::SUCCESS;
    };
    let case = cases::CASES.into_iter().find(|case| case.name == name);
    let rounds = words.next().and_then(|word| word.parse().ok());
    let (Some(case), Some(rounds)) = (case, rounds) else {
        eprintln!("instructions CASE ROUNDS");
        return ExitCode::from(2);
    };
    let mut work = (case.make)();
    for _ in 0..WARM_UP {
        work();
    }
    measured(rounds, &mut work);
    ExitCode::SUCCESS
}

/// The counter is told to look at this only.
#[inline(never)]
fn measured(rounds: u64, work: &mut dyn FnMut()) {
    for _ in 0..rounds {
        work();
    }
}
