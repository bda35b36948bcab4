//! The Go modules below `testbed/tools`.

use std::path::{Path, PathBuf};

/// One `go.mod` below `testbed/tools`. There are many, as the graphs of their programs disagree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// The directory below `testbed/tools`.
    pub name: &'static str,
    /// The packages whose programs are built. `.` is the program of the module itself.
    pub packages: &'static [&'static str],
    /// The value of Go's `-tags`.
    pub build_tags: &'static str,
    /// The value of Go's `-ldflags`.
    pub linker_flags: &'static str,
    /// Whether a C compiler takes part, by cgo: the program then needs C libraries of this machine.
    pub cgo: bool,
}

impl Module {
    /// A module whose own program is built, and is called as its directory.
    pub const fn own(name: &'static str) -> Self {
        Self { name, packages: &["."], build_tags: "", linker_flags: "-s -w", cgo: false }
    }

    /// The names of the programs that are built.
    pub fn programs(&self) -> impl Iterator<Item = &'static str> {
        let own = self.name;
        self.packages.iter().map(move |package| match package.rsplit('/').next() {
            None | Some(".") => own,
            Some(name) => name,
        })
    }

    /// Where its `go.mod` lies in this repository.
    pub fn source(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbed/tools").join(self.name)
    }
}

/// What `BuildKit` and the kaniko executor make of ignore files and of archives.
pub const DOCKERIGNORE_ORACLE: Module = Module::own("dockerignore-oracle");

/// What `BuildKit`'s Dockerfile frontend asks of a context: that of the version that is tested most.
pub const DOCKERFILE_ORACLE: Module = Module::own("dockerfile-oracle");

/// The same of other versions: the oldest that many still have, and the newest.
pub const OTHER_DOCKERFILE_ORACLES: [Module; 2] =
    [Module::own("dockerfile-oracle-0.12"), Module::own("dockerfile-oracle-0.34")];

/// Both ends of `BuildKit`'s file sync.
pub const FILESYNC_RECEIVER: Module = Module::own("filesync-receiver");

/// The CNCF's registry, distribution 3: the program `registry`.
pub const DISTRIBUTION: Module = Module {
    name: "distribution",
    packages: &["github.com/distribution/distribution/v3/cmd/registry"],
    build_tags: "",
    linker_flags: "-s -w",
    cgo: false,
};
