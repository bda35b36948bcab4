//! The executor's command line: what a build needs, and what the user adds.

use std::collections::BTreeSet;

use garden_build_core::{Error, ErrorKind, ImageFlag, LONGEST_ARGUMENT};

/// One flag of the executor, as the user wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flag {
    name: String,
    words: Vec<String>,
}

/// An `extraFlags` entry that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlagError {
    /// Not a flag, and not the value of the flag before it.
    #[error("`extraFlags`: `{0}` is not a flag: flags begin with `--`")]
    NotAFlag(String),
    /// A flag that garden-build sets itself.
    #[error("`extraFlags`: `--{0}` cannot be set: garden-build sets it for every build")]
    Reserved(String),
    /// More than Linux gives to a program as one argument.
    #[error(
        "`{field}`: the executor's argument of it would have {bytes} bytes, and Linux gives a program {LONGEST_ARGUMENT} at most"
    )]
    TooLong {
        /// The field of the request.
        field: String,
        /// The length of the argument.
        bytes: usize,
    },
}

/// Flags that make the build what it is: what it reads, where it pushes, how we hear of it.
/// The short forms are kaniko's own: `-c`, `-d` and `-f`.
const RESERVED: [&str; 15] = [
    "c",
    "context",
    "context-sub-path",
    "d",
    "destination",
    "digest-file",
    "dockerfile",
    "f",
    "help",
    "kaniko-dir",
    "log-format",
    "no-push",
    "tar-path",
    "tarPath",
    "version",
];

/// Flags that say how a build is run and not what comes out of it; a name that ends in `*` stands for
/// all that begin so. Any other flag, known or not, is taken to change the image.
const OPERATIONAL: [&str; 19] = [
    "cache*",
    "cleanup",
    "compressed-caching",
    "credential-helpers",
    "force",
    "image-download-retry",
    "image-fs-extract-retry",
    "insecure*",
    "log-timestamp",
    "no-push-cache",
    "push-ignore-immutable-tag-errors",
    "push-retry",
    "registry-certificate",
    "registry-client-cert",
    "registry-map",
    "registry-mirror",
    "skip-*",
    "v",
    "verbosity",
];

/// Flags that can change the image, but not what of the context is read. Any other flag, known or not, is taken to
/// change that as well.
const READING_NO_MORE: [&str; 8] = [
    "compression",
    "compression-level",
    "ignore-var-run",
    "label",
    "reproducible",
    "single-snapshot",
    "snapshot-mode",
    "use-new-run",
];

impl From<FlagError> for Error {
    fn from(error: FlagError) -> Self {
        let hint = match &error {
            FlagError::NotAFlag(_) => "write `--name=value`, or `--name` and `value` as two entries",
            FlagError::Reserved(_) => "remove it",
            FlagError::TooLong { .. } => {
                "put it into a file of the build context, which the Dockerfile copies, or into several arguments"
            }
        };
        Self::new(ErrorKind::Config, error.to_string()).with_hint(hint)
    }
}

impl Flag {
    fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), words: vec![format!("--{name}={value}")] }
    }

    fn is_operational(&self) -> bool {
        OPERATIONAL.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => self.name.starts_with(start),
            None => *known == self.name,
        })
    }

    fn for_the_image(&self) -> ImageFlag {
        if READING_NO_MORE.contains(&&*self.name) {
            ImageFlag::reading_no_more(&self.words)
        } else {
            ImageFlag::new(&self.words)
        }
    }
}

/// Reads a list of `extraFlags`. A flag's value stands after `=`, or is the next entry.
///
/// # Errors
/// If an entry is neither, or names a flag that a build sets itself.
pub fn parse(entries: &[String]) -> Result<Vec<Flag>, FlagError> {
    let mut flags: Vec<Flag> = Vec::new();
    for entry in entries {
        let Some(flag) =
            entry.strip_prefix("--").or_else(|| entry.strip_prefix('-')).filter(|flag| !flag.is_empty())
        else {
            // `--name value`: a flag that has no value yet takes the next word.
            match flags.last_mut() {
                Some(flag) if flag.words.len() == 1 && !flag.words[0].contains('=') => {
                    flag.words.push(entry.clone());
                    continue;
                }
                _ => return Err(FlagError::NotAFlag(entry.clone())),
            }
        };
        let name = flag.split('=').next().unwrap_or(flag);
        if RESERVED.contains(&name) {
            return Err(FlagError::Reserved(name.to_owned()));
        }
        flags.push(Flag { name: name.to_owned(), words: vec![entry.clone()] });
    }
    Ok(flags)
}

/// Merges lists of flags, the most specific first: a flag that a list names, whether once or
/// several times, hides the flag of that very name in all lists after it, and no other.
pub fn merge(lists: &[Vec<Flag>]) -> Vec<String> {
    strongest(lists).into_iter().flat_map(|flag| flag.words.clone()).collect()
}

/// Merges lists of flags as [`merge`] does, and leaves out those that cannot change the image.
pub fn image_flags(lists: &[Vec<Flag>]) -> Vec<ImageFlag> {
    strongest(lists).into_iter().filter(|flag| !flag.is_operational()).map(Flag::for_the_image).collect()
}

fn strongest(lists: &[Vec<Flag>]) -> Vec<&Flag> {
    let mut named = BTreeSet::new();
    let mut strongest = Vec::new();
    for list in lists {
        strongest.extend(list.iter().filter(|flag| !named.contains(&*flag.name)));
        named.extend(list.iter().map(|flag| &*flag.name));
    }
    strongest
}

