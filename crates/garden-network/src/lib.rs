//! Internal: what this machine says of its network.
//!
//! Which proxy stands before a URL ([`Proxies`]), how a connection goes through it ([`ProxyConnector`]), and whom TLS
//! connections trust ([`system_authorities`]).

mod authorities;
mod connector;
mod proxies;

pub use authorities::system_authorities;
pub use connector::{Proxied, ProxyConnector, ProxyError};
pub use proxies::{InvalidProxy, Proxies, Proxy};
