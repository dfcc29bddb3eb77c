//! Handlers against collectors that fail in every way, over real sockets.
#![expect(
    clippy::disallowed_methods,
    reason = "the collectors are threads of their own, and waited for"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use super::*;
use crate::base::limits::Limits;
use crate::base::outbuf::OutBuf;
use crate::config::{Backend, PostConfig, ReportKind, ReportMask, Secret, SocketConfig};
use crate::gateway::tweaks::HandlerSettings;
use crate::wire::http::HeadReader;
use crate::wire::tls::{Identity, Tls};
use crate::wire::ws::frame::ServerHeader;
use crate::wire::ws::{Bounds, Incoming, Opcode, Reader, handshake};

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/cert.pem");
const PATIENCE: Duration = Duration::from_secs(10);

fn reports(range: Range<usize>) -> Vec<Report> {
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

/// A collector's end of a connection.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// The server's side of TLS, over a socket that waits.
struct Secure {
    stream: TcpStream,
    tls: Tls,
    plain: Vec<u8>,
}

impl Secure {
    fn new(stream: TcpStream) -> Self {
        let key = include_str!("../../../tests/fixtures/tls/key.pem");
        let chain = fs::read_to_string(CERTIFICATE).unwrap();
        let tls = Tls::new(&Identity::from_pem(&chain, key).unwrap());
        let plain = Vec::new();
        Self { stream, tls, plain }
    }
}

impl Read for Secure {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.plain.is_empty() {
            let mut piece = [0; 4_096];
            let count = self.stream.read(&mut piece)?;
            let heard = self.tls.receive(&piece[..count], &mut self.plain);
            self.flush()?;
            heard.map_err(|_| io::Error::other("not TLS"))?;
            if count == 0 {
                return Ok(0);
            }
        }
        let count = into.len().min(self.plain.len());
        into[..count].copy_from_slice(&self.plain[..count]);
        self.plain.drain(..count);
        Ok(count)
    }
}

impl Write for Secure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tls.send(bytes);
        self.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut out = OutBuf::new(1 << 20);
        self.tls.take_output(&mut out).unwrap();
        self.stream.write_all(out.pending())
    }
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Waits for something, but not for ever.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(2));
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let (stream, _) = wait_for("a connection", || listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads the head and the body of one request; `None` at the end of the connection.
fn request(stream: &mut dyn Stream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.split("Content-Length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if bytes.len() == end + 4 + length {
                return Some((head, bytes.split_off(end + 4)));
            }
        }
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            Ok(_) | Err(_) => return None,
        }
    }
}

fn answer(stream: &mut dyn Stream, status: u16) {
    let text =
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
    stream.write_all(text.as_bytes()).unwrap();
}

/// A collector that answers each request, on a connection of its own, with the next of `statuses`.
/// A status of zero closes the connection without an answer.
fn collect(listener: TcpListener, statuses: &[u16]) -> JoinHandle<Vec<(String, Vec<u8>)>> {
    let statuses = statuses.to_vec();
    thread::spawn(move || {
        let serve = |status: u16| {
            loop {
                let mut stream = accept(&listener);
                // A connection may have been opened for a request that went to the one before.
                let Some(got) = request(&mut stream) else {
                    continue;
                };
                if status > 0 {
                    answer(&mut stream, status);
                }
                return got;
            }
        };
        statuses.into_iter().map(serve).collect()
    })
}

fn post(config: PostConfig, url: &str) -> EventsConfig {
    let post = PostConfig {
        enabled: true,
        backend: Backend::parse(url),
        backoff: Duration::from_millis(1),
        ..config
    };
    events(post, SocketConfig::default())
}

fn socket(config: SocketConfig, url: &str) -> EventsConfig {
    let ws = SocketConfig {
        enabled: true,
        backend: Backend::parse(url),
        backoff: Duration::from_millis(10),
        ..config
    };
    events(PostConfig::default(), ws)
}

fn events(post: PostConfig, ws: SocketConfig) -> EventsConfig {
    EventsConfig {
        enabled: true,
        ca_pem: Some(PathBuf::from(CERTIFICATE)),
        post,
        ws,
        ..EventsConfig::default()
    }
}

