//! What goes wrong: scenarios as data, as text, drawn from a seed, and made smaller.

pub mod profile;
pub mod scenario;
pub mod shrink;
pub mod text;
