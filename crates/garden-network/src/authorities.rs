use std::sync::OnceLock;

use rustls::RootCertStore;

/// Reads the certificate authorities that the system trusts, once: it takes longer than asking a registry.
///
/// A system without authorities is not an error. A minimal container has none.
pub fn system_authorities() -> &'static RootCertStore {
    static AUTHORITIES: OnceLock<RootCertStore> = OnceLock::new();
    AUTHORITIES.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}
