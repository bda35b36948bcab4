//! One build's context, from here to its pod by way of the context service.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::pack::{Assembly, KnownPacks, PackIndex, PackRange, Plan};
use garden_build_core::context::{Context, byte_stream};
use garden_build_core::{Caches, Digest, Error, ErrorKind, EventSink, LogSource, Result, Step, StepKind};
use garden_cluster::{ClusterError, DaemonPod, PodStream};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::indexes::{IndexCache, Known};
use super::session::{self, PodEvent, RopeAnswer, Session, SessionError};
use super::trouble::explain;
use super::{ContextService, Found, Key, handover};
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
    cache: IndexCache,
}

/// A context on its way.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Until it has ended.
    task: Option<AbortOnDropHandle<Result<()>>>,
    stage: watch::Receiver<Stage>,
    cache: IndexCache,
    /// The packs that the context is made of, once they are known.
    packs: Arc<OnceLock<BTreeSet<Digest>>>,
}

impl ContextService {
    /// Announces the pod that will ask with `key`, to the service that was `found`. What it has is known from `caches`.
    pub(crate) async fn announce(&self, found: Found, key: Key, caches: &Caches) -> Result<Announced> {
        let (pod, cache) = (found.pod, IndexCache::of_service(caches, &found.uid));
        let command = session::command();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let begun = async {
            let stream =
                PodStream::exec(&self.cluster, self.namespace(), &pod.name, pod.container, &command).await?;
            Ok::<_, ClusterError>(Session::begin(stream, &key.pull_name()).await)
        };
        match begun.await {
            Ok(Ok(session)) => Ok(Announced { service: self.clone(), pod, session, key, cache }),
            Ok(Err(error)) => Err(explain(self, &pod, error).await),
            // It was just deleted or is being replaced.
            Err(error) if error.code() == Some(404) => {
                Err(explain(self, &pod, SessionError::Broken(io::Error::other(error))).await)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Announced {
    /// Sends what the service lacks of `context`, and follows it until the pod has it.
    pub(crate) fn send(self, context: Context, events: EventSink) -> Upload {
        let (sender, stage) = watch::channel(Stage::Sending);
        let (cache, packs) = (self.cache.clone(), Arc::new(OnceLock::new()));
        let counted_on = Arc::clone(&packs);
        let sent = async move {
            let Self { service, pod, session, key, cache } = self;
            let sending = Sending { session, context, key: &key, cache, packs: counted_on, stage: sender };
            match Box::pin(sending.run(&events)).await {
                Ok(()) => Ok(()),
                Err(error) => Err(explain(&service, &pod, error).await),
            }
        };
        let task = tokio::spawn(sent.in_current_span());
        Upload { task: Some(AbortOnDropHandle::new(task)), stage, cache, packs }
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

    /// Has the packs that the context was made of not used again, as one of them was not what it should be.
    pub(crate) fn distrust(&self) {
        self.packs.get().into_iter().flatten().for_each(|pack| self.cache.distrust(pack));
    }
}

struct Sending<'a> {
    session: Session<PodStream>,
    context: Context,
    key: &'a Key,
    cache: IndexCache,
    packs: Arc<OnceLock<BTreeSet<Digest>>>,
    stage: watch::Sender<Stage>,
}

impl Sending<'_> {
    async fn run(mut self, events: &EventSink) -> std::result::Result<(), SessionError> {
        let manifest = self.context.manifest();
        let (files, bytes) = (manifest.file_count(), manifest.total_bytes());
        let step =
            events.step(StepKind::Upload, format!("send the build context ({files} files, {bytes} bytes)"));
        let sent = self.send(&step).await;
        match &sent {
            Ok(_) => step.done(),
            Err(error) => step.failed(error.to_string()),
        }
        let (plan, assembly) = sent?;
        // Nobody else is asked for the context of this build.
        let _ = self.packs.set(assembly.rope.iter().map(|range| range.pack).collect());
        self.hand_over(plan, &assembly, events).await?;
        if assembly.rope.len() > LONGEST_ROPE {
            self.join(&assembly).await;
        }
        Ok(())
    }

    /// Sees to it that the service has all of the context.
    async fn send(&mut self, step: &Step) -> std::result::Result<(Arc<Plan>, Assembly), SessionError> {
        let mut known = self.known().await?;
        let mut plans = 0;
        loop {
            let context = self.context.clone();
            let planned = blocking(move || {
                let plan = Plan::of(&context, &known);
                let assembly = plan.assembly();
                (Arc::new(plan), assembly, known)
            });
            let (plan, assembly, still_known) = planned.await?;
            known = still_known;
            let assembly = match assembly {
                Some(assembly) => assembly,
                None => self.store(Arc::clone(&plan), step).await?,
            };
            if let Some(pack) = &assembly.new_pack {
                let size = pack.index.pack_size();
                step.log(LogSource::Builder, format!("sent {size} bytes"));
                // Its size is that of its own index.
                let _ = known.add(pack.name, size, pack.index.clone(), Some(pack.segments.clone()));
                self.cache.put_own(pack);
            }
            plans += 1;
            match self.session.rope(&assembly.rope).await? {
                RopeAnswer::Going => return Ok((plan, assembly)),
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
                let is_settled = match cache.get(&pack) {
                    Known::Distrusted => true,
                    Known::Pack(index, segments) => known.add(pack, size, index, segments).is_ok(),
                    Known::Nothing => false,
                };
                if !is_settled {
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
            let index = PackIndex::parse(&bytes, &pack);
            match index.and_then(|index| known.add(pack, size, index.clone(), None).map(|()| index)) {
                Ok(index) => self.cache.put(&pack, &index),
                // It is as if the pack were not there; it goes when nobody has used it for long.
                Err(error) => tracing::debug!(%error, %pack, "an index of the context service is not used"),
            }
        }
        Ok(known)
    }

    /// Sends what the service lacks.
    async fn store(&mut self, plan: Arc<Plan>, step: &Step) -> std::result::Result<Assembly, SessionError> {
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
            let unfinished = || Error::new(ErrorKind::Unexpected, "the build context was read only in part");
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

    /// Lets the pod have the context, and the means to see that it is that.
    async fn hand_over(
        &mut self,
        plan: Arc<Plan>,
        assembly: &Assembly,
        events: &EventSink,
    ) -> std::result::Result<(), SessionError> {
        let parts = assembly.parts.clone();
        let given_up = CancellationToken::new();
        let _guard = given_up.clone().drop_guard();
        // Reads what nobody here has compressed; the pod has not come yet, as a rule.
        let proofs = blocking(move || plan.prove(&parts, &|| given_up.is_cancelled())).await?;
        let proofs = proofs.map_err(|error| SessionError::Ours(error.into()))?;
        let end = Delivery::of(&self.context).tail().map_err(SessionError::Ours)?;
        let parts = assembly.parts.iter().map(|part| part.length).zip(proofs);
        let start = handover::start(self.key, parts, &end);
        self.session.hand_over(&start, &end).await?;
        let told = |line: &str| {
            events.log(line);
        };
        let stage = &self.stage;
        let pulling = || {
            told("the pod fetches the build context");
            stage.send_replace(Stage::Pulling);
        };
        self.stage.send_modify(|stage| *stage = Stage::Waiting.max(*stage));
        loop {
            match self.session.event().await? {
                PodEvent::Pulling => pulling(),
                PodEvent::Delivered => {
                    told("the pod has the build context");
                    self.stage.send_replace(Stage::Delivered);
                    return Ok(());
                }
            }
        }
    }

    /// Shortens the ropes of the builds that come. If it fails, they are as long as this one.
    ///
    /// What comes of it is the service's word: to later builds it is as a pack that another client has sent.
    async fn join(&mut self, assembly: &Assembly) {
        let joined = async {
            let sum = self.session.sum(length(&assembly.rope)).await?;
            self.session.join(sum, &assembly.index).await?;
            Ok::<_, SessionError>(sum)
        };
        match joined.await {
            Ok(sum) => self.cache.put(&sum, &assembly.index),
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
