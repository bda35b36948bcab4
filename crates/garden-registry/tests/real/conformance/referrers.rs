//! Source: OCI distribution specification, sections "Listing Referrers" and "Referrers Tag Schema". Neither
//! registry knows the question, so the client keeps the list under the tag.

use garden_build_core::Digest;

use super::on_every_registry;
use crate::images::Image;
use crate::registry::Registry;

on_every_registry! {
    what_refers_to_an_image_is_listed_with_it,
    nothing_refers_to_what_nobody_knows,
}

async fn what_refers_to_an_image_is_listed_with_it(registry: &Registry) {
    let client = registry.client();
    let image = Image::new("signed", &[100]);
    image.push(&client, &registry.image("team/api", "v1")).await;
    let subject = image.manifest.digest();
    assert!(client.referrers("team/api", subject).await.expect("an answer").is_empty());

    let about: Vec<Image> = ["signature", "contents", "signature"]
        .iter()
        .map(|name| Image::about(&image.manifest, name))
        .collect();
    for referrer in &about {
        referrer.push(&client, &registry.image_by_digest("team/api", referrer.manifest.digest())).await;
    }
    let listed = client.referrers("team/api", subject).await.expect("an answer");
    assert_eq!(listed, [about[0].manifest.descriptor(), about[1].manifest.descriptor()]);
    assert_eq!(listed[0].annotations["org.example.name"], "signature");
    for descriptor in listed {
        let reference = registry.image_by_digest("team/api", descriptor.digest);
        let manifest = client.manifest(&reference).await.expect("an answer").expect("a manifest");
        assert_eq!(manifest.subject().map(|subject| subject.digest), Some(subject));
    }
    assert!(client.referrers("team/other", subject).await.expect("an answer").is_empty());
}

async fn nothing_refers_to_what_nobody_knows(registry: &Registry) {
    let client = registry.client();
    for repository in ["team/absent", "team/api"] {
        let listed = client.referrers(repository, Digest::of(b"absent")).await.expect("an answer");
        assert!(listed.is_empty());
        Image::new("other", &[10]).push(&client, &registry.image("team/api", "v1")).await;
    }
}
