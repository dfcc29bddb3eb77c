//! The command line: flags in, a checked configuration out. Reads the configuration files.
//!
//! Every flag but those that choose files is the name of a key, so that a flag and a line of a
//! file can never mean different things.

mod flags;

use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bifrons::config::{Config, ConfigError, Overrides, Pem, Secret, Warning, WarningKind};
use bifrons::wire::tls::Identity;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use self::flags::{FLAGS, SWITCHES, Takes};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Start {
    /// Look at the host instead, and say what is found.
    Doctor(Form),
    /// Start with this configuration; the warnings are for the log, once there is one.
    Gateway(Box<Config>, Vec<Warning>),
    /// Print this text on standard output and end well.
    Print(String),
}

/// How something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Text,
}

/// Why the gateway does not start, and what to do about it; one line on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartError {
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A value from outside may hold a line break; the answer is one line all the same.
        let line = format!("{}: {}", self.message, self.remedy);
        f.write_str(&line.replace(|c: char| c.is_control(), " "))
    }
}

/// Reads the command line and the files that it names.
///
/// # Errors
///
/// When a flag is not understood, a file cannot be read, or a value makes no sense.
pub(crate) fn load(args: impl IntoIterator<Item = OsString>) -> Result<Start, StartError> {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        // Help and version come as errors that belong on standard output.
        Err(text) if !text.use_stderr() => return Ok(Start::Print(text.render().to_string())),
        Err(error) => return Err(refused(&error)),
    };
    if let Some(doctor) = matches.subcommand_matches("doctor") {
        let is_json = doctor.get_flag("json");
        return Ok(Start::Doctor(if is_json { Form::Json } else { Form::Text }));
    }
    let path = |name: &str| matches.get_one::<PathBuf>(name).map(PathBuf::as_path);
    let (mut config, mut warnings) = read(path("config"), path("configs-folder"))?;
    let overrides = overrides(&matches, &mut warnings);
    warnings.extend(config.apply(&overrides).map_err(nonsense)?);
    read_certificates(&mut config, &mut warnings)?;
    Ok(Start::Gateway(Box::new(config), warnings))
}

fn command() -> Command {
    let path = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .value_parser(clap::value_parser!(PathBuf))
    };
    let command = Command::new("bifrons")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A WebRTC gateway that speaks the Janus API")
        .arg(
            path("config")
                .short('C')
                .value_name("FILE")
                .help("Janus' .jcfg file, or a .toml file"),
        )
        .arg(
            path("configs-folder")
                .short('F')
                .value_name("DIR")
                .help("Folder of .jcfg files"),
        );
    let doctor = Command::new("doctor")
        .about("Checks this host against what tuning/ advises, and says what to do")
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("For machines"),
        );
    let command = command.subcommand(doctor).disable_help_subcommand(true);
    FLAGS.iter().fold(command, |command, flag| {
        let arg = Arg::new(flag.long)
            .long(flag.long)
            .short(flag.short)
            .help(flag.help);
        command.arg(match flag.takes {
            Takes::Nothing(_) => arg.action(ArgAction::SetTrue),
            Takes::One(name) => arg.value_name(name).allow_hyphen_values(true),
            Takes::Several(name) => arg.value_name(name).action(ArgAction::Append),
            Takes::Maybe(name) => arg
                .value_name(name)
                .num_args(0..=1)
                .default_missing_value("1"),
        })
    })
}

