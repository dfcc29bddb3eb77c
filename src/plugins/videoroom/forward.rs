//! Requests that have a publisher's packets sent elsewhere as plain RTP: RTP forwarders, and
//! remotizations for other gateways. How they are read.

use std::net::{IpAddr, SocketAddr};

use base64ct::{Base64, Encoding as _};
use serde_json::Value;

use crate::config::VideoRoomConfig;
use crate::gateway::outside::{Family, Sought};
use crate::media::{MASTER_SIZE, SrtpKeys, SrtpSuite};
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::fields::Fields;
use crate::plugins::videoroom::ids::Id;
use crate::plugins::videoroom::ids::IdForm;
use crate::plugins::videoroom::manage::RoomAction;

/// Streams of one request; more are refused.
const STREAMS_MAX: usize = 128;

/// Encodings that a request can name ports for.
pub(super) const ENCODINGS: usize = 3;

/// What is wanted of a publisher, on the shard where its packets are.
#[derive(Clone, Debug)]
pub(super) enum Export {
    /// New forwarders.
    Forward(Forward),
    /// A new remotization.
    Publish(Remotize),
    /// The end of a forwarder.
    StopForward(u32),
    /// The end of a remotization.
    Unpublish(Box<str>),
}

/// `rtp_forward`.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    pub(super) host: Host,
    pub(super) srtp: Option<SrtpKeys>,
    pub(super) form: Form,
}

/// The two forms of `rtp_forward`.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// The first stream of each kind, as in Janus 0.x.
    Legacy {
        audio: Option<Target>,
        video: Option<Target>,
        data: Option<Target>,
    },
    Streams(Vec<StreamForward>),
}

/// Where one stream goes.
#[derive(Clone, Debug)]
pub(super) struct StreamForward {
    pub(super) mid: Box<str>,
    /// If not where all go.
    pub(super) host: Option<Host>,
    pub(super) target: Target,
}

/// Ports and numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    pub(super) legs: [Option<Leg>; ENCODINGS],
    pub(super) rtcp_port: Option<u16>,
    /// One stream of the best encoding.
    pub(super) is_best: bool,
}

/// Where one encoding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) port: u16,
    pub(super) pt: Option<u8>,
    pub(super) ssrc: Option<u32>,
}

/// `publish_remotely`.
#[derive(Clone, Debug)]
pub(super) struct Remotize {
    pub(super) remote_id: Box<str>,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) rtcp_port: Option<u16>,
    pub(super) srtp: Option<SrtpKeys>,
}

/// A host that a client has named.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) name: Box<str>,
    pub(super) sought: Sought,
    /// Once it is known.
    pub(super) address: Option<IpAddr>,
}

impl Host {
    fn read(fields: &Fields<'_>) -> Result<Option<Self>, Fault> {
        let name = fields.may_text("host")?;
        let family = match fields.may_text("host_family")? {
            None => Family::Any,
            Some("ipv4") => Family::V4,
            Some("ipv6") => Family::V6,
            Some(other) => {
                let text = format!("Unsupported protocol family ({other})");
                return Err(Fault::element(text));
            }
        };
        let Some(name) = name else {
            return Ok(None);
        };
        let mut host = Self {
            name: name.into(),
            sought: Sought::Host(family),
            address: None,
        };
        // What is an address already needs no looking up.
        if let Ok(address) = name.parse() {
            host.found(Some(address))?;
        }
        Ok(Some(host))
    }

    /// Takes in what the name stands for.
    ///
    /// # Errors
    ///
    /// 430 if it is nothing that will do.
    pub(super) fn found(&mut self, address: Option<IpAddr>) -> Result<(), Fault> {
        let family = match self.sought {
            Sought::Host(family) => family,
            Sought::Interface | Sought::Mapped { .. } => Family::Any,
        };
        self.address = address.filter(|address| family.has(*address));
        if self.address.is_none() {
            return Err(self.unresolved());
        }
        Ok(())
    }

    pub(super) fn unresolved(&self) -> Fault {
        match self.sought {
            Sought::Host(_) | Sought::Mapped { .. } => {
                Fault::element(format!("Could not resolve address ({})...", self.name))
            }
            Sought::Interface => Fault::new(
                Code::Unknown,
                "Invalid network interface configuration for remote publisher",
            ),
        }
    }

    /// An interface of this host, or its address.
    pub(super) fn interface(name: &str) -> Self {
        Self {
            name: name.into(),
            sought: Sought::Interface,
            address: name.parse().ok(),
        }
    }

    /// The receiver at a port.
    pub(super) fn at(&self, port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address?, port))
    }
}

