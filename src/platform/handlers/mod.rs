//! Event handlers: threads that send reports to collectors, over HTTP and over WebSocket.
//!
//! Each collector has a spool of its own (`spool`), so that one that is down holds up no other, and
//! a courier that knows how to tell that something was taken: `post` by the status of an answer,
//! `socket` by a pong. Both may deliver twice what the connection broke under, and lose nothing.

mod link;
mod post;
mod socket;
mod spool;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub use spool::Outlet;

use self::link::now;
use self::spool::{Running, Tally};
use super::host::Trouble;
use super::sources;
use crate::base::rng::Rng;
use crate::config::{Backend, EventsConfig};
use crate::driver::HandlerCounts;
use crate::gateway::reports::Report;
use crate::wire::tls_client::Trust;

/// How long the end of the process waits for what is left.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Where distributions keep whom they trust.
const AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The handlers that run.
#[derive(Debug, Default)]
pub(super) struct Handlers {
    post: Option<Running>,
    ws: Option<Running>,
}

/// What became of reports, seen from any thread.
#[derive(Clone, Debug, Default)]
pub struct HandlerTallies {
    post: Option<Arc<Tally>>,
    ws: Option<Arc<Tally>>,
}

/// Starts what the configuration wants. The outlets are for the shards.
///
/// # Errors
///
/// When there can be no thread, or nobody is trusted to vouch for a collector.
pub(super) fn start(config: &EventsConfig) -> Result<(Vec<Outlet>, Handlers), Trouble> {
    let mut outlets = Vec::new();
    let mut handlers = Handlers::default();
    if !config.enabled {
        return Ok((outlets, handlers));
    }
    let post = config.post.backend.as_ref().filter(|_| config.post.enabled);
    let ws = config.ws.backend.as_ref().filter(|_| config.ws.enabled);
    let mut backends = [post, ws].into_iter().flatten();
    let trust = if backends.any(|backend| backend.scheme.is_secure()) {
        Some(trust(config.ca_pem.as_deref())?)
    } else {
        None
    };
    let no_thread = |error: io::Error| Trouble::new(format!("no event handler: {error}"));
    if let Some(backend) = post {
        let authorities = Authorities::new(config, trust.clone());
        let poster = post::Poster::new(backend.clone(), config.post.clone(), authorities);
        let backoff = post::backoff(&config.post);
        let (outlet, running) =
            spool::start(poster, config.post.mask, backoff).map_err(no_thread)?;
        outlets.push(outlet);
        handlers.post = Some(running);
    }
    if let Some(backend) = ws {
        let rng = Rng::from_seed(sources::seed().map_err(no_thread)?);
        let authorities = Authorities::new(config, trust);
        let socket = socket::Socket::new(backend.clone(), config.ws.clone(), authorities, rng);
        let backoff = socket::backoff(&config.ws);
        let (outlet, running) = spool::start(socket, config.ws.mask, backoff).map_err(no_thread)?;
        outlets.push(outlet);
        handlers.ws = Some(running);
    }
    Ok((outlets, handlers))
}

/// Whom a handler trusts to vouch for its server.
pub(super) struct Authorities {
    /// `events.ca_pem`.
    file: Option<PathBuf>,
    /// What was read of it, once there was a server to be vouched for.
    trust: Option<Trust>,
}

impl Authorities {
    fn new(config: &EventsConfig, trust: Option<Trust>) -> Self {
        Self {
            file: config.ca_pem.clone(),
            trust,
        }
    }

    /// Returns what is needed for this server.
    pub(super) fn of(&mut self, backend: &Backend) -> io::Result<Option<&Trust>> {
        if !backend.scheme.is_secure() {
            return Ok(None);
        }
        if self.trust.is_none() {
            let read = trust(self.file.as_deref());
            self.trust = Some(read.map_err(|trouble| io::Error::other(trouble.to_string()))?);
        }
        Ok(self.trust.as_ref())
    }
}

fn trust(file: Option<&Path>) -> Result<Trust, Trouble> {
    let system = || {
        AUTHORITIES
            .map(Path::new)
            .into_iter()
            .find(|path| path.exists())
    };
    let Some(path) = file.or_else(system) else {
        return Err(Trouble::new(
            "no certificate authorities: install ca-certificates, or set events.ca_pem",
        ));
    };
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Trouble::new(format!("events.ca_pem: {shown}: {error}")))?;
    Trust::from_pem(&text, sources::unix_time)
        .map_err(|error| Trouble::new(format!("events.ca_pem: {shown}: {error}")))
}

/// Reports as one array.
fn array(reports: &[Report]) -> String {
    let mut text = String::from("[");
    for (place, report) in reports.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&report.text);
    }
    text.push(']');
    text
}

impl Handlers {
    /// What one of the shards tells in its metrics.
    pub(super) fn tallies(&self) -> HandlerTallies {
        let tally = |running: &Option<Running>| Some(Arc::clone(&running.as_ref()?.tally));
        HandlerTallies {
            post: tally(&self.post),
            ws: tally(&self.ws),
        }
    }

    /// Waits until what was reported is delivered, but not for long.
    pub(super) fn finish(self) {
        let mut running: Vec<_> = [self.post, self.ws].into_iter().flatten().collect();
        running.iter_mut().for_each(Running::stop);
        let until = now() + FINISH_TIMEOUT;
        for handler in running {
            handler.finish(until);
        }
    }
}

impl HandlerTallies {
    /// Returns the counts since the start.
    pub fn read(&self) -> HandlerCounts {
        let mut counts = HandlerCounts::default();
        if let Some(tally) = &self.post {
            counts.delivered.post = tally.delivered.load(Relaxed);
            counts.failed.post = tally.failed.load(Relaxed);
            counts.refused += tally.refused.load(Relaxed);
        }
        if let Some(tally) = &self.ws {
            counts.delivered.ws = tally.delivered.load(Relaxed);
            counts.failed.ws = tally.failed.load(Relaxed);
            counts.refused += tally.refused.load(Relaxed);
        }
        counts
    }
}
