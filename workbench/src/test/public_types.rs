//! What the promised crates show of other crates: a new version of one of those may break whoever uses ours. So each is chosen, and whatever of an
//! internal crate shows can be named from a promised one.
//!
//! rustdoc tells as JSON what is public. Its format changes between compilers; what is read here, by name, has been the same for years.
//! Source: the crate `rustdoc-types`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// The modules that are promised: see ARCHITECTURE.md.
const PROMISED: [&[&str]; 5] = [
    &["garden_build"],
    &["garden_build_core"],
    &["garden_config"],
    &["garden_registry"],
    &["garden_buildkit", "client"],
];

/// The crates of other projects whose types may show, and why.
const CHOSEN: [(&str, &str); 15] = [
    ("bytes", "1: pieces of blobs, which are handed on without a copy"),
    ("futures_core", "0.3: `Stream` and boxed futures"),
    ("http", "1: statuses of registries, and the URLs of proxies"),
    ("jiff", "0.2: moments, as k8s-openapi has them"),
    ("kube", "re-exported: the client that `BuilderOptions::client` takes"),
    ("kube_client", "a part of kube"),
    ("miette", "7: `Diagnostic`, behind the feature `miette`"),
    ("schemars", "1: `JsonSchema`, behind the feature `schema`"),
    ("secrecy", "0.10: what must not be printed"),
    ("serde_core", "1: serde"),
    ("serde_json", "1: objects and variables"),
    ("std", ""),
    ("core", ""),
    ("alloc", ""),
    ("tokio", "1: connections, and deadlines on its clock"),
];

/// Items of crates that are not chosen, and why they may show.
const CHOSEN_ITEMS: [(&str, &str); 1] =
    [("tokio_util::sync::cancellation_token::CancellationToken", "re-exported by garden-build")];

pub(super) fn check() -> Result<()> {
    let shown = Shown::of(&mut Crates::default(), &PROMISED)?;
    let mut problems = Vec::new();
    let mut unused: BTreeSet<_> = CHOSEN.iter().map(|(name, _)| *name).collect();
    for (item, places) in &shown.foreign {
        let name = item.split("::").next().unwrap_or_default();
        unused.remove(name);
        let is_chosen = CHOSEN.iter().any(|(chosen, _)| *chosen == name)
            || CHOSEN_ITEMS.iter().any(|(chosen, _)| chosen == item);
        if !is_chosen {
            problems.push(format!("{item} is not chosen, and shows in {}", some(places)));
        }
    }
    for (item, places) in &shown.internal {
        if !shown.named.contains(item) {
            problems.push(format!("{item} is internal, cannot be named, and shows in {}", some(places)));
        }
    }
    problems.extend(unused.into_iter().map(|name| format!("{name} is chosen, and shows nowhere")));
    println!("{} items of other crates show in what is promised", shown.foreign.len());
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "hide what should not show, re-export what is internal, or choose it in workbench/src/test/public_types.rs:\n  {}",
        problems.join("\n  ")
    )
}

fn some(places: &BTreeSet<String>) -> String {
    places.iter().take(3).cloned().collect::<Vec<_>>().join(", ")
}

/// Returns the numbers that rustdoc has given to what shows of each crate of the workspace.
pub(super) fn items_that_show() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut items: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for Item { krate, id } in Shown::of(&mut Crates::default(), &PROMISED)?.ours {
        items.entry(krate).or_default().insert(id);
    }
    Ok(items)
}

/// Returns the packages of the promised crates.
pub(super) fn promised_packages() -> impl Iterator<Item = String> {
    PROMISED.iter().filter(|path| path.len() == 1).map(|path| path[0].replace('_', "-"))
}

/// Whether rustdoc has written its JSON along with the pages.
pub(super) fn is_written() -> bool {
    let modified = |path: PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let Ok(listed) = fs::read_dir(documentation()) else { return false };
    let mut names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.all(|name| {
        // Of programs, there are pages only.
        let is_library = name.starts_with("garden_") && !name.contains('.');
        let page = modified(documentation().join(&name).join("index.html"));
        !is_library || modified(documentation().join(format!("{name}.json"))) >= page
    })
}

