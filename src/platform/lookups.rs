//! Names, looked up on threads of their own: the system's resolver blocks, and shards must not.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Sender;
use super::mapped::mapped_address;
use crate::driver::Arrival;
use crate::gateway::outside::{Family, Lookup, Sought};

/// Lookups at a time of the whole process. A resolver that answers takes milliseconds; one that
/// does not takes up to half a minute, and must not be given a thread by every request.
const THREADS_MAX: usize = 16;

/// STUN servers asked at a time, beside the names: one that is silent is waited for for five
/// seconds, and must not keep a name waiting.
const STUN_THREADS_MAX: usize = 4;

/// Threads that look something up, of the whole process.
#[derive(Debug, Default)]
pub struct Busy {
    names: AtomicUsize,
    stun: AtomicUsize,
}

impl Busy {
    /// The threads of this kind, and how many there may be.
    const fn of(&self, sought: Sought) -> (&AtomicUsize, usize) {
        match sought {
            Sought::Host(_) | Sought::Interface => (&self.names, THREADS_MAX),
            Sought::Mapped { .. } => (&self.stun, STUN_THREADS_MAX),
        }
    }

    /// Takes one more; `false` when there are enough.
    fn begin(&self, sought: Sought) -> bool {
        let (count, max) = self.of(sought);
        let has_room = count.fetch_add(1, Ordering::AcqRel) < max;
        if !has_room {
            self.end(sought);
        }
        has_room
    }

    fn end(&self, sought: Sought) {
        self.of(sought).0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Looks up names for one shard.
#[derive(Clone, Debug)]
pub struct Lookups {
    busy: Arc<Busy>,
    shard: Sender<Arrival>,
}

impl Lookups {
    /// For the shard with this inbox. All shards of a process share `busy`.
    pub fn new(busy: Arc<Busy>, shard: Sender<Arrival>) -> Self {
        Self { busy, shard }
    }

    /// See [`Platform::look_up`](crate::driver::Platform::look_up).
    pub fn begin(&self, lookup: Lookup) {
        let (busy, shard) = (Arc::clone(&self.busy), self.shard.clone());
        let (id, sought) = (lookup.id, lookup.sought);
        let tell = move |address| shard.send(Arrival::LookedUp { id, address });
        if !busy.begin(sought) {
            tracing::debug!(?sought, "too much is being looked up");
            tell(None);
            return;
        }
        let answer = tell.clone();
        let freed = Arc::clone(&busy);
        let body = move || {
            let address = address_of(&lookup);
            busy.end(sought);
            answer(address);
        };
        if let Err(error) = thread::Builder::new().name("lookup".to_owned()).spawn(body) {
            freed.end(sought);
            tracing::warn!(%error, "no thread to look up a name");
            tell(None);
        }
    }
}

fn address_of(lookup: &Lookup) -> Option<SocketAddr> {
    let only = |address| SocketAddr::new(address, 0);
    match lookup.sought {
        Sought::Host(family) => host(&lookup.name, family).map(only),
        Sought::Interface => {
            let interfaces = if_addrs::get_if_addrs().ok()?;
            let found = interfaces.iter().find(|found| *found.name == *lookup.name);
            found.map(if_addrs::Interface::ip).map(only)
        }
        Sought::Mapped { port, local_port } => {
            let server = (host(&lookup.name, Family::Any)?, port).into();
            let mapped = mapped_address(server, local_port);
            let mapped = mapped.inspect_err(|error| {
                tracing::debug!(%error, "a STUN server did not answer");
            });
            mapped.ok()
        }
    }
}

fn host(name: &str, family: Family) -> Option<IpAddr> {
    let addresses = (name, 0).to_socket_addrs();
    let addresses = addresses.inspect_err(|error| {
        tracing::debug!(%error, "a name was not found");
    });
    let mut addresses = addresses.ok()?.map(|address| address.ip());
    addresses.find(|address| family.has(*address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::outside::LookupId;
    use crate::platform::{Clocks, inbox};
    use std::collections::VecDeque;
    use std::task::{Context, Waker};
    use std::time::Duration;

    fn look_up(names: usize, stun: usize, name: &str, sought: Sought) -> Option<IpAddr> {
        let (sender, mut inbox) = inbox();
        let busy = Busy {
            names: names.into(),
            stun: stun.into(),
        };
        let lookups = Lookups::new(Arc::new(busy), sender);
        lookups.begin(Lookup {
            id: LookupId(3),
            name: name.into(),
            sought,
        });
        let (mut arrived, mut cx) = (VecDeque::new(), Context::from_waker(Waker::noop()));
        while inbox.poll_recv(&mut cx, &mut arrived).is_pending() {
            thread::yield_now();
        }
        let Some(Arrival::LookedUp { id, address }) = arrived.pop_front() else {
            panic!("{arrived:?}");
        };
        assert_eq!(id, LookupId(3));
        let Busy {
            names: left,
            stun: left_stun,
        } = &*lookups.busy;
        let left = [left, left_stun].map(|count| count.load(Ordering::Acquire));
        assert_eq!(left, [names, stun]);
        address.map(|address| address.ip())
    }

    #[test]
    fn hosts_and_interfaces_are_found() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(
            look_up(0, 0, "localhost", Sought::Host(Family::V4)),
            Some(loopback)
        );
        assert_eq!(look_up(0, 0, "lo", Sought::Interface), Some(loopback));
    }

    #[test]
    fn what_is_not_there_or_one_too_many_is_answered_all_the_same() {
        assert_eq!(look_up(0, 0, "none", Sought::Interface), None);
        assert_eq!(look_up(0, 0, "127.0.0.1", Sought::Host(Family::V6)), None);
        assert_eq!(look_up(THREADS_MAX, 0, "lo", Sought::Interface), None);
    }

    #[test]
    fn names_and_stun_servers_do_not_hold_each_other_up() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let found = look_up(0, STUN_THREADS_MAX, "lo", Sought::Interface);
        assert_eq!(found, Some(loopback));
        // It would be asked for five seconds.
        let sought = Sought::Mapped {
            port: 9,
            local_port: 0,
        };
        let begun = Clocks::default().monotonic();
        assert_eq!(look_up(0, STUN_THREADS_MAX, "192.0.2.1", sought), None);
        let waited = Clocks::default().monotonic().saturating_since(begun);
        assert!(waited < Duration::from_secs(4), "{waited:?}");
    }
}
