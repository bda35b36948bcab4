//! Where the executor looks for base images, as its flags say.

use garden_build_core::{BuildRequest, ImageReference, Result};
use garden_cluster::{ImageSources, PushTarget, RegistryAccess};

use crate::flags;

/// What go-containerregistry, and so the executor's flags, call Docker Hub.
/// Source: go-containerregistry, `pkg/name/registry.go`, `DefaultRegistry`.
const DOCKER_HUB: &str = "index.docker.io";

/// Describes where a build of `request` looks for base images, with the flags `extra_flags` besides those of the request. Images go to
/// `target`.
///
/// A mirror that cannot be asked from here, as its certificate is only in the executor's pod, is passed over by whoever asks.
///
/// Source: kaniko, README, `--registry-map`, `--registry-mirror` and `--skip-default-registry-fallback`;
/// `cmd/executor/cmd/root.go` makes mirrors the last of what Docker Hub is mapped to, and `pkg/image/remote/remote.go` tries one after
/// the other, whatever the failure.
///
/// # Errors
/// If the flags cannot be used.
pub fn image_sources(
    target: &PushTarget,
    extra_flags: &[String],
    request: &BuildRequest,
) -> Result<ImageSources> {
    let words = flags::merge(&[flags::parse(&request.extra_flags)?, flags::parse(extra_flags)?]);
    let maps = values(&words, "registry-map");
    let maps = maps.iter().flat_map(|map| map.split(';')).filter_map(|map| map.split_once('='));
    // The executor looks Docker Hub up by its other name only, so that this one maps nothing.
    let maps = maps.filter(|(of, _)| *of != "docker.io");
    let mirrors = values(&words, "registry-mirror");
    let mirrors: Vec<(&str, &str)> = maps.chain(mirrors.iter().map(|mirror| (DOCKER_HUB, *mirror))).collect();

    let insecure = values(&words, "insecure-registry");
    let is_insecure = |host: &str| is_set(&words, "insecure-pull") || insecure.contains(&host);
    let hosts = mirrors.iter().map(|(_, at)| at.split('/').next().unwrap_or(at));
    let hosts = hosts.chain(insecure.iter().copied()).filter(|host| *host != target.reached.host());
    let registries =
        hosts.map(|host| RegistryAccess { insecure: is_insecure(host), ..RegistryAccess::ordinary(host) });
    let sources = ImageSources::new([target.access()].into_iter().chain(registries).collect());

    let sources = sources.only_mirrors(is_set(&words, "skip-default-registry-fallback"));
    Ok(mirrors.into_iter().fold(sources, |sources, (of, at)| {
        sources.mirror(if of == DOCKER_HUB { "docker.io" } else { of }, at)
    }))
}

/// Returns the repository that a build of `request` keeps layers in, with the flags `extra_flags` besides those of the request; `None` if it is a
/// directory. Images are called `image_name`.
///
/// # Errors
/// If the flags cannot be used.
pub(crate) fn cache_repository(
    image_name: &str,
    extra_flags: &[String],
    request: &BuildRequest,
) -> Result<Option<String>> {
    let words = flags::merge(&[
        flags::parse(&request.extra_flags)?,
        flags::parse(extra_flags)?,
        flags::defaults(image_name),
    ]);
    let repository = values(&words, "cache-repo").last().copied().unwrap_or_default();
    // By the full name of its registry. Source: kaniko, `pkg/cache/cache.go` (`Destination`; `oci:` is a directory's beginning).
    let image = repository.parse::<ImageReference>().ok().filter(|_| !repository.starts_with("oci:"));
    Ok(image.map(|image| image.name()))
}

/// Returns the values of a flag, which stand after `=` or in the next word.
fn values<'w>(words: &'w [String], name: &str) -> Vec<&'w str> {
    let next = words.iter().skip(1).map(|word| Some(word.as_str())).chain([None]);
    let values = words.iter().zip(next).filter_map(|(word, next)| {
        match word.trim_start_matches('-').split_once('=') {
            Some((flag, value)) => (flag == name).then_some(value),
            None => next.filter(|_| is_flag(word, name)),
        }
    });
    values.collect()
}

/// Whether a flag that has no value, or `true` or `false`, is set. The last one counts.
fn is_set(words: &[String], name: &str) -> bool {
    let set = words.iter().rev().find_map(|word| match word.trim_start_matches('-').split_once('=') {
        Some((flag, value)) => (word.starts_with('-') && flag == name).then_some(value != "false"),
        None => is_flag(word, name).then_some(true),
    });
    set.unwrap_or(false)
}

fn is_flag(word: &str, name: &str) -> bool {
    word.starts_with('-') && word.trim_start_matches('-') == name
}

#[cfg(test)]
mod tests {
    use garden_config::DeploymentRegistry;

    use super::*;

    /// Where `image` is looked for, and whether by plain HTTP.
    fn sources(extra_flags: &[&str], request: &[&str], image: &str) -> Vec<(String, bool)> {
        let registry = DeploymentRegistry::new("registry.example").expect("valid");
        let target = PushTarget::read("deploymentRegistry", &registry).expect("no certificate");
        let flags: Vec<String> = extra_flags.iter().map(|&flag| flag.to_owned()).collect();
        let request =
            request.iter().fold(BuildRequest::new("api", "."), |request, flag| request.extra_flag(*flag));
        let sources = image_sources(&target, &flags, &request).expect("valid flags");
        let sources = sources.of(&image.parse().expect("a reference")).into_iter();
        sources.map(|(access, image)| (image.to_string(), access.insecure)).collect()
    }

    fn plain(names: &[&str]) -> Vec<(String, bool)> {
        names.iter().map(|name| ((*name).to_owned(), false)).collect()
    }

    #[test]
    fn without_flags_the_registry_is_asked() {
        assert_eq!(sources(&[], &[], "busybox:1"), plain(&["docker.io/library/busybox:1"]));
    }

    #[test]
    fn maps_come_before_mirrors_and_both_before_the_registry() {
        let flags = [
            "--registry-mirror=one.example",
            "--registry-mirror",
            "two.example:5000",
            "--registry-map=gcr.io=g.example;index.docker.io=hub.example/cache",
        ];
        let expected = [
            "hub.example/cache/library/busybox:1",
            "one.example/library/busybox:1",
            "two.example:5000/library/busybox:1",
            "docker.io/library/busybox:1",
        ];
        assert_eq!(sources(&flags, &[], "busybox:1"), plain(&expected));
        assert_eq!(sources(&flags, &[], "gcr.io/x/y:1"), plain(&["g.example/x/y:1", "gcr.io/x/y:1"]));
    }

    #[test]
    fn a_request_s_flag_takes_the_place_of_the_provider_s() {
        let provider = ["--registry-mirror=one.example", "--insecure-registry=two.example:5000"];
        let found = sources(&provider, &["--registry-mirror=two.example:5000"], "busybox:1");
        let expected = [("two.example:5000/library/busybox:1".to_owned(), true)];
        assert_eq!(found, [&expected[..], &plain(&["docker.io/library/busybox:1"])].concat());
    }

    #[test]
    fn docker_hub_is_not_asked_where_the_executor_does_not() {
        let mirror = "--registry-mirror=one.example";
        let only = "--skip-default-registry-fallback";
        assert_eq!(sources(&[mirror, only], &[], "busybox:1"), plain(&["one.example/library/busybox:1"]));
        let off = "--skip-default-registry-fallback=false";
        assert_eq!(sources(&[mirror, off], &[], "busybox:1").len(), 2);
    }
}
