//! What a journal begins with: of the process, and of each shard.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::clock::Now;
use crate::config::Config;
use crate::media::LocalSocket;
use crate::shard::Setup;

use super::entry::Reading;
use super::hash;
use super::mask::Mask;
use super::secrets::is_secret_setting;

/// What the whole process began with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessStart {
    /// The version of the gateway.
    pub version: String,
    /// The commit that it was built from, where the build said so.
    pub commit: Option<String>,
    /// How many shards there are.
    pub shards: u8,
    /// Whether datagrams are whole, so that media is replayed too.
    pub media: bool,
    /// A hash of the configuration, to tell journals of one from those of another.
    pub config_hash: String,
    /// The configuration, its secrets masked.
    pub config: Value,
}

impl ProcessStart {
    /// Describes this process.
    pub fn new(config: &Config, shards: u8, mask: &mut Mask) -> Self {
        let media = config.journal.media;
        let config = written(config, mask);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("BIFRONS_COMMIT").map(str::to_owned),
            shards,
            media,
            config_hash: format!("{:016x}", hash::of(config.to_string().as_bytes())),
            config,
        }
    }
}

/// What one shard began with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardStart {
    /// Its randomness. Whoever knows it knows the ids that it gives out.
    pub seed: [u8; 32],
    /// The clocks when it was made.
    pub now: Reading,
    /// Where its anchor is on the monotonic clock.
    pub anchor: u64,
    /// Its UDP sockets, with the addresses that are shown in place of the bound ones.
    pub sockets: Vec<(SocketAddr, Vec<IpAddr>)>,
    /// The DTLS certificate; its key is not for journals.
    pub certificate: Vec<u8>,
}

impl ShardStart {
    /// Describes a shard that is about to be made.
    pub fn new(setup: &Setup, now: Now) -> Self {
        let socket = |socket: &LocalSocket| (socket.bound, socket.advertised.clone());
        Self {
            seed: setup.seed,
            now: now.into(),
            anchor: setup.anchor.origin().as_nanos(),
            sockets: setup.sockets.iter().map(socket).collect(),
            certificate: setup.certificate.der().to_vec(),
        }
    }
}

/// A configuration with its secrets masked, as they are in requests.
pub(super) fn written(config: &Config, mask: &mut Mask) -> Value {
    let mut value = serde_json::to_value(config).expect("a configuration is plain data");
    mask_secrets(&mut value, mask);
    value
}

/// Under this name [`Secret`](crate::config::Secret) writes its text.
const SECRET: &str = "$secret";

fn mask_secrets(value: &mut Value, mask: &mut Mask) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(text)) = members.get_mut(SECRET) {
                *text = mask.text(text);
                return;
            }
            members
                .values_mut()
                .for_each(|member| mask_secrets(member, mask));
        }
        Value::Array(items) => {
            // A setting of a room: all of them are kept as secrets, and most are none.
            if let [Value::String(name), Value::Object(_)] = &items[..]
                && !is_secret_setting(name)
            {
                return;
            }
            items.iter_mut().for_each(|item| mask_secrets(item, mask));
        }
        Value::Null => {}
        Value::Bool(_) => {}
        Value::Number(_) => {}
        Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Pem, RoomConfig, Secret, TokenAuth};

    #[test]
    fn no_secret_of_a_configuration_is_written_down() {
        let mut config = Config::default();
        let secret = || Secret::new("hush-hush");
        config.general.api_secret = Some(secret());
        config.general.token_auth = TokenAuth::Signed(secret());
        config.admin.secret = Some(secret());
        config.videoroom.admin_key = Some(secret());
        config.events.post.password = Some(secret());
        config.http.tls.pem = Some(Pem {
            chain: String::new(),
            key: secret(),
        });
        let setting = |name: &str, value: &str| (name.to_owned(), Secret::new(value));
        config.videoroom.rooms.push(RoomConfig {
            id: "1".to_owned(),
            settings: vec![setting("pin", "hush-hush"), setting("publishers", "6")],
            dummy_streams: None,
        });
        let mut mask = Mask::new([3; 16]);
        let text = written(&config, &mut mask).to_string();
        assert!(!text.contains("hush"), "{text}");
        assert_eq!(text.matches(&mask.text("hush-hush")).count(), 7);

        let read: Config = serde_json::from_str(&text).unwrap();
        let masked = mask.text("hush-hush");
        assert_eq!(read.admin.secret, Some(Secret::new(masked.clone())));
        let settings = &read.videoroom.rooms[0].settings;
        assert_eq!(settings[0].1, Secret::new(masked));
        assert_eq!(settings[1].1, Secret::new("6"));
    }

    #[test]
    fn a_configuration_is_read_as_it_was_written() {
        let config = Config::default();
        let value = written(&config, &mut Mask::new([3; 16]));
        let read: Config = serde_json::from_value(value).unwrap();
        assert_eq!(read, config);
    }
}
