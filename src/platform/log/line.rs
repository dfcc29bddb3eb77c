//! One event as one line: text or JSON, with what came from outside made harmless.
//!
//! Invariant: a line has no control bytes and no marks that reorder text; a value is cut to
//! [`VALUE_BYTES_MAX`].

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};

use crate::base::calendar::civil;
use crate::config::LogFormat;

/// Bytes of one value, before escaping.
const VALUE_BYTES_MAX: usize = 256;
/// Bytes of a message, before escaping. Ours are short; those of libraries hold values.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// The fields of a span or an event, written as they will stand in the line.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    format: LogFormat,
    message: String,
    /// Each begins with its separator.
    fields: String,
}

impl Fields {
    pub(super) fn new(format: LogFormat) -> Self {
        Self {
            format,
            message: String::new(),
            fields: String::new(),
        }
    }

    fn bare(&mut self, field: &str, value: impl fmt::Display) {
        self.name(field);
        let _ = write!(self.fields, "{value}");
    }

    fn name(&mut self, field: &str) {
        let _ = match self.format {
            LogFormat::Json => write!(self.fields, ",\"{field}\":"),
            LogFormat::Text => write!(self.fields, " {field}="),
        };
    }

    fn quoted(&mut self, field: &str, value: &str) {
        if field == "message" {
            self.message = cut(value, MESSAGE_BYTES_MAX).to_owned();
            return;
        }
        self.name(field);
        push_quoted(&mut self.fields, cut(value, VALUE_BYTES_MAX), self.format);
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for the others.
        if value.is_finite() {
            self.bare(field.name(), value);
        } else {
            self.quoted(field.name(), &value.to_string());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.quoted(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded(String::new());
        let _ = write!(text, "{value:?}");
        self.quoted(field.name(), &text.0);
    }
}

/// Formats an event with the fields of the spans around it, outermost first.
pub(super) fn line(
    now: SystemTime,
    metadata: &Metadata<'_>,
    spans: &[Fields],
    event: &Fields,
    suppressed: u64,
) -> String {
    let (level, target) = (level_name(metadata.level()), metadata.target());
    let mut out = begin(now, level, target, &event.message, event.format);
    for fields in spans.iter().chain([event]) {
        out.push_str(&fields.fields);
    }
    let mut last = Fields::new(event.format);
    if suppressed > 0 {
        last.bare("suppressed", suppressed);
    }
    out.push_str(&last.fields);
    end(out, event.format)
}

/// Formats a warning that has no call site.
pub(super) fn own_line(now: SystemTime, message: &str, format: LogFormat) -> String {
    end(begin(now, "WARN", "bifrons", message, format), format)
}

fn begin(now: SystemTime, level: &str, target: &str, message: &str, format: LogFormat) -> String {
    let time = Stamp(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    let mut out = String::with_capacity(256);
    match format {
        LogFormat::Json => {
            let _ = write!(
                out,
                "{{\"time\":\"{time}\",\"level\":\"{level}\",\"target\":"
            );
            push_quoted(&mut out, target, format);
            out.push_str(",\"message\":");
            push_quoted(&mut out, message, format);
        }
        LogFormat::Text => {
            let _ = write!(out, "{time} {level:5} {target}: ");
            push_escaped(&mut out, message, format);
        }
    }
    out
}

fn end(mut out: String, format: LogFormat) -> String {
    out.push_str(match format {
        LogFormat::Json => "}\n",
        LogFormat::Text => "\n",
    });
    out
}

fn level_name(level: &Level) -> &'static str {
    level.as_str()
}

fn push_quoted(out: &mut String, text: &str, format: LogFormat) {
    out.push('"');
    for piece in text.split_inclusive(['"', '\\']) {
        let (plain, special) = match piece.strip_suffix(['"', '\\']) {
            Some(plain) => (plain, piece.chars().next_back()),
            None => (piece, None),
        };
        push_escaped(out, plain, format);
        out.extend(special.into_iter().flat_map(|c| ['\\', c]));
    }
    out.push('"');
}

fn push_escaped(out: &mut String, text: &str, format: LogFormat) {
    for c in text.chars() {
        let _ = match c {
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            c if !is_harmful(c) => out.write_char(c),
            c => match format {
                LogFormat::Json => write!(out, "\\u{:04x}", c as u32),
                LogFormat::Text => write!(out, "\\u{{{:x}}}", c as u32),
            },
        };
    }
}

/// Control characters, and marks that break or reorder what a terminal shows. All are in the
/// basic plane, so that four digits write them.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Takes as much as any value may have, so that a large one is not written out to be cut.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0
            .push_str(cut(text, MESSAGE_BYTES_MAX.saturating_sub(self.0.len())));
        if self.0.len() >= MESSAGE_BYTES_MAX {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// RFC 3339 in UTC, with microseconds.
struct Stamp(Duration);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (year, month, day) = civil((seconds / 86_400).cast_signed());
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        let micros = self.0.subsec_micros();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_right_around_leap_days() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(Stamp(Duration::from_secs(seconds)).to_string(), expected);
        }
    }

    #[test]
    fn harmful_characters_are_escaped_in_both_forms() {
        let hostile = "a\n\u{1b}[2J\u{202e}\"\\\u{7f}\u{9b}é";
        let mut json = String::new();
        push_quoted(&mut json, hostile, LogFormat::Json);
        let mut text = String::new();
        push_quoted(&mut text, hostile, LogFormat::Text);

        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), hostile);
        for shown in [json, text.clone()] {
            assert!(!shown.chars().any(is_harmful), "{shown}");
        }
        assert_eq!(text, r#""a\n\u{1b}[2J\u{202e}\"\\\u{7f}\u{9b}é""#);
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
