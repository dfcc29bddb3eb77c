//! How the gateway's host begins: with what configuration, which clocks and which listeners.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bifrons::base::clock::Anchor;
use bifrons::base::id::ShardId;
use bifrons::base::slab::Slab;
use bifrons::config::{Config, Secret};
use bifrons::media::{Certificate, LocalSocket};
use bifrons::shard::{Listener, Outbox, Setup, Shard};

use super::{Gateway, ShardHost, media_address, some_instant};
use crate::faults::scenario::{Role, Scenario};
use crate::kernel::clock::{ClockModel, ClockOrigins};
use crate::kernel::mesh::Mesh;
use crate::kernel::tcp::HostId;
use crate::kernel::time::SimTime;
use crate::models::peer::dtls;
use crate::world::physics::{Physics, client_host};

/// The secret of the Admin API.
pub const ADMIN_SECRET: &str = "a secret of some length";

impl Gateway {
    /// Starts all shards.
    pub fn new(scenario: &Scenario, physics: &Physics) -> Self {
        let plan = scenario.gateway;
        let key = physics.key.named("gateway");
        let mut config = Config::default();
        config.general.session_timeout = Some(plan.session_timeout);
        config.general.reclaim_session_timeout = plan.reclaim;
        config.admin.secret = Some(Secret::new(ADMIN_SECRET.to_owned()));
        config.limits.out_bytes = plan.out_bytes;
        config.shards = Some(plan.shards);
        let config = Arc::new(config);
        let shards = (0..plan.shards)
            .map(|id| {
                let origins = if scenario.clocks.are_apart && id > 0 {
                    ClockOrigins::draw(key.named("origins").at(u64::from(id)))
                } else {
                    scenario.clocks.origins
                };
                let clock = ClockModel::new(origins).with_granularity(scenario.clocks.granularity);
                let now = clock.read(SimTime::START);
                let setup = Setup {
                    id: ShardId(id),
                    shards: plan.shards,
                    config: Arc::clone(&config),
                    seed: key.named("shard").at(u64::from(id)).seed_bytes(),
                    anchor: Anchor::new(some_instant(), now.monotonic),
                    sockets: vec![LocalSocket {
                        bound: media_address(ShardId(id)),
                        advertised: Vec::new(),
                    }],
                    certificate: certificate(),
                    crypto: Some(dtls::crypto()),
                };
                ShardHost {
                    shard: Shard::new(setup, now),
                    clock,
                    conns: Slab::default(),
                    ended: BTreeSet::new(),
                    inbox: VecDeque::new(),
                    sockets: BTreeMap::new(),
                    backlog: VecDeque::new(),
                    descriptors: plan.descriptors,
                    outbox: Outbox::default(),
                    turns: 0,
                    is_turn_due: false,
                    frozen_until: SimTime::START,
                    armed: None,
                    arming: 0,
                }
            })
            .collect();
        Self {
            shards,
            mesh: Mesh::new(plan.shards, plan.mesh_max, key.named("mesh")),
            places: BTreeMap::new(),
            speaks: speaks(scenario),
            key,
            turn_max: plan.turn_max,
            slack_max: plan.slack_max,
            read_max: plan.read_max,
            write_max: plan.write_max,
            mesh_delay: (Duration::ZERO, SimTime::START),
            reference: ClockModel::new(ClockOrigins::ZERO),
        }
    }
}

/// The listeners to which the clients connect that speak something else than REST.
fn speaks(scenario: &Scenario) -> BTreeMap<HostId, Listener> {
    let clients = (0..).map(client_host).zip(&scenario.clients);
    let listener = |role| match role {
        Role::Operator => Some(Listener::Admin),
        Role::SlowSocket | Role::Socket => Some(Listener::WebSocket),
        Role::Abuser
        | Role::Browser
        | Role::HalfCloser
        | Role::ManyPolls
        | Role::Pipeliner
        | Role::SlowReader
        | Role::SlowSender
        | Role::Stream => None,
    };
    clients
        .filter_map(|(host, plan)| Some((host, listener(plan.role)?)))
        .collect()
}

/// One certificate for all runs: its fingerprint stands in every session description.
fn certificate() -> Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    let pem = include_str!("../certificate.pem");
    CERTIFICATE
        .get_or_init(|| Certificate::from_pem(pem, pem).expect("it is a certificate and its key"))
        .clone()
}
