//! A step of one build looks for what another build on the same BuildKit daemon has been given.

use garden_build::ErrorKind;

use crate::site::{
    Project, build_with_events, follow_until, in_project, log_lines, running, shown, variable,
};

const SECRET: &str = "s3cr3t-of-the-victim";

/// Looks through the environment of all processes, and through the files that all of them see.
const LOOK: &str = "RUN for process in /proc/[0-9]*; do \
                    if tr '\\0' '\\n' < $process/environ | grep -q TOKEN=; then echo found: environment; fi; \
                    if grep -q s3cr3t-of $process/root/run/secrets/file; then echo found: file; fi; \
                    done 2> /dev/null; echo has looked\n";

/// Runs a step that has a secret, and meanwhile one of another build that looks for it. Returns what that one found.
async fn found_by_another_build(project: &Project) -> Vec<String> {
    // No step is the same as one of another run.
    let name = &project.namespace;
    project.dockerfile(&format!(
        "RUN --mount=type=secret,id=file --mount=type=secret,id=file,env=TOKEN echo {name} holds it; {}\n",
        project.long_sleep()
    ));
    let request = project.request().secret("file", SECRET);
    let mut victim = project.builder().build(request);
    follow_until(&mut victim, "holds it").await;

    project.dockerfile(&format!("ENV RUN_OF={name}\n{LOOK}"));
    let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
    let log = shown(&events);
    outcome.unwrap_or_else(|error| panic!("{error:?}\n{log}"));
    assert!(log_lines(&events).any(|line| line == "has looked"), "the step has looked:\n{log}");
    victim.cancel().await.expect_err("cancelled");
    log_lines(&events).filter_map(|line| line.strip_prefix("found: ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn no_step_sees_another_build_s_secrets_on_a_privileged_daemon() {
    in_project("shared", async |project| {
        project.buildkit();
        assert_eq!(found_by_another_build(project).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn no_step_sees_another_build_s_secrets_on_a_daemon_in_a_user_namespace() {
    in_project("shared-userns", async |project| {
        project.buildkit().host_users = false;
        assert_eq!(found_by_another_build(project).await, Vec::<String>::new());
        let pod = project.builder_pod(running).await;
        assert_eq!(pod.spec.unwrap().host_users, Some(false));
        // Whom a step is on the node shows in what its own root is mapped to.
        project.dockerfile("RUN sed 's/^/mapped: /' /proc/self/uid_map\n");
        let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
        let log = shown(&events);
        outcome.unwrap_or_else(|error| panic!("{error:?}\n{log}"));
        let (_, mapped) = log.split_once("   mapped: ").unwrap_or_else(|| panic!("{log}"));
        let [root, on_the_node, count] =
            [0, 1, 2].map(|column| mapped.split_whitespace().nth(column).unwrap().parse::<u64>().unwrap());
        assert_eq!((root, count), (0, 65_536), "{log}");
        assert!(on_the_node >= 65_536, "root in a step is nobody on the node: {log}");
    })
    .await;
}

#[tokio::test]
async fn a_rootless_daemon_is_given_no_secret_unless_its_builds_trust_each_other() {
    in_project("shared-rootless", async |project| {
        let options = project.buildkit();
        options.rootless = true;
        options.image = Some(variable("GARDEN_TEST_BUILDKIT_ROOTLESS_IMAGE"));
        project.dockerfile("RUN true\n");
        for request in
            [project.request().secret("file", SECRET), project.request().ssh_agent("default", "/no/agent")]
        {
            let error = project.builder().build(request.clone()).await.expect_err("others would read it");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
            let hint = error.hint().unwrap();
            assert!(hint.contains("clusterBuildkit.hostUsers: false"), "{hint}");
            assert!(project.builder().plan(request).await.is_err(), "a plan says so as well");
        }
        assert!(project.leftovers().await.is_empty());

        // What the option says is so: this is why it has to be said.
        project.buildkit().builds_trust_each_other = true;
        let found = found_by_another_build(project).await;
        assert!(found.contains(&"environment".to_owned()) && found.contains(&"file".to_owned()), "{found:?}");
    })
    .await;
}
