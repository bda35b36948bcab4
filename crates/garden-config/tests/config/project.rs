//! Finding the project, its environment and its provider; and what all errors have in common.

use std::error::Error as _;

use crate::support::{brief, follows_the_schema, project};
use garden_build_core::ErrorKind;
use garden_config::{BuildMode, ConfigError, ProviderConfig, ProviderKind};

fn read(text: &str, environment: &str) -> Result<ProviderConfig, ConfigError> {
    let provider = project(text)?.provider(environment)?;
    follows_the_schema(text, |document| document["kind"] == "Project");
    Ok(provider)
}

fn refused(text: &str, environment: &str) -> String {
    brief(&read(text, environment).expect_err(text))
}

#[test]
fn the_project_is_found_among_other_documents() {
    let text = "kind: Module\nname: ${a}\nname: twice\n---\nkind: Project\nname: shop\nproviders: [{name: kubernetes}]\n\
                ...\n---\nkind: Build\nvalue: !tag x\n";
    assert_eq!(read(text, "dev").expect("valid").namespace.name, "shop-default");
    assert_eq!(
        refused("kind: Module\n---\nkind: project\n", "dev"),
        "1:1: there is no document with `kind: Project`, only `Module`, `project` | a project file starts with \
         `kind: Project`"
    );
    assert_eq!(
        refused("# empty\n", "dev"),
        "1:1: there is no document with `kind: Project` | a project file starts with `kind: Project`"
    );
    assert_eq!(
        refused("kind: Project\nname: a\n---\nkind: Project\nname: b\n", "dev"),
        "4:1: there is another document with `kind: Project` | the first is on line 1; keep one of them in \
         this file"
    );
}

#[test]
fn text_that_is_not_yaml_is_refused_with_its_place() {
    assert_eq!(
        refused("kind: Project\nname: a\n b: c\n", "dev"),
        "3:3: this is not valid YAML: mapping values are not allowed in this context"
    );
    assert_eq!(
        refused("kind: Project\n? [a]\n: b\n", "dev"),
        "2:3: this is not valid YAML: the key of a mapping must be text here, not a list or a mapping"
    );
}

#[test]
fn what_is_wrong_can_be_sent_to_a_client_of_a_service() {
    let error = read("kind: Project\nname: a\nnam: b\n", "dev").expect_err("wrong");
    let written = serde_json::to_value(&error).expect("JSON");
    assert_eq!(
        written["problems"][0],
        serde_json::json!({
            "file": "/shop/garden.yml",
            "position": {"line": 3, "column": 1},
            "message": "`nam` is not a field of a project",
            "hint": "did you mean `name`?",
            "snippet": {"line": "nam: b", "column": 1, "length": 3},
        })
    );
    let received: garden_config::ConfigError = serde_json::from_value(written).expect("an error");
    assert_eq!(received.to_string(), error.to_string());
    assert_eq!(format!("{received:?}"), error.to_string(), "a `main` that returns it prints it so");
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = "kind: Project\nname: shop\nproviders:\n- name: kubernetes\n  buildmode: kaniko\n  context: 1\n  kaniko:\n    \
                image: ''\n    tolerations: [{effect: x}]\n  resources: []\n";
    let error = read(text, "dev").expect_err("wrong");
    let lines: Vec<usize> = error.problems().iter().filter_map(|it| it.position).map(|it| it.line).collect();
    assert_eq!(lines, [5, 6, 9, 10]);
    assert!(error.source().is_none());
    let core = garden_build_core::Error::from(error);
    assert_eq!((core.kind(), core.hint()), (ErrorKind::Config, None));
    let problems = |error: &garden_build_core::Error| {
        error
            .source()
            .and_then(|it| it.downcast_ref::<garden_config::ConfigError>())
            .map(|it| it.problems().len())
    };
    assert_eq!(problems(&core), Some(4), "an embedder gets at the single problems");
    assert!(core.message().starts_with("/shop/garden.yml:5:3: `buildmode` is not a field"), "{core}");
    assert!(
        core.message().contains("\n  help: did you mean `buildMode`?\n/shop/garden.yml:6:12: "),
        "{core}"
    );

    let one = read("kind: Project\nnam: shop\n", "dev").expect_err("wrong");
    assert_eq!(one.problems().len(), 2);
    let single =
        garden_build_core::Error::from(read("kind: Project\nname: a\nnam: b\n", "dev").expect_err("wrong"));
    assert_eq!(single.message(), "/shop/garden.yml:3:1: `nam` is not a field of a project");
    assert_eq!(single.hint(), Some("did you mean `name`?"));
    assert_eq!(format!("{single:?}"), single.to_string(), "each thing once");
    assert_eq!(problems(&single), Some(1));
}

