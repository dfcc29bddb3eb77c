//! What one shard's media is made of.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::clock::Anchor;
use crate::base::limits::Limits;
use crate::base::rng::Rng;
use crate::config::MediaConfig;
use crate::media::peer_cert::{Certificate, Crypto};

/// Everything that [`Media`](crate::media::Media) is given at start.
#[derive(Debug)]
pub struct MediaSetup {
    /// What the operator set.
    pub config: Arc<MediaConfig>,
    /// The bounds of the shard.
    pub limits: Limits,
    /// The UDP sockets of the shard; a `SockId` is a position here.
    pub sockets: Vec<LocalSocket>,
    /// Draws ICE credentials and sources.
    pub rng: Rng,
    /// Ties the monotonic clock to the instants of the WebRTC library.
    pub anchor: Anchor,
    /// The certificate of the process.
    pub certificate: Certificate,
    /// Another crypto library than the built-in one.
    pub crypto: Option<Crypto>,
}

/// A UDP socket of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSocket {
    /// Where it is bound. The port is that of the candidates.
    pub bound: SocketAddr,
    /// The addresses of the candidates, the preferred one first; empty is the bound one alone.
    pub advertised: Vec<IpAddr>,
}

impl LocalSocket {
    /// The addresses that stand in candidates.
    pub fn candidates(&self) -> Vec<SocketAddr> {
        if self.advertised.is_empty() {
            return vec![self.bound];
        }
        let with_port = |ip: &IpAddr| SocketAddr::new(*ip, self.bound.port());
        self.advertised.iter().map(with_port).collect()
    }

    /// The one address by which the socket is known to the ICE agent.
    pub(crate) fn base(&self) -> SocketAddr {
        match self.advertised.first() {
            Some(ip) if self.bound.ip().is_unspecified() => SocketAddr::new(*ip, self.bound.port()),
            Some(_) | None => self.bound,
        }
    }
}
