//! Requests that wait until the names in them are looked up.
//!
//! Invariant: a request goes on only while its client still waits: one that was told that it took
//! too long must not find later that it was carried out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::base::id::SessionId;
use crate::gateway::outside::LookupId;
use crate::gateway::plugin::{Cx, Ticket};
use crate::plugins::videoroom::fault::Fault;
use crate::plugins::videoroom::forward::Host;
use crate::plugins::videoroom::manage::{Manage, RoomAction, RoomRequest};

/// The requests that wait.
#[derive(Debug, Default)]
pub(super) struct Resolving {
    under_way: BTreeMap<LookupId, Ticket>,
    requests: BTreeMap<Ticket, (SessionId, Manage)>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Resolved {
    /// It cannot be carried out.
    Failed(Ticket, Fault),
    /// It can.
    Ready(Ticket, SessionId, Manage),
    /// It waits, or nobody waits for it.
    Waits,
}

impl Resolving {
    /// Takes a request; one at a time of its names is looked up.
    pub(super) fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        source: SessionId,
        mut request: Manage,
    ) -> Resolved {
        let hosts = hosts(&mut request);
        let Some(host) = hosts.first() else {
            return Resolved::Ready(ticket, source, request);
        };
        let Some(lookup) = cx.look_up(&host.name, host.sought) else {
            return Resolved::Failed(ticket, host.unresolved());
        };
        self.under_way.insert(lookup, ticket);
        self.requests.insert(ticket, (source, request));
        Resolved::Waits
    }

    /// Takes in what a name stands for.
    pub(super) fn found(
        &mut self,
        cx: &mut Cx<'_>,
        lookup: LookupId,
        address: Option<IpAddr>,
    ) -> Resolved {
        let Some(ticket) = self.under_way.remove(&lookup) else {
            return Resolved::Waits;
        };
        let request = self.requests.remove(&ticket);
        let Some((source, mut request)) = request.filter(|_| cx.is_awaited(ticket)) else {
            return Resolved::Waits;
        };
        let mut waiting = hosts(&mut request);
        // The first is the one that was looked up; others of the same name are found with it.
        let (name, sought) = match waiting.first() {
            Some(host) => (host.name.clone(), host.sought),
            None => return Resolved::Ready(ticket, source, request),
        };
        for host in waiting
            .iter_mut()
            .filter(|host| host.name == name && host.sought == sought)
        {
            if let Err(fault) = host.found(address) {
                return Resolved::Failed(ticket, fault);
            }
        }
        self.begin(cx, ticket, source, request)
    }
}

/// The hosts in a request that are yet to be looked up.
fn hosts(request: &mut Manage) -> Vec<&mut Host> {
    match request {
        Manage::Room(RoomRequest {
            what: RoomAction::Export { export, .. },
            ..
        }) => export.hosts_mut(),
        Manage::Room(RoomRequest {
            what: RoomAction::AddRemote(add),
            ..
        }) => {
            let interface = add.interface.iter_mut();
            interface.filter(|host| host.address.is_none()).collect()
        }
        Manage::Create { .. } | Manage::List { .. } | Manage::Room(_) => Vec::new(),
    }
}
