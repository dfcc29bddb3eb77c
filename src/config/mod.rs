//! What can be set, in two syntaxes: Janus' `.jcfg` files and one TOML file.
//!
//! Invariant: nothing here touches the host. Text comes in, a [`Config`] and its warnings come
//! out; whoever calls reads the files, resolves `@include` and logs the warnings.

mod schema;
mod value;

pub use schema::{
    AdminConfig, Config, EchoTestConfig, EventStreamConfig, GeneralConfig, HttpConfig, JsonForm,
    LogConfig, LogFormat, LogLevel, MediaConfig, TokenAuth, WsConfig,
};
pub use value::{HostPattern, Prefix, Secret};