/// Starts handlers, and offers reports to all of them.
fn tell(config: &EventsConfig, count: usize) -> Handlers {
    let (outlets, handlers) = start(config).unwrap();
    for report in reports(0..count) {
        assert!(outlets.iter().all(|outlet| outlet.offer(&report)));
    }
    handlers
}

fn single() -> PostConfig {
    PostConfig {
        grouping: false,
        ..PostConfig::default()
    }
}

/// Posts reports to a collector that answers as told, and returns its requests and the counts.
fn run(
    config: PostConfig,
    count: usize,
    statuses: &[u16],
) -> (Vec<(String, Vec<u8>)>, HandlerCounts) {
    let (listener, port) = listen();
    let handlers = tell(
        &post(config, &format!("http://127.0.0.1:{port}/in?x=1")),
        count,
    );
    let tallies = handlers.tallies();
    let got = collect(listener, statuses).join().unwrap();
    handlers.finish();
    (got, tallies.read())
}

#[test]
fn what_is_not_taken_is_posted_again_in_order_and_nothing_is_lost() {
    let (got, counts) = run(single(), 4, &[500, 0, 503, 429, 200, 200, 200, 200]);
    let bodies: Vec<_> = got.iter().map(|(_, body)| numbers(body)).collect();
    assert_eq!(bodies, [[0], [0], [0], [0], [0], [1], [2], [3]]);
    assert_eq!((counts.delivered.post, counts.refused), (4, 0));
    assert!(counts.failed.post >= 4, "{counts:?}");
}

#[test]
fn what_blames_the_request_is_not_sent_again_and_counted() {
    let (got, counts) = run(single(), 3, &[404, 400, 200]);
    let bodies: Vec<_> = got.iter().map(|(_, body)| numbers(body)).collect();
    assert_eq!(bodies, [[0], [1], [2]]);
    assert_eq!((counts.delivered.post, counts.refused), (1, 2));
}

#[test]
fn a_connection_is_used_for_as_many_requests_as_the_collector_likes() {
    let (listener, port) = listen();
    let handlers = tell(&post(single(), &format!("http://127.0.0.1:{port}/")), 4);
    let mut got = Vec::new();
    for requests in [3, 1] {
        let mut stream = accept(&listener);
        for _ in 0..requests {
            let (_, body) = request(&mut stream).unwrap();
            got.extend(numbers(&body));
            answer(&mut stream, 200);
        }
    }
    handlers.finish();
    assert_eq!(got, [0, 1, 2, 3]);
}

#[test]
fn a_group_is_one_array_of_a_hundred_at_most() {
    let (listener, port) = listen();
    let config = post(PostConfig::default(), &format!("http://127.0.0.1:{port}/"));
    let handlers = tell(&config, 1);
    let mut stream = accept(&listener);
    assert_eq!(numbers(&request(&mut stream).unwrap().1), [0]);
    answer(&mut stream, 200);
    handlers.finish();

    let (listener, port) = listen();
    let config = post(PostConfig::default(), &format!("http://127.0.0.1:{port}/"));
    let handlers = tell(&config, 250);
    let mut stream = accept(&listener);
    let mut sizes = Vec::new();
    let mut got = Vec::new();
    while got.len() < 250 {
        let some = numbers(&request(&mut stream).unwrap().1);
        sizes.push(some.len());
        got.extend(some);
        answer(&mut stream, 200);
    }
    handlers.finish();
    assert!(got.into_iter().eq(0..250), "in order");
    assert!(sizes.len() < 10 && sizes.contains(&100), "{sizes:?}");
    assert!(sizes.iter().all(|&size| size <= 100), "{sizes:?}");
}

