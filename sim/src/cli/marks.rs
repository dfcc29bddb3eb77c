//! `marks`: which rare branches the seeds have reached, by the gateway's own counters.
//!
//! Every reason for which the gateway refuses, drops, ends or times out has a counter. One that
//! no seed ever moves is a branch that the simulator does not test.

use bifrons::metrics::{Metrics, expose};

use crate::cli::Exit;
use crate::cli::args::{Args, Usage};
use crate::faults::profile::Profile;
use crate::world::World;

/// Beginnings of samples that must be reached.
const DECLARED: &[&str] = &[
    "bifrons_gateway_events_requeued_total",
    "bifrons_gateway_sessions_destroyed_total{reason=\"timeout\"}",
    "bifrons_http_malformed_requests_total",
    "bifrons_http_polls_total{reason=\"client_gone\"}",
    "bifrons_http_polls_total{reason=\"event\"}",
    "bifrons_http_polls_total{reason=\"keepalive\"}",
    "bifrons_http_polls_total{reason=\"shutdown\"}",
    "bifrons_http_polls_total{reason=\"superseded\"}",
    "bifrons_http_streams_opened_total",
    "bifrons_http_streams_resumed_total",
    "bifrons_http_timeouts_total{kind=\"idle\"}",
    "bifrons_http_timeouts_total{kind=\"linger\"}",
    "bifrons_mesh_sent_messages_total",
];

/// Runs seeds and shows what was reached.
pub(super) fn marks(mut args: Args) -> Result<Exit, Usage> {
    let seeds = args.option("--seeds")?.unwrap_or(1_000_u64);
    let from = args.option("--from")?.unwrap_or(0_u64);
    args.finish()?;
    let mut sum = Metrics::default();
    for seed in from..from + seeds {
        sum.merge(&World::judge(&Profile::Mix.scenario(seed)).metrics);
    }
    let mut text = String::new();
    expose(&sum, &mut text);
    let samples = || text.lines().filter(|line| !line.starts_with('#'));
    for line in samples() {
        println!("{line}");
    }
    let reached = |mark: &str| {
        samples()
            .filter(|line| line.starts_with(mark))
            .any(|line| !line.ends_with(" 0"))
    };
    let missed: Vec<_> = DECLARED.iter().filter(|mark| !reached(mark)).collect();
    for mark in &missed {
        println!("NEVER REACHED {mark}");
    }
    Ok(if missed.is_empty() {
        Exit::Clean
    } else {
        Exit::Unmarked
    })
}
