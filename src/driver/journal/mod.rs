//! A journal of what happens to a shard, from which the run can be replayed elsewhere.
//!
//! [`Recorder`] stands between the driver and the core. It writes down all that the core is told
//! and asked, in order, and a hash of all that the core gives out. Whoever makes the core anew
//! from the journal's start and tells it the same must get the same hash after each turn.
//!
//! Messages between shards are not written down: of each it says which shard sent it. All shards
//! of a process are replayed together, and their messages are made again.
//!
//! Secrets are masked before they are written, see `mask`: the replay runs with a configuration
//! whose secrets are masked in the same way. Where outputs show secrets the hash passes them over.
//!
//! What comes after the end of a journal goes into its tail, of which the newest is kept to be
//! read, see `tail`.
//!
//! Invariant: what is in a journal can be replayed from its beginning. When something cannot be
//! written any more, nothing that follows is in it.

mod block;
mod bytes;
mod entry;
mod frames;
mod hash;
mod mask;
mod outputs;
mod secrets;
mod start;
mod tail;

use std::time::Duration;

use crate::base::clock::{Monotonic, Now};
use crate::base::id::ConnId;
use crate::base::slab::SlabKey as _;
use crate::driver::core::Core;
use crate::driver::pump::{Counters, JournalCounts};
use crate::shard::{Control, Input, Outbox};

use frames::Frames;
use secrets::Place;

pub use block::{Block, Blocks, Damage, Kind, MAGIC, PROCESS, head};
pub use bytes::Broken;
pub use entry::{Coder, End, Entry, Reading};
pub use hash::OutputHash;
pub use mask::Mask;
pub use outputs::{Lengths, Outputs, is_media};
pub use start::{ProcessStart, ShardStart};
pub use tail::{
    FILES, TAIL_MAGIC, TailBlocks, tail_block, tail_end, tail_entries, tail_number, tail_path,
};

/// Bytes after which a block is handed over.
const BLOCK_BYTES: usize = 48 * 1024;

/// A block is handed over after this much time: so much is lost when the process is killed.
const BLOCK_AGE: Duration = Duration::from_millis(100);

/// Where blocks go.
pub trait Sink: 'static {
    /// Takes a block of a shard, without waiting. Its entries build upon what `before` knows.
    fn put(&mut self, kind: Kind, before: &Coder, content: Vec<u8>) -> Taken;

    /// Whether blocks are wanted at once, because the process is about to end.
    fn is_urgent(&self) -> bool;

    /// Whether the thread is unwinding.
    fn is_panicking(&self) -> bool;

    /// Bytes of blocks that came neither into the journal nor into its tail. One shard tells of
    /// those of all.
    fn lost_bytes(&self) -> u64;
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is lost. What follows may come into the tail.
    Lost,
    /// It is lost, and so is all that would have followed.
    No,
    /// It will be in the tail, because the journal has ended.
    Tail,
    /// It will be in the journal, or in the tail if that is about to end.
    Yes,
}

/// How a shard is recorded.
#[derive(Debug)]
pub struct Recording<S> {
    /// Where its blocks go.
    pub sink: S,
    /// What it began with.
    pub start: ShardStart,
    /// Datagrams are written down whole.
    pub media: bool,
    /// Masks secrets; the same for all shards.
    pub mask: Mask,
}

/// A core whose life is written down.
#[derive(Debug)]
pub struct Recorder<C, S: Sink> {
    core: C,
    tape: Option<Tape<S>>,
    /// Where blocks went, when the journal has ended.
    ended: Option<S>,
    counts: JournalCounts,
}

