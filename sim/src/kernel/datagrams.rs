//! Datagrams between clients and the gateway: one path each way for every client, and its router's
//! idea of its address.
//!
//! Invariant: the gateway sees a client by the address that its router gives it, and by no other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::kernel::key::Key;
use crate::kernel::queue::Queue;
use crate::kernel::tcp::Way;
use crate::kernel::time::SimTime;
use crate::kernel::udp::{UdpPath, UdpProfile};

/// A datagram.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Whose it is, as the receiver sees it.
    pub from: SocketAddr,
    /// Where it arrives.
    pub to: SocketAddr,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// All paths, and what is under way on them.
#[derive(Debug)]
pub struct Datagrams {
    profile: UdpProfile,
    key: Key,
    paths: BTreeMap<(u32, Way), UdpPath>,
    /// When the last datagram of a path arrives.
    last: BTreeMap<(u32, Way), SimTime>,
    /// How often a client has been given another address.
    moves: BTreeMap<u32, u16>,
    flights: BTreeMap<u64, Flight>,
    count: u64,
}

/// A datagram that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival(pub u64);

impl Datagrams {
    /// Paths that treat datagrams by `profile`.
    pub const fn new(profile: UdpProfile, key: Key) -> Self {
        Self {
            profile,
            key,
            paths: BTreeMap::new(),
            last: BTreeMap::new(),
            moves: BTreeMap::new(),
            flights: BTreeMap::new(),
            count: 0,
        }
    }

    /// Sends a datagram of client `client` to the gateway.
    pub fn send_in<E: From<Arrival>>(
        &mut self,
        queue: &mut Queue<E>,
        client: u32,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) {
        let from = self.outside(client, from);
        let flight = Flight {
            from,
            to,
            bytes: bytes.to_vec(),
        };
        self.send(queue, client, Way::Out, flight);
    }

    /// Sends a datagram of the gateway to an address. One that no client has any more goes nowhere.
    pub fn send_out<E: From<Arrival>>(
        &mut self,
        queue: &mut Queue<E>,
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    ) {
        let Some(client) = client_at(to) else {
            return;
        };
        let Some(to) = self.inside(client, to) else {
            return;
        };
        self.send(queue, client, Way::In, Flight { from, to, bytes });
    }

    /// Takes a datagram that has arrived.
    pub fn take(&mut self, arrival: Arrival) -> Option<Flight> {
        self.flights.remove(&arrival.0)
    }

    /// Loses everything of a client, one way as it sees it, until `until`.
    pub fn block(&mut self, client: u32, way: Way, until: SimTime) {
        self.path(client, way).block(until);
    }

    /// Gives a client another address, as a router that has restarted.
    pub fn rebind(&mut self, client: u32) {
        *self.moves.entry(client).or_default() += 1;
    }

    /// Lets all go well from here on.
    pub fn heal(&mut self) {
        self.profile.loss_permille = 0;
        for path in self.paths.values_mut() {
            path.heal();
        }
    }

    fn send<E: From<Arrival>>(
        &mut self,
        queue: &mut Queue<E>,
        client: u32,
        way: Way,
        flight: Flight,
    ) {
        let now = queue.now();
        let has_spread = self.profile.latency.0 != self.profile.latency.1;
        for at in self.path(client, way).send(now, flight.bytes.len()) {
            let Some(mut at) = at else { continue };
            // Without a spread nothing overtakes, not even within an instant.
            if !has_spread {
                let last = self.last.entry((client, way)).or_default();
                at = at.max(*last + Duration::from_nanos(1));
                *last = at;
            }
            self.count += 1;
            self.flights.insert(self.count, flight.clone());
            queue.push(at, Arrival(self.count).into());
        }
    }

    fn path(&mut self, client: u32, way: Way) -> &mut UdpPath {
        let (profile, key) = (self.profile, self.key);
        self.paths.entry((client, way)).or_insert_with(|| {
            let side = match way {
                Way::In => "in",
                Way::Out => "out",
            };
            UdpPath::new(profile, key.at(u64::from(client)).named(side))
        })
    }

    fn outside(&self, client: u32, address: SocketAddr) -> SocketAddr {
        let moves = self.moves.get(&client).copied().unwrap_or_default();
        SocketAddr::new(address.ip(), address.port() + moves * PORTS_APART)
    }

    fn inside(&self, client: u32, address: SocketAddr) -> Option<SocketAddr> {
        let moves = self.moves.get(&client).copied().unwrap_or_default();
        let port = address.port().checked_sub(moves * PORTS_APART)?;
        (FIRST_PORT..FIRST_PORT + PORTS_APART)
            .contains(&port)
            .then_some(SocketAddr::new(address.ip(), port))
    }
}

/// Ports of one client lie within so many.
const PORTS_APART: u16 = 1_000;
const FIRST_PORT: u16 = 20_000;

/// The address of the `call`-th call of a client.
pub fn client_address(client: u32, call: u16) -> SocketAddr {
    let [_, _, high, low] = client.to_be_bytes();
    let port = FIRST_PORT + call % PORTS_APART;
    SocketAddr::from((Ipv4Addr::new(10, 1, high, low), port))
}

/// Whose address it is.
pub fn client_at(address: SocketAddr) -> Option<u32> {
    match address.ip() {
        IpAddr::V4(ip) => match ip.octets() {
            [10, 1, high, low] => Some(u32::from_be_bytes([0, 0, high, low])),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 10_000);

    fn all(datagrams: &mut Datagrams, queue: &mut Queue<Arrival>) -> Vec<Flight> {
        let mut flights = Vec::new();
        while let Some(arrival) = queue.pop() {
            flights.extend(datagrams.take(arrival));
        }
        flights
    }

    #[test]
    fn a_client_that_moved_is_seen_by_its_new_address_and_reached_by_no_other() {
        let mut queue = Queue::new(None);
        let mut datagrams = Datagrams::new(UdpProfile::CLEAN, Key::of_seed(1));
        let home = client_address(7, 0);
        assert_eq!(client_at(home), Some(7));
        datagrams.rebind(7);
        datagrams.send_in(&mut queue, 7, home, GATEWAY, b"in");
        let seen = all(&mut datagrams, &mut queue)[0].from;
        assert_ne!(seen, home);
        datagrams.send_out(&mut queue, GATEWAY, seen, b"new".to_vec());
        datagrams.send_out(&mut queue, GATEWAY, home, b"old".to_vec());
        let got = all(&mut datagrams, &mut queue);
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].to, &got[0].bytes[..]), (home, &b"new"[..]));
    }

    #[test]
    fn a_block_is_one_way() {
        let mut queue = Queue::new(None);
        let mut datagrams = Datagrams::new(UdpProfile::CLEAN, Key::of_seed(1));
        let home = client_address(1, 0);
        datagrams.block(1, Way::Out, SimTime::from_secs(1));
        datagrams.send_in(&mut queue, 1, home, GATEWAY, b"in");
        datagrams.send_out(&mut queue, GATEWAY, home, b"out".to_vec());
        let got = all(&mut datagrams, &mut queue);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].to, home);
    }
}
