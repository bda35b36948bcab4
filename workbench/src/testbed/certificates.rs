//! Certificates, keys and kubeconfigs: who each component is to the API server.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use super::network::{API_SERVER, NODE, NODE_NAME, SERVICE_API};
use super::state::State;

/// A user of the API: file name, common name (user) and organization (group).
const USERS: &[(&str, &str, &str)] = &[
    ("admin", "garden-testbed-admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("kube-proxy", "system:kube-proxy", ""),
    // CoreDNS normally gets a role of its own. A built-in group saves it from
    // starting before that role exists.
    ("coredns", "system:coredns", "system:masters"),
];

/// Writes everything below `pki/`, plus one kubeconfig per user.
pub(super) fn write(state: &State) -> Result<()> {
    let ca = Authority::create("garden-testbed")?;
    state.write("pki/ca.crt", &ca.certificate)?;
    state.write("pki/ca.key", &ca.issuer.key().serialize_pem())?;

    let apiserver_names = [
        NODE.to_string(),
        SERVICE_API.to_string(),
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        NODE_NAME.to_owned(),
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        "kubernetes.default.svc.cluster.local".to_owned(),
    ];
    ca.sign("kube-apiserver", "", &apiserver_names)?.write(state, "apiserver")?;
    let service_accounts = KeyPair::generate()?;
    state.write("pki/service-account.key", &service_accounts.serialize_pem())?;
    state.write("pki/service-account.pub", &service_accounts.public_key_pem())?;

    // The kubelet serves with the certificate that it also identifies itself by.
    let kubelet = ca.sign(&format!("system:node:{NODE_NAME}"), "system:nodes", &[NODE.to_string()])?;
    kubelet.write(state, "kubelet")?;
    state.write("config/kubelet.kubeconfig", &kubeconfig(&ca, &kubelet))?;

    for (file, user, group) in USERS {
        let identity = ca.sign(user, group, &[])?;
        identity.write(state, file)?;
        state.write(&format!("config/{file}.kubeconfig"), &kubeconfig(&ca, &identity))?;
    }
    std::fs::copy(state.path("config/admin.kubeconfig"), state.kubeconfig())?;

    // A registry with a private CA is only private when the cluster's CA does not vouch for it.
    let registry_ca = Authority::create("garden-testbed-registry")?;
    state.write("pki/registry-ca.crt", &registry_ca.certificate)?;
    registry_ca.sign("registry", "", &[NODE.to_string()])?.write(state, "registry")
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    fn create(name: &str) -> Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = distinguished_name(name, "");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(parameters, key) })
    }

    fn sign(&self, common_name: &str, organization: &str, names: &[String]) -> Result<Identity> {
        let mut parameters = CertificateParams::new(names)?;
        parameters.distinguished_name = distinguished_name(common_name, organization);
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

impl Identity {
    fn write(&self, state: &State, file: &str) -> Result<()> {
        state.write(&format!("pki/{file}.crt"), &self.certificate)?;
        state.write(&format!("pki/{file}.key"), &self.key)?;
        Ok(())
    }
}

fn distinguished_name(common_name: &str, organization: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if !organization.is_empty() {
        name.push(DnType::OrganizationName, organization);
    }
    name
}

/// With embedded data, so that the file can be copied anywhere. JSON is YAML.
fn kubeconfig(ca: &Authority, user: &Identity) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "clusters": [{ "name": "testbed", "cluster": {
            "server": format!("https://{API_SERVER}"),
            "certificate-authority-data": STANDARD.encode(&ca.certificate),
        }}],
        "users": [{ "name": "testbed", "user": {
            "client-certificate-data": STANDARD.encode(&user.certificate),
            "client-key-data": STANDARD.encode(&user.key),
        }}],
        "contexts": [{ "name": "testbed", "context": { "cluster": "testbed", "user": "testbed" } }],
    })
    .to_string()
}
