//! The settings of the gateway as one tree of types, with the defaults that are built in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::json::Form;
use crate::base::limits::Limits;

use super::events::EventsConfig;
use super::value::{HostPattern, Prefix, Secret};

/// Everything that can be configured. Made once, checked, then shared by all shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub general: GeneralConfig,
    pub log: LogConfig,
    pub http: HttpConfig,
    pub admin: AdminConfig,
    pub ws: WsConfig,
    pub media: MediaConfig,
    pub event_stream: EventStreamConfig,
    pub events: EventsConfig,
    pub journal: JournalConfig,
    pub recordings: RecordingsConfig,
    pub limits: Limits,
    pub echotest: EchoTestConfig,
    pub videoroom: VideoRoomConfig,
    /// Plugins that are not offered, by package name (`janus.plugin.echotest`).
    pub plugins_disabled: Vec<String>,
    /// What shards run on.
    pub runtime: Runtime,
    /// Number of shards; `None` is one per core.
    pub shards: Option<u8>,
    /// How long sessions may go on after a request to stop; zero ends them at once.
    pub drain_timeout: Duration,
}

/// The Janus API itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneralConfig {
    /// `server-name` of `info` and `emitter` of events.
    pub server_name: String,
    /// A session without requests ends after this; `None` is never.
    pub session_timeout: Option<Duration>,
    /// How long remote candidates wait for the offer they belong to.
    pub candidates_timeout: Duration,
    /// How long a session outlives the transport that it was made on; zero ends it with it.
    pub reclaim_session_timeout: Duration,
    pub api_secret: Option<Secret>,
    pub token_auth: TokenAuth,
    /// `opaque_id` is shown in replies and events of the API.
    pub opaqueid_in_api: bool,
    /// `info` does not list libraries and their versions.
    pub hide_dependencies: bool,
    /// The address that `info` reports and that goes into `o=` and `c=` lines; `None` is the first
    /// address used for media.
    pub local_address: Option<IpAddr>,
}

/// Which tokens a request needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum TokenAuth {
    #[default]
    Off,
    /// Tokens signed with this key.
    Signed(Secret),
    /// Tokens added and removed by the Admin API.
    Stored,
}

/// Where log lines go, and which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogConfig {
    pub level: LogLevel,
    pub format: LogFormat,
    pub to_stdout: bool,
    pub to_file: Option<PathBuf>,
}

/// Severity from which on lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// What shards run on. Both use io_uring, and serve the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Runtime {
    /// The executor of the crate of that name.
    Glommio,
    /// A ring of our own, which costs less a request.
    #[default]
    Uring,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    Json,
    #[default]
    Text,
}

/// What listeners with TLS show to their clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TlsConfig {
    /// PEM file of the certificate, with those that lead from it to one that clients know.
    pub cert: Option<PathBuf>,
    /// PEM file of its key.
    pub key: Option<PathBuf>,
    /// What is in the two files.
    pub pem: Option<Pem>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pem {
    pub chain: String,
    pub key: Secret,
}

/// The REST API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpConfig {
    pub enabled: bool,
    /// Addresses to listen on with TLS; empty is nowhere.
    pub secure_bind: Vec<SocketAddr>,
    /// For this and the Admin API.
    pub tls: TlsConfig,
    /// Addresses to listen on. `[::]` means every address of both families; where the host has no
    /// IPv6 it is the same as `0.0.0.0`.
    pub bind: Vec<SocketAddr>,
    /// Path of the API: begins with `/` and, unless it is `/` itself, does not end with one.
    pub base_path: String,
    /// Path at which these listeners serve the WebSocket API too; `None` is nowhere.
    pub ws_path: Option<String>,
    pub json: Form,
    /// Event handlers are told of every request, those of the Admin API included.
    pub events: bool,
    /// Peers that may connect; empty is everybody.
    pub acl: Vec<Prefix>,
    /// The access list is matched against `X-Forwarded-For` as well.
    pub acl_forwarded: bool,
    /// The origin that browsers may call from; `None` is any (`*`).
    pub allow_origin: Option<String>,
    /// Requests from other origins are refused, not only left without CORS headers.
    pub enforce_cors: bool,
}

