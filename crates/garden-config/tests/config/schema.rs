//! The JSON Schema takes what the loader takes, and refuses what the loader does not know.

use std::path::Path;

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
        json!({ "proxies": { "httpProxy": "${local.env.HTTP_PROXY}", "httpsProxy": null, "noProxy": ".corp" } }),
        json!({ "resources": { "builder": { "limits": { "cpu": 100 } }, "sync": {} } }),
        json!({ "storage": { "registry": { "size": 100, "storageClass": null } } }),
        json!({ "systemNodeSelector": { "a": "b" }, "registryProxyTolerations": [{ "operator": "Exists" }] }),
        json!({ "idleAfter": "30m" }),
        json!({ "idleAfter": "never" }),
        json!({ "idleAfter": "${var.idleAfter}" }),
        json!({ "idleAfter": null }),
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
        json!({ "proxies": { "noProxy": ["a"] } }),
        json!({ "storage": { "registry": { "size": "large" } } }),
        json!({ "idleAfter": "soon" }),
        json!({ "idleAfter": 3600 }),
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