/// Returns the directory that rustdoc writes to.
pub(super) fn documentation() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("doc")
}

/// The crates of the workspace, as rustdoc has written them down.
#[derive(Default)]
struct Crates(BTreeMap<String, Value>);

impl Crates {
    fn load(&mut self, name: &str) -> Result<&Value> {
        if !self.0.contains_key(name) {
            let file = documentation().join(format!("{name}.json"));
            let text = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            self.0.insert(name.to_owned(), serde_json::from_slice(&text)?);
        }
        self.0.get(name).ok_or_else(|| anyhow!("no crate {name}"))
    }

    /// Finds an item by its path, whose first part is its crate's name.
    fn find(&mut self, path: &[&str]) -> Result<Item> {
        let name = path[0];
        let paths = self.load(name)?["paths"].as_object().context("rustdoc writes no `paths`")?;
        let found = paths.iter().find(|(_, known)| known["crate_id"] == 0 && parts(known) == path);
        let (id, _) = found.with_context(|| format!("rustdoc does not know {}", path.join("::")))?;
        Ok(Item { krate: name.to_owned(), id: id.clone() })
    }
}

/// An item of a crate of the workspace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    krate: String,
    id: String,
}

/// What can be seen from the promised modules.
#[derive(Default)]
struct Shown {
    /// Items of other projects, and where they show.
    foreign: BTreeMap<String, BTreeSet<String>>,
    /// Items of internal crates, and where they show.
    internal: BTreeMap<String, BTreeSet<String>>,
    /// Items of internal crates that are re-exported by a promised one.
    named: BTreeSet<String>,
    /// All items of the workspace that show, with what they consist of.
    ours: BTreeSet<Item>,
}

impl Shown {
    fn of(crates: &mut Crates, promised: &[&[&str]]) -> Result<Self> {
        let mut shown = Self::default();
        let mut waiting = Vec::new();
        for module in promised {
            waiting.push((crates.find(module)?, module.join("::")));
        }
        while let Some((item, place)) = waiting.pop() {
            if !shown.ours.insert(item.clone()) {
                continue;
            }
            if let Some(path) = crates.load(&item.krate)?["paths"].get(&item.id) {
                let parts = parts(path);
                let is_promised = promised.iter().any(|module| parts.starts_with(module));
                let is_part = matches!(path["kind"].as_str(), Some("module" | "variant"));
                if !is_promised && !is_part {
                    shown.internal.entry(parts.join("::")).or_default().insert(place.clone());
                }
            }
            for (path, place) in shown.look(crates, &item, &place, &mut waiting)? {
                let parts: Vec<_> = path.split("::").collect();
                if !parts[0].starts_with("garden_") {
                    shown.foreign.entry(path).or_default().insert(place);
                    continue;
                }
                waiting.push((crates.find(&parts)?, place));
            }
        }
        Ok(shown)
    }

    /// Looks at one item: what is in it goes to `waiting`; what it refers to in other crates is returned, with the place.
    fn look(
        &mut self,
        crates: &mut Crates,
        item: &Item,
        place: &str,
        waiting: &mut Vec<(Item, String)>,
    ) -> Result<Vec<(String, String)>> {
        let krate = crates.load(&item.krate)?;
        let Some(found) = krate["index"].get(&item.id) else { return Ok(Vec::new()) };
        let inner = &found["inner"];
        // What the compiler or a blanket implementation adds is nobody's choice.
        if inner["impl"]["is_synthetic"] == true || !inner["impl"]["blanket_impl"].is_null() {
            return Ok(Vec::new());
        }
        let place = match found["name"].as_str() {
            Some(name) if !place.ends_with(&format!("::{name}")) && place != name => {
                format!("{place}::{name}")
            }
            _ => place.to_owned(),
        };
        let mut references = References::default();
        references.collect(inner);
        let mut elsewhere = Vec::new();
        for id in references.ids {
            if krate["index"].get(&id).is_some() {
                waiting.push((Item { krate: item.krate.clone(), id }, place.clone()));
                continue;
            }
            let Some(path) = krate["paths"].get(&id) else { continue };
            let path = parts(path).join("::");
            if inner.get("use").is_some() {
                self.named.insert(path.clone());
            }
            elsewhere.push((path, place.clone()));
        }
        Ok(elsewhere)
    }
}

