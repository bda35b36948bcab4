//! Which base images have triggers (`ONBUILD`), which may read files of the context.
//!
//! What is known of them is kept (`facts`) from one build to the next (`kept`), so that usually only the digest is asked for
//! that a tag stands for now. That counts as no pull at Docker Hub, where whoever has not logged in has ten an hour.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::try_join_all;
use garden_build_core::{BuildRequest, Digest, ImageReference};
use garden_registry::{Location, Manifest, ManifestKind, RegistryClient};

mod facts;
mod kept;

use facts::{Child, Fact, images};
use kept::KeptFacts;

use crate::mode::BaseSources;
use crate::target::Target;

/// Knows base images. Cheap to clone; clones share what they know.
#[derive(Clone, Debug)]
pub(crate) struct BaseImages {
    sources: BaseSources,
    facts: Arc<KeptFacts>,
}

/// Why it is not certain that an image has no triggers.
type Doubt = String;

impl BaseImages {
    /// Looks for base images where builders do, and keeps what is known of them in the user's cache directory.
    pub(crate) fn new(sources: BaseSources) -> Self {
        Self { sources, facts: Arc::new(KeptFacts::of_user()) }
    }

    /// Keeps what is known in `directory` instead; nowhere if there is none.
    pub(crate) fn keep_in(&mut self, directory: Option<PathBuf>) {
        self.facts = Arc::new(KeptFacts::in_directory(directory));
    }

    /// Makes sure that none of `bases`, as the Dockerfile of `request` calls them, has triggers, on any of its platforms.
    ///
    /// Those of one registry are asked for one after the other: on one connection that is as quick as side by side on many.
    ///
    /// # Errors
    /// If one has, or its registry does not tell.
    pub(crate) async fn check(
        &self,
        target: &Target,
        request: &BuildRequest,
        bases: &[String],
    ) -> Result<(), Doubt> {
        let mut by_registry: BTreeMap<String, Vec<(&str, ImageReference)>> = BTreeMap::new();
        for base in bases {
            let image: ImageReference = base.parse().map_err(|error| not_known(base, &format!("{error}")))?;
            by_registry.entry(image.registry().to_owned()).or_default().push((base, image));
        }
        let registries = by_registry.values().map(|bases| async move {
            for (base, image) in bases {
                match self.has_triggers(target, request, image).await {
                    Ok(false) => {}
                    Ok(true) => {
                        return Err(format!("{base} has triggers (ONBUILD), which may read anything"));
                    }
                    Err(reason) => return Err(not_known(base, &reason)),
                }
            }
            Ok(())
        });
        let checked = try_join_all(registries).await;
        self.save().await;
        checked.map(drop)
    }

    /// Keeps what was learned for later processes, from a check that was broken off as well.
    pub(crate) async fn save(&self) {
        self.facts.save().await;
    }

    /// Asks the places where builders look for the image, one after the other, as they do.
    async fn has_triggers(
        &self,
        target: &Target,
        request: &BuildRequest,
        image: &ImageReference,
    ) -> Result<bool, String> {
        if let Some(digest) = image.digest().and_then(|digest| digest.parse().ok())
            && let Ok(known) = self.judge(digest, &request.platforms, None).await
        {
            return Ok(known);
        }
        let mut reasons = Vec::new();
        for (access, image) in self.sources.of(request, image) {
            let asked = async {
                let place = target.locate_base(access, image).await;
                self.ask(&place.map_err(|error| error.message().to_owned())?, &request.platforms).await
            };
            match asked.await {
                Ok(has_triggers) => return Ok(has_triggers),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("; "))
    }

    async fn ask(&self, place: &Location, platforms: &[String]) -> Result<bool, String> {
        let Location { registry, image } = place;
        let digest = registry.resolve(image).await.map_err(|error| error.to_string())?.digest();
        let digest = digest.ok_or_else(|| format!("{} does not have it", registry.registry()))?;
        self.judge(digest, platforms, Some(place)).await
    }

    /// Tells whether the image with `digest` has triggers on any of `platforms`. What is not known is read at `place`, if there
    /// is one.
    async fn judge(
        &self,
        digest: Digest,
        platforms: &[String],
        place: Option<&Location>,
    ) -> Result<bool, String> {
        let children = match self.fact(digest, place).await? {
            Fact::Image { has_triggers } => return Ok(has_triggers),
            Fact::Index { children } => children,
        };
        let images = images(&children, platforms);
        if images.is_empty() {
            return Err("it has no image for the platform".to_owned());
        }
        for image in images {
            match self.fact(image.digest, place).await? {
                Fact::Image { has_triggers: true } => return Ok(true),
                Fact::Image { has_triggers: false } => {}
                Fact::Index { .. } => return Err("it lists a list of images".to_owned()),
            }
        }
        Ok(false)
    }

    async fn fact(&self, digest: Digest, place: Option<&Location>) -> Result<Fact, String> {
        if let Some(fact) = self.facts.get(digest).await {
            return Ok(fact);
        }
        let Location { registry, image } = place.ok_or("nothing is known of it")?;
        let manifest = registry.manifest(&image.with_digest(digest)).await;
        let manifest = manifest.map_err(|error| error.to_string())?;
        let manifest = manifest.ok_or_else(|| format!("{} does not have it", registry.registry()))?;
        let fact = read(registry, image.repository(), &manifest).await?;
        self.facts.put(digest, fact.clone());
        Ok(fact)
    }
}

/// Finds out what is to be known of an image.
///
/// What is found counts wherever the same digest is met again. So it has to follow from the content alone: what is both a
/// list and an image, depending on what its registry calls it, is refused, as by containerd (CVE-2021-41190).
async fn read(registry: &RegistryClient, repository: &str, manifest: &Manifest) -> Result<Fact, String> {
    if manifest.config().is_some() && !manifest.children().is_empty() {
        return Err("its manifest is of an image and of a list of images".to_owned());
    }
    if manifest.kind() == ManifestKind::Index {
        return Ok(Fact::Index { children: manifest.children().iter().map(Child::of).collect() });
    }
    let config = registry.image_config(repository, manifest).await;
    let config = config.map_err(|error| error.to_string())?;
    Ok(Fact::Image { has_triggers: !config.triggers.is_empty() })
}

fn not_known(base: &str, reason: &str) -> Doubt {
    format!("whether {base} has triggers (ONBUILD) is not known: {reason}")
}
