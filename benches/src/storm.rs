//! A storm of the API: each connection makes a session, attaches it to a plugin, says something,
//! and ends it, over and over.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::client::{Answer, Conn, Watch};
use crate::latency::{Latencies, Quantiles};
use crate::process::Usage;
use crate::progress;
use crate::target::{Target, Url};

/// How long no answer may come at all.
const PATIENCE: Duration = Duration::from_secs(10);

const SHOW_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A server: NAME=URL,PID. Repeat it; they take turns.
    #[arg(long = "server", required = true)]
    servers: Vec<Target>,
    /// Rounds of each server. The median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// One round of one server.
#[derive(Clone, Debug, Serialize)]
struct Round {
    server: String,
    sessions: u64,
    sessions_per_second: f64,
    cpu_us_per_session: f64,
    /// From each request to its answer.
    latency: Quantiles,
    rss_bytes: u64,
    threads: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<bool, String> {
    let mut rounds = Vec::new();
    for _ in 0..arguments.rounds.max(1) {
        for server in &arguments.servers {
            rounds.push(round(server, arguments)?);
        }
    }
    if arguments.json {
        let text = serde_json::to_string_pretty(&rounds).map_err(|error| error.to_string())?;
        println!("{text}");
        return Ok(true);
    }
    println!(
        "{:<12} {:>14} {:>11} {:>9} {:>9}",
        "server", "CPU us/session", "sessions/s", "p50 us", "p99 us"
    );
    for server in &arguments.servers {
        let mut mine: Vec<&Round> = rounds
            .iter()
            .filter(|each| each.server == server.name)
            .collect();
        mine.sort_by(|one, other| one.cpu_us_per_session.total_cmp(&other.cpu_us_per_session));
        let median = mine[(mine.len() - 1) / 2];
        println!(
            "{:<12} {:>14.1} {:>11.0} {:>9.0} {:>9.0}",
            median.server,
            median.cpu_us_per_session,
            median.sessions_per_second,
            median.latency.p50_us,
            median.latency.p99_us
        );
    }
    Ok(true)
}

fn round(target: &Target, arguments: &Arguments) -> Result<Round, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", target.name);
    let (mut watch, mut clients) = connect(target, arguments.connections).map_err(failed)?;
    let before = Usage::of(target.pid)?;
    let (began, seconds) = (Instant::now(), Duration::from_secs_f64(arguments.seconds));
    let (mut latencies, mut buffer) = (Latencies::default(), Vec::new());
    let (mut sessions, mut latest, mut shown) = (0, began, began);
    let mut busy = clients.len();
    while busy > 0 {
        let is_over = began.elapsed() >= seconds;
        for number in watch.wait(Duration::from_secs(1)).map_err(failed)? {
            let client = &mut clients[number];
            let Some(answer) = client.conn.receive(&mut buffer).map_err(failed)? else {
                continue;
            };
            latest = Instant::now();
            latencies.add(latest - client.sent);
            client
                .take(&answer)
                .map_err(|why| format!("{}: {why}", target.name))?;
            sessions += u64::from(client.step == Step::Create);
            if client.step == Step::Create && is_over {
                busy -= 1;
            } else {
                client.send(&target.url).map_err(failed)?;
            }
        }
        if latest.elapsed() > PATIENCE {
            return Err(format!("{}: no answer for {PATIENCE:?}", target.name));
        }
        if shown.elapsed() > SHOW_EVERY {
            shown = Instant::now();
            let done = began.elapsed().as_secs_f64() / arguments.seconds;
            progress::show(&target.name, done);
        }
    }
    progress::clear();
    let took = began.elapsed().as_secs_f64();
    let after = Usage::of(target.pid)?;
    let cpu = (after.cpu - before.cpu).as_secs_f64();
    Ok(Round {
        server: target.name.clone(),
        sessions,
        sessions_per_second: sessions as f64 / took,
        cpu_us_per_session: cpu * 1e6 / sessions.max(1) as f64,
        latency: latencies.quantiles(),
        rss_bytes: after.rss_bytes,
        threads: after.threads,
    })
}

/// Clients that have asked for a session.
fn connect(target: &Target, count: usize) -> std::io::Result<(Watch, Vec<Client>)> {
    let watch = Watch::new()?;
    let mut clients = Vec::new();
    for number in 0..count {
        let conn = Conn::open(target.url.address, None)?;
        watch.add(&conn, number)?;
        let mut client = Client {
            conn,
            step: Step::Create,
            session: 0,
            handle: 0,
            sent: Instant::now(),
        };
        client.send(&target.url)?;
        clients.push(client);
    }
    Ok((watch, clients))
}

/// What a client asks for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Attach,
    Ask,
    Destroy,
}

struct Client {
    conn: Conn,
    step: Step,
    session: u64,
    handle: u64,
    sent: Instant,
}

impl Client {
    fn send(&mut self, url: &Url) -> std::io::Result<()> {
        let Self {
            session, handle, ..
        } = self;
        let (below, body) = match self.step {
            Step::Create => (String::new(), r#"{"janus":"create","transaction":"s"}"#),
            Step::Attach => (
                format!("/{session}"),
                r#"{"janus":"attach","transaction":"s","plugin":"janus.plugin.videoroom"}"#,
            ),
            Step::Ask => (
                format!("/{session}/{handle}"),
                r#"{"janus":"message","transaction":"s","body":{"request":"exists","room":1}}"#,
            ),
            Step::Destroy => (
                format!("/{session}"),
                r#"{"janus":"destroy","transaction":"s"}"#,
            ),
        };
        self.sent = Instant::now();
        self.conn.send(&url.post(&below, body))
    }

    /// Takes an answer, and goes on to the next step.
    fn take(&mut self, answer: &Answer) -> Result<(), String> {
        let wrong = || format!("no success: {}", String::from_utf8_lossy(&answer.body));
        let value: Value = serde_json::from_slice(&answer.body).map_err(|_| wrong())?;
        if value["janus"] != "success" {
            return Err(wrong());
        }
        let id = value["data"]["id"].as_u64();
        self.step = match self.step {
            Step::Create => {
                self.session = id.ok_or_else(wrong)?;
                Step::Attach
            }
            Step::Attach => {
                self.handle = id.ok_or_else(wrong)?;
                Step::Ask
            }
            Step::Ask => Step::Destroy,
            Step::Destroy => Step::Create,
        };
        Ok(())
    }
}
