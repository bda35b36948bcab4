//! The JSON Schema takes what the loader takes, and refuses what the loader does not know.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

fn validator() -> jsonschema::Validator {
    jsonschema::draft7::new(&garden_config::schema()).expect("a schema")
}

fn document(provider: &Value) -> Value {
    json!({ "kind": "Project", "name": "shop", "providers": [provider] })
}

/// What a schema has to say of a provider's fields.
fn refusal(fields: &Value) -> Option<String> {
    let mut provider = fields.clone();
    provider["name"] = json!("kubernetes");
    validator().validate(&document(&provider)).err().map(|error| error.to_string())
}

#[test]
fn every_field_takes_its_value_a_template_and_null() {
    for fields in [
        json!({ "buildMode": "kaniko" }),
        json!({ "buildMode": "${var.mode}" }),
        json!({ "buildMode": null }),
        json!({ "kaniko": { "namespace": null, "image": "${var.image}", "extraFlags": ["--x", "${var.flag}"] } }),
        json!({ "kaniko": { "util": { "tolerations": [{ "key": "a", "tolerationSeconds": "${var.seconds}" }] } } }),
        json!({ "clusterBuildkit": { "cache": [{ "type": "registry", "mode": "max", "export": false }] } }),
        json!({ "clusterBuildkit": { "cache": [], "rootless": "${var.rootless}", "storage": { "size": 1 } } }),
        json!({ "clusterDocker": { "enableBuildKit": true } }),
        json!({ "clusterDocker": { "image": "${var.image}", "registries": [{ "hostname": "a.b", "insecure": true }] } }),
        json!({ "namespace": "team" }),
        json!({ "namespace": { "annotations": { "a": "b" } } }),
        json!({ "deploymentRegistry": { "hostname": "a.b", "port": 5000, "insecure": true } }),
        json!({ "deploymentRegistry": "${var.registry}" }),
        json!({ "inClusterRegistry": { "image": "${var.image}" } }),
        json!({ "imagePullSecrets": [{ "name": "a" }, null] }),
        json!({ "telemetry": { "endpoint": "http://collector.svc:4318" } }),
        json!({ "proxies": { "httpProxy": "${local.env.HTTP_PROXY}", "httpsProxy": null, "noProxy": ".corp" } }),
        json!({ "resources": { "builder": { "limits": { "cpu": 100 } }, "sync": {} } }),
        json!({ "storage": { "registry": { "size": 100, "storageClass": null } } }),
        json!({ "systemNodeSelector": { "a": "b" }, "registryProxyTolerations": [{ "operator": "Exists" }] }),
        json!({ "idleAfter": "30m" }),
        json!({ "idleAfter": "never" }),
        json!({ "idleAfter": "${var.idleAfter}" }),
        json!({ "idleAfter": null }),
        json!({ "networkPolicies": true }),
        json!({ "networkPolicies": "${var.networkPolicies}" }),
        json!({ "ingressClass": "nginx", "tlsCertificates": [{ "anything": 1 }] }),
    ] {
        assert_eq!(refusal(&fields), None, "{fields}");
    }
}

#[test]
fn unknown_fields_and_wrong_values_are_refused() {
    for fields in [
        json!({ "buildmode": "kaniko" }),
        json!({ "buildMode": "kanico" }),
        json!({ "kaniko": { "extraflags": [] } }),
        json!({ "kaniko": "on" }),
        json!({ "clusterBuildkit": { "cache": [{ "tag": "a" }] } }),
        json!({ "clusterBuildkit": { "cache": [{ "type": "local" }] } }),
        json!({ "deploymentRegistry": { "port": 5000 } }),
        json!({ "clusterDocker": { "storage": { "size": 1 } } }),
        json!({ "inClusterRegistry": { "port": 5000 } }),
        json!({ "deploymentRegistry": { "hostname": "a.b", "port": "soon" } }),
        json!({ "imagePullSecrets": [{ "namespace": "a" }] }),
        json!({ "resources": { "bilder": {} } }),
        json!({ "proxies": { "http": "http://p" } }),
        json!({ "telemetry": { "endpoint": 4318 } }),
        json!({ "proxies": { "noProxy": ["a"] } }),
        json!({ "storage": { "registry": { "size": "large" } } }),
        json!({ "idleAfter": "soon" }),
        json!({ "idleAfter": 3600 }),
        json!({ "networkPolicies": ["registry"] }),
    ] {
        assert!(refusal(&fields).is_some(), "{fields}");
    }
}

