//! The text form of metrics: OpenMetrics 1.0.

use std::fmt::Write;

use super::Metrics;
use super::set::{Kind, Name, Sample};

/// `Content-Type` of what [`expose`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Units that a metric's name may end with.
const UNITS: [&str; 1] = ["bytes"];

/// Appends the metrics as OpenMetrics text, complete with its end mark.
///
/// Samples carry no time stamp: the time of the scrape is the right one.
pub fn expose(metrics: &Metrics, out: &mut String) {
    out.push_str("# TYPE bifrons_build info\n# HELP bifrons_build The version that runs.\n");
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(out, "bifrons_build_info{{version=\"{version}\"}} 1");
    metrics.visit(&mut |name, samples| {
        write_head(&name, out);
        samples(&mut |sample| write_sample(&name, sample, out));
    });
    out.push_str("# EOF\n");
}

fn write_head(metric: &Name, out: &mut String) {
    let name = metric.name;
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    let _ = writeln!(out, "# TYPE {name} {kind}");
    let ends_with = |unit: &&&str| name.strip_suffix(**unit).is_some_and(|n| n.ends_with('_'));
    if let Some(unit) = UNITS.iter().find(ends_with) {
        let _ = writeln!(out, "# UNIT {name} {unit}");
    }
    let _ = write!(out, "# HELP {name}");
    for line in metric.help {
        write_escaped(line, out);
    }
    out.push('\n');
}

fn write_sample(metric: &Name, sample: Sample, out: &mut String) {
    out.push_str(metric.name);
    match metric.kind {
        Kind::Counter => out.push_str("_total"),
        Kind::Gauge => {}
    }
    if let Some((label, value)) = sample.label {
        let _ = write!(out, "{{{label}=\"");
        write_escaped(value, out);
        out.push_str("\"}");
    }
    let _ = writeln!(out, " {}", sample.number);
}

