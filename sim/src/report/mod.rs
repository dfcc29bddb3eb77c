//! What a person sees of a run: a sequence chart as text, and a timeline as a page.

mod chart;
mod timeline;

pub use chart::chart;
pub use timeline::timeline;

use crate::faults::scenario::Scenario;
use crate::kernel::trace::{Lane, Line};

/// The name of a column.
fn lane_name(lane: Lane, scenario: &Scenario) -> String {
    match lane {
        Lane::Client(index) => match scenario.clients.get(index as usize) {
            Some(plan) => format!("c{index} {}", plan.role.name()),
            None => "probe".to_owned(),
        },
        Lane::Fault => "FAULT".to_owned(),
        Lane::Oracle => "ORACLE".to_owned(),
        Lane::Proxy(index) => format!("proxy {index}"),
        Lane::Shard(index) => format!("shard {index}"),
        Lane::Wire => "wire".to_owned(),
    }
}

/// Joins the portions of bytes that went the same way in one go: a reader wants messages.
fn joined(lines: &[Line]) -> Vec<Line> {
    let mut all: Vec<Line> = Vec::new();
    for line in lines {
        let way = line.text.chars().next();
        if let Some(last) = all.last_mut()
            && last.lane == Lane::Wire
            && line.lane == Lane::Wire
            && last.text.chars().next() == way
            && last.text.len() < 400
        {
            last.text.extend(line.text.chars().skip(2));
        } else {
            all.push(line.clone());
        }
    }
    all
}
