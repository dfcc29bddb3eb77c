//! The sequence chart: a line for each thing that happened, a column for each clock.

use std::fmt::Write as _;
use std::time::Duration;

use super::{joined, lane_name};
use crate::faults::scenario::Scenario;
use crate::kernel::trace::{Lane, Line};
use crate::oracle::Violation;

const TEXT_WIDTH: usize = 96;
const QUIET: Duration = Duration::from_secs(2);

/// Draws the chart of a run.
pub fn chart(scenario: &Scenario, lines: &[Line], violation: Option<&Violation>) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:>12}  {:<14}  {:<TEXT_WIDTH$}  {:>16}  {:>10}",
        "true time", "who", "what", "monotonic", "realtime"
    );
    let mut last: Option<&Line> = None;
    let wall_start = scenario.clocks.origins.realtime_secs * 1_000_000;
    let lines = joined(lines);
    for line in &lines {
        if let Some(last) = last {
            let quiet = line.at.saturating_since(last.at);
            if quiet >= QUIET {
                let note = format!(" quiet for {:.1} s ", quiet.as_secs_f64());
                let _ = writeln!(text, "{note:-^140}");
            }
        }
        let what: String = line.text.chars().take(TEXT_WIDTH).collect();
        let what = match line.lane {
            Lane::Fault => what.to_uppercase(),
            Lane::Client(_) | Lane::Oracle | Lane::Proxy(_) | Lane::Shard(_) | Lane::Wire => what,
        };
        let _ = writeln!(
            text,
            "{:>12}  {:<14}  {what:<TEXT_WIDTH$}  {:>16.6}  {:>+10.1}",
            line.at,
            lane_name(line.lane, scenario),
            line.shown.0.as_secs_f64(),
            (line.shown.1 - wall_start) as f64 / 1e6,
        );
        last = Some(line);
    }
    if let Some(violation) = violation {
        let _ = writeln!(text, "{:>12}  VIOLATION {violation}", violation.at);
    }
    text
}
