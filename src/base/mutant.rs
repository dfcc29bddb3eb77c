//! Known bugs as switches, to test the simulator: each must be found by an invariant.
//!
//! Invariant: no release build contains a switch. Without the feature `mutants`, [`is_on`] is
//! `false` at compile time; with it, a build without debug assertions is refused.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("mutants are for testing the simulator; no release build may contain them");

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal,)+) => {
        /// A known bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name on the command line and in the kill matrix.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)+
                }
            }

            /// What is wrong, in a sentence.
            pub fn about(self) -> String {
                match self {
                    $(Self::$name => [$($doc),+].concat().trim().to_owned(),)+
                }
            }
        }
    };
}

mutants! {
    /// A list of all sessions leaves out those of the last shard.
    AdminShardForgotten = "admin-shard-forgotten",
    /// A question to all shards waits for each of them, however long.
    AdminWaits = "admin-waits-for-ever",
    /// A request's body is taken for complete with the bytes that came with its head.
    BodyWithHead = "body-with-head-assumed",
    /// Janus issue 3405 as a clock reads it: a poll's deadline is on the boot-time clock.
    BoottimeDeadline = "clock-boottime-deadline",
    /// Who does not answer any more is not given up.
    ConsentKept = "consent-never-lost",
    /// The media of a shard runs on the wall clock.
    ConsentWall = "consent-on-wall-clock",
    /// Output has no high-water mark: pipelined requests are all taken on.
    BoundlessOutput = "no-back-pressure",
    /// A socket whose client does not read holds up everybody else on its shard.
    BlockedHoldsAll = "ws-blocked-holds-all",
    /// Cancelling a timer forgets the earliest one, too.
    CancelForgets = "timer-cancel-forgets-another",
    /// The size of a chunk is written in decimal digits.
    ChunkDecimal = "chunk-size-decimal",
    /// An empty chunk comes before the payload.
    ChunkEmptyFirst = "chunk-empty-first",
    /// The zero chunk is forgotten when the kernel takes an answer in portions.
    ChunkEndLost = "chunk-terminator-lost",
    /// A connection is closed as soon as its last answer is taken, whatever input is unread.
    CloseAtOnce = "close-resets-answer",
    /// A connection that was reset is not forgotten.
    ConnectionKept = "connection-kept-after-reset",
    /// Deadlines of polls are computed in 32 bits of milliseconds.
    Deadline32 = "deadline-32-bit",
    /// Events that were delivered are queued again unless the client already polls anew.
    DeliveredAgain = "delivered-queued-again",
    /// The instant of an idle limit is computed as now minus the limit, unchecked.
    EarlierUnchecked = "now-minus-limit-unchecked",
    /// Events that were out for delivery on a lost connection are forgotten.
    EventsInFlightLost = "event-in-flight-lost",
    /// The newest event goes out first.
    EventsReversed = "events-reversed",
    /// FIN of a client is taken for its going.
    HalfCloseAborts = "half-close-aborts",
    /// A handle that goes leaves its PeerConnection behind.
    HandleLeavesPeer = "handle-leaves-peer",
    /// A head that does not come in one read is refused.
    HeadInOneRead = "head-in-one-read-assumed",
    /// A shard goes on to relay packets that nobody there wants any more.
    InterestForever = "interest-never-ends",
    /// Key frames are asked for a hundred times a second.
    KeyframeAlways = "keyframe-asked-always",
    /// A key frame is asked for once, whatever becomes of the request.
    KeyframeOnce = "keyframe-asked-once",
    /// Who is kicked is told so, and goes on publishing.
    KickStays = "kick-leaves-track",
    /// Other layers that are wanted while a change of layers is under way are forgotten.
    LayersForgotten = "layer-switch-forgotten",
    /// `maxev` is not looked at.
    MaxevIgnored = "maxev-ignored",
    /// Of too many polls the newest is let go, not the oldest.
    OlderPollWins = "poll-older-supersedes",
    /// What follows a complete request in one read is dropped.
    PipelinedDropped = "pipelined-dropped",
    /// The start of a poll is no sign of life.
    PollNoLife = "poll-no-sign-of-life",
    /// A poll that was answered with an event is answered again at its deadline, and whatever
    /// waits on its connection by then gets that.
    PollResumedTwice = "poll-resumed-twice",
    /// A poll is taken in, and answered, before its connection waits for the answer.
    PollResumedUnparked = "poll-resumed-unparked",
    /// Any number of polls may wait on a session.
    PollsUnbounded = "polls-unbounded",
    /// Of the packets of a batch only the last is relayed to other shards.
    RelayKeepsLast = "relay-keeps-last",
    /// Relayed packets are taken in twice.
    RelayTwice = "relay-duplicates-batch",
    /// The limit of the bitrate is told in kilobits.
    RembKilobits = "remb-in-kilobits",
    /// Nobody asks for a key frame when a paused stream goes on.
    ResumeNoKeyframe = "resume-asks-no-keyframe",
    /// How often sequence numbers have begun anew is forgotten when another source feeds a stream.
    RolloverLost = "srtp-rollover-lost",
    /// Packets are forwarded to whoever is fed by a line of the same number.
    RoomLeak = "room-leak",
    /// The gauge of sessions is not decremented when one times out.
    SessionMiscounted = "session-timeout-miscounted",
    /// Silent sessions are never ended.
    SessionNeverEnds = "session-never-ends",
    /// Packets of layers that are left out leave their numbers behind.
    SkipLeavesGap = "rtp-skip-leaves-gap",
    /// What a short write left over is dropped.
    ShortWriteDrops = "short-write-drops-rest",
    /// A head that does not end is waited for.
    SlowHeadWaits = "slow-head-waits-forever",
    /// A timestamp that wraps is taken for that of another source.
    TimestampWrap = "rtp-timestamp-wrap-jump",
    /// A timer compares with `<`: at its very deadline it does nothing, and is due again.
    TimerStrict = "timer-strict-comparison",
    /// Janus issue 3405: a poll's deadline counts from the start of the process and is awaited on
    /// the monotonic clock, so that the poll is answered with a keepalive at once.
    UptimeKeepalive = "clock-uptime-keepalive",
    /// Janus issue 3405 as browsers saw it: the same, and the answer is cut after its head.
    UptimeTeardown = "clock-uptime-teardown",
    /// A call is said to be up when ICE is.
    UpBeforeDtls = "webrtcup-before-dtls",
    /// A poll's deadline is on the wall clock.
    WallDeadline = "clock-wall-deadline",
    /// A claim begins with an empty queue of events.
    WsClaimDrops = "ws-claim-drops-queue",
    /// A socket is closed without a close frame.
    WsCloseBare = "ws-close-without-frame",
    /// Events that a socket's kernel took are queued again when the session is claimed.
    WsEventTwice = "ws-event-taken-requeued",
    /// The first fragment of a message is taken for all of it.
    WsFirstFragment = "ws-first-fragment-only",
    /// Lengths from 126 on are written in eight bytes.
    WsLengthLong = "ws-length-not-minimal",
    /// The gauge of sessions is not decremented when they end with their socket.
    WsLossMiscounted = "ws-loss-miscounted",
    /// Of several requests in a message only the first is served.
    WsOneObject = "ws-one-object-a-message",
    /// A ping is not answered.
    WsPingIgnored = "ws-ping-ignored",
    /// The time to claim counts from the session's last activity, as in Janus, not from the loss.
    WsReclaimActivity = "ws-reclaim-from-activity",
    /// The reply of another shard goes behind what waits, not to its place.
    WsReplyOvertakes = "ws-reply-overtakes",
}

