//! The world: one gateway, proxies, clients and faults on one queue of events.

pub mod gateway;
mod media;
pub mod physics;
mod strike;

use std::collections::BTreeMap;
use std::time::Duration;

use bifrons::metrics::Metrics;
use bifrons::shard::Control;

use crate::faults::scenario::{ClientPlan, Finale, Role, Scenario, Via};
use crate::kernel::key::Key;
use crate::kernel::tcp::HostId;
use crate::kernel::time::SimTime;
use crate::kernel::trace::{Lane, Trace};
use crate::models::Model;
use crate::models::abuser::Abuser;
use crate::models::browser::Browser;
use crate::models::operator::Operator;
use crate::models::proxy::Proxy;
use crate::models::slow::Slow;
use crate::models::socket::SocketClient;
use crate::models::stream::Listener;
use crate::oracle::watch::{Happening, Watch};
use crate::oracle::{Violation, all, books};
use crate::world::gateway::Gateway;
use crate::world::physics::{Event, GATEWAY, Phase, Physics, client_host, proxy_host};

/// A run of one scenario.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    physics: Physics,
    gateway: Gateway,
    models: BTreeMap<HostId, Box<dyn Model>>,
    /// For faults that wait: how often what they wait for has happened, by fault.
    waited: Vec<u32>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// The hash of everything that happened.
    pub hash: u64,
    /// The hash of what reached the clients' applications.
    pub transcript: u64,
    /// What the gateway has counted.
    pub metrics: Metrics,
    /// How many events there were.
    pub events: u64,
    /// How long the world lasted, in true time.
    pub lasted: SimTime,
    /// Events of plugins that reached clients.
    pub delivered: u32,
    /// The record.
    pub trace: Trace,
}

/// The client that comes after the faults.
const PROBE: u32 = 900;
const EVENTS_MAX: u64 = 3_000_000;

impl World {
    /// Makes a world.
    pub fn new(scenario: &Scenario, trace: Trace) -> Self {
        let watch = Watch::new(scenario, all());
        let mut physics = Physics::new(
            scenario.seed,
            scenario.network,
            scenario.shuffle,
            trace,
            watch,
        );
        let gateway = Gateway::new(scenario, &physics);
        let mut models: BTreeMap<HostId, Box<dyn Model>> = BTreeMap::new();
        for (index, plan) in (0..).zip(&scenario.clients) {
            let host = client_host(index);
            models.insert(host, client(index, *plan, host));
            if plan.via != Via::Direct {
                let host = proxy_host(index);
                models.insert(host, Box::new(Proxy::new(index, plan.via, host)));
            }
            let token = START;
            physics.queue.push(plan.start, Event::Timer { host, token });
        }
        media::place(scenario, &mut physics, &mut models);
        let heal = scenario.heal;
        for (phase, after) in [
            (Phase::Heal, 0),
            (Phase::Probe, 5),
            (Phase::Judge, 50),
            (Phase::Leave, 100),
            (Phase::Away, 140),
            (Phase::End, 290),
        ] {
            physics
                .queue
                .push(heal + Duration::from_secs(after), Event::Phase(phase));
        }
        Self {
            waited: vec![0; scenario.faults.len()],
            scenario: scenario.clone(),
            physics,
            gateway,
            models,
        }
    }

    /// Puts another model in the place of a client, which begins when the client would have.
    #[must_use]
    pub fn with_client(mut self, index: u32, make: impl FnOnce(HostId) -> Box<dyn Model>) -> Self {
        let host = client_host(index);
        self.models.insert(host, make(host));
        self
    }

