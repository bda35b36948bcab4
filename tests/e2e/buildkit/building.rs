use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use garden_build::{Builder, Event, NamedContext, Outcome};
use serde_json::json;

use crate::building::two_stage_app;
use crate::context::assert_files_arrive_as_they_are;
use crate::registry;
use crate::site::{
    Project, build_with_events, in_project, recording_client, sent, shown, steps, variable, warnings,
};

/// An image of the context alone, which is quickly made.
const COPY_ALL: &str = "FROM scratch\nCOPY . /context\n";

/// Writes `count` small files.
fn many_files(project: &Project, count: usize) {
    for number in 0..count {
        project.file(&format!("src/{}/{number}.txt", number % 17), format!("file {number}\n"));
    }
}

/// Starts with the testbed's busybox, copies the context, and prints its files when it runs.
fn list_context(project: &Project) {
    project.dockerfile("COPY . /context\nCMD [\"sh\", \"-c\", \"cd /context && find . -type f | sort\"]\n");
}

async fn assert_builds_and_runs(project: &Project) {
    two_stage_app(project);
    let (image, events) =
        build_with_events(&project.builder(), project.request().build_arg("GREETING", "good day")).await;
    let shown = shown(&events);
    let image = image.unwrap_or_else(|error| panic!("{error:?}\n{shown}"));

    let host = variable("GARDEN_TEST_REGISTRY");
    let in_registry =
        registry::digest(&host, image.reference.repository(), image.reference.tag().unwrap()).await;
    assert_eq!(in_registry, Some(image.digest.to_string()));
    assert_eq!(steps(&image), (0, 4));
    let printed = project.run(&image.reference.at(image.digest), &[], None).await;
    assert_eq!(printed, "good day from the first stage\nthe application\n");
    for expected in ["COPY app.txt /app.txt", "step-that-is-cached", "exporting to image"] {
        assert!(shown.contains(expected), "{expected} is not among the events:\n{shown}");
    }
    let started = events.iter().filter(|event| matches!(event, Event::StepStarted { .. })).count();
    let finished =
        events.iter().filter(|event| matches!(event, Event::StepFinished { error: None, .. })).count();
    assert_eq!(started, finished, "every step ends, and well:\n{shown}");
    assert_eq!(warnings(&events), Vec::<&str>::new());
}

#[tokio::test]
async fn an_image_is_built_pushed_and_runs_in_a_pod() {
    in_project("bk-builds", async |project| {
        project.buildkit();
        assert_builds_and_runs(project).await;
    })
    .await;
}

#[tokio::test]
async fn a_rootless_daemon_builds_as_well() {
    in_project("bk-rootless", async |project| {
        let options = project.buildkit();
        options.rootless = true;
        options.image = Some(variable("GARDEN_TEST_BUILDKIT_ROOTLESS_IMAGE"));
        assert_builds_and_runs(project).await;
        let pod = project.builder_pod(crate::site::running).await;
        let context = pod.spec.unwrap().containers[0].security_context.clone().unwrap();
        assert_ne!(context.privileged, Some(true));
        assert_eq!(context.run_as_user, Some(1000));
    })
    .await;
}

#[tokio::test]
async fn an_unchanged_build_creates_nothing() {
    in_project("bk-unchanged", async |project| {
        project.buildkit();
        project.file("Dockerfile", COPY_ALL);
        let first = project.builder().build(project.request()).await.unwrap();

        let (client, calls) = recording_client().await;
        let builder = Builder::with_client(project.provider.clone(), client).unwrap();
        let second = builder.build(project.request()).await.unwrap();
        assert_eq!(second.outcome, Outcome::AlreadyExists);
        assert_eq!((second.reference, second.digest), (first.reference, first.digest));
        let calls = std::mem::take(&mut *calls.lock().unwrap());
        assert!(calls.iter().all(|call| call.starts_with("GET ")), "{calls:?}");
    })
    .await;
}