/// The Admin API, with metrics and health, on listeners of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdminConfig {
    pub enabled: bool,
    /// Addresses to listen on with TLS; empty is nowhere.
    pub secure_bind: Vec<SocketAddr>,
    /// Addresses to listen on, as in [`HttpConfig::bind`].
    pub bind: Vec<SocketAddr>,
    /// Path of the API, as in [`HttpConfig::base_path`]; may have several components.
    pub base_path: String,
    pub json: Form,
    pub secret: Option<Secret>,
    /// Where captures of media are written; `None` is nowhere.
    pub capture_folder: Option<PathBuf>,
    /// Names that requests may give the host by, beside its addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Peers that may connect; empty is everybody.
    pub acl: Vec<Prefix>,
    /// The access list is matched against `X-Forwarded-For` as well.
    pub acl_forwarded: bool,
}

/// The WebSocket API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WsConfig {
    pub enabled: bool,
    /// Addresses to listen on with TLS; empty is nowhere.
    pub secure_bind: Vec<SocketAddr>,
    pub tls: TlsConfig,
    /// Addresses to listen on, as in [`HttpConfig::bind`].
    pub bind: Vec<SocketAddr>,
    pub json: Form,
    /// Event handlers are told of sockets that open and end, those of operators included.
    pub events: bool,
    /// What is logged of sockets.
    pub logging: SocketLog,
    /// Peers that may connect; empty is everybody.
    pub acl: Vec<Prefix>,
    /// The access list is matched against `X-Forwarded-For` as well.
    pub acl_forwarded: bool,
    pub allow_origin: Option<String>,
    pub enforce_cors: bool,
    /// A ping is sent after this much silence.
    pub ping_interval: Duration,
    /// Addresses of the Admin API over WebSocket; empty is off.
    pub admin_bind: Vec<SocketAddr>,
    /// The same with TLS, with the certificate of `secure_bind`.
    pub admin_secure_bind: Vec<SocketAddr>,
    pub admin_acl: Vec<Prefix>,
    pub admin_acl_forwarded: bool,
}

/// What is logged of WebSockets, at level `info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SocketLog {
    /// Nothing.
    Nothing,
    /// Sockets that end by a fault of their client or of the network.
    Failures,
    /// Every socket that opens or ends.
    All,
}

impl SocketLog {
    /// Reads the words between commas that Janus has for it; `None` when one of them is another.
    pub fn parse(text: &str) -> Option<Self> {
        let words = text.split(',').map(str::trim);
        words
            .filter(|word| !word.is_empty())
            .try_fold(Self::Nothing, |most, word| {
                let one = match word {
                    "none" => Self::Nothing,
                    "err" | "warn" => Self::Failures,
                    "all" | "client" | "count" | "debug" | "ext" | "header" | "info"
                    | "latency" | "notice" | "parser" | "user" => Self::All,
                    _ => return None,
                };
                Some(most.max(one))
            })
    }
}

/// PeerConnections: addresses, ICE, DTLS and feedback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaConfig {
    /// Addresses to gather; empty is those of the host, as the two ICE lists allow.
    pub ips: Vec<IpAddr>,
    /// Shard n uses UDP port `port_base + n`; `None` is any free port for each.
    pub port_base: Option<u16>,
    /// Last port that a shard may use.
    pub port_last: Option<u16>,
    /// Gather IPv6 addresses.
    pub ipv6: bool,
    pub ipv6_linklocal: bool,
    /// Public addresses that stand for the host's in candidates.
    pub nat_1_1_mapping: Vec<IpAddr>,
    /// The host's own addresses stay in the candidates beside the public ones.
    pub keep_private_host: bool,
    /// Own candidates are trickled and not put into the SDP.
    pub full_trickle: bool,
    pub ice_lite: bool,
    /// Interfaces and addresses that alone are gathered; empty is all.
    pub ice_enforce_list: Vec<HostPattern>,
    /// Interfaces and addresses that are left out.
    pub ice_ignore_list: Vec<HostPattern>,
    /// Consent is checked (RFC 7675) while media flows.
    pub ice_consent_freshness: bool,
    /// A PeerConnection whose ICE failed after it was up is hung up at once.
    pub hangup_on_failed: bool,
    /// Candidates that end in `.local` are dropped.
    pub ignore_mdns: bool,
    /// Silence after which `media: receiving false` is reported; `None` is never.
    pub no_media_timer: Option<Duration>,
    /// Lost packets a second that make a `slowlink` event; zero is never.
    pub slowlink_threshold: u32,
    /// Interval of transport-wide congestion feedback.
    pub twcc_period: Duration,
    /// Least age up to which sent packets are kept for retransmission.
    pub min_nack_queue: Duration,
    /// Largest DTLS record sent, in bytes.
    pub dtls_mtu: u16,
    /// PEM files of the DTLS certificate and its key; `None` makes one at start.
    pub dtls_cert: Option<PathBuf>,
    pub dtls_key: Option<PathBuf>,
}

