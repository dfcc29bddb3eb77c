//! The gateway as a process of its own, which is this test once more.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bifrons::base::clock::{Monotonic, Now};
use bifrons::base::id::ConnId;
use bifrons::config::{Config, RoomConfig, Runtime, Secret, TokenAuth};
use bifrons::driver::{Core, Counters};
use bifrons::platform::boot::Boot;
use bifrons::shard::{Input, Outbox, Shard};

use super::SECRETS;

const FOLDER: &str = "BIFRONS_TEST_JOURNAL";
/// Of a gateway whose manner is `short`: what its journal takes, and its tail.
pub(crate) const JOURNAL_BYTES: u64 = 48 << 10;
pub(crate) const TAIL_BYTES: u64 = 256 << 10;

const SETTINGS: &str = "BIFRONS_TEST_SETTINGS";

/// The gateway's process, from outside.
pub(crate) struct Server {
    process: Child,
    folder: PathBuf,
    pub(crate) rest: SocketAddr,
    pub(crate) socket: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Server {
    /// Starts the gateway; `None` where the host does not let it.
    pub(crate) fn start(runtime: Runtime, manner: &str) -> Option<Self> {
        let name = format!(
            "bifrons-journal-{runtime:?}-{manner}-{}",
            std::process::id()
        );
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        let [rest, socket, admin] = [(); 3].map(|()| free_address());
        let ports = [rest, socket, admin].map(|address| address.port().to_string());
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serves_when_asked", "--nocapture"])
            .env(FOLDER, &folder)
            .env(
                SETTINGS,
                format!("{runtime:?} {manner} {}", ports.join(" ")),
            )
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self {
            process,
            folder,
            rest,
            socket,
            admin,
        };
        for _ in 0..1_000 {
            if TcpStream::connect(server.admin).is_ok() {
                return Some(server);
            }
            if let Some(status) = server.process.try_wait().unwrap() {
                eprintln!("skipped: the gateway does not start here: {status}");
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the gateway does not listen");
    }

    /// Sends something to the REST API, and waits for whatever comes.
    pub(crate) fn send(&self, text: &str) {
        let mut stream = TcpStream::connect(self.rest).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let _ = stream.read(&mut [0; 100]);
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.process.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Where its journal is.
    pub(crate) fn journal_path(&self) -> PathBuf {
        let files = std::fs::read_dir(&self.folder).unwrap();
        let mut paths = files.map(|file| file.unwrap().path());
        let path = paths.find(|path| path.extension().is_some_and(|it| it == "journal"));
        path.expect("there is a journal")
    }

    /// Kills it as the kernel does; says where its journal is left.
    pub(crate) fn kill(mut self) -> PathBuf {
        self.signal("KILL");
        self.process.wait().unwrap();
        self.folder.clone()
    }

    /// Stops it as an operator does; says what is in its journal.
    pub(crate) fn stop(self) -> Vec<u8> {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for its end; says what is in its journal.
    pub(crate) fn wait(mut self) -> Vec<u8> {
        self.process.wait().unwrap();
        let file = std::fs::read(self.journal_path()).unwrap();
        if std::env::var_os("BIFRONS_KEEP_JOURNAL").is_none() {
            std::fs::remove_dir_all(&self.folder).unwrap();
        }
        file
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

fn free_address() -> SocketAddr {
    let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    socket.local_addr().unwrap()
}

/// Is the gateway, if that is wanted of this process.
pub(crate) fn serve_if_asked() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let settings = std::env::var(SETTINGS).unwrap();
    let [runtime, manner, rest, socket, admin] =
        settings.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let local = |port: &str| SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let mut config = Config::default();
    config.journal.folder = Some(folder.into());
    if manner == "short" {
        config.journal.size = JOURNAL_BYTES;
        config.journal.tail = TAIL_BYTES;
    }
    config.runtime = match runtime {
        "Glommio" => Runtime::Glommio,
        _ => Runtime::Uring,
    };
    config.shards = Some(2);
    config.drain_timeout = Duration::from_millis(300);
    config.http.bind = vec![local(rest)];
    config.http.ws_path = Some("/ws".to_owned());
    config.ws.bind = vec![local(socket)];
    config.admin.enabled = true;
    config.admin.bind = vec![local(admin)];
    config.admin.secret = Some(Secret::new(SECRETS[1]));
    config.general.api_secret = Some(Secret::new(SECRETS[0]));
    config.general.token_auth = TokenAuth::Stored;
    config.media.ips = vec![local(rest).ip()];
    let setting = |name: &str, value: &str| (name.to_owned(), Secret::new(value));
    config.videoroom.rooms = vec![RoomConfig {
        id: "1234".to_owned(),
        settings: vec![setting("pin", SECRETS[2]), setting("secret", SECRETS[3])],
        dummy_streams: None,
    }];
    let mut again = config.clone();
    again.general.server_name = "Another".to_owned();
    let boot = Boot {
        config: Arc::new(config),
        reload: Box::new(move || Ok(again.clone())),
        reopen_logs: Box::new(|| {}),
        log_drops: None,
        log_level: None,
    };
    let status = match manner {
        "fragile" => {
            // What it says is of no interest.
            std::panic::set_hook(Box::new(|_| {}));
            boot.run(|setup, now| Fragile(Shard::new(setup, now)))
        }
        _ => boot.run(Shard::new),
    };
    let is_well = status == ExitCode::SUCCESS;
    std::process::exit(i32::from(!is_well));
}

/// A shard that panics when it is asked to.
struct Fragile(Shard);

impl Core for Fragile {
    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) {
        if let Input::TcpBytes { bytes, .. } = input {
            assert!(!bytes.starts_with(b"GET /janus/panic"), "as it was asked");
        }
        self.0.handle(now, input, out);
    }

    fn flush(&mut self, now: Now, out: &mut Outbox) {
        self.0.flush(now, out);
    }

    fn pending(&self, conn: ConnId) -> &[u8] {
        self.0.pending(conn)
    }

    fn deadline(&self) -> Option<Monotonic> {
        self.0.deadline()
    }

    fn is_drained(&self) -> bool {
        self.0.is_drained()
    }

    fn report(&mut self, counters: &Counters) {
        self.0.report(counters);
    }
}
