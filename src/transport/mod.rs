//! How requests reach the gateway: HTTP connections and the REST API.

pub mod admin;
pub mod conn;
pub mod rest;
mod url;
