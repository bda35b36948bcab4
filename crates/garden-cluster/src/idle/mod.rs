//! Deployments of ours that nobody uses: they are scaled to zero, and back by the next build.
//!
//! Whoever uses one says so on the Deployment itself, seldom, and for how long it is to be kept without use. Anyone may scale it to zero
//! when that time is over, but only as it was when they looked: a build that has begun in between has changed it. A build that
//! finds it scaled to zero in this way scales it up again.
//!
//! * `record`: what stands on a Deployment, and what follows from it. Pure.
//! * `usage`: saying that it is in use, when a build begins and while it goes on.
//! * `stop`: scaling to zero.
//! * `room`: the same for a pod that finds no room; `reserved` says what of ours takes it. Pure.
//!
//! Why: docs/decisions/57-passers-by-stop-what-nobody-uses.md

mod record;
mod reserved;
mod room;
mod stop;
pub(crate) mod usage;

pub use record::{IDLE_AFTER, used_at};
pub(crate) use room::Room;
pub use stop::{stop_idle, stop_idle_in};
