//! `start_pcap` and its kin: what a handle's PeerConnection sends and receives is written to a file
//! in the one folder that the operator named.
//!
//! ```text
//! start ─► Opening ──made──► Open ──stop, or the handle is gone──► Closing ──written──► gone
//!             └──cannot be made──► gone                  (a write that fails ends it anywhere)
//! ```
//!
//! Invariant: one write of a capture is under way at most, so that the file is in order; what comes
//! meanwhile waits, up to a bound.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tracing::{info, warn};

use crate::base::clock::Now;
use crate::base::error::{ApiError, ErrorCode};
use crate::base::id::HandleRef;
use crate::base::json::Fields;
use crate::gateway::outside::{Content, FileOwner, Written};
use crate::gateway::reply::{self, Message, Reply};
use crate::gateway::request::Envelope;
use crate::gateway::session::Origin;
use crate::gateway::{Gateway, Key};
use crate::media::{PeerOwner, TapSpec};
use crate::wire::capture::CaptureForm;

/// How often what was captured is written out: a reader who follows the file sees it grow.
const PERIOD: Duration = Duration::from_millis(500);

/// Captures of one shard, each with packets that wait to be written.
const CAPTURES_MAX: usize = 16;

/// What may wait for the disk, for one capture: two seconds of 16 Mbit/s, both ways.
const WAITING_BYTES: usize = 8 << 20;

/// What one file may hold. A capture that was forgotten stops here.
const FILE_BYTES_MAX: u64 = 4 << 30;

const NAME_MAX: usize = 200;

/// What `start_pcap` or `start_text2pcap` asks for.
#[derive(Debug)]
pub(super) struct CaptureAsked {
    form: CaptureForm,
    folder: Option<String>,
    filename: Option<String>,
    truncate: Option<u64>,
}

/// One capture.
#[derive(Debug)]
pub(super) struct Capture {
    form: CaptureForm,
    path: PathBuf,
    stage: Stage,
    /// A write is under way.
    is_writing: bool,
    bytes: u64,
}

#[derive(Debug)]
enum Stage {
    Opening(Asked),
    Open,
    Closing(Option<Asked>),
}

/// Who is to be told.
#[derive(Debug)]
struct Asked {
    origin: Origin,
    transaction: Box<str>,
}

impl Asked {
    fn new(origin: Origin, request: &Envelope) -> Self {
        Self {
            origin,
            transaction: request.transaction.clone(),
        }
    }

    // Without the session, as Janus has it.
    fn success(&self) -> (Origin, Reply) {
        let success = Message::new("success").transaction(Some(&self.transaction));
        (self.origin, success.finish())
    }

    fn failure(&self, reason: &'static str) -> (Origin, Reply) {
        let fault = ApiError::new(ErrorCode::Unknown, reason);
        (
            self.origin,
            reply::error(None, Some(&self.transaction), &fault),
        )
    }
}

impl CaptureAsked {
    pub(super) fn parse(form: CaptureForm, fields: &Fields<'_>) -> Result<Self, ApiError> {
        let text = |name| Ok(fields.may_str(name)?.map(str::to_owned));
        Ok(Self {
            form,
            folder: text("folder")?,
            filename: text("filename")?,
            truncate: fields.may_u64("truncate")?,
        })
    }

    /// Where the file is to be: in the operator's folder or below it, by a name and nothing else.
    fn path(&self, root: &Path, drawn: u64) -> Result<PathBuf, ApiError> {
        let refused = |reason: &str| Err(ApiError::new(ErrorCode::Unknown, reason.to_owned()));
        let mut path = root.to_owned();
        if let Some(folder) = self.folder.as_deref().map(Path::new) {
            let below = folder.strip_prefix(root).unwrap_or(folder);
            let is_plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
            if !below.components().all(is_plain) {
                return refused("Captures are written to the configured folder only");
            }
            path.push(below);
        }
        let name = self.filename.clone().unwrap_or_else(|| {
            let (kind, ending) = match self.form {
                CaptureForm::Pcapng => ("pcap", "pcapng"),
                CaptureForm::Text => ("text2pcap", "txt"),
            };
            format!("bifrons-{kind}-{drawn}.{ending}")
        });
        let is_one = Path::new(&name).file_name() == Some(OsStr::new(&name));
        if !is_one || name.starts_with('.') || name.len() > NAME_MAX || name.contains('\0') {
            return refused("Invalid filename");
        }
        path.push(name);
        Ok(path)
    }
}