#[test]
fn providers_and_documents_of_other_kinds_are_left_alone() {
    let validator = validator();
    for document in [
        document(&json!({ "name": "terraform", "anything": 1 })),
        json!({ "kind": "Deploy", "type": "helm", "anything": 1 }),
        json!({ "kind": "Build", "type": "exec", "anything": 1 }),
    ] {
        assert!(validator.is_valid(&document), "{document}");
    }
}

#[test]
fn modules_and_actions_are_checked() {
    let validator = validator();
    let module = |fields: Value| {
        let mut document = json!({ "kind": "Module", "type": "container", "name": "api" });
        document.as_object_mut().expect("a mapping").extend(fields.as_object().cloned().expect("a mapping"));
        validator.is_valid(&document)
    };
    assert!(module(
        json!({ "image": false, "buildArgs": { "A": 1, "B": true, "C": "${x}" }, "services": [{ "x": 1 }] })
    ));
    assert!(module(json!({ "build": { "targetImage": "a", "timeout": 10, "dependencies": ["b"] } })));
    assert!(!module(json!({ "buildargs": {} })));
    assert!(!module(json!({ "build": { "target": "a" } })));

    let action = |spec: Value| {
        validator.is_valid(&json!({ "kind": "Build", "type": "container", "name": "api", "spec": spec }))
    };
    assert!(action(
        json!({ "targetStage": "a", "platforms": ["linux/arm64"], "secrets": { "a": "${local.env.A}" } })
    ));
    assert!(!action(json!({ "targetImage": "a" })));
}

/// The examples of this repository say which schema they follow.
#[test]
fn the_examples_follow_it() {
    let validator = validator();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut checked = 0;
    for file in [
        "app/project.garden.yml",
        "project/project.garden.yml",
        "project/api/garden.yml",
        "project/web/garden.yml",
    ] {
        let text = std::fs::read_to_string(examples.join(file)).expect(file);
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect(file);
        for document in documents {
            let refused = validator.validate(&document).err().map(|error| error.to_string());
            assert_eq!(refused, None, "{file}");
            checked += 1;
        }
    }
    assert!(checked >= 4);
}

