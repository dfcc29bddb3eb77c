//! The plugins: what the gateway does with media.