impl<C: Core, S: Sink> Recorder<C, S> {
    /// Records `core` from its beginning.
    pub fn new(core: C, mut recording: Recording<S>) -> Self {
        let start = serde_json::to_vec(&recording.start).expect("it is plain data");
        let taken = recording.sink.put(Kind::Start, &Coder::default(), start);
        let (tape, ended) = match taken {
            Taken::No => (None, Some(recording.sink)),
            Taken::Lost | Taken::Tail | Taken::Yes => (Some(Tape::new(recording)), None),
        };
        Self {
            core,
            tape,
            ended,
            counts: JournalCounts::default(),
        }
    }
}

impl<C: Core, S: Sink> Core for Recorder<C, S> {
    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) {
        let Some(tape) = &mut self.tape else {
            return self.core.handle(now, input, out);
        };
        if let (Input::Wrote { conn, count }, Some(outputs)) = (&input, &mut tape.outputs) {
            let taken = self.core.pending(*conn).get(..*count).unwrap_or_default();
            outputs.taken(*conn, taken);
        }
        tape.note(now, &input);
        let before = Lengths::of(out);
        self.core.handle(now, input, out);
        tape.note_outputs(out, before);
    }

    fn flush(&mut self, now: Now, out: &mut Outbox) {
        let Some(tape) = &mut self.tape else {
            return self.core.flush(now, out);
        };
        tape.note_time(now);
        tape.write(&Entry::Flush);
        let before = Lengths::of(out);
        self.core.flush(now, out);
        tape.note_outputs(out, before);
    }

    fn pending(&self, conn: ConnId) -> &[u8] {
        self.core.pending(conn)
    }

    fn deadline(&self) -> Option<Monotonic> {
        self.core.deadline()
    }

    fn is_drained(&self) -> bool {
        self.core.is_drained()
    }

    fn report(&mut self, counters: &Counters) {
        match (&self.tape, &self.ended) {
            (Some(tape), _) => {
                self.counts = tape.counts;
                self.counts.lost_bytes = tape.sink.lost_bytes();
            }
            (None, Some(sink)) => {
                self.counts.lost_bytes = sink.lost_bytes();
                self.counts.lost_turns += 1;
            }
            (None, None) => {}
        }
        let counters = &Counters {
            journal: self.counts,
            ..*counters
        };
        self.core.report(counters);
        if let Some(tape) = &mut self.tape
            && tape.end_turn(counters) == Taken::No
        {
            self.ended = self.tape.take().map(|tape| tape.sink);
        }
    }
}

impl<C, S: Sink> Drop for Recorder<C, S> {
    fn drop(&mut self) {
        if let Some(tape) = &mut self.tape {
            tape.end();
        }
    }
}

/// What is written of one shard.
#[derive(Debug)]
struct Tape<S> {
    sink: S,
    mask: Mask,
    media: bool,
    coder: Coder,
    block: Vec<u8>,
    /// What the coder knew where the block begins.
    before: Coder,
    /// Turns that ended in the block.
    block_turns: u64,
    now: Option<Now>,
    handed_over: Option<Monotonic>,
    counts: JournalCounts,
    /// Streams of clients, by the slots of their connections.
    streams: Vec<Stream>,
    /// What the replay must come to; `None` since the shard has nothing more in the journal.
    outputs: Option<Outputs>,
}

/// Where a client's stream is.
#[derive(Clone, Debug, Default)]
struct Stream {
    place: Place,
    frames: Option<Frames>,
}

impl<S: Sink> Tape<S> {
    fn new(recording: Recording<S>) -> Self {
        let Recording {
            sink, mask, media, ..
        } = recording;
        Self {
            sink,
            mask,
            media,
            coder: Coder::default(),
            block: Vec::new(),
            before: Coder::default(),
            block_turns: 0,
            counts: JournalCounts::default(),
            now: None,
            handed_over: None,
            streams: Vec::new(),
            outputs: Some(Outputs::new(media)),
        }
    }

    fn write(&mut self, entry: &Entry<'_>) {
        self.coder.encode(entry, &mut self.block);
    }

