//! What older builders do not know of a Dockerfile: some pass over it without a word, which must not go unnoticed.

use std::os::unix::fs::symlink;

use garden_build::ErrorKind;

use super::image::Content;
use super::{Case, Mode, Seen};
use crate::site::warnings;

pub(super) async fn texts(case: &mut Case<'_>) -> Seen {
    case.project
        .dockerfile("RUN <<EOF\necho one > /one\necho two > /two\nEOF\nCOPY <<EOF /three\nthree\nEOF\n");
    if !case.mode.has_buildkit() {
        return case.refuse_dockerfile().await;
    }
    let files = case.build_files(case.request()).await;
    assert_eq!(["one", "two", "three"].map(|name| files.text(name)), ["one\n", "two\n", "three\n"]);
    Seen::Works
}

pub(super) async fn bind_mounts(case: &mut Case<'_>) -> Seen {
    case.project.file("given.txt", "given");
    case.project.dockerfile("RUN --mount=type=bind,target=/context cp /context/given.txt /kept.txt\n");
    match case.mode {
        Mode::Kaniko => return case.refuse_dockerfile().await,
        Mode::ClusterDocker | Mode::LocalDockerClassic => {
            let error = case.fail(case.request()).await;
            assert_eq!(error.kind(), ErrorKind::BuildFailed, "{error:?}");
            assert!(error.message().contains("requires BuildKit"), "{error:?}");
            return Seen::Lacks("the daemon refuses it: the classic builder knows no mounts");
        }
        _ => {}
    }
    let files = case.build_files(case.request()).await;
    assert_eq!(files.text("kept.txt"), "given");
    assert!(!files.contains("context/given.txt"), "what is mounted stays out of the image");
    Seen::Works
}

pub(super) async fn platform_variables(case: &mut Case<'_>) -> Seen {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let platform = format!("linux/{architecture}");
    case.project.dockerfile(
        "ARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETARCH\nRUN echo \"$TARGETPLATFORM $TARGETOS $TARGETARCH\" > /platform\n",
    );
    let files = case.build_files(case.request().platform(&platform)).await;
    assert_eq!(files.text("platform"), format!("{platform} linux {architecture}\n"));
    Seen::Works
}

pub(super) async fn copied_links(case: &mut Case<'_>) -> Seen {
    case.project.file("target.txt", "the target's");
    symlink("target.txt", case.project.path().join("link.txt")).unwrap();
    case.project.file("Dockerfile", "FROM scratch\nCOPY link.txt /out/copied.txt\n");
    let (image, events) = case.build_and_watch(case.request()).await;
    let files = super::image::files(&image.reference).await;
    if case.mode == Mode::Kaniko {
        assert_eq!(files.below("out")["copied.txt"].content, Content::Link("target.txt".to_owned()));
        let said = warnings(&events);
        assert!(said.len() == 1 && said[0].contains("link.txt"), "{said:?}");
        return Seen::Differs("it is copied as a link, and a warning says so");
    }
    assert_eq!(files.text("out/copied.txt"), "the target's");
    assert_eq!(warnings(&events), [""; 0]);
    Seen::Works
}

pub(super) async fn excluded_from_copy(case: &mut Case<'_>) -> Seen {
    case.project.file("docs/guide.txt", "the guide");
    case.project.file("docs/draft.md", "a draft");
    case.project.file("Dockerfile", "FROM scratch\nCOPY --exclude=*.md docs /docs/\n");
    if !case.mode.has_buildkit() {
        return case.refuse_dockerfile().await;
    }
    let files = case.build_files(case.request()).await;
    assert_eq!(files.names_below("docs"), ["guide.txt"]);
    Seen::Works
}
