//! Credential helpers: how they are run, and what a registry makes of their answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use garden_build_core::ErrorKind;
use garden_build_testing::Authority;
use garden_registry::{AllowedHelpers, Credentials, HelperProblem, RegistryError, Remedies, Resolution};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::helper_programs::HelperPrograms;
use crate::support::{FakeServer, ORIGIN, Seen, body, challenge, digest, found, status, with};

/// The credentials of a secret that names `helper` for `server`.
fn credentials(programs: &HelperPrograms, server: &str, helper: &str) -> Credentials {
    read(programs, &json!({ "credHelpers": { server: helper } }))
}

fn read(programs: &HelperPrograms, config: &Value) -> Credentials {
    let read = Credentials::from_docker_config_json(config.to_string().as_bytes(), ORIGIN).expect("valid");
    read.allow_helpers(&AllowedHelpers::for_all()).with_helpers(programs.helpers())
}

fn is_basic(seen: &Seen, password: &str) -> bool {
    seen.authorization() == Some(&format!("Basic {}", BASE64_STANDARD.encode(format!("user:{password}"))))
}

/// A helper whose secret is another each time: `v1`, `v2`, …
fn renewing() -> HelperPrograms {
    let programs = HelperPrograms::new();
    programs.add("new", r#"printf '{"Username":"user","Secret":"v%d"}' $(wc -l < "$0.asked")"#);
    programs
}

async fn problem(programs: &HelperPrograms, helper: &str) -> HelperProblem {
    let found = credentials(programs, "r.example", helper).login("r.example", "a").await;
    assert!(found.login.is_none());
    found.unanswered.into_iter().next().expect("it was not answered").1
}

#[tokio::test]
async fn what_a_helper_knows_lets_us_in_and_it_is_asked_once() {
    let programs = HelperPrograms::new();
    programs.add_login("login", "user", "v1");
    let server =
        FakeServer::start(|seen| if is_basic(seen, "v1") { found() } else { challenge("Basic realm=x") })
            .await;
    let name = server.name();
    let client = server.plain().credentials(credentials(&programs, &name, "login")).build().expect("valid");
    for _ in 0..2 {
        assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Exists(digest()));
    }
    assert_eq!(programs.asked("login"), [name]);
    assert_eq!(server.seen().len(), 3, "known the second time");
}

#[tokio::test]
async fn a_password_that_has_ended_is_asked_for_again() {
    let programs = renewing();
    let accepted = AtomicUsize::new(0);
    let server = FakeServer::start(move |seen| {
        // The first password is good for one question.
        let current = if accepted.load(Ordering::Relaxed) == 0 { "v1" } else { "v2" };
        if is_basic(seen, current) {
            accepted.fetch_add(1, Ordering::Relaxed);
            return found();
        }
        challenge("Basic realm=x")
    })
    .await;
    let client = server.plain().credentials(credentials(&programs, &server.name(), "new"));
    let client = client.build().expect("valid");
    for asked in [1, 2, 2] {
        assert_eq!(client.resolve(&server.image()).await.expect("an answer"), Resolution::Exists(digest()));
        assert_eq!(programs.asked("new").len(), asked);
    }
}

