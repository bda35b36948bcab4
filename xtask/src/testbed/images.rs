//! The testbed's container images, made from programs on this machine.
//!
//! No registry with the published images can be reached from everywhere, so the testbed
//! makes images of the same layout: same paths, environment and entry point.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::archive::{Entry, Image, copy, directory, link, text};
use super::host::unpacked_program;
use super::tools::Programs;

pub(super) const BUSYBOX: &str = "docker.io/testbed/busybox:1.36";
pub(super) const KANIKO: &str = "docker.io/testbed/kaniko:v1.24.0";
const PAUSE: &str = "docker.io/testbed/pause:1";
const REGISTRY: &str = "docker.io/testbed/registry:2";

const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The images that every testbed has.
pub(super) fn all(programs: &Programs) -> Result<Vec<Image>> {
    Ok(vec![pause()?, busybox()?, registry()?, kaniko(programs)?])
}

fn pause() -> Result<Image> {
    Ok(Image {
        name: PAUSE,
        entries: vec![directory("bin", 0o755), copy("bin/busybox", &busybox_program()?, 0o755)],
        config: json!({ "Entrypoint": ["/bin/busybox", "sleep", "2147483647"] }),
    })
}

fn busybox() -> Result<Image> {
    Ok(Image { name: BUSYBOX, entries: busybox_entries()?, config: json!({ "Env": [PATH], "Cmd": ["sh"] }) })
}

/// Debian's registry under the paths of the published `registry:2`.
fn registry() -> Result<Image> {
    let program = Path::new("/usr/bin/docker-registry");
    let mut entries = with_libraries(program)?;
    entries.extend(busybox_entries()?);
    entries.push(copy("bin/registry", program, 0o755));
    entries.push(text(
        "entrypoint.sh",
        include_str!("../../../testbed/config/registry-entrypoint.sh"),
        0o755,
    ));
    entries.push(text(
        "etc/docker/registry/config.yml",
        include_str!("../../../testbed/config/registry-in-cluster.yml"),
        0o644,
    ));
    Ok(Image {
        name: REGISTRY,
        entries,
        config: json!({
            "Env": [PATH],
            "Entrypoint": ["/entrypoint.sh"],
            "Cmd": ["/etc/docker/registry/config.yml"],
            "ExposedPorts": { "5000/tcp": {} },
            "Volumes": { "/var/lib/registry": {} },
        }),
    })
}

/// As the published executor image, not its `-debug` variant: there is no shell.
fn kaniko(programs: &Programs) -> Result<Image> {
    let mut entries = vec![
        directory("kaniko", 0o777),
        directory("kaniko/.docker", 0o777),
        directory("workspace", 0o755),
        copy("kaniko/executor", &programs.path("executor")?, 0o755),
    ];
    if Path::new(CA_BUNDLE).exists() {
        entries.push(copy("kaniko/ssl/certs/ca-certificates.crt", Path::new(CA_BUNDLE), 0o644));
    }
    Ok(Image {
        name: KANIKO,
        entries,
        config: json!({
            "Env": [
                "PATH=/usr/local/bin:/kaniko",
                "HOME=/root",
                "USER=root",
                "SSL_CERT_DIR=/kaniko/ssl/certs",
                "DOCKER_CONFIG=/kaniko/.docker/",
            ],
            "WorkingDir": "/workspace",
            "Entrypoint": ["/kaniko/executor"],
        }),
    })
}

fn busybox_entries() -> Result<Vec<Entry>> {
    let busybox = busybox_program()?;
    let mut entries = vec![
        directory("bin", 0o755),
        directory("etc", 0o755),
        directory("root", 0o700),
        directory("tmp", 0o1777),
        copy("bin/busybox", &busybox, 0o755),
        text(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
            0o644,
        ),
        text("etc/group", "root:x:0:\nnobody:x:65534:\n", 0o644),
    ];
    let applets = Command::new(&busybox).arg("--list").output().context("listing the applets of busybox")?;
    for applet in String::from_utf8(applets.stdout)?.lines().filter(|applet| *applet != "busybox") {
        entries.push(link(&format!("bin/{applet}"), "busybox"));
    }
    Ok(entries)
}

fn busybox_program() -> Result<PathBuf> {
    unpacked_program("busybox-static", "bin/busybox")
}

/// The shared libraries of a program, at the paths where its loader looks for them.
fn with_libraries(program: &Path) -> Result<Vec<Entry>> {
    let output = Command::new("ldd").arg(program).output().context("starting ldd")?;
    let lines = String::from_utf8(output.stdout)?;
    let libraries =
        lines.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(libraries.map(|library| copy(library.trim_start_matches('/'), Path::new(library), 0o755)).collect())
}
