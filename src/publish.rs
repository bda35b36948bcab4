//! Takes images out of the deployment registry: to another registry, or into a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use garden_build_core::{
    BuildControl, Digest, Error, ErrorKind, EventSink, ImageReference, Result, Step, StepKind,
};
#[cfg(feature = "docker")]
use garden_docker::DockerDaemon;
use garden_registry::{Copied, CopyEvent, Credentials, Location, Platforms, Remedies, Uploaded, copy, save};

use crate::builder::unless_cancelled;
use crate::target::Target;
use crate::{Builder, BuiltImage, Operation, remedies};

/// Which image is published, and where. Made by [`PublishRequest::new`].
///
/// ```no_run
/// # async fn example(builder: garden_build::Builder, image: garden_build::BuiltImage) -> Result<(), Box<dyn std::error::Error>> {
/// use garden_build::PublishRequest;
/// use garden_build::registry::Credentials;
///
/// let token = std::env::var("TOKEN").unwrap_or_default();
/// let credentials = Credentials::with_password("registry.example", "robot", token.into(), "TOKEN")?;
/// let release = PublishRequest::new(&image, "registry.example/team/api:1.0".parse()?)
///     .credentials(credentials)
///     .ca_certificates(std::fs::read("company-ca.pem").expect("a certificate"));
/// builder.publish(release).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct PublishRequest {
    /// The image, in the deployment registry.
    pub source: ImageReference,
    /// The name that it gets. Without a tag it is called `latest`, as everywhere.
    pub destination: ImageReference,
    /// Who is asking there. Default: `None`, whoever the `docker` command of this machine is logged in as, else the
    /// provider's `imagePullSecrets`.
    pub credentials: Option<Credentials>,
    /// Whether the destination's registry speaks plain HTTP. Default: `false`.
    pub insecure: bool,
    /// Authorities whose signature on the certificate of the destination's registry is trusted, besides those of the
    /// system, in PEM form; what cannot be read is an error of the operation. Default: `None`.
    pub ca_certificates: Option<Vec<u8>>,
    /// How long it may take in all; then it ends with [`ErrorKind::Timeout`]. Default: one hour.
    pub timeout: Duration,
}

impl PublishRequest {
    /// Publishes exactly the image that was built, whatever its tag stands for by then.
    pub fn new(image: &BuiltImage, destination: ImageReference) -> Self {
        Self::of_reference(image.reference.with_digest(image.digest), destination)
    }

    /// Publishes the image that `source` stands for when it is published.
    pub fn of_reference(source: ImageReference, destination: ImageReference) -> Self {
        let timeout = Duration::from_secs(60 * 60);
        Self { source, destination, credentials: None, insecure: false, ca_certificates: None, timeout }
    }

    /// Sets [`credentials`](Self::credentials).
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sets [`insecure`](Self::insecure).
    pub fn insecure(mut self, is_insecure: bool) -> Self {
        self.insecure = is_insecure;
        self
    }

    /// Sets [`ca_certificates`](Self::ca_certificates).
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificates = Some(pem.into());
        self
    }

    /// Sets [`timeout`](Self::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// An image that was published.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Published {
    /// Its name.
    pub reference: ImageReference,
    /// What was copied, and its digest, which the name stood for at the end.
    #[serde(flatten)]
    pub copied: Copied,
}

impl Builder {
    /// Copies an image from the deployment registry to another name, there or elsewhere.
    ///
    /// All of it is copied: every platform, attestations, and signatures and the like that refer to it. It goes through this
    /// machine, without Docker, unless both names are in one registry: then no content travels. Content that is
    /// there already is not sent again, so repeating this after a failure goes on where it was.
    ///
    /// # Errors
    /// When awaited, if the image was not copied. Its new name then stands for what it stood for before.
    pub fn publish(&self, request: PublishRequest) -> Operation<Published> {
        let target = self.target().clone();
        self.begin(format!("publish {}", request.source), |events, cancel| async move {
            target.registries.begin();
            let cx = BuildControl::new(events.clone(), cancel, request.timeout);
            let publishing = cx.until_stopped(Box::pin(publish(&target, request, events)));
            target.with_images(&cx.events, publishing).await
        })
    }

    /// Writes an image of the deployment registry to a file, and returns its digest. The file appears when it is complete.
    ///
    /// The file is an OCI image layout in a tar archive. With one platform in it, `docker load` takes it as well.
    ///
    /// # Errors
    /// When awaited, if the image or the platform does not exist, the registry cannot be reached, or the file cannot be written.
    pub fn save(
        &self,
        image: &ImageReference,
        platforms: Platforms,
        file: impl Into<PathBuf>,
    ) -> Operation<Digest> {
        let (target, image, file) = (self.target().clone(), image.clone(), file.into());
        self.begin(format!("save {image} to {}", file.display()), |events, cancel| async move {
            target.registries.begin();
            let saving = Box::pin(write_to_file(&target, &image, &platforms, &file));
            let saving = target.with_images(&events, saving);
            unless_cancelled(&cancel, "writing the image was cancelled", saving).await
        })
    }

