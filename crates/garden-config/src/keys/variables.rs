//! Variables: `${var.…}`.
//!
//! They come in layers: the project's, those of the environment, those of a module or an action, those set
//! from Rust. A higher layer wins: mappings of the same name merge, and anything else hides what is below it, with all its keys. A variable may refer to
//! others: those of the layers below first, and then those beside it. So an environment can extend what the project sets.
//! Since Garden 0.14 a file of variables is a layer of its own, whose variables see first those of the declaration that names it.
//!
//! A variable that is asked for and not known yet is not resolved there and then, as a chain of variables
//! could be longer than the stack is deep. Whoever asked breaks off, the variable is resolved, and the
//! question is asked again.
//!
//! Why: docs/decisions/02-variables-are-resolved-later.md

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};

use crate::document::node::Node;
use crate::keys::declared::DeclaredVariables;
use crate::keys::layer::{Here, Indexes};
use crate::keys::{Asker, Keys, View, missing};
use crate::project::Generation;
use crate::template::{Fault, LookedUp, Parsed, TemplateProblem, check_depth, parse};

/// Which layers count.
pub(crate) type Sight = Range<usize>;

/// A path, and the layers that count for it.
type Place = (Sight, Vec<String>);

/// All variables that a text may use, lowest layer first.
#[derive(Debug, Default)]
pub(crate) struct Variables<'a> {
    /// Each a mapping.
    layers: Vec<&'a Node>,
    /// Which of them are of a file, above a layer of the same declaration.
    of_files: Vec<bool>,
    /// What has been found out.
    known: RefCell<HashMap<Place, Result<LookedUp, Fault>>>,
    /// What has been asked for and was not known.
    wanted: RefCell<Vec<Place>>,
    /// How much all templates have come to.
    spent: Cell<usize>,
    /// How much passed through their expressions.
    handled: Cell<usize>,
    /// How much all documents of the environment have taken.
    total: Option<&'a AtomicUsize>,
    /// The templates that were read: each is computed again whenever a variable became known.
    parsed: RefCell<HashMap<String, Rc<Result<Parsed, TemplateProblem>>>>,
    /// How many variables were looked for that are not set.
    missing: Cell<usize>,
    indexes: Indexes,
    /// Whether a file of variables cannot be read, which may set any of them: then no variable is known, and no default replaces one.
    pub(crate) are_unknown: bool,
}

impl<'a> Variables<'a> {
    /// So many variables may refer to one another in a chain.
    const LONGEST_CHAIN: usize = 100;

    /// The keys that lead to a variable may not be longer together, in bytes: they are remembered for each of a mapping's fields.
    const LONGEST_PATH: usize = 1024;

    /// So often something is asked again because of variables that became known.
    const MOST_ROUNDS: usize = 128;

    /// So much may all templates of one provider, module or action come to, in bytes. A few lines could
    /// fill the memory otherwise, each doubling the one before.
    const BUDGET: usize = 16 * 1024 * 1024;

    /// So much may pass through their expressions, in bytes: values of variables, and what functions and
    /// operators make. Each of a thousand templates could take its time with a large value otherwise, and
    /// come to little.
    const MOST_HANDLED: usize = 128 * 1024 * 1024;

    /// Whoever wants more variables that are not set gets no more suggestions, which take their time.
    const MOST_SUGGESTIONS: usize = 200;

    /// So many names of variables are enough to suggest one of them.
    const MOST_KEYS: usize = 200;

    /// Takes what was declared, the lowest first.
    pub(crate) fn new(declared: impl IntoIterator<Item = &'a DeclaredVariables>) -> Self {
        let mut variables = Self::default();
        for declared in declared {
            for (index, layer) in declared.layers().iter().enumerate() {
                variables.layers.push(layer);
                variables.of_files.push(index > 0);
            }
        }
        variables
    }

    /// Counts in `total`, too, what passes through expressions.
    pub(crate) fn counted_in(self, total: &'a AtomicUsize) -> Self {
        Self { total: Some(total), ..self }
    }

    /// All layers, the lowest first.
    pub(crate) fn layers(&self) -> &[&'a Node] {
        &self.layers
    }

    /// Lets all layers count.
    pub(crate) fn all(&self) -> Sight {
        0..self.layers.len()
    }

