//! A registry with a token server, in front of the open one: tokens for one repository each.

use std::path::Path;
use std::sync::{Arc, Mutex};

use garden_build::config::DeploymentRegistry;
use garden_build::{BuildRequest, Event};
use k8s_openapi::ByteString;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::site::credential_helper::{with_helper_on_the_client, write_program};
use crate::site::own_process::in_own_process;
use crate::site::{Project, in_project, own_address, variable};

/// Who may use which repositories: user, password and how the repositories' names begin. May change.
type Users = Arc<Mutex<Vec<(String, String, String)>>>;

/// Starts the registry, and returns its name.
async fn token_registry(users: Users) -> String {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let name = format!("{}:{}", own_address(), listener.local_addr().unwrap().port());
    let own_name = name.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, own_name.clone(), Arc::clone(&users)));
        }
    });
    name
}

/// Answers one request, and closes the connection.
async fn answer(mut near: TcpStream, name: String, users: Users) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.split(' ').nth(1)?.to_owned();
    let header = |wanted: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.next().map_or(String::new(), |(_, value)| value.to_owned())
    };
    if let Some(query) = target.strip_prefix("/token?") {
        let scopes = query.split('&').filter_map(|field| field.strip_prefix("scope="));
        let repositories: Vec<String> = scopes
            .map(|scope| scope.replace("%3A", ":").replace("%2F", "/"))
            .map(|scope| scope.split(':').nth(1).unwrap().to_owned())
            .collect();
        let users = users.lock().unwrap().clone();
        let allowed =
            users.iter().find(|(user, password, _)| header("authorization") == basic(user, password));
        let body = match allowed {
            Some((_, _, prefix)) if repositories.iter().all(|repository| repository.starts_with(prefix)) => {
                json!({ "token": format!("for-{prefix}"), "expires_in": 300 })
            }
            _ => json!(null),
        };
        let status = if body.is_null() { "401 Unauthorized" } else { "200 OK" };
        respond(&mut near, status, "", &body.to_string()).await;
        return Some(());
    }
    let repository = target.strip_prefix("/v2/").unwrap_or_default();
    let token = header("authorization");
    if !token.strip_prefix("Bearer for-").is_some_and(|prefix| repository.starts_with(prefix)) {
        let end = ["/manifests/", "/blobs/"].iter().find_map(|kind| repository.find(kind)).unwrap_or(0);
        let scope = format!("repository:{}:pull,push", &repository[..end]);
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"http://{name}/token\",service=\"tokens\",scope=\"{scope}\"\r\n"
        );
        respond(&mut near, "401 Unauthorized", &challenge, "{}").await;
        return Some(());
    }
    let mut far = TcpStream::connect(variable("GARDEN_TEST_REGISTRY")).await.ok()?;
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    far.write_all(head.as_bytes()).await.ok()?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await.ok()?;
    Some(())
}

async fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    let _ = stream.write_all(text.as_bytes()).await;
}

fn basic(user: &str, password: &str) -> String {
    let encoded = serde_json::to_value(ByteString(format!("{user}:{password}").into_bytes())).unwrap();
    format!("Basic {}", encoded.as_str().unwrap())
}

fn user(name: &str, password: &str, repositories: String) -> (String, String, String) {
    (name.to_owned(), password.to_owned(), repositories)
}

/// Makes `base` in the open registry, and has `api` built from it by way of `registry`.
async fn use_registry(project: &mut Project, registry: &str) {
    project.buildkit();
    let mut open = DeploymentRegistry::new(&variable("GARDEN_TEST_REGISTRY")).unwrap();
    open.insecure = true;
    project.buildkit().registries = vec![open];
    project.dockerfile("RUN echo base > /base\n");
    let base = project.builder().build(BuildRequest::new("base", project.path())).await.unwrap();

    project.use_registry(registry);
    project.registry().insecure = true;
    let base = format!("{registry}/{}/base:{}", project.namespace, base.reference.tag().unwrap());
    project
        .file("Dockerfile", format!("FROM {base}\nRUN echo under way; sleep 3\nCMD [\"cat\", \"/base\"]\n"));
}

#[tokio::test]
async fn repositories_of_one_registry_can_need_different_logins() {
    in_project("bk-logins", async |project| {
        let namespace = project.namespace.clone();
        let (base, api) = (format!("{namespace}/base"), format!("{namespace}/api"));
        let users = vec![user("reader", "r", base.clone()), user("writer", "w", api.clone())];
        let registry = token_registry(Arc::new(Mutex::new(users))).await;
        use_registry(project, &registry).await;
        let config = json!({ "auths": {
            format!("{registry}/{base}"): { "username": "reader", "password": "r" },
            format!("{registry}/{api}"): { "username": "writer", "password": "w" },
        } });
        project.create_docker_config_secret("logins", &config).await;
        project.use_pull_secret("logins");
        let image = project.builder().build(project.request()).await.unwrap();
        let open = image.reference.to_string().replace(&registry, &variable("GARDEN_TEST_REGISTRY"));
        assert_eq!(project.run(&open, &[], None).await, "base\n");
    })
    .await;
}

#[tokio::test]
async fn a_login_that_expires_during_the_build_is_fetched_from_the_helper_again() {
    with_helper_on_the_client(
        in_own_process!(a_login_that_expires_during_the_build_is_fetched_from_the_helper_again),
        async |helper| {
            in_project("bk-ended", async |project| {
                let namespace = project.namespace.clone();
                let users: Users = Arc::new(Mutex::new(vec![user("u", "first", namespace.clone())]));
                let registry = token_registry(Arc::clone(&users)).await;
                use_registry(project, &registry).await;
                give(helper, "first");
                let config = json!({ "credHelpers": { &registry: "client" } });
                project.create_docker_config_secret("helper", &config).await;
                project.use_pull_secret("helper");
                project.provider.credential_helpers_for = vec![registry.clone()];

                let mut build = project.builder().build(project.request().force(true));
                let mut ended = false;
                while let Some(event) = build.next_event().await {
                    if matches!(&event, Event::Log { line, .. } if line == "under way") {
                        *users.lock().unwrap() = vec![user("u", "second", format!("{namespace}/api"))];
                        give(helper, "second");
                        ended = true;
                    }
                }
                build.await.unwrap();
                assert!(ended, "the step was seen to be under way");
            })
            .await;
        },
    )
    .await;
}

/// Has the helper know this password.
fn give(helper: &Path, password: &str) {
    let answer = json!({ "ServerURL": "", "Username": "u", "Secret": password });
    write_program(helper, &format!("#!/bin/sh\necho '{answer}'\n"));
}