    /// Gives an image of the deployment registry to a Docker daemon, such as the one of this machine, under its name.
    ///
    /// It goes through this machine: the daemon need not reach the registry, nor know how to log in there.
    ///
    /// # Errors
    /// When awaited, if the image does not exist for the daemon's platform, the registry or the daemon cannot be reached, or the daemon
    /// does not take it.
    #[cfg(feature = "docker")]
    pub fn load_into_docker(&self, image: &ImageReference, daemon: &DockerDaemon) -> Operation<()> {
        let (target, image, daemon) = (self.target().clone(), image.clone(), daemon.clone());
        self.begin(format!("give {image} to Docker"), |events, cancel| async move {
            target.registries.begin();
            let loading = async {
                let remedies = target.registry()?.remedies;
                let location = target.locate(&image).await?;
                daemon.load(&location, &image).await.map_err(|error| error.explain(remedies))
            };
            let loading = target.with_images(&events, Box::pin(loading));
            unless_cancelled(&cancel, "giving the image to Docker was cancelled", loading).await
        })
    }
}

async fn write_to_file(
    target: &Target,
    image: &ImageReference,
    platforms: &Platforms,
    file: &Path,
) -> Result<Digest> {
    let remedies = target.registry()?.remedies;
    let location = target.locate(image).await?;
    let partial = Partial::beside(file)?;
    let mut output = tokio::fs::File::create(&partial.0).await.map_err(|error| unwritable(file, error))?;
    let saved = save(&location, platforms, image, &mut output).await;
    let saved = saved.map_err(|error| error.explain(remedies))?;
    output.sync_all().await.map_err(|error| unwritable(file, error))?;
    tokio::fs::rename(&partial.0, file).await.map_err(|error| unwritable(file, error))?;
    Ok(saved.root.digest)
}

async fn publish(target: &Target, request: PublishRequest, events: EventSink) -> Result<Published> {
    let step = events.step(StepKind::Copy, format!("publish {} as {}", request.source, request.destination));
    let report = Report { events, steps: Mutex::default() };
    step.end(copy_as_asked(target, request, report).await)
}

async fn copy_as_asked(target: &Target, request: PublishRequest, report: Report) -> Result<Published> {
    let of_source = target.registry()?.remedies;
    let source = target.locate(&request.source).await?;
    let reference = request.destination.clone();
    let (destination, remedies) = destination(target, request).await?;
    let copied = copy(&source, &destination, Arc::new(move |event| report.tell(event))).await;
    let copied = copied.map_err(|error| error.explain(of_source, remedies))?;
    Ok(Published { reference, copied })
}

/// Finds the way to the destination, and what can be done about it when there is none.
async fn destination(target: &Target, request: PublishRequest) -> Result<(Location, &'static Remedies)> {
    let PublishRequest { destination, credentials, insecure, ca_certificates, .. } = request;
    if target.has(&destination) {
        return Ok((target.locate(&destination).await?, target.registry()?.remedies));
    }
    let host = destination.registry();
    let registry = target.registries.publishing_client(host, insecure, ca_certificates, credentials).await?;
    Ok((Location { registry, image: destination }, &remedies::OF_DESTINATION))
}

/// Turns what happens during a copy into steps: one for each blob that travels.
struct Report {
    events: EventSink,
    steps: Mutex<BTreeMap<Digest, (Step, u64)>>,
}

impl Report {
    fn tell(&self, event: CopyEvent) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            CopyEvent::Found { blobs, .. } => {
                for blob in blobs {
                    let step = self
                        .events
                        .step(StepKind::Copy, format!("copy {} ({} bytes)", blob.digest, blob.size));
                    steps.insert(blob.digest, (step, blob.size));
                }
            }
            CopyEvent::Sent { blob, bytes } => {
                if let Some((step, size)) = steps.get(&blob) {
                    step.progress(bytes, Some(*size));
                }
            }
            CopyEvent::Arrived { blob, how } => match (steps.remove(&blob), how) {
                (Some((step, _)), Uploaded::Sent) => step.done(),
                (Some((step, _)), _) => step.cached(),
                (None, _) => {}
            },
            _ => {}
        }
    }
}

/// A file that is being written beside the one that it is to become, and removed unless it does.
struct Partial(PathBuf);

impl Partial {
    fn beside(file: &Path) -> Result<Self> {
        let Some(name) = file.file_name() else {
            return Err(unwritable(file, std::io::Error::other("it has no file name")));
        };
        let mut name = name.to_owned();
        name.push(format!(".{}.partial", garden_cluster::build_id()));
        Ok(Self(file.with_file_name(name)))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After it was renamed, there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn unwritable(file: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Config, format!("the image cannot be written to {}: {error}", file.display()))
        .with_hint("name a file in a directory that exists and may be written")
        .with_source(error)
}
