//! Recordings: what comes in on a line, as a file that grows.
//!
//! ```text
//! record ─► Opening ──made──► Open ──stopped, or its peer is gone──► Naming ──► gone
//!              │ twice refused     │ a write fails                      (where it has another name
//!              └──► failed ◄───────┘                                     while it is open)
//! ```
//!
//! Whoever drives media carries out the writes and says what became of them; meanwhile frames wait.
//! A name that is taken already gets the time behind it, once: nothing is ever written over.
//!
//! Invariant: one write of a recording is under way at most, so that the file is in order. Invariant:
//! what cannot wait any more is dropped and counted, and leaves a gap in the numbers.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use tracing::{info, warn};

use crate::base::clock::{Monotonic, Now, Realtime};
use crate::base::id::PeerId;
use crate::base::timers::Timers;
use crate::media::Media;
use crate::media::best::Best;
use crate::media::counters::DropReason;
use crate::media::event::{LineRef, MediaError, PeerEvent};
use crate::media::forward::LineNumbers;
use crate::media::keyframes::EncodingRef;
use crate::media::packet::{MediaPacket, PayloadForm};
use crate::media::rewriter::{Rewritten, Vp8Numbers};
use crate::wire::mjr::{self, MAGIC, MjrInfo, MjrKind, PAYLOAD_BYTES_MAX, STAMP_SIZE};
use crate::wire::rtp::Vp8Descriptor;
use crate::wire::rtp::packet::{HEADER_SIZE, RtpHeader, write_header};

/// A recording of one shard. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordingId(pub u64);

/// What is to be recorded, and where.
#[derive(Clone, Debug)]
pub struct RecordingSpec {
    /// The line that it comes from. One recording of a line is under way at most.
    pub line: LineRef,
    /// What it is of. Header extensions and payload types are those of the line.
    pub info: MjrInfo,
    /// The file, without its ending.
    pub base: PathBuf,
    /// What the name ends with while the file is open; `None` is nothing.
    pub open_ending: Option<Box<str>>,
}

/// Something to be done with the file of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingWrite {
    /// Whose file it is.
    pub id: RecordingId,
    /// The file.
    pub path: PathBuf,
    /// What is to be done.
    pub act: RecordingAct,
}

/// What is to be done with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingAct {
    /// Make it, with this in it.
    Make(Vec<u8>),
    /// Append this.
    More(Vec<u8>),
    /// Give it this name, unless there is such a file.
    Name(PathBuf),
}

/// How long frames may wait before they are written: whoever follows the file sees it grow, and a
/// crash loses no more.
const PERIOD: Duration = Duration::from_millis(500);

/// Frames that are written sooner.
const WRITE_BYTES: usize = 256 << 10;

/// What may wait of one recording: seconds of the best video.
const WAITING_BYTES: usize = 4 << 20;

/// How long pictures are left out that need others before them. Key frames are asked for meanwhile;
/// what has none by then is recorded as it is.
const KEYFRAME_WAIT: Duration = Duration::from_secs(10);

/// Recordings that are written out in one turn.
const EXPIRE_MAX: usize = 128;

/// What a packet takes beside its payload: the headers of frame and RTP, and header extensions.
const EXTRA_ROOM: usize = 128;

/// The ending of every recording.
const ENDING: &str = ".mjr";

/// The clock of every video codec.
const VIDEO_CLOCK: u32 = 90_000;

/// All recordings of a shard.
#[derive(Debug, Default)]
pub(super) struct Recorders {
    last: u64,
    recorders: BTreeMap<RecordingId, Recorder>,
    by_line: BTreeMap<LineRef, RecordingId>,
    timers: Timers<RecordingId>,
    /// Bytes that wait or are being written.
    held: usize,
    out: VecDeque<RecordingWrite>,
}

