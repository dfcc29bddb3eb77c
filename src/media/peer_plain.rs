//! Header extensions of plain RTP: values as numbers and bytes, both ways.

use std::sync::Arc;

use str0m::media::{Frequency, MediaTime};
use str0m::rtp::{ExtensionValues, VideoOrientation};

use crate::media::event::PlayoutDelay;
use crate::media::peer_ext::{
    AUDIO_LEVEL, DEPENDENCIES, Dependencies, HeaderValues, ORIENTATION, PLAYOUT_DELAY,
};
use crate::wire::rtp::packet::RtpLayout;
use crate::wire::rtp::renumber;

/// The numbers by which header extensions are known on one side of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// How loud it is.
    pub audio_level: Option<u8>,
    /// The dependency descriptor.
    pub dependencies: Option<u8>,
    /// How the camera is held.
    pub orientation: Option<u8>,
    /// How long to wait before showing.
    pub playout_delay: Option<u8>,
}

/// What is said in place of what a packet says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) playout_delay: Option<PlayoutDelay>,
    /// The number of the frame that a dependency descriptor is about.
    pub(super) frame: Option<u16>,
}

/// Extensions of one header: those of a packet, and those of a hop.
const VALUES_MAX: usize = 8;

impl ExtensionIds {
    /// Notes the number of an extension.
    pub(crate) fn note(&mut self, uri: &str, id: u8) {
        match uri {
            AUDIO_LEVEL => self.audio_level = Some(id),
            DEPENDENCIES => self.dependencies = Some(id),
            ORIENTATION => self.orientation = Some(id),
            PLAYOUT_DELAY => self.playout_delay = Some(id),
            _ => {}
        }
    }

    /// The numbers with what they stand for, as far as they fit into the one-byte form.
    pub(crate) fn named(self) -> Vec<(u8, &'static str)> {
        let mut named: Vec<(u8, &'static str)> = [
            (self.audio_level, AUDIO_LEVEL),
            (self.dependencies, DEPENDENCIES),
            (self.orientation, ORIENTATION),
            (self.playout_delay, PLAYOUT_DELAY),
        ]
        .into_iter()
        .filter_map(|(id, uri)| Some((id?, uri)))
        .filter(|(id, _)| (1..=15).contains(id))
        .collect();
        named.sort_unstable();
        named
    }
}

impl HeaderValues {
    /// Calls `write` with the values that have a number, as they are on the wire.
    pub(crate) fn with_plain<R>(
        &self,
        ids: ExtensionIds,
        write: impl FnOnce(&[(u8, &[u8])]) -> R,
    ) -> R {
        self.with_changed(ids, Changes::default(), [None; 4], write)
    }

