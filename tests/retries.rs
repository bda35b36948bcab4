//! Which failures of a backend are tried again, and what the registry is asked in between.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::sync::Arc;

use garden_build::config::{DeploymentRegistry, ProviderConfig};
use garden_build::{
    BuildRequest, Builder, Error, ErrorKind, Event, NamedContext, Outcome, Result, WarningCode, WarningData,
};
use garden_build_testing::backend::{Script, ScriptedBackend};
use garden_build_testing::kubernetes::FakeCluster;
use garden_build_testing::registry::{Image, Registry};

/// A backend whose builds end as these scripts say, one after the other, and then succeed.
async fn scripted(scripts: impl IntoIterator<Item = Script>) -> ScriptedBackend {
    let backend = ScriptedBackend::new(&Registry::start().await);
    scripts.into_iter().for_each(|script| backend.next(script));
    backend
}

fn builder(backend: &ScriptedBackend) -> Builder {
    let mut provider = ProviderConfig::kubernetes("demo");
    let mut deployment = DeploymentRegistry::new(&backend.registry().host()).unwrap();
    deployment.insecure = true;
    provider.deployment_registry = Some(deployment);
    let options = Builder::options(provider).client(FakeCluster::new().client());
    options.backend(Arc::new(backend.clone())).connect().unwrap()
}

fn context() -> tempfile::TempDir {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    directory
}

async fn build(backend: &ScriptedBackend, force: bool) -> Result<Outcome> {
    let (builder, directory) = (builder(backend), context());
    let image = builder.build(BuildRequest::new("api", directory.path()).force(force)).await?;
    Ok(image.outcome)
}

/// An end that trying again does not change, as far as the backend knows.
fn end(kind: ErrorKind) -> Script {
    Script::fail(Error::new(kind, "as the script says"))
}

#[tokio::test]
async fn a_build_that_loses_its_builder_is_begun_three_times_at_most() {
    let evicted = Error::new(ErrorKind::Evicted, "as the script says").retryable();
    let lost = Script::lose_builder;
    let backend = scripted([lost(), Script::fail(evicted), lost(), Script::succeed()]).await;
    let error = build(&backend, false).await.unwrap_err();
    assert_eq!((error.kind(), backend.scripts_left()), (ErrorKind::BuilderLost, 1));

    let backend = scripted([lost(), Script::succeed()]).await;
    let outcome = build(&backend, false).await.unwrap();
    assert!(matches!(outcome, Outcome::Built { .. }) && backend.scripts_left() == 0, "{outcome:?}");
}

#[tokio::test]
async fn an_image_that_was_said_to_be_pushed_and_is_not_there_is_a_failure() {
    let backend = scripted([Script::succeed().without_push()]).await;
    // The registry is asked as long as it may take to show what it has.
    assert_eq!(build(&backend, false).await.unwrap_err().kind(), ErrorKind::PushFailed);
}

#[tokio::test]
async fn an_image_that_was_pushed_before_its_builder_was_lost_is_not_built_again() {
    let backend = scripted([Script::lose_builder().after_push(), Script::succeed()]).await;
    let outcome = build(&backend, false).await.unwrap();
    assert_eq!((outcome, backend.scripts_left()), (Outcome::AlreadyExists, 1));
}

#[tokio::test]
async fn a_failed_step_is_never_tried_again() {
    // One that is evicted for a limit of its own would reach it once more.
    for kind in [ErrorKind::BuildFailed, ErrorKind::Unreachable, ErrorKind::OutOfMemory, ErrorKind::Evicted] {
        let backend = scripted([end(kind), Script::succeed()]).await;
        let error = build(&backend, false).await.unwrap_err();
        assert_eq!((error.kind(), backend.scripts_left()), (kind, 1));
    }
}

#[tokio::test]
async fn an_image_that_is_forced_is_not_looked_for() {
    let backend = scripted([Script::succeed(), Script::lose_builder(), Script::succeed()]).await;
    build(&backend, false).await.unwrap();
    let outcome = build(&backend, true).await.unwrap();
    assert!(matches!(outcome, Outcome::Built { .. }) && backend.scripts_left() == 0, "{outcome:?}");
    let outcome = build(&backend, false).await.unwrap();
    assert_eq!(outcome, Outcome::AlreadyExists, "nothing was built");
}

#[cfg(unix)]
#[tokio::test]
async fn sockets_are_named_once_if_something_is_built() {
    use std::os::unix::net::UnixListener;
    let backend = scripted([]).await;
    let (builder, directory, library) = (builder(&backend), context(), context());
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    let sockets = [directory.path().join("a b.sock"), directory.path().join("c"), library.path().join("d")];
    let _sockets = sockets.map(|path| UnixListener::bind(path).unwrap());
    let plain = BuildRequest::new("api", directory.path()).force(true);
    let named =
        plain.clone().exclude(["*"]).context("lib", NamedContext::Directory(library.path().to_owned()));
    let exists = plain.clone().force(false);
    for (request, expected) in [
        (
            plain,
            &[
                "`a b.sock` is a socket, of use only to the programs at its ends: it and one more socket or FIFO are \
               not in the image",
            ][..],
        ),
        (
            named,
            &[
                "`d` in the context `lib` is a socket, of use only to the programs at its ends: it is not in the image",
            ],
        ),
        (exists, &[]),
    ] {
        let mut build = builder.build(request);
        let mut warnings = Vec::new();
        while let Some(event) = build.next_event().await {
            if let Event::Warning { code, message, hint, data, .. } = event {
                assert_eq!(code, WarningCode::FileLeftOut);
                let Some(WarningData::File { context, path }) = data else { panic!("{message}: {data:?}") };
                assert!(message.starts_with(&format!("`{path}`")), "{path}: {message}");
                assert_eq!(context.is_some(), message.contains("in the context `lib`"), "{message}");
                assert!(hint.is_some_and(|hint| hint.contains("to .dockerignore")));
                warnings.push(message);
            }
        }
        build.await.unwrap();
        assert_eq!(warnings, expected);
    }
}

