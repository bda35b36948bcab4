//! What hostile users, steps, registries, daemons and repositories try, and what becomes of it.

mod executor_logins;
mod forged_endings;
mod poisoned_contexts;
mod registry_deletions;
mod shared_daemon;
