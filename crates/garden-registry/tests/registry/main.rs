//! The client against registries and token servers that speak the real protocol in this process.

mod authentication;
mod clean_up;
mod confinement;
mod connection;
mod credential_table;
mod helper_programs;
mod helpers;
mod hostile;
mod lists;
mod resolve;
mod support;