/// What the loader takes of a build, and what it refuses and a schema can see; the tests of the loader check with the schema
/// whatever else they accept.
#[test]
fn builds_are_judged_as_the_loader_judges_them() {
    let directory = tempfile::tempdir().expect("directory");
    std::fs::write(directory.path().join("Dockerfile"), "").expect("file");
    let validator = validator();
    let judge = |kind: &str, name: &str, fields: &str| {
        let project =
            "kind: Project\nname: shop\nenvironments: [dev]\nvariables: {a: [], s: x, yes: true, m: {}}\n";
        let build = format!("kind: {kind}\ntype: container\nname: {name}\n{fields}\n");
        let text = format!("{project}---\n{build}");
        let file = directory.path().join("project.garden.yml");
        std::fs::write(&file, &text).expect("file");
        let loaded = garden_config::load(&file).and_then(|project| project.build(name.trim_matches('\'')));
        let document: Value = serde_saphyr::from_str(&build).expect("YAML");
        (loaded.map_err(|error| error.to_string()), validator.is_valid(&document))
    };
    let (both, action, module) = (&["Build", "Module"][..], &["Build"][..], &["Module"][..]);
    for (kinds, fields) in [
        (action, "environments: [dev]"),
        (action, "environments: '${var.none || [\"dev\"]}'"),
        (both, "disabled: false"),
        (both, "disabled: 'false'"),
        (both, "disabled: '${!var.yes}'"),
        (both, "include: {$if: '${var.yes}', $then: [a], $else: [b]}"),
        (action, "timeout: 600.0"),
        (action, "timeout: 1e2"),
        (action, "timeout: '6.0e2'"),
        (action, "timeout: 4294967295"),
        (both, "disabled: 'FALSE'"),
        (both, "include: ['${var.s}/a', '{a,{b,c}}/*', 'a/..b', '[a]', '\\{', 'a[b/', '**']"),
        (both, "exclude: ['*.{js,ts}', './', '[!a]', 'a!b', '{${var.s},b}']"),
        (both, "include: [{$concat: '${var.a}'}, a, {$if: '${var.yes}', $then: b}]"),
        (both, "exclude: ['${var.s}', null]"),
        (action, "timeout: '7'"),
        (action, "timeout: {$if: '${var.yes}', $then: 7}"),
        (action, "copyFrom: []"),
        (action, "source: {repository: null, path: {$if: true, $then: .}}"),
        (action, "spec: {localId: false, publishId: null, dockerfile: {$if: true, $then: a..b}}"),
        (
            action,
            "spec: {localId: 'REG.example:5000/team/we__b-c.d:TAG', publishId: 'REG.example/a/b:1.0_X'}",
        ),
        (
            action,
            "spec: {localId: '${upper(var.s) && var.s}', publishId: 'localhost/a', dockerfile: '${var.s}'}",
        ),
        (action, "spec: {localId: team/web, publishId: 'web'}"),
        (
            module,
            "image: 'docker.io/team/web@sha256:0000000000000000000000000000000000000000000000000000000000000000'",
        ),
        (module, "image: localhost/web:1"),
        (action, "spec: {targetStage: {$if: '${var.yes}', $then: a}, extraFlags: [--x, 1, {$concat: [b]}]}"),
        (action, "spec: {buildArgs: {$merge: '${var.m}', A: {$if: true, $then: 1}}, platforms: '${var.a}'}"),
        (action, "spec: {secrets: {$merge: '${var.m}', a.b_C-1: {$if: true, $then: x}}}"),
        (action, "spec: {$merge: '${var.m}'}"),
        (action, "spec: {$if: '${var.yes}', $then: {targetStage: a}}"),
        (
            module,
            "image: false\ndockerfile: false\nbuild: {dependencies: [a, {name: b, copy: []}, {name: c}]}",
        ),
        (module, "platforms: [a/b]\nsecrets: {a: x}\nextraFlags: {$if: true, $then: [a]}"),
        (module, "generateFiles: []\nrepositoryUrl: null\nbuild: {timeout: '5'}"),
        (module, "build: {dependencies: {$if: true, $then: [a]}}"),
    ] {
        for kind in kinds {
            let (loaded, valid) = judge(kind, "api", fields);
            assert_eq!((loaded.err(), valid), (None, true), "{kind} {fields}");
        }
    }
    for (kinds, name, fields) in [
        (both, "'1'", ""),
        (both, "Api", ""),
        (both, "api-", ""),
        (both, "a_b", ""),
        (both, "api", "disabled: 1"),
        (both, "api", "include: a"),
        (both, "api", "$forEach: []"),
        (both, "api", "buildargs: {}"),
        (both, "api", "include: ['!a']"),
        (both, "api", "include: [/a]"),
        (both, "api", "include: ['']"),
        (both, "api", "include: [../a]"),
        (both, "api", "exclude: [a/..]"),
        (both, "api", "exclude: ['{a']"),
        (both, "api", "exclude: ['a}']"),
        (both, "api", "exclude: ['{a}']"),
        (both, "api", "exclude: ['}a,b{']"),
        (both, "api", "exclude: ['+(a)']"),
        (both, "api", "exclude: ['a[b']"),
        (both, "api", "exclude: ['a\\']"),
        (action, "api", "timeout: 5000000000"),
        (action, "api", "timeout: 0.5"),
        (action, "api", "timeout: '0x10'"),
        (action, "api", "timeout: '0.5'"),
        (module, "api", "build: {timeout: 5000000000}"),
        (both, "api", "disabled: 'yes'"),
        (action, "api", "spec: {localId: UPPER}"),
        (action, "api", "spec: {localId: 'a b'}"),
        (action, "api", "spec: {localId: ''}"),
        (action, "api", "spec: {localId: registry.example/}"),
        (action, "api", "spec: {localId: a//b}"),
        (action, "api", "spec: {publishId: 'a b'}"),
        (action, "api", "spec: {publishId: UPPER}"),
        (action, "api", "spec: {publishId: ''}"),
        (action, "api", "spec: {publishId: 'a:b c'}"),
        (action, "api", "spec: {dockerfile: ''}"),
        (module, "api", "image: 'a b'"),
        (module, "api", "image: UPPER"),
        (module, "api", "image: ''"),
        (module, "api", "dockerfile: ''"),
        (action, "api", "environments: dev"),
        (action, "api", "timeout: 0"),
        (action, "api", "timeout: soon"),
        (action, "api", "copyFrom: [{build: a}]"),
        (action, "api", "source: {repository: {url: x}}"),
        (action, "api", "spec: {localId: true}"),
        (action, "api", "spec: {dockerfile: ../Dockerfile}"),
        (action, "api", "spec: {dockerfile: a/../../b}"),
        (action, "api", "spec: {dockerfile: /Dockerfile}"),
        (action, "api", "spec: {secrets: {'a b': x}}"),
        (action, "api", "spec: {secrets: {a: 1}}"),
        (action, "api", "spec: {buildArgs: {A: [x]}}"),
        (action, "api", "spec: {$forEach: [1]}"),
        (module, "api", "image: true"),
        (module, "api", "build: {dependencies: [{name: b, copy: [{source: a}]}]}"),
        (module, "api", "build: {timeout: 0}"),
        (module, "api", "generateFiles: [{value: a}]"),
        (module, "api", "repositoryUrl: https://git.example/a"),
        (module, "api", "environments: [dev]"),
    ] {
        for kind in kinds {
            let (loaded, valid) = judge(kind, name, fields);
            assert!(loaded.is_err(), "{kind} {name} {fields}");
            assert!(!valid, "{kind} {name} {fields}: {loaded:?}");
        }
    }
}