    /// The same with changes, behind the extensions of a hop.
    pub(super) fn with_changed<'a, R>(
        &'a self,
        ids: ExtensionIds,
        changes: Changes,
        of_hop: [Option<(u8, &'a [u8])>; 4],
        write: impl FnOnce(&[(u8, &[u8])]) -> R,
    ) -> R {
        let values = &self.0;
        let level = values.audio_level.map(|level| {
            let speaks = values.voice_activity.unwrap_or(false);
            [u8::from(speaks) << 7 | level.unsigned_abs() & 0x7f]
        });
        let orientation = values.video_orientation.map(|turned| [turned as u8]);
        let hundredths = |time: MediaTime| {
            let count = time.rebase(Frequency::HUNDREDTHS).numer();
            count.min(0xfff) as u32
        };
        let delay = match changes.playout_delay {
            Some(PlayoutDelay { min, max }) => Some((min.into(), max.into())),
            None => {
                let both = values.play_delay_min.zip(values.play_delay_max);
                both.map(|(min, max)| (hundredths(min), hundredths(max)))
            }
        };
        let delay = delay.map(|(min, max)| {
            let [_, bytes @ ..] = (min.min(0xfff) << 12 | max.min(0xfff)).to_be_bytes();
            bytes
        });
        let changed: Option<Box<[u8]>> = ids
            .dependencies
            .and(changes.frame)
            .zip(self.dependencies())
            .map(|(number, bytes)| {
                let mut bytes: Box<[u8]> = bytes.into();
                renumber(&mut bytes, number);
                bytes
            });
        let dependencies = changed.as_deref().or_else(|| self.dependencies());
        let mut all: [(u8, &[u8]); VALUES_MAX] = [(0, &[]); VALUES_MAX];
        let mut count = 0;
        for each in of_hop.into_iter().flatten() {
            all[count] = each;
            count += 1;
        }
        for (id, value) in [
            (ids.audio_level, level.as_ref().map(<[u8; 1]>::as_slice)),
            (
                ids.orientation,
                orientation.as_ref().map(<[u8; 1]>::as_slice),
            ),
            (ids.playout_delay, delay.as_ref().map(<[u8; 3]>::as_slice)),
            (ids.dependencies, dependencies),
        ] {
            if let (Some(id), Some(value)) = (id, value) {
                all[count] = (id, value);
                count += 1;
            }
        }
        write(&all[..count])
    }

    /// Reads the values of a plain packet.
    pub(crate) fn read_plain(bytes: &[u8], layout: &RtpLayout, ids: ExtensionIds) -> Self {
        let mut values = ExtensionValues::default();
        layout.for_each_extension(bytes, |id, value| {
            let is = |number: Option<u8>| number == Some(id);
            match *value {
                [level] if is(ids.audio_level) => {
                    values.audio_level = Some(-((level & 0x7f) as i8));
                    values.voice_activity = Some(level & 0x80 != 0);
                }
                [turned, ..] if is(ids.orientation) => {
                    values.video_orientation = Some(match turned & 3 {
                        1 => VideoOrientation::Deg270,
                        2 => VideoOrientation::Deg180,
                        3 => VideoOrientation::Deg90,
                        _ => VideoOrientation::Deg0,
                    });
                }
                [a, b, c] if is(ids.playout_delay) => {
                    let both = u64::from(u32::from_be_bytes([0, a, b, c]));
                    values.play_delay_min = Some(MediaTime::from_hundredths(both >> 12));
                    values.play_delay_max = Some(MediaTime::from_hundredths(both & 0xfff));
                }
                _ if is(ids.dependencies) => {
                    values
                        .user_values
                        .set_arc(Arc::new(Dependencies(value.into())));
                }
                _ => {}
            }
        });
        Self(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtp::packet::{RtpHeader, write_header};

    #[test]
    fn values_pass_through_headers_as_they_are() {
        let ids = ExtensionIds {
            audio_level: Some(1),
            dependencies: Some(9),
            orientation: Some(4),
            playout_delay: Some(6),
        };
        let sent: [(u8, &[u8]); 5] = [
            (1, &[0x80 | 37]),
            (4, &[3]),
            (6, &[0x01, 0x20, 0x34]),
            (9, &[1, 2, 3, 4, 5]),
            (12, &[8]),
        ];
        let mut bytes = Vec::new();
        write_header(&RtpHeader::default(), &sent, &mut bytes);
        let layout = RtpLayout::read(&bytes).unwrap();
        let values = HeaderValues::read_plain(&bytes, &layout, ids);
        // What has no number stays behind.
        values.with_plain(ids, |all| assert_eq!(all, &sent[..4]));
        let some = ExtensionIds {
            orientation: Some(2),
            ..ExtensionIds::default()
        };
        values.with_plain(some, |all| assert_eq!(all, [(2, &[3][..])]));
    }

    #[test]
    fn extensions_are_known_by_their_uris() {
        let mut ids = ExtensionIds::default();
        ids.note(ORIENTATION, 13);
        ids.note("urn:example:other", 1);
        assert_eq!(ids.orientation, Some(13));
        assert_eq!((ids.audio_level, ids.playout_delay), (None, None));
    }
}
