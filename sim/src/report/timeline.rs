//! The timeline: one self-contained page, a lane for each host and each clock.

use super::{joined, lane_name};
use crate::faults::scenario::Scenario;
use crate::kernel::trace::Line;
use crate::oracle::Violation;

const PAGE: &str = include_str!("timeline.html");

/// Makes the page of a run.
pub fn timeline(scenario: &Scenario, lines: &[Line], violation: Option<&Violation>) -> String {
    let start = scenario.clocks.origins;
    let events: Vec<_> = joined(lines)
        .iter()
        .map(|line| {
            let at = line.at.as_nanos() as f64 / 1e9;
            serde_json::json!({
                "t": at,
                "lane": lane_name(line.lane, scenario),
                "text": line.text,
                "mono": line.shown.0.as_secs_f64() - start.monotonic.as_secs_f64() - at,
                "real": line.shown.1 as f64 / 1e6 - start.realtime_secs as f64 - at,
            })
        })
        .collect();
    let data = serde_json::json!({
        "scenario": scenario.to_string(),
        "violation": violation.map(ToString::to_string),
        "events": events,
    });
    // A page must not end its script within a string.
    let data = data.to_string().replace("</", "<\\/");
    PAGE.replace("/*DATA*/null", &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_else() {
        let page = timeline(&Scenario::plain(), &[], None);
        assert!(page.contains("\"scenario\"") && !page.contains("/*DATA*/"));
        for outside in ["http://", "https://", "src=", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
