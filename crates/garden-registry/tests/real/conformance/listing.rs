//! Source: OCI distribution specification, section "Content Discovery"; distribution project, "Listing
//! Repositories". The registries are set to give three entries at a time.

use super::on_every_registry;
use crate::images::Image;
use crate::registry::Registry;

on_every_registry! {
    all_tags_are_listed,
    all_repositories_are_listed,
    an_empty_registry_has_nothing,
}

async fn all_tags_are_listed(registry: &Registry) {
    let client = registry.client();
    let image = Image::new("tagged", &[10]);
    let mut tags: Vec<String> = (0..10).map(|number| format!("v{number}")).collect();
    for tag in tags.iter().rev() {
        image.push(&client, &registry.image("team/api", tag)).await;
    }
    tags.insert(0, "Z_-.z".to_owned());
    image.push(&client, &registry.image("team/api", &tags[0])).await;
    let mut listed = client.tags("team/api").await.expect("an answer");
    // Debian's registry has no order.
    listed.sort();
    assert_eq!(listed, tags);
}

async fn all_repositories_are_listed(registry: &Registry) {
    let client = registry.client();
    let image = Image::new("listed", &[10]);
    let repositories = ["a", "a/b", "a/b/c", "b-c", "team/api", "team/web", "z__z/y.x"];
    for repository in repositories {
        image.push(&client, &registry.image(repository, "v1")).await;
    }
    let mut listed = client.repositories().await.expect("an answer");
    // Registries differ in where they put the repositories below another one.
    listed.sort();
    assert_eq!(listed, repositories);
}

async fn an_empty_registry_has_nothing(registry: &Registry) {
    let client = registry.client();
    assert!(client.repositories().await.expect("an answer").is_empty());
    assert!(client.tags("team/api").await.expect("an answer").is_empty());
}
