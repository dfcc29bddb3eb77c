//! The one timer of a shard.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::base::clock::Monotonic;
use crate::driver::platform::Platform;

/// At most one sleep, armed for the earliest deadline asked for.
#[derive(Default)]
pub(super) struct Alarm {
    armed: Option<Armed>,
}

struct Armed {
    at: Monotonic,
    sleep: Pin<Box<dyn Future<Output = ()>>>,
}

impl Alarm {
    /// Sees to it that the task wakes at `at` or earlier.
    ///
    /// A deadline that moves later leaves the sleep as it is: waking early once costs less than
    /// arming anew for every answer that moves an idle timeout. Says whether `at` has come.
    pub(super) fn arm<P: Platform>(
        &mut self,
        platform: &P,
        at: Monotonic,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.armed.as_ref().is_none_or(|armed| armed.at > at) {
            self.armed = Some(Armed {
                at,
                sleep: Box::pin(platform.sleep_until(at)),
            });
            return self.poll(cx);
        }
        Poll::Pending
    }

    /// Looks whether the armed sleep is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(armed) = &mut self.armed else {
            return Poll::Pending;
        };
        let over = armed.sleep.as_mut().poll(cx);
        if over.is_ready() {
            self.armed = None;
        }
        over
    }
}
