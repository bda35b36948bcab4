//! The BuildKit daemon that tests are given, with the client of garden-buildkit.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::sync::Arc;
use std::time::Duration;

use garden_build_testing::Gate;
use garden_build_testing::buildkit::{BuildFailure, BuildState, Built, FakeBuild, FakeBuildkit, FileFilter};
use garden_buildkit::client::file_sync::MemoryFiles;
use garden_buildkit::client::{
    CONTEXT, Client, ClientError, DOCKERFILE, DockerfileBuild, ImageExport, Session, Source, Update,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener};

const DOCKERFILE_TEXT: &str = "FROM scratch\nCOPY . /\nRUN make\n";

/// A session with a Dockerfile, and a context of these files.
fn session(files: &[(&str, &str)]) -> Session {
    let context: Arc<dyn Source> = Arc::new(MemoryFiles::new(files.iter().copied()));
    let dockerfile: Arc<dyn Source> = Arc::new(MemoryFiles::new([("Dockerfile", DOCKERFILE_TEXT)]));
    let mut session = Session::default();
    "shop".clone_into(&mut session.shared_key);
    session.directories = [(CONTEXT.to_owned(), context), (DOCKERFILE.to_owned(), dockerfile)].into();
    session
}

fn pushed() -> DockerfileBuild {
    let mut build = DockerfileBuild::default();
    build.build_args = [("A".to_owned(), "1".to_owned())].into();
    let names = vec!["r.example/api:1".to_owned()];
    build.image = ImageExport::Pushed { names, insecure: false, compression_level: None };
    build
}

async fn client(daemon: &FakeBuildkit) -> Client {
    Client::connect(daemon.connect()).await.unwrap()
}

#[tokio::test]
async fn a_build_without_a_script_succeeds_and_all_that_was_sent_is_recorded() {
    let daemon = FakeBuildkit::new();
    let client =
        Client::connect(TcpStream::connect(daemon.listen().await.unwrap()).await.unwrap()).await.unwrap();
    assert_eq!(client.version(), "v0.26.3");
    let first =
        client.build(pushed(), session(&[("a.txt", "a"), ("d/größe.txt", "b")]), |_| {}).await.unwrap();
    let same =
        client.build(pushed(), session(&[("a.txt", "a"), ("d/größe.txt", "b")]), |_| {}).await.unwrap();
    let other = client.build(pushed(), session(&[("a.txt", "changed")]), |_| {}).await.unwrap();
    assert_eq!(first, same);
    assert_ne!(first.image.unwrap().digest, other.image.unwrap().digest);
    let records = daemon.builds();
    let record = &records[0];
    assert_eq!((record.frontend.as_str(), record.shared_key.as_str()), ("dockerfile.v0", "shop"));
    assert_eq!((record.image_names(), record.build_arg("A")), (vec!["r.example/api:1"], Some("1")));
    assert_eq!(record.text(DOCKERFILE, "Dockerfile"), Some(DOCKERFILE_TEXT));
    assert_eq!(record.directories[CONTEXT].paths().collect::<Vec<_>>(), ["a.txt", "d/größe.txt"]);
    assert_eq!(record.logins[0].host, "r.example");
    assert_eq!((record.logins[0].login.is_none(), record.state), (true, BuildState::Succeeded));
}

#[tokio::test]
async fn steps_output_and_warnings_arrive_as_they_were_said() {
    let daemon = FakeBuildkit::new();
    daemon.on_build(async |build: FakeBuild| {
        build.step("[1/2] COPY . /").cached();
        let step = build.step("[2/2] RUN make");
        step.log("hello");
        step.log_error("careful");
        step.progress("layer", 5, 10);
        step.complete();
        build.warn("names of stages should be lower case", "https://docs.example/", Some(1));
        Ok(Built::nothing())
    });
    let (mut cached, mut output, mut warnings, mut counters) = (0, Vec::new(), Vec::new(), Vec::new());
    let on_update = |update| match update {
        Update::Step(step) if step.cached => cached += 1,
        Update::Output { bytes, is_error, .. } => output.push((String::from_utf8(bytes).unwrap(), is_error)),
        Update::Warning { message, line, .. } => warnings.push((message, line)),
        Update::Counter(counter) => counters.push((counter.current, counter.total)),
        _ => {}
    };
    client(&daemon).await.build(DockerfileBuild::default(), session(&[]), on_update).await.unwrap();
    assert_eq!(cached, 1);
    assert_eq!(output, [("hello\n".to_owned(), false), ("careful\n".to_owned(), true)]);
    assert_eq!(warnings, [("names of stages should be lower case".to_owned(), Some(1))]);
    assert_eq!(counters, [(5, Some(10))]);
}

#[tokio::test]
async fn a_step_that_fails_fails_the_build_with_its_exit_code_and_its_line() {
    let daemon = FakeBuildkit::new();
    daemon.on_build(async |build: FakeBuild| {
        let step = build.step("[2/2] RUN make");
        Err(step.exit("/bin/sh -c make", 2).in_dockerfile("Dockerfile", DOCKERFILE_TEXT, 3))
    });
    let built = client(&daemon).await.build(DockerfileBuild::default(), session(&[]), |_| {}).await;
    let Err(ClientError::Failed(failure)) = built else { panic!("{built:?}") };
    assert_eq!((failure.exit_code(), failure.sources[0].first), (Some(2), 3));
    assert_eq!(failure.sources[0].text, "RUN make");
    assert!(failure.vertex.is_some());
    assert_eq!(daemon.builds()[0].state, BuildState::Failed);
}

