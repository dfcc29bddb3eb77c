//! Who talks to the gateway: clients of every temper, and the proxies between.

pub mod abuser;
pub mod browser;
pub mod decode;
pub mod frames;
pub mod link;
pub mod operator;
pub mod peer;
pub mod proxy;
pub mod request;
pub mod script;
pub mod slow;
pub mod socket;
pub mod sse;
pub mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde_json::Value;

use crate::faults::media::ActKind;
use crate::faults::scenario::Link;
use crate::kernel::tcp::{Notice, Socket};
use crate::kernel::trace::Lane;
use crate::models::link::Loss;
use crate::oracle::fact::verb_of;
use crate::world::physics::Physics;

/// A host that is not the gateway.
pub trait Model: fmt::Debug {
    /// Begins.
    fn start(&mut self, world: &mut Physics);

    /// The network tells of a socket.
    fn notice(&mut self, world: &mut Physics, socket: Socket, notice: Notice);

    /// A timer that it set has come.
    fn timer(&mut self, world: &mut Physics, token: u64);

    /// A datagram has arrived.
    fn datagram(&mut self, _: &mut Physics, _from: SocketAddr, _to: SocketAddr, _bytes: &[u8]) {}

    /// Does something that its scenario says.
    fn act(&mut self, _: &mut Physics, _what: ActKind) {}

    /// Closes all connections and starts nothing new.
    fn leave(&mut self, world: &mut Physics);

    /// One of its connections.
    fn link(&self, link: Link) -> Option<Socket>;

    /// What it has achieved.
    fn progress(&self) -> &Progress;
}

/// What a client has achieved.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages that were acknowledged.
    pub acks: u32,
    /// Events of a plugin that came, by transaction.
    pub events: BTreeMap<String, u32>,
    /// How many events came.
    pub events_count: u32,
    /// Sessions that it gave up.
    pub restarts: u32,
}

impl Progress {
    /// Notes an event that reached the application. None may reach it twice.
    pub fn note(&mut self, world: &mut Physics, client: u32, session: Option<u64>, event: &Value) {
        let Some((transaction, times)) = self.take(world, client, session, event) else {
            return;
        };
        if times > 1 {
            let detail = format!("client {client} got the event of {transaction} {times} times");
            world
                .watch
                .report("event-exactly-once", world.now(), detail);
        }
    }

    /// Notes an event that reached an application which may have claimed its session since: what
    /// the connection before was about to be told may reach it twice.
    pub fn note_claimed(
        &mut self,
        world: &mut Physics,
        client: u32,
        session: Option<u64>,
        event: &Value,
    ) {
        let _ = self.take(world, client, session, event);
    }

    /// Counts an event; tells its transaction and how often it came.
    fn take(
        &mut self,
        world: &mut Physics,
        client: u32,
        session: Option<u64>,
        event: &Value,
    ) -> Option<(String, u32)> {
        world.line(Lane::Client(client), || format!("gets {event}"));
        let at = world.now();
        world
            .trace
            .event(at, "event", u64::from(client), session.unwrap_or_default());
        let text = event.to_string();
        world
            .transcript
            .bytes(at, "event", u64::from(client), text.as_bytes());
        if verb_of(event) != "event" {
            return None;
        }
        self.events_count += 1;
        world.watch.client_event(client);
        let transaction = event.get("transaction").and_then(Value::as_str)?;
        let times = self.events.entry(transaction.to_owned()).or_default();
        *times += 1;
        Some((transaction.to_owned(), *times))
    }

    /// Notes a connection that failed. On one that no fault touched, nothing may fail.
    pub fn note_loss(&mut self, world: &mut Physics, client: u32, socket: Socket, loss: &Loss) {
        let at = world.now();
        world
            .trace
            .event(at, "loss", u64::from(client), u64::from(socket.0));
        world.line(Lane::Client(client), || {
            format!("loses connection {}: {loss:?}", socket.0)
        });
    }
}
