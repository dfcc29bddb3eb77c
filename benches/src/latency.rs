//! Latencies, counted in buckets that are at most 1.6 % wide.

use std::time::Duration;

use serde::Serialize;

const SUB_BITS: u32 = 6;
const SUBS: u64 = 1 << SUB_BITS;

/// How often which latency was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

/// The usual quantiles, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bucket_of(nanos);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50_us: self.quantile(0.5),
            p90_us: self.quantile(0.9),
            p99_us: self.quantile(0.99),
            max_us: self.quantile(1.0),
        }
    }

    /// The latency that a share of all does not exceed; zero if there are none.
    fn quantile(&self, share: f64) -> f64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return top_of(bucket) as f64 / 1000.0;
            }
        }
        0.0
    }
}

/// Below `SUBS` every value has a bucket, above every power of two has `SUBS` of them.
fn bucket_of(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(SUB_BITS + 1);
    (u64::from(shift) * SUBS + (nanos >> shift)) as usize
}

/// The largest value of a bucket.
fn top_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / SUBS).saturating_sub(1);
    let first = (bucket - shift * SUBS) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_values_and_is_narrow() {
        for nanos in (0..200).chain([1 << 20, (1 << 33) + 12_345, 30_000_000_000]) {
            let top = top_of(bucket_of(nanos));
            assert!(nanos <= top && top - nanos <= nanos / SUBS, "{nanos} {top}");
            assert_ne!(bucket_of(top), bucket_of(top + 1));
        }
    }

    #[test]
    fn quantiles_count_from_below() {
        let mut latencies = Latencies::default();
        for micros in 1..=100 {
            latencies.add(Duration::from_micros(micros));
        }
        let found = latencies.quantiles();
        for (found, expected) in [
            (found.p50_us, 50.0),
            (found.p90_us, 90.0),
            (found.p99_us, 99.0),
            (found.max_us, 100.0),
        ] {
            assert!((expected..expected * 1.017).contains(&found), "{found}");
        }
        assert_eq!(latencies.count(), 100);
    }
}
