//! Images that leave the deployment registry: for another registry, another name, a file.

use std::collections::BTreeMap;
use std::io::Read as _;

use garden_build::registry::{Credentials, Platform, Platforms, RegistryClient, Resolution};
use garden_build::{BuiltImage, Digest, ErrorKind, ImageReference, PublishRequest};
use serde_json::Value;

use crate::site::docker_daemon::Daemon;
use crate::site::{Project, in_project, variable};

/// A registry of a company: a private authority, and a password of its own.
fn elsewhere(project: &Project, password: &str) -> (ImageReference, Credentials, Vec<u8>) {
    let host = variable("GARDEN_TEST_REGISTRY_TLS_BASIC");
    let username = variable("GARDEN_TEST_REGISTRY_TLS_BASIC_USERNAME");
    let image = ImageReference::tagged(&host, &format!("{}/released", project.namespace), "1.0").unwrap();
    let credentials = Credentials::with_password(&host, &username, password.into(), "the test").unwrap();
    (image, credentials, std::fs::read(variable("GARDEN_TEST_REGISTRY_TLS_CA")).unwrap())
}

async fn built(project: &Project) -> BuiltImage {
    project.dockerfile("RUN echo released > /version\nCMD [\"cat\", \"/version\"]\n");
    project.builder().build(project.request()).await.unwrap()
}

#[tokio::test]
async fn an_image_is_published_to_another_registry_and_once_there_is_not_sent_again() {
    in_project("publish", async |project| {
        let image = built(project).await;
        let password = variable("GARDEN_TEST_REGISTRY_TLS_BASIC_PASSWORD");
        let (name, credentials, ca) = elsewhere(project, &password);
        let request = PublishRequest::new(&image, name.clone())
            .credentials(credentials.clone())
            .ca_certificates(ca.clone());

        let builder = project.builder();
        let mut publishing = builder.publish(request.clone());
        let mut events = Vec::new();
        while let Some(event) = publishing.next_event().await {
            events.push(event);
        }
        let published = publishing.await.unwrap();
        assert_eq!((published.copied.digest, published.copied.existed), (image.digest, false));
        assert!(published.copied.blobs_sent >= 2, "{published:?}");
        let shown = crate::site::shown(&events);
        assert!(shown.contains("copy sha256:") && !shown.contains(&password), "{shown}");

        let client = RegistryClient::builder(name.registry()).ca_certificates(ca).credentials(credentials);
        let found = client.build().unwrap().resolve(&name).await.unwrap();
        assert_eq!(found, Resolution::Exists(image.digest));
        let username = variable("GARDEN_TEST_REGISTRY_TLS_BASIC_USERNAME");
        project.create_registry_secret("pull", name.registry(), &username, &password).await;
        assert_eq!(project.run(&name.to_string(), &[], Some("pull")).await, "released\n");

        let again = builder.publish(request).await.unwrap();
        assert_eq!((again.copied.existed, again.copied.blobs_sent), (true, 0));
    })
    .await;
}

#[tokio::test]
async fn publishing_within_a_registry_sends_no_content() {
    in_project("publish-same", async |project| {
        let image = built(project).await;
        let host = variable("GARDEN_TEST_REGISTRY");
        let name = ImageReference::tagged(&host, &format!("{}/released", project.namespace), "1.0").unwrap();
        let published = project.builder().publish(PublishRequest::new(&image, name.clone())).await.unwrap();
        assert_eq!((published.copied.blobs_sent, published.copied.bytes_sent), (0, 0));
        assert!(published.copied.blobs_mounted >= 2, "{published:?}");
        assert_eq!(project.run(&name.to_string(), &[], None).await, "released\n");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_at_the_destination_is_named_and_nothing_is_published() {
    in_project("publish-denied", async |project| {
        let image = built(project).await;
        let (name, credentials, ca) = elsewhere(project, "not-the-password");
        let request = PublishRequest::new(&image, name.clone()).credentials(credentials).ca_certificates(ca);
        let error = project.builder().publish(request).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
        let told = format!("{error}{}{error:?}", error.hint().unwrap_or_default());
        assert!(told.contains(name.registry()) && told.contains("the test"), "{told}");
        assert!(!told.contains("not-the-password"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn an_image_that_is_not_there_is_named() {
    in_project("publish-nothing", async |project| {
        let host = variable("GARDEN_TEST_REGISTRY");
        let [source, name] = ["nothing", "released"].map(|name| {
            ImageReference::tagged(&host, &format!("{}/{name}", project.namespace), "1.0").unwrap()
        });
        let request = PublishRequest::of_reference(source.clone(), name);
        let error = project.builder().publish(request).await.expect_err("nothing to publish");
        assert!(error.message().contains(&source.to_string()), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_saved_image_is_whole_and_is_what_docker_loads() {
    in_project("save", async |project| {
        let image = built(project).await;
        let file = project.path().join("image.tar");
        let builder = project.builder();
        let saved = builder.save(&image.reference, Platforms::All, &file).await.unwrap();
        assert_eq!(saved, image.digest);

        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(std::fs::File::open(&file).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), content);
        }
        for (path, content) in &files {
            if let Some(digest) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(Digest::of(content).hex(), digest);
            }
        }
        let json = |path: &str| -> Value { serde_json::from_slice(&files[path]).unwrap() };
        assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
        assert_eq!(json("index.json")["manifests"][0]["digest"], image.digest.to_string());
        let for_docker = &json("manifest.json")[0];
        assert_eq!(for_docker["RepoTags"][0], image.reference.to_string());
        let layers = for_docker["Layers"].as_array().unwrap();
        assert!(
            layers.len() >= 2
                && layers
                    .iter()
                    .chain([&for_docker["Config"]])
                    .all(|path| { files.contains_key(path.as_str().unwrap()) })
        );

        // Whoever reads the directory meanwhile never finds half a file, and afterwards no other.
        let left: Vec<_> =
            std::fs::read_dir(project.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        let only = Platforms::Only(Platform::of_this_machine());
        assert_eq!(builder.save(&image.reference, only, &file).await.unwrap(), image.digest);
    })
    .await;
}

#[tokio::test]
async fn an_image_is_loaded_into_a_docker_daemon() {
    in_project("docker-load", async |project| {
        let image = built(project).await;
        let daemon = Daemon::start().await;
        let client = daemon.client();
        // Twice, as it is done after each build.
        for _ in 0..2 {
            project.builder().load_into_docker(&image.reference, &client).await.unwrap();
        }
        let host = variable("GARDEN_TEST_REGISTRY");
        let nothing =
            ImageReference::tagged(&host, &format!("{}/nothing", project.namespace), "1.0").unwrap();
        let error = project.builder().load_into_docker(&nothing, &client).await.expect_err("no such image");
        assert!(error.message().contains(&nothing.to_string()), "{error}");

        drop(daemon);
        let error =
            project.builder().load_into_docker(&image.reference, &client).await.expect_err("no daemon");
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
        assert!(error.message().contains("/socket") && error.hint().is_some(), "{error}");
    })
    .await;
}