impl Export {
    /// The hosts that are yet to be looked up.
    pub(super) fn hosts_mut(&mut self) -> Vec<&mut Host> {
        let mut hosts = Vec::new();
        match self {
            Self::Forward(forward) => {
                hosts.push(&mut forward.host);
                if let Form::Streams(streams) = &mut forward.form {
                    hosts.extend(streams.iter_mut().filter_map(|stream| stream.host.as_mut()));
                }
            }
            Self::Publish(remotize) => hosts.push(&mut remotize.host),
            Self::StopForward(_) | Self::Unpublish(_) => {}
        }
        hosts.retain(|host| host.address.is_none());
        hosts
    }
}

/// Reads a request that is about a publisher's exports; `None` if it is another one.
pub(super) fn read(
    name: &str,
    fields: &Fields<'_>,
    config: &VideoRoomConfig,
) -> Option<Result<RoomAction, Fault>> {
    let export = match name {
        "rtp_forward" => forward(fields),
        "stop_rtp_forward" => stop_forward(fields),
        "publish_remotely" => remotize(fields),
        "unpublish_remotely" => unpublish(fields),
        "listremotes" | "list_remotes" => {
            return Some(
                fields
                    .need_id("publisher_id")
                    .map(|id| RoomAction::ListRemotes { id }),
            );
        }
        _ => return None,
    };
    let is_locked = config.lock_rtp_forward && config.admin_key.is_some();
    let is_guarded = is_locked && name != "unpublish_remotely";
    let admin_key = config.admin_key.as_ref().filter(|_| is_guarded);
    Some(export.and_then(|(id, export)| {
        fields
            .shown("admin_key")
            .check(admin_key.map(|key| key.expose()))?;
        Ok(RoomAction::Export {
            id,
            export: Box::new(export),
            is_trusted: is_guarded,
        })
    }))
}

fn forward(fields: &Fields<'_>) -> Result<(Id, Export), Fault> {
    let host = Host::read(fields)?.ok_or_else(|| Fault::missing("host"))?;
    let is_best = fields.may_flag("simulcast")?.unwrap_or(false);
    let srtp = srtp(fields)?;
    let form = match fields.may_array("streams")? {
        Some(array) if array.len() > STREAMS_MAX => {
            return Err(Fault::element("Invalid element value (too many streams)"));
        }
        Some(array) => {
            let streams = array.iter().map(stream_forward);
            Form::Streams(streams.collect::<Result<_, _>>()?)
        }
        None => {
            let legs = |names: [[&str; 3]; ENCODINGS], rtcp: &str| {
                let mut target = Target {
                    is_best,
                    ..Target::default()
                };
                for (leg, [port, pt, ssrc]) in target.legs.iter_mut().zip(names) {
                    *leg = read_leg(fields, port, pt, ssrc)?.filter(|leg| leg.port > 0);
                }
                target.rtcp_port = may_port(fields, rtcp)?;
                let has_any = target.legs.iter().any(Option::is_some);
                Ok::<_, Fault>(has_any.then_some(target))
            };
            let none = ["", "", ""];
            let video = [
                ["video_port", "video_pt", "video_ssrc"],
                ["video_port_2", "video_pt_2", "video_ssrc_2"],
                ["video_port_3", "video_pt_3", "video_ssrc_3"],
            ];
            Form::Legacy {
                audio: legs(
                    [["audio_port", "audio_pt", "audio_ssrc"], none, none],
                    "audio_rtcp_port",
                )?,
                video: legs(video, "video_rtcp_port")?,
                data: legs([["data_port", "", ""], none, none], "")?,
            }
        }
    };
    let id = fields.need_id("publisher_id")?;
    Ok((id, Export::Forward(Forward { host, srtp, form })))
}

fn stream_forward(item: &Value) -> Result<StreamForward, Fault> {
    let Value::Object(item) = item else {
        return Err(Fault::wrong_type("streams", "an array"));
    };
    let fields = Fields::new(item, IdForm::Numbers);
    let mid = fields.need_text("mid")?.into();
    let first = read_leg(&fields, "port", "pt", "ssrc")?;
    let first = first.ok_or_else(|| Fault::missing("port"))?;
    let second = read_leg(&fields, "port_2", "pt_2", "ssrc_2")?;
    let third = read_leg(&fields, "port_3", "pt_3", "ssrc_3")?;
    let is_set = |leg: &Leg| leg.port > 0;
    Ok(StreamForward {
        mid,
        host: Host::read(&fields)?,
        target: Target {
            legs: [
                Some(first).filter(is_set),
                second.filter(is_set),
                third.filter(is_set),
            ],
            rtcp_port: may_port(&fields, "rtcp_port")?,
            is_best: fields.may_flag("simulcast")?.unwrap_or(false),
        },
    })
}

