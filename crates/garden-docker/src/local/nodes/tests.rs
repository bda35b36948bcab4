//! Nodes that are containers of a daemon, with a daemon and a cluster in this process.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use garden_build_core::event_channel;
use garden_build_testing::kubernetes::{FakeCluster, Fault, Refusal};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const IMAGE: &str = "registry.example/team/api:v-1";
const ID: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// What `docker save` writes here.
const ARCHIVE: usize = 300_000;

/// What becomes of an import.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Import {
    Works,
    /// The command fails.
    Fails,
    /// The command succeeds, and the node has the image no more than before.
    IsForgotten,
    /// The command reads nothing, and ends.
    ReadsNothing,
}

/// A Docker daemon, whose containers are nodes.
#[derive(Clone)]
struct Daemon(Arc<Mutex<State>>);

struct State {
    has_image: bool,
    containers: Vec<&'static str>,
    /// The nodes that have the image.
    supplied: BTreeSet<String>,
    import: Import,
    /// The commands that were run in containers, each with its container.
    commands: Vec<(String, Vec<String>)>,
    imported_bytes: Vec<usize>,
}

impl Daemon {
    fn new(containers: &[&'static str], import: Import) -> Self {
        Self(Arc::new(Mutex::new(State {
            has_image: true,
            containers: containers.to_vec(),
            supplied: BTreeSet::new(),
            import,
            commands: Vec::new(),
            imported_bytes: Vec::new(),
        })))
    }

    async fn listen(&self) -> DockerDaemon {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        let daemon = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let daemon = daemon.clone();
                // The daemon does not fail when a client goes.
                tokio::spawn(async move { drop(daemon.serve(stream).await) });
            }
        });
        DockerDaemon::at(&address).expect("an address")
    }

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut request = String::new();
            if stream.read_line(&mut request).await? == 0 {
                return Ok(());
            }
            let mut length = 0;
            loop {
                let mut header = String::new();
                stream.read_line(&mut header).await?;
                let header = header.trim().to_ascii_lowercase();
                if header.is_empty() {
                    break;
                }
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            let path = request.split(' ').nth(1).unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            // The version of the API stands first, once it is agreed upon.
            let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
            let words = if words[0].starts_with("v1.") { &words[1..] } else { &words[..] };
            if let ["exec", id, "start"] = words {
                return self.run(id, stream).await;
            }
            if words.first() == Some(&"images") && words.last() == Some(&"get") {
                answer(&mut stream, "200 OK", "application/x-tar", &vec![b'x'; ARCHIVE]).await?;
                continue;
            }
            let (status, said) = self.say(words, &body);
            answer(&mut stream, status, "application/json", said.to_string().as_bytes()).await?;
        }
    }

    fn say(&self, words: &[&str], body: &[u8]) -> (&'static str, Value) {
        let mut state = self.0.lock().expect("no panic");
        match words {
            ["version"] => (
                "200 OK",
                json!({ "Version": "28.0.0", "ApiVersion": "1.48", "Os": "linux", "Arch": "amd64" }),
            ),
            ["info"] => ("200 OK", json!({ "Name": "laptop" })),
            ["containers", "json"] => {
                let shown: Vec<Value> = state
                    .containers
                    .iter()
                    .map(|name| json!({ "Id": name, "Names": [format!("/{name}")] }))
                    .collect();
                ("200 OK", shown.into())
            }
            ["images", .., "json"] if state.has_image => ("200 OK", json!({ "Id": ID })),
            ["containers", container, "exec"] => {
                let body: Value = serde_json::from_slice(body).expect("JSON");
                let command = body["Cmd"].as_array().into_iter().flatten();
                let command = command.filter_map(Value::as_str).map(str::to_owned).collect();
                state.commands.push(((*container).to_owned(), command));
                ("201 Created", json!({ "Id": (state.commands.len() - 1).to_string() }))
            }
            ["exec", id, "json"] => {
                let (_, command) = &state.commands[id.parse::<usize>().expect("a number")];
                let fails = is_import(command) && state.import == Import::Fails;
                ("200 OK", json!({ "ExitCode": i32::from(fails) }))
            }
            _ => ("404 Not Found", json!({ "message": "no such thing" })),
        }
    }

    /// Runs a command on a connection of its own. Source: Docker, "Attach to a container", "Stream format".
    async fn run(&self, id: &str, mut stream: BufReader<TcpStream>) -> io::Result<()> {
        let upgraded = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
        stream.write_all(upgraded.as_bytes()).await?;
        let (container, command, import) = {
            let state = self.0.lock().expect("no panic");
            let (container, command) = state.commands[id.parse::<usize>().expect("a number")].clone();
            (container, command, state.import)
        };
        let said = if is_import(&command) {
            if import != Import::ReadsNothing {
                let mut archive = Vec::new();
                stream.read_to_end(&mut archive).await?;
                self.0.lock().expect("no panic").imported_bytes.push(archive.len());
            }
            if import == Import::Works {
                self.0.lock().expect("no panic").supplied.insert(container);
            }
            "ctr: what it has to say\n"
        } else if self.0.lock().expect("no panic").supplied.contains(&container) {
            "registry.example/team/api:v-1\n"
        } else {
            ""
        };
        let length = u32::try_from(said.len()).expect("short").to_be_bytes();
        stream.write_all(&[[1, 0, 0, 0], length].concat()).await?;
        stream.write_all(said.as_bytes()).await?;
        stream.shutdown().await
    }

    fn imports(&self) -> Vec<String> {
        let state = self.0.lock().expect("no panic");
        let imports = state.commands.iter().filter(|(_, command)| is_import(command));
        imports.map(|(container, _)| container.clone()).collect()
    }
}

