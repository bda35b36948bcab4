//! Internal: what this machine says of its network.
//!
//! Which proxy stands before a URL ([`Proxies`]), how a connection goes through it ([`ProxyConnector`]), how TLS begins ([`tls_client`]),
//! and whom it trusts ([`system_authorities`]).
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authorities;
mod connector;
mod proxies;
mod tls;

pub use authorities::system_authorities;
pub use connector::{Proxied, ProxyConnector, ProxyError};
pub use proxies::{InvalidProxy, Proxies, Proxy};
pub use tls::{any_server, cryptography, tls_client};
