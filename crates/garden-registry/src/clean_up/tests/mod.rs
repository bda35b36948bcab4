//! Each rule of the plan by itself, and all of them against a model.

mod deletions;
mod model;
mod rules;
mod support;
