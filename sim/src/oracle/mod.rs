//! What must hold, whatever goes wrong: invariants that watch the gateway from outside.
//!
//! A [`watch::Watch`] reads every byte that enters or leaves a shard, with a parser of its own,
//! and tells each [`Oracle`] what it means. An oracle judges by what is on the wire, by the
//! shard's own clock, and by the faults that were injected; it never looks into the gateway.

pub mod admin;
pub mod books;
pub mod event;
pub mod exchange;
pub mod fact;
pub mod framing;
pub mod ledger;
pub mod media;
pub mod poll;
pub mod resource;
pub mod session;
pub mod socket;
pub mod tap;
pub mod time;
pub mod watch;

use std::fmt;

use bifrons::base::clock::Monotonic;

use crate::kernel::time::SimTime;
use crate::models::decode::FramingError;
use crate::oracle::fact::{Ended, Exchange, Stamp, Streamed};
use crate::oracle::ledger::Ledger;
use crate::oracle::media::fact::MediaFact;
use crate::oracle::tap::SocketFact;

/// All oracles, in the order of their numbers.
pub fn all() -> Vec<Box<dyn Oracle>> {
    let mut oracles: Vec<Box<dyn Oracle>> = vec![
        Box::new(framing::ChunkedComplete),
        Box::new(framing::StrictFraming),
        Box::new(framing::BodyNonempty),
        Box::new(framing::LengthExact),
        Box::new(exchange::OneAnswer),
        Box::new(exchange::NoSmuggling),
        Box::new(exchange::HalfCloseServed),
        Box::new(exchange::HeadLimits),
        Box::new(poll::PollNotEarly),
        Box::new(poll::PollNotLate),
        Box::new(event::EventOrder),
        Box::new(event::EventExactlyOnce),
        Box::new(event::EventNotLost),
        Box::new(poll::MaxevRespected),
        Box::new(session::NoEarlyReap),
        Box::new(session::ExpiryBounded),
        Box::new(poll::PollsBounded),
        Box::new(exchange::TransactionEcho),
        Box::new(time::NowMonotone::default()),
        Box::new(time::DeadlineWithinReach),
        Box::new(time::NoTimerStorm::default()),
        Box::new(time::NoSpuriousTick::default()),
        Box::new(resource::BoundedOutput),
        Box::new(resource::AnswerPrompt),
        Box::new(socket::FrameAtomic),
        Box::new(socket::PingAnswered),
        Box::new(socket::CloseSaid),
        Box::new(socket::OneReply),
        Box::new(socket::ClaimKeeps),
        Box::new(socket::ReclaimInTime),
        Box::new(admin::AdminPrompt),
        Box::new(admin::AdminComplete),
    ];
    oracles.extend(media::all());
    oracles
}

/// What an oracle is about.
#[derive(Debug)]
pub struct About {
    /// Its number in the list of invariants.
    pub number: u8,
    /// Its name in reports and scenarios.
    pub id: &'static str,
    /// What must hold, in a sentence.
    pub rule: &'static str,
    /// The mutants that prove that it works: the corpus has a scenario for each, in which no
    /// other rule speaks first.
    pub kills: &'static [&'static str],
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the rule.
    pub invariant: &'static str,
    /// When it was noticed.
    pub at: SimTime,
    /// How it was broken.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} s: {}", self.invariant, self.at, self.detail)
    }
}

/// A rule about the turns of shards. There are millions of them in an hour, and few such rules.
pub trait TurnOracle {
    /// A shard begins a turn.
    fn turn_begins(&mut self, _stamp: Stamp) -> Result<(), String> {
        Ok(())
    }

    /// A connection has so many bytes that wait for the kernel.
    fn offered(&mut self, _ledger: &Ledger, _waiting: usize) -> Result<(), String> {
        Ok(())
    }

    /// A shard ends a turn, and names its next deadline.
    fn turn_ends(
        &mut self,
        _stamp: Stamp,
        _next: Option<Monotonic>,
        _is_tick: bool,
    ) -> Result<(), String> {
        Ok(())
    }
}

/// One rule. Each method is told of one kind of fact, and returns what is wrong with it.
pub trait Oracle: fmt::Debug {
    /// What it is about.
    fn about(&self) -> &'static About;

    /// A whole request has entered a shard.
    fn asked(&mut self, _ledger: &Ledger, _exchange: &Exchange) -> Result<(), String> {
        Ok(())
    }

    /// The kernel has taken the last byte of a response.
    fn answered(&mut self, _ledger: &Ledger, _exchange: &Exchange) -> Result<(), String> {
        Ok(())
    }

    /// The kernel has taken an event of an event stream.
    fn streamed(&mut self, _ledger: &Ledger, _streamed: &Streamed<'_>) -> Result<(), String> {
        Ok(())
    }

    /// A WebSocket said something, or left something unsaid.
    fn socket(&mut self, _ledger: &Ledger, _fact: &SocketFact<'_>) -> Result<(), String> {
        Ok(())
    }

    /// What left the gateway is no strict HTTP.
    fn misframed(&mut self, _ledger: &Ledger, _error: &FramingError) -> Result<(), String> {
        Ok(())
    }

    /// A connection has ended, by one side or the other.
    fn ended(&mut self, _ledger: &Ledger, _ended: &Ended<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Something happened to a call.
    fn media(&mut self, _ledger: &Ledger, _at: SimTime, _fact: &MediaFact) -> Result<(), String> {
        Ok(())
    }

    /// The rule as one about turns, if it is one.
    fn of_turns(&mut self) -> Option<&mut dyn TurnOracle> {
        None
    }

    /// All clients are about to leave.
    fn leaving(&mut self, _ledger: &Ledger, _stamp: Stamp) -> Result<(), String> {
        Ok(())
    }

    /// All clients have left, and everything that waits for time has had its time.
    fn finished(&mut self, _ledger: &Ledger) -> Result<(), String> {
        Ok(())
    }
}
