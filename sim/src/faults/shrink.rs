//! Makes a failing scenario smaller while it keeps failing in the same way.
//!
//! Delta debugging over the scenario, not over the seed: faults in halves, quarters and ones,
//! then clients, then every parameter to its plain value, until nothing can go any more.

use std::time::Duration;

use crate::faults::scenario::{ClientPlan, FaultKind, Scenario, Trigger};
use crate::kernel::time::SimTime;
use crate::world::World;

/// A scenario that was made smaller.
#[derive(Debug)]
pub struct Shrunk {
    /// The smallest scenario that was found.
    pub scenario: Scenario,
    /// How many runs that took.
    pub runs: u32,
}

/// Shrinks a scenario that breaks `invariant`.
pub fn shrink(scenario: &Scenario, invariant: &str) -> Shrunk {
    let mut search = Search {
        best: scenario.clone(),
        invariant,
        runs: 0,
    };
    loop {
        let before = search.best.clone();
        search.drop_faults();
        search.drop_clients();
        search.shrink_media();
        search.reset_parameters();
        search.simplify_clients();
        search.simplify_faults();
        if search.best == before || search.runs > RUNS_MAX {
            return Shrunk {
                scenario: search.best,
                runs: search.runs,
            };
        }
    }
}

/// A scenario that does not shrink in so many runs is small enough.
const RUNS_MAX: u32 = 600;

pub(super) struct Search<'a> {
    pub(super) best: Scenario,
    invariant: &'a str,
    runs: u32,
}

