//! Invariants 24 to 27: the shard's time goes forward, and it asks to be woken for a reason.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bifrons::base::clock::Monotonic;

use crate::kernel::time::SimTime;
use crate::oracle::fact::Stamp;
use crate::oracle::{About, Oracle, TurnOracle};

/// The core never sees a smaller monotonic time.
#[derive(Debug, Default)]
pub struct NowMonotone {
    last: BTreeMap<u8, Monotonic>,
}

impl Oracle for NowMonotone {
    fn about(&self) -> &'static About {
        &About {
            number: 24,
            id: "now-monotone",
            rule: "a shard never sees a smaller monotonic time; this watches the simulator, not the gateway",
            kills: &[],
        }
    }

    fn of_turns(&mut self) -> Option<&mut dyn TurnOracle> {
        Some(self)
    }
}

impl TurnOracle for NowMonotone {
    fn turn_begins(&mut self, stamp: Stamp) -> Result<(), String> {
        match self.last.insert(stamp.shard, stamp.monotonic) {
            Some(last) if last > stamp.monotonic => {
                Err(format!("{:?} after {last:?}", stamp.monotonic))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The deadline that a shard names lies within the longest of its timeouts.
#[derive(Debug, Default)]
pub struct DeadlineWithinReach;

/// The longest timeout of the default configuration is the age of an event stream.
const REACH: Duration = Duration::from_secs(3_601);

impl Oracle for DeadlineWithinReach {
    fn about(&self) -> &'static About {
        &About {
            number: 25,
            id: "deadline-within-reach",
            rule: "the deadline that a shard names is no later than now and its longest timeout: a deadline of another clock would be",
            kills: &[],
        }
    }

    fn of_turns(&mut self) -> Option<&mut dyn TurnOracle> {
        Some(self)
    }
}

impl TurnOracle for DeadlineWithinReach {
    fn turn_ends(
        &mut self,
        stamp: Stamp,
        next: Option<Monotonic>,
        _is_tick: bool,
    ) -> Result<(), String> {
        match next {
            Some(next) if next > stamp.monotonic + REACH => Err(format!(
                "the next deadline is {next:?}, now is {:?}",
                stamp.monotonic
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// Timers do not wake a shard all the time.
#[derive(Debug, Default)]
pub struct NoTimerStorm {
    ticks: BTreeMap<u8, VecDeque<SimTime>>,
}

const TICKS_A_SECOND: usize = 400;

impl Oracle for NoTimerStorm {
    fn about(&self) -> &'static About {
        &About {
            number: 26,
            id: "no-timer-storm",
            rule: "timers wake a shard at most 400 times a second with a handful of clients",
            kills: &[],
        }
    }

    fn of_turns(&mut self) -> Option<&mut dyn TurnOracle> {
        Some(self)
    }
}

impl TurnOracle for NoTimerStorm {
    fn turn_ends(
        &mut self,
        stamp: Stamp,
        _next: Option<Monotonic>,
        is_tick: bool,
    ) -> Result<(), String> {
        if !is_tick {
            return Ok(());
        }
        let ticks = self.ticks.entry(stamp.shard).or_default();
        ticks.push_back(stamp.sim);
        while let Some(&first) = ticks.front()
            && stamp.sim.saturating_since(first) > Duration::from_secs(1)
        {
            ticks.pop_front();
        }
        if ticks.len() > TICKS_A_SECOND {
            return Err(format!("{} wake-ups within a second", ticks.len()));
        }
        Ok(())
    }
}

/// A wake-up does something about its deadline.
#[derive(Debug, Default)]
pub struct NoSpuriousTick {
    idle: BTreeMap<u8, (Monotonic, u32)>,
}

const IDLE_TICKS_MAX: u32 = 32;

impl Oracle for NoSpuriousTick {
    fn about(&self) -> &'static About {
        &About {
            number: 27,
            id: "no-spurious-tick",
            rule: "a wake-up without due work does not repeat at the same time",
            kills: &["timer-strict-comparison"],
        }
    }

    fn of_turns(&mut self) -> Option<&mut dyn TurnOracle> {
        Some(self)
    }
}

impl TurnOracle for NoSpuriousTick {
    fn turn_ends(
        &mut self,
        stamp: Stamp,
        next: Option<Monotonic>,
        is_tick: bool,
    ) -> Result<(), String> {
        let is_idle = is_tick && next.is_some_and(|next| next <= stamp.monotonic);
        if !is_idle {
            self.idle.remove(&stamp.shard);
            return Ok(());
        }
        let entry = self.idle.entry(stamp.shard).or_insert((stamp.monotonic, 0));
        if entry.0 == stamp.monotonic {
            entry.1 += 1;
        } else {
            *entry = (stamp.monotonic, 1);
        }
        if entry.1 > IDLE_TICKS_MAX {
            return Err(format!(
                "{} wake-ups at the same time, and the deadline is still due",
                entry.1
            ));
        }
        Ok(())
    }
}
