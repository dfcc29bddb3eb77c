//! Counters of one shard, and their exposition.
