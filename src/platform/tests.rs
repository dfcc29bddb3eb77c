//! The driver on both executors, on real sockets, with a scripted core.
//!
//! A host that forbids io_uring skips them, and says so.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Executor, Inbox, Links, Mesh, Plain, Sender, bind, host, inbox};
use crate::base::id::ShardId;
use crate::config::{MediaConfig, Runtime};
use crate::driver::scripted::{Scripted, pattern};
use crate::driver::{Arrival, Counters, News};
use crate::shard::{Control, Listener};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Server {
    tcp: SocketAddr,
    udp: SocketAddr,
    control: Sender<Arrival>,
    thread: JoinHandle<Counters>,
}

impl Server {
    /// A shard with a scripted core, or nothing where the host forbids rings.
    fn start(runtime: Runtime) -> Option<Self> {
        if let Err(trouble) = host::check(runtime, 1) {
            eprintln!("skipped: {trouble}");
            return None;
        }
        let listener = bind::tcp(SocketAddr::new(LOOPBACK, 0), 1)
            .unwrap()
            .remove(0);
        bind::listen(&listener).unwrap();
        let media = bind::udp(&MediaConfig::default(), LOOPBACK, 0).unwrap();
        let tcp = bind::local_address(&listener).unwrap();
        let udp = bind::local_address(&media).unwrap();
        let (control, inbox) = inbox();
        let over = control.clone();
        let thread = thread::Builder::new().spawn(move || {
            let plain = Plain {
                listeners: vec![(Listener::Rest, listener)],
                udp: vec![media],
                udp_more_max: 4,
                mesh: Mesh::new(ShardId(0), inbox, Vec::new(), move |news| match news {
                    News::Alive => {}
                    News::Drained => over.send(Arrival::Over),
                }),
                connections_max: 1_000,
                links: Links::default(),
            };
            let executor = Executor::new(runtime, None).unwrap();
            executor.run(plain, |_| Scripted::default()).unwrap()
        });
        Some(Self {
            tcp,
            udp,
            control,
            thread: thread.unwrap(),
        })
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream
    }

    /// Asks for something and reads a line.
    fn ask(&self, request: &str) -> String {
        ask(&mut self.connect(), request)
    }

    fn stop(self) -> Counters {
        self.control.send(Arrival::Control(Control::Stop));
        self.thread
            .join()
            .expect("the scripted core found nothing wrong")
    }
}

fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn requests_are_answered_on_a_connection_that_stays(runtime: Runtime) {
    let Some(server) = Server::start(runtime) else {
        return;
    };
    let mut stream = server.connect();
    for turn in 0..100 {
        assert_eq!(
            ask(&mut stream, &format!("echo {turn}\n")),
            turn.to_string()
        );
    }
    drop(stream);
    let counters = server.stop();
    assert_eq!((counters.tcp_accepted, counters.tcp_failed), (1, 0));
}

fn a_reader_that_is_slow_gets_every_byte(runtime: Runtime) {
    const COUNT: usize = 20_000_000;
    let Some(server) = Server::start(runtime) else {
        return;
    };
    let mut slow = server.connect();
    slow.write_all(format!("big {COUNT}\nclose\n").as_bytes())
        .unwrap();
    thread_sleep(50);
    // Others are served while its buffers are full.
    assert_eq!(server.ask("echo x\n"), "x");
    let mut got = Vec::new();
    slow.read_to_end(&mut got).unwrap();
    assert!(got.into_iter().eq(pattern(COUNT)));
    server.stop();
}