/// What the loader takes of a project, and what it refuses and a schema can see.
#[test]
fn projects_are_judged_as_the_loader_judges_them() {
    let validator = validator();
    for (fields, accepted) in [
        ("importVariables: [{from: file, path: a.env, format: dotenv}, {from: exec, command: [a]}]", true),
        ("importVariables: [{from: garden-cloud, list: a, description: b}]", true),
        ("importVariables: [{$merge: '${var.none || jsonDecode(\"{}\")}', from: exec}]", true),
        ("importVariables: [{from: file, path: '${project.name}.env', format: '${\"yaml\"}'}]", true),
        ("importVariables: [{from: file, path: a.env}]", false),
        ("importVariables: [{from: file, path: a.env, format: null}]", false),
        ("importVariables: [{from: file, format: yaml}]", false),
        ("importVariables: [{from: file, path: a.env, format: toml}]", false),
        ("importVariables: [{from: http}]", false),
        ("sources: []", true),
        ("sources: null", true),
        ("sources: [{name: a, repositoryUrl: 'https://git.example/a#b'}]", true),
        ("sources: {}", false),
        ("sources: '${var.x}'", false),
        ("scan: {include: ['./a', '**/*.yml'], exclude: ['{a,b}']}", true),
        ("scan: {include: [../a]}", false),
        ("scan: {exclude: ['!a']}", false),
        ("scan: {include: ['${a,b}']}", false),
        ("modules: {exclude: ['{a']}", false),
        ("environments: [dev, {name: b-1}]", true),
        ("environments: [dev, a.b]", false),
        ("environments: [dev, {name: a.b}]", false),
        ("environments: [dev, '']", false),
    ] {
        let text = format!("kind: Project\nname: shop\n{fields}\n");
        let document: Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(validator.is_valid(&document), accepted, "{fields}");
        let loaded = garden_config::parse(&text, "/shop/garden.yml");
        let loaded = loaded.and_then(|project| project.environment("dev").map(|_| ()));
        assert_eq!(loaded.is_ok(), accepted, "{fields}: {loaded:?}");
    }
}

