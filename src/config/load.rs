//! From text to a checked configuration, for both syntaxes and for flags.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::keys::{Act, Key, LIMITS, keys};
use super::read::Setting;
use super::schema::{Config, DummyStreamConfig, RoomConfig, TokenAuth};
use super::tree::{ConfigError, Entry, Node, Position, Value, Warning, WarningKind};
use super::value::Secret;
use super::{libconfig, toml_tree};

impl Config {
    /// Reads Janus' configuration files, each given by its name and its text.
    ///
    /// A file is known by its name: `janus.transport.http.jcfg` is the HTTP transport's, and what
    /// has no such name is the core's. `include` turns the path of an `@include` into text.
    /// Defaults are those of Janus where they differ: a transport whose file is given listens on
    /// every address, and ICE is not lite. Files of things that are not served are read, and
    /// warned of where somebody counts on them.
    ///
    /// # Errors
    ///
    /// Names file, line and key of the first value that makes no sense.
    pub fn from_jcfg(
        files: &[(&str, &str)],
        include: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<(Self, Vec<Warning>), ConfigError> {
        let mut config = Self::default();
        config.media.ice_lite = false;
        let mut draft = Draft::over(config, Syntax::Janus);
        for (name, text) in files {
            draft.take_janus_file(name, text, include)?;
        }
        draft.finish()
    }

    /// Returns the folder that a core file names for the files of modules, so that these can be
    /// read and handed to [`from_jcfg`](Self::from_jcfg) together with it.
    ///
    /// # Errors
    ///
    /// Names line and column where the text is not libconfig syntax.
    pub fn configs_folder(
        name: &str,
        text: &str,
        include: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Option<String>, ConfigError> {
        let sections = libconfig::parse(name, text, include)?;
        let find = |entries: &[Entry], name: &str| {
            entries
                .iter()
                .find(|entry| entry.name == name)
                .map(|entry| entry.node.clone())
        };
        let folder = match find(&sections, "general").map(|node| node.value) {
            Some(Value::Group(entries)) => find(&entries, "configs_folder"),
            Some(_) | None => None,
        };
        let text = folder.and_then(|node| node.text().map(|text| text.trim().to_owned()));
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// Reads a TOML file, given by its name and its text.
    ///
    /// # Errors
    ///
    /// Names line and key of the first value that makes no sense.
    pub fn from_toml(name: &str, text: &str) -> Result<(Self, Vec<Warning>), ConfigError> {
        let entries = toml_tree::parse(name, text)?;
        let mut draft = Draft::over(Self::default(), Syntax::Toml);
        draft.take_toml(&entries, "")?;
        draft.finish()
    }

    /// Puts settings from the command line over what the files say.
    ///
    /// # Errors
    ///
    /// Names the flag whose value makes no sense; the configuration is as it was then.
    pub fn apply(&mut self, overrides: &Overrides) -> Result<Vec<Warning>, ConfigError> {
        let mut draft = Draft::over(self.clone(), Syntax::Janus);
        for Override { flag, key, values } in &overrides.settings {
            let at = Position::whole(flag);
            let text = |text: &String| Node {
                at: at.clone(),
                value: Value::Text(text.clone()),
            };
            let node = match &values[..] {
                [one] => text(one),
                several => Node {
                    at: at.clone(),
                    value: Value::List(several.iter().map(text).collect()),
                },
            };
            let known = if key.contains('/') {
                by_janus(key)
            } else {
                by_toml(key)
            };
            let known = known.expect("flags name keys of the table");
            draft.take(
                known,
                &Setting {
                    key: "",
                    node: &node,
                },
            )?;
        }
        let (config, warnings) = draft.finish()?;
        *self = config;
        Ok(warnings)
    }
}

/// Settings of the command line, in the order given.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    settings: Vec<Override>,
}

#[derive(Clone, Debug)]
struct Override {
    flag: String,
    key: &'static str,
    values: Vec<String>,
}

impl Overrides {
    /// Sets a key, by its name in TOML or as `FILE/SECTION.KEY` of Janus' files; `flag` is what
    /// errors name. A key that is set again with the same flag becomes a list.
    ///
    /// # Panics
    ///
    /// When no such key exists.
    pub fn set(&mut self, flag: &str, key: &'static str, value: impl Into<String>) {
        assert!(
            by_toml(key).or_else(|| by_janus(key)).is_some(),
            "no key {key}"
        );
        let same = |other: &&mut Override| other.key == key && other.flag == flag;
        match self.settings.iter_mut().find(same) {
            Some(setting) => setting.values.push(value.into()),
            None => self.settings.push(Override {
                flag: flag.to_owned(),
                key,
                values: vec![value.into()],
            }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    Janus,
    Toml,
}

/// A listener that Janus configures by port and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    Admin,
    AdminTls,
    AdminWs,
    AdminWsTls,
    Http,
    HttpTls,
    Ws,
    WsTls,
}

/// Where a listener listens; what is not given is Janus' default once the file is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bind {
    pub(super) ip: Option<IpAddr>,
    pub(super) port: Option<u16>,
    is_given: bool,
}

/// A configuration in the making: what keys set, and what is put together at the end.
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) warnings: Vec<Warning>,
    /// The leniency of Janus applies.
    pub(super) is_janus: bool,
    pub(super) token_auth: bool,
    pub(super) token_auth_secret: Option<Secret>,
    pub(super) http_disabled: bool,
    pub(super) ws_disabled: bool,
    pub(super) post_disabled: bool,
    pub(super) wsevh_disabled: bool,
    pub(super) admin_ws: bool,
    pub(super) admin_ws_tls: bool,
    pub(super) admin_tls: bool,
    pub(super) http_tls: bool,
    pub(super) ws_tls: bool,
    binds: [Bind; 8],
    /// Where each key was set, and under which name, for checks between keys.
    places: BTreeMap<&'static str, (Position, String)>,
}

impl Draft {
    fn over(config: Config, syntax: Syntax) -> Self {
        let (token_auth, token_auth_secret) = match &config.general.token_auth {
            TokenAuth::Off => (false, None),
            TokenAuth::Signed(secret) => (true, Some(secret.clone())),
            TokenAuth::Stored => (true, None),
        };
        Self {
            admin_ws: !config.ws.admin_bind.is_empty(),
            admin_ws_tls: !config.ws.admin_secure_bind.is_empty(),
            admin_tls: !config.admin.secure_bind.is_empty(),
            http_tls: !config.http.secure_bind.is_empty(),
            ws_tls: !config.ws.secure_bind.is_empty(),
            config,
            warnings: Vec::new(),
            is_janus: syntax == Syntax::Janus,
            token_auth,
            token_auth_secret,
            http_disabled: false,
            ws_disabled: false,
            post_disabled: false,
            wsevh_disabled: false,
            binds: [Bind::default(); 8],
            places: BTreeMap::new(),
        }
    }

