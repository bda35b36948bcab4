//! Registries that are known by their hosts' names: Docker Hub's, and those of clouds, which have ways of their own.

/// The name by which Docker Hub's credentials are keyed in every Docker configuration.
///
/// Source: docker/cli, `registry.IndexServer`.
pub const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The name that stands for Docker Hub in image references.
pub const DOCKER_HUB: &str = "docker.io";

/// Where Docker Hub serves the distribution API.
pub const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// Returns whether `host` is one of the names under which people know Docker Hub.
///
/// `hub.docker.com` is its web page, not a registry, but Garden's guide uses it as one.
fn is_docker_hub(host: &str) -> bool {
    [DOCKER_HUB, DOCKER_HUB_API, "index.docker.io", "hub.docker.com", "registry.hub.docker.com"]
        .contains(&host)
}

/// Returns the one name under which a registry's credentials are kept: lower case, one for Docker Hub.
pub(crate) fn canonical(registry: &str) -> String {
    let lower = registry.to_ascii_lowercase();
    if is_docker_hub(&lower) { DOCKER_HUB.to_owned() } else { lower }
}

/// Returns whether `hostname` is Google Container Registry, which takes nothing but images.
pub fn is_google_container_registry(hostname: &str) -> bool {
    let hostname = hostname.to_ascii_lowercase();
    hostname == "gcr.io" || hostname.ends_with(".gcr.io")
}

/// Returns whether `hostname` is AWS' registry: `<account>.dkr.ecr.<region>.amazonaws.com`, the same with
/// `-fips` or in China, the names that have IPv6 (`<account>.dkr-ecr.<region>.on.aws`), or the public
/// registry, which takes the same kinds of manifests.
pub fn is_elastic_container_registry(hostname: &str) -> bool {
    let hostname = hostname.to_ascii_lowercase();
    matches!(
        hostname.split('.').collect::<Vec<_>>().as_slice(),
        ["public", "ecr", "aws"]
            | ["ecr-public", "aws", "com"]
            | [_, "dkr", "ecr" | "ecr-fips", _, "amazonaws", "com"]
            | [_, "dkr", "ecr" | "ecr-fips", _, "amazonaws", "com", "cn"]
            | [_, "dkr-ecr" | "dkr-ecr-fips", _, "on", "aws"]
    )
}

/// Returns whether `hostname` is Google's Artifact Registry: `<location>-docker.pkg.dev`.
pub fn is_google_artifact_registry(hostname: &str) -> bool {
    hostname.to_ascii_lowercase().ends_with("-docker.pkg.dev")
}