#[test]
fn a_key_that_is_set_twice_is_refused_wherever_it_is() {
    let text = "kind: Project\nname: a\nname: b\nvariables:\n  x: 1\n  x: 2\n";
    assert_eq!(
        refused(text, "dev"),
        "3:1: `name` is set twice | it was set on line 2; keep one of the two\n\
         6:3: `x` is set twice | it was set on line 5; keep one of the two"
    );
}

#[test]
fn anchors_aliases_and_merge_keys_work_and_problems_point_at_what_they_name() {
    let text = "kind: Project\nname: shop\nvariables:\n  base: &base {buildMode: kaniko, kaniko: {namespace: ~}}\n\
                providers:\n- name: kubernetes\n  <<: *base\n  context: &c dev\n  kubeconfig: *c\n";
    let provider = read(text, "dev").expect("valid");
    assert_eq!(provider.build_mode.as_str(), "kaniko");
    assert_eq!(provider.kubeconfig.as_deref(), Some("/shop/dev".as_ref()));
    let text = text.replace("kaniko,", "kanico,");
    assert_eq!(refused(&text, "dev"), "4:27: `buildMode` cannot be `kanico` | did you mean `kaniko`?");
}

const ENVIRONMENTS: &str = "kind: Project
name: shop
environments:
  - local
  - name: dev
    defaultNamespace: team
    production: false
    variables: {}
    providers:
      - name: kubernetes
        context: dev-context
  - name: prod
    defaultNamespace: null
  - name: templated
    defaultNamespace: user-${local.username}
providers:
  - name: helm
  - name: local-kubernetes
    environments: [local]
  - name: kubernetes
    environments: [dev, prod, templated]
    buildMode: kaniko
    kaniko: {image: a, namespace: builds}
  - name: kubernetes
    environments: [prod]
    context: prod-context
    kaniko: {namespace: null}
";

#[test]
fn environments_choose_and_merge_providers() {
    let project = garden_config::parse(ENVIRONMENTS, "garden.yml").expect("valid");
    assert_eq!(project.environments().collect::<Vec<_>>(), ["local", "dev", "prod", "templated"]);
    let local = project.provider("local").expect("valid");
    assert_eq!((local.kind, local.namespace.name.as_str()), (ProviderKind::LocalKubernetes, "shop-default"));
    assert_eq!(local, ProviderConfig::local_kubernetes("shop"));
    let dev = project.provider("dev").expect("valid");
    assert_eq!((dev.kind, dev.namespace.name.as_str()), (ProviderKind::Kubernetes, "shop-team"));
    assert_eq!((dev.context.as_deref(), dev.build_mode.as_str()), (Some("dev-context"), "kaniko"));
    let prod = project.provider("alice.prod").expect("valid");
    assert_eq!((prod.namespace.name.as_str(), prod.context.as_deref()), ("shop-alice", Some("prod-context")));
    let BuildMode::Kaniko(kaniko) = prod.build_mode else { panic!("kaniko") };
    assert_eq!((kaniko.image.as_str(), kaniko.namespace), ("a", garden_config::KanikoNamespace::Project));
    assert_eq!(project.provider("bob.templated").expect("valid").namespace.name, "shop-bob");
}

