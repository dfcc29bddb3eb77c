//! One direction of a TCP connection: bytes in flight, bytes received, a window between.
//!
//! Invariant: bytes arrive in the order in which they were written, none twice; the sum of bytes
//! in flight and bytes not yet read never exceeds the window.

use std::collections::VecDeque;

use crate::kernel::time::SimTime;

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Some bytes, at least one.
    Data(Vec<u8>),
    /// The sender is done.
    Fin,
}

/// One direction of a TCP connection.
#[derive(Debug)]
pub struct Pipe {
    flight: VecDeque<(SimTime, Segment)>,
    flight_bytes: usize,
    received: VecDeque<u8>,
    window: usize,
    last_arrival: SimTime,
    segments: u64,
    is_fin_sent: bool,
    is_fin_received: bool,
    is_writer_blocked: bool,
}

/// The outcome of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The peer is done; nothing more will come.
    Eof,
    /// The connection failed.
    Reset,
    /// Nothing is there yet.
    WouldBlock,
}

impl Pipe {
    /// An empty pipe that holds up to `window` bytes.
    pub const fn new(window: usize) -> Self {
        Self {
            flight: VecDeque::new(),
            flight_bytes: 0,
            received: VecDeque::new(),
            window,
            last_arrival: SimTime::START,
            segments: 0,
            is_fin_sent: false,
            is_fin_received: false,
            is_writer_blocked: false,
        }
    }

    /// Bytes that the writer may add. Zero notes that it waits for room.
    pub fn room(&mut self) -> usize {
        let room = self
            .window
            .saturating_sub(self.flight_bytes + self.received.len());
        self.is_writer_blocked |= room == 0;
        room
    }

    /// Counts a segment, for draws that belong to it.
    pub const fn next_segment(&mut self) -> u64 {
        self.segments += 1;
        self.segments
    }

    /// Sends a segment off, to arrive at `at` or after what was sent before. Returns its arrival.
    pub fn send(&mut self, at: SimTime, segment: Segment) -> SimTime {
        let at = at.max(self.last_arrival);
        self.last_arrival = at;
        match &segment {
            Segment::Data(bytes) => self.flight_bytes += bytes.len(),
            Segment::Fin => self.is_fin_sent = true,
        }
        self.flight.push_back((at, segment));
        at
    }

    /// Moves what is due into the receiver's buffer. Says whether anything was.
    pub fn arrive(&mut self, now: SimTime) -> bool {
        let mut is_anything = false;
        while self.flight.front().is_some_and(|&(at, _)| at <= now) {
            match self.flight.pop_front() {
                Some((_, Segment::Data(bytes))) => {
                    self.flight_bytes -= bytes.len();
                    self.received.extend(bytes);
                }
                Some((_, Segment::Fin)) => self.is_fin_received = true,
                None => {}
            }
            is_anything = true;
        }
        is_anything
    }

    /// Reads up to `most` bytes.
    pub fn read(&mut self, most: usize, into: &mut Vec<u8>) -> Read {
        let count = most.min(self.received.len());
        if count > 0 {
            into.extend(self.received.drain(..count));
            Read::Bytes(count)
        } else if self.is_fin_received {
            Read::Eof
        } else {
            Read::WouldBlock
        }
    }

    /// Whether a writer waits, and there is room for it. Forgets that it waits.
    pub fn take_unblocked(&mut self) -> bool {
        let is_unblocked =
            self.is_writer_blocked && self.flight_bytes + self.received.len() < self.window;
        self.is_writer_blocked &= !is_unblocked;
        is_unblocked
    }

    /// Loses what is in flight, and what was received unless the receiver may keep it.
    pub fn cut(&mut self, keeps_received: bool) {
        self.flight.clear();
        self.flight_bytes = 0;
        if !keeps_received {
            self.received.clear();
        }
    }

    /// Bytes that arrived and were not read.
    pub fn unread(&self) -> usize {
        self.received.len()
    }

    /// When the segment that was sent last arrives.
    pub const fn last_arrival(&self) -> SimTime {
        self.last_arrival
    }

    /// Whether the writer said that it is done.
    pub const fn is_fin_sent(&self) -> bool {
        self.is_fin_sent
    }

    /// Whether there is something to read, or the end of it.
    pub fn is_readable(&self) -> bool {
        !self.received.is_empty() || self.is_fin_received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(nanos: u64) -> SimTime {
        SimTime::from_nanos(nanos)
    }

    #[test]
    fn the_window_counts_flight_and_unread_bytes() {
        let mut pipe = Pipe::new(4);
        pipe.send(at(5), Segment::Data(b"abc".to_vec()));
        assert_eq!(pipe.room(), 1);
        pipe.arrive(at(5));
        assert_eq!(pipe.room(), 1);
        pipe.send(at(6), Segment::Data(b"d".to_vec()));
        assert_eq!((pipe.room(), pipe.take_unblocked()), (0, false));
        let mut read = Vec::new();
        assert_eq!(pipe.read(2, &mut read), Read::Bytes(2));
        assert_eq!(
            (pipe.take_unblocked(), pipe.take_unblocked()),
            (true, false)
        );
    }

    #[test]
    fn a_later_segment_does_not_overtake() {
        let mut pipe = Pipe::new(9);
        pipe.send(at(9), Segment::Data(b"a".to_vec()));
        assert_eq!(pipe.send(at(3), Segment::Data(b"b".to_vec())), at(9));
        assert!(!pipe.arrive(at(8)));
        pipe.arrive(at(9));
        let mut read = Vec::new();
        pipe.read(9, &mut read);
        assert_eq!(read, b"ab");
    }

    #[test]
    fn the_end_comes_after_the_last_byte() {
        let mut pipe = Pipe::new(9);
        pipe.send(at(1), Segment::Data(b"a".to_vec()));
        pipe.send(at(2), Segment::Fin);
        pipe.arrive(at(2));
        let mut read = Vec::new();
        assert_eq!(pipe.read(9, &mut read), Read::Bytes(1));
        assert_eq!(pipe.read(9, &mut read), Read::Eof);
    }
}
