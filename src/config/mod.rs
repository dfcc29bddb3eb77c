//! What can be set, in two syntaxes: Janus' `.jcfg` files and one TOML file.
//!
//! Either syntax is read into a tree of values with their places, and one table of keys
//! (`keys.rs`) says under which names a setting goes by and where it goes. To add a setting, add
//! its field to `schema.rs` with its default and its line to the table.
//!
//! Invariant: nothing here touches the host. Text comes in, a [`Config`] and its warnings come
//! out; whoever calls reads the files, resolves `@include` and logs the warnings.

mod events;
mod keep;
mod keys;
mod libconfig;
mod load;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod toml_tree;
mod tree;
mod validate;
mod value;

pub use events::{EventsConfig, PostConfig, ReportKind, ReportMask, SocketConfig};
pub use load::Overrides;
pub use schema::{
    AdminConfig, Config, DummyStreamConfig, EchoTestConfig, EventStreamConfig, GeneralConfig,
    HttpConfig, JournalConfig, LogConfig, LogFormat, LogLevel, MediaConfig, Pem, RecordingsConfig,
    RoomConfig, Runtime, SocketLog, TlsConfig, TokenAuth, VideoRoomConfig, WsConfig,
};
pub use tree::{ConfigError, Position, Warning, WarningKind};
pub use value::{Backend, HostPattern, Prefix, Scheme, Secret};