/// The messages and hints of the warnings of a build.
async fn warnings(builder: &Builder, request: BuildRequest) -> Vec<(String, String)> {
    let warnings = warnings_with_data(builder, request).await.into_iter();
    warnings.map(|(message, hint, _)| (message, hint)).collect()
}

async fn warnings_with_data(
    builder: &Builder,
    request: BuildRequest,
) -> Vec<(String, String, Option<WarningData>)> {
    let mut build = builder.build(request);
    let mut warnings = Vec::new();
    while let Some(event) = build.next_event().await {
        if let Event::Warning { message, hint, data, .. } = event {
            warnings.push((message, hint.unwrap_or_default(), data));
        }
    }
    build.await.unwrap();
    warnings
}

#[tokio::test]
async fn a_repository_in_a_context_is_told_unless_it_is_asked_for() {
    let builder = builder(&scripted([]).await);
    let changes = "has the repository `.git`, which each commit and each fetch change";
    let (all, none) = (&[(".git/HEAD", ""), (".git/objects/pack/p", "")][..], &[][..]);
    let dockerignore = (".dockerignore", ".git\n!.git/HEAD\n");
    for (instruction, files, expected) in [
        ("COPY . /", all, Some(changes)),
        ("COPY . /", none, None),
        // Nobody reads it, or somebody wants it.
        ("COPY src /", all, None),
        ("COPY .git /g", all, None),
        ("COPY .git/HEAD /", all, None),
        ("COPY . /", &[all, &[dockerignore]].concat(), None),
        // A worktree.
        ("COPY . /", &[(".git", "gitdir: /elsewhere/.git/worktrees/a")], Some("has a file `.git`")),
    ] {
        let directory = context();
        let dockerfile = [("Dockerfile", &*format!("FROM scratch\n{instruction}\n")), ("src/a", "")];
        for (path, content) in dockerfile.iter().chain(files) {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let request = BuildRequest::new("api", directory.path()).force(true);
        let said = warnings(&builder, request.clone()).await;
        assert_eq!(said.len(), usize::from(expected.is_some()), "{instruction} {files:?}: {said:?}");
        for (message, hint) in said {
            assert!(message.starts_with("the build context has"), "{message}");
            assert!(expected.is_some_and(|expected| message.contains(expected)), "{message}");
            assert!(hint.starts_with("add the line `.git` to .dockerignore"), "{hint}");
            std::fs::write(directory.path().join(".dockerignore"), ".git\n").unwrap();
            assert_eq!(warnings(&builder, request.clone()).await, []);
        }
        assert_eq!(warnings(&builder, request.force(false)).await, [], "nothing is built");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_context_that_is_unusually_large_is_told_with_the_lines_that_leave_it_out() {
    let backend = scripted([]).await;
    // One with the context's files would be as large.
    backend.otherwise(Script::succeed().image(Image::new()));
    let (builder, directory, library) = (builder(&backend), context(), context());
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    for directory in [&directory, &library] {
        std::fs::create_dir(directory.path().join("node_modules")).unwrap();
        let file = std::fs::File::create(directory.path().join("node_modules/large")).unwrap();
        // Sparse: it takes no space.
        file.set_len(501 * 1024 * 1024).unwrap();
    }
    let request = BuildRequest::new("api", directory.path()).force(true);
    let large = "the build context is unusually large: 2 files, 502 MiB; the largest parts are `node_modules` (1 file, 501 MiB)";
    let [(message, hint, Some(WarningData::LargeContext { context: None, size }))] =
        &warnings_with_data(&builder, request.clone()).await[..]
    else {
        panic!("not one warning with data")
    };
    assert_eq!(message, large);
    assert_eq!((size.files, size.largest[0].pattern.as_str()), (2, "node_modules"));
    assert!(hint.contains("a line of .dockerignore") && hint.ends_with(": `node_modules`"), "{hint}");
    std::fs::write(directory.path().join(".dockerignore"), "node_modules\n").unwrap();
    assert_eq!(warnings(&builder, request.clone()).await, []);
    let named = request.context("lib", NamedContext::Directory(library.path().to_owned()));
    let [(message, _, Some(WarningData::LargeContext { context: Some(name), .. }))] =
        &warnings_with_data(&builder, named).await[..]
    else {
        panic!("not one warning with data")
    };
    assert_eq!(name, "lib");
    assert!(message.starts_with("the context `lib` is unusually large: "), "{message}");
}

#[tokio::test]
async fn what_the_backend_would_pass_over_matters_only_if_something_is_built() {
    let backend = scripted([]).await;
    build(&backend, false).await.unwrap();
    let refusing = |_: &_, _: &_| Err(Error::new(ErrorKind::Unsupported, "passed over"));
    let backend = backend.with_check(refusing);
    assert_eq!(build(&backend, false).await.unwrap(), Outcome::AlreadyExists);
    let error = build(&backend, true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    let image = backend.builds()[0].destination.clone();
    assert!(backend.registry().remove(&format!("{}:{}", image.repository(), image.tag().unwrap())));
    let error = build(&backend, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let (builder, directory) = (builder(&backend), context());
    let status = builder.status(BuildRequest::new("api", directory.path())).await.unwrap();
    assert_eq!(status.existing, None);
    let error = builder.plan(BuildRequest::new("api", directory.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(backend.builds().len(), 1);
}
