use std::fmt::Debug;

use garden_build_core::{BoxFuture, EventSink, Result};

use crate::Initialized;

/// What builds of a mode need in the cluster besides builders.
pub(crate) trait Service: Debug + Send + Sync {
    /// Describes what installing it does; `None` if there is nothing to install, though something may be to remove.
    fn installing(&self) -> Option<String>;

    /// Installs it, and removes what an earlier installation has made and the provider does not want. Safe to repeat.
    ///
    /// # Errors
    /// If the cluster refuses, or cannot be reached.
    fn apply<'a>(&'a self, events: &'a EventSink) -> BoxFuture<'a, Result<()>>;

    /// Describes what there is to wait for until it serves; `None` if it never does by itself.
    fn waiting(&self) -> Option<&'static str> {
        None
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// With what is in the way.
    fn ready<'a>(&'a self, _events: &'a EventSink) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Whether builds find it installed, in whatever version. What they install themselves counts as that.
    ///
    /// # Errors
    /// If the cluster cannot be asked.
    fn is_installed(&self) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async { Ok(true) })
    }

    /// Notes that it serves.
    fn note(&self, _initialized: &mut Initialized) {}
}
