//! Clients of the cluster with few rights, and one that notes what it asks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding};
use kube::api::PostParams;
use kube::client::{Body, ClientBuilder};
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::util::MapRequestLayer;

use super::Project;

/// Returns a client with the rights of `examples/role.yaml` in the project's namespace.
pub(crate) async fn client_with_the_documented_role(project: &Project) -> Client {
    let documents =
        serde_saphyr::from_multiple::<serde_json::Value>(include_str!("../../../examples/role.yaml"));
    let [account, role, binding] = <[_; 3]>::try_from(documents.unwrap()).unwrap();
    let parameters = PostParams::default();
    let accounts: Api<ServiceAccount> = Api::namespaced(project.client.clone(), &project.namespace);
    let account: ServiceAccount = serde_json::from_value(account).unwrap();
    accounts.create(&parameters, &account).await.unwrap();
    let roles: Api<Role> = Api::namespaced(project.client.clone(), &project.namespace);
    let role: Role = serde_json::from_value(role).unwrap();
    roles.create(&parameters, &role).await.unwrap();
    let mut binding: RoleBinding = serde_json::from_value(binding).unwrap();
    binding.subjects.as_mut().unwrap()[0].namespace = Some(project.namespace.clone());
    let bindings: Api<RoleBinding> = Api::namespaced(project.client.clone(), &project.namespace);
    bindings.create(&parameters, &binding).await.unwrap();
    let account = account.metadata.name.unwrap();
    let bound = Account { namespace: &project.namespace, name: &account };
    bound.wait_for_rights(&project.client, Some(&project.namespace), &role.rules.unwrap()).await;
    client_of_account(project, &account).await
}

/// Returns a client with nothing but the rights of the Role `role` in `documents`, in the project's namespace.
pub(crate) async fn client_with_role(project: &Project, documents: &str, role: &str) -> Client {
    let documents = serde_saphyr::from_multiple::<serde_json::Value>(documents).unwrap();
    let is_wanted = |it: &serde_json::Value| it["kind"] == "Role" && it["metadata"]["name"] == role;
    let wanted = documents.into_iter().find(is_wanted).unwrap();
    let parameters = PostParams::default();
    let roles: Api<Role> = Api::namespaced(project.client.clone(), &project.namespace);
    let wanted: Role = serde_json::from_value(wanted).unwrap();
    roles.create(&parameters, &wanted).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(project.client.clone(), &project.namespace);
    let account = json!({ "metadata": { "name": role } });
    accounts.create(&parameters, &serde_json::from_value(account).unwrap()).await.unwrap();
    let binding = json!({
        "metadata": { "name": role },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": role, "namespace": project.namespace }],
    });
    let bindings: Api<RoleBinding> = Api::namespaced(project.client.clone(), &project.namespace);
    bindings.create(&parameters, &serde_json::from_value(binding).unwrap()).await.unwrap();
    let bound = Account { namespace: &project.namespace, name: role };
    bound.wait_for_rights(&project.client, Some(&project.namespace), &wanted.rules.unwrap()).await;
    client_of_account(project, role).await
}

/// A service account of a test.
#[derive(Clone, Copy)]
pub(crate) struct Account<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Account<'_> {
    /// Waits until the account may do all that `rules` say in `namespace`, or in the whole cluster. The API server learns of a new binding from a
    /// watch of its own, on a busy machine well after it has answered whoever created it.
    pub(crate) async fn wait_for_rights(
        self,
        client: &Client,
        namespace: Option<&str>,
        rules: &[PolicyRule],
    ) {
        let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
        for attributes in rules.iter().flat_map(|rule| attributes(rule, namespace)) {
            let user = format!("system:serviceaccount:{}:{}", self.namespace, self.name);
            let review =
                json!({ "metadata": {}, "spec": { "user": user, "resourceAttributes": attributes } });
            let review = serde_json::from_value(review).unwrap();
            let allowed = async || {
                let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
                answer.status.unwrap().allowed
            };
            while !allowed().await {
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// All that `rule` allows in `namespace`, each as the `resourceAttributes` of a review.
fn attributes(rule: &PolicyRule, namespace: Option<&str>) -> Vec<Value> {
    let any = [String::new()];
    let names = rule.resource_names.as_deref().filter(|names| !names.is_empty()).unwrap_or(&any);
    let mut all = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            for (verb, name) in rule.verbs.iter().flat_map(|verb| names.iter().map(move |name| (verb, name)))
            {
                all.push(json!({
                    "namespace": namespace, "group": group, "resource": resource, "subresource": subresource,
                    "verb": verb, "name": name,
                }));
            }
        }
    }
    all
}

/// Returns a client that is the service account `name` of the project's namespace.
pub(crate) async fn client_of_account(project: &Project, name: &str) -> Client {
    let accounts: Api<ServiceAccount> = Api::namespaced(project.client.clone(), &project.namespace);
    let token = accounts.create_token_request(name, &PostParams::default(), &TokenRequest::default()).await;
    let mut config = Config::infer().await.unwrap();
    let token = token.unwrap().status.unwrap().token.unwrap();
    config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    Client::try_from(config).unwrap()
}

/// A client that notes the method and path of every call.
pub(crate) async fn recording_client() -> (Client, Arc<Mutex<Vec<String>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&calls);
    let layer = MapRequestLayer::new(move |request: http::Request<Body>| {
        noted.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        request
    });
    let config = Config::infer().await.unwrap();
    (ClientBuilder::try_from(config).unwrap().with_layer(&layer).build(), calls)
}
