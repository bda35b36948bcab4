//! Takes requests apart, lets faults strike, and answers.

use std::io;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::cluster::FakeCluster;
use super::fault::Effect;
use super::path::Target;
use super::pod::FakePod;
use super::read::{View, list};
use super::refusal::Refusal;
use super::request::Request;
use super::store::{Change, Deletion, Key, Write};
use super::{log, remote, watch};

/// The longest body that is taken. Source: Kubernetes, `MaxRequestBodyBytes` of `apiserver/pkg/server/config.go`.
const LONGEST_BODY: usize = 3 << 20;

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
type Answer = Response<Body>;

/// Serves one connection.
pub(crate) async fn serve(
    cluster: FakeCluster,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let answer = |request| one(cluster.clone(), request);
    let connection = hyper::server::conn::http1::Builder::new();
    // A client that goes away is part of some tests.
    let _ = connection.serve_connection(TokioIo::new(stream), service_fn(answer)).with_upgrades().await;
}

/// Answers one request. An error breaks the connection.
async fn one(cluster: FakeCluster, mut request: http::Request<Incoming>) -> io::Result<Answer> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LONGEST_BODY).collect().await else {
        let refusal =
            Refusal::new(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728");
        return Ok(refused(&cluster, &refusal));
    };
    let request = Request::new(&parts, body.to_bytes());
    let effect = cluster.record(&request);
    let request = match effect {
        Some(Effect::Forget(field)) => request.without(field),
        _ => request,
    };
    let carry_out = {
        let cluster = cluster.clone();
        async move { answer(&cluster, &request, upgrade) }
    };
    match effect {
        None | Some(Effect::Forget(_)) => Ok(carry_out.await),
        Some(Effect::Refuse(refusal)) => Ok(refused(&cluster, &refusal)),
        Some(Effect::Cut) => Err(io::ErrorKind::ConnectionReset.into()),
        Some(Effect::Silent) => std::future::pending().await,
        Some(Effect::Lose) => {
            drop(carry_out.await);
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Some(Effect::Meddle(meddle)) => {
            meddle(&cluster);
            Ok(carry_out.await)
        }
        // What the server has begun it carries out, whether or not anybody waits for the answer.
        Some(Effect::Delay(delay)) => {
            late(async move {
                tokio::time::sleep(delay).await;
                carry_out.await
            })
            .await
        }
        Some(Effect::Hold(gate)) => {
            late(async move {
                gate.pass().await;
                carry_out.await
            })
            .await
        }
    }
}

async fn late(answer: impl Future<Output = Answer> + Send + 'static) -> io::Result<Answer> {
    tokio::spawn(answer).await.map_err(io::Error::other)
}

fn answer(cluster: &FakeCluster, request: &Request, upgrade: OnUpgrade) -> Answer {
    let answered = match &request.target {
        Some(target) => of_target(cluster, request, target, upgrade),
        None if request.path == "/version" => {
            let version =
                json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64" });
            Ok(of_json(StatusCode::OK, &version))
        }
        None => Err(Refusal::no_such_path()),
    };
    match answered {
        Ok(answer) => dated(cluster, answer),
        Err(refusal) => refused(cluster, &refusal),
    }
}

fn of_target(
    cluster: &FakeCluster,
    request: &Request,
    target: &Target,
    upgrade: OnUpgrade,
) -> Result<Answer, Refusal> {
    if request.is_dry_run() && !(request.method == "PUT" || request.method == "PATCH") {
        return Err(Refusal::bad_request("the fake cluster knows a dry run of changes only"));
    }
    let namespace = target.namespace.as_deref().unwrap_or_default();
    match (target.kind.plural, target.subresource.as_deref(), target.name.as_deref()) {
        (_, None, _) => {}
        ("pods", Some("log"), Some(pod)) if request.verb() == "get" => {
            return log::read(cluster, request, namespace, pod).map(|body| streamed("text/plain", body));
        }
        ("pods", Some(command @ ("exec" | "attach" | "portforward")), Some(pod)) => {
            let pod = cluster.pod(namespace, pod).ok_or_else(|| Refusal::not_found(target.kind, pod))?;
            return remote::upgrade(cluster, request, command, pod, upgrade);
        }
        (_, Some("status"), Some(_)) if target.kind.has_status() => {}
        _ => return Err(Refusal::no_such_path()),
    }
    if request.is_watch() {
        return watch::watch(cluster, request, target).map(|body| streamed("application/json", body));
    }
    let sent = || request.json().map_err(|error| Refusal::bad_request(error.to_string()));
    let key = target.name.as_deref().map(|name| Key::new(target.kind, namespace, name));
    let view = |object: &Value| View::of(request).of_one(object);
    match (request.method.as_str(), key) {
        ("GET", None) => {
            let answer = cluster.with_store(|store| list(store, request, target))?;
            Ok(of_json(StatusCode::OK, &answer))
        }
        ("GET", Some(key)) => {
            let found = cluster.with_store(|store| store.get(&key).cloned());
            let found = found.ok_or_else(|| Refusal::not_found(target.kind, &key.name))?;
            Ok(of_json(StatusCode::OK, &view(&found)))
        }
        ("POST", None) => {
            let object = sent()?;
            let created = cluster.change_store(|store, now| {
                let write = Write { kind: target.kind, subresource: None, now };
                store.create(write, namespace, object)
            })?;
            start(cluster, target, &created);
            Ok(of_json(StatusCode::CREATED, &view(&created)))
        }
        ("PUT" | "PATCH", Some(key)) => {
            let change = change_of(request)?;
            if request.is_dry_run() {
                let write =
                    |now| Write { kind: target.kind, subresource: target.subresource.as_deref(), now };
                let changed = cluster.try_on_store(|store, now| store.change(write(now), &key, change))?;
                return Ok(of_json(StatusCode::OK, &view(&changed)));
            }
            let (is_new, changed) = cluster.change_store(|store, now| {
                let is_new = store.get(&key).is_none();
                let write = Write { kind: target.kind, subresource: target.subresource.as_deref(), now };
                store.change(write, &key, change).map(|changed| (is_new, changed))
            })?;
            if is_new {
                start(cluster, target, &changed);
            }
            Ok(of_json(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &view(&changed)))
        }
        ("DELETE", Some(key)) => {
            let deletion = Deletion::read(&sent()?)?;
            let (object, is_gone) =
                cluster.change_store(|store, now| store.delete(target.kind, &key, &deletion, now))?;
            if !is_gone || target.kind.is_returned_when_deleted() {
                return Ok(of_json(StatusCode::OK, &view(&object)));
            }
            let success = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": { "name": key.name, "kind": target.kind.plural, "uid": object["metadata"]["uid"] },
            });
            Ok(of_json(StatusCode::OK, &success))
        }
        _ => Err(Refusal::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )),
    }
}

