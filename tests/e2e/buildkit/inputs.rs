use garden_build::Error;

use crate::site::{Project, build_with_events, in_project, shown};

async fn failure(project: &Project) -> Error {
    let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
    match outcome {
        Err(error) => error,
        Ok(_) => panic!("the build must fail:\n{}", shown(&events)),
    }
}

#[tokio::test]
async fn a_secret_that_is_required_and_missing_is_named_and_an_optional_one_is_not_missed() {
    in_project("bk-no-secret", async |project| {
        project.buildkit();
        project.dockerfile("RUN --mount=type=secret,id=npm-token,required=true true\n");
        let error = failure(project).await;
        assert!(error.message().contains("npm-token"), "{error:?}");
        assert_eq!(error.hint_data().unwrap().options, ["secrets"], "{error:?}");

        project.dockerfile("RUN --mount=type=secret,id=npm-token test ! -e /run/secrets/npm-token\n");
        project.builder().build(project.request()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_ssh_agent_that_is_required_and_missing_is_named() {
    in_project("bk-no-ssh", async |project| {
        project.buildkit();
        project.dockerfile("RUN --mount=type=ssh,id=deploy,required=true true\n");
        let error = failure(project).await;
        assert!(error.message().contains("deploy"), "{error:?}");
        assert_eq!(error.hint_data().unwrap().options, ["sshAgents"], "{error:?}");
    })
    .await;
}
