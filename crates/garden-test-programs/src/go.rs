//! Builds Go programs once, whoever else wants the same one at the same time.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

use crate::cache::{cache_directory, short_hash};
use crate::module::Module;

/// The Go compiler, and the directory where the programs are kept that it has built.
#[derive(Clone, Debug)]
pub struct Go {
    compiler: OsString,
    kept: PathBuf,
}

impl Go {
    /// The oldest version that compiles all modules.
    pub const OLDEST: &str = "1.24";

    /// Whether the compiler on the `PATH` compiles all modules.
    pub fn is_recent() -> bool {
        static RECENT: OnceLock<bool> = OnceLock::new();
        *RECENT.get_or_init(|| {
            // Asked outside of any module: an old Go could not even read ours.
            let version = Command::new("go").args(["env", "GOVERSION"]).current_dir("/").output();
            version.is_ok_and(|output| is_recent(&String::from_utf8_lossy(&output.stdout)))
        })
    }

    /// The compiler on the `PATH`, with the programs in [`cache_directory`].
    ///
    /// # Errors
    ///
    /// Fails if there is no cache directory.
    pub fn on_path() -> Result<Self> {
        Ok(Self { compiler: "go".into(), kept: cache_directory()?.join("bin") })
    }

    /// Returns the path of the only program of `module`, built if it is not there yet. For tests.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be built.
    pub fn program(module: &Module) -> PathBuf {
        let directory = Self::on_path().and_then(|go| go.build(module));
        let directory = directory.unwrap_or_else(|error| panic!("building {}: {error:#}", module.name));
        directory.join(module.programs().next().expect("a module has a program"))
    }

    /// Returns the directory of the programs of `module`, whether or not they have been built. Its name changes exactly
    /// when a pin, a source, a flag or the compiler does.
    ///
    /// # Errors
    ///
    /// Fails if the module cannot be read, or if there is no compiler.
    pub fn directory(&self, module: &Module) -> Result<PathBuf> {
        Ok(self.kept.join(format!("{}-{}", module.name, self.key(module)?)))
    }

    /// Builds the programs of `module` if they have not been built, and returns their directory.
    ///
    /// One build at a time makes the programs of a module, in this process and in all others: those who come meanwhile
    /// wait for its result. The directory appears under its name when it is complete, so that an interrupted build is
    /// never mistaken for a finished one, and it never changes afterwards: a program may be running.
    ///
    /// # Errors
    ///
    /// Fails if there is no compiler, if it fails, or if the cache cannot be written.
    pub fn build(&self, module: &Module) -> Result<PathBuf> {
        self.build_announced(module, || ())
    }

    /// Builds the module, and calls `announce` before it compiles anything itself.
    ///
    /// # Errors
    ///
    /// Fails as [`Go::build`] does.
    pub fn build_announced(&self, module: &Module, announce: impl FnOnce()) -> Result<PathBuf> {
        let directory = self.directory(module)?;
        if directory.is_dir() {
            return Ok(directory);
        }
        fs::create_dir_all(&self.kept).with_context(|| format!("creating {}", self.kept.display()))?;
        let lock = self.kept.join(format!(".lock-{}", module.name));
        let lock = File::create(&lock).with_context(|| format!("opening {}", lock.display()))?;
        lock.lock().context("waiting for another build")?;
        if directory.is_dir() {
            return Ok(directory);
        }
        announce();
        // The lock makes this directory ours. A build that was killed may have left it.
        let partial = self.kept.join(format!(".building-{}", module.name));
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir(&partial)?;
        self.compile(module, &partial)?;
        fs::rename(&partial, &directory)
            .with_context(|| format!("putting {} into place", directory.display()))?;
        Ok(directory)
    }

    fn compile(&self, module: &Module, into: &Path) -> Result<()> {
        let status = Command::new(&self.compiler)
            .current_dir(module.source())
            .args(["build", "-trimpath", "-buildvcs=false"])
            .args(["-ldflags", module.linker_flags, "-tags", module.build_tags, "-o"])
            .arg(into)
            .args(module.packages)
            .env("CGO_ENABLED", if module.cgo { "1" } else { "0" })
            .env("GOFLAGS", "-mod=readonly")
            .status()
            .context("starting go")?;
        if !status.success() {
            bail!("go build of {} failed ({status})", module.name);
        }
        Ok(())
    }

    fn key(&self, module: &Module) -> Result<String> {
        let mut files = BTreeMap::new();
        let source = module.source();
        read_sources(&source, &source, &mut files).with_context(|| format!("reading {}", module.name))?;
        let cgo = if module.cgo { "cgo" } else { "" };
        let flags =
            format!("{} {} {} {cgo}", module.packages.join(" "), module.linker_flags, module.build_tags);
        Ok(key(&files, flags.trim_end(), &self.version(module)?))
    }

