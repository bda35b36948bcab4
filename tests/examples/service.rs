//! `examples/service.rs`, asked as its clients ask it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode, header};
use futures::{Stream, StreamExt as _};
use garden_build::{BuiltImage, Error, ErrorKind, Event};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::site::{DIGEST, Site};

#[path = "../../examples/service.rs"]
#[allow(dead_code, reason = "`main` is not called")]
mod example;

struct Client(Router);

impl Client {
    fn of(site: &Site) -> Self {
        Self(example::routes(site.builder.clone(), site.root.path().canonicalize().unwrap()))
    }

    async fn ask(&self, method: &str, path: &str, body: Body) -> Response<Body> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body).unwrap();
        self.0.clone().oneshot(request).await.unwrap()
    }

    async fn post(&self, wanted: &Value) -> (StatusCode, Value) {
        answer(self.ask("POST", "/builds", Body::from(wanted.to_string())).await).await
    }

    async fn build(&self) {
        let (status, answer) = self.post(&json!({ "directory": "app", "name": "app" })).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.ask("GET", path, Body::empty()).await).await
    }

    async fn events(&self, path: &str) -> Events<impl Stream<Item = Bytes> + Unpin + use<>> {
        let answer = self.ask("GET", path, Body::empty()).await;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
        Events {
            body: answer.into_body().into_data_stream().map(|piece| piece.unwrap()),
            text: String::new(),
        }
    }
}

async fn answer(answer: Response<Body>) -> (StatusCode, Value) {
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8_lossy(&body).into_owned();
    (
        status,
        if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        },
    )
}

/// The Server-Sent Events of an answer.
struct Events<B> {
    body: B,
    text: String,
}

impl<B: Stream<Item = Bytes> + Unpin> Events<B> {
    /// Returns the next event; `None` if it says that there are no more.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event.starts_with("event: end\n") {
                    return None;
                }
                // Others are comments, which keep the connection alive.
                if let Some(data) = event.strip_prefix("data: ") {
                    return Some(serde_json::from_str(data).unwrap());
                }
                continue;
            }
            let piece = self.body.next().await.expect("it says that it is the end");
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// Reads until the backend's step has begun. Returns the names of the steps that have begun.
    async fn until_made(&mut self) -> Vec<String> {
        let mut begun = Vec::new();
        while let Some(event) = self.next().await {
            if let Event::StepStarted { name, .. } = event {
                begun.push(name);
                if begun.last().is_some_and(|name| name == "[1/1] RUN make") {
                    return begun;
                }
            }
        }
        panic!("the events end after {begun:?}");
    }

    /// Reads to the end. Returns the names of the steps that have succeeded.
    async fn rest(mut self) -> Vec<String> {
        let mut done = Vec::new();
        while let Some(event) = self.next().await {
            if let Event::StepFinished { name, error: None, .. } = event {
                done.push(name);
            }
        }
        assert!(self.body.next().await.is_none());
        done
    }
}

#[tokio::test]
async fn everybody_who_listens_sees_all_steps_and_the_image_is_there_for_whoever_asks_later() {
    let site = Site::new().await;
    let client = Client::of(&site);
    let wanted = json!({ "directory": "app", "name": "app" });
    let answer = client.ask("POST", "/builds", Body::from(wanted.to_string())).await;
    assert_eq!(
        (answer.status(), &answer.headers()[header::LOCATION]),
        (StatusCode::ACCEPTED, &"/builds/1".parse().unwrap())
    );

    let mut first = client.events("/builds/1/events").await;
    let begun = first.until_made().await;
    assert_eq!(begun[0], "read the build context app", "and not where it is on this machine");
    let mut late = client.events("/builds/1/events").await;
    assert_eq!(late.until_made().await, begun);
    // One that has gone away takes nothing with it.
    drop(client.events("/builds/1/events").await);
    assert_eq!(client.get("/builds/1").await, (StatusCode::ACCEPTED, Value::Null));

    site.held.let_go();
    for listener in [first, late, client.events("/builds/1/events").await] {
        let done = listener.rest().await;
        assert!(done.contains(&"[1/1] RUN make".to_owned()), "{done:?}");
    }
    let (status, image) = client.get("/builds/1").await;
    let image: BuiltImage = serde_json::from_value(image).unwrap();
    assert_eq!((status, image.digest.to_string().as_str()), (StatusCode::OK, DIGEST));
}