#[derive(Debug)]
struct Recorder {
    line: LineRef,
    info: MjrInfo,
    names: Names,
    /// When it was asked for: ties frames to the wall clock as it was then.
    since: (Monotonic, Realtime),
    first: Option<Monotonic>,
    best: Best,
    /// The timestamp and the source of the first packet: what readers see begins at zero and has one
    /// source.
    origin: Option<(u32, u32)>,
    waiting: Vec<u8>,
    /// Bytes of the write that is under way.
    writing: Option<usize>,
    stage: Stage,
    /// Nothing was recorded that can be shown by itself.
    needs_keyframe: bool,
    /// What waits is to be written when the write that is under way is done.
    is_due: bool,
    /// Nothing is to follow.
    is_ending: bool,
    frames: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    Naming,
}

/// How the file is called.
#[derive(Debug)]
struct Names {
    base: PathBuf,
    open_ending: Option<Box<str>>,
    /// Goes behind a name that is taken.
    spare: i64,
    /// The file while it is open.
    open: PathBuf,
    has_tried_spare: bool,
}

impl Names {
    fn new(base: PathBuf, open_ending: Option<Box<str>>, spare: i64) -> Self {
        let mut names = Self {
            base,
            open_ending,
            spare,
            open: PathBuf::new(),
            has_tried_spare: false,
        };
        names.open = names.file(names.open_ending.as_deref());
        names
    }

    fn file(&self, ending: Option<&str>) -> PathBuf {
        let mut name = self.base.clone().into_os_string();
        if self.has_tried_spare {
            name.push(format!("-{}", self.spare));
        }
        name.push(ENDING);
        if let Some(ending) = ending {
            name.push(".");
            name.push(ending);
        }
        name.into()
    }

    /// The file once it is closed.
    fn closed(&self) -> PathBuf {
        self.file(None)
    }

    /// Takes the other name; `false` if that did not help already.
    fn take_spare(&mut self) -> bool {
        !std::mem::replace(&mut self.has_tried_spare, true)
    }
}

impl Recorders {
    pub(super) fn is_empty(&self) -> bool {
        self.by_line.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.timers.next()
    }

    /// Ends the recordings of a peer.
    pub(super) fn end_peer(&mut self, peer: PeerId) {
        let of_peer = self.by_line.iter().filter(|(line, _)| line.peer == peer);
        let ids: Vec<RecordingId> = of_peer.map(|(_, id)| *id).collect();
        for id in ids {
            self.end(id);
        }
    }

    fn end(&mut self, id: RecordingId) {
        let Some(recorder) = self.recorders.get_mut(&id) else {
            return;
        };
        recorder.is_ending = true;
        if self.by_line.get(&recorder.line) == Some(&id) {
            self.by_line.remove(&recorder.line);
        }
        self.timers.cancel(id);
        self.go_on(id);
    }

    /// Begins the write that comes next, if there is one and none is under way.
    fn go_on(&mut self, id: RecordingId) {
        let Some(recorder) = self.recorders.get_mut(&id) else {
            return;
        };
        if recorder.writing.is_some() {
            recorder.is_due = true;
            return;
        }
        recorder.is_due = false;
        let path = recorder.names.open.clone();
        let act = match recorder.stage {
            Stage::Opening => RecordingAct::Make(MAGIC.to_vec()),
            Stage::Open if !recorder.waiting.is_empty() => {
                RecordingAct::More(std::mem::take(&mut recorder.waiting))
            }
            Stage::Open if !recorder.is_ending => return,
            Stage::Open | Stage::Naming => {
                let closed = recorder.names.closed();
                if closed == path {
                    self.remove(id);
                    return;
                }
                recorder.stage = Stage::Naming;
                RecordingAct::Name(closed)
            }
        };
        recorder.writing = Some(match &act {
            RecordingAct::More(bytes) => bytes.len(),
            RecordingAct::Make(_) | RecordingAct::Name(_) => 0,
        });
        self.out.push_back(RecordingWrite { id, path, act });
    }

