//! The gateway's executable: arguments in, exit status out.

mod cli;

use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use bifrons::config::{Config, Warning};
use bifrons::platform::boot::{Boot, EXIT_CONFIG};
use bifrons::platform::doctor;
use bifrons::platform::log::{self, Log};
use bifrons::shard::Shard;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::load(std::env::args_os()) {
        Ok(cli::Start::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(cli::Start::Doctor(form)) => examine(form),
        Ok(cli::Start::Gateway(config, warnings)) => run(*config, &warnings),
        Err(error) => refuse(&error.to_string()),
    }
}

/// Looks at the host; fails when the gateway would not run well on it at all.
fn examine(form: cli::Form) -> ExitCode {
    let findings = doctor::examine();
    match form {
        cli::Form::Json => print!("{}", doctor::json(&findings)),
        cli::Form::Text => print!("{}", doctor::text(&findings)),
    }
    if doctor::is_fit(&findings) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(config: Config, warnings: &[Warning]) -> ExitCode {
    let log = match log::init(&config.log) {
        Ok(log) => Rc::new(log),
        Err(error) => {
            let file = config
                .log
                .to_file
                .as_deref()
                .unwrap_or(Path::new("standard output"));
            let file = file.display();
            return refuse(&format!(
                "cannot log to {file} ({error}): name another file"
            ));
        }
    };
    warn(&log, warnings);
    let (reload_log, reopen_log) = (Rc::clone(&log), Rc::clone(&log));
    let boot = Boot {
        config: Arc::new(config),
        reload: Box::new(move || reload(&reload_log)),
        reopen_logs: Box::new(move || reopen_log.reopen()),
        log_drops: Some(log.drop_counts()),
        log_level: Some(log.level_switch()),
    };
    let status = boot.run(Shard::new);
    log.finish();
    status
}

/// Reads the files again, with the flags of the start over them.
fn reload(log: &Log) -> Result<Config, String> {
    match cli::load(std::env::args_os()) {
        Ok(cli::Start::Gateway(config, warnings)) => {
            warn(log, &warnings);
            Ok(*config)
        }
        Ok(cli::Start::Doctor(_) | cli::Start::Print(_)) => {
            unreachable!("the process would have ended at its start")
        }
        Err(error) => Err(error.to_string()),
    }
}

fn warn(log: &Log, warnings: &[Warning]) {
    for warning in warnings {
        log.warn_at_start(&warning.to_string());
    }
}

/// Says in one line why there is no start.
fn refuse(why: &str) -> ExitCode {
    eprintln!("bifrons: {why}");
    ExitCode::from(EXIT_CONFIG)
}
