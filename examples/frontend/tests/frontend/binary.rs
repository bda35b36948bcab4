//! The program as it is installed, as far as it needs no cluster.

use std::fs;
use std::process::{Command, Output, Stdio};

use garden_build::{ErrorKind, Plan};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_garden-build-frontend");

/// A project with one build, `api`.
fn project() -> TempDir {
    let directory = TempDir::new().unwrap();
    let project = "kind: Project\nname: shop\nenvironments: [{ name: dev }]\nproviders:\n  - name: kubernetes\n    buildMode: \
                   kaniko\n    kaniko: { namespace: null }\n    deploymentRegistry: { hostname: r.example, namespace: shop }\n";
    fs::write(directory.path().join("project.garden.yml"), project).unwrap();
    let api = directory.path().join("api");
    fs::create_dir(&api).unwrap();
    fs::write(api.join("garden.yml"), "kind: Module\ntype: container\nname: api\n").unwrap();
    fs::write(api.join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    directory
}

fn ran(directory: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(PROGRAM);
    let Output { status, stdout, stderr } =
        command.args(arguments).current_dir(directory.path()).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_plan_of_the_whole_project_needs_no_cluster() {
    let directory = project();
    let (code, out, err) = ran(&directory, &["plan", "--all"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.starts_with("# would push r.example/shop/api:v-") && out.contains("\"kind\": \"Pod\""),
        "{out}"
    );
    let (_, other, _) = ran(&directory, &["plan", "api", "--build-arg", "A=1", "--target", "0"]);
    assert_ne!(out.lines().next(), other.lines().next(), "the arguments count");

    let (code, out, err) = ran(&directory, &["--json", "plan", "api"]);
    assert_eq!(code, Some(0), "{err}");
    let mut last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(last["build"], "api");
    assert!(!serde_json::from_value::<Plan>(last["result"].take()).unwrap().objects.is_empty());
}

#[test]
fn mistakes_have_their_place_and_their_code() {
    let directory = project();
    let (code, _, err) = ran(&directory, &["plan", "web"]);
    assert_eq!(code, Some(ErrorKind::Config.exit_code().into()), "{err}");
    let (code, _, err) = ran(&directory, &["plan", "api", "--env", "prod"]);
    assert_eq!(code, Some(ErrorKind::Config.exit_code().into()), "{err}");
    assert!(err.contains("project.garden.yml:3:"), "{err}");
    for wrong in
        [&["build"][..], &["build", "api", "--all"], &["frobnicate"], &["build", "api", "--timeout", "soon"]]
    {
        assert_eq!(ran(&directory, wrong).0, Some(2), "{wrong:?}");
    }
}

#[test]
fn shells_complete_it() {
    let directory = project();
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef"), ("fish", "complete -c")] {
        let (code, out, err) = ran(&directory, &["completions", shell]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{shell}");
        assert!(
            out.contains(word) && out.contains("clean-up") && out.contains("keep-younger-than"),
            "{shell}: {out}"
        );
    }
}

#[test]
fn a_result_whose_reader_has_gone_is_no_panic() {
    let directory = project();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(PROGRAM);
    command.args(["plan", "api"]).current_dir(directory.path()).stdout(writer).stderr(Stdio::piped());
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(141), "{err}");
    assert!(!err.contains("panicked"), "{err}");
}
