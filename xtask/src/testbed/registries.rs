//! The registries on the node: open, with a password, and with a private CA.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddrV4;
use std::process::Command;

use anyhow::{Context, Result};

use super::archive::Image;
use super::components::{Component, Starts};
use super::host::run;
use super::images;
use super::network::NODE;
use super::state::{State, fill};
use super::tools::hex;

pub(super) const OPEN: SocketAddrV4 = SocketAddrV4::new(NODE, 5000);
pub(super) const BASIC: SocketAddrV4 = SocketAddrV4::new(NODE, 5001);
pub(super) const TLS: SocketAddrV4 = SocketAddrV4::new(NODE, 5002);
/// A Service of `testbed/manifests/registry.yaml`: only the cluster reaches it.
const IN_CLUSTER: &str = "registry.testbed.svc.cluster.local:5000";

const USERNAME: &str = "garden";
/// Cheap on purpose: the registry checks it on every request.
const BCRYPT_COST: u32 = 5;

const TEMPLATE: &str = include_str!("../../../testbed/config/registry.yml");

/// Writes the registries' configuration and tells containerd how to reach each of them.
pub(super) fn write_configuration(state: &State) -> Result<()> {
    let password = random_password()?;
    fs::create_dir_all(state.path("registries"))?;
    state.write("registries/basic.password", &password)?;
    let hash = bcrypt::hash(&password, BCRYPT_COST)?;
    let htpasswd = state.write("registries/basic.htpasswd", &format!("{USERNAME}:{hash}\n"))?;

    let basic = format!("auth: {{ htpasswd: {{ realm: testbed, path: \"{}\" }} }}", htpasswd.display());
    let tls = format!(
        "  tls: {{ certificate: \"{}\", key: \"{}\" }}",
        state.path("pki/registry.crt").display(),
        state.path("pki/registry.key").display()
    );
    for (name, address, extra) in [("open", OPEN, ""), ("basic", BASIC, &basic), ("tls", TLS, &tls)] {
        let storage = state.path(&format!("registries/{name}"));
        let values = [
            ("storage", storage.to_string_lossy().into_owned()),
            ("address", address.to_string()),
            ("extra", extra.to_owned()),
        ];
        let values: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        state.write(&format!("config/registry-{name}.yml"), &fill(TEMPLATE, &values))?;
    }

    for host in [OPEN.to_string(), BASIC.to_string(), IN_CLUSTER.to_owned()] {
        write_hosts(state, &host, "http", "")?;
    }
    write_hosts(state, &TLS.to_string(), "https", &format!("  ca = \"{}\"\n", state.registry_ca().display()))
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

pub(super) fn components(state: &State) -> Vec<Component> {
    ["open", "basic", "tls"]
        .map(|name| Component {
            name: format!("registry-{name}"),
            program: "/usr/bin/docker-registry".into(),
            arguments: vec![
                "serve".to_owned(),
                state.path(&format!("config/registry-{name}.yml")).to_string_lossy().into_owned(),
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
    let credentials = format!("{USERNAME}:{}", password(state)?);
    for (target, user) in [
        (format!("{OPEN}/library/busybox:1.36"), None),
        (format!("{BASIC}/private/busybox:1.36"), Some(&credentials)),
        (format!("{TLS}/library/busybox:1.36"), None),
    ] {
        run(ctr(state, &["tag", "--force"]).args([images::BUSYBOX, &target]))?;
        let mut push = ctr(state, &["push"]);
        push.arg("--hosts-dir").arg(state.path("certs.d"));
        if let Some(user) = user {
            push.args(["--user", user]);
        }
        run(push.arg(&target)).with_context(|| format!("pushing {target}"))?;
        // A pull must come from the registry, so the node may not know the name already.
        run(ctr(state, &["remove"]).arg(&target))?;
    }
    Ok(())
}

fn ctr(state: &State, subcommand: &[&str]) -> Command {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(state.containerd_socket());
    command.args(["--namespace", "k8s.io", "images"]).args(subcommand);
    command
}

/// What tests find the registries and images by.
pub(super) const VARIABLES: [&str; 9] = [
    "GARDEN_TEST_REGISTRY",
    "GARDEN_TEST_REGISTRY_BASIC",
    "GARDEN_TEST_REGISTRY_BASIC_USERNAME",
    "GARDEN_TEST_REGISTRY_BASIC_PASSWORD",
    "GARDEN_TEST_REGISTRY_TLS",
    "GARDEN_TEST_REGISTRY_TLS_CA",
    "GARDEN_TEST_REGISTRY_CLUSTER",
    "GARDEN_TEST_KANIKO_IMAGE",
    "GARDEN_TEST_BASE_IMAGE",
];

/// The [`VARIABLES`] for the testbed.
pub(super) fn variables(state: &State) -> Result<BTreeMap<String, String>> {
    let values = [
        OPEN.to_string(),
        BASIC.to_string(),
        USERNAME.to_owned(),
        password(state)?,
        TLS.to_string(),
        state.registry_ca().to_string_lossy().into_owned(),
        IN_CLUSTER.to_owned(),
        images::KANIKO.to_owned(),
        format!("{OPEN}/library/busybox:1.36"),
    ];
    Ok(VARIABLES.map(str::to_owned).into_iter().zip(values).collect())
}

fn password(state: &State) -> Result<String> {
    fs::read_to_string(state.password_file()).context("reading the password of the registry")
}

fn random_password() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}
