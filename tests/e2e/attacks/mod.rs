//! What somebody may try who has rights of his own in the cluster, and what comes of it.

mod poisoned_contexts;
