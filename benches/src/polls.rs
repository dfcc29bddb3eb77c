//! Idle long polls by the thousand, each on a session and a connection of its own, and pings
//! beside them.
//!
//! Every poll must end with a complete keepalive. Sessions and polls come from many loopback
//! addresses, because a server may bound what one address holds.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::client::{Answer, Conn, Watch};
use crate::latency::{Latencies, Quantiles};
use crate::process::Usage;
use crate::progress;
use crate::target::Target;

/// How many polls come from one address.
const POLLS_PER_ADDRESS: usize = 1_000;

/// The generator's own descriptors beside those of polls.
const DESCRIPTORS_KEPT: u64 = 64;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What must not take longer than that: polls end after 30 s, and all at once.
const POLLS_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The server: NAME=URL,PID. URL is the base of its API.
    server: Target,
    /// Polls to hold.
    #[arg(long, default_value_t = 1_000)]
    polls: usize,
    /// Pings beside them, and as many before.
    #[arg(long, default_value_t = 400)]
    pings: u32,
    /// Milliseconds between two pings.
    #[arg(long, default_value_t = 10)]
    ping_every_ms: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    server: String,
    polls: usize,
    /// Until all sessions were there.
    create_seconds: f64,
    /// Until all polls were sent.
    connect_seconds: f64,
    /// Resident memory that a poll brought, its session and connection included.
    rss_bytes_per_poll: f64,
    /// CPU time of one session's creation.
    cpu_us_per_session: f64,
    /// CPU time of one poll, from connecting until its keepalive, without the pings beside.
    cpu_us_per_poll: f64,
    /// CPU time of the server while nothing but polls was there, as a share of one core.
    cpu_share_idle: f64,
    ping_alone: Quantiles,
    ping_beside: Quantiles,
    /// Polls that ended with a complete keepalive.
    keepalives: usize,
    /// What other polls ended with, the first few.
    failures: Vec<String>,
    /// From a poll's request to its keepalive.
    held: Quantiles,
}

pub(crate) fn run(arguments: &Arguments) -> Result<bool, String> {
    raise_descriptors(arguments.polls as u64)?;
    let report = Session::run(arguments)?;
    let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(report.keepalives == report.polls)
}

fn raise_descriptors(polls: u64) -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| format!("descriptors: {error}"))?;
    match limit.maximum {
        Some(maximum) if maximum < polls + DESCRIPTORS_KEPT => Err(format!(
            "{polls} polls need {} descriptors, the limit is {maximum}",
            polls + DESCRIPTORS_KEPT
        )),
        Some(_) | None => Ok(()),
    }
}

/// A run against one server.
struct Session<'a> {
    target: &'a Target,
    buffer: Vec<u8>,
}

/// A poll under way.
struct Poll {
    conn: Conn,
    sent: Instant,
}

impl<'a> Session<'a> {
    fn run(arguments: &'a Arguments) -> Result<Report, String> {
        let target = &arguments.server;
        let mut this = Self {
            target,
            buffer: Vec::new(),
        };
        let every = Duration::from_millis(arguments.ping_every_ms);
        // The first pings warm up both sides.
        this.ping(arguments.pings / 4, every)?;
        let ping_alone = this.ping(arguments.pings, every)?;

        let empty = Usage::of(target.pid)?;
        let began = Instant::now();
        let sessions = this.create(arguments.polls)?;
        let create_seconds = began.elapsed().as_secs_f64();
        let created = Usage::of(target.pid)?;

        let began = Instant::now();
        let (mut watch, polls) = this.connect(&sessions)?;
        let connect_seconds = began.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_millis(300));
        let held = Usage::of(target.pid)?;

        let idle_began = Instant::now();
        std::thread::sleep(Duration::from_secs(2));
        let idle = Usage::of(target.pid)?;
        let cpu_share_idle =
            (idle.cpu - held.cpu).as_secs_f64() / idle_began.elapsed().as_secs_f64();

        let ping_beside = this.ping(arguments.pings, every)?;
        let pinged = Usage::of(target.pid)?;
        let ends = this.await_all(&mut watch, polls)?;
        let answered = Usage::of(target.pid)?;

