//! Which failures of a backend are tried again, and what the registry is asked in between.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use garden_build::config::{DeploymentRegistry, ProviderConfig};
use garden_build::context::Context;
use garden_build::kube::Client;
use garden_build::kube::client::Body;
use garden_build::{
    Backend, BoxFuture, BuildControl, BuildJob, BuildRequest, Builder, Capabilities, Caveat, Error,
    ErrorKind, Event, NamedContext, Outcome, Pushed, Result, WarningCode, WarningData,
};
use http::{Request, Response};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Ends its builds as it was told to, one after the other.
#[derive(Debug)]
struct Scripted {
    ends: Mutex<VecDeque<Option<Error>>>,
    /// Told that there is an image, whatever the end.
    pushes_to: Arc<AtomicBool>,
    /// Finds something in every Dockerfile that it would pass over.
    refuses: bool,
}

impl Scripted {
    fn new(ends: impl IntoIterator<Item = Option<Error>>) -> Arc<Self> {
        Self::that_pushes(&Arc::default(), ends)
    }

    fn that_pushes(to: &Arc<AtomicBool>, ends: impl IntoIterator<Item = Option<Error>>) -> Arc<Self> {
        let ends = Mutex::new(ends.into_iter().collect());
        Arc::new(Self { ends, pushes_to: Arc::clone(to), refuses: false })
    }

    fn left(&self) -> usize {
        self.ends.lock().unwrap().len()
    }
}

impl Backend for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_named_contexts(true)
    }

    fn check(&self, _: &BuildRequest, _: &Context) -> Result<Vec<Caveat>> {
        if self.refuses { Err(Error::new(ErrorKind::Unsupported, "passed over")) } else { Ok(Vec::new()) }
    }

    fn build<'a>(&'a self, _: &'a BuildJob, _: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        let end = self.ends.lock().unwrap().pop_front().expect("one build too many");
        self.pushes_to.store(true, Ordering::SeqCst);
        Box::pin(async move {
            match end {
                None => Ok(Pushed::new(DIGEST.parse().unwrap(), 0, 1)),
                Some(error) => Err(error),
            }
        })
    }
}

/// A registry that has every image once `has_images` is true. Returns its `host:port`.
fn registry(has_images: &Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let has_images = Arc::clone(has_images);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _request = stream.read(&mut [0; 4096]).unwrap();
            let status = if has_images.load(Ordering::SeqCst) { "200 OK" } else { "404 Not Found" };
            let answer = format!(
                "HTTP/1.1 {status}\r\nDocker-Content-Digest: {DIGEST}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

fn builder(backend: &Arc<Scripted>, has_images: &Arc<AtomicBool>) -> Builder {
    let nobody = tower::service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("no cluster") });
    let mut provider = ProviderConfig::kubernetes("demo");
    let mut deployment = DeploymentRegistry::new(&registry(has_images)).unwrap();
    deployment.insecure = true;
    provider.deployment_registry = Some(deployment);
    let backend: Arc<dyn Backend> = Arc::clone(backend) as _;
    Builder::options(provider).client(Client::new(nobody, "default")).backend(backend).connect().unwrap()
}

fn context() -> tempfile::TempDir {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    directory
}

async fn build(backend: &Arc<Scripted>, has_images: &Arc<AtomicBool>, force: bool) -> Result<Outcome> {
    let (builder, directory) = (builder(backend, has_images), context());
    let image = builder.build(BuildRequest::new("api", directory.path()).force(force)).await?;
    Ok(image.outcome)
}

/// An end that trying again does not change, as far as the backend knows.
#[expect(clippy::unnecessary_wraps, reason = "so that scripts are short")]
fn end(kind: ErrorKind) -> Option<Error> {
    Some(Error::new(kind, "as the script says"))
}

/// The end of a builder that is lost with its node.
#[expect(clippy::unnecessary_wraps, reason = "so that scripts are short")]
fn lost(kind: ErrorKind) -> Option<Error> {
    Some(Error::new(kind, "as the script says").retryable())
}

#[tokio::test]
async fn a_build_that_loses_its_builder_is_begun_three_times_at_most() {
    let missing = Arc::new(AtomicBool::new(false));
    let lost_pod = || lost(ErrorKind::BuilderLost);
    let backend = Scripted::new([lost_pod(), lost(ErrorKind::Evicted), lost_pod(), None]);
    let error = build(&backend, &missing, false).await.unwrap_err();
    assert_eq!((error.kind(), backend.left()), (ErrorKind::BuilderLost, 1));

    let backend = Scripted::new([lost_pod(), None]);
    let error = build(&backend, &missing, false).await.unwrap_err();
    // Begun again; only that the registry of this test has no image makes it a failure.
    assert_eq!((error.kind(), backend.left()), (ErrorKind::PushFailed, 0));
}

#[tokio::test]
async fn an_image_that_was_pushed_before_its_builder_was_lost_is_not_built_again() {
    let has_images = Arc::new(AtomicBool::new(false));
    let backend = Scripted::that_pushes(&has_images, [lost(ErrorKind::BuilderLost), None]);
    let outcome = build(&backend, &has_images, false).await.unwrap();
    assert_eq!((outcome, backend.left()), (Outcome::AlreadyExists, 1));
}

#[tokio::test]
async fn a_failed_step_is_never_tried_again() {
    // One that is evicted for a limit of its own would reach it once more.
    for kind in [ErrorKind::BuildFailed, ErrorKind::Unreachable, ErrorKind::OutOfMemory, ErrorKind::Evicted] {
        let backend = Scripted::new([end(kind), None]);
        let error = build(&backend, &Arc::new(AtomicBool::new(false)), false).await.unwrap_err();
        assert_eq!((error.kind(), backend.left()), (kind, 1));
    }
}

#[tokio::test]
async fn an_image_that_is_forced_is_not_looked_for() {
    let present = Arc::new(AtomicBool::new(true));
    let backend = Scripted::new([lost(ErrorKind::BuilderLost), None]);
    let outcome = build(&backend, &present, true).await.unwrap();
    assert!(matches!(outcome, Outcome::Built { .. }) && backend.left() == 0, "{outcome:?}");
    let outcome = build(&backend, &present, false).await.unwrap();
    assert_eq!(outcome, Outcome::AlreadyExists, "nothing was built");
}

#[cfg(unix)]
#[tokio::test]
async fn sockets_are_named_once_if_something_is_built() {
    use std::os::unix::net::UnixListener;
    let present = Arc::new(AtomicBool::new(true));
    let backend = Scripted::new([None, None]);
    let (builder, directory, library) = (builder(&backend, &present), context(), context());
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
    let present = Arc::new(AtomicBool::new(true));
    let backend = Scripted::new((0..20).map(|_| None));
    let builder = builder(&backend, &present);
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
    let present = Arc::new(AtomicBool::new(true));
    let backend = Scripted::new([None, None, None]);
    let (builder, directory, library) = (builder(&backend, &present), context(), context());
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
    let has_images = Arc::new(AtomicBool::new(true));
    let backend =
        Arc::new(Scripted { ends: Mutex::default(), pushes_to: Arc::clone(&has_images), refuses: true });
    assert_eq!(build(&backend, &has_images, false).await.unwrap(), Outcome::AlreadyExists);
    let error = build(&backend, &has_images, true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    has_images.store(false, Ordering::SeqCst);
    let error = build(&backend, &has_images, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let (builder, directory) = (builder(&backend, &has_images), context());
    let status = builder.status(BuildRequest::new("api", directory.path())).await.unwrap();
    assert_eq!(status.existing, None);
    let error = builder.plan(BuildRequest::new("api", directory.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
