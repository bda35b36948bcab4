//! The client against registries and token servers that speak the real protocol in this process.

mod authentication;
mod confinement;
mod connection;
mod resolve;
mod support;
