use garden_cluster::PodEnd;

use crate::service::Key;

/// How the lines begin with which the first process of a build's container speaks to us. Source: `service/files/build.sh`.
const START: &str = "garden-build: end ";

/// What a build's pod says last, in its log: that all has been said, and how the executor ended. This comes at once, where the
/// cluster takes up to a second to notice the end of a container.
///
/// It is said on each of the container's two streams, as they come to the log independently. Nothing that a RUN prints is
/// taken for it, since a digest of the build's key is part of it.
#[derive(Debug)]
pub(crate) struct Ending {
    key: Option<Key>,
    /// On how many streams it was said.
    said: usize,
    end: Option<PodEnd>,
}

impl Ending {
    /// Looks out for what a pod with this key says; a pod without one says nothing.
    pub(crate) fn new(key: Option<Key>) -> Self {
        Self { key, said: 0, end: None }
    }

    /// Takes the next line of the log, and returns what of it is for the user, if anything is.
    pub(crate) fn line<'l>(&mut self, line: &'l str) -> Option<&'l str> {
        // What a RUN prints last may lack the end of its line.
        let position = line.rfind(START);
        let Some((position, end)) =
            position.and_then(|position| Some((position, self.read(&line[position..])?)))
        else {
            return Some(line);
        };
        self.said += 1;
        self.end = Some(end);
        Some(&line[..position]).filter(|before| !before.is_empty())
    }

    /// Returns how the executor ended, once all of the log has been read.
    pub(crate) fn end(&self) -> Option<&PodEnd> {
        self.end.as_ref().filter(|_| self.said >= 2)
    }

    fn read(&self, words: &str) -> Option<PodEnd> {
        let [code, image, proof] = words.strip_prefix(START)?.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        let is_proven = proof == self.key.as_ref()?.proof_of_end(code, image);
        is_proven.then_some(PodEnd { exit_code: code.parse().ok()?, message: image.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(key: &Key, code: &str, image: &str) -> String {
        format!("{START}{code} {image} {}", key.proof_of_end(code, image))
    }

    #[test]
    fn the_end_is_known_when_both_streams_have_said_it() {
        let key = Key::random();
        let mut ending = Ending::new(Some(key.clone()));
        assert_eq!(ending.line("compiling"), Some("compiling"));
        assert_eq!(ending.line(&said(&key, "0", "sha256:1")), None);
        assert_eq!(ending.line("what the other stream had to say"), Some("what the other stream had to say"));
        assert_eq!(ending.end(), None);
        let glued = format!("without end{}", said(&key, "0", "sha256:1"));
        assert_eq!(ending.line(&glued), Some("without end"));
        assert_eq!(ending.end(), Some(&PodEnd { exit_code: 0, message: "sha256:1".to_owned() }));
    }

    #[test]
    fn nobody_else_can_say_it() {
        let key = Key::random();
        let mut ending = Ending::new(Some(key.clone()));
        let altered = said(&key, "1", "none").replace("end 1", "end 0");
        for line in
            [&altered, &said(&Key::random(), "0", "sha256:1"), "garden-build: end 0", "garden-build: end "]
        {
            assert_eq!(ending.line(line), Some(line));
            assert_eq!(ending.line(line), Some(line));
        }
        assert_eq!(ending.end(), None);
        let line = said(&key, "0", "sha256:1");
        assert_eq!(Ending::new(None).line(&line), Some(line.as_str()));
    }
}
