//! Images of builders that nodes get only with a password, which is in a Secret of another namespace.

use std::path::Path;
use std::process::Command;

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::{Account, Project, in_project, variable};

/// The Secret with the password.
pub(crate) const SECRET: &str = "pull";

/// Runs a test in a project that has the password of the registry in a Secret of another one, which owns it.
pub(crate) async fn with_a_secret_elsewhere(name: &str, test: impl AsyncFnOnce(&Project, &mut Project)) {
    in_project(&format!("{name}-owner"), async |owner| {
        let (host, username, password) = registry();
        owner.create_registry_secret(SECRET, &host, &username, &password).await;
        owner.use_pull_secret(SECRET);
        in_project(name, async |project| {
            project.provider.image_pull_secrets.clone_from(&owner.provider.image_pull_secrets);
            test(owner, project).await;
        })
        .await;
    })
    .await;
}

/// The registry that asks for a password, and whom it lets in.
fn registry() -> (String, String, String) {
    (
        variable("GARDEN_TEST_REGISTRY_BASIC"),
        variable("GARDEN_TEST_REGISTRY_BASIC_USERNAME"),
        variable("GARDEN_TEST_REGISTRY_BASIC_PASSWORD"),
    )
}

impl Project {
    /// Puts `image`, which the node has, into the registry that asks for a password, under a name by which the node does not have it. Returns that.
    pub(crate) fn private_copy_of(&self, image: &str, name: &str) -> String {
        let (host, username, password) = registry();
        let copy = format!("{host}/{}/{name}", self.namespace);
        ctr(&["tag", image, &copy]);
        ctr(&["push", "--plain-http", "--user", &format!("{username}:{password}"), &copy]);
        ctr(&["remove", &copy]);
        copy
    }

    /// Lets the service account called `account` of `user` read the Secret [`SECRET`] of this project, and nothing else.
    pub(crate) async fn share_secret_with(&self, user: &Project, account: &str) {
        let metadata = json!({ "name": "reads-the-secret" });
        let role = json!({
            "metadata": metadata,
            "rules": [{ "apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET], "verbs": ["get"] }],
        });
        let binding = json!({
            "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads-the-secret" },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": user.namespace }],
        });
        let roles: Api<Role> = Api::namespaced(self.client.clone(), &self.namespace);
        let bindings: Api<RoleBinding> = Api::namespaced(self.client.clone(), &self.namespace);
        let role: Role = serde_json::from_value(role).unwrap();
        roles.create(&PostParams::default(), &role).await.unwrap();
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
        let account = Account { namespace: &user.namespace, name: account };
        account.wait_for_rights(&self.client, Some(&self.namespace), &role.rules.unwrap()).await;
    }

    /// Makes sure that the Secret of `owner` was copied to this project's namespace, as it is now.
    pub(crate) async fn assert_has_copy_of_secret(&self, owner: &Project) {
        let copy = self.secrets().get(SECRET).await.unwrap();
        let source = owner.secrets().get(SECRET).await.unwrap();
        assert!(copy.data == source.data && copy.type_ == source.type_);
        let from = format!("{}/{SECRET}", owner.namespace);
        assert_eq!(copy.metadata.annotations.unwrap()["garden-build/copied-from"], from);
    }
}

/// Has the node's containerd do something with its images.
fn ctr(arguments: &[&str]) {
    let mut command = Command::new(Path::new(&variable("GARDEN_TEST_CONTAINERD_PROGRAMS")).join("ctr"));
    command.args(["--address", &variable("GARDEN_TEST_CONTAINERD"), "--namespace", "k8s.io", "images"]);
    let ran = command.args(arguments).output().expect("`ctr` is there");
    // The arguments may hold a password.
    let what = arguments[0];
    assert!(ran.status.success(), "ctr images {what}: {}", String::from_utf8_lossy(&ran.stderr));
}