#[tokio::test]
async fn a_token_server_that_refuses_has_the_helper_asked_again() {
    let programs = renewing();
    let realm = FakeServer::start(|seen| {
        if is_basic(seen, "v2") {
            body(200, r#"{"token":"t1"}"#)
        } else {
            body(401, r#"{"details":"it has ended"}"#)
        }
    })
    .await;
    let text = format!(r#"Bearer realm="http://{}/token""#, realm.name());
    let server = FakeServer::start(move |seen| match seen.authorization() {
        Some("Bearer t1") => found(),
        _ => challenge(&text),
    })
    .await;
    let client = server.plain().credentials(credentials(&programs, &server.name(), "new"));
    let resolution = client.build().expect("valid").resolve(&server.image()).await;
    assert_eq!(resolution.expect("an answer"), Resolution::Exists(digest()));
    assert_eq!(programs.asked("new").len(), 2);
}

#[tokio::test]
async fn an_identity_token_of_a_helper_is_exchanged() {
    let programs = HelperPrograms::new();
    programs.add_login("identity", "<token>", "refresh");
    let realm = FakeServer::start(|seen| {
        if seen.text().contains("refresh_token=refresh") {
            body(200, r#"{"access_token":"t1"}"#)
        } else {
            body(401, "{}")
        }
    })
    .await;
    let text = format!(r#"Bearer realm="http://{}/token""#, realm.name());
    let server = FakeServer::start(move |seen| match seen.authorization() {
        Some("Bearer t1") => found(),
        _ => challenge(&text),
    })
    .await;
    let client = server.plain().credentials(read(&programs, &json!({ "credsStore": "identity" })));
    let resolution = client.build().expect("valid").resolve(&server.image()).await;
    assert_eq!(resolution.expect("an answer"), Resolution::Exists(digest()));
}

#[tokio::test]
async fn a_helper_s_login_that_is_wrong_is_not_tried_again_and_named() {
    let programs = HelperPrograms::new();
    programs.add_login("login", "user", "wrong-s3cret");
    let server = FakeServer::start(|_| challenge("Basic realm=x")).await;
    let client = server.plain().credentials(credentials(&programs, &server.name(), "login"));
    let client = client.build().expect("valid");
    let error = client.resolve(&server.image()).await.expect_err("401");
    assert!(matches!(error, RegistryError::Unauthorized(_)), "{error}");
    assert_eq!(server.seen().len(), 2);
    let error = error.explain(&Remedies::OF_PROGRAM);
    let shown = format!("{error} {error:?} {client:?}");
    assert!(shown.contains("the credential helper `login` that secret default/regcred names"), "{shown}");
    assert!(!shown.contains("s3cret-") && !shown.contains("wrong"), "{shown}");
}

#[tokio::test]
async fn without_the_helper_one_is_nobody_and_the_error_says_why() {
    let programs = HelperPrograms::new();
    programs.add("nothing", "echo credentials not found in native keychain; exit 1");
    programs.add("broken", "echo 'the vault is locked' >&2; exit 3");
    for (helper, why, remedy) in [
        ("absent", "which is not installed here", "install `docker-credential-absent` here"),
        ("nothing", "which has no login for it", "log in where"),
        ("broken", "which failed: the vault is locked", "mend what"),
    ] {
        let server = FakeServer::start(|_| challenge("Basic realm=x")).await;
        let client = server.plain().credentials(credentials(&programs, &server.name(), helper));
        let error = client.build().expect("valid").resolve(&server.image()).await.expect_err("401");
        let error = error.explain(&Remedies::OF_PROGRAM);
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.message().contains(why), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains(remedy)), "{error} {:?}", error.hint());
    }
}

#[tokio::test]
async fn a_helper_may_be_talkative_deaf_or_silent() {
    let programs = HelperPrograms::new();
    let answer = r#"echo '{"Username":"user","Secret":"v1"}'"#;
    programs.add("talkative", &format!("head -c 1000000 /dev/zero | tr '\\0' x >&2; {answer}"));
    programs.add("deaf", &format!("exec <&-; {answer}"));
    programs.add("endless", "head -c 10000000 /dev/zero | tr '\\0' x");
    programs.add("silent", "exit 0");
    programs.add("killed", "kill -9 $$");
    for helper in ["talkative", "deaf"] {
        let found = credentials(&programs, "r.example", helper).login("r.example", "a").await;
        assert!(found.login.is_some(), "{helper}: {}", found.identity);
    }
    for helper in ["endless", "silent", "killed"] {
        let problem = problem(&programs, helper).await;
        assert!(matches!(&problem, HelperProblem::Failed { reason } if reason.len() < 100), "{problem}");
    }
    // Not a program at all.
    std::fs::write(programs.file("docker-credential-plain"), "text").expect("written");
    assert_eq!(problem(&programs, "plain").await, HelperProblem::NotInstalled);
}

#[tokio::test(start_paused = true)]
async fn a_helper_that_does_not_end_is_given_up() {
    let programs = HelperPrograms::new();
    programs.add("slow", "exec sleep 600");
    let shown = problem(&programs, "slow").await.to_string();
    assert!(shown.contains("did not answer within 20 s"), "{shown}");
}

#[tokio::test]
async fn a_helper_is_killed_with_the_question() {
    let programs = HelperPrograms::new();
    programs.add("slow", "echo $$ > \"$0.pid\"; exec sleep 600");
    let credentials = credentials(&programs, "r.example", "slow");
    let asking = tokio::spawn(async move { credentials.login("r.example", "a").await });
    let file = programs.file("docker-credential-slow.pid");
    let pid = wait_for(|| std::fs::read_to_string(&file).ok().filter(|pid| pid.ends_with('\n'))).await;
    asking.abort();
    // What has ended, but was not waited for, is a zombie.
    let stat = format!("/proc/{}/stat", pid.trim());
    wait_for(|| match std::fs::read_to_string(&stat) {
        Ok(stat) if !stat.contains(") Z ") => None,
        _ => Some(()),
    })
    .await;
}

async fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "in vain");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn many_questions_at_once_run_one_helper() {
    let programs = renewing();
    let credentials = credentials(&programs, "r.example", "new");
    let asking = (0..8).map(|_| credentials.login("r.example", "a"));
    let found = futures::future::join_all(asking).await;
    assert!(found.iter().all(|found| found.login.is_some()));
    assert_eq!(programs.asked("new").len(), 1);
}

#[tokio::test]
async fn a_builder_is_given_the_answers_and_what_only_it_may_have() {
    let programs = HelperPrograms::new();
    programs.add_login("login", "user", "v1");
    programs.add("broken", "echo 'the vault is locked'; exit 1");
    let credentials = read(
        &programs,
        &json!({
            "auths": { "plain.example": { "auth": BASE64_STANDARD.encode("a:b") } },
            "credHelpers": {
                "here.example": "login",
                "*.wild.example": "login",
                "there.example": "ecr-login",
                "broken.example": "broken",
            },
            "credsStore": "desktop",
        }),
    );
    let names = [
        "here.example/team/api",
        "r.wild.example/base",
        "there.example/api",
        "broken.example/api",
        "plain.example",
        "other.example",
    ];
    let (config, warnings) = credentials.to_docker_config_json(&names, &["ecr-login"]).await;
    let config: Value = serde_json::from_str(config.expose_secret()).expect("JSON");
    let auth = |text: &str| json!({ "auth": BASE64_STANDARD.encode(text) });
    assert_eq!(
        config,
        json!({
            "auths": {
                "here.example": auth("user:v1"),
                "plain.example": auth("a:b"),
                "r.wild.example": auth("user:v1"),
            },
            "credHelpers": {
                "broken.example": "broken",
                "there.example": "ecr-login",
            },
        })
    );
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("`broken`") && warnings[0].contains("the vault is locked"), "{warnings:?}");
    assert!(warnings[1].contains("`credsStore: desktop` of secret default/regcred"), "{warnings:?}");

    // A store that the builder has stands in for all hosts that have no entry of their own.
    let credentials = read(&programs, &json!({ "credsStore": "ecr-login" }));
    let (config, warnings) = credentials.to_docker_config_json(&["other.example/api"], &["ecr-login"]).await;
    let config: Value = serde_json::from_str(config.expose_secret()).expect("JSON");
    assert_eq!(config, json!({ "auths": {}, "credHelpers": { "other.example": "ecr-login" } }));
    assert_eq!(warnings, []);
}

#[tokio::test]
async fn a_token_for_a_builder_is_fetched_as_who_may_push_and_with_a_login_that_has_not_ended() {
    let programs = renewing();
    let realm = FakeServer::start(|seen| {
        if is_basic(seen, "v2") { body(200, r#"{"token":"t1","expires_in":300}"#) } else { body(401, "{}") }
    })
    .await;
    let bearer = format!(r#"Bearer realm="http://{}/token",service="s""#, realm.name());
    let server = FakeServer::start(move |_| challenge(&bearer)).await;
    let key = |repository: &str| format!("{}/{repository}", server.name());
    let config = json!({
        "auths": { key("team/base"): { "username": "reader", "password": "r" } },
        "credHelpers": { key("team/api"): "new" },
    });
    let client = server.plain().credentials(read(&programs, &config)).build().expect("valid");
    let scopes = ["repository:team/base:pull", "repository:team/api:pull,push"].map(str::to_owned);
    let token = client.access_token(&scopes).await.expect("a token");
    assert_eq!(token.token.expose_secret(), "t1");
    assert!(token.lifetime > Duration::from_secs(60) && token.lifetime <= Duration::from_secs(300));
    assert_eq!(programs.asked("new"), [key("team/api"), key("team/api")]);
    assert!(realm.seen().iter().all(|seen| seen.query.contains("service=s")));
    let asked: Vec<_> =
        server.seen().into_iter().map(|seen| (seen.path.clone(), seen.authorization().is_some())).collect();
    assert_eq!(asked, [("/v2/".to_owned(), false)], "it is asked for its token server, by nobody");

    let error = client.access_token(&scopes[..1]).await.expect_err("the reader is refused");
    assert!(matches!(&error, RegistryError::Unauthorized(_)), "{error}");
    assert!(error.to_string().contains("repository `team/base`"), "{error}");
}

#[tokio::test]
async fn only_the_registry_itself_says_where_its_token_server_is() {
    let realm = FakeServer::start(|_| body(200, r#"{"token":"t1"}"#)).await;
    let bearer = format!(r#"Bearer realm="http://{}/token""#, realm.name());
    let scopes = ["repository:team/api:pull".to_owned()];
    let fetch = async |server: &FakeServer| {
        let programs = HelperPrograms::new();
        let login = json!({ "auths": { server.name(): { "username": "user", "password": "s3cret" } } });
        let client = server.plain().credentials(read(&programs, &login)).build().expect("valid");
        client.access_token(&scopes).await
    };
    // Some answer everybody who asks whether they are there.
    let text = bearer.clone();
    let open = move |seen: &Seen| if seen.path == "/v2/" { body(200, "{}") } else { challenge(&text) };
    let server = FakeServer::start(open).await;
    assert!(fetch(&server).await.is_ok());
    assert_eq!(realm.seen().len(), 1);
    // Where it redirects to, somebody else speaks.
    let elsewhere = FakeServer::start(move |_| challenge(&bearer)).await;
    let location = format!("http://{}/", elsewhere.name());
    let redirecting = FakeServer::start(move |_| with(status(307), "location", &location)).await;
    let without = FakeServer::start(|_| challenge("Basic realm=x")).await;
    for server in [redirecting, without] {
        let error = fetch(&server).await.expect_err("no token server");
        assert!(error.to_string().contains("names no token server"), "{error}");
    }
    assert_eq!(realm.seen().len(), 1);

    // A registry with TLS has a token server with TLS.
    let authority = Authority::new();
    let text = format!(r#"Bearer realm="http://{}/token""#, realm.name());
    let server = FakeServer::start_tls(&authority, move |_| challenge(&text)).await;
    let client = server.client().ca_certificates(authority.pem()).build().expect("valid");
    let error = client.access_token(&scopes).await.expect_err("no TLS");
    assert!(error.to_string().contains("without TLS"), "{error}");
    assert_eq!(realm.seen().len(), 1);
}

#[tokio::test]
async fn a_configuration_that_is_not_the_user_s_own_has_no_helper_run() {
    let programs = HelperPrograms::new();
    programs.add_login("login", "user", "s3cret");
    for config in [json!({ "credsStore": "login" }), json!({ "credHelpers": { "r.example": "login" } })] {
        let read =
            Credentials::from_docker_config_json(config.to_string().as_bytes(), ORIGIN).expect("valid");
        let read = read.with_helpers(programs.helpers());
        let found = read.login("r.example", "a").await;
        assert!(found.login.is_none() && found.unanswered.len() == 1, "{}", found.identity);
        let (rendered, _) = read.to_docker_config_json(&["r.example/a", "evil.example/b"], &[]).await;
        assert!(!rendered.expose_secret().contains("dXNlcj"), "{}", rendered.expose_secret());
    }
    assert_eq!(programs.asked("login"), Vec::<String>::new());
}

#[tokio::test]
async fn an_allowed_helper_is_run_for_the_registries_that_were_named() {
    let programs = HelperPrograms::new();
    programs.add_login("login", "user", "s3cret");
    let config = json!({ "credsStore": "login" });
    let allowed =
        AllowedHelpers::for_registries(["r.example", "*.cloud.example"], "the options").expect("hosts");
    let read = read(&programs, &config).allow_helpers(&allowed);
    for (registry, is_allowed) in
        [("r.example", true), ("a.cloud.example", true), ("r.example:5000", false), ("evil.example", false)]
    {
        let found = read.login(registry, "a").await;
        assert_eq!(found.login.is_some(), is_allowed, "{registry}: {}", found.identity);
        let refused = found.unanswered.iter().any(|(_, problem)| *problem == HelperProblem::NotAllowed);
        assert_eq!(refused, !is_allowed, "{registry}");
    }
    assert_eq!(programs.asked("login"), ["r.example", "a.cloud.example"]);

    // What a builder is given: one warning, and nothing but what is allowed.
    let names = ["r.example/a", "evil.example/a", "evil.example/b", "other.example/c"];
    let (rendered, warnings) = read.to_docker_config_json(&names, &[]).await;
    let rendered: Value = serde_json::from_str(rendered.expose_secret()).expect("JSON");
    assert_eq!(rendered["auths"].as_object().expect("entries").keys().collect::<Vec<_>>(), ["r.example"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].to_string().contains("`login` of secret default/regcred is not run on this machine"),
        "{warnings:?}"
    );
    AllowedHelpers::for_registries(["/x"], "the options").expect_err("no host");

    // The user's own helpers go on being run for all, whatever a Secret is allowed that they are merged with.
    let mut merged = Credentials::new().with_helpers(programs.helpers());
    merged.merge(Credentials::from_docker_config_json(br#"{"credsStore":"other"}"#, ORIGIN).expect("valid"));
    merged.merge(self::read(&programs, &config));
    assert!(merged.login("any.example", "a").await.login.is_some());
}
