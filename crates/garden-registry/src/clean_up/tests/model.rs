//! Compares plans for random registries with a model that is slow, small and written in another way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use garden_build_core::Digest;
use proptest::prelude::*;

use super::support::{NOW, Registry, at, digest, version};
use crate::clean_up::{CleanUpPlan, References, StoredManifest, StoredTag};

/// One of them ends as kaniko's caches do.
const REPOSITORIES: [&str; 4] = ["my/api", "my/api/cache", "my/web", "library/busybox"];
const MANIFESTS: usize = 10;
const BLOBS: usize = 8;
const WINDOW: i64 = 100;
const CACHE_LIMIT: i64 = 1000;

/// A registry, what uses it, and by which rules it is cleaned.
#[derive(Clone, Debug)]
struct Case {
    /// What each manifest refers to, wherever it is: by number, to others that come before it.
    contents: Vec<Content>,
    repositories: Vec<Holding>,
    uses: Vec<Use>,
    /// Which blobs the registry has lost.
    lost: BTreeSet<usize>,
    caches_expire: bool,
}

#[derive(Clone, Debug)]
struct Content {
    children: Vec<usize>,
    child_blob: Option<usize>,
    config: Option<usize>,
    layers: Vec<usize>,
    subject: Option<usize>,
}

#[derive(Clone, Debug)]
struct Holding {
    /// How long ago manifests were pushed, in seconds.
    manifests: BTreeMap<usize, i64>,
    /// Which manifest a tag stands for, and how long ago it was pushed.
    tags: BTreeMap<Tag, (usize, i64)>,
    unreadable: bool,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Tag {
    Version(u32),
    Cache(u32),
    ConfiguredCache,
    KanikoKey(u32),
    Foreign(u32),
    About(usize),
}

#[derive(Clone, Debug)]
enum Use {
    Tag(usize, Tag),
    Manifest(usize),
    Config(usize),
}

fn manifest_digest(number: usize) -> Digest {
    digest(&format!("manifest {number}"))
}

fn blob_digest(number: usize) -> Digest {
    digest(&format!("blob {number}"))
}

/// Every blob has another size.
fn blob_size(number: usize) -> u64 {
    1000 << number
}

impl Tag {
    fn text(&self) -> String {
        match self {
            Self::Version(number) => version(*number),
            Self::Cache(number) => format!("_buildcache-{number}"),
            Self::ConfiguredCache => "layers".to_owned(),
            Self::KanikoKey(number) => digest(&format!("key {number}")).hex(),
            Self::Foreign(number) => format!("release-{number}"),
            Self::About(number) => format!("sha256-{}.sig", manifest_digest(*number).hex()),
        }
    }

    fn is_cache(&self, repository: usize) -> bool {
        match self {
            Self::Cache(_) | Self::ConfiguredCache => true,
            Self::KanikoKey(_) => REPOSITORIES[repository].ends_with("/cache"),
            _ => false,
        }
    }
}

impl Case {
    fn registry(&self) -> Registry {
        let mut registry = Registry::new();
        registry.rules.keep_younger_than = Duration::from_secs(WINDOW.unsigned_abs());
        registry.rules.cache_tags.insert("layers".to_owned());
        if self.caches_expire {
            registry.rules.caches_older_than = Some(Duration::from_secs(CACHE_LIMIT.unsigned_abs()));
        }
        for blob in (0..BLOBS).filter(|blob| !self.lost.contains(blob)) {
            registry.inventory.blobs.insert(blob_digest(blob), blob_size(blob));
        }
        for (number, holding) in self.repositories.iter().enumerate() {
            let repository = registry.repository(REPOSITORIES[number]);
            for (&manifest, age) in &holding.manifests {
                let references = self.references(manifest);
                let stored = StoredManifest { pushed: at(NOW - age), references };
                repository.manifests.insert(manifest_digest(manifest), stored);
            }
            for (tag, (manifest, age)) in &holding.tags {
                let stored = StoredTag { digest: manifest_digest(*manifest), pushed: at(NOW - age) };
                repository.tags.insert(tag.text(), stored);
            }
            if holding.unreadable {
                repository.unreadable.push("something".to_owned());
            }
        }
        for manifest in self.repositories.iter().flat_map(|holding| holding.manifests.keys()) {
            registry.inventory.blobs.insert(manifest_digest(*manifest), 1);
        }
        for (number, used) in self.uses.iter().enumerate() {
            let host = ["127.0.0.1:5000", "localhost:5000", "garden-docker-registry.garden-system.svc:5000"];
            let host = host[number % 3];
            let image = match used {
                Use::Tag(repository, tag) => format!("{host}/{}:{}", REPOSITORIES[*repository], tag.text()),
                Use::Manifest(manifest) => format!("{host}/any/thing@{}", manifest_digest(*manifest)),
                Use::Config(blob) => format!("docker://{}", blob_digest(*blob)),
            };
            registry.in_use.add(&image, format!("Pod {number}"));
        }
        registry
    }

