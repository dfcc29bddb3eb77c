//! Log lines from event loops to standard output or a file, by way of one thread.
//!
//! Invariant: logging never blocks. A line goes into a bounded queue or is dropped and counted,
//! whatever the sink does.

mod line;
mod rate;

use std::cell::RefCell;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::{Layer, Registry};

use self::line::Fields;
use self::rate::Rate;
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::metrics::names::LogDrops;

/// Lines that wait for the sink; at 200 bytes a line less than a megabyte.
const QUEUE_LINES: usize = 4_096;
/// How long the end of the process waits for the sink.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts logging for the whole process.
///
/// # Errors
///
/// When the log file cannot be opened, the thread cannot be started, or logging was started
/// before.
pub fn init(config: &LogConfig) -> io::Result<Log> {
    let mut sinks = Sinks {
        stdout: config
            .to_stdout
            .then(|| Box::new(io::stdout()) as Box<dyn Write + Send>),
        path: config.to_file.clone(),
        file: None,
    };
    sinks.open()?;
    let (subscriber, log) = start(config, sinks)?;
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    Ok(log)
}

/// The running log.
#[derive(Debug)]
pub struct Log {
    level: LogLevel,
    format: LogFormat,
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
    done: Receiver<()>,
    switch: LevelSwitch,
}

impl Log {
    /// Logs a warning of the start or of a reload: all of them come from one place, so that none may be held to
    /// the rate of a call site. Waits for room, so that it is not for event loops.
    pub fn warn_at_start(&self, warning: &str) {
        if self.level >= LogLevel::Warn {
            let _ = self
                .queue
                .send(Message::Line(stamped(warning, self.format)));
        }
    }

    /// Opens the log file again, after somebody has moved it away.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Relaxed);
        // A full queue wakes the thread by itself.
        let _ = self.queue.try_send(Message::Wake);
    }

    /// Returns how many lines were not written since the start.
    pub fn drops(&self) -> LogDrops {
        self.drop_counts().read()
    }

    /// Returns the counts themselves, for another thread to read.
    pub fn drop_counts(&self) -> DropCounts {
        DropCounts(Arc::clone(&self.shared))
    }

    /// Returns what changes the level, for another thread to use.
    pub fn level_switch(&self) -> LevelSwitch {
        self.switch.clone()
    }

    /// Waits until what was logged is written, but not for a sink that is stuck.
    pub fn finish(&self) {
        self.shared.finish.store(true, Relaxed);
        let _ = self.queue.try_send(Message::Wake);
        let _ = self.done.recv_timeout(FINISH_TIMEOUT);
    }
}

/// Changes from which level on lines are written.
#[derive(Clone, Debug)]
pub struct LevelSwitch(reload::Handle<Targets, Registry>);

impl LevelSwitch {
    /// Changes it for the whole process.
    pub fn set(&self, level: LogLevel) {
        // Fails only when logging has ended.
        let _ = self.0.reload(targets(level));
    }
}

/// How many lines were not written, seen from any thread.
#[derive(Clone, Debug)]
pub struct DropCounts(Arc<Shared>);

impl DropCounts {
    /// Returns the counts since the start.
    pub fn read(&self) -> LogDrops {
        let Shared {
            queue_full,
            rate,
            sink,
            ..
        } = &*self.0;
        LogDrops {
            queue_full: queue_full.load(Relaxed),
            rate: rate.load(Relaxed),
            sink: sink.load(Relaxed),
        }
    }
}

#[derive(Debug)]
enum Message {
    Line(String),
    Wake,
}

/// What event loops and the thread tell each other beside the lines.
#[derive(Debug, Default)]
struct Shared {
    finish: AtomicBool,
    reopen: AtomicBool,
    queue_full: AtomicU64,
    rate: AtomicU64,
    sink: AtomicU64,
}

fn start(
    config: &LogConfig,
    sinks: Sinks,
) -> io::Result<(impl Subscriber + Send + Sync + use<>, Log)> {
    let shared = Arc::new(Shared::default());
    let (queue, lines) = sync_channel(QUEUE_LINES);
    let (done_sender, done) = sync_channel(1);
    let mut drain = Drain {
        shared: Arc::clone(&shared),
        lines,
        sinks,
        format: config.format,
        drops_told: 0,
    };
    let body = move || {
        drain.run();
        let _ = done_sender.try_send(());
    };
    std::thread::Builder::new()
        .name("bifrons-log".to_owned())
        .spawn(body)?;
    let layer = Lines {
        shared: Arc::clone(&shared),
        queue: queue.clone(),
        format: config.format,
    };
    let (filter, switch) = reload::Layer::new(targets(config.level));
    let subscriber = Registry::default().with(filter).with(layer);
    let log = Log {
        level: config.level,
        format: config.format,
        shared,
        queue,
        done,
        switch: LevelSwitch(switch),
    };
    Ok((subscriber, log))
}

