use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use garden_build::Digest;

use crate::site::{Project, build_with_events, in_project, running, sent, shown, steps, variable, warnings};

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

#[tokio::test]
async fn a_rootless_daemon_runs_as_an_ordinary_user() {
    in_project("bk-rootless", async |project| {
        let options = project.buildkit();
        options.rootless = true;
        options.image = Some(variable("GARDEN_TEST_BUILDKIT_ROOTLESS_IMAGE"));
        project.dockerfile("RUN true\n");
        project.builder().build(project.request()).await.unwrap();
        let pod = project.builder_pod(running).await;
        let context = pod.spec.unwrap().containers[0].security_context.clone().unwrap();
        assert_ne!(context.privileged, Some(true));
        assert_eq!(context.run_as_user, Some(1000));
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
async fn a_change_that_keeps_time_and_size_is_sent() {
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
async fn frontend_options_reach_run_steps() {
    in_project("bk-options", async |project| {
        project.buildkit();
        project.dockerfile("RUN echo \"on $(hostname)\"\n");
        let request = project.request().extra_flag("--opt").extra_flag("hostname=workbench");
        let (image, events) = build_with_events(&project.builder(), request).await;
        image.unwrap();
        assert!(shown(&events).contains("   on workbench"), "{}", shown(&events));
    })
    .await;
}

#[tokio::test]
async fn advice_of_the_frontend_is_a_warning_with_its_line() {
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

#[tokio::test]
async fn files_arrive_unchanged_whether_they_compress_or_not() {
    in_project("bk-compressed", async |project| {
        project.buildkit();
        project.dockerfile("COPY . /context\nRUN cd /context && sha256sum -c sums\n");
        let noise = |seed: u64, length: usize| -> Vec<u8> {
            let mut state = seed;
            let next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            };
            std::iter::repeat_with(next).take(length).collect()
        };
        let mut sums = String::new();
        for number in 0..40 {
            // From nothing to 3 MB, by turns.
            let length = number * number * 2_000;
            let contents = match number % 3 {
                0 => noise(number as u64, length),
                1 => "let x = 1;\n".bytes().cycle().take(length).collect(),
                _ => [vec![b' '; length / 2], noise(number as u64, length / 2)].concat(),
            };
            project.file(&format!("{number}.bin"), &contents);
            writeln!(sums, "{}  {number}.bin", Digest::of(&contents).hex()).unwrap();
        }
        project.file("sums", sums);
        let (image, events) = build_with_events(&project.builder(), project.request()).await;
        assert!(image.is_ok(), "{}", shown(&events));
    })
    .await;
}
