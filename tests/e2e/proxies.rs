//! The API server and the registry behind the proxies of a network; builders behind them are at the end, and with the tests of their mode.

use std::env;
use std::fs;

use garden_build::config::DeploymentRegistry;
use garden_build::{Builder, Outcome};
use garden_test_programs::NetworkProxy;
use kube::config::Kubeconfig;

use crate::site::own_process::in_own_process;
use crate::site::{Project, in_project, in_turn, registry, variable};

/// Set in the process whose environment names proxies.
const AGAIN: &str = "GARDEN_TEST_BEHIND_PROXIES";

/// The port of the testbed's API server, to which a tunnel leads. A cluster of somebody else's has its own.
fn api_port() -> u16 {
    let server = kubeconfig().clusters[0].cluster.clone().unwrap().server.unwrap();
    server.parse::<http::Uri>().unwrap().port_u16().unwrap_or(443)
}

fn kubeconfig() -> Kubeconfig {
    Kubeconfig::read_from(variable("KUBECONFIG")).unwrap()
}

/// Builds with a pod and with a daemon: calls, watches, exec, attach and port-forward.
async fn builds_in_both_modes(project: &mut Project, name: &str, kubeconfig: Option<&str>) {
    project.provider.kubeconfig = kubeconfig.map(Into::into);
    for mode in ["kaniko", "cluster-buildkit"] {
        if mode == "cluster-buildkit" {
            project.buildkit();
        }
        project.dockerfile(&format!("COPY file /\nRUN echo {mode} {name} {}\n", project.namespace));
        project.file("file", vec![7; 3_000_000]);
        let builder = Builder::options(project.provider.clone()).connect().unwrap();
        let image = builder.build(project.request()).await.unwrap();
        assert!(matches!(image.outcome, Outcome::Built { .. }));
        registry::assert_has(&image).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_of_a_kubeconfig_leads_to_the_api_server() {
    garden_test_programs::needs!(Tinyproxy, Microsocks);
    in_project("proxy-url", async |project| {
        let http = NetworkProxy::tinyproxy(Some(("who", "secret")), api_port());
        let socks = NetworkProxy::microsocks(None);
        for (name, url) in [("http", http.url("http", "who:secret@")), ("socks", socks.url("socks5", ""))] {
            let mut kubeconfig = kubeconfig();
            kubeconfig.clusters[0].cluster.as_mut().unwrap().proxy_url = Some(url);
            let file = project.path().with_extension("kubeconfig");
            fs::write(&file, serde_json::to_vec(&kubeconfig).unwrap()).unwrap();
            builds_in_both_modes(project, name, file.to_str()).await;
            fs::remove_file(file).unwrap();
        }
        let log = http.log();
        assert!(log.contains("CONNECT ") && !log.contains("HEAD http://"), "{log}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environments_proxies_lead_to_the_api_server_and_to_the_registry() {
    garden_test_programs::needs!(Tinyproxy);
    if env::var_os(AGAIN).is_some() {
        in_project("proxies", async |project| builds_in_both_modes(project, "environment", None).await).await;
        return;
    }
    let proxy = NetworkProxy::tinyproxy(None, api_port());
    let url = proxy.url("http", "");
    let mut again = in_own_process!(the_environments_proxies_lead_to_the_api_server_and_to_the_registry);
    again.env(AGAIN, "1").envs([("HTTPS_PROXY", &url), ("HTTP_PROXY", &url)]);
    again.env_remove("NO_PROXY").env_remove("no_proxy");
    // The other process knows nothing of the turns of this one.
    assert!(in_turn(async { again.status() }).await.unwrap().success());
    let log = proxy.log();
    assert!(log.contains("CONNECT "), "{log}");
    assert!(log.contains(&format!("http://{}/v2/", variable("GARDEN_TEST_REGISTRY"))), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_proxy_names_is_reached_directly() {
    garden_test_programs::needs!(Tinyproxy);
    if env::var_os(AGAIN).is_some() {
        in_project("no-proxy", async |project| builds_in_both_modes(project, "environment", None).await)
            .await;
        return;
    }
    let proxy = NetworkProxy::tinyproxy(None, 443);
    let url = proxy.url("http", "");
    let mut again = in_own_process!(what_no_proxy_names_is_reached_directly);
    again.env(AGAIN, "1").envs([("HTTPS_PROXY", &url), ("HTTP_PROXY", &url)]);
    again.env("NO_PROXY", "10.0.0.0/8,.svc");
    assert!(in_turn(async { again.status() }).await.unwrap().success());
    assert!(!proxy.log().contains("http"), "{}", proxy.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kaniko_pod_and_its_steps_use_the_proxies_of_the_provider() {
    garden_test_programs::needs!(Tinyproxy);
    in_project("kaniko-proxies", async |project| {
        // Only the registry that is pushed to is one whose authority the executor is given.
        let unverified = format!("--skip-tls-verify-registry={}", variable("GARDEN_TEST_REGISTRY_TLS"));
        project.kaniko().extra_flags.push(unverified);
        let proxy = project.use_proxy();
        project.build_through(&proxy).await;
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buildkit_daemons_and_their_steps_use_the_proxies_of_the_provider() {
    garden_test_programs::needs!(Tinyproxy);
    for rootless in [false, true] {
        in_project("bk-proxies", async |project| {
            let mut registry = DeploymentRegistry::new(&variable("GARDEN_TEST_REGISTRY_TLS")).unwrap();
            registry.ca_certificate = Some(variable("GARDEN_TEST_REGISTRY_TLS_CA").into());
            let options = project.buildkit();
            options.registries = vec![registry];
            options.rootless = rootless;
            if rootless {
                options.image = Some(variable("GARDEN_TEST_BUILDKIT_ROOTLESS_IMAGE"));
            }
            let proxy = project.use_proxy();
            project.build_through(&proxy).await;
        })
        .await;
    }
}
