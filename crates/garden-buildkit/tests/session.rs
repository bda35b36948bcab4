//! A build's session, as the daemon sees it: a connection within the messages of a gRPC stream, compressed or not.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use bollard_buildkit_proto::moby::buildkit::v1::control_server::{Control, ControlServer};
use bollard_buildkit_proto::moby::filesync::v1::file_sync_client::FileSyncClient;
use futures::stream::{BoxStream, Empty};
use futures::{StreamExt as _, stream};
use garden_build_core::TraceContext;
use garden_buildkit::client::file_sync::MemoryFiles;
use garden_buildkit::client::{CONTEXT, Client, DockerfileBuild, Session, Source};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::io::ReaderStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;

/// A daemon whose builds only fetch the first file of the context.
struct Daemon {
    fetched: Mutex<Option<oneshot::Sender<Vec<u8>>>>,
    awaited: Mutex<Option<oneshot::Receiver<Vec<u8>>>>,
    /// What the build has fetched.
    content: Arc<Mutex<Vec<u8>>>,
    /// What it reports, second by second, for ever.
    reports: Option<proto::StatusResponse>,
    /// The name of each call, and the trace that it belongs to.
    calls: Arc<Mutex<BTreeSet<(&'static str, String)>>>,
}

impl Daemon {
    fn note<T>(&self, name: &'static str, call: &Request<T>) {
        let value = |name| call.metadata().get(name).map_or("", |value| value.to_str().expect("ASCII"));
        let trace = format!("{} {}", value("traceparent"), value("tracestate"));
        self.calls.lock().expect("whole").insert((name, trace));
    }
}

#[tonic::async_trait]
impl Control for Daemon {
    type PruneStream = Empty<Result<proto::UsageRecord, Status>>;
    type StatusStream = BoxStream<'static, Result<proto::StatusResponse, Status>>;
    type SessionStream = BoxStream<'static, Result<proto::BytesMessage, Status>>;
    type ListenBuildHistoryStream = BoxStream<'static, Result<proto::BuildHistoryEvent, Status>>;

    async fn session(&self, call: Request<Streaming<proto::BytesMessage>>) -> Answer<Self::SessionStream> {
        self.note("Session", &call);
        let mut messages = call.into_inner();
        let (near, far) = tokio::io::duplex(1 << 16);
        let (to_client, mut from_client) = tokio::io::split(far);
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                from_client.write_all(&message.data).await?;
            }
            io::Result::Ok(())
        });
        let fetched = self.fetched.lock().expect("whole").take().expect("one session");
        tokio::spawn(async move { fetched.send(fetch_first_file(near).await) });
        let messages = ReaderStream::new(to_client)
            .map(|bytes| Ok(proto::BytesMessage { data: bytes.map_err(Status::from)?.to_vec() }));
        Ok(Response::new(messages.boxed()))
    }

    async fn solve(&self, call: Request<proto::SolveRequest>) -> Answer<proto::SolveResponse> {
        self.note("Solve", &call);
        let awaited = self.awaited.lock().expect("whole").take().expect("one build");
        *self.content.lock().expect("whole") = awaited.await.expect("fetched");
        Ok(Response::new(proto::SolveResponse::default()))
    }

    async fn status(&self, call: Request<proto::StatusRequest>) -> Answer<Self::StatusStream> {
        self.note("Status", &call);
        let Some(report) = self.reports.clone() else { return Ok(Response::new(stream::empty().boxed())) };
        let reports = stream::unfold(report, |report| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok(report.clone()), report))
        });
        Ok(Response::new(reports.boxed()))
    }

    async fn info(&self, _: Request<proto::InfoRequest>) -> Answer<proto::InfoResponse> {
        Ok(Response::new(proto::InfoResponse::default()))
    }

    async fn disk_usage(&self, _: Request<proto::DiskUsageRequest>) -> Answer<proto::DiskUsageResponse> {
        Err(Status::unimplemented(""))
    }

    async fn prune(&self, _: Request<proto::PruneRequest>) -> Answer<Self::PruneStream> {
        Err(Status::unimplemented(""))
    }

    async fn list_workers(
        &self,
        _: Request<proto::ListWorkersRequest>,
    ) -> Answer<proto::ListWorkersResponse> {
        Err(Status::unimplemented(""))
    }

    async fn listen_build_history(
        &self,
        call: Request<proto::BuildHistoryRequest>,
    ) -> Answer<Self::ListenBuildHistoryStream> {
        let asked = call.into_inner();
        assert!(asked.active_only && asked.early_exit, "{asked:?}");
        let running = ["r.example/api:1,r.example/api:cache", "r.example/api:1", "r.example/api:10", ""];
        let running = running.map(|names| {
            let exporter = proto::Exporter {
                r#type: "image".to_owned(),
                attrs: [("name".to_owned(), names.to_owned())].into(),
            };
            let record = proto::BuildHistoryRecord { exporters: vec![exporter], ..Default::default() };
            Ok(proto::BuildHistoryEvent { record: Some(record), ..Default::default() })
        });
        Ok(Response::new(stream::iter(running).boxed()))
    }

    async fn update_build_history(
        &self,
        _: Request<proto::UpdateBuildHistoryRequest>,
    ) -> Answer<proto::UpdateBuildHistoryResponse> {
        Err(Status::unimplemented(""))
    }
}

