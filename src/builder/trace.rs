//! Which span of the caller's is current.
//!
//! Why: docs/decisions/22-the-caller-names-the-span.md

use std::fmt;
use std::sync::Arc;

use garden_build_core::TraceContext;

type Current = dyn Fn() -> Option<TraceContext> + Send + Sync;

/// Knows the current span, if the caller has said how. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct TraceSource(Option<Arc<Current>>);

impl TraceSource {
    pub(super) fn new(current: impl Fn() -> Option<TraceContext> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(current)))
    }

    pub(super) fn current(&self) -> Option<TraceContext> {
        self.0.as_ref().and_then(|current| current())
    }
}

impl fmt::Debug for TraceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TraceSource").field(&self.0.is_some()).finish()
    }
}