fn change_of(request: &Request) -> Result<Change, Refusal> {
    let bad = |error: serde_json::Error| Refusal::bad_request(error.to_string());
    if request.method == http::Method::PUT {
        return Ok(Change::Replace(request.json().map_err(bad)?));
    }
    let sort = request.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    match sort {
        "application/merge-patch+json" => Ok(Change::Merge(request.json().map_err(bad)?)),
        "application/json-patch+json" => {
            Ok(Change::Json(serde_json::from_slice(&request.body).map_err(bad)?))
        }
        "application/apply-patch+yaml" => {
            let Some(manager) = request.parameter("fieldManager").filter(|manager| !manager.is_empty())
            else {
                let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
                return Err(Refusal::new(422, "Invalid", message));
            };
            Ok(Change::Apply {
                manager: manager.to_owned(),
                // What is JSON is YAML, and clients in Rust send that.
                wanted: request.json().map_err(bad)?,
                force: request.is_true("force"),
            })
        }
        other => Err(Refusal::new(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format: {other}"),
        )),
    }
}

/// Has the kubelet take note of a new pod.
fn start(cluster: &FakeCluster, target: &Target, created: &Value) {
    let text = |field: &str| created["metadata"][field].as_str().unwrap_or_default();
    if target.kind.plural == "pods"
        && let Some(kubelet) = cluster.kubelet()
    {
        tokio::spawn(kubelet(FakePod::new(cluster.clone(), text("namespace"), text("name"), text("uid"))));
    }
}

fn of_json(status: StatusCode, value: &Value) -> Answer {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut answer = streamed("application/json", body);
    *answer.status_mut() = status;
    answer
}

fn streamed(content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

fn refused(cluster: &FakeCluster, refusal: &Refusal) -> Answer {
    let mut answer = of_json(
        StatusCode::from_u16(refusal.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        &refusal.status(),
    );
    if let Some(after) = refusal.retry_after() {
        answer.headers_mut().insert(RETRY_AFTER, after.as_secs().into());
    }
    dated(cluster, answer)
}

/// Go's HTTP server says the time in every answer.
fn dated(cluster: &FakeCluster, mut answer: Answer) -> Answer {
    let now = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&cluster.now());
    if let Some(now) = now.ok().and_then(|now| HeaderValue::from_str(&now).ok()) {
        answer.headers_mut().insert(DATE, now);
    }
    answer
}
