use std::time::Duration;

use garden_build_core::Digest;

use super::support::{NOW, Registry, digest, version};
use crate::clean_up::KeptBecause;

fn used_by(user: &str) -> Vec<KeptBecause> {
    vec![KeptBecause::InUse { by: user.to_owned(), others: 0 }]
}

#[test]
fn an_old_version_that_nothing_uses_goes() {
    let mut registry = Registry::new();
    registry.image("my/api", "image", &["layer"]);
    registry.tag("my/api", &version(1), "image");
    assert!(registry.deletes("image"));
}

#[test]
fn sizes_that_no_disk_has_are_the_most_there_can_be() {
    let mut registry = Registry::new();
    registry.image("my/api", "image", &["one", "two"]);
    for size in registry.inventory.blobs.values_mut() {
        *size = u64::MAX;
    }
    registry.inventory.blobs.extend([(digest("left over"), u64::MAX), (digest("this, too"), u64::MAX)]);
    let plan = registry.plan();
    assert_eq!((plan.freed_bytes, plan.leftover_bytes), (u64::MAX, u64::MAX));
    assert_eq!(plan.deletions[0].own_bytes, u64::MAX);
    assert_eq!(registry.inventory.stored_bytes(), u64::MAX);
}

#[test]
fn an_untagged_manifest_goes_too() {
    let mut registry = Registry::new();
    registry.image("my/api", "image", &["layer"]);
    assert!(registry.deletes("image"));
}

#[test]
fn what_a_workload_names_by_tag_stays() {
    let mut registry = Registry::new();
    registry.image("my/api", "image", &["layer"]);
    registry.tag("my/api", &version(1), "image");
    registry.in_use.add(&format!("127.0.0.1:5000/my/api:{}", version(1)), "CronJob my/nightly");
    assert_eq!(registry.reasons("image"), used_by("CronJob my/nightly"));
}

#[test]
fn what_a_workload_names_by_digest_stays_also_without_a_tag() {
    let mut registry = Registry::new();
    registry.image("my/api", "image", &["layer"]);
    registry.in_use.add(&format!("localhost:5000/my/api@{}", digest("image")), "Pod my/api");
    assert_eq!(registry.reasons("image"), used_by("Pod my/api"));
}

#[test]
fn an_image_id_of_a_runtime_is_the_digest_of_the_configuration() {
    let mut registry = Registry::new();
    registry.image("my/api", "image", &["layer"]);
    registry.in_use.add(&format!("docker://{}", digest("config of image")), "Pod my/api");
    assert_eq!(registry.reasons("image"), used_by("Pod my/api"));
}

#[test]
fn an_image_stays_under_all_its_tags_if_one_of_them_is_used() {
    let mut registry = Registry::new();
    registry.image("my/api", "image", &["layer"]);
    registry.tag("my/api", &version(1), "image");
    registry.tag("my/api", &version(2), "image");
    registry.in_use.add(&format!("localhost:5000/my/api:{}", version(2)), "Deployment my/api");
    assert!(!registry.deletes("image"));
}

#[test]
fn the_same_image_in_another_repository_is_another_decision() {
    let mut registry = Registry::new();
    for repository in ["my/api", "my/web"] {
        registry.image(repository, "image", &["layer"]);
        registry.tag(repository, &version(1), "image");
    }
    registry.in_use.add(&format!("localhost:5000/my/api:{}", version(1)), "Deployment my/api");
    let plan = registry.plan();
    assert_eq!(plan.deletions.len(), 1);
    assert_eq!((plan.deletions[0].repository.as_str(), plan.freed_bytes), ("my/web", 0));
}

#[test]
fn what_was_just_pushed_stays_by_the_time_of_its_tag_or_its_own() {
    let mut registry = Registry::new();
    registry.image("my/api", "by tag", &[]);
    registry.tag_at("my/api", &version(1), "by tag", NOW - 99);
    registry.image("my/api", "by manifest", &[]);
    let young = super::support::at(NOW - 99);
    registry.repository("my/api").manifests.get_mut(&digest("by manifest")).expect("added").pushed = young;
    registry.image("my/api", "just old enough", &[]);
    registry.tag_at("my/api", &version(2), "just old enough", NOW - 100);
    registry.image("my/api", "from the future", &[]);
    registry.tag_at("my/api", &version(3), "from the future", NOW + 1_000_000);
    assert_eq!(registry.reasons("by tag"), [KeptBecause::Young]);
    assert_eq!(registry.reasons("by manifest"), [KeptBecause::Young]);
    assert_eq!(registry.reasons("from the future"), [KeptBecause::Young]);
    assert!(registry.deletes("just old enough"));
}

