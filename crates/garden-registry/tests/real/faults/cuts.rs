//! Connections that end anywhere, again and again.

use futures::future::join_all;
use garden_registry::RegistryError;

use super::{PROGRAMS, image_at};
use crate::images::{Image, noise, pull};
use crate::registry::{Guard, Registry, client_at};
use crate::wire::Wire;

/// How many images are pushed and pulled over bad connections, at each registry.
const IMAGES: usize = 24;

/// How many connections in a row end before they should.
const CUTS: usize = 4;

/// Says after how many bytes a connection ends: mostly within a blob, sometimes within a request's first line.
fn length(seed: usize, number: usize) -> Option<u64> {
    let random = noise(&format!("cut {seed} {number}"), 8);
    let random = u64::from_le_bytes(random[..].try_into().expect("8 bytes"));
    (number < CUTS).then_some(if random.is_multiple_of(4) { random / 4 % 300 } else { random / 4 % 400_000 })
}

async fn push_and_pull(registry: &Registry, seed: usize) -> Result<(), RegistryError> {
    let image = Image::new(&format!("image-{seed}"), &[300_000, 10, 150_000]);
    let repository = format!("team/api-{seed}");
    let result = async {
        let wire = Wire::start(registry.address(), move |number| length(seed, number)).await;
        let reference = image_at(wire.address, &repository, "v1");
        image.try_push(&client_at(wire.address), &reference).await?;
        let wire = Wire::start(registry.address(), move |number| length(seed + IMAGES, number)).await;
        let reference = image_at(wire.address, &repository, "v1");
        let pulled = pull(&client_at(wire.address), &reference).await?;
        assert!(pulled.as_ref() == Some(&image), "seed {seed}");
        Ok(())
    }
    .await;
    let there =
        pull(&registry.client(), &registry.image(&repository, "v1")).await.expect("a registry that works");
    assert!(there.is_none_or(|there| there == image), "seed {seed}");
    result
}

#[tokio::test]
async fn what_arrives_over_bad_connections_is_right() {
    garden_test_programs::needs!(Go, DockerRegistry);
    for program in PROGRAMS {
        let registry = Registry::start(program, Guard::Open).await;
        let results = join_all((0..IMAGES).map(|seed| push_and_pull(&registry, seed))).await;
        let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        // It can be too much; then the error says so.
        assert!(failed.len() < IMAGES / 4, "{failed:?}");
        for error in failed {
            assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
        }
    }
}