impl Search<'_> {
    /// Keeps a changed scenario if it still fails in the same way.
    pub(super) fn try_with(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        if candidate == self.best {
            return false;
        }
        self.runs += 1;
        let outcome = World::judge(&candidate);
        let fails = outcome
            .violation
            .is_some_and(|violation| violation.invariant == self.invariant);
        if fails {
            self.best = candidate;
        }
        fails
    }

    fn drop_faults(&mut self) {
        let mut size = self.best.faults.len();
        while size > 0 {
            let mut at = 0;
            while at < self.best.faults.len() {
                let end = (at + size).min(self.best.faults.len());
                let is_gone = self.try_with(|scenario| {
                    scenario.faults.drain(at..end);
                });
                if !is_gone {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn drop_clients(&mut self) {
        for index in (0..self.best.clients.len()).rev() {
            self.try_with(|scenario| remove_client(scenario, index));
        }
    }

    fn reset_parameters(&mut self) {
        let plain = Scenario::plain();
        let resets: [&dyn Fn(&mut Scenario); 13] = [
            &|it| it.clocks = plain.clocks,
            &|it| it.clocks.origins = plain.clocks.origins,
            &|it| it.clocks.are_apart = false,
            &|it| it.clocks.granularity = Duration::ZERO,
            &|it| it.network = plain.network,
            &|it| it.network.latency = plain.network.latency,
            &|it| it.network.window = plain.network.window,
            &|it| it.network.segment_max = plain.network.segment_max,
            &|it| it.gateway = plain.gateway,
            &|it| {
                it.gateway.shards = 1;
                it.gateway.mesh_max = plain.gateway.mesh_max;
            },
            &|it| {
                it.gateway.turn_max = Duration::ZERO;
                it.gateway.slack_max = Duration::ZERO;
            },
            &|it| it.gateway.read_max = plain.gateway.read_max,
            &|it| it.shuffle = false,
        ];
        for reset in resets {
            self.try_with(reset);
        }
        let resets: [&dyn Fn(&mut Scenario); 4] = [
            &|it| it.finale = plain.finale,
            &|it| it.gateway.write_max = plain.gateway.write_max,
            &|it| it.gateway.session_timeout = plain.gateway.session_timeout,
            &|it| it.gateway.out_bytes = plain.gateway.out_bytes,
        ];
        for reset in resets {
            self.try_with(reset);
        }
    }

    fn simplify_clients(&mut self) {
        for index in 0..self.best.clients.len() {
            let plain = |it: &ClientPlan| ClientPlan {
                role: it.role,
                ..ClientPlan::PLAIN
            };
            if self.try_with(|it| it.clients[index] = plain(&it.clients[index])) {
                continue;
            }
            self.try_with(|it| it.clients[index].via = ClientPlan::PLAIN.via);
            self.try_with(|it| it.clients[index].start = SimTime::START);
            self.try_with(|it| it.clients[index].messages = 0);
            self.try_with(|it| it.clients[index].messages /= 2);
            self.try_with(|it| it.clients[index].gap = ClientPlan::PLAIN.gap);
            self.try_with(|it| it.clients[index].think = Duration::ZERO);
            self.try_with(|it| it.clients[index].handles = 1);
            self.try_with(|it| it.clients[index].maxev = ClientPlan::PLAIN.maxev);
        }
    }

    /// Rounds times to whole seconds and halves spans.
    fn simplify_faults(&mut self) {
        for index in 0..self.best.faults.len() {
            self.try_with(|it| {
                if let Trigger::At(at) = &mut it.faults[index].when {
                    *at = SimTime::from_secs(at.as_nanos() / 1_000_000_000);
                }
            });
            self.try_with(|it| halve(&mut it.faults[index].what));
        }
    }
}

fn remove_client(scenario: &mut Scenario, index: usize) {
    scenario.clients.remove(index);
    // Clients after it have another number from here on.
    let renumber = |client: &mut u32| {
        let is_it = *client as usize == index;
        if *client as usize > index {
            *client -= 1;
        }
        !is_it
    };
    scenario.faults.retain_mut(|fault| {
        let is_kept = match &mut fault.when {
            Trigger::OnEvent { client, .. }
            | Trigger::OnPartialAnswer { client, .. }
            | Trigger::OnPoll { client, .. } => renumber(client),
            Trigger::At(_) => true,
        };
        let is_aimed = match &mut fault.what {
            FaultKind::TcpHold { client, .. } | FaultKind::TcpReset { client, .. } => {
                renumber(client)
            }
            FaultKind::ClockDrift { .. }
            | FaultKind::ClockSlew { .. }
            | FaultKind::ClockStrobe { .. }
            | FaultKind::ClockSuspend { .. }
            | FaultKind::ClockWallStep { .. }
            | FaultKind::Descriptors { .. }
            | FaultKind::MeshDelay { .. }
            | FaultKind::Refuse { .. }
            | FaultKind::ShardFreeze { .. }
            | FaultKind::UdpBlock { .. } => true,
        };
        is_kept && is_aimed
    });
}

fn halve(what: &mut FaultKind) {
    match what {
        FaultKind::ClockDrift { ppm } => *ppm /= 2,
        FaultKind::ClockWallStep { seconds } => *seconds /= 2,
        FaultKind::ClockStrobe { times, .. } => *times = (*times).div_ceil(2),
        FaultKind::ClockSlew { span, .. }
        | FaultKind::ClockSuspend { span }
        | FaultKind::Descriptors { span, .. }
        | FaultKind::MeshDelay { span, .. }
        | FaultKind::Refuse { span }
        | FaultKind::ShardFreeze { span, .. }
        | FaultKind::TcpHold { span, .. }
        | FaultKind::UdpBlock { span, .. } => {
            *span = Duration::from_millis(span.as_millis() as u64 / 2);
        }
        FaultKind::TcpReset { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::scenario::Fault;

    #[test]
    fn faults_of_a_client_that_goes_go_with_it() {
        let mut scenario = Scenario::plain();
        scenario.clients = vec![ClientPlan::PLAIN; 3];
        let fault = |client| Fault {
            when: Trigger::OnPoll { client, nth: 1 },
            what: FaultKind::TcpReset {
                client,
                which: crate::faults::scenario::Link::Poll,
            },
        };
        scenario.faults = vec![fault(0), fault(1), fault(2)];
        remove_client(&mut scenario, 1);
        assert_eq!(scenario.faults, [fault(0), fault(1)]);
    }
}
