//! The replayer: makes the shards anew and tells them what they were told, all of them together.
//!
//! Each shard goes on until it was told the next message of another one that has not sent it yet;
//! then the other goes on. In the real process the message was there at that time, so that there
//! is always one that can go on.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bifrons::base::clock::{Anchor, Boottime, Monotonic, Now, Realtime};
use bifrons::base::id::{ConnId, ShardId};
use bifrons::config::Config;
use bifrons::driver::journal::{Coder, End, Entry, Lengths, Outputs, Reading, is_media};
use bifrons::driver::{Core as _, Counters};
use bifrons::media::{Certificate, LocalSocket};
use bifrons::shard::mesh::MeshMsg;
use bifrons::shard::{Control, Input, Outbox, Setup, Shard};

use super::tape::{Journal, Tape};

/// What came of a replay.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Inputs that shards were told.
    pub inputs: u64,
    /// Turns that came to the same output.
    pub turns: u64,
    /// The hash of the output of each shard.
    pub hashes: Vec<u64>,
    /// The time that the journal spans.
    pub span: Duration,
    /// What became of each shard.
    pub verdicts: Vec<Verdict>,
}

/// What became of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its output is another one.
    Differs(Divergence),
    /// It panicked where the recorded one did.
    Panicked,
    /// Its output is the same to the end.
    Same,
    /// Its output is the same as far as the journal goes.
    SameSoFar,
    /// Another shard differs, and this one was not replayed to the end.
    Stopped,
}

/// Where a shard went another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The turn, by the shard's count.
    pub turn: u64,
    /// Where in the shard's tape.
    pub at: usize,
    /// What is different.
    pub what: String,
}

impl Outcome {
    /// The first shard that went another way.
    pub fn divergence(&self) -> Option<(ShardId, &Divergence)> {
        let mut verdicts = (0..).map(ShardId).zip(&self.verdicts);
        verdicts.find_map(|(shard, verdict)| match verdict {
            Verdict::Differs(divergence) => Some((shard, divergence)),
            Verdict::Panicked | Verdict::Same | Verdict::SameSoFar | Verdict::Stopped => None,
        })
    }

    /// Whether a shard panicked as the recorded one did.
    pub fn has_panicked(&self) -> bool {
        self.verdicts.contains(&Verdict::Panicked)
    }
}

/// Replays a journal, and tells `told` of each entry before it has its effect.
///
/// # Errors
///
/// When its start cannot be read, in a sentence.
pub fn replay(
    journal: &Journal,
    mut told: impl FnMut(ShardId, u64, &Entry<'_>),
) -> Result<Outcome, String> {
    let config: Config = serde_json::from_value(journal.start.config.clone())
        .map_err(|error| format!("its configuration cannot be read: {error}"))?;
    let config = Arc::new(config);
    let mut players: Vec<Player<'_>> = (0..)
        .map(ShardId)
        .zip(&journal.tapes)
        .map(|(id, tape)| Player::new(id, journal, tape, &config))
        .collect();
    let mut has_gone_on = true;
    while has_gone_on {
        has_gone_on = false;
        for index in 0..players.len() {
            while let Step::Went = players[index].step(&mut told) {
                has_gone_on = true;
                let from = players[index].id;
                for (to, message) in std::mem::take(&mut players[index].sent) {
                    if let Some(player) = players.get_mut(usize::from(to.0)) {
                        player.inboxes[usize::from(from.0)].push_back(message);
                    }
                }
            }
            if let Some(Verdict::Differs(_)) = players[index].verdict {
                has_gone_on = false;
                break;
            }
        }
    }
    Ok(outcome(players))
}

fn outcome(mut players: Vec<Player<'_>>) -> Outcome {
    let differs = |player: &Player<'_>| matches!(player.verdict, Some(Verdict::Differs(_)));
    let is_stopped = players.iter().any(differs);
    let over: Vec<bool> = players.iter().map(|player| player.has_ended).collect();
    let mut outcome = Outcome::default();
    for player in &mut players {
        let verdict = player.verdict.take().unwrap_or_else(|| {
            let awaited = player.awaited();
            match awaited.and_then(|from| over.get(usize::from(from.0))) {
                _ if is_stopped => Verdict::Stopped,
                Some(true) => {
                    let what = "another shard ended and never sent the message that came in";
                    Verdict::Differs(player.divergence(what.to_owned()))
                }
                Some(false) | None => Verdict::SameSoFar,
            }
        });
        outcome.inputs += player.inputs;
        outcome.turns += player.same_turns;
        outcome.hashes.push(player.outputs.hash().value());
        outcome.span = outcome.span.max(player.span());
        outcome.verdicts.push(verdict);
    }
    outcome
}

enum Step {
    /// It was told an entry.
    Went,
    /// It is over, or waits for another shard.
    Rests,
}

/// One shard, and the tape that it is played from.
struct Player<'a> {
    id: ShardId,
    shard: Shard,
    media: bool,
    bytes: &'a [u8],
    rest: &'a [u8],
    coder: Coder,
    now: Now,
    started: Monotonic,
    out: Outbox,
    outputs: Outputs,
    /// What other shards have sent and it was not told.
    inboxes: Vec<VecDeque<MeshMsg>>,
    /// What it has sent in the last step.
    sent: Vec<(ShardId, MeshMsg)>,
    turn: u64,
    same_turns: u64,
    inputs: u64,
    has_ended: bool,
    verdict: Option<Verdict>,
}

