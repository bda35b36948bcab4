//! A project directory as Garden has it: the environment chooses how a named module or action is built.

use garden_build::Builder;
use garden_build::config;

use crate::site::{Project, in_project, variable};

/// Writes a project with a module and an action that list in the image what of their directories arrived.
fn write_project(project: &Project) {
    let (kaniko, buildkit) =
        (variable("GARDEN_TEST_KANIKO_DEBUG_IMAGE"), variable("GARDEN_TEST_BUILDKIT_IMAGE"));
    let (registry, namespace) = (variable("GARDEN_TEST_REGISTRY"), &project.namespace);
    let (registry, port) = registry.rsplit_once(':').unwrap();
    project.file(
        "project.garden.yml",
        format!(
            "apiVersion: garden.io/v1\nkind: Project\nname: e2e\nvariables: {{greeting: hello, registry: {{hostname: {registry}, \
             port: {port}, insecure: true}}}}\nenvironments:\n- name: pods\n  variables: {{mode: kaniko}}\n- name: daemon\n  variables: \
             {{mode: cluster-buildkit, greeting: '${{var.greeting}} there'}}\nproviders:\n- name: kubernetes\n  buildMode: ${{var.mode}}\n  \
             namespace: {namespace}\n  kaniko: {{image: '{kaniko}'}}\n  clusterBuildkit: {{image: '{buildkit}', registries: [{{hostname: \
             '{registry}:{port}', insecure: true}}]}}\n  deploymentRegistry: {{$merge: '${{var.registry}}', namespace: '{namespace}'}}\n  \
             resources: {{builder: {{requests: {{cpu: 50, memory: 64}}}}}}\n"
        ),
    );
    let base = variable("GARDEN_TEST_BASE_IMAGE");
    let dockerfile = format!(
        "FROM {base} AS wanted\nARG GREETING\nCOPY . /context\nRUN echo \"$GREETING\" > /greeting\nFROM wanted\nRUN false\n"
    );
    for file in ["module/Dockerfile", "action/source/docker/Dockerfile"] {
        project.file(file, &dockerfile);
    }
    project.file(
        "module/garden.yml",
        "kind: Module\ntype: container\nname: module\nimage: team/old-way\nbuild: {targetImage: wanted}\n\
         buildArgs: {GREETING: '${var.greeting} from ${environment.name}'}\ninclude: ['src/**/*.{a,b}', top]\nexclude: ['**/not.*']\n",
    );
    project.file(
        "action/garden.yml",
        "kind: Build\ntype: container\nname: action\nsource: {path: source}\nspec: {dockerfile: docker/Dockerfile, targetStage: wanted, \
         buildArgs: {GREETING: '${var.greeting} from ${this.name}'}}\n",
    );
    project.file(".gardenignore", "*.ignored\n");
    for file in [
        "module/src/x.a",
        "module/src/deep/y.b",
        "module/src/z.c",
        "module/src/not.a",
        "module/top",
        "module/other",
    ] {
        project.file(file, file);
    }
    for file in [
        "keep",
        "drop.ignored",
        ".git/HEAD",
        ".garden/cache",
        "deep/drop.ignored",
        "deep/.gardenignore",
        "deep/own",
    ] {
        project.file(
            &format!("action/source/{file}"),
            if file == "deep/.gardenignore" { "/own\n" } else { file },
        );
    }
}

/// Builds `name` in `environment`; returns the greeting and the files that are in the image.
async fn build(project: &Project, environment: &str, name: &str) -> (String, Vec<String>) {
    let loaded = config::load(project.path()).unwrap();
    let environment = loaded.environment(environment).unwrap();
    let builder =
        Builder::options(environment.provider().unwrap()).client(project.client.clone()).connect().unwrap();
    let image = builder.build(environment.build(name).unwrap().request()).await.unwrap();
    let listing = ["sh", "-c", "cat /greeting; cd /context; find . -type f | sort"];
    let printed = project.run(&image.reference.at(image.digest), &listing, None).await;
    let mut lines = printed.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.collect())
}

#[tokio::test]
async fn a_module_and_an_action_are_built_by_name_in_two_environments() {
    in_project("project", async |project| {
        write_project(project);
        let names = config::load(project.path()).unwrap().environment("pods").unwrap().builds().unwrap();
        assert_eq!(names, ["action", "module"]);
        for (environment, greeting) in [("pods", "hello"), ("daemon", "hello there")] {
            let (said, files) = build(project, environment, "module").await;
            assert_eq!(said, format!("{greeting} from {environment}"));
            assert_eq!(files, ["./src/deep/y.b", "./src/x.a", "./top"]);
            let (said, files) = build(project, environment, "action").await;
            assert_eq!(said, format!("{greeting} from action"));
            assert_eq!(files, ["./deep/.gardenignore", "./docker/Dockerfile", "./keep"]);
        }
    })
    .await;
}
