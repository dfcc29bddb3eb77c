//! One round: rooms are filled, media flows, the server is measured, and all is taken down.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::engine::{Command, Engine, Handle, Notice, Tally};
use super::peer::{Peer, Role};
use super::report::Run;
use super::signalling::Session;
use super::{Adaption, Load};
use crate::latency::Latencies;
use crate::process::Usage;
use crate::progress;
use crate::target::Target;

/// How long ICE and DTLS may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Janus takes sessions for dead after a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// How often and after which time a publisher that is not known yet is asked for again.
const FEED_TRIES_MAX: u32 = 100;
const FEED_WAIT: Duration = Duration::from_millis(10);

/// All that a round needs.
pub(super) struct Stage<'a> {
    target: &'a Target,
    load: &'a Load,
    adaption: Adaption,
    rooms: Vec<Room>,
    subscribers: usize,
    engine: Handle,
    thread: JoinHandle<std::io::Result<()>>,
    notices: Receiver<Notice>,
    /// One for each PeerConnection; those that left are gone.
    members: Vec<Option<Session>>,
    /// Creates rooms, and ends them.
    operator: Session,
    kept_alive: Instant,
}

struct Room {
    /// What the server calls it.
    number: u64,
    feeds: Vec<Value>,
    /// Those who only count.
    counters: Vec<usize>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        target: &'a Target,
        load: &'a Load,
        adaption: Adaption,
        (rooms, subscribers): (usize, usize),
    ) -> Result<Self, String> {
        let (sender, notices) = channel();
        let (core, engine) = Engine::new(load.shape(), sender).map_err(|e| e.to_string())?;
        let thread = std::thread::Builder::new()
            .name("media".into())
            .spawn(|| core.run())
            .map_err(|error| error.to_string())?;
        let mut operator = Session::open(target)?;
        let mut made = Vec::new();
        for _ in 0..rooms {
            let mut create = json!({
                "request": "create", "publishers": load.publishers, "videocodec": "vp8",
                "bitrate": 0, "notify_joining": false, "permanent": false,
            });
            match adaption {
                Adaption::AsItIs => {}
                Adaption::Off => create["adaptive"] = json!(false),
                Adaption::On => create["adaptive"] = json!(true),
            }
            let data = operator.ask(create)?;
            let number = data["room"].as_u64();
            made.push(Room {
                number: number.ok_or_else(|| format!("{}: no room: {data}", target.name))?,
                feeds: Vec::new(),
                counters: Vec::new(),
            });
        }
        Ok(Self {
            target,
            load,
            adaption,
            rooms: made,
            subscribers,
            engine,
            thread,
            notices,
            members: Vec::new(),
            operator,
            kept_alive: Instant::now(),
        })
    }

    /// Plays the round to its end.
    pub(super) fn play(mut self, round: usize) -> Result<Run, String> {
        let mut publishing = Latencies::default();
        let publishers = self.load.publishers;
        for room in 0..self.rooms.len() {
            for _ in 0..publishers {
                let began = Instant::now();
                self.publish(room)?;
                publishing.add(began.elapsed());
            }
        }
        let empty = Usage::of(self.target.pid)?;
        let began = Instant::now();
        let mut joining = Latencies::default();
        let total = self.rooms.len() * self.subscribers;
        for index in 0..self.subscribers {
            for room in 0..self.rooms.len() {
                let began = Instant::now();
                let role = self.role_of(index);
                self.subscribe(room, role)?;
                joining.add(began.elapsed());
                let done = (index * self.rooms.len() + room) as f64 / total as f64;
                self.show("joining", done);
            }
        }
        let setup = began.elapsed();

        self.engine.tell(Command::Flow(true))?;
        self.wait(
            Duration::from_secs_f64(self.load.warm_up),
            0.0,
            "warming up",
        )?;
        let before = Usage::of(self.target.pid)?;
        let own_before = Usage::of(std::process::id())?;
        self.engine.tell(Command::Begin)?;
        let began = Instant::now();
        let seconds = Duration::from_secs_f64(self.load.seconds);
        let churned = self.wait(seconds, self.load.churn, "measuring")?;
        self.engine.tell(Command::End)?;
        let tally = self.tally()?;
        let took = began.elapsed().as_secs_f64();
        let after = Usage::of(self.target.pid)?;
        let own_after = Usage::of(std::process::id())?;
        let _ = self.engine.tell(Command::Flow(false));

        let cpu = (after.cpu - before.cpu).as_secs_f64();
        let own = (own_after.cpu - own_before.cpu).as_secs_f64();
        let grown = after.rss_bytes.saturating_sub(empty.rss_bytes);
        let run = Run {
            server: self.adaption.name(self.target),
            round,
            rooms: self.rooms.len(),
            subscribers: self.subscribers,
            seconds: took,
            sent: tally.sent,
            expected: tally.expected,
            delivered: tally.delivered,
            delivered_share: tally.delivered as f64 / tally.expected.max(1) as f64,
            gaps: tally.gaps,
            late_frames: tally.late,
            reports: tally.reports,
            cpu_us_per_packet: cpu * 1e6 / tally.delivered.max(1) as f64,
            cpu_share: cpu / took,
            generator_cpu_share: own / took,
            latency: tally.latencies.quantiles(),
            publish_us: publishing.quantiles(),
            join_us: joining.quantiles(),
            setup_ms: setup.as_secs_f64() * 1e3,
            churned,
            rss_bytes: after.rss_bytes,
            rss_bytes_per_subscriber: grown as f64 / total.max(1) as f64,
            threads: after.threads,
        };
        self.take_down()?;
        progress::clear();
        Ok(run)
    }

    /// Those who look into what they get are spread evenly over the order of joining.
    fn role_of(&self, index: usize) -> Role {
        let (all, some) = (self.subscribers, self.load.decrypt.min(self.subscribers));
        let is_sampler = some > 0 && {
            let before = index * some / all;
            let after = (index + 1) * some / all;
            after > before
        };
        if is_sampler {
            Role::Sampler
        } else {
            Role::Counter
        }
    }

    fn publish(&mut self, room: usize) -> Result<(), String> {
        let mut session = Session::open(self.target)?;
        let load = self.load;
        let mut peer = Peer::new(load.ip, room, Role::Publisher(Vec::new()), load.loss)
            .map_err(|error| error.to_string())?;
        let (offer, pending) = peer.offer(load.simulcast);
        let number = self.rooms[room].number;
        let join = json!({"request": "joinandconfigure", "ptype": "publisher", "room": number});
        let (data, sdp) = session.tell(join, Some(("offer", offer)))?;
        let sdp = sdp.ok_or_else(|| format!("{}: no answer: {data}", self.target.name))?;
        peer.accept_answer(&sdp, pending)?;
        session.end_of_candidates()?;
        self.rooms[room].feeds.push(data["id"].clone());
        self.add(peer, session)?;
        Ok(())
    }

    fn subscribe(&mut self, room: usize, role: Role) -> Result<(), String> {
        let mut session = Session::open(self.target)?;
        let counts = matches!(role, Role::Counter);
        let streams: Vec<Value> = self.rooms[room]
            .feeds
            .iter()
            .map(|feed| json!({"feed": feed}))
            .collect();
        let number = self.rooms[room].number;
        let join = json!({
            "request": "join", "ptype": "subscriber", "room": number, "streams": streams,
        });
        let mut tries = 0;
        let (data, sdp) = loop {
            match session.tell(join.clone(), None) {
                // A publisher that is connected may be so only a moment later for the server.
                Err(error) if error.contains("No such feed") && tries < FEED_TRIES_MAX => {
                    tries += 1;
                    std::thread::sleep(FEED_WAIT);
                }
                other => break other?,
            }
        };
        let sdp = sdp.ok_or_else(|| format!("{}: no offer: {data}", self.target.name))?;
        let load = self.load;
        let mut peer =
            Peer::new(load.ip, room, role, load.loss).map_err(|error| error.to_string())?;
        if self.adaption == Adaption::On && counts {
            peer.report_on(&sdp, Instant::now());
        }
        let answer = peer.answer(&sdp)?;
        session.tell(json!({"request": "start"}), Some(("answer", answer)))?;
        session.end_of_candidates()?;
        let number = self.add(peer, session)?;
        if counts {
            self.rooms[room].counters.push(number);
        }
        Ok(())
    }

    /// Hands a peer to the engine, and waits until it is connected.
    fn add(&mut self, peer: Peer, session: Session) -> Result<usize, String> {
        let number = self.members.len();
        self.members.push(Some(session));
        self.engine.tell(Command::Add(number, Box::new(peer)))?;
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.notices.recv_timeout(left) {
                Ok(Notice::Connected(one)) if one == number => break,
                Ok(notice) => self.refuse(&notice)?,
                Err(_) => return Err(format!("{}: a peer did not connect", self.target.name)),
            }
        }
        self.keep_alive()?;
        Ok(number)
    }

    /// Lets time pass, in which so many subscribers a second are replaced. Says how many were.
    fn wait(&mut self, time: Duration, churn: f64, what: &str) -> Result<u64, String> {
        let began = Instant::now();
        let mut churned = 0;
        loop {
            let passed = began.elapsed();
            if passed >= time {
                return Ok(churned);
            }
            self.show(what, passed.as_secs_f64() / time.as_secs_f64());
            if passed.as_secs_f64() * churn >= (churned + 1) as f64 {
                self.replace_one(churned as usize)?;
                churned += 1;
                continue;
            }
            let next = match churn > 0.0 {
                true => Duration::from_secs_f64((churned + 1) as f64 / churn),
                false => time,
            };
            let wait = next.min(time).saturating_sub(passed).min(SHOW_EVERY);
            match self.notices.recv_timeout(wait) {
                Ok(notice) => self.refuse(&notice)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the generator's thread has ended".to_owned());
                }
            }
            self.keep_alive()?;
        }
    }

    /// The subscriber that has been there for longest leaves, and another comes.
    fn replace_one(&mut self, turn: usize) -> Result<(), String> {
        let room = turn % self.rooms.len();
        if self.rooms[room].counters.is_empty() {
            return Err("there is nobody to be replaced: all subscribers decrypt".to_owned());
        }
        let number = self.rooms[room].counters.remove(0);
        self.engine.tell(Command::Remove(number))?;
        if let Some(session) = self.members[number].take() {
            session.close()?;
        }
        self.subscribe(room, Role::Counter)
    }

    fn refuse(&self, notice: &Notice) -> Result<(), String> {
        match notice {
            Notice::Failed(number) => Err(format!(
                "{}: the connection of peer {number} ended",
                self.target.name
            )),
            Notice::Connected(_) | Notice::Counted(_) => Ok(()),
        }
    }

    fn tally(&self) -> Result<Tally, String> {
        loop {
            match self.notices.recv_timeout(PATIENCE) {
                Ok(Notice::Counted(tally)) => return Ok(*tally),
                Ok(notice) => self.refuse(&notice)?,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn keep_alive(&mut self) -> Result<(), String> {
        if self.kept_alive.elapsed() < KEEP_ALIVE {
            return Ok(());
        }
        self.kept_alive = Instant::now();
        self.operator.keep_alive()?;
        for session in self.members.iter_mut().flatten() {
            session.keep_alive()?;
        }
        Ok(())
    }

    fn take_down(mut self) -> Result<(), String> {
        for session in self.members.drain(..).flatten() {
            session.close()?;
        }
        for room in &self.rooms {
            self.operator
                .ask(json!({"request": "destroy", "room": room.number}))?;
        }
        self.operator.close()?;
        drop(self.engine);
        match self.thread.join() {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(_) => Err("the generator's thread panicked".to_owned()),
        }
    }

    fn show(&self, what: &str, done: f64) {
        progress::show(&format!("{}: {what}", self.target.name), done);
    }
}
