//! Makes texts of containers literal, so that Kubernetes replaces nothing in them.
//!
//! Kubernetes replaces `$(NAME)` in commands, arguments and variables of containers by a variable of theirs, and `$$` by `$`. These texts come from
//! project files, requests and Dockerfiles, whose authors think of other rules or of none. So everything that is created passes through here, and nobody
//! else has to think of it.
//!
//! Why: docs/decisions/33-texts-of-containers-are-literal.md

use garden_build_core::{PlannedObject, Result};
use serde::Serialize;
use serde_json::Value;

use crate::builder_proxies::reference_in;

/// Where pods and what makes pods have the description of one.
const PODS: [&str; 3] = ["/spec", "/spec/template/spec", "/spec/jobTemplate/spec/template/spec"];

/// What a container has that the node replaces variables in. Sources: Kubernetes, `pkg/kubelet/container/helpers.go`
/// (`ExpandContainerCommandAndArgs`), `pkg/kubelet/prober/prober.go` (`runProbe`); hooks are run as they are (`pkg/kubelet/lifecycle/handlers.go`).
const WORDS: [&str; 5] = [
    "/command",
    "/args",
    "/startupProbe/exec/command",
    "/livenessProbe/exec/command",
    "/readinessProbe/exec/command",
];

/// Returns `object` as it has to be sent, so that the cluster takes the texts of its containers as they are.
pub(crate) fn literal(object: &impl Serialize) -> serde_json::Result<Value> {
    let mut object = serde_json::to_value(object)?;
    make_literal(&mut object);
    Ok(object)
}

/// Plans `object`, which `description` names, as it would be sent.
///
/// # Errors
/// If it has no form as JSON.
pub fn planned(description: impl Into<String>, object: &impl Serialize) -> Result<PlannedObject> {
    let mut planned = PlannedObject::of(description, object)?;
    make_literal(&mut planned.object);
    Ok(planned)
}

fn make_literal(object: &mut Value) {
    for pod in PODS {
        let Some(pod) = object.pointer_mut(pod) else { continue };
        for kind in ["containers", "initContainers"] {
            let containers = pod.get_mut(kind).and_then(Value::as_array_mut);
            containers.into_iter().flatten().for_each(make_container_literal);
        }
    }
}

fn make_container_literal(container: &mut Value) {
    for words in WORDS {
        let words = container.pointer_mut(words).and_then(Value::as_array_mut);
        for word in words.into_iter().flatten() {
            if let Value::String(word) = word {
                *word = escaped(word);
            }
        }
    }
    let variables = container.get_mut("env").and_then(Value::as_array_mut);
    for variable in variables.into_iter().flatten() {
        let name = variable["name"].as_str().unwrap_or_default().to_owned();
        if let Some(Value::String(value)) = variable.get_mut("value") {
            let (text, reference) = value.split_at(value.len() - reference_in(&name, value).len());
            *value = format!("{}{reference}", escaped(text));
        }
    }
}

/// Source: Kubernetes, `third_party/forked/golang/expansion/expand.go`.
fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container() -> Value {
        json!({
            "name": "main $(A)",
            "command": ["sh", "-c", "echo $(date) $$"],
            "args": ["--price=$5", "$(KUBERNETES_SERVICE_HOST)"],
            "env": [
                { "name": "A", "value": "$(B)$" },
                { "name": "NO_PROXY", "value": "$(A),$(KUBERNETES_SERVICE_HOST)" },
                { "name": "OTHER", "value": "$(A),$(KUBERNETES_SERVICE_HOST)" },
                { "name": "C", "valueFrom": { "secretKeyRef": { "name": "s", "key": "$k" } } },
            ],
            "startupProbe": { "exec": { "command": ["$(A)"] } },
            "lifecycle": { "preStop": { "exec": { "command": ["sh", "-c", "kill $$"] } } },
        })
    }

    fn expected() -> Value {
        json!({
            "name": "main $(A)",
            "command": ["sh", "-c", "echo $$(date) $$$$"],
            "args": ["--price=$$5", "$$(KUBERNETES_SERVICE_HOST)"],
            "env": [
                { "name": "A", "value": "$$(B)$$" },
                // The one reference that is ours.
                { "name": "NO_PROXY", "value": "$$(A),$(KUBERNETES_SERVICE_HOST)" },
                { "name": "OTHER", "value": "$$(A),$$(KUBERNETES_SERVICE_HOST)" },
                { "name": "C", "valueFrom": { "secretKeyRef": { "name": "s", "key": "$k" } } },
            ],
            "startupProbe": { "exec": { "command": ["$$(A)"] } },
            "lifecycle": { "preStop": { "exec": { "command": ["sh", "-c", "kill $$"] } } },
        })
    }

    #[test]
    fn no_text_of_a_container_is_replaced_wherever_the_container_is() {
        let pod =
            |container: Value| json!({ "initContainers": [container.clone()], "containers": [container] });
        let kinds: [fn(Value) -> Value; 3] = [
            |pod| json!({ "kind": "Pod", "spec": pod }),
            |pod| json!({ "kind": "Deployment", "spec": { "template": { "spec": pod } } }),
            |pod| json!({ "kind": "CronJob", "spec": { "jobTemplate": { "spec": { "template": { "spec": pod } } } } }),
        ];
        for kind in kinds {
            assert_eq!(literal(&kind(pod(container()))).expect("JSON"), kind(pod(expected())));
        }
        let secret = json!({ "kind": "Secret", "stringData": { "a": "$$" } });
        assert_eq!(literal(&secret).expect("JSON"), secret);
    }
}