/// Reads where one encoding goes; fields without a name are not there.
fn read_leg(fields: &Fields<'_>, port: &str, pt: &str, ssrc: &str) -> Result<Option<Leg>, Fault> {
    let number = may_number(fields, port, u64::from(u16::MAX))?;
    let pt = may_number(fields, pt, 127)?.filter(|pt| *pt > 0);
    let ssrc = may_number(fields, ssrc, u64::from(u32::MAX))?.filter(|ssrc| *ssrc > 0);
    Ok(number.map(|port| Leg {
        port: port as u16,
        pt: pt.map(|pt| pt as u8),
        ssrc: ssrc.map(|ssrc| ssrc as u32),
    }))
}

pub(super) fn may_port(fields: &Fields<'_>, name: &str) -> Result<Option<u16>, Fault> {
    let port = may_number(fields, name, u64::from(u16::MAX))?;
    Ok(port.filter(|port| *port > 0).map(|port| port as u16))
}

fn may_number(fields: &Fields<'_>, name: &str, max: u64) -> Result<Option<u64>, Fault> {
    if name.is_empty() {
        return Ok(None);
    }
    match fields.may_count(name)? {
        Some(number) if number > max => {
            let text = format!("Invalid element ({name} should be {max} at most)");
            Err(Fault::element(text))
        }
        number => Ok(number),
    }
}

fn stop_forward(fields: &Fields<'_>) -> Result<(Id, Export), Fault> {
    let id = fields.need_id("publisher_id")?;
    let stream = fields.may_count("stream_id")?;
    let stream = stream.ok_or_else(|| Fault::missing("stream_id"))?;
    let known = u32::try_from(stream).map_err(|_| no_stream(stream))?;
    Ok((id, Export::StopForward(known)))
}

fn remotize(fields: &Fields<'_>) -> Result<(Id, Export), Fault> {
    let remote_id = fields.need_text("remote_id")?.into();
    let host = Host::read(fields)?.ok_or_else(|| Fault::missing("host"))?;
    let port = may_number(fields, "port", u64::from(u16::MAX))?;
    let port = port.ok_or_else(|| Fault::missing("port"))? as u16;
    let rtcp_port = may_port(fields, "rtcp_port")?;
    let srtp = srtp(fields)?;
    let id = fields.need_id("publisher_id")?;
    if port == 0 {
        let text = "Invalid element (port must be a non-zero positive integer)";
        return Err(Fault::element(text));
    }
    let remotize = Remotize {
        remote_id,
        host,
        port,
        rtcp_port,
        srtp,
    };
    Ok((id, Export::Publish(remotize)))
}

fn unpublish(fields: &Fields<'_>) -> Result<(Id, Export), Fault> {
    let remote_id = fields.need_text("remote_id")?.into();
    let id = fields.need_id("publisher_id")?;
    Ok((id, Export::Unpublish(remote_id)))
}

/// Reads `srtp_suite` and `srtp_crypto`. One without the other would mean media in the clear that
/// somebody takes for encrypted.
pub(super) fn srtp(fields: &Fields<'_>) -> Result<Option<SrtpKeys>, Fault> {
    let suite = fields.may_count("srtp_suite")?.filter(|suite| *suite > 0);
    let crypto = fields
        .may_text("srtp_crypto")?
        .filter(|text| !text.is_empty());
    let (suite, crypto) = match (suite, crypto) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(Fault::missing("srtp_crypto")),
        (None, Some(_)) => return Err(Fault::missing("srtp_suite")),
        (Some(suite), Some(crypto)) => (suite, crypto),
    };
    let suite = match suite {
        32 => SrtpSuite::Tag32,
        80 => SrtpSuite::Tag80,
        other => return Err(Fault::element(format!("Invalid SRTP suite ({other})"))),
    };
    let mut master = [0; MASTER_SIZE];
    match Base64::decode(crypto, &mut master) {
        Ok(bytes) if bytes.len() == MASTER_SIZE => Ok(Some(SrtpKeys { suite, master })),
        Ok(_) | Err(_) => Err(Fault::element(format!(
            "Invalid element (srtp_crypto should be {MASTER_SIZE} bytes in Base64)"
        ))),
    }
}