#[test]
fn an_index_keeps_what_it_lists_also_through_other_indexes() {
    let mut registry = Registry::new();
    registry.image("my/api", "amd64", &["layer"]);
    registry.image("my/api", "arm64", &["layer"]);
    registry.index("my/api", "inner", &["amd64", "arm64"]);
    registry.index("my/api", "outer", &["inner"]);
    registry.tag("my/api", &version(1), "outer");
    registry.in_use.add(&format!("localhost:5000/my/api:{}", version(1)), "Pod my/api");
    assert!(registry.plan().deletions.is_empty());
    assert_eq!(registry.reasons("amd64"), [KeptBecause::PartOf { index: digest("inner") }]);
}

#[test]
fn a_part_in_use_does_not_keep_its_index() {
    let mut registry = Registry::new();
    registry.image("my/api", "amd64", &["layer"]);
    registry.image("my/api", "arm64", &["layer"]);
    registry.index("my/api", "index", &["amd64", "arm64"]);
    registry.in_use.add(&digest("amd64").to_string(), "Pod my/api");
    assert!(registry.deletes("index") && registry.deletes("arm64") && !registry.deletes("amd64"));
}

#[test]
fn signatures_stay_and_go_with_what_they_sign() {
    for used in [true, false] {
        let mut registry = Registry::new();
        registry.image("my/api", "image", &[]);
        registry.tag("my/api", &version(1), "image");
        registry.about("my/api", "signature", "image");
        registry.about("my/api", "signature of the signature", "signature");
        registry.image("my/api", "cosign", &[]);
        registry.tag("my/api", &format!("sha256-{}.sig", digest("image").hex()), "cosign");
        if used {
            registry.in_use.add(&digest("image").to_string(), "Pod my/api");
        }
        for name in ["image", "signature", "signature of the signature", "cosign"] {
            assert_eq!(registry.deletes(name), !used, "{name}");
        }
    }
}

#[test]
fn a_signature_does_not_keep_what_it_signs_and_one_of_something_elsewhere_stays() {
    let mut registry = Registry::new();
    registry.image("my/api", "image", &[]);
    registry.tag("my/api", &version(1), "image");
    registry.about("my/api", "signature", "image");
    registry.tag_at("my/api", &version(2), "signature", NOW);
    let tag = format!("sha256-{}.sig", digest("elsewhere").hex());
    registry.image("my/api", "cosign", &[]);
    registry.tag("my/api", &tag, "cosign");
    assert!(registry.deletes("image") && !registry.deletes("signature"));
    assert_eq!(registry.reasons("cosign"), [KeptBecause::ForeignTag { tag }]);
}

#[test]
fn caches_stay_unless_an_age_is_given_for_them() {
    let mut registry = Registry::new();
    let key = digest("a layer of kaniko's").hex();
    registry.rules.cache_tags.insert("layers".to_owned());
    for (repository, tag) in [("my/api", "_buildcache"), ("my/api", "layers"), ("my/api/cache", key.as_str())]
    {
        registry.image(repository, tag, &[]);
        registry.tag_at(repository, tag, tag, NOW - 1000);
    }
    assert!(registry.plan().deletions.is_empty());
    assert_eq!(registry.reasons("layers"), [KeptBecause::Cache { tag: "layers".to_owned() }]);
    registry.rules.caches_older_than = Some(Duration::from_secs(1001));
    assert!(registry.plan().deletions.is_empty());
    registry.rules.caches_older_than = Some(Duration::from_secs(1000));
    assert_eq!(registry.plan().deletions.len(), 3);
    // The window holds for caches, too.
    registry.rules.keep_younger_than = Duration::from_secs(1001);
    assert!(registry.plan().deletions.is_empty());
}

#[test]
fn tags_that_are_not_ours_stay_and_untagged_manifests_beside_ours_go() {
    let mut registry = Registry::new();
    registry.image("my/api", "released", &[]);
    registry.tag("my/api", "latest", "released");
    registry.image("my/api", "image", &[]);
    registry.tag("my/api", &version(1), "image");
    registry.image("my/api", "untagged", &[]);
    assert_eq!(registry.reasons("released"), [KeptBecause::ForeignTag { tag: "latest".to_owned() }]);
    assert!(registry.deletes("image") && registry.deletes("untagged"));
}

#[test]
fn a_repository_without_any_tag_of_ours_is_left_alone() {
    let mut registry = Registry::new();
    registry.image("library/busybox", "released", &[]);
    registry.tag("library/busybox", "1.36", "released");
    registry.image("library/busybox", "untagged", &[]);
    assert_eq!(registry.reasons("untagged"), [KeptBecause::ForeignRepository]);
    assert!(registry.plan().deletions.is_empty());
}

#[test]
fn a_repository_with_something_that_is_not_understood_is_left_alone_and_told_of() {
    let mut registry = Registry::new();
    registry.image("my/api", "image", &["layer"]);
    registry.tag("my/api", &version(1), "image");
    registry.repository("my/api").unreadable.push("a manifest of schema 1".to_owned());
    let plan = registry.plan();
    assert!(plan.deletions.is_empty());
    assert_eq!(registry.reasons("image"), [KeptBecause::UnreadableRepository]);
    assert_eq!(plan.unreadable[0].what, "a manifest of schema 1");
}