/// What members `handle_info` has of a capture.
pub(super) fn show(capture: &Capture, mut put: impl FnMut(&str, Value)) {
    let (is_on, file) = match capture.form {
        CaptureForm::Pcapng => ("dump-to-pcap", "pcap-file"),
        CaptureForm::Text => ("dump-to-text2pcap", "text2pcap-file"),
    };
    put(is_on, true.into());
    put(file, capture.path.to_string_lossy().into());
}

const fn owner_of(handle: HandleRef) -> PeerOwner {
    PeerOwner {
        session: handle.session,
        handle: handle.handle,
    }
}

impl Gateway {
    /// Begins a capture. The reply comes when the file is there.
    pub(super) fn start_capture(
        &mut self,
        now: Now,
        origin: Origin,
        handle: HandleRef,
        request: &Envelope,
        asked: &CaptureAsked,
    ) -> Result<(), ApiError> {
        let refused = |reason: &str| Err(ApiError::new(ErrorCode::Unknown, reason.to_owned()));
        let Some(root) = self.config.admin.capture_folder.clone() else {
            return refused("Captures are off: admin.capture_folder names no folder");
        };
        if let Some(capture) = self.captures.get(&handle) {
            return refused(match capture.form {
                CaptureForm::Pcapng => "pcap already started",
                CaptureForm::Text => "text2pcap already started",
            });
        }
        if self.captures.len() >= CAPTURES_MAX {
            return refused("Too many captures");
        }
        let path = asked.path(&root, self.rng.next_u64())?;
        let kept = match asked.truncate {
            None | Some(0) => usize::MAX,
            Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        let spec = TapSpec {
            form: asked.form,
            kept,
            waiting_bytes: WAITING_BYTES,
        };
        self.media.tap(now, owner_of(handle), spec);
        let mut begin = Vec::new();
        let name = format!("handle {}", handle.handle);
        let comment = format!("session {}, handle {}", handle.session, handle.handle);
        asked.form.begin(&name, &comment, &mut begin);
        let bytes = begin.len() as u64;
        let owner = FileOwner::Capture(handle);
        self.files.begin(owner, path.clone(), Content::New(begin));
        info!(path = %path.display(), "a capture begins");
        let capture = Capture {
            form: asked.form,
            path,
            stage: Stage::Opening(Asked::new(origin, request)),
            is_writing: true,
            bytes,
        };
        self.captures.insert(handle, capture);
        Ok(())
    }

    /// Ends a capture. The reply comes when all is in the file.
    pub(super) fn stop_capture(
        &mut self,
        now: Now,
        origin: Origin,
        handle: HandleRef,
        request: &Envelope,
    ) -> Result<(), ApiError> {
        let capture = self.captures.get_mut(&handle);
        let Some(capture) = capture.filter(|capture| matches!(capture.stage, Stage::Open)) else {
            let reason = "Capture not started";
            return Err(ApiError::new(ErrorCode::Unknown, reason));
        };
        capture.stage = Stage::Closing(Some(Asked::new(origin, request)));
        self.write_capture(now, handle);
        Ok(())
    }

    /// The handle is gone, and with it what could be captured.
    pub(super) fn end_capture(&mut self, now: Now, handle: HandleRef) {
        let Some(capture) = self.captures.get_mut(&handle) else {
            return;
        };
        match std::mem::replace(&mut capture.stage, Stage::Closing(None)) {
            Stage::Opening(asked) => self.replies.push(asked.failure("Handle detached")),
            Stage::Open => {}
            closing @ Stage::Closing(_) => capture.stage = closing,
        }
        self.write_capture(now, handle);
    }

    /// Writes out what was captured, if no write is under way.
    pub(super) fn write_capture(&mut self, now: Now, handle: HandleRef) {
        let Some(capture) = self.captures.get_mut(&handle) else {
            return;
        };
        if capture.is_writing {
            return;
        }
        let mut bytes = self.media.take_tapped(owner_of(handle));
        if capture.bytes + bytes.len() as u64 > FILE_BYTES_MAX {
            if capture.bytes < FILE_BYTES_MAX {
                warn!(path = %capture.path.display(), "a capture is full");
            }
            capture.bytes = FILE_BYTES_MAX;
            bytes.clear();
        }
        let is_closing = matches!(capture.stage, Stage::Closing(_));
        if !bytes.is_empty() {
            capture.is_writing = true;
            capture.bytes += bytes.len() as u64;
            let (owner, path) = (FileOwner::Capture(handle), capture.path.clone());
            self.files.begin(owner, path, Content::More(bytes));
        } else if is_closing {
            self.finish_capture(handle, None);
        } else {
            self.timers
                .arm(Key::Capture(handle), now.monotonic + PERIOD);
        }
    }

    /// Takes in what became of a write.
    pub(super) fn capture_written(&mut self, now: Now, handle: HandleRef, written: Written) {
        let Some(capture) = self.captures.get_mut(&handle) else {
            return;
        };
        capture.is_writing = false;
        if written == Written::No {
            let reason = "The capture file could not be written";
            self.finish_capture(handle, Some(reason));
            return;
        }
        if let Stage::Opening(asked) = &capture.stage {
            self.replies.push(asked.success());
            capture.stage = Stage::Open;
        }
        if matches!(capture.stage, Stage::Closing(_)) {
            self.write_capture(now, handle);
        } else {
            self.timers
                .arm(Key::Capture(handle), now.monotonic + PERIOD);
        }
    }

    /// Forgets all captures, whatever is left to be written of them.
    pub(super) fn abandon_captures(&mut self) {
        let handles: Vec<HandleRef> = self.captures.keys().copied().collect();
        for handle in handles {
            self.finish_capture(handle, Some("The gateway stops"));
        }
    }

    fn finish_capture(&mut self, handle: HandleRef, failure: Option<&'static str>) {
        self.media.untap(owner_of(handle));
        self.timers.cancel(Key::Capture(handle));
        let Some(capture) = self.captures.remove(&handle) else {
            return;
        };
        info!(path = %capture.path.display(), bytes = capture.bytes, failure, "a capture ends");
        let (Stage::Opening(asked) | Stage::Closing(Some(asked))) = &capture.stage else {
            return;
        };
        self.replies.push(match failure {
            None => asked.success(),
            Some(reason) => asked.failure(reason),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(folder: Option<&str>, filename: Option<&str>) -> Option<PathBuf> {
        let asked = CaptureAsked {
            form: CaptureForm::Pcapng,
            folder: folder.map(str::to_owned),
            filename: filename.map(str::to_owned),
            truncate: None,
        };
        asked.path(Path::new("/var/captures"), 7).ok()
    }

    #[test]
    fn files_are_in_the_folder_or_below_it() {
        let in_folder = |name: &str| Some(Path::new("/var/captures").join(name));
        assert_eq!(path(None, None), in_folder("bifrons-pcap-7.pcapng"));
        assert_eq!(path(None, Some("a.pcap")), in_folder("a.pcap"));
        assert_eq!(path(Some("calls"), Some("a")), in_folder("calls/a"));
        assert_eq!(path(Some("/var/captures/x"), Some("a")), in_folder("x/a"));
        assert_eq!(path(Some("/var/captures"), Some("a")), in_folder("a"));
        for folder in ["/tmp", "..", "calls/../..", "/var/captures/../log", "/"] {
            assert_eq!(path(Some(folder), Some("a")), None, "{folder}");
        }
        for name in ["../a", "/a", "a/b", "..", ".", "", ".hidden", "a\0b", "a/"] {
            assert_eq!(path(None, Some(name)), None, "{name:?}");
        }
    }
}
