//! A report as a picture: how a measure grows with the number of receivers, one line a server.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::report::{Stored, Summary};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A report, as `rooms --output` writes it.
    report: PathBuf,
    /// What is shown.
    #[arg(long, value_enum, default_value = "cpu")]
    what: Measure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Measure {
    /// CPU time of the server for each packet that was delivered.
    Cpu,
    /// Resident memory of the server for each subscriber.
    Memory,
    /// The 99th percentile of the latency.
    P99,
}

impl Measure {
    fn title(self) -> &'static str {
        match self {
            Self::Cpu => "CPU time of the server a delivered packet, microseconds",
            Self::Memory => "resident memory a subscriber, KiB",
            Self::P99 => "99th percentile of the latency, milliseconds",
        }
    }

    fn of(self, summary: &Summary) -> f64 {
        match self {
            Self::Cpu => summary.cpu_us_per_packet,
            Self::Memory => summary.rss_bytes_per_subscriber / 1024.0,
            Self::P99 => summary.p99_us / 1000.0,
        }
    }
}

/// The size of the picture, and where the axes are.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 520.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 310.0;
const LABEL_HEIGHT: f64 = 14.0;

/// Told apart with any kind of sight, and in print by their order.
const COLOURS: [&str; 5] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9"];

/// Prints a picture.
pub(crate) fn run(arguments: &Arguments) -> Result<bool, String> {
    let stored = Stored::read(&arguments.report)?;
    if stored.summaries.is_empty() {
        return Err(format!("{}: nothing in it", arguments.report.display()));
    }
    print!("{}", picture(&stored.summaries, arguments.what));
    Ok(true)
}

fn picture(summaries: &[Summary], what: Measure) -> String {
    let frame = Frame::new(summaries, what);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"14\">{}</text>\n",
        what.title()
    );
    frame.draw(&mut svg);
    let mut servers: Vec<&str> = Vec::new();
    for summary in summaries {
        if !servers.contains(&summary.server.as_str()) {
            servers.push(&summary.server);
        }
    }
    let mut labels: Vec<f64> = Vec::new();
    for (server, colour) in servers.iter().zip(COLOURS.iter().cycle()) {
        let of_server = |each: &&Summary| each.server == *server;
        let mut mine: Vec<_> = summaries.iter().filter(of_server).collect();
        mine.sort_by_key(|each| receivers(each));
        let points: Vec<_> = mine
            .iter()
            .map(|each| (frame.x(receivers(each)), frame.y(what.of(each))))
            .collect();
        let last = mine.last().map_or(0.0, |each| what.of(each));
        draw_line(&mut svg, colour, &points);
        let (x, mut y) = points.last().copied().unwrap_or((LEFT, BOTTOM));
        while labels.iter().any(|other| (other - y).abs() < LABEL_HEIGHT) {
            y -= 1.0;
        }
        labels.push(y);
        let (x, y) = (x + 10.0, y + 4.0);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{server}: {last:.1}</text>"
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The axes.
struct Frame {
    /// The numbers of receivers that were measured, evenly spaced.
    places: Vec<usize>,
    /// The value at the top.
    top: f64,
}

impl Frame {
    fn new(summaries: &[Summary], what: Measure) -> Self {
        let mut places: Vec<usize> = summaries.iter().map(receivers).collect();
        places.sort_unstable();
        places.dedup();
        let values = summaries.iter().map(|each| what.of(each));
        let top = round_up(values.fold(0.0, f64::max));
        Self { places, top }
    }

    fn x(&self, count: usize) -> f64 {
        let at = self.places.binary_search(&count).unwrap_or_else(|at| at);
        let gaps = (self.places.len() - 1).max(1) as f64;
        LEFT + 20.0 + (RIGHT - LEFT - 40.0) * at as f64 / gaps
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * value / self.top
    }

    fn draw(&self, svg: &mut String) {
        for step in 0..=4 {
            let value = self.top * f64::from(step) / 4.0;
            let (x, y) = (LEFT - 8.0, self.y(value));
            // Writing to a string does not fail.
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ddd\"/>\
                 <text x=\"{x}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                y + 4.0
            );
        }
        for place in &self.places {
            let (x, y) = (self.x(*place), BOTTOM + 18.0);
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{place}</text>"
            );
        }
        let y = BOTTOM + 38.0;
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{y}\">subscribers, in all rooms</text>"
        );
    }
}

fn draw_line(svg: &mut String, colour: &str, points: &[(f64, f64)]) {
    let line: Vec<_> = points
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let line = line.join(" ");
    let _ = writeln!(
        svg,
        "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
    for (x, y) in points {
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
        );
    }
}

fn receivers(summary: &Summary) -> usize {
    summary.rooms * summary.subscribers
}

/// The next number of the kind 1, 2, 4 or 8 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 4.0, 8.0, 10.0];
    let step = steps.iter().find(|step| value <= *step * power);
    step.unwrap_or(&10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, expected) in [(0.3, 0.4), (1.0, 1.0), (17.2, 20.0), (81.0, 100.0)] {
            let found = round_up(value);
            assert!((found - expected).abs() < 1e-9, "{value}: {found}");
        }
    }
}
