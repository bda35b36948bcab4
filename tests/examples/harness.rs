//! `examples/harness.rs`, as a test uses it.

use garden_build::Outcome;
use garden_build_testing::backend::ScriptedBackend;
use garden_build_testing::registry::Registry;

#[path = "../../examples/harness.rs"]
#[allow(dead_code, reason = "`main` is not called")]
mod example;

use example::{builder_of, image};

const FILES: [(&str, &str); 2] = [("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "1")];

#[tokio::test]
async fn the_same_files_are_the_same_image_wherever_they_are_built() {
    let [one, other] = [Registry::start().await, Registry::start().await].map(|it| ScriptedBackend::new(&it));
    let (one, other) = (builder_of(&one).unwrap(), builder_of(&other).unwrap());
    let first = image(&one, "fixture", &FILES).await.unwrap();
    assert!(matches!(first.outcome, Outcome::Built { steps_run: 1, .. }), "{first:?}");
    assert!(first.confirmed_by_registry);
    assert_eq!(image(&one, "fixture", &FILES).await.unwrap().outcome, Outcome::AlreadyExists);
    let elsewhere = image(&other, "fixture", &FILES).await.unwrap();
    assert_eq!((first.digest, first.reference.tag()), (elsewhere.digest, elsewhere.reference.tag()));

    let changed = image(&one, "fixture", &[FILES[0], ("a", "2")]).await.unwrap();
    assert!(changed.digest != first.digest && changed.reference != first.reference);
}

#[tokio::test]
async fn what_is_wrong_is_said_of_the_fixture_and_not_of_a_temporary_directory() {
    let builder = builder_of(&ScriptedBackend::new(&Registry::start().await)).unwrap();
    let error = image(&builder, "fixture", &[("a", "1")]).await.unwrap_err().to_string();
    assert!(error.contains("fixture/") && !error.contains(std::env::temp_dir().to_str().unwrap()), "{error}");
}
