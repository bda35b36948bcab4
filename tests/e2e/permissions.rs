use std::collections::BTreeMap;

use garden_build::{Builder, ErrorKind, Outcome};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::PostParams;
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use serde_json::json;

use crate::site::{Project, in_project};

/// Returns a client with the rights of `examples/role.yaml` in the project's namespace.
pub(crate) async fn client_with_the_documented_role(project: &Project) -> Client {
    let documents =
        serde_saphyr::from_multiple::<serde_json::Value>(include_str!("../../examples/role.yaml"));
    let [account, role, binding] = <[_; 3]>::try_from(documents.unwrap()).unwrap();
    let parameters = PostParams::default();
    let accounts: Api<ServiceAccount> = Api::namespaced(project.client.clone(), &project.namespace);
    let account: ServiceAccount = serde_json::from_value(account).unwrap();
    accounts.create(&parameters, &account).await.unwrap();
    let roles: Api<Role> = Api::namespaced(project.client.clone(), &project.namespace);
    roles.create(&parameters, &serde_json::from_value(role).unwrap()).await.unwrap();
    let mut binding: RoleBinding = serde_json::from_value(binding).unwrap();
    binding.subjects.as_mut().unwrap()[0].namespace = Some(project.namespace.clone());
    let bindings: Api<RoleBinding> = Api::namespaced(project.client.clone(), &project.namespace);
    bindings.create(&parameters, &binding).await.unwrap();

    client_of(&accounts, &account.metadata.name.unwrap()).await
}

/// Returns a client with nothing but the rights of the Role `role` in `documents`, in the project's namespace.
pub(crate) async fn client_with_role(project: &Project, documents: &str, role: &str) -> Client {
    let documents = serde_saphyr::from_multiple::<serde_json::Value>(documents).unwrap();
    let is_wanted = |it: &serde_json::Value| it["kind"] == "Role" && it["metadata"]["name"] == role;
    let wanted = documents.into_iter().find(is_wanted).unwrap();
    let parameters = PostParams::default();
    let roles: Api<Role> = Api::namespaced(project.client.clone(), &project.namespace);
    roles.create(&parameters, &serde_json::from_value(wanted).unwrap()).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(project.client.clone(), &project.namespace);
    let account = json!({ "metadata": { "name": role } });
    accounts.create(&parameters, &serde_json::from_value(account).unwrap()).await.unwrap();
    let binding = json!({
        "metadata": { "name": role },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": role, "namespace": project.namespace }],
    });
    let bindings: Api<RoleBinding> = Api::namespaced(project.client.clone(), &project.namespace);
    bindings.create(&parameters, &serde_json::from_value(binding).unwrap()).await.unwrap();
    client_of(&accounts, role).await
}

async fn client_of(accounts: &Api<ServiceAccount>, name: &str) -> Client {
    let token = accounts.create_token_request(name, &PostParams::default(), &TokenRequest::default()).await;
    let mut config = Config::infer().await.unwrap();
    let token = token.unwrap().status.unwrap().token.unwrap();
    config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    Client::try_from(config).unwrap()
}

#[tokio::test]
async fn the_role_in_the_examples_is_enough_to_build() {
    in_project("role", async |project| {
        project.create_registry_secret("pull", "registry.example", "user", "password").await;
        let secret = garden_build::config::SecretRef::new("pull").in_namespace(&project.namespace);
        project.provider.image_pull_secrets.push(secret);
        project.dockerfile("RUN echo built by a user with few rights\n");
        let client = client_with_the_documented_role(project).await;
        let builder = Builder::with_client(project.provider.clone(), client).unwrap();
        let image = builder.build(project.request()).await.unwrap();
        assert!(matches!(image.outcome, Outcome::Built { .. }));
        assert!(project.leftovers().await.is_empty());
        assert_eq!(builder.sweep().await.unwrap().removed, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn builders_run_as_a_service_account_with_the_annotations_that_give_them_an_identity() {
    in_project("identity", async |project| {
        let annotations = BTreeMap::from([("example.com/role".to_owned(), "builder".to_owned())]);
        project.dockerfile("RUN sleep 2\n");
        project.kaniko().service_account_annotations.clone_from(&annotations);
        let client = client_with_the_documented_role(project).await;
        let builder = Builder::with_client(project.provider.clone(), client.clone()).unwrap();
        let build = builder.start(project.request()).await.unwrap();
        let accounts = project.service_accounts_of_pods("kaniko-").await;
        build.await.unwrap();
        assert_eq!(accounts, ["garden-in-cluster-builder"]);

        project.buildkit().service_account_annotations.clone_from(&annotations);
        let builder = Builder::with_client(project.provider.clone(), client).unwrap();
        builder.build(project.request().force(true)).await.unwrap();
        assert_eq!(project.service_accounts_of_pods("garden-buildkit-").await, ["garden-in-cluster-builder"]);

        let accounts: Api<ServiceAccount> = Api::namespaced(project.client.clone(), &project.namespace);
        let account = accounts.get("garden-in-cluster-builder").await.unwrap();
        assert_eq!(account.metadata.annotations, Some(annotations));
    })
    .await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    in_project("no-rights", async |project| {
        project.dockerfile("RUN true\n");
        let client = client_with_the_documented_role(project).await;
        // The role is for another namespace.
        project.provider.namespace.name = "default".to_owned();
        let builder = Builder::with_client(project.provider.clone(), client).unwrap();
        let error = builder.build(project.request()).await.expect_err("not allowed");
        assert_eq!(*error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        assert!(error.message().contains("default") && error.message().contains("pods"), "{error}");
    })
    .await;
}
