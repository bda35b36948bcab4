//! Docker's grammar of image names.
//!
//! The crate `oci_spec` has it as one regular expression, which takes 50 ms and 18 MiB to compile: more than all else that
//! is done for an image that exists. It is the oracle of the tests here.
//!
//! Source: `github.com/distribution/reference`, `reference.go`, `regexp.go` and `normalize.go`.

use super::ImageReference;

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_OF_OLD: &str = "index.docker.io";
const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;

/// The tag of a name that has neither a tag nor a digest.
const DEFAULT_TAG: &str = "latest";

/// Why a text is not the name of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("repository name must have at least one component")]
    Empty,
    #[error("repository name must not be more than {LONGEST_REPOSITORY} characters")]
    TooLong,
    #[error("invalid reference format")]
    Format,
    #[error("invalid checksum digest length")]
    DigestLength,
    #[error("unsupported digest algorithm")]
    DigestAlgorithm,
}

/// Reads `[host[:port]/]repository[:tag][@digest]`.
pub(super) fn parse(text: &str) -> Result<ImageReference, Problem> {
    if text.is_empty() {
        return Err(Problem::Empty);
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        // Otherwise it is a port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let (registry, repository) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (DOCKER_HUB, name),
    };
    // As the expression may take a host for a part of the path, underscores are allowed where there is no port.
    let is_registry = is_host(registry) || is_path_component(registry);
    let is_name = is_registry && repository.split('/').all(is_path_component);
    if !is_name || !tag.is_none_or(is_tag) {
        return Err(Problem::Format);
    }
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    let registry = if registry == DOCKER_HUB_OF_OLD { DOCKER_HUB } else { registry };
    let repository = if registry == DOCKER_HUB && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    };
    if repository.len() > LONGEST_REPOSITORY {
        return Err(Problem::TooLong);
    }
    let tag = if digest.is_none() { tag.or(Some(DEFAULT_TAG)) } else { tag };
    Ok(ImageReference {
        registry: registry.to_owned(),
        repository,
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    })
}

/// Labels with dots between them, and perhaps a port.
fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, "0"));
    let is_label = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && label.ends_with(|c: char| c.is_ascii_alphanumeric())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.split('.').all(is_label) && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Lower-case letters and digits; between them a dot, one or two underscores, or dashes.
fn is_path_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    text.starts_with(is_word) && text.ends_with(is_word) && text.split(is_word).all(is_separator)
}

pub(super) fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

fn check_digest(text: &str) -> Result<(), Problem> {
    let (algorithm, value) = text.split_once(':').ok_or(Problem::Format)?;
    if !value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Problem::Format);
    }
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(Problem::DigestAlgorithm),
    };
    if value.len() == length { Ok(()) } else { Err(Problem::DigestLength) }
}

#[cfg(test)]
mod tests {
    use oci_spec::distribution::Reference;
    use proptest::prelude::*;

    use super::*;

    /// What `oci_spec` makes of `text`, as our type.
    fn by_the_regular_expression(text: &str) -> Option<ImageReference> {
        let theirs: Reference = text.parse().ok()?;
        Some(ImageReference {
            registry: theirs.registry().to_owned(),
            repository: theirs.repository().to_owned(),
            tag: theirs.tag().map(str::to_owned),
            digest: theirs.digest().map(str::to_owned),
        })
    }

    /// What is nearly a reference: its parts are often right, and sometimes not.
    fn nearly() -> impl Strategy<Value = String> {
        let host = prop_oneof![
            "localhost",
            "docker.io",
            "index.docker.io",
            "[a-zA-Z0-9.-]{1,8}",
            "[a-z0-9._-]{1,8}",
            "[a-z]{1,3}:[0-9]{0,4}"
        ];
        let host = prop_oneof![Just(String::new()), host.prop_map(|host| format!("{host}/"))];
        let path = prop_oneof![
            "[a-z0-9]{1,4}",
            "[a-z0-9._/-]{1,12}",
            "[a-z](_{1,3}|-{1,3}|[.]{1,2})[a-z]",
            "[a-z/]{250,260}"
        ];
        let tag = prop_oneof!["", ":[a-zA-Z0-9_.-]{0,6}", ":[a-z]{126,130}", "[:@/]{1,2}"];
        let digest = prop_oneof![
            "",
            "@sha(256|384|512):([0-9a-fA-F]{64}|[0-9a-f]{96}|[0-9a-f]{128})",
            "@[a-z0-9+]{1,6}:[0-9a-g]{60,64}",
            "@[a-f0-9]{3}"
        ];
        (host, path, tag, digest).prop_map(|(host, path, tag, digest)| format!("{host}{path}{tag}{digest}"))
    }

    proptest! {
        #[test]
        fn means_what_the_regular_expression_means(text in prop_oneof![nearly(), "[a-z:/@.-]{0,12}"]) {
            match (parse(&text), by_the_regular_expression(&text)) {
                (Ok(ours), Some(theirs)) => {
                    prop_assert_eq!(ours.to_string(), text.parse::<Reference>().expect("parsed").to_string());
                    prop_assert_eq!(ours, theirs);
                }
                // It takes the first word for a host, and then not.
                (Err(_), Some(theirs)) => prop_assert_ne!(theirs.repository().to_lowercase(), theirs.repository()),
                (ours, None) => prop_assert!(ours.is_err(), "{ours:?}"),
            }
        }
    }

    #[test]
    fn a_host_may_have_underscores() {
        let text = "my_registry.example/api:1";
        assert_eq!(parse(text).ok(), by_the_regular_expression(text));
        assert_eq!(parse(text).expect("valid").registry(), "my_registry.example");
    }

    #[test]
    fn letters_are_those_of_ascii() {
        for text in ["registry.example/api:größe", "registry.example/größe:1", "bücher.example/api"] {
            assert_eq!(parse(text), Err(Problem::Format), "{text}");
        }
    }
}
