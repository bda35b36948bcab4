//! The testbed's container images, made from programs on this machine.
//!
//! No registry with the published images can be reached from everywhere, so the testbed
//! makes images of the same layout: same paths, environment and entry point.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;
use xtask::machine::unpacked_program;
use xtask::part::Part;
use xtask::programs::Programs;

use super::archive::Image;
use super::docker_image;
use super::entries::{Capability, Entry, copy, copy_with_capability, directory, directory_of, link, text};

pub(super) const BUSYBOX: &str = "docker.io/testbed/busybox:1.36";
pub(super) const KANIKO: &str = "docker.io/testbed/kaniko:v1.24.0";
pub(super) const KANIKO_DEBUG: &str = "docker.io/testbed/kaniko:v1.24.0-debug";
pub(super) const BUILDKIT: &str = "docker.io/testbed/buildkit:v0.26.3";
pub(super) const BUILDKIT_ROOTLESS: &str = "docker.io/testbed/buildkit:v0.26.3-rootless";
pub(super) const REGISTRY: &str = "docker.io/testbed/registry:2";
const PAUSE: &str = "docker.io/testbed/pause:1";

/// The user of BuildKit's rootless image.
const USER: u32 = 1000;

pub(super) const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
pub(super) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The images of a testbed with `parts`.
pub(super) fn all(programs: &Programs, parts: &[Part]) -> Result<Vec<Image>> {
    let mut images = vec![pause()?, busybox()?, registry()?];
    for part in parts {
        match part {
            Part::Kaniko => images.extend([kaniko(programs)?, kaniko_debug(programs)?]),
            Part::Buildkit => images.extend([buildkit(programs)?, buildkit_rootless(programs)?]),
            Part::ClusterDocker => images.push(docker_image::dind(programs)?),
            Part::LocalDocker | Part::OldDocker | Part::DockerCommand => {}
        }
    }
    Ok(images)
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
    let mut entries = libraries(&[program])?;
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

/// As the published `-debug` variant: the same, with a shell in a volume of its own.
/// Source: kaniko, `deploy/Dockerfile`.
fn kaniko_debug(programs: &Programs) -> Result<Image> {
    let mut image = Image { name: KANIKO_DEBUG, ..kaniko(programs)? };
    let busybox = busybox_program()?;
    image.entries.extend([
        directory("busybox", 0o755),
        copy("busybox/busybox", &busybox, 0o755),
        directory("bin", 0o755),
        link("bin/sh", "/busybox/sh"),
    ]);
    image.entries.extend(applets(&busybox)?.map(|applet| link(&format!("busybox/{applet}"), "busybox")));
    image.config["Env"][0] = "PATH=/usr/local/bin:/kaniko:/busybox".into();
    image.config["Volumes"] = json!({ "/busybox": {} });
    Ok(image)
}

/// As the published image, whose Alpine has Git, SSH and QEMU besides.
fn buildkit(programs: &Programs) -> Result<Image> {
    let mut entries = busybox_entries()?;
    entries.extend(buildkit_files(programs, &[])?);
    entries.extend(["etc/buildkit/cdi", "etc/cdi", "run/cdi"].map(|path| directory(path, 0o755)));
    entries.push(link("var/run", "../run"));
    Ok(Image {
        name: BUILDKIT,
        entries,
        config: json!({
            "Env": [PATH, "BUILDKIT_SETUP_CGROUPV2_ROOT=1"],
            "Entrypoint": ["buildkitd"],
            "Volumes": { "/var/lib/buildkit": {} },
        }),
    })
}

/// As the published `-rootless` image.
fn buildkit_rootless(programs: &Programs) -> Result<Image> {
    let program = |name: &str| Path::new("/usr/bin").join(name);
    let rootlesskit = program("rootlesskit");
    let (map_users, map_groups) = (program("newuidmap"), program("newgidmap"));
    let mut entries = busybox_files()?;
    entries.extend(buildkit_files(programs, &[&rootlesskit, &map_users, &map_groups])?);
    entries.extend([
        text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n", 0o644),
        text("etc/group", "root:x:0:\nuser:x:1000:\n", 0o644),
        text("etc/subuid", "user:100000:65536\n", 0o644),
        text("etc/subgid", "user:100000:65536\n", 0o644),
        copy("usr/bin/rootlesskit", &rootlesskit, 0o755),
        // With Debian's setuid bit instead, they cannot write a map in a pod.
        copy_with_capability("usr/bin/newuidmap", &map_users, Capability::SetUid),
        copy_with_capability("usr/bin/newgidmap", &map_groups, Capability::SetGid),
    ]);
    entries.extend(
        [
            "home/user",
            "home/user/.local",
            "home/user/.local/share",
            "home/user/.local/share/buildkit",
            "home/user/.local/tmp",
            "run/user/1000",
        ]
        .map(|path| directory_of(path, 0o755, USER)),
    );
    Ok(Image {
        name: BUILDKIT_ROOTLESS,
        entries,
        config: json!({
            "User": format!("{USER}:{USER}"),
            "Env": [
                PATH,
                "HOME=/home/user",
                "USER=user",
                "XDG_RUNTIME_DIR=/run/user/1000",
                "TMPDIR=/home/user/.local/tmp",
                "BUILDKIT_HOST=unix:///run/user/1000/buildkit/buildkitd.sock",
            ],
            "Entrypoint": ["rootlesskit", "buildkitd"],
            "Volumes": { "/home/user/.local/share/buildkit": {} },
        }),
    })
}

/// Programs of both images, with the libraries that they and `others` need.
fn buildkit_files(programs: &Programs, others: &[&Path]) -> Result<Vec<Entry>> {
    let runc = programs.path("runc")?;
    let mut entries = libraries(&[&[runc.as_path()], others].concat())?;
    entries.extend([
        copy("usr/bin/buildkitd", &programs.path("buildkitd")?, 0o755),
        copy("usr/bin/buildctl", &programs.path("buildctl")?, 0o755),
        copy("usr/bin/buildkit-runc", &runc, 0o755),
    ]);
    if Path::new(CA_BUNDLE).exists() {
        entries.push(copy(CA_BUNDLE.trim_start_matches('/'), Path::new(CA_BUNDLE), 0o644));
    }
    Ok(entries)
}

pub(super) fn busybox_entries() -> Result<Vec<Entry>> {
    let mut entries = busybox_files()?;
    entries.extend([
        text(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
            0o644,
        ),
        text("etc/group", "root:x:0:\nnobody:x:65534:\n", 0o644),
    ]);
    Ok(entries)
}

/// Busybox without users and groups.
fn busybox_files() -> Result<Vec<Entry>> {
    let busybox = busybox_program()?;
    let mut entries = vec![
        directory("bin", 0o755),
        directory("etc", 0o755),
        directory("root", 0o700),
        directory("tmp", 0o1777),
        copy("bin/busybox", &busybox, 0o755),
    ];
    entries.extend(applets(&busybox)?.map(|applet| link(&format!("bin/{applet}"), "busybox")));
    Ok(entries)
}

fn applets(busybox: &Path) -> Result<impl Iterator<Item = String>> {
    let listed = Command::new(busybox).arg("--list").output().context("listing the applets of busybox")?;
    let applets: Vec<String> = String::from_utf8(listed.stdout)?.lines().map(str::to_owned).collect();
    Ok(applets.into_iter().filter(|applet| applet != "busybox"))
}

fn busybox_program() -> Result<PathBuf> {
    unpacked_program("busybox-static", "bin/busybox")
}

/// The shared libraries of programs, at the paths where their loader looks for them. Static
/// programs have none.
pub(super) fn libraries(programs: &[&Path]) -> Result<Vec<Entry>> {
    let mut libraries = BTreeSet::new();
    let output = Command::new("ldd").args(programs).output().context("starting ldd")?;
    for line in String::from_utf8(output.stdout)?.lines() {
        let path = line.split_whitespace().find(|word| word.starts_with('/') && !word.ends_with(':'));
        libraries.extend(path.map(str::to_owned));
    }
    let entry = |library: &String| copy(library.trim_start_matches('/'), Path::new(library), 0o755);
    Ok(libraries.iter().map(entry).collect())
}
