//! ICE candidates as text (RFC 8839 section 5.1).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::SdpError;
use super::error::excerpt;

/// A transport address that a peer may be reached at.
///
/// `Display` writes the value of the attribute, from `candidate:` on, which is also the text of a
/// trickled candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Equal for candidates of the same kind, base and server.
    pub foundation: String,
    /// 1 for RTP, 2 for RTCP.
    pub component: u16,
    /// The transport protocol.
    pub protocol: CandidateProtocol,
    /// The rank among the candidates of the agent.
    pub priority: u32,
    /// The address.
    pub address: CandidateAddress,
    /// The port.
    pub port: u16,
    /// How the address was found.
    pub kind: CandidateKind,
    /// The address it was derived from, where told and numeric.
    pub related: Option<SocketAddr>,
    /// The user name fragment of the generation it belongs to.
    pub ufrag: Option<String>,
}

/// The transport protocol of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateProtocol {
    /// TCP (RFC 6544).
    Tcp(TcpKind),
    /// UDP.
    Udp,
}

/// How a TCP connection comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpKind {
    /// The owner of the candidate opens the connection.
    Active,
    /// The owner of the candidate waits for the connection.
    Passive,
    /// Both open it at once.
    SimultaneousOpen,
}

/// The address of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateAddress {
    /// A numeric address.
    Ip(IpAddr),
    /// A name below `.local`, which hides the address from pages; multicast DNS would resolve it.
    Mdns(String),
}

/// How the address of a candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKind {
    /// On an interface of the host.
    Host,
    /// By a check of the peer.
    PeerReflexive,
    /// By allocation on a TURN server.
    Relayed,
    /// By asking a STUN server.
    ServerReflexive,
}

impl Candidate {
    /// Returns the address and port, if the address is numeric.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match &self.address {
            CandidateAddress::Ip(ip) => Some(SocketAddr::new(*ip, self.port)),
            CandidateAddress::Mdns(_) => None,
        }
    }
}

impl FromStr for Candidate {
    type Err = SdpError;

    /// Reads a candidate, with or without `a=` in front.
    ///
    /// # Errors
    ///
    /// [`SdpError::InvalidCandidate`] for anything but a candidate with a numeric address or a
    /// `.local` name, over UDP or TCP.
    fn from_str(text: &str) -> Result<Self, SdpError> {
        parse(text).ok_or_else(|| SdpError::InvalidCandidate(excerpt(text)))
    }
}

fn parse(text: &str) -> Option<Candidate> {
    let text = text.trim();
    let text = text
        .strip_prefix("a=")
        .unwrap_or(text)
        .strip_prefix("candidate:")?;
    let mut words = text.split_ascii_whitespace();
    let foundation = words.next().filter(|word| is_foundation(word))?;
    let component = words
        .next()?
        .parse()
        .ok()
        .filter(|number| (1..=256).contains(number))?;
    let transport = words.next()?;
    let priority = words.next()?.parse().ok()?;
    let address = words.next()?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    if words.next()? != "typ" {
        return None;
    }
    let kind = kind_of(words.next()?)?;
    let mut extensions = Extensions::default();
    while let Some(name) = words.next() {
        // The grammar pairs names and values; a name at the end is worth no refusal.
        let Some(value) = words.next() else { break };
        extensions.take(name, value)?;
    }
    let protocol = if transport.eq_ignore_ascii_case("udp") {
        CandidateProtocol::Udp
    } else if transport.eq_ignore_ascii_case("tcp") {
        CandidateProtocol::Tcp(extensions.tcp_kind?)
    } else {
        return None;
    };
    Some(Candidate {
        foundation: foundation.to_owned(),
        component,
        protocol,
        priority,
        address,
        port,
        kind,
        related: extensions
            .related_address
            .zip(extensions.related_port)
            .map(SocketAddr::from),
        ufrag: extensions.ufrag,
    })
}

/// What may follow the kind of a candidate, in any order.
#[derive(Default)]
struct Extensions {
    related_address: Option<IpAddr>,
    related_port: Option<u16>,
    tcp_kind: Option<TcpKind>,
    ufrag: Option<String>,
}

