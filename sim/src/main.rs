//! `bifrons-sim`: see `bifrons-sim help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let exit = bifrons_sim::cli::main(std::env::args().skip(1));
    ExitCode::from(exit as u8)
}