    /// Asked inside the module's directory, where a toolchain line of its `go.mod` would count.
    fn version(&self, module: &Module) -> Result<String> {
        let output = Command::new(&self.compiler)
            .args(["env", "GOVERSION"])
            .current_dir(module.source())
            .output()
            .context("starting go")?;
        if !output.status.success() {
            bail!("`go env GOVERSION` failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// Reads the pins and the sources below `directory`, by their paths below `root`.
fn read_sources(root: &Path, directory: &Path, into: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
        if path.is_dir() {
            read_sources(root, &path, into)?;
        } else if name == "go.mod" || name == "go.sum" || is_go(&name) {
            into.insert(name, fs::read(&path)?);
        }
    }
    Ok(())
}

/// `version` is what `go env GOVERSION` prints, such as `go1.24.4`.
fn is_recent(version: &str) -> bool {
    let minor = |version: &str| version.strip_prefix("1.")?.split('.').next()?.trim().parse::<u32>().ok();
    let own = version.trim().strip_prefix("go").and_then(minor);
    own.zip(minor(Go::OLDEST)).is_some_and(|(own, oldest)| own >= oldest)
}

fn is_go(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "go")
}

fn key(files: &BTreeMap<String, Vec<u8>>, flags: &str, version: &str) -> String {
    let (pins, sources): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| !is_go(name));
    let mut parts: Vec<&[u8]> = pins.into_iter().map(|(_, content)| content.as_slice()).collect();
    parts.extend([flags.as_bytes(), version.as_bytes()]);
    parts.extend(sources.into_iter().flat_map(|(name, content)| [name.as_bytes(), content]));
    short_hash(&parts)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Barrier;

    use super::*;
    use crate::DOCKERIGNORE_ORACLE;

    /// Writes down that it builds, takes its time, and puts a program into the directory after `-o`.
    const SLOW_GO: &str = r#"#!/bin/sh
set -eu
if [ "$1" = env ]; then
    echo go1.99
    exit
fi
echo built >> "$(dirname "$0")/builds"
while [ "$1" != -o ]; do shift; done
sleep 0.3
printf '#!/bin/sh\necho "I am %s"\n' dockerignore-oracle > "$2/dockerignore-oracle"
chmod +x "$2/dockerignore-oracle"
"#;

    fn slow_go(directory: &Path) -> Go {
        let compiler = directory.join("go");
        fs::write(&compiler, SLOW_GO).expect("written");
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).expect("executable");
        Go { compiler: compiler.into(), kept: directory.join("bin") }
    }

    #[test]
    fn a_program_that_many_want_at_once_is_built_once_and_runs_for_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let go = slow_go(directory.path());
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    let program = go.build(&DOCKERIGNORE_ORACLE).expect("built").join("dockerignore-oracle");
                    let output = Command::new(program).output().expect("a program");
                    assert_eq!(output.stdout, b"I am dockerignore-oracle\n");
                });
            }
        });
        assert_eq!(fs::read_to_string(directory.path().join("builds")).expect("builds"), "built\n");
        let kept = fs::read_dir(&go.kept).expect("kept").map(|entry| entry.expect("entry").file_name());
        assert_eq!(kept.filter(|name| !name.to_string_lossy().starts_with(".lock-")).count(), 1);
    }

    #[test]
    fn what_a_killed_build_has_left_is_not_taken_for_a_result() {
        let directory = tempfile::tempdir().expect("a directory");
        let go = slow_go(directory.path());
        let left = go.kept.join(".building-dockerignore-oracle");
        fs::create_dir_all(&left).expect("a directory");
        fs::write(left.join("half"), "").expect("written");
        let built = go.build(&DOCKERIGNORE_ORACLE).expect("built");
        assert!(!left.exists() && !built.join("half").exists());
    }

    #[test]
    fn a_build_that_fails_leaves_nothing_that_looks_built() {
        let directory = tempfile::tempdir().expect("a directory");
        let go = slow_go(directory.path());
        fs::write(directory.path().join("go"), "#!/bin/sh\n[ \"$1\" = env ]\n").expect("written");
        let error = go.build(&DOCKERIGNORE_ORACLE).expect_err("fails");
        assert!(format!("{error:#}").contains("go build of dockerignore-oracle failed"), "{error:#}");
        assert!(!go.directory(&DOCKERIGNORE_ORACLE).expect("a name").exists());
    }

    #[test]
    fn an_old_compiler_and_none_at_all_are_not_recent() {
        for version in ["go1.24", "go1.24.4\n", "go1.30.1"] {
            assert!(is_recent(version), "{version}");
        }
        for version in ["", "go1.23.12", "go1.9", "devel", "go1.2"] {
            assert!(!is_recent(version), "{version}");
        }
    }

    #[test]
    fn every_pin_source_and_flag_changes_the_key() {
        let files = |pairs: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
            pairs.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec())).collect()
        };
        let module = files(&[("go.mod", "mod"), ("go.sum", "sum")]);
        let first = key(&module, "flags", "go1");
        assert_eq!(first, key(&module.clone(), "flags", "go1"));
        for other in [
            key(&files(&[("go.mod", "mod2"), ("go.sum", "sum")]), "flags", "go1"),
            key(&files(&[("go.mod", "mod"), ("go.sum", "sum2")]), "flags", "go1"),
            key(&files(&[("go.mod", "mod"), ("go.sum", "sum"), ("main.go", "")]), "flags", "go1"),
            key(&module, "flags2", "go1"),
            key(&module, "flags", "go2"),
        ] {
            assert_ne!(first, other);
        }
    }
}
