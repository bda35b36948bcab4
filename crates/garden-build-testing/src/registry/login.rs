//! Who may do what: passwords, and tokens from the registry's own token server.
//!
//! Source: distribution project, "Token Authentication Specification", "Docker Registry v2 authentication using `OAuth2`".

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use garden_build_core::Digest;
use serde_json::json;
use tokio::time::Instant;

use super::answer::{Response, response};
use super::request::{Request, fields};
use super::route::{Resource, Route};

/// Who is let in.
#[derive(Debug)]
pub(crate) struct Logins {
    /// Passwords, by user name. If there are none, everybody may do everything.
    pub(crate) passwords: BTreeMap<String, String>,
    /// Whether passwords are shown to a token server, whose tokens are shown to the registry.
    pub(crate) has_tokens: bool,
    /// Whether everybody may read.
    pub(crate) is_public: bool,
    /// How long a token lasts.
    pub(crate) lifetime: Duration,
    tokens: BTreeMap<String, Token>,
}

#[derive(Debug)]
struct Token {
    /// What it allows, such as `repository:team/api:pull`.
    granted: Vec<String>,
    until: Instant,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            passwords: BTreeMap::new(),
            has_tokens: false,
            is_public: false,
            lifetime: Duration::from_secs(300),
            tokens: BTreeMap::new(),
        }
    }
}

/// What a request needs.
struct Needed {
    /// As scopes write it, such as `repository:team/api`; empty if a login is enough.
    of: String,
    actions: &'static [&'static str],
    /// The repository from which a blob is to be mounted, which has to be readable. Source: `distribution/registry/handlers/app.go`, `appendAccessRecords`.
    mounted: Option<String>,
}

impl Needed {
    fn by(route: &Route, request: &Request) -> Self {
        let is_read = matches!(request.method.as_str(), "GET" | "HEAD");
        match route {
            Route::Base | Route::Token => Self { of: String::new(), actions: &[], mounted: None },
            Route::Catalog => Self { of: "registry:catalog".to_owned(), actions: &["*"], mounted: None },
            Route::In(name, resource) => {
                let actions: &[&str] = match resource {
                    Resource::Upload(_) | Resource::Uploads => &["pull", "push"],
                    _ if is_read => &["pull"],
                    _ if request.method == "DELETE" => &["delete"],
                    _ => &["pull", "push"],
                };
                let is_mount = matches!(resource, Resource::Uploads) && request.parameter("mount").is_some();
                let mounted =
                    request.parameter("from").filter(|_| is_mount).map(|from| format!("repository:{from}"));
                Self { of: format!("repository:{name}"), actions, mounted }
            }
        }
    }

    fn is_public(&self) -> bool {
        self.actions == ["pull"]
    }

    fn scope(&self) -> String {
        let scope = format!("{}:{}", self.of, self.actions.join(","));
        match &self.mounted {
            Some(mounted) => format!("{scope} {mounted}:pull"),
            None => scope,
        }
    }
}

impl Logins {
    /// Returns the refusal of a request that must not be carried out. `url` is the registry's own.
    pub(crate) fn refusal(&self, route: &Route, request: &Request, url: &str) -> Option<Response> {
        if self.passwords.is_empty() || *route == Route::Token {
            return None;
        }
        let needed = Needed::by(route, request);
        if self.is_public && needed.is_public() && request.authorization().is_none() && !self.has_tokens {
            return None;
        }
        if !self.has_tokens {
            let is_known = request.authorization().is_some_and(|given| self.user(given).is_some());
            return (!is_known).then(|| refused("Basic realm=\"garden-build-testing\"", request));
        }
        let token = request.authorization().and_then(|given| given.strip_prefix("Bearer "));
        let token = token.and_then(|token| self.tokens.get(token)).filter(|it| it.until > Instant::now());
        let allows = |of: &str, action: &str| {
            token.is_some_and(|token| token.granted.contains(&format!("{of}:{action}")))
        };
        let can_mount = needed.mounted.as_ref().is_none_or(|from| allows(from, "pull"));
        if token.is_some() && can_mount && needed.actions.iter().all(|action| allows(&needed.of, action)) {
            return None;
        }
        let mut challenge = format!("Bearer realm=\"{url}/token\",service=\"garden-build-testing\"");
        if !needed.of.is_empty() {
            challenge += ",scope=\"";
            challenge += &needed.scope();
            challenge += "\"";
        }
        if token.is_some() {
            challenge += ",error=\"insufficient_scope\"";
        }
        Some(refused(&challenge, request))
    }

    /// Answers as a token server does.
    pub(crate) fn token(&mut self, request: &Request) -> Response {
        let is_post = request.method == "POST";
        let text = if is_post { &request.body[..] } else { request.query.as_bytes() };
        let fields: Vec<(String, String)> = fields(text).collect();
        let field =
            |name: &str| fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let user = if is_post {
            let is_right = self.is_right(field("username"), field("password"));
            (field("grant_type") == "password" && is_right).then(|| field("username").to_owned())
        } else {
            match request.authorization() {
                Some(given) => self.user(given),
                None if self.is_public => Some(String::new()),
                None => None,
            }
        };
        let Some(user) = user else {
            return response(401, r#"{"details":"incorrect username or password"}"#);
        };
        let scopes = fields.iter().filter(|(key, _)| key == "scope").flat_map(|(_, all)| all.split(' '));
        let granted = scopes.flat_map(|scope| grant(scope, !user.is_empty())).collect();
        let token = Digest::of(format!("token {}", self.tokens.len()).as_bytes()).hex();
        let until = Instant::now() + self.lifetime;
        self.tokens.insert(token.clone(), Token { granted, until });
        let answer = json!({ "token": token, "access_token": token, "expires_in": self.lifetime.as_secs() });
        response(200, answer.to_string())
    }

    pub(crate) fn revoke_tokens(&mut self) {
        // The names of later ones must not be those of earlier ones.
        for token in self.tokens.values_mut() {
            token.until = Instant::now();
        }
    }

    /// Returns who has sent this header `Authorization`, if the password is right.
    fn user(&self, given: &str) -> Option<String> {
        let decoded = BASE64_STANDARD.decode(given.strip_prefix("Basic ")?).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        self.is_right(user, password).then(|| user.to_owned())
    }

    fn is_right(&self, user: &str, password: &str) -> bool {
        self.passwords.get(user).is_some_and(|expected| expected == password)
    }
}

/// Returns what of a scope, such as `repository:team/api:pull,push`, is granted: to everybody only pulling.
fn grant(scope: &str, is_known: bool) -> Vec<String> {
    let Some((of, actions)) = scope.rsplit_once(':') else { return Vec::new() };
    let actions = actions.split(',').filter(|action| is_known || *action == "pull");
    actions.map(|action| format!("{of}:{action}")).collect()
}

fn refused(challenge: &str, request: &Request) -> Response {
    let body = json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "authentication required" }] });
    let body = if request.method == "HEAD" { String::new() } else { body.to_string() };
    let mut refusal = response(401, body);
    if let Ok(value) = challenge.parse() {
        refusal.headers_mut().insert(http::header::WWW_AUTHENTICATE, value);
    }
    refusal
}
