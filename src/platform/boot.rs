//! Starting and stopping the process.
//!
//! The order is: check the host, bind every socket, make every ring, listen, serve. Whatever
//! fails before the last step ends the process with one line on stderr, and nothing was served.
//! The main thread then waits for signals and for shards to end.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use socket2::Socket;

use super::handlers::{self, HandlerTallies, Handlers};
use super::heartbeats::Heartbeats;
use super::host::{self, Trouble};
use super::journal::{self, Journal, ShardSink};
use super::log::{DropCounts, LevelSwitch};
use super::lookups::Busy;
use super::supervisor::{State, Supervisor};
use super::{
    Clocks, Executor, Files, Inbox, Links, Lookups, Mesh, Plain, Sender, addresses, bind, inbox,
    sources,
};
use crate::base::clock::{Anchor, Monotonic, Now};
use crate::base::id::ShardId;
use crate::config::{Config, MediaConfig, Runtime};
use crate::driver::journal::{Mask, Recorder, Recording, ShardStart};
use crate::driver::{Arrival, Core, Counters, News};
use crate::media::{Certificate, LocalSocket, SOCKETS_MAX};
use crate::shard::{Control, Listener, Setup, TURNED_AWAY_MAX};

/// `EX_CONFIG` of sysexits.h: the host or the configuration is not right.
pub const EXIT_CONFIG: u8 = 78;

/// `EX_SOFTWARE` of sysexits.h: a shard failed.
pub const EXIT_SOFTWARE: u8 = 70;

/// How long shards may take to end once nothing holds them any more.
const END_WITHIN: Duration = Duration::from_secs(3);

/// What the process is to do.
pub struct Boot {
    /// The configuration to start with.
    pub config: Arc<Config>,
    /// Reads the configuration again, on SIGHUP. An error, in one line, changes nothing.
    pub reload: Box<dyn FnMut() -> Result<Config, String>>,
    /// Opens the log files again, on SIGUSR1.
    pub reopen_logs: Box<dyn FnMut()>,
    /// What the log had to drop, to be shown with the metrics.
    pub log_drops: Option<DropCounts>,
    /// Changes the level of the log.
    pub log_level: Option<LevelSwitch>,
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boot").finish_non_exhaustive()
    }
}

impl Boot {
    /// Serves until a signal ends it. `make` builds the core of each shard, on its thread.
    pub fn run<C: Core>(
        mut self,
        make: impl Fn(Setup, Now) -> C + Clone + Send + 'static,
    ) -> ExitCode {
        match Running::start(&self, make) {
            Ok(running) => running.serve(&mut self),
            Err(trouble) => {
                eprintln!("bifrons: {trouble}");
                ExitCode::from(EXIT_CONFIG)
            }
        }
    }
}

/// What the main thread hears of.
#[derive(Debug)]
enum Event {
    Ended(ShardId, Result<Counters, Failure>),
    News(ShardId, News),
    Ready,
    Signal(i32),
}

#[derive(Debug)]
enum Failure {
    Panicked(String),
    Start(Trouble),
}

/// The shards, seen from the main thread.
struct Running {
    clocks: Clocks,
    /// Connections that one shard has descriptors for.
    sockets_max: usize,
    events: mpsc::Receiver<Event>,
    senders: Vec<Sender<Arrival>>,
    ended: Vec<bool>,
    handlers: Handlers,
    journal: Option<Journal>,
    beats: Heartbeats,
    supervisor: Supervisor,
}

/// What a shard's thread begins with: plain sockets, not yet on a ring.
struct Parts {
    setup: Setup,
    listeners: Vec<(Listener, Socket)>,
    udp: Vec<Socket>,
    inbox: Inbox<Arrival>,
    senders: Vec<Sender<Arrival>>,
    connections_max: usize,
    links: Links,
    /// The core to stay on.
    core: Option<usize>,
    go: mpsc::Receiver<()>,
    runtime: Runtime,
    /// Where the shard's life is written down, and what masks secrets.
    journal: Option<(ShardSink, Mask)>,
}

