//! Images of one layer, as `docker save` archives that containerd imports.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use garden_test_programs::{cache_directory, hex, short_hash};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::entries::{Content, Entry};

/// Part of the archives' cache key: raise it when this file writes archives differently.
const FORMAT: &str = "1";

/// An image of one layer.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) name: &'static str,
    pub(super) entries: Vec<Entry>,
    /// The image configuration's `config` object.
    pub(super) config: Value,
}

impl Image {
    /// The image's archive in the cache, made if it is not there yet.
    pub(super) fn archive(&self) -> Result<PathBuf> {
        let directory = cache_directory()?.join("images");
        let short_name = self.name.rsplit('/').next().unwrap_or(self.name).replace(':', "-");
        let archive = directory.join(format!("{short_name}-{}.tar", self.fingerprint()?));
        if !archive.exists() {
            fs::create_dir_all(&directory)?;
            let mut partial = tempfile::NamedTempFile::new_in(&directory)?;
            self.write(partial.as_file_mut()).with_context(|| format!("making image {}", self.name))?;
            partial.persist(&archive)?;
        }
        Ok(archive)
    }

    /// Changes with the recipe and, by size and time, with the programs that go in.
    fn fingerprint(&self) -> Result<String> {
        let mut files = String::new();
        for entry in &self.entries {
            if let Entry::File { content: Content::CopyOf(source), .. } = entry {
                let metadata =
                    fs::metadata(source).with_context(|| format!("reading {}", source.display()))?;
                writeln!(files, "{} {} {}", source.display(), metadata.len(), metadata.mtime())?;
            }
        }
        let recipe = format!("{self:?}");
        Ok(short_hash(&[FORMAT.as_bytes(), recipe.as_bytes(), files.as_bytes()]))
    }

    /// Writes a `docker save` archive: the layer, the configuration, and a manifest that names both.
    fn write(&self, archive: &mut impl Write) -> Result<()> {
        let mut layer = tempfile::tempfile()?;
        self.write_layer(&mut layer)?;
        let layer_digest = hex(&digest_of(&mut layer)?);
        let layer_size = layer.metadata()?.len();

        let config = json!({
            "architecture": architecture()?,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
            "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "garden-build testbed" }],
        })
        .to_string();
        let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
        let layer_name = format!("{layer_digest}/layer.tar");
        let manifest =
            json!([{ "Config": config_name, "RepoTags": [self.name], "Layers": [layer_name] }]).to_string();

        let mut archive = tar::Builder::new(archive);
        rewind(&mut layer)?;
        append(&mut archive, &layer_name, 0o644, layer_size, layer)?;
        append(&mut archive, &config_name, 0o644, config.len() as u64, config.as_bytes())?;
        append(&mut archive, "manifest.json", 0o644, manifest.len() as u64, manifest.as_bytes())?;
        archive.finish()?;
        Ok(())
    }

    fn write_layer(&self, layer: &mut impl Write) -> Result<()> {
        let mut layer = tar::Builder::new(layer);
        for entry in &self.entries {
            match entry {
                Entry::Directory { path, mode, owner } => {
                    let mut header = header(EntryType::Directory, *mode, 0);
                    header.set_uid((*owner).into());
                    header.set_gid((*owner).into());
                    layer.append_data(&mut header, format!("{path}/"), io::empty())?;
                }
                Entry::File { path, mode, content, capability } => {
                    if let Some(capability) = capability {
                        // The name that containerd and Docker read extended attributes by.
                        let record = ("SCHILY.xattr.security.capability", &*capability.attribute());
                        layer.append_pax_extensions([record])?;
                    }
                    match content {
                        Content::Text(text) => {
                            append(&mut layer, path, *mode, text.len() as u64, text.as_bytes())?;
                        }
                        Content::CopyOf(source) => {
                            let file = File::open(source)
                                .with_context(|| format!("reading {}", source.display()))?;
                            let size = file.metadata()?.len();
                            append(&mut layer, path, *mode, size, file)?;
                        }
                    }
                }
                Entry::Link { path, target } => {
                    layer.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)?;
                }
            }
        }
        layer.finish()?;
        Ok(())
    }
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    size: u64,
    content: impl Read,
) -> Result<()> {
    Ok(archive.append_data(&mut header(EntryType::Regular, mode, size), path, content)?)
}

