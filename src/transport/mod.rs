//! How requests reach the gateway: HTTP connections and the REST API.

pub mod conn;