/// Returns the parts of a path in rustdoc's list of them.
fn parts(path: &Value) -> Vec<&str> {
    path["path"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The ids that an item mentions: of types, of traits, and of what is in it.
#[derive(Default)]
struct References {
    ids: BTreeSet<String>,
}

impl References {
    /// How deep it goes is bounded by the types that we write.
    fn collect(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        ("id", id) => self.add(id),
                        ("items" | "impls" | "variants" | "fields" | "tuple", Value::Array(ids)) => {
                            for id in ids {
                                self.add(id);
                            }
                            self.collect(value);
                        }
                        _ => self.collect(value),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.collect(value)),
            _ => {}
        }
    }

    fn add(&mut self, id: &Value) {
        if let Some(id) = id.as_u64() {
            self.ids.insert(id.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A crate with a function that takes the type `2` and one that is private, and a re-export of the type `3`.
    fn promised() -> Value {
        let path = |id: u32| json!({ "resolved_path": { "id": id, "path": "Type", "args": null } });
        json!({
            "index": {
                "0": { "name": "garden_build", "inner": { "module": { "items": [1, 4] } } },
                "1": {
                    "name": "build",
                    "inner": { "function": { "sig": { "inputs": [["type", path(2)]], "output": path(3) } } },
                },
                "4": { "name": null, "inner": { "use": { "id": 5, "name": "Named" } } },
                "6": { "name": "hidden", "inner": { "function": { "sig": { "inputs": [["type", path(7)]] } } } },
            },
            "paths": {
                "0": { "crate_id": 0, "path": ["garden_build"] },
                "2": { "crate_id": 2, "path": ["tonic", "Status"] },
                "3": { "crate_id": 3, "path": ["garden_cluster", "Unnamed"] },
                "5": { "crate_id": 3, "path": ["garden_cluster", "Named"] },
                "7": { "crate_id": 7, "path": ["hyper", "Body"] },
            },
        })
    }

    /// Its `Named` has a field of another crate's type, and an implementation that the compiler has added.
    fn internal() -> Value {
        json!({
            "index": {
                "1": { "name": "Unnamed", "inner": { "struct": { "kind": "unit", "impls": [] } } },
                "2": { "name": "Named", "inner": { "struct": { "kind": { "plain": { "fields": [3] } }, "impls": [4] } } },
                "3": { "name": "field", "inner": { "struct_field": { "resolved_path": { "id": 9, "path": "Pod" } } } },
                "4": { "name": null, "inner": { "impl": { "is_synthetic": true, "trait": { "id": 8, "path": "Send" } } } },
            },
            "paths": {
                "1": { "crate_id": 0, "path": ["garden_cluster", "Unnamed"] },
                "2": { "crate_id": 0, "path": ["garden_cluster", "Named"] },
                "8": { "crate_id": 1, "path": ["core", "Send"] },
                "9": { "crate_id": 5, "path": ["k8s_openapi", "Pod"] },
            },
        })
    }

    #[test]
    fn what_shows_is_found_through_internal_crates_and_what_is_hidden_is_not() {
        let crates = [("garden_build", promised()), ("garden_cluster", internal())]
            .map(|(name, json)| (name.to_owned(), json));
        let shown = Shown::of(&mut Crates(crates.into()), &[&["garden_build"]]).expect("the two are there");
        let foreign: Vec<_> =
            shown.foreign.iter().map(|(item, places)| (item.as_str(), some(places))).collect();
        assert_eq!(
            foreign,
            [
                ("k8s_openapi::Pod", "garden_build::Named::field".to_owned()),
                ("tonic::Status", "garden_build::build".to_owned()),
            ]
        );
        let named = "garden_cluster::Named".to_owned();
        assert_eq!(shown.named, BTreeSet::from([named.clone()]));
        let internal: Vec<_> = shown.internal.keys().cloned().collect();
        assert_eq!(internal, [named, "garden_cluster::Unnamed".to_owned()]);
    }
}
