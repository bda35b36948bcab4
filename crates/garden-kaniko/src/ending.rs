// Why: docs/decisions/32-the-cluster-or-the-registry-ends-a-kaniko-build.md

use garden_build_core::Digest;

use crate::service::Key;

/// How the lines begin with which the first process of a build's container speaks to us. Source: `service/files/build.sh`.
const START: &str = "garden-build: end ";

/// What a build's pod says last, in its log: that all has been said, and how the executor ended. This comes at once, where the
/// cluster takes up to a second to notice the end of a container.
///
/// It is a hint, and proves nothing: a step of the Dockerfile can read the build's key, which is part of it, and say the same. It only
/// tells what to ask the registry. It is said on each of the container's two streams, as they come to the log independently.
#[derive(Debug)]
pub(crate) struct Ending {
    key: Option<Key>,
    /// On how many streams it was said.
    said: usize,
    image: Option<Digest>,
}

/// What one line says.
struct Said {
    /// The image that was pushed, if one was.
    image: Option<Digest>,
}

impl Ending {
    /// Looks out for what a pod with this key says; a pod without one says nothing.
    pub(crate) fn new(key: Option<Key>) -> Self {
        Self { key, said: 0, image: None }
    }

    /// Takes the next line of the log, and returns what of it is for the user, if anything is.
    pub(crate) fn line<'l>(&mut self, line: &'l str) -> Option<&'l str> {
        // What a RUN prints last may lack the end of its line.
        let position = line.rfind(START);
        let Some((position, Said { image })) =
            position.and_then(|position| Some((position, self.read(&line[position..])?)))
        else {
            return Some(line);
        };
        self.said += 1;
        self.image = image;
        Some(&line[..position]).filter(|before| !before.is_empty())
    }

    /// Returns the image that the executor is said to have pushed, once all of the log has been read.
    pub(crate) fn image(&self) -> Option<Digest> {
        self.image.filter(|_| self.said >= 2)
    }

    fn read(&self, words: &str) -> Option<Said> {
        let [code, image, proof] = words.strip_prefix(START)?.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        let is_of_this_build = proof == self.key.as_ref()?.proof_of_end(code, image);
        is_of_this_build.then(|| Said { image: image.parse().ok().filter(|_| code == "0") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn said(key: &Key, code: &str, image: &str) -> String {
        format!("{START}{code} {image} {}", key.proof_of_end(code, image))
    }

    #[test]
    fn the_end_is_known_when_both_streams_have_said_it() {
        let key = Key::random();
        let mut ending = Ending::new(Some(key.clone()));
        assert_eq!(ending.line("compiling"), Some("compiling"));
        assert_eq!(ending.line(&said(&key, "0", IMAGE)), None);
        assert_eq!(ending.line("what the other stream had to say"), Some("what the other stream had to say"));
        assert_eq!(ending.image(), None);
        let glued = format!("without end{}", said(&key, "0", IMAGE));
        assert_eq!(ending.line(&glued), Some("without end"));
        assert_eq!(ending.image().map(|image| image.to_string()).as_deref(), Some(IMAGE));
    }

    #[test]
    fn a_failure_is_no_hint_of_an_image() {
        let key = Key::random();
        let mut ending = Ending::new(Some(key.clone()));
        for words in [said(&key, "1", IMAGE), said(&key, "0", "none"), said(&key, "0", "sha256:1")] {
            assert_eq!((ending.line(&words), ending.image()), (None, None), "{words}");
        }
    }

    #[test]
    fn another_build_does_not_say_it() {
        let key = Key::random();
        let mut ending = Ending::new(Some(key.clone()));
        let altered = said(&key, "1", "none").replace("end 1", "end 0");
        for line in [&altered, &said(&Key::random(), "0", IMAGE), "garden-build: end 0", "garden-build: end "]
        {
            assert_eq!(ending.line(line), Some(line));
            assert_eq!(ending.line(line), Some(line));
        }
        assert_eq!(ending.image(), None);
        let line = said(&key, "0", IMAGE);
        assert_eq!(Ending::new(None).line(&line), Some(line.as_str()));
    }
}