#[tokio::test]
async fn a_script_asks_for_parts_of_directories_for_secrets_and_for_ssh_agents() {
    let socket = tempfile::TempDir::new().unwrap();
    let listener = UnixListener::bind(socket.path().join("agent")).unwrap();
    tokio::spawn(async move {
        let (mut agent, _) = listener.accept().await.unwrap();
        let mut question = [0; 4];
        agent.read_exact(&mut question).await.unwrap();
        agent.write_all(b"keys").await.unwrap();
    });
    let daemon = FakeBuildkit::new();
    daemon.on_build(async |build: FakeBuild| {
        let mut filter = FileFilter::default();
        filter.exclude = vec!["*.log".to_owned()];
        build.directory_with(CONTEXT, &filter).await?;
        assert_eq!(build.secret("npm").await?.as_deref(), Some(&b"s3cret"[..]));
        assert_eq!(build.secret("other").await?, None);
        let mut agent = build.ssh_agent("default").await?;
        agent.write_all(b"list").await.unwrap();
        let mut answer = [0; 4];
        agent.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"keys");
        build.ssh_agent("other").await.map(|_| Built::nothing())
    });
    let mut session = session(&[("a.log", ""), ("a.txt", "a")]);
    session.secrets = [("npm".to_owned(), b"s3cret".to_vec().into())].into();
    session.ssh_agents = [("default".to_owned(), socket.path().join("agent"))].into();
    let built = client(&daemon).await.build(DockerfileBuild::default(), session, |_| {}).await;
    let Err(ClientError::Failed(failure)) = built else { panic!("{built:?}") };
    assert!(failure.message.contains("no SSH agent other is forwarded"), "{failure}");
    let record = &daemon.builds()[0];
    assert_eq!(record.directories[CONTEXT].paths().collect::<Vec<_>>(), ["a.txt"]);
    assert_eq!(record.secrets["other"], None);
    assert_eq!((record.ssh_agents["default"], record.ssh_agents["other"]), (true, false));
}

#[tokio::test]
async fn a_build_that_is_kept_runs_until_the_client_cancels_it_or_the_gate_is_opened() {
    let (daemon, gate) = (FakeBuildkit::new(), Gate::new());
    let kept = gate.clone();
    daemon.on_build(move |_| {
        let gate = kept.clone();
        async move {
            gate.pass().await;
            Ok(Built::nothing())
        }
    });
    let client = client(&daemon).await;
    let building = client.build(DockerfileBuild::default(), session(&[]), |_| {});
    tokio::select! {
        built = building => panic!("{built:?}"),
        () = gate.arrived() => {}
    }
    daemon.until(|| (daemon.builds()[0].state == BuildState::Cancelled).then_some(())).await;
    let building = client.build(DockerfileBuild::default(), session(&[]), |_| {});
    let opening = async {
        gate.arrived().await;
        assert_eq!(daemon.builds()[1].state, BuildState::Running);
        gate.open();
    };
    let (built, ()) = tokio::join!(building, opening);
    built.unwrap();
    assert_eq!(daemon.builds()[1].state, BuildState::Succeeded);
}

/// A client that hears nothing of its daemon for long takes it for dead.
#[tokio::test(start_paused = true)]
async fn a_build_of_an_hour_goes_on_and_the_loss_of_its_connection_ends_it_at_once() {
    let daemon = FakeBuildkit::new();
    daemon.on_build(async |build: FakeBuild| {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        build.lose_connection().await
    });
    let client = client(&daemon).await;
    let started = tokio::time::Instant::now();
    let built = client.build(DockerfileBuild::default(), session(&[]), |_| {}).await;
    assert!(matches!(built, Err(ClientError::Lost { .. })), "{built:?}");
    assert_eq!(started.elapsed().as_secs(), 3600);
    daemon.until(|| (daemon.builds()[0].state == BuildState::Cancelled).then_some(())).await;
}

#[tokio::test]
async fn a_daemon_that_is_cut_off_takes_new_connections_and_a_failure_has_the_code_that_a_test_wants() {
    let daemon = FakeBuildkit::new();
    daemon.on_build(async |_| Err(BuildFailure::new("shutting down").with_code(14)));
    let lost = client(&daemon).await;
    daemon.cut_connections();
    assert!(lost.running_builds().await.is_err());
    let built = client(&daemon).await.build(DockerfileBuild::default(), session(&[]), |_| {}).await;
    assert!(
        matches!(&built, Err(ClientError::GaveUp { message }) if message == "shutting down"),
        "{built:?}"
    );
}

#[tokio::test]
async fn a_script_that_panics_fails_the_build_and_says_so() {
    let daemon = FakeBuildkit::new();
    daemon.on_build(async |_| panic!("an assertion of the test"));
    let built = client(&daemon).await.build(DockerfileBuild::default(), session(&[]), |_| {}).await;
    assert!(built.unwrap_err().to_string().contains("the script of the fake BuildKit daemon panicked"));
}
