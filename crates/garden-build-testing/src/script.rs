//! What a test says that happens: closures whose futures have no name.

use std::pin::Pin;
use std::sync::Arc;

pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs for each input.
pub(crate) type Script<I, O> = Arc<dyn Fn(I) -> Boxed<O> + Send + Sync>;

/// Hides what a closure's future is.
pub(crate) fn boxed<I, F>(run: impl Fn(I) -> F + Send + Sync + 'static) -> Script<I, F::Output>
where
    F: Future + Send + 'static,
{
    Arc::new(move |input| Box::pin(run(input)))
}