impl Running {
    fn start<C: Core>(
        boot: &Boot,
        make: impl Fn(Setup, Now) -> C + Clone + Send + 'static,
    ) -> Result<Self, Trouble> {
        let mut config = Config::clone(&boot.config);
        let clocks = Clocks::default();
        let cores = host::cores();
        let shards = config
            .shards
            .unwrap_or_else(|| u8::try_from(cores.len()).unwrap_or(u8::MAX))
            .max(1);
        config
            .media
            .check(shards)
            .map_err(|error| Trouble::new(error.to_string()))?;
        let descriptors = host::check(config.runtime, shards)? / usize::from(shards);
        let plain = &mut config.limits.plain_sockets_count;
        // Few descriptors are for connections first.
        *plain = (*plain).min(SOCKETS_MAX).min(descriptors / 4);
        let sockets_max = descriptors - *plain;
        fit(&mut config, sockets_max);
        let config = &Arc::new(config);
        let connections_max = config.limits.connections_count + spare(config, sockets_max);
        // Heard from before the first connection on; acted upon when the shards are ready.
        let signals = hear_signals()?;
        let sockets = Sockets::bind(config, shards)?;
        let listening = sockets.listening.clone();

        let (event_sender, events) = mpsc::channel();
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..shards).map(|_| inbox()).unzip();
        let anchor = clocks.anchor();
        let (reports, handlers) = handlers::start(&config.events)?;
        let certificate = certificate(&config.media)?;
        let journal = journal::wanted(config, shards)
            .map_err(|error| Trouble::new(format!("cannot write a journal: {error}")))?;
        let lookups_busy = Arc::<Busy>::default();
        let mut starters = Vec::new();
        let shards_io = sockets.by_shard.into_iter().zip(inboxes);
        for (id, (sockets, inbox)) in (0..shards).zip(shards_io) {
            let (start, go) = mpsc::channel();
            starters.push(start);
            let parts = Parts {
                setup: setup(
                    ShardId(id),
                    shards,
                    config,
                    anchor,
                    &certificate,
                    &sockets.udp,
                )?,
                listeners: sockets.listeners,
                udp: sockets.udp,
                inbox,
                senders: senders.clone(),
                connections_max,
                links: Links {
                    log_drops: boot.log_drops.clone().filter(|_| id == 0),
                    log_level: boot.log_level.clone(),
                    reports: reports.clone(),
                    handlers: match id {
                        0 => handlers.tallies(),
                        _ => HandlerTallies::default(),
                    },
                    lookups: Some(Lookups::new(
                        Arc::clone(&lookups_busy),
                        senders[usize::from(id)].clone(),
                    )),
                    files: Some(Files::new(senders[usize::from(id)].clone())),
                },
                core: core_for(&cores, shards, id),
                go,
                runtime: config.runtime,
                journal: journal.as_ref().map(|journal| journal.sink(id)),
            };
            spawn_shard(parts, make.clone(), event_sender.clone())?;
        }
        for _ in 0..shards {
            match events.recv().expect("this function has a sender") {
                Event::Ready => {}
                Event::News(..) => unreachable!("no shard has news before it has begun"),
                Event::Ended(_, Err(Failure::Start(trouble))) => return Err(trouble),
                Event::Ended(_, Err(Failure::Panicked(why))) => return Err(Trouble::new(why)),
                Event::Ended(_, Ok(_)) => unreachable!("no shard ends before it has begun"),
                Event::Signal(_) => unreachable!("signals are not heard yet"),
            }
        }
        spawn_signals(signals, event_sender)?;
        for start in starters {
            start.send(()).expect("a shard that is ready waits");
        }
        for (speaks, address) in listening {
            tracing::info!(%address, ?speaks, shards, "listening");
        }
        let supervisor = Supervisor::from_environment();
        supervisor.tell(State::Ready);
        Ok(Self {
            beats: Heartbeats::new(senders.len(), clocks.monotonic()),
            supervisor,
            clocks,
            sockets_max,
            events,
            ended: vec![false; senders.len()],
            handlers,
            journal,
            senders,
        })
    }

    /// Waits until all shards have ended.
    fn serve(mut self, boot: &mut Boot) -> ExitCode {
        let mut until: Option<Monotonic> = None;
        let mut drain_timeout = boot.config.drain_timeout;
        let mut drained_count = 0;
        while self.ended.contains(&false) {
            match self.next_event(until) {
                Some(Event::News(shard, News::Alive)) => self.hear_from(shard),
                Some(Event::News(_, News::Drained)) => {
                    drained_count += 1;
                    if drained_count == self.senders.len() {
                        self.tell_all(|| Arrival::Over);
                    }
                }
                Some(Event::Ended(shard, Ok(counters))) => {
                    tracing::debug!(%shard, ?counters, "shard ended");
                    self.ended[usize::from(shard.0)] = true;
                    self.beats.ended(shard);
                }
                Some(Event::Ended(shard, Err(failure))) => {
                    tracing::error!(%shard, ?failure, "shard failed");
                    self.ended[usize::from(shard.0)] = true;
                    self.end_journal("a shard failed");
                    return ExitCode::from(EXIT_SOFTWARE);
                }
                Some(Event::Ready) => {}
                Some(Event::Signal(SIGHUP)) => {
                    if let Some(config) = self.reload(boot) {
                        drain_timeout = config.drain_timeout;
                    }
                }
                Some(Event::Signal(SIGUSR1)) => (boot.reopen_logs)(),
                // Left to the system, it would end the process.
                Some(Event::Signal(SIGUSR2)) => tracing::warn!("there is no state dump yet"),
                Some(Event::Signal(signal)) => {
                    let (control, within) = match until {
                        None => (Control::Drain, drain_timeout),
                        Some(_) => (Control::Stop, Duration::ZERO),
                    };
                    tracing::info!(signal, ?control, "stopping");
                    self.supervisor.tell(State::Stopping);
                    let end = self.clocks.monotonic() + within + END_WITHIN;
                    until = Some(until.map_or(end, |earlier| earlier.min(end)));
                    self.tell_all(|| Arrival::Control(Control::Signal(signal)));
                    self.tell_all(|| Arrival::Control(control.clone()));
                }
                None if until.is_some_and(|end| end <= self.clocks.monotonic()) => {
                    tracing::error!(ended = ?self.ended, "some shards did not end in time");
                    self.end_journal("some shards did not end in time");
                    return ExitCode::from(EXIT_SOFTWARE);
                }
                None => self.ask_all(),
            }
        }
        self.handlers.finish();
        if let Some(journal) = self.journal.take() {
            journal.finish("all shards ended");
        }
        tracing::info!("stopped");
        ExitCode::SUCCESS
    }

    /// Waits for what comes next; nothing when shards are to be asked, or `until` has come.
    fn next_event(&self, until: Option<Monotonic>) -> Option<Event> {
        let ask_at = self.beats.ask_at();
        let at = until.map_or(ask_at, |until| until.min(ask_at));
        let left = at.saturating_since(self.clocks.monotonic());
        self.events.recv_timeout(left).ok()
    }

    /// Asks all shards whether they take their turns, and draws conclusions from the last round.
    fn ask_all(&mut self) {
        let round = self.beats.ask(self.clocks.monotonic());
        if let Some(shard) = round.dead {
            tracing::error!(%shard, "a shard does not come back: ending the process");
            self.end_journal("a shard did not come back");
            std::process::abort();
        }
        if round.fell_silent.is_empty() {
            if self.beats.silent().is_empty() {
                self.supervisor.tell(State::Well);
            }
        } else {
            for shard in round.fell_silent {
                tracing::error!(%shard, "a shard does not take its turns");
            }
            self.tell_of_silence();
        }
        self.tell_all(|| Arrival::Beat);
    }

    /// Writes down what the shards that still turn have, before the process ends under them.
    fn end_journal(&mut self, why: &'static str) {
        if let Some(journal) = self.journal.take() {
            let turning = self.ended.iter().filter(|ended| !**ended).count();
            journal.hurry(turning, || self.tell_all(|| Arrival::Beat));
            journal.finish(why);
        }
    }

    fn hear_from(&mut self, shard: ShardId) {
        if self.beats.answered(shard) {
            tracing::warn!(%shard, "the shard takes its turns again");
            self.tell_of_silence();
        }
    }

    fn tell_of_silence(&self) {
        let silent = self.beats.silent();
        self.tell_all(|| Arrival::Control(Control::Silent(silent.clone())));
    }

    fn reload(&self, boot: &mut Boot) -> Option<Arc<Config>> {
        match (boot.reload)() {
            Ok(mut config) => {
                fit(&mut config, self.sockets_max);
                let config = Arc::new(config);
                let configure = || Control::Configure(Arc::clone(&config));
                self.tell_all(|| Arrival::Control(configure()));
                tracing::info!("configuration read again");
                Some(config)
            }
            Err(reason) => {
                tracing::warn!(%reason, "configuration not read again, the old one stays");
                None
            }
        }
    }

    fn tell_all(&self, what: impl Fn() -> Arrival) {
        for sender in &self.senders {
            sender.send(what());
        }
    }
}

