//! Keys of plugins.

use super::special::remote_ports;
use super::{Key, set};
use crate::config::value::Secret;

pub(super) const KEYS: &[Key] = &[
    set(
        "echotest/general.events",
        "echotest.events",
        field!(flag echotest.events),
    ),
    set(
        "videoroom/general.admin_key",
        "videoroom.admin_key",
        field!(secret videoroom.admin_key),
    ),
    set(
        "videoroom/general.lock_rtp_forward",
        "videoroom.lock_rtp_forward",
        field!(flag videoroom.lock_rtp_forward),
    ),
    set(
        "videoroom/general.events",
        "videoroom.events",
        field!(flag videoroom.events),
    ),
    set(
        "videoroom/general.string_ids",
        "videoroom.string_ids",
        field!(flag videoroom.string_ids),
    ),
    set("", "videoroom.remote_ports", remote_ports),
];