    /// Writes down the clocks, where they are new.
    fn note_time(&mut self, now: Now) {
        let is_known = self.now.is_some_and(|known| {
            (known.monotonic, known.boottime, known.realtime)
                == (now.monotonic, now.boottime, now.realtime)
        });
        if !is_known {
            self.now = Some(now);
            self.write(&Entry::Now(now.into()));
        }
    }

    fn note(&mut self, now: Now, input: &Input<'_>) {
        self.note_time(now);
        match *input {
            Input::Control(ref control) => self.note_control(control),
            Input::Datagram { sock, from, bytes } => {
                let whole = self.media.then_some(bytes);
                self.write(&Entry::Datagram {
                    sock,
                    from,
                    size: bytes.len(),
                    bytes: whole,
                });
            }
            Input::LookedUp { id, address } => self.write(&Entry::LookedUp { id, address }),
            Input::Mesh { from, ref message } => {
                if self.media || !is_media(message) {
                    self.write(&Entry::Mesh { from });
                }
            }
            Input::SocketOpened { sock, bound } => {
                self.write(&Entry::SocketOpened { sock, bound });
            }
            Input::TcpBytes { conn, bytes } => {
                self.write(&Entry::Bytes { conn, bytes });
                let from = self.block.len() - bytes.len();
                self.hide_secrets(conn, from);
            }
            Input::TcpClosed { conn } => self.write(&Entry::Closed { conn }),
            Input::TcpEof { conn } => self.write(&Entry::Eof { conn }),
            Input::TcpOpened {
                conn,
                listener,
                peer,
            } => {
                let slot = conn.slot() as usize;
                if slot >= self.streams.len() {
                    self.streams.resize_with(slot + 1, Stream::default);
                }
                self.streams[slot] = Stream::default();
                if let Some(outputs) = &mut self.outputs {
                    outputs.opened(conn);
                }
                self.write(&Entry::Opened {
                    conn,
                    listener,
                    peer,
                });
            }
            Input::Tick => self.write(&Entry::Tick),
            Input::Written { id, written } => self.write(&Entry::Written { id, written }),
            Input::Wrote { conn, count } => self.write(&Entry::Wrote { conn, count }),
        }
    }

    fn note_control(&mut self, control: &Control) {
        match control {
            Control::Configure(config) => {
                let config = start::written(config, &mut self.mask).to_string();
                self.write(&Entry::Configure { config: &config });
            }
            Control::Drain => self.write(&Entry::Drain),
            Control::Signal(number) => self.write(&Entry::Signal(*number)),
            Control::Silent(shards) => self.write(&Entry::Silent(shards.clone())),
            Control::Stop => self.write(&Entry::Stop),
        }
    }

    /// Masks the secrets of what a client sent, at the end of the block.
    fn hide_secrets(&mut self, conn: ConnId, mut from: usize) {
        let Some(stream) = self.streams.get_mut(conn.slot() as usize) else {
            return;
        };
        while from < self.block.len() {
            let bytes = &mut self.block[from..];
            let next = match &mut stream.frames {
                Some(frames) => {
                    let next = frames.treat(bytes, &mut stream.place, &mut self.mask);
                    if next.is_some() {
                        stream.frames = None;
                    }
                    next
                }
                None => {
                    let next = stream.place.treat(bytes, &mut self.mask);
                    if next.is_some() {
                        stream.frames = Some(Frames::default());
                    }
                    next
                }
            };
            let Some(count) = next else { return };
            from += count;
        }
    }

    fn note_outputs(&mut self, out: &Outbox, before: Lengths) {
        if let Some(outputs) = &mut self.outputs {
            outputs.given(out, before);
        }
    }

    /// The hash of all output; none where nobody will compare it.
    fn hash(&self) -> OutputHash {
        self.outputs.as_ref().map(Outputs::hash).unwrap_or_default()
    }

