//! What rounds came to: medians, ratios, requirements, and the comparison of two reports.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Load;
use crate::latency::Quantiles;

/// One round of one server.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub(super) server: String,
    pub(super) round: usize,
    pub(super) rooms: usize,
    /// Of each room.
    pub(super) subscribers: usize,
    pub(super) seconds: f64,
    pub(super) sent: u64,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) delivered_share: f64,
    pub(super) gaps: u64,
    pub(super) late_frames: u64,
    /// Transport-wide reports of those that only count.
    pub(super) reports: u64,
    pub(super) cpu_us_per_packet: f64,
    pub(super) cpu_share: f64,
    pub(super) generator_cpu_share: f64,
    pub(super) latency: Quantiles,
    pub(super) publish_us: Quantiles,
    pub(super) join_us: Quantiles,
    pub(super) setup_ms: f64,
    pub(super) churned: u64,
    pub(super) rss_bytes: u64,
    pub(super) rss_bytes_per_subscriber: f64,
    pub(super) threads: u64,
}

/// Medians over the rounds of one server at one size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) server: String,
    pub(crate) rooms: usize,
    pub(crate) subscribers: usize,
    pub(crate) cpu_us_per_packet: f64,
    pub(crate) cpu_us_least: f64,
    pub(crate) cpu_us_most: f64,
    /// CPU time a packet, relative to the first server.
    pub(crate) cpu_ratio: f64,
    pub(crate) cpu_share: f64,
    pub(crate) generator_cpu_share: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_ratio: f64,
    pub(crate) delivered_share: f64,
    pub(crate) setup_ms: f64,
    pub(crate) join_p50_us: f64,
    /// Of the first round: later ones use memory again.
    pub(crate) rss_bytes_per_subscriber: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) threads: u64,
}

#[derive(Debug, Serialize)]
struct Verdict {
    requirement: String,
    rooms: usize,
    subscribers: usize,
    holds: bool,
    factor: f64,
}

/// All rounds and what follows from them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    load: Load,
    summaries: Vec<Summary>,
    requirements: Vec<Verdict>,
    runs: Vec<Run>,
}

/// That something of `cheap` is at most `factor` times that of `dear`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Requirement {
    what: Measure,
    cheap: String,
    dear: String,
    factor: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Cpu,
    Memory,
    P99,
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, rest) = match text.split_once(':') {
            None | Some(("cpu", _)) => (Measure::Cpu, text.trim_start_matches("cpu:")),
            Some(("memory", rest)) => (Measure::Memory, rest),
            Some(("p99", rest)) => (Measure::P99, rest),
            Some((other, _)) => return Err(format!("{other} is not measured")),
        };
        let parts = rest.split_once("<=").and_then(|(cheap, rest)| {
            let (dear, factor) = rest.split_once('*')?;
            Some(Self {
                what,
                cheap: cheap.trim().to_owned(),
                dear: dear.trim().to_owned(),
                factor: factor.trim().parse().ok()?,
            })
        });
        parts.ok_or_else(|| "a requirement is A<=B*FACTOR".into())
    }
}

impl Requirement {
    pub(super) fn check(&self, servers: &[String]) -> Result<(), String> {
        for name in [&self.cheap, &self.dear] {
            if !servers.contains(name) {
                return Err(format!("a requirement names {name}, which is no server"));
            }
        }
        Ok(())
    }

    fn verdict(&self, rooms: usize, subscribers: usize, all: &[Summary]) -> Option<Verdict> {
        let of = |name: &str| {
            let found = all.iter().find(|each| {
                each.server == name && each.rooms == rooms && each.subscribers == subscribers
            })?;
            Some(match self.what {
                Measure::Cpu => found.cpu_us_per_packet,
                Measure::Memory => found.rss_bytes_per_subscriber,
                Measure::P99 => found.p99_us,
            })
        };
        let found = of(&self.cheap)? / of(&self.dear)?;
        let (cheap, dear, factor) = (&self.cheap, &self.dear, self.factor);
        Some(Verdict {
            requirement: format!("{:?} of {cheap} <= {factor} x {dear}", self.what),
            rooms,
            subscribers,
            holds: found <= factor,
            factor: found,
        })
    }
}

