//! The service over gRPC, as the daemon calls it through the session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::moby::filesync::v1::file_sync_client::FileSyncClient;
use futures::{StreamExt, stream};
use garden_buildkit::client::file_sync::protocol::FileSyncService;
use garden_buildkit::client::file_sync::{Journal, MemoryFiles, Source, SyncError, SyncState};
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request};

use crate::receiver::HANGS;

/// Connects a client to a server with `source` as its directory `context`.
async fn connect(source: Arc<dyn Source>) -> (FileSyncClient<Channel>, Journal) {
    let journal = Journal::default();
    let service = FileSyncService::new([("context".to_owned(), source)], journal.clone());
    let (near, far) = tokio::io::duplex(64 * 1024);
    let accepted = stream::once(async { Ok::<_, std::io::Error>(near) }).chain(stream::pending());
    let server = Server::builder().http2_max_header_list_size(1024 * 1024);
    tokio::spawn(server.serve_with_incoming(service, accepted));
    let mut far = Some(far);
    let connector = tower::service_fn(move |_| {
        let far = far.take().ok_or_else(|| std::io::Error::other("connected before"));
        async { far.map(TokioIo::new) }
    });
    let channel =
        Endpoint::from_static("http://session").connect_with_connector(connector).await.expect("channel");
    (FileSyncClient::new(channel), journal)
}

fn packet(kind: PacketType, id: u32) -> Packet {
    Packet { r#type: kind.into(), stat: None, id, data: Vec::new() }
}

fn call(
    metadata: &[(&'static str, String)],
) -> (tokio::sync::mpsc::UnboundedSender<Packet>, Request<impl futures::Stream<Item = Packet> + use<>>) {
    let (requests, mut outgoing) = tokio::sync::mpsc::unbounded_channel();
    let mut request = Request::new(stream::poll_fn(move |context| outgoing.poll_recv(context)));
    for (key, value) in metadata {
        request.metadata_mut().append(*key, value.parse().expect("value"));
    }
    (requests, request)
}

#[tokio::test]
async fn a_directory_is_served_under_its_name_with_its_filter() {
    let large = "x".repeat(300_000);
    let files = MemoryFiles::new([("a", "1"), ("b", large.as_str()), ("größe", "3"), ("z", "4")]);
    let (mut client, journal) = connect(Arc::new(files)).await;
    // The lines of a long ignore file are more than hyper accepts unasked.
    let mut metadata = vec![("dir-name", "context".to_owned()), ("exclude-patterns-encoded", "1".to_owned())];
    metadata.extend((0..500).map(|line| ("exclude-patterns", format!("some/long/path/to/ignore/{line}"))));
    metadata.push(("exclude-patterns", "gr%C3%B6%C3%9Fe".to_owned()));
    let (requests, request) = call(&metadata);
    let mut packets = client.diff_copy(request).await.expect("call").into_inner();
    let mut listed = Vec::new();
    while let Some(stat) = packets.message().await.expect("packet").expect("list").stat {
        listed.push((stat.path, stat.size));
    }
    assert_eq!(listed, [("a".to_owned(), 1), ("b".to_owned(), 300_000), ("z".to_owned(), 1)]);
    requests.send(packet(PacketType::PacketReq, 1)).expect("open");
    let mut content = Vec::new();
    loop {
        let packet = packets.message().await.expect("packet").expect("data");
        assert_eq!((packet.r#type(), packet.id), (PacketType::PacketData, 1));
        if packet.data.is_empty() {
            break;
        }
        content.extend(packet.data);
    }
    assert_eq!(content, large.as_bytes());
    requests.send(packet(PacketType::PacketFin, 0)).expect("open");
    assert_eq!(packets.message().await.expect("packet").expect("end").r#type(), PacketType::PacketFin);
    assert_eq!(packets.message().await.expect("no error"), None);
    let sync = &journal.syncs()[0];
    assert_eq!((sync.directory(), sync.state()), ("context", SyncState::Finished));
    assert_eq!((sync.entries(), sync.files(), sync.bytes()), (3, 1, 300_000));
    assert_eq!((sync.requested_bytes(), sync.is_listed()), (300_000, true));
}

#[tokio::test]
async fn an_unknown_directory_is_not_found_and_a_failed_sync_ends_with_its_status() {
    let (mut client, journal) = connect(Arc::new(MemoryFiles::new([("a", "1")]))).await;
    let (_requests, request) = call(&[("dir-name", "other".to_owned())]);
    assert_eq!(client.diff_copy(request).await.expect_err("unknown").code(), Code::NotFound);
    assert!(matches!(journal.take_failure(), Some(SyncError::UnknownDirectory(name)) if name == "other"));

    let (_requests, request) =
        call(&[("dir-name", "context".to_owned()), ("exclude-patterns", "[".to_owned())]);
    let mut packets = client.diff_copy(request).await.expect("call").into_inner();
    let told = packets.message().await.expect("packet").expect("error");
    assert_eq!(told.r#type(), PacketType::PacketErr);
    assert!(String::from_utf8_lossy(&told.data).starts_with("the pattern `[` cannot be used"));
    assert_eq!(packets.message().await.expect_err("status").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_over() {
    let (mut client, journal) = connect(Arc::new(MemoryFiles::new([("a", "1")]))).await;
    let (requests, request) = call(&[("dir-name", "context".to_owned())]);
    let mut packets = client.diff_copy(request).await.expect("call").into_inner();
    packets.message().await.expect("packet").expect("list");
    drop((packets, requests));
    let over = async {
        while journal.syncs()[0].state() == SyncState::Running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANGS, over).await.expect("in time");
    assert!(matches!(journal.take_failure(), Some(SyncError::Aborted(_))));
}

/// What a receiver that has nothing asks for.
#[derive(Default)]
pub(crate) struct Wanted {
    listed: u32,
    open: usize,
    is_complete: bool,
}

impl Wanted {
    /// Returns what to answer to a packet of the sender: a kind and an id. Of what is listed, the packet has a mode.
    pub(crate) fn answer(
        &mut self,
        kind: PacketType,
        mode: Option<u32>,
        data: &[u8],
    ) -> Option<(PacketType, u32)> {
        match (kind, mode) {
            (PacketType::PacketStat, Some(mode)) => {
                let id = self.listed;
                self.listed += 1;
                if mode >= 1 << 19 {
                    return None;
                }
                self.open += 1;
                return Some((PacketType::PacketReq, id));
            }
            (PacketType::PacketStat, None) => self.is_complete = true,
            (PacketType::PacketData, _) if data.is_empty() => self.open -= 1,
            _ => return None,
        }
        (self.is_complete && self.open == 0).then_some((PacketType::PacketFin, 0))
    }
}

/// Fetches everything, and tells how long it took.
pub(crate) async fn fetch_all(source: Arc<dyn Source>) -> Duration {
    let start = Instant::now();
    let (mut client, _) = connect(source).await;
    let (requests, request) = call(&[("dir-name", "context".to_owned())]);
    let mut packets = client.diff_copy(request).await.expect("call").into_inner();
    let mut wanted = Wanted::default();
    while let Some(received) = packets.message().await.expect("packet") {
        let mode = received.stat.as_ref().map(|stat| stat.mode);
        if let Some((kind, id)) = wanted.answer(received.r#type(), mode, &received.data) {
            let _ = requests.send(packet(kind, id));
        }
    }
    start.elapsed()
}
