//! Clean-ups of real registries: planned from what lies in their storage, done there by a script, and completed by their own
//! collector.

use std::process::Command;
use std::time::Duration;

use garden_build_core::Digest;
use garden_registry::RegistryClient;
use garden_registry::clean_up::{
    CleanUpPlan, CleanUpRules, DeletionList, Deletions, ImagesInUse, Inventory, KnownManifests,
    StorageListing,
};

use crate::images::{DOCKER_LIST, Image, OCI_INDEX, index};
use crate::process::Program;
use crate::registry::{Guard, Registry};

fn version(number: u32) -> String {
    format!("v-{number:020x}")
}

fn list(registry: &Registry) -> StorageListing {
    let root = registry.storage().join("docker/registry/v2");
    let output =
        Command::new("sh").args(["-c", StorageListing::SCRIPT, "list"]).arg(root).output().expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    StorageListing::parse(&String::from_utf8_lossy(&output.stdout)).expect("a listing")
}

async fn inventory(registry: &Registry, client: &RegistryClient) -> Inventory {
    KnownManifests::new().inventory(&list(registry), client).await.expect("an inventory")
}

fn plan(inventory: &Inventory, in_use: &ImagesInUse) -> CleanUpPlan {
    let mut rules = CleanUpRules::default();
    rules.keep_younger_than = Duration::ZERO;
    CleanUpPlan::new(inventory, in_use, &rules)
}

/// Has the script delete what is planned.
fn carry_out(registry: &Registry, list: &DeletionList) -> Deletions {
    let root = registry.storage().join("docker/registry/v2");
    let [path, listing] =
        [("list", list.as_str()), ("list-storage.sh", StorageListing::SCRIPT)].map(|(name, text)| {
            let path = registry.storage().join(name);
            std::fs::write(&path, text).expect("written");
            path
        });
    let mut script = Command::new("sh");
    script.args(["-c", DeletionList::SCRIPT, "delete"]).args([root, path, listing]);
    let output = script.output().expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    list.outcome(&String::from_utf8_lossy(&output.stdout))
}

/// Pushes an index of two images that have no tags of their own.
async fn push_index(registry: &Registry, media_type: &str, tag: &str, children: [&Image; 2]) -> Digest {
    let client = registry.client();
    for child in children {
        child.push(&client, &registry.image_by_digest("team/api", child.manifest.digest())).await;
    }
    let index = index(media_type, &children.map(|child| &child.manifest));
    client.push_manifest(&registry.image("team/api", tag), &index).await.expect("pushed");
    index.digest()
}

async fn what_is_used_stays_and_the_rest_is_freed(program: Program) {
    let registry = Registry::start(program, Guard::Open).await;
    let client = registry.client();
    let empty = inventory(&registry, &client).await;
    assert!(empty.repositories.is_empty() && empty.blobs.is_empty());

    let (used, unused) = (Image::new("used", &[1_000, 2_000]), Image::new("unused", &[3_000]));
    used.push(&client, &registry.image("team/api", &version(1))).await;
    unused.push(&client, &registry.image("team/api", &version(2))).await;
    // It shares all but its name with the image in use.
    used.push(&client, &registry.image("team/web", &version(1))).await;
    let docker = Image::docker("unused, of Docker's form");
    docker.push(&client, &registry.image("team/web", &version(3))).await;
    let parts = ["amd64", "arm64"].map(|name| Image::new(name, &[500]));
    let other_parts = ["amd64 too", "arm64 too"].map(Image::docker);
    let used_index = push_index(&registry, OCI_INDEX, &version(4), parts.each_ref()).await;
    push_index(&registry, DOCKER_LIST, &version(5), other_parts.each_ref()).await;
    // A registry without referrers has an index with a tag for them.
    for subject in [&used, &unused] {
        let signature = Image::about(&subject.manifest, "signature");
        let digest = signature.manifest.digest();
        signature.push(&client, &registry.image_by_digest("team/api", digest)).await;
    }
    Image::new("of somebody else", &[10]).push(&client, &registry.image("team/other", "latest")).await;

    let mut in_use = ImagesInUse::new();
    in_use.add(&format!("127.0.0.1:5000/team/api:{}", version(1)), "a Pod");
    in_use.add(&used_index.to_string(), "another Pod");
    let before = inventory(&registry, &client).await;
    let plan = plan(&before, &in_use);
    assert_eq!((plan.unreadable.as_slice(), plan.leftover_bytes), (&[][..], 0), "{plan}");
    // The image with its signature and the list of these, the same image elsewhere, Docker's, and an index of two.
    assert_eq!(plan.deletions.len(), 3 + 1 + 1 + 3, "{plan}");

    let done = carry_out(&registry, &plan.deletion_list(before.read_at));
    assert_eq!((done.deleted.len(), done.failed.as_slice()), (8, &[][..]));
    registry.collect_garbage();

    let after = inventory(&registry, &client).await;
    let stored = |inventory: &Inventory| inventory.blobs.values().sum::<u64>();
    assert_eq!(stored(&before) - stored(&after), plan.freed_bytes);
    let again = self::plan(&after, &in_use);
    assert_eq!((again.deletions.len(), again.freed_bytes, again.leftover_bytes), (0, 0, 0), "{again}");
    for image in [&used, &parts[0], &parts[1], &Image::about(&used.manifest, "signature")] {
        let name = registry.image_by_digest("team/api", image.manifest.digest());
        assert_eq!(client.manifest(&name).await.expect("an answer").as_ref(), Some(&image.manifest));
        for (descriptor, content) in &image.blobs {
            let blob = client.blob("team/api", descriptor).expect("valid");
            assert_eq!(blob.bytes(1 << 20).await.expect("read"), content);
        }
    }
    let mut tags = client.tags("team/api").await.expect("an answer");
    tags.sort();
    let referrers = format!("sha256-{}", used.manifest.digest().hex());
    assert_eq!(tags, [referrers, version(1), version(4)]);
    assert_eq!(client.tags("team/other").await.expect("an answer"), ["latest"]);
}

#[tokio::test]
async fn what_is_used_stays_at_docker_registry_and_the_rest_is_freed() {
    garden_test_programs::needs!(DockerRegistry);
    what_is_used_stays_and_the_rest_is_freed(Program::DockerRegistry).await;
}

#[tokio::test]
async fn what_is_used_stays_at_distribution_and_the_rest_is_freed() {
    garden_test_programs::needs!(Go);
    what_is_used_stays_and_the_rest_is_freed(Program::Distribution).await;
}
