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

/// Looks up names for one shard.
#[derive(Clone, Debug)]
pub struct Lookups {
    busy: Arc<AtomicUsize>,
    shard: Sender<Arrival>,
}

impl Lookups {
    /// For the shard with this inbox. All shards of a process share `busy`.
    pub fn new(busy: Arc<AtomicUsize>, shard: Sender<Arrival>) -> Self {
        Self { busy, shard }
    }

    /// See [`Platform::look_up`](crate::driver::Platform::look_up).
    pub fn begin(&self, lookup: Lookup) {
        let (busy, shard, id) = (Arc::clone(&self.busy), self.shard.clone(), lookup.id);
        let tell = move |address| shard.send(Arrival::LookedUp { id, address });
        if busy.fetch_add(1, Ordering::AcqRel) >= THREADS_MAX {
            busy.fetch_sub(1, Ordering::AcqRel);
            tracing::debug!("too many names are being looked up");
            tell(None);
            return;
        }
        let answer = tell.clone();
        let freed = Arc::clone(&busy);
        let body = move || {
            let address = address_of(&lookup);
            busy.fetch_sub(1, Ordering::AcqRel);
            answer(address);
        };
        if let Err(error) = thread::Builder::new().name("lookup".to_owned()).spawn(body) {
            freed.fetch_sub(1, Ordering::AcqRel);
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
    use crate::platform::inbox;
    use std::collections::VecDeque;
    use std::task::{Context, Waker};

    fn look_up(busy: usize, name: &str, sought: Sought) -> Option<IpAddr> {
        let (sender, mut inbox) = inbox();
        let lookups = Lookups::new(Arc::new(AtomicUsize::new(busy)), sender);
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
        assert_eq!(lookups.busy.load(Ordering::Acquire), busy);
        address.map(|address| address.ip())
    }

    #[test]
    fn hosts_and_interfaces_are_found() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(
            look_up(0, "localhost", Sought::Host(Family::V4)),
            Some(loopback)
        );
        assert_eq!(look_up(0, "lo", Sought::Interface), Some(loopback));
    }

    #[test]
    fn what_is_not_there_or_one_too_many_is_answered_all_the_same() {
        assert_eq!(look_up(0, "none", Sought::Interface), None);
        assert_eq!(look_up(0, "127.0.0.1", Sought::Host(Family::V6)), None);
        assert_eq!(look_up(THREADS_MAX, "lo", Sought::Interface), None);
    }
}
