//! What goes wrong: scenarios as data, as text, drawn from a seed, and made smaller.

pub mod media;
mod media_profile;
mod media_text;
pub mod profile;
pub mod scenario;
pub mod shrink;
mod shrink_media;
pub mod text;