/// Libraries speak one level softer, and never of what only they find interesting.
fn targets(level: LogLevel) -> Targets {
    let (ours, others) = match level {
        LogLevel::Off => (LevelFilter::OFF, LevelFilter::OFF),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::ERROR),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    Targets::new()
        .with_default(others)
        .with_target("bifrons", ours)
}

/// Turns events into lines, on the thread that logs.
struct Lines {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
    format: LogFormat,
}

thread_local! {
    static RATE: RefCell<Rate> = RefCell::default();
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::new(self.format);
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "stamps of log lines; nothing else sees them"
    )]
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let admit =
            |rate: &RefCell<Rate>| rate.borrow_mut().admit(metadata.callsite(), Instant::now());
        // A trace is one line a packet, and who switches it on wants them all.
        let admitted = match *metadata.level() {
            Level::TRACE => Some(0),
            // A thread that is ending has no count any more.
            _ => RATE.try_with(admit).unwrap_or(Some(0)),
        };
        let Some(suppressed) = admitted else {
            self.shared.rate.fetch_add(1, Relaxed);
            return;
        };
        let mut spans = Vec::new();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            spans.extend(span.extensions().get::<Fields>().cloned());
        }
        let mut fields = Fields::new(self.format);
        event.record(&mut fields);
        let line = line::line(SystemTime::now(), metadata, &spans, &fields, suppressed);
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.shared.queue_full.fetch_add(1, Relaxed);
        }
    }
}

/// The thread that writes.
struct Drain {
    shared: Arc<Shared>,
    lines: Receiver<Message>,
    sinks: Sinks,
    format: LogFormat,
    drops_told: u64,
}

impl Drain {
    fn run(&mut self) {
        loop {
            let next = match self.lines.try_recv() {
                Ok(message) => Ok(message),
                Err(TryRecvError::Empty) => {
                    self.sinks.flush();
                    if self.shared.finish.load(Relaxed) {
                        return;
                    }
                    self.lines.recv().map_err(|_| ())
                }
                Err(TryRecvError::Disconnected) => Err(()),
            };
            if self.shared.reopen.swap(false, Relaxed) {
                self.reopen();
            }
            match next {
                Ok(Message::Line(line)) => self.write(&line),
                Ok(Message::Wake) => {}
                Err(()) => return self.sinks.flush(),
            }
            self.tell_drops();
        }
    }

    fn write(&mut self, line: &str) {
        let failed = self.sinks.write(line.as_bytes());
        self.shared.sink.fetch_add(failed, Relaxed);
    }

    fn reopen(&mut self) {
        // The file that is open goes on being written when the new one cannot be had.
        if self.sinks.open().is_err() {
            self.tell("the log file cannot be opened again");
        }
    }

    fn tell_drops(&mut self) {
        let dropped = self.shared.queue_full.load(Relaxed);
        if dropped > self.drops_told {
            self.tell(&format!(
                "{} log lines were dropped",
                dropped - self.drops_told
            ));
            self.drops_told = dropped;
        }
    }

    fn tell(&mut self, message: &str) {
        let line = stamped(message, self.format);
        self.write(&line);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "stamps of log lines; nothing else sees them"
)]
fn stamped(message: &str, format: LogFormat) -> String {
    line::own_line(SystemTime::now(), message, format)
}

/// Where lines end up.
struct Sinks {
    stdout: Option<Box<dyn Write + Send>>,
    path: Option<PathBuf>,
    file: Option<File>,
}

impl Sinks {
    fn open(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.file = Some(open_file(path)?);
        }
        Ok(())
    }

    /// Writes to all sinks; returns how many failed.
    fn write(&mut self, bytes: &[u8]) -> u64 {
        let stdout = self.stdout.as_mut().map(|sink| sink.write_all(bytes));
        let file = self.file.as_mut().map(|sink| sink.write_all(bytes));
        [stdout, file]
            .iter()
            .map(|result| u64::from(matches!(result, Some(Err(_)))))
            .sum()
    }

    fn flush(&mut self) {
        // A sink that does not take lines any more was counted when it was written to.
        let _ = self.stdout.as_mut().map(|sink| sink.flush());
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

/// Appends; readable by the group, so that a log collector need not be root.
fn open_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
mod tests;
