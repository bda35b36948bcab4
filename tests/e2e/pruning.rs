//! Only what the Dockerfile reads is part of the context, and the image is none other for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use garden_build::{BuildRequest, Builder, BuiltImage, Outcome, Result};
use serde_json::Value;

use crate::site::{Project, in_project, registry, variable};

/// The forms that need what the cluster's builders do not reach or have.
const NOT_BUILT: &[&str] = &["add_remote", "other_frontend", "stock_frontend"];

/// The Dockerfiles of all forms, by name.
fn forms() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfiles");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let forms = files.map(|path| {
        (path.file_stem().unwrap().to_str().unwrap().replace('_', "-"), fs::read(&path).unwrap())
    });
    let mut forms: Vec<_> =
        forms.filter(|(name, _)| !NOT_BUILT.contains(&name.replace('-', "_").as_str())).collect();
    forms.sort();
    forms
}

/// Writes what the Dockerfiles read, and what they do not.
fn tree(project: &Project) {
    for path in [
        "app/main.go",
        "app/.hidden",
        "app/lib/util.go",
        "app/lib/data.txt",
        "app/lib/x.txt",
        "bin/amd64/tool",
        "bin/arm64/tool",
        "docs/readme.md",
        "docs/guide.txt",
        "package.json",
        "package-lock.json",
        "services/api/package.json",
        "services/api/src/a.txt",
        "services/web/package.json",
        "services/web/deep/er/package.json",
        "unread/other.txt",
        "with space.txt",
    ] {
        project.file(path, format!("contents of {path}\n"));
    }
    for (link, target) in [
        ("current", "app/lib"),
        ("linked.txt", "docs/readme.md"),
        ("chain", "services/../latest"),
        ("latest", "docs"),
    ] {
        symlink(target, project.path().join(link)).unwrap();
    }
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    archive.append_data(&mut header, "unpacked.txt", &b"text"[..]).unwrap();
    project.file("archive.tar", archive.into_inner().unwrap());
}

/// The layers of an image, uncompressed.
async fn layers(image: &BuiltImage) -> Value {
    registry::config(&image.reference).await["rootfs"]["diff_ids"].clone()
}

/// Builds every form twice: with the whole context, and with what the Dockerfile reads. Both must come to the
/// same. Returns how many have been built.
async fn compare(project: &Project, flags: &[&str]) -> usize {
    tree(project);
    let builder = project.builder();
    let mut built = 0;
    for (form, dockerfile) in forms() {
        project.file("Dockerfile", &dockerfile);
        let request = |name: String| {
            let request = BuildRequest::new(name, project.path());
            let request = request.build_arg("BASE", variable("GARDEN_TEST_BASE_IMAGE"));
            let request = if form == "target" { request.target("wanted") } else { request };
            flags.iter().fold(request, |request, flag| request.extra_flag(*flag))
        };
        let whole = builder.build(request(format!("whole-{form}")).whole_context(true)).await;
        let read = builder.build(request(format!("read-{form}"))).await;
        match (whole, read) {
            (Ok(whole), Ok(read)) => {
                assert_eq!(layers(&whole).await, layers(&read).await, "{form}");
                built += 1;
            }
            (Err(whole), Err(read)) => {
                println!("{form} is not built: {}", whole.message());
                assert_eq!(whole.kind(), read.kind(), "{form}: {whole:?} {read:?}");
            }
            (whole, read) => panic!("{form}: {whole:?} but {read:?}"),
        }
    }
    built
}

#[tokio::test]
async fn with_buildkit_every_form_of_dockerfile_gives_the_same_layers_from_what_it_reads() {
    in_project("prune-bk", async |project| {
        project.buildkit();
        let built = compare(project, &[]).await;
        assert_eq!(built, forms().len());
    })
    .await;
}

#[tokio::test]
#[ignore = "takes two pods for each of three dozen Dockerfiles"]
async fn with_kaniko_every_form_of_dockerfile_gives_the_same_layers_from_what_it_reads() {
    in_project("prune-kaniko", async |project| {
        // Else, layers contain the time of the build.
        let built = compare(project, &["--reproducible"]).await;
        assert!(built > forms().len() / 2, "{built} of {}", forms().len());
    })
    .await;
}

/// Builds twice, with an edit in between, and tells whether the second image is another one.
async fn edit(builder: &Builder, project: &Project, path: &str) -> Result<bool> {
    let before = builder.build(project.request()).await?;
    project.file(path, "edited\n");
    let after = builder.build(project.request()).await?;
    assert_eq!(after.outcome == Outcome::AlreadyExists, after.reference == before.reference);
    Ok(after.reference != before.reference)
}

/// A base image that has triggers: its name.
async fn base_with_triggers(project: &Project) -> String {
    project.dockerfile("RUN mkdir /app\nONBUILD COPY . /app\n");
    let base = project.builder().build(BuildRequest::new("base", project.path())).await.unwrap();
    base.reference.to_string()
}

async fn triggers_of_a_base_image_read_the_whole_context(project: &mut Project) {
    let base = base_with_triggers(project).await;
    project.file("read.txt", "read\n");
    project.file("unread.txt", "only the trigger reads it\n");
    project.file("Dockerfile", format!("FROM {base}\nCOPY read.txt /\nCMD [\"cat\", \"/app/unread.txt\"]\n"));
    let builder = project.builder();
    assert!(edit(&builder, project, "unread.txt").await.unwrap(), "the trigger reads it");
    let status = builder.status(project.request()).await.unwrap();
    let image = builder.build(project.request()).await.unwrap();
    assert_eq!((status.reference, status.existing), (image.reference.clone(), Some(image.digest)));
    assert_eq!(project.run(&image.reference.to_string(), &[], None).await, "edited\n");
}

#[tokio::test]
async fn with_buildkit_triggers_of_a_base_image_get_what_they_read() {
    in_project("prune-onbuild-bk", async |project| {
        project.buildkit();
        triggers_of_a_base_image_read_the_whole_context(project).await;
    })
    .await;
}

#[tokio::test]
async fn with_kaniko_triggers_of_a_base_image_get_what_they_read() {
    in_project("prune-onbuild-k", async |project| {
        triggers_of_a_base_image_read_the_whole_context(project).await;
    })
    .await;
}

#[tokio::test]
async fn editing_a_file_that_no_instruction_reads_keeps_the_version() {
    in_project("prune-edit", async |project| {
        project.buildkit();
        project.dockerfile("COPY read /read\nRUN cat /read/file\n");
        project.file("read/file", "before\n");
        project.file("unread/file", "before\n");
        let builder = project.builder();
        assert!(!edit(&builder, project, "unread/file").await.unwrap());
        assert!(!edit(&builder, project, "unread/new").await.unwrap());
        assert!(edit(&builder, project, "read/file").await.unwrap());
        assert!(edit(&builder, project, "read/new").await.unwrap());
    })
    .await;
}
