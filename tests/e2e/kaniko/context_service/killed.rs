//! Parts of a build are killed at random points: whatever happens, an image has all of its context, and the next build works.

use std::time::{Duration, UNIX_EPOCH};

use garden_build::{Builder, Outcome};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};

use super::failures::{assert_idle, service_pod};
use crate::site::{Project, in_project, noise, proxy};

/// How often in the usual run; `GARDEN_TEST_KILLS=200` takes half an hour.
const KILLS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Victim {
    Client,
    Service,
    Builder,
    Connections,
}

const VICTIMS: [Victim; 4] = [Victim::Client, Victim::Service, Victim::Builder, Victim::Connections];

#[tokio::test]
async fn killing_any_part_at_any_time_never_yields_an_incomplete_image() {
    let kills = std::env::var("GARDEN_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    in_project("sync-kills", async |project| {
        // A build of anything but the whole context fails.
        project.dockerfile("ARG SUM\nCOPY . /app\nRUN cat /app/big /app/round | sha256sum | grep -q ^$SUM");
        let mut state = u64::from(UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
        println!("seed {state}");
        for round in 0..kills {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let delay = Duration::from_millis((state >> 33) % 1800);
            let victim = VICTIMS[round % VICTIMS.len()];
            let sum = change(project, round);
            let outcome = attempt(project, &sum, victim, delay).await;
            println!("{round}: {victim:?} after {delay:?}: {outcome}");
            project.assert_nothing_left().await;
            // The next build, by another client.
            let request = project.request().build_arg("SUM", &sum);
            project.builder().build(request).await.unwrap_or_else(|error| {
                panic!("after {victim:?} was killed at {delay:?}: {error:?}");
            });
        }
        assert_idle(project).await;
    })
    .await;
}

/// Changes the context, and returns what a RUN can know it by.
fn change(project: &Project, round: usize) -> String {
    let mut bytes = noise(8 << 20);
    bytes[..8].copy_from_slice(&round.to_le_bytes());
    project.file("big", &bytes);
    let round = round.to_string();
    project.file("round", &round);
    bytes.extend(round.bytes());
    garden_build_core::Digest::of(&bytes).hex()
}

/// Builds, and kills meanwhile. A build that succeeds all the same has checked its context itself.
async fn attempt(project: &Project, sum: &str, victim: Victim, delay: Duration) -> String {
    let proxied = proxy::client_cut_after(u64::MAX).await;
    let builder =
        Builder::options(project.provider.clone()).client(proxied.client.clone()).connect().unwrap();
    let build = builder.build(project.request().build_arg("SUM", sum));
    tokio::time::sleep(delay).await;
    let at_once = DeleteParams::default().grace_period(0);
    match victim {
        Victim::Client => {
            drop(build);
            return "dropped".to_owned();
        }
        Victim::Service => {
            let pod = service_pod(project).await.name_any();
            project.pods().delete(&pod, &at_once).await.unwrap();
        }
        Victim::Builder => {
            let builders = ListParams::default().labels("garden-build/build");
            for pod in project.pods().list(&builders).await.unwrap() {
                let _ = project.pods().delete(&pod.name_any(), &at_once).await;
            }
        }
        Victim::Connections => proxied.cut_all(),
    }
    match build.await {
        Ok(image) => match image.outcome {
            Outcome::Built { .. } => "built".to_owned(),
            // Its builder had pushed when it was killed: nobody else has built this content.
            Outcome::AlreadyExists => "pushed".to_owned(),
            _ => panic!("{image:?}"),
        },
        Err(error) => {
            assert!(error.is_retryable(), "{victim:?} after {delay:?}: {error:?}");
            format!("failed: {error}")
        }
    }
}