/// Calls the client, as the daemon does.
async fn fetch_first_file(connection: DuplexStream) -> Vec<u8> {
    let mut connection = Some(connection);
    let connector = tower::service_fn(move |_| {
        let connection = connection.take().ok_or_else(|| io::Error::other("connected before"));
        async { connection.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://session").connect_with_connector(connector).await;
    let (ask, mut requests) = mpsc::channel(1);
    let mut request = Request::new(stream::poll_fn(move |context| requests.poll_recv(context)));
    request.metadata_mut().insert("dir-name", CONTEXT.parse().expect("a name"));
    let mut client = FileSyncClient::new(channel.expect("a connection"));
    let mut packets = client.diff_copy(request).await.expect("called").into_inner();
    let mut content = Vec::new();
    while let Some(received) = packets.message().await.expect("a packet") {
        match received.r#type() {
            PacketType::PacketStat if received.stat.is_some() => {
                let file =
                    Packet { r#type: PacketType::PacketReq.into(), stat: None, id: 0, data: Vec::new() };
                ask.send(file).await.expect("open");
            }
            PacketType::PacketStat => {}
            PacketType::PacketData if received.data.is_empty() => break,
            PacketType::PacketData => content.extend(received.data),
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&received.data)),
        }
    }
    content
}

/// How a build went.
struct Built {
    content: Vec<u8>,
    /// What the client has sent.
    sent: u64,
}

/// Builds with a context of one file, on a daemon that reads compressed messages or does not.
async fn build(file: Vec<u8>, compressing: bool, reads_compressed: bool) -> Built {
    let (fetched, awaited) = oneshot::channel();
    let received = Arc::default();
    let daemon = Daemon {
        fetched: Mutex::new(Some(fetched)),
        awaited: Mutex::new(Some(awaited)),
        content: Arc::clone(&received),
        reports: None,
        calls: Arc::default(),
    };
    let mut server = ControlServer::new(daemon);
    if reads_compressed {
        server = server.accept_compressed(CompressionEncoding::Gzip);
    }
    // Two pipes, to count what passes from one to the other.
    let (client, mut near) = tokio::io::duplex(1 << 16);
    let (mut far, accepted) = tokio::io::duplex(1 << 16);
    let accepted = stream::once(async { io::Result::Ok(accepted) }).chain(stream::pending());
    tokio::spawn(Server::builder().serve_with_incoming(server, accepted));
    let link = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });

    let mut client = Client::connect(client).await.expect("a daemon");
    if compressing {
        client = client.compressing();
    }
    let context = MemoryFiles::new([("file", file)]);
    let mut session = Session::default();
    session.directories = [(CONTEXT.to_owned(), Arc::new(context) as Arc<dyn Source>)].into();
    client.build(DockerfileBuild::default(), session, |_| {}).await.expect("built");
    drop(client);
    let (sent, _) = link.await.expect("no panic").expect("passed on");
    Built { content: received.lock().expect("whole").clone(), sent }
}

const SIZE: usize = 4 << 20;

fn text() -> Vec<u8> {
    b"fn main() { println!(\"hello\") }\n".iter().copied().cycle().take(SIZE).collect()
}

fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(SIZE).collect()
}

#[tokio::test]
async fn what_compresses_is_sent_compressed_to_a_daemon_that_reads_it() {
    let built = build(text(), true, true).await;
    assert!(built.content == text());
    assert!(built.sent < SIZE as u64 / 10, "{}", built.sent);
}

