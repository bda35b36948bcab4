use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;

use super::{Address, Endpoint, Environment, Origin};
use crate::{AsksForTls, ReachError};

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// A home directory with Docker's configuration in it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, text).expect("written");
        path
    }

    /// Adds a context as `docker context create` does. The digests were made with `sha256sum`.
    fn context(&self, name: &str, metadata: &str) -> PathBuf {
        self.write(&format!(".docker/contexts/meta/{}/meta.json", id(name)), metadata)
    }

    fn certificates(&self, name: &str, authority: &str) {
        self.write(&format!(".docker/contexts/tls/{}/docker/ca.pem", id(name)), authority);
    }

    fn environment(&self, variables: &[(&'static str, &str)]) -> Environment {
        let variables = variables.iter().map(|(name, value)| (*name, OsString::from(value)));
        Environment::new(variables, Some(self.0.path().to_owned()))
    }

    fn find(&self, variables: &[(&'static str, &str)]) -> Result<Endpoint, ReachError> {
        Endpoint::find(&self.environment(variables))
    }

    fn daemon(&self, variables: &[(&'static str, &str)]) -> String {
        self.find(variables).expect("a daemon").daemon()
    }
}

fn id(name: &str) -> &'static str {
    match name {
        "desktop" => "68693d02ab4fbb2331b8cc39915322e48e61f06d4d1b31e7d19913202857bc8a",
        "remote" => "b71199ebd070b36beab7317920c2c2f1d777df8d05e5527d8458fda57cb17a7a",
        name => panic!("no digest of {name}"),
    }
}

fn authority() -> String {
    rcgen::generate_simple_self_signed(["docker".to_owned()]).expect("a certificate").cert.pem()
}

fn metadata(endpoint: &str) -> String {
    format!(r#"{{"Name":"x","Metadata":{{"Description":"d"}},"Endpoints":{{"docker":{endpoint}}}}}"#)
}

#[test]
fn docker_host_wins_over_contexts_and_variables_over_files() {
    let home = Home::new();
    assert_eq!(home.daemon(&[]), "unix:///var/run/docker.sock (this machine's usual socket)");
    home.context("desktop", &metadata(r#"{"Host":"unix:///desktop.sock","SkipTLSVerify":false}"#));
    home.context("remote", &metadata(r#"{"Host":"ssh://me@remote"}"#));
    home.write(".docker/config.json", r#"{"auths":{},"currentContext":"desktop"}"#);
    assert_eq!(home.daemon(&[]), "unix:///desktop.sock (the Docker context `desktop`)");
    let remote = ("DOCKER_CONTEXT", "remote");
    assert_eq!(home.daemon(&[remote]), "ssh://me@remote (the Docker context `remote`)");
    let host = ("DOCKER_HOST", " tcp://10.0.0.1:4243 ");
    assert_eq!(home.daemon(&[remote, host]), "tcp://10.0.0.1:4243 (DOCKER_HOST)");
    let usual = "unix:///var/run/docker.sock (this machine's usual socket)";
    assert_eq!(home.daemon(&[("DOCKER_CONTEXT", "default")]), usual);
    assert_eq!(home.daemon(&[remote, ("DOCKER_HOST", "  ")]), usual);
    assert_eq!(
        home.daemon(&[("DOCKER_CONTEXT", ""), ("DOCKER_HOST", "")]),
        "unix:///desktop.sock (the Docker context `desktop`)"
    );
}

#[test]
fn docker_config_moves_the_configuration_and_the_contexts() {
    let (home, elsewhere) = (Home::new(), Home::new());
    home.write(".docker/config.json", r#"{"currentContext":"remote"}"#);
    elsewhere.context("desktop", &metadata(r#"{"Host":"unix:///desktop.sock"}"#));
    elsewhere.write(".docker/config.json", r#"{"currentContext":"desktop"}"#);
    let directory = elsewhere.0.path().join(".docker");
    let found = home.daemon(&[("DOCKER_CONFIG", directory.to_str().expect("text"))]);
    assert_eq!(found, "unix:///desktop.sock (the Docker context `desktop`)");
}

#[test]
fn steps_get_the_proxies_of_the_configuration_for_their_daemon_or_for_all() {
    let home = Home::new();
    let given = |address: &str| {
        let proxies = super::proxies_in(&home.environment(&[]), address).expect("readable");
        proxies.build_args(&std::collections::BTreeMap::new()).into_iter().collect::<Vec<_>>()
    };
    let pairs = |expected: &[(&str, &str)]| {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        expected.iter().map(pair).collect::<Vec<_>>()
    };
    let usual = "unix:///var/run/docker.sock";
    assert_eq!(given(usual), pairs(&[]), "there is no configuration");
    home.write(
        ".docker/config.json",
        r#"{"auths":{},"proxies":{
            "default":{"httpProxy":"http://p:1","noProxy":".corp","ftpProxy":""},
            "tcp://10.0.0.1:2375":{"allProxy":"socks5://who:s3cret@p:2"},
            "tcp://10.0.0.2:2375":null
        }}"#,
    );
    let default = [
        ("HTTP_PROXY", "http://p:1"),
        ("NO_PROXY", ".corp"),
        ("http_proxy", "http://p:1"),
        ("no_proxy", ".corp"),
    ];
    assert_eq!(given(usual), pairs(&default));
    let socks = "socks5://who:s3cret@p:2";
    assert_eq!(given("tcp://10.0.0.1:2375"), pairs(&[("ALL_PROXY", socks), ("all_proxy", socks)]));
    assert_eq!(given("tcp://10.0.0.2:2375"), pairs(&[]));
    home.write(".docker/config.json", r#"{"proxies":null}"#);
    assert_eq!(given(usual), pairs(&[]));

    home.write(".docker/config.json", r#"{"proxies":{"default":"http://who:s3cret@p:1"}}"#);
    let error = super::proxies_in(&home.environment(&[]), usual).expect_err("another form").to_string();
    assert!(error.contains("line 1, column") && !error.contains("s3cret"), "{error}");
    let nowhere = Environment::new([], None);
    assert!(super::proxies_in(&nowhere, usual).expect("no home").is_empty());
}

#[test]
fn a_configuration_that_is_empty_or_names_no_context_means_the_usual_socket() {
    let home = Home::new();
    for text in ["", "{}", r#"{"currentContext":""}"#, r#"{"currentContext":"default"}"#] {
        home.write(".docker/config.json", text);
        assert_eq!(home.find(&[]).expect(text).origin, Origin::Usual, "{text}");
    }
    home.write(".docker/config.json", r#"{"currentContext":"desktop"}"#);
    home.context("desktop", &metadata("{}"));
    let usual = "unix:///var/run/docker.sock (the Docker context `desktop`)";
    assert_eq!(home.daemon(&[]), usual, "a context without a host");
    let nowhere = Environment::new([], None);
    assert_eq!(Endpoint::find(&nowhere).expect("no home").origin, Origin::Usual);
}

#[test]
fn what_is_wrong_with_configuration_and_contexts_is_named_with_the_file() {
    let home = Home::new();
    let config = home.write(".docker/config.json", r#"{"auths":"s3cret","currentContext":7}"#);
    let error = home.find(&[]).expect_err("a number").to_string();
    assert!(error.starts_with(&config.display().to_string()) && !error.contains("s3cret"), "{error}");
    home.write(".docker/config.json", "s3cret");
    let error = home.find(&[]).expect_err("no JSON").to_string();
    assert!(error.ends_with("line 1, column 1 is not JSON"), "{error}");

    home.write(".docker/config.json", r#"{"currentContext":"remote"}"#);
    let error = home.find(&[]).expect_err("no context").to_string();
    let named = format!("the Docker context `remote`, named by {}, does not exist", config.display());
    assert!(error.starts_with(&named), "{error}");
    home.context("desktop", r#"{"Name":"desk\u001btop","Endpoints":{}}"#);
    let error = home.find(&[("DOCKER_CONTEXT", "remote")]).expect_err("no context").to_string();
    assert!(error.ends_with("; there are: `default`, `desk\\u{1b}top`"), "{error}");
    assert!(
        error.starts_with("the Docker context `remote`, named by DOCKER_CONTEXT, does not exist"),
        "{error}"
    );

    for (text, reason) in [
        ("{", "is not JSON"),
        (r#"{"Name":"remote","Endpoints":{}}"#, "it has no endpoint `docker`"),
        (r#"{"Endpoints":{"docker":null}}"#, "it has no endpoint `docker`"),
        (r#"{"Endpoints":{"docker":{"Host":7}}}"#, "its endpoint `docker` has another form"),
    ] {
        let file = home.context("remote", text);
        let error = home.find(&[]).expect_err(text).to_string();
        assert!(error.contains(reason) && error.contains(&file.display().to_string()), "{error}");
    }
    home.context("remote", &metadata(r#"{"Host":"carrier-pigeon://loft"}"#));
    let error = home.find(&[]).expect_err("no address").to_string();
    assert_eq!(
        error,
        "`carrier-pigeon://loft` (the Docker context `remote`) is not the address of a Docker daemon: \
         `carrier-pigeon://` is not known"
    );
}

#[test]
fn variables_ask_for_tls_with_the_certificates_beside_the_configuration_or_elsewhere() {
    let home = Home::new();
    let host = ("DOCKER_HOST", "tcp://builder");
    let verify = ("DOCKER_TLS_VERIFY", "0");
    assert!(home.find(&[host]).expect("plain").tls.is_none());

    let error = home.find(&[host, verify]).expect_err("no authority").to_string();
    assert!(error.starts_with("TLS to the Docker daemon, which DOCKER_TLS_VERIFY asks for"), "{error}");
    assert!(error.ends_with(".docker/ca.pem: it does not exist, and so nobody can be trusted"), "{error}");
    let authorities = |found: Endpoint| found.tls.expect("TLS").authorities;
    let anybody = home.find(&[host, ("DOCKER_TLS", "1")]).expect("no authority is needed");
    assert_eq!(authorities(anybody), "anybody");

    let file = home.write(".docker/ca.pem", &authority());
    let found = home.find(&[host, verify, ("DOCKER_TLS", "1")]).expect("an authority");
    assert_eq!(found.address.to_string(), "tcp://builder:2376");
    assert_eq!(authorities(found), format!("the authorities in {}", file.display()));
    let alone = home.find(&[verify]).expect("a port of this machine");
    assert_eq!(alone.daemon(), "tcp://localhost:2376 (DOCKER_TLS_VERIFY without DOCKER_HOST)");

    let elsewhere = home.write("certs/ca.pem", PEM);
    let directory = elsewhere.parent().and_then(Path::to_str).expect("text");
    let error = home.find(&[host, verify, ("DOCKER_CERT_PATH", directory)]).expect_err("damaged").to_string();
    assert!(error.contains(&elsewhere.display().to_string()), "{error}");

    let homeless = [("DOCKER_HOST", OsString::from("tcp://builder")), ("DOCKER_TLS_VERIFY", "1".into())];
    let error = Endpoint::find(&Environment::new(homeless, None)).expect_err("no directory");
    assert_eq!(error, ReachError::NoCertificates { asked_by: AsksForTls::Variable("DOCKER_TLS_VERIFY") });
}

#[test]
fn an_address_that_asks_for_tls_is_not_mended_by_unsetting_it() {
    let home = Home::new();
    home.write(".docker/ca.pem", "nothing");
    let hint = |variables: &[(&'static str, &str)]| {
        let error = garden_build_core::Error::from(home.find(variables).expect_err("damaged"));
        error.hint().unwrap_or_default().to_owned()
    };
    let by_address = hint(&[("DOCKER_HOST", "https://builder")]);
    assert!(by_address.contains("DOCKER_CERT_PATH") && !by_address.contains("unset"), "{by_address}");
    let by_variable = hint(&[("DOCKER_HOST", "tcp://builder"), ("DOCKER_TLS_VERIFY", "1")]);
    assert!(by_variable.contains("unset DOCKER_TLS_VERIFY"), "{by_variable}");
}

#[test]
fn sockets_and_ssh_need_no_certificates() {
    let home = Home::new();
    for address in ["unix:///run/docker.sock", "ssh://builder"] {
        let found = home.find(&[("DOCKER_HOST", address), ("DOCKER_TLS_VERIFY", "1")]).expect(address);
        assert!(found.tls.is_none(), "{address}");
    }
}

#[test]
fn a_context_asks_for_tls_by_its_certificates_and_variables_do_not_matter() {
    let home = Home::new();
    home.context("remote", &metadata(r#"{"Host":"tcp://builder","SkipTLSVerify":true}"#));
    let context = ("DOCKER_CONTEXT", "remote");
    let found = home.find(&[context]).expect("anybody");
    assert_eq!(found.tls.expect("TLS").authorities, "anybody");

    home.context("remote", &metadata(r#"{"Host":"tcp://builder"}"#));
    let found = home.find(&[context, ("DOCKER_TLS_VERIFY", "1")]).expect("plain");
    assert!(found.tls.is_none());
    assert_eq!(found.address.to_string(), "tcp://builder:2375");

    home.certificates("remote", &authority());
    let found = home.find(&[context]).expect("encrypted");
    assert_eq!(found.address.to_string(), "tcp://builder:2376");
    assert!(found.tls.expect("TLS").authorities.ends_with("docker/ca.pem"));
    home.certificates("remote", "nothing");
    let error = home.find(&[context]).expect_err("damaged").to_string();
    assert!(error.contains("which the Docker context `remote` asks for"), "{error}");
    assert!(error.ends_with("ca.pem: there is no `BEGIN CERTIFICATE` in it"), "{error}");
}

#[test]
fn keys_of_all_kinds_are_read_and_what_is_wrong_with_one_is_said_without_it() {
    let home = Home::new();
    home.write(".docker/ca.pem", &authority());
    let issued = rcgen::generate_simple_self_signed(["me".to_owned()]).expect("a certificate");
    home.write(".docker/cert.pem", &issued.cert.pem());
    let variables = [("DOCKER_HOST", "tcp://builder"), ("DOCKER_TLS_VERIFY", "1")];
    let refused = |key: &str| {
        home.write(".docker/key.pem", key);
        home.find(&variables).expect_err(key).to_string()
    };
    let error = home.find(&variables).expect_err("no key").to_string();
    assert!(error.ends_with("key.pem: it does not exist, but cert.pem does"), "{error}");
    let (begin, end) = ("-----BEGIN", "-----END");
    for encrypted in [
        format!("{begin} ENCRYPTED PRIVATE KEY-----\nAAAA\n{end} ENCRYPTED PRIVATE KEY-----\n"),
        format!("{begin} RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n{end} RSA PRIVATE KEY-----\n"),
    ] {
        assert!(refused(&encrypted).contains("key.pem: it is encrypted"));
    }
    let damaged = issued.signing_key.serialize_pem().replace(end, "----END");
    let error = refused(&damaged);
    assert!(error.ends_with("key.pem: there is no private key in it, or it is damaged"), "{error}");
    let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    assert!(refused(&other).contains("key.pem: with cert.pem, "), "{}", refused(&other));

    for (algorithm, label, header) in [
        // What comes before the older form of a key in PKCS #8 has always the same length.
        (&rcgen::PKCS_RSA_SHA256, "RSA PRIVATE KEY", 26),
        (&rcgen::PKCS_ECDSA_P256_SHA256, "EC PRIVATE KEY", 29),
    ] {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let names = rcgen::CertificateParams::new(vec!["me".to_owned()]).expect("a name");
        home.write(".docker/cert.pem", &names.self_signed(&key).expect("a certificate").pem());
        let older = BASE64_STANDARD.encode(&key.serialize_der()[header..]);
        for pem in [key.serialize_pem(), format!("{begin} {label}-----\n{older}\n{end} {label}-----\n")] {
            home.write(".docker/key.pem", &pem);
            let tls = home.find(&variables).expect(label).tls.expect("TLS");
            assert!(tls.certificate.is_some_and(|file| file.ends_with("cert.pem")), "{label}");
        }
    }
}

#[test]
fn the_usual_socket_knows_where_the_user_may_have_others() {
    let home = Home::new();
    let environment = home.environment(&[("XDG_RUNTIME_DIR", "/run/user/7")]);
    let socket = home.0.path().join("nothing.sock");
    let found = Endpoint::find(&environment.with_usual_socket(&socket)).expect("the usual socket");
    assert_eq!(found.address, Address::Unix(socket));
    let docker = home.0.path().join(".docker");
    let others = ["run/docker.sock", "desktop/docker.sock"].map(|socket| docker.join(socket));
    assert_eq!(
        found.other_sockets,
        [PathBuf::from("/run/user/7/docker.sock"), others[0].clone(), others[1].clone()]
    );
    let named = home.find(&[("DOCKER_HOST", "unix:///var/run/docker.sock")]).expect("a socket");
    assert!(named.other_sockets.is_empty());
}
