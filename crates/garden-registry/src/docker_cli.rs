//! The credentials of this machine's Docker.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::docker_config::{self, CredentialsError};
use crate::entries::Entries;

/// A file that is larger than this, in bytes, is not a configuration.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Reads the user's configuration. Source: docker/cli, `cli/config/config.go`.
pub(crate) fn entries() -> Result<Entries, CredentialsError> {
    let set = std::env::var_os("DOCKER_CONFIG").filter(|directory| !directory.is_empty()).map(PathBuf::from);
    let usual = || std::env::home_dir().map(|home| home.join(".docker"));
    set.or_else(usual).map_or_else(|| Ok(Entries::default()), |directory| of_directory(&directory))
}

fn of_directory(directory: &Path) -> Result<Entries, CredentialsError> {
    let path = directory.join("config.json");
    let origin = path.display().to_string();
    let unreadable = |reason: String| CredentialsError::Unreadable { origin: origin.clone(), reason };
    let bytes = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entries::default()),
        file => file.and_then(beginning).map_err(|error| unreadable(error.to_string()))?,
    };
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(unreadable(format!("it has more than {LARGEST_FILE} bytes")));
    }
    // Docker, too, takes an empty file for an empty configuration.
    if bytes.is_empty() { Ok(Entries::default()) } else { docker_config::parse_any(&bytes, &origin) }
}

/// Reads no more than what shows that the file is too large.
fn beginning(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::error::Identity;

    #[test]
    fn a_file_without_credentials_or_no_file_at_all_is_empty() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(of_directory(directory.path()).expect("no file").is_empty());
        for text in ["", "{}", r#"{"currentContext":"default"}"#] {
            fs::write(directory.path().join("config.json"), text).expect("written");
            assert!(of_directory(directory.path()).expect(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config.json");
        for text in [r#"{"auths":"s3cret"}"#.to_owned(), "s3cret".to_owned(), " ".repeat(1024 * 1024 + 1)] {
            fs::write(&file, &text).expect("written");
            let error = of_directory(directory.path()).expect_err("not a configuration").to_string();
            assert!(error.contains(&file.display().to_string()) && !error.contains("s3cret"), "{error}");
        }
        fs::remove_file(&file).expect("removed");
        fs::create_dir(&file).expect("made");
        let error = of_directory(directory.path()).expect_err("a directory").to_string();
        assert!(error.contains("cannot be read"), "{error}");
    }

    #[test]
    fn entries_helpers_and_the_store_are_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let text = r#"{"auths":{"a.example":{"auth":"dXNlcjpwYXNz"}},"credHelpers":{"b.example":"gcr"},
            "credsStore":"desktop","HttpHeaders":{}}"#;
        fs::write(directory.path().join("config.json"), text).expect("written");
        let credentials = of_directory(directory.path()).expect("valid");
        assert!(matches!(credentials.identity("a.example", "x"), Identity::Credentials { .. }));
        for (registry, expected) in [("b.example", "gcr"), ("c.example", "desktop")] {
            let identity = credentials.identity(registry, "x");
            assert!(matches!(&identity, Identity::Helper { helper, .. } if helper == expected), "{identity}");
        }
    }
}