#[test]
fn credentials_and_gzip_are_in_the_head() {
    let config = PostConfig {
        user: Some("Aladdin".to_owned()),
        password: Some(Secret::new("open sesame")),
        compress: true,
        ..single()
    };
    let (got, _) = run(config, 1, &[200]);
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
fn https_is_spoken_to_a_collector_that_is_trusted() {
    let (listener, port) = listen();
    let config = post(single(), &format!("https://127.0.0.1:{port}/"));
    let handlers = tell(&config, 2);
    let mut stream = Secure::new(accept(&listener));
    for number in 0..2 {
        let (_, body) = request(&mut stream).unwrap();
        assert_eq!(numbers(&body), [number]);
        answer(&mut stream, 200);
    }
    handlers.finish();
}

#[test]
fn a_collector_with_a_certificate_of_another_name_is_told_nothing() {
    let (listener, port) = listen();
    // The certificate is good for 127.0.0.1.
    let handlers = tell(&post(single(), &format!("https://localhost:{port}/")), 1);
    for _ in 0..2 {
        let mut stream = Secure::new(accept(&listener));
        assert_eq!(request(&mut stream), None);
    }
    assert_eq!(handlers.tallies().read().delivered.post, 0);
    handlers.finish();
}

#[test]
fn without_authorities_nothing_starts() {
    let mut config = post(single(), "https://127.0.0.1:9/");
    config.ca_pem = Some(PathBuf::from("/nonexistent"));
    let trouble = start(&config).unwrap_err().to_string();
    assert!(
        trouble.starts_with("events.ca_pem: /nonexistent: "),
        "{trouble}"
    );
}

#[test]
fn a_collector_that_is_down_holds_up_nobody_for_long() {
    let (listener, port) = listen();
    drop(listener);
    let config = post(PostConfig::default(), &format!("http://127.0.0.1:{port}/"));
    let (outlets, handlers) = start(&config).unwrap();
    for report in reports(0..spool::SPOOL_REPORTS) {
        assert!(outlets[0].offer(&report));
    }
    let refused = reports(0..200);
    let refused = refused.iter().filter(|report| !outlets[0].offer(report));
    assert!(
        refused.count() >= 200 - post::GROUP_MAX,
        "the spool is bounded"
    );
    drop(outlets);
    let begun = now();
    handlers.finish();
    assert!(
        now() - begun < FINISH_TIMEOUT,
        "it gave up before it had to"
    );
}

#[test]
fn the_spool_is_bounded_in_bytes_and_room_comes_back() {
    let (listener, port) = listen();
    let config = post(single(), &format!("http://127.0.0.1:{port}/"));
    let (outlets, handlers) = start(&config).unwrap();
    let large = Report {
        kind: ReportKind::Jsep,
        text: format!("{{\"n\":0,\"x\":\"{}\"}}", "x".repeat(1 << 20)).into(),
    };
    let taken = (0..100).take_while(|_| outlets[0].offer(&large)).count();
    assert!((60..=65).contains(&taken), "{taken}");
    let mut stream = accept(&listener);
    request(&mut stream).unwrap();
    answer(&mut stream, 200);
    request(&mut stream).unwrap();
    assert!(outlets[0].offer(&large), "the first one was taken");
    drop((stream, listener, outlets));
    handlers.finish();
}

#[test]
fn a_handler_gets_what_it_wants_only() {
    let (listener, port) = listen();
    let config = PostConfig {
        mask: ReportMask::parse("sessions").unwrap(),
        ..single()
    };
    let (outlets, handlers) = start(&post(config, &format!("http://127.0.0.1:{port}/"))).unwrap();
    let unwanted = Report {
        kind: ReportKind::Jsep,
        text: "{\"n\":7}".into(),
    };
    for report in [&unwanted, &reports(1..2)[0]] {
        assert!(outlets[0].offer(report));
    }
    drop(outlets);
    let got = collect(listener, &[200]).join().unwrap();
    handlers.finish();
    assert_eq!(numbers(&got[0].1), [1]);
}

#[test]
fn other_settings_take_effect_while_the_collector_is_away() {
    let (gone, port) = listen();
    drop(gone);
    let mut config = post(PostConfig::default(), &format!("http://127.0.0.1:{port}/"));
    // Longer than the test may take: only other settings end such a pause.
    config.post.backoff = Duration::from_secs(10);
    let (outlets, handlers) = start(&config).unwrap();
    let tallies = handlers.tallies();
    for report in reports(0..3) {
        assert!(outlets[0].offer(&report));
    }
    wait_for("a failure", || {
        (tallies.read().failed.post > 0).then_some(())
    });
    let (listener, port) = listen();
    let set = HandlerSettings::Post(PostConfig {
        mask: ReportMask::parse("jsep").unwrap(),
        grouping: false,
        backend: Backend::parse(&format!("http://127.0.0.1:{port}/other")),
        user: Some("u".to_owned()),
        ..config.post
    });
    assert!(outlets[0].is_of(&set));
    outlets[0].set(set);
    assert!(
        outlets[0].offer(&reports(7..8)[0]),
        "it is not wanted any more"
    );
    drop(outlets);
    // What was one round goes one by one.
    let got = collect(listener, &[200, 200, 200]).join().unwrap();
    handlers.finish();
    let bodies: Vec<_> = got.iter().map(|(_, body)| numbers(body)).collect();
    assert_eq!(bodies, [[0], [1], [2]]);
    assert!(got[0].0.starts_with("POST /other "), "{}", got[0].0);
    assert!(
        got[0].0.contains("\r\nAuthorization: Basic "),
        "{}",
        got[0].0
    );
    assert_eq!(tallies.read().delivered.post, 3);
}

#[test]
fn a_collector_that_is_named_later_may_be_spoken_to_over_tls() {
    let (first, port) = listen();
    let config = socket(SocketConfig::default(), &format!("ws://127.0.0.1:{port}/"));
    let (outlets, handlers) = start(&config).unwrap();
    assert!(outlets[0].offer(&reports(0..1)[0]));
    let heard = serve(&mut accept(&first), Behaviour::DieAfter(1));
    assert_eq!(heard.messages.concat(), [0]);
    let (second, port) = listen();
    outlets[0].set(HandlerSettings::Ws(SocketConfig {
        backend: Backend::parse(&format!("wss://127.0.0.1:{port}/")),
        ..config.ws
    }));
    assert!(outlets[0].offer(&reports(1..2)[0]));
    let collector =
        thread::spawn(move || serve(&mut Secure::new(accept(&second)), Behaviour::Serve));
    drop(outlets);
    handlers.finish();
    assert_eq!(collector.join().unwrap().messages.concat(), [1]);
}

/// What a collector does with a WebSocket.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    /// Answers this many pings, then is gone without a word.
    DieAfter(usize),
    /// Sends a pong that nobody asked for, and is gone.
    Lie,
    /// Answers all until the client closes; pings it first.
    Serve,
}

