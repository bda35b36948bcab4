//! What the command does with a builder.

use std::fmt::Write as _;

use garden_build::config::{BuildConfig, Environment, ProviderConfig};
use garden_build::{
    BuildRequest, Builder, BuiltImage, CleanUpOptions, Error, ErrorKind, Initialized, Operation, Outcome,
    Plan, PublishRequest, Published, Result, Status, SweepReport,
};
use serde::Serialize;

use crate::arguments::{Build, CleanUp, Images, Publish, Verb};
use crate::failure::report;
use crate::output::Format;
use crate::session::Session;

/// What every verb needs.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) session: &'a Session,
    pub(crate) environment: &'a Environment<'a>,
    pub(crate) provider: &'a ProviderConfig,
    pub(crate) builder: &'a Builder,
}

impl Shown<'_> {
    /// Returns the code to end with if it has reported what went wrong.
    ///
    /// # Errors
    /// What the caller has to report.
    pub(crate) async fn act(self, verb: &Verb) -> Result<u8> {
        let (session, builder, activity) = (self.session, self.builder, verb.activity());
        let output = &session.output;
        match verb {
            Verb::Build(build) => {
                let builds = self.builds(&build.images)?;
                let begin = |config: &BuildConfig| builder.build(request(config, build));
                return Ok(self.each(activity, &builds, begin, image_in_words).await.1);
            }
            Verb::Status(images) => {
                let builds = self.builds(images)?;
                let begin = |config: &BuildConfig| builder.status(config.request());
                return Ok(self.each(activity, &builds, begin, status_in_words).await.1);
            }
            Verb::Plan(images) => {
                let builds = self.builds(images)?;
                let begin = |config: &BuildConfig| builder.plan(config.request());
                return Ok(self.each(activity, &builds, begin, plan_in_words).await.1);
            }
            Verb::Publish(publish) => return self.publish(activity, publish).await,
            Verb::Init => {
                let initialized = session.follow(activity, builder.init()).await?;
                output.result(None, &initialized, initialized_in_words(&initialized));
            }
            Verb::CleanUp(clean_up) if clean_up.delete => {
                let operation = builder.clean_up_registry(clean_up_options(clean_up));
                let done = session.follow(activity, operation).await?;
                output.result(None, &done, &done);
            }
            Verb::CleanUp(clean_up) => {
                let operation = builder.plan_clean_up(clean_up_options(clean_up));
                let plan = session.follow(activity, operation).await?;
                output.result(None, &plan, format!("{plan}\nnothing was deleted: --delete does"));
            }
            Verb::Sweep => {
                let swept = session.follow(activity, builder.sweep()).await?;
                output.result(None, &swept, swept_in_words(&swept));
            }
            Verb::Completions { .. } => {}
        }
        Ok(0)
    }

    /// Begins all, shows them side by side, and prints the results or what went wrong. Returns those that succeeded with their results, and the code to end
    /// with.
    async fn each<'b, T: Clone + Serialize>(
        &self,
        activity: &str,
        builds: &'b [BuildConfig],
        begin: impl Fn(&BuildConfig) -> Operation<T>,
        in_words: impl Fn(&T) -> String,
    ) -> (Vec<(&'b BuildConfig, T)>, u8) {
        let output = &self.session.output;
        let operations = builds.iter().map(|config| (Some(config.name.clone()), begin(config))).collect();
        let outcomes = self.session.follow_all(activity, operations).await;
        let (mut done, mut code) = (Vec::new(), 0);
        for (config, outcome) in builds.iter().zip(outcomes) {
            match outcome {
                Ok(result) => {
                    output.result(Some(&config.name), &result, in_words(&result));
                    done.push((config, result));
                }
                Err(error) => {
                    let is_named = builds.len() > 1 || output.format == Format::Json;
                    let of_this = report(output, Some(config.name.as_str()).filter(|_| is_named), &error);
                    code = if code == 0 { of_this } else { code };
                }
            }
        }
        (done, code)
    }

    /// Builds all, and publishes those that could be built.
    async fn publish(&self, activity: &str, publish: &Publish) -> Result<u8> {
        let mut builds = self.builds(&publish.images)?;
        if let Some(name) = &publish.to {
            let [build] = builds.as_mut_slice() else {
                let error = Error::new(ErrorKind::Unsupported, "several images cannot have one name");
                return Err(error.with_hint("name one image, or leave `--to` out"));
            };
            build.publish_id = Some(name.clone());
        }
        let begin = |config: &BuildConfig| self.builder.build(config.request());
        let (built, code) = self.each("Building", &builds, begin, image_in_words).await;
        if built.is_empty() {
            return Ok(code);
        }
        let (mut ready, mut requests) = (Vec::new(), Vec::new());
        for (config, image) in &built {
            let version = image.reference.tag().unwrap_or_default();
            let tag = publish.tag.as_deref();
            let tag = tag.map(|tag| self.environment.publish_tag(config, version, tag)).transpose()?;
            let name = config.public_image(version, tag.as_deref())?;
            ready.push((*config).clone());
            requests.push(PublishRequest::new(image, name).insecure(publish.insecure));
        }
        let begin = |config: &BuildConfig| {
            let place = ready.iter().position(|ready| ready == config).unwrap_or_default();
            self.builder.publish(requests[place].clone())
        };
        let (_, of_publishing) = self.each(activity, &ready, begin, published_in_words).await;
        Ok(if code == 0 { of_publishing } else { code })
    }

    /// Reads how the images are built. Prints what their authors should know.
    fn builds(&self, images: &Images) -> Result<Vec<BuildConfig>> {
        let mut notices = Vec::new();
        let mut builds = Vec::new();
        if images.all {
            for name in self.environment.builds()? {
                builds.push(self.environment.build(&name)?);
            }
            notices.extend(self.environment.notices()?);
        }
        for image in &images.names {
            builds.push(match &image.directory {
                Some(directory) => BuildConfig::new(&image.name, directory),
                None => self.environment.build(&image.name)?,
            });
        }
        if builds.is_empty() {
            let error = Error::new(ErrorKind::Config, "this environment of the project has nothing to build");
            return Err(
                error.with_hint("name an image and the directory of its Dockerfile: `NAME=DIRECTORY`")
            );
        }
        notices.extend(builds.iter().flat_map(|build| build.notices.clone()));
        // Those of the provider are warnings of each build.
        for notice in notices.iter().filter(|notice| !self.provider.notices.contains(notice)) {
            self.session.output.tell(format!("note: {notice}"));
        }
        for build in &mut builds {
            let arguments = images.build_args.iter().map(|it| (it.name.clone(), it.value.clone()));
            build.build_args.extend(arguments);
            build.target = images.target.clone().or(build.target.take());
            if !images.platforms.is_empty() {
                build.platforms.clone_from(&images.platforms);
            }
        }
        Ok(builds)
    }
}