    pub(super) fn listener(&mut self, listener: Listener) -> &mut Bind {
        let bind = &mut self.binds[listener as usize];
        bind.is_given = true;
        bind
    }

    fn take_janus_file(
        &mut self,
        name: &str,
        text: &str,
        include: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<(), ConfigError> {
        let file = match File::of(name) {
            File::Served(file) => file,
            File::NotServed(what) => {
                self.warnings.extend(not_served(name, text, what, include));
                return Ok(());
            }
        };
        let given: &[Listener] = match file {
            "http" => &[
                Listener::Http,
                Listener::HttpTls,
                Listener::Admin,
                Listener::AdminTls,
            ],
            "ws" => &[
                Listener::Ws,
                Listener::WsTls,
                Listener::AdminWs,
                Listener::AdminWsTls,
            ],
            _ => &[],
        };
        if file == "videoroom" {
            self.config.videoroom.file = Some(name.into());
        }
        for listener in given {
            self.listener(*listener);
        }
        for section in libconfig::parse(name, text, include)? {
            let prefix = format!("{file}/{}.", section.name);
            let known = keys().any(|key| key.janus.starts_with(&prefix));
            if let Value::Group(entries) = &section.node.value
                && known
            {
                for entry in entries {
                    let key = format!("{}.{}", section.name, entry.name);
                    self.take_entry(by_janus(&format!("{prefix}{}", entry.name)), &key, entry)?;
                }
            } else if let Value::Group(entries) = &section.node.value
                && file == "videoroom"
            {
                let id = section.name.strip_prefix("room-").unwrap_or(&section.name);
                self.take_room(id, entries)?;
                self.describe_room(&section.name);
            } else {
                self.take_entry(None, &section.name, &section)?;
            }
        }
        Ok(())
    }

    fn take_room(&mut self, id: &str, entries: &[Entry]) -> Result<(), ConfigError> {
        let mut room = RoomConfig {
            id: id.to_owned(),
            settings: Vec::new(),
            dummy_streams: None,
        };
        for entry in entries {
            let (key, node) = (entry.name.as_str(), &entry.node);
            if let Value::List(nodes) = &node.value
                && key == "dummy_streams"
            {
                let streams = nodes.iter().map(|node| dummy_stream(key, node));
                room.dummy_streams = Some(streams.collect::<Result<_, _>>()?);
                continue;
            }
            let text = Setting { key, node }.text()?;
            room.settings.push((key.to_owned(), Secret::new(text)));
        }
        self.config.videoroom.rooms.push(room);
        Ok(())
    }

    /// A room of a file of Janus that says nothing of itself is called what its section is.
    fn describe_room(&mut self, section: &str) {
        let Some(room) = self.config.videoroom.rooms.last_mut() else {
            return;
        };
        let is_said =
            |(name, text): &(String, Secret)| name == "description" && !text.expose().is_empty();
        if !room.settings.iter().any(is_said) {
            let description = ("description".to_owned(), Secret::new(section));
            room.settings.push(description);
        }
    }

    fn take_toml(&mut self, entries: &[Entry], prefix: &str) -> Result<(), ConfigError> {
        for entry in entries {
            let key = format!("{prefix}{}", entry.name);
            let section = format!("{key}.");
            let is_section = keys().chain(LIMITS).any(|k| k.toml.starts_with(&section));
            if let Value::Group(entries) = &entry.node.value
                && is_section
            {
                self.take_toml(entries, &section)?;
            } else if let Value::Group(entries) = &entry.node.value
                && prefix == "videoroom.rooms."
            {
                self.take_room(&entry.name, entries)?;
            } else if let Value::Group(entries) = &entry.node.value
                && key == "videoroom.rooms"
            {
                self.take_toml(entries, &section)?;
            } else {
                self.take_entry(by_toml(&key), &key, entry)?;
            }
        }
        Ok(())
    }

    fn take_entry(
        &mut self,
        known: Option<&'static Key>,
        key: &str,
        entry: &Entry,
    ) -> Result<(), ConfigError> {
        let node = &entry.node;
        match known {
            Some(known) => self.take(known, &Setting { key, node }),
            None => {
                self.warnings.push(Warning {
                    at: Some(entry.at.clone()),
                    key: key.to_owned(),
                    kind: WarningKind::Unknown,
                    message: "is not known and has no effect".to_owned(),
                });
                Ok(())
            }
        }
    }

    fn take(&mut self, known: &'static Key, setting: &Setting<'_>) -> Result<(), ConfigError> {
        let (kind, why) = match known.act {
            Act::Accept => return Ok(()),
            Act::Ignore(why) => (WarningKind::Ignored, why),
            Act::NotServed(why) => (WarningKind::NotServed, why),
            Act::Set(apply) => {
                for name in [known.toml, known.janus] {
                    let place = (setting.node.at.clone(), setting.key.to_owned());
                    self.places.insert(name, place);
                }
                return apply(self, setting);
            }
        };
        if !setting.is_off() {
            let message = format!("has no effect: {why}");
            self.warnings.push(setting.warn(kind, message));
        }
        Ok(())
    }

    /// Names the settings that are only kept to be shown by `info`.
    fn warn_of_fixed(&mut self) {
        for (key, why) in FIXED {
            if let Some((at, named)) = self.places.get(key) {
                self.warnings.push(Warning {
                    at: Some(at.clone()),
                    key: named.clone(),
                    kind: WarningKind::NotServed,
                    message: format!("has no effect: {why}"),
                });
            }
        }
    }

    /// Puts together what several keys say, and checks the whole.
    fn finish(mut self) -> Result<(Config, Vec<Warning>), ConfigError> {
        self.warn_of_fixed();
        let bind = |bind: Bind, default: u16| {
            let port = bind.port.unwrap_or(default);
            vec![bind.ip.map_or(any(port), |ip| SocketAddr::new(ip, port))]
        };
        for listener in [
            Listener::Admin,
            Listener::AdminTls,
            Listener::AdminWs,
            Listener::AdminWsTls,
            Listener::Http,
            Listener::HttpTls,
            Listener::Ws,
            Listener::WsTls,
        ] {
            let given = self.binds[listener as usize];
            if !given.is_given {
                continue;
            }
            match listener {
                Listener::Admin => self.config.admin.bind = bind(given, 7_088),
                Listener::AdminTls if self.admin_tls => {
                    self.config.admin.secure_bind = bind(given, 7_889);
                }
                Listener::AdminTls => self.config.admin.secure_bind = Vec::new(),
                Listener::HttpTls if self.http_tls => {
                    self.config.http.secure_bind = bind(given, 8_089);
                }
                Listener::HttpTls => self.config.http.secure_bind = Vec::new(),
                Listener::WsTls if self.ws_tls => {
                    self.config.ws.secure_bind = bind(given, 8_989);
                }
                Listener::WsTls => self.config.ws.secure_bind = Vec::new(),
                Listener::AdminWs if self.admin_ws => {
                    self.config.ws.admin_bind = bind(given, 7_188);
                }
                Listener::AdminWs => self.config.ws.admin_bind = Vec::new(),
                Listener::AdminWsTls if self.admin_ws_tls => {
                    self.config.ws.admin_secure_bind = bind(given, 7_989);
                }
                Listener::AdminWsTls => self.config.ws.admin_secure_bind = Vec::new(),
                Listener::Http => self.config.http.bind = bind(given, 8_088),
                Listener::Ws => self.config.ws.bind = bind(given, 8_188),
            }
        }
        // With Janus each of the two is switched for itself.
        for (with_tls, is_enabled, plain) in [
            (
                self.http_tls,
                &mut self.config.http.enabled,
                &mut self.config.http.bind,
            ),
            (
                self.admin_tls,
                &mut self.config.admin.enabled,
                &mut self.config.admin.bind,
            ),
            (
                self.ws_tls,
                &mut self.config.ws.enabled,
                &mut self.config.ws.bind,
            ),
        ] {
            if self.is_janus && with_tls && !*is_enabled {
                *is_enabled = true;
                plain.clear();
            }
        }
        if self.http_disabled {
            self.config.http.enabled = false;
            self.config.admin.enabled = false;
        }
        if self.ws_disabled {
            self.config.ws.enabled = false;
            self.config.ws.admin_bind = Vec::new();
            self.config.ws.admin_secure_bind = Vec::new();
        }
        if self.post_disabled {
            self.config.events.post.enabled = false;
        }
        if self.wsevh_disabled {
            self.config.events.ws.enabled = false;
        }
        self.config.general.token_auth = match (self.token_auth, self.token_auth_secret.take()) {
            (false, _) => TokenAuth::Off,
            (true, Some(secret)) => TokenAuth::Signed(secret),
            (true, None) => TokenAuth::Stored,
        };
        let checked = self.config.validate();
        checked.map_err(|error| self.located(error))?;
        Ok((self.config, self.warnings))
    }

    /// Names the place and the spelling of the key that a check between keys complains of.
    fn located(&self, mut error: ConfigError) -> ConfigError {
        let janus = match error.key.as_str() {
            "admin.bind" => &["http/admin.admin_ip", "http/admin.admin_port"][..],
            "admin.secure_bind" => &["http/admin.admin_https"],
            "events.post.backend" => &["post/general.backend", "post/general.enabled"],
            "events.ws.backend" => &["wsevh/general.backend", "wsevh/general.enabled"],
            "general.token_auth" => &["core/general.token_auth"],
            "http.bind" => &["http/general.ip", "http/general.port"],
            "http.cert_pem" => &["http/certificates.cert_pem"],
            "http.secure_bind" => &["http/general.https"],
            "ws.cert_pem" => &["ws/certificates.cert_pem"],
            "ws.secure_bind" => &["ws/general.wss"],
            "media.port_base" => &["core/media.rtp_port_range"],
            "ws.admin_bind" => &["ws/admin.admin_ws_ip", "ws/admin.admin_ws_port"],
            "ws.bind" => &["ws/general.ws_ip", "ws/general.ws_port"],
            _ => &[],
        };
        let names = std::iter::once(error.key.as_str()).chain(janus.iter().copied());
        let place = names.filter_map(|name| self.places.get(name)).next();
        if let Some((at, key)) = place.cloned() {
            error.at = Some(at);
            error.key = key;
        }
        error
    }
}

/// What a file of Janus' configuration folder is about.
enum File<'a> {
    /// The prefix of its keys in the table.
    Served(&'static str),
    NotServed(&'a str),
}

impl<'a> File<'a> {
    fn of(name: &'a str) -> Self {
        let base = name.rsplit('/').next().unwrap_or(name);
        let stem = base.strip_suffix(".jcfg").unwrap_or(base);
        match stem {
            "janus.transport.http" => Self::Served("http"),
            "janus.transport.websockets" => Self::Served("ws"),
            "janus.eventhandler.sampleevh" => Self::Served("post"),
            "janus.eventhandler.wsevh" => Self::Served("wsevh"),
            "janus.plugin.echotest" => Self::Served("echotest"),
            "janus.plugin.videoroom" => Self::Served("videoroom"),
            _ if ["plugin", "transport", "eventhandler", "logger"]
                .iter()
                .filter_map(|kind| stem.strip_prefix("janus.")?.strip_prefix(kind))
                .any(|rest| rest.starts_with('.')) =>
            {
                Self::NotServed(stem)
            }
            _ => Self::Served("core"),
        }
    }
}

/// What to say of a file whose subject is not served: nothing unless it switches something on.
fn not_served(
    name: &str,
    text: &str,
    what: &str,
    include: &dyn Fn(&str) -> Result<String, String>,
) -> Option<Warning> {
    let warning = |kind, at, message| Warning {
        at: Some(at),
        key: String::new(),
        kind,
        message,
    };
    let entries = match libconfig::parse(name, text, include) {
        Ok(entries) => entries,
        Err(ConfigError { at, message, .. }) => {
            let at = at.unwrap_or_else(|| Position::whole(name));
            let message = format!("{message} ({what} is not served; the file has no effect)");
            return Some(warning(WarningKind::Suspicious, at, message));
        }
    };
    let wanted = if what.starts_with("janus.plugin.") {
        !entries.is_empty()
    } else {
        switches_on(&entries)
    };
    let at = Position::whole(name);
    let message = format!("{what} is not served yet; the file has no effect");
    wanted.then(|| warning(WarningKind::NotServed, at, message))
}

/// Handlers and transports have a switch, which the samples leave off.
fn switches_on(entries: &[Entry]) -> bool {
    const SWITCHES: [&str; 4] = [
        "enabled",
        "admin_enabled",
        "mqtt_enabled",
        "admin_mqtt_enabled",
    ];
    entries.iter().any(|entry| {
        let node = &entry.node;
        if let Value::Group(inner) = &node.value {
            return switches_on(inner);
        }
        SWITCHES.contains(&entry.name.as_str()) && !(Setting { key: "", node }).is_off()
    })
}

/// Reads what a dummy publisher has a stream for.
fn dummy_stream(key: &str, node: &Node) -> Result<DummyStreamConfig, ConfigError> {
    let Value::Group(entries) = &node.value else {
        let setting = Setting { key, node };
        return Err(setting.fail("must be groups, each with a codec".to_owned()));
    };
    let text = |name: &str| {
        let entry = entries.iter().find(|entry| entry.name == name);
        let read = |entry: &Entry| {
            let (key, node) = (entry.name.as_str(), &entry.node);
            Setting { key, node }.filled()
        };
        Ok::<_, ConfigError>(entry.map(read).transpose()?.flatten())
    };
    let codec = text("codec")?;
    Ok(DummyStreamConfig {
        codec: codec.ok_or_else(|| Setting { key, node }.fail("needs a codec".to_owned()))?,
        fmtp: text("fmtp")?,
    })
}

fn by_janus(name: &str) -> Option<&'static Key> {
    keys().find(|key| key.janus == name)
}

fn by_toml(name: &str) -> Option<&'static Key> {
    keys()
        .chain(LIMITS)
        .find(|key| !name.is_empty() && key.toml == name)
}

/// Every address of both families, as Janus listens when no address is given.
fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)
}

/// What the WebRTC library does in its own way.
const FIXED: [(&str, &str); 2] = [
    (
        "media.min_nack_queue",
        "limits.resend_packets_count packets of a video stream are kept, whatever their age",
    ),
    ("media.twcc_period", "feedback is sent every 50 ms"),
];
