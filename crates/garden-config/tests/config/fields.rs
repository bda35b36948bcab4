//! Each field of the provider: what it gives, what it gives when left out, and what is said when it is wrong.

use crate::support::{HEAD, indented, refused, valid};
use garden_config::{
    BuildMode, ClusterBuildkitOptions, ClusterDockerOptions, KanikoNamespace, KanikoOptions, ProviderConfig,
    Resources, SecretRef, TaintEffect, Toleration, TolerationOperator,
};

fn kaniko(fields: &str) -> KanikoOptions {
    let BuildMode::Kaniko(options) =
        valid(&format!("buildMode: kaniko\nkaniko:\n{}", indented(fields, 2))).build_mode
    else {
        panic!("kaniko")
    };
    options
}

#[test]
fn nothing_set_gives_the_defaults() {
    let mut expected = ProviderConfig::kubernetes("shop");
    assert_eq!(valid(""), expected);
    assert_eq!(expected.build_mode, BuildMode::LocalDocker);
    expected.build_mode = BuildMode::Kaniko(KanikoOptions::default());
    expected.notices = valid("buildMode: kaniko").notices;
    assert_eq!(valid("buildMode: kaniko"), expected);
}

#[test]
fn unknown_fields() {
    refused(&[
        (
            "buildmode: kaniko",
            "5:5: `buildmode` is not a field of a kubernetes provider | did you mean `buildMode`?",
        ),
        (
            "kaniko:\n  extraflags: []",
            "6:7: `extraflags` is not a field of `kaniko` | did you mean `extraFlags`?",
        ),
        (
            "deploymentRegistry:\n  hostname: a.b\n  user: x",
            "7:7: `user` is not a field of `deploymentRegistry` | use one of `port`, `namespace`, `insecure`, \
             `caCertificate`, `hostname`",
        ),
        ("resources: {bilder: {}}", "5:17: `bilder` is not a field of `resources` | did you mean `builder`?"),
        ("unheardOfThing: 1", "5:5: `unheardOfThing` is not a field of a kubernetes provider"),
    ]);
}

#[test]
fn fields_that_do_not_concern_building_are_set_aside() {
    valid(
        "kubectlPath: ${x}\ndefaultHostname: ${providers.x.outputs.y}\nlocalMode: {}\n\
         ingressClass: x\ningressHttpPort: 80\ningressHttpsPort: 443\nsetupIngressController: nginx\n\
         tlsCertificates: []\ncertManager: {}\nforceSsl: false\ndeploymentStrategy: rolling\nsync: {}\ndevMode: {}\n\
         dependencies: []\njib: {}\npreInit: {}",
    );
}

#[test]
fn build_mode() {
    assert_eq!(
        valid("buildMode: cluster-docker").build_mode,
        BuildMode::ClusterDocker(ClusterDockerOptions::default())
    );
    assert_eq!(
        valid("buildMode: cluster-buildkit").build_mode,
        BuildMode::ClusterBuildkit(ClusterBuildkitOptions::default())
    );
    assert_eq!(valid("buildMode: null").build_mode, BuildMode::LocalDocker);
    refused(&[
        ("buildMode: kanico", "5:16: `buildMode` cannot be `kanico` | did you mean `kaniko`?"),
        (
            "buildMode: podman",
            "5:16: `buildMode` cannot be `podman` | use one of `local-docker`, `kaniko`, `cluster-buildkit`, `cluster-docker`",
        ),
        ("buildMode: [kaniko]", "5:16: `buildMode` must be text, not a list"),
        (
            "buildMode: ${var.mode}",
            "5:18: `var.mode` is not set | set it in `variables`, or from outside, as a variable of the project",
        ),
    ]);
}

#[test]
fn context_and_kubeconfig() {
    let provider = valid("context: dev\nkubeconfig: conf/kube.yml");
    assert_eq!(provider.context.as_deref(), Some("dev"));
    assert_eq!(provider.kubeconfig.as_deref(), Some("/shop/conf/kube.yml".as_ref()));
    assert_eq!(valid("kubeconfig: /etc/kube.yml").kubeconfig.as_deref(), Some("/etc/kube.yml".as_ref()));
    refused(&[
        ("context: 12", "5:14: `context` must be text, not a number | write it in quotes: `\"12\"`"),
        (
            "kubeconfig: true",
            "5:17: `kubeconfig` must be text, not a boolean | write it in quotes: `\"true\"`",
        ),
    ]);
}