/// Server-sent events on the session URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventStreamConfig {
    /// A stream ends after this, completely; the client resumes with `Last-Event-ID`.
    pub max_age: Duration,
    /// A comment is sent after this much silence.
    pub heartbeat: Duration,
}

/// What is kept of what happens to the shards, to be replayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalConfig {
    /// Where journals are written; `None` keeps none.
    pub folder: Option<PathBuf>,
    /// Bytes of one journal, after which it ends.
    pub size: u64,
    /// Bytes of the newest that are kept beside a journal that has ended; 0 keeps none.
    pub tail: u64,
    /// Journals that stay in the folder, this run's included.
    pub files: usize,
    /// Datagrams are kept whole, not as their heads alone.
    pub media: bool,
}

/// Recordings of media.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordingsConfig {
    /// Folders that they may be written to, and below; none is nowhere. Those without a folder of
    /// their own go to the first.
    pub folders: Vec<PathBuf>,
    /// What their names end with while they are open; `None` is nothing.
    pub tmp_ext: Option<String>,
}

/// The EchoTest plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EchoTestConfig {
    /// Event handlers hear of what happens in the plugin.
    pub events: bool,
}

/// The VideoRoom plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoRoomConfig {
    /// Needed to create rooms and to see private ones; `None` is for everybody.
    pub admin_key: Option<Secret>,
    /// Forwarding media to other hosts needs the admin key too.
    pub lock_rtp_forward: bool,
    /// Event handlers hear of what happens in the plugin.
    pub events: bool,
    /// Ids of rooms and of participants are texts, not numbers.
    pub string_ids: bool,
    /// Ports at which publishers of other gateways come in, first and last.
    pub remote_ports: (u16, u16),
    /// Rooms that are there from the start.
    pub rooms: Vec<RoomConfig>,
    /// The file that they were read from, to which permanent ones are written; `None` if the plugin
    /// has none of its own.
    pub file: Option<PathBuf>,
}

/// A room that is configured; the plugin knows what its settings mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoomConfig {
    /// Its id.
    pub id: String,
    /// Names and values, as they stand there.
    pub settings: Vec<(String, Secret)>,
    /// What its dummy publisher has streams for; `None` is every codec of the room.
    pub dummy_streams: Option<Vec<DummyStreamConfig>>,
}

/// A stream of a dummy publisher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DummyStreamConfig {
    /// The codec, as rooms name it.
    pub codec: String,
    /// Its parameters.
    pub fmtp: Option<String>,
}

impl VideoRoomConfig {
    /// The folders that the operator gave rooms for their recordings.
    pub fn recordings_folders(&self) -> impl Iterator<Item = &Path> {
        self.rooms.iter().filter_map(RoomConfig::recordings_folder)
    }
}

impl RoomConfig {
    /// Stands in the file beside a `rec_dir` that a client has asked for: it must not become the
    /// operator's by a restart.
    pub const REC_DIR_OF_CLIENT: &str = "rec_dir_of_client";