fn is_import(command: &[String]) -> bool {
    command.iter().any(|word| word == "import")
}

async fn answer(stream: &mut BufReader<TcpStream>, status: &str, sort: &str, body: &[u8]) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {sort}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await
}

/// A cluster of nodes with containerd.
fn cluster(nodes: &[&str]) -> FakeCluster {
    let fake = FakeCluster::new();
    for node in nodes {
        fake.put(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": node, "labels": { HOST_NAME: node } },
            "status": { "nodeInfo": { "containerRuntimeVersion": "containerd://2.1.0" } },
        }));
    }
    fake
}

fn images(fake: &FakeCluster, daemon: &DockerDaemon) -> NodeImages {
    NodeImages::new(Cluster::new(fake.client()), DaemonChoice::Daemon(daemon.clone()))
}

async fn supply(nodes: &NodeImages, daemon: &DockerDaemon, replace: bool) -> Result<()> {
    let supplies = nodes.supplies(daemon).await?;
    let (events, _heard) = event_channel();
    nodes.supply(daemon, &supplies, &image(), replace, &events).await
}

fn image() -> ImageReference {
    IMAGE.parse().expect("a reference")
}

#[tokio::test]
async fn each_node_is_given_what_it_does_not_have() {
    let fake = cluster(&["one", "two"]);
    let server = Daemon::new(&["one", "two", "something-else"], Import::Works);
    let daemon = server.listen().await;
    let nodes = images(&fake, &daemon);
    server.0.lock().expect("no panic").supplied.insert("one".to_owned());
    assert_eq!(nodes.find(&image()).await.expect("asked"), None, "one node lacks it");

    supply(&nodes, &daemon, false).await.expect("supplied");
    assert_eq!(server.imports(), ["two"]);
    assert_eq!(server.0.lock().expect("no panic").imported_bytes, [ARCHIVE]);
    assert_eq!(nodes.find(&image()).await.expect("asked").expect("found").to_string(), ID);

    supply(&nodes, &daemon, true).await.expect("supplied");
    assert_eq!(server.imports(), ["two", "one", "two"], "what is to be replaced is given to all");

    server.0.lock().expect("no panic").has_image = false;
    assert_eq!(nodes.find(&image()).await.expect("asked"), None, "the daemon itself lacks it");
}

#[tokio::test]
async fn an_import_that_comes_to_nothing_is_a_failure_with_what_the_node_said() {
    for import in [Import::Fails, Import::IsForgotten, Import::ReadsNothing] {
        let fake = cluster(&["one"]);
        let daemon = Daemon::new(&["one"], import).listen().await;
        let error = supply(&images(&fake, &daemon), &daemon, false).await.expect_err("not supplied");
        assert_eq!(error.kind(), ErrorKind::PushFailed, "{import:?}: {error}");
        for part in ["one", "what it has to say"] {
            assert!(error.message().contains(part), "{import:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_given_images_is_named() {
    let fake = cluster(&["far"]);
    let daemon = Daemon::new(&["one"], Import::Works).listen().await;
    let error = images(&fake, &daemon).find(&image()).await.expect_err("no way");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("Node far") && error.message().contains("laptop"), "{error}");

    fake.fault(Fault::refuse("list", "nodes", Refusal::forbidden("list", "nodes", "")));
    let error = images(&fake, &daemon).find(&image()).await.expect_err("not allowed");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}
