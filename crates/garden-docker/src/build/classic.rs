//! With the builder that Docker had before `BuildKit`.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bollard::auth::DockerCredentials;
use bollard::query_parameters::{BuildImageOptions, BuildImageOptionsBuilder};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use garden_build_core::context::{
    ByteStream, Context, ContextError, EntryKind, GzipMembers, TarStream, byte_stream,
};
use garden_build_core::{BuildControl, BuildJob, Caveat, Error, ErrorKind, ImageReference, Result, StepKind};
use serde_json::json;

use super::credentials::{of_image, server};
use super::flags::Flags;
use super::progress::Progress;
use super::sending::Sending;
use super::{ImageBuilder, failure, unknown};
use crate::{DockerError, http};

/// Compressing is for connections that are slower than it; more of it would only cost time.
const COMPRESSION_LEVEL: u8 = 1;

/// Builds the image, which becomes one of the daemon's as `name`. Returns how many steps came from a cache, and how many were
/// run.
pub(crate) async fn build(
    builder: &ImageBuilder<'_>,
    job: &BuildJob,
    name: &ImageReference,
    flags: &Flags,
    cx: &BuildControl,
) -> Result<(usize, usize)> {
    let archive = Archive::of(&job.context);
    let proxies = builder.proxies.build_args(&job.request.build_args);
    let mut options = options(job, name, flags, &archive.dockerfile, proxies)?;
    for Caveat { code, message, hint, data, .. } in unknown::caveats(job) {
        cx.events.warn_with(code, message, hint, data);
    }
    let logins = logins(builder, job).await?;
    let docker = http::with_query(builder.daemon.api().await?, unlogged(&mut options, job));

    let step = cx.events.step(StepKind::Upload, "send the build context to Docker");
    let sending = Sending::new(step, job.context.manifest().total_bytes());
    // A failure here must be reported as it is, and not in the daemon's words.
    let failed_here = Arc::new(Mutex::new(None));
    let body = archive.body(builder.daemon.is_local(), &sending, Arc::clone(&failed_here));
    let mut said = docker.build_image(options, Some(logins), Some(bollard::body_try_stream(body)));
    let mut progress = Progress::new(cx.events.clone(), sending);
    loop {
        match said.try_next().await {
            Ok(Some(said)) => progress.say(&said),
            Ok(None) => break,
            Err(error) => {
                let failed_here = failed_here.lock().unwrap_or_else(PoisonError::into_inner).take();
                let error = builder.daemon.failed(&format!("build {name}"), error);
                progress.fail(&error.to_string());
                return Err(match (failed_here, error) {
                    (Some(error), _) => error,
                    (None, DockerError::Refused { message, .. }) => {
                        failure::explain(&message, &progress, &builder.advice)
                    }
                    (None, error) => builder.lost(error),
                });
            }
        }
    }
    progress.finish();
    // The daemon ends its answer in the same way when it is stopped in the middle of a build.
    if !progress.has_image() {
        let message =
            format!("the Docker daemon at {} ended its answer before the build", builder.daemon.address());
        return Err(Error::new(ErrorKind::BuilderLost, message).with_hint(builder.advice.lost).retryable());
    }
    Ok(progress.counts())
}

/// RUN steps get the build arguments `proxies` as well. Neither their cache nor the image depends on these unless the Dockerfile declares them.
/// Sources: Docker Engine API, `POST /build`; Docker, `builder/dockerfile/dispatchers.go` (`prependEnvOnCmd`).
pub(crate) fn options(
    job: &BuildJob,
    name: &ImageReference,
    flags: &Flags,
    dockerfile: &str,
    proxies: BTreeMap<String, String>,
) -> Result<BuildImageOptions> {
    unknown::refuse(job)?;
    let request = &job.request;
    let mut build_args = job.context.dockerfile().platform_variables(request);
    build_args.extend(proxies);
    build_args.extend(request.build_args.clone());
    let map = |entries: &BTreeMap<String, String>| {
        entries.iter().map(|(name, value)| (name.clone(), value.clone())).collect::<HashMap<_, _>>()
    };
    let mut options = BuildImageOptionsBuilder::new()
        .dockerfile(dockerfile)
        .t(&name.to_string())
        .buildargs(&map(&build_args))
        .labels(&map(&request.labels))
        .nocache(request.no_cache)
        // Containers of failed steps are removed as well as those of steps that succeed.
        .rm(true)
        .forcerm(true);
    if let Some(target) = &request.target {
        options = options.target(target);
    }
    if let Some(platform) = request.platforms.first() {
        options = options.platform(platform);
    }
    if let Some(network) = &flags.network {
        options = options.networkmode(network);
    }
    if flags.pull {
        options = options.pull("true");
    }
    if let Some(bytes) = flags.shm_size {
        let bytes = i32::try_from(bytes).map_err(|_| {
            Error::new(
                ErrorKind::Unsupported,
                "`extraFlags`: `--shm-size` is at most 2 GiB with Docker's classic builder",
            )
            .with_hint("choose a smaller size")
        })?;
        options = options.shmsize(bytes);
    }
    Ok(options.build())
}

