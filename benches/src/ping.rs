//! Pings over connections that are kept alive: each sends the next one when it has its answer.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::client::{Conn, Watch};
use crate::latency::{Latencies, Quantiles};
use crate::process::Usage;
use crate::progress;
use crate::target::Target;

const PING: &str = r#"{"janus":"ping","transaction":"bench"}"#;

/// How long no answer may come at all.
const PATIENCE: Duration = Duration::from_secs(10);

const SHOW_EVERY: Duration = Duration::from_millis(100);

/// What a ping may cost and how it is asked.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Seconds of load before that.
    #[arg(long, default_value_t = 0.5)]
    pub(crate) warm_up: f64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The server: NAME=URL,PID. URL is the base of its API.
    server: Target,
    #[command(flatten)]
    load: Load,
}

/// What was measured in one round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) server: String,
    pub(crate) connections: usize,
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) cpu_us_per_request: f64,
    pub(crate) cpu_share: f64,
    pub(crate) latency: Quantiles,
    pub(crate) rss_bytes: u64,
    pub(crate) threads: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<bool, String> {
    let round = round(&arguments.server, &arguments.load)?;
    let text = serde_json::to_string_pretty(&round).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(true)
}

/// Loads a server once.
pub(crate) fn round(target: &Target, load: &Load) -> Result<Round, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", target.name);
    let mut pinger = Pinger::new(target, load.connections).map_err(failed)?;
    let warm_up = Duration::from_secs_f64(load.warm_up);
    pinger.go_on(warm_up, &mut Latencies::default())?;

    let before = Usage::of(target.pid)?;
    let began = Instant::now();
    let mut latencies = Latencies::default();
    pinger.go_on(Duration::from_secs_f64(load.seconds), &mut latencies)?;
    let took = began.elapsed().as_secs_f64();
    let after = Usage::of(target.pid)?;

    let cpu = (after.cpu - before.cpu).as_secs_f64();
    Ok(Round {
        server: target.name.clone(),
        connections: load.connections,
        seconds: took,
        requests: latencies.count(),
        requests_per_second: latencies.count() as f64 / took,
        cpu_us_per_request: cpu * 1e6 / latencies.count() as f64,
        cpu_share: cpu / took,
        latency: latencies.quantiles(),
        rss_bytes: after.rss_bytes,
        threads: after.threads,
    })
}

/// Connections that ping.
struct Pinger<'a> {
    target: &'a Target,
    request: Vec<u8>,
    watch: Watch,
    conns: Vec<(Conn, Instant)>,
    buffer: Vec<u8>,
}

impl<'a> Pinger<'a> {
    fn new(target: &'a Target, connections: usize) -> std::io::Result<Self> {
        let request = target.url.post("", PING);
        let watch = Watch::new()?;
        let mut conns = Vec::new();
        for number in 0..connections {
            let mut conn = Conn::open(target.url.address, None)?;
            watch.add(&conn, number)?;
            conn.send(&request)?;
            conns.push((conn, Instant::now()));
        }
        Ok(Self {
            target,
            request,
            watch,
            conns,
            buffer: Vec::new(),
        })
    }

    /// Pings for a time. Every connection has a ping under way afterwards, as before.
    fn go_on(&mut self, time: Duration, latencies: &mut Latencies) -> Result<(), String> {
        let name = &self.target.name;
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let began = Instant::now();
        let mut now = began;
        let mut latest_answer = began;
        let mut shown = began;
        while now - began < time {
            if now - shown > SHOW_EVERY {
                progress::show(name, (now - began).as_secs_f64() / time.as_secs_f64());
                shown = now;
            }
            for number in self.watch.wait(Duration::from_secs(1)).map_err(failed)? {
                let (conn, sent) = &mut self.conns[number];
                let Some(answer) = conn.receive(&mut self.buffer).map_err(failed)? else {
                    continue;
                };
                if answer.status != 200 || !is_pong(&answer.body) {
                    return Err(format!("{name}: no pong: {answer:?}"));
                }
                let arrived = Instant::now();
                latencies.add(arrived - *sent);
                latest_answer = arrived;
                *sent = arrived;
                conn.send(&self.request).map_err(failed)?;
            }
            now = Instant::now();
            if now - latest_answer > PATIENCE {
                return Err(format!("{name}: no answer for {PATIENCE:?}"));
            }
        }
        progress::clear();
        Ok(())
    }
}

fn is_pong(body: &[u8]) -> bool {
    body.windows(6).any(|window| window == b"\"pong\"")
}
