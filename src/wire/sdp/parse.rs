//! Reading a session description.
//!
//! Lines that the gateway depends on are refused when they cannot be read; attributes it could do
//! without are left out, because clients are sloppier than the grammar and Janus forgives them.

use super::error::excerpt;
use super::section::Section;
use super::{
    Attribute, Bandwidth, Direction, Fingerprint, IceParameters, Origin, SdpError,
    SessionDescription, Setup,
};
use crate::base::limits::Limits;

/// The longest mid: what a header extension in one-byte form can carry.
const MID_SIZE_MAX: usize = 16;
/// The longest ICE user name fragment or password (RFC 8839 section 5.4).
const ICE_SIZE_MAX: usize = 256;
/// How many mids of a BUNDLE group are kept; more sections than that are hardly ever taken.
const BUNDLE_MAX: usize = 256;
/// How many ICE options are kept; agents know of three.
const ICE_OPTIONS_MAX: usize = 8;

impl SessionDescription {
    /// Reads a description within the default limits, see [`Self::parse_within`].
    ///
    /// # Errors
    ///
    /// As [`Self::parse_within`].
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        Self::parse_within(text, &Limits::default())
    }

    /// Reads a description; lines end in CRLF or LF, empty lines are skipped.
    ///
    /// # Errors
    ///
    /// The first thing found wrong, or the first limit passed.
    pub fn parse_within(text: &str, limits: &Limits) -> Result<Self, SdpError> {
        too_many(text.len(), limits.sdp_bytes, "bytes of SDP")?;
        if !text.starts_with("v=") {
            return Err(SdpError::NoVersion);
        }
        let mut reader = Reader::default();
        let mut count = 0;
        for line in text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
        {
            if line.is_empty() {
                continue;
            }
            count += 1;
            too_many(count, limits.sdp_lines_count, "lines of SDP")?;
            let (kind, value) = split_line(line)?;
            reader.take(kind, value, line, limits)?;
        }
        reader.finish()
    }
}

pub(super) fn too_many(count: usize, max: usize, what: &'static str) -> Result<(), SdpError> {
    if count > max {
        Err(SdpError::TooMany { what, max })
    } else {
        Ok(())
    }
}

/// Splits a line into its letter and its value.
fn split_line(line: &str) -> Result<(u8, &str), SdpError> {
    if line.len() < 3 {
        return Err(SdpError::ShortLine(line.to_owned()));
    }
    let bytes = line.as_bytes();
    if bytes[1] != b'=' {
        return Err(SdpError::NotALine(excerpt(line)));
    }
    // A lone CR would end a line for some readers of what we echo.
    if bytes
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return Err(SdpError::invalid_line(line));
    }
    Ok((bytes[0], &line[2..]))
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    origin: Option<Origin>,
    name: Option<String>,
    connection: Option<String>,
    bandwidth: Vec<Bandwidth>,
    bundle: Option<Vec<String>>,
    ice_lite: bool,
    extmap_allow_mixed: bool,
    msid_semantic: Option<String>,
    direction: Option<Direction>,
    transport: TransportReader,
    attributes: Vec<Attribute>,
    sections: Vec<Section>,
}

impl Reader {
    fn take(&mut self, kind: u8, value: &str, line: &str, limits: &Limits) -> Result<(), SdpError> {
        match kind {
            b'm' => {
                self.sections.push(Section::open(value, line, limits)?);
                too_many(self.sections.len(), limits.sdp_media_count, "m= lines")?;
            }
            b'o' => self.origin = Some(parse_origin(value).ok_or(SdpError::invalid_line(line))?),
            b's' if self.sections.is_empty() => self.name = Some(value.to_owned()),
            b'c' => {
                let address = parse_connection(value).ok_or(SdpError::invalid_line(line))?;
                match self.sections.last_mut() {
                    Some(section) => section.media.connection = Some(address),
                    None => self.connection = Some(address),
                }
            }
            b'b' => {
                let limits = match self.sections.last_mut() {
                    Some(section) => &mut section.media.bandwidth,
                    None => &mut self.bandwidth,
                };
                limits.extend(parse_bandwidth(value));
            }
            b'a' => {
                let (name, rest) = match value.split_once(':') {
                    Some((name, rest)) => (name, Some(rest)),
                    None => (value, None),
                };
                match self.sections.last_mut() {
                    Some(section) => section.attribute(name, rest, line)?,
                    None => self.attribute(name, rest, line)?,
                }
            }
            // Times, contacts and keys mean nothing here; unknown letters are ignored by rule.
            _ => {}
        }
        Ok(())
    }

    fn attribute(&mut self, name: &str, rest: Option<&str>, line: &str) -> Result<(), SdpError> {
        if self.transport.attribute(name, rest, line)? {
            return Ok(());
        }
        if let Some(direction) = Direction::parse(name) {
            self.direction = Some(direction);
            return Ok(());
        }
        match (name, rest) {
            ("extmap-allow-mixed", _) => self.extmap_allow_mixed = true,
            ("group", Some(value)) if self.bundle.is_none() && is_bundle(value) => {
                let mids = value.split_ascii_whitespace().skip(1).take(BUNDLE_MAX);
                self.bundle = Some(mids.map(str::to_owned).collect());
            }
            ("ice-lite", _) => self.ice_lite = true,
            ("msid-semantic", Some(value)) => self.msid_semantic = Some(value.trim().to_owned()),
            (name, rest) => self.attributes.push(attribute(name, rest)),
        }
        Ok(())
    }

