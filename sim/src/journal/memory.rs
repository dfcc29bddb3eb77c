//! A journal that is written to memory: of a gateway that runs on turmoil.

use std::cell::RefCell;
use std::rc::Rc;

use bifrons::config::Config;
use bifrons::driver::journal::{
    Coder, Kind, MAGIC, Mask, PROCESS, ProcessStart, Sink, Taken, head,
};

/// The file, to which all shards write.
#[derive(Clone, Debug, Default)]
pub struct Memory(Rc<RefCell<Vec<u8>>>);

/// Where a shard's blocks go.
#[derive(Debug)]
pub struct MemorySink {
    file: Memory,
    owner: u8,
    number: u32,
}

impl Memory {
    /// Begins the file, from nothing.
    pub fn begin(&self, config: &Config, shards: u8, mask: &mut Mask) {
        let start = ProcessStart::new(config, shards, mask);
        let start = serde_json::to_vec(&start).expect("it is plain data");
        *self.0.borrow_mut() = MAGIC.to_vec();
        self.put(PROCESS, Kind::Start, 0, &start);
    }

    /// The way of a shard's blocks.
    pub fn sink(&self, owner: u8) -> MemorySink {
        MemorySink {
            file: self.clone(),
            owner,
            number: 0,
        }
    }

    /// What has been written.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }

    fn put(&self, owner: u8, kind: Kind, number: u32, content: &[u8]) {
        let mut file = self.0.borrow_mut();
        file.extend_from_slice(&head(owner, kind, number, content));
        file.extend_from_slice(content);
    }
}

impl Sink for MemorySink {
    fn put(&mut self, kind: Kind, _: &Coder, content: Vec<u8>) -> Taken {
        self.file.put(self.owner, kind, self.number, &content);
        self.number += 1;
        Taken::Yes
    }

    fn is_urgent(&self) -> bool {
        false
    }

    fn is_panicking(&self) -> bool {
        std::thread::panicking()
    }

    fn lost_bytes(&self) -> u64 {
        0
    }
}
