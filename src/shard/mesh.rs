//! What crosses shards: plain data. Durations may cross, instants may not.

/// A message from one shard to another.
#[derive(Debug)]
pub enum MeshMsg {}