    fn remove(&mut self, id: RecordingId) -> Option<Recorder> {
        let recorder = self.recorders.remove(&id)?;
        self.held -= recorder.waiting.len() + recorder.writing.unwrap_or(0);
        self.timers.cancel(id);
        if self.by_line.get(&recorder.line) == Some(&id) {
            self.by_line.remove(&recorder.line);
        }
        let path = recorder.names.closed();
        info!(path = %path.display(), frames = recorder.frames, "a recording ends");
        Some(recorder)
    }

    /// Appends a frame whose payload `write` appends.
    ///
    /// # Errors
    ///
    /// Why it is not there.
    fn frame(
        &mut self,
        now: Monotonic,
        id: RecordingId,
        (room, held_max): (usize, usize),
        write: impl FnOnce(&mut Recorder, &mut Vec<u8>),
    ) -> Result<(), DropReason> {
        let Some(recorder) = self.recorders.get_mut(&id) else {
            return Ok(());
        };
        if recorder.waiting.len() + room > WAITING_BYTES || self.held + room > held_max {
            return Err(DropReason::RecordingFull);
        }
        let mut waiting = std::mem::take(&mut recorder.waiting);
        let before = waiting.len();
        let first = *recorder.first.get_or_insert(now);
        if recorder.frames == 0 {
            let (since, created) = recorder.since;
            let began = created + now.saturating_since(since);
            recorder.info.write(created, began, &mut waiting);
        }
        let millis = now.saturating_since(first).as_millis() as u32;
        let fits = mjr::frame(millis, &mut waiting, |out| write(recorder, out));
        if !fits {
            waiting.truncate(before);
            recorder.waiting = waiting;
            return Err(DropReason::RecordingTooBig);
        }
        recorder.frames += 1;
        self.held += waiting.len() - before;
        let has_much = waiting.len() >= WRITE_BYTES;
        recorder.waiting = waiting;
        if has_much {
            self.go_on(id);
        } else if self.timers.deadline_of(id).is_none() {
            self.timers.arm(id, now + PERIOD);
        }
        Ok(())
    }
}

impl Media {
    /// Begins to record a line, in place of a recording of it that is under way. It ends with the
    /// line's peer, or when it is stopped. If the file cannot be written,
    /// [`PeerEvent::RecordingFailed`] follows.
    ///
    /// # Errors
    ///
    /// [`MediaError::NoPeer`], or [`MediaError::Limit`] if there are too many.
    pub fn record(&mut self, now: Now, spec: RecordingSpec) -> Result<RecordingId, MediaError> {
        let RecordingSpec {
            line,
            mut info,
            base,
            open_ending,
        } = spec;
        if !self.has_lines(line.peer) {
            return Err(MediaError::NoPeer);
        }
        if self.recorders.recorders.len() >= self.setup.limits.recordings_count {
            return Err(MediaError::Limit("recordings"));
        }
        let numbers = self.numbers(line);
        if let Some(numbers) = numbers {
            info.extensions = numbers.ids.named();
            info.red_pt = numbers.red;
        }
        let clock_rate = numbers.map_or(VIDEO_CLOCK, |numbers| numbers.clock_rate);
        if let Some(id) = self.recorders.by_line.get(&line) {
            self.recorders.end(*id);
        }
        self.recorders.last += 1;
        let id = RecordingId(self.recorders.last);
        let names = Names::new(base, open_ending, now.realtime.unix_micros());
        info!(path = %names.closed().display(), "a recording begins");
        let is_video = info.kind == MjrKind::Video;
        // Payloads that are encrypted do not say what they are.
        let needs_keyframe = is_video && !info.is_encrypted;
        let recorder = Recorder {
            line,
            info,
            names,
            since: (now.monotonic, now.realtime),
            first: None,
            best: Best::new(clock_rate, 0),
            origin: None,
            waiting: Vec::new(),
            writing: None,
            stage: Stage::Opening,
            needs_keyframe,
            is_due: false,
            is_ending: false,
            frames: 0,
        };
        self.recorders.recorders.insert(id, recorder);
        self.recorders.by_line.insert(line, id);
        self.recorders.go_on(id);
        self.counters.recordings += 1;
        if is_video {
            self.want_keyframes(now.monotonic, line);
        }
        Ok(id)
    }

