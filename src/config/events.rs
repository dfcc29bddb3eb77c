//! Event handlers: which reports are made, and where they are sent.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value::{Backend, Secret};

/// What a report is about. The bits are those of Janus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReportKind {
    /// Start, updates and stop of the gateway.
    Core,
    /// What the Admin API asks to be told.
    External,
    /// Handles.
    Handles,
    /// Session descriptions.
    Jsep,
    /// Media and its statistics.
    Media,
    /// What plugins tell.
    Plugins,
    /// Sessions.
    Sessions,
    /// Connections of clients.
    Transports,
    /// PeerConnections.
    Webrtc,
}

/// All kinds, by the words of masks.
const WORDS: [(&str, ReportKind); 9] = [
    ("core", ReportKind::Core),
    ("external", ReportKind::External),
    ("handles", ReportKind::Handles),
    ("jsep", ReportKind::Jsep),
    ("media", ReportKind::Media),
    ("plugins", ReportKind::Plugins),
    ("sessions", ReportKind::Sessions),
    ("transports", ReportKind::Transports),
    ("webrtc", ReportKind::Webrtc),
];

impl ReportKind {
    /// The bit of `type`.
    pub const fn bit(self) -> u16 {
        match self {
            Self::Sessions => 1,
            Self::Handles => 2,
            Self::External => 4,
            Self::Jsep => 8,
            Self::Webrtc => 16,
            Self::Media => 32,
            Self::Plugins => 64,
            Self::Transports => 128,
            Self::Core => 256,
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportMask(u16);

impl ReportMask {
    /// Every kind.
    pub const ALL: Self = Self(0x1ff);

    /// Reads words between commas: kinds, `all` and `none`. `None` when a word is another one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut mask = Self(0);
        let words = text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        for word in words {
            mask.0 |= match WORDS.iter().find(|(name, _)| *name == word) {
                Some((_, kind)) => kind.bit(),
                None if word == "all" => Self::ALL.0,
                None if word == "none" => return Some(Self(0)),
                None => return None,
            };
        }
        Some(mask)
    }

    /// The bits, as those of `type`.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether a kind is in it.
    pub const fn has(self, kind: ReportKind) -> bool {
        self.0 & kind.bit() != 0
    }
}

/// Reports for event handlers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventsConfig {
    /// Reports are made at all.
    pub enabled: bool,
    /// Statistics of all lines of a PeerConnection come as one report.
    pub combine_media_stats: bool,
    /// How often there are statistics; `None` is never.
    pub stats_period: Option<Duration>,
    /// Who may sign the certificates of servers: a file in PEM. `None` is whom the system trusts.
    pub ca_pem: Option<PathBuf>,
    pub post: PostConfig,
    pub ws: SocketConfig,
}

/// The handler that posts reports to an HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostConfig {
    pub enabled: bool,
    /// Which kinds it posts.
    pub mask: ReportMask,
    /// Up to a hundred reports go into one request, as an array.
    pub grouping: bool,
    pub backend: Option<Backend>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub compress: bool,
    /// 1 is fast, 9 is small.
    pub compression: u8,
    /// Pause after a failed request; it doubles with each further one, up to 10 s.
    pub backoff: Duration,
}

/// The handler that sends reports to a WebSocket server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SocketConfig {
    pub enabled: bool,
    /// Which kinds it sends.
    pub mask: ReportMask,
    /// Up to a hundred reports go into one message, as an array.
    pub grouping: bool,
    pub backend: Option<Backend>,
    /// What the server is asked to speak.
    pub subprotocol: String,
    /// Pause after a connection that broke; it doubles with each further one, up to 8 s.
    pub backoff: Duration,
}

impl EventsConfig {
    /// The bits of the kinds that somebody wants.
    pub fn wanted(&self) -> u16 {
        let post = self.post.mask.0 * u16::from(self.enabled && self.post.enabled);
        let ws = self.ws.mask.0 * u16::from(self.enabled && self.ws.enabled);
        post | ws
    }
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            combine_media_stats: false,
            stats_period: Some(Duration::from_secs(1)),
            ca_pem: None,
            post: PostConfig::default(),
            ws: SocketConfig::default(),
        }
    }
}

impl Default for PostConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            mask: ReportMask::ALL,
            grouping: true,
            backend: None,
            user: None,
            password: None,
            compress: false,
            compression: 9,
            backoff: Duration::from_millis(100),
        }
    }
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            mask: ReportMask::ALL,
            grouping: true,
            backend: None,
            subprotocol: "janus-event-handlers".to_owned(),
            backoff: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_of_the_handlers_wants_is_wanted() {
        let mut events = EventsConfig::default();
        events.post.mask = ReportMask::parse("core").unwrap();
        events.ws.mask = ReportMask::parse("jsep").unwrap();
        events.ws.enabled = true;
        assert_eq!(events.wanted(), 0, "nobody is told anything");
        events.enabled = true;
        assert_eq!(events.wanted(), ReportKind::Jsep.bit());
        events.post.enabled = true;
        assert_eq!(
            events.wanted(),
            ReportKind::Jsep.bit() | ReportKind::Core.bit()
        );
    }

    #[test]
    fn masks_are_words_between_commas() {
        let has = |text: &str, kind| ReportMask::parse(text).map(|mask| mask.has(kind));
        assert_eq!(ReportMask::parse("all"), Some(ReportMask::ALL));
        assert_eq!(has("sessions, handles", ReportKind::Handles), Some(true));
        assert_eq!(has("sessions,handles", ReportKind::Jsep), Some(false));
        assert_eq!(has("none", ReportKind::Core), Some(false));
        assert_eq!(ReportMask::parse("session"), None);
        for (_, kind) in WORDS {
            assert!(ReportMask::ALL.has(kind));
        }
    }
}
