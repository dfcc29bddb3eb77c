//! Types of single settings that need more care than a `String`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is never shown: not in logs, not in a `{:?}` of the configuration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Under a name of its own, so that whoever writes a configuration down finds every secret.
    #[serde(rename = "$secret")]
    text: String,
}

impl Secret {
    /// Wraps a text that must not be shown.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text }
    }

    /// Returns the text, for comparing it or keying a signature with it.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An entry of an access list: a network, as `10.0.0.0/8`, or the beginning of an address, as text.
///
/// Janus compares text and not networks, so `10.1` also admits `10.100.0.1`. A pattern that ends
/// with a dot or a colon, or that is a whole address, says what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    text: String,
    network: Option<Network>,
}

/// A network of either family: IPv4 is that part of IPv6 which stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    first: u128,
    /// Bits that all its addresses have in common.
    size: u32,
}

impl Prefix {
    /// Returns whether the address is in this network, or begins with this text; an IPv4-mapped
    /// address is tried in both of its forms.
    pub fn admits(&self, address: IpAddr) -> bool {
        match self.network {
            Some(network) => network.has(address),
            None => {
                address.to_string().starts_with(&self.text)
                    || address.to_canonical().to_string().starts_with(&self.text)
            }
        }
    }

    /// Returns the text as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Prefix {
    type Err = ();

    /// Takes an entry as it stands in a list, without blanks around it. What has a slash must be a
    /// network.
    fn from_str(text: &str) -> Result<Self, ()> {
        let network = match text.split_once('/') {
            None => None,
            Some((first, size)) => Some(Network::parse(first, size).ok_or(())?),
        };
        let text = text.to_owned();
        Ok(Self { text, network })
    }
}

impl TryFrom<String> for Prefix {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map_err(|()| "this is no network")
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.text
    }
}

impl Network {
    fn parse(first: &str, size: &str) -> Option<Self> {
        let first: IpAddr = first.parse().ok()?;
        let size: u32 = size.parse().ok()?;
        let (most, before) = if first.is_ipv4() { (32, 96) } else { (128, 0) };
        let size = (size <= most).then_some(size + before)?;
        let first = bits_of(first);
        Some(Self { first, size })
    }

    fn has(self, address: IpAddr) -> bool {
        let different = self.first ^ bits_of(address);
        different.leading_zeros() >= self.size
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// An entry of `ice_enforce_list` or `ice_ignore_list`: the beginning of an interface's name or of
/// an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPattern(String);

impl HostPattern {
    /// Takes the text as it stands in a list, without blanks around it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns whether an address of the interface `name` is meant.
    pub fn matches(&self, name: &str, address: IpAddr) -> bool {
        name.starts_with(&self.0) || address.to_string().starts_with(&self.0)
    }

    /// Returns whether this entry names the loopback interface or an address of it.
    pub fn is_loopback(&self) -> bool {
        self.0 == "lo"
            || self.0.starts_with("127.")
            || self
                .0
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// Returns the text as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a server is spoken to, by the scheme of its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    Http,
    Https,
    Ws,
    Wss,
}

impl Scheme {
    const ALL: [(&str, Self); 4] = [
        ("http://", Self::Http),
        ("https://", Self::Https),
        ("ws://", Self::Ws),
        ("wss://", Self::Wss),
    ];

    /// Whether there is TLS below it.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }

    /// Whether it is that of a WebSocket.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    const fn port(self) -> u16 {
        if self.is_secure() { 443 } else { 80 }
    }
}

/// The server that reports are sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Name or address of the host, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query of requests.
    pub path: String,
}

impl Backend {
    /// Reads `SCHEME://HOST[:PORT][/PATH]`; `None` when it is something else.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = Scheme::ALL
            .iter()
            .find_map(|(prefix, scheme)| Some((*scheme, url.strip_prefix(prefix)?)))?;
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            Some(_) | None => (authority, scheme.port()),
        };
        let host = host
            .strip_prefix('[')
            .map_or(host, |host| host.trim_end_matches(']'));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || host.contains('@') || !is_plain(host) || !is_plain(path) || port == 0
        {
            return None;
        }
        let path = match path {
            "" => "/".to_owned(),
            path if path.starts_with('?') => format!("/{path}"),
            path => path.to_owned(),
        };
        Some(Self {
            scheme,
            host: host.to_owned(),
            port,
            path,
        })
    }

    /// The value of `Host`.
    pub fn authority(&self) -> String {
        let host = &self.host;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        if self.port == self.scheme.port() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_list_has_networks_and_beginnings_of_addresses() {
        let admits = |entry: &str, address: &str| {
            let entry: Prefix = entry.parse().expect("an entry");
            entry.admits(address.parse().expect("an address"))
        };
        for (entry, address, wanted) in [
            ("127.", "127.0.0.1", true),
            ("127.", "::ffff:127.0.0.1", true),
            ("0.1", "127.0.0.1", false),
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.1.2.3/8", "10.200.0.1", true),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("192.0.2.128/25", "192.0.2.128", true),
            ("192.0.2.1/32", "192.0.2.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "203.0.113.9", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::1/128", "::1", true),
        ] {
            assert_eq!(admits(entry, address), wanted, "{entry} {address}");
        }
        for entry in [
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/",
            "::/129",
            "a/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(entry.parse::<Prefix>(), Err(()), "{entry}");
        }
    }

    #[test]
    fn backends_are_urls_without_credentials() {
        for (url, expected) in [
            ("http://127.0.0.1:9000/", Some(("127.0.0.1:9000", "/"))),
            ("http://collector", Some(("collector", "/"))),
            ("http://collector:80/a?b=c", Some(("collector", "/a?b=c"))),
            ("http://[::1]:9000/x", Some(("[::1]:9000", "/x"))),
            ("http://[::1]/x", Some(("[::1]", "/x"))),
            ("http://h?x", Some(("h", "/?x"))),
            ("https://collector/", Some(("collector", "/"))),
            ("https://collector:80/", Some(("collector:80", "/"))),
            ("ws://collector/in", Some(("collector", "/in"))),
            ("wss://collector:443", Some(("collector", "/"))),
            ("collector", None),
            ("ftp://x", None),
            ("http://", None),
            ("http://a b/", None),
            ("http://user@host/", None),
            ("http://h:0/", None),
            ("http://h:99999/", None),
        ] {
            let backend = Backend::parse(url);
            let shown = backend.as_ref().map(|b| (b.authority(), b.path.as_str()));
            let shown = shown.as_ref().map(|(host, path)| (host.as_str(), *path));
            assert_eq!(shown, expected, "{url}");
        }
    }
}
