//! Clients of the cluster with few rights, and one that notes what it asks.

use std::sync::{Arc, Mutex};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::PostParams;
use kube::client::{Body, ClientBuilder};
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use serde_json::json;
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
    roles.create(&parameters, &serde_json::from_value(role).unwrap()).await.unwrap();
    let mut binding: RoleBinding = serde_json::from_value(binding).unwrap();
    binding.subjects.as_mut().unwrap()[0].namespace = Some(project.namespace.clone());
    let bindings: Api<RoleBinding> = Api::namespaced(project.client.clone(), &project.namespace);
    bindings.create(&parameters, &binding).await.unwrap();

    client_of_account(project, &account.metadata.name.unwrap()).await
}

/// Returns a client with nothing but the rights of the Role `role` in `documents`, in the project's namespace.
pub(crate) async fn client_with_role(project: &Project, documents: &str, role: &str) -> Client {
    let documents = serde_saphyr::from_multiple::<serde_json::Value>(documents).unwrap();
    let is_wanted = |it: &serde_json::Value| it["kind"] == "Role" && it["metadata"]["name"] == role;
    let wanted = documents.into_iter().find(is_wanted).unwrap();
    let parameters = PostParams::default();
    let roles: Api<Role> = Api::namespaced(project.client.clone(), &project.namespace);
    roles.create(&parameters, &serde_json::from_value(wanted).unwrap()).await.unwrap();
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
    client_of_account(project, role).await
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
