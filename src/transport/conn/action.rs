//! What a connection wants of its socket.

/// An action for the socket of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnAction {
    /// Reset the connection and forget it.
    Abort,
    /// Close the socket and forget the connection.
    Close,
    /// Stop reading.
    PauseRead,
    /// Read again.
    ResumeRead,
    /// Close the sending half; everything was taken.
    ShutdownWrite,
    /// There are [pending](super::Conn::pending) bytes: offer them to the kernel, and report what
    /// it took. To be ignored while an earlier offer is under way.
    Write,
}

impl ConnAction {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Actions that wait to be carried out. Repeated ones are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Actions {
    bits: u8,
}

impl Actions {
    /// Adds an action. What it makes pointless is dropped.
    pub(super) fn push(&mut self, action: ConnAction) {
        match action {
            ConnAction::Abort | ConnAction::Close => self.bits = 0,
            ConnAction::PauseRead => self.bits &= !ConnAction::ResumeRead.bit(),
            ConnAction::ResumeRead => self.bits &= !ConnAction::PauseRead.bit(),
            ConnAction::ShutdownWrite => {}
            ConnAction::Write => {}
        }
        self.bits |= action.bit();
    }

    /// Takes out the next action.
    pub(super) fn pop(&mut self) -> Option<ConnAction> {
        if self.bits == 0 {
            return None; // As it is most often.
        }
        let action = [
            ConnAction::Write,
            ConnAction::PauseRead,
            ConnAction::ResumeRead,
            ConnAction::ShutdownWrite,
            ConnAction::Close,
            ConnAction::Abort,
        ]
        .into_iter()
        .find(|action| self.bits & action.bit() != 0)?;
        self.bits &= !action.bit();
        Some(action)
    }
}
