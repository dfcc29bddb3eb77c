//! A UDP path in one direction: latency, loss, reordering, duplication, bandwidth.
//!
//! Each datagram's fate is drawn from its number, so that adding one changes no other.

use std::time::Duration;

use crate::kernel::key::Key;
use crate::kernel::time::{SimTime, nanos};

/// How a path treats datagrams. Chances are in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpProfile {
    /// The least and the most that a datagram takes, without waiting. A spread reorders.
    pub latency: (Duration, Duration),
    /// Lost datagrams.
    pub loss_permille: u64,
    /// Datagrams that come twice.
    pub duplicate_permille: u64,
    /// Bytes a second; `None` is unlimited.
    pub bandwidth: Option<u64>,
    /// How long a datagram may wait for its turn before it is dropped.
    pub queue_max: Duration,
    /// Bytes of payload beyond which a datagram is dropped.
    pub mtu: usize,
}

impl UdpProfile {
    /// A path on which nothing goes wrong.
    pub const CLEAN: Self = Self {
        latency: (Duration::from_micros(200), Duration::from_micros(200)),
        loss_permille: 0,
        duplicate_permille: 0,
        bandwidth: None,
        queue_max: Duration::from_millis(500),
        mtu: 1_472,
    };
}

/// One direction of a UDP path.
#[derive(Debug)]
pub struct UdpPath {
    profile: UdpProfile,
    key: Key,
    count: u64,
    busy_until: SimTime,
    blocked_until: SimTime,
}

impl UdpPath {
    /// An idle path.
    pub const fn new(profile: UdpProfile, key: Key) -> Self {
        Self {
            profile,
            key,
            count: 0,
            busy_until: SimTime::START,
            blocked_until: SimTime::START,
        }
    }

    /// Drops everything until `until`: a partition in this direction.
    pub fn block(&mut self, until: SimTime) {
        self.blocked_until = self.blocked_until.max(until);
    }

    /// Lets all go well from here on; latency and bandwidth stay.
    pub const fn heal(&mut self) {
        self.profile.loss_permille = 0;
        self.profile.duplicate_permille = 0;
    }

    /// Sends a datagram of `size` bytes: when it arrives, and when its copy does.
    pub fn send(&mut self, now: SimTime, size: usize) -> [Option<SimTime>; 2] {
        self.count += 1;
        let mut draws = self.key.at(self.count).draws();
        let profile = self.profile;
        let is_lost = draws.chance(profile.loss_permille, 1_000);
        let is_twice = draws.chance(profile.duplicate_permille, 1_000);
        let mut arrival = |start: SimTime| {
            let latency = draws.next().span(profile.latency.0, profile.latency.1);
            start + latency
        };
        if size > profile.mtu || now < self.blocked_until {
            return [None, None];
        }
        let start = self.busy_until.max(now);
        if start.saturating_since(now) > profile.queue_max {
            return [None, None];
        }
        let sent = start + transmission(size, profile.bandwidth);
        self.busy_until = sent;
        let first = arrival(sent);
        let second = arrival(sent);
        [(!is_lost).then_some(first), is_twice.then_some(second)]
    }
}

fn transmission(size: usize, bandwidth: Option<u64>) -> Duration {
    bandwidth.map_or(Duration::ZERO, |rate| {
        let nanos_needed =
            size as u128 * u128::from(nanos(Duration::from_secs(1))) / u128::from(rate);
        Duration::from_nanos(u64::try_from(nanos_needed).unwrap_or(u64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(profile: UdpProfile, count: u64) -> Vec<[Option<SimTime>; 2]> {
        let mut path = UdpPath::new(profile, Key::of_seed(1));
        (0..count)
            .map(|n| path.send(SimTime::from_millis(n), 1_000))
            .collect()
    }

    #[test]
    fn loss_and_duplication_come_as_often_as_asked() {
        let profile = UdpProfile {
            loss_permille: 100,
            duplicate_permille: 50,
            ..UdpProfile::CLEAN
        };
        let fates = arrivals(profile, 10_000);
        let lost = fates.iter().filter(|fate| fate[0].is_none()).count();
        let twice = fates.iter().filter(|fate| fate[1].is_some()).count();
        assert!((900..1_100).contains(&lost), "{lost}");
        assert!((400..600).contains(&twice), "{twice}");
    }

    #[test]
    fn a_spread_of_latencies_reorders() {
        let profile = UdpProfile {
            latency: (Duration::from_millis(1), Duration::from_millis(9)),
            ..UdpProfile::CLEAN
        };
        let times: Vec<_> = arrivals(profile, 100).iter().map(|fate| fate[0]).collect();
        assert!(!times.is_sorted());
    }

    #[test]
    fn a_narrow_path_delays_and_then_drops() {
        let profile = UdpProfile {
            bandwidth: Some(100_000),
            queue_max: Duration::from_millis(50),
            ..UdpProfile::CLEAN
        };
        let fates = arrivals(profile, 100);
        let arrived = fates.iter().filter(|fate| fate[0].is_some()).count();
        assert!(
            (10..20).contains(&arrived),
            "1,000 bytes take 10 ms: {arrived}"
        );
    }

    #[test]
    fn a_partition_and_a_datagram_too_long_lose_it() {
        let mut path = UdpPath::new(UdpProfile::CLEAN, Key::of_seed(2));
        path.block(SimTime::from_secs(1));
        assert_eq!(path.send(SimTime::from_millis(999), 10), [None, None]);
        assert!(path.send(SimTime::from_secs(1), 10)[0].is_some());
        assert_eq!(path.send(SimTime::from_secs(1), 1_473), [None, None]);
    }
}
