//! Which login is found for a repository: one line for each kind of secret and helper.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use garden_registry::{AllowedHelpers, Credentials, Found, Login};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use crate::helper_programs::HelperPrograms;

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const ACR_USER: &str = "00000000-0000-0000-0000-000000000000";
const HUB: &str = "https://index.docker.io/v1/";

/// As Google gives it out, with line ends and quotes.
const JSON_KEY: &str = r#"{
  "type": "service_account",
  "project_id": "team-1",
  "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQ==\n-----END PRIVATE KEY-----\n",
  "client_email": "build@team-1.iam.gserviceaccount.com"
}
"#;

fn pair(username: &str, password: &str) -> Value {
    json!({ "auth": BASE64_STANDARD.encode(format!("{username}:{password}")) })
}

/// Reads a secret in shorthand: `KEY=USER` is an entry of `auths` (`KEY=` an empty one), `KEY!HELPER` one of
/// `credHelpers`, and `!HELPER` the `credsStore`.
fn secret(shorthand: &str) -> Value {
    let (mut auths, mut helpers, mut store) = (Map::new(), Map::new(), Value::Null);
    for word in shorthand.split_whitespace() {
        match word.split_once(['=', '!']) {
            Some((key, "")) => drop(auths.insert(key.to_owned(), json!({}))),
            Some(("", name)) => store = name.into(),
            Some((key, user)) if word.contains('=') => drop(auths.insert(key.to_owned(), pair(user, "pass"))),
            Some((key, name)) => drop(helpers.insert(key.to_owned(), name.into())),
            None => panic!("{word}"),
        }
    }
    json!({ "auths": auths, "credHelpers": helpers, "credsStore": store })
}

fn read(config: &Value, origin: &str) -> Credentials {
    Credentials::from_docker_config_json(config.to_string().as_bytes(), origin)
        .expect("valid")
        .allow_helpers(&AllowedHelpers::for_all())
}

/// Says what was found, and as whom one is.
fn described(found: &Found) -> String {
    let login = match &found.login {
        Some(Login::Password { username, password }) => format!("{username}/{}", password.expose_secret()),
        Some(Login::IdentityToken { username, token }) => {
            format!("{}>{}", username.as_deref().unwrap_or_default(), token.expose_secret())
        }
        Some(Login::RegistryToken { token }) => format!("={}", token.expose_secret()),
        Some(other) => panic!("{other:?}"),
        None => "nobody".to_owned(),
    };
    format!("{login} with {}", found.identity)
}

async fn find(all: &Credentials, image: &str) -> String {
    let (registry, repository) = image.split_once('/').expect("an image");
    described(&all.login(registry, repository).await)
}

#[tokio::test]
async fn each_kind_of_entry_gives_its_login() {
    let packed_key = BASE64_STANDARD.encode(JSON_KEY);
    for (key, entry, image, expected) in [
        ("r.example", pair("u", "p:w"), "r.example/a", "u/p:w"),
        ("r.example", json!({ "username": "u", "password": "p" }), "r.example/a", "u/p"),
        ("r.example", json!({ "auth": "dTo=", "identitytoken": "t" }), "r.example/a", "u>t"),
        ("r.example", pair("<token>", "t"), "r.example/a", ">t"),
        ("r.example", json!({ "registrytoken": "t" }), "r.example/a", "=t"),
        ("https://eu.gcr.io", pair("_json_key", JSON_KEY), "eu.gcr.io/team-1/api", "_json_key/{\n"),
        ("eu-docker.pkg.dev/t", pair("_json_key", JSON_KEY), "eu-docker.pkg.dev/t/api", "_json_key/{\n"),
        (
            "eu-docker.pkg.dev",
            pair("_json_key_base64", &packed_key),
            "eu-docker.pkg.dev/t/api",
            "_json_key_b",
        ),
        ("eu-docker.pkg.dev", pair("oauth2accesstoken", "ya29.x"), "eu-docker.pkg.dev/t/api", "oauth2access"),
        (
            "team.azurecr.io",
            pair(ACR_USER, "eyJ.x.y"),
            "team.azurecr.io/api",
            "00000000-0000-0000-0000-0000000",
        ),
        (ECR, pair("AWS", "eyJ.x.y"), &format!("{ECR}/api"), "AWS/eyJ.x.y"),
    ] {
        let all = read(&json!({ "auths": { key: entry } }), "Secret a/b");
        let legacy = json!({ key: entry }).to_string();
        let legacy = Credentials::from_legacy_dockercfg(legacy.as_bytes(), "Secret a/b").expect("valid");
        let found = find(&all, image).await;
        assert!(found.starts_with(expected) && found.contains("in Secret a/b"), "{key}: {found}");
        assert_eq!(find(&legacy, image).await, found, "the older form");
    }
    let all = read(&json!({ "auths": { "gcr.io": pair("_json_key", JSON_KEY) } }), "Secret a/b");
    assert!(find(&all, "gcr.io/t/api").await.starts_with(&format!("_json_key/{JSON_KEY} with")));
}