impl Report {
    pub(super) fn new(load: Load, required: &[Requirement], runs: Vec<Run>) -> Self {
        let mut summaries: Vec<Summary> = Vec::new();
        let mut requirements = Vec::new();
        let mut sizes: Vec<(usize, usize)> = Vec::new();
        for run in &runs {
            if !sizes.contains(&(run.rooms, run.subscribers)) {
                sizes.push((run.rooms, run.subscribers));
            }
        }
        for (rooms, subscribers) in sizes {
            let mut names: Vec<&str> = Vec::new();
            let of_size = |run: &&Run| run.rooms == rooms && run.subscribers == subscribers;
            let here: Vec<&Run> = runs.iter().filter(of_size).collect();
            for run in &here {
                if !names.contains(&run.server.as_str()) {
                    names.push(&run.server);
                }
            }
            let first = summaries.len();
            for name in names {
                let of_server = |run: &&&Run| run.server == name;
                let mine: Vec<&Run> = here.iter().filter(of_server).copied().collect();
                summaries.push(Summary::new(&mine));
            }
            let (cpu, p99) = (summaries[first].cpu_us_per_packet, summaries[first].p99_us);
            for summary in &mut summaries[first..] {
                summary.cpu_ratio = summary.cpu_us_per_packet / cpu;
                summary.p99_ratio = summary.p99_us / p99;
            }
            let verdicts = required
                .iter()
                .filter_map(|each| each.verdict(rooms, subscribers, &summaries));
            requirements.extend(verdicts);
        }
        Self {
            load,
            summaries,
            requirements,
            runs,
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.requirements.iter().all(|verdict| verdict.holds)
    }

    pub(super) fn print(&self) {
        println!(
            "{:<12} {:>5} {:>5} {:>8} {:>15} {:>6} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>7}",
            "server",
            "rooms",
            "subs",
            "CPU us/p",
            "least..most",
            "ratio",
            "p50 us",
            "p99 us",
            "delivered",
            "setup ms",
            "KiB/sub",
            "gen CPU",
            "threads"
        );
        for each in &self.summaries {
            println!(
                "{:<12} {:>5} {:>5} {:>8.2} {:>7.2}..{:<6.2} {:>6.3} {:>8.0} {:>8.0} {:>8.2}% {:>8.0} {:>8.0} {:>7.0}% {:>7}",
                each.server,
                each.rooms,
                each.subscribers,
                each.cpu_us_per_packet,
                each.cpu_us_least,
                each.cpu_us_most,
                each.cpu_ratio,
                each.p50_us,
                each.p99_us,
                each.delivered_share * 100.0,
                each.setup_ms,
                each.rss_bytes_per_subscriber / 1024.0,
                each.generator_cpu_share * 100.0,
                each.threads
            );
        }
        for verdict in &self.requirements {
            println!(
                "{}: {} with {} x {} (found {:.3})",
                if verdict.holds { "holds" } else { "FAILS" },
                verdict.requirement,
                verdict.rooms,
                verdict.subscribers,
                verdict.factor
            );
        }
    }
}

impl Summary {
    /// The medians of at least one run.
    fn new(runs: &[&Run]) -> Self {
        let of = |value: fn(&Run) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(|run| value(run)).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let median = |value: fn(&Run) -> f64| {
            let values = of(value);
            values[(values.len() - 1) / 2]
        };
        let cpu = of(|run| run.cpu_us_per_packet);
        let first = runs[0];
        Self {
            server: first.server.clone(),
            rooms: first.rooms,
            subscribers: first.subscribers,
            cpu_us_per_packet: median(|run| run.cpu_us_per_packet),
            cpu_us_least: cpu[0],
            cpu_us_most: cpu[cpu.len() - 1],
            cpu_ratio: 1.0,
            cpu_share: median(|run| run.cpu_share),
            generator_cpu_share: median(|run| run.generator_cpu_share),
            p50_us: median(|run| run.latency.p50_us),
            p99_us: median(|run| run.latency.p99_us),
            p99_ratio: 1.0,
            delivered_share: median(|run| run.delivered_share),
            setup_ms: median(|run| run.setup_ms),
            join_p50_us: median(|run| run.join_us.p50_us),
            rss_bytes_per_subscriber: first.rss_bytes_per_subscriber,
            rss_bytes: median(|run| run.rss_bytes as f64) as u64,
            threads: median(|run| run.threads as f64) as u64,
        }
    }
}

/// Two reports, as `--output` writes them.
#[derive(Debug, clap::Args)]
pub(crate) struct Comparison {
    before: PathBuf,
    after: PathBuf,
    /// Fails when CPU time a packet of a server has become more than this times what it was.
    #[arg(long)]
    at_most: Option<f64>,
}

/// What is kept of a report.
#[derive(Debug, Deserialize)]
pub(crate) struct Stored {
    pub(crate) summaries: Vec<Summary>,
}

impl Stored {
    pub(crate) fn read(path: &PathBuf) -> Result<Self, String> {
        let failed = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))
    }
}

/// Prints what has changed from one report to another.
pub(crate) fn compare_files(arguments: &Comparison) -> Result<bool, String> {
    let before = Stored::read(&arguments.before)?;
    let after = Stored::read(&arguments.after)?;
    println!(
        "{:<12} {:>5} {:>5} {:>22} {:>7} {:>24} {:>7}",
        "server", "rooms", "subs", "CPU us/packet", "x", "p99 us", "x"
    );
    let mut holds = true;
    for new in &after.summaries {
        let same = |old: &&Summary| {
            old.server == new.server && old.rooms == new.rooms && old.subscribers == new.subscribers
        };
        let Some(old) = before.summaries.iter().find(same) else {
            continue;
        };
        let cpu = new.cpu_us_per_packet / old.cpu_us_per_packet;
        println!(
            "{:<12} {:>5} {:>5} {:>10.2} -> {:>8.2} {:>7.3} {:>10.0} -> {:>10.0} {:>7.3}",
            new.server,
            new.rooms,
            new.subscribers,
            old.cpu_us_per_packet,
            new.cpu_us_per_packet,
            cpu,
            old.p99_us,
            new.p99_us,
            new.p99_us / old.p99_us
        );
        holds &= arguments.at_most.is_none_or(|most| cpu <= most);
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_names_what_it_is_about() {
        let cpu: Requirement = "a<=b*0.5".parse().unwrap();
        assert_eq!((cpu.what, cpu.factor), (Measure::Cpu, 0.5));
        let p99: Requirement = "p99:a<=b*0.2".parse().unwrap();
        assert_eq!((p99.what, p99.cheap.as_str()), (Measure::P99, "a"));
        for text in ["a", "a<=b", "p98:a<=b*1", "a<=b*x"] {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
    }
}
