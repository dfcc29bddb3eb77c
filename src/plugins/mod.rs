//! The plugins: what the gateway does with media.

pub mod echotest;

use crate::config::Config;
use crate::gateway::plugin::Plugin;

/// One instance of every plugin that the configuration does not disable.
pub fn all(config: &Config) -> Vec<Box<dyn Plugin>> {
    let plugins: [Box<dyn Plugin>; 1] = [Box::new(echotest::EchoTest::default())];
    let is_enabled = |package: &str| !config.plugins_disabled.iter().any(|name| name == package);
    plugins
        .into_iter()
        .filter(|plugin| is_enabled(plugin.info().package))
        .collect()
}