/// What came over one connection.
#[derive(Debug, Default)]
struct Heard {
    head: String,
    messages: Vec<Vec<u64>>,
    /// The client answered a ping.
    has_ponged: bool,
    /// The client ended it with a close frame of this code.
    closed: Option<u16>,
}

fn serve(stream: &mut dyn Stream, behaviour: Behaviour) -> Heard {
    let mut heard = Heard::default();
    let mut input = Vec::new();
    let mut piece = [0; 4_096];
    let mut more = |stream: &mut dyn Stream, input: &mut Vec<u8>| {
        let count = stream.read(&mut piece).unwrap_or(0);
        input.extend_from_slice(&piece[..count]);
        count > 0
    };
    let (head, size) = loop {
        assert!(more(stream, &mut input), "no request");
        let head = HeadReader::default().read(&input, &Limits::default());
        if let Some(read) = head.unwrap() {
            break read;
        }
    };
    let key = head.fields().find(|(name, _)| *name == "Sec-WebSocket-Key");
    let accept = handshake::accept(key.unwrap().1).unwrap();
    heard.head = String::from_utf8(input.drain(..size).collect()).unwrap();
    let answer = format!(
        "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        std::str::from_utf8(&accept).unwrap()
    );
    stream.write_all(answer.as_bytes()).unwrap();
    let say = |stream: &mut dyn Stream, opcode, payload: &[u8]| {
        let header = ServerHeader::new(opcode, payload.len());
        stream
            .write_all(&[header.bytes(), payload].concat())
            .unwrap();
    };
    if matches!(behaviour, Behaviour::Serve) {
        say(stream, Opcode::Ping, b"there?");
        say(stream, Opcode::Text, b"a collector that talks");
    }
    let bounds = Bounds {
        message_bytes: 1 << 20,
        fragments_count: 1,
    };
    let mut reader = Reader::default();
    let mut pings = 0;
    loop {
        let (used, incoming) = reader.read(&input, &bounds).unwrap();
        input.drain(..used);
        match incoming {
            None if !more(stream, &mut input) => return heard,
            None => {}
            Some(Incoming::Binary(_)) => panic!("reports are text"),
            Some(Incoming::Close(close)) => {
                heard.closed = close.map(|(code, _)| code.number());
                return heard;
            }
            Some(Incoming::Ping(payload)) => match behaviour {
                Behaviour::DieAfter(count) if pings == count => return heard,
                Behaviour::Lie => {
                    say(stream, Opcode::Pong, b"unasked!");
                    return heard;
                }
                Behaviour::DieAfter(_) | Behaviour::Serve => {
                    pings += 1;
                    say(stream, Opcode::Pong, &payload);
                }
            },
            Some(Incoming::Pong(payload)) => heard.has_ponged |= payload == b"there?",
            Some(Incoming::Text(text)) => heard.messages.push(numbers(&text)),
        }
    }
}

