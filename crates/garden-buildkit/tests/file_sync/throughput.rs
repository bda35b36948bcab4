//! How fast it is. Run with `cargo test --release -p garden-buildkit --test file_sync -- --ignored --nocapture`.

#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use futures::StreamExt;
use garden_build_core::BuildRequest;
use garden_build_core::context::Context;
use garden_buildkit::client::file_sync::protocol::{FilterRequest, Packet, send};
use garden_buildkit::client::file_sync::{Journal, ScannedTree, Source, SyncError};

use crate::grpc;
use crate::receiver::{runtime, sync};

const MEBIBYTE: usize = 1024 * 1024;

/// What is sent: its name, the number of its files, and the size of each.
const CASES: [(&str, usize, usize); 2] =
    [("20 000 files", 20_000, 10_000), ("one file of 512 MiB", 1, 512 * MEBIBYTE)];

struct Project(tempfile::TempDir);

impl Project {
    fn new(files: usize, size: usize) -> Self {
        let project = Self(tempfile::tempdir().expect("temporary directory"));
        let content: Vec<u8> = (0..size).map(|index| u8::try_from(index * 7 % 251).expect("byte")).collect();
        for index in 0..files {
            let path = project.from().join(format!("d{}/f{index}", index % 100));
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, &content).expect("file");
        }
        fs::write(project.from().join("Dockerfile"), "FROM scratch").expect("file");
        project
    }

    fn from(&self) -> PathBuf {
        self.0.path().join("from")
    }

    fn to(&self) -> PathBuf {
        let to = self.0.path().join("to");
        let _ = fs::remove_dir_all(&to);
        fs::create_dir(&to).expect("directory");
        to
    }

    fn context(&self) -> ScannedTree {
        let context = Context::scan(&BuildRequest::new("test", self.from()), &|| false).expect("context");
        ScannedTree::new(context.tree().clone())
    }
}

#[test]
#[ignore = "measures"]
fn throughput() {
    garden_test_programs::needs!(Go);
    for (name, files, size) in CASES {
        let project = Project::new(files, size);
        let source = project.context();
        let measured = |how: &str, time: Duration| {
            let rate = (files * size) as f64 / MEBIBYTE as f64 / time.as_secs_f64();
            println!("{name}, {how}: {:.2} s, {rate:.0} MiB/s", time.as_secs_f64());
        };
        for _ in 0..3 {
            measured("to nowhere", to_nowhere(source.clone()));
            measured("over gRPC to nowhere", runtime().block_on(grpc::fetch_all(Arc::new(source.clone()))));
            measured("to the daemon's receiver", to_receiver(source.clone(), &project.to()));
        }
        let again = project.to();
        to_receiver(source.clone(), &again);
        measured("to the daemon's receiver, unchanged", to_receiver(source, &again));
    }
}

fn to_receiver(source: impl Source, to: &Path) -> Duration {
    let start = Instant::now();
    sync(source, &FilterRequest::default(), to).succeeded();
    start.elapsed()
}

fn to_nowhere(source: impl Source) -> Duration {
    let start = Instant::now();
    let (requests, incoming) = futures::channel::mpsc::unbounded::<Result<Packet, SyncError>>();
    runtime().block_on(async {
        let journal = Journal::default();
        let record = journal.begin("context");
        let mut packets = send(Arc::new(source), FilterRequest::default(), incoming, record);
        let mut wanted = grpc::Wanted::default();
        while let Some(packet) = packets.next().await {
            assert_ne!(packet.r#type(), PacketType::PacketErr);
            let mode = packet.stat.as_ref().map(|stat| stat.mode);
            if let Some((kind, id)) = wanted.answer(packet.r#type(), mode, &packet.data) {
                let request = Packet { r#type: kind.into(), id, ..Packet::default() };
                let _ = requests.unbounded_send(Ok(request));
            }
        }
    });
    start.elapsed()
}