    fn end_turn(&mut self, counters: &Counters) -> Taken {
        let (counters, hash) = (*counters, self.hash().short());
        self.write(&Entry::Turn { counters, hash });
        self.block_turns += 1;
        let now = self.now.map(|now| now.monotonic);
        let is_old = match (now, self.handed_over) {
            (Some(now), Some(before)) => now.saturating_since(before) >= BLOCK_AGE,
            _ => true,
        };
        if self.block.len() < BLOCK_BYTES && !is_old && !self.sink.is_urgent() {
            return Taken::Yes;
        }
        self.handed_over = now;
        self.hand_over()
    }

    fn hand_over(&mut self) -> Taken {
        let room = Vec::with_capacity(self.block.len().min(2 * BLOCK_BYTES));
        let block = std::mem::replace(&mut self.block, room);
        let before = std::mem::replace(&mut self.before, self.coder.clone());
        let turns = std::mem::take(&mut self.block_turns);
        let size = block.len() as u64;
        let taken = self.sink.put(Kind::Entries, &before, block);
        match taken {
            Taken::Lost => self.counts.lost_turns += turns,
            Taken::No => {}
            Taken::Tail => {
                self.counts.tail_bytes += size;
                self.counts.tail_turns += turns;
            }
            Taken::Yes => self.counts.written_bytes += size,
        }
        if taken != Taken::Yes {
            self.outputs = None;
        }
        taken
    }

