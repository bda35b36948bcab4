//! Which images a Dockerfile builds on, as far as it can be told without building it.

use crate::ImageReference;

/// Returns the images of FROM instructions that are written out. Stages, `scratch` and names with
/// arguments in them are left out.
pub(super) fn of(dockerfile: &[u8]) -> Vec<ImageReference> {
    let text = String::from_utf8_lossy(dockerfile);
    let mut stages: Vec<String> = vec!["scratch".to_owned()];
    let mut images = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("FROM")) {
            continue;
        }
        let words: Vec<&str> = words.filter(|word| !word.starts_with("--")).collect();
        let Some(image) = words.first() else { continue };
        if !image.contains('$') && !stages.iter().any(|stage| stage.eq_ignore_ascii_case(image)) {
            images.extend(image.parse::<ImageReference>());
        }
        if let [_, word, stage] = words.as_slice()
            && word.eq_ignore_ascii_case("AS")
        {
            stages.push((*stage).to_owned());
        }
    }
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_out_images_are_found_and_stages_are_not() {
        let dockerfile = b"# FROM commented/out\nARG BASE=x\nFROM --platform=linux/amd64 one.example/a:1 AS build\n\
            from two.example:5000/team/b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
            FROM Build\nFROM scratch\nFROM ${BASE}\nFROM busybox\n";
        let names: Vec<String> = of(dockerfile).iter().map(ImageReference::name).collect();
        assert_eq!(names, ["one.example/a", "two.example:5000/team/b", "docker.io/library/busybox"]);
    }
}
