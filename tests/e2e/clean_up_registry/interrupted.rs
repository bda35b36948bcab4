//! Clean-ups that are killed, or dropped, at every step.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use garden_build::{Digest, Event};

use super::images::{Registry, at_once, in_parallel, use_own_registry, with_own_registry};
use super::{use_images, version};
use crate::site::PATIENCE;
use crate::site::Project;
use crate::site::own_process::in_own_process;

/// In the process that is going to be killed, names the namespace of the registry.
const VICTIM: &str = "GARDEN_TEST_CLEAN_UP_VICTIM_NAMESPACE";

/// What a clean-up says when it begins with each of its steps, and in the middle of some.
const MOMENTS: [&str; 8] = [
    "=> list what the registry stores",
    "=> read which images the cluster's objects name",
    "=> list what the registry stores now",
    "=> read which images the cluster's objects name now",
    "=> have the registry delete",
    "collecting",
    "deleted",
    "=> measure what the registry stores",
];

/// Whether an event, as it is printed, is that moment.
fn is_moment(line: &str, moment: &str) -> bool {
    // What belongs to a step begins with its number.
    let line =
        line.strip_prefix('#').and_then(|numbered| numbered.split_once(' ')).map_or(line, |(_, rest)| rest);
    match moment {
        "=> have the registry delete" => line.starts_with(moment) && !line.contains(':'),
        _ if moment.starts_with("=>") => line == moment,
        _ => line.trim_start().starts_with(moment),
    }
}

/// The repository of the images in use, which nobody else's workloads name.
fn used_in(project: &Project) -> String {
    format!("{}/used", project.namespace)
}

/// Four images in use, of which one is used by its digest.
async fn used(project: &Project, registry: &Registry) -> Vec<Digest> {
    let pushes = (0..4).map(|number| async move {
        registry.push(&used_in(project), &version(number), &format!("used {number}"), &["shared"]).await
    });
    let digests = in_parallel(pushes).await;
    let image = |number| registry.on_the_node(&format!("{}:{}", used_in(project), version(number)));
    let by_digest = registry.on_the_node(&format!("{}@{}", used_in(project), digests[3]));
    use_images(project, &image(0), &image(1), &image(2), &by_digest).await;
    digests
}

/// Pushes images, and an index, that nothing uses.
async fn push_unused(registry: &Registry, round: usize) {
    let pushes = (0..12).map(|number| async move {
        let tag = version(100 * (round + 1) + number);
        registry.push("shop/unused", &tag, &format!("unused {round} {number}"), &["shared"]).await
    });
    in_parallel(pushes).await;
    let name = format!("unused index {round}");
    registry.push_index("shop/unused", &version(100 * (round + 1) + 99), &name).await;
}

/// Asserts that pushes are taken, if not at once, and that what is used is there.
async fn assert_well(project: &Project, registry: &Registry, used: &[Digest], round: usize) {
    let started = Instant::now();
    while let Err(error) =
        registry.try_push("shop/unused", &version(50_000 + round), &format!("after {round}")).await
    {
        println!("not yet: {error}");
        assert!(started.elapsed() < PATIENCE, "pushes are refused: {error}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for digest in used {
        registry.assert_complete(&used_in(project), *digest).await;
    }
}

/// Asserts that the next clean-up does what is left to do, and that what is used can be run then.
async fn assert_finishes(project: &Project, registry: &Registry, used: &[Digest]) {
    let report = project.builder().clean_up_registry(at_once()).await.unwrap();
    assert!(report.failed.is_empty(), "{report}");
    assert_eq!(
        report.stored_bytes_before - report.stored_bytes_after,
        report.plan.freed_bytes + report.plan.leftover_bytes
    );
    assert!(registry.tags("shop/unused").await.is_empty());
    for (number, digest) in used.iter().enumerate() {
        let image = registry.on_the_node(&format!("{}@{digest}", used_in(project)));
        assert_eq!(project.run(&image, &[], None).await, format!("used {number}"));
    }
    let plan = project.builder().plan_clean_up(at_once()).await.unwrap();
    assert!(plan.deletions.is_empty() && plan.leftover_bytes == 0, "{plan}");
}

#[tokio::test]
async fn a_clean_up_that_is_killed_at_any_step_breaks_nothing_and_the_next_one_finishes() {
    if let Ok(namespace) = std::env::var(VICTIM) {
        return clean_up_until_killed(namespace).await;
    }
    with_own_registry("clean-up-killed", async |project, registry| {
        let used = used(project, registry).await;
        for (round, moment) in MOMENTS.into_iter().enumerate() {
            push_unused(registry, round).await;
            let mut victim = victim(project);
            let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
            let reached = tokio::task::spawn_blocking(move || {
                let mut lines = lines.inspect(|line| println!("   {line}"));
                let reached = lines.any(|line| is_moment(&line, moment));
                // Killed at once, before it gets on.
                victim.kill().unwrap();
                victim.wait().unwrap();
                reached
            });
            assert!(reached.await.unwrap(), "it never came to `{moment}`");
            println!("killed at `{moment}`");
            assert_well(project, registry, &used, round).await;
        }
        assert_finishes(project, registry, &used).await;
    })
    .await;
}

fn victim(project: &Project) -> Child {
    in_own_process!(a_clean_up_that_is_killed_at_any_step_breaks_nothing_and_the_next_one_finishes)
        .env(VICTIM, &project.namespace)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn clean_up_until_killed(namespace: String) {
    let mut project = Project::in_namespace(namespace).await;
    use_own_registry(&mut project);
    let mut clean_up = project.builder().clean_up_registry(at_once());
    let mut out = std::io::stdout();
    while let Some(event) = clean_up.next_event().await {
        writeln!(out, "{event}").unwrap();
        out.flush().unwrap();
    }
    clean_up.await.unwrap();
}

#[tokio::test]
async fn a_clean_up_that_is_dropped_at_any_step_breaks_nothing_and_the_next_one_finishes() {
    with_own_registry("clean-up-dropped", async |project, registry| {
        let used = used(project, registry).await;
        for (round, moment) in MOMENTS.into_iter().enumerate() {
            push_unused(registry, round).await;
            let mut clean_up = project.builder().clean_up_registry(at_once());
            loop {
                let event: Event = clean_up.next_event().await.expect("it comes to every moment");
                if is_moment(&event.to_string(), moment) {
                    break;
                }
            }
            drop(clean_up);
            println!("dropped at `{moment}`");
            assert_well(project, registry, &used, round).await;
        }
        assert_finishes(project, registry, &used).await;
    })
    .await;
}
