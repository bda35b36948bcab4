use std::fs;

use garden_build_core::context::{DigestCache, Reader, StagesBuilt};

use super::*;

const OLD: &str = "gcr.io/kaniko-project/executor:v1.24.0-debug";
/// Knows texts, but not in its cache.
const MIDDLE: &str = "ghcr.io/osscontainertools/kaniko:v1.27.0-debug";
const NEW: &str = KanikoOptions::DEFAULT_IMAGE;
const NAMELESS: &str = "company.example/builder:latest";

fn judged(
    image: &str,
    dockerfile: &str,
    request: impl FnOnce(BuildRequest) -> BuildRequest,
) -> Result<Vec<Caveat>> {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::write(directory.path().join("Dockerfile"), dockerfile).expect("file");
    #[cfg(unix)]
    std::os::unix::fs::symlink("Dockerfile", directory.path().join("link")).expect("link");
    let request = request(BuildRequest::new("api", directory.path()));
    let reader = Reader::new(StagesBuilt::ThroughTarget, &[]);
    let context = Context::scan_for(&request, &reader, &DigestCache::none(), &|| false).expect("context");
    let mut options = KanikoOptions::default();
    options.image = image.to_owned();
    judge(&options, &request, &context)
}

/// What becomes of a Dockerfile: `refused: …`, or `warned: …`, or `fine`.
fn verdict(image: &str, instruction: &str) -> String {
    match judged(image, &format!("FROM scratch\n{instruction}\n"), |request| request) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.hint().is_some_and(|hint| hint.contains("BuildKit")), "{error:?}");
            format!("refused: {}", error.message())
        }
        Ok(caveats) => match caveats.first() {
            Some(caveat) => format!("warned: {}", caveat.message),
            None => "fine".to_owned(),
        },
    }
}

#[test]
fn what_an_executor_passes_over_is_refused_or_warned_of_by_its_version() {
    let (fine, refused, warned) = ("fine", "refused", "warned");
    for (instruction, old, new, nameless) in [
        ("RUN <<EOF\necho\nEOF", refused, fine, warned),
        ("RUN cat <<-\"EOF\" > /x\necho\nEOF", refused, fine, warned),
        ("RUN <<\"EOF\"\necho\nEOF", refused, refused, refused),
        ("RUN <<-EOF\necho\nEOF", refused, refused, refused),
        ("RUN <<EOF\n#!/bin/sh\necho\nEOF", refused, fine, warned),
        ("RUN <<EOF\n#!/usr/bin/python3\nprint()\nEOF", refused, refused, refused),
        ("RUN <<EOF\n#!/usr/bin/env python3\nprint()\nEOF", refused, refused, refused),
        ("RUN <<EOF\n#!/bin/ash\necho\nEOF", refused, fine, warned),
        ("RUN <<EOF\n#!/bin/bash\necho\nEOF", refused, warned, warned),
        ("RUN <<EOF\n#!/usr/bin/env bash\necho\nEOF", refused, warned, warned),
        ("RUN <<EOF\n#!/bin/sh -e\necho\nEOF", refused, refused, refused),
        ("RUN <<EOF\nx=1; echo $x\nEOF", refused, refused, refused),
        ("RUN <<EOF\necho `date`\nEOF", refused, refused, refused),
        ("RUN <<EOF\necho a\\ b\nEOF", refused, refused, refused),
        ("RUN sh <<\"EOF\"\nx=1; echo $x\nEOF", refused, fine, warned),
        ("RUN cat <<EOF > /x\n$a\nEOF", refused, fine, warned),
        ("COPY <<EOF /x\na\nEOF", refused, fine, warned),
        ("COPY <<'EOF' /x\n$a\nEOF", refused, fine, warned),
        ("COPY <<EOF /x\n$a\nEOF", refused, warned, warned),
        ("RUN --mount=type=bind,target=/x true", refused, fine, warned),
        ("RUN --mount=target=/x true", refused, fine, warned),
        ("RUN --mount=from=busybox,target=/x true", refused, refused, refused),
        ("RUN --mount=type=cache,target=/x true", warned, fine, warned),
        ("RUN --mount=type=tmpfs,target=/x true", warned, warned, warned),
        ("RUN --mount=type=secret,id=a true", fine, fine, fine),
        ("RUN --network=none true", warned, warned, warned),
        ("COPY --parents a/b /", refused, refused, refused),
        ("COPY --parents=false a/b /", fine, fine, fine),
        ("COPY --exclude=*.md a /", refused, refused, refused),
        ("COPY --link --chown=1 --chmod=644 a /", fine, fine, fine),
        ("ADD --checksum=sha256:0 https://x.example/a /", warned, warned, warned),
        ("ADD https://x.example/a.git#main /", refused, refused, refused),
        ("ADD https://x.example/a.tgz /", fine, fine, fine),
        ("ADD --unpack a.tgz /", fine, fine, fine),
        ("ADD --unpack=false a.tgz /", refused, refused, refused),
        ("ADD --unpack https://x.example/a.tgz /", refused, refused, refused),
        ("ADD --unpack=false https://x.example/a.tgz /", fine, fine, fine),
        ("ARG TARGETARCH", warned, fine, warned),
        ("ARG TARGETARCH=amd64", fine, fine, fine),
    ] {
        for (image, expected) in [(OLD, old), (NEW, new), (NAMELESS, nameless)] {
            let verdict = verdict(image, instruction);
            assert!(verdict.starts_with(expected), "{instruction} by {image}: {verdict}");
        }
    }
}

