//! The registry within the cluster: installed once in `garden-system`, as the host port of the nodes is one, and used by
//! all tests here in turn. It stays; whoever installs it again finds it.

mod collecting;
mod network_policies;
mod password;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use garden_build::config::{CacheLayer, ContextDelivery, DeploymentRegistry, ProviderKind, Resources};
use garden_build::{Builder, Error, ErrorKind, HintCode, Initialized, Outcome};
use garden_cluster::InClusterRegistry;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::site::installing::{host_port, init, lock, refused};
use crate::site::{
    Account, Project, build_with_events, client_with_the_documented_role, in_project, shown, steps, variable,
    warnings,
};

/// Runs a test in a project that pushes to the registry in the cluster, which some of the tests stop or break: one of them uses it at a time. The first
/// one installs it, and the first one after a test that has failed, or that ran in another process. Whoever waits for it has no turn yet.
pub(crate) async fn in_project_with_registry(name: &str, test: impl AsyncFnOnce(&mut Project)) {
    let mut registry = lock("registry-in-the-cluster").await;
    // In the file is the process whose test has left the registry as it is to be.
    let own = std::process::id().to_string();
    let mut left_by = String::new();
    registry.read_to_string(&mut left_by).unwrap();
    in_project(name, async |project| {
        use_in_cluster_registry(project);
        if left_by != own {
            install(project).await;
        }
        registry.set_len(0).unwrap();
        test(project).await;
        registry.write_all_at(own.as_bytes(), 0).unwrap();
    })
    .await;
}

async fn install(project: &Project) {
    let _host_port = host_port().await;
    let initialized = init(&project.builder()).await.unwrap();
    assert!(initialized.context_service, "{initialized:?}");
    assert!(initialized.registry_nodes.is_some_and(|nodes| !nodes.is_empty()));
}

fn use_in_cluster_registry(project: &mut Project) {
    project.provider.deployment_registry = None;
    project.provider.project_name.clone_from(&project.namespace);
    project.provider.in_cluster_registry.image = Some(variable("GARDEN_TEST_REGISTRY_IMAGE"));
    project.provider.resources.registry = small();
}

/// Has a daemon build, which is told of the registry with the base image: it is not the one that is pushed to.
fn use_buildkit(project: &mut Project) {
    project.buildkit().registries = vec![registry_of_the_base_image()];
}

fn registry_of_the_base_image() -> DeploymentRegistry {
    let mut base = DeploymentRegistry::new(&variable("GARDEN_TEST_REGISTRY")).unwrap();
    base.insecure = true;
    base
}

/// The testbed's machine is.
fn small() -> Resources {
    let mut resources = Resources::registry();
    (resources.requests.cpu, resources.requests.memory) = (50, 64);
    resources
}

#[tokio::test]
async fn each_mode_pushes_to_the_registry_and_the_kubelet_pulls_from_it() {
    in_project_with_registry("icr-modes", async |project| {
        builds_and_runs(project).await;
        use_buildkit(project);
        builds_and_runs(project).await;
        project.buildkit().rootless = true;
        project.buildkit().image = Some(variable("GARDEN_TEST_BUILDKIT_ROOTLESS_IMAGE"));
        builds_and_runs(project).await;
    })
    .await;
}

async fn builds_and_runs(project: &Project) {
    let mode = project.provider.build_mode.as_str();
    let unique = format!("{mode} {:?}", std::time::UNIX_EPOCH.elapsed().unwrap());
    project.dockerfile(&format!("RUN echo '{unique}' > /made\nCMD [\"cat\", \"/made\"]\n"));
    let builder = project.builder();
    let (image, events) = build_with_events(&builder, project.request()).await;
    let image = image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
    // The daemon of another mode makes room.
    let unexpected: Vec<_> =
        warnings(&events).into_iter().filter(|message| !message.contains("is replaced")).collect();
    assert_eq!(unexpected, <[&str; 0]>::default());
    let start = format!("127.0.0.1:5000/{}/api:v-", project.namespace);
    assert!(image.reference.to_string().starts_with(&start), "{}", image.reference);
    assert!(matches!(image.outcome, Outcome::Built { .. }));
    assert_eq!(project.run(&image.reference.to_string(), &[], None).await.trim(), unique);
    let again = builder.build(project.request()).await.unwrap();
    assert_eq!((again.outcome, again.digest), (Outcome::AlreadyExists, image.digest));

    // As the base of another, where the node's name for the registry is not one in the builder's pod.
    project.file(
        "Dockerfile",
        format!("FROM {}\nRUN cat /made > /copied\nCMD [\"cat\", \"/copied\"]\n", image.reference),
    );
    let (derived, events) = build_with_events(&builder, project.request()).await;
    let derived = derived.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
    assert_eq!(project.run(&derived.reference.to_string(), &[], None).await.trim(), unique);
}