    fn end(&mut self) {
        let how = match self.sink.is_panicking() {
            true => End::Panicked,
            false => End::InOrder,
        };
        let hash = self.hash().value();
        self.write(&Entry::End { how, hash });
        // Whether it was taken matters to nobody any more.
        let _ = self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{Boottime, Realtime};

    /// Does nothing but remember what it was told of the journal.
    #[derive(Default)]
    struct Idle(JournalCounts);

    impl Core for Idle {
        fn handle(&mut self, _: Now, _: Input<'_>, _: &mut Outbox) {}

        fn flush(&mut self, _: Now, _: &mut Outbox) {}

        fn pending(&self, _: ConnId) -> &[u8] {
            &[]
        }

        fn deadline(&self) -> Option<Monotonic> {
            None
        }

        fn is_drained(&self) -> bool {
            false
        }

        fn report(&mut self, counters: &Counters) {
            self.0 = counters.journal;
        }
    }

    /// Takes so many blocks, and does the same with all others.
    struct Room {
        blocks: usize,
        then: Taken,
        lost_bytes: u64,
        put: Vec<(Coder, Vec<u8>)>,
    }

    impl Sink for Room {
        fn put(&mut self, _: Kind, before: &Coder, content: Vec<u8>) -> Taken {
            let size = content.len() as u64;
            self.put.push((before.clone(), content));
            let Some(left) = self.blocks.checked_sub(1) else {
                self.lost_bytes += match self.then {
                    Taken::Lost | Taken::No => size,
                    Taken::Tail | Taken::Yes => 0,
                };
                return self.then;
            };
            self.blocks = left;
            Taken::Yes
        }

        fn is_urgent(&self) -> bool {
            false
        }

        fn is_panicking(&self) -> bool {
            false
        }

        fn lost_bytes(&self) -> u64 {
            self.lost_bytes
        }
    }

    fn now(turn: u64) -> Now {
        Now {
            monotonic: Monotonic::from_nanos(turn * 200_000_000),
            boottime: Boottime::from_nanos(turn * 200_000_000),
            realtime: Realtime::from_unix_micros(0),
        }
    }

    /// What a shard shows of its journal after each of so many turns.
    fn shown(blocks: usize, turns: u64) -> Vec<JournalCounts> {
        let mut recorder = recorder(blocks, Taken::No);
        (1..=turns)
            .map(|number| turn(&mut recorder, number))
            .collect()
    }

    fn turn(recorder: &mut Recorder<Idle, Room>, number: u64) -> JournalCounts {
        recorder.flush(now(number), &mut Outbox::default());
        let counters = Counters {
            turns: number,
            ..Counters::default()
        };
        recorder.report(&counters);
        recorder.core.0
    }

    fn recorder(blocks: usize, then: Taken) -> Recorder<Idle, Room> {
        let recording = Recording {
            sink: Room {
                blocks,
                then,
                lost_bytes: 0,
                put: Vec::new(),
            },
            start: ShardStart {
                seed: [0; 32],
                now: now(0).into(),
                anchor: 0,
                sockets: Vec::new(),
                certificate: Vec::new(),
            },
            media: false,
            mask: Mask::new([0; 16]),
        };
        Recorder::new(Idle::default(), recording)
    }

    #[test]
    fn a_shard_shows_what_its_journal_has_and_lacks() {
        // The start is a block, and each of these turns is one.
        let shown = shown(3, 6);
        let lost: Vec<_> = shown.iter().map(|counts| counts.lost_turns).collect();
        assert_eq!(lost, [0, 0, 0, 1, 2, 3]);
        let written: Vec<_> = shown.iter().map(|counts| counts.written_bytes).collect();
        assert_eq!(
            written[0], 0,
            "nothing was handed over before the first turn"
        );
        assert!(written[1] > 10 && written[2] > written[1], "{written:?}");
        assert!(
            shown[2].lost_bytes == 0 && shown[3].lost_bytes > 10,
            "{shown:?}"
        );
        assert_eq!(shown[5].lost_bytes, shown[3].lost_bytes);
    }

    #[test]
    fn a_shard_shows_what_is_in_the_tail() {
        let mut recorder = recorder(3, Taken::Tail);
        let shown: Vec<_> = (1..=6).map(|number| turn(&mut recorder, number)).collect();
        let turns: Vec<_> = shown.iter().map(|counts| counts.tail_turns).collect();
        assert_eq!(turns, [0, 0, 0, 1, 2, 3]);
        assert!(shown[3].tail_bytes > 10 && shown[4].tail_bytes > shown[3].tail_bytes);
        assert_eq!(shown[5].written_bytes, shown[3].written_bytes);
        let lost = |counts: &JournalCounts| (counts.lost_turns, counts.lost_bytes);
        assert_eq!(lost(&shown[5]), (0, 0));
    }

    #[test]
    fn what_is_lost_on_the_way_is_counted_and_recording_goes_on() {
        let mut recorder = recorder(3, Taken::Lost);
        for number in 1..=4 {
            turn(&mut recorder, number);
        }
        recorder.tape.as_mut().unwrap().sink.then = Taken::Tail;
        turn(&mut recorder, 5);
        let counts = turn(&mut recorder, 6);
        assert_eq!((counts.lost_turns, counts.tail_turns), (2, 1));
        assert!(counts.lost_bytes > 10);
    }

    #[test]
    fn each_block_can_be_read_by_what_was_known_before_it() {
        let mut recorder = recorder(9, Taken::No);
        for number in 1..=5 {
            turn(&mut recorder, number);
        }
        let put = &recorder.tape.as_ref().unwrap().sink.put;
        // The first is the start.
        assert_eq!(put.len(), 6);
        for (number, (before, content)) in (1..).zip(&put[1..]) {
            let (mut coder, mut rest) = (before.clone(), &content[..]);
            while let Some(entry) = coder.decode(&mut rest).unwrap() {
                if let Entry::Turn { counters, .. } = entry {
                    assert_eq!(counters.turns, number);
                }
            }
            assert_eq!(coder.reading(), Reading::from(now(number)));
            assert_eq!(coder.turns(), number);
        }
    }

    #[test]
    fn a_journal_that_never_began_loses_all_turns() {
        let shown = shown(0, 2);
        assert_eq!(shown[1].lost_turns, 2);
        assert_eq!(shown[1].written_bytes, 0);
        assert!(shown[0].lost_bytes > 0);
    }
}