/// One line of clap's report, which has many.
fn refused(error: &clap::Error) -> StartError {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let message = match (named(ContextKind::InvalidArg), error.kind()) {
        (Some(flag), ErrorKind::UnknownArgument) => format!("{flag} is not understood"),
        (None, ErrorKind::InvalidSubcommand) => {
            let word = named(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("{word} is not understood")
        }
        (Some(flag), ErrorKind::InvalidValue) => format!("{flag} needs a value"),
        (Some(flag), ErrorKind::ArgumentConflict) => format!("{flag} is given twice"),
        _ => {
            let report = error.to_string();
            let first = report.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    };
    StartError {
        message,
        remedy: "`bifrons --help` lists the flags".to_owned(),
    }
}

fn overrides(matches: &ArgMatches, warnings: &mut Vec<Warning>) -> Overrides {
    let mut overrides = Overrides::default();
    for flag in FLAGS {
        let name = format!("--{}", flag.long);
        let values: Vec<String> = match flag.takes {
            Takes::Nothing(value) => {
                let is_given = matches.get_flag(flag.long);
                is_given.then(|| value.to_owned()).into_iter().collect()
            }
            Takes::One(_) | Takes::Several(_) | Takes::Maybe(_) => matches
                .get_many(flag.long)
                .unwrap_or_default()
                .cloned()
                .collect(),
        };
        if flag.key.is_empty() && !values.is_empty() {
            warnings.push(Warning {
                at: None,
                key: name,
                kind: WarningKind::Ignored,
                message: "has no effect: a service manager does this".to_owned(),
            });
            continue;
        }
        let switch = SWITCHES.iter().find(|(long, _)| *long == flag.long);
        for value in values {
            if let Some((_, key)) = switch {
                overrides.set(&name, key, "true");
            }
            overrides.set(&name, flag.key, value);
        }
    }
    overrides
}

fn read(file: Option<&Path>, folder: Option<&Path>) -> Result<(Config, Vec<Warning>), StartError> {
    let is_toml = |path: &Path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    };
    match (file, folder) {
        (None, None) => Ok((Config::default(), Vec::new())),
        (Some(file), None) if is_toml(file) => {
            Config::from_toml(&file.display().to_string(), &text_of(file)?).map_err(nonsense)
        }
        (Some(file), Some(_)) if is_toml(file) => Err(StartError {
            message: format!("{} holds the whole configuration", file.display()),
            remedy: "give either it or --configs-folder".to_owned(),
        }),
        (file, folder) => read_janus(file, folder),
    }
}

/// Reads the core's file and the files of modules, from the folder that is named by the flag, by
/// the core's file, or by where that file is.
fn read_janus(
    file: Option<&Path>,
    folder: Option<&Path>,
) -> Result<(Config, Vec<Warning>), StartError> {
    let core = match (file, folder) {
        (Some(file), _) => file.to_owned(),
        (None, Some(folder)) => folder.join("janus.jcfg"),
        (None, None) => unreachable!("read: one of them is given"),
    };
    let beside = core.parent().unwrap_or(Path::new("")).to_owned();
    let core_name = core.display().to_string();
    let core_text = text_of(&core)?;
    let include = |path: &str| {
        let from = folder.unwrap_or(&beside).join(path);
        std::fs::read_to_string(&from).map_err(|error| error.to_string())
    };
    let named = Config::configs_folder(&core_name, &core_text, &include).map_err(nonsense)?;
    let modules = match (folder, named) {
        (Some(folder), _) => folder.to_owned(),
        (None, Some(named)) => PathBuf::from(named),
        (None, None) => beside.clone(),
    };
    let mut files = vec![(core_name, core_text)];
    for path in modules_of(&modules)? {
        files.push((path.display().to_string(), text_of(&path)?));
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    Config::from_jcfg(&files, &include).map_err(nonsense)
}

/// The files of transports, plugins and so on in a folder, in the order of their names.
fn modules_of(folder: &Path) -> Result<Vec<PathBuf>, StartError> {
    let unreadable = |error| unreadable(folder, &error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with("janus.") && name.ends_with(".jcfg") && name != "janus.jcfg" {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn text_of(path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

/// Reads the certificates of TLS and their keys, and checks that they can be used.
fn read_certificates(config: &mut Config, warnings: &mut Vec<Warning>) -> Result<(), StartError> {
    for (tls, key) in [
        (&mut config.http.tls, "http.cert_key"),
        (&mut config.ws.tls, "ws.cert_key"),
    ] {
        let (Some(cert_file), Some(key_file)) = (&tls.cert, &tls.key) else {
            continue;
        };
        let chain = text_of(cert_file)?;
        let text = text_of(key_file)?;
        let mode = std::fs::metadata(key_file)
            .map_err(|error| unreadable(key_file, &error))?
            .permissions()
            .mode();
        if mode & 0o004 != 0 {
            return Err(StartError {
                message: format!("everybody may read the key {}", key_file.display()),
                remedy: "take the permission away: chmod o-r".to_owned(),
            });
        }
        if mode & 0o040 != 0 {
            warnings.push(Warning {
                at: None,
                key: key.to_owned(),
                kind: WarningKind::Suspicious,
                message: format!("the group of {} may read it", key_file.display()),
            });
        }
        Identity::from_pem(&chain, &text).map_err(|error| StartError {
            message: format!("{}: {error}", cert_file.display()),
            remedy: "name a certificate with its key, both PEM".to_owned(),
        })?;
        let key = Secret::new(text);
        tls.pem = Some(Pem { chain, key });
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> StartError {
    let remedies = [
        (
            std::io::ErrorKind::NotFound,
            "name a file or folder that exists",
        ),
        (
            std::io::ErrorKind::PermissionDenied,
            "let the gateway's user read it",
        ),
        (std::io::ErrorKind::InvalidData, "save it as UTF-8"),
    ];
    let remedy = remedies.iter().find(|(kind, _)| *kind == error.kind());
    let remedy = remedy.map_or("make it readable", |(_, remedy)| remedy);
    StartError {
        message: format!("cannot read {} ({error})", path.display()),
        remedy: remedy.to_owned(),
    }
}

fn nonsense(error: ConfigError) -> StartError {
    StartError {
        message: error.to_string(),
        remedy: "docs/configuration.md lists keys and values".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_flags_the_built_in_configuration_starts() {
        let (config, warnings) = started("");

        assert_eq!(config, Config::default());
        assert_eq!(warnings, []);
    }

    #[test]
    fn flags_set_what_they_name() {
        let (config, warnings) = started(
            "--http 127.0.0.1:9000 --admin 127.0.0.1:9001 --admin-secret s --api-secret a \
             --media-ip 127.0.0.1 --media-ip ::1 --media-port 30000 --shards 2 --log debug \
             --log-format json",
        );

        assert_eq!(warnings, []);
        assert_eq!(config.http.bind, ["127.0.0.1:9000".parse().unwrap()]);
        assert!(config.admin.enabled);
        assert_eq!(config.admin.bind, ["127.0.0.1:9001".parse().unwrap()]);
        assert_eq!(config.media.ips.len(), 2);
        assert_eq!(config.media.port_of(1), 30_001);
        assert_eq!(config.shards, Some(2));
        assert_eq!(config.log.level, bifrons::config::LogLevel::Debug);
        assert_eq!(config.log.format, bifrons::config::LogFormat::Json);
    }

    #[test]
    fn janus_flags_are_taken_and_those_without_effect_are_said() {
        let (config, warnings) = started(
            "-b -p /run/j.pid -N -L /log -R SIGUSR1 -l -H / -i 192.0.2.1 -P /p -c /c -k /k -K x \
             -S s:1 -1 192.0.2.9,192.0.2.8 -2 -E eth0 -X vmnet -6 -O -f -I -T -Q 300 -t 2 -W 4 \
             -r 20000-40000 -B 100 -n name -s 30 -m 10 -d 7 -D -o -M -a secret -A \
             --token-auth-secret k -e -w --log-stdout",
        );

        assert_eq!(
            config.general.local_address,
            Some("192.0.2.1".parse().unwrap())
        );
        assert_eq!(config.media.nat_1_1_mapping.len(), 2);
        assert_eq!(config.media.port_base, Some(20_000));
        assert_eq!(config.general.server_name, "name");
        assert!(config.media.full_trickle && config.media.ipv6 && config.media.ice_lite);
        let said: Vec<String> = warnings
            .iter()
            .filter_map(|w| w.to_string().split_once(':').map(|p| p.0.to_owned()))
            .collect();
        assert_eq!(
            said,
            [
                "--cwd-path",
                "--daemon",
                "--pid-file",
                "--check-openfiles-limit",
                "--plugins-folder",
                "--cert-pwd",
                "--stun-server",
                "--ice-tcp",
                "--debug-timestamps",
                "--debug-locks",
                "--no-webrtc-encryption",
                "--min-nack-queue",
                "--twcc-period",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_one_line_with_the_remedy() {
        check_refused(
            "--htpp 127.0.0.1:1",
            "--htpp is not understood: `bifrons --help` lists",
        );
        check_refused(
            "--http",
            "--http <IP:PORT> needs a value: `bifrons --help` lists",
        );
        check_refused(
            "--http here",
            "--http: `here` cannot be read; write it like 127.0.0.1:8088",
        );
        check_refused("--shards 0", "--shards: must be from 1 to 255, not `0`");
        check_refused(
            "-C /nowhere/x.toml",
            "cannot read /nowhere/x.toml (No such file or dir",
        );
        check_refused(
            "-F /nowhere",
            "cannot read /nowhere/janus.jcfg (No such file or direct",
        );
        check_refused(
            "-F /nowhere -C x.toml",
            "x.toml holds the whole configuration: give eit",
        );
        check_refused("stray", "stray is not understood");
    }

    #[test]
    fn the_doctor_is_no_start() {
        for (line, form) in [("doctor", Form::Text), ("doctor --json", Form::Json)] {
            match parse(line) {
                Ok(Start::Doctor(found)) => assert_eq!(found, form),
                other => panic!("{other:?}"),
            }
        }
        check_refused("doctor --jason", "--jason is not understood");
    }

    #[test]
    fn version_and_help_are_printed() {
        let version = format!("bifrons {}\n", env!("CARGO_PKG_VERSION"));
        for (flag, expected) in [("-V", version.as_str()), ("--help", "--media-ip <IP>")] {
            match parse(flag) {
                Ok(Start::Print(text)) => assert!(text.contains(expected), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_folder_of_janus_files_is_read() {
        let folder = std::env::temp_dir().join(format!("bifrons-cli-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("janus.jcfg", "@include \"more\"");
        write("more", "general: { server_name = \"included\" }");
        write(
            "janus.transport.http.jcfg",
            "general: { port = 9000, ip = \"127.0.0.1\" }",
        );
        write("notes.txt", "{");
        let shown = folder.display();

        let (config, _) = started(&format!("-F {shown} -C {shown}/janus.jcfg"));
        let (alone, _) = started(&format!("-C {shown}/janus.jcfg"));
        let (flagged, _) = started(&format!("-F {shown} -n flag"));
        std::fs::remove_dir_all(&folder).unwrap();

        assert_eq!(config.general.server_name, "included");
        assert_eq!(config.http.bind, ["127.0.0.1:9000".parse().unwrap()]);
        assert_eq!(alone, config);
        assert_eq!(flagged.general.server_name, "flag");
    }

    fn parse(line: &str) -> Result<Start, StartError> {
        load(
            std::iter::once("bifrons")
                .chain(line.split_whitespace())
                .map(OsString::from),
        )
    }

    fn started(line: &str) -> (Config, Vec<Warning>) {
        match parse(line) {
            Ok(Start::Gateway(config, warnings)) => (*config, warnings),
            other => panic!("{other:?}"),
        }
    }

    fn check_refused(line: &str, expected: &str) {
        let shown = parse(line).unwrap_err().to_string();
        assert!(shown.starts_with(expected), "{shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
}
