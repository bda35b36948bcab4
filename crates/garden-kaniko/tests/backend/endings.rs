//! How builds end, and what is said of it.

use std::io::Read as _;
use std::time::Duration;

use garden_build_core::{Backend as _, ErrorKind, Event, StepKind, WarningCode};
use garden_build_testing::kubernetes::{FakePod, Fault, Refusal};
use garden_kaniko::spec::CONTAINER;
use tokio::time::{Instant, sleep};

use crate::site::{DIGEST, NAMESPACE, Site, succeed};

#[tokio::test(start_paused = true)]
async fn a_build_brings_its_context_and_takes_back_a_digest() {
    let site = Site::stdin(async |pod| {
        pod.say(CONTAINER, "INFO[0000] begun");
        sleep(Duration::from_secs(50)).await;
        pod.say(CONTAINER, "INFO[0050] done");
        succeed(&pod);
    });
    let seen = site.build().await;
    assert_eq!(seen.outcome.as_ref().unwrap().digest.to_string(), DIGEST);
    for line in ["begun", "done"] {
        assert_eq!(seen.log().iter().filter(|it| it.contains(line)).count(), 1, "{:?}", seen.log());
    }
    assert_eq!(seen.warnings(), Vec::<String>::new());
    assert_eq!(site.left(), Vec::<String>::new());
    // Each object is written once.
    let mut writes = site.fake.writes();
    writes.sort();
    let (pod, secret) = ("builds/kaniko-api-0123456789", "builds/garden-docker-auth-0123456789");
    let mut expected = [
        "create namespaces builds".to_owned(),
        format!("delete pods {pod}"),
        format!("delete secrets {secret}"),
        // Then the lease is renewed.
        format!("patch pods {pod}"),
        format!("patch secrets {secret}"),
    ];
    expected.sort();
    let renewals = writes.iter().filter(|it| it.starts_with("patch pods")).count() - 1;
    assert_eq!(renewals, 3, "{writes:?}");
    writes.dedup_by(|a, b| a == b && a.starts_with("patch pods"));
    assert_eq!(writes, expected);

    let packed = site.stdin.lock().unwrap().clone();
    let mut names = Vec::new();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(packed.as_slice()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        names.push((entry.path().unwrap().to_string_lossy().into_owned(), content));
    }
    assert!(names.contains(&("file".to_owned(), "its content".to_owned())), "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_ends_early_is_read_on() {
    let site = Site::stdin(async |pod: FakePod| {
        for line in 0..20 {
            pod.say(CONTAINER, &format!("line {line}."));
            sleep(Duration::from_millis(333)).await;
            pod.cluster().cut_log(NAMESPACE, &pod.name, CONTAINER, line % 2 == 0);
        }
        succeed(&pod);
    });
    let seen = site.build().await;
    seen.outcome.as_ref().unwrap();
    let log = seen.log();
    for line in 0..20 {
        let line = format!("line {line}.");
        assert_eq!(log.iter().filter(|it| it.contains(&line)).count(), 1, "{line} in {log:?}");
    }
}

/// Fails a build in a way, and says how.
struct Failure {
    name: &'static str,
    kind: ErrorKind,
    message: &'static str,
    can_be_tried_again: bool,
}

#[tokio::test(start_paused = true)]
async fn whatever_kills_a_build_is_named_and_nothing_is_left() {
    type Script = fn(&FakePod);
    let failed = ErrorKind::BuildFailed;
    let cases: [(Failure, Script); 7] = [
        (Failure { name: "a step", kind: failed, message: "", can_be_tried_again: false }, |pod| {
            pod.say(CONTAINER, "error building image: the step failed");
            pod.exit(CONTAINER, 1, "");
        }),
        (
            Failure {
                name: "no memory",
                kind: ErrorKind::OutOfMemory,
                message: "out of memory",
                can_be_tried_again: false,
            },
            |pod| pod.run_out_of_memory(CONTAINER),
        ),
        (
            Failure {
                name: "eviction",
                kind: ErrorKind::Evicted,
                message: "low on disk",
                can_be_tried_again: true,
            },
            |pod| pod.evict("low on disk"),
        ),
        (
            Failure {
                name: "deletion",
                kind: ErrorKind::BuilderLost,
                message: "deleted",
                can_be_tried_again: true,
            },
            FakePod::vanish,
        ),
        (
            Failure {
                name: "no digest",
                kind: ErrorKind::Unexpected,
                message: "did not report",
                can_be_tried_again: false,
            },
            |pod| pod.exit(CONTAINER, 0, ""),
        ),
        (
            Failure {
                name: "a wrong digest",
                kind: ErrorKind::Unexpected,
                message: "did not report",
                can_be_tried_again: false,
            },
            |pod| pod.exit(CONTAINER, 0, "sha256:1"),
        ),
        (
            Failure {
                name: "its time",
                kind: ErrorKind::Timeout,
                // For what it was spent.
                message: "was done last",
                can_be_tried_again: false,
            },
            |_| {},
        ),
    ];
    for (expected, script) in cases {
        let site = Site::stdin(move |pod: FakePod| async move {
            sleep(Duration::from_secs(30)).await;
            script(&pod);
            // If nothing has happened, nothing does.
            sleep(Duration::from_secs(7200)).await;
        });
        let seen = site.build().await;
        let error = seen.outcome.unwrap_err();
        let is_same = error.kind() == expected.kind;
        assert!(is_same && error.message().contains(expected.message), "{}: {error:?}", expected.name);
        assert_eq!(error.is_retryable(), expected.can_be_tried_again, "{}: {error}", expected.name);
        assert_eq!((site.left(), site.pods_made()), (Vec::new(), 1), "{}", expected.name);
    }
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_dies_while_its_context_is_sent_explains_the_broken_stream() {
    // It has read nothing, and its stream breaks before the cluster notices its end.
    let site = Site::stdin(async |_| {});
    let fake = site.fake.clone();
    fake.on_attach(async |process| {
        tokio::spawn(async move {
            sleep(Duration::from_secs(2)).await;
            process.pod.run_out_of_memory(CONTAINER);
        });
        garden_build_testing::kubernetes::End::Cut
    });
    let started = Instant::now();
    let error = site.build().await.outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(site.left(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_while_its_pod_lives_loses_the_builder() {
    let site = Site::stdin(async |_| {});
    site.fake.on_attach(async |_| garden_build_testing::kubernetes::End::Cut);
    let error = site.build().await.outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BuilderLost, "{error}");
    assert!(error.message().contains("was cut"), "{error}");
    assert_eq!(site.left(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_the_role_does_not_allow_is_named() {
    for (verb, resource, written) in [
        ("get", "pods/attach", "attach"),
        ("patch", "pods", "create Pod"),
        ("patch", "secrets", "create Secret"),
        ("list", "pods", "Pod"),
    ] {
        let site = Site::stdin(async |pod| succeed(&pod));
        site.fake
            .fault(Fault::refuse(verb, resource, Refusal::forbidden("create", resource, NAMESPACE)).always());
        let error = site.build().await.outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{verb} {resource}: {error}");
        assert!(error.message().contains(written), "{error}");
        assert_eq!(site.left(), Vec::<String>::new(), "{verb} {resource}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_removed_is_said_and_does_not_fail_the_build() {
    let site = Site::stdin(async |pod| succeed(&pod));
    let refusal = Refusal::forbidden("delete", "secrets", NAMESPACE);
    site.fake.fault(Fault::refuse("delete", "secrets", refusal).always());
    let seen = site.build().await;
    assert!(seen.outcome.is_ok());
    let secret = "Secret builds/garden-docker-auth-0123456789";
    let is_told = |event: &Event| matches!(event, Event::Warning { code: WarningCode::NotRemoved, message, .. } if message.starts_with(secret));
    assert!(seen.events.iter().any(is_told), "{:?}", seen.warnings());
    let clean_up = |event: &Event| match event {
        Event::StepFinished { kind: StepKind::CleanUp, error, .. } => Some(error.clone()),
        _ => None,
    };
    assert_eq!(seen.events.iter().find_map(clean_up), Some(Some(format!("{secret} may be left"))));
    // The pod owned it, so it is gone all the same.
    assert_eq!(site.left(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_looks_like_a_variable_of_the_container_reaches_the_executor_as_it_is() {
    let site = Site::stdin(async |pod| succeed(&pod)).building("FROM scratch\nCOPY . /\n", |request| {
        request
            .build_arg("PRICE", "$$5 $(KUBERNETES_SERVICE_HOST)")
            .label("a", "$b")
            .target("$(HOME)")
            .extra_flag("--git=$(X)")
    });
    let plan = site.backend.plan(&site.job).unwrap();
    site.build().await.outcome.unwrap();
    let requests = site.fake.requests();
    let created = requests.iter().find(|it| it.verb() == "patch" && it.resource() == "pods").unwrap();
    let pod = created.json().unwrap();
    let arguments = pod["spec"]["containers"][0]["args"].as_array().unwrap();
    // As the kubelet writes one `$` for two, and replaces nothing behind two.
    let expected = [
        "--build-arg=PRICE=$$$$5 $$(KUBERNETES_SERVICE_HOST)",
        "--label=a=$$b",
        "--target=$$(HOME)",
        "--git=$$(X)",
    ];
    for expected in expected {
        assert!(arguments.iter().any(|argument| argument == expected), "{expected} in {arguments:?}");
    }
    let planned = plan.iter().find(|it| it.description.starts_with("Pod ")).unwrap();
    assert_eq!(planned.object["spec"]["containers"][0]["args"], pod["spec"]["containers"][0]["args"]);
}
