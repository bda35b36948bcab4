//! What `extraFlags` mean with Docker.

use std::collections::BTreeMap;

use garden_build_core::{BuildRequest, Error, ErrorKind, ImageFlag, Result};
use garden_buildkit::request::{field_for, option_flag};

/// Flags of `docker build` that have no field of the request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Flags {
    /// `--network`: `default`, `none` or `host`; the classic builder also takes a network's name.
    pub(crate) network: Option<String>,
    /// `--shm-size`, in bytes.
    pub(crate) shm_size: Option<u64>,
    /// `--pull`: ask for a newer version of base images that the daemon has.
    pub(crate) pull: bool,
    /// `--opt name=value`: attributes of `BuildKit`'s Dockerfile frontend.
    pub(crate) options: BTreeMap<String, String>,
}

const KNOWN: &str = "Docker's flags that are known here are `--network`, `--shm-size` and `--pull`, and with BuildKit \
    `--opt name=value`; everything else has a field of the request";

impl Flags {
    /// Reads flags, each in one word or two.
    ///
    /// # Errors
    /// For a flag that is not known, or has no usable value; `mode` is the build mode's name.
    pub(crate) fn read(flags: &[String], mode: &str) -> Result<Self> {
        let mut read = Self::default();
        let mut words = flags.iter();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            let mut value = |what: &str| {
                value
                    .or_else(|| words.next().map(String::as_str))
                    .filter(|value| !value.is_empty())
                    .ok_or_else(|| {
                        unusable(
                            format!("`extraFlags`: `{name}` has no value"),
                            format!("write `{name} {what}`"),
                        )
                    })
            };
            match name {
                "--pull" => read.pull = !word.ends_with("=false"),
                "--network" => read.network = Some(value("none")?.to_owned()),
                "--shm-size" => read.shm_size = Some(bytes(value("64m")?)?),
                "--opt" => {
                    let (name, value) = value("name=value")?.split_once('=').ok_or_else(|| {
                        let message = format!("`extraFlags`: `{word}` sets nothing");
                        unusable(message, "write `--opt name=value`".to_owned())
                    })?;
                    if let Some(field) = field_for(name) {
                        let message = format!("`extraFlags`: `--opt {name}=…` is not for a flag");
                        return Err(unusable(message, format!("use {field}")));
                    }
                    read.options.insert(name.to_owned(), value.to_owned());
                }
                _ => {
                    let message = format!("`extraFlags`: {mode} does not know `{word}`");
                    return Err(unusable(message, KNOWN.to_owned()));
                }
            }
        }
        Ok(read)
    }

    /// Checks that Docker's classic builder can do this.
    pub(crate) fn check_classic(&self) -> Result<()> {
        match self.options.keys().next() {
            None => Ok(()),
            Some(name) => Err(unusable(
                format!("`extraFlags`: `--opt {name}=…` is for BuildKit, and this daemon builds without it"),
                KNOWN.to_owned(),
            )),
        }
    }

    /// The entitlement that `BuildKit` needs besides the flag itself. Source: `BuildKit`, `util/entitlements`.
    pub(crate) fn entitlements(&self) -> Vec<String> {
        let is_host = self.network.as_deref() == Some("host");
        is_host.then(|| "network.host".to_owned()).into_iter().collect()
    }

    /// The attributes of `BuildKit`'s Dockerfile frontend. Source: Docker, `builder/builder-next/builder.go`.
    pub(crate) fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = self.options.clone();
        if self.pull {
            attributes.insert("image-resolve-mode".to_owned(), "pull".to_owned());
        }
        if let Some(network) = self.network.as_ref().filter(|network| *network != "default") {
            attributes.insert("force-network-mode".to_owned(), network.clone());
        }
        if let Some(bytes) = self.shm_size {
            attributes.insert("shm-size".to_owned(), bytes.to_string());
        }
        attributes
    }
}

/// The flags are part of the version: any of them can change the image. Docker's own do not change what of the context
/// is read; `BuildKit` knows of its attributes.
pub(crate) fn image_flags(request: &BuildRequest, mode: &str) -> Result<Vec<ImageFlag>> {
    let Flags { network, shm_size, pull, options } = Flags::read(&request.extra_flags, mode)?;
    let own = [
        network.map(|network| format!("--network={network}")),
        shm_size.map(|bytes| format!("--shm-size={bytes}")),
        pull.then(|| "--pull".to_owned()),
    ];
    let options = options.iter().map(|(name, value)| option_flag(name, value));
    Ok(options.chain(own.into_iter().flatten().map(|flag| ImageFlag::reading_no_more([flag]))).collect())
}

/// Reads a size as `docker build` does: bytes, or with a unit of 1024.
fn bytes(text: &str) -> Result<u64> {
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let shift = match &lower[number.len()..] {
        "" | "b" => Some(0),
        "k" | "kb" | "kib" => Some(10),
        "m" | "mb" | "mib" => Some(20),
        "g" | "gb" | "gib" => Some(30),
        _ => None,
    };
    let size =
        number.parse::<u64>().ok().zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    size.ok_or_else(|| {
        let message = format!("`extraFlags`: `--shm-size {text}` is not a size");
        unusable(message, "write a number of bytes, or one with a unit, such as `64m`".to_owned())
    })
}

fn unusable(message: String, hint: String) -> Error {
    Error::new(ErrorKind::Unsupported, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[&str]) -> Result<Flags> {
        Flags::read(&flags.iter().map(|&flag| flag.to_owned()).collect::<Vec<_>>(), "local-docker")
    }

    #[test]
    fn flags_may_be_one_word_or_two() {
        let flags = read(&["--network", "none", "--shm-size=64m", "--pull", "--opt", "ulimit=nofile=1024"]);
        let flags = flags.expect("valid");
        assert_eq!(
            (flags.network.as_deref(), flags.shm_size, flags.pull),
            (Some("none"), Some(64 << 20), true)
        );
        let attributes = flags.attributes();
        let expected = [
            ("force-network-mode", "none"),
            ("image-resolve-mode", "pull"),
            ("shm-size", "67108864"),
            ("ulimit", "nofile=1024"),
        ];
        let attributes: Vec<_> =
            attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(attributes, expected);
        assert!(!read(&["--pull=false"]).expect("valid").pull);
        assert!(flags.check_classic().is_err());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (flags, named) in [
            (&["--squash"][..], "--squash"),
            (&["--network"], "--network"),
            (&["--shm-size=much"], "much"),
            (&["--shm-size=99999999999g"], "99999999999g"),
            (&["--opt", "novalue"], "--opt"),
            (&["--opt", "target=x"], "target"),
            (&["x"], "`x`"),
        ] {
            let error = read(flags).expect_err("unusable");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains(named) && error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn flags_count_for_the_version_however_they_are_written() {
        let flags = |words: &[&str]| {
            let mut request = BuildRequest::new("api", ".");
            request.extra_flags = words.iter().map(|&word| word.to_owned()).collect();
            image_flags(&request, "local-docker").expect("valid")
        };
        assert_eq!(flags(&["--shm-size", "64m"]), flags(&["--shm-size=67108864"]));
        assert_ne!(flags(&["--network=none"]), flags(&[]));
        let read = |words| flags(words).iter().map(|flag| flag.may_read_more).collect::<Vec<_>>();
        assert_eq!(read(&["--network=none", "--shm-size=1g", "--pull", "--opt=ulimit=x"]), [false; 4]);
        assert_eq!(read(&["--pull", "--opt", "source=x/y"]), [true, false]);
    }
}
