//! What is said when an image cannot be published: each side of a copy has options of its own.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use garden_build::config::{DeploymentRegistry, ProviderConfig};
use garden_build::registry::Credentials;
use garden_build::{Builder, Error, ErrorKind, HintCode, PublishRequest};
use garden_build_testing::kubernetes::FakeCluster;
use garden_build_testing::registry::{Image, Registry};

/// The image that is published.
const IMAGE: &str = "team/api:v1";

/// A registry that has the image, and speaks plain HTTP.
async fn plain() -> Registry {
    let registry = Registry::start().await;
    registry.push_image(IMAGE, &Image::new());
    registry
}

/// A registry with TLS, whose certificate nobody trusts.
async fn with_tls() -> Registry {
    Registry::builder().tls().start().await
}

/// A registry that lets in nobody without a password.
async fn closed() -> Registry {
    Registry::builder().login("user", "password").start().await
}

fn builder(deployment: &Registry, insecure: bool) -> Builder {
    let mut provider = ProviderConfig::kubernetes("demo");
    let mut deployment = DeploymentRegistry::new(&deployment.host()).unwrap();
    deployment.insecure = insecure;
    provider.deployment_registry = Some(deployment);
    Builder::options(provider).client(FakeCluster::new().client()).connect().unwrap()
}

async fn refused(
    builder: &Builder,
    from: &Registry,
    to: &Registry,
    change: impl Fn(&mut PublishRequest),
) -> Error {
    let mut request = PublishRequest::of_reference(from.reference(IMAGE), to.reference(IMAGE));
    // Else those of this machine's `docker login` would count.
    request.credentials = Some(Credentials::new());
    change(&mut request);
    builder.publish(request).await.unwrap_err()
}

#[tokio::test]
async fn a_destination_that_cannot_be_used_is_mended_in_the_request() {
    let source = plain().await;
    let builder = builder(&source, true);
    let hint = async |to: Registry, change: fn(&mut PublishRequest)| {
        let error = refused(&builder, &source, &to, change).await;
        let hint = error.hint_data().unwrap_or_else(|| panic!("{error}")).clone();
        assert!(
            !hint.text.contains("deploymentRegistry") && !hint.text.contains("imagePullSecret"),
            "{error}"
        );
        (hint.code, hint.options.join(" "))
    };
    let set = |option: &str| (HintCode::SetRequest, option.to_owned());
    let unknown_authority = hint(with_tls().await, |_| ()).await;
    assert_eq!(unknown_authority, set("caCertificates"));
    let no_certificate =
        hint(with_tls().await, |request| request.ca_certificates = Some(b"none".to_vec())).await;
    assert_eq!(no_certificate, set("caCertificates"));
    let plain_http = hint(plain().await, |_| ()).await;
    assert_eq!(plain_http, set("insecure"));
    let tls = hint(with_tls().await, |request| request.insecure = true).await;
    assert_eq!(tls, set("insecure"));
    let anonymous = hint(closed().await, |request| request.insecure = true).await;
    assert_eq!(anonymous, (HintCode::LogIn, "credentials".to_owned()));
}

#[tokio::test]
async fn a_source_that_cannot_be_used_is_mended_in_the_project() {
    let destination = Registry::start().await;
    for (source, insecure, option) in [
        (with_tls().await, false, "deploymentRegistry.caCertificate"),
        (plain().await, false, "deploymentRegistry.insecure: true"),
        (closed().await, true, "imagePullSecrets"),
    ] {
        let builder = builder(&source, insecure);
        let error = refused(&builder, &source, &destination, |request| request.insecure = true).await;
        assert_ne!(error.kind(), ErrorKind::NotFound, "{error}");
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains(option) && !hint.contains("PublishRequest"), "{error}: {hint}");
    }
}
