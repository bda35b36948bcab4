//! The stand-in of the published image `docker:28-dind`: a Docker daemon for a privileged pod.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use xtask::machine::unpacked_program;
use xtask::programs::Programs;

use super::archive::Image;
use super::entries::{Entry, copy, directory, link, text};
use super::images::{CA_BUNDLE, PATH, busybox_entries, libraries};

pub(super) const NAME: &str = "docker.io/testbed/docker:28-dind";

const ENTRY_POINT: &str = include_str!("../../../testbed/config/dockerd-entrypoint.sh");

/// The names by which Docker calls the packet filter's program.
const IPTABLES: [&str; 6] =
    ["iptables", "iptables-restore", "iptables-save", "ip6tables", "ip6tables-restore", "ip6tables-save"];

/// As the published image, whose Alpine has Git, SSH, more file systems' programs and the
/// plugins of the CLI besides.
pub(super) fn dind(programs: &Programs) -> Result<Image> {
    let mut entries = busybox_entries()?;
    entries.extend(daemon_files(programs)?);
    entries.extend(packet_filter()?);
    entries.extend([
        directory("certs", 0o1777),
        directory("certs/client", 0o1777),
        link("var/run", "../run"),
        text("usr/local/bin/dockerd-entrypoint.sh", ENTRY_POINT, 0o755),
    ]);
    if Path::new(CA_BUNDLE).exists() {
        entries.push(copy(CA_BUNDLE.trim_start_matches('/'), Path::new(CA_BUNDLE), 0o644));
    }
    Ok(Image {
        name: NAME,
        entries,
        config: json!({
            "Env": [PATH, "DOCKER_VERSION=28.5.2", "DOCKER_TLS_CERTDIR=/certs"],
            "Entrypoint": ["dockerd-entrypoint.sh"],
            "Cmd": [],
            "ExposedPorts": { "2375/tcp": {}, "2376/tcp": {} },
            "Volumes": { "/var/lib/docker": {} },
        }),
    })
}

fn daemon_files(programs: &Programs) -> Result<Vec<Entry>> {
    let debian = |name: &str| Path::new("/usr/bin").join(name);
    let mut files = vec![
        ("usr/local/bin/docker-init", unpacked_program("tini", "usr/bin/tini-static")?),
        ("usr/local/bin/docker", programs.path("docker")?),
        ("usr/local/bin/dockerd", programs.path("dockerd")?),
        ("usr/local/bin/docker-proxy", programs.path("docker-proxy")?),
        ("usr/local/bin/containerd", programs.path("containerd")?),
        ("usr/local/bin/containerd-shim-runc-v2", programs.path("containerd-shim-runc-v2")?),
        ("usr/local/bin/ctr", programs.path("ctr")?),
        ("usr/local/bin/runc", programs.path("runc")?),
    ];
    // Alpine's busybox has these, Debian's has not.
    files.extend([("usr/bin/flock", debian("flock")), ("usr/bin/mountpoint", debian("mountpoint"))]);
    let mut entries = libraries(&files.iter().map(|(_, source)| source.as_path()).collect::<Vec<_>>())?;
    entries.extend(files.iter().map(|(path, source)| copy(path, source, 0o755)));
    Ok(entries)
}

/// What the default bridge is set up with: the program that this machine uses, and its plugins.
fn packet_filter() -> Result<Vec<Entry>> {
    let program = fs::canonicalize("/usr/sbin/iptables").context("looking for iptables")?;
    let plugins = plugins()?;
    let mut entries = libraries(&plugins.iter().chain([&program]).map(PathBuf::as_path).collect::<Vec<_>>())?;
    let name = program.file_name().context("iptables without a name")?.to_string_lossy();
    entries.push(copy(&format!("usr/sbin/{name}"), &program, 0o755));
    entries.extend(IPTABLES.map(|alias| link(&format!("usr/sbin/{alias}"), &name)));
    let path = |plugin: &Path| plugin.to_string_lossy().trim_start_matches('/').to_owned();
    entries.extend(plugins.iter().map(|plugin| copy(&path(plugin), plugin, 0o644)));
    Ok(entries)
}

fn plugins() -> Result<Vec<PathBuf>> {
    let directory = format!("/usr/lib/{}-linux-gnu/xtables", std::env::consts::ARCH);
    let files = fs::read_dir(&directory).with_context(|| format!("reading {directory}"))?;
    let mut files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    // Some are links to others: a copy of each will do. Sorted, for the same image every time.
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::super::registries;
    use super::*;

    #[test]
    fn the_daemon_of_the_image_finds_base_images_where_the_daemons_of_the_node_do() {
        let option = format!("--registry-mirror={}", registries::docker_hub_mirror());
        assert!(ENTRY_POINT.contains(&option), "{option}");
    }
}
