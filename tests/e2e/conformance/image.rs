//! The files of an image, read from its layers in the registry.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use garden_build::ImageReference;
use garden_build::context::PathBytes;
use tar::{Archive, EntryType};

use crate::site::registry;

/// Marks a file of lower layers as deleted, and, with the second one, all files of a directory.
/// Source: OCI image specification, "Image Layer Filesystem Changeset", section "Whiteouts".
const DELETED: &str = ".wh.";
const ALL_DELETED: &str = ".wh..wh..opq";

/// What has a name in an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct File {
    pub(super) content: Content,
    /// The permissions, with set-user-id and its like. Symbolic links have none.
    pub(super) mode: u32,
    pub(super) owner: (u64, u64),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Content {
    File(Vec<u8>),
    Directory,
    Link(String),
    /// A device, or something else that no build context has.
    Other,
}

/// All that is in an image by its path, which begins without a slash. Bytes that are not UTF-8 are escaped, such as `\xe9`.
#[derive(Debug)]
pub(super) struct Files(BTreeMap<String, File>);

impl Files {
    /// The text of the file at `path`.
    pub(super) fn text(&self, path: &str) -> &str {
        match self.0.get(path) {
            Some(File { content: Content::File(bytes), .. }) => std::str::from_utf8(bytes).unwrap(),
            other => panic!("no file at {path}, but {other:?}"),
        }
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// What lies below `directory`, by the path from there.
    pub(super) fn below(&self, directory: &str) -> BTreeMap<&str, &File> {
        let start = format!("{directory}/");
        self.0.iter().filter_map(|(path, file)| Some((path.strip_prefix(&start)?, file))).collect()
    }

    /// The paths of files below `directory`, directories left out.
    pub(super) fn names_below(&self, directory: &str) -> Vec<&str> {
        let below = self.below(directory).into_iter();
        below.filter(|(_, file)| file.content != Content::Directory).map(|(path, _)| path).collect()
    }
}

/// Returns the files of an image for one platform.
pub(super) async fn files(image: &ImageReference) -> Files {
    let contents = registry::contents(image).await;
    let [_config, layers @ .., _manifest] = &contents[..] else { panic!("{image} is incomplete") };
    let mut files = BTreeMap::new();
    for layer in layers {
        apply(layer, &mut files);
    }
    Files(files)
}

/// Puts a layer on top of others.
fn apply(layer: &[u8], files: &mut BTreeMap<String, File>) {
    let mut added = BTreeMap::new();
    for entry in Archive::new(layer).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = clean(&entry.path().unwrap());
        let (directory, name) = path.rsplit_once('/').map_or(("", path.as_str()), |split| split);
        if name == ALL_DELETED {
            remove_below(directory, files);
            continue;
        }
        if let Some(name) = name.strip_prefix(DELETED) {
            let deleted = clean(&Path::new(directory).join(name));
            remove_below(&deleted, files);
            files.remove(&deleted);
            continue;
        }
        let content = match entry.header().entry_type() {
            EntryType::Regular => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                Content::File(bytes)
            }
            EntryType::Directory => Content::Directory,
            EntryType::Symlink => {
                Content::Link(PathBytes::from(&*entry.link_name_bytes().unwrap()).to_string())
            }
            EntryType::Link => {
                let original = clean(&entry.link_name().unwrap().unwrap());
                let original: Option<&File> = added.get(&original).or_else(|| files.get(&original));
                original.map_or(Content::Other, |file| file.content.clone())
            }
            _ => Content::Other,
        };
        let header = entry.header();
        let mode = if matches!(content, Content::Link(_)) { 0 } else { header.mode().unwrap() & 0o7777 };
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        added.insert(path, File { content, mode, owner });
    }
    for (path, file) in added {
        if file.content != Content::Directory {
            remove_below(&path, files);
        }
        files.insert(path, file);
    }
}

fn remove_below(directory: &str, files: &mut BTreeMap<String, File>) {
    let start = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    files.retain(|path, _| !path.starts_with(&start));
}

/// A path without a slash or `./` at its beginning, or a slash at its end.
fn clean(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        std::path::Component::Normal(part) => PathBytes::from_os(part).map(|part| part.to_string()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}
