//! The names under which images are published.

use garden_config::{BuildConfig, ConfigError};

use crate::support::{brief, project};

const VERSION: &str = "v-0123456789abcdef0123";

fn build(publish_id: Option<&str>) -> BuildConfig {
    let mut build = BuildConfig::new("api", ".");
    build.publish_id = publish_id.map(str::to_owned);
    build
}

#[test]
fn the_tag_asked_for_counts_more_than_the_names_own_and_that_more_than_the_version() {
    for (publish_id, tag, expected) in [
        ("registry.example/shop/api", None, "registry.example/shop/api:v-0123456789abcdef0123"),
        ("registry.example:5000/shop/api", None, "registry.example:5000/shop/api:v-0123456789abcdef0123"),
        ("registry.example/shop/api:stable", None, "registry.example/shop/api:stable"),
        ("registry.example/shop/api:stable", Some("1.0"), "registry.example/shop/api:1.0"),
        ("shop/api", Some("1.0"), "docker.io/shop/api:1.0"),
    ] {
        let image = build(Some(publish_id)).public_image(VERSION, tag).expect(publish_id);
        assert_eq!(image.to_string(), expected);
    }
}

#[test]
fn what_has_no_public_name_or_no_valid_tag_is_refused() {
    let shown = |publish_id, tag| brief(&build(publish_id).public_image(VERSION, tag).expect_err("refused"));
    assert_eq!(
        shown(None, None),
        "`publishId`: `api` cannot be published: it has no public name | set `publishId`, or in a module `image`, to a \
         name like `registry.example/team/image`"
    );
    assert_eq!(
        shown(Some("shop/api"), Some("a b")),
        "`publishId`: `a b` cannot be a tag | a tag has letters, digits, `_`, `.` and `-`, begins with one of the first \
         three, and has at most 128 of them"
    );
}

fn tag(template: &str) -> Result<String, ConfigError> {
    let project = project("kind: Project\nname: shop\nenvironments: [dev]\nvariables: {stage: beta}\n")
        .expect("a project");
    project.environment("dev").expect("an environment").publish_tag(&build(None), VERSION, template)
}

#[test]
fn a_tag_is_a_template_of_the_image_and_all_that_the_environment_knows() {
    for (template, expected) in [
        ("1.0", "1.0"),
        ("${module.version}", VERSION),
        ("${action.name}-${module.hash}", "api-0123456789abcdef0123"),
        ("${this.name}-${var.stage}-${git.commitHash}", "api-beta-2c8b0a6f"),
        ("${1 + 1}", "2"),
    ] {
        assert_eq!(tag(template).expect(template), expected);
    }
}

#[test]
fn a_tag_that_comes_to_nothing_is_named() {
    let shown = |template| brief(&tag(template).expect_err(template));
    assert_eq!(
        shown("${modul.hash}"),
        "the tag to publish with:1:3: there is no `modul` | did you mean `module`?"
    );
    assert_eq!(
        shown("${var}"),
        "the tag to publish with:1:1: the tag must come to a text, not to {\"stage\":\"beta\"}"
    );
}