    /// The folder that the operator gave it for its recordings. A relative one is below another,
    /// and the root of the file system would be all there is.
    fn recordings_folder(&self) -> Option<&Path> {
        let value = |name: &str| {
            let mut settings = self.settings.iter().rev();
            let setting = settings.find(|setting| setting.0 == name);
            setting.map(|setting| setting.1.expose())
        };
        if value(Self::REC_DIR_OF_CLIENT).is_some() {
            return None;
        }
        let folder = Path::new(value("rec_dir")?);
        let is_one = folder.is_absolute() && folder.parent().is_some();
        is_one.then_some(folder)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            general: GeneralConfig::default(),
            log: LogConfig::default(),
            http: HttpConfig::default(),
            admin: AdminConfig::default(),
            ws: WsConfig::default(),
            media: MediaConfig::default(),
            event_stream: EventStreamConfig::default(),
            events: EventsConfig::default(),
            journal: JournalConfig::default(),
            recordings: RecordingsConfig::default(),
            limits: Limits::default(),
            echotest: EchoTestConfig::default(),
            videoroom: VideoRoomConfig::default(),
            plugins_disabled: Vec::new(),
            runtime: Runtime::default(),
            shards: None,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for GeneralConfig {
    fn default() -> Self {
        Self {
            server_name: "MyJanusInstance".to_owned(),
            session_timeout: Some(Duration::from_secs(60)),
            candidates_timeout: Duration::from_secs(45),
            reclaim_session_timeout: Duration::ZERO,
            api_secret: None,
            token_auth: TokenAuth::Off,
            opaqueid_in_api: false,
            hide_dependencies: false,
            local_address: None,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            format: LogFormat::Text,
            to_stdout: true,
            to_file: None,
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            secure_bind: Vec::new(),
            tls: TlsConfig::default(),
            enabled: true,
            bind: vec![loopback(8088)],
            base_path: "/janus".to_owned(),
            ws_path: None,
            json: Form::Compact,
            events: true,
            acl: Vec::new(),
            acl_forwarded: false,
            allow_origin: None,
            enforce_cors: false,
        }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            secure_bind: Vec::new(),
            enabled: false,
            bind: vec![loopback(7088)],
            base_path: "/admin".to_owned(),
            json: Form::Compact,
            secret: None,
            capture_folder: None,
            hosts: Vec::new(),
            acl: Vec::new(),
            acl_forwarded: false,
        }
    }
}

impl Default for WsConfig {
    fn default() -> Self {
        Self {
            secure_bind: Vec::new(),
            tls: TlsConfig::default(),
            enabled: true,
            bind: vec![loopback(8188)],
            json: Form::Compact,
            events: true,
            logging: SocketLog::Nothing,
            acl: Vec::new(),
            acl_forwarded: false,
            allow_origin: None,
            enforce_cors: false,
            ping_interval: Duration::from_secs(30),
            admin_bind: Vec::new(),
            admin_secure_bind: Vec::new(),
            admin_acl: Vec::new(),
            admin_acl_forwarded: false,
        }
    }
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            ips: Vec::new(),
            port_base: None,
            port_last: None,
            ipv6: false,
            ipv6_linklocal: false,
            nat_1_1_mapping: Vec::new(),
            keep_private_host: false,
            full_trickle: false,
            ice_lite: true,
            ice_enforce_list: Vec::new(),
            ice_ignore_list: Vec::new(),
            ice_consent_freshness: true,
            hangup_on_failed: false,
            ignore_mdns: false,
            no_media_timer: Some(Duration::from_secs(1)),
            slowlink_threshold: 0,
            twcc_period: Duration::from_millis(200),
            min_nack_queue: Duration::from_millis(200),
            dtls_mtu: 1200,
            dtls_cert: None,
            dtls_key: None,
        }
    }
}

impl Default for EventStreamConfig {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(3600),
            heartbeat: Duration::from_secs(15),
        }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            folder: None,
            size: 256 << 20,
            tail: 64 << 20,
            files: 4,
            media: false,
        }
    }
}

impl Default for EchoTestConfig {
    fn default() -> Self {
        Self { events: true }
    }
}

impl Default for VideoRoomConfig {
    fn default() -> Self {
        Self {
            admin_key: None,
            lock_rtp_forward: false,
            events: true,
            string_ids: false,
            remote_ports: (10_000, 60_000),
            rooms: Vec::new(),
            file: None,
        }
    }
}

impl MediaConfig {
    /// Returns whether loopback addresses may be candidates: only a configuration that names one
    /// wants them, since no peer outside of the host can reach them.
    pub fn allows_loopback(&self) -> bool {
        self.ips.iter().any(IpAddr::is_loopback)
            || self.ice_enforce_list.iter().any(HostPattern::is_loopback)
    }

    /// Returns whether an address of the interface `name` is to be gathered.
    ///
    /// `ips` decides alone when it is set; otherwise the enforced list does when it is set, and
    /// otherwise all but the ignored ones are. As in Janus, both lists hold beginnings of names.
    pub fn gathers(&self, name: &str, address: IpAddr) -> bool {
        if !self.ips.is_empty() {
            return self.ips.contains(&address);
        }
        let family_wanted = match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(v6) if v6.is_unicast_link_local() => self.ipv6 && self.ipv6_linklocal,
            IpAddr::V6(_) => self.ipv6,
        };
        let is_in = |list: &[HostPattern]| list.iter().any(|entry| entry.matches(name, address));
        family_wanted
            && !address.is_unspecified()
            && !address.is_multicast()
            && (!address.is_loopback() || self.allows_loopback())
            && (self.ice_enforce_list.is_empty() || is_in(&self.ice_enforce_list))
            && !is_in(&self.ice_ignore_list)
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