fn request(config: &BuildConfig, build: &Build) -> BuildRequest {
    let mut request = config.request();
    (request.force, request.no_cache) = (build.force, build.no_cache);
    request.timeout = build.timeout.unwrap_or(request.timeout);
    request
}

fn clean_up_options(clean_up: &CleanUp) -> CleanUpOptions {
    let mut options = CleanUpOptions::new();
    if let Some(age) = clean_up.keep_younger_than {
        options = options.keep_younger_than(age);
    }
    if let Some(age) = clean_up.caches_older_than {
        options = options.caches_older_than(age);
    }
    clean_up.also_in_use.iter().fold(options, CleanUpOptions::also_in_use)
}

fn image_in_words(image: &BuiltImage) -> String {
    let seconds = image.duration.as_secs_f64();
    let how = match image.outcome {
        Outcome::Built { steps_run, steps_cached, .. } => {
            let steps = if steps_run == 1 { "step" } else { "steps" };
            format!("built in {seconds:.1}s, {steps_run} {steps} run, {steps_cached} cached")
        }
        _ => format!("exists, found in {seconds:.1}s"),
    };
    format!("{}@{} ({how})", image.reference, image.digest)
}

fn status_in_words(status: &Status) -> String {
    let exists = status.existing.map_or("missing".to_owned(), |digest| digest.to_string());
    format!("{}: {exists}", status.reference)
}

fn plan_in_words(plan: &Plan) -> String {
    let mut words = format!("# would push {}", plan.reference);
    for planned in &plan.objects {
        // Writing to a text does not fail.
        let _ = write!(words, "\n---\n# {}\n{:#}", planned.description, planned.object);
    }
    words
}

fn published_in_words(published: &Published) -> String {
    format!("published {}@{}", published.reference, published.copied.digest)
}

fn initialized_in_words(initialized: &Initialized) -> String {
    let registry = initialized.registry_nodes.as_ref().map(|nodes| match nodes.as_slice() {
        [] => "the registry in the cluster serves".to_owned(),
        nodes => format!(
            "the registry in the cluster serves; these nodes have pulled from it: {}",
            nodes.join(", ")
        ),
    });
    let daemon =
        initialized.docker_daemon.then(|| "the Docker daemon in the cluster takes builds".to_owned());
    let service = initialized.context_service.then(|| "the context service of kaniko serves".to_owned());
    or("nothing has to be installed", [registry, daemon, service].into_iter().flatten())
}

fn swept_in_words(swept: &SweepReport) -> String {
    let removed = swept.removed.iter().map(|object| format!("removed {object}"));
    let stopped = swept.stopped.iter().map(|object| format!("stopped {object}"));
    or("nothing was left behind", removed.chain(stopped))
}

fn or(nothing: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() { nothing.to_owned() } else { lines.join("\n") }
}