    /// Looks up `path` for a variable of a layer: in the layers below first, and then in its own. In a layer of a file the one
    /// right below comes first, then its own, and then the others.
    pub(crate) fn look_up_from(&self, asker: Asker<'_>, path: &[String]) -> Result<LookedUp, Fault> {
        let Asker { layer, path: itself, depth } = asker;
        let mut sights: Vec<Sight> = Vec::new();
        if self.of_files.get(layer) == Some(&true) {
            sights.push(layer - 1..layer);
            // What is within the variable itself cannot be found out yet.
            if !itself.starts_with(path) {
                sights.push(layer..layer + 1);
            }
        }
        sights.push(0..layer);
        for sight in sights {
            if let found @ LookedUp::Found(_) = self.look_up(path, sight)? {
                return Ok(found);
            }
        }
        if itself == path {
            if depth < path.len() {
                return Ok(self.missing(path, &(0..layer + 1)));
            }
            let message = format!("`var.{}` refers to itself, and nothing below sets it", path.join("."));
            return Ok(LookedUp::Missing(Fault::new(message)));
        }
        self.look_up(path, 0..layer + 1)
    }

    /// Counts `value` as made by a template.
    pub(crate) fn spend(&self, value: &Value) -> Result<(), Fault> {
        self.spent.set(self.spent.get().saturating_add(self.counted(value)));
        self.check_spent()
    }

    /// Counts `value` as one that a template reckons with.
    pub(crate) fn handle(&self, value: &Value) -> Result<(), Fault> {
        self.handled.set(self.handled.get().saturating_add(self.counted(value)));
        self.check_spent()
    }

    /// Returns the size of `value`, which is counted for all documents, too.
    fn counted(&self, value: &Value) -> usize {
        let size = size(value);
        if let Some(total) = self.total {
            total.fetch_add(size, Ordering::Relaxed);
        }
        size
    }

    /// Whether templates may be computed still.
    pub(crate) fn check_spent(&self) -> Result<(), Fault> {
        let mebibytes = |bytes: usize| bytes / 1024 / 1024;
        if self.spent.get() > Self::BUDGET {
            let message = format!("the templates expand to more than {} MiB", mebibytes(Self::BUDGET));
            return Err(Fault::new(message));
        }
        if self.handled.get() > Self::MOST_HANDLED {
            let most = mebibytes(Self::MOST_HANDLED);
            let message = format!("the templates reckon with values of more than {most} MiB");
            return Err(Fault::new(message).hint("let fewer templates take large values"));
        }
        Ok(())
    }

    /// Reads a template, or remembers it.
    pub(crate) fn parse(&self, text: &str, generation: Generation) -> Rc<Result<Parsed, TemplateProblem>> {
        if let Some(parsed) = self.parsed.borrow().get(text) {
            return Rc::clone(parsed);
        }
        let parsed = Rc::new(parse(text, generation));
        self.parsed.borrow_mut().insert(text.to_owned(), Rc::clone(&parsed));
        parsed
    }

    /// Looks up `path` in the layers of `sight`. The answer means nothing if the variable is
    /// [`wanted`](Self::wants) now.
    pub(crate) fn look_up(&self, path: &[String], sight: Sight) -> Result<LookedUp, Fault> {
        if path.iter().map(String::len).sum::<usize>() > Self::LONGEST_PATH {
            let message = format!("the path to a variable is longer than {} bytes", Self::LONGEST_PATH);
            return Err(Fault::new(message).hint("use shorter keys"));
        }
        let place = (sight, path.to_vec());
        if let Some(known) = self.known.borrow().get(&place) {
            return known.clone();
        }
        self.wanted.borrow_mut().push(place);
        Err(Fault::new("not known yet"))
    }

    /// Whether something was asked for that is not known, so that whatever was made of the answers is void.
    pub(crate) fn wants(&self) -> bool {
        !self.wanted.borrow().is_empty()
    }

    /// Asks `question` until all variables that it takes are known. `None` if there are too many.
    pub(crate) fn ask<T>(&self, keys: &Keys<'_>, question: impl Fn() -> T) -> Option<T> {
        for _ in 0..Self::MOST_ROUNDS {
            let answer = question();
            if !self.wants() {
                return Some(answer);
            }
            for place in self.wanted.take() {
                self.find_out(place, &mut Vec::new(), keys);
            }
        }
        None
    }

    pub(crate) fn too_many() -> Fault {
        let message = format!("more than {} variables are chosen one by one", Self::MOST_ROUNDS);
        Fault::new(message).hint("write the value itself")
    }

