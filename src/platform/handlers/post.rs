//! The event handler that posts reports to an HTTP server, on a thread of its own.
//!
//! Invariant: shards never wait for it. Reports wait in one bounded queue, in order; a batch leaves
//! it for good when the server took it, and is sent again until then. What finds the queue full is
//! dropped and counted by whoever has it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use flate2::Compression;
use flate2::write::GzEncoder;
use tracing::{info, warn};

use crate::config::{Backend, PostConfig};
use crate::gateway::reports::Report;

/// Reports that wait for the server. At half a kilobyte each, 16 MiB; at the rate of a busy host,
/// some minutes of an outage.
const SPOOL_REPORTS: usize = 32_768;
/// Reports in one request.
const GROUP_MAX: usize = 100;
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long the server may take for a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of the process waits for what is left.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);
/// The head of an answer that is worth reading.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// The running handler.
#[derive(Debug)]
pub(super) struct Handler {
    /// Dropped to say that what is left is all there will be.
    stop: Sender<()>,
    done: Receiver<()>,
}

/// Starts the handler. Its queue is for the shards; it ends when all of them dropped theirs.
///
/// # Errors
///
/// When there can be no thread.
pub(super) fn start(config: &PostConfig) -> io::Result<Option<(SyncSender<Report>, Handler)>> {
    let Some(backend) = config.backend.clone().filter(|_| config.enabled) else {
        return Ok(None);
    };
    let (queue, reports) = sync_channel(SPOOL_REPORTS);
    let (stop, stopped) = channel();
    let (done_sender, done) = channel();
    let poster = Poster::new(backend, config.clone());
    std::thread::Builder::new()
        .name("bifrons-events".to_owned())
        .spawn(move || {
            poster.run(&reports, &stopped);
            // Nobody waits any more when the process gave up.
            let _ = done_sender.send(());
        })?;
    Ok(Some((queue, Handler { stop, done })))
}

impl Handler {
    /// Waits until what was reported is delivered, but not for long.
    pub(super) fn finish(self) {
        drop(self.stop);
        if self.done.recv_timeout(FINISH_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            warn!("the event collector did not take the last reports in time");
        }
    }
}

/// Why a request did not succeed.
#[derive(Debug)]
enum Failure {
    Io(io::Error),
    Status(u16),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Poster {
    backend: Backend,
    /// All of a request's head up to the length of its body.
    head: String,
    config: PostConfig,
}

impl Poster {
    fn new(backend: Backend, config: PostConfig) -> Self {
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nContent-Type: application/json\r\n\
             Connection: close\r\n",
            backend.path,
            backend.authority()
        );
        if let Some(user) = &config.user {
            let password = config
                .password
                .as_ref()
                .map_or("", |secret| secret.expose());
            let both = Base64::encode_string(format!("{user}:{password}").as_bytes());
            head.push_str(&format!("Authorization: Basic {both}\r\n"));
        }
        if config.compress {
            head.push_str("Content-Encoding: gzip\r\n");
        }
        Self {
            backend,
            head,
            config,
        }
    }

    fn run(&self, reports: &Receiver<Report>, stopped: &Receiver<()>) {
        while let Ok(first) = reports.recv() {
            let mut batch = vec![first];
            if self.config.grouping {
                batch.extend(reports.try_iter().take(GROUP_MAX - 1));
            }
            if !self.deliver(&batch, stopped) {
                let lost = batch.len() + reports.try_iter().count();
                warn!(lost, "the event collector was not there at the end");
                return;
            }
        }
    }