pub(super) fn no_stream(stream: u64) -> Fault {
    Fault::new(Code::NoSuchFeed, format!("No such stream ({stream})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_json(name: &str, body: &Value, config: &VideoRoomConfig) -> Result<RoomAction, Fault> {
        let Value::Object(body) = body else {
            unreachable!("requests are objects");
        };
        let fields = Fields::new(body, IdForm::Numbers);
        read(name, &fields, config).unwrap()
    }

    fn fault(name: &str, body: Value) -> String {
        let config = VideoRoomConfig::default();
        read_json(name, &body, &config).unwrap_err().text
    }

    fn forward_of(body: Value) -> Forward {
        let action = read_json("rtp_forward", &body, &VideoRoomConfig::default()).unwrap();
        let RoomAction::Export { export, .. } = action else {
            unreachable!("it is an export");
        };
        let Export::Forward(forward) = *export else {
            unreachable!("it is a forward");
        };
        forward
    }

    #[test]
    fn what_is_wrong_is_named_in_the_words_of_janus() {
        let host = "127.0.0.1";
        for (body, wanted) in [
            (json!({}), "Missing mandatory element (host)"),
            (
                json!({"host": 5}),
                "Invalid element type (host should be a string)",
            ),
            (
                json!({"host": host}),
                "Missing mandatory element (publisher_id)",
            ),
            (
                json!({"host": host, "streams": [{}]}),
                "Missing mandatory element (mid)",
            ),
            (
                json!({"host": host, "streams": [{"mid": "0"}]}),
                "Missing mandatory element (port)",
            ),
            (
                json!({"host": host, "host_family": "ipv6"}),
                "Could not resolve address (127.0.0.1)...",
            ),
            (
                json!({"host": host, "host_family": "ipv7"}),
                "Unsupported protocol family (ipv7)",
            ),
            (
                json!({"host": host, "srtp_suite": 55, "srtp_crypto": "a"}),
                "Invalid SRTP suite (55)",
            ),
            (
                json!({"host": host, "srtp_suite": 32}),
                "Missing mandatory element (srtp_crypto)",
            ),
        ] {
            assert_eq!(fault("rtp_forward", body), wanted);
        }
        let remote = json!({"remote_id": "a", "host": host, "port": 0, "publisher_id": 1});
        let wanted = "Invalid element (port must be a non-zero positive integer)";
        assert_eq!(fault("publish_remotely", remote), wanted);
        let far = json!({"publisher_id": 1, "stream_id": 1_u64 << 40});
        assert_eq!(
            fault("stop_rtp_forward", far),
            "No such stream (1099511627776)"
        );
    }

    #[test]
    fn a_wrong_key_is_refused_whatever_is_wrong_with_it() {
        for crypto in ["abc", "", "AAAA"] {
            let body = json!({"host": "a", "srtp_suite": 80, "srtp_crypto": crypto});
            assert!(
                fault("rtp_forward", body).contains("srtp_crypto"),
                "{crypto}"
            );
        }
        let body = json!({"host": "a", "srtp_suite": 80, "srtp_crypto": "A".repeat(40), "publisher_id": 1});
        assert_eq!(forward_of(body).srtp.unwrap().suite, SrtpSuite::Tag80);
    }

    #[test]
    fn both_forms_name_ports_of_encodings() {
        let new = forward_of(json!({
            "host": "h.example", "publisher_id": 1,
            "streams": [{"mid": "1", "port": 7, "port_3": 9, "pt_3": 97, "ssrc": 5, "rtcp_port": 8}],
        }));
        let Form::Streams(streams) = &new.form else {
            unreachable!("it has streams");
        };
        let target = &streams[0].target;
        let legs = target
            .legs
            .map(|leg| leg.map(|leg| (leg.port, leg.pt, leg.ssrc)));
        assert_eq!(
            legs,
            [Some((7, None, Some(5))), None, Some((9, Some(97), None))]
        );
        assert_eq!((target.rtcp_port, new.host.address), (Some(8), None));
        let old = forward_of(json!({
            "host": "192.0.2.1", "publisher_id": 1, "simulcast": true,
            "video_port": 7, "video_port_2": 8, "video_ssrc_2": 4, "data_port": 3,
        }));
        let Form::Legacy { audio, video, data } = old.form else {
            unreachable!("it has no streams");
        };
        let (video, data) = (video.unwrap(), data.unwrap());
        assert!(audio.is_none() && video.is_best);
        assert_eq!(
            video.legs[1],
            Some(Leg {
                port: 8,
                pt: None,
                ssrc: Some(4)
            })
        );
        assert_eq!(data.legs[0].unwrap().port, 3);
    }

    #[test]
    fn a_lock_asks_for_the_key_but_not_of_those_who_stop_remotizing() {
        let config = VideoRoomConfig {
            admin_key: Some(crate::config::Secret::new("k")),
            lock_rtp_forward: true,
            ..VideoRoomConfig::default()
        };
        let mut body = json!({
            "host": "192.0.2.1", "publisher_id": 1, "remote_id": "a", "port": 5, "stream_id": 1,
        });
        for name in ["rtp_forward", "stop_rtp_forward", "publish_remotely"] {
            let text = read_json(name, &body, &config).unwrap_err().text;
            assert_eq!(text, "Missing mandatory element (admin_key)");
        }
        assert!(read_json("unpublish_remotely", &body, &config).is_ok());
        body["admin_key"] = "k".into();
        assert!(read_json("rtp_forward", &body, &config).is_ok());
    }
}