#[tokio::test]
async fn of_a_changed_context_only_the_changed_file_is_sent_and_earlier_steps_are_cached() {
    in_project("bk-changed", async |project| {
        project.buildkit();
        project.dockerfile(
            "RUN echo before\nCOPY . /context\nRUN cp /context/src/3/20.txt /copy\nCMD [\"cat\", \"/copy\"]\n",
        );
        many_files(project, 300);
        let (first, events) = build_with_events(&project.builder(), project.request()).await;
        assert_eq!(steps(&first.unwrap()), (0, 3));
        assert_eq!(sent(&events)[0], 301, "everything and the Dockerfile");

        let contents = "changed, and longer than it was\n";
        project.file("src/3/20.txt", contents);
        let (second, events) = build_with_events(&project.builder(), project.request()).await;
        let second = second.unwrap();
        assert_eq!(steps(&second), (1, 2));
        let [files, bytes, entries] = sent(&events);
        assert_eq!((files, bytes), (1, contents.len() as u64));
        assert_eq!(entries, 301 + 18, "files and directories");
        assert_eq!(project.run(&second.reference.to_string(), &[], None).await, contents);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_file_is_gone_from_the_next_image() {
    in_project("bk-deleted", async |project| {
        project.buildkit();
        list_context(project);
        project.file(".dockerignore", "Dockerfile\n.dockerignore\n");
        project.file("kept.txt", "x");
        project.file("directory/deleted.txt", "x");
        project.builder().build(project.request()).await.unwrap();
        fs::remove_dir_all(project.path().join("directory")).unwrap();
        let image = project.builder().build(project.request()).await.unwrap();
        assert_eq!(project.run(&image.reference.to_string(), &[], None).await, "./kept.txt\n");
    })
    .await;
}

#[tokio::test]
async fn a_change_that_neither_time_nor_size_tells_of_arrives() {
    in_project("bk-same-times", async |project| {
        project.buildkit();
        project.dockerfile(
            "COPY tree /tree\nCMD [\"sh\", \"-c\", \"cd /tree && cat file && readlink link && stat -c '%a %F' *\"]\n",
        );
        let root = project.path().join("tree");
        project.file("tree/file", "one");
        project.file("tree/script", "#!/bin/sh\n");
        project.file("tree/was-file", "x");
        project.file("tree/was-directory/x", "x");
        symlink("old", root.join("link")).unwrap();
        set_times(&root);
        project.builder().build(project.request()).await.unwrap();

        project.file("tree/file", "two");
        fs::set_permissions(root.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(root.join("was-file")).unwrap();
        project.file("tree/was-file/x", "x");
        fs::remove_dir_all(root.join("was-directory")).unwrap();
        project.file("tree/was-directory", "x");
        fs::remove_file(root.join("link")).unwrap();
        symlink("new", root.join("link")).unwrap();
        set_times(&root);
        let image = project.builder().build(project.request()).await.unwrap();
        let printed = project.run(&image.reference.to_string(), &[], None).await;
        let expected = "twonew\n644 regular file\n777 symbolic link\n755 regular file\n644 regular file\n755 directory\n";
        assert_eq!(printed, expected);
    })
    .await;
}

/// Sets the time of everything below `root` to the same.
fn set_times(root: &Path) {
    let touch = ["-exec", "touch", "--no-dereference", "--date=2020-02-02", "{}", "+"];
    let status = Command::new("find").arg(root).args(touch).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_context_of_2000_files_arrives_whole() {
    in_project("bk-many", async |project| {
        project.buildkit();
        project.dockerfile("COPY src /src\nRUN find /src -type f -exec cat {} + | sort | sha256sum\n");
        many_files(project, 2000);
        let (image, events) = build_with_events(&project.builder(), project.request()).await;
        image.unwrap();
        assert_eq!(sent(&events)[0], 2000);
        let mut lines: Vec<String> = (0..2000).map(|number| format!("file {number}\n")).collect();
        lines.sort();
        let digest = garden_build::Digest::of(lines.concat().as_bytes());
        assert!(shown(&events).contains(digest.to_string().trim_start_matches("sha256:")));
    })
    .await;
}

#[tokio::test]
async fn a_target_stage_is_built_alone() {
    in_project("bk-target", async |project| {
        project.buildkit();
        two_stage_app(project);
        let image = project.builder().build(project.request().target("tools")).await.unwrap();
        assert_eq!(steps(&image), (0, 1));
        let whole = project.builder().status(project.request()).await.unwrap();
        assert_eq!(whole.existing, None, "the whole image is another version");
        let printed = project.run(&image.reference.to_string(), &["ls", "/greeting"], None).await;
        assert_eq!(printed, "/greeting\n");
    })
    .await;
}

#[tokio::test]
async fn build_arguments_labels_and_the_dockerfile_s_words_are_in_the_image_s_configuration() {
    in_project("bk-config", async |project| {
        project.buildkit();
        project.file(
            "Dockerfile",
            "FROM scratch\nARG RELEASE=none\nENV RELEASE=$RELEASE\nLABEL own=yes\nCOPY Dockerfile /\n",
        );
        let request = project.request().build_arg("RELEASE", "2.1 = two, \"one\"");
        let request = request.label("org.example/team", "röd = 1, blå").label("own", "no");
        let image = project.builder().build(request).await.unwrap();
        let config = registry::config(&image.reference).await["config"].clone();
        assert_eq!(config["Labels"], json!({ "org.example/team": "röd = 1, blå", "own": "no" }));
        let environment = config["Env"].as_array().unwrap();
        assert!(environment.contains(&json!("RELEASE=2.1 = two, \"one\"")), "{environment:?}");
    })
    .await;
}

#[tokio::test]
async fn an_image_that_exists_is_built_again_on_demand() {
    in_project("bk-force", async |project| {
        project.buildkit();
        project.dockerfile("RUN cat /proc/sys/kernel/random/uuid > /id\n");
        let first = project.builder().build(project.request()).await.unwrap();
        let forced = project.builder().build(project.request().force(true)).await.unwrap();
        assert_eq!(steps(&forced), (1, 0), "built, with the cache");

        let again = project.builder().build(project.request().no_cache(true)).await.unwrap();
        assert_eq!(steps(&again), (0, 1), "built without it");
        assert_eq!(again.reference, first.reference);
        assert_ne!(again.digest, first.digest);
        let image = &again.reference;
        let found = registry::digest(image.registry(), image.repository(), image.tag().unwrap()).await;
        assert_eq!(found, Some(again.digest.to_string()), "the image is replaced");
    })
    .await;
}

#[tokio::test]
async fn extra_hosts_and_frontend_options_reach_run_steps() {
    in_project("bk-hosts", async |project| {
        project.buildkit();
        project.dockerfile("RUN cat /etc/hosts; echo \"on $(hostname)\"\n");
        let request = project.request().extra_host("db.internal", "10.9.8.7").extra_host("six", "fd00::7");
        let request = request.extra_flag("--opt").extra_flag("hostname=workbench");
        let (image, events) = build_with_events(&project.builder(), request).await;
        image.unwrap();
        let shown = shown(&events);
        for expected in ["10.9.8.7\tdb.internal", "fd00::7\tsix", "on workbench"] {
            assert!(shown.contains(expected), "{expected} is missing:\n{shown}");
        }
    })
    .await;
}

#[tokio::test]
async fn named_contexts_are_directories_and_images() {
    in_project("bk-named", async |project| {
        let library = tempfile::TempDir::new().unwrap();
        for file in ["lib.txt", "secret.env", "Dockerfile"] {
            fs::write(library.path().join(file), format!("{file} of the library\n")).unwrap();
        }
        fs::write(library.path().join(".dockerignore"), "*.env\n.dockerignore\n").unwrap();
        project.buildkit();
        project.file(
            "Dockerfile",
            "FROM base\nCOPY --from=lib . /lib\nCMD [\"sh\", \"-c\", \"cd /lib && ls -A && cat lib.txt\"]\n",
        );
        // Counts for the main context only.
        project.file(".dockerignore", "lib.txt\n");
        let request = project
            .request()
            .context("base", NamedContext::Image(variable("GARDEN_TEST_BASE_IMAGE")))
            .context("lib", NamedContext::Directory(library.path().to_owned()));
        let image = project.builder().build(request.clone()).await.unwrap();
        let printed = project.run(&image.reference.to_string(), &[], None).await;
        assert_eq!(printed, "Dockerfile\nlib.txt\nlib.txt of the library\n");

        fs::write(library.path().join("secret.env"), "changed\n").unwrap();
        let same = project.builder().build(request.clone()).await.unwrap();
        assert_eq!(same.outcome, Outcome::AlreadyExists, "an ignored file does not count");
        fs::write(library.path().join("lib.txt"), "changed\n").unwrap();
        let changed = project.builder().build(request).await.unwrap();
        assert_ne!(changed.reference, image.reference);
        let printed = project.run(&changed.reference.to_string(), &[], None).await;
        assert_eq!(printed, "Dockerfile\nlib.txt\nchanged\n");
    })
    .await;
}

#[tokio::test]
async fn several_platforms_make_an_index() {
    in_project("bk-platforms", async |project| {
        project.buildkit();
        project.file("Dockerfile", COPY_ALL);
        let request = project.request().platform("linux/amd64").platform("linux/arm64");
        let image = project.builder().build(request.clone()).await.unwrap();
        let reference = &image.reference;
        let found =
            registry::manifest(reference.registry(), reference.repository(), reference.tag().unwrap());
        let index = found.await.unwrap();
        assert_eq!(index.digest, image.digest.to_string());
        let media_types = [
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
        ];
        assert!(media_types.contains(&index.media_type.as_str()), "{}", index.media_type);
        let platforms = index.json["manifests"].as_array().unwrap().iter().map(|of| &of["platform"]);
        let platforms: Vec<String> =
            platforms.map(|of| of["architecture"].as_str().unwrap().to_owned()).collect();
        assert_eq!(platforms, ["amd64", "arm64"]);
        let again = project.builder().build(request).await.unwrap();
        assert_eq!(again.outcome, Outcome::AlreadyExists);
    })
    .await;
}

#[tokio::test]
async fn ignored_files_stay_out_and_the_dockerfile_may_be_ignored_itself() {
    in_project("bk-ignores", async |project| {
        project.buildkit();
        list_context(project);
        project.file(".dockerignore", "*\n!keep\nkeep/**/*.log\n!keep/important.log\n");
        for path in ["secret.env", "keep/a.txt", "keep/b.log", "keep/deep/c.log", "keep/important.log"] {
            project.file(path, "x");
        }
        let (image, events) = build_with_events(&project.builder(), project.request()).await;
        let files = project.run(&image.unwrap().reference.to_string(), &[], None).await;
        assert_eq!(files, "./keep/a.txt\n./keep/important.log\n", "and nothing of ours");
        assert_eq!(sent(&events)[0], 2, "what is ignored is not sent");
    })
    .await;
}

#[tokio::test]
async fn the_ignore_file_beside_a_dockerfile_counts_alone() {
    in_project("bk-own-ignores", async |project| {
        project.buildkit();
        list_context(project);
        fs::create_dir(project.path().join("build")).unwrap();
        fs::rename(project.path().join("Dockerfile"), project.path().join("build/app.Dockerfile")).unwrap();
        project.file(".dockerignore", "a.txt\n");
        project.file("build/app.Dockerfile.dockerignore", "b.txt\nbuild\n.dockerignore\n");
        project.file("a.txt", "a");
        project.file("b.txt", "b");
        let request = project.request().dockerfile("build/app.Dockerfile");
        let image = project.builder().build(request).await.unwrap();
        assert_eq!(project.run(&image.reference.to_string(), &[], None).await, "./a.txt\n");
    })
    .await;
}

#[tokio::test]
async fn files_arrive_as_they_are() {
    in_project("bk-fidelity", async |project| {
        project.buildkit();
        assert_files_arrive_as_they_are(project).await;
    })
    .await;
}

#[tokio::test]
async fn what_the_frontend_advises_against_is_a_warning_with_its_line() {
    in_project("bk-advice", async |project| {
        project.buildkit();
        project.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\nENV old style\n");
        let (image, events) = build_with_events(&project.builder(), project.request()).await;
        image.unwrap();
        let [warning] = warnings(&events)[..] else { panic!("{}", shown(&events)) };
        assert!(warning.starts_with("line 3 of the Dockerfile: "), "{warning}");
        assert!(warning.contains("LegacyKeyValueFormat"), "{warning}");
        assert!(!warning.contains("(line 3)"), "the line is named once: {warning}");
    })
    .await;
}
