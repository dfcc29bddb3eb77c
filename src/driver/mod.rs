//! The loop between a platform and a shard, written once for every platform.
