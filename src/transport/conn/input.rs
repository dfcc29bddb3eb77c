//! Input of a connection that waits to be parsed.

/// Bytes in the order in which they came. Gives its memory back when it is empty.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
}

impl Input {
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets the first `count` bytes. Takes time in proportion to them only, however much waits
    /// behind them.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.bytes.len() {
            *self = Self::default();
        } else if self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }
}

#[cfg(test)]
impl Input {
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