#[test]
fn a_websocket_gets_arrays_and_a_close_at_the_end() {
    let (listener, port) = listen();
    let config = SocketConfig::default();
    let handlers = tell(&socket(config, &format!("ws://127.0.0.1:{port}/in?x")), 250);
    let collector = thread::spawn(move || serve(&mut accept(&listener), Behaviour::Serve));
    let tallies = handlers.tallies();
    handlers.finish();
    let heard = collector.join().unwrap();
    assert!(
        heard
            .head
            .starts_with(&format!("GET /in?x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"))
            && heard.head.contains("\r\nOrigin: http://127.0.0.1\r\n")
            && heard
                .head
                .contains("\r\nSec-WebSocket-Protocol: janus-event-handlers\r\n"),
        "{}",
        heard.head
    );
    assert!(heard.messages.iter().all(|group| group.len() <= 100));
    assert!(heard.messages.concat().into_iter().eq(0..250), "in order");
    assert!(heard.has_ponged);
    assert_eq!(heard.closed, Some(1001));
    assert_eq!(tallies.read().delivered.ws, 250);
}

#[test]
fn what_no_pong_came_for_is_sent_again_over_another_websocket() {
    let (listener, port) = listen();
    let config = SocketConfig {
        grouping: false,
        subprotocol: "mine".to_owned(),
        ..SocketConfig::default()
    };
    let (outlets, handlers) = start(&socket(config, &format!("ws://127.0.0.1:{port}"))).unwrap();
    let tallies = handlers.tallies();
    let collector = thread::spawn(move || {
        let behaviours = [
            Behaviour::DieAfter(0),
            Behaviour::Lie,
            Behaviour::DieAfter(1),
            Behaviour::Serve,
        ];
        behaviours.map(|behaviour| serve(&mut accept(&listener), behaviour))
    });
    let mut told = reports(0..3).into_iter();
    assert!(outlets[0].offer(&told.next().unwrap()));
    let delivered = |count| (tallies.read().delivered.ws == count).then_some(());
    wait_for("the first report", || delivered(1));
    for report in told {
        assert!(outlets[0].offer(&report));
    }
    wait_for("the last report", || delivered(3));
    drop(outlets);
    handlers.finish();
    let [died, lied, once, served] = collector.join().unwrap();
    assert!(died.head.contains("\r\nSec-WebSocket-Protocol: mine\r\n"));
    assert_eq!(died.messages, [[0]]);
    assert_eq!(
        lied.messages,
        [[0]],
        "a pong that was not asked for says nothing"
    );
    assert_eq!(once.messages[0], [0]);
    let mut rest = [once.messages, served.messages].concat().concat();
    rest.dedup();
    rest.sort_unstable();
    rest.dedup();
    assert_eq!(rest, [0, 1, 2]);
    assert_eq!(served.closed, Some(1001));
}

#[test]
fn wss_is_spoken_to_a_collector_that_is_trusted() {
    let (listener, port) = listen();
    let config = socket(SocketConfig::default(), &format!("wss://127.0.0.1:{port}/"));
    let handlers = tell(&config, 2);
    let collector =
        thread::spawn(move || serve(&mut Secure::new(accept(&listener)), Behaviour::Serve));
    handlers.finish();
    let heard = collector.join().unwrap();
    assert_eq!(heard.messages.concat(), [0, 1]);
    assert_eq!(heard.closed, Some(1001));
}
