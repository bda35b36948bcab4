//! Which rights a clean-up needs.

use garden_build::{Builder, CleanUpOptions, ErrorKind};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::images::{at_once, with_own_registry};
use super::{create, version};
use crate::site::{Account, Project, client_of_account};

/// The rights of `examples/clean-up-role.yaml`, for a registry in the project's namespace. The role for the whole cluster
/// gets the namespace's name.
struct Rights {
    account: Value,
    cluster_role: Value,
    cluster_binding: Value,
    role: Value,
    binding: Value,
}

impl Rights {
    fn documented(namespace: &str) -> Self {
        let text = include_str!("../../../examples/clean-up-role.yaml").replace("garden-system", namespace);
        let documents = serde_saphyr::from_multiple::<Value>(&text).unwrap();
        let [account, mut cluster_role, mut cluster_binding, role, binding] = documents.try_into().unwrap();
        cluster_role["metadata"]["name"] = json!(namespace);
        cluster_binding["metadata"]["name"] = json!(namespace);
        cluster_binding["roleRef"]["name"] = json!(namespace);
        Self { account, cluster_role, cluster_binding, role, binding }
    }

    /// Creates them, and returns a client that has them.
    async fn client(self, project: &Project) -> Client {
        let parameters = PostParams::default();
        let name = self.account["metadata"]["name"].as_str().unwrap().to_owned();
        let rights_of =
            |role: &Value| -> Vec<PolicyRule> { serde_json::from_value(role["rules"].clone()).unwrap() };
        let (own, of_cluster) = (rights_of(&self.role), rights_of(&self.cluster_role));
        create::<ServiceAccount>(project, self.account).await;
        create::<Role>(project, self.role).await;
        create::<RoleBinding>(project, self.binding).await;
        let roles: Api<ClusterRole> = Api::all(project.client.clone());
        roles.create(&parameters, &serde_json::from_value(self.cluster_role).unwrap()).await.unwrap();
        let bindings: Api<ClusterRoleBinding> = Api::all(project.client.clone());
        bindings.create(&parameters, &serde_json::from_value(self.cluster_binding).unwrap()).await.unwrap();
        let account = Account { namespace: &project.namespace, name: &name };
        account.wait_for_rights(&project.client, Some(&project.namespace), &own).await;
        account.wait_for_rights(&project.client, None, &of_cluster).await;
        client_of_account(project, &name).await
    }
}

async fn remove(project: &Project) {
    let parameters = DeleteParams::default();
    let roles: Api<ClusterRole> = Api::all(project.client.clone());
    roles.delete(&project.namespace, &parameters).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(project.client.clone());
    bindings.delete(&project.namespace, &parameters).await.unwrap();
}

#[tokio::test]
async fn the_role_in_the_examples_is_enough_to_clean_up() {
    with_own_registry("clean-up-role", async |project, registry| {
        registry.push("shop/api", &version(1), "image", &[]).await;
        let client = Rights::documented(&project.namespace).client(project).await;
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
        let report = builder.clean_up_registry(at_once()).await.unwrap();
        assert_eq!(report.deleted.len(), 1, "{report}");
        remove(project).await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_deleted_if_one_kind_of_workload_may_not_be_listed() {
    with_own_registry("clean-up-no-rights", async |project, registry| {
        let digest = registry.push("shop/api", &version(1), "image", &[]).await;
        let mut rights = Rights::documented(&project.namespace);
        for rule in rights.cluster_role["rules"].as_array_mut().unwrap() {
            rule["resources"].as_array_mut().unwrap().retain(|resource| resource != "cronjobs");
        }
        rights.cluster_role["rules"].as_array_mut().unwrap().retain(|rule| rule["resources"] != json!([]));
        let client = rights.client(project).await;
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
        let error = builder.clean_up_registry(at_once()).await.expect_err("not allowed");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        assert!(error.message().contains("list cronjobs in all namespaces"), "{error}");
        builder.plan_clean_up(CleanUpOptions::new()).await.expect_err("not allowed either");
        registry.assert_complete("shop/api", digest).await;
        remove(project).await;
    })
    .await;
}