/// The helpers of the table below.
fn programs() -> HelperPrograms {
    let programs = HelperPrograms::new();
    programs
        .add(
            "asked",
            r#"printf '{"ServerURL":"%s","Username":"for %s","Secret":"pass"}' "$server" "$server""#,
        )
        .add_login("identity", "<token>", "refresh")
        .add_login("blank", "", "")
        .add("nothing", "echo credentials not found in native keychain; exit 1")
        .add("broken", "echo 'no network'; exit 1");
    programs
}

/// Secrets in shorthand, in their order; the image; and how the description of its login begins.
const CASES: &[(&[&str], &str, &str)] = &[
    // Names.
    (&[], "r.example/a", "nobody with no credentials"),
    (&["s.example=u"], "r.example/a", "nobody with no credentials"),
    (&["r.example=u"], "r.example/a", "u/pass with the credentials for `r.example` in Secret 0"),
    (&["https://R.example/v2/=u"], "r.example/a", "u/pass with the credentials for `r.example`"),
    (&["r.example:5000=u"], "r.example:5000/a", "u/pass with the credentials for `r.example:5000`"),
    (&["r.example:5000=u"], "r.example/a", "nobody"),
    (&["r.example=u"], "r.example:5000/a", "nobody"),
    (&["*.azurecr.io=u"], "team.azurecr.io/api", "u/pass with the credentials for `*.azurecr.io`"),
    (&["*.azurecr.io=u"], "a.team.azurecr.io/api", "nobody"),
    (&["r?.example:5000=u"], "r1.example:5000/a", "u/pass"),
    (&["r.example/team=u"], "r.example/team/a", "u/pass with the credentials for `r.example/team`"),
    (&["r.example/team=u"], "r.example/teams/a", "nobody"),
    (&["*.example/team=u"], "r.example/team/a", "u/pass"),
    (&["docker.io/team=u"], "docker.io/team/a", "u/pass"),
    // Precedence.
    (
        &["r.example=a", "https://r.example/v1/=b"],
        "r.example/a",
        "b/pass with the credentials for `r.example` in Secret 1",
    ),
    (&["r.example/team=a", "r.example=b"], "r.example/team/a", "a/pass"),
    (&["r.example=a", "*.example=b"], "r.example/a", "a/pass"),
    (&["r.example!asked", "r.example=b"], "r.example/a", "b/pass"),
    (&["r.example=a", "r.example!identity"], "r.example/a", ">refresh"),
    (&["r.example=a r.example!identity"], "r.example/a", ">refresh"),
    (&["r.example=a r.example!nothing"], "r.example/a", "a/pass"),
    (&["r.example=a", "*.example!identity"], "r.example/a", "a/pass"),
    (&["*.example=a", "r.example!identity"], "r.example/a", ">refresh"),
    // Helpers, and what they are asked for.
    (
        &["r.example:5000!asked"],
        "r.example:5000/a",
        "for r.example:5000/pass with the credentials for `r.example:5000` of the credential helper `asked` that Secret 0 names",
    ),
    (
        &["*.dkr.ecr.*.amazonaws.com!asked"],
        "1.dkr.ecr.eu-west-1.amazonaws.com/api",
        "for 1.dkr.ecr.eu-west-1.amazonaws.com/pass",
    ),
    (&["r.example!identity"], "r.example/a", ">refresh"),
    (
        &["r.example!absent"],
        "r.example/a",
        "nobody with no credentials, as Secret 0 leaves `r.example` to the credential helper `absent`, which is not installed here",
    ),
    (
        &["r.example!nothing"],
        "r.example/a",
        "nobody with no credentials, as Secret 0 leaves `r.example` to the credential helper `nothing`, which has no login for it",
    ),
    (
        &["r.example!blank"],
        "r.example/a",
        "nobody with no credentials, as Secret 0 leaves `r.example` to the credential helper `blank`, which has no login for it",
    ),
    (
        &["r.example!broken"],
        "r.example/a",
        "nobody with no credentials, as Secret 0 leaves `r.example` to the credential helper `broken`, which failed: no network",
    ),
    // Stores.
    (&["!asked"], "r.example/a", "for r.example/pass"),
    (&["!asked"], "docker.io/library/busybox", "for https://index.docker.io/v1//pass"),
    (&["r.example= !asked"], "r.example/a", "for r.example/pass"),
    (&["r.example=u !asked"], "r.example/a", "u/pass"),
    (&["r.example!nothing !asked"], "r.example/a", "nobody"),
    (&["!asked", "!identity"], "r.example/a", ">refresh"),
    (&["!asked", "!nothing"], "r.example/a", "for r.example/pass"),
];

