//! PeerConnections, tracks and the switch that forwards their packets.

use std::net::SocketAddr;

use crate::base::id::SockId;

/// A datagram to send.
#[derive(Debug)]
pub struct Datagram {
    /// The socket to send it from.
    pub sock: SockId,
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}
