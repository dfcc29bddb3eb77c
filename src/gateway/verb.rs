//! The verbs of the Janus API and the level that each belongs to.

use crate::metrics::Metrics;

/// A verb. Its text is compared without case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Makes a handle.
    Attach,
    /// Moves a session to the connection that asks.
    Claim,
    /// Makes a session.
    Create,
    /// Ends a session.
    Destroy,
    /// Ends a handle.
    Detach,
    /// Ends a handle's PeerConnection.
    Hangup,
    /// Tells about the server.
    Info,
    /// Shows that the client is alive.
    Keepalive,
    /// Speaks to a handle's plugin.
    Message,
    /// Shows that the server is alive.
    Ping,
    /// Brings ICE candidates.
    Trickle,
}

/// What a request names, and so which verbs it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A handle.
    Handle,
    /// Neither session nor handle.
    Root,
    /// A session.
    Session,
}

const WORDS: [(&str, Verb); 11] = [
    ("attach", Verb::Attach),
    ("claim", Verb::Claim),
    ("create", Verb::Create),
    ("destroy", Verb::Destroy),
    ("detach", Verb::Detach),
    ("hangup", Verb::Hangup),
    ("info", Verb::Info),
    ("keepalive", Verb::Keepalive),
    ("message", Verb::Message),
    ("ping", Verb::Ping),
    ("trickle", Verb::Trickle),
];

impl Verb {
    /// Reads a verb.
    pub fn parse(text: &str) -> Option<Self> {
        WORDS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text))
            .map(|&(_, verb)| verb)
    }

    /// The counter of a verb; `None` is one that does not exist.
    pub fn counter(verb: Option<Self>, metrics: &mut Metrics) -> &mut u64 {
        let verbs = &mut metrics.gateway_requests;
        match verb {
            Some(Self::Attach) => &mut verbs.attach,
            Some(Self::Claim) => &mut verbs.claim,
            Some(Self::Create) => &mut verbs.create,
            Some(Self::Destroy) => &mut verbs.destroy,
            Some(Self::Detach) => &mut verbs.detach,
            Some(Self::Hangup) => &mut verbs.hangup,
            Some(Self::Info) => &mut verbs.info,
            Some(Self::Keepalive) => &mut verbs.keepalive,
            Some(Self::Message) => &mut verbs.message,
            Some(Self::Ping) => &mut verbs.ping,
            Some(Self::Trickle) => &mut verbs.trickle,
            None => &mut verbs.unknown,
        }
    }

    /// Whether the verb belongs at a level.
    pub const fn fits(self, level: Level) -> bool {
        match self {
            Self::Create | Self::Info | Self::Ping => matches!(level, Level::Root),
            Self::Attach | Self::Destroy => matches!(level, Level::Session),
            Self::Claim | Self::Keepalive => matches!(level, Level::Session | Level::Handle),
            Self::Detach | Self::Hangup | Self::Message | Self::Trickle => {
                matches!(level, Level::Handle)
            }
        }
    }

    /// Whether Janus calls the verb unknown, and not misplaced, where it does not fit.
    pub const fn is_root_only(self) -> bool {
        matches!(self, Self::Create | Self::Info | Self::Ping)
    }
}