/// Cuts the limit of connections to what there are descriptors for, so that who comes beyond it
/// gets an answer.
fn fit(config: &mut Config, sockets_max: usize) {
    let most = sockets_max - spare(config, sockets_max);
    let count = &mut config.limits.connections_count;
    if *count > most {
        tracing::info!(
            configured = *count,
            most,
            "connections of a shard are limited by descriptors"
        );
        *count = most;
    }
}

/// Connections of a shard that its limit leaves out: the operator's, and those that are turned
/// away. Few descriptors are shared out evenly.
fn spare(config: &Config, sockets_max: usize) -> usize {
    let wished = config.limits.admin_connections_count + TURNED_AWAY_MAX;
    wished.min(sockets_max / 2)
}

/// Every socket of the process.
struct Sockets {
    listening: Vec<(Listener, SocketAddr)>,
    by_shard: Vec<ShardSockets>,
}

#[derive(Default)]
struct ShardSockets {
    listeners: Vec<(Listener, Socket)>,
    udp: Vec<Socket>,
}

impl Sockets {
    fn bind(config: &Config, shards: u8) -> Result<Self, Trouble> {
        let mut sockets = Self {
            listening: Vec::new(),
            by_shard: (0..shards).map(|_| ShardSockets::default()).collect(),
        };
        let (http, admin, ws) = (&config.http, &config.admin, &config.ws);
        let wanted = [
            (Listener::Rest, http.enabled, &http.bind),
            (Listener::RestTls, http.enabled, &http.secure_bind),
            (Listener::Admin, admin.enabled, &admin.bind),
            (Listener::AdminTls, admin.enabled, &admin.secure_bind),
            (Listener::AdminWebSocket, true, &ws.admin_bind),
            (Listener::AdminWebSocketTls, true, &ws.admin_secure_bind),
            (Listener::WebSocket, ws.enabled, &ws.bind),
            (Listener::WebSocketTls, ws.enabled, &ws.secure_bind),
        ]
        .into_iter()
        .filter(|(_, is_enabled, _)| *is_enabled)
        .flat_map(|(speaks, _, binds)| binds.iter().map(move |&address| (speaks, address)));
        for (speaks, address) in wanted {
            let bound = bind::tcp(address, shards)?;
            let address = local_address(&bound[0])?;
            sockets.listening.push((speaks, address));
            for (shard, socket) in sockets.by_shard.iter_mut().zip(bound) {
                shard.listeners.push((speaks, socket));
            }
        }
        let addresses = addresses::media_addresses(&config.media)
            .map_err(|error| Trouble::new(format!("cannot list the host's addresses: {error}")))?;
        if addresses.is_empty() {
            tracing::warn!("no address for media: no PeerConnection can be made");
        }
        for (id, shard) in (0..).zip(&mut sockets.by_shard) {
            for address in &addresses {
                shard.udp.push(bind::udp(&config.media, *address, id)?);
            }
        }
        // Nobody can connect before everything is bound.
        for (_, socket) in sockets.by_shard.iter().flat_map(|shard| &shard.listeners) {
            bind::listen(socket)?;
        }
        Ok(sockets)
    }
}

