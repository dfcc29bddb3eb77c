//! Loads any server that speaks the Janus API, and measures what that costs it.
//!
//! One thread and one epoll drive all connections, another all media, so that the generator needs
//! less of the machine than what it measures. What counts is the CPU time of the server's process: it hardly depends
//! on what else the machine does, unlike requests a second.

mod client;
mod compare;
mod latency;
mod ping;
mod polls;
mod process;
mod progress;
mod rooms;
mod storm;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "bifrons-load", version, about)]
struct Arguments {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, Subcommand)]
enum Work {
    /// Compares two reports of `rooms`, written with its option --output.
    Changes(rooms::Comparison),
    /// Pings several servers in turn, and prints what each ping costs them.
    Compare(compare::Arguments),
    /// Pings one server over connections that are kept alive.
    Ping(ping::Arguments),
    /// Draws a report of `rooms`, written with its option --output, as SVG.
    Plot(rooms::plot::Arguments),
    /// Holds idle long polls open, and pings beside them.
    Polls(polls::Arguments),
    /// Fills rooms of several servers in turn, and prints what each forwarded packet costs them.
    Rooms(rooms::Arguments),
    /// Makes and ends sessions of several servers in turn, as fast as they can.
    Storm(storm::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().work {
        Work::Changes(arguments) => rooms::compare_files(&arguments),
        Work::Compare(arguments) => compare::run(&arguments),
        Work::Ping(arguments) => ping::run(&arguments),
        Work::Plot(arguments) => rooms::plot::run(&arguments),
        Work::Polls(arguments) => polls::run(&arguments),
        Work::Rooms(arguments) => rooms::run(&arguments),
        Work::Storm(arguments) => storm::run(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bifrons-load: {error}");
            ExitCode::from(2)
        }
    }
}
