//! Watches. Source: Kubernetes, "API Concepts", "Efficient detection of changes".

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::unfold;
use http_body_util::BodyExt as _;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::FakeCluster;
use super::path::Target;
use super::read::{View, selector};
use super::refusal::Refusal;
use super::request::Request;
use super::selector::Selector;
use super::server::Body;
use super::store::Happened;

/// Something that happens to all watches at once.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Disruption {
    /// They end, as after their time.
    #[default]
    Ended,
    /// Their connections break.
    Cut,
    /// They are told that they know too little.
    Expired,
    /// They are told how far they are.
    Bookmark,
}

struct Watcher {
    cluster: FakeCluster,
    target: Target,
    selector: Selector,
    view: View,
    /// The version up to which it has heard all.
    position: u64,
    bookmarks: bool,
    disruptions: u64,
    until: Instant,
    unsent: VecDeque<Value>,
    is_over: bool,
}

/// Answers a watch.
pub(crate) fn watch(cluster: &FakeCluster, request: &Request, target: &Target) -> Result<Body, Refusal> {
    if request.is_true("sendInitialEvents") {
        let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
        return Err(Refusal::new(422, "Invalid", message));
    }
    let selector = selector(request, target)?;
    let view = View::of(request);
    let known = match request.parameter("resourceVersion") {
        None | Some("" | "0") => None,
        Some(text) => Some(
            text.parse().map_err(|_| Refusal::bad_request(format!("invalid resource version {text:?}")))?,
        ),
    };
    let seconds = request.parameter("timeoutSeconds").and_then(|it| it.parse().ok()).unwrap_or(1800);
    let (position, unsent) = cluster.with_store(|store| {
        let there = |(_, object): (_, &Value)| event("ADDED", &view.of_one(object));
        let existing = store.list(target.kind.plural, target.namespace.as_deref());
        match known {
            Some(known) => (known, VecDeque::new()),
            None => (store.version(), existing.filter(|(_, it)| selector.chooses(it)).map(there).collect()),
        }
    });
    let watcher = Watcher {
        disruptions: cluster.disruption().0,
        cluster: cluster.clone(),
        target: target.clone(),
        selector,
        view,
        position,
        bookmarks: request.is_true("allowWatchBookmarks"),
        until: Instant::now() + Duration::from_secs(seconds),
        unsent,
        is_over: false,
    };
    let frames = unfold(watcher, async |mut watcher| {
        let next = watcher.next().await?;
        Some((next.map(Frame::data), watcher))
    });
    Ok(StreamBody::new(frames).boxed_unsync())
}

impl Watcher {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut bell = self.cluster.bell();
        loop {
            if let Some(event) = self.unsent.pop_front() {
                return Some(Ok(format!("{event}\n").into()));
            }
            if self.is_over {
                return None;
            }
            let (count, disruption) = self.cluster.disruption();
            if std::mem::replace(&mut self.disruptions, count) != count {
                match disruption {
                    Disruption::Ended => return None,
                    Disruption::Cut => return Some(Err(io::ErrorKind::ConnectionReset.into())),
                    Disruption::Expired => self.expire(&Refusal::expired(self.position, self.position + 1)),
                    Disruption::Bookmark => {
                        self.look();
                        self.bookmark();
                    }
                }
                continue;
            }
            self.look();
            if !self.unsent.is_empty() {
                continue;
            }
            tokio::select! {
                rung = bell.changed() => rung.ok()?,
                () = tokio::time::sleep_until(self.until) => return None,
            }
        }
    }

    /// Finds out what has happened.
    fn look(&mut self) {
        let cluster = self.cluster.clone();
        cluster.with_store(|store| {
            match store.since(self.position) {
                Ok(happened) => {
                    let told: Vec<Value> = happened.filter_map(|it| self.told(it)).collect();
                    self.unsent.extend(told);
                }
                Err(refusal) => return self.expire(&refusal),
            }
            self.position = store.version();
        });
    }

    /// Returns what a watcher hears of a change: to it, an object that is not chosen any more is deleted.
    fn told(&self, happened: &Happened) -> Option<Value> {
        let is_of_target = happened.key.plural == self.target.kind.plural
            && self.target.namespace.as_ref().is_none_or(|it| *it == happened.key.namespace)
            && self.target.name.as_ref().is_none_or(|it| *it == happened.key.name);
        if !is_of_target {
            return None;
        }
        let was = happened.before.as_ref().is_some_and(|it| self.selector.chooses(it));
        let is = !happened.is_deleted && self.selector.chooses(&happened.after);
        let what = match (was, is) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        Some(event(what, &self.view.of_one(&happened.after)))
    }

    fn expire(&mut self, refusal: &Refusal) {
        self.unsent.push_back(event("ERROR", &refusal.status()));
        self.is_over = true;
    }

    fn bookmark(&mut self) {
        if self.bookmarks {
            let kind = self.target.kind;
            let object = json!({
                "apiVersion": kind.api_version, "kind": kind.name,
                "metadata": { "resourceVersion": self.position.to_string() },
            });
            self.unsent.push_back(event("BOOKMARK", &object));
        }
    }
}

fn event(what: &str, object: &Value) -> Value {
    json!({ "type": what, "object": object })
}
