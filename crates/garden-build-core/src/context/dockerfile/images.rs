//! Which images a build may pull, as far as this is known without building. Who looks for credentials wants to know; an image too
//! many does no harm there.

use std::collections::BTreeSet;

use super::build::{Base, Build};
use super::stages::{Command, Mount, Outline};
use crate::{BuildRequest, ImageReference};

/// Where it is not said which platform is built for, it is one of these, nearly always. Names of images seldom depend on it.
const USUAL_PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// The image of the frontend that reads the Dockerfile, if it names one.
pub(super) fn frontend(outline: &Outline, request: &BuildRequest) -> Option<ImageReference> {
    let syntax = request.build_args.get("BUILDKIT_SYNTAX").or(outline.syntax.as_ref())?;
    syntax.split(' ').next()?.parse().ok()
}

/// The images of all stages.
pub(super) fn of(outline: &Outline, request: &BuildRequest) -> Vec<ImageReference> {
    let mut names: Vec<String> = Vec::new();
    let platforms: Vec<&str> = if request.platforms.is_empty() {
        USUAL_PLATFORMS.to_vec()
    } else {
        request.platforms.iter().map(String::as_str).collect()
    };
    for platform in platforms {
        let build = Build::likely(outline, request, Some(platform));
        for (stage, base) in outline.stages.iter().zip(&build.bases) {
            if let Base::Image(name) = base {
                names.push(name.clone());
            }
            names.extend(stage.commands.iter().filter_map(|command| source(outline, command)));
        }
    }
    let is_replaced =
        |name: &String| request.contexts.keys().any(|context| context.eq_ignore_ascii_case(name));
    let mut seen = BTreeSet::new();
    names.retain(|name| !is_replaced(name) && seen.insert(name.clone()));
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// The image that `command` copies from or mounts.
fn source(outline: &Outline, command: &Command) -> Option<String> {
    let (Command::Copy { from: Some(from), .. } | Command::Mount(Mount { from: Some(from), .. })) = command
    else {
        return None;
    };
    let is_stage = from == "scratch" || from.parse::<i64>().is_ok() || outline.stage_called(from).is_some();
    (!is_stage).then(|| from.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NamedContext;

    fn names(dockerfile: &str, request: &BuildRequest) -> Vec<String> {
        of(&Outline::parse(dockerfile.as_bytes()), request).iter().map(ImageReference::name).collect()
    }

    fn request() -> BuildRequest {
        BuildRequest::new("test", ".")
    }

    #[test]
    fn written_out_images_are_found_and_stages_are_not() {
        let dockerfile = "# FROM commented/out\nARG BASE=x\nFROM --platform=linux/amd64 one.example/a:1 AS build\n\
            from two.example:5000/team/b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
            FROM Build\nFROM scratch\nCOPY --from=0 a b\nCOPY --from=build a b\nFROM busybox\n";
        assert_eq!(
            names(dockerfile, &request()),
            ["one.example/a", "two.example:5000/team/b", "docker.io/library/busybox"]
        );
    }

    #[test]
    fn images_behind_variables_are_found() {
        let dockerfile = "ARG REG=one.example\nARG BASE=\"${REG}/team/os\"\nFROM ${BASE}:1 AS a\n\
            FROM ${REG}/base:${TARGETARCH}\nFROM $UNDECLARED/x\n";
        assert_eq!(
            names(dockerfile, &request()),
            ["one.example/team/os", "one.example/base", "one.example/base"]
        );
        let given = request().build_arg("REG", "two.example").platform("linux/arm64");
        assert_eq!(names(dockerfile, &given), ["two.example/team/os", "two.example/base"]);
    }

    #[test]
    fn a_variable_of_the_platform_may_be_declared_before_the_first_stage() {
        let request = request().platform("linux/arm64");
        let dockerfile = "ARG TARGETARCH\nFROM one.example/base-$TARGETARCH\n";
        assert_eq!(names(dockerfile, &request), ["one.example/base-arm64"]);
        let dockerfile = "ARG TARGETARCH=amd64\nFROM one.example/base-$TARGETARCH\n";
        assert_eq!(names(dockerfile, &request), ["one.example/base-amd64"]);
    }

    #[test]
    fn images_that_are_copied_from_and_mounted_are_found_and_named_contexts_are_not() {
        let dockerfile = "FROM scratch\nCOPY --from=one.example/files /a /b\nADD https://x.example/y /y\n\
            RUN --mount=type=bind,from=two.example/tools,target=/t --mount=type=cache,target=/c true\n\
            COPY --from=Extra /a /b\n";
        let request = request().context("extra", NamedContext::Image("three.example/x".to_owned()));
        assert_eq!(names(dockerfile, &request), ["one.example/files", "two.example/tools"]);
    }

    #[test]
    fn the_frontend_is_an_image_by_itself() {
        let frontend = |dockerfile: &str, request: &BuildRequest| {
            frontend(&Outline::parse(dockerfile.as_bytes()), request).map(|image| image.name())
        };
        let dockerfile = "# syntax=one.example/frontend:1 some words\nFROM busybox\n";
        assert_eq!(names(dockerfile, &request()), ["docker.io/library/busybox"]);
        assert_eq!(frontend(dockerfile, &request()).as_deref(), Some("one.example/frontend"));
        let other = request().build_arg("BUILDKIT_SYNTAX", "two.example/frontend");
        assert_eq!(frontend(dockerfile, &other).as_deref(), Some("two.example/frontend"));
        assert_eq!(frontend("FROM busybox\n", &request()), None);
    }

    #[test]
    fn what_is_doubtful_hides_no_image_behind_it() {
        let dockerfile = "#!/usr/bin/x\nNONSENSE\nFROM one.example/a\nCOPY --new=1 a /\nCOPY --from=two.example/b a /\nRUN <<EOF\n";
        assert_eq!(names(dockerfile, &request()), ["one.example/a", "two.example/b"]);
    }
}
