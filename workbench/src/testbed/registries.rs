//! The registries on the node: open, with a password, with a private CA, and with both.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddrV4;
use std::process::Command;

use anyhow::{Context, Result};
use garden_test_programs::hex;
use xtask::machine::run;

use super::archive::Image;
use super::components::{Component, Starts};
use super::images;
use super::network::NODE;
use super::state::{State, fill};

/// A registry on the node, with a base image in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Registry {
    name: &'static str,
    port: u16,
    /// Who may use it; without, everybody may.
    pub(super) username: Option<&'static str>,
    tls: bool,
    base_image: &'static str,
}

pub(super) const OPEN: Registry =
    Registry { name: "open", port: 5000, username: None, tls: false, base_image: "library/busybox:1.36" };
pub(super) const BASIC: Registry = Registry {
    name: "basic",
    port: 5001,
    username: Some("garden"),
    tls: false,
    base_image: "private/busybox:1.36",
};
pub(super) const TLS: Registry =
    Registry { name: "tls", port: 5002, username: None, tls: true, base_image: "library/busybox:1.36" };
/// As a company's own: what is right for [`BASIC`] is wrong here.
pub(super) const TLS_BASIC: Registry = Registry {
    name: "tls-basic",
    port: 5003,
    username: Some("gardener"),
    tls: true,
    base_image: "private/busybox:1.36",
};
pub(super) const ALL: [Registry; 4] = [OPEN, BASIC, TLS, TLS_BASIC];

/// A Service of `testbed/manifests/registry.yaml`: only the cluster reaches it.
pub(super) const IN_CLUSTER: &str = "registry.testbed.svc.cluster.local:5000";

/// Cheap on purpose: the registry checks it on every request.
const BCRYPT_COST: u32 = 5;

const TEMPLATE: &str = include_str!("../../../testbed/config/registry.yml");

impl Registry {
    pub(super) fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(NODE, self.port)
    }

    pub(super) fn base_image(&self) -> String {
        format!("{}/{}", self.address(), self.base_image)
    }

    fn write_configuration(&self, state: &State) -> Result<()> {
        let mut extra = String::new();
        if self.tls {
            writeln!(
                extra,
                "  tls: {{ certificate: \"{}\", key: \"{}\" }}",
                state.path("pki/registry.crt").display(),
                state.path("pki/registry.key").display()
            )?;
        }
        if let Some(username) = self.username {
            let password = random_password()?;
            state.write(&self.password_file(), &password)?;
            let hash = bcrypt::hash(&password, BCRYPT_COST)?;
            let htpasswd = state
                .write(&format!("registries/{}.htpasswd", self.name), &format!("{username}:{hash}\n"))?;
            writeln!(extra, "auth: {{ htpasswd: {{ realm: testbed, path: \"{}\" }} }}", htpasswd.display())?;
        }
        let storage = state.path(&format!("registries/{}", self.name));
        let values = [
            ("storage", &*storage.to_string_lossy()),
            ("address", &self.address().to_string()),
            ("extra", &extra),
        ];
        state.write(&self.configuration_file(), &fill(TEMPLATE, &values))?;
        Ok(())
    }

    fn configuration_file(&self) -> String {
        format!("config/registry-{}.yml", self.name)
    }

    fn password_file(&self) -> String {
        format!("registries/{}.password", self.name)
    }

    pub(super) fn password(&self, state: &State) -> Result<String> {
        fs::read_to_string(state.path(&self.password_file())).context("reading the password of the registry")
    }
}

/// Writes the registries' configuration and tells containerd how to reach each of them.
pub(super) fn write_configuration(state: &State) -> Result<()> {
    fs::create_dir_all(state.path("registries"))?;
    let ca = format!("  ca = \"{}\"\n", state.registry_ca().display());
    for registry in ALL {
        registry.write_configuration(state)?;
        let (scheme, extra) = if registry.tls { ("https", ca.as_str()) } else { ("http", "") };
        write_hosts(state, &registry.address().to_string(), scheme, extra)?;
    }
    write_hosts(state, IN_CLUSTER, "http", "")
}

/// No credentials here: pods bring their own pull secrets, as on any cluster.
fn write_hosts(state: &State, host: &str, scheme: &str, extra: &str) -> Result<()> {
    let hosts = format!(
        "server = \"{scheme}://{host}\"\n\n[host.\"{scheme}://{host}\"]\n  \
         capabilities = [\"pull\", \"resolve\", \"push\"]\n{extra}"
    );
    state.write(&format!("certs.d/{host}/hosts.toml"), &hosts)?;
    Ok(())
}

/// The hosts that whoever pulls or pushes has to use without TLS.
pub(super) fn plain_http_hosts() -> impl Iterator<Item = String> {
    let hosts =
        ALL.into_iter().filter(|registry| !registry.tls).map(|registry| registry.address().to_string());
    hosts.chain([IN_CLUSTER.to_owned()])
}

/// The address that daemons get what is Docker Hub's from.
pub(super) fn docker_hub_mirror() -> String {
    format!("http://{}", OPEN.address())
}

/// The hosts whose certificates are signed by the authority of [`State::registry_ca`].
pub(super) fn tls_hosts() -> impl Iterator<Item = String> {
    ALL.into_iter().filter(|registry| registry.tls).map(|registry| registry.address().to_string())
}

pub(super) fn components(state: &State) -> Vec<Component> {
    ALL.map(|registry| Component {
        name: format!("registry-{}", registry.name),
        program: "/usr/bin/docker-registry".into(),
        arguments: vec![
            "serve".to_owned(),
            state.path(&registry.configuration_file()).to_string_lossy().into_owned(),
        ],
        starts: Starts::AtOnce,
    })
    .into()
}

/// Imports the images into containerd; what is pushed is compressed, as published images are.
pub(super) fn import(state: &State, images: &[Image]) -> Result<()> {
    for image in images {
        let archive = image.archive()?;
        let mut command = ctr(state, &["import"]);
        if image.name == images::BUSYBOX {
            command.arg("--compress-blobs");
        }
        run(command.arg(&archive)).with_context(|| format!("importing {}", image.name))?;
    }
    Ok(())
}

/// Puts a base image into each registry. The open one then serves as a Docker Hub mirror.
pub(super) fn push_base_images(state: &State) -> Result<()> {
    for registry in ALL {
        let target = registry.base_image();
        run(ctr(state, &["tag", "--force"]).args([images::BUSYBOX, &target]))?;
        let mut push = ctr(state, &["push"]);
        push.arg("--hosts-dir").arg(state.path("certs.d"));
        if let Some(username) = registry.username {
            push.arg("--user").arg(format!("{username}:{}", registry.password(state)?));
        }
        run(push.arg(&target)).with_context(|| format!("pushing {target}"))?;
        // A pull must come from the registry, so the node may not know the name already.
        run(ctr(state, &["remove"]).arg(&target))?;
    }
    Ok(())
}

fn ctr(state: &State, subcommand: &[&str]) -> Command {
    let mut command = Command::new(state.programs().join("ctr"));
    command.arg("--address").arg(state.containerd_socket());
    command.args(["--namespace", "k8s.io", "images"]).args(subcommand);
    command
}

fn random_password() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}
