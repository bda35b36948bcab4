use futures::future::join_all;
use garden_registry::Platform;
use tempfile::TempDir;

use super::super::facts::Child;
use super::*;

#[expect(clippy::needless_pass_by_value, reason = "names are written where they are used")]
fn digest(name: impl ToString) -> Digest {
    Digest::of(name.to_string().as_bytes())
}

fn image(has_triggers: bool) -> Fact {
    Fact::Image { has_triggers }
}

fn index(children: usize) -> Fact {
    let platform = Some(Platform::new("linux", "amd64", None));
    let child = |number| Child { digest: digest(number), platform: platform.clone() };
    Fact::Index { children: (0..children).map(child).collect() }
}

/// What another process with the same directory sees.
async fn elsewhere(directory: &TempDir, name: &str) -> Option<Fact> {
    in_directory(directory).get(digest(name)).await
}

fn in_directory(directory: &TempDir) -> KeptFacts {
    // Made by whoever writes first, for this user alone.
    KeptFacts::in_directory(Some(directory.path().join("base-images")))
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("base-images").join(FILE)
}

#[tokio::test]
async fn what_one_process_has_found_out_another_one_knows() {
    let directory = TempDir::new().expect("a directory");
    let (one, two) = (in_directory(&directory), in_directory(&directory));
    one.put(digest("a"), image(true));
    one.put(digest("list"), index(3));
    assert_eq!(elsewhere(&directory, "a").await, None, "not saved yet");
    one.save().await;
    two.put(digest("b"), image(false));
    two.save().await;
    assert_eq!(elsewhere(&directory, "a").await, Some(image(true)), "what the other has written stays");
    assert_eq!(elsewhere(&directory, "b").await, Some(image(false)));
    assert_eq!(elsewhere(&directory, "list").await, Some(index(3)));
    assert_eq!(one.get(digest("b")).await, Some(image(false)), "it looks again for what it does not know");
}

#[tokio::test]
async fn without_a_directory_facts_last_as_long_as_the_process() {
    let facts = KeptFacts::in_directory(None);
    facts.put(digest("a"), image(true));
    facts.save().await;
    assert_eq!(facts.get(digest("a")).await, Some(image(true)));
    assert_eq!(facts.get(digest("b")).await, None);
}

#[tokio::test]
async fn a_damaged_file_is_as_good_as_none_and_is_replaced() {
    let directory = TempDir::new().expect("a directory");
    let facts = in_directory(&directory);
    facts.put(digest("a"), image(false));
    facts.save().await;
    let whole = std::fs::read(file(&directory)).expect("written");
    let mut lie = whole.clone();
    let at = whole.windows(5).position(|word| word == b"false").expect("the fact");
    lie.splice(at..at + 5, *b"true");
    let other = String::from_utf8(whole.clone()).expect("text").replace("images 1 ", "images 2 ");
    for damaged in
        [Vec::new(), b"\xff\xfe".to_vec(), whole[..whole.len() - 1].to_vec(), lie, other.into_bytes()]
    {
        std::fs::write(file(&directory), &damaged).expect("writable");
        assert_eq!(elsewhere(&directory, "a").await, None, "{:?}", damaged.get(..100));
    }
    let facts = in_directory(&directory);
    facts.put(digest("b"), image(true));
    facts.save().await;
    assert_eq!(elsewhere(&directory, "b").await, Some(image(true)));
}

/// A file with these facts, whose digest is right.
fn whole(facts: &str) -> String {
    format!("{HEADER}{}\n{facts}", Digest::of(facts.as_bytes()))
}