proptest! {
    #[test]
    fn whatever_text_the_loader_takes_the_schema_takes(
        glob in r"[a,{}./!*?+(@\[\]\\-]{0,8}",
        image in "[aA9./:@_-]{0,10}",
        number in "[ +-]?[0-9.]{0,4}([eE][+-]?[0-9])?",
    ) {
        thread_local!(static VALIDATOR: jsonschema::Validator = validator());
        for fields in [
            json!({ "exclude": [glob] }),
            json!({ "timeout": number }),
            json!({ "spec": { "localId": image } }),
            json!({ "spec": { "publishId": image } }),
        ] {
            let mut build = fields;
            build["kind"] = json!("Build");
            build["type"] = json!("container");
            build["name"] = json!("api");
            let text = format!("kind: Project\nname: shop\nenvironments: [dev]\n---\n{build}\n");
            let loaded = garden_config::parse(&text, "/shop/garden.yml").and_then(|project| project.build("api"));
            let valid = VALIDATOR.with(|validator| validator.is_valid(&build));
            prop_assert!(loaded.is_err() || valid, "{build}");
        }
    }
}

/// Numbers of a provider that are too small or too large.
#[test]
fn numbers_are_within_the_ranges_of_the_loader() {
    for (fields, message) in [
        ("storage: {registry: {size: 0}}", "`size`"),
        ("storage: {registry: {size: 5000000000}}", "`size`"),
        ("resources: {builder: {limits: {cpu: 0}}}", "`cpu`"),
        ("resources: {builder: {limits: {memory: 5000000000}}}", "`memory`"),
        ("resources: {builder: {limits: {ephemeralStorage: 0}}}", "`ephemeralStorage`"),
        ("deploymentRegistry: {hostname: a.b, namespace: c, port: 0}", "`port`"),
        ("deploymentRegistry: {hostname: a.b, namespace: c, port: 65536}", "`port`"),
        ("clusterBuildkit: {compressionLevel: 10}", "`compressionLevel`"),
    ] {
        let document: Value = serde_saphyr::from_str(fields).expect("YAML");
        assert!(refusal(&document).is_some(), "{fields}");
        let text = format!("kind: Project\nname: shop\nproviders: [{{name: kubernetes, {fields}}}]\n");
        let loaded =
            garden_config::parse(&text, "/shop/garden.yml").and_then(|project| project.provider("dev"));
        let error = loaded.expect_err(fields).to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn names_of_what_is_read_before_templates_are_texts() {
    let validator = validator();
    for (document, accepted) in [
        (json!({ "kind": "Project", "name": "a", "variables": null, "environments": ["dev", null] }), true),
        (json!({ "kind": "Project", "name": "a", "variables": { "$merge": "${var.x}" } }), true),
        (json!({ "kind": "Project", "name": "${var.a}" }), false),
        (json!({ "kind": "Project", "name": "a", "variables": "${var.x}" }), false),
        (json!({ "kind": "Project", "name": "a", "environments": "${var.x}" }), false),
        (json!({ "kind": "Project", "name": "a", "environments": ["${var.x}"] }), false),
        (json!({ "kind": "Project", "name": "a", "environments": [{ "name": "${var.x}" }] }), false),
        (
            json!({ "kind": "Project", "name": "a", "scan": { "include": ["a", null] }, "dotIgnoreFile": null }),
            true,
        ),
        (json!({ "kind": "Project", "name": "a", "scan": null, "modules": { "exclude": null } }), true),
        (json!({ "kind": "Project", "name": "a", "scan": { "include": ["${var.x}"] } }), false),
        (json!({ "kind": "Project", "name": "a", "modules": { "exclude": ["a/${var.x}"] } }), false),
        (json!({ "kind": "Project", "name": "a", "modules": "${var.x}" }), false),
        (json!({ "kind": "Project", "name": "a", "dotIgnoreFile": "${var.x}" }), false),
        (json!({ "kind": "Project", "name": "a", "dotIgnoreFiles": ["${var.x}"] }), false),
    ] {
        assert_eq!(validator.is_valid(&document), accepted, "{document}");
        let loaded =
            garden_config::parse(&serde_json::to_string(&document).expect("JSON"), "/shop/garden.yml");
        let loaded = loaded.and_then(|project| project.environment("dev").map(|_| ()));
        assert_eq!(loaded.is_ok(), accepted, "{document}: {loaded:?}");
    }
}