#[test]
fn namespace() {
    let provider = valid("namespace: team-a");
    assert_eq!(provider.namespace.name, "team-a");
    let namespace = valid("namespace:\n  annotations: {a: b}\n  labels: {c: d}").namespace;
    assert_eq!(namespace.name, "shop-default");
    assert_eq!((namespace.annotations["a"].as_str(), namespace.labels["c"].as_str()), ("b", "d"));
    assert_eq!(valid("namespace: {name: x}").namespace.name, "x");
    let rule = "use at most 63 lower-case letters, digits and `-`, with a letter or digit at both ends";
    let long = "x".repeat(64);
    refused(&[
        ("namespace: Team", &format!("5:16: `Team` cannot be the name of a namespace | {rule}")),
        ("namespace: -a", &format!("5:16: `-a` cannot be the name of a namespace | {rule}")),
        ("namespace: ''", &format!("5:16: `` cannot be the name of a namespace | {rule}")),
        ("namespace: {name: a.b}", &format!("5:23: `a.b` cannot be the name of a namespace | {rule}")),
        (
            &format!("namespace: {long}"),
            &format!("5:16: `{long}` is too long for a namespace: 64 characters | {rule}"),
        ),
        ("namespace: [a]", "5:16: `namespace` must be text, not a list"),
        ("namespace: {lables: {}}", "5:17: `lables` is not a field of `namespace` | did you mean `labels`?"),
        ("namespace: {labels: {a: 1}}", "5:29: `a` must be text, not a number | write it in quotes: `\"1\"`"),
        ("namespace: {labels: [a]}", "5:25: `labels` must be a mapping, not a list"),
    ]);
}

#[test]
fn image_pull_secrets() {
    let secrets = valid("imagePullSecrets:\n- name: a.b\n-\n- {name: c, namespace: d}").image_pull_secrets;
    assert_eq!(secrets, [SecretRef::new("a.b"), SecretRef::new("c").in_namespace("d")]);
    let rule = "use at most 253 lower-case letters, digits, `-` and `.`";
    refused(&[
        ("imagePullSecrets: a", "5:23: `imagePullSecrets` must be a list, not text"),
        ("imagePullSecrets: [a]", "5:24: each of `imagePullSecrets` must be a mapping, not text"),
        ("imagePullSecrets: [{namespace: a}]", "5:24: each of `imagePullSecrets` needs the field `name`"),
        ("imagePullSecrets: [{name: A}]", &format!("5:31: `A` cannot be the name of a Secret | {rule}")),
        (
            "imagePullSecrets: ${x}",
            "5:25: there is no `x` | use one of `local`, `git`, `project`, `environment`, `command`, `imported`, `var`, `variables`",
        ),
    ]);
}

#[test]
fn kaniko_options() {
    let options = kaniko(
        "image: registry.example/kaniko:1\nextraFlags: [--cache-ttl, 24h, --image-download-retry, 3]\n\
         namespace: builds\nnodeSelector: {pool: builds}\nannotations: {a: b}\ntolerations:\n- key: k\n  value: v",
    );
    assert_eq!(options.image, "registry.example/kaniko:1");
    assert_eq!(options.extra_flags, ["--cache-ttl", "24h", "--image-download-retry", "3"]);
    assert_eq!(options.namespace, KanikoNamespace::Named("builds".to_owned()));
    assert_eq!(options.node_selector["pool"], "builds");
    assert_eq!(options.annotations["a"], "b");
    assert_eq!(options.tolerations, [Toleration::equal("k", "v")]);
    refused(&[
        ("kaniko: on", "5:13: `kaniko` must be a mapping, not text"),
        (
            "kaniko: {image: Kaniko}",
            "5:21: `Kaniko` is not an image reference: invalid reference format | write it like \
             `ghcr.io/osscontainertools/kaniko:v1.28.3-debug`",
        ),
        ("kaniko: {extraFlags: --x}", "5:26: `extraFlags` must be a list, not text"),
        ("kaniko: {extraFlags: [{}]}", "5:27: each of `extraFlags` must be text, not a mapping"),
        (
            "kaniko: {extraFlags: ['${x}']}",
            "5:30: there is no `x` | use one of `local`, `git`, `project`, `environment`, `command`, `imported`, `var`, `variables`",
        ),
        (
            "kaniko: {namespace: A}",
            "5:25: `A` cannot be the name of a namespace | use at most 63 lower-case letters, digits and `-`, with \
             a letter or digit at both ends",
        ),
        (
            "kaniko: {nodeSelector: {a: true}}",
            "5:32: `a` must be text, not a boolean | write it in quotes: `\"true\"`",
        ),
    ]);
}

