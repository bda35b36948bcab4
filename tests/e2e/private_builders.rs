//! Builders whose own images are private, with the password in a Secret of another namespace: as in the README's first project file.

use garden_build::config::{ContextDelivery, ProviderConfig};
use garden_build::{Builder, ErrorKind, Outcome};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use crate::site::private_images::{SECRET, with_a_secret_elsewhere};
use crate::site::{
    Project, build_with_events, client_with_the_documented_role, running, shown, variable, warnings,
};

/// Builds as a user with the documented role and the right to read the Secret, first without the Secret, which has to fail.
async fn builds_with_the_secret_only(project: &Project, client: &Client, unique: &str) {
    project.dockerfile(&format!("RUN echo {} {unique}\n", project.namespace));
    let builder = |provider: &ProviderConfig| {
        Builder::options(provider.clone()).client(client.clone()).connect().unwrap()
    };
    let mut without = project.provider.clone();
    without.image_pull_secrets.clear();
    let error = builder(&without).build(project.request()).await.expect_err("the image is private");
    assert_eq!(error.kind(), ErrorKind::ImagePull, "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("`imagePullSecrets`")), "{error:?}");

    let (image, events) = build_with_events(&builder(&project.provider), project.request()).await;
    let image = image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
    assert!(matches!(image.outcome, Outcome::Built { .. }), "{:?}", image.outcome);
    // A daemon that could not start makes room.
    let unexpected: Vec<_> =
        warnings(&events).into_iter().filter(|message| !message.contains("is replaced")).collect();
    assert_eq!(unexpected, <[&str; 0]>::default());
}

#[tokio::test]
async fn kaniko_s_executor_and_its_context_service_are_pulled() {
    with_a_secret_elsewhere("private-kaniko", async |owner, project| {
        let client = client_with_the_documented_role(project).await;
        owner.share_secret_with(project, "garden-builder").await;
        // Each from a repository of its own: what a service has pulled, an executor need not.
        for (delivery, image, name) in [
            (ContextDelivery::Stdin, "GARDEN_TEST_KANIKO_IMAGE", "slim/kaniko:v1.24.0"),
            (ContextDelivery::Sync, "GARDEN_TEST_KANIKO_DEBUG_IMAGE", "kaniko:v1.24.0-debug"),
        ] {
            project.kaniko().image = project.private_copy_of(&variable(image), name);
            project.kaniko().context_delivery = delivery;
            builds_with_the_secret_only(project, &client, name).await;
        }
        project.assert_has_copy_of_secret(owner).await;
    })
    .await;
}

#[tokio::test]
async fn the_buildkit_daemon_is_pulled_and_its_copy_follows_the_secret() {
    with_a_secret_elsewhere("private-buildkit", async |owner, project| {
        let client = client_with_the_documented_role(project).await;
        owner.share_secret_with(project, "garden-builder").await;
        let image = project.private_copy_of(&variable("GARDEN_TEST_BUILDKIT_IMAGE"), "buildkit:v0.26.3");
        project.buildkit().image = Some(image);
        builds_with_the_secret_only(project, &client, "first").await;
        project.assert_has_copy_of_secret(owner).await;
        let daemon = project.builder_pod(running).await.uid();

        // With something more in it.
        let mut secret = owner.secrets().get(SECRET).await.unwrap();
        let data = &secret.data.as_ref().unwrap()[".dockerconfigjson"].0;
        let mut configuration: serde_json::Value = serde_json::from_slice(data).unwrap();
        configuration["auths"]["other.example"] = json!({ "username": "user", "password": "password" });
        let renewed = k8s_openapi::ByteString(configuration.to_string().into_bytes());
        secret.data.as_mut().unwrap().insert(".dockerconfigjson".to_owned(), renewed);
        owner.secrets().replace(SECRET, &kube::api::PostParams::default(), &secret).await.unwrap();
        project.dockerfile(&format!("RUN echo {} renewed\n", project.namespace));
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
        builder.build(project.request()).await.unwrap();
        project.assert_has_copy_of_secret(owner).await;
        assert_eq!(project.builder_pod(running).await.uid(), daemon, "another content is no other daemon");
    })
    .await;
}