impl<'a> Player<'a> {
    fn new(id: ShardId, journal: &Journal, tape: &'a Tape, config: &Arc<Config>) -> Self {
        let start = &tape.start;
        let now = now(start.now);
        let sockets = start.sockets.iter().cloned();
        let sockets = sockets.map(|(bound, advertised)| LocalSocket { bound, advertised });
        let setup = Setup {
            id,
            shards: journal.start.shards,
            config: Arc::clone(config),
            seed: start.seed,
            anchor: Anchor::new(some_instant(), Monotonic::from_nanos(start.anchor)),
            sockets: sockets.collect(),
            certificate: Certificate::stand_in(start.certificate.clone()),
            crypto: None,
        };
        Self {
            id,
            shard: Shard::new(setup, now),
            media: journal.start.media,
            bytes: &tape.bytes,
            rest: &tape.bytes,
            coder: Coder::default(),
            now,
            started: now.monotonic,
            out: Outbox::default(),
            outputs: Outputs::new(journal.start.media),
            inboxes: journal.tapes.iter().map(|_| VecDeque::new()).collect(),
            sent: Vec::new(),
            turn: 1,
            same_turns: 0,
            inputs: 0,
            has_ended: false,
            verdict: None,
        }
    }

    /// Tells the shard the next entry, if it can be told yet.
    fn step(&mut self, told: &mut impl FnMut(ShardId, u64, &Entry<'_>)) -> Step {
        if self.verdict.is_some() {
            return Step::Rests;
        }
        let (before, coder) = (self.rest, self.coder.clone());
        let entry = match self.coder.decode(&mut self.rest) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Step::Rests,
            Err(_) => {
                self.differ("this is no entry of a journal".to_owned());
                return Step::Rests;
            }
        };
        if let Entry::Mesh { from } = entry
            && self.inbox(from).is_none_or(|inbox| inbox.is_empty())
        {
            (self.rest, self.coder) = (before, coder);
            return Step::Rests;
        }
        told(self.id, self.turn, &entry);
        // What it asks of others is for nobody. A panic is a result like any other.
        match std::panic::catch_unwind(AssertUnwindSafe(|| self.tell(&entry))) {
            Ok(Ok(())) => {}
            Ok(Err(what)) => {
                self.rest = before;
                self.differ(what);
            }
            Err(_) => self.panicked(before),
        }
        let media = self.media;
        let mesh = self.out.mesh.drain(..);
        self.sent
            .extend(mesh.filter(|(_, message)| media || !is_media(message)));
        self.forget_outputs();
        Step::Went
    }