    /// Ends a recording: what came so far is written, and the file gets its name.
    pub fn stop_recording(&mut self, id: RecordingId) {
        self.recorders.end(id);
    }

    /// Ends all recordings.
    pub fn stop_recordings(&mut self) {
        let ids: Vec<RecordingId> = self.recorders.recorders.keys().copied().collect();
        for id in ids {
            self.recorders.end(id);
        }
    }

    /// Counts a recording that could not even begin.
    pub fn recording_refused(&mut self) {
        self.counters.recordings_failed += 1;
    }

    /// Whether files of recordings are open.
    pub fn has_recordings(&self) -> bool {
        !self.recorders.recorders.is_empty()
    }

    /// Records a message of a line, if that is being recorded.
    pub fn record_message(&mut self, now: Now, line: LineRef, bytes: &[u8]) {
        let Some(id) = self.recorders.by_line.get(&line).copied() else {
            return;
        };
        if bytes.len() > PAYLOAD_BYTES_MAX - STAMP_SIZE {
            self.counters.dropped(DropReason::RecordingTooBig);
            return;
        }
        let now = now.monotonic;
        let room = (bytes.len() + EXTRA_ROOM, self.setup.limits.recordings_bytes);
        let done = self.recorders.frame(now, id, room, |recorder, out| {
            let (since, created) = recorder.since;
            let at = created + now.saturating_since(since);
            out.extend(at.unix_micros().to_be_bytes());
            out.extend(bytes);
        });
        self.count_frame(done);
    }

    /// Forgets all recordings, whatever is left to be written of them.
    pub fn abandon_recordings(&mut self) {
        for (_, recorder) in std::mem::take(&mut self.recorders).recorders {
            let path = recorder.names.open;
            warn!(path = %path.display(), "a recording is not written out");
        }
    }

    /// The next write. [`Media::recording_written`] must follow.
    pub fn next_recording_write(&mut self) -> Option<RecordingWrite> {
        self.recorders.out.pop_front()
    }

    /// Takes in what became of the write of a recording that was under way.
    pub fn recording_written(&mut self, id: RecordingId, is_done: bool) {
        let Some(recorder) = self.recorders.recorders.get_mut(&id) else {
            return;
        };
        let written = recorder.writing.take();
        self.recorders.held -= written.unwrap_or(0);
        if !is_done {
            let is_other = recorder.names.take_spare();
            match recorder.stage {
                Stage::Opening if is_other => {
                    recorder.names.open =
                        recorder.names.file(recorder.names.open_ending.as_deref());
                    self.recorders.go_on(id);
                }
                Stage::Naming if is_other => self.recorders.go_on(id),
                Stage::Naming | Stage::Open | Stage::Opening => self.fail_recording(id),
            }
            return;
        }
        match (recorder.stage, written) {
            // Media was missing where this was written down: nothing is under way here.
            (_, None) => return,
            (Stage::Naming, Some(_)) => {
                self.recorders.remove(id);
                return;
            }
            (Stage::Open | Stage::Opening, Some(_)) => recorder.stage = Stage::Open,
        }
        if recorder.is_due || recorder.is_ending {
            self.recorders.go_on(id);
        }
    }

    /// Writes out what has waited long enough.
    pub(super) fn write_recordings(&mut self, now: Monotonic) {
        for _ in 0..EXPIRE_MAX {
            let Some(id) = self.recorders.timers.expire(now) else {
                return;
            };
            self.recorders.go_on(id);
        }
    }

