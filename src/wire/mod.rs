//! Wire formats: bytes in, values out, and back. No state beyond one message or connection.

pub mod capture;
pub mod http;
pub mod mjr;
pub mod pem;
pub mod rtp;
pub mod sdp;
pub mod stun;
pub mod tls;
pub mod tls_client;
pub mod ws;
