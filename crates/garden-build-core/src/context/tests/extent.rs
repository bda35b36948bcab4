//! What of a directory is scanned if only what the Dockerfile reads counts.

use super::*;
use crate::ImageFlag;

fn scan_for(project: &Project, request: &BuildRequest) -> Context {
    assert_eq!(request.directory, project.0.path());
    Context::scan_for(request, &Reader::new(StagesBuilt::Needed, &[]), &DigestCache::none(), &|| false)
        .expect("context")
}

/// A project with this Dockerfile and some files.
fn project(dockerfile: &str) -> Project {
    let files = ["a/b/read", "a/b/x/deep", "a/unread", "top", "unread/file"].map(|path| (path, path));
    let project = Project::new(&files);
    project.write("Dockerfile", dockerfile);
    project
}

#[test]
fn only_what_is_read_is_part_of_the_context_with_the_directories_above() {
    let project = project("FROM scratch\nCOPY a/b /\nCOPY t* absent/file /");
    let context = scan_for(&project, &project.request());
    assert_eq!(paths(&context), ["a", "a/b", "a/b/read", "a/b/x", "a/b/x/deep", "top"]);
    let expected = Extent::Read {
        sources: vec!["a/b".to_owned(), "absent/file".to_owned(), "t*".to_owned()],
        bases: Vec::new(),
    };
    assert_eq!(*context.extent(), expected);
}

#[test]
fn the_digest_changes_with_what_is_read_and_with_nothing_else() {
    let project = project("FROM scratch\nCOPY a/b /");
    let digest = || scan_for(&project, &project.request()).manifest().digest();
    let before = digest();
    project.write("a/unread", "changed");
    project.write("a/another", "new");
    project.write("unread/file", "changed");
    assert_eq!(digest(), before);
    project.write("a/b/x/deep", "changed");
    assert_ne!(digest(), before);
}

#[test]
fn a_context_of_which_everything_is_read_is_the_whole_context() {
    for dockerfile in
        ["FROM scratch\nCOPY . /", "FROM scratch\nCOPY * /", "FROM scratch\nCOPY $PATH /", "NONSENSE"]
    {
        let project = project(dockerfile);
        let (pruned, whole) = (scan_for(&project, &project.request()), project.scan().expect("context"));
        assert_eq!(pruned.manifest(), whole.manifest(), "{dockerfile}");
        assert_eq!(*whole.extent(), Extent::Whole(None));
    }
    let project = project("FROM scratch\nCOPY top /");
    let context = scan_for(&project, &project.request().whole_context(true));
    assert_eq!(context.manifest(), project.scan().expect("context").manifest());
}

#[test]
fn says_why_the_whole_context_is_taken() {
    let reason = |dockerfile: &str, flags: &[ImageFlag]| {
        let project = project(dockerfile);
        let reader = Reader::new(StagesBuilt::Needed, flags);
        match Context::scan_for(&project.request(), &reader, &DigestCache::none(), &|| false)
            .expect("context")
            .extent()
        {
            Extent::Whole(reason) => reason.clone(),
            Extent::Read { .. } => Some("not whole".to_owned()),
        }
    };
    let copy = "FROM scratch\nCOPY top /";
    assert_eq!(reason("FROM scratch\nCOPY . /", &[]).as_deref(), Some("Dockerfile: all of it is read"));
    let text = reason("FROM scratch\nCOPY a\\\\b /", &[]).expect("reason");
    assert!(text.contains("`a\\b` contains a backslash"), "{text}");
    let text = reason("FROM scratch\nCOPY $PATH /", &[]).expect("reason");
    assert_eq!(
        text,
        "what Dockerfile reads is not certain: what `$PATH` stands for is known to the builder only"
    );
    let harmless = ImageFlag::reading_no_more(["--polish", "a=b"]);
    let flags = [harmless.clone(), ImageFlag::new(["--graft", "other/tree"])];
    assert_eq!(reason(copy, &flags).as_deref(), Some("`--graft` may change what is read"));
    assert_eq!(reason(copy, &[harmless]).as_deref(), Some("not whole"));
}

#[test]
fn what_is_ignored_stays_ignored_and_what_is_left_out_is_not_even_looked_at() {
    let project = project("FROM scratch\nCOPY a unread/file /");
    project.write(".dockerignore", "a/b/x\nunread\n!unread/file");
    let request = project.request().exclude(["a/unread"]);
    let context = scan_for(&project, &request);
    assert_eq!(paths(&context), ["a", "a/b", "a/b/read", "unread", "unread/file"]);
}

#[cfg(unix)]
#[test]
fn what_cannot_be_part_of_a_context_matters_only_where_it_is_read() {
    use std::os::unix::net::UnixListener;
    let project = project("FROM scratch\nCOPY top /");
    let _socket = UnixListener::bind(project.path("unread/socket")).expect("socket");
    let context = scan_for(&project, &project.request());
    assert_eq!((paths(&context), context.tree().left_out()), (vec!["top".into()], None));
    assert!(project.scan().expect("context").tree().left_out().is_some());
}

#[cfg(unix)]
#[test]
fn links_on_the_way_to_what_is_read_are_kept_with_what_they_lead_to() {
    use std::os::unix::fs::symlink;
    let project = project("FROM scratch\nCOPY current/read /");
    symlink("a/link", project.path("current")).expect("link");
    symlink("b", project.path("a/link")).expect("link");
    symlink("top", project.path("unread/link")).expect("link");
    let context = scan_for(&project, &project.request());
    assert_eq!(paths(&context), ["a", "a/b", "a/b/read", "a/link", "current"]);
}