/// The parameters that go into the request behind bollard's back: the extra hosts, each a parameter of its own, of which bollard knows
/// one; and the build arguments, which are taken out of `options`. They may be a proxy with a password, and bollard logs
/// the address of each request at the level `debug` (0.21, `docker.rs`, `build_request`).
fn unlogged(options: &mut BuildImageOptions, job: &BuildJob) -> String {
    let hosts = job.request.extra_hosts.iter();
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(hosts.map(|(host, address)| ("extrahosts", format!("{host}:{address}"))));
    if let Some(build_args) = options.buildargs.take() {
        query.append_pair("buildargs", &json!(build_args).to_string());
    }
    query.finish()
}

/// The credentials for the images that the Dockerfile names.
async fn logins(builder: &ImageBuilder<'_>, job: &BuildJob) -> Result<HashMap<String, DockerCredentials>> {
    let mut logins = HashMap::new();
    for image in job.context.dockerfile().images(&job.request) {
        if let Some(login) = of_image(builder.credentials, &image).await? {
            logins.entry(server(image.registry())).or_insert(login);
        }
    }
    Ok(logins)
}

/// The context as the classic builder takes it.
///
/// The daemon takes the Dockerfile from the archive. If the context has none, ours goes there under a name that nothing has, together with
/// an ignore file that names both: before it builds, the daemon removes its ignore file and its Dockerfile if the ignore file says so.
/// Source: Docker, `builder/remotecontext/detect.go`, `removeDockerfile`. What else the ignore file excludes was not
/// sent anyway. As with the `docker` command, an ignore file of the context is then not in the image.
pub(crate) struct Archive {
    context: Context,
    /// The Dockerfile's path.
    pub(crate) dockerfile: String,
    /// Whether it is there beside the context.
    is_added: bool,
}

const IGNORE_FILE: &str = ".dockerignore";

impl Archive {
    pub(crate) fn of(context: &Context) -> Self {
        let has = |path: &str, is_file: bool| {
            let entry = context.manifest().find(path);
            entry.is_some_and(|entry| !is_file || matches!(entry.kind, EntryKind::File { .. }))
        };
        let mut dockerfile = context.dockerfile().path().to_owned();
        let is_added = !has(&dockerfile, true);
        if is_added {
            ".garden-build.Dockerfile".clone_into(&mut dockerfile);
            while has(&dockerfile, false) {
                dockerfile.push('_');
            }
        }
        Self { context: context.clone(), dockerfile, is_added }
    }

    /// Returns the archive as the body of a request. Reports to `sending` what the connection takes of it, and notes in `failed_here` why it
    /// cannot be read.
    fn body(
        &self,
        is_local: bool,
        sending: &Sending,
        failed_here: Arc<Mutex<Option<Error>>>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let report = sending.reporter();
        self.stream(is_local, sending.read()).map(move |chunk| {
            report();
            chunk.map_err(|error| {
                let words = io::Error::other(error.message().to_owned());
                failed_here.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                words
            })
        })
    }

    /// Returns the bytes of the archive, compressed unless the daemon is on this machine. `read` counts the bytes of the context that went
    /// into them so far.
    pub(crate) fn stream(&self, is_local: bool, read: Arc<AtomicU64>) -> ByteStream {
        let (context, added) = (self.context.clone(), self.is_added.then(|| self.dockerfile.clone()));
        byte_stream(move |output| {
            if is_local {
                write(output, &context, added.as_deref(), &read)?;
            } else {
                let compressed = GzipMembers::new(output, COMPRESSION_LEVEL);
                write(compressed, &context, added.as_deref(), &read)?
                    .finish()
                    .map_err(ContextError::Write)?;
            }
            Ok(())
        })
    }
}

