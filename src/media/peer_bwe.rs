//! How much a peer can receive: what its estimator says, what that is asked to look for, and the
//! padding that goes out for it.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::media::estimator::{Change, Estimator};
use crate::media::event::Enabled;
use crate::media::peer::{Peer, PeerOutput};
use crate::media::standing_queue::Held;
use crate::media::trial::Trial;
use crate::wire::rtp::transport_feedback::arrivals;

/// What is known of the way to a peer.
#[derive(Debug, Default)]
pub(super) struct Adaption {
    is_wanted: bool,
    /// For the whole life of a peer, or never.
    estimator: Option<Box<Estimator>>,
    /// Seconds since the first guess.
    guesses: u8,
    /// Before, no probe is sent.
    probe_at: Option<Monotonic>,
    /// When the estimate became less than what goes out.
    tight_since: Option<Monotonic>,
    trial: Trial,
    /// Something that was asked for does not fit.
    is_short: bool,
}

/// The first guess, in bit/s: low enough to begin with the low layer of most senders. Probes find
/// more within a second or two, and going down takes a key frame through a full queue.
const FIRST_ESTIMATE: u64 = 500_000;

/// Who promised reports and sends none for so many seconds is served without.
const GUESSING_SECONDS: u8 = 3;

/// A peer that lacks something is probed so often, and again as soon as a probe found more.
const PROBE_INTERVAL: Duration = Duration::from_millis(1_500);

/// So much of what is lacking is looked for, in percent, since probes find a little less now and then.
const SOUGHT_PERCENT: u64 = 125;

/// No more than this multiple of the estimate is looked for at once: what is lost of a probe on a narrow
/// way is lost to its media, too.
const SOUGHT_MAX: u64 = 3;

/// For so long a stream may take a little more than the estimate.
const BEARABLE: Duration = Duration::from_secs(1);

impl Adaption {
    /// The number of the next packet, if its line is reported on.
    pub(super) fn number(&self) -> Option<u16> {
        let estimator = self.estimator.as_ref();
        estimator.map(|estimator| estimator.number())
    }

    /// Notes that the packet with that number was sent.
    pub(super) fn on_sent(&mut self, now: Monotonic, size: usize, held: Held) {
        if let Some(estimator) = &mut self.estimator {
            estimator.on_sent(now, size, held);
        }
    }

    /// Whether the way is too narrow for what was asked for.
    pub(super) const fn is_short(&self) -> bool {
        self.is_short
    }

    /// Whether padding is to go out.
    pub(super) fn lacks(&mut self, now: Monotonic) -> bool {
        let estimator = self.estimator.as_mut();
        estimator.is_some_and(|estimator| estimator.lacks(now))
    }

    /// When to ask for that.
    pub(super) fn due(&self) -> Option<Monotonic> {
        self.estimator.as_ref()?.due()
    }

    /// Notes what an RTCP compound says of our packets; tells whether it says anything else.
    pub(super) fn on_report(&mut self, now: Monotonic, report: &[u8]) -> (ControlFlow<()>, bool) {
        let Some(estimator) = &mut self.estimator else {
            return (ControlFlow::Continue(()), false);
        };
        let mut has_any = false;
        let says_more = arrivals(report, |number, came| {
            has_any = true;
            estimator.on_status(number, came);
        });
        let change = if has_any {
            estimator.on_report(now)
        } else {
            Change::None
        };
        self.on_change(now, change);
        // A trial is looked at with every report.
        (
            says_more,
            change != Change::None || has_any && self.trial.filled() > 0,
        )
    }

    /// Looks for nothing any more: nobody asks.
    fn rest(&mut self) {
        self.is_short = false;
        self.trial = Trial::default();
        if let Some(estimator) = &mut self.estimator {
            estimator.rest();
        }
    }

    fn on_change(&mut self, now: Monotonic, change: Change) {
        match change {
            Change::Fall => self.trial.on_fall(now),
            Change::Rise => self.probe_at = None,
            Change::None => {}
        }
    }
}

impl Peer {
    /// Whether layers follow the estimate.
    pub(crate) fn set_adaptive(&mut self, adaptive: Enabled) {
        self.adaption.is_wanted = adaptive == Enabled::Yes;
        if adaptive == Enabled::No {
            self.adaption.rest();
        }
    }

    /// Has estimates made for this peer.
    pub(super) fn set_estimator(&mut self, estimates: Enabled) {
        let new = || Box::new(Estimator::new(FIRST_ESTIMATE));
        self.adaption.estimator = (estimates == Enabled::Yes).then(new);
    }

    /// What the peer can receive, in bit/s, if layers are to follow that.
    pub(crate) fn estimate(&self) -> Option<u64> {
        let known = &self.adaption;
        let estimator = known.estimator.as_ref()?;
        let follows = known.is_wanted && self.lines.iter().flatten().any(|line| line.is_reported);
        let is_sound = estimator.has_heard() || known.guesses < GUESSING_SECONDS;
        (follows && is_sound).then(|| estimator.estimate())
    }

    /// Whether a step down may wait, because the estimate has just fallen and by little. What filled
    /// the way may be over soon.
    pub(crate) fn may_bear(&mut self, now: Monotonic, is_tight: bool) -> bool {
        if !is_tight {
            self.adaption.tight_since = None;
            return true;
        }
        let since = *self.adaption.tight_since.get_or_insert(now);
        now.saturating_since(since) < BEARABLE
    }

    /// Whether the way has carried for a while what a step up takes, in bit/s. What the media lacks to
    /// that is filled up with padding in the meantime, which [`Peer::seek_bitrate`] sees to. Call it with
    /// `None` when there is no step up.
    pub(crate) fn has_passed(&mut self, now: Monotonic, step: Option<u64>) -> bool {
        self.adaption.trial.has_passed(now, step)
    }

    /// Looks for what there is to give at most, in bit/s, again and again as long as the peer lacks
    /// something. Nothing is filled up but for a trial: a way that is narrow would be kept full by it.
    pub(crate) fn seek_bitrate(&mut self, now: Monotonic, desired: u64, is_short: bool) {
        let can_pad = self.can_pad();
        let known = &mut self.adaption;
        let Some(estimator) = &mut known.estimator else {
            return;
        };
        known.is_short = is_short;
        let filled = known.trial.filled();
        estimator.fill_up(now, if can_pad { filled } else { 0 });
        let is_due = known.probe_at.is_none_or(|at| at <= now);
        if is_short && filled == 0 && is_due && can_pad {
            known.probe_at = Some(now + PROBE_INTERVAL);
            let reach = estimator.estimate() * SOUGHT_MAX;
            let sought = desired.max(FIRST_ESTIMATE) * SOUGHT_PERCENT / 100;
            estimator.probe(now, sought.min(reach));
        }
    }

    /// Looks once a second whether the rates of layers, or the lack of reports, change anything.
    pub(super) fn look_at_estimate(&mut self, now: Monotonic, out: &mut PeerOutput) {
        let Some(estimator) = &mut self.adaption.estimator else {
            return;
        };
        self.adaption.guesses = self.adaption.guesses.saturating_add(1);
        let change = estimator.look(now);
        self.adaption.on_change(now, change);
        if self.estimate().is_none() {
            self.adaption.rest();
        }
        out.has_estimate = true;
    }
}
