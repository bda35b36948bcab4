//! The name of an image, which a Dockerfile, a project file or a registry may have in it.

use super::ImageReference;

/// Reads the name of an image, and writes it down again.
///
/// # Panics
/// If the name that is written is not that of the same image, or if one of its parts could be taken for another.
pub fn image_reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let image: ImageReference = match text.parse() {
        Ok(image) => image,
        Err(error) => {
            assert!(error.to_string().contains("is not an image reference"), "{error}");
            return;
        }
    };
    let again = |text: String| text.parse().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(image, again(image.to_string()));
    assert!(image.tag().is_some() || image.digest().is_some(), "{image}");
    assert!(!image.registry().is_empty() && !image.registry().contains(['/', '@']), "{image}");
    assert!(!image.repository().is_empty() && !image.repository().contains([':', '@']), "{image}");
    assert!(image.tag().is_none_or(ImageReference::is_tag), "{image}");
    assert_eq!(image.in_registry(image.registry()), Ok(image.clone()));
    if let Some(tag) = image.tag() {
        let tagged = image.with_tag(tag).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((tagged.name(), tagged.tag()), (image.name(), Some(tag)));
    }
}

#[test]
fn the_seeds_pass() {
    garden_test_programs::run_seeds("image_reference", image_reference);
}