#[test]
fn environments_that_cannot_be_resolved_are_explained() {
    assert_eq!(
        refused(ENVIRONMENTS, "pord"),
        "3:1: the project has no environment `pord`; it has `local`, `dev`, `prod`, `templated` | did you \
         mean `prod`?"
    );
    assert_eq!(
        refused(ENVIRONMENTS, "a.b.c"),
        "3:1: `a.b.c` cannot be the name of an environment | ask for `environment` or `namespace.environment`"
    );
    assert_eq!(
        refused(ENVIRONMENTS, "prod"),
        "13:23: the environment `prod` has no default namespace | ask for `my-namespace.prod`, or set \
         `namespace` on the provider"
    );
    assert_eq!(
        refused(ENVIRONMENTS, "templated"),
        "2:7: the namespace made of project and environment: `shop-user-Ada` cannot be the name of a namespace | set \
         `namespace` on the provider, or rename the project"
    );
    assert!(
        refused(ENVIRONMENTS, "Alice.dev")
            .contains("2:7: the namespace made of project and environment: `shop-Alice` cannot be")
    );
    assert_eq!(
        refused("kind: Project\nname: a\nenvironments: [{nam: x}, dev, dev]\n", "dev"),
        "3:16: an environment needs the field `name`\n\
         3:17: `nam` is not a field of an environment | did you mean `name`?\n\
         3:31: the environment `dev` is declared twice | keep one of the two"
    );
}

#[test]
fn exactly_one_provider_must_apply() {
    let head = "kind: Project\nname: shop\n";
    assert_eq!(
        refused(head, "dev"),
        "1:1: the environment `dev` has no `kubernetes` provider; found nothing | add `- name: kubernetes` to \
         `providers`"
    );
    assert_eq!(
        refused(&format!("{head}providers:\n- name: kuberntes\n"), "dev"),
        "3:1: the environment `dev` has no `kubernetes` provider; found `kuberntes` (line 4) | did you mean \
         `kubernetes` on line 4?"
    );
    assert_eq!(
        refused(&format!("{head}providers:\n- name: kubernetes\n  environments: [prod]\n"), "dev"),
        "3:1: the environment `dev` has no `kubernetes` provider; found `kubernetes` (line 4) for prod | add \
         `- name: kubernetes` to `providers`"
    );
    assert_eq!(
        refused(&format!("{head}providers:\n- name: kubernetes\n- name: local-kubernetes\n"), "dev"),
        "3:1: the environment `dev` has two providers to build with: `kubernetes` (line 4), `local-kubernetes` \
         (line 5) | limit each to its environments with the field `environments`"
    );
}

#[test]
fn files_that_cannot_be_loaded_are_named() {
    let directory = tempfile::tempdir().expect("directory");
    let missing = garden_config::load(directory.path().join("no.yml")).expect_err("missing").to_string();
    assert!(missing.contains("no.yml: the project file cannot be read: "), "{missing}");
    let empty = garden_config::load(directory.path()).expect_err("empty").to_string();
    assert!(empty.ends_with(
        "the directory holds no project file\n  help: a project file is called `garden.yml` or `….garden.yml`, and has a \
         document with `kind: Project`"
    ));
}

#[test]
fn a_directorys_project_is_in_the_file_that_says_so() {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("write");
    let load = || garden_config::load(directory.path()).map(|project| project.name().to_owned());
    let told = || load().expect_err("no project").to_string();
    write("garden.yml", "kind: Module\ntype: container\nname: api\n");
    write("other.yml", "kind: Project\nname: not-read\n");
    assert!(told().ends_with("; there is none in `garden.yml`"), "{}", told());
    for name in ["shop.garden.yml", "garden.yaml", "project.garden.yaml", ".garden.yml"] {
        write(name, "kind: Module\nname: web\n---\nkind: Project\nname: shop\n");
        assert_eq!(load().as_deref(), Ok("shop"), "{name}");
        std::fs::remove_file(directory.path().join(name)).expect("remove");
    }
    // What is not YAML only matters if nothing else is the project.
    write("broken.garden.yml", "a: b: c\n");
    assert!(told().contains("broken.garden.yml:1:5: this is not valid YAML"), "{}", told());
    write("garden.yml", "kind: Project\nname: shop\n");
    assert_eq!(load().as_deref(), Ok("shop"));
    write("shop.garden.yml", "kind: Project\nname: other\n");
    assert!(told().contains(
        "the directory holds two project files: `garden.yml` and `shop.garden.yml`\n  help: keep one document with \
         `kind: Project`, or give the path of the file"
    ), "{}", told());
    let path = directory.path().join("shop.garden.yml");
    assert_eq!(garden_config::load(path).map(|project| project.name().to_owned()).as_deref(), Ok("other"));
}
