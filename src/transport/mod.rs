//! How requests reach the gateway: connections, the REST API and WebSockets.

pub mod admin;
pub mod conn;
pub mod rest;
mod url;
pub mod websocket;
