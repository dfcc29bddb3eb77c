//! A core for tests: clients tell it what to do, line by line, and it watches the driver's
//! promises all the while.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::{Monotonic, Now};
use crate::base::id::{ConnId, SockId};
use crate::driver::{Core, Counters};
use crate::gateway::outside::{Content, FileId, FileWrite, Lookup, LookupId, Sought};
use crate::media::SocketAct;
use crate::shard::{Control, Input, Outbox, TcpAction};

/// What a connection's client may ask for, a line each:
///
/// `echo TEXT` · `big COUNT` (that many bytes of a pattern) · `close` · `abort` · `fin` ·
/// `pause MS` (read no more for so long) · `tick MS` (say how late the deadline was, in µs) ·
/// `count` (how many bytes were read so far) ·
/// `report` (connections that the driver accepted, and lines that the log dropped).
///
/// Every datagram is sent back; `run COUNT SIZE` is answered by that many datagrams.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    conns: BTreeMap<ConnId, Client>,
    timers: Vec<(Monotonic, ConnId, Then)>,
    batch_is_open: bool,
    stopped: bool,
    latest: Option<Monotonic>,
    pub(crate) log: Vec<String>,
    pub(crate) logs_inputs: bool,
    pub(crate) reported: Counters,
}

#[derive(Debug, Default)]
struct Client {
    line: Vec<u8>,
    pending: Vec<u8>,
    read_count: usize,
    saw_eof: bool,
    is_paused: bool,
    then: Option<TcpAction>,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Resume,
    TellLateness,
}

impl Scripted {
    fn opened(&mut self, conn: ConnId) -> &mut Client {
        self.conns
            .get_mut(&conn)
            .expect("inputs come between TcpOpened and the end")
    }

    fn obey(&mut self, now: Now, conn: ConnId, line: &[u8], out: &mut Outbox) {
        let reported = self.reported;
        let line = std::str::from_utf8(line).expect("tests send text");
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = || rest.parse::<u64>().expect("a number");
        let client = self.opened(conn);
        match verb {
            "echo" => client.say(rest),
            "big" => {
                let count = usize::try_from(number()).expect("fits");
                client.pending.extend(pattern(count));
            }
            "count" => client.say(&client.read_count.to_string()),
            "report" => {
                let lines = reported.log_drops.rate;
                client.say(&format!("{} {lines}", reported.tcp_accepted));
            }
            "close" => client.then = Some(TcpAction::Close),
            "fin" => client.then = Some(TcpAction::ShutdownWrite),
            "abort" => client.then = Some(TcpAction::Abort),
            "pause" => {
                client.is_paused = true;
                out.tcp.push((conn, TcpAction::PauseRead));
                let at = now.monotonic + Duration::from_millis(number());
                self.timers.push((at, conn, Then::Resume));
            }
            "tick" => {
                let at = now.monotonic + Duration::from_millis(number());
                self.timers.push((at, conn, Then::TellLateness));
            }
            other => panic!("no such verb: {other}"),
        }
        self.act(conn, out);
    }

    /// Writes what is pending, then does what was asked for after that.
    fn act(&mut self, conn: ConnId, out: &mut Outbox) {
        let client = self.opened(conn);
        let aborts = client.then == Some(TcpAction::Abort);
        if !client.pending.is_empty() && !aborts {
            out.tcp.push((conn, TcpAction::Write));
            return;
        }
        if let Some(then) = client.then.take() {
            out.tcp.push((conn, then));
            if then != TcpAction::ShutdownWrite {
                self.conns.remove(&conn);
            }
        }
    }

    fn expire(&mut self, now: Now, out: &mut Outbox) {
        let (due, later): (Vec<_>, _) = std::mem::take(&mut self.timers)
            .into_iter()
            .partition(|(at, ..)| *at <= now.monotonic);
        self.timers = later;
        for (at, conn, then) in due {
            let Some(client) = self.conns.get_mut(&conn) else {
                continue;
            };
            match then {
                Then::Resume => {
                    client.is_paused = false;
                    out.tcp.push((conn, TcpAction::ResumeRead));
                }
                Then::TellLateness => {
                    let late = now.monotonic.saturating_since(at);
                    client.say(&late.as_micros().to_string());
                    self.act(conn, out);
                }
            }
        }
    }