/// The facts of a file that has one, about `a`, and beside it what another version may have written there.
fn with_unknown_field(value: &str) -> String {
    let found = format!(r#"{{"fact":{{"image":{{"hasTriggers":true}}}},"at":{},"new":{value}}}"#, now());
    format!(r#"{{"{}":{found}}}"#, digest("a"))
}

#[tokio::test]
async fn a_file_counts_up_to_its_largest_size() {
    let directory = TempDir::new().expect("a directory");
    let facts = in_directory(&directory);
    facts.put(digest("b"), image(true));
    facts.save().await;
    let facts = with_unknown_field("0");
    for (size, counts) in [(LARGEST_FILE, true), (LARGEST_FILE + 1, false)] {
        // Room that means nothing in JSON, so that only the size differs.
        let room = " ".repeat(size - whole(&facts).len());
        std::fs::write(file(&directory), whole(&format!("{facts}{room}"))).expect("writable");
        assert_eq!(elsewhere(&directory, "a").await, counts.then(|| image(true)), "{size} bytes");
    }
}

#[test]
fn what_is_not_known_is_skipped_however_deep_it_is() {
    let nested = with_unknown_field(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    let facts = Facts::parse(&whole(&nested)).expect("skipped without recursion");
    assert_eq!(facts.get(digest("a")), Some(image(true)));
}

#[tokio::test]
async fn tasks_that_save_at_once_undo_nothing() {
    const AT_ONCE: usize = 8;
    // One that undoes what another has added has to write last, which happens soon if it can happen.
    for _ in 0..100 {
        let directory = TempDir::new().expect("a directory");
        let facts = in_directory(&directory);
        let save = async |number: usize| {
            facts.put(digest(number), image(true));
            facts.save().await;
        };
        join_all((0..AT_ONCE).map(save)).await;
        assert_eq!(Facts::read(&directory.path().join("base-images")).0.len(), AT_ONCE);
    }
}

#[tokio::test]
async fn what_could_not_be_saved_is_saved_by_the_next_one() {
    let directory = TempDir::new().expect("a directory");
    // No directory can be made in its place.
    let in_the_way = directory.path().join("base-images");
    std::fs::write(&in_the_way, "").expect("writable");
    let facts = in_directory(&directory);
    facts.put(digest("a"), image(true));
    facts.save().await;
    std::fs::remove_file(&in_the_way).expect("removed");
    facts.save().await;
    assert_eq!(elsewhere(&directory, "a").await, Some(image(true)));
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_reads_the_file_and_what_others_can_write_does_not_count() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    let directory = TempDir::new().expect("a directory");
    let facts = in_directory(&directory);
    facts.put(digest("a"), image(false));
    facts.save().await;
    let (file, home) = (file(&directory), directory.path().join("base-images"));
    let mode = |path: &Path| std::fs::metadata(path).expect("written").permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&home)), (0o600, 0o700));
    for (path, bad, good) in [(&file, 0o666, 0o600), (&home, 0o777, 0o700)] {
        std::fs::set_permissions(path, Permissions::from_mode(bad)).expect("changed");
        assert_eq!(elsewhere(&directory, "a").await, None, "{}", path.display());
        std::fs::set_permissions(path, Permissions::from_mode(good)).expect("changed");
        assert_eq!(elsewhere(&directory, "a").await, Some(image(false)));
    }
}

#[test]
fn what_is_old_from_the_future_or_too_much_is_dropped() {
    let age = FORGOTTEN_AFTER.as_secs();
    let found = |at| Found { fact: image(false), at };
    let mut facts = Facts::default();
    for number in 0..MOST + 10 {
        facts.0.insert(digest(number), found(age + number as u64));
    }
    facts.0.insert(digest("old"), found(0));
    facts.0.insert(digest("future"), found(10 * age));
    facts.tidy(age + (MOST + 10) as u64);
    assert_eq!(facts.0.len(), MOST);
    for gone in ["old", "future", "0", "9"] {
        assert_eq!(facts.get(digest(gone)), None, "{gone}");
    }
    assert!(facts.get(digest(10)).is_some());
}

#[test]
fn the_file_has_a_limit_and_the_newest_facts() {
    let mut facts = Facts::default();
    for at in 0..100 {
        facts.0.insert(digest(at), Found { fact: index(500), at });
    }
    let text = facts.render();
    assert!(text.len() <= LARGEST_FILE && text.len() > LARGEST_FILE / 2, "{}", text.len());
    let kept = Facts::parse(&text).expect("whole");
    assert!(kept.0.contains_key(&digest(99)) && !kept.0.contains_key(&digest(0)));
}