fn an_end_of_input_is_heard_and_the_answer_still_comes(runtime: Runtime) {
    let Some(server) = Server::start(runtime) else {
        return;
    };
    let mut stream = server.connect();
    stream.write_all(b"big 3000000\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), 3_000_000);
    server.stop();
}

/// Both come in one segment, so that one event tells of both.
fn an_end_that_comes_with_the_last_bytes_is_heard(runtime: Runtime) {
    let Some(server) = Server::start(runtime) else {
        return;
    };
    for _ in 0..20 {
        let mut stream = server.connect();
        assert_eq!(ask(&mut stream, "echo x\n"), "x");
        thread_sleep(5);
        rustix::net::sockopt::set_tcp_cork(&stream, true).unwrap();
        stream.write_all(b"echo y\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        assert_eq!(got, "y\n");
    }
    server.stop();
}

fn a_client_that_resets_is_noticed_without_a_write(runtime: Runtime) {
    let Some(server) = Server::start(runtime) else {
        return;
    };
    let mut stream = server.connect();
    assert_eq!(ask(&mut stream, "echo x\n"), "x");
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
    thread_sleep(50);
    assert_eq!(server.stop().tcp_failed, 1);
}

fn close_abort_and_fin_look_as_they_should_from_outside(runtime: Runtime) {
    let Some(server) = Server::start(runtime) else {
        return;
    };
    for verb in ["close", "fin"] {
        let mut stream = server.connect();
        stream
            .write_all(format!("echo x\n{verb}\n").as_bytes())
            .unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        assert_eq!(got, "x\n", "{verb}");
    }
    let mut stream = server.connect();
    stream.write_all(b"abort\n").unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // After our FIN the client may still send.
    let mut stream = server.connect();
    assert_eq!(ask(&mut stream, "fin\n"), "");
    stream.write_all(b"echo unread\n").unwrap();
    server.stop();
}

fn a_paused_connection_pushes_back_and_loses_nothing(runtime: Runtime) {
    let Some(server) = Server::start(runtime) else {
        return;
    };
    let mut stream = server.connect();
    stream.write_all(b"pause 100\n").unwrap();
    thread_sleep(20);
    // More than the kernel's buffers hold.
    let line = [b"echo ".as_slice(), &[b'x'; 994], b"\n"].concat();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::Builder::new().spawn(move || {
        for _ in 0..10_000 {
            writer.write_all(&line).unwrap();
        }
    });
    let mut got = vec![0; 10_000 * 995];
    stream.read_exact(&mut got).unwrap();
    writing.unwrap().join().unwrap();
    server.stop();
}

fn timers_are_never_early_and_hardly_late(runtime: Runtime) {
    let Some(server) = Server::start(runtime) else {
        return;
    };
    let mut late: Vec<u64> = (0..20)
        .map(|at| {
            server
                .ask(&format!("tick {}\n", at % 5 + 1))
                .parse()
                .unwrap()
        })
        .collect();
    late.sort_unstable();
    // The scripted core panics at a tick that is early. How late the others are is the host's
    // doing when it is busy.
    assert!(late[0] < 2_000, "{late:?} µs late");
    server.stop();
}

fn datagrams_come_and_go_in_runs(runtime: Runtime) {
    let Some(server) = Server::start(runtime) else {
        return;
    };
    let client = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    client.send_to(b"run 40 1200", server.udp).unwrap();
    let mut buffer = [0; 65_536];
    for _ in 0..40 {
        assert_eq!(receive(&client, &mut buffer), 1_200);
    }
    // A run that arrives in one piece is taken apart again.
    let state = quinn_udp::UdpSocketState::new((&client).into()).unwrap();
    client.set_nonblocking(false).unwrap();
    let contents: Vec<u8> = (0..10_u8).flat_map(|at| [at; 500]).collect();
    let transmit = quinn_udp::Transmit {
        destination: server.udp,
        ecn: None,
        contents: &contents[..4_750],
        segment_size: Some(500),
        src_ip: None,
    };
    state.try_send((&client).into(), &transmit).unwrap();
    let mut got = Vec::new();
    while got.len() < 4_750 {
        let mut metas = [quinn_udp::RecvMeta::default()];
        let slice = std::io::IoSliceMut::new(&mut buffer);
        match state.recv((&client).into(), &mut [slice], &mut metas) {
            Ok(count) => assert_eq!(count, 1),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => panic!("{error}"),
        }
        got.extend_from_slice(&buffer[..metas[0].len]);
    }
    assert_eq!(got, contents[..4_750]);
    assert_eq!(server.stop().udp_sent, 50);
}

fn many_connections_are_watched_by_one_task(runtime: Runtime) {
    let Some(server) = Server::start(runtime) else {
        return;
    };
    let mut streams: Vec<_> = (0..400).map(|_| server.connect()).collect();
    for (at, stream) in streams.iter_mut().enumerate().rev() {
        assert_eq!(ask(stream, &format!("echo {at}\n")), at.to_string());
    }
    server.stop();
}

/// Two executors send each other numbers, in bursts and one by one, so that the receiver is found
/// asleep, about to sleep and awake.
fn between_executors_everything_arrives_in_order(runtime: Runtime) {
    const COUNT: u64 = 200_000;
    if let Err(trouble) = host::check(runtime, 2) {
        eprintln!("skipped: {trouble}");
        return;
    }
    let ((to_a, in_a), (to_b, in_b)) = (inbox(), inbox());
    let sides = [(in_a, to_b), (in_b, to_a)].map(|(inbox, peer)| {
        let side = move || {
            let executor = Executor::new(runtime, None).unwrap();
            executor.block_on(exchange(inbox, peer, COUNT));
        };
        thread::Builder::new().spawn(side).unwrap()
    });
    for side in sides {
        side.join().unwrap();
    }
}

async fn exchange(mut inbox: Inbox<u64>, peer: Sender<u64>, count: u64) {
    let (mut sent, mut expected) = (0, 0);
    let mut arrived = VecDeque::new();
    while expected < count {
        // Never more than a burst ahead of the other side, so that both run dry again and again.
        let burst = [1, 1, 1, 7, 64][(sent % 5) as usize];
        while sent < count && sent < expected + burst {
            peer.send(sent);
            sent += 1;
        }
        std::future::poll_fn(|cx| inbox.poll_recv(cx, &mut arrived)).await;
        for number in arrived.drain(..) {
            assert_eq!(number, expected);
            expected += 1;
        }
    }
    while sent < count {
        peer.send(sent);
        sent += 1;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the client is a thread of its own"
)]
fn thread_sleep(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

/// Receives one datagram. Timers of rings interrupt calls that wait with a time limit.
fn receive(client: &UdpSocket, buffer: &mut [u8]) -> usize {
    loop {
        match client.recv(buffer) {
            Ok(size) => return size,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The tests above, once on each executor.
macro_rules! on_each_runtime {
    ($($test:ident)*) => {
        mod on_glommio {
            $(#[test]
            fn $test() {
                super::$test(super::Runtime::Glommio);
            })*
        }
        mod on_uring {
            $(#[test]
            fn $test() {
                super::$test(super::Runtime::Uring);
            })*
        }
    };
}

on_each_runtime! {
    requests_are_answered_on_a_connection_that_stays
    a_reader_that_is_slow_gets_every_byte
    an_end_of_input_is_heard_and_the_answer_still_comes
    an_end_that_comes_with_the_last_bytes_is_heard
    a_client_that_resets_is_noticed_without_a_write
    close_abort_and_fin_look_as_they_should_from_outside
    a_paused_connection_pushes_back_and_loses_nothing
    timers_are_never_early_and_hardly_late
    datagrams_come_and_go_in_runs
    many_connections_are_watched_by_one_task
    between_executors_everything_arrives_in_order
}
