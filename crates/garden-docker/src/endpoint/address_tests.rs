use std::ffi::OsString;
use std::path::Path;

use garden_build_core::{Error, ErrorKind};

use super::{Address, Endpoint, Environment, SshAddress};
use crate::ReachError;

fn environment(variables: &[(&'static str, &str)]) -> Environment {
    Environment::new(variables.iter().map(|(name, value)| (*name, OsString::from(value))), None)
}

fn refused(variables: &[(&'static str, &str)]) -> ReachError {
    Endpoint::find(&environment(variables)).expect_err("no address")
}

#[test]
fn addresses_are_read_as_docker_reads_them() {
    let read = |text: &str, tls| {
        let address = Address::parse(text, Path::new("/usual.sock"), tls).map(|address| address.to_string());
        address.unwrap_or_else(|error| panic!("{text}: {error:?}"))
    };
    for (text, plain, encrypted) in [
        ("unix://", "unix:///usual.sock", "unix:///usual.sock"),
        ("unix:///a b/docker.sock", "unix:///a b/docker.sock", "unix:///a b/docker.sock"),
        ("unix://docker.sock", "unix://docker.sock", "unix://docker.sock"),
        ("tcp://", "tcp://localhost:2375", "tcp://localhost:2376"),
        ("tcp://:7777", "tcp://localhost:7777", "tcp://localhost:7777"),
        ("tcp://a.example/", "tcp://a.example:2375", "tcp://a.example:2376"),
        ("a.example:7777", "tcp://a.example:7777", "tcp://a.example:7777"),
        ("tcp://[::1]", "tcp://[::1]:2375", "tcp://[::1]:2376"),
        ("tcp://[::1]:", "tcp://[::1]:2375", "tcp://[::1]:2376"),
        ("tcp://[fe80::1%eth0]:7777", "tcp://[fe80::1%eth0]:7777", "tcp://[fe80::1%eth0]:7777"),
        ("tcp://::1", "tcp://[::1]:2375", "tcp://[::1]:2376"),
        ("https://a.example", "tcp://a.example:443", "tcp://a.example:443"),
        ("ssh://a.example", "ssh://a.example", "ssh://a.example"),
        ("ssh://me@[::1]:22/run/d.sock", "ssh://me@[::1]:22/run/d.sock", "ssh://me@[::1]:22/run/d.sock"),
    ] {
        assert_eq!((read(text, false).as_str(), read(text, true).as_str()), (plain, encrypted), "{text}");
    }
    assert_eq!(read("http://a.example", false), "tcp://a.example:80");
    let encrypted =
        |text: &str| Address::parse(text, Path::new("/"), false).is_ok_and(|a| super::is_encrypted(&a));
    assert!(
        encrypted("https://a.example:1") && !encrypted("http://a.example") && !encrypted("tcp://a.example")
    );
    let ssh = SshAddress { user: None, host: "a.example".to_owned(), port: None, socket: None };
    assert_eq!(Address::parse("ssh://a.example/", Path::new("/"), false), Ok(Address::Ssh(ssh)));
}

#[test]
fn what_is_no_address_is_refused_with_a_reason_and_never_shows_a_password() {
    for (text, reason) in [
        ("/run/docker.sock", "it is a path"),
        ("tcp://a:0", "its port is not a number from 1 to 65535"),
        ("tcp://a:70000", "its port is not a number from 1 to 65535"),
        ("tcp://a:b:c", "its port is not a number from 1 to 65535"),
        ("tcp://a b", "its host has the character ' '"),
        ("tcp://[::1", "its `[` is not closed"),
        ("tcp://[a.example]:1", "`a.example` in brackets is no IPv6 address"),
        ("tcp://[::1]1", "what follows its `]` is not a port"),
        ("tcp://a/b", "it goes on with the path /b, which is not supported"),
        ("tcp://tcp://a", "it has two schemes"),
        ("unix://unix:///a", "it has two schemes"),
        ("tcp://me:s3cret@a", "it has a user name, which TCP does not know"),
        ("ssh://me:s3cret@a", "it has a password, which `ssh` does not take"),
        ("ssh://me:s3c/ret@a", "its port is not a number from 1 to 65535"),
        ("ssh://$(x)@a", "its user name is empty or has a character that none has"),
        ("ssh://a;x", "its host has the character ';'"),
        ("ssh://me@", "it has no host"),
        ("ssh://a?b", "it has a `?` or `#`"),
        ("npipe:////./pipe/docker_engine", "named pipes exist on Windows only"),
        ("fd://", "fd:// is what a daemon listens on"),
        ("unixx:///a", "`unixx://` is not known"),
    ] {
        let error = refused(&[("DOCKER_HOST", text)]);
        let message = error.to_string();
        assert!(message.contains(reason) && message.contains("(DOCKER_HOST)"), "{text}: {message}");
        assert!(!format!("{message}{error:?}").contains("s3c"), "{message}");
        let report = Error::from(error);
        assert!(report.kind() == ErrorKind::Config && report.hint().is_some(), "{report}");
    }
    let plain = refused(&[("DOCKER_HOST", "http://a"), ("DOCKER_TLS", "1")]).to_string();
    assert!(plain.contains("http:// is without TLS, but TLS is asked for"), "{plain}");
    let error = Endpoint::at("/run/d.sock", &environment(&[])).expect_err("a path");
    assert_eq!(error.to_string(), "`/run/d.sock` is not the address of a Docker daemon: it is a path");
    assert_eq!(Error::from(error).hint(), Some("write unix:///run/d.sock"));
}