    /// Resolves one variable, and before it all those that it asks for; `chain` are those that wait for it.
    fn find_out(&self, place: Place, chain: &mut Vec<Place>, keys: &Keys<'_>) {
        // Many may have asked for one.
        if self.known.borrow().contains_key(&place) {
            return;
        }
        let know = |place: Place, answer| self.known.borrow_mut().insert(place, answer);
        if let Some(start) = chain.iter().position(|waiting| *waiting == place) {
            let fault = circle(chain[start..].iter().chain([&place]));
            know(place, Err(fault));
            return;
        }
        if chain.len() >= Self::LONGEST_CHAIN {
            let message = format!("more than {} variables refer to one another", Self::LONGEST_CHAIN);
            know(place, Err(Fault::new(message)));
            return;
        }
        let mut answer = Err(Self::too_many());
        chain.push(place.clone());
        for _ in 0..Self::MOST_ROUNDS {
            let attempt = self.merged(&place, keys);
            let wanted = self.wanted.take();
            if wanted.is_empty() {
                answer = attempt.and_then(|found| match found {
                    LookedUp::Found(value) => check_depth(value).map(LookedUp::Found),
                    missing @ LookedUp::Missing(_) => Ok(missing),
                });
                break;
            }
            for next in wanted {
                self.find_out(next, chain, keys);
            }
        }
        chain.pop();
        know(place, answer);
    }

    /// Merges what the layers have at `place`.
    fn merged(&self, (sight, path): &Place, keys: &Keys<'_>) -> Result<LookedUp, Fault> {
        let mut fields: BTreeSet<String> = BTreeSet::new();
        let mut only: Option<Value> = None;
        let (mut found, mut mappings) = (0, 0);
        for layer in sight.clone().rev() {
            let view = View { keys, within: Some(Asker::new(layer, path)) };
            let here = match self.indexes.look_into(self.layers[layer], path, mappings, view)? {
                Here::Nothing(passed) => {
                    mappings = mappings.max(passed);
                    continue;
                }
                Here::Hidden => break,
                // A value other than a mapping hides the mappings below it, and a mapping above hides it.
                Here::Value(value) if !value.is_object() && found > 0 => break,
                here => here,
            };
            found += 1;
            match here {
                Here::Mapping(mapping) => fields.extend(mapping.0.iter().map(|entry| entry.key.clone())),
                Here::Value(Value::Object(mapping)) => {
                    fields.extend(mapping.keys().cloned());
                    only = Some(Value::Object(mapping));
                }
                Here::Value(value) => return Ok(LookedUp::Found(value)),
                Here::Nothing(_) | Here::Hidden => {}
            }
        }
        match (found, only) {
            (0, _) => Ok(self.missing(path, sight)),
            (1, Some(value)) => Ok(LookedUp::Found(value)),
            _ => self.gathered(fields, path, sight),
        }
    }

    /// Looks up each of the `fields` of the mapping at `path`, as each is a variable of its own.
    fn gathered(&self, fields: BTreeSet<String>, path: &[String], sight: &Sight) -> Result<LookedUp, Fault> {
        let mut mapping = Map::new();
        let mut failure = None;
        for field in fields {
            let mut path = path.to_vec();
            path.push(field.clone());
            match self.look_up(&path, sight.clone()) {
                Ok(LookedUp::Found(value)) => {
                    mapping.insert(field, value);
                }
                // An optional template that stands for nothing.
                Ok(LookedUp::Missing(_)) => {}
                Err(fault) => failure = failure.or(Some(fault)),
            }
        }
        failure.map_or_else(|| Ok(LookedUp::Found(Value::Object(mapping))), Err)
    }

    /// States that no layer has `path`, and what else there is.
    fn missing(&self, path: &[String], sight: &Sight) -> LookedUp {
        let (above, _) = path.split_at(path.len().saturating_sub(1));
        self.missing.set(self.missing.get() + 1);
        let layers =
            if self.missing.get() > Self::MOST_SUGGESTIONS { &[] } else { &self.layers[sight.clone()] };
        let mut keys = Vec::new();
        for layer in layers {
            let mapping = above.iter().try_fold(*layer, |node, key| node.as_mapping()?.get(key));
            let entries = mapping.and_then(Node::as_mapping).map(|mapping| mapping.0.as_slice());
            let entries = entries.unwrap_or_default().iter().take(Self::MOST_KEYS - keys.len());
            keys.extend(entries.map(|entry| entry.key.clone()));
        }
        let path: Vec<String> = ["var".to_owned()].iter().chain(path).cloned().collect();
        missing(&path, &keys)
    }
}

fn circle<'p>(places: impl Iterator<Item = &'p Place>) -> Fault {
    let names: Vec<String> = places.map(|(_, path)| format!("`var.{}`", path.join("."))).collect();
    Fault::new(format!("variables refer to each other in a circle: {}", names.join(", ")))
        .hint("write the value of one of them itself")
}

/// Roughly how much memory a value takes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 16,
        Value::Array(items) => 16 + items.iter().map(size).sum::<usize>(),
        Value::Object(entries) => {
            16 + entries.iter().map(|(key, value)| key.len() + size(value)).sum::<usize>()
        }
        _ => 16,
    }
}
