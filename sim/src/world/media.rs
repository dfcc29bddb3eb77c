//! The part of the world that is about media: peers, their datagrams, and what they do.

use std::collections::BTreeMap;

use crate::faults::scenario::Scenario;
use crate::kernel::datagrams::{Arrival, Datagrams, client_at};
use crate::kernel::key::Key;
use crate::kernel::tcp::HostId;
use crate::kernel::trace::Lane;
use crate::models::Model;
use crate::models::peer::{LANES, Peer};
use crate::world::gateway::{seed_libraries, some_instant};
use crate::world::physics::{Event, Physics, peer_host};
use crate::world::{START, World};

/// Puts all peers of a scenario into the world.
pub(super) fn place(
    scenario: &Scenario,
    physics: &mut Physics,
    models: &mut BTreeMap<HostId, Box<dyn Model>>,
) {
    let media = &scenario.media;
    physics.datagrams = Datagrams::new(media.link, physics.key.named("udp"));
    for (index, plan) in (0..).zip(&media.peers) {
        let host = peer_host(index);
        let peer = Peer::new(index, *plan, host, some_instant());
        models.insert(host, Box::new(peer));
        let token = START;
        physics.queue.push(plan.start, Event::Timer { host, token });
    }
    for (index, act) in media.acts.iter().enumerate() {
        physics.queue.push(act.at, Event::Act(index));
    }
}

/// Runs on a thread of its own if there is media: there the libraries of others see clocks that
/// stand and entropy that the seed makes.
pub(super) fn on_a_thread_if_needed<T: Send>(
    scenario: &Scenario,
    run: impl FnOnce() -> T + Send,
) -> T {
    if scenario.media.peers.is_empty() {
        return run();
    }
    let seed = Key::of_seed(scenario.seed).named("shim").value();
    std::thread::scope(|scope| {
        let armed = move || {
            bifrons_sim_shim::arm(seed);
            run()
        };
        let joined = scope.spawn(armed).join();
        joined.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    })
}

/// Seeds what the libraries of a host draw from, for what it does now.
pub(super) fn seed_host(physics: &Physics, host: HostId) {
    let key = physics.key.named("libraries of a host");
    seed_libraries(key.at(u64::from(host.0)).at(physics.now().as_nanos()));
}

impl World {
    /// A datagram has arrived.
    pub(super) fn datagram(&mut self, arrival: Arrival) {
        let physics = &mut self.physics;
        let Some(flight) = physics.datagrams.take(arrival) else {
            return;
        };
        let Some(peer) = client_at(flight.to) else {
            self.gateway.datagram(physics, flight);
            return;
        };
        let host = peer_host(peer);
        if let Some(model) = self.models.get_mut(&host) {
            seed_host(physics, host);
            model.datagram(physics, flight.from, flight.to, &flight.bytes);
        }
    }

    /// A peer does what its scenario says.
    pub(super) fn act(&mut self, index: usize) {
        let physics = &mut self.physics;
        let act = self.scenario.media.acts[index];
        let host = peer_host(act.peer);
        let at = physics.now();
        physics.trace.event(at, "act", index as u64, 0);
        if let Some(model) = self.models.get_mut(&host) {
            physics.line(Lane::Client(LANES + act.peer), || format!("{:?}", act.what));
            seed_host(physics, host);
            model.act(physics, act.what);
        }
    }
}