#[tokio::test]
async fn the_login_for_an_image_is_found_in_many_secrets() {
    let programs = programs();
    let mut cases: Vec<(Vec<String>, String, String)> = Vec::new();
    for (secrets, image, expected) in CASES {
        let secrets = secrets.iter().map(ToString::to_string).collect();
        cases.push((secrets, image.to_string(), expected.to_string()));
    }
    for alias in [HUB, "docker.io", "index.docker.io", "registry-1.docker.io", "hub.docker.com"] {
        let image = || "docker.io/library/busybox".to_owned();
        cases.push((vec![format!("{alias}=u")], image(), format!("u/pass with the credentials for `{HUB}`")));
        cases.push((vec![format!("{alias}!asked")], image(), format!("for {HUB}/pass")));
    }
    for host in [
        ECR,
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
        "123456789012.dkr-ecr.eu-west-1.on.aws",
        "public.ecr.aws",
    ] {
        cases.push((vec![format!("{host}!asked")], format!("{host}/api"), format!("for {host}/pass")));
    }
    for (secrets, image, expected) in cases {
        let mut all = Credentials::new().with_helpers(programs.helpers());
        for (number, shorthand) in secrets.iter().enumerate() {
            all.merge(read(&secret(shorthand), &format!("Secret {number}")));
        }
        let found = find(&all, &image).await;
        assert!(found.starts_with(&expected), "{secrets:?} for {image}:\n{found}\ninstead of\n{expected}");
    }
}

#[test]
fn a_malformed_secret_is_named_and_never_quoted() {
    let bad_auth = |auth: &str| json!({ "auths": { "r.example": { "auth": auth } } }).to_string();
    let secret = "s3cret-password";
    let packed = BASE64_STANDARD.encode(secret);
    for (text, expected) in [
        (secret.to_owned(), "Secret a/b is not JSON"),
        (format!("{{\"auths\": {{\"r.example\": {{\"auth\": \"{packed}\""), "Secret a/b is not JSON"),
        (json!([secret]).to_string(), "Secret a/b is not a Docker configuration"),
        (json!({ "auths": secret }).to_string(), "Secret a/b is not a Docker configuration"),
        (json!({ "auths": { "r.example": secret } }).to_string(), "Secret a/b is not a Docker configuration"),
        (json!({ "r.example": { "password": secret } }).to_string(), "Secret a/b has none of `auths`"),
        (bad_auth(secret), "the `auth` of entry `r.example` in Secret a/b"),
        (bad_auth(&packed), "the `auth` of entry `r.example` in Secret a/b"),
        (
            json!({ "auths": { format!("user:{secret}@"): {} } }).to_string(),
            "Secret a/b has an entry whose key",
        ),
        (
            json!({ "credHelpers": { "r.example": format!("x/{secret}") } }).to_string(),
            "entry `r.example` in `credHelpers` of Secret a/b",
        ),
        (
            json!({ "credHelpers": { "r.example": { "password": secret } } }).to_string(),
            "Secret a/b is not a Docker",
        ),
        (json!({ "credsStore": format!("{secret} -x") }).to_string(), "the `credsStore` of Secret a/b"),
    ] {
        let error = Credentials::from_docker_config_json(text.as_bytes(), "Secret a/b").expect_err(&text);
        let error = garden_build_core::Error::from(error);
        let shown = format!("{error} {error:?} {:?}", error.hint());
        assert!(shown.contains(expected), "{text}: {shown}");
        assert!(!shown.contains(secret) && !shown.contains(&packed), "{shown}");
    }
}
