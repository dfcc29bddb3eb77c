//! Media load: rooms with publishers and subscribers, on any server that speaks the Janus API.
//!
//! One thread does the signalling, as blocking calls, another owns the PeerConnections. Servers take
//! turns, round by round, so that what else the machine does hits all alike.

mod engine;
mod feedback;
mod keys;
mod payload;
mod peer;
pub(crate) mod plot;
mod report;
mod signalling;
mod stage;
mod websocket;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use engine::Shape;
use report::{Report, Requirement};
use stage::Stage;

use crate::target::Target;

pub(crate) use report::{Comparison, compare_files};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A server: NAME=URL,PID, with a URL of http:// or ws://. Repeat it; the first one is what
    /// the others are compared with.
    #[arg(long = "server", required = true)]
    servers: Vec<Target>,
    /// Rooms. Several numbers, separated by commas, are measured one after another.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    rooms: Vec<usize>,
    /// Subscribers of each room; several numbers as above. Each takes all publishers.
    #[arg(long, value_delimiter = ',', default_value = "50")]
    subscribers: Vec<usize>,
    /// Rounds of each server. The median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What must hold: `A<=B*FACTOR` of the CPU time a packet, `p99:A<=B*FACTOR` of the latency.
    #[arg(long = "require")]
    required: Vec<Requirement>,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Writes the JSON to a file, too.
    #[arg(long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    load: Load,
}

/// What each room does.
#[derive(Clone, Debug, clap::Args, serde::Serialize)]
pub(crate) struct Load {
    /// Publishers of each room.
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// Publishers send three encodings.
    #[arg(long)]
    simulcast: bool,
    /// Each server is measured twice in a round: with layers that stay, and, under the name
    /// NAME/adaptive, with layers that follow what subscribers report to receive.
    #[arg(long, requires = "simulcast")]
    adaptive: bool,
    /// Packets a second of each encoding of a publisher. With `--adaptive` that of the best one;
    /// the others send a fourth and a tenth.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Packets that are sent at once, as one frame.
    #[arg(long, default_value_t = 10)]
    burst: u32,
    /// Bytes of an RTP packet, header and all, before it is encrypted.
    #[arg(long, default_value_t = 1_100)]
    packet_bytes: usize,
    /// Share of media datagrams that is lost on each way, between 0 and 1. Only subscribers that
    /// decrypt notice, and ask again.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Subscribers a second that leave while it is measured, and others that come.
    #[arg(long, default_value_t = 0.0)]
    churn: f64,
    /// Subscribers of each room that decrypt, of which latencies are taken. They are spread evenly
    /// among those that only count.
    #[arg(long, default_value_t = 2)]
    decrypt: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Seconds of media before that.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// The address that the generator's sockets are bound to.
    #[arg(long, default_value = "127.0.0.1")]
    ip: IpAddr,
}

/// Whether layers follow what subscribers report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Adaption {
    /// As the server has it by default, and without reports of those that only count.
    AsItIs,
    Off,
    On,
}

impl Adaption {
    /// What a server that does so is called in reports.
    fn name(self, server: &Target) -> String {
        match self {
            Self::AsItIs | Self::Off => server.name.clone(),
            Self::On => format!("{}/adaptive", server.name),
        }
    }
}

impl Load {
    fn shape(&self) -> Shape {
        let burst = self.burst.max(1);
        let header_bytes = 20;
        Shape {
            interval: Duration::from_secs_f64(f64::from(burst) / f64::from(self.rate.max(1))),
            packets: if self.adaptive {
                [burst, burst.div_ceil(4), burst.div_ceil(10)]
            } else {
                [burst; 3]
            },
            payload_bytes: self.packet_bytes.saturating_sub(header_bytes),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<bool, String> {
    let adaptions: &[Adaption] = if arguments.load.adaptive {
        &[Adaption::Off, Adaption::On]
    } else {
        &[Adaption::AsItIs]
    };
    let mut names = Vec::new();
    for server in &arguments.servers {
        names.extend(adaptions.iter().map(|each| each.name(server)));
    }
    for required in &arguments.required {
        required.check(&names)?;
    }
    let mut runs = Vec::new();
    for &rooms in &arguments.rooms {
        for &subscribers in &arguments.subscribers {
            for round in 0..arguments.rounds.max(1) {
                for server in &arguments.servers {
                    for adaption in adaptions {
                        let size = (rooms, subscribers);
                        let stage = Stage::new(server, &arguments.load, *adaption, size)?;
                        runs.push(stage.play(round)?);
                    }
                }
            }
        }
    }
    let report = Report::new(arguments.load.clone(), &arguments.required, runs);
    let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
    if let Some(path) = &arguments.output {
        std::fs::write(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if arguments.json {
        println!("{text}");
    } else {
        report.print();
    }
    Ok(report.holds())
}