impl Extensions {
    fn take(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            // A name instead of a number is of no use to anyone, but common enough.
            "raddr" => self.related_address = value.parse().ok(),
            "rport" => self.related_port = Some(value.parse().ok()?),
            "tcptype" => self.tcp_kind = Some(tcp_kind_of(value)?),
            "ufrag" => self.ufrag = Some(value.to_owned()),
            // RFC 8839 section 5.1: extensions that are not understood are ignored.
            _ => {}
        }
        Some(())
    }
}

/// RFC 8839 allows 32 characters; some agents write long hashes.
fn is_foundation(word: &str) -> bool {
    word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_graphic())
}

fn kind_of(word: &str) -> Option<CandidateKind> {
    match word {
        "host" => Some(CandidateKind::Host),
        "prflx" => Some(CandidateKind::PeerReflexive),
        "relay" => Some(CandidateKind::Relayed),
        "srflx" => Some(CandidateKind::ServerReflexive),
        _ => None,
    }
}

fn tcp_kind_of(word: &str) -> Option<TcpKind> {
    match word {
        "active" => Some(TcpKind::Active),
        "passive" => Some(TcpKind::Passive),
        "so" => Some(TcpKind::SimultaneousOpen),
        _ => None,
    }
}

impl FromStr for CandidateAddress {
    type Err = SdpError;

    fn from_str(text: &str) -> Result<Self, SdpError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let host = text.strip_suffix(".local").unwrap_or_default();
        if host.is_empty() || text.len() > 253 || !host.bytes().all(is_name_byte) {
            return Err(SdpError::InvalidCandidate(excerpt(text)));
        }
        Ok(Self::Mdns(text.to_owned()))
    }
}

