//! Which base images have triggers (`ONBUILD`), which may read files of the context.
//!
//! What is known of them is kept (`facts`) from one build to the next (`kept`), so that usually only the digest is asked for
//! that a tag stands for now. That counts as no pull at Docker Hub, where whoever has not logged in has ten an hour.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use garden_build_core::{BuildRequest, Caches, Digest, ImageReference, seconds};
use garden_registry::{Location, Manifest, ManifestKind};
use tokio::time::timeout;

mod doubt;
mod facts;
mod kept;

pub(crate) use doubt::Doubt;
use facts::{Child, Fact, images};
use kept::KeptFacts;

use crate::mode::BaseSources;
use crate::target::{BasePlace, Target};

/// Knows base images. Cheap to clone; clones share what they know.
#[derive(Clone, Debug)]
pub(crate) struct BaseImages {
    sources: Arc<dyn BaseSources>,
    facts: Arc<KeptFacts>,
}

impl BaseImages {
    /// Looks for base images where builders do, and keeps what is known of them in `caches`.
    pub(crate) fn new(sources: Arc<dyn BaseSources>, caches: &Caches) -> Self {
        Self { sources, facts: Arc::new(KeptFacts::in_directory(caches.directory("base-images"))) }
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
            let image: ImageReference =
                base.parse().map_err(|error| Doubt::from(format!("{error}")).about(base))?;
            by_registry.entry(image.registry().to_owned()).or_default().push((base, image));
        }
        let registries = by_registry.values().map(|bases| async move {
            for (base, image) in bases {
                match self.has_triggers(target, request, image).await {
                    Ok(false) => {}
                    Ok(true) => {
                        return Err(format!("{base} has triggers (ONBUILD), which may read anything").into());
                    }
                    Err(doubt) => return Err(doubt.about(base)),
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
    ) -> Result<bool, Doubt> {
        if let Some(digest) = image.digest().and_then(|digest| digest.parse().ok())
            && let Ok(known) = self.judge(digest, &request.platforms, None).await
        {
            return Ok(known);
        }
        let mut doubts = Vec::new();
        for (access, image) in self.sources.of(request, image) {
            let asked = async {
                let place = target.locate_base(access, image).await?;
                self.ask_patiently(&place, &request.platforms).await
            };
            match asked.await {
                Ok(has_triggers) => return Ok(has_triggers),
                Err(doubt) => doubts.push(doubt),
            }
        }
        Err(Doubt::all(doubts))
    }

    /// Asks a place for as long as its patience lasts: all questions together, with whatever is tried again. One that answers some of
    /// them keeps a build waiting as much as one that answers none.
    async fn ask_patiently(&self, place: &BasePlace, platforms: &[String]) -> Result<bool, Doubt> {
        let too_late = |_| {
            let (registry, patience) = (place.location.registry.registry(), seconds(place.patience));
            Err(format!("{registry} did not answer everything within {patience}").into())
        };
        timeout(place.patience, self.ask(place, platforms)).await.unwrap_or_else(too_late)
    }

    async fn ask(&self, place: &BasePlace, platforms: &[String]) -> Result<bool, Doubt> {
        let Location { registry, image } = &place.location;
        let digest = registry.resolve(image).await.map_err(|error| place.explain(error))?.digest();
        let digest = digest.ok_or_else(|| does_not_have(place))?;
        self.judge(digest, platforms, Some(place)).await
    }

    /// Returns whether the image with `digest` has triggers on any of `platforms`. What is not known is read at `place`, if there
    /// is one.
    async fn judge(
        &self,
        digest: Digest,
        platforms: &[String],
        place: Option<&BasePlace>,
    ) -> Result<bool, Doubt> {
        let children = match self.fact(digest, place).await? {
            Fact::Image { has_triggers } => return Ok(has_triggers),
            Fact::Index { children } => children,
        };
        let images = images(&children, platforms);
        if images.is_empty() {
            return Err("it has no image for the platform".into());
        }
        for image in images {
            match self.fact(image.digest, place).await? {
                Fact::Image { has_triggers: true } => return Ok(true),
                Fact::Image { has_triggers: false } => {}
                Fact::Index { .. } => return Err("it lists a list of images".into()),
            }
        }
        Ok(false)
    }

    async fn fact(&self, digest: Digest, place: Option<&BasePlace>) -> Result<Fact, Doubt> {
        if let Some(fact) = self.facts.get(digest).await {
            return Ok(fact);
        }
        let place = place.ok_or("nothing is known of it")?;
        let Location { registry, image } = &place.location;
        let manifest = registry.manifest(&image.with_digest(digest)).await;
        let manifest = manifest.map_err(|error| place.explain(error))?;
        let manifest = manifest.ok_or_else(|| does_not_have(place))?;
        let fact = read(place, &manifest).await?;
        self.facts.put(digest, fact.clone());
        Ok(fact)
    }
}

/// Finds out what is to be known of an image.
///
/// What is found counts wherever the same digest is met again. So it has to follow from the content alone: what is both a
/// list and an image, depending on what its registry calls it, is refused, as by containerd (CVE-2021-41190).
async fn read(place: &BasePlace, manifest: &Manifest) -> Result<Fact, Doubt> {
    if manifest.config().is_some() && !manifest.children().is_empty() {
        return Err("its manifest is of an image and of a list of images".into());
    }
    if manifest.kind() == ManifestKind::Index {
        return Ok(Fact::Index { children: manifest.children().iter().map(Child::of).collect() });
    }
    let Location { registry, image } = &place.location;
    let config = registry.image_config(image.repository(), manifest).await;
    let config = config.map_err(|error| place.explain(error))?;
    Ok(Fact::Image { has_triggers: !config.triggers.is_empty() })
}

fn does_not_have(place: &BasePlace) -> Doubt {
    format!("{} does not have it", place.location.registry.registry()).into()
}

#[cfg(test)]
mod tests;
