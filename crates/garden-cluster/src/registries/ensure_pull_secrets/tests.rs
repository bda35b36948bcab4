use garden_build_core::{Error, ErrorKind};
use garden_build_testing::kubernetes::{FakeCluster, Fault};
use serde_json::{Value, json};

use super::*;

/// A cluster with Secrets.
struct Server(FakeCluster);

impl Server {
    fn new() -> Self {
        let fake = FakeCluster::new();
        for namespace in ["ops", "dev", "apps"] {
            fake.namespace(namespace);
        }
        Self(fake)
    }

    /// Puts a Secret there that is not ours.
    fn put(&self, namespace: &str, name: &str, kind: &str, key: &str, value: &str) {
        put(&self.0, namespace, name, kind, key, value);
    }

    fn get(&self, namespace: &str, name: &str) -> Value {
        self.0.object("secrets", namespace, name).expect("a Secret")
    }

    async fn ensure(&self, secrets: &[SecretRef]) -> Result<Vec<SecretCopy>, Error> {
        let cluster = Cluster::new(self.0.client());
        let ensured = ensure_pull_secrets(&cluster, "an.option", secrets, "apps").await?;
        Ok(ensured.iter().map(|secret| secret.copy).collect())
    }

    /// The requests since the last time that change something.
    fn writes(&self) -> Vec<String> {
        let writes = self.0.writes();
        self.0.forget_requests();
        writes
    }

    /// Has somebody else put a Secret in the place of our copy, just before our next request of this `verb`.
    fn meddle(&self, verb: &'static str) {
        self.0.fault(Fault::meddle(verb, "secrets", |fake| {
            fake.remove("secrets", "apps", "pull");
            put(fake, "apps", "pull", CONFIG_JSON, ".dockerconfigjson", "dGhlaXJz");
        }));
    }
}

fn put(fake: &FakeCluster, namespace: &str, name: &str, kind: &str, key: &str, value: &str) {
    fake.put(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "type": kind,
        "data": { key: value },
    }));
}

fn named(namespace: &str, name: &str) -> SecretRef {
    SecretRef::new(name).in_namespace(namespace)
}

const CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";
const DOCKERCFG: &str = "kubernetes.io/dockercfg";

#[tokio::test]
async fn copies_type_and_data_and_writes_only_what_differs() {
    let server = Server::new();
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
    assert_eq!(server.writes(), ["update secrets apps/pull"]);
    assert_eq!(server.get("apps", "pull")["data"][".dockerconfigjson"], "dHdv");
}

#[tokio::test]
async fn a_copy_of_another_type_or_source_is_brought_in_line() {
    let server = Server::new();
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
    let server = Server::new();
    for (namespace, name) in [("ops", "taken"), ("ops", "pull"), ("dev", "pull"), ("apps", "taken")] {
        server.put(namespace, name, CONFIG_JSON, ".dockerconfigjson", "b25l");
    }
    let before = server.get("apps", "taken");
    let secrets =
        [named("ops", "taken"), named("ops", "missing"), named("ops", "pull"), named("dev", "pull")];
    let error = server.ensure(&secrets).await.expect_err("taken, missing and twice");
    assert_eq!(error.kind(), ErrorKind::Config);
    for part in [
        "Secret apps/taken was not copied by garden-build, so Secret ops/taken does not",
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
    let server = Server::new();
    server.put("ops", "pull", CONFIG_JSON, ".dockerconfigjson", "b25l");
    // Somebody creates it between our look and our write.
    server.meddle("create");
    let error = server.ensure(&[named("ops", "pull")]).await.expect_err("taken");
    assert!(error.message().contains("Secret apps/pull was not copied"), "{error}");
    assert_eq!(server.get("apps", "pull")["data"][".dockerconfigjson"], "dGhlaXJz");

    // Somebody replaces our copy, before it is updated, and before it is made anew.
    for (verb, kind) in [("update", CONFIG_JSON), ("delete", DOCKERCFG)] {
        server.0.remove("secrets", "apps", "pull");
        server.put("ops", "pull", CONFIG_JSON, ".dockerconfigjson", "b25l");
        server.ensure(&[named("ops", "pull")]).await.expect("copied");
        server.put("ops", "pull", kind, ".dockerconfigjson", "dHdv");
        server.meddle(verb);
        let error = server.ensure(&[named("ops", "pull")]).await.expect_err("taken");
        assert!(error.message().contains("Secret apps/pull was not copied"), "{error}");
        assert_eq!(server.get("apps", "pull")["data"][".dockerconfigjson"], "dGhlaXJz");
    }
}
