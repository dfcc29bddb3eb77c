//! Inboxes: how shards and the operator reach a shard from other threads.
//!
//! Invariant: what is sent arrives, in the order of sending per sender, and the receiver is woken
//! for it: the waker is registered and taken under the same lock as the queue.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::base::id::ShardId;
use crate::driver::{Arrival, MeshIo, News};
use crate::shard::mesh::MeshMsg;

/// The sending end of an inbox.
#[derive(Debug)]
pub struct Sender<T>(Arc<Mutex<Inner<T>>>);

/// The receiving end of an inbox, of which there is one.
#[derive(Debug)]
pub struct Inbox<T>(Arc<Mutex<Inner<T>>>);

#[derive(Debug)]
struct Inner<T> {
    queue: VecDeque<T>,
    waker: Option<Waker>,
}

/// Makes an inbox.
pub fn inbox<T>() -> (Sender<T>, Inbox<T>) {
    let inner = Arc::new(Mutex::new(Inner {
        queue: VecDeque::new(),
        waker: None,
    }));
    (Sender(Arc::clone(&inner)), Inbox(inner))
}

impl<T> Sender<T> {
    /// Puts `item` behind what was sent before.
    pub fn send(&self, item: T) {
        let waker = {
            let mut inner = lock(&self.0);
            inner.queue.push_back(item);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Inbox<T> {
    /// Moves everything that has arrived to the end of `into`, or waits.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut VecDeque<T>) -> Poll<()> {
        let mut inner = lock(&self.0);
        if inner.queue.is_empty() {
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        into.append(&mut inner.queue);
        Poll::Ready(())
    }
}

/// A thread that panics does so outside of the lock, or between two steps that both leave the
/// queue whole.
fn lock<T>(inner: &Mutex<Inner<T>>) -> MutexGuard<'_, Inner<T>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A shard's inbox and the ways into all others.
pub struct Mesh {
    me: ShardId,
    inbox: Inbox<Arrival>,
    shards: Vec<Sender<Arrival>>,
    on_news: Box<dyn FnMut(News)>,
}

impl Mesh {
    /// The mesh as shard `me` sees it; `shards` are in the order of their ids.
    pub fn new(
        me: ShardId,
        inbox: Inbox<Arrival>,
        shards: Vec<Sender<Arrival>>,
        on_news: impl FnMut(News) + 'static,
    ) -> Self {
        Self {
            me,
            inbox,
            shards,
            on_news: Box::new(on_news),
        }
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}

impl MeshIo for Mesh {
    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut VecDeque<Arrival>) -> Poll<()> {
        self.inbox.poll_recv(cx, into)
    }

    fn send(&mut self, to: ShardId, batch: Vec<MeshMsg>) {
        let from = self.me;
        self.shards[usize::from(to.0)].send(Arrival::Mesh { from, batch });
    }

    fn tell_operator(&mut self, news: News) {
        (self.on_news)(news);
    }
}