/// Whether a mutant is switched on.
#[cfg(not(feature = "mutants"))]
pub const fn is_on(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use switch::{is_on, media_now, note_media_start, note_start, poll_deadline, set};

#[cfg(feature = "mutants")]
mod switch {
    use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
    use std::time::Duration;

    use super::Mutant;
    use crate::base::clock::{Boottime, Monotonic, Now};

    /// Zero is none; others are one more than the discriminant.
    static ON: AtomicU8 = AtomicU8::new(0);
    static STARTED: AtomicU64 = AtomicU64::new(0);
    /// By shard, because each may have clocks of its own.
    static WALL: [AtomicI64; 256] = [const { AtomicI64::new(0) }; 256];

    /// Whether a mutant is switched on.
    pub fn is_on(mutant: Mutant) -> bool {
        ON.load(Ordering::Relaxed) == mutant as u8 + 1
    }

    /// Switches one mutant on, for the whole process, or all off.
    pub fn set(mutant: Option<Mutant>) {
        let value = mutant.map_or(0, |mutant| mutant as u8 + 1);
        ON.store(value, Ordering::Relaxed);
    }

    /// Notes when the process started.
    pub fn note_start(now: Now) {
        STARTED.store(now.monotonic.as_nanos(), Ordering::Relaxed);
    }

    /// Notes where the clocks of a shard's media begin.
    pub fn note_media_start(shard: u8, now: Now) {
        WALL[usize::from(shard)].store(wall_lead(now), Ordering::Relaxed);
    }

    /// The time that a shard's media goes by: that of the wall clock, if the mutant is on.
    pub fn media_now(shard: u8, mut now: Now) -> Now {
        if is_on(Mutant::ConsentWall) {
            let began = WALL[usize::from(shard)].load(Ordering::Relaxed);
            let ahead = wall_lead(now).saturating_sub(began);
            let nanos = now.monotonic.as_nanos().saturating_add_signed(ahead);
            now.monotonic = Monotonic::from_nanos(nanos);
        }
        now
    }

    /// How far the wall clock is ahead of the monotonic one, in nanoseconds.
    fn wall_lead(now: Now) -> i64 {
        let wall = now.realtime.unix_micros().saturating_mul(1_000);
        wall.saturating_sub_unsigned(now.monotonic.as_nanos())
    }

    /// The deadline of a poll, on whatever clock the mutant takes it for.
    pub fn poll_deadline(now: Now, timeout: Duration) -> Monotonic {
        if is_on(Mutant::UptimeKeepalive) || is_on(Mutant::UptimeTeardown) {
            let started = STARTED.load(Ordering::Relaxed);
            let uptime = now.monotonic.as_nanos().saturating_sub(started);
            Monotonic::from_nanos(uptime) + timeout
        } else if is_on(Mutant::Deadline32) {
            let millis = now.monotonic.as_nanos() / 1_000_000 + timeout.as_millis() as u64;
            Monotonic::from_nanos(u64::from(millis as u32) * 1_000_000)
        } else {
            poll_time(now) + timeout
        }
    }

    /// The clock on which the deadlines of polls are computed.
    fn poll_time(now: Now) -> Monotonic {
        if is_on(Mutant::WallDeadline) {
            let micros = now.realtime.unix_micros().max(0).cast_unsigned();
            Monotonic::from_nanos(micros.saturating_mul(1_000))
        } else if is_on(Mutant::BoottimeDeadline) {
            let since = now.boottime.saturating_since(Boottime::from_nanos(0));
            Monotonic::from_nanos(0) + since
        } else {
            now.monotonic
        }
    }
}

/// Whether a mutant is switched on: `false` in every build without the feature `mutants`.
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        $crate::base::mutant::is_on($crate::base::mutant::Mutant::$name)
    };
}