impl fmt::Display for CandidateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Mdns(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, tcp_kind) = match self.protocol {
            CandidateProtocol::Tcp(TcpKind::Active) => ("tcp", Some("active")),
            CandidateProtocol::Tcp(TcpKind::Passive) => ("tcp", Some("passive")),
            CandidateProtocol::Tcp(TcpKind::SimultaneousOpen) => ("tcp", Some("so")),
            CandidateProtocol::Udp => ("udp", None),
        };
        let kind = match self.kind {
            CandidateKind::Host => "host",
            CandidateKind::PeerReflexive => "prflx",
            CandidateKind::Relayed => "relay",
            CandidateKind::ServerReflexive => "srflx",
        };
        write!(
            f,
            "candidate:{} {} {protocol} {} {} {} typ {kind}",
            self.foundation, self.component, self.priority, self.address, self.port
        )?;
        if let Some(related) = self.related {
            write!(f, " raddr {} rport {}", related.ip(), related.port())?;
        }
        if let Some(kind) = tcp_kind {
            write!(f, " tcptype {kind}")?;
        }
        if let Some(ufrag) = &self.ufrag {
            write!(f, " ufrag {ufrag}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn candidates_of_all_kinds_are_read_and_written_back() {
        let check = |text: &str| {
            let candidate: Candidate = text.parse().unwrap();
            assert_eq!(candidate.to_string(), text);
        };
        check("candidate:1 1 udp 2015363327 192.0.2.10 20001 typ host");
        check("candidate:a/+ 256 udp 0 fd00::2 65535 typ host");
        check("candidate:2 1 udp 7 198.51.100.7 4 typ srflx raddr 10.0.0.1 rport 5");
        check("candidate:3 1 udp 7 198.51.100.7 4 typ relay raddr fd00::1 rport 5 ufrag aB+/");
        check("candidate:4 1 udp 7 198.51.100.7 4 typ prflx");
        check("candidate:5 1 tcp 7 192.0.2.1 9 typ host tcptype active");
        check("candidate:5 1 tcp 7 192.0.2.1 4 typ host tcptype passive ufrag x");
        check("candidate:5 1 tcp 7 192.0.2.1 4 typ host tcptype so");
        check("candidate:6 1 udp 7 6f9b2c1e-0d3a-4b55.local 4 typ host");
    }

    #[test]
    fn what_browsers_add_is_skipped() {
        let check = |text: &str, kept: &str| {
            assert_eq!(text.parse::<Candidate>().unwrap().to_string(), kept);
        };
        const KEPT: &str = "candidate:1 1 udp 7 192.0.2.1 4 typ host";
        check(
            "a=candidate:1 1 UDP 7 192.0.2.1 4 typ host generation 0 network-cost 999",
            KEPT,
        );
        check(
            " candidate:1 1 udp 7 192.0.2.1 4 typ host generation\r\n",
            KEPT,
        );
        check(
            "candidate:1 1 udp 7 192.0.2.1 4 typ host raddr host.local rport 1",
            KEPT,
        );
        check(
            "candidate:1 1 udp 7 192.0.2.1 4 typ host raddr 10.0.0.1",
            KEPT,
        );
    }

    #[test]
    fn a_hidden_address_has_no_socket_address() {
        let hidden: Candidate = "candidate:1 1 udp 7 a-b.local 4 typ host".parse().unwrap();
        assert_eq!(
            hidden.address,
            CandidateAddress::Mdns("a-b.local".to_owned())
        );
        assert_eq!(hidden.socket_addr(), None);
        let open: Candidate = "candidate:1 1 udp 7 ::1 4 typ host".parse().unwrap();
        assert_eq!(open.socket_addr(), "[::1]:4".parse().ok());
    }

    #[test]
    fn everything_else_is_refused() {
        let check = |text: &str| {
            let refused = text.parse::<Candidate>();
            assert_eq!(refused, Err(SdpError::InvalidCandidate(text.to_owned())));
        };
        check("");
        check("candidate:");
        check("foo");
        check("1 1 udp 7 192.0.2.1 4 typ host");
        check("candidate:1 0 udp 7 192.0.2.1 4 typ host");
        check("candidate:1 257 udp 7 192.0.2.1 4 typ host");
        check("candidate:1 1 sctp 7 192.0.2.1 4 typ host");
        check("candidate:1 1 udp 4294967296 192.0.2.1 4 typ host");
        check("candidate:1 1 udp -1 192.0.2.1 4 typ host");
        check("candidate:1 1 udp 7 192.0.2.256 4 typ host");
        check("candidate:1 1 udp 7 example.org 4 typ host");
        check("candidate:1 1 udp 7 .local 4 typ host");
        check("candidate:1 1 udp 7 a_b.local 4 typ host");
        check("candidate:1 1 udp 7 192.0.2.1 65536 typ host");
        check("candidate:1 1 udp 7 192.0.2.1 4 host");
        check("candidate:1 1 udp 7 192.0.2.1 4 typ");
        check("candidate:1 1 udp 7 192.0.2.1 4 typ other");
        check("candidate:1 1 tcp 7 192.0.2.1 4 typ host");
        check("candidate:1 1 tcp 7 192.0.2.1 4 typ host tcptype none");
        check("candidate:1 1 udp 7 192.0.2.1 4 typ srflx raddr 10.0.0.1 rport x");
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_written_back(
            text in "(a=)?candidate:[!-~é]{1,8} [0-9]{1,3} (udp|TCP|x) [0-9]{1,11} \\PC{1,12} \
                     [0-9]{1,6} typ (host|srflx|relay|prflx|x)( [a-z]{1,7} \\PC{0,9}){0,4}",
        ) {
            if let Ok(candidate) = text.parse::<Candidate>() {
                prop_assert_eq!(candidate.to_string().parse(), Ok(candidate));
            }
        }

        #[test]
        fn usual_candidates_are_written_back(
            ip: IpAddr, port: u16, priority: u32, related in proptest::option::of(any::<SocketAddr>()),
        ) {
            let related = related.map(|each| SocketAddr::new(each.ip(), each.port()));
            let candidate = Candidate {
                foundation: "f".to_owned(),
                component: 1,
                protocol: CandidateProtocol::Udp,
                priority,
                address: CandidateAddress::Ip(ip),
                port,
                kind: CandidateKind::ServerReflexive,
                related,
                ufrag: None,
            };
            prop_assert_eq!(candidate.to_string().parse(), Ok(candidate));
        }
    }
}
