use garden_build::config::DeploymentRegistry;
use garden_build::{Event, Outcome};
use k8s_openapi::ByteString;

use crate::site::{Project, build_with_events, everything_in_namespace, in_project, steps, variable};

/// The registry of private base images: plain HTTP, and credentials that the other one refuses.
struct Base {
    host: String,
    username: String,
    password: String,
}

impl Base {
    fn new() -> Self {
        Self {
            host: variable("GARDEN_TEST_REGISTRY_BASIC"),
            username: variable("GARDEN_TEST_REGISTRY_BASIC_USERNAME"),
            password: variable("GARDEN_TEST_REGISTRY_BASIC_PASSWORD"),
        }
    }

    fn dockerfile(&self, project: &Project, instructions: &str) {
        project.file("Dockerfile", format!("FROM {}/private/busybox:1.36\n{instructions}", self.host));
    }
}

fn push_host() -> String {
    variable("GARDEN_TEST_REGISTRY_TLS_BASIC")
}

fn push_username() -> String {
    variable("GARDEN_TEST_REGISTRY_TLS_BASIC_USERNAME")
}

fn push_password() -> String {
    variable("GARDEN_TEST_REGISTRY_TLS_BASIC_PASSWORD")
}

/// Declares the registries of base images, and pushes to the one with TLS and other credentials. The latter
/// are in the secret `push`, with `password`.
async fn use_private_registries(project: &mut Project, password: &str) {
    project.use_registry(&push_host());
    project.registry().ca_certificate = Some(variable("GARDEN_TEST_REGISTRY_TLS_CA").into());
    let plain = [Base::new().host, variable("GARDEN_TEST_REGISTRY")].map(|host| {
        let mut registry = DeploymentRegistry::new(&host).unwrap();
        registry.insecure = true;
        registry
    });
    project.buildkit().registries = Vec::from(plain);
    project.create_registry_secret("push", &push_host(), &push_username(), password).await;
    project.use_pull_secret("push");
}

async fn use_base_secret(project: &mut Project) {
    let base = Base::new();
    project.create_registry_secret("base", &base.host, &base.username, &base.password).await;
    project.use_pull_secret("base");
}

#[tokio::test]
async fn the_base_comes_from_one_private_registry_and_the_image_goes_to_another() {
    in_project("bk-private", async |project| {
        use_private_registries(project, &push_password()).await;
        use_base_secret(project).await;
        Base::new().dockerfile(project, "RUN echo private > /x\nCMD [\"cat\", \"/x\"]\n");
        let image = project.builder().build(project.request()).await.unwrap();
        assert_eq!(steps(&image), (0, 1));
        let printed = project.run(&image.reference.to_string(), &[], Some("push")).await;
        assert_eq!(printed, "private\n");
        let again = project.builder().build(project.request()).await.unwrap();
        assert_eq!(again.outcome, Outcome::AlreadyExists);
    })
    .await;
}

#[tokio::test]
async fn credentials_show_nowhere_but_in_the_user_s_own_secrets() {
    in_project("bk-no-leak", async |project| {
        use_private_registries(project, &push_password()).await;
        use_base_secret(project).await;
        Base::new().dockerfile(project, "RUN env; cat /proc/*/cmdline | tr '\\0' ' '\nRUN exit 1\n");
        let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
        let error = outcome.expect_err("the last step fails");
        let cluster = everything_in_namespace(project, &["base", "push"]).await;
        assert!(cluster.contains("garden-buildkit") && cluster.contains("BEGIN CERTIFICATE"), "{cluster}");
        let plan = project.builder().plan(project.request()).await.unwrap();

        let base = Base::new();
        let pairs = [(base.username, base.password), (push_username(), push_password())];
        for (place, text) in [
            ("the cluster", cluster),
            ("the events", format!("{events:?}")),
            ("the error", format!("{error:?}{error}")),
            ("the plan", serde_json::to_string(&plan).unwrap()),
        ] {
            for (username, password) in &pairs {
                assert!(!text.contains(password), "a password is in {place}");
                let encoded = base64(&format!("{username}:{password}"));
                assert!(!text.contains(&encoded), "an encoded password is in {place}");
            }
        }
    })
    .await;
}

/// Base64, as `auth` entries have it.
fn base64(text: &str) -> String {
    let encoded = serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap();
    encoded.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_secret_that_is_renewed_during_the_build_counts_for_the_push() {
    in_project("bk-renewed", async |project| {
        use_private_registries(project, "expired").await;
        project.dockerfile("RUN echo under way; sleep 3\n");
        // The registry is not asked before, as it would refuse what is expired.
        let mut build = project.builder().build(project.request().force(true));
        let mut renewed = false;
        while let Some(event) = build.next_event().await {
            if matches!(&event, Event::Log { line, .. } if line == "under way") {
                let (host, username) = (push_host(), push_username());
                project.replace_registry_secret("push", &host, &username, &push_password()).await;
                renewed = true;
            }
        }
        build.await.unwrap();
        assert!(renewed, "the step was seen to be under way");
    })
    .await;
}