    fn finish(self) -> Result<SessionDescription, SdpError> {
        let Some(origin) = self.origin else {
            return Err(SdpError::MissingMandatory);
        };
        if self.sections.is_empty() {
            return Err(SdpError::MissingMandatory);
        }
        let direction = self.direction.unwrap_or(Direction::SendRecv);
        let close = |section: Section| section.close(direction);
        let media = self
            .sections
            .into_iter()
            .map(close)
            .collect::<Result<Vec<_>, _>>()?;
        let mut mids: Vec<&str> = media
            .iter()
            .filter_map(|each| each.mid.as_deref())
            .collect();
        mids.sort_unstable();
        if let Some(pair) = mids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SdpError::DuplicateMid(pair[0].to_owned()));
        }
        Ok(SessionDescription {
            origin,
            // Janus does without a name too.
            name: self.name.unwrap_or_else(|| "-".to_owned()),
            connection: self.connection,
            bandwidth: self.bandwidth,
            bundle: self.bundle.unwrap_or_default(),
            ice_lite: self.ice_lite,
            ice: self.transport.ice(),
            ice_options: self.transport.ice_options,
            fingerprints: self.transport.fingerprints,
            setup: self.transport.setup,
            extmap_allow_mixed: self.extmap_allow_mixed,
            msid_semantic: self.msid_semantic,
            attributes: self.attributes,
            media,
        })
    }
}

/// The attributes that describe a transport, for the session or for one section.
#[derive(Default)]
pub(super) struct TransportReader {
    ufrag: Option<String>,
    pwd: Option<String>,
    pub(super) ice_options: Vec<String>,
    pub(super) fingerprints: Vec<Fingerprint>,
    pub(super) setup: Option<Setup>,
}

impl TransportReader {
    /// Takes an attribute if it is one of a transport, and tells whether it was.
    pub(super) fn attribute(
        &mut self,
        name: &str,
        rest: Option<&str>,
        line: &str,
    ) -> Result<bool, SdpError> {
        let invalid = || SdpError::invalid_line(line);
        match (name, rest) {
            ("fingerprint", Some(value)) => {
                self.fingerprints
                    .push(Fingerprint::parse(value).ok_or_else(invalid)?);
            }
            ("ice-options", Some(value)) => {
                let words = value.split_ascii_whitespace().take(ICE_OPTIONS_MAX);
                self.ice_options = words.map(str::to_owned).collect();
            }
            ("ice-pwd", Some(value)) => self.pwd = Some(ice_word(value).ok_or_else(invalid)?),
            ("ice-ufrag", Some(value)) => self.ufrag = Some(ice_word(value).ok_or_else(invalid)?),
            ("setup", Some(value)) => {
                self.setup = Some(Setup::parse(value.trim()).ok_or_else(invalid)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn ice(&self) -> Option<IceParameters> {
        let (ufrag, pwd) = self.ufrag.clone().zip(self.pwd.clone())?;
        Some(IceParameters { ufrag, pwd })
    }
}

impl Setup {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "active" => Some(Self::Active),
            "actpass" => Some(Self::Actpass),
            "holdconn" => Some(Self::Holdconn),
            "passive" => Some(Self::Passive),
            _ => None,
        }
    }
}

impl Direction {
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "inactive" => Some(Self::Inactive),
            "recvonly" => Some(Self::RecvOnly),
            "sendonly" => Some(Self::SendOnly),
            "sendrecv" => Some(Self::SendRecv),
            _ => None,
        }
    }
}

impl Fingerprint {
    /// Reads the value of the attribute: `sha-256 12:AB:…`.
    pub fn parse(value: &str) -> Option<Self> {
        // SHA-512 is the longest in use.
        const BYTES_MAX: usize = 64;
        let mut words = value.split_ascii_whitespace();
        let hash = words.next()?.to_ascii_lowercase();
        let octet = |pair: &str| {
            let digits = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            digits.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        };
        let bytes = words.next()?.split(':').map(octet).take(BYTES_MAX + 1);
        let bytes = bytes.collect::<Option<Vec<u8>>>()?;
        (bytes.len() <= BYTES_MAX && words.next().is_none()).then_some(Self { hash, bytes })
    }
}

pub(super) fn attribute(name: &str, rest: Option<&str>) -> Attribute {
    Attribute {
        name: name.to_owned(),
        value: rest.map(str::to_owned),
    }
}

pub(super) fn parse_mid(value: &str) -> Option<String> {
    let mid = value.trim();
    let fits = (1..=MID_SIZE_MAX).contains(&mid.len());
    (fits && mid.bytes().all(|byte| byte.is_ascii_graphic())).then(|| mid.to_owned())
}

fn is_bundle(value: &str) -> bool {
    value.split_ascii_whitespace().next() == Some("BUNDLE")
}

fn ice_word(value: &str) -> Option<String> {
    let word = value.trim();
    let fits = (1..=ICE_SIZE_MAX).contains(&word.len());
    (fits && word.bytes().all(|byte| byte.is_ascii_graphic())).then(|| word.to_owned())
}

fn parse_origin(value: &str) -> Option<Origin> {
    let mut words = value.split_ascii_whitespace().map(str::to_owned);
    let (username, session_id, version) = (words.next()?, words.next()?, words.next()?);
    let (_network, _address_type, address) = (words.next()?, words.next()?, words.next()?);
    Some(Origin {
        username,
        session_id,
        version,
        address,
    })
}

fn parse_connection(value: &str) -> Option<String> {
    let mut words = value.split_ascii_whitespace();
    let (_network, _address_type) = (words.next()?, words.next()?);
    words.next().map(str::to_owned)
}

fn parse_bandwidth(value: &str) -> Option<Bandwidth> {
    let (kind, value) = value.split_once(':')?;
    let kind = kind.trim();
    let is_token = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_graphic());
    let value = value.trim().parse().ok()?;
    is_token.then(|| Bandwidth {
        kind: kind.to_owned(),
        value,
    })
}
