//! An admission webhook as service meshes have one: it adds containers to each pod of a namespace.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Project, own_address};

impl Project {
    /// Has the cluster add containers to the pods that are created in this namespace from now on: `containers` besides the others, and
    /// `init_containers` before them. [`remove_webhook`](Self::remove_webhook) undoes that.
    pub(crate) async fn add_to_pods(&self, containers: &[Value], init_containers: &[Value]) {
        let address = own_address();
        let (certificate, acceptor) = tls(address);
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let url = format!("https://{address}:{}/", listener.local_addr().unwrap().port());
        let added = (containers.to_vec(), init_containers.to_vec());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, (containers, init_containers)) = (acceptor.clone(), added.clone());
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await.ok()?;
                    answer(stream, |pod| patch(pod, &containers, &init_containers)).await
                });
            }
        });
        let configuration = json!({
            "metadata": { "name": self.namespace },
            "webhooks": [{
                "name": "sidecars.e2e.example",
                "clientConfig": { "url": url, "caBundle": ByteString(certificate.into_bytes()) },
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": self.namespace } },
                "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }],
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
            }],
        });
        let configuration = serde_json::from_value(configuration).unwrap();
        self.webhooks().create(&PostParams::default(), &configuration).await.unwrap();
    }

    pub(crate) async fn remove_webhook(&self) {
        self.webhooks().delete(&self.namespace, &DeleteParams::default()).await.unwrap();
    }

    fn webhooks(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }
}

/// Returns a certificate in PEM form, and what serves TLS at `address` with it.
fn tls(address: IpAddr) -> (String, TlsAcceptor) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([address.to_string()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let cryptography = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let configuration = ServerConfig::builder_with_provider(cryptography)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (certificate.pem(), TlsAcceptor::from(Arc::new(configuration)))
}

/// Answers one review of a pod with the patch that `patch` makes, and closes the connection.
/// Source: Kubernetes, "Dynamic Admission Control", sections "Request" and "Response".
async fn answer<S>(mut stream: S, patch: impl Fn(&Value) -> Value) -> Option<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    let review: Value = serde_json::from_slice(&body).ok()?;
    let patch = patch(&review["request"]["object"]).to_string();
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": review["request"]["uid"],
            "allowed": true,
            "patchType": "JSONPatch",
            "patch": ByteString(patch.into_bytes()),
        },
    })
    .to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

fn patch(pod: &Value, containers: &[Value], init_containers: &[Value]) -> Value {
    let append = |container: &Value| json!({ "op": "add", "path": "/spec/containers/-", "value": container });
    let mut patch: Vec<Value> = containers.iter().map(append).collect();
    if !init_containers.is_empty() {
        let own = pod["spec"]["initContainers"].as_array().cloned().unwrap_or_default();
        let all = [init_containers.to_vec(), own].concat();
        patch.push(json!({ "op": "add", "path": "/spec/initContainers", "value": all }));
    }
    Value::Array(patch)
}
