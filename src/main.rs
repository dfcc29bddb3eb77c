//! The gateway's executable: arguments in, exit status out.

use std::process::ExitCode;
use std::sync::Arc;

use bifrons::config::Config;
use bifrons::platform::glommio::boot::Boot;
use bifrons::shard::Shard;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("bifrons {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    tracing_subscriber::fmt().init();
    let boot = Boot {
        config: Arc::new(Config::default()),
        reload: Box::new(|| Ok(Config::default())),
        reopen_logs: Box::new(|| {}),
    };
    boot.run(Shard::new)
}