fn setup(
    id: ShardId,
    shards: u8,
    config: &Arc<Config>,
    anchor: Anchor,
    certificate: &Certificate,
    udp: &[Socket],
) -> Result<Setup, Trouble> {
    Ok(Setup {
        id,
        shards,
        config: Arc::clone(config),
        seed: sources::seed().map_err(|error| Trouble::new(format!("no entropy: {error}")))?,
        anchor,
        sockets: udp
            .iter()
            .map(|socket| local_socket(&config.media, socket))
            .collect::<Result<_, _>>()?,
        certificate: certificate.clone(),
        crypto: None,
    })
}

/// The DTLS certificate of the process: from files, or made for this run.
fn certificate(media: &MediaConfig) -> Result<Certificate, Trouble> {
    let (Some(certificate), Some(key)) = (&media.dtls_cert, &media.dtls_key) else {
        return Ok(Certificate::generate());
    };
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| Trouble::new(format!("{}: {error}", path.display())))
    };
    Certificate::from_pem(&read(certificate)?, &read(key)?).map_err(|error| {
        let (certificate, key) = (certificate.display(), key.display());
        Trouble::new(format!("{certificate} with {key}: {error}"))
    })
}

/// A UDP socket as its candidates show it: by the public addresses where there are some.
fn local_socket(media: &MediaConfig, socket: &Socket) -> Result<LocalSocket, Trouble> {
    let bound = local_address(socket)?;
    let mut advertised = media.nat_1_1_mapping.clone();
    advertised.retain(|public| public.is_ipv4() == bound.is_ipv4());
    if media.keep_private_host && !advertised.is_empty() {
        advertised.push(bound.ip());
    }
    Ok(LocalSocket { bound, advertised })
}

