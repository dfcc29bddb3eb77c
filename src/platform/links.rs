//! What a shard's platform shares with the rest of the process, whatever drives the shard.

use super::handlers::{HandlerTallies, Outlet};
use super::log::{DropCounts, LevelSwitch};
use super::{Files, Lookups};
use crate::config::LogLevel;
use crate::driver::HandlerCounts;
use crate::gateway::outside::{FileWrite, Lookup};
use crate::gateway::reports::Report;
use crate::gateway::tweaks::HandlerSettings;
use crate::metrics::names::LogDrops;

/// The ways from a shard to threads of the process.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// What the log lost, if this shard tells of it.
    pub log_drops: Option<DropCounts>,
    /// Changes the level of the log.
    pub log_level: Option<LevelSwitch>,
    /// Where reports for event handlers go.
    pub reports: Vec<Outlet>,
    /// What became of reports, if this shard tells of it.
    pub handlers: HandlerTallies,
    /// Looks up names.
    pub lookups: Option<Lookups>,
    /// Writes files.
    pub files: Option<Files>,
}

impl Links {
    /// See [`Platform::log_drops`](crate::driver::Platform::log_drops).
    pub fn log_drops(&self) -> LogDrops {
        self.log_drops
            .as_ref()
            .map(DropCounts::read)
            .unwrap_or_default()
    }

    /// See [`Platform::set_log_level`](crate::driver::Platform::set_log_level).
    pub fn set_log_level(&self, level: LogLevel) {
        if let Some(switch) = &self.log_level {
            switch.set(level);
        }
    }

    /// See [`Platform::look_up`](crate::driver::Platform::look_up).
    pub fn look_up(&self, lookup: Lookup) {
        if let Some(lookups) = &self.lookups {
            lookups.begin(lookup);
        }
    }

    /// See [`Platform::write_file`](crate::driver::Platform::write_file).
    pub fn write_file(&self, write: FileWrite) {
        if let Some(files) = &self.files {
            files.begin(write);
        }
    }

    /// See [`Platform::tell_handlers`](crate::driver::Platform::tell_handlers).
    pub fn tell_handlers(&self, reports: &mut Vec<Report>) -> u64 {
        let mut dropped = 0;
        for report in reports.drain(..) {
            let refused = self.reports.iter().filter(|outlet| !outlet.offer(&report));
            dropped += refused.count() as u64;
        }
        dropped
    }

    /// See [`Platform::set_handler`](crate::driver::Platform::set_handler).
    pub fn set_handler(&self, settings: HandlerSettings) {
        if let Some(outlet) = self.reports.iter().find(|outlet| outlet.is_of(&settings)) {
            outlet.set(settings);
        }
    }

    /// See [`Platform::handler_counts`](crate::driver::Platform::handler_counts).
    pub fn handler_counts(&self) -> HandlerCounts {
        self.handlers.read()
    }
}
