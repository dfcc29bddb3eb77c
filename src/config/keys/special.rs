//! Settings that need more than a field and a range.

use std::path::PathBuf;

use crate::base::json::Form;
use crate::config::load::{Draft, Listener};
use crate::config::read::Setting;
use crate::config::schema::LogLevel;
use crate::config::tree::{ConfigError, WarningKind};

pub(super) fn json_form(draft: &mut Draft, setting: &Setting<'_>) -> Result<Form, ConfigError> {
    const FORMS: [(&str, Form); 3] = [
        ("indented", Form::Indented),
        ("plain", Form::Plain),
        ("compact", Form::Compact),
    ];
    match setting.word(&FORMS) {
        Ok(form) => Ok(form),
        // Janus takes an unknown word as the default.
        Err(error) if draft.is_janus => {
            let message = format!("{}; compact is used", error.message);
            draft
                .warnings
                .push(setting.warn(WarningKind::Suspicious, message));
            Ok(Form::Compact)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn base_path(setting: &Setting<'_>) -> Result<String, ConfigError> {
    let text = setting.text()?;
    let trimmed = text.trim_end_matches('/');
    if trimmed.is_empty() && !text.is_empty() {
        return Ok("/".to_owned());
    }
    let is_path = trimmed.starts_with('/')
        && trimmed
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"?#%\"<>\\^`{|}".contains(&b))
        && !trimmed.contains("//");
    if !is_path {
        let message = format!("`{text}` is not a path; write it like /janus");
        return Err(setting.fail(message));
    }
    Ok(trimmed.to_owned())
}

pub(super) fn origin(setting: &Setting<'_>) -> Result<Option<String>, ConfigError> {
    let text = setting.filled()?.filter(|text| text != "*");
    // It becomes a header field.
    if text
        .as_ref()
        .is_some_and(|text| !text.bytes().all(|b| b.is_ascii_graphic()))
    {
        return Err(setting.fail("must be one origin, like https://app.example"));
    }
    Ok(text)
}

pub(super) fn recordings_folders(
    draft: &mut Draft,
    setting: &Setting<'_>,
) -> Result<(), ConfigError> {
    let folders = setting.list()?.into_iter().map(PathBuf::from);
    let folders: Vec<PathBuf> = folders.collect();
    // Where a process was started should not decide on where it writes.
    if let Some(relative) = folders.iter().find(|folder| !folder.is_absolute()) {
        let message = format!(
            "`{}` must be an absolute path; write it like /var/recordings",
            relative.display()
        );
        return Err(setting.fail(message));
    }
    draft.config.recordings.folders = folders;
    Ok(())
}

pub(super) fn recordings_tmp_ext(
    draft: &mut Draft,
    setting: &Setting<'_>,
) -> Result<(), ConfigError> {
    let text = setting.filled()?;
    let is_ending = |text: &String| {
        text.len() <= 16
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if let Some(text) = text.as_ref().filter(|text| !is_ending(text)) {
        let message = format!("`{text}` is no ending of a file; write it like tmp");
        return Err(setting.fail(message));
    }
    draft.config.recordings.tmp_ext = text;
    Ok(())
}

pub(super) fn interface(
    draft: &mut Draft,
    setting: &Setting<'_>,
    listener: Listener,
) -> Result<(), ConfigError> {
    let Some(text) = setting.filled()? else {
        return Ok(());
    };
    // Listening everywhere instead would open what was meant to be closed.
    let message = format!("`{text}` is the name of an interface; write its address as ip");
    let address = text.parse().map_err(|_| setting.fail(message))?;
    draft.listener(listener).ip.get_or_insert(address);
    Ok(())
}

pub(super) fn local_address(draft: &mut Draft, setting: &Setting<'_>) -> Result<(), ConfigError> {
    match setting.address() {
        Ok(address) => draft.config.general.local_address = address,
        Err(_) if draft.is_janus => {
            let message = "names of interfaces are not looked up; write the address";
            draft
                .warnings
                .push(setting.warn(WarningKind::NotServed, message));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

pub(super) fn log_rotate_sig(draft: &mut Draft, setting: &Setting<'_>) -> Result<(), ConfigError> {
    match setting.text()?.as_str() {
        "" | "SIGUSR1" => {}
        other => {
            let message = format!("SIGUSR1 reopens the log, not {other}");
            draft
                .warnings
                .push(setting.warn(WarningKind::NotServed, message));
        }
    }
    Ok(())
}

pub(super) fn debug_level(draft: &mut Draft, setting: &Setting<'_>) -> Result<(), ConfigError> {
    draft.config.log.level = match setting.number(0..=7u8)? {
        0 => LogLevel::Off,
        1 | 2 => LogLevel::Error,
        3 => LogLevel::Warn,
        4 => LogLevel::Info,
        5 | 6 => LogLevel::Debug,
        7.. => LogLevel::Trace,
    };
    Ok(())
}

pub(super) fn log_level(draft: &mut Draft, setting: &Setting<'_>) -> Result<(), ConfigError> {
    draft.config.log.level = setting.word(&[
        ("off", LogLevel::Off),
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ])?;
    Ok(())
}

/// `BASE-LAST`, or `BASE` alone; 0 is any free port.
pub(super) fn port_range(draft: &mut Draft, setting: &Setting<'_>) -> Result<(), ConfigError> {
    let (base, last) = ports(setting)?;
    // A range that begins at 0 begins at the first port that needs no privilege.
    draft.config.media.port_base = match (base, last) {
        (0, 0) => None,
        (0, _) => Some(1_024),
        (base, _) => Some(base),
    };
    draft.config.media.port_last = (last != 0).then_some(last);
    Ok(())
}

/// `FIRST-LAST`, two ports at least.
pub(super) fn remote_ports(draft: &mut Draft, setting: &Setting<'_>) -> Result<(), ConfigError> {
    let (first, last) = ports(setting)?;
    if first == 0 || last <= first {
        return Err(setting.fail("two ports at least are needed, the first above 0".to_owned()));
    }
    draft.config.videoroom.remote_ports = (first, last);
    Ok(())
}

fn ports(setting: &Setting<'_>) -> Result<(u16, u16), ConfigError> {
    let text = setting.text()?;
    let (base, last) = text.split_once('-').unwrap_or((&text, "0"));
    let read = |part: &str| part.trim().parse::<u16>().ok();
    let (Some(base), Some(last)) = (read(base), read(last)) else {
        let message = format!("`{text}` is not a range of ports; write it like 20000-40000");
        return Err(setting.fail(message));
    };
    if last != 0 && last < base {
        return Err(setting.fail(format!("the range {text} ends before it begins")));
    }
    Ok((base, last))
}

/// `libjanus_echotest.so` and `janus.plugin.echotest` mean the same.
pub(super) fn plugins_disable(draft: &mut Draft, setting: &Setting<'_>) -> Result<(), ConfigError> {
    let package = |name: String| match library(&name) {
        Some(short) => format!("janus.plugin.{short}"),
        None => name,
    };
    draft.config.plugins_disabled = setting.list()?.into_iter().map(package).collect();
    Ok(())
}

pub(super) fn transports_disable(
    draft: &mut Draft,
    setting: &Setting<'_>,
) -> Result<(), ConfigError> {
    for name in setting.list()? {
        match library(&name) {
            Some("http") => draft.http_disabled = true,
            Some("websockets") => draft.ws_disabled = true,
            Some(_) | None => {}
        }
    }
    Ok(())
}

pub(super) fn events_disable(draft: &mut Draft, setting: &Setting<'_>) -> Result<(), ConfigError> {
    for name in setting.list()? {
        match library(&name) {
            Some("sampleevh") => draft.post_disabled = true,
            Some("wsevh") => draft.wsevh_disabled = true,
            Some(_) | None => {}
        }
    }
    Ok(())
}

fn library(name: &str) -> Option<&str> {
    name.strip_prefix("libjanus_")?.strip_suffix(".so")
}
