//! Types of single settings that need more care than a `String`.

use std::fmt;
use std::net::IpAddr;

/// A text that is never shown: not in logs, not in a `{:?}` of the configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text that must not be shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for comparing it or keying a signature with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An entry of an access list: the beginning of an address, as text.
///
/// Janus compares text and not networks, so `10.1` also admits `10.100.0.1`. A pattern that ends
/// with a dot or a colon, or that is a whole address, says what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Takes the text as it stands in a list, without blanks around it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns whether the address begins with this text; an IPv4-mapped address is tried in both
    /// of its forms.
    pub fn admits(&self, address: IpAddr) -> bool {
        address.to_string().starts_with(&self.0)
            || address.to_canonical().to_string().starts_with(&self.0)
    }

    /// Returns the text as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An entry of `ice_enforce_list` or `ice_ignore_list`: the beginning of an interface's name or of
/// an address.
#[derive(Clone, Debug, PartialEq, Eq)]
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
