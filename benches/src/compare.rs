//! Several servers in turn, round by round, so that what else the machine does hits all alike.

use std::str::FromStr;

use serde::Serialize;

use crate::ping::{Load, Round, round};
use crate::target::Target;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A server: NAME=URL,PID. Repeat it; the first one is what the others are compared with.
    #[arg(long = "server", required = true)]
    servers: Vec<Target>,
    /// Rounds of each server. The median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What must hold of the CPU time a ping: `A<=B*FACTOR`. Fails if it does not.
    #[arg(long = "require")]
    required: Vec<Requirement>,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: Load,
}

/// That a ping of `cheap` costs at most `factor` times one of `dear`.
#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    cheap: String,
    dear: String,
    factor: f64,
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once("<=").and_then(|(cheap, rest)| {
            let (dear, factor) = rest.split_once('*')?;
            Some(Self {
                cheap: cheap.trim().to_owned(),
                dear: dear.trim().to_owned(),
                factor: factor.trim().parse().ok()?,
            })
        });
        parts.ok_or_else(|| "a requirement is A<=B*FACTOR".into())
    }
}

/// All rounds and what follows from them.
#[derive(Debug, Serialize)]
struct Comparison {
    servers: Vec<Summary>,
    requirements: Vec<Verdict>,
    rounds: Vec<Round>,
}

/// Medians over the rounds of one server.
#[derive(Debug, Serialize)]
struct Summary {
    server: String,
    cpu_us_per_request: f64,
    cpu_us_least: f64,
    cpu_us_most: f64,
    /// CPU time a request, relative to the first server.
    ratio: f64,
    requests_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    rss_bytes: u64,
    threads: u64,
}

#[derive(Debug, Serialize)]
struct Verdict {
    requirement: String,
    holds: bool,
    factor: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<bool, String> {
    for Requirement { cheap, dear, .. } in &arguments.required {
        for name in [cheap, dear] {
            if !arguments.servers.iter().any(|server| server.name == *name) {
                return Err(format!("a requirement names {name}, which is no server"));
            }
        }
    }
    let mut rounds = Vec::new();
    for _ in 0..arguments.rounds.max(1) {
        for server in &arguments.servers {
            rounds.push(round(server, &arguments.load)?);
        }
    }
    let comparison = Comparison::new(arguments, rounds);
    if arguments.json {
        let text = serde_json::to_string_pretty(&comparison).map_err(|error| error.to_string())?;
        println!("{text}");
    } else {
        comparison.print();
    }
    Ok(comparison.requirements.iter().all(|verdict| verdict.holds))
}

impl Comparison {
    fn new(arguments: &Arguments, rounds: Vec<Round>) -> Self {
        let mut servers: Vec<Summary> = arguments
            .servers
            .iter()
            .map(|server| Summary::new(&server.name, &rounds))
            .collect();
        let base = servers[0].cpu_us_per_request;
        for server in &mut servers {
            server.ratio = server.cpu_us_per_request / base;
        }
        let cost = |name: &str| {
            let found = servers.iter().find(|server| server.server == name);
            found.map_or(f64::NAN, |server| server.cpu_us_per_request)
        };
        let verdict = |required: &Requirement| {
            let Requirement {
                cheap,
                dear,
                factor,
            } = required;
            let found = cost(cheap) / cost(dear);
            Verdict {
                requirement: format!("{cheap} <= {factor} x {dear}"),
                holds: found <= *factor,
                factor: found,
            }
        };
        Self {
            requirements: arguments.required.iter().map(verdict).collect(),
            servers,
            rounds,
        }
    }

    fn print(&self) {
        println!(
            "{:<12} {:>9} {:>17} {:>7} {:>9} {:>9} {:>9} {:>9} {:>7}",
            "server",
            "CPU us/op",
            "least..most",
            "ratio",
            "ops/s",
            "p50 us",
            "p99 us",
            "RSS MiB",
            "threads"
        );
        for server in &self.servers {
            println!(
                "{:<12} {:>9.2} {:>8.2}..{:<7.2} {:>7.3} {:>9.0} {:>9.0} {:>9.0} {:>9.1} {:>7}",
                server.server,
                server.cpu_us_per_request,
                server.cpu_us_least,
                server.cpu_us_most,
                server.ratio,
                server.requests_per_second,
                server.p50_us,
                server.p99_us,
                server.rss_bytes as f64 / f64::from(1 << 20),
                server.threads
            );
        }
        for verdict in &self.requirements {
            println!(
                "{}: {} (found {:.3})",
                if verdict.holds { "holds" } else { "FAILS" },
                verdict.requirement,
                verdict.factor
            );
        }
    }
}

impl Summary {
    fn new(name: &str, rounds: &[Round]) -> Self {
        let of = |value: fn(&Round) -> f64| {
            let mine = rounds.iter().filter(|round| round.server == name);
            let mut values: Vec<f64> = mine.map(value).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let cpu = of(|round| round.cpu_us_per_request);
        Self {
            server: name.to_owned(),
            cpu_us_per_request: median(&cpu),
            cpu_us_least: cpu[0],
            cpu_us_most: cpu[cpu.len() - 1],
            ratio: 1.0,
            requests_per_second: median(&of(|round| round.requests_per_second)),
            p50_us: median(&of(|round| round.latency.p50_us)),
            p99_us: median(&of(|round| round.latency.p99_us)),
            rss_bytes: median(&of(|round| round.rss_bytes as f64)) as u64,
            threads: median(&of(|round| round.threads as f64)) as u64,
        }
    }
}

/// The one in the middle of sorted values; of an even number, the lower of the two.
fn median(sorted: &[f64]) -> f64 {
    sorted[(sorted.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_is_two_names_and_a_factor() {
        let expected = Requirement {
            cheap: "bifrons".into(),
            dear: "janus".into(),
            factor: 0.25,
        };
        assert_eq!("bifrons <= janus * 0.25".parse(), Ok(expected));
        for text in ["bifrons", "a<=b", "a<=b*x", "a*3"] {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_median_is_not_moved_by_one_bad_round() {
        assert_eq!(median(&[1.0, 2.0, 99.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0, 3.0, 99.0]), 2.0);
    }
}
