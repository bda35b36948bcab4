//! Registries that want credentials.

use garden_build::config::SecretRef;
use garden_build::{ErrorKind, Outcome};
use kube::api::ListParams;

use super::{Case, Seen};
use crate::site::{build_with_events, in_project, variable};

/// The registry with plain HTTP and a password: its host, a user name, and the password.
fn basic_registry() -> [String; 3] {
    [
        "GARDEN_TEST_REGISTRY_BASIC",
        "GARDEN_TEST_REGISTRY_BASIC_USERNAME",
        "GARDEN_TEST_REGISTRY_BASIC_PASSWORD",
    ]
    .map(variable)
}

pub(super) async fn private_base(case: &mut Case<'_>) -> Seen {
    let [host, username, password] = basic_registry();
    case.project.file("Dockerfile", format!("FROM {host}/private/busybox:1.36\nRUN echo private > /x\n"));
    let keeps = case.mode.keeps_base_images();
    let request = if keeps { case.request().extra_flag("--pull") } else { case.request() };
    let error = case.fail(request.clone()).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    assert!(error.message().contains("private/busybox"), "{error}");
    assert!(error.hint().unwrap().contains("imagePullSecrets"), "{error}");

    // The Secret is in another namespace, and the image itself goes to the open registry.
    in_project("cf-owner", async |owner| {
        owner.create_registry_secret("base", &host, &username, &password).await;
        let secret = SecretRef::new("base").in_namespace(&owner.namespace);
        case.project.provider.image_pull_secrets.push(secret);
        let files = case.build_files(request).await;
        assert_eq!(files.text("x"), "private\n");
    })
    .await;
    // BuildKit has what it pulls for itself, and asks for it each time.
    if keeps && !case.mode.has_buildkit() {
        case.project.provider.image_pull_secrets.clear();
        case.build(case.request().label("another", "build")).await;
        return Seen::Differs(
            "a base image that the daemon has is taken without asking, unless with `--pull`",
        );
    }
    Seen::Works
}

pub(super) async fn push(case: &mut Case<'_>) -> Seen {
    const WRONG: &str = "not-the-password";
    let [host, username, password] = basic_registry();
    case.project.use_registry(&host);
    case.project.registry().insecure = true;
    case.project.create_registry_secret("push", &host, &username, WRONG).await;
    case.project.use_pull_secret("push");
    case.project.dockerfile("CMD [\"echo\", \"from the private registry\"]\n");

    let builder = case.builder();
    let (outcome, events) = build_with_events(&builder, case.request()).await;
    let error = outcome.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    assert!(error.message().contains(&host), "{error}");
    let told = format!("{error}{}", error.hint().unwrap_or_default());
    let secret = format!("{}/push", case.project.namespace);
    assert!(told.contains(&secret), "names the Secret to mend: {told}");
    assert!(!format!("{error:?}{error}{events:?}").contains(WRONG));
    let pods = case.project.pods().list(&ListParams::default()).await.unwrap();
    assert!(pods.items.is_empty(), "nothing was begun");

    // This way the registry is not asked before, and the builder is refused.
    let (outcome, events) = build_with_events(&builder, case.request().force(true)).await;
    let error = outcome.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    assert!(error.message().contains("could not be pushed"), "{error}");
    assert!(error.message().contains(&host), "{error}");
    assert!(!format!("{error:?}{error}{events:?}").contains(WRONG));

    // Counts at the next build.
    case.project.replace_registry_secret("push", &host, &username, &password).await;
    let image = builder.build(case.request()).await.unwrap();
    let printed = case.project.run(&image.reference.at(image.digest), &[], Some("push")).await;
    assert_eq!(printed, "from the private registry\n");
    assert_eq!(builder.build(case.request()).await.unwrap().outcome, Outcome::AlreadyExists);
    Seen::Works
}
