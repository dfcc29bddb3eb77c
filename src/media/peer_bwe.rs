//! How much a peer can receive: the estimate of the WebRTC library, and what it is made with.

use str0m::bwe::Bitrate;

use crate::media::event::Enabled;
use crate::media::peer::{Peer, PeerOutput};

/// What is known of the way to a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Adaption {
    is_wanted: bool,
    /// The remote reports on what it gets.
    has_feedback: bool,
    /// In bit/s.
    estimate: Option<u64>,
    /// The estimate is more than the first guess.
    is_known: bool,
    /// Seconds since the first guess.
    guesses: u8,
    /// What the library was told last to keep up and to look for.
    sought: Option<(u64, u64)>,
}

/// The first guess, in bit/s: low enough to begin with the low layer of most senders. Probes find
/// more within a second or two, and going down takes a key frame through a full queue.
pub(super) const FIRST_ESTIMATE: u64 = 500_000;

/// Who promised reports and sends none for so many seconds is served without.
const GUESSING_SECONDS: u8 = 3;

/// What is looked for changes in such steps, in bit/s: each rise sends a probe.
const SOUGHT_STEP: u64 = 100_000;

impl Peer {
    /// Whether layers follow the estimate.
    pub(crate) fn set_adaptive(&mut self, adaptive: Enabled) {
        self.adaption.is_wanted = adaptive == Enabled::Yes;
        self.set_pacing();
    }

    /// Notes whether the remote reports on what it gets.
    pub(super) fn set_feedback(&mut self, has_feedback: bool) {
        self.adaption.has_feedback = has_feedback;
        self.set_pacing();
    }

    /// What the peer can receive, in bit/s, if layers are to follow that.
    pub(crate) fn estimate(&self) -> Option<u64> {
        let follows = self.adaption.is_wanted && self.adaption.has_feedback;
        let is_sound = self.adaption.is_known || self.adaption.guesses < GUESSING_SECONDS;
        self.adaption.estimate.filter(|_| follows && is_sound)
    }

    /// Tells the library what the next step up takes, and what there is to give at most.
    pub(crate) fn seek_bitrate(&mut self, next: u64, desired: u64) {
        let step = |bitrate: u64| bitrate.div_ceil(SOUGHT_STEP) * SOUGHT_STEP;
        let sought = (step(next), step(desired));
        if self.adaption.sought.replace(sought) != Some(sought) {
            let (next, desired) = sought;
            self.rtc
                .bwe()
                .set_bitrate(Bitrate::from(next), Bitrate::from(desired));
        }
    }

    pub(super) fn on_estimate(&mut self, estimate: u64, out: &mut PeerOutput) {
        self.adaption.is_known |= estimate != FIRST_ESTIMATE;
        self.adaption.estimate = Some(estimate);
        out.has_estimate = true;
    }

    /// Looks once a second whether the rates of layers, or the lack of reports, change anything.
    pub(super) fn look_at_estimate(&mut self, out: &mut PeerOutput) {
        if self.adaption.estimate.is_some() {
            self.adaption.guesses = self.adaption.guesses.saturating_add(1);
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