    fn datagram(&mut self, input: (SockId, std::net::SocketAddr), bytes: &[u8], out: &mut Outbox) {
        let (sock, to) = input;
        let text = std::str::from_utf8(bytes).unwrap_or("");
        let mut words = text.split(' ');
        let command = words.next();
        let run = command == Some("run");
        let mut number = || {
            words
                .next()
                .map_or(0, |word| word.parse().expect("a number"))
        };
        match command {
            Some("close") => {
                let sock = SockId(number() as u16);
                out.sockets.push(SocketAct::Close(sock));
                return;
            }
            Some("look") => {
                out.lookups.push(Lookup {
                    id: LookupId(7),
                    name: "192.0.2.7".into(),
                    sought: Sought::Interface,
                });
                return;
            }
            Some("write") => {
                out.writes.push(FileWrite {
                    id: FileId(3),
                    path: "some/file".into(),
                    content: Content::Whole(String::new()),
                });
                return;
            }
            Some("open") => {
                let (sock, port) = (SockId(number() as u16), number() as u16);
                let bind = ([127, 0, 0, 1], port).into();
                out.sockets.push(SocketAct::Open { sock, bind });
                return;
            }
            Some("send") => {
                let sock = SockId(number() as u16);
                let bytes = vec![7; number()];
                out.datagrams.push(sock, to, &bytes);
                return;
            }
            Some(_) | None => {}
        }
        let (count, bytes) = if run {
            let count: usize = number();
            (count, vec![7; number()])
        } else {
            (1, bytes.to_vec())
        };
        for _ in 0..count {
            out.datagrams.push(sock, to, &bytes);
        }
    }
}

impl Client {
    fn say(&mut self, line: &str) {
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
    }
}

impl Core for Scripted {
    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) {
        assert!(self.latest <= Some(now.monotonic), "time goes forward");
        self.latest = Some(now.monotonic);
        self.batch_is_open = true;
        if self.logs_inputs {
            self.log.push(format!("{input:?}"));
        }
        match input {
            Input::Control(Control::Configure(_)) => {}
            Input::Control(Control::Drain) => out.close_listeners = true,
            Input::Control(Control::Signal(_) | Control::Silent(_)) => {}
            Input::Control(Control::Stop) => self.stopped = true,
            Input::Datagram { sock, from, bytes } => self.datagram((sock, from), bytes, out),
            Input::LookedUp { address, .. } => {
                if let Some(address) = address {
                    let to = (address.ip(), 7).into();
                    out.datagrams.push(SockId(0), to, &[7; 77]);
                }
            }
            Input::Mesh { .. } => {}
            Input::Written { .. } => {
                let to = ([127, 0, 0, 1], 7).into();
                out.datagrams.push(SockId(0), to, &[7; 88]);
            }
            Input::SocketOpened { sock, bound } => {
                self.log.push(format!("socket {sock} at {bound:?}"));
            }
            Input::TcpBytes { conn, bytes } => {
                assert!(!bytes.is_empty(), "no bytes are no input");
                let client = self.opened(conn);
                assert!(!client.saw_eof, "nothing is read after the end");
                assert!(!client.is_paused, "nothing is read in a pause");
                client.read_count += bytes.len();
                for byte in bytes {
                    if *byte != b'\n' {
                        self.opened(conn).line.push(*byte);
                        continue;
                    }
                    let line = std::mem::take(&mut self.opened(conn).line);
                    self.obey(now, conn, &line, out);
                    if !self.conns.contains_key(&conn) {
                        return; // What came after `close` or `abort` is lost.
                    }
                }
            }
            Input::TcpClosed { conn } => {
                self.opened(conn);
                self.conns.remove(&conn);
                self.log.push(format!("closed {conn}"));
            }
            Input::TcpEof { conn } => {
                let client = self.opened(conn);
                assert!(!client.saw_eof, "the end comes once");
                client.saw_eof = true;
                client.then = Some(TcpAction::Close);
                self.log.push(format!("eof {conn}"));
                self.act(conn, out);
            }
            Input::TcpOpened { conn, .. } => {
                let known = self.conns.insert(conn, Client::default());
                assert!(known.is_none(), "a name is given once");
            }
            Input::Tick => {
                let due = self.deadline().is_some_and(|at| at <= now.monotonic);
                assert!(due, "a tick comes at the deadline or later");
            }
            Input::Wrote { conn, count } => {
                let client = self.opened(conn);
                assert!(count > 0, "nothing written is no input");
                assert!(count <= client.pending.len(), "no more than was offered");
                client.pending.drain(..count);
                if client.pending.is_empty() {
                    self.act(conn, out);
                }
            }
        }
    }

    fn flush(&mut self, now: Now, out: &mut Outbox) {
        self.batch_is_open = false;
        self.expire(now, out);
    }

    fn pending(&self, conn: ConnId) -> &[u8] {
        self.conns.get(&conn).map_or(&[], |client| &client.pending)
    }

    fn deadline(&self) -> Option<Monotonic> {
        self.timers.iter().map(|(at, ..)| *at).min()
    }

    fn is_drained(&self) -> bool {
        assert!(!self.batch_is_open, "every batch is ended by a flush");
        self.stopped
    }

    fn report(&mut self, counters: &Counters) {
        assert!(
            !self.batch_is_open,
            "the driver counts when the turn is over"
        );
        self.reported = *counters;
    }
}

/// `count` bytes of which every part says where it belongs.
pub(crate) fn pattern(count: usize) -> impl Iterator<Item = u8> {
    (0..count).map(|at| ((at * 31) >> 3) as u8)
}
