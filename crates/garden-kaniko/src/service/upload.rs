//! One build's context, from here to its pod by way of the context service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::pack::{Assembly, KnownPacks, PackIndex, PackRange, Plan};
use garden_build_core::context::{Context, byte_stream};
use garden_build_core::{Digest, Error, ErrorKind, Event, EventSink, Result, Step, Stream};
use garden_cluster::{Cause, ClusterError, DaemonPod, Diagnosis, PodStream, last_words};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;

use super::session::{self, PodEvent, RopeAnswer, Session, SessionError};
use super::{ContextService, IndexCache, Key};
use crate::delivery::Delivery;

/// How often packs that vanish while they are counted on are made up for.
const MOST_PLANS: usize = 5;

/// A context of more parts is stored in one pack, for the builds that come.
const LONGEST_ROPE: usize = 200;

/// How far a context has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// The service does not have all of it.
    Sending,
    /// The service has all, and the pod has not asked.
    Waiting,
    /// The pod takes it.
    Pulling,
    /// The pod has all.
    Delivered,
}

/// A conversation with the service that has announced the build's pod, so that this may be created.
#[derive(Debug)]
pub(crate) struct Announced {
    service: ContextService,
    pod: DaemonPod,
    session: Session<PodStream>,
    key: Key,
}

/// A context on its way.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Until it has ended.
    task: Option<AbortOnDropHandle<Result<()>>>,
    stage: watch::Receiver<Stage>,
}

