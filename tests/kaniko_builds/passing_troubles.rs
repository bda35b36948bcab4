//! Registries and API servers that are busy, late or cut off for a moment: no build fails for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use garden_build::Outcome;
use garden_build_testing::kubernetes::{End, Fault, Refusal};

use super::{EXECUTOR, Registry, Site, digest, succeed, warnings};

/// A question is asked so often before a registry counts as busy.
const TRIES: usize = 3;

const BUSY: [u16; 3] = [503, 429, 500];

/// Of a registry, or a proxy in front of it, that has another image under the tag yet.
const FORMER: (&str, &str) =
    ("docker-content-digest", "sha256:1111111111111111111111111111111111111111111111111111111111111111");

#[tokio::test]
async fn a_registry_that_is_too_busy_to_save_a_build_costs_a_warning_and_no_build() {
    for status in BUSY {
        let site = Site::new(async |pod, registry| succeed(&pod, &registry)).await;
        site.registry.answer_with(status, &[], TRIES);
        let (built, events) = site.build().await;
        assert!(matches!(built.unwrap().outcome, Outcome::Built { .. }));
        let said = warnings(&events);
        let code = status.to_string();
        assert!(said.len() == 1 && said[0].contains("so it is built") && said[0].contains(&code), "{said:?}");
    }
}

#[tokio::test]
async fn a_registry_that_wants_to_be_left_alone_for_long_is_not_waited_for() {
    let site = Site::new(async |pod, registry| succeed(&pod, &registry)).await;
    site.registry.answer_with(429, &[("retry-after", "Fri, 01 Jan 2100 00:00:00 GMT")], 1);
    let (built, events) = site.build().await;
    assert!(matches!(built.unwrap().outcome, Outcome::Built { .. }));
    assert_eq!((warnings(&events).len(), site.registry.questions()), (1, 2));
}

#[tokio::test]
async fn a_registry_that_shows_late_what_it_has_taken_is_asked_again() {
    let answers = [(BUSY[0], &[][..], TRIES + 1), (404, &[], 2), (200, &[FORMER], 2)];
    for (status, headers, times) in answers {
        let site = Site::new(move |pod, registry: Registry| async move {
            registry.answer_with(status, headers, times);
            succeed(&pod, &registry);
        })
        .await;
        let (built, events) = site.build().await;
        let built = built.unwrap();
        assert_eq!(built.digest.to_string(), digest(), "{status}");
        assert!(matches!(built.outcome, Outcome::Built { .. }), "{status}");
        assert_eq!(warnings(&events), [""; 0], "{status}");
    }
}

#[tokio::test]
async fn an_api_server_that_cuts_or_refuses_a_request_once_ends_no_build() {
    let faults: [fn(&'static str, &'static str) -> Fault; 2] = [Fault::cut, |verb, resource| {
        Fault::refuse(verb, resource, Refusal::internal("error dialing backend: connection refused"))
    }];
    for fault in faults {
        for (verb, resource) in
            [("get", "pods/attach"), ("patch", "pods"), ("delete", "pods"), ("get", "namespaces")]
        {
            let site = Site::new(async |pod, registry| succeed(&pod, &registry)).await;
            site.fake.fault(fault(verb, resource));
            let (built, events) = site.build().await;
            let built = built.unwrap_or_else(|error| panic!("{verb} {resource}: {error:?}"));
            assert!(matches!(built.outcome, Outcome::Built { .. }), "{verb} {resource}");
            assert_eq!(warnings(&events), [""; 0], "{verb} {resource}");
            assert_eq!(site.pods(), (0, 1), "{verb} {resource}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_while_the_context_is_sent_begins_the_build_again() {
    let site = Site::new(async |pod, registry| succeed(&pod, &registry)).await;
    let (pushed_to, tries) = (site.registry.clone(), Arc::new(AtomicUsize::new(0)));
    site.fake.on_attach(move |process| {
        let (registry, first) = (pushed_to.clone(), tries.fetch_add(1, Ordering::SeqCst) == 0);
        async move {
            if first {
                // The executor sees the end of its input.
                process.pod.say(EXECUTOR, "Error: error resolving source context: unexpected EOF");
                process.pod.exit(EXECUTOR, 1, "");
                return End::Cut;
            }
            registry.push();
            process.pod.exit(EXECUTOR, 0, &digest());
            End::Exit(0)
        }
    });
    let (built, events) = site.build().await;
    assert!(matches!(built.unwrap().outcome, Outcome::Built { .. }));
    let said = warnings(&events);
    assert!(
        said.len() == 1 && said[0].contains("did not arrive whole") && said[0].contains("try 2 of 3"),
        "{said:?}"
    );
    assert_eq!(site.pods(), (0, 2));
}