    fn references(&self, manifest: usize) -> References {
        let content = &self.contents[manifest];
        let children = content.children.iter().map(|child| manifest_digest(*child));
        References {
            children: children.chain(content.child_blob.map(blob_digest)).collect(),
            config: content.config.map(blob_digest),
            layers: content.layers.iter().map(|layer| blob_digest(*layer)).collect(),
            subject: content.subject.map(manifest_digest),
        }
    }

    fn all(&self) -> Vec<(usize, usize)> {
        let numbered = self.repositories.iter().enumerate();
        numbered
            .flat_map(|(number, holding)| holding.manifests.keys().map(move |one| (number, *one)))
            .collect()
    }

    /// Whether a manifest is kept for its own sake.
    fn is_wanted(&self, repository: usize, manifest: usize) -> bool {
        let holding = &self.repositories[repository];
        let ours = |tag: &Tag| matches!(tag, Tag::Version(_)) || tag.is_cache(repository);
        let foreign = !holding.tags.is_empty() && !holding.tags.keys().any(ours);
        let used_by_digest = self.uses.iter().any(|used| match used {
            Use::Tag(..) => false,
            Use::Manifest(other) => *other == manifest,
            Use::Config(blob) => self.contents[manifest].config == Some(*blob),
        });
        let tags = holding.tags.iter().filter(|(_, (other, _))| *other == manifest);
        let wanted_by_tag = tags.clone().any(|(tag, (_, age))| {
            let used =
                self.uses.iter().any(|used| matches!(used, Use::Tag(r, t) if *r == repository && t == tag));
            let kept_for_its_kind = match tag {
                _ if tag.is_cache(repository) => !self.caches_expire || *age < CACHE_LIMIT,
                Tag::Version(_) => false,
                Tag::About(subject) => *subject == manifest || !holding.manifests.contains_key(subject),
                _ => true,
            };
            used || kept_for_its_kind || *age < WINDOW
        });
        holding.unreadable
            || foreign
            || used_by_digest
            || wanted_by_tag
            || holding.manifests[&manifest] < WINDOW
    }

    /// Whether keeping `one` keeps `other` of the same repository.
    fn drags(&self, repository: usize, one: usize, other: usize) -> bool {
        let about = self.repositories[repository].tags.get(&Tag::About(one));
        self.contents[one].children.contains(&other)
            || self.contents[other].subject == Some(one)
            || about.is_some_and(|(manifest, _)| *manifest == other)
    }

    /// What is kept, in which repository, if `wanted` is, by trying everything until nothing changes.
    fn kept(&self, wanted: impl Fn(usize, usize) -> bool) -> BTreeSet<(usize, usize)> {
        let all = self.all();
        let mut kept: BTreeSet<_> = all.iter().copied().filter(|(r, m)| wanted(*r, *m)).collect();
        loop {
            let dragged =
                |(r, m): &(usize, usize)| kept.iter().any(|(k, one)| k == r && self.drags(*r, *one, *m));
            let more: Vec<_> = all.iter().copied().filter(|it| !kept.contains(it) && dragged(it)).collect();
            if more.is_empty() {
                return kept;
            }
            kept.extend(more);
        }
    }