#[test]
fn says_where_it_stands_which_version_it_is_and_which_would_do() {
    let error =
        judged(OLD, "FROM scratch\n\nRUN \\\n  <<EOF\necho\nEOF\n", |request| request).expect_err("old");
    assert_eq!(
        error.message(),
        "Dockerfile, line 3: kaniko v1.24.0 does not know `RUN <<EOF`: the step gets no text, and may do nothing"
    );
    let hint = error.hint().expect("hint");
    assert!(hint.contains("`kaniko.image`") && hint.contains("v1.25.4") && hint.contains(NEW), "{hint}");
}

#[test]
fn says_how_a_text_is_to_be_written() {
    let error =
        judged(NEW, "FROM scratch\nRUN <<EOF\necho $PATH\nEOF\n", |request| request).expect_err("text");
    assert!(
        error.message().contains("line 2: kaniko does not know `$`, a backtick or a backslash"),
        "{error}"
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("`RUN sh <<\"EOF\"`")), "{error:?}");
}

#[test]
fn texts_are_refused_where_the_cache_does_not_know_them_unless_it_is_off() {
    for text in ["COPY <<EOF /x\na\nEOF", "RUN <<EOF\necho\nEOF", "RUN cat <<EOF\na\nEOF"] {
        let dockerfile = format!("FROM scratch\n{text}\n");
        let error = judged(MIDDLE, &dockerfile, |request| request).expect_err(text);
        let hint = error.hint().expect("hint");
        assert!(hint.contains("v1.28.1") && hint.contains("`--cache=false`"), "{hint}");
        let off = judged(MIDDLE, &dockerfile, |request| request.extra_flag("--cache=false"));
        assert_eq!(off.expect("no cache"), [], "{text}");
        let off = judged(MIDDLE, &dockerfile, |request| request.no_cache(true));
        assert_eq!(off.expect("no cache"), [], "{text}");
    }
    assert_eq!(judged(MIDDLE, "FROM scratch\nRUN true\n", |request| request).expect("fine"), []);
}

#[test]
fn what_no_needed_stage_uses_does_not_matter() {
    let dockerfile = "FROM scratch AS unused\nRUN <<EOF\nEOF\nFROM scratch AS used\nRUN true\nFROM scratch\nCOPY --from=used / /\n";
    assert_eq!(judged(OLD, dockerfile, |request| request).expect("fine"), []);
    assert!(judged(OLD, dockerfile, |request| request.target("unused")).is_err());
}

#[test]
fn variables_of_the_platform_are_told_of_where_they_stay_empty() {
    let dockerfile = "ARG BUILDARCH\nFROM scratch\nARG TARGETARCH\nARG TARGETPLATFORM\n";
    let names = |request: fn(BuildRequest) -> BuildRequest| {
        let caveats = judged(OLD, dockerfile, request).expect("fine").into_iter();
        caveats.map(|caveat| caveat.message.split('`').nth(1).expect("name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(|request| request), ["BUILDARCH", "TARGETARCH", "TARGETPLATFORM"]);
    assert_eq!(names(|request| request.platform("linux/arm64")), ["BUILDARCH"]);
    assert_eq!(
        names(|request| request.build_arg("TARGETARCH", "x").build_arg("BUILDARCH", "y")),
        ["TARGETPLATFORM"]
    );
    // This platform has a name that BuildKit would change, so nothing is supplied.
    assert_eq!(names(|request| request.platform("linux/aarch64")).len(), 3);
}

#[test]
fn a_stage_for_another_platform_is_told() {
    let dockerfile =
        "FROM --platform=linux/amd64 scratch\nFROM --platform=$BUILDPLATFORM scratch\nCOPY --from=0 / /";
    let caveats = |platform| judged(NEW, dockerfile, |request| request.platform(platform)).expect("fine");
    assert_eq!(caveats("linux/amd64"), []);
    let caveat = &caveats("linux/arm64")[0];
    assert!(caveat.message.contains("`FROM --platform=linux/amd64`"));
    assert_eq!(caveat.data, Some(WarningData::Dockerfile { line: Some(1), url: None }));
}

#[cfg(unix)]
#[test]
fn a_link_that_is_copied_itself_is_told() {
    let caveats = judged(NEW, "FROM scratch\nCOPY link /x\n", |request| request).expect("fine");
    assert!(caveats[0].message.starts_with("`link` is a symbolic link"), "{caveats:?}");
    assert_eq!(caveats[0].data, Some(WarningData::File { context: None, path: "link".to_owned() }));
    assert_eq!(judged(NEW, "FROM scratch\nCOPY . /x\n", |request| request).expect("fine"), []);
}
