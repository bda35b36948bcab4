//! A registry for one copy, with what it has in memory: on a disk, a bench would measure the disk.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, bail};
use garden_build::ImageReference;
use garden_build::registry::{Location, RegistryClient};
use tempfile::TempDir;

use crate::testbed;

/// A file system in memory on every Linux. Source: Linux, `Documentation/filesystems/tmpfs.rst`.
const MEMORY: &str = "/dev/shm";

/// Makes a directory in memory, if there is such a place.
pub(super) fn directory_in_memory() -> Result<TempDir> {
    Ok(if Path::new(MEMORY).is_dir() { TempDir::new_in(MEMORY) } else { TempDir::new() }?)
}

/// A registry that runs for as long as this lives: open, and without TLS.
#[derive(Debug)]
pub(super) struct Registry {
    /// `host:port`.
    pub(super) name: String,
    process: Child,
    _directory: Arc<TempDir>,
}

impl Registry {
    /// Starts an empty one on a free port.
    pub(super) fn start() -> Result<Self> {
        Self::start_in(Arc::new(directory_in_memory()?))
    }

    fn start_in(directory: Arc<TempDir>) -> Result<Self> {
        let configuration = directory.path().join("config.yml");
        let storage = directory.path().join("storage");
        fs::write(
            &configuration,
            format!(
                "version: 0.1\nlog: {{ level: info, accesslog: {{ disabled: true }} }}\n\
                 storage: {{ filesystem: {{ rootdirectory: \"{}\" }} }}\nhttp: {{ addr: \"127.0.0.1:0\" }}\n",
                storage.display()
            ),
        )?;
        let mut process = Command::new(testbed::peer("registry")?)
            .arg("serve")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting a registry")?;
        let mut log = BufReader::new(process.stderr.take().context("no standard error")?).lines();
        let name = log.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("listening on ")?;
            address.split([',', '"']).next().map(str::to_owned)
        });
        let Some(name) = name else {
            let status = process.wait()?;
            bail!("the registry does not start ({status})");
        };
        // Read to its end, so that the registry never waits for somebody to do so.
        thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        Ok(Self { name, process, _directory: directory })
    }

    pub(super) fn locate(&self, repository: &str) -> Result<Location> {
        locate(&ImageReference::tagged(&self.name, repository, "1.0")?)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the way to an image of such a registry.
pub(super) fn locate(image: &ImageReference) -> Result<Location> {
    let registry = RegistryClient::builder(image.registry()).insecure(true).build()?;
    Ok(Location { registry, image: image.clone() })
}
