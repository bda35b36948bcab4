//! The certificates of a daemon that listens and of its clients: made once for a namespace, and kept in a Secret.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use garden_build_core::ErrorKind;
use garden_cluster::{Cluster, ClusterError, Diagnosis};
use k8s_openapi::api::core::v1::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use crate::client::TlsIdentity;
use crate::spec::{
    self, CA_CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY, NAME, SERVER_CERTIFICATE, SERVER_KEY, Settings,
    TLS_SECRET,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Ten years, longer than clusters live: nothing renews them, and one that ends would surprise people who
/// have forgotten it. When they have ended, programs in the cluster build through the API server, and are
/// told why; deleting the Secret makes new ones. To take access from somebody is done in the same way, at
/// any time.
const VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a Secret has for us.
#[derive(Debug)]
pub(super) struct Certificates {
    /// Who the daemon is, and who we are to it.
    pub(super) identity: TlsIdentity,
    /// Differs from that of any other certificates.
    pub(super) fingerprint: String,
}

/// Returns the certificates that the namespace has.
pub(super) async fn existing(
    cluster: &Cluster,
    settings: &Settings,
) -> Result<Option<Certificates>, ClusterError> {
    if !settings.options.listen {
        return Ok(None);
    }
    let namespace = settings.namespace.name.as_str();
    let secret = cluster.get::<Secret>(namespace, TLS_SECRET).await?;
    secret.map(|secret| read(namespace, &secret)).transpose()
}

/// Makes certificates; if another client has done so meanwhile, takes those.
pub(super) async fn create(cluster: &Cluster, settings: &Settings) -> Result<Certificates, ClusterError> {
    let namespace = settings.namespace.name.as_str();
    let contents = generate().map_err(|error| {
        let message = format!("certificates for the BuildKit daemon cannot be made: {error}");
        ClusterError::Pod(Diagnosis::other(
            ErrorKind::Unexpected,
            message,
            "set `clusterBuildkit.listen: false`",
        ))
    })?;
    if let Some(secret) = cluster.create(&spec::tls_secret(settings, contents)).await? {
        return read(namespace, &secret);
    }
    existing(cluster, settings).await?.ok_or_else(|| {
        let message =
            format!("Secret {namespace}/{TLS_SECRET} was deleted by somebody else just after it was made");
        ClusterError::Pod(Diagnosis::other(ErrorKind::BuilderLost, message, "build again").retryable())
    })
}

/// What is in a new Secret, with every value hidden: for showing it.
pub(crate) fn redacted() -> BTreeMap<String, String> {
    let names = [CA_CERTIFICATE, SERVER_CERTIFICATE, SERVER_KEY, CLIENT_CERTIFICATE, CLIENT_KEY];
    names.map(|name| (name.to_owned(), "<redacted>".to_owned())).into()
}

/// Makes an authority, and what it signs. Its own key is kept nowhere, so it never signs anything else.
fn generate() -> Result<BTreeMap<String, String>, rcgen::Error> {
    let mut authority = parameters("garden-buildkit authority", &[])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    let certificate = authority.self_signed(&key)?.pem();
    let issuer = Issuer::new(authority, key);

    let sign = |mut parameters: CertificateParams, purpose| {
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![purpose];
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &issuer)?.pem();
        Ok::<_, rcgen::Error>((certificate, key.serialize_pem()))
    };
    let server = sign(parameters(NAME, &[NAME.to_owned()])?, ExtendedKeyUsagePurpose::ServerAuth)?;
    let client = sign(parameters("garden-build", &[])?, ExtendedKeyUsagePurpose::ClientAuth)?;
    let contents = [
        (CA_CERTIFICATE, certificate),
        (SERVER_CERTIFICATE, server.0),
        (SERVER_KEY, server.1),
        (CLIENT_CERTIFICATE, client.0),
        (CLIENT_KEY, client.1),
    ];
    Ok(contents.map(|(name, pem)| (name.to_owned(), pem)).into())
}

fn parameters(common_name: &str, names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // Other machines' clocks may be behind this one's.
    parameters.not_before = epoch + now.saturating_sub(DAY);
    parameters.not_after = epoch + now + VALIDITY;
    Ok(parameters)
}

/// Reads a Secret, and makes sure that what is in it fits together as far as this can be checked.
fn read(namespace: &str, secret: &Secret) -> Result<Certificates, ClusterError> {
    let damaged = |what: String| {
        let message = format!("Secret {namespace}/{TLS_SECRET} cannot be used: {what}");
        let hint = format!(
            "`kubectl delete secret {TLS_SECRET} --namespace {namespace}`, and build again: this makes a new one"
        );
        ClusterError::Pod(Diagnosis::other(ErrorKind::Rejected, message, hint))
    };
    let text = |name: &str| {
        let value = secret.data.as_ref().and_then(|data| data.get(name));
        let value = value.ok_or_else(|| damaged(format!("it has no `{name}`")))?;
        String::from_utf8(value.0.clone()).map_err(|_| damaged(format!("its `{name}` is not text")))
    };
    let certificate_authority = text(CA_CERTIFICATE)?;
    let identity = |certificate: &str, key: &str| {
        let identity = TlsIdentity {
            server_name: NAME.to_owned(),
            certificate_authority: certificate_authority.clone(),
            certificate: text(certificate)?,
            key: text(key)?.into(),
        };
        identity.check().map_err(|error| {
            damaged(format!("{error} (in `{CA_CERTIFICATE}`, `{certificate}` or `{key}`)"))
        })?;
        Ok(identity)
    };
    // A daemon with a damaged one would not start, and say so only in its log.
    let server = identity(SERVER_CERTIFICATE, SERVER_KEY)?;
    let identity = identity(CLIENT_CERTIFICATE, CLIENT_KEY)?;
    let fingerprint = spec::digest(&(&server.certificate_authority, &server.certificate), 16);
    Ok(Certificates { identity, fingerprint })
}

#[cfg(test)]
mod tests;
