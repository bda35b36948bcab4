//! A daemon that listens on TCP. This machine stands in for a program in the cluster, and has to reach pods.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use garden_build::{Builder, ErrorKind, Event, Outcome};
use garden_buildkit::client::{Client, ClientError, TlsIdentity};
use garden_buildkit::spec::{PORT, TLS_SECRET};
use garden_buildkit::{BuildkitBackend, Route, Settings};
use garden_cluster::{Cluster, PodStream, PushTarget, RegistryCredentials};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::site::{Project, build_with_events, in_project, noise_of, registry, running, shown, variable};

/// A builder that takes this way to the daemon, or none.
fn builder_by(project: &Project, route: Route) -> Builder {
    let garden_build::config::BuildMode::ClusterBuildkit(options) = &project.provider.build_mode else {
        panic!("not cluster-buildkit")
    };
    let (namespace, resources) =
        (project.provider.namespace.clone(), project.provider.resources.builder.clone());
    let registry = project.provider.deployment_registry.as_ref().unwrap();
    let target = PushTarget::read("deploymentRegistry", registry).unwrap();
    let settings = Settings::new(options, namespace, resources, &target).unwrap();
    let cluster = Cluster::new(project.client.clone());
    let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", Vec::new());
    let backend = BuildkitBackend::new(cluster, settings.route(route), credentials);
    Builder::options(project.provider.clone())
        .client(project.client.clone())
        .backend(Arc::new(backend))
        .connect()
        .unwrap()
}

/// Builds an image that nobody has built before, and makes sure that it is in the registry.
async fn builds(project: &Project, builder: &Builder, name: &str) {
    project.dockerfile(&format!("RUN echo {name}\nCOPY app.txt /\n"));
    project.file("app.txt", name);
    let (image, events) = build_with_events(builder, project.request()).await;
    let shown = shown(&events);
    let image = image.unwrap_or_else(|error| panic!("{name}: {error:?}\n{shown}"));
    assert!(matches!(image.outcome, Outcome::Built { .. }), "{name}: {:?}", image.outcome);
    assert!(!shown.contains("goes through the API server"), "{name}:\n{shown}");
    registry::assert_has(&image).await;
}

async fn daemon_pod(project: &Project) -> Pod {
    project.builder_pod(|pod| running(pod) && pod.metadata.deletion_timestamp.is_none()).await
}

async fn tls_secrets(project: &Project) -> Vec<Secret> {
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=garden-build");
    project.secrets().list(&ours).await.unwrap().items
}

fn identity(secret: &Secret) -> TlsIdentity {
    let text = |name: &str| String::from_utf8(secret.data.as_ref().unwrap()[name].0.clone()).unwrap();
    TlsIdentity {
        server_name: "garden-buildkit".to_owned(),
        certificate_authority: text("ca.crt"),
        certificate: text("client.crt"),
        key: text("client.key").into(),
    }
}