/// Returns the flags that a build has unless the user sets them: layers are cached, beside the image.
pub fn defaults(image_name: &str) -> Vec<Flag> {
    vec![
        Flag::new("cache", "true"),
        Flag::new("cache-repo", &format!("{image_name}/cache")),
        Flag::new("push-retry", "3"),
        Flag::new("image-download-retry", "3"),
    ]
}

/// Whether layers are cached with the flags of `lists` in front of the [`defaults`]. The executor reads truth values as Go does.
pub(crate) fn caches(lists: &[Vec<Flag>]) -> bool {
    let flag = strongest(lists).into_iter().rev().find(|flag| flag.name == "cache");
    let value = flag.and_then(|flag| flag.words.first()?.split_once('='));
    value.is_none_or(|(_, value)| !["0", "f", "F", "false", "False", "FALSE"].contains(&value))
}

/// Returns the flags of a build that has to run every step. Stronger than any others.
pub fn no_cache() -> Vec<Flag> {
    vec![Flag::new("cache", "false")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(request: &[&str], provider: &[&str]) -> Vec<String> {
        let parse = |entries: &[&str]| {
            parse(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>()).expect("valid")
        };
        let cache_only = vec![Flag::new("cache", "true")];
        merge(&[parse(request), parse(provider), cache_only])
    }

    #[test]
    fn layers_are_cached_unless_the_last_of_the_strongest_flags_says_no() {
        let caches = |request: &[&str], provider: &[&str]| {
            let parse = |entries: &[&str]| {
                parse(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>()).expect("valid")
            };
            caches(&[parse(request), parse(provider)])
        };
        assert!(caches(&[], &[]) && caches(&["--cache"], &["--cache=false"]));
        assert!(caches(&["--cache-copy-layers=false"], &["--cache=false", "--cache=true"]));
        assert!(!caches(&["--cache=false"], &["--cache=true"]) && !caches(&[], &["--cache=0"]));
    }

    #[test]
    fn follows_the_vectors_of_garden() {
        assert_eq!(merged(&[], &[]), ["--cache=true"]);
        assert_eq!(
            merged(&["--here=first", "--here=again"], &[]),
            ["--here=first", "--here=again", "--cache=true"]
        );
        assert_eq!(merged(&["--cat=slow"], &["--cat=fast"]), ["--cat=slow", "--cache=true"]);
        assert_eq!(merged(&["--cache=truecat"], &[]), ["--cache=truecat"]);
    }

    #[test]
    fn a_flag_never_disables_an_unrelated_default() {
        assert_eq!(
            merged(&[], &["--cache-repo=example/cache", "--cache-ttl=1h"]),
            ["--cache-repo=example/cache", "--cache-ttl=1h", "--cache=true"]
        );
    }

    #[test]
    fn the_provider_s_setting_is_stronger_than_a_default_even_if_the_request_has_flags() {
        assert_eq!(merged(&["--x"], &["--cache=false"]), ["--x", "--cache=false"]);
    }

    #[test]
    fn values_may_stand_in_the_next_entry() {
        assert_eq!(
            merged(&["--cache-repo", "example/cache", "--use-new-run"], &["--cache-repo=other"]),
            ["--cache-repo", "example/cache", "--use-new-run", "--cache=true"]
        );
    }

    fn of_the_image(entries: &[&str]) -> Vec<ImageFlag> {
        let entries: Vec<String> = entries.iter().map(|&entry| entry.to_owned()).collect();
        image_flags(&[parse(&entries).expect("valid")])
    }

    #[test]
    fn what_only_concerns_the_run_is_told_from_what_changes_the_image() {
        let flags = of_the_image(&[
            "--cache-repo=x",
            "--label",
            "a=b",
            "--verbosity=debug",
            "--skip-tls-verify",
            "--reproducible",
        ]);
        let words = flags.into_iter().flat_map(|flag| flag.words);
        assert_eq!(words.collect::<Vec<_>>(), ["--label", "a=b", "--reproducible"]);
    }

    #[test]
    fn a_flag_that_is_not_known_to_read_nothing_may_read_everything() {
        for (entry, may_read_more) in [
            ("--snapshot-mode=redo", false),
            ("--compression", false),
            ("--label=a=b", false),
            ("--labels=a=b", true),
            ("--build-arg=A=b", true),
            ("--target=x", true),
            ("-b", true),
        ] {
            let flags = of_the_image(&[entry]);
            assert_eq!(
                flags.iter().map(|flag| flag.may_read_more).collect::<Vec<_>>(),
                [may_read_more],
                "{entry}"
            );
        }
    }

    #[test]
    fn refuses_stray_values_and_flags_that_would_break_the_build() {
        let parse_one =
            |entries: &[&str]| parse(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>());
        assert_eq!(parse_one(&["example"]), Err(FlagError::NotAFlag("example".to_owned())));
        assert_eq!(parse_one(&["--a=b", "c"]), Err(FlagError::NotAFlag("c".to_owned())));
        assert_eq!(parse_one(&["--no-push"]), Err(FlagError::Reserved("no-push".to_owned())));
        assert_eq!(
            parse_one(&["--destination=elsewhere"]),
            Err(FlagError::Reserved("destination".to_owned()))
        );
        assert!(parse_one(&["--no-push-cache"]).is_ok());
    }
}
