//! `bifrons-sim`: see `bifrons-sim help`.

use std::process::ExitCode;

/// As in the gateway: a scenario allocates and frees all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let exit = bifrons_sim::cli::main(std::env::args().skip(1));
    ExitCode::from(exit as u8)
}
