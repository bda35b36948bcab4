//! The programs of the guides, as a reader writes them: outside of this workspace, file by file, with the commands that the guide shows.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use garden_build::ErrorKind;
use garden_test_programs::cache_directory;
use xtask::cargo::{command, succeed};

use super::examples::unique;
use crate::testbed::Environment;

/// Writes the programs, compiles them, and does with each what its guide says.
pub(super) fn run(environment: &Environment) -> Result<()> {
    let place = Place::prepare()?;
    let embed = place.write("embed", "my-builder")?;
    // Unlike a reader's, an image that exists would prove nothing.
    fs::write(embed.join("app/greeting.txt"), format!("{}\n", unique("greeting")))?;
    println!("--- the guide embed");
    expect(place.cargo(&embed, &["run", "--", "dev", "--plan"]), 0, "would push my-private-registry.com/")?;
    let build = || {
        let mut build = place.cargo(&embed, &["run", "--", "testbed"]);
        build.envs(&environment.variables);
        build
    };
    expect(build(), 0, "(Built")?;
    expect(build(), 0, "(AlreadyExists")?;

    println!("--- the guide front-end");
    let front_end = place.write("front-end", "images")?;
    // The guide has its reader copy these.
    fs::copy(embed.join("project.garden.yml"), front_end.join("project.garden.yml"))?;
    copy_files(&embed.join("app"), &front_end.join("app"))?;
    fs::write(front_end.join("app/greeting.txt"), format!("{}\n", unique("greeting")))?;
    let images = |arguments: &[&str]| {
        let mut images = place.cargo(&front_end, &["run", "--"]);
        images.args(arguments).envs(&environment.variables);
        images
    };
    expect(images(&["--environment", "testbed", "status", "app", "app"]), 0, ": missing")?;
    expect(images(&["--environment", "testbed", "--json", "build", "app", "app"]), 0, "{\"result\":{")?;
    expect(images(&["--environment", "testbed", "status", "app", "app"]), 0, ": sha256:")?;
    let unknown = images(&["--environment", "prod", "status", "app", "app"]);
    expect(unknown, ErrorKind::Config.exit_code().into(), "")?;

    println!("--- the guide harness");
    let harness = place.write("harness", "my-tests")?;
    fs::create_dir_all(harness.join("src"))?;
    fs::write(harness.join("src/lib.rs"), "")?;
    succeed(&mut place.cargo(&harness, &["test"]), "the tests of the guide harness")
}

/// Where the programs lie: beside a link to this checkout, as a reader has them.
struct Place {
    root: PathBuf,
    directory: PathBuf,
}

impl Place {
    /// Always the same directory, so that dependencies are compiled once.
    fn prepare() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has no root")?;
        let directory = cache_directory()?.join("guides");
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let link = directory.join("garden-build");
        match fs::remove_file(&link) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", link.display()));
            }
            _ => symlink(root, &link).with_context(|| format!("linking {}", link.display()))?,
        }
        Ok(Self { root: root.to_owned(), directory })
    }

    /// Writes all files of a guide, and returns the program's directory.
    fn write(&self, guide: &str, program: &str) -> Result<PathBuf> {
        let page = self.root.join(format!("docs/guides/{guide}.md"));
        let text = fs::read_to_string(&page).with_context(|| format!("reading {}", page.display()))?;
        let files = files(&text);
        let directory = self.directory.join(program);
        // Without what an earlier version of the page had.
        if directory.exists() {
            fs::remove_dir_all(&directory).with_context(|| format!("removing {}", directory.display()))?;
        }
        if !files.iter().any(|(path, _)| *path == "Cargo.toml") {
            bail!("{} shows no `Cargo.toml`", page.display());
        }
        for (path, content) in files {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().context("a file without a directory")?)?;
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        // The versions that this repository is tested with; no network is needed for them.
        fs::copy(self.root.join("Cargo.lock"), directory.join("Cargo.lock"))?;
        Ok(directory)
    }

    fn cargo(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut cargo = command(arguments.iter().copied());
        cargo.current_dir(program).env("CARGO_TARGET_DIR", self.directory.join("target"));
        // Nobody debugs these.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
        cargo
    }
}

/// Returns the files that a guide shows: a line that begins with a path in backticks, and then a block of code.
fn files(page: &str) -> Vec<(&str, String)> {
    let mut files = Vec::new();
    let mut named = None;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let content: String =
                lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
            if let Some(path) = named.take() {
                files.push((path, content));
            }
        } else if !line.is_empty() {
            named = line.strip_prefix('`').and_then(|rest| rest.split_once('`')).map(|(path, _)| path);
        }
    }
    files
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Runs a program, which has to end with `code`, and to print `wanted` on its standard output.
fn expect(mut program: Command, code: i32, wanted: &str) -> Result<()> {
    let Output { status, stdout, stderr } = program.output().with_context(|| format!("{program:?}"))?;
    let printed = String::from_utf8_lossy(&stdout);
    ensure!(
        status.code() == Some(code) && printed.contains(wanted),
        "{program:?} ended with {status}, and {code} and `{wanted}` were expected:\n{printed}\n{}",
        String::from_utf8_lossy(&stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_block_after_a_line_that_begins_with_its_path() {
        let page = "Text.\n\n`a/b.rs`:\n\n```rust,no_run\nfn main() {}\n\n// end\n```\n\n`c.txt` has a line.\n\nThen:\n\n```sh\nls\n```\n`d`, with words:\n```yaml\nx: 1\n```\n";
        assert_eq!(
            files(page),
            [("a/b.rs", "fn main() {}\n\n// end\n".to_owned()), ("d", "x: 1\n".to_owned())]
        );
    }
}
