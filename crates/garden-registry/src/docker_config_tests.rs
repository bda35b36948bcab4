use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;
use crate::error::Identity;

const ORIGIN: &str = "secret default/regcred";

fn read(config: &Value) -> Entries {
    parse(config.to_string().as_bytes(), ORIGIN).expect("valid")
}

fn rendered(credentials: &Entries, names: &[&str]) -> Value {
    serde_json::from_str(render(credentials, names, &["ecr-login"]).expose_secret()).expect("JSON")
}

fn pair(username: &str, password: &str) -> String {
    BASE64_STANDARD.encode(format!("{username}:{password}"))
}

/// Describes how an entry lets one authenticate.
fn login_of(entry: &Value) -> Option<String> {
    let credentials = read(&json!({ "auths": { "registry.example": entry } }));
    let login = credentials.logins.into_values().next()?.value;
    Some(match login {
        Login::Password { username, password } => format!("{username}/{}", password.expose_secret()),
        Login::IdentityToken { username, token } => {
            format!("{}>{}", username.unwrap_or_default(), token.expose_secret())
        }
        Login::RegistryToken { token } => format!("={}", token.expose_secret()),
    })
}

#[test]
fn reads_every_form_of_an_entry() {
    let unpadded = pair("user", "pass").trim_end_matches('=').to_owned();
    let broken_over_lines = format!("{}\n", pair("user", "pass"));
    for (entry, expected) in [
        (json!({ "auth": pair("user", "pass:word") }), Some("user/pass:word")),
        (json!({ "auth": unpadded }), Some("user/pass")),
        (json!({ "auth": broken_over_lines }), Some("user/pass")),
        (json!({ "auth": pair("user", "pass\0\0") }), Some("user/pass")),
        (json!({ "username": "user", "password": "pass", "email": "a@b" }), Some("user/pass")),
        (json!({ "auth": pair("a", "b"), "username": "c", "password": "d" }), Some("a/b")),
        (json!({ "auth": pair("user", ""), "identitytoken": "refresh" }), Some("user>refresh")),
        (json!({ "identitytoken": "refresh" }), Some(">refresh")),
        (json!({ "auth": pair("<token>", "refresh") }), Some(">refresh")),
        (json!({ "username": "<token>", "password": "refresh" }), Some(">refresh")),
        (json!({ "registrytoken": "bearer" }), Some("=bearer")),
        (json!({ "auth": "", "username": "user", "password": "pass" }), Some("user/pass")),
        (json!({ "username": "user" }), None),
        (json!({}), None),
        (Value::Null, None),
    ] {
        assert_eq!(login_of(&entry).as_deref(), expected, "{entry}");
    }
}

#[test]
fn reads_the_older_form() {
    let legacy = json!({ "https://index.docker.io/v1/": { "auth": pair("user", "pass") } }).to_string();
    let credentials = parse_legacy(legacy.as_bytes(), ORIGIN).expect("valid");
    assert!(matches!(credentials.identity("docker.io", "a/b"), Identity::Credentials { .. }));
    let swapped = parse(legacy.as_bytes(), ORIGIN).expect_err("no `auths`");
    assert_eq!(swapped, CredentialsError::NoEntries { origin: ORIGIN.to_owned() });
}

