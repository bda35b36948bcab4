//! Modes, links and the root; the integration tests compare whole trees with `BuildKit`'s own client.

use std::fs;

use super::*;

fn list(root: &Path, filter: &Filter) -> Vec<Stat> {
    let mut listed = Vec::new();
    let source = LocalDirectory::new(root).expect("directory");
    source
        .list(filter, &|| false, &mut |entry| {
            listed.push(entry.stat);
            ControlFlow::Continue(())
        })
        .expect("list");
    listed
}

#[cfg(unix)]
#[test]
fn modes_are_those_of_go() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let root = tempfile::tempdir().expect("temporary directory");
    let path = |name: &str| root.path().join(name);
    fs::create_dir(path("directory")).expect("directory");
    symlink("nowhere", path("link")).expect("link");
    for (name, mode) in [("plain", 0o640), ("user", 0o4755), ("group", 0o2755), ("sticky", 0o1600)] {
        fs::write(path(name), name).expect("file");
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).expect("mode");
    }
    fs::set_permissions(path("directory"), fs::Permissions::from_mode(0o750)).expect("mode");
    let modes: Vec<(Vec<u8>, u32)> =
        list(root.path(), &Filter::default()).into_iter().map(|stat| (stat.path, stat.mode)).collect();
    let expected = [
        ("directory", 0x8000_01e8),
        ("group", 0x0040_01ed),
        ("link", 0x0800_01ff),
        ("plain", 0x1a0),
        ("sticky", 0x0010_0180),
        ("user", 0x0080_01ed),
    ];
    assert_eq!(modes, expected.map(|(path, mode)| (path.as_bytes().to_vec(), mode)));
}

#[cfg(unix)]
#[test]
fn of_several_links_the_first_that_is_wanted_is_the_file() {
    let root = tempfile::tempdir().expect("temporary directory");
    fs::write(root.path().join("a"), "content").expect("file");
    for name in ["b", "c"] {
        fs::hard_link(root.path().join("a"), root.path().join(name)).expect("hard link");
    }
    let links = |filter: &Filter| -> Vec<(Vec<u8>, Vec<u8>, i64)> {
        list(root.path(), filter).into_iter().map(|stat| (stat.path, stat.linkname, stat.size)).collect()
    };
    let entry = |path: &str, link: &str| (path.as_bytes().to_vec(), link.as_bytes().to_vec(), 7);
    assert_eq!(links(&Filter::default()), [entry("a", ""), entry("b", "a"), entry("c", "a")]);
    let without = Filter::new(&[], &["a".to_owned()]).expect("filter");
    assert_eq!(links(&without), [entry("b", ""), entry("c", "b")]);
}

#[test]
fn what_is_no_directory_is_refused() {
    let root = tempfile::tempdir().expect("temporary directory");
    fs::write(root.path().join("file"), "").expect("file");
    for name in ["file", "missing"] {
        let error = LocalDirectory::new(&root.path().join(name)).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_directory_that_becomes_a_link_during_the_walk_is_not_followed() {
    use std::cell::Cell;
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().expect("temporary directory");
    fs::write(outside.path().join("secret"), "of nobody's business").expect("file");
    for exchanged_before in [0, 1, 2] {
        let root = tempfile::tempdir().expect("temporary directory");
        fs::create_dir_all(root.path().join("tree/d/e")).expect("directory");
        fs::write(root.path().join("tree/d/secret"), "inside").expect("file");
        let source = LocalDirectory::new(&root.path().join("tree")).expect("directory");
        let entries = Cell::new(0);
        let mut listed = Vec::new();
        let exchange = || {
            if entries.replace(entries.get() + 1) == exchanged_before {
                fs::rename(root.path().join("tree/d"), root.path().join("aside")).expect("moved");
                symlink(outside.path(), root.path().join("tree/d")).expect("link");
            }
        };
        exchange();
        source
            .list(&Filter::default(), &|| false, &mut |entry| {
                listed.push(entry.stat);
                exchange();
                ControlFlow::Continue(())
            })
            .expect("list");
        let size = "of nobody's business".len();
        assert!(listed.iter().all(|stat| stat.size != stat::signed(size as u64)), "{listed:?}");
        let wanted = Wanted { path: "d/secret".into(), size: size as u64, key: FILE };
        assert!(source.open(&wanted).is_err());
        assert_eq!(source.link(&"d/secret".into()).expect("looked at"), None);
        assert!(source.names("d").expect("looked at").is_empty());
    }
}

#[cfg(unix)]
#[test]
fn no_chain_of_links_and_no_depth_of_directories_takes_the_stack() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().expect("temporary directory");
    for number in 0..20_000 {
        symlink(format!("l{}", number + 1), root.path().join(format!("l{number}"))).expect("link");
    }
    // As deep as a path may be.
    fs::create_dir_all(root.path().join("d/".repeat(1900))).expect("directories");
    let source = LocalDirectory::new(root.path()).expect("directory");
    let small = std::thread::Builder::new().stack_size(128 * 1024);
    let run = move || {
        let followed = super::super::follow::follow(&source, &["l0".to_owned()]).expect("followed");
        let mut listed = 0;
        let each = &mut |_| {
            listed += 1;
            ControlFlow::Continue(())
        };
        source.list(&Filter::default(), &|| false, each).expect("list");
        (followed.expect("paths").len(), listed)
    };
    assert_eq!(small.spawn(run).expect("thread").join().expect("no panic"), (20_001, 21_900));
}