    /// Runs a scenario to its end. A panic is a rule that was broken, too.
    pub fn run_caught(scenario: &Scenario, trace: Trace) -> Outcome {
        let caught = media::on_a_thread_if_needed(scenario, || {
            std::panic::catch_unwind(|| Self::new(scenario, trace).run())
        });
        caught.unwrap_or_else(|payload| {
            let text = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied());
            Outcome {
                violation: Some(Violation {
                    invariant: "no-panic",
                    at: SimTime::START,
                    detail: text.unwrap_or("a panic").to_owned(),
                }),
                hash: 0,
                transcript: 0,
                metrics: Metrics::default(),
                events: 0,
                lasted: SimTime::START,
                delivered: 0,
                trace: Trace::hashing(),
            }
        })
    }

    /// Runs a scenario, and for a share of those with wall-clock faults checks that these change
    /// nothing that a client sees.
    pub fn judge(scenario: &Scenario) -> Outcome {
        let mut outcome = Self::run_caught(scenario, Trace::hashing());
        let is_drawn = Key::of_seed(scenario.seed).named("inert").chance(1, 4);
        if outcome.violation.is_none() && is_drawn && scenario.has_wall_faults() {
            let calm = Self::run_caught(&scenario.without_wall_faults(), Trace::hashing());
            if calm.transcript != outcome.transcript {
                outcome.violation = Some(Violation {
                    invariant: "wall-step-inert",
                    at: outcome.lasted,
                    detail: "without its wall-clock faults clients see something else".to_owned(),
                });
            }
        }
        outcome
    }

    /// Runs a scenario where its libraries are as it wants them, and tells of each step.
    pub fn run_told(
        scenario: &Scenario,
        trace: Trace,
        tell: impl FnMut(SimTime, Event, u64) + Send,
    ) -> Outcome {
        media::on_a_thread_if_needed(scenario, || Self::new(scenario, trace).run_watched(tell))
    }

    /// Runs to the end, or to the first rule that is broken.
    pub fn run(self) -> Outcome {
        self.run_watched(|_, _, _| {})
    }

    /// The same, and tells of each step: when, which, and the hash after it.
    pub fn run_watched(mut self, mut tell: impl FnMut(SimTime, Event, u64)) -> Outcome {
        self.gateway.start(&mut self.physics);
        self.schedule_faults();
        let mut events = 0;
        while self.physics.watch.violation().is_none() {
            let Some(event) = self.physics.queue.pop() else {
                break;
            };
            events += 1;
            if events > EVENTS_MAX {
                let at = self.physics.now();
                let detail = format!("more than {EVENTS_MAX} events");
                self.physics.watch.report("no-livelock", at, detail);
                break;
            }
            if self.physics.trace.is_keeping() {
                let now = self.gateway.shown(self.physics.now());
                self.physics.trace.show(now);
            }
            self.step(event);
            tell(self.physics.now(), event, self.physics.trace.hash());
            for happening in self.physics.watch.take_happenings() {
                self.strike_on(happening);
            }
            if event == Event::Phase(Phase::End) {
                break;
            }
        }
        let delivered = self
            .models
            .values()
            .map(|model| model.progress().events_count);
        Outcome {
            violation: self.physics.watch.violation().cloned(),
            hash: self.physics.trace.hash(),
            transcript: self.physics.transcript.hash(),
            metrics: self.gateway.metrics(),
            events,
            lasted: self.physics.now(),
            delivered: delivered.sum(),
            trace: self.physics.trace,
        }
    }

    fn step(&mut self, event: Event) {
        let physics = &mut self.physics;
        match event {
            Event::Deadline { shard, number } => self.gateway.deadline(physics, shard, number),
            Event::Act(index) => self.act(index),
            Event::Datagram(arrival) => self.datagram(arrival),
            Event::Fault(index) => self.strike(index),
            Event::FaultEnd(index) => self.relent(index),
            Event::Mesh { shard } => self.gateway.mesh(physics, shard),
            Event::Phase(phase) => self.phase(phase),
            Event::Tcp(event) => {
                if let Some((host, socket, notice)) = physics.tcp.step(&mut physics.queue, event) {
                    if host == GATEWAY {
                        self.gateway.notice(physics, socket, notice);
                    } else if let Some(model) = self.models.get_mut(&host) {
                        media::seed_host(physics, host);
                        model.notice(physics, socket, notice);
                    }
                }
            }
            Event::Timer { host, token } => {
                if let Some(model) = self.models.get_mut(&host) {
                    media::seed_host(physics, host);
                    if token == START {
                        model.start(physics);
                    } else {
                        model.timer(physics, token);
                    }
                }
            }
            Event::Turn { shard } => self.gateway.turn(physics, shard),
            Event::Wrote { shard, conn, count } => {
                self.gateway.wrote(physics, shard, conn, count);
            }
        }
    }

    fn phase(&mut self, phase: Phase) {
        let physics = &mut self.physics;
        let at = physics.now();
        physics.trace.event(at, "phase", phase as u64, 0);
        physics.line(Lane::Fault, || format!("phase {phase:?}"));
        match phase {
            Phase::Heal => self.heal(),
            Phase::Probe => {
                let plan = ClientPlan {
                    role: Role::Browser,
                    via: Via::Direct,
                    start: at,
                    messages: 1,
                    gap: Duration::from_secs(1),
                    maxev: 10,
                    think: Duration::ZERO,
                    handles: 1,
                };
                let host = client_host(PROBE);
                let mut probe = client(PROBE, plan, host);
                probe.start(physics);
                self.models.insert(host, probe);
            }
            Phase::Judge => {
                let probe = &self.models[&client_host(PROBE)];
                if probe.progress().events_count == 0 {
                    let detail =
                        "a fresh client got no event within 45 s after all faults".to_owned();
                    physics.watch.report("liveness", at, detail);
                }
            }
            Phase::Leave => {
                physics.watch.leaving(self.gateway.stamp(at, 0));
                let control = match self.scenario.finale {
                    Finale::Leave => return self.leave(),
                    Finale::Drain => Control::Drain,
                    Finale::Stop => Control::Stop,
                };
                physics.watch.ledger.draining_since = Some(self.gateway.stamp(at, 0));
                self.gateway.control(physics, &control);
            }
            Phase::Away => self.leave(),
            Phase::End => {
                self.check_empty();
                self.physics.watch.finished(at);
            }
        }
    }

    fn leave(&mut self) {
        for model in self.models.values_mut() {
            model.leave(&mut self.physics);
        }
    }

    /// Nothing is left of anybody, and the gateway's own books say so.
    fn check_empty(&mut self) {
        let at = self.physics.now();
        let metrics = self.gateway.metrics();
        for (invariant, what, count) in books::leftovers(&metrics) {
            if count != 0 {
                let detail = format!("{what}: {count}");
                self.physics.watch.report(invariant, at, detail);
            }
        }
        let connections = self.gateway.connections() as i128;
        let waiting = self
            .gateway
            .shards()
            .filter(|shard| shard.deadline().is_some())
            .count() as i128;
        let is_over = self.scenario.finale != Finale::Leave;
        let undrained = self
            .gateway
            .shards()
            .filter(|shard| is_over && !shard.is_drained())
            .count() as i128;
        let others = [
            ("drain-completes", "shards that do not stop", undrained),
            ("no-connection-leak", "connections left open", connections),
            ("no-timer-leak", "shards that still wait for time", waiting),
        ];
        for (invariant, what, count) in others {
            if count != 0 {
                let detail = format!("{what}: {count}");
                self.physics.watch.report(invariant, at, detail);
            }
        }
    }

    fn strike_on(&mut self, happening: Happening) {
        self.strike_waiting(happening);
    }
}

/// The token of the timer that starts a client.
const START: u64 = u64::MAX;

fn client(index: u32, plan: ClientPlan, host: HostId) -> Box<dyn Model> {
    let to = match plan.via {
        Via::Direct => GATEWAY,
        Via::Nginx10 | Via::Nginx11 | Via::Nginx11Unbuffered => proxy_host(index),
    };
    match plan.role {
        Role::Abuser => Box::new(Abuser::new(index, plan, host, GATEWAY)),
        Role::Browser | Role::HalfCloser | Role::Pipeliner | Role::ManyPolls => {
            Box::new(Browser::new(index, plan, host, to))
        }
        Role::Operator => Box::new(Operator::new(index, plan, host, GATEWAY)),
        Role::SlowReader | Role::SlowSender => Box::new(Slow::new(index, plan, host, to)),
        Role::SlowSocket | Role::Socket => Box::new(SocketClient::new(index, plan, host, GATEWAY)),
        Role::Stream => Box::new(Listener::new(index, plan, host, to)),
    }
}