#[tokio::test]
async fn what_does_not_compress_is_sent_as_it_is() {
    let built = build(noise(), true, true).await;
    assert!(built.content == noise());
    assert!((SIZE as u64..SIZE as u64 / 50 * 51).contains(&built.sent), "{}", built.sent);
}

#[tokio::test]
async fn a_daemon_that_cannot_read_compressed_messages_gets_none() {
    let built = build(text(), true, false).await;
    assert!(built.content == text());
    assert!(built.sent > SIZE as u64, "{}", built.sent);
}

#[tokio::test]
async fn nothing_is_compressed_unasked() {
    let built = build(text(), false, true).await;
    assert!(built.content == text());
    assert!(built.sent > SIZE as u64, "{}", built.sent);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_goes_on_reporting_does_not_keep_a_build_from_its_end() {
    let (fetched, awaited) = oneshot::channel();
    let line =
        proto::VertexLog { vertex: "a".to_owned(), msg: b"still here\n".to_vec(), ..Default::default() };
    let daemon = Daemon {
        fetched: Mutex::new(Some(fetched)),
        awaited: Mutex::new(Some(awaited)),
        content: Arc::default(),
        reports: Some(proto::StatusResponse { logs: vec![line], ..Default::default() }),
        calls: Arc::default(),
    };
    let (client, accepted) = tokio::io::duplex(1 << 16);
    let accepted = stream::once(async { io::Result::Ok(accepted) }).chain(stream::pending());
    tokio::spawn(Server::builder().serve_with_incoming(ControlServer::new(daemon), accepted));
    let client = Client::connect(client).await.expect("a daemon");
    let context = MemoryFiles::new([("file", b"x".to_vec())]);
    let mut session = Session::default();
    session.directories = [(CONTEXT.to_owned(), Arc::new(context) as Arc<dyn Source>)].into();
    let mut reports = 0;
    let building = client.build(DockerfileBuild::default(), session, |_| reports += 1);
    let built = tokio::time::timeout(Duration::from_secs(3600), building).await;
    assert!(built.expect("it ends").is_ok());
    assert!((1..60).contains(&reports), "the last ones are heard, but not all: {reports}");
}

#[tokio::test]
async fn each_call_of_a_build_carries_the_caller_s_trace_context() {
    let (fetched, awaited) = oneshot::channel();
    let daemon = Daemon {
        fetched: Mutex::new(Some(fetched)),
        awaited: Mutex::new(Some(awaited)),
        content: Arc::default(),
        reports: None,
        calls: Arc::default(),
    };
    let calls = Arc::clone(&daemon.calls);
    let (client, accepted) = tokio::io::duplex(1 << 16);
    let accepted = stream::once(async { io::Result::Ok(accepted) }).chain(stream::pending());
    tokio::spawn(Server::builder().serve_with_incoming(ControlServer::new(daemon), accepted));
    let (parent, state) =
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "congo=t61rcWkgMzE,rojo=1");
    let context = TraceContext::new(parent, state).expect("valid");
    let client = Client::connect(client).await.expect("a daemon").traced(&context);
    let files = MemoryFiles::new([("file", b"x".to_vec())]);
    let mut session = Session::default();
    session.directories = [(CONTEXT.to_owned(), Arc::new(files) as Arc<dyn Source>)].into();
    client.build(DockerfileBuild::default(), session, |_| {}).await.expect("built");
    let calls = calls.lock().expect("whole").clone();
    let expected = ["Session", "Solve", "Status"].map(|name| (name, format!("{parent} {state}")));
    assert_eq!(calls, BTreeSet::from(expected));
}

#[tokio::test]
async fn running_builds_are_counted_by_the_whole_name_of_their_image() {
    let daemon = Daemon {
        fetched: Mutex::default(),
        awaited: Mutex::default(),
        content: Arc::default(),
        reports: None,
        calls: Arc::default(),
    };
    let (client, accepted) = tokio::io::duplex(1 << 16);
    let accepted = stream::once(async { io::Result::Ok(accepted) }).chain(stream::pending());
    tokio::spawn(Server::builder().serve_with_incoming(ControlServer::new(daemon), accepted));
    let client = Client::connect(client).await.expect("a daemon");
    for (name, expected) in [("r.example/api:1", 2), ("r.example/api:10", 1), ("r.example/api", 0)] {
        assert_eq!(client.running_builds_of(name).await.expect("an answer"), expected, "{name}");
    }
    assert_eq!(client.running_builds().await.expect("an answer").len(), 4);
}
