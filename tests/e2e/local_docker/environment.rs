//! The daemon, its certificates and logins, as the environment of the `docker` command names them.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use garden_build::config::BuildMode;
use garden_build::{Builder, ErrorKind, Outcome};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use serde_json::json;
use tempfile::TempDir;

use crate::site::docker_daemon::Daemon;
use crate::site::own_process::in_own_process;
use crate::site::{in_project, variable};

/// Tells a test's own process what is to happen there.
const EXPECTED: &str = "GARDEN_E2E_DOCKER";

/// Writes ca.pem, cert.pem and key.pem for a client, as Docker wants them, and for a server whose directory is returned.
fn certificates(directory: &Path) -> TempDir {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "Docker of a test");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let server = TempDir::new().unwrap();
    for (place, purpose) in [
        (directory, ExtendedKeyUsagePurpose::ClientAuth),
        (server.path(), ExtendedKeyUsagePurpose::ServerAuth),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        certificate.extended_key_usages = vec![purpose];
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        fs::write(place.join("ca.pem"), authority.pem()).unwrap();
        fs::write(place.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(place.join("key.pem"), key.serialize_pem()).unwrap();
    }
    server
}

/// Runs the test of this module again in a process of its own, with these variables and no others of Docker's.
fn in_process(expected: &str, variables: &[(&str, &str)]) {
    let mut command =
        in_own_process!(a_daemon_behind_tls_is_found_trusted_and_logged_in_to_as_for_the_docker_command);
    for variable in
        ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"]
    {
        command.env_remove(variable);
    }
    let status = command.env(EXPECTED, expected).envs(variables.iter().copied()).status();
    assert!(status.unwrap().success(), "{expected} with {variables:?}");
}

#[tokio::test]
async fn a_daemon_behind_tls_is_found_trusted_and_logged_in_to_as_for_the_docker_command() {
    if let Ok(expected) = std::env::var(EXPECTED) {
        return build(&expected).await;
    }
    let (client, stranger, config) =
        (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let server = certificates(client.path());
    let _other_server = certificates(stranger.path());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = |name: &str| server.path().join(name).display().to_string();
    let arguments = [
        &format!("--host=tcp://127.0.0.1:{port}"),
        "--tlsverify",
        &format!("--tlscacert={}", file("ca.pem")),
        &format!("--tlscert={}", file("cert.pem")),
        &format!("--tlskey={}", file("key.pem")),
    ];
    let _daemon =
        Daemon::start_with(&variable("GARDEN_TEST_DOCKERD"), TempDir::new().unwrap(), &arguments).await;

    // Whoever the command is logged in as pushes.
    let registry = variable("GARDEN_TEST_REGISTRY_BASIC");
    let username = variable("GARDEN_TEST_REGISTRY_BASIC_USERNAME");
    let login = json!({ "username": username, "password": variable("GARDEN_TEST_REGISTRY_BASIC_PASSWORD") });
    fs::write(config.path().join("config.json"), json!({ "auths": { registry: login } }).to_string())
        .unwrap();
    let host = format!("tcp://127.0.0.1:{port}");
    let text = |directory: &TempDir| directory.path().display().to_string();
    let (config, client, stranger) = (text(&config), text(&client), text(&stranger));
    let named = [("DOCKER_HOST", host.as_str()), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CONFIG", &config)];
    in_process("works", &[&named[..], &[("DOCKER_CERT_PATH", &client)]].concat());
    in_process("unknown authority", &[&named[..], &[("DOCKER_CERT_PATH", &stranger)]].concat());
    in_process("no TLS", &[("DOCKER_HOST", &host), ("DOCKER_CONFIG", &config)]);

    // A context, made by the command itself.
    let endpoint = format!("host={host},ca={client}/ca.pem,cert={client}/cert.pem,key={client}/key.pem");
    let created = Command::new(variable("GARDEN_TEST_DOCKER_CLI"))
        .args(["--config", &config, "context", "create", "remote", "--docker", &endpoint])
        .status();
    assert!(created.unwrap().success());
    in_process("works", &[("DOCKER_CONTEXT", "remote"), ("DOCKER_CONFIG", &config)]);
    in_process("no context", &[("DOCKER_CONTEXT", "elsewhere"), ("DOCKER_CONFIG", &config)]);
}

async fn build(expected: &str) {
    in_project("docker-tls", async |project| {
        project.use_registry(&variable("GARDEN_TEST_REGISTRY_BASIC"));
        project.registry().insecure = true;
        project.file("Dockerfile", "FROM scratch\nCOPY namespace.txt /\n");
        project.file("namespace.txt", &project.namespace);
        project.provider.build_mode = BuildMode::LocalDocker;
        let builder =
            Builder::options(project.provider.clone()).client(project.client.clone()).connect().unwrap();
        let built = builder.build(project.request()).await;
        let (kind, told) = match expected {
            "works" => {
                let image = built.unwrap();
                let again = builder.build(project.request()).await.unwrap();
                assert_eq!((again.outcome, again.digest), (Outcome::AlreadyExists, image.digest));
                return;
            }
            "unknown authority" => (ErrorKind::Config, "signed by none"),
            "no TLS" => (ErrorKind::Config, "speaks TLS"),
            _ => (ErrorKind::Config, "elsewhere"),
        };
        let error = built.expect_err("refused");
        println!("{error}");
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(told) && !error.message().contains('\n'), "{error}");
        assert!(error.hint().is_some(), "{error}");
    })
    .await;
}