#[test]
fn what_is_wrong_is_named_without_the_content() {
    let bad_auth = |auth: &str| json!({ "auths": { "registry.example": { "auth": auth } } }).to_string();
    for (text, expected) in [
        ("s3cret".to_owned(), "is not JSON"),
        (String::new(), "is not JSON"),
        (r#"{"auths": "s3cret"}"#.to_owned(), "line 1"),
        (r#"{"auths": {"a": {"auth": ["s3cret"]}}}"#.to_owned(), "line 1"),
        (bad_auth("s3cret!"), "the `auth` of entry `registry.example`"),
        (bad_auth(&BASE64_STANDARD.encode("s3cret")), "the `auth` of entry `registry.example`"),
        (bad_auth(&BASE64_STANDARD.encode([b's', 0xff, b':'])), "the `auth` of entry `registry.example`"),
        (r#"{"auths": {"https://": {"auth": "s3cret"}}}"#.to_owned(), "names no host"),
        (r#"{"credHelpers": {"registry.example": "../s3cret"}}"#.to_owned(), "entry `registry.example`"),
        (r#"{"credHelpers": {"https://": "gcr"}}"#.to_owned(), "names no host"),
        (r#"{"credHelpers": ["s3cret"]}"#.to_owned(), "line 1"),
        (r#"{"credsStore": "/bin/s3cret"}"#.to_owned(), "`credsStore`"),
    ] {
        let error = parse(text.as_bytes(), ORIGIN).expect_err(&text);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(ORIGIN) && shown.contains(expected), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("czNjcmV0"), "{shown}");
    }
}

#[test]
fn a_store_is_given_to_the_builder_that_has_it_as_the_helper_of_hosts_without_an_entry() {
    let config = |store: &str| {
        let credentials = read(&json!({
            "auths": { "registry.example": { "auth": pair("user", "pass") }, "empty.example": {} },
            "credsStore": store,
        }));
        rendered(&credentials, &["registry.example/api", "empty.example", "other.example/x"])["credHelpers"]
            .clone()
    };
    assert_eq!(config("ecr-login"), json!({ "empty.example": "ecr-login", "other.example": "ecr-login" }));
    assert_eq!(config("desktop"), json!({}));
}

#[test]
fn renders_what_it_read() {
    let config = json!({
        "auths": {
            "https://index.docker.io/v1/": { "auth": pair("user", "pass") },
            "registry.example:5000": { "auth": pair("name", ""), "identitytoken": "refresh" },
            "token.example": { "registrytoken": "bearer" },
        },
        "credHelpers": { "1.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login" },
    });
    let names =
        ["docker.io", "registry.example:5000", "token.example", "1.dkr.ecr.eu-west-1.amazonaws.com/a"];
    assert_eq!(rendered(&read(&config), &names), config);
}

#[test]
fn a_builder_is_given_nothing_but_what_its_build_needs() {
    let credentials = read(&json!({
        "auths": {
            "registry.example": { "auth": pair("admin", "a") },
            "registry.example/team": { "auth": pair("team", "t") },
            "other.example": { "auth": pair("other", "o") },
            "*.example": { "auth": pair("wild", "w") },
        },
        "credHelpers": { "helped.example": "ecr-login", "*.amazonaws.com": "ecr-login" },
        "credsStore": "ecr-login",
    }));
    let given = |names: &[&str]| rendered(&credentials, names);
    let team = json!({ "auth": pair("team", "t") });
    assert_eq!(
        given(&["registry.example/team/api"]),
        json!({ "auths": { "registry.example": team }, "credHelpers": {} })
    );
    assert_eq!(given(&[]), json!({ "auths": {}, "credHelpers": {} }));
    let node = |registry| render_passwords(&credentials, registry, "team/api").expose_secret().to_owned();
    for (registry, users) in
        [("registry.example", &["admin", "team", "wild"][..]), ("helped.example", &["wild"]), ("x.test", &[])]
    {
        let config: Value = serde_json::from_str(&node(registry)).expect("JSON");
        assert_eq!(
            config["auths"].as_object().expect("an object").len(),
            users.len(),
            "{registry}: {config}"
        );
    }
}

#[test]
fn renders_entries_of_their_own_for_wildcards_and_prefixes() {
    let credentials = read(&json!({
        "auths": {
            "*.azurecr.io": { "auth": pair("azure", "a") },
            "registry.example": { "auth": pair("host", "h") },
            "registry.example/team": { "auth": pair("team", "t") },
            "docker.io/team": { "auth": pair("hub", "d") },
        },
        "credHelpers": { "*.dkr.ecr.*.amazonaws.com": "ecr-login" },
    }));
    let config = rendered(
        &credentials,
        &[
            "garden.azurecr.io",
            "registry.example/team/api",
            "registry.example/base",
            "docker.io/team/api",
            "1.dkr.ecr.eu.amazonaws.com/api",
            "unknown.example/api",
        ],
    );
    let auth = |key: &str| config["auths"][key]["auth"].as_str().map(str::to_owned);
    assert_eq!(auth("garden.azurecr.io"), Some(pair("azure", "a")));
    assert_eq!(auth("registry.example"), Some(pair("team", "t")), "the first name in use decides");
    assert_eq!(auth("registry.example/base"), Some(pair("host", "h")));
    assert_eq!(auth("https://index.docker.io/v1/"), Some(pair("hub", "d")));
    assert_eq!(auth("unknown.example"), None);
    assert_eq!(config["credHelpers"]["1.dkr.ecr.eu.amazonaws.com"], "ecr-login");
}
