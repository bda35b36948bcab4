//! Each rule of the plan by itself, and all of them against a model.

mod model;
mod rules;
mod support;