#[tokio::test]
async fn both_modes_keep_their_caches_in_the_registry() {
    in_project_with_registry("icr-caches", async |project| {
        let changed = |project: &Project, last: &str| {
            project.dockerfile(&format!("RUN echo {} > /same\nRUN echo {last}\n", project.namespace));
        };
        changed(project, "one");
        assert_eq!(steps(&project.builder().build(project.request()).await.unwrap()), (0, 2));
        changed(project, "two");
        assert_eq!(steps(&project.builder().build(project.request()).await.unwrap()), (1, 1));

        use_buildkit(project);
        project.buildkit().cache = vec![CacheLayer::default()];
        changed(project, "three");
        assert_eq!(steps(&project.builder().build(project.request()).await.unwrap()), (0, 2));
        project.forget_local_cache().await;
        changed(project, "four");
        assert_eq!(steps(&project.builder().build(project.request()).await.unwrap()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_in_place_keeps_images_and_the_secret() {
    in_project_with_registry("icr-upgrade", async |project| {
        project.dockerfile("RUN echo kept\n");
        let image = project.builder().build(project.request()).await.unwrap();
        let secrets: Api<Secret> = Api::namespaced(project.client.clone(), "garden-system");
        let secret = secrets.get(InClusterRegistry::NAME).await.unwrap().data;
        let before = project.in_cluster_registry().server().await.unwrap();

        project.provider.resources.registry.requests.memory += 1;
        init(&project.builder()).await.unwrap();
        let run = project.in_cluster_registry().server().await.unwrap();
        assert!(run != before && run.takes_pushes);
        assert_eq!(secrets.get(InClusterRegistry::NAME).await.unwrap().data, secret);
        let again = project.builder().build(project.request()).await.unwrap();
        assert_eq!((again.outcome, again.digest), (Outcome::AlreadyExists, image.digest));

        // Nothing has changed, so nothing is stopped.
        init(&project.builder()).await.unwrap();
        assert_eq!(project.in_cluster_registry().server().await.unwrap(), run);
        project.provider.resources.registry = small();
        init(&project.builder()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn without_the_registry_a_build_fails_before_anything_is_built() {
    in_project("icr-missing", async |project| {
        use_in_cluster_registry(project);
        project.provider.garden_system_namespace.clone_from(&project.namespace);
        project.dockerfile("RUN echo built\n");
        let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
        let error = outcome.expect_err("there is no registry");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains(&project.namespace), "{error}");
        assert!(error.hint_data().is_some_and(|hint| hint.code == HintCode::InstallServices), "{error:?}");
        assert!(!shown(&events).contains("start Pod"), "{}", shown(&events));
    })
    .await;
}

#[tokio::test]
async fn a_build_on_a_local_cluster_installs_the_registry() {
    // There is one already, so that this one cannot have the node's port.
    in_project_with_registry("icr-local", async |project| {
        project.provider.kind = ProviderKind::LocalKubernetes;
        project.provider.garden_system_namespace.clone_from(&project.namespace);
        // As far as it gets while another one has the nodes' port.
        project.provider.storage.registry.storage_class = Some("no-such-class".to_owned());
        project.dockerfile("RUN echo built\n");
        let error = project.builder().build(project.request()).await.expect_err("no storage class");
        assert!(error.message().contains("no-such-class"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn the_roles_in_the_examples_are_enough_to_install_and_to_build() {
    in_project_with_registry("icr-roles", async |project| {
        let documents = serde_saphyr::from_multiple::<serde_json::Value>(include_str!(
            "../../../examples/cluster-init-role.yaml"
        ));
        let roles: Api<Role> = Api::namespaced(project.client.clone(), "garden-system");
        let bindings: Api<RoleBinding> = Api::namespaced(project.client.clone(), "garden-system");
        let force = PatchParams::apply("e2e").force();
        let mut rights = BTreeMap::new();
        for role in documents.unwrap().into_iter().filter(|document| document["kind"] == "Role") {
            let name = role["metadata"]["name"].as_str().unwrap().to_owned();
            let role = roles.patch(&name, &force, &Patch::Apply(&role)).await.unwrap();
            rights.insert(name, role.rules.unwrap());
        }
        // Those of the user of the registry are to be enough with the documented role of builds.
        let client = client_with_the_documented_role(project).await;
        let account = Account { namespace: &project.namespace, name: "garden-builder" };
        let bind = async |role: &str| {
            let name = format!("{}-{role}", project.namespace);
            let binding = json!({
                "metadata": { "name": name },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role },
                "subjects": [{ "kind": "ServiceAccount", "name": account.name, "namespace": account.namespace }],
            });
            bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
            account.wait_for_rights(&project.client, Some("garden-system"), &rights[role]).await;
            name
        };
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
        // Without a way to the registry, the builder's word has to do.
        project.dockerfile(&format!("RUN echo {} unasked\n", project.namespace));
        let (image, events) = build_with_events(&builder, project.request()).await;
        image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert_eq!(warnings(&events).len(), 2, "{}", shown(&events));

        let user = bind("garden-registry-user").await;
        project.dockerfile(&format!("RUN echo {}\n", project.namespace));
        let (image, events) = build_with_events(&builder, project.request()).await;
        image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert_eq!(warnings(&events), <[&str; 0]>::default());

        let error = init(&builder).await.expect_err("not allowed");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        let installer = bind("garden-init").await;
        init(&builder).await.unwrap();
        for name in [user, installer] {
            bindings.delete(&name, &DeleteParams::default()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn with_a_registry_outside_there_is_nothing_to_install() {
    in_project("icr-outside", async |project| {
        project.kaniko().context_delivery = ContextDelivery::Stdin;
        assert_eq!(project.builder().init().await.unwrap(), Initialized::default());
        let deployments: Api<Deployment> = Api::namespaced(project.client.clone(), &project.namespace);
        assert_eq!(deployments.list(&ListParams::default()).await.unwrap().items, []);
    })
    .await;
}

/// Installs a registry into the project's own namespace, where something stands against it. Its proxies may have got the nodes' port
/// meanwhile, which others need.
async fn refused_of_its_own(project: &mut Project) -> Error {
    use_in_cluster_registry(project);
    project.provider.garden_system_namespace.clone_from(&project.namespace);
    let _host_port = host_port().await;
    let error = refused(project).await;
    project.remove_proxies().await;
    error
}

#[tokio::test]
async fn a_storage_class_that_does_not_exist_is_named() {
    in_project("icr-class", async |project| {
        project.provider.storage.registry.storage_class = Some("no-such-class".to_owned());
        let error = refused_of_its_own(project).await;
        assert!(error.message().contains("no-such-class"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("storage.registry.storageClass")), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_host_port_that_is_not_allowed_is_named() {
    in_project("icr-port", async |project| {
        project.enforce_pod_security(Some("baseline")).await;
        // Takes no volume from others.
        project.provider.storage.registry.storage_class = Some("no-such-class".to_owned());
        let error = refused_of_its_own(project).await;
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.message().contains("hostPort"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("privileged")), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_quota_that_is_too_small_is_named() {
    in_project("icr-quota", async |project| {
        project.limit_memory("small", "32Mi").await;
        project.provider.storage.registry.storage_class = Some("no-such-class".to_owned());
        let error = refused_of_its_own(project).await;
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.message().contains("exceeded quota: small"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("resources.registry")), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn what_another_program_has_installed_is_left_alone() {
    in_project("icr-foreign", async |project| {
        let services: Api<Service> = Api::namespaced(project.client.clone(), &project.namespace);
        let service = json!({
            "metadata": { "name": InClusterRegistry::NAME, "labels": { "app.kubernetes.io/managed-by": "Helm" } },
            "spec": { "ports": [{ "port": 80 }] },
        });
        services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
        let error = refused_of_its_own(project).await;
        assert!(error.message().contains("Service") && error.message().contains("another program"), "{error}");
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(project.client.clone(), &project.namespace);
        assert_eq!(claims.list(&ListParams::default()).await.unwrap().items, []);
        let config_maps: Api<ConfigMap> = Api::namespaced(project.client.clone(), &project.namespace);
        assert!(config_maps.get_opt(InClusterRegistry::NAME).await.unwrap().is_none());
    })
    .await;
}