impl ContextService {
    /// Announces the pod that will ask with `key`, to the service in `pod`.
    pub(crate) async fn announce(&self, pod: DaemonPod, key: Key) -> Result<Announced> {
        let command = session::command();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let begun = async {
            let stream =
                PodStream::exec(&self.cluster, self.namespace(), &pod.name, pod.container, &command).await?;
            Ok::<_, ClusterError>(Session::begin(stream, &key.pull_name()).await)
        };
        match begun.await {
            Ok(Ok(session)) => Ok(Announced { service: self.clone(), pod, session, key }),
            Ok(Err(error)) => Err(explain(self, &pod, error).await),
            // It was just deleted or is being replaced.
            Err(error) if error.code() == Some(404) => {
                Err(explain(self, &pod, SessionError::Broken(std::io::Error::other(error))).await)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Announced {
    /// Sends what the service lacks of `context`, and follows it until the pod has it.
    pub(crate) fn send(self, context: Context, events: EventSink) -> Upload {
        let (sender, stage) = watch::channel(Stage::Sending);
        let task = tokio::spawn(async move {
            let Self { service, pod, session, key } = self;
            let sending =
                Sending { session, context, key: &key, cache: IndexCache::of_user(), stage: sender };
            match Box::pin(sending.run(&events)).await {
                Ok(()) => Ok(()),
                Err(error) => Err(explain(&service, &pod, error).await),
            }
        });
        Upload { task: Some(AbortOnDropHandle::new(task)), stage }
    }
}

impl Upload {
    /// Completes if the context cannot come to the pod, with the cause.
    pub(crate) async fn failed(&mut self) -> Error {
        match self.failure().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Completes when it has ended. Returns the cause if the context could not come to the pod, the first time that this is
    /// asked.
    pub(crate) async fn failure(&mut self) -> Option<Error> {
        let ended = self.task.as_mut()?.await;
        self.task = None;
        match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(error) => Some(
                Error::new(ErrorKind::Unexpected, "sending the build context broke off").with_source(error),
            ),
        }
    }

    /// Returns how far the context has come, now and from now on.
    pub(crate) fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.clone()
    }
}

struct Sending<'a> {
    session: Session<PodStream>,
    context: Context,
    key: &'a Key,
    cache: IndexCache,
    stage: watch::Sender<Stage>,
}

impl Sending<'_> {
    async fn run(mut self, events: &EventSink) -> std::result::Result<(), SessionError> {
        let manifest = self.context.manifest();
        let (files, bytes) = (manifest.file_count(), manifest.total_bytes());
        let step = events.step(format!("send the build context ({files} files, {bytes} bytes)"));
        let sent = self.send(&step).await;
        match &sent {
            Ok(_) => step.done(),
            Err(error) => step.failed(error.to_string()),
        }
        let assembly = sent?;
        let sum = self.hand_over(&assembly, events).await?;
        if assembly.rope.len() > LONGEST_ROPE {
            self.join(sum, &assembly.index).await;
        }
        Ok(())
    }

    /// Sees to it that the service has all of the context.
    async fn send(&mut self, step: &Step) -> std::result::Result<Assembly, SessionError> {
        let mut known = self.known().await?;
        let mut plans = 0;
        loop {
            let context = self.context.clone();
            let planned = blocking(move || {
                let plan = Plan::of(&context, &known);
                let assembly = plan.assembly();
                (plan, assembly, known)
            });
            let (plan, assembly, still_known) = planned.await?;
            known = still_known;
            let assembly = match assembly {
                Some(assembly) => assembly,
                None => self.store(plan, step).await?,
            };
            if let Some(pack) = &assembly.new_pack {
                let size = pack.index.pack_size();
                step.log(Stream::Builder, format!("sent {size} bytes"));
                // Its size is that of its own index.
                let _ = known.add(pack.name, size, pack.index.clone());
                self.cache.put(&pack.name, &pack.index.to_bytes());
            }
            plans += 1;
            match self.session.rope(&assembly.rope).await? {
                RopeAnswer::Going => return Ok(assembly),
                RopeAnswer::Gone(pack) if plans < MOST_PLANS => known.forget(&pack),
                RopeAnswer::Gone(pack) => {
                    return Err(SessionError::Unexpected(format!("gone {}", pack.hex())));
                }
            }
        }
    }

    /// Finds out what the service has.
    async fn known(&mut self) -> std::result::Result<KnownPacks, SessionError> {
        let packs = self.session.inventory().await?;
        let cache = self.cache.clone();
        let (mut known, unknown) = blocking(move || {
            cache.prune();
            let mut known = KnownPacks::new();
            let mut unknown = Vec::new();
            for (pack, size) in packs {
                let index = cache.get(&pack);
                if index.is_none_or(|index| known.add(pack, size, index).is_err()) {
                    unknown.push((pack, size));
                }
            }
            (known, unknown)
        })
        .await?;
        let names: Vec<_> = unknown.iter().map(|(pack, _)| *pack).collect();
        let indexes = self.session.indexes(&names).await?;
        for ((pack, size), bytes) in unknown.into_iter().zip(indexes) {
            let Some(bytes) = bytes else { continue };
            match PackIndex::parse(&bytes).and_then(|index| known.add(pack, size, index)) {
                Ok(()) => self.cache.put(&pack, &bytes),
                // It is as if the pack were not there; it goes when nobody has used it for long.
                Err(error) => tracing::debug!(%error, %pack, "an index of the context service is not used"),
            }
        }
        Ok(known)
    }

    /// Sends what the service lacks.
    async fn store(&mut self, plan: Plan, step: &Step) -> std::result::Result<Assembly, SessionError> {
        let missing = plan.missing_bytes();
        let read = Arc::new(AtomicU64::new(0));
        let (sender, assembled) = oneshot::channel();
        let counter = Arc::clone(&read);
        // Stopping is up to the reader: when it drops the stream, the next write fails.
        let chunks = byte_stream(move |output| {
            let count = &mut |bytes| counter.store(bytes, Ordering::Relaxed);
            let assembly = plan.write(output, &|| false, count)?;
            // If nobody waits for it, nobody needs it.
            let _ = sender.send(assembly);
            Ok(())
        });
        let mut result = None;
        let finished = async || {
            let unfinished =
                || Error::new(ErrorKind::Unexpected, "the build context was not read to its end");
            let assembly: Assembly = assembled.await.map_err(|_| unfinished())?;
            let pack = assembly.new_pack.clone().ok_or_else(unfinished)?;
            result = Some(assembly);
            Ok((pack.name, pack.index))
        };
        // Headers come on top of what is in files; that compression makes less of both is not counted on.
        let most = missing + missing / 8 + (4 << 20);
        let on_sent = || step.progress(read.load(Ordering::Relaxed), Some(missing));
        self.session.store(most, chunks, finished, on_sent).await?;
        result.ok_or_else(|| SessionError::Unexpected("stored".to_owned()))
    }

    /// Gives the end of the context to the pod that has the rest of it.
    async fn hand_over(
        &mut self,
        assembly: &Assembly,
        events: &EventSink,
    ) -> std::result::Result<Digest, SessionError> {
        let told = |line: &str| {
            events.emit(Event::Log { step: None, stream: Stream::Builder, line: line.to_owned() });
        };
        let stage = &self.stage;
        let pulling = || {
            told("the pod fetches the build context");
            stage.send_replace(Stage::Pulling);
        };
        // It does not give the pod anything else as long as it is not ready.
        let received = self.session.ready(length(&assembly.rope), |_| pulling()).await?;
        let tail = Delivery::of(&self.context).tail().map_err(SessionError::Ours)?;
        let (name, proof) = (self.key.tail_name(received), self.key.proof_of_tail(received, &tail));
        self.session.tail(&name, &proof, &tail).await?;
        self.stage.send_modify(|stage| *stage = Stage::Waiting.max(*stage));
        loop {
            match self.session.event().await? {
                PodEvent::Pulling => pulling(),
                PodEvent::Delivered => {
                    told("the pod has the build context");
                    self.stage.send_replace(Stage::Delivered);
                    return Ok(received);
                }
                PodEvent::Mismatch => return Err(SessionError::Damaged),
            }
        }
    }

    /// Shortens the ropes of the builds that come. If it fails, they are as long as this one.
    async fn join(&mut self, sum: Digest, index: &PackIndex) {
        match self.session.join(sum, index).await {
            Ok(()) => self.cache.put(&sum, &index.to_bytes()),
            Err(error) => tracing::debug!(%error, "the parts of a context were not joined"),
        }
    }
}

fn length(rope: &[PackRange]) -> u64 {
    rope.iter().map(|range| range.length).sum()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::result::Result<T, SessionError> {
    spawn_blocking(work).await.map_err(|error| {
        let broken =
            Error::new(ErrorKind::Unexpected, "a thread of the build ended early").with_source(error);
        SessionError::Ours(broken)
    })
}

/// Says what it means that the conversation with the service in `pod` has ended early.
async fn explain(service: &ContextService, pod: &DaemonPod, error: SessionError) -> Error {
    let namespace = service.namespace();
    let who = format!("the context service, Pod {namespace}/{}", pod.name);
    match error {
        SessionError::Ours(error) => error,
        SessionError::Full => Error::new(
            ErrorKind::BuilderStart,
            format!("the build context does not fit into the volume of {who}, even without those that no build uses"),
        )
        .with_hint(
            "set `storage.sync.size` to more and run `Builder::init`; without `storage.sync`, it is the disk of its node \
             that is full. Or leave out of the context what no step needs, by `.dockerignore`",
        ),
        SessionError::Damaged => Error::new(
            ErrorKind::BuilderLost,
            format!("the build context was damaged on its way through {who}"),
        )
        .with_hint("build again")
        .retryable(),
        SessionError::Broken(_) | SessionError::Silent(_) | SessionError::Unexpected(_) => {
            if let Some(diagnosis) = last_words(service.managed().lost(pod)).await {
                return lost(diagnosis);
            }
            // A connection that broke is made again, and the build with it. One that is silent may stay so.
            let broke = matches!(error, SessionError::Broken(_));
            let kind = if broke { ErrorKind::BuilderLost } else { ErrorKind::Unreachable };
            Error::new(kind, format!("the conversation with {who} broke off: {error}"))
                .with_hint("the connection to the cluster broke; build again")
                .retryable()
        }
    }
}

/// Says what the end of the service means for the build. It is not the build that took too much memory: another service
/// comes in its place, to which the context is sent again.
fn lost(end: Diagnosis) -> Error {
    match end.cause {
        Cause::OutOfMemory => Diagnosis { kind: ErrorKind::BuilderLost, ..end.retryable() }.into(),
        _ => end.into(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::super::WORDS;
    use super::*;

    fn end(status: &Value) -> Error {
        let metadata = json!({ "name": "garden-util-1", "namespace": "demo", "uid": "uid" });
        let pod: Pod =
            serde_json::from_value(json!({ "metadata": metadata, "status": status })).expect("a pod");
        lost(WORDS.death(&pod, "containerd://1").expect("dead"))
    }

    #[test]
    fn a_service_that_ran_out_of_memory_is_made_up_for_and_its_own_memory_is_the_remedy() {
        let error = end(&json!({ "phase": "Running", "containerStatuses": [{
            "name": WORDS.container, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "containerID": "containerd://1", "state": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } },
        }] }));
        assert_eq!(*error.kind(), ErrorKind::BuilderLost, "a build with this end begins again");
        assert!(error.is_retryable() && error.message().contains("ran out of memory"), "{error}");
        let hint = error.hint().expect("a hint");
        assert!(
            hint.contains("resources.util.limits.memory") && !hint.contains("resources.builder"),
            "{hint}"
        );
    }

    #[test]
    fn an_evicted_service_is_made_up_for_and_its_own_requests_are_the_remedy() {
        let error = end(&json!({ "phase": "Failed", "reason": "Evicted", "message": "low on disk" }));
        assert_eq!((error.kind(), error.is_retryable()), (&ErrorKind::Evicted, true));
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("resources.util.requests") && !hint.contains("resources.builder"), "{hint}");
    }
}