#[tokio::test]
async fn a_daemon_that_listens_builds_on_every_route() {
    in_project("bk-listen", async |project| {
        project.buildkit().listen = true;
        for (name, route) in
            [("direct", Route::Direct), ("port-forward", Route::PortForward), ("exec", Route::Exec)]
        {
            builds(project, &builder_by(project, route), name).await;
        }
        // And on its own choice, which depends on where this program runs.
        builds(project, &project.builder(), "chosen").await;

        // Its files are new with the Secret, and so is the daemon.
        let former = daemon_pod(project).await.name_any();
        project.secrets().delete(TLS_SECRET, &DeleteParams::default()).await.unwrap();
        builds(project, &builder_by(project, Route::Direct), "after-a-change-of-certificates").await;
        assert_ne!(daemon_pod(project).await.name_any(), former);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; run it optimised: cargo test --release"]
async fn how_fast_the_routes_are() {
    const MEBIBYTES: usize = 256;
    in_project("bk-routes", async |project| {
        project.buildkit().listen = true;
        project.file("Dockerfile", "FROM scratch\nCOPY large /\n");
        for round in 0..3 {
            for route in [Route::Exec, Route::PortForward, Route::Direct] {
                project.file("large", noise_of(round * 3 + route as u64, MEBIBYTES << 20));
                let mut build = builder_by(project, route).build(project.request());
                let mut started = None;
                while let Some(event) = build.next_event().await {
                    match event {
                        Event::StepStarted { name, .. } if name.contains("load build context") => {
                            started = Some(Instant::now());
                        }
                        Event::StepFinished { name, .. } if name.contains("load build context") => {
                            let seconds = started.unwrap().elapsed().as_secs_f64();
                            println!("{route:?}: {MEBIBYTES} MiB in {seconds:.1} s");
                        }
                        _ => {}
                    }
                }
                build.await.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_rootless_daemon_reads_its_certificates() {
    in_project("bk-listen-rootless", async |project| {
        let options = project.buildkit();
        options.listen = true;
        options.rootless = true;
        options.image = Some(variable("GARDEN_TEST_BUILDKIT_ROOTLESS_IMAGE"));
        builds(project, &builder_by(project, Route::Direct), "rootless").await;
    })
    .await;
}

#[tokio::test]
async fn only_clients_of_the_daemon_s_authority_are_served() {
    in_project("bk-strangers", async |project| {
        project.buildkit().listen = true;
        builds(project, &builder_by(project, Route::Direct), "first").await;
        let secret = project.secrets().get(TLS_SECRET).await.unwrap();
        let pod = daemon_pod(project).await;
        let address = SocketAddr::new(pod.status.unwrap().pod_ip.unwrap().parse().unwrap(), PORT);
        let own = identity(&secret);
        let connect = async |identity: &TlsIdentity| -> Result<Client, ClientError> {
            let stream = TcpStream::connect(address).await.unwrap();
            // Such clients know who the daemon is; it is the daemon that refuses them.
            Client::connect(identity.encrypt(stream).await.unwrap()).await
        };
        assert_eq!(connect(&own).await.unwrap().version(), "v0.26.3");

        let other = rcgen::generate_simple_self_signed(["garden-build".to_owned()]).unwrap();
        let key = other.signing_key.serialize_pem().into();
        let stranger = TlsIdentity { certificate: other.cert.pem(), key, ..own.clone() };
        let error = connect(&stranger).await.expect_err("a certificate of another authority");
        println!("a stranger's certificate: {error}");

        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(own.certificate_authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("garden-buildkit").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let error = Client::connect(stream).await.expect_err("no certificate");
        println!("no certificate: {error}");

        let stream = TcpStream::connect(address).await.unwrap();
        let error = Client::connect(stream).await.expect_err("no TLS");
        println!("no TLS: {error}");
    })
    .await;
}

#[tokio::test]
async fn two_first_builds_at_once_make_one_secret_and_the_daemon_gets_only_its_part() {
    in_project("bk-at-once", async |project| {
        project.buildkit().listen = true;
        project.dockerfile("RUN true\n");
        let (one, other) = (builder_by(project, Route::Direct), builder_by(project, Route::PortForward));
        let (first, second) =
            (project.request().build_arg("BY", "one"), project.request().build_arg("BY", "two"));
        let (first, second) = tokio::join!(one.build(first), other.build(second));
        first.unwrap();
        second.unwrap();
        let secrets = tls_secrets(project).await;
        let names: Vec<String> = secrets.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, [TLS_SECRET]);

        let pod = daemon_pod(project).await.name_any();
        let cluster = Cluster::new(project.client.clone());
        let see = ["ls", "/etc/buildkit-tls"];
        let mut listing =
            PodStream::exec(&cluster, &project.namespace, &pod, "buildkitd", &see).await.unwrap();
        let mut files = String::new();
        listing.read_to_string(&mut files).await.unwrap();
        assert_eq!(files.split_whitespace().collect::<Vec<_>>(), ["ca.crt", "tls.crt", "tls.key"]);
    })
    .await;
}

#[tokio::test]
async fn a_damaged_secret_is_named() {
    in_project("bk-damaged", async |project| {
        project.buildkit().listen = true;
        project.dockerfile("RUN true\n");
        let damaged = json!({ "metadata": { "name": TLS_SECRET }, "stringData": { "ca.crt": "nonsense" } });
        let damaged: Secret = serde_json::from_value(damaged).unwrap();
        project.secrets().create(&PostParams::default(), &damaged).await.unwrap();
        let error = project.builder().build(project.request()).await.expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
        assert!(error.message().contains(&format!("Secret {}/{TLS_SECRET}", project.namespace)), "{error}");
        assert!(error.hint().unwrap().contains("kubectl delete secret"), "{error:?}");
    })
    .await;
}
