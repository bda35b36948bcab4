//! Daemons behind the proxies of a network, and the proxies of their steps.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::process::Command;

use garden_build::config::BuildMode;
use garden_build::{Builder, Outcome};
use garden_test_programs::NetworkProxy;
use serde_json::json;
use tempfile::TempDir;

use crate::site::docker_daemon::{self, Daemon};
use crate::site::own_process::in_own_process;
use crate::site::{in_project, in_turn, own_address, registry, variable};

/// Set in the process whose environment names proxies, or Docker's configuration.
const AGAIN: &str = "GARDEN_E2E_DOCKER_PROXIES";

fn without_docker(mut command: Command) -> Command {
    for variable in
        ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "NO_PROXY", "no_proxy"]
    {
        command.env_remove(variable);
    }
    command.env(AGAIN, "1");
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_on_another_machine_is_reached_through_the_proxy_of_the_environment() {
    garden_test_programs::needs!(Tinyproxy);
    if env::var_os(AGAIN).is_some() {
        in_project("docker-tcp", async |project| {
            project.file("Dockerfile", "FROM scratch\nCOPY namespace.txt /\n");
            project.file("namespace.txt", &project.namespace);
            project.provider.build_mode = BuildMode::LocalDocker;
            let builder =
                Builder::options(project.provider.clone()).client(project.client.clone()).connect().unwrap();
            let image = builder.build(project.request()).await.unwrap();
            assert!(matches!(image.outcome, Outcome::Built { .. }));
        })
        .await;
        return;
    }
    // No proxy stands before this machine's loopback.
    let address = TcpListener::bind((own_address(), 0)).unwrap().local_addr().unwrap();
    let host = format!("tcp://{address}");
    let arguments = [format!("--host={host}"), "--tls=false".to_owned()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let _daemon =
        Daemon::start_with(&variable("GARDEN_TEST_DOCKERD"), TempDir::new().unwrap(), &arguments).await;
    let proxy = NetworkProxy::tinyproxy(None, address.port());
    let command =
        in_own_process!(a_daemon_on_another_machine_is_reached_through_the_proxy_of_the_environment);
    let mut again = without_docker(command);
    again.env("DOCKER_HOST", &host).env("HTTP_PROXY", proxy.url("http", ""));
    again.env_remove("HTTPS_PROXY").env_remove("https_proxy");
    // The other process knows nothing of the turns of this one.
    assert!(in_turn(async { again.status() }).await.unwrap().success());
    assert!(proxy.log().contains(&format!("CONNECT {address} ")), "{}", proxy.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_get_the_proxies_of_dockers_configuration() {
    if env::var_os(AGAIN).is_some() {
        return build_with_proxies().await;
    }
    let config = TempDir::new().unwrap();
    let proxies =
        json!({ "default": { "httpProxy": "http://who:s3cret@proxy.invalid:1", "noProxy": ".corp" } });
    fs::write(config.path().join("config.json"), json!({ "proxies": proxies }).to_string()).unwrap();
    let command = in_own_process!(steps_get_the_proxies_of_dockers_configuration);
    let mut again = without_docker(command);
    again.env("DOCKER_CONFIG", config.path());
    assert!(in_turn(async { again.status() }).await.unwrap().success());
}

async fn build_with_proxies() {
    in_project("docker-config", async |project| {
        for daemon in [docker_daemon::shared(), docker_daemon::old().without_buildkit()] {
            let unique = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
            project.dockerfile(&format!(
                "RUN echo {unique}; test \"${{HTTP_PROXY#*@}}\" = proxy.invalid:1 && test \"$HTTP_PROXY\" = \"$http_proxy\" && \
                 test \"$NO_PROXY\" = .corp\n"
            ));
            let image = project.builder_on(&daemon).build(project.request()).await.unwrap();
            for part in registry::contents(&image.reference).await {
                let text = String::from_utf8_lossy(&part);
                assert!(!text.contains("s3cret"), "{text}");
            }
        }
    })
    .await;
}
