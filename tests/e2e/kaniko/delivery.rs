use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use garden_build::{Builder, ErrorKind};

use crate::site::own_process::in_own_process;
use crate::site::{Project, in_project, noise, own_process, proxy, registry, variable};

#[tokio::test]
async fn a_stream_that_is_cut_never_yields_an_image() {
    in_project("cut", async |project| {
        project.dockerfile("COPY . /context\n");
        project.file("big", noise(4 << 20));
        let proxied = proxy::client_cut_after(1 << 20).await;
        let builder =
            Builder::options(project.provider.clone()).client(proxied.client.clone()).connect().unwrap();
        let error = builder.build(project.request()).await.expect_err("the context did not arrive");
        assert!(proxied.cuts() >= 3, "the proxy did cut each of three tries");
        assert_eq!(error.kind(), ErrorKind::BuilderLost, "{error:?}");
        assert!(error.is_retryable());
        project.assert_nothing_left().await;

        let status = project.builder().status(project.request()).await.unwrap();
        let host = variable("GARDEN_TEST_REGISTRY");
        let repository = status.reference.repository();
        assert_eq!(registry::digest(&host, repository, status.version.as_str()).await, None);
        // And the same build succeeds over a connection that holds.
        project.builder().build(project.request()).await.unwrap();
    })
    .await;
}

/// In the process whose memory is measured, names the directory to build.
const MEASURED: &str = "GARDEN_TEST_MEASURED_DIRECTORY";

#[tokio::test]
async fn a_context_of_2_gb_streams_in_less_than_64_mb() {
    if let Ok(directory) = std::env::var(MEASURED) {
        return build_and_report_memory(&directory).await;
    }
    let directory = tempfile::TempDir::new().unwrap();
    fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY small /\n").unwrap();
    fs::write(directory.path().join("small"), "small").unwrap();
    let block = noise(8 << 20);
    for part in 0..4 {
        let mut file = fs::File::create(directory.path().join(format!("part-{part}"))).unwrap();
        for _ in 0..64 {
            file.write_all(&block).unwrap();
        }
    }
    let output = in_own_process!(a_context_of_2_gb_streams_in_less_than_64_mb)
        .env(MEASURED, directory.path())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let peak: u64 =
        text.lines().find_map(|line| line.strip_prefix("peak KiB: ")).unwrap().trim().parse().unwrap();
    assert!(peak < 64 * 1024, "the client needed {peak} KiB");
    eprintln!("peak memory of the client: {peak} KiB");
}

async fn build_and_report_memory(directory: &str) {
    let peak = own_process::PeakMemory::measure();
    in_project("big", async |project: &mut Project| {
        // No instruction reads it, so that only its way is measured.
        let request = garden_build::BuildRequest::new("big", directory).whole_context(true);
        project.builder().build(request).await.unwrap();
    })
    .await;
    println!("peak KiB: {}", peak.kib());
}
