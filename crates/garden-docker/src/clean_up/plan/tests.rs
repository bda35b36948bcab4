use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const NOW: i64 = 1_000_000;

const NAMES: [&str; 9] = [
    "r.example:5000/shop/api:v-0123456789abcdef0123",
    "r.example:5000/shop/api:v-aaaaaaaaaaaaaaaaaaaa",
    "r.example:5000/shop/web:v-0123456789abcdef0123",
    "r.example:5000/shopper/api:v-0123456789abcdef0123",
    "r.example:5000/shop/api:latest",
    "r.example:5000/shop/api:v-0123",
    "other.example/shop/api:v-0123456789abcdef0123",
    "busybox:latest",
    "<none>:<none>",
];

fn rules() -> DaemonRules {
    DaemonRules {
        registry: "r.example:5000".to_owned(),
        namespace: Some("shop".to_owned()),
        keep_younger_than: Duration::from_secs(100),
        caches_older_than: None,
    }
}

fn image(id: &str, names: &[&str], age: i64) -> DaemonImage {
    DaemonImage {
        id: id.to_owned(),
        names: names.iter().map(|&name| name.to_owned()).collect(),
        touched: NOW - age,
    }
}

/// Decides with the answer `Missing` for everything that is asked.
fn all_missing(images: &[DaemonImage], in_use: &[&str]) -> UntagPlan {
    let in_use = in_use.iter().map(|&id| id.to_owned()).collect();
    let asked = questions(images, &in_use, &rules(), NOW);
    let answers = asked.into_iter().map(|name| (name, InRegistry::Missing)).collect();
    UntagPlan::new(images, &in_use, &answers, &rules(), NOW)
}

#[test]
fn only_our_own_names_for_the_registry_are_judged() {
    let plan = all_missing(&[image("a", &NAMES, 100)], &[]);
    assert_eq!(plan.untag.iter().map(String::as_str).collect::<Vec<_>>(), &NAMES[..3]);
    assert!(plan.kept.values().all(|&reason| reason == KeptName::Foreign));
    assert_eq!(plan.kept.len(), NAMES.len() - 3);
}

#[test]
fn what_is_used_young_or_in_the_registry_stays() {
    let images =
        [image("used", &[NAMES[0]], 500), image("young", &[NAMES[1]], 99), image("future", &[NAMES[2]], -1)];
    let plan = all_missing(&images, &["used"]);
    assert_eq!(plan.untag, BTreeSet::new());
    let reasons: Vec<_> = [NAMES[0], NAMES[1], NAMES[2]].map(|name| plan.kept[name]).to_vec();
    assert_eq!(reasons, [KeptName::InUse, KeptName::Young, KeptName::Young]);

    for (answer, expected) in [
        (Some(InRegistry::Exists), Some(KeptName::InRegistry)),
        (Some(InRegistry::Unknown), Some(KeptName::NotKnown)),
        // Appeared since the registry was asked.
        (None, Some(KeptName::NotKnown)),
        (Some(InRegistry::Missing), None),
    ] {
        let answers = answer.map(|answer| (NAMES[0].to_owned(), answer)).into_iter().collect();
        let plan = UntagPlan::new(&[image("a", &[NAMES[0]], 100)], &BTreeSet::new(), &answers, &rules(), NOW);
        assert_eq!(plan.kept.get(NAMES[0]).copied(), expected, "{answer:?}");
    }
}

#[test]
fn without_a_namespace_all_of_the_registry_is_judged() {
    let mut rules = rules();
    rules.namespace = None;
    let images = [image("a", &NAMES, 100)];
    assert!(questions(&images, &BTreeSet::new(), &rules, NOW).contains(NAMES[3]));
}

fn images() -> impl Strategy<Value = Vec<DaemonImage>> {
    // A name belongs to one image.
    btree_map(0..NAMES.len(), (0..5_usize, -50..300_i64), 0..NAMES.len()).prop_map(|names| {
        let mut images: BTreeMap<usize, DaemonImage> = BTreeMap::new();
        for (name, (id, age)) in names {
            let id_text = id.to_string();
            let image = images.entry(id).or_insert_with(|| image(&id_text, &[], age));
            image.names.push(NAMES[name].to_owned());
        }
        images.into_values().collect()
    })
}

fn answers() -> impl Strategy<Value = BTreeMap<String, InRegistry>> {
    let answer = select(vec![InRegistry::Exists, InRegistry::Missing, InRegistry::Unknown]);
    vec(proptest::option::of(answer), NAMES.len()).prop_map(|answers| {
        let named = NAMES.iter().zip(answers);
        named.filter_map(|(&name, answer)| Some((name.to_owned(), answer?))).collect()
    })
}

/// The rules said once more, each by itself: a name goes if none of them is against it.
fn goes(
    image: &DaemonImage,
    name: &str,
    in_use: &BTreeSet<String>,
    answers: &BTreeMap<String, InRegistry>,
) -> bool {
    let ours = NAMES[..3].contains(&name);
    let free = !in_use.iter().any(|id| *id == image.id);
    let old = image.touched + 100 <= NOW;
    let missing = answers.iter().any(|(asked, answer)| asked == name && *answer == InRegistry::Missing);
    ours && free && old && missing
}

proptest! {
    #[test]
    fn the_plan_is_what_the_rules_say_one_by_one(
        images in images(),
        in_use in btree_set((0..5).prop_map(|id: i32| id.to_string()), 0..3),
        answers in answers(),
    ) {
        let plan = UntagPlan::new(&images, &in_use, &answers, &rules(), NOW);
        let asked = questions(&images, &in_use, &rules(), NOW);
        for image in &images {
            for name in &image.names {
                let goes = goes(image, name, &in_use, &answers);
                prop_assert_eq!(plan.untag.contains(name), goes, "{}", name);
                prop_assert_eq!(plan.kept.contains_key(name), !goes, "{}", name);
                // Nothing goes that the registry was not to be asked for.
                prop_assert!(!goes || asked.contains(name));
            }
        }
        let names: usize = images.iter().map(|image| image.names.len()).sum();
        prop_assert_eq!(plan.untag.len() + plan.kept.len(), names, "nothing is invented");
    }
}