    /// Sends a batch until it is taken. `false` when the process ends before.
    fn deliver(&self, batch: &[Report], stopped: &Receiver<()>) -> bool {
        let body = self.body(batch);
        let mut pause = self.config.backoff;
        let mut failed = false;
        let mut is_last = false;
        loop {
            match self.post(&body) {
                Ok(()) => {
                    if failed {
                        info!("the event collector takes reports again");
                    }
                    return true;
                }
                Err(why) if !failed => {
                    failed = true;
                    warn!(%why, "the event collector does not take reports, trying again");
                }
                Err(_) => {}
            }
            if is_last {
                return false;
            }
            // The end of the process cuts a pause short: the server may be back since.
            is_last = stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn body(&self, batch: &[Report]) -> Vec<u8> {
        let mut text = String::new();
        if self.config.grouping {
            text.push('[');
        }
        for (place, report) in batch.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            text.push_str(&report.text);
        }
        if self.config.grouping {
            text.push(']');
        }
        if !self.config.compress {
            return text.into_bytes();
        }
        let level = Compression::new(self.config.compression.into());
        let mut encoder = GzEncoder::new(Vec::new(), level);
        encoder
            .write_all(text.as_bytes())
            .and_then(|()| encoder.finish())
            .expect("writing to memory does not fail")
    }

    /// Makes one request on a connection of its own. An answer that blames the request is as good
    /// as a success: sent again, it would be blamed again.
    fn post(&self, body: &[u8]) -> Result<(), Failure> {
        let until = now() + REQUEST_TIMEOUT;
        let mut stream = self.connect(until)?;
        let head = format!("{}Content-Length: {}\r\n\r\n", self.head, body.len());
        stream.set_write_timeout(Some(left(until)?))?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        match read_status(&mut stream, until)? {
            status @ (408 | 429 | 500..) => Err(Failure::Status(status)),
            status @ 300..=499 => {
                warn!(status, "the event collector refuses reports");
                Ok(())
            }
            0..=299 => Ok(()),
        }
    }

    fn connect(&self, until: Instant) -> io::Result<TcpStream> {
        let name = (self.backend.host.as_str(), self.backend.port);
        let mut outcome = Err(io::Error::other("the name has no address"));
        for address in name.to_socket_addrs()? {
            outcome = TcpStream::connect_timeout(&address, left(until)?);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

/// Reads an answer's head, and returns the status of the last one that is not interim.
fn read_status(stream: &mut TcpStream, until: Instant) -> io::Result<u16> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "that is not HTTP");
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = std::str::from_utf8(&bytes[..end]).map_err(|_| malformed())?;
            let status = head
                .strip_prefix("HTTP/1.")
                .and_then(|rest| rest.get(2..5)?.parse().ok());
            let status: u16 = status.ok_or_else(malformed)?;
            if status >= 200 {
                return Ok(status);
            }
            bytes.drain(..end + 4);
            continue;
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(malformed());
        }
        stream.set_read_timeout(Some(left(until)?))?;
        let mut piece = [0; 1_024];
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this thread has a clock of its own"
)]
fn now() -> Instant {
    Instant::now()
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::config::{ReportKind, Secret};

    /// A collector that answers each request with the next of `statuses`, and the head and body of
    /// every request that it got. A status of zero closes the connection without an answer.
    fn collect(listener: TcpListener, statuses: &[u16]) -> Vec<(String, Vec<u8>)> {
        let answer = |status: &u16| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            let mut piece = [0; 4_096];
            loop {
                let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
                if let Some(end) = end {
                    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
                    let length = head.split("Content-Length: ").nth(1).unwrap();
                    let length: usize = length.lines().next().unwrap().parse().unwrap();
                    if bytes.len() == end + 4 + length {
                        if *status > 0 {
                            let text = format!(
                                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 {status} X\r\n\
                                 Content-Length: 0\r\n\r\n"
                            );
                            stream.write_all(text.as_bytes()).unwrap();
                        }
                        return (head, bytes.split_off(end + 4));
                    }
                }
                let count = stream.read(&mut piece).unwrap();
                bytes.extend_from_slice(&piece[..count]);
            }
        };
        statuses.iter().map(answer).collect()
    }

    fn reports(range: std::ops::Range<usize>) -> Vec<Report> {
        range
            .map(|number| Report {
                kind: ReportKind::Sessions,
                text: format!("{{\"n\":{number}}}").into(),
            })
            .collect()
    }

    fn numbers(body: &[u8]) -> Vec<u64> {
        let value: serde_json::Value = serde_json::from_slice(body).unwrap();
        let list = value.as_array().cloned().unwrap_or_else(|| vec![value]);
        list.iter().map(|one| one["n"].as_u64().unwrap()).collect()
    }

    /// Posts reports to a collector that answers as told, and returns its requests.
    fn run(config: PostConfig, count: usize, statuses: &[u16]) -> Vec<(String, Vec<u8>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = PostConfig {
            enabled: true,
            backend: Backend::parse(&format!("http://127.0.0.1:{port}/in?x=1")),
            backoff: Duration::from_millis(1),
            ..config
        };
        let (queue, handler) = start(&config).unwrap().unwrap();
        for report in reports(0..count) {
            queue.try_send(report).unwrap();
        }
        drop(queue);
        let got = collect(listener, statuses);
        handler.finish();
        got
    }

    #[test]
    fn what_is_not_taken_is_sent_again_in_order_and_nothing_is_lost() {
        let config = PostConfig {
            grouping: false,
            ..PostConfig::default()
        };
        let got = run(config, 4, &[500, 0, 503, 429, 200, 200, 200, 200]);
        let bodies: Vec<_> = got.iter().map(|(_, body)| numbers(body)).collect();
        assert_eq!(bodies, [[0], [0], [0], [0], [0], [1], [2], [3]]);
    }

    #[test]
    fn a_group_is_one_array() {
        let backend = Backend::parse("http://127.0.0.1:9/").unwrap();
        let poster = Poster::new(backend, PostConfig::default());
        assert_eq!(numbers(&poster.body(&reports(0..3))), [0, 1, 2]);
        assert_eq!(poster.body(&reports(7..8)), b"[{\"n\":7}]");
    }

    #[test]
    fn what_blames_the_request_is_not_sent_again() {
        let config = PostConfig {
            grouping: false,
            ..PostConfig::default()
        };
        let got = run(config, 3, &[404, 400, 200]);
        let bodies: Vec<_> = got.iter().map(|(_, body)| numbers(body)).collect();
        assert_eq!(bodies, [[0], [1], [2]]);
    }

    #[test]
    fn credentials_and_gzip_are_in_the_head() {
        let config = PostConfig {
            user: Some("Aladdin".to_owned()),
            password: Some(Secret::new("open sesame")),
            compress: true,
            grouping: false,
            ..PostConfig::default()
        };
        let got = run(config, 1, &[200]);
        let (head, body) = &got[0];
        assert!(
            head.starts_with("POST /in?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"),
            "{head}"
        );
        assert!(
            head.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nContent-Encoding: gzip\r\n"), "{head}");
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&body[..])
            .read_to_end(&mut text)
            .unwrap();
        assert_eq!(numbers(&text), [0]);
    }

    #[test]
    fn a_collector_that_is_down_holds_up_nobody_for_long() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let config = PostConfig {
            enabled: true,
            backend: Backend::parse(&format!("http://127.0.0.1:{port}/")),
            ..PostConfig::default()
        };
        let (queue, handler) = start(&config).unwrap().unwrap();
        for report in reports(0..SPOOL_REPORTS) {
            queue.try_send(report).unwrap();
        }
        let refused = reports(0..200)
            .into_iter()
            .filter(|report| queue.try_send(report.clone()).is_err());
        assert!(refused.count() >= 200 - GROUP_MAX, "the spool is bounded");
        drop(queue);
        let begun = now();
        handler.finish();
        assert!(
            now() - begun < FINISH_TIMEOUT,
            "it gave up before it had to"
        );
    }
}
