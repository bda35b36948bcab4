use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use garden_build::{Digest, Error};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::registry;
use crate::site::{Project, build_with_events, everything_in_namespace, in_project, shown};

/// Unlike anything that is printed by chance.
const SECRET: &str = "s3cr3t-0a1b2c3d4e5f\nsecond line";

#[tokio::test]
async fn a_secret_reaches_the_step_that_mounts_it_and_shows_nowhere_else() {
    in_project("bk-secret", async |project| {
        project.buildkit();
        project.dockerfile(
            "RUN --mount=type=secret,id=token sha256sum < /run/secrets/token; echo in-a-layer > /marker\n\
             RUN --mount=type=secret,id=token,env=TOKEN test -n \"$TOKEN\"\n\
             RUN test ! -s /run/secrets/token\n",
        );
        let request = project.request().secret("token", SECRET);
        let plan = project.builder().plan(request.clone()).await.unwrap();
        let (image, events) = build_with_events(&project.builder(), request).await;
        let image = image.unwrap();
        let digest = Digest::of(SECRET.as_bytes()).hex();
        assert!(shown(&events).contains(&digest), "the step has the secret:\n{}", shown(&events));

        let contents = registry::contents(&image.reference).await;
        let image: Vec<_> = contents.iter().map(|part| String::from_utf8_lossy(part)).collect();
        let image = image.join("\n");
        assert!(image.contains("in-a-layer"), "layers can be searched");
        let cluster = everything_in_namespace(project, &[]).await;
        assert!(cluster.contains("garden-buildkit"));
        for (place, text) in [
            ("the image", image),
            ("the cluster", cluster),
            ("the events", format!("{events:?}{}", shown(&events))),
            ("the plan", serde_json::to_string(&plan).unwrap()),
        ] {
            for line in SECRET.lines() {
                assert!(!text.contains(line), "the secret is in {place}");
            }
        }
    })
    .await;
}

async fn failure(project: &Project) -> Error {
    let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
    match outcome {
        Err(error) => error,
        Ok(_) => panic!("the build must fail:\n{}", shown(&events)),
    }
}

#[tokio::test]
async fn a_secret_that_is_required_and_missing_is_named_and_an_optional_one_is_not_missed() {
    in_project("bk-no-secret", async |project| {
        project.buildkit();
        project.dockerfile("RUN --mount=type=secret,id=npm-token,required=true true\n");
        let error = failure(project).await;
        assert!(error.message().contains("npm-token"), "{error:?}");
        assert!(error.hint().unwrap().contains("BuildRequest::secret"), "{error:?}");

        project.dockerfile("RUN --mount=type=secret,id=npm-token test ! -e /run/secrets/npm-token\n");
        project.builder().build(project.request()).await.unwrap();
    })
    .await;
}

/// An SSH agent that has no keys and counts the questions.
struct Agent {
    directory: TempDir,
    asked: Arc<AtomicUsize>,
}

/// Messages of the agent's protocol: a length, then the type. Here the question for identities, and the
/// answer that there are none.
const REQUEST_IDENTITIES: [u8; 5] = [0, 0, 0, 1, 11];
const NO_IDENTITIES: [u8; 9] = [0, 0, 0, 5, 12, 0, 0, 0, 0];

impl Agent {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("agent")).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    let mut question = [0; 5];
                    while stream.read_exact(&mut question).await.is_ok() {
                        assert_eq!(question, REQUEST_IDENTITIES);
                        counter.fetch_add(1, Ordering::Relaxed);
                        stream.write_all(&NO_IDENTITIES).await.unwrap();
                    }
                });
            }
        });
        Self { directory, asked }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("agent")
    }
}

/// Asks the agent for its keys twice, like `ssh-add -l`, which no image here has.
const ASK: &str = r#"
use std::io::{Read, Write};
fn main() {
    let socket = std::env::var("SSH_AUTH_SOCK").expect("SSH_AUTH_SOCK");
    let mut agent = std::os::unix::net::UnixStream::connect(socket).expect("connect");
    for _ in 0..2 {
        agent.write_all(&[0, 0, 0, 1, 11]).expect("ask");
        let mut answer = [0; 9];
        agent.read_exact(&mut answer).expect("an answer");
        println!("the agent says {answer:?}");
    }
}
"#;

/// Compiles a program that needs no libraries.
fn compile(source: &str, program: &Path) {
    let file = program.with_extension("rs");
    std::fs::write(&file, source).unwrap();
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let options =
        ["--edition=2024", "-Copt-level=s", "-Cstrip=symbols", "-Ctarget-feature=+crt-static", "-o"];
    let status = Command::new(compiler).args(options).arg(program).arg(file).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_step_talks_to_the_ssh_agent_that_is_forwarded() {
    in_project("bk-ssh", async |project| {
        project.buildkit();
        project.file(".dockerignore", "*\n!ask\n");
        compile(ASK, &project.path().join("ask"));
        project.dockerfile(
            "COPY ask /\nRUN --mount=type=ssh /ask\nRUN --mount=type=ssh,id=deploy /ask\n\
             RUN test -z \"$SSH_AUTH_SOCK\"\n",
        );
        let [usual, deploy] = [Agent::start(), Agent::start()];
        let request = project.request().ssh_agent("default", usual.socket());
        let request = request.ssh_agent("deploy", deploy.socket());
        let (image, events) = build_with_events(&project.builder(), request).await;
        image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert!(shown(&events).contains(&format!("the agent says {NO_IDENTITIES:?}")), "{}", shown(&events));
        let asked = [usual, deploy].map(|agent| agent.asked.load(Ordering::Relaxed));
        assert_eq!(asked, [2, 2], "each step asks the agent that it names");
    })
    .await;
}

#[tokio::test]
async fn an_ssh_agent_that_is_required_and_missing_is_named() {
    in_project("bk-no-ssh", async |project| {
        project.buildkit();
        project.dockerfile("RUN --mount=type=ssh,id=deploy,required=true true\n");
        let error = failure(project).await;
        assert!(error.message().contains("deploy"), "{error:?}");
        assert!(error.hint().unwrap().contains("BuildRequest::ssh_agent"), "{error:?}");
    })
    .await;
}
