//! PeerConnections, tracks and the switch that forwards their packets.