fn local_address(socket: &Socket) -> Result<SocketAddr, Trouble> {
    bind::local_address(socket).map_err(|error| Trouble::new(format!("a bound socket: {error}")))
}

/// A shard stays on its core when each core has one. With fewer shards the scheduler knows better
/// which cores are idle; with more there is nothing to win. `taskset` chooses the cores.
fn core_for(cores: &[usize], shards: u8, id: u8) -> Option<usize> {
    let one_each = cores.len() == usize::from(shards);
    one_each.then(|| cores[usize::from(id)])
}

fn spawn_shard<C: Core>(
    parts: Parts,
    make: impl Fn(Setup, Now) -> C + Send + 'static,
    events: mpsc::Sender<Event>,
) -> Result<(), Trouble> {
    let id = parts.setup.id;
    let body = move || {
        // A panic of one shard ends the process: the others cannot do without it.
        let ended = std::panic::catch_unwind(AssertUnwindSafe(|| shard(parts, make, &events)));
        let ended = match ended {
            Ok(ended) => ended.map_err(Failure::Start),
            Err(panic) => Err(Failure::Panicked(text_of(panic.as_ref()))),
        };
        // Nobody listens any more when the process has given up.
        let _ = events.send(Event::Ended(id, ended));
    };
    thread::Builder::new()
        .name(format!("shard-{id}"))
        .spawn(body)
        .map(drop)
        .map_err(|error| Trouble::new(format!("no thread for a shard: {error}")))
}

