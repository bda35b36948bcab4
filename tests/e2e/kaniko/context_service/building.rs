//! What builds send to the service.

use std::fs;
use std::time::{Duration, SystemTime};

use garden_build::{BuildRequest, Builder};

use super::failures::assert_idle;
use crate::site::{
    Project, build_with_events, in_project, noise, noise_of, proxy, recording_client, sent_to_service, shown,
    variable,
};

/// Builds, and returns how many bytes were sent to the service.
pub(crate) async fn sent_bytes(project: &Project) -> u64 {
    let (image, events) = build_with_events(&project.builder(), project.request()).await;
    image.unwrap_or_else(|error| panic!("{error}\n{}", shown(&events)));
    sent_to_service(&events)
}

#[tokio::test]
async fn content_that_the_service_has_is_not_sent_again() {
    in_project("sync", async |project| {
        project.dockerfile("COPY . /app\nRUN cat /app/one /app/deep/two > /both");
        let noise = |seed| noise_of(seed, 2_000_000);
        project.file("one", noise(1));
        project.file("deep/two", noise(2));
        let cold = sent_bytes(project).await;
        assert!(cold > 4_000_000, "{cold}");

        project.file("one", noise(3));
        let changed = sent_bytes(project).await;
        assert!((2_000_000..2_100_000).contains(&changed), "{changed}");

        // As when one switches to another branch and back, and with other times of files.
        project.file("one", noise(1));
        project.file("deep/three", noise(3));
        let back = sent_bytes(project).await;
        assert!(back < 2_000, "only what names a file is new: {back}");
    })
    .await;
}

#[tokio::test]
async fn one_changed_file_of_20_000_is_less_than_a_megabyte_on_the_wire() {
    in_project("sync-wire", async |project| {
        project.file("Dockerfile", "FROM scratch\nCOPY files/1/1 /\n");
        for number in 0..20_000_u32 {
            project.file(&format!("files/{}/{number}", number % 100), format!("file {number}"));
        }
        project.file("files/1/1", "first");
        project.builder().build(project.request()).await.unwrap();
        project.file("files/1/1", "second");
        let proxied = proxy::client_cut_after(u64::MAX).await;
        let builder =
            Builder::options(project.provider.clone()).client(proxied.client.clone()).connect().unwrap();
        builder.build(project.request()).await.unwrap();
        let sent = proxied.sent();
        println!("one changed file of 20 000: {sent} bytes sent to the API server");
        assert!(sent < 1_000_000, "{sent}");
    })
    .await;
}

#[tokio::test]
async fn another_module_and_a_fresh_clone_share_what_was_sent() {
    in_project("sync-shared", async |project| {
        project.dockerfile("COPY . /app");
        project.file("lib/large", noise(2 << 20));
        assert!(sent_bytes(project).await > 2 << 20);

        let clone = tempfile::tempdir().unwrap();
        for path in ["Dockerfile", "lib/large"] {
            fs::create_dir_all(clone.path().join(path).parent().unwrap()).unwrap();
            fs::copy(project.path().join(path), clone.path().join(path)).unwrap();
            let file = fs::File::options().append(true).open(clone.path().join(path)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(86_400)).unwrap();
        }
        let request = BuildRequest::new("api", clone.path()).force(true);
        let (image, events) = build_with_events(&project.builder(), request).await;
        image.unwrap();
        assert_eq!(sent_to_service(&events), 0);

        fs::rename(clone.path().join("lib/large"), clone.path().join("moved")).unwrap();
        let request = BuildRequest::new("another-module", clone.path());
        let (image, events) = build_with_events(&project.builder(), request).await;
        image.unwrap();
        assert!(sent_to_service(&events) < 2000, "{}", shown(&events));
    })
    .await;
}

#[tokio::test]
async fn builds_at_once_share_the_service_and_do_not_mix() {
    in_project("sync-at-once", async |project| {
        project.dockerfile("ARG WANTED\nCOPY . /app\nRUN test \"$(cat /app/number)\" = \"$WANTED\"");
        project.file("shared", noise(1 << 20));
        let builder = &project.builder();
        let build = async |number: u8| {
            let directory = tempfile::tempdir().unwrap();
            for file in ["Dockerfile", "shared"] {
                fs::copy(project.path().join(file), directory.path().join(file)).unwrap();
            }
            fs::write(directory.path().join("number"), number.to_string()).unwrap();
            let request = BuildRequest::new(format!("api-{number}"), directory.path());
            builder.build(request.build_arg("WANTED", number.to_string())).await.unwrap();
        };
        tokio::join!(build(1), build(2), build(3), build(4));
        project.assert_nothing_left().await;
        assert_idle(project).await;
    })
    .await;
}

#[tokio::test]
async fn a_build_takes_15_requests() {
    in_project("sync-requests", async |project| {
        project.dockerfile("RUN true");
        project.builder().build(project.request()).await.unwrap();
        let (client, calls) = recording_client().await;
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
        builder.build(project.request().build_arg("A", "1")).await.unwrap();
        let calls = calls.lock().unwrap().clone();
        let listed = calls.join("\n");
        let count = |method: &str, part: &str| {
            calls.iter().filter(|call| call.starts_with(method) && call.contains(part)).count()
        };
        // On a busy node: the events of a pod that is slow to start, renewals of the lease, and further questions for the time: by these
        // renewals, and every few seconds, whether the API server still answers.
        let applied = count("PATCH", "force=true");
        let renewals = count("PATCH", "") - applied;
        let as_time_passes = count("GET", "/events?") + renewals + count("GET", "/version").saturating_sub(2);
        // The service and its pod are looked for, the lease begun and the service spoken to; the pod is made, other builds of the
        // image are looked for, and its secret is made; the pod is listed and watched, and its log read; what others have left is looked for, and what nobody uses; the pod and
        // the secret are removed.
        assert_eq!(calls.len() - as_time_passes, 15, "{listed}");
        assert_eq!((applied, count("DELETE", "")), (2, 2), "{listed}");
    })
    .await;
}

#[tokio::test]
async fn without_the_service_an_executor_image_without_a_shell_builds() {
    in_project("stdin", async |project| {
        project.dockerfile("COPY . /app\nRUN test \"$(cat /app/file)\" = contents");
        project.file("file", "contents");
        project.kaniko().image = variable("GARDEN_TEST_KANIKO_IMAGE");
        project.kaniko().context_delivery = garden_build::config::ContextDelivery::Stdin;
        project.builder().build(project.request()).await.unwrap();
        let pods = project.pods().list(&kube::api::ListParams::default()).await.unwrap();
        assert!(pods.items.is_empty(), "no pod stays");
    })
    .await;
}
