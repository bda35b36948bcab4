use std::sync::{Arc, Mutex, MutexGuard};

use garden_build_core::{Error, ErrorKind};
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// An API server that knows Secrets only, by path, and remembers what it was asked.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

type Meddling = Box<dyn FnOnce(&mut BTreeMap<String, Value>) + Send>;

#[derive(Default)]
struct State {
    secrets: BTreeMap<String, Value>,
    requests: Vec<String>,
    writes: usize,
    /// Done once, before the next write.
    meddling: Option<Meddling>,
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    fn cluster(&self) -> Cluster {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.expect("a body");
                let (code, answer) = server.state().answer(&parts.method, parts.uri.path(), &body);
                let response =
                    Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, std::io::Error>(response.expect("a response"))
            }
        });
        Cluster::new(Client::new(service, "default"))
    }

    /// Puts a Secret there that is not ours.
    fn put(&self, namespace: &str, name: &str, kind: &str, key: &str, value: &str) {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": name, "namespace": namespace, "resourceVersion": "1", "uid": "u" },
            "type": kind,
            "data": { key: value },
        });
        self.state().secrets.insert(path(namespace, name), secret);
    }

    fn get(&self, namespace: &str, name: &str) -> Value {
        self.state().secrets[&path(namespace, name)].clone()
    }

    async fn ensure(&self, secrets: &[SecretRef]) -> Result<Vec<SecretCopy>, Error> {
        let ensured = ensure_pull_secrets(&self.cluster(), "an.option", secrets, "apps").await?;
        Ok(ensured.iter().map(|secret| secret.copy).collect())
    }

    /// The requests since the last time that change something.
    fn writes(&self) -> Vec<String> {
        let requests = std::mem::take(&mut self.state().requests);
        requests.into_iter().filter(|request| !request.starts_with("GET ")).collect()
    }
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        self.requests.push(format!("{method} {path}"));
        if *method != Method::GET
            && let Some(meddle) = self.meddling.take()
        {
            meddle(&mut self.secrets);
        }
        let current = self.secrets.get(path).cloned();
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        let refusal = |code: u16| {
            let message = format!("refused with {code}");
            let reason = if code == 404 { "NotFound" } else { "" };
            let answer = json!({ "status": "Failure", "message": message, "reason": reason, "code": code });
            (code, answer)
        };
        let version = |secret: &Value| secret["metadata"]["resourceVersion"].clone();
        self.writes += usize::from(*method != Method::GET);
        let mut stored = sent.clone();
        stored["metadata"]["resourceVersion"] = format!("w{}", self.writes).into();
        stored["metadata"]["uid"] = "u".into();
        match (method.as_str(), current) {
            ("GET", Some(secret)) => (200, secret),
            ("POST", _) => {
                let path = format!("{path}/{}", sent["metadata"]["name"].as_str().expect("a name"));
                if self.secrets.contains_key(&path) {
                    return refusal(409);
                }
                self.secrets.insert(path, stored.clone());
                (201, stored)
            }
            (_, None) => refusal(404),
            ("PUT", Some(secret)) if version(&secret) != version(&sent) => refusal(409),
            // As the API server does.
            ("PUT", Some(secret)) if secret["type"] != sent["type"] => refusal(422),
            ("PUT", Some(_)) => {
                self.secrets.insert(path.to_owned(), stored.clone());
                (200, stored)
            }
            ("DELETE", Some(secret)) => {
                if version(&secret) != sent["preconditions"]["resourceVersion"] {
                    return refusal(409);
                }
                self.secrets.remove(path);
                (200, secret)
            }
            (other, _) => panic!("{other} {path}"),
        }
    }
}

fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}")
}

fn named(namespace: &str, name: &str) -> SecretRef {
    SecretRef::new(name).in_namespace(namespace)
}

const CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";
const DOCKERCFG: &str = "kubernetes.io/dockercfg";

#[tokio::test]
async fn copies_type_and_data_and_writes_only_what_differs() {
    let server = Server::default();
    server.put("ops", "pull", CONFIG_JSON, ".dockerconfigjson", "b25l");
    server.put("ops", "old", DOCKERCFG, ".dockercfg", "e30=");
    let secrets = [named("ops", "pull"), named("ops", "old"), named("apps", "own"), named("ops", "pull")];

    let done = server.ensure(&secrets).await.expect("copied");
    assert_eq!(done, [SecretCopy::Created, SecretCopy::Created, SecretCopy::NotNeeded]);
    assert_eq!(server.writes().len(), 2);
    let copy = server.get("apps", "old");
    assert_eq!((&copy["type"], &copy["data"]), (&json!(DOCKERCFG), &json!({ ".dockercfg": "e30=" })));
    assert_eq!(copy["metadata"]["annotations"]["garden-build/copied-from"], "ops/old");
    assert_eq!(copy["metadata"]["labels"]["app.kubernetes.io/managed-by"], "garden-build");

    let done = server.ensure(&secrets).await.expect("copied");
    assert_eq!(done, [SecretCopy::Unchanged, SecretCopy::Unchanged, SecretCopy::NotNeeded]);
    assert_eq!(server.writes(), Vec::<String>::new());

    server.put("ops", "pull", CONFIG_JSON, ".dockerconfigjson", "dHdv");
    let done = server.ensure(&secrets).await.expect("copied");
    assert_eq!(done, [SecretCopy::Updated, SecretCopy::Unchanged, SecretCopy::NotNeeded]);
    assert_eq!(server.writes(), [format!("PUT {}", path("apps", "pull"))]);
    assert_eq!(server.get("apps", "pull")["data"][".dockerconfigjson"], "dHdv");
}