fn write<W: std::io::Write>(
    output: W,
    context: &Context,
    added: Option<&str>,
    read: &AtomicU64,
) -> Result<W, ContextError> {
    let mut tar = TarStream::new(output);
    // Stopping is up to the reader: when it drops the stream, the next write fails.
    tar.add_context(context, &|| false, &mut |bytes| read.store(bytes, Ordering::Relaxed))?;
    if let Some(path) = added {
        tar.add_file(path, context.dockerfile().contents())?;
        tar.add_file(IGNORE_FILE, format!("{IGNORE_FILE}\n{path}\n").as_bytes())?;
    }
    tar.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;

    use garden_build_core::{BuildRequest, Event, ProgressUnit, event_channel};
    use tempfile::TempDir;

    use super::*;

    async fn unpacked(
        files: &[(&str, &str)],
        request: impl FnOnce(&mut BuildRequest),
        is_local: bool,
    ) -> (String, Vec<(String, String)>) {
        let directory = TempDir::new().expect("a directory");
        for (path, contents) in files {
            fs::write(directory.path().join(path), contents).expect("written");
        }
        let mut wanted = BuildRequest::new("api", directory.path());
        request(&mut wanted);
        let archive = Archive::of(&Context::scan(&wanted, &|| false).expect("a context"));
        let bytes: Vec<bytes::Bytes> =
            archive.stream(is_local, Arc::default()).try_collect().await.expect("a stream");
        let bytes = bytes.concat();
        let reader: Box<dyn std::io::Read> = if is_local {
            Box::new(&bytes[..])
        } else {
            Box::new(flate2::read::MultiGzDecoder::new(&bytes[..]))
        };
        let mut found = Vec::new();
        for entry in tar::Archive::new(reader).entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let mut contents = String::new();
            entry.read_to_string(&mut contents).expect("text");
            found.push((entry.path().expect("a path").to_string_lossy().into_owned(), contents));
        }
        (archive.dockerfile, found)
    }

    fn names(found: &[(String, String)]) -> Vec<&str> {
        found.iter().map(|(path, _)| path.as_str()).collect()
    }

    #[tokio::test]
    async fn a_dockerfile_of_the_context_is_used_where_it_is() {
        for is_local in [true, false] {
            let (dockerfile, found) =
                unpacked(&[("Dockerfile", "FROM scratch\n"), ("a", "1")], |_| {}, is_local).await;
            assert_eq!((dockerfile.as_str(), names(&found)), ("Dockerfile", vec!["Dockerfile", "a"]));
        }
    }

    #[tokio::test]
    async fn a_dockerfile_that_is_ignored_is_added_and_has_the_daemon_remove_it() {
        let files = [
            ("Dockerfile", "FROM scratch\n"),
            (".dockerignore", "Dockerfile\n"),
            (".garden-build.Dockerfile", "mine"),
        ];
        let (dockerfile, found) = unpacked(&files, |_| {}, true).await;
        assert_eq!(dockerfile, ".garden-build.Dockerfile_");
        let added = found.iter().find(|(path, _)| *path == dockerfile).expect("the Dockerfile");
        assert_eq!(added.1, "FROM scratch\n");
        // If two entries have the same name, the later one counts.
        let ignored = found.iter().rfind(|(path, _)| path == IGNORE_FILE).expect("the ignore file");
        assert_eq!(ignored.1, ".dockerignore\n.garden-build.Dockerfile_\n");
        assert!(names(&found).contains(&".garden-build.Dockerfile"), "{found:?}");
    }

    #[tokio::test]
    async fn how_much_of_the_context_is_sent_is_told_while_it_is_sent() {
        let directory = TempDir::new().expect("a directory");
        fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").expect("written");
        fs::write(directory.path().join("large"), vec![7; 8 << 20]).expect("written");
        let request = BuildRequest::new("api", directory.path());
        let context = Context::scan(&request, &|| false).expect("a context");
        let total = context.manifest().total_bytes();
        let (events, mut stream) = event_channel();
        let sending = Sending::new(events.step(StepKind::Upload, "send"), total);
        let body = Archive::of(&context).body(true, &sending, Arc::default());
        let bytes: Vec<Bytes> = body.try_collect().await.expect("a stream");
        assert!(bytes.concat().len() as u64 > total);
        sending.done();
        // Whatever the daemon says afterwards, the connection is let go of later.
        sending.reporter()();
        drop((events, sending));
        let (mut counts, mut ended) = (Vec::new(), false);
        while let Some(event) = stream.next().await {
            match event {
                Event::Progress { current, total: of, unit: ProgressUnit::Bytes, .. } => {
                    assert!(!ended && of == Some(total), "{current} of {of:?}");
                    counts.push(current);
                }
                Event::StepFinished { error: None, .. } => ended = true,
                _ => {}
            }
        }
        assert!(ended && counts.len() > 10 && counts.len() <= 101, "{counts:?}");
        assert!(counts.is_sorted() && counts.last() == Some(&total), "{counts:?}");
    }

    #[test]
    fn what_the_request_says_reaches_the_daemon() {
        let directory = TempDir::new().expect("a directory");
        fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").expect("written");
        let mut request = BuildRequest::new("api", directory.path())
            .target("app")
            .platform("linux/amd64")
            .build_arg("A", "1")
            .label("L", "2")
            .no_cache(true);
        request.extra_hosts.insert("db".to_owned(), "10.0.0.1".to_owned());
        request.extra_hosts.insert("six".to_owned(), "fd00::7".to_owned());
        let context = Context::scan(&request, &|| false).expect("a context");
        let name: ImageReference = "r.example/api:1".parse().expect("a name");
        let job = BuildJob::new("id", request, context, name.clone());
        let flags = ["--network=none", "--pull", "--shm-size=1m"].map(str::to_owned);
        let flags = Flags::read(&flags, "local-docker").expect("valid");
        let options = |flags: &Flags| options(&job, &name, flags, "Dockerfile", BTreeMap::new());
        insta::assert_debug_snapshot!(options(&flags).expect("possible"));
        assert_eq!(
            unlogged(&mut options(&flags).expect("possible"), &job),
            "extrahosts=db%3A10.0.0.1&extrahosts=six%3Afd00%3A%3A7&buildargs=%7B%22A%22%3A%221%22%7D"
        );
        let flags = Flags::read(&["--shm-size=4g".to_owned()], "local-docker").expect("valid");
        assert!(options(&flags).is_err());
    }

    /// bollard logs the address of each request, with all its parameters.
    #[test]
    fn a_log_of_requests_has_no_build_arguments() {
        let directory = TempDir::new().expect("a directory");
        fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").expect("written");
        let request = BuildRequest::new("api", directory.path());
        let context = Context::scan(&request, &|| false).expect("a context");
        let name: ImageReference = "r.example/api:1".parse().expect("a name");
        let job = BuildJob::new("id", request, context, name.clone());
        let flags = Flags::read(&[], "local-docker").expect("valid");
        let proxies = BTreeMap::from([("HTTP_PROXY".to_owned(), "http://user:s3cret@proxy".to_owned())]);
        let mut options = options(&job, &name, &flags, "Dockerfile", proxies).expect("possible");
        assert!(unlogged(&mut options, &job).contains("s3cret"), "the daemon is told");
        assert!(!format!("{options:?}").contains("s3cret"), "{options:?}");
    }

    #[test]
    fn the_builder_is_told_of_the_platform_what_the_dockerfile_asks_for() {
        let directory = TempDir::new().expect("a directory");
        fs::write(directory.path().join("Dockerfile"), "FROM scratch\nARG TARGETARCH\n").expect("written");
        let request = BuildRequest::new("api", directory.path()).platform("linux/arm64");
        let context = Context::scan(&request, &|| false).expect("a context");
        let name: ImageReference = "r.example/api:1".parse().expect("a name");
        let job = BuildJob::new("id", request, context, name.clone());
        let flags = Flags::read(&[], "local-docker").expect("valid");
        let options = options(&job, &name, &flags, "Dockerfile", BTreeMap::new()).expect("possible");
        let expected = HashMap::from([("TARGETARCH".to_owned(), "arm64".to_owned())]);
        assert_eq!(options.buildargs, Some(expected));
    }
}