#[test]
fn a_tag_whose_manifest_is_gone_is_no_matter() {
    let mut registry = Registry::new();
    registry.tag("my/api", &version(1), "gone");
    let plan = registry.plan();
    assert!(plan.deletions.is_empty() && plan.kept.is_empty());
}

#[test]
fn bytes_are_counted_once_and_only_if_nothing_that_is_kept_needs_them() {
    let mut registry = Registry::new();
    registry.image("my/api", "one", &["base", "shared by the deleted", "own"]);
    registry.image("my/api", "two", &["base", "shared by the deleted"]);
    registry.image("my/web", "three", &["base"]);
    registry.tag_at("my/web", &version(1), "three", NOW);
    registry.inventory.blobs.insert(digest("of an upload that was interrupted"), 5);
    let plan = registry.plan();
    // Two manifests, two configurations, two layers.
    assert_eq!((plan.freed_bytes, plan.leftover_bytes), (20 + 200 + 2000, 5));
    let own = |name: &str| {
        plan.deletions.iter().find(|deletion| deletion.digest == digest(name)).map(|found| found.own_bytes)
    };
    assert_eq!((own("one"), own("two")), (Some(10 + 100 + 1000), Some(10 + 100)));
}

#[test]
fn a_layer_that_the_registry_does_not_store_frees_nothing() {
    let mut registry = Registry::new();
    registry.image("my/api", "image", &["elsewhere"]);
    registry.inventory.blobs.remove(&digest("elsewhere"));
    assert_eq!(registry.plan().freed_bytes, 10 + 100);
}

#[test]
fn leftovers_are_not_counted_while_something_may_need_them() {
    let mut registry = Registry::new();
    registry.inventory.blobs.insert(digest("leftover"), 5);
    assert_eq!(registry.plan().leftover_bytes, 5);
    registry.repository("my/api").unreadable.push("something".to_owned());
    assert_eq!(registry.plan().leftover_bytes, 0);
}

#[test]
fn what_refers_to_a_manifest_goes_before_it() {
    let mut registry = Registry::new();
    registry.image("my/api", "amd64", &[]);
    registry.index("my/api", "inner", &["amd64"]);
    registry.index("my/api", "outer", &["inner"]);
    registry.about("my/api", "signature", "outer");
    registry.image("my/web", "amd64", &[]);
    let plan = registry.plan();
    let order: Vec<Vec<Digest>> =
        plan.in_order().iter().map(|group| group.iter().map(|deletion| deletion.digest).collect()).collect();
    let first: std::collections::BTreeSet<Digest> = order[0].iter().copied().collect();
    assert_eq!(first, [digest("signature"), digest("amd64")].into());
    assert_eq!(order[1..], [[digest("outer")], [digest("inner")], [digest("amd64")]]);
}

#[test]
fn references_that_run_in_a_circle_do_not_stop_the_order() {
    let mut registry = Registry::new();
    registry.image("my/api", "part", &[]);
    registry.index("my/api", "index", &["part"]);
    registry.tag("my/api", &version(1), "index");
    registry.tag("my/api", &format!("sha256-{}.sig", digest("index").hex()), "part");
    assert_eq!(registry.plan().in_order().iter().map(Vec::len).collect::<Vec<_>>(), [2]);
}

#[test]
fn planning_again_deletes_nothing_more_and_not_what_is_used_by_now() {
    let mut registry = Registry::new();
    registry.rules.keep_younger_than = Duration::ZERO;
    for name in ["part", "unused", "used by now"] {
        registry.image("my/api", name, &[]);
    }
    let plan = registry.plan();
    assert_eq!(plan.deletions.len(), 3);
    registry.index("my/api", "new index", &["part"]);
    registry.image("my/api", "new image", &[]);
    registry.in_use.add(&digest("used by now").to_string(), "Pod my/api");
    let again = plan.again(&registry.inventory, &registry.in_use, &registry.rules);
    let deleted: Vec<Digest> = again.deletions.iter().map(|deletion| deletion.digest).collect();
    assert_eq!(deleted, [digest("unused")]);
}

#[test]
fn the_plan_is_told_as_a_table() {
    let mut registry = Registry::new();
    registry.image("my/api", "image", &["layer"]);
    registry.tag("my/api", &version(1), "image");
    registry.image("my/web", "cache", &[]);
    registry.tag("my/web", "_buildcache", "cache");
    registry.repository("odd").unreadable.push("a manifest of schema 1".to_owned());
    assert_eq!(
        registry.plan().to_string(),
        "\
to delete: 1
  REPOSITORY  IMAGE                   PUSHED                FREES BY ITSELF
  my/api      v-00000000000000000001  1970-01-01T00:00:00Z  1.1 kB
to keep: 1
  REPOSITORY  IMAGE        PUSHED                BECAUSE
  my/web      _buildcache  1970-01-01T00:00:00Z  the build cache `_buildcache`
cannot be read: odd: a manifest of schema 1
frees 1.1 kB"
    );
}
