//! A daemon behind the proxies of a network.

use garden_build::config::DeploymentRegistry;

use super::{in_project_with_daemon, options};
use crate::site::installing::init;
use crate::site::variable;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_and_the_steps_of_either_builder_use_the_proxies_of_the_provider() {
    garden_test_programs::needs!(Tinyproxy);
    in_project_with_daemon("cd-proxies", async |project| {
        let mut registry = DeploymentRegistry::new(&variable("GARDEN_TEST_REGISTRY_TLS")).unwrap();
        registry.ca_certificate = Some(variable("GARDEN_TEST_REGISTRY_TLS_CA").into());
        options(project).registries = vec![registry];
        let proxy = project.use_proxy();
        init(&project.builder()).await.unwrap();
        for buildkit in [false, true] {
            options(project).enable_buildkit = buildkit;
            project.build_through(&proxy).await;
        }
    })
    .await;
}