#[test]
fn a_template_in_the_place_of_a_mapping() {
    // That it cannot be resolved is all that is said of it.
    for (fields, place, key) in [
        ("deploymentRegistry: ${var.registry}", "5:27", "var.registry"),
        ("kaniko: ${var.kaniko}", "5:15", "var.kaniko"),
        ("kaniko: {nodeSelector: '${var.pool}'}", "5:31", "var.pool"),
        ("kaniko: {annotations: '${var.notes}'}", "5:30", "var.notes"),
        ("namespace: {labels: '${var.labels}'}", "5:28", "var.labels"),
        ("resources: {builder: '${var.resources}'}", "5:29", "var.resources"),
        ("imagePullSecrets: ['${var.secret}']", "5:27", "var.secret"),
        ("deploymentRegistry: {hostname: a.b, port: \"${var.port}\"}", "5:50", "var.port"),
        ("deploymentRegistry: {hostname: \"${var.host}\"}", "5:39", "var.host"),
    ] {
        let remedy = "set it in `variables`, or from outside, as a variable of the project";
        refused(&[(fields, &format!("{place}: `{key}` is not set | {remedy}"))]);
    }
}

#[test]
fn an_unset_kaniko_namespace_is_the_shared_one_and_is_noticed() {
    for (fields, place) in [("buildMode: kaniko", "5:16"), ("buildMode: kaniko\nkaniko: {image: a}", "6:13")]
    {
        let provider = valid(fields);
        assert!(matches!(provider.build_mode, BuildMode::Kaniko(KanikoOptions { namespace, .. })
            if namespace == KanikoNamespace::Named("garden-system".to_owned())));
        let [notice] = provider.notices.as_slice() else { panic!("one notice") };
        assert_eq!(
            notice.to_string(),
            format!(
                "/shop/garden.yml:{place}: `kaniko.namespace` is not set, so builder pods run in `garden-system`, which \
                 all projects share\n  help: set `kaniko.namespace: null` to run them in the project's namespace"
            )
        );
    }
    assert_eq!(kaniko("namespace: ~").namespace, KanikoNamespace::Project);
    assert!(valid("buildMode: kaniko\nkaniko: {namespace: null}").notices.is_empty());
    assert!(valid("kaniko: {}").notices.is_empty());
}

#[test]
fn tolerations() {
    let options = kaniko(
        "tolerations:\n- {key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 30}\n\
         - {key: a, effect: NoExecute, tolerationSeconds: '-1'}\n- {operator: Exists}",
    );
    let [first, second, third] = options.tolerations.as_slice() else { panic!("three") };
    assert_eq!((first.operator, first.effect), (TolerationOperator::Exists, Some(TaintEffect::NoExecute)));
    assert_eq!((first.toleration_seconds, second.toleration_seconds), (Some(30), Some(-1)));
    assert_eq!((second.operator, second.value.as_deref()), (TolerationOperator::Equal, None));
    assert_eq!((third.key.as_deref(), third.operator), (None, TolerationOperator::Exists));

    let refused = |toleration: &str, expected: &str| {
        refused(&[(&format!("kaniko: {{tolerations: [{toleration}]}}"), expected)]);
    };
    refused("a", "5:28: a toleration must be a mapping, not text");
    let keyless = "a toleration without a `key` must have `operator: Exists` | set `key`, or `operator: Exists` to \
                   tolerate every taint";
    refused("{value: a}", &format!("5:28: {keyless}"));
    refused("{key: '', operator: Equal}", &format!("5:48: {keyless}"));
    refused(
        "{key: a, operator: Exists, value: b}",
        "5:62: a toleration with `operator: Exists` takes no `value` | leave `value` out, or use `operator: Equal`",
    );
    refused(
        "{key: a, effect: NoSchedule, tolerationSeconds: 5}",
        "5:76: `tolerationSeconds` goes with `effect: NoExecute` only | leave it out, or set `effect: NoExecute`",
    );
    refused("{key: a, operator: exists}", "5:47: `operator` cannot be `exists` | did you mean `Exists`?");
    refused("{key: a, effect: NoExec}", "5:45: `effect` cannot be `NoExec` | did you mean `NoExecute`?");
    refused(
        "{key: a, effect: NoExecute, tolerationSeconds: soon}",
        "5:75: `tolerationSeconds` must be a whole number",
    );
    refused("{key: a, value: 1}", "5:44: `value` must be text, not a number | write it in quotes: `\"1\"`");
    refused("{kee: a, operator: Exists}", "5:29: `kee` is not a field of a toleration | did you mean `key`?");
}

