//! The registry of the test kit, asked by HTTP as clients ask it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::FutureExt as _;
use garden_build_core::Digest;
use garden_build_testing::Gate;
use garden_build_testing::registry::{Fault, Image, Registry, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Asks something, over a connection of its own. `None` if the connection breaks.
async fn try_ask(
    url: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Option<Response> {
    // Some addresses are whole ones.
    let address = if path.starts_with("http") { path.to_owned() } else { format!("{url}{path}") };
    let request = http::Request::builder().method(method).uri(address);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = request.body(Full::new(body.into())).expect("a request");
    let (parts, body) = client.request(request).await.ok()?.into_parts();
    Some(Response::from_parts(parts, body.collect().await.ok()?.to_bytes()))
}

async fn ask(
    registry: &Registry,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response {
    try_ask(&registry.url(), method, path, headers, body).await.expect("an answer")
}

async fn get(registry: &Registry, path: &str) -> Response {
    ask(registry, "GET", path, &[], "").await
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn code(answer: &Response) -> String {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    format!("{} {}", answer.status().as_u16(), body["errors"][0]["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn what_is_pushed_in_parts_is_there_and_can_be_read_in_parts() {
    let registry = Registry::start().await;
    let begun = ask(&registry, "POST", "/v2/team/api/blobs/uploads/", &[], "").await;
    let upload = header(&begun, "location").to_owned();
    assert_eq!(begun.status(), 202);
    let part = ask(&registry, "PATCH", &upload, &[("content-range", "0-3")], "abcd").await;
    assert_eq!((part.status().as_u16(), header(&part, "range")), (202, "0-3"));
    // One that does not go on where the last has ended.
    let gap = ask(&registry, "PATCH", &upload, &[("content-range", "9-10")], "xy").await;
    assert_eq!((gap.status().as_u16(), header(&gap, "range")), (416, "0-3"));
    // An address without what was answered as a part of it.
    let (bare, _) = upload.split_once('?').expect("a query");
    assert_eq!(code(&ask(&registry, "PATCH", bare, &[], "ef").await), "400 BLOB_UPLOAD_INVALID");
    let digest = Digest::of(b"abcdef");
    let wrong = Digest::of(b"other");
    let done = ask(&registry, "PUT", &format!("{upload}&digest={digest}"), &[], "ef").await;
    assert_eq!(done.status(), 201);
    assert_eq!(registry.blob("team/api", digest).as_deref(), Some(&b"abcdef"[..]));
    let blob = header(&done, "location").to_owned();
    let range = ask(&registry, "GET", &blob, &[("range", "bytes=2-3")], "").await;
    assert_eq!((range.status().as_u16(), &range.body()[..]), (206, &b"cd"[..]));
    assert_eq!(header(&range, "content-range"), "bytes 2-3/6");
    assert_eq!(ask(&registry, "GET", &blob, &[("range", "bytes=6-")], "").await.status(), 416);
    // What was uploaded is not what the client says.
    let path = format!("/v2/team/api/blobs/uploads/?digest={wrong}");
    assert_eq!(code(&ask(&registry, "POST", &path, &[], "ef").await), "400 DIGEST_INVALID");
    // Another repository does not have it before it is mounted.
    let elsewhere = format!("/v2/team/web/blobs/{digest}");
    assert_eq!(get(&registry, &elsewhere).await.status(), 404);
    let mount = format!("/v2/team/web/blobs/uploads/?mount={digest}&from=team/api");
    assert_eq!(ask(&registry, "POST", &mount, &[], "").await.status(), 201);
    assert_eq!(get(&registry, &elsewhere).await.body(), "abcdef");
}

#[tokio::test]
async fn a_manifest_is_taken_if_its_parts_are_there_and_is_what_it_says() {
    let registry = Registry::start().await;
    let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(b"{}"), "size": 2 });
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] });
    let manifest = manifest.to_string();
    let put = async |path: &str, kind: &str| {
        ask(&registry, "PUT", path, &[("content-type", kind)], manifest.clone()).await
    };
    assert_eq!(code(&put("/v2/api/manifests/1", MANIFEST).await), "404 MANIFEST_BLOB_UNKNOWN");
    registry.push_blob("api", "{}");
    assert_eq!(code(&put("/v2/api/manifests/1", "text/plain").await), "400 MANIFEST_INVALID");
    let another = format!("/v2/api/manifests/{}", Digest::of(b"another"));
    assert_eq!(code(&put(&another, MANIFEST).await), "400 DIGEST_INVALID");
    assert_eq!(code(&put("/v2/API/manifests/1", MANIFEST).await), "400 NAME_INVALID");
    assert_eq!(put("/v2/api/manifests/1", MANIFEST).await.status(), 201);
    let found = ask(&registry, "HEAD", "/v2/api/manifests/1", &[], "").await;
    let digest = Digest::of(manifest.as_bytes()).to_string();
    assert_eq!(
        (header(&found, "docker-content-digest"), header(&found, "content-type")),
        (&*digest, MANIFEST)
    );
    assert_eq!(header(&found, "content-length"), manifest.len().to_string());
    // By tag, only the name goes; by digest, all of its names go.
    registry.push_manifest("api:2", registry.manifest("api:1").expect("it is there"));
    assert_eq!(ask(&registry, "DELETE", "/v2/api/manifests/1", &[], "").await.status(), 202);
    assert!(!registry.has("api:1") && registry.has(&format!("api@{digest}")));
    assert_eq!(ask(&registry, "DELETE", &format!("/v2/api/manifests/{digest}"), &[], "").await.status(), 202);
    assert!(registry.tags("api").is_empty());
    assert_eq!(code(&get(&registry, "/v2/api/manifests/2").await), "404 MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let registry = Registry::start().await;
    for name in ["a:1", "a:2", "a:3", "b:1", "c:1"] {
        registry.push_image(name, &Image::new());
    }
    for (path, field, expected) in [
        ("/v2/a/tags/list?n=2", "tags", json!([["1", "2"], ["3"]])),
        ("/v2/_catalog?n=2", "repositories", json!([["a", "b"], ["c"]])),
    ] {
        let (mut next, mut pages) = (Some(path.to_owned()), Vec::new());
        while let Some(path) = next {
            let page = get(&registry, &path).await;
            pages.push(serde_json::from_slice::<Value>(page.body()).expect("JSON")[field].clone());
            let link = header(&page, "link").strip_prefix('<').and_then(|link| link.split_once('>'));
            next = link.map(|(path, _)| path.to_owned());
        }
        assert_eq!(Value::from(pages), expected);
    }
    assert_eq!(code(&get(&registry, "/v2/d/tags/list").await), "404 NAME_UNKNOWN");
}

#[tokio::test]
async fn referrers_are_listed_unless_the_registry_is_too_old_for_that() {
    for is_old in [false, true] {
        let builder = Registry::builder();
        let registry = if is_old { builder.without_referrers() } else { builder }.start().await;
        let subject = registry.push_image("api:1", &Image::new());
        registry.push_blob("api", "{}");
        let config = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}"), "size": 2 });
        let signature = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "text/signature", "config": config, "layers": [],
            "subject": { "mediaType": MANIFEST, "digest": subject, "size": 1 }, "annotations": { "by": "me" },
        });
        let kind = [("content-type", MANIFEST)];
        let pushed = ask(&registry, "PUT", "/v2/api/manifests/signature", &kind, signature.to_string()).await;
        assert_eq!(header(&pushed, "oci-subject").is_empty(), is_old);
        let path = format!("/v2/api/referrers/{subject}");
        let list = get(&registry, &format!("{path}?artifactType=text/signature")).await;
        if is_old {
            assert_eq!(list.status(), 404);
            continue;
        }
        assert_eq!(header(&list, "oci-filters-applied"), "artifactType");
        let list: Value = serde_json::from_slice(list.body()).expect("JSON");
        assert_eq!(
            (&list["manifests"][0]["annotations"]["by"], list["manifests"].as_array().map(Vec::len)),
            (&json!("me"), Some(1))
        );
        let other: Value =
            serde_json::from_slice(get(&registry, &format!("{path}?artifactType=other")).await.body())
                .expect("JSON");
        assert_eq!(other["manifests"], json!([]));
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn a_password_is_asked_for_and_can_change() {
    let registry = Registry::builder().login("robot", "first").start().await;
    registry.push_image("api:1", &Image::new());
    let status = async |login: Option<String>| {
        let headers: Vec<_> = login.iter().map(|login| ("authorization", login.as_str())).collect();
        ask(&registry, "GET", "/v2/api/manifests/1", &headers, "").await.status().as_u16()
    };
    assert_eq!((status(None).await, status(Some(basic("robot", "first"))).await), (401, 200));
    registry.set_login("robot", "second");
    assert_eq!(status(Some(basic("robot", "first"))).await, 401);
    assert_eq!(status(Some(basic("robot", "second"))).await, 200);
    let answered: Vec<_> = registry.requests().iter().filter_map(|request| request.status).collect();
    assert_eq!(answered, [401, 200, 401, 200]);
}

#[tokio::test]
async fn a_token_is_good_for_what_it_was_asked_for_and_for_so_long() {
    let registry = Registry::builder().login("robot", "s3cret").tokens().public();
    let registry = registry.token_lifetime(Duration::from_secs(60)).start().await;
    registry.push_image("api:1", &Image::new());
    let refused = get(&registry, "/v2/api/manifests/1").await;
    let challenge = header(&refused, "www-authenticate").to_owned();
    assert!(challenge.ends_with(",scope=\"repository:api:pull\""), "{challenge}");
    assert!(challenge.starts_with(&format!("Bearer realm=\"{}/token\"", registry.url())), "{challenge}");
    let token = async |headers: &[(&str, &str)], scope: &str| {
        let answer = ask(&registry, "GET", &format!("/token?service=x&scope={scope}"), headers, "").await;
        let answer: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        answer["token"].as_str().map(|token| format!("Bearer {token}"))
    };
    let with = async |method: &str, path: &str, token: &str| {
        ask(&registry, method, path, &[("authorization", token)], "").await.status().as_u16()
    };
    let (login, wrong) = (basic("robot", "s3cret"), basic("robot", "wrong"));
    assert_eq!(token(&[("authorization", &wrong)], "repository:api:pull").await, None);
    // Everybody may read, and only that.
    let public = token(&[], "repository:api:pull,push").await.expect("a token");
    assert_eq!(with("GET", "/v2/api/manifests/1", &public).await, 200);
    assert_eq!(with("POST", "/v2/api/blobs/uploads/", &public).await, 401);
    let pushes = token(&[("authorization", &login)], "repository:api:pull,push").await.expect("a token");
    assert_eq!(with("POST", "/v2/api/blobs/uploads/", &pushes).await, 202);
    assert_eq!(with("POST", "/v2/web/blobs/uploads/", &pushes).await, 401);
    assert_eq!(with("GET", "/v2/_catalog", &pushes).await, 401);
    registry.revoke_tokens();
    assert_eq!(with("GET", "/v2/api/manifests/1", &pushes).await, 401);
    // By Tokio's clock.
    let short = token(&[("authorization", &login)], "repository:api:pull").await.expect("a token");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert_eq!(with("GET", "/v2/api/manifests/1", &short).await, 401);
}

#[tokio::test]
async fn requests_that_come_too_often_are_refused_with_the_time_to_wait() {
    let registry = Registry::start().await;
    registry.limit_rate(2, Duration::from_secs(3600));
    assert_eq!(get(&registry, "/v2/").await.status(), 200);
    assert_eq!(get(&registry, "/v2/").await.status(), 200);
    let busy = get(&registry, "/v2/").await;
    assert_eq!(code(&busy), "429 TOOMANYREQUESTS");
    assert!(header(&busy, "retry-after").parse::<u64>().is_ok_and(|seconds| (1..=3600).contains(&seconds)));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    tokio::time::resume();
    assert_eq!(get(&registry, "/v2/").await.status(), 200);
}

#[tokio::test]
async fn blobs_are_elsewhere_for_whoever_has_the_address_and_shows_no_login() {
    let registry = Registry::builder().login("robot", "s3cret").redirect_blobs().start().await;
    let digest = registry.push_blob("api", "abcdef");
    let login = basic("robot", "s3cret");
    let login = [("authorization", login.as_str())];
    let answer = ask(&registry, "GET", &format!("/v2/api/blobs/{digest}"), &login, "").await;
    let location = header(&answer, "location").to_owned();
    assert_eq!(answer.status(), 307);
    assert!(!location.starts_with(&registry.url()), "{location}");
    assert_eq!(get(&registry, &location).await.body(), "abcdef");
    assert_eq!(ask(&registry, "GET", &location, &login, "").await.status(), 400);
    let (unsigned, _) = location.split_once('?').expect("a signature");
    assert_eq!(get(&registry, unsigned).await.status(), 403);
}

#[tokio::test]
async fn tags_that_are_immutable_stay() {
    let registry = Registry::builder().immutable_tags().start().await;
    registry.push_image("api:1", &Image::new());
    let manifest = registry.manifest("api:1").expect("it is there");
    let kind = [("content-type", MANIFEST)];
    let put = async |tag: &str| {
        ask(&registry, "PUT", &format!("/v2/api/manifests/{tag}"), &kind, manifest.bytes.clone()).await
    };
    assert_eq!(code(&put("1").await), "400 TAG_INVALID");
    assert_eq!(put("2").await.status(), 201);
}

#[tokio::test]
async fn faults_refuse_break_hold_and_forget() {
    let registry = Registry::start().await;
    let url = registry.url();
    let base = async || try_ask(&url, "GET", "/v2/", &[], "").await.map(|answer| answer.status().as_u16());
    registry.fault(Fault::refuse("GET", "/v2/", 503).after(1).times(2));
    assert_eq!([base().await, base().await, base().await, base().await], [200, 503, 503, 200].map(Some));
    registry.fault(Fault::busy("*", "*", Duration::from_millis(1500)));
    assert_eq!(header(&get(&registry, "/v2/").await, "retry-after"), "2");
    registry.fault(Fault::redirect("GET", "/v2/", "http://elsewhere.example/"));
    assert_eq!(header(&get(&registry, "/v2/").await, "location"), "http://elsewhere.example/");
    registry.fault(Fault::cut("GET", "/v2/"));
    assert_eq!([base().await, base().await], [None, Some(200)]);

    // In the middle of an answer, which a HEAD does not have.
    let digest = registry.push_blob("api", "abcdef");
    let blob = format!("/v2/api/blobs/{digest}");
    registry.fault(Fault::cut_answer_after("GET", "/v2/*/blobs/*", 3));
    assert!(try_ask(&url, "GET", &blob, &[], "").await.is_none());
    assert_eq!(get(&registry, &blob).await.body(), "abcdef");

    // In the middle of an upload, of which the registry keeps what has arrived.
    let begun = ask(&registry, "POST", "/v2/api/blobs/uploads/", &[], "").await;
    let upload = header(&begun, "location").to_owned();
    registry.fault(Fault::cut_request_after("PATCH", "*", 4));
    assert!(try_ask(&url, "PATCH", &upload, &[], "abcdef").await.is_none());
    assert_eq!(header(&get(&registry, &upload).await, "range"), "0-3");
    registry.fault(Fault::forget_uploads("PATCH", "*"));
    assert_eq!(code(&ask(&registry, "PATCH", &upload, &[], "ef").await), "404 BLOB_UPLOAD_UNKNOWN");

    // What was carried out before the answer was lost.
    registry.fault(Fault::lose_answer("DELETE", "*"));
    assert!(try_ask(&url, "DELETE", &blob, &[], "").await.is_none());
    assert!(registry.blob("api", digest).is_none());

    let gate = Gate::new();
    registry.fault(Fault::hold("GET", "/v2/", &gate));
    let mut held = Box::pin(base());
    tokio::select! {
        status = &mut held => panic!("answered {status:?}"),
        () = gate.arrived() => {}
    }
    assert!((&mut held).now_or_never().is_none());
    gate.open();
    assert_eq!(held.await, Some(200));
    registry.fault(Fault::refuse("*", "*", 500).always());
    registry.clear_faults();
    assert_eq!(base().await, Some(200));
}

#[tokio::test]
async fn a_fault_can_do_something_in_the_registry() {
    let registry = Registry::start().await;
    let push = |registry: &Registry, _: &_| _ = registry.push_image("api:1", &Image::new());
    registry.fault(Fault::meddle("HEAD", "/v2/api/manifests/*", push).after(1));
    let head = async || ask(&registry, "HEAD", "/v2/api/manifests/1", &[], "").await.status().as_u16();
    assert_eq!([head().await, head().await], [404, 200]);
    assert_eq!((registry.count("HEAD", "/v2/*"), registry.connections().opened), (2, 2));
}

#[tokio::test]
async fn it_is_gone_with_its_last_handle() {
    let registry = Registry::start().await;
    let (other, url) = (registry.clone(), registry.url());
    drop(registry);
    assert!(try_ask(&url, "GET", "/v2/", &[], "").await.is_some());
    drop(other);
    // It is stopped by the runtime, at its next turn.
    while try_ask(&url, "GET", "/v2/", &[], "").await.is_some() {}
}
