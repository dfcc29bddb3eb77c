//! Descriptors between this crate's owned types and the runtime's raw ones.
//!
//! The runtime's sockets show their descriptor as a number only, and are made from a number only.
//! This is all of the product's unsafe code.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

/// Lends out the descriptor of a socket of the runtime.
#[derive(Debug)]
pub(super) struct Lent<'a, S>(pub(super) &'a S);

impl<S: AsRawFd> AsFd for Lent<'_, S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket owns its descriptor and closes it when it is dropped, which the
        // borrow in `self` excludes for as long as the result lives.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

/// Makes a socket of the runtime that owns `fd`.
pub(super) fn adopt<S: FromRawFd>(fd: impl Into<OwnedFd>) -> S {
    // SAFETY: the descriptor is open, and `into_raw_fd` gives up the only claim to it.
    unsafe { S::from_raw_fd(fd.into().into_raw_fd()) }
}
