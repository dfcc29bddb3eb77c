//! Tests of the log as a whole: events in, bytes of a sink out.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use serde_json::Value;
use tracing::{debug, info, info_span, trace, warn};

use super::*;

#[test]
fn a_text_line_has_level_target_message_and_fields_of_its_spans() {
    let written = logged(LogFormat::Text, LogLevel::Info, || {
        let span = info_span!("shard", shard = 3, late = tracing::field::Empty);
        span.record("late", "x y");
        let _entered = span.enter();
        info!(session = 7u64, reason = ?Some("gone"), "session closed");
        debug!("not shown");
    });

    let line = written.strip_suffix('\n').unwrap();
    let expected = " INFO  bifrons::platform::log::tests: session closed shard=3 \
                    late=\"x y\" session=7 reason=\"Some(\\\"gone\\\")\"";
    assert_eq!(&line[27..], expected);
}

#[test]
fn a_json_line_is_valid_whatever_is_logged() {
    let hostile = "\"}\n\u{0}\u{1b}[31m\u{202e}\\";
    let written = logged(LogFormat::Json, LogLevel::Info, || {
        info!(
            name = hostile,
            ratio = f64::NAN,
            long = "é".repeat(500),
            "hello {hostile}"
        );
    });

    let line: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written.lines().count(), 1);
    assert_eq!(line["name"], hostile);
    assert_eq!(line["message"], format!("hello {hostile}"));
    assert_eq!(line["ratio"], "NaN");
    assert_eq!(line["long"], "é".repeat(128));
    assert_eq!(line["level"], "INFO");
}

#[test]
fn a_call_site_is_held_to_ten_lines_a_second() {
    fn noisy() {
        warn!("bad packet");
    }
    let (written, drops) = run(LogFormat::Json, LogLevel::Trace, || {
        for _ in 0..25 {
            noisy();
        }
        info!("another site");
        for _ in 0..25 {
            trace!("a packet");
        }
    });

    let count = |text: &str| written.lines().filter(|line| line.contains(text)).count();
    assert_eq!(count("bad packet"), 10);
    assert_eq!(count("another site"), 1);
    assert_eq!(count("a packet"), 25);
    assert_eq!(drops.rate, 15);
}

#[test]
fn warnings_of_the_start_are_all_written_unless_the_level_forbids() {
    for (level, expected) in [(LogLevel::Warn, 50), (LogLevel::Error, 0)] {
        let (sinks, written) = kept();
        let (_, log) = start(&settings(LogFormat::Json, level), sinks).unwrap();
        for _ in 0..50 {
            log.warn_at_start("a key \"x\"\n is not known");
        }
        log.finish();

        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), expected);
    }
}

#[test]
fn the_next_line_says_how_many_were_suppressed() {
    let site = tracing::callsite::Identifier(site_of());
    let (start, mut rate) = (now(), Rate::default());
    let mut at = |millis: u64| rate.admit(site.clone(), start + Duration::from_millis(millis));

    for _ in 0..10 {
        assert_eq!(at(0), Some(0));
    }
    assert_eq!((at(1), at(999)), (None, None));
    assert_eq!((at(1_000), at(1_001)), (Some(2), Some(0)));
}

#[test]
fn a_stuck_sink_drops_lines_and_blocks_nobody() {
    let (release, gate) = channel::<()>();
    let (config, sinks) = (
        settings(LogFormat::Text, LogLevel::Trace),
        Sinks {
            stdout: Some(Box::new(Stuck(Mutex::new(gate)))),
            path: None,
            file: None,
        },
    );
    let (subscriber, log) = start(&config, sinks).unwrap();

    tracing::subscriber::with_default(subscriber, || {
        for number in 0..QUEUE_LINES + 100 {
            trace!(number, "line");
        }
    });

    // One line more than the queue holds may be in the hands of the sink.
    let dropped = log.drops().queue_full;
    assert!((99..=100).contains(&dropped), "{dropped}");
    drop::<Sender<()>>(release);
    log.finish();
}

#[test]
fn a_sink_that_fails_is_counted() {
    let sinks = Sinks {
        stdout: Some(Box::new(Broken)),
        path: None,
        file: None,
    };
    let config = settings(LogFormat::Text, LogLevel::Info);
    let (subscriber, log) = start(&config, sinks).unwrap();
    tracing::subscriber::with_default(subscriber, || info!("lost"));
    let shared = Arc::clone(&log.shared);

    log.finish();

    assert_eq!(shared.sink.load(Relaxed), 1);
}

#[test]
fn the_file_is_opened_again_when_asked() {
    let folder = std::env::temp_dir().join(format!("bifrons-log-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (path, moved) = (folder.join("log"), folder.join("log.1"));
    let mut sinks = Sinks {
        stdout: None,
        path: Some(path.clone()),
        file: None,
    };
    sinks.open().unwrap();
    let (subscriber, log) = start(&settings(LogFormat::Text, LogLevel::Info), sinks).unwrap();
    let shared = Arc::clone(&log.shared);

    tracing::subscriber::with_default(subscriber, || {
        info!("before");
        wait_until(|| std::fs::read_to_string(&path).is_ok_and(|text| text.contains("before")));
        std::fs::rename(&path, &moved).unwrap();
        log.reopen();
        wait_until(|| !shared.reopen.load(Relaxed) && path.exists());
        info!("after");
    });
    log.finish();
    let (old, new) = (
        std::fs::read_to_string(&moved),
        std::fs::read_to_string(&path),
    );
    std::fs::remove_dir_all(&folder).unwrap();

    assert!(old.is_ok_and(|text| text.contains("before") && !text.contains("after")));
    assert!(new.is_ok_and(|text| text.contains("after")));
}

fn logged(format: LogFormat, level: LogLevel, body: impl FnOnce()) -> String {
    run(format, level, body).0
}

fn run(format: LogFormat, level: LogLevel, body: impl FnOnce()) -> (String, LogDrops) {
    let (sinks, written) = kept();
    let (subscriber, log) = start(&settings(format, level), sinks).unwrap();
    tracing::subscriber::with_default(subscriber, body);
    let drops = log.drops();
    log.finish();
    let bytes = written.lock().unwrap().clone();
    (String::from_utf8(bytes).unwrap(), drops)
}

fn kept() -> (Sinks, Arc<Mutex<Vec<u8>>>) {
    let written = Arc::new(Mutex::new(Vec::new()));
    let sinks = Sinks {
        stdout: Some(Box::new(Kept(Arc::clone(&written)))),
        path: None,
        file: None,
    };
    (sinks, written)
}

fn settings(format: LogFormat, level: LogLevel) -> LogConfig {
    LogConfig {
        level,
        format,
        ..LogConfig::default()
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("the log thread did not get there within two seconds");
}

#[expect(clippy::disallowed_methods, reason = "the origin of a made-up time")]
fn now() -> Instant {
    Instant::now()
}

fn site_of() -> &'static dyn tracing::Callsite {
    struct Nowhere;
    impl tracing::Callsite for Nowhere {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}
        fn metadata(&self) -> &tracing::Metadata<'_> {
            unreachable!("only its address is used")
        }
    }
    static NOWHERE: Nowhere = Nowhere;
    &NOWHERE
}

/// Keeps what is written.
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes nothing until the other end of its channel is gone.
struct Stuck(Mutex<Receiver<()>>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.lock().unwrap().recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Refuses everything, as a closed pipe does.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
