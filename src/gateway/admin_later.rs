//! Admin requests whose answer takes its time: what plugins are asked, and what is asked of the
//! network.
//!
//! Invariant: each is answered once, as long as the platform answers, and nobody waits for it but
//! the client that asked.

use std::net::SocketAddr;

use serde_json::{Map, Value};

use crate::base::clock::{Monotonic, Now};
use crate::base::error::{ApiError, ErrorCode};
use crate::gateway::acts::{Creditor, Owed};
use crate::gateway::admin::AdminRoute;
use crate::gateway::outside::{Seeker, Sought};
use crate::gateway::plugin::AdminAnswer;
use crate::gateway::reply::{Message, error};
use crate::gateway::request::Envelope;
use crate::gateway::session::Origin;
use crate::gateway::{Gateway, kind};
use crate::metrics::Metrics;

/// What a client of the Admin API wants to know of the network.
#[derive(Debug)]
pub(super) struct AdminAsked {
    origin: Origin,
    transaction: Box<str>,
    sought: Sought,
    since: Monotonic,
}

impl Gateway {
    /// Asks a plugin. What it needs of other shards it asks them itself.
    pub(super) fn message_plugin(
        &mut self,
        now: Now,
        origin: Origin,
        request: &Envelope,
        (package, body): (&str, &Map<String, Value>),
        metrics: &mut Metrics,
    ) -> AdminRoute {
        let fail = |code, reason: &str| {
            AdminRoute::Answered(request.fail(&ApiError::new(code, reason.to_owned())))
        };
        let mut plugins = self.plugins.iter();
        let Some(plugin) = plugins.position(|each| each.info().package == package) else {
            return fail(ErrorCode::PluginNotFound, "Invalid plugin");
        };
        let answer = self.call(now, plugin, |plugin, cx| plugin.admin(cx, body));
        let (route, ticket) = match answer {
            None => {
                let reason = "Plugin does not support Admin API/Monitor requests";
                (fail(ErrorCode::Unknown, reason), None)
            }
            Some(AdminAnswer::Later(ticket)) => (AdminRoute::Later, Some(ticket)),
            Some(AdminAnswer::Now(response)) => {
                let reply = kind(request, "success").value("response", &response);
                (AdminRoute::Answered(reply.finish()), None)
            }
        };
        if let Some(ticket) = ticket {
            let owed = Owed {
                origin,
                to: Creditor::Admin,
                transaction: request.transaction.clone(),
                early: None,
                is_new: true,
            };
            self.owed.insert(ticket, owed);
        }
        self.publish(now, metrics);
        let early = ticket.and_then(|ticket| self.owe(now, ticket));
        early.map_or(route, AdminRoute::Answered)
    }

    /// Has something looked up in the network.
    pub(super) fn seek(
        &mut self,
        now: Now,
        origin: Origin,
        request: &Envelope,
        name: &str,
        sought: Sought,
    ) -> AdminRoute {
        let asked = AdminAsked {
            origin,
            transaction: request.transaction.clone(),
            sought,
            since: now.monotonic,
        };
        let max = self.config.limits.lookups_count;
        match self.lookups.begin(Seeker::Admin(asked), name, sought, max) {
            Some(_) => AdminRoute::Later,
            None => AdminRoute::Answered(request.fail(&not_found(sought))),
        }
    }

    /// Tells a client what was found in the network.
    pub(super) fn tell_admin(&mut self, now: Now, asked: &AdminAsked, found: Option<SocketAddr>) {
        let transaction = Some(&*asked.transaction);
        let reply = match found {
            None => error(None, transaction, &not_found(asked.sought)),
            Some(found) => {
                let success = Message::new("success").transaction(transaction);
                let ip = found.ip().to_string();
                let elapsed = now.monotonic.saturating_since(asked.since).as_micros();
                let success = match asked.sought {
                    Sought::Host(_) | Sought::Interface => success.string("ip", &ip),
                    Sought::Mapped { .. } => success
                        .string("public_ip", &ip)
                        .integer("public_port", found.port().into()),
                };
                let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
                success.integer("elapsed", elapsed).finish()
            }
        };
        self.replies.push((asked.origin, reply));
    }
}

fn not_found(sought: Sought) -> ApiError {
    let reason = match sought {
        Sought::Host(_) | Sought::Interface => "Could not resolve address",
        Sought::Mapped { .. } => "STUN request failed",
    };
    ApiError::new(ErrorCode::Unknown, reason)
}
