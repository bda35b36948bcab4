use garden_build::{Builder, ErrorKind, Event, LogSource};

use crate::site::{in_project, proxy};

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_created() {
    in_project("ensures", async |project| {
        let namespace = format!("{}-new", project.namespace);
        project.provider.namespace.name.clone_from(&namespace);
        project.provider.namespace.labels.insert("team".to_owned(), "e2e".to_owned());
        project.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
        project.builder().build(project.request()).await.unwrap();
        let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(project.client.clone());
        let created = namespaces.get(&namespace).await.unwrap();
        assert_eq!(created.metadata.labels.unwrap().get("team").map(String::as_str), Some("e2e"));
        namespaces.delete(&namespace, &kube::api::DeleteParams::default()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_build_goes_on_when_every_connection_to_the_cluster_is_lost() {
    in_project("reconnects", async |project| {
        project
            .dockerfile("RUN i=0; while [ $i -lt 300 ]; do i=$((i + 1)); echo line $i; usleep 20000; done\n");
        let proxied = proxy::client_cut_after(u64::MAX).await;
        let builder =
            Builder::options(project.provider.clone()).client(proxied.client.clone()).connect().unwrap();
        let mut build = builder.build(project.request());
        let mut lines = Vec::new();
        while let Some(event) = build.next_event().await {
            if let Event::Log { source: LogSource::Output, line, .. } = event {
                lines.push(line);
                if lines.len() % 50 == 20 {
                    proxied.cut_all();
                }
            }
        }
        build.await.unwrap();
        assert!(proxied.cuts() >= 2);
        let expected: Vec<String> = (1..=300).map(|number| format!("line {number}")).collect();
        assert_eq!(lines, expected, "no gaps and no repeats");
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_variables_of_the_platform_reach_steps_and_what_the_executor_passes_over_is_refused() {
    in_project("variables", async |project| {
        let platform = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
        let step = format!("test \"$TARGETPLATFORM $TARGETOS/$TARGETARCH\" = \"{platform} {platform}\"");
        project.dockerfile(&format!("ARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETARCH\nRUN {step}\n"));
        project.builder().build(project.request().platform(platform)).await.unwrap();

        project.dockerfile("RUN <<EOF\ntrue\nEOF\n");
        let error = project.builder().build(project.request()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.message().contains("does not know `RUN <<EOF`"), "{error}");
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}

/// This is why executors' pods do not have `allowPrivilegeEscalation: false`, which would take it from them.
#[tokio::test]
async fn a_step_of_an_ordinary_user_gains_what_a_file_gives_as_with_other_builders() {
    in_project("setuid", async |project| {
        project.dockerfile(
            "RUN echo 'root::0:0::/:/bin/sh' > /etc/passwd && mkdir /own && cp /bin/busybox /own/su && chmod 4755 /own/su\n\
             USER 1000\nRUN test \"$(id -u)\" = 1000 && test \"$(/own/su -c 'id -u')\" = 0\n",
        );
        project.builder().build(project.request()).await.unwrap();
    })
    .await;
}