/// Without owner and time, so that the same programs give the same image everywhere.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn digest_of(file: &mut File) -> Result<Vec<u8>> {
    rewind(file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finalize().to_vec());
        }
        hasher.update(&buffer[..count]);
    }
}

fn rewind(file: &mut File) -> io::Result<()> {
    io::Seek::rewind(file)
}

fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("the testbed makes images for amd64 and arm64 only, not for {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::entries::{Capability, copy_with_capability, directory, directory_of, link, text};
    use super::*;

    fn image() -> Image {
        Image {
            name: "docker.io/testbed/sample:1",
            entries: vec![
                directory("tmp", 0o1777),
                text("etc/motd", "hello", 0o644),
                link("bin/sh", "busybox"),
            ],
            config: json!({ "Cmd": ["sh"] }),
        }
    }

    fn members(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        archive
            .entries()
            .expect("entries")
            .map(|entry| {
                let mut entry = entry.expect("entry");
                let path = entry.path().expect("path").to_string_lossy().into_owned();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).expect("content");
                (path, content)
            })
            .collect()
    }

    #[test]
    fn the_manifest_names_a_configuration_and_a_layer_by_their_digests() {
        let mut archive = Vec::new();
        image().write(&mut archive).expect("archive");
        let members = members(&archive);
        let content =
            |name: &str| members.iter().find(|(path, _)| path == name).map(|(_, content)| content.clone());

        let manifest: Value =
            serde_json::from_slice(&content("manifest.json").expect("manifest")).expect("JSON");
        assert_eq!(manifest[0]["RepoTags"][0], "docker.io/testbed/sample:1");
        let config_name = manifest[0]["Config"].as_str().expect("name");
        let config = content(config_name).expect("configuration");
        assert_eq!(config_name, format!("{}.json", hex(&Sha256::digest(&config))));

        let layer = content(manifest[0]["Layers"][0].as_str().expect("name")).expect("layer");
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&Sha256::digest(&layer))));
        assert_eq!(config["config"]["Cmd"][0], "sh");
    }

    #[test]
    fn the_layer_keeps_owners_and_capabilities() {
        let program = tempfile::NamedTempFile::new().expect("file");
        let image = Image {
            entries: vec![
                directory_of("home/user", 0o755, 1000),
                copy_with_capability("newuidmap", program.path(), Capability::SetUid),
            ],
            ..image()
        };
        let mut layer = Vec::new();
        image.write_layer(&mut layer).expect("layer");

        let mut archive = tar::Archive::new(layer.as_slice());
        let mut entries = archive.entries().expect("entries").map(|entry| entry.expect("entry"));
        let home = entries.next().expect("directory");
        assert_eq!((home.header().uid().expect("user"), home.header().gid().expect("group")), (1000, 1000));
        let mut program = entries.next().expect("file");
        let records = program.pax_extensions().expect("records").expect("some");
        let records: Vec<_> =
            records.map(|record| record.expect("record")).map(|r| (r.key_bytes(), r.value_bytes())).collect();
        // What `setcap cap_setuid=ep` writes.
        let setuid = [1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(records, [(&b"SCHILY.xattr.security.capability"[..], &setuid[..])]);
    }

    #[test]
    fn the_layer_keeps_modes_and_links_and_is_the_same_every_time() {
        let mut layer = Vec::new();
        image().write_layer(&mut layer).expect("layer");
        let mut again = Vec::new();
        image().write_layer(&mut again).expect("layer");
        assert_eq!(layer, again);

        let mut archive = tar::Archive::new(layer.as_slice());
        let entries: Vec<_> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                let entry = entry.expect("entry");
                let link =
                    entry.link_name().expect("link").map(|target| target.to_string_lossy().into_owned());
                let path = entry.path().expect("path").to_string_lossy().into_owned();
                (path, entry.header().mode().expect("mode"), link)
            })
            .collect();
        assert_eq!(entries[0], ("tmp/".to_owned(), 0o1777, None));
        assert_eq!(entries[1], ("etc/motd".to_owned(), 0o644, None));
        assert_eq!(entries[2], ("bin/sh".to_owned(), 0o777, Some("busybox".to_owned())));
    }
}
