//! A registry whose storage has been damaged: a copy of such an image does not come about.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::join_all;
use garden_build_core::Digest;
use garden_registry::{CopyError, Location, RegistryError, Resolution, copy};

use super::PROGRAMS;
use crate::images::Image;
use crate::process::Program;
use crate::registry::{Guard, Registry};

/// Where distribution keeps a blob. Source: distribution project, `registry/storage/paths.go`.
fn file_of(registry: &Registry, digest: Digest) -> PathBuf {
    let hex = digest.hex();
    registry.storage().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
}

type Damage = (&'static str, fn(&mut Vec<u8>));

const A_BIT: Damage = ("a bit", |content| content[50] ^= 4);
const THE_LAST_BYTE: Damage = ("the last byte", |content| content.truncate(content.len() - 1));
const ONE_MORE_BYTE: Damage = ("one more byte", |content| content.push(0));
const EVERYTHING: Damage = ("everything", Vec::clear);

#[tokio::test]
async fn a_damaged_image_is_not_copied() {
    garden_test_programs::needs!(Go, DockerRegistry);
    let image = Image::new("damaged", &[200_000]);
    let [config, layer] = [0, 1].map(|index| image.blobs[index].0.digest);
    // Of other damages to a manifest the registry finds out by itself.
    let mut cases = vec![(A_BIT, image.manifest.digest())];
    for damage in [A_BIT, THE_LAST_BYTE, ONE_MORE_BYTE, EVERYTHING] {
        cases.extend([(damage, config), (damage, layer)]);
    }
    let cases = cases.into_iter().flat_map(|case| PROGRAMS.map(|program| (program, case)));
    join_all(cases.map(|(program, (damage, part))| copy_damaged(program, &image, damage, part))).await;
}

async fn copy_damaged(program: Program, image: &Image, (what, damage): Damage, part: Digest) {
    let source = Registry::start(program, Guard::Open).await;
    let destination = Registry::start(program, Guard::Open).await;
    image.push(&source.client(), &source.image("team/api", "v1")).await;
    let file = file_of(&source, part);
    let sound = fs::read(&file).expect("readable");
    let mut content = sound.clone();
    damage(&mut content);
    fs::write(&file, &content).expect("written");

    let error = copy_to(&source, &destination).await.expect_err(what);
    // Of a file that is too short, a registry may notice in the middle of its answer.
    let expected = matches!(
        error,
        CopyError::Source(
            RegistryError::WrongContent { .. }
                | RegistryError::Unexpected { .. }
                | RegistryError::Unreachable { .. }
        )
    );
    assert!(expected, "{what}: {error:?}");
    assert!(error.to_string().contains(&source.name()), "{what}: {error}");
    let resolution = destination.client().resolve(&destination.image("team/api", "v1")).await;
    assert_eq!(resolution.expect("an answer"), Resolution::Missing, "{what}");

    fs::write(&file, sound).expect("written");
    copy_to(&source, &destination).await.expect("what is sound again");
}

async fn copy_to(source: &Registry, destination: &Registry) -> Result<(), CopyError> {
    let from = Location { registry: source.client(), image: source.image("team/api", "v1") };
    let to = Location { registry: destination.client(), image: destination.image("team/api", "v1") };
    copy(&from, &to, Arc::new(|_| ())).await.map(drop)
}
