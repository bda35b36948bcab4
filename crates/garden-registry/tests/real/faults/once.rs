//! One request fails: each in turn, in each way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use garden_registry::{RegistryError, Resolution};

use super::PROGRAMS;
use crate::images::{Image, pull};
use crate::proxy::{Fault, Proxy};
use crate::registry::{Guard, Registry, client_at};
use crate::support::{status, with};

/// More than a push and a pull take.
const REQUESTS: usize = 22;

/// Pushes an image and pulls it, while the request of this number meets with `fault`. Returns whether there was
/// such a request, and what came of it.
async fn push_and_pull(
    registry: &Registry,
    number: usize,
    fault: Fault,
) -> (bool, Result<(), RegistryError>) {
    let asked = AtomicUsize::new(0);
    let decide = move |_: &_| {
        if asked.fetch_add(1, Ordering::Relaxed) == number { fault.clone() } else { Fault::None }
    };
    let proxy = Proxy::start(registry.address(), decide).await;
    let client = client_at(proxy.address);
    let image = Image::new(&format!("image-{number}"), &[1_000, 100_000]);
    let repository = format!("team/api-{number}");
    let reference = proxy.image(&repository, "v1");
    let result = async {
        image.try_push(&client, &reference).await?;
        let digest = client.resolve(&reference).await?.digest();
        assert_eq!(digest, Some(image.manifest.digest()), "request {number}");
        let pulled = pull(&client, &reference).await?;
        assert!(pulled.as_ref() == Some(&image), "request {number}");
        Ok(())
    }
    .await;
    // Whatever was said: what is there is right.
    let there =
        pull(&registry.client(), &registry.image(&repository, "v1")).await.expect("a registry that works");
    assert!(there.is_none_or(|there| there == image), "request {number}");
    (proxy.seen().len() > number, result)
}

async fn each_request_in_turn(fault: Fault) -> Vec<Result<(), RegistryError>> {
    let mut results = Vec::new();
    for program in PROGRAMS {
        let registry = Registry::start(program, Guard::Basic).await;
        let all = join_all((0..REQUESTS).map(|number| push_and_pull(&registry, number, fault.clone()))).await;
        assert!(all.iter().any(|(happened, _)| !happened), "there are more requests than {REQUESTS}");
        results.extend(all.into_iter().map(|(_, result)| result));
    }
    results
}

async fn survives(fault: Fault) {
    for (number, result) in each_request_in_turn(fault).await.into_iter().enumerate() {
        result.unwrap_or_else(|error| panic!("request {}: {error}", number % REQUESTS));
    }
}

#[tokio::test]
async fn an_internal_error_passes() {
    garden_test_programs::needs!(Go, DockerRegistry);
    survives(Fault::Instead(status(500))).await;
}

#[tokio::test]
async fn a_registry_that_asks_to_wait_is_given_the_time() {
    garden_test_programs::needs!(Go, DockerRegistry);
    survives(Fault::Instead(with(status(429), "retry-after", "1"))).await;
}

#[tokio::test]
async fn a_connection_that_ends_before_the_request_is_replaced() {
    garden_test_programs::needs!(Go, DockerRegistry);
    survives(Fault::Cut).await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again() {
    garden_test_programs::needs!(Go, DockerRegistry);
    survives(Fault::LostAnswer).await;
}

#[tokio::test]
async fn a_request_that_breaks_is_taken_up() {
    garden_test_programs::needs!(Go, DockerRegistry);
    survives(Fault::CutAfterSending(10)).await;
    survives(Fault::CutAfterSending(70_000)).await;
}

#[tokio::test]
async fn an_answer_that_breaks_is_taken_up() {
    garden_test_programs::needs!(Go, DockerRegistry);
    survives(Fault::CutAfterReceiving(10)).await;
    survives(Fault::CutAfterReceiving(70_000)).await;
}

#[tokio::test]
async fn slow_answers_are_waited_for() {
    garden_test_programs::needs!(Go, DockerRegistry);
    survives(Fault::Slow(Duration::from_millis(20))).await;
}

#[tokio::test]
async fn an_answer_of_other_content_is_never_believed() {
    garden_test_programs::needs!(Go, DockerRegistry);
    for fault in [Fault::Changed, Fault::Truncated(0), Fault::Truncated(10), Fault::Truncated(70_000)] {
        let results = each_request_in_turn(fault).await;
        // Those that need no body are none the worse.
        assert!(results.iter().any(Result::is_ok));
        for error in results.into_iter().filter_map(Result::err) {
            let shown = error.to_string();
            assert!(
                matches!(error, RegistryError::WrongContent { .. } | RegistryError::Unexpected { .. }),
                "{error:?}"
            );
            assert!(shown.contains("registry 127.0.0.1:"), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_registry_that_never_works_is_named_and_gets_no_tag() {
    garden_test_programs::needs!(Go, DockerRegistry);
    for program in PROGRAMS {
        let registry = Registry::start(program, Guard::Basic).await;
        for method in ["HEAD", "POST", "PUT"] {
            let fault = Fault::Instead(with(status(429), "retry-after", "3600"));
            let decide = move |seen: &crate::support::Seen| {
                if seen.method == method { fault.clone() } else { Fault::None }
            };
            let proxy = Proxy::start(registry.address(), decide).await;
            let client = client_at(proxy.address);
            let error = Image::new(method, &[1_000]).try_push(&client, &proxy.image("team/api", "v1")).await;
            let error = error.expect_err("it never works");
            assert!(error.to_string().contains("429") && error.to_string().contains("3600 s"), "{error}");
            let resolution = registry.client().resolve(&registry.image("team/api", "v1")).await;
            assert_eq!(resolution.expect("an answer"), Resolution::Missing);
        }
    }
}