/// Escapes as the format wants it in help texts and label values.
fn write_escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::base::error::ErrorCode;

    #[test]
    fn the_text_of_an_untouched_shard_follows_the_rules() {
        let families = check(&exposed(&Metrics::default())).unwrap();

        assert!(families > 40, "{families}");
    }

    #[test]
    fn counted_things_are_shown_with_their_labels() {
        let mut metrics = Metrics::default();
        metrics.http_connections_opened += 3;
        metrics.http_polls.keepalive += 2;
        *metrics.gateway_errors.code(ErrorCode::SessionNotFound) += 1;
        *metrics.http_answers.status(204) += 5;
        *metrics.http_malformed_requests.status(418) += 1;
        metrics.gateway_sessions = u64::MAX;

        let text = exposed(&metrics);
        check(&text).unwrap();
        for line in [
            "bifrons_http_connections_opened_total 3",
            "bifrons_http_polls_total{reason=\"keepalive\"} 2",
            "bifrons_gateway_errors_total{code=\"458\"} 1",
            "bifrons_http_answers_total{status=\"2xx\"} 5",
            "bifrons_http_malformed_requests_total{kind=\"other\"} 1",
            "bifrons_gateway_sessions 18446744073709551615",
            "# UNIT bifrons_http_read_bytes bytes",
            "# TYPE bifrons_gateway_sessions gauge",
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn every_error_code_has_a_counter_with_its_number() {
        let mut metrics = Metrics::default();
        *metrics.gateway_errors.code(ErrorCode::NotAcceptingSessions) += 1;
        *metrics.gateway_errors.code(ErrorCode::Unknown) += 1;
        *metrics.gateway_errors.code(ErrorCode::Unauthorized) += 1;

        let text = exposed(&metrics);
        for number in [472, 490, 403] {
            let line = format!("bifrons_gateway_errors_total{{code=\"{number}\"}} 1\n");
            assert!(text.contains(&line), "{line}");
        }
    }

    #[test]
    fn merging_adds_every_number() {
        let mut one = Metrics::default();
        one.http_requests.post = 1;
        one.media_peers = 2;
        let mut two = one.clone();

        two.merge(&one);

        assert_eq!(two.http_requests.post, 2);
        assert_eq!(two.media_peers, 4);
        let mut none = Metrics::default();
        none.merge(&two);
        assert_eq!(none, two);
    }

    #[test]
    fn the_checker_refuses_what_the_format_forbids() {
        let faults = [
            ("# TYPE a counter\na_total 1\n", "no end mark"),
            ("# TYPE a counter\na_total 1\n# EOF", "no end of line"),
            (
                "# TYPE a counter\na 1\n# EOF\n",
                "counter without its suffix",
            ),
            (
                "# TYPE a_total counter\na_total_total 1\n# EOF\n",
                "suffix in the name",
            ),
            ("# TYPE a gauge\na_total 1\n# EOF\n", "gauge with a suffix"),
            ("# TYPE a counter\na_total -1\n# EOF\n", "negative counter"),
            (
                "# TYPE a counter\na_total 1\na_total 2\n# EOF\n",
                "sample twice",
            ),
            (
                "# TYPE a gauge\n# TYPE b gauge\nb 1\na 1\n# EOF\n",
                "families interleaved",
            ),
            (
                "# TYPE a gauge\na 1\n# TYPE a gauge\n# EOF\n",
                "family twice",
            ),
            (
                "# TYPE a gauge\n# UNIT a bytes\na 1\n# EOF\n",
                "unit not in the name",
            ),
            (
                "# TYPE a gauge\na 1\n# HELP a late\n# EOF\n",
                "help after a sample",
            ),
            ("# TYPE a gauge\n\na 1\n# EOF\n", "empty line"),
            (
                "# TYPE a gauge\na{x=\"\n\"} 1\n# EOF\n",
                "line break in a label",
            ),
            ("# TYPE a gauge\na{x=\"y} 1\n# EOF\n", "label without end"),
            ("# TYPE a gauge\na  1\n# EOF\n", "two blanks"),
            ("# TYPE a-b gauge\na-b 1\n# EOF\n", "name with a dash"),
            ("b 1\n# EOF\n", "sample without a family"),
            ("# EOF\n# TYPE a gauge\n# EOF\n", "text after the end"),
        ];
        for (text, why) in faults {
            assert!(check(text).is_err(), "{why}");
        }
        let good = "# TYPE a counter\n# HELP a One \\\"thing\\\".\na_total{x=\"y\"} 1\n# EOF\n";
        assert_eq!(check(good), Ok(1));
    }

    fn exposed(metrics: &Metrics) -> String {
        let mut text = String::new();
        expose(metrics, &mut text);
        text
    }

    /// The part of the current family that has been read.
    #[derive(Default)]
    struct Reading {
        name: String,
        kind: String,
        has_samples: bool,
    }

    /// A strict reader of the subset of OpenMetrics that is written here. Returns how many
    /// families there are.
    fn check(text: &str) -> Result<usize, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("no end mark")?;
        let mut families = BTreeSet::new();
        let mut samples = BTreeMap::new();
        let mut now = Reading::default();
        for line in body.split_terminator('\n') {
            if let Some(meta) = line.strip_prefix("# ") {
                check_meta(meta, &mut now, &mut families)?;
            } else {
                let (series, number) = check_sample(line, &now)?;
                now.has_samples = true;
                if samples.insert(series.clone(), number).is_some() {
                    return Err(format!("{series} twice"));
                }
            }
        }
        Ok(families.len())
    }

    fn check_meta(
        meta: &str,
        now: &mut Reading,
        families: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let mut words = meta.splitn(3, ' ');
        let (what, name, rest) = (words.next(), words.next(), words.next());
        let (Some(what), Some(name), Some(rest)) = (what, name, rest) else {
            return Err(format!("incomplete: {meta}"));
        };
        check_name(name)?;
        if what == "TYPE" {
            if name.ends_with("_total") || name.ends_with("_info") {
                return Err(format!("suffix in {name}"));
            }
            if !families.insert(name.to_owned()) {
                return Err(format!("{name} twice"));
            }
            *now = Reading {
                name: name.to_owned(),
                kind: rest.to_owned(),
                has_samples: false,
            };
            return match rest {
                "counter" | "gauge" | "info" => Ok(()),
                other => Err(format!("type {other}")),
            };
        }
        if name != now.name || now.has_samples {
            return Err(format!("{what} of {name} is not with its family"));
        }
        match what {
            "UNIT" if name.ends_with(&format!("_{rest}")) => Ok(()),
            "HELP" => check_escapes(rest),
            _ => Err(format!("unknown or wrong: {meta}")),
        }
    }

    fn check_sample(line: &str, now: &Reading) -> Result<(String, f64), String> {
        let (series, number) = line.rsplit_once(' ').ok_or(format!("no number: {line}"))?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').ok_or("no }")?),
            None => (series, ""),
        };
        check_name(name)?;
        let suffix = match now.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        if name != format!("{}{suffix}", now.name) {
            return Err(format!("{name} is not of the family {}", now.name));
        }
        if !labels.is_empty() {
            let (label, value) = labels.split_once('=').ok_or("no =")?;
            check_name(label)?;
            let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            check_escapes(inner.ok_or(format!("no quotes: {line}"))?)?;
        }
        let number: f64 = number.parse().map_err(|_| format!("no number: {line}"))?;
        if suffix == "_total" && (number < 0.0 || number.is_nan()) {
            return Err(format!("a counter of {number}"));
        }
        Ok((series.to_owned(), number))
    }

    fn check_name(name: &str) -> Result<(), String> {
        let good = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !name.contains("__");
        good.then_some(()).ok_or(format!("bad name: {name}"))
    }

    fn check_escapes(text: &str) -> Result<(), String> {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let escaped = c == '\\' && matches!(chars.next(), Some('\\' | '"' | 'n'));
            if matches!(c, '"' | '\\') && !escaped {
                return Err(format!("not escaped: {text}"));
            }
        }
        Ok(())
    }
}
