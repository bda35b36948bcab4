use std::collections::BTreeMap;

use garden_build::{Builder, ErrorKind, Outcome};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;

use crate::site::{client_with_the_documented_role, in_project};

#[tokio::test]
async fn the_role_in_the_examples_is_enough_to_build() {
    in_project("role", async |project| {
        project.create_registry_secret("pull", "registry.example", "user", "password").await;
        let secret = garden_build::config::SecretRef::new("pull").in_namespace(&project.namespace);
        project.provider.image_pull_secrets.push(secret);
        project.dockerfile("RUN echo built by a user with few rights\n");
        let client = client_with_the_documented_role(project).await;
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
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
        let builder = Builder::options(project.provider.clone()).client(client.clone()).connect().unwrap();
        let build = builder.build(project.request());
        let accounts = project.service_accounts_of_pods("kaniko-").await;
        build.await.unwrap();
        assert_eq!(accounts, ["garden-in-cluster-builder"]);

        project.buildkit().service_account_annotations.clone_from(&annotations);
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
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
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
        let error = builder.build(project.request()).await.expect_err("not allowed");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        assert!(error.message().contains("default") && error.message().contains("pods"), "{error}");
    })
    .await;
}