#[tokio::test]
async fn a_failure_is_a_status_and_the_error_as_data() {
    let site = Site::new().await;
    let client = Client::of(&site);
    site.held.fails.store(true, Ordering::SeqCst);
    site.held.let_go();
    client.build().await;
    client.events("/builds/1/events").await.rest().await;
    let (status, error) = client.get("/builds/1").await;
    let error: Error = serde_json::from_value(error).unwrap();
    assert_eq!((status, error.kind()), (StatusCode::UNPROCESSABLE_ENTITY, ErrorKind::BuildFailed));
    assert_eq!(error.failed_step().and_then(|step| step.exit_code), Some(2));
}

#[tokio::test]
async fn clients_choose_only_what_they_may() {
    let site = Site::new().await;
    let client = Client::of(&site);
    let outside = tempfile::TempDir::new().unwrap();
    std::fs::write(outside.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    for directory in ["missing", "..", "app/../..", outside.path().to_str().unwrap()] {
        let (status, error) = client.post(&json!({ "directory": directory, "name": "app" })).await;
        assert_eq!(
            (status, &error["kind"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("context")),
            "{error}"
        );
    }
    let agent = json!({ "directory": "app", "name": "app", "sshAgents": { "default": "/run/agent" } });
    assert_eq!(client.post(&agent).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    for (method, path) in [("GET", "/builds/1"), ("GET", "/builds/1/events"), ("DELETE", "/builds/1")] {
        assert_eq!(client.ask(method, path, Body::empty()).await.status(), StatusCode::NOT_FOUND);
    }
    assert!(!site.held.has_begun.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_build_that_is_deleted_has_cleaned_up() {
    let site = Site::new().await;
    let client = Client::of(&site);
    client.build().await;
    let mut events = client.events("/builds/1/events").await;
    events.until_made().await;
    assert_eq!(client.ask("DELETE", "/builds/1", Body::empty()).await.status(), StatusCode::NO_CONTENT);
    assert!(site.held.has_cleaned_up.load(Ordering::SeqCst));
    assert!(events.rest().await.contains(&"remove Pod made-up".to_owned()));
    let (status, error) = client.get("/builds/1").await;
    assert_eq!((status, &error["kind"]), (StatusCode::CONFLICT, &json!("cancelled")));
}

#[tokio::test]
async fn the_oldest_results_make_room_and_builds_under_way_do_not() {
    let site = Site::new().await;
    let client = Client::of(&site);
    for _ in 0..100 {
        client.build().await;
    }
    let wanted = json!({ "directory": "app", "name": "app" });
    assert_eq!(client.post(&wanted).await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(client.ask("DELETE", "/builds/7", Body::empty()).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(client.post(&wanted).await, (StatusCode::ACCEPTED, json!({ "id": 101 })));
    assert_eq!(client.get("/builds/7").await.0, StatusCode::NOT_FOUND);
    assert_eq!(client.get("/builds/1").await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn what_listeners_wait_for_ends_with_the_service() {
    let site = Site::new().await;
    let client = Client::of(&site);
    client.build().await;
    let mut events = client.events("/builds/1/events").await;
    events.until_made().await;
    site.builder.shutdown(Duration::from_secs(60)).await.unwrap();
    assert!(events.rest().await.contains(&"remove Pod made-up".to_owned()));
    // What is asked for now does not begin, and says why.
    client.build().await;
    client.events("/builds/2/events").await.rest().await;
    let (status, error) = client.get("/builds/2").await;
    assert_eq!((status, &error["kind"]), (StatusCode::CONFLICT, &json!("cancelled")));
}