    fn tell(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let input = match *entry {
            Entry::Now(reading) => {
                self.now = now(reading);
                return Ok(());
            }
            Entry::Flush => {
                let before = Lengths::of(&self.out);
                self.shard.flush(self.now, &mut self.out);
                self.outputs.given(&self.out, before);
                return Ok(());
            }
            Entry::Turn { ref counters, hash } => return self.end_turn(counters, hash),
            Entry::End { how, hash } => return self.end(how, hash),
            // Without its bytes it cannot be told.
            Entry::Datagram { bytes: None, .. } => return Ok(()),
            Entry::Datagram {
                sock,
                from,
                bytes: Some(bytes),
                ..
            } => Input::Datagram { sock, from, bytes },
            Entry::Bytes { conn, bytes } => Input::TcpBytes { conn, bytes },
            Entry::Closed { conn } => Input::TcpClosed { conn },
            Entry::Configure { config } => {
                let config = serde_json::from_str(config);
                let config: Config =
                    config.map_err(|error| format!("no configuration: {error}"))?;
                Input::Control(Control::Configure(Arc::new(config)))
            }
            Entry::Drain => Input::Control(Control::Drain),
            Entry::Eof { conn } => Input::TcpEof { conn },
            Entry::LookedUp { id, address } => Input::LookedUp { id, address },
            Entry::Mesh { from } => {
                let message = self.inboxes[usize::from(from.0)].pop_front();
                let message = message.expect("it was looked for");
                Input::Mesh { from, message }
            }
            Entry::Opened {
                conn,
                listener,
                peer,
            } => {
                self.outputs.opened(conn);
                Input::TcpOpened {
                    conn,
                    listener,
                    peer,
                }
            }
            Entry::Signal(number) => Input::Control(Control::Signal(number)),
            Entry::Silent(ref shards) => Input::Control(Control::Silent(shards.clone())),
            Entry::SocketOpened { sock, bound } => Input::SocketOpened { sock, bound },
            Entry::Stop => Input::Control(Control::Stop),
            Entry::Tick => Input::Tick,
            Entry::Written { id, written } => Input::Written { id, written },
            Entry::Wrote { conn, count } => {
                self.take(conn, count)?;
                Input::Wrote { conn, count }
            }
        };
        self.inputs += 1;
        let before = Lengths::of(&self.out);
        self.shard.handle(self.now, input, &mut self.out);
        self.outputs.given(&self.out, before);
        Ok(())
    }

    fn take(&mut self, conn: ConnId, count: usize) -> Result<(), String> {
        let pending = self.shard.pending(conn);
        let taken = pending.get(..count).ok_or_else(|| {
            let there = pending.len();
            format!("{count} bytes of {conn} were taken, and it offers {there}")
        })?;
        self.outputs.taken(conn, taken);
        Ok(())
    }

    fn end_turn(&mut self, counters: &Counters, hash: u32) -> Result<(), String> {
        self.shard.report(counters);
        let here = self.outputs.hash().short();
        if here != hash {
            return Err(format!("its output is {here:08x}, and was {hash:08x}"));
        }
        self.turn = counters.turns + 1;
        self.same_turns += 1;
        Ok(())
    }

    fn end(&mut self, how: End, hash: u64) -> Result<(), String> {
        self.has_ended = true;
        let here = self.outputs.hash().value();
        match how {
            End::Panicked => Err("it panicked, and does not here".to_owned()),
            End::InOrder if here != hash => {
                Err(format!("its output is {here:016x}, and was {hash:016x}"))
            }
            End::InOrder => {
                self.verdict = Some(Verdict::Same);
                Ok(())
            }
        }
    }

    /// The shard panicked; what it was told is at the begin of `before`.
    fn panicked(&mut self, before: &'a [u8]) {
        let mut coder = self.coder.clone();
        let next = coder.decode(&mut self.rest);
        if let Ok(Some(Entry::End {
            how: End::Panicked, ..
        })) = next
        {
            self.has_ended = true;
            self.verdict = Some(Verdict::Panicked);
        } else {
            self.rest = before;
            self.differ("it panics, and did not".to_owned());
        }
    }

    fn differ(&mut self, what: String) {
        self.verdict = Some(Verdict::Differs(self.divergence(what)));
    }

    fn divergence(&self, what: String) -> Divergence {
        Divergence {
            turn: self.turn,
            at: self.bytes.len() - self.rest.len(),
            what,
        }
    }

    /// Whose message it waits for.
    fn awaited(&self) -> Option<ShardId> {
        match self.coder.clone().decode(&mut &*self.rest) {
            Ok(Some(Entry::Mesh { from })) => Some(from),
            _ => None,
        }
    }

    fn inbox(&self, from: ShardId) -> Option<&VecDeque<MeshMsg>> {
        self.inboxes.get(usize::from(from.0))
    }

    fn span(&self) -> Duration {
        self.now.monotonic.saturating_since(self.started)
    }

    fn forget_outputs(&mut self) {
        let Outbox {
            sockets,
            datagrams,
            tcp,
            mesh,
            reports,
            handlers,
            lookups,
            writes,
            log_level,
            close_listeners,
        } = &mut self.out;
        sockets.clear();
        datagrams.clear();
        tcp.clear();
        mesh.clear();
        reports.clear();
        handlers.clear();
        lookups.clear();
        writes.clear();
        *log_level = None;
        *close_listeners = false;
    }
}

fn now(reading: Reading) -> Now {
    Now {
        monotonic: Monotonic::from_nanos(reading.monotonic),
        boottime: Boottime::from_nanos(reading.boottime),
        realtime: Realtime::from_unix_micros(reading.realtime),
    }
}

fn some_instant() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to make an instant"
    )]
    Instant::now()
}
