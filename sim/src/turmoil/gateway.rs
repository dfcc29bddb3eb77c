//! The gateway as a host of turmoil: its shards, their driver, and a door that deals out
//! connections as the kernel does with `SO_REUSEPORT`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bifrons::base::clock::Anchor;
use bifrons::base::id::ShardId;
use bifrons::config::Config;
use bifrons::driver::journal::{Mask, Recorder, Recording, ShardStart};
use bifrons::driver::{Arrival, Buggify, Io, run};
use bifrons::media::{Certificate, LocalSocket};
use bifrons::shard::{Listener, Setup, Shard};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::net::{Door, FaultyTcp, Socket};
use super::platform::{Mesh, OnTurmoil, SkewedClock};
use crate::journal::Memory;
use crate::kernel::key::Key;

/// What the gateway's host is like.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its randomness.
    pub seed: u64,
    /// How many shards it has.
    pub shards: u8,
    /// Its clock.
    pub clock: SkewedClock,
    /// Bytes of a read or write, at most.
    pub io_max: u64,
    /// The longest time that a message between shards takes.
    pub mesh_max: Duration,
    /// Rare choices of the driver.
    pub buggify: Buggify,
    /// Where it listens.
    pub port: u16,
    /// Where it listens for WebSockets.
    pub socket_port: u16,
    /// Where its journal is written.
    pub journal: Memory,
}

/// Runs the gateway until the host goes.
///
/// # Errors
///
/// When a socket cannot be bound.
pub async fn gateway(host: Host) -> io::Result<()> {
    let key = Key::of_seed(host.seed).named("turmoil");
    let config = Arc::new(Config {
        shards: Some(host.shards),
        ..Config::default()
    });
    let certificate = Certificate::generate();
    let mut mask = Mask::new(
        key.named("mask").seed_bytes()[..16]
            .try_into()
            .expect("16 bytes"),
    );
    host.journal.begin(&config, host.shards, &mut mask);
    let (mut doors, mut socket_doors) = (Vec::new(), Vec::new());
    let (mut inboxes, mut arrivals) = (Vec::new(), Vec::new());
    for _ in 0..host.shards {
        let (send, receive) = unbounded_channel::<Arrival>();
        inboxes.push(send);
        arrivals.push(receive);
    }
    for (index, inbox) in (0..host.shards).zip(arrivals) {
        let udp = turmoil::net::UdpSocket::bind(("0.0.0.0", 10_000 + u16::from(index))).await?;
        let bound = udp.local_addr()?;
        let now = host.clock.read();
        let setup = Setup {
            id: ShardId(index),
            shards: host.shards,
            config: Arc::clone(&config),
            seed: key.named("shard").at(u64::from(index)).seed_bytes(),
            anchor: Anchor::new(some_instant(), now.monotonic),
            sockets: vec![LocalSocket {
                bound,
                advertised: Vec::new(),
            }],
            certificate: certificate.clone(),
            crypto: None,
        };
        let recording = Recording {
            sink: host.journal.sink(index),
            start: ShardStart::new(&setup, now),
            media: false,
            mask: mask.clone(),
        };
        let shard = Recorder::new(Shard::new(setup, now), recording);
        let (door, incoming) = unbounded_channel();
        let (socket_door, sockets) = unbounded_channel();
        doors.push(door);
        socket_doors.push(socket_door);
        let outboxes = (0..host.shards)
            .map(|to| {
                let pair = key.named("mesh").at(u64::from(index)).at(u64::from(to));
                slow_channel(pair, host.mesh_max, inboxes[usize::from(to)].clone())
            })
            .collect();
        let platform = OnTurmoil {
            clock: host.clock.clone(),
            inbox: inboxes[usize::from(index)].clone(),
        };
        let io = Io {
            listeners: vec![
                (Listener::Rest, Door { incoming }),
                (Listener::WebSocket, Door { incoming: sockets }),
            ],
            udp: vec![Socket::new(udp)],
            udp_more_max: 16,
            mesh: Mesh {
                me: ShardId(index),
                inbox,
                outboxes,
            },
            connections_max: 10_000,
            buggify: host.buggify.clone(),
        };
        tokio::task::spawn_local(run(platform, shard, io));
    }
    let rest = deal_out(host.port, host.io_max, key.named("rest"), doors);
    let sockets = deal_out(
        host.socket_port,
        host.io_max,
        key.named("sockets"),
        socket_doors,
    );
    tokio::try_join!(rest, sockets).map(|_| ())
}

/// Deals the connections to a port out to the shards.
async fn deal_out(
    port: u16,
    io_max: u64,
    key: Key,
    doors: Vec<UnboundedSender<(FaultyTcp, SocketAddr)>>,
) -> io::Result<()> {
    let listener = turmoil::net::TcpListener::bind(("0.0.0.0", port)).await?;
    let mut accepted = 0;
    loop {
        let (stream, peer) = listener.accept().await?;
        accepted += 1;
        let key = key.named("connection").at(accepted);
        let tcp = FaultyTcp {
            stream,
            draws: key.draws(),
            most: io_max,
        };
        let shard = key.named("shard").below(doors.len() as u64) as usize;
        // A driver that ended takes no more connections.
        let _ = doors[shard].send((tcp, peer));
    }
}

/// A channel whose messages take a while, and keep their order.
fn slow_channel(
    key: Key,
    most: Duration,
    to: tokio::sync::mpsc::UnboundedSender<Arrival>,
) -> tokio::sync::mpsc::UnboundedSender<(ShardId, Vec<bifrons::shard::mesh::MeshMsg>)> {
    let (send, mut receive) = unbounded_channel();
    let mut draws = key.draws();
    tokio::task::spawn_local(async move {
        while let Some((from, batch)) = receive.recv().await {
            tokio::time::sleep(draws.next().span(Duration::ZERO, most)).await;
            let _ = to.send(Arrival::Mesh { from, batch });
        }
    });
    send
}

fn some_instant() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to make an instant"
    )]
    Instant::now()
}
