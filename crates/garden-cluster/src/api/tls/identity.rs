//! Who we are to the API server, where that is a certificate: of the kubeconfig, of a file that it names, or of its credential
//! plugin.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use garden_build_core::read_regular_file;
use kube::config::AuthInfo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;

/// The most that a certificate or a key may have, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// A certificate, with those between it and its authority, and its key.
pub(crate) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads what a kubeconfig says of a user, if that is a certificate.
    ///
    /// # Errors
    /// With the field that cannot be used, never with what is in a key.
    pub(crate) fn of(user: &AuthInfo) -> Result<Option<Self>, String> {
        let data = user.client_certificate_data.as_deref();
        let certificate = one_of("client-certificate", data, user.client_certificate.as_deref())?;
        let data = user.client_key_data.as_ref().map(ExposeSecret::expose_secret);
        let key = one_of("client-key", data, user.client_key.as_deref())?;
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Self::from_pem(&certificate, &key).map(Some),
            (Some(_), None) => Err("there is a `client-certificate`, but no `client-key`".to_owned()),
            (None, Some(_)) => Err("there is a `client-key`, but no `client-certificate`".to_owned()),
        }
    }

    /// Reads both parts.
    ///
    /// # Errors
    /// With which of them cannot be used. The parser's own errors quote what they could not read, which may be a key.
    pub(crate) fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or("the client certificate is damaged, or not PEM")?;
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|_| "the client certificate's key is damaged, encrypted, or not PEM")?;
        Ok(Self { chain, key })
    }
}

/// Returns what is in the kubeconfig, or else in the file that it names.
fn one_of(field: &str, data: Option<&str>, file: Option<&str>) -> Result<Option<Vec<u8>>, String> {
    if let Some(data) = data {
        let decoded = BASE64_STANDARD.decode(data);
        return decoded.map(Some).map_err(|_| format!("`{field}-data` is not base64"));
    }
    let read = file.map(|path| read_regular_file(Path::new(path), LARGEST).map_err(|error| (path, error)));
    read.transpose().map_err(|(path, error)| format!("`{field}` is `{path}`, which cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn refusal(user: &AuthInfo) -> String {
        Identity::of(user).err().expect("no identity")
    }

    #[test]
    fn it_is_in_the_kubeconfig_or_in_files_and_whole() {
        let issued = rcgen::generate_simple_self_signed(["dev".to_owned()]).expect("a certificate");
        let (certificate, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("written");
            Some(path.to_str().expect("text").to_owned())
        };
        let in_files = AuthInfo {
            client_certificate: file("c", &certificate),
            client_key: file("k", &key),
            ..AuthInfo::default()
        };
        let within = AuthInfo {
            client_certificate_data: Some(BASE64_STANDARD.encode(&certificate)),
            client_key_data: Some(BASE64_STANDARD.encode(&key).into()),
            // Not looked at.
            client_certificate: Some("/missing".to_owned()),
            ..AuthInfo::default()
        };
        for user in [&in_files, &within] {
            let identity = Identity::of(user).expect("usable").expect("an identity");
            assert_eq!(identity.chain, [issued.cert.der().clone()]);
        }
        assert!(Identity::of(&AuthInfo::default()).expect("usable").is_none());

        let half = AuthInfo { client_key: None, ..in_files.clone() };
        assert_eq!(refusal(&half), "there is a `client-certificate`, but no `client-key`");
        let missing = AuthInfo { client_key: Some("/missing".to_owned()), ..in_files.clone() };
        assert!(refusal(&missing).starts_with("`client-key` is `/missing`, which cannot be read"));
        let no_base64 = AuthInfo { client_key_data: Some("s3cret!".into()), ..in_files.clone() };
        assert_eq!(refusal(&no_base64), "`client-key-data` is not base64");
        let damaged = AuthInfo { client_key: file("d", &key.replace("-----END", "----END")), ..in_files };
        assert_eq!(refusal(&damaged), "the client certificate's key is damaged, encrypted, or not PEM");
    }
}