    /// Records a packet of a line, if that is being recorded.
    pub(super) fn record_packet(&mut self, now: Monotonic, line: LineRef, packet: &MediaPacket) {
        let Some(id) = self.recorders.by_line.get(&line).copied() else {
            return;
        };
        let Some(numbers) = self.numbers(line) else {
            return;
        };
        let Some(recorder) = self.recorders.recorders.get_mut(&id) else {
            return;
        };
        // Encodings wait for theirs as they are picked.
        if recorder.needs_keyframe && !packet.facts.keyframe && !packet.is_simulcast {
            let (since, _) = recorder.since;
            if now.saturating_since(since) < KEYFRAME_WAIT {
                return;
            }
        }
        recorder.needs_keyframe = false;
        for packet in self.record_along(now, id, numbers, packet) {
            self.record_along(now, id, numbers, &packet);
        }
    }

    /// Records a packet; tells what overtook it, which is to follow it.
    fn record_along(
        &mut self,
        now: Monotonic,
        id: RecordingId,
        numbers: LineNumbers,
        packet: &MediaPacket,
    ) -> Vec<MediaPacket> {
        let Some(recorder) = self.recorders.recorders.get_mut(&id) else {
            return Vec::new();
        };
        let line = recorder.line;
        let (passed, wanted) = recorder.best.pass(now, packet);
        if let Some(encoding) = wanted {
            self.keyframes.want(now, EncodingRef { line, encoding });
        }
        let Some((rewritten, vp8)) = passed else {
            return Vec::new();
        };
        let overtakers = recorder.best.overtakers(now, packet);
        let room = (
            packet.payload.len() + EXTRA_ROOM,
            self.setup.limits.recordings_bytes,
        );
        let done = self.recorders.frame(now, id, room, |recorder, out| {
            recorder.packet(packet, numbers, rewritten, vp8, out);
        });
        self.count_frame(done);
        overtakers
    }

    fn count_frame(&mut self, done: Result<(), DropReason>) {
        match done {
            Ok(()) => self.counters.frames_recorded += 1,
            Err(why) => self.counters.dropped(why),
        }
    }

    fn fail_recording(&mut self, id: RecordingId) {
        let Some(recorder) = self.recorders.remove(id) else {
            return;
        };
        self.counters.recordings_failed += 1;
        let LineRef { peer, line } = recorder.line;
        let path = recorder.names.open;
        warn!(path = %path.display(), stage = ?recorder.stage, "a recording failed");
        // Nobody asks any more for one that was to end.
        if let Some(found) = self.peers.get(peer).filter(|_| !recorder.is_ending) {
            let event = PeerEvent::RecordingFailed { id, line };
            self.events.push_back((peer, found.owner, event));
        }
    }
}

impl Recorder {
    fn packet(
        &mut self,
        packet: &MediaPacket,
        numbers: LineNumbers,
        rewritten: Rewritten,
        vp8: Vp8Numbers,
        out: &mut Vec<u8>,
    ) {
        let source = packet.source.0 as u32;
        let (origin, ssrc) = *self.origin.get_or_insert((rewritten.timestamp, source));
        let header = RtpHeader {
            marker: packet.marker,
            pt: match packet.form {
                PayloadForm::Plain => numbers.plain,
                PayloadForm::Red => numbers.red.unwrap_or(numbers.plain),
            },
            sequence: rewritten.sequence as u16,
            timestamp: rewritten.timestamp.wrapping_sub(origin),
            ssrc,
        };
        out.reserve(HEADER_SIZE + packet.payload.len());
        packet.values.with_plain(numbers.ids, |extensions| {
            write_header(&header, extensions, out);
        });
        let payload_at = out.len();
        out.extend_from_slice(&packet.payload);
        if vp8 != Vp8Numbers::default() {
            Vp8Descriptor::renumber(&mut out[payload_at..], vp8.picture_id, vp8.tl0_index);
        }
    }
}
