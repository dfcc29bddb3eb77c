//! The streams that a peer sends: numbers, pictures, layers and key frames, as an encoder makes
//! them.

use crate::faults::media::{PeerPlan, Video};
use crate::kernel::time::SimTime;
use crate::models::peer::call::{Outgoing, RIDS};
use crate::models::peer::frames::{Kind, Picture, Tag};

/// An encoder and its packets.
#[derive(Debug)]
pub struct Source {
    peer: u32,
    room: u32,
    size: usize,
    video: Video,
    /// Counts encoders: each begins with a key frame.
    life: u16,
    audio: Stream,
    pictures: [Stream; 3],
    frames: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    sequence: u64,
    /// What its clock showed at the beginning of the world.
    timestamp: u32,
    number: u64,
    picture: u16,
    tl0_index: u8,
    is_key_wanted: bool,
}

/// A packet and how to send it.
#[derive(Debug)]
pub struct Packet {
    /// What its tag says.
    pub tag: Tag,
    sequence: u64,
    marker: bool,
    rid: Option<&'static str>,
    payload: Vec<u8>,
}

impl Packet {
    /// It as a call takes it.
    pub fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            kind: self.tag.kind,
            rid: self.rid,
            sequence: self.sequence,
            timestamp: self.tag.timestamp,
            marker: self.marker,
            payload: &self.payload,
        }
    }
}

/// Packets of a key frame.
const KEY_PACKETS: u64 = 3;
/// The temporal layers of four pictures.
const TEMPORAL: [u8; 4] = [0, 2, 1, 2];

/// What is between the sequence numbers of two encodings.
const STREAMS_APART: u64 = 7_000;

/// The sequence number before the first packet of an encoding.
pub fn first_sequence(plan: &PeerPlan, encoding: u8) -> u16 {
    (u64::from(plan.sequence) + STREAMS_APART * u64::from(encoding)) as u16
}

impl Stream {
    /// Timestamps are those of a clock that runs on while nothing is sent, as in a browser.
    fn timestamp_at(&self, now: SimTime, kind: Kind) -> u32 {
        let micros = now.as_nanos() / 1_000;
        let ticks = micros * u64::from(kind.clock_rate()) / 1_000_000;
        self.timestamp.wrapping_add(ticks as u32)
    }
}

impl Source {
    /// The streams of peer `peer`.
    pub fn new(peer: u32, plan: &PeerPlan) -> Self {
        let stream = |encoding: u64| Stream {
            sequence: u64::from(plan.sequence) + STREAMS_APART * encoding,
            timestamp: plan.timestamp.wrapping_add(1_000_000 * encoding as u32),
            picture: (0x7ff0 + 40 * encoding as u16) & 0x7fff,
            tl0_index: 250,
            is_key_wanted: true,
            number: 0,
        };
        Self {
            peer,
            room: plan.room,
            size: plan.size,
            video: plan.video,
            life: 0,
            audio: stream(0),
            pictures: [stream(0), stream(1), stream(2)],
            frames: 0,
        }
    }

    /// Begins to encode anew.
    pub fn restart(&mut self) {
        self.life += 1;
        self.frames = 0;
        // A new call has a new rollover counter.
        self.audio.sequence &= 0xffff;
        for stream in &mut self.pictures {
            stream.sequence &= 0xffff;
        }
        self.refresh();
    }

    /// Begins with key frames again.
    pub fn refresh(&mut self) {
        for stream in &mut self.pictures {
            stream.is_key_wanted = true;
        }
    }

    /// Somebody wants a key frame of an encoding.
    pub fn want_key(&mut self, encoding: u8) {
        if let Some(stream) = self.pictures.get_mut(usize::from(encoding)) {
            stream.is_key_wanted = true;
        }
    }

    /// Twenty milliseconds of sound.
    pub fn sound(&mut self, now: SimTime) -> Packet {
        let stream = &mut self.audio;
        stream.sequence += 1;
        stream.number += 1;
        let timestamp = stream.timestamp_at(now, Kind::Audio);
        let tag = Tag {
            peer: self.peer,
            room: self.room,
            kind: Kind::Audio,
            encoding: 0,
            temporal: 0,
            is_key: false,
            life: self.life,
            number: stream.number,
            timestamp,
            sent: now,
        };
        Packet {
            tag,
            sequence: stream.sequence,
            marker: false,
            rid: None,
            payload: tag.payload(Picture::default(), 0),
        }
    }

    /// A picture, of each encoding.
    pub fn picture(&mut self, now: SimTime) -> Vec<Packet> {
        let temporal = match self.video {
            Video::Simulcast => TEMPORAL[(self.frames % 4) as usize],
            Video::None | Video::Plain => 0,
        };
        self.frames += 1;
        let mut packets = Vec::new();
        for encoding in 0..self.video.encodings() {
            let stream = &mut self.pictures[usize::from(encoding)];
            let is_key = std::mem::take(&mut stream.is_key_wanted);
            let temporal = if is_key { 0 } else { temporal };
            let timestamp = stream.timestamp_at(now, Kind::Video);
            stream.picture = (stream.picture + 1) & 0x7fff;
            if temporal == 0 {
                stream.tl0_index = stream.tl0_index.wrapping_add(1);
            }
            let count = if is_key { KEY_PACKETS } else { 1 };
            for index in 0..count {
                stream.sequence += 1;
                stream.number += 1;
                let tag = Tag {
                    peer: self.peer,
                    room: self.room,
                    kind: Kind::Video,
                    encoding,
                    temporal,
                    is_key,
                    life: self.life,
                    number: stream.number,
                    timestamp,
                    sent: now,
                };
                let picture = Picture {
                    id: stream.picture,
                    tl0_index: stream.tl0_index,
                    is_first: index == 0,
                };
                packets.push(Packet {
                    tag,
                    sequence: stream.sequence,
                    marker: index + 1 == count,
                    rid: (self.video == Video::Simulcast).then_some(RIDS[usize::from(encoding)]),
                    payload: tag.payload(picture, self.size),
                });
            }
        }
        packets
    }
}