    /// How many bytes belong to no manifest in `kept`; and how many of them to no manifest at all.
    fn bytes(&self, kept: &BTreeSet<(usize, usize)>) -> (u64, u64) {
        let all: BTreeSet<_> = self.all().into_iter().collect();
        let blobs = self.registry().inventory.blobs;
        let belongs = |blob: Digest, to: &BTreeSet<(usize, usize)>| {
            to.iter().any(|(_, manifest)| {
                let References { children, config, layers, .. } = self.references(*manifest);
                let own = manifest_digest(*manifest);
                own == blob || config == Some(blob) || children.contains(&blob) || layers.contains(&blob)
            })
        };
        let unneeded = blobs.iter().filter(|(blob, _)| !belongs(**blob, kept));
        let unneeded_of_nobody = unneeded.clone().filter(|(blob, _)| !belongs(**blob, &all));
        let sum = |sizes: &mut dyn Iterator<Item = (&Digest, &u64)>| sizes.map(|(_, size)| size).sum();
        (sum(&mut unneeded.clone()), sum(&mut unneeded_of_nobody.clone()))
    }
}

fn deleted(plan: &CleanUpPlan) -> BTreeSet<(String, Digest)> {
    plan.deletions.iter().map(|deletion| (deletion.repository.clone(), deletion.digest)).collect()
}

fn named(pairs: impl IntoIterator<Item = (usize, usize)>) -> BTreeSet<(String, Digest)> {
    pairs.into_iter().map(|(r, m)| (REPOSITORIES[r].to_owned(), manifest_digest(m))).collect()
}

fn age() -> impl Strategy<Value = i64> {
    let interesting =
        vec![-500, 0, WINDOW - 1, WINDOW, CACHE_LIMIT - 1, CACHE_LIMIT, CACHE_LIMIT, 500_000, 500_000];
    prop::sample::select(interesting)
}

fn tag() -> impl Strategy<Value = Tag> {
    prop_oneof![
        6 => (0..4_u32).prop_map(Tag::Version),
        1 => (0..2_u32).prop_map(Tag::Cache),
        1 => Just(Tag::ConfiguredCache),
        1 => (0..2_u32).prop_map(Tag::KanikoKey),
        1 => (0..2_u32).prop_map(Tag::Foreign),
        2 => (0..MANIFESTS).prop_map(Tag::About),
    ]
}

/// What the manifest `number` refers to.
fn content(number: usize) -> impl Strategy<Value = Content> {
    let another = || 0..number.max(1);
    let image = (
        prop::option::of(0..BLOBS),
        prop::collection::vec(0..BLOBS, 0..4),
        prop::option::weighted(0.3, another()),
    )
        .prop_map(|(config, layers, subject)| Content {
            children: vec![],
            child_blob: None,
            config,
            layers,
            subject,
        });
    let children = prop::collection::vec(another(), 0..4);
    let index = (children, prop::option::weighted(0.2, 0..BLOBS), prop::option::weighted(0.1, another()))
        .prop_map(|(children, child_blob, subject)| Content {
            children,
            child_blob,
            config: None,
            layers: vec![],
            subject,
        });
    prop_oneof![3 => image, 2 => index].prop_map(move |mut content| {
        // The first has none before it to refer to.
        content.children.retain(|child| *child != number);
        content.subject = content.subject.filter(|subject| *subject != number);
        content
    })
}

fn holding() -> impl Strategy<Value = Holding> {
    let manifests = prop::collection::btree_map(0..MANIFESTS, age(), 0..MANIFESTS);
    let tags = prop::collection::btree_map(tag(), (0..MANIFESTS, age()), 0..6);
    (manifests, tags, prop::bool::weighted(0.05)).prop_map(|(manifests, tags, unreadable)| Holding {
        manifests,
        tags,
        unreadable,
    })
}

fn uses() -> impl Strategy<Value = Vec<Use>> {
    let one = prop_oneof![
        3 => (0..REPOSITORIES.len(), tag()).prop_map(|(repository, tag)| Use::Tag(repository, tag)),
        1 => (0..MANIFESTS).prop_map(Use::Manifest),
        1 => (0..BLOBS).prop_map(Use::Config),
    ];
    prop::collection::vec(one, 0..4)
}

fn case() -> impl Strategy<Value = Case> {
    let contents: Vec<_> = (0..MANIFESTS).map(content).collect();
    let repositories = prop::collection::vec(holding(), REPOSITORIES.len());
    let lost = prop::collection::btree_set(0..BLOBS, 0..2);
    (contents, repositories, uses(), lost, any::<bool>()).prop_map(
        |(contents, repositories, uses, lost, caches_expire)| Case {
            contents,
            repositories,
            uses,
            lost,
            caches_expire,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_keeps_what_the_model_keeps_and_deletes_everything_else(case in case()) {
        let registry = case.registry();
        let plan = registry.plan();
        let kept = case.kept(|repository, manifest| case.is_wanted(repository, manifest));
        let unneeded = case.all().into_iter().filter(|it| !kept.contains(it));
        prop_assert_eq!(deleted(&plan), named(unneeded));

        let told: BTreeSet<_> = plan.kept.iter().map(|one| (one.repository.clone(), one.digest)).collect();
        prop_assert_eq!(told, named(kept.iter().copied()));
        prop_assert!(plan.kept.iter().all(|one| !one.reasons.is_empty()));

        let (freed, leftover) = case.bytes(&kept);
        if case.repositories.iter().any(|holding| holding.unreadable) {
            prop_assert_eq!((plan.freed_bytes, plan.leftover_bytes), (freed - leftover, 0));
        } else {
            prop_assert_eq!((plan.freed_bytes, plan.leftover_bytes), (freed - leftover, leftover));
        }
        prop_assert!(plan.deletions.iter().map(|one| one.own_bytes).sum::<u64>() <= plan.freed_bytes);
    }

    #[test]
    fn planning_again_keeps_also_what_was_not_planned_and_all_that_hangs_on_it(
        case in case(), repositories in prop::collection::vec(holding(), REPOSITORIES.len()), uses in uses(),
    ) {
        let plan = case.registry().plan();
        let later = Case { repositories, uses, ..case };
        let registry = later.registry();
        let again = plan.again(&registry.inventory, &registry.in_use, &registry.rules);
        let planned = deleted(&plan);
        let kept = later.kept(|repository, manifest| {
            later.is_wanted(repository, manifest) || named([(repository, manifest)]).is_disjoint(&planned)
        });
        prop_assert_eq!(deleted(&again), named(later.all().into_iter().filter(|it| !kept.contains(it))));
    }

    #[test]
    fn nothing_is_deleted_before_what_refers_to_it(case in case()) {
        let registry = case.registry();
        let plan = registry.plan();
        let mut group_of = BTreeMap::new();
        for (group, deletions) in plan.in_order().iter().enumerate() {
            for deletion in deletions {
                group_of.insert((deletion.repository.as_str(), deletion.digest), group);
            }
        }
        prop_assert_eq!(group_of.len(), plan.deletions.len());
        // Only tags that say what they are about can make circles.
        let circles = case.repositories.iter().any(|it| it.tags.keys().any(|tag| matches!(tag, Tag::About(_))));
        for (&(repository, digest), group) in &group_of {
            let references = &registry.inventory.repositories[repository].manifests[&digest].references;
            for other in references.children.iter().chain(&references.subject) {
                if let Some(later) = group_of.get(&(repository, *other)) {
                    prop_assert!(group < later || circles && group == later);
                }
            }
        }
    }
}