#[test]
fn deployment_registry() {
    let host = |fields: &str| {
        let registry = valid(&format!("deploymentRegistry: {{{fields}}}")).deployment_registry.expect("set");
        (registry.host(), registry.repository("api"))
    };
    let pair = |host: &str, repository: &str| (host.to_owned(), repository.to_owned());
    assert_eq!(host("hostname: a.b"), pair("a.b", "api"));
    assert_eq!(host("hostname: a.b, namespace: null"), pair("a.b", "api"));
    assert_eq!(host("hostname: a.b, namespace: ''"), pair("a.b", "api"));
    assert_eq!(host("hostname: 'a:5000'"), pair("a:5000", "api"));
    assert_eq!(host("hostname: a, port: 5000, namespace: x/y"), pair("a:5000", "x/y/api"));
    assert_eq!(host("hostname: 'a:5000', port: 5000"), pair("a:5000", "api"));
    assert_eq!(host("hostname: localhost"), pair("localhost", "api"));
    assert_eq!(host("hostname: a.b/p/, namespace: x"), pair("a.b", "p/x/api"));
    assert_eq!(host("hostname: hub.docker.com, namespace: team"), pair("docker.io", "team/api"));
    assert_eq!(host("hostname: docker.io/team"), pair("docker.io", "team/api"));
    assert_eq!(host("hostname: index.docker.io, namespace: team"), pair("docker.io", "team/api"));
    assert_eq!(host("hostname: a, port: '5000'"), pair("a:5000", "api"));
    let insecure = |value: &str| {
        let fields = format!("deploymentRegistry: {{hostname: a.b, insecure: {value}}}");
        valid(&fields).deployment_registry.expect("set").insecure
    };
    assert_eq!(["true", "'true'", "false", "'false'"].map(insecure), [true, true, false, false]);
    assert_eq!(valid("deploymentRegistry: null").deployment_registry, None);

    let refused = |fields: &str, expected: &str| {
        refused(&[(&format!("deploymentRegistry: {{{fields}}}"), expected)]);
    };
    refused("namespace: a", "5:25: `deploymentRegistry` needs the field `hostname`");
    refused("hostname: 'https://a.b'", "5:36: `hostname` must not start with `https://` | write `a.b`");
    refused(
        "hostname: 'http://a.b/c'",
        "5:36: `hostname` must not start with `http://` | write `a.b/c`, and `insecure: true` beside it",
    );
    refused(
        "hostname: registry",
        "5:36: `registry` in an image's name would mean a user at Docker Hub | write the full host name, or add the port",
    );
    refused(
        "hostname: a_b.c",
        "5:36: `a_b.c` cannot be the host of a registry | write `host` or `host:port`",
    );
    refused("hostname: ''", "5:36: `` cannot be the host of a registry | write `host` or `host:port`");
    refused(
        "hostname: 'a.b:x'",
        "5:36: `a.b:x` has a port that is not a number from 1 to 65535 | write `host` or `host:port`",
    );
    refused(
        "hostname: a.b/Team",
        "5:36: `Team` cannot be the start of a repository's name | registries allow no upper case: `team`",
    );
    refused(
        "hostname: a.b, namespace: _",
        "5:52: `_` cannot be the start of a repository's name | use lower-case letters and digits, with `.`, `_` or `-` \
         between and `/` to separate parts",
    );
    refused(
        "hostname: docker.io",
        "5:25: Docker Hub takes images only within a namespace | set `namespace` to your user or organisation at Docker Hub",
    );
    refused(
        "hostname: 'a:5000', port: 5001",
        "5:52: `hostname` has the port 5000 but `port` is 5001 | set the port in one of the two",
    );
    refused("hostname: a.b, port: 70000", "5:47: `port` must be a whole number from 1 to 65535");
    refused("hostname: a.b, port: '70000'", "5:47: `port` must be a whole number from 1 to 65535");
    refused("hostname: a.b, port: 080", "5:47: `port` must be a whole number from 1 to 65535");
    refused("hostname: a.b, insecure: 'no'", "5:51: `insecure` must be `true` or `false`, not text");
}

