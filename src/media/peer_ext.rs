//! Header extensions: which are registered, and which values are passed on.

use std::sync::Arc;

use str0m::media::MediaTime;
use str0m::rtp::{Extension, ExtensionSerializer, ExtensionValues};

use crate::media::event::PlayoutDelay;
use crate::media::packet::PacketLevel;
use crate::wire::rtp::renumber;

/// The values of a packet's header extensions that are passed on. Those that belong to one hop,
/// such as send times, are not among them.
#[derive(Clone)]
pub(crate) struct HeaderValues(pub(super) ExtensionValues);

/// Which values a line may be sent: those whose extensions were negotiated for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ValueFilter {
    pub(crate) audio_level: bool,
    pub(crate) capture_time: bool,
    pub(crate) dependencies: bool,
    pub(crate) orientation: bool,
    pub(crate) playout_delay: bool,
}

impl ValueFilter {
    /// Lets the values of an extension pass.
    pub(crate) fn allow(&mut self, uri: &str) {
        match uri {
            AUDIO_LEVEL => self.audio_level = true,
            CAPTURE_TIME => self.capture_time = true,
            DEPENDENCIES => self.dependencies = true,
            ORIENTATION => self.orientation = true,
            PLAYOUT_DELAY => self.playout_delay = true,
            _ => {}
        }
    }
}

impl HeaderValues {
    pub(crate) fn new(values: ExtensionValues) -> Self {
        Self(ExtensionValues {
            audio_level: values.audio_level,
            voice_activity: values.voice_activity,
            video_orientation: values.video_orientation,
            play_delay_min: values.play_delay_min,
            play_delay_max: values.play_delay_max,
            user_values: values.user_values,
            ..ExtensionValues::default()
        })
    }

    /// How loud it is.
    pub(crate) fn level(&self) -> Option<PacketLevel> {
        let level = self.0.audio_level?;
        Some(PacketLevel(level.unsigned_abs() & 0x7f))
    }

    /// The dependency descriptor.
    pub(crate) fn dependencies(&self) -> Option<&[u8]> {
        let found = self.0.user_values.get::<Dependencies>()?;
        Some(&found.0)
    }

    /// When it was captured.
    pub(super) fn capture_time(&self) -> Option<&[u8]> {
        let found = self.0.user_values.get::<CaptureTime>()?;
        Some(found.bytes())
    }

    /// The same with another playout delay, if there is one.
    pub(crate) fn delayed(mut self, delay: Option<PlayoutDelay>) -> Self {
        delay_values(&mut self.0, delay);
        self
    }

    /// What goes to a line. A delay of its own takes the place of the sender's, and so does another
    /// number of the frame that is described.
    pub(crate) fn filtered(
        &self,
        filter: ValueFilter,
        delay: Option<PlayoutDelay>,
        frame: Option<u16>,
    ) -> ExtensionValues {
        let values = &self.0;
        let mut out = ExtensionValues::default();
        if filter.audio_level {
            out.audio_level = values.audio_level;
            out.voice_activity = values.voice_activity;
        }
        if filter.capture_time
            && let Some(time) = values.user_values.get_arc::<CaptureTime>()
        {
            out.user_values.set_arc(time);
        }
        if filter.dependencies
            && let Some(found) = values.user_values.get_arc::<Dependencies>()
        {
            let found = match frame {
                Some(number) => {
                    let mut bytes = found.0.clone();
                    renumber(&mut bytes, number);
                    Arc::new(Dependencies(bytes))
                }
                None => found,
            };
            out.user_values.set_arc(found);
        }
        if filter.orientation {
            out.video_orientation = values.video_orientation;
        }
        if filter.playout_delay {
            out.play_delay_min = values.play_delay_min;
            out.play_delay_max = values.play_delay_max;
            delay_values(&mut out, delay);
        }
        out
    }
}

fn delay_values(values: &mut ExtensionValues, delay: Option<PlayoutDelay>) {
    if let Some(PlayoutDelay { min, max }) = delay {
        values.play_delay_min = Some(MediaTime::from_hundredths(min.into()));
        values.play_delay_max = Some(MediaTime::from_hundredths(max.into()));
    }
}

impl std::fmt::Debug for HeaderValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HeaderValues")
    }
}

/// The extension for a URI; `None` for one that is of no use here.
pub(crate) fn extension(uri: &str) -> Option<Extension> {
    Some(match uri {
        AUDIO_LEVEL => Extension::AudioLevel,
        CAPTURE_TIME => Extension::with_serializer(CAPTURE_TIME, RawCaptureTime),
        DEPENDENCIES => Extension::with_serializer(DEPENDENCIES, RawDependencies),
        MID => Extension::RtpMid,
        ORIENTATION => Extension::VideoOrientation,
        PLAYOUT_DELAY => Extension::PlayoutDelay,
        REPAIRED_RID => Extension::RepairedRtpStreamId,
        RID => Extension::RtpStreamId,
        SEND_TIME => Extension::AbsoluteSendTime,
        TRANSPORT_CC => Extension::TransportSequenceNumber,
        _ => return None,
    })
}

pub(crate) const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
pub(crate) const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub(crate) const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
pub(crate) const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
pub(crate) const ORIENTATION: &str = "urn:3gpp:video-orientation";
pub(crate) const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
pub(super) const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
pub(super) const CAPTURE_TIME: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
pub(super) const DEPENDENCIES: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
pub(super) const SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

/// When a frame was captured, as it came: a time, and maybe how far the clock of the one who captured
/// it is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CaptureTime {
    bytes: [u8; 16],
    size: u8,
}

impl CaptureTime {
    /// Reads it; `None` if it has neither of the two sizes.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        let size = value.len();
        if size != 8 && size != 16 {
            return None;
        }
        bytes[..size].copy_from_slice(value);
        Some(Self {
            bytes,
            size: size as u8,
        })
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.size)]
    }
}

/// Passes times of capture on without looking into them.
#[derive(Debug)]
struct RawCaptureTime;

impl ExtensionSerializer for RawCaptureTime {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let time = values.user_values.get::<CaptureTime>();
        let Some((time, room)) = time.and_then(|time| {
            let room = buf.get_mut(..time.bytes().len())?;
            Some((time, room))
        }) else {
            return 0;
        };
        room.copy_from_slice(time.bytes());
        room.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        let time = CaptureTime::read(buf);
        if let Some(time) = time {
            values.user_values.set(time);
        }
        time.is_some()
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        true
    }
}

/// A dependency descriptor as it came.
pub(super) struct Dependencies(pub(super) Box<[u8]>);

/// Passes dependency descriptors on without looking into them.
#[derive(Debug)]
struct RawDependencies;

/// What one byte of length can say in the two-byte form (RFC 8285 section 4.3).
const DEPENDENCIES_BYTES_MAX: usize = 255;
/// What fits into the one-byte form (RFC 8285 section 4.2).
const ONE_BYTE_FORM_MAX: usize = 16;

impl ExtensionSerializer for RawDependencies {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(Dependencies(bytes)) = values.user_values.get() else {
            return 0;
        };
        let Some(room) = buf.get_mut(..bytes.len()) else {
            return 0;
        };
        room.copy_from_slice(bytes);
        bytes.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        if buf.len() > DEPENDENCIES_BYTES_MAX {
            return false;
        }
        values
            .user_values
            .set_arc(Arc::new(Dependencies(buf.into())));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        let descriptor = values.user_values.get::<Dependencies>();
        descriptor.is_some_and(|Dependencies(bytes)| bytes.len() > ONE_BYTE_FORM_MAX)
    }
}
