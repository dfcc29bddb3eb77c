//! A session description: what holds for all media sections, and the sections themselves.

use super::{MediaDescription, SdpError};

/// A session description, offer or answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDescription {
    /// The originator, `o=`.
    pub origin: Origin,
    /// The session name, `s=`.
    pub name: String,
    /// The session's connection address, `c=`.
    pub connection: Option<String>,
    /// Bandwidth limits of the whole session, `b=`.
    pub bandwidth: Vec<Bandwidth>,
    /// The mids of the BUNDLE group, in its order; empty without such a group.
    pub bundle: Vec<String>,
    /// Whether the sender is a lite ICE agent.
    pub ice_lite: bool,
    /// Options of the ICE agent, such as `trickle`, given for all sections.
    pub ice_options: Vec<String>,
    /// ICE credentials given for all sections; [`Self::ice_of`] is what a section uses.
    pub ice: Option<IceParameters>,
    /// Certificate fingerprints given for all sections.
    pub fingerprints: Vec<Fingerprint>,
    /// The DTLS role given for all sections.
    pub setup: Option<Setup>,
    /// Whether one-byte and two-byte header extensions may be mixed (RFC 8285 section 6).
    pub extmap_allow_mixed: bool,
    /// The value of `a=msid-semantic`, without leading space.
    pub msid_semantic: Option<String>,
    /// Session attributes without a field of their own, in order.
    pub attributes: Vec<Attribute>,
    /// The media sections, in order.
    pub media: Vec<MediaDescription>,
}

impl SessionDescription {
    /// Returns the ICE credentials of a media section of this description.
    pub fn ice_of<'a>(&'a self, media: &'a MediaDescription) -> Option<&'a IceParameters> {
        media.ice.as_ref().or(self.ice.as_ref())
    }

    /// Returns the fingerprints that a media section of this description may be checked against.
    pub fn fingerprints_of<'a>(&'a self, media: &'a MediaDescription) -> &'a [Fingerprint] {
        if media.fingerprints.is_empty() {
            &self.fingerprints
        } else {
            &media.fingerprints
        }
    }

    /// Returns the strongest fingerprint of a media section: the first with SHA-256, or else the
    /// first.
    pub fn fingerprint_of<'a>(&'a self, media: &'a MediaDescription) -> Option<&'a Fingerprint> {
        let all = self.fingerprints_of(media);
        all.iter()
            .find(|each| each.hash == "sha-256")
            .or(all.first())
    }

    /// Returns the DTLS role of a media section of this description.
    pub fn setup_of(&self, media: &MediaDescription) -> Option<Setup> {
        media.setup.or(self.setup)
    }

    /// Returns the section that owns the transport: the first of the BUNDLE group that is not
    /// rejected, or the first that is not rejected.
    pub fn transport_media(&self) -> Option<&MediaDescription> {
        self.bundle
            .iter()
            .filter_map(|mid| self.media_of(mid))
            .chain(&self.media)
            .find(|media| !media.is_rejected())
    }

    /// Returns the section with a mid.
    pub fn media_of(&self, mid: &str) -> Option<&MediaDescription> {
        self.media
            .iter()
            .find(|media| media.mid.as_deref() == Some(mid))
    }

    /// Completes an offer of a sloppy client: sections without mid get their position as one, and
    /// the BUNDLE group comes to name all sections that are not rejected.
    ///
    /// A section outside the group is taken for part of it unless it has credentials or a port of
    /// its own: old clients leave the group out.
    ///
    /// # Errors
    ///
    /// [`SdpError::Unbundled`] when a second transport would be needed, and
    /// [`SdpError::DuplicateMid`] when the position of a section is the mid of another.
    pub fn normalise(&mut self) -> Result<(), SdpError> {
        if !self.has_one_transport() {
            return Err(SdpError::Unbundled);
        }
        for index in 0..self.media.len() {
            if self.media[index].mid.is_none() {
                let mid = index.to_string();
                if self.media_of(&mid).is_some() {
                    return Err(SdpError::DuplicateMid(mid));
                }
                self.media[index].mid = Some(mid);
            }
        }
        let media = std::mem::take(&mut self.media);
        let mut bundle = std::mem::take(&mut self.bundle);
        bundle.retain(|mid| media.iter().any(|each| each.is_accepted_as(mid)));
        for each in media.iter().filter(|each| !each.is_rejected()) {
            bundle.extend(each.mid.clone().filter(|mid| !bundle.contains(mid)));
        }
        (self.media, self.bundle) = (media, bundle);
        Ok(())
    }

    fn has_one_transport(&self) -> bool {
        // A placeholder: the real address comes with the candidates.
        const DISCARD_PORT: u16 = 9;
        let Some(owner) = self.transport_media() else {
            return true;
        };
        let in_bundle = |media: &MediaDescription| {
            media
                .mid
                .as_ref()
                .is_some_and(|mid| self.bundle.contains(mid))
        };
        self.media
            .iter()
            .filter(|media| !media.is_rejected())
            .all(|media| {
                let same_port = [DISCARD_PORT, owner.port].contains(&media.port);
                in_bundle(media)
                    || self.ice_of(media) == self.ice_of(owner) && (same_port || media.bundle_only)
            })
    }
}

/// Who made a description, `o=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The user name, usually `-`.
    pub username: String,
    /// The session id: digits, possibly more than 64 bits worth.
    pub session_id: String,
    /// The version of the description within the session: digits.
    pub version: String,
    /// The originator's address; the address type is told by its form.
    pub address: String,
}

/// A bandwidth limit, `b=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// What the value means: `AS` is kbit/s, `TIAS` is bit/s.
    pub kind: String,
    /// The value, in the unit of `kind`.
    pub value: u64,
}

/// The credentials of an ICE agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceParameters {
    /// The user name fragment.
    pub ufrag: String,
    /// The password.
    pub pwd: String,
}

/// The hash of a DTLS certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash function, in lower case: `sha-256`.
    pub hash: String,
    /// The hash.
    pub bytes: Vec<u8>,
}

/// A role in the DTLS handshake, `a=setup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Sends the first handshake message.
    Active,
    /// Leaves the choice to the answerer.
    Actpass,
    /// Puts the connection off.
    Holdconn,
    /// Waits for the first handshake message.
    Passive,
}

impl Setup {
    /// Returns the role to answer this one with; `Active` to `Actpass`, as RFC 8842 recommends.
    #[must_use]
    pub fn answer(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Actpass => Self::Active,
            Self::Holdconn => Self::Active,
            Self::Passive => Self::Active,
        }
    }

    /// Returns the role as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Actpass => "actpass",
            Self::Holdconn => "holdconn",
            Self::Passive => "passive",
        }
    }
}

/// An attribute without a field of its own, `a=name` or `a=name:value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The name.
    pub name: String,
    /// What follows the colon, if there is one.
    pub value: Option<String>,
}