#[test]
fn ca_certificate() {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("write");
    write("ca.pem", "# ours\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    write("key.pem", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n");
    let read = |name: &str| {
        let text =
            format!("{HEAD}    deploymentRegistry:\n      hostname: a.b\n      caCertificate: {name}\n");
        garden_config::parse(&text, directory.path().join("garden.yml")).expect("valid").provider("dev")
    };
    let registry = read("ca.pem").expect("valid").deployment_registry.expect("set");
    assert_eq!(registry.ca_certificate, Some(directory.path().join("ca.pem")));
    for (name, message) in
        [("key.pem", "key.pem` holds no certificate"), ("no.pem", "no.pem` cannot be read: ")]
    {
        let error = read(name).expect_err(name).to_string();
        assert!(error.contains("garden.yml:7:22: `") && error.contains(message), "{error}");
    }
}

#[test]
fn builder_resources() {
    let resources = valid(
        "resources:\n  builder:\n    limits: {cpu: 2000}\n    requests: {memory: 1024, ephemeralStorage: 10240}",
    )
    .resources.builder;
    assert_eq!((resources.limits.cpu, resources.limits.memory), (2000, 8192));
    assert_eq!((resources.requests.cpu, resources.requests.memory), (100, 1024));
    assert_eq!(resources.requests.ephemeral_storage_quantity().as_deref(), Some("10Gi"));
    assert_eq!(valid("resources: {builder: null}").resources.builder, Resources::builder());

    let quoted = valid("resources: {builder: {limits: {cpu: '2000'}}}").resources.builder;
    assert_eq!(quoted.limits.cpu, 2000);

    let refused = |builder: &str, expected: &str| {
        refused(&[(&format!("resources: {{builder: {builder}}}"), expected)]);
    };
    refused("4", "5:26: `resources.builder` must be a mapping, not a number");
    refused("{limits: 4}", "5:35: `limits` must be a mapping, not a number");
    refused("{limits: {cpu: 4 cores}}", "5:41: `cpu` must be a whole number of at least 1");
    refused("{limits: {cpu: 0.5}}", "5:41: `cpu` must be a whole number of at least 1");
    refused("{limits: {memory: 0}}", "5:44: `memory` must be a whole number of at least 1");
    refused("{limit: {}}", "5:27: `limit` is not a field of `resources.builder` | did you mean `limits`?");
    refused(
        "{limits: {disk: 1}}",
        "5:36: `disk` is not a field of `limits` | use one of `cpu`, `memory`, `ephemeralStorage`",
    );
    refused(
        "{limits: {cpu: 500}, requests: {cpu: 600}}",
        "5:63: the request of 600 millicpu exceeds the limit of 500 millicpu | lower `requests.cpu` or raise `limits.cpu`",
    );
    refused(
        "{limits: {memory: 256}}",
        "5:26: the request of 512 MiB exceeds the limit of 256 MiB | lower `requests.memory` or raise `limits.memory`",
    );
}

#[test]
fn what_is_set_in_rust_is_checked_by_the_same_rules() {
    let mut provider = ProviderConfig::kubernetes("Shop");
    let mut kaniko = KanikoOptions::default();
    kaniko.tolerations.push(Toleration::default());
    provider.build_mode = BuildMode::Kaniko(kaniko);
    provider.image_pull_secrets.push(SecretRef::new("a").in_namespace("B"));
    provider.resources.builder.requests.cpu = 5000;
    let error = provider.check().expect_err("wrong");
    let places: Vec<&str> =
        error.problems().iter().filter_map(|problem| problem.message.split('`').nth(1)).collect();
    assert_eq!(
        places,
        [
            "namespace.name",
            "kaniko.tolerations[0].operator",
            "imagePullSecrets[0].namespace",
            "resources.builder.requests.cpu"
        ]
    );
}
