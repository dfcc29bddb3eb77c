//! The plugins: what the gateway does with media.

pub mod echotest;
pub mod videoroom;

use crate::base::id::ShardId;
use crate::config::Config;
use crate::gateway::plugin::Plugin;

/// One instance of every plugin that the configuration does not disable, for `shard` of `shards`.
/// The list is the same on every shard.
pub fn all(config: &Config, shard: ShardId, shards: u8) -> Vec<Box<dyn Plugin>> {
    let videoroom = videoroom::VideoRoom::new(&config.videoroom, shard, shards);
    let plugins: [Box<dyn Plugin>; 2] =
        [Box::new(echotest::EchoTest::default()), Box::new(videoroom)];
    let is_enabled = |package: &str| !config.plugins_disabled.iter().any(|name| name == package);
    plugins
        .into_iter()
        .filter(|plugin| is_enabled(plugin.info().package))
        .collect()
}
