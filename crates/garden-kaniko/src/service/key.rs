use garden_build_core::Digest;
use secrecy::{ExposeSecret, SecretString};

/// What a build's pod, with all that runs in it, and its client know, and nobody else: 244 random bits. Neither the context service nor the
/// network between sees it, only digests of it with a word for what each is good for.
///
/// The other side of these words is in `files/build.sh`.
#[derive(Clone, Debug)]
pub(crate) struct Key(SecretString);

impl Key {
    pub(crate) fn random() -> Self {
        let [one, two] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        Self(format!("{}{}", one.simple(), two.simple()).into())
    }

    /// Returns the key itself, for the Secret of the build's pod.
    pub(crate) fn text(&self) -> &SecretString {
        &self.0
    }

    /// Returns the name by which the pod asks for the context.
    pub(crate) fn pull_name(&self) -> String {
        self.digest("pull", "")
    }

    /// Returns what shows the pod that `list` is our list of the context's parts.
    pub(crate) fn proof_of_parts(&self, list: &[u8]) -> String {
        self.digest("parts", &format!(" {}", Digest::of(list).hex()))
    }

    /// Returns what shows us that it is this build of which somebody says how it ended: with this exit code, and with this text as
    /// the image's digest. Steps of the Dockerfile can read the key and say it, too.
    pub(crate) fn proof_of_end(&self, exit_code: &str, image: &str) -> String {
        self.digest("end", &format!(" {exit_code} {image}"))
    }

    fn digest(&self, purpose: &str, about: &str) -> String {
        Digest::of(format!("{purpose} {}{about}", self.0.expose_secret()).as_bytes()).hex()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_a_key_is_good_for_differs_in_every_respect() {
        let (key, other) = (Key::random(), Key::random());
        let words = |key: &Key| {
            [
                key.pull_name(),
                key.proof_of_parts(b"1"),
                key.proof_of_parts(b"2"),
                key.proof_of_end("0", "none"),
                key.proof_of_end("1", "none"),
            ]
        };
        let all: BTreeSet<String> = words(&key).into_iter().chain(words(&other)).collect();
        assert_eq!(all.len(), 10);
        assert!(all.iter().all(|word| word.len() == 64 && !word.contains(key.text().expose_secret())));
        assert!(!format!("{key:?}").contains(key.text().expose_secret()));
    }
}
