//! How much a peer can receive: the estimate of the WebRTC library, and what it is made with.

use std::time::Duration;

use str0m::bwe::Bitrate;

use crate::base::clock::Monotonic;
use crate::media::event::Enabled;
use crate::media::peer::{Peer, PeerOutput};
use crate::media::trial::Trial;

/// What is known of the way to a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Adaption {
    is_wanted: bool,
    /// The remote reports on what it gets.
    has_feedback: bool,
    /// The library makes estimates for this peer.
    has_estimator: bool,
    /// In bit/s.
    estimate: Option<u64>,
    /// The estimate is more than the first guess.
    is_known: bool,
    /// Seconds since the first guess.
    guesses: u8,
    /// A second has passed since the library was told what to look for.
    is_seeking_due: bool,
    /// What is looked for is a step higher in every other second.
    is_rising: bool,
    /// What is looked for, in bit/s.
    sought: u64,
    /// What the library was told last of these two.
    told: (u64, u64),
    /// When the estimate became less than what goes out.
    tight_since: Option<Monotonic>,
    trial: Trial,
    /// Seconds for which the estimate has stayed as it is though something is lacking.
    stuck: u8,
}

/// The first guess, in bit/s: low enough to begin with the low layer of most senders. Probes find
/// more within a second or two, and going down takes a key frame through a full queue.
pub(super) const FIRST_ESTIMATE: u64 = 500_000;

/// Who promised reports and sends none for so many seconds is served without.
const GUESSING_SECONDS: u8 = 3;

/// What is looked for changes in such steps, in bit/s: each rise sends a probe. A peer that lacks
/// something is probed by a rise of one step every other second, which is five small packets. The
/// library by itself waits for 5 s, and for 15 s where more than two thirds of the estimate are used.
const SOUGHT_STEP: u64 = 100_000;

/// After so many seconds the estimator begins anew from where it stands, with its probes. The
/// library's control of losses can come to rest in its state of decrease without any loss when
/// little goes out; it does not probe in that state, and stays there for good.
const STUCK_SECONDS: u8 = 3;

/// No more than this multiple of the estimate is looked for at once. The library's probes go to the
/// double of what is looked for, and what is lost of them on a narrow way lowers the estimate.
const SOUGHT_MAX: u64 = 3;

/// For so long a stream may take a little more than the estimate.
const BEARABLE: Duration = Duration::from_secs(1);

impl Peer {
    /// Whether layers follow the estimate.
    pub(crate) fn set_adaptive(&mut self, adaptive: Enabled) {
        self.adaption.is_wanted = adaptive == Enabled::Yes;
        self.set_pacing();
    }

    /// Notes that the library makes estimates.
    pub(super) fn set_estimator(&mut self, estimates: Enabled) {
        self.adaption.has_estimator = estimates == Enabled::Yes;
    }

    /// Whether the library makes estimates.
    pub(super) const fn has_estimator(&self) -> bool {
        self.adaption.has_estimator
    }

    /// Notes whether the remote reports on what it gets.
    pub(super) fn set_feedback(&mut self, has_feedback: bool) {
        self.adaption.has_feedback = has_feedback;
        self.set_pacing();
    }

    /// What the peer can receive, in bit/s, if layers are to follow that.
    pub(crate) fn estimate(&self) -> Option<u64> {
        let known = &self.adaption;
        let follows = known.is_wanted && known.has_feedback && known.has_estimator;
        let is_sound = known.is_known || known.guesses < GUESSING_SECONDS;
        (follows && is_sound).then(|| known.estimate.unwrap_or(FIRST_ESTIMATE))
    }

    /// Whether a step down may wait, because the estimate has just fallen and by little. A probe that
    /// fills the way makes it fall like that, to some seven eighths of what goes out.
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

    /// Has the library look for what there is to give at most, in bit/s, and probe for it again and
    /// again as long as the peer lacks something. Nothing is filled up but for a trial: a way that is
    /// narrow would be kept full by it.
    pub(crate) fn seek_bitrate(&mut self, desired: u64, is_short: bool) {
        let known = &mut self.adaption;
        if !is_short {
            known.stuck = 0;
        }
        if !is_short || std::mem::take(&mut known.is_seeking_due) {
            let reach = known.estimate.unwrap_or(FIRST_ESTIMATE) * SOUGHT_MAX;
            let sought = desired.max(FIRST_ESTIMATE).min(reach);
            let rise = u64::from(is_short && known.is_rising);
            known.sought = (sought.div_ceil(SOUGHT_STEP) + rise) * SOUGHT_STEP;
        }
        let filled = known.trial.filled();
        let told = (filled, known.sought.max(filled));
        if std::mem::replace(&mut known.told, told) != told {
            let (filled, sought) = told;
            self.rtc
                .bwe()
                .set_bitrate(Bitrate::from(filled), Bitrate::from(sought));
        }
    }

    pub(super) fn on_estimate(&mut self, estimate: u64, out: &mut PeerOutput) {
        self.adaption.is_known |= estimate != FIRST_ESTIMATE;
        let former = self.adaption.estimate.replace(estimate);
        if former.is_some_and(|former| estimate < former) {
            self.adaption.trial.on_fall();
        }
        self.adaption.stuck = 0;
        out.has_estimate = true;
    }

    /// Looks once a second whether the rates of layers, or the lack of reports, change anything.
    pub(super) fn look_at_estimate(&mut self, out: &mut PeerOutput) {
        if let Some(estimate) = self.adaption.estimate {
            self.adaption.guesses = self.adaption.guesses.saturating_add(1);
            self.adaption.is_seeking_due = true;
            self.adaption.is_rising = !self.adaption.is_rising;
            self.adaption.stuck += 1;
            if self.adaption.stuck >= STUCK_SECONDS {
                self.adaption.stuck = 0;
                self.rtc.bwe().reset(Bitrate::from(estimate));
            }
            out.has_estimate = true;
        }
    }

    /// Without reports, what goes out is as it came in: there is nothing to pace it by.
    fn set_pacing(&mut self) {
        let is_unpaced = !(self.adaption.is_wanted && self.adaption.has_feedback);
        let mut api = self.rtc.direct_api();
        for line in self.lines.iter().flatten() {
            let is_video = line.offer.video.is_some();
            if let Some(stream) = api.stream_tx(&line.ssrc.into()).filter(|_| is_video) {
                stream.set_unpaced(is_unpaced);
            }
        }
    }
}