#[tokio::test]
async fn a_copy_of_another_type_or_source_is_brought_in_line() {
    let server = Server::default();
    server.put("ops", "pull", DOCKERCFG, ".dockercfg", "e30=");
    server.ensure(&[named("ops", "pull")]).await.expect("copied");
    server.put("ops", "pull", CONFIG_JSON, ".dockerconfigjson", "b25l");
    assert_eq!(server.ensure(&[named("ops", "pull")]).await.expect("copied"), [SecretCopy::Updated]);
    assert_eq!(server.get("apps", "pull")["type"], CONFIG_JSON);

    server.put("dev", "pull", CONFIG_JSON, ".dockerconfigjson", "b25l");
    assert_eq!(server.ensure(&[named("dev", "pull")]).await.expect("copied"), [SecretCopy::Updated]);
    let copy = server.get("apps", "pull");
    assert_eq!(copy["metadata"]["annotations"]["garden-build/copied-from"], "dev/pull");
}

#[tokio::test]
async fn a_secret_that_is_not_ours_stays_and_the_others_are_copied() {
    let server = Server::default();
    for (namespace, name) in [("ops", "taken"), ("ops", "pull"), ("dev", "pull"), ("apps", "taken")] {
        server.put(namespace, name, CONFIG_JSON, ".dockerconfigjson", "b25l");
    }
    let before = server.get("apps", "taken");
    let secrets =
        [named("ops", "taken"), named("ops", "missing"), named("ops", "pull"), named("dev", "pull")];
    let error = server.ensure(&secrets).await.expect_err("taken, missing and twice");
    assert_eq!(*error.kind(), ErrorKind::Config);
    for part in [
        "Secret apps/taken is no copy made by garden-build, so that of Secret ops/taken does not",
        "delete it, or give",
        "Secret ops/missing does not exist",
        "Secret dev/pull is not copied to apps, as Secret ops/pull has the same name",
    ] {
        assert!(error.message().contains(part), "{error}");
    }
    assert!(!error.message().contains("b25l"));
    assert_eq!(server.get("apps", "taken"), before);
    assert_eq!(server.get("apps", "pull")["metadata"]["annotations"]["garden-build/copied-from"], "ops/pull");
}

#[tokio::test]
async fn what_others_write_at_the_same_time_is_not_overwritten() {
    let server = Server::default();
    server.put("ops", "pull", CONFIG_JSON, ".dockerconfigjson", "b25l");
    let meddler = |server: &Server, kind: &'static str| {
        let meddling = server.clone();
        let other = Server::default();
        other.put("apps", "pull", kind, ".dockerconfigjson", "dGhlaXJz");
        let theirs = other.get("apps", "pull");
        meddling.state().meddling = Some(Box::new(move |secrets| {
            secrets.insert(path("apps", "pull"), theirs);
        }));
    };
    // Somebody creates it between our look and our write.
    meddler(&server, CONFIG_JSON);
    let error = server.ensure(&[named("ops", "pull")]).await.expect_err("taken");
    assert!(error.message().contains("Secret apps/pull is no copy"), "{error}");
    assert_eq!(server.get("apps", "pull")["data"][".dockerconfigjson"], "dGhlaXJz");

    // Somebody replaces our copy, before it is updated, and before it is made anew.
    for kind in [CONFIG_JSON, DOCKERCFG] {
        server.state().secrets.remove(&path("apps", "pull"));
        server.put("ops", "pull", CONFIG_JSON, ".dockerconfigjson", "b25l");
        server.ensure(&[named("ops", "pull")]).await.expect("copied");
        server.put("ops", "pull", kind, ".dockerconfigjson", "dHdv");
        meddler(&server, CONFIG_JSON);
        let error = server.ensure(&[named("ops", "pull")]).await.expect_err("taken");
        assert!(error.message().contains("Secret apps/pull is no copy"), "{error}");
        assert_eq!(server.get("apps", "pull")["data"][".dockerconfigjson"], "dGhlaXJz");
    }
}