/// The life of a shard's thread.
fn shard<C: Core>(
    parts: Parts,
    make: impl Fn(Setup, Now) -> C,
    events: &mpsc::Sender<Event>,
) -> Result<Counters, Trouble> {
    let executor = Executor::new(parts.runtime, parts.core)
        .map_err(|error| Trouble::new(format!("no ring for a shard: {error}")))?;
    let _ = events.send(Event::Ready);
    if parts.go.recv().is_err() {
        return Ok(Counters::default()); // Another shard could not start.
    }
    let events = events.clone();
    let Parts { setup, .. } = parts;
    let id = setup.id;
    let tell = move |news| drop(events.send(Event::News(id, news)));
    let plain = Plain {
        listeners: parts.listeners,
        udp: parts.udp,
        udp_more_max: setup.config.limits.plain_sockets_count,
        mesh: Mesh::new(setup.id, parts.inbox, parts.senders, tell),
        connections_max: parts.connections_max,
        links: parts.links,
    };
    let media = setup.config.journal.media;
    let ended = match parts.journal {
        None => executor.run(plain, |now| make(setup, now)),
        Some((sink, mask)) => executor.run(plain, |now| {
            let start = ShardStart::new(&setup, now);
            let recording = Recording {
                sink,
                start,
                media,
                mask,
            };
            Recorder::new(make(setup, now), recording)
        }),
    };
    ended.map_err(|error| Trouble::new(error.to_string()))
}

fn hear_signals() -> Result<Signals, Trouble> {
    Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2])
        .map_err(|error| Trouble::new(format!("cannot listen for signals: {error}")))
}

fn spawn_signals(mut signals: Signals, events: mpsc::Sender<Event>) -> Result<(), Trouble> {
    let body = move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(body)
        .map(drop)
        .map_err(|error| Trouble::new(format!("no thread for signals: {error}")))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::scripted::Scripted;

    #[test]
    fn a_panic_of_one_shard_ends_the_process_with_a_failure() {
        let status = boot(2).run(|setup, _| {
            assert_eq!(setup.id, ShardId(0), "this shard is broken");
            Scripted::default()
        });
        assert_ends(status, EXIT_SOFTWARE);
    }

    #[test]
    fn nothing_is_served_when_a_port_is_taken() {
        let other = bind::tcp(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        bind::listen(&other[0]).unwrap();
        let mut boot = boot(1);
        Arc::make_mut(&mut boot.config).http.bind = vec![local_address(&other[0]).unwrap()];
        let status = boot.run(|_, _| -> Scripted { panic!("no shard is made") });
        assert_ends(status, EXIT_CONFIG);
    }

    #[test]
    fn nothing_is_served_when_shards_have_too_few_media_ports() {
        let mut boot = boot(2);
        let media = &mut Arc::make_mut(&mut boot.config).media;
        (media.port_base, media.port_last) = (Some(41_000), Some(41_000));
        let status = boot.run(|_, _| -> Scripted { panic!("no shard is made") });
        assert_ends(status, EXIT_CONFIG);
    }

    #[test]
    fn connections_are_limited_by_descriptors() {
        for (configured, sockets_max, wanted) in [
            (16_384, 100_000, 16_384),
            (16_384, 1_000, 904),
            (100, 1_000, 100),
            (16_384, 100, 50),
        ] {
            let mut config = Config::default();
            config.limits.connections_count = configured;
            fit(&mut config, sockets_max);
            assert_eq!(config.limits.connections_count, wanted);
            let held = wanted + spare(&config, sockets_max);
            assert!(held <= sockets_max, "{configured} of {sockets_max}");
        }
    }

    fn boot(shards: u8) -> Boot {
        let mut config = Config {
            shards: Some(shards),
            ..Config::default()
        };
        config.http.bind = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.ws.enabled = false;
        config.media.ips = vec![std::net::Ipv4Addr::LOCALHOST.into()];
        Boot {
            config: Arc::new(config),
            reload: Box::new(|| unreachable!("nobody sends a signal")),
            reopen_logs: Box::new(|| unreachable!("nobody sends a signal")),
            log_drops: None,
            log_level: None,
        }
    }

    fn assert_ends(status: ExitCode, wanted: u8) {
        if let Err(trouble) = host::check(Runtime::default(), 2) {
            eprintln!("skipped: {trouble}");
            return;
        }
        let wanted = ExitCode::from(wanted);
        assert_eq!(format!("{status:?}"), format!("{wanted:?}"));
    }
}