        let count = arguments.polls as f64;
        let per = |bytes: u64| bytes as f64 / count;
        let cpu_of_polls = (idle.cpu - created.cpu) + (answered.cpu - pinged.cpu);
        Ok(Report {
            server: target.name.clone(),
            polls: arguments.polls,
            create_seconds,
            connect_seconds,
            rss_bytes_per_poll: per(held.rss_bytes.saturating_sub(empty.rss_bytes)),
            cpu_us_per_session: (created.cpu - empty.cpu).as_secs_f64() * 1e6 / count,
            cpu_us_per_poll: cpu_of_polls.as_secs_f64() * 1e6 / count,
            cpu_share_idle,
            ping_alone,
            ping_beside,
            keepalives: ends.keepalives,
            failures: ends.failures,
            held: ends.held.quantiles(),
        })
    }

    /// Pings at a steady pace, one after the other.
    fn ping(&mut self, count: u32, every: Duration) -> Result<Quantiles, String> {
        let mut latencies = Latencies::default();
        let mut one = One::open(self.target, None)?;
        let body = r#"{"janus":"ping","transaction":"beside"}"#;
        let request = self.target.url.post("", body);
        let began = Instant::now();
        for number in 0..count {
            std::thread::sleep((every * number).saturating_sub(began.elapsed()));
            let sent = Instant::now();
            one.ask(&request, &mut self.buffer)?;
            latencies.add(sent.elapsed());
        }
        Ok(latencies.quantiles())
    }

    fn create(&mut self, count: usize) -> Result<Vec<u64>, String> {
        let body = r#"{"janus":"create","transaction":"create"}"#;
        let request = self.target.url.post("", body);
        let mut sessions = Vec::with_capacity(count);
        while sessions.len() < count {
            let mut one = One::open(self.target, self.address(sessions.len()))?;
            for _ in 0..POLLS_PER_ADDRESS.min(count - sessions.len()) {
                let answer = one.ask(&request, &mut self.buffer)?;
                let id = serde_json::from_slice::<Value>(&answer.body)
                    .ok()
                    .and_then(|json| json["data"]["id"].as_u64())
                    .ok_or_else(|| format!("{}: no session: {answer:?}", self.target.name))?;
                sessions.push(id);
            }
            progress::show("sessions", sessions.len() as f64 / count as f64);
        }
        progress::clear();
        Ok(sessions)
    }

    fn connect(&self, sessions: &[u64]) -> Result<(Watch, Vec<Option<Poll>>), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.target.name);
        let watch = Watch::new().map_err(failed)?;
        let mut polls = Vec::with_capacity(sessions.len());
        for (number, session) in sessions.iter().enumerate() {
            let source = self.address(number);
            let mut conn = Conn::open(self.target.url.address, source).map_err(failed)?;
            watch.add(&conn, number).map_err(failed)?;
            let request = self.target.url.get(&format!("/{session}?maxev=10"));
            conn.send(&request).map_err(failed)?;
            polls.push(Some(Poll {
                conn,
                sent: Instant::now(),
            }));
            if number % 100 == 0 {
                progress::show("polls", number as f64 / sessions.len() as f64);
            }
        }
        progress::clear();
        Ok((watch, polls))
    }

    /// Waits for the end of all polls.
    fn await_all(
        &mut self,
        watch: &mut Watch,
        mut polls: Vec<Option<Poll>>,
    ) -> Result<Ends, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.target.name);
        let began = Instant::now();
        let mut ends = Ends::default();
        let mut left = polls.len();
        while left > 0 && began.elapsed() < POLLS_WITHIN {
            progress::show("keepalives", 1.0 - left as f64 / polls.len() as f64);
            for number in watch.wait(Duration::from_millis(200)).map_err(failed)? {
                let Some(poll) = &mut polls[number] else {
                    continue;
                };
                match poll.conn.receive(&mut self.buffer) {
                    Ok(None) => continue,
                    Ok(Some(answer)) => ends.add(&answer, poll.sent.elapsed()),
                    Err(error) => ends.fail(error.to_string()),
                }
                // Closing it takes it off the watch.
                polls[number] = None;
                left -= 1;
            }
        }
        progress::clear();
        for poll in polls.iter().flatten() {
            ends.fail(if poll.conn.is_amid() {
                "an answer that does not end".into()
            } else {
                "no answer".into()
            });
        }
        Ok(ends)
    }

    /// Where a poll comes from. Only on loopback there are as many addresses as one likes.
    fn address(&self, number: usize) -> Option<IpAddr> {
        let third = u8::try_from(1 + number / POLLS_PER_ADDRESS).ok()?;
        let is_loopback = self.target.url.address.ip() == Ipv4Addr::LOCALHOST;
        is_loopback.then(|| Ipv4Addr::new(127, 0, 1, third).into())
    }
}

/// How polls ended.
#[derive(Default)]
struct Ends {
    keepalives: usize,
    failures: Vec<String>,
    held: Latencies,
}

impl Ends {
    fn add(&mut self, answer: &Answer, held: Duration) {
        self.held.add(held);
        let json = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        // The answer to `maxev` is a list with Janus, and an object without events with others.
        let event = json.get(0).unwrap_or(&json);
        if answer.status == 200 && event["janus"] == "keepalive" {
            self.keepalives += 1;
        } else {
            self.fail(format!("{answer:?}"));
        }
    }

    fn fail(&mut self, why: String) {
        const NAMED_MAX: usize = 5;
        if self.failures.len() < NAMED_MAX {
            self.failures.push(why);
        }
    }
}

/// A connection on which one waits for each answer.
struct One<'a> {
    target: &'a Target,
    watch: Watch,
    conn: Conn,
}

impl<'a> One<'a> {
    fn open(target: &'a Target, source: Option<IpAddr>) -> Result<Self, String> {
        let open = || {
            let conn = Conn::open(target.url.address, source)?;
            let watch = Watch::new()?;
            watch.add(&conn, 0)?;
            Ok(Self {
                target,
                watch,
                conn,
            })
        };
        open().map_err(|error: std::io::Error| format!("{}: {error}", target.name))
    }

    fn ask(&mut self, request: &[u8], buffer: &mut Vec<u8>) -> Result<Answer, String> {
        let name = &self.target.name;
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let began = Instant::now();
        self.conn.send(request).map_err(failed)?;
        while began.elapsed() < ANSWER_WITHIN {
            if self
                .watch
                .wait(ANSWER_WITHIN)
                .map_err(failed)?
                .next()
                .is_some()
                && let Some(answer) = self.conn.receive(buffer).map_err(failed)?
            {
                return Ok(answer);
            }
        }
        Err(format!("{name}: no answer within {ANSWER_WITHIN:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_keepalive_counts() {
        let mut ends = Ends::default();
        for (status, body) in [
            (200, r#"[{"janus":"keepalive"}]"#),
            (200, r#"{"janus":"keepalive"}"#),
            (200, "[]"),
            (200, ""),
            (404, r#"{"janus":"keepalive"}"#),
        ] {
            let body = body.as_bytes().to_vec();
            ends.add(&Answer { status, body }, Duration::from_secs(30));
        }
        assert_eq!((ends.keepalives, ends.failures.len()), (2, 3));
    }
}
