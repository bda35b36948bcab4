//! A token server that registries trust: it signs who may do what in which repository.
//!
//! Source: distribution project, "Token Authentication Specification", "Docker Registry v2 authentication using
//! `OAuth2`" and "Token Authentication Implementation".

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::support::{Answer, FakeServer, PASSWORD, Seen, body};

/// What `user` is given for its password, to get tokens with.
pub(crate) const REFRESH_TOKEN: &str = "s3cret-refresh-token";

/// Everybody may pull from repositories that begin so.
const PUBLIC: &str = "public/";

/// Nobody may push to repositories that begin so.
const READ_ONLY: &str = "read-only/";

/// Nobody may do anything in repositories that begin so.
const CLOSED: &str = "closed/";

pub(crate) struct TokenServer {
    /// What registries check signatures with, in PEM form.
    pub(crate) certificate: String,
    server: FakeServer,
    lifetime: Arc<AtomicU64>,
}

struct Signer {
    certificate: String,
    key: EncodingKey,
    /// How long tokens last, in seconds.
    lifetime: Arc<AtomicU64>,
}

impl TokenServer {
    pub(crate) const ISSUER: &'static str = "token-server";
    pub(crate) const SERVICE: &'static str = "registry.example";

    pub(crate) async fn start() -> Self {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec![Self::ISSUER.to_owned()]).expect("a name");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let lifetime = Arc::new(AtomicU64::new(300));
        let signer = Signer {
            certificate: BASE64_STANDARD.encode(certificate.der()),
            key: EncodingKey::from_ec_der(&key.serialize_der()),
            lifetime: Arc::clone(&lifetime),
        };
        let server = FakeServer::start(move |seen| signer.answer(seen)).await;
        Self { certificate: certificate.pem(), server, lifetime }
    }

    pub(crate) fn realm(&self) -> String {
        format!("http://{}/token", self.server.name())
    }

    /// Has tokens last for so long from now on, in seconds.
    pub(crate) fn set_lifetime(&self, lifetime: Duration) {
        self.lifetime.store(lifetime.as_secs(), Ordering::Relaxed);
    }

    /// What it was asked.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.server.seen()
    }
}

impl Signer {
    fn answer(&self, seen: &Seen) -> Answer {
        let is_post = seen.method == "POST";
        let text = if is_post { &seen.body[..] } else { seen.query.as_bytes() };
        let fields: Vec<(String, String)> = form_urlencoded::parse(text).into_owned().collect();
        let field =
            |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let password = format!("Basic {}", BASE64_STANDARD.encode(format!("user:{PASSWORD}")));
        let user = match (is_post, seen.authorization()) {
            (true, _) if field("refresh_token") == Some(REFRESH_TOKEN) => "user",
            (false, Some(given)) if given == password => "user",
            (false, None) => "",
            _ => return body(401, r#"{"details":"incorrect username or password"}"#),
        };
        if field("service") != Some(TokenServer::SERVICE) {
            return body(400, r#"{"details":"no such service"}"#);
        }
        let scopes = fields.iter().filter(|(name, _)| name == "scope");
        let access: Vec<Value> =
            scopes.flat_map(|(_, scopes)| scopes.split(' ')).filter_map(|scope| grant(scope, user)).collect();
        let lifetime = self.lifetime.load(Ordering::Relaxed);
        let token = self.sign(user, &access, lifetime);
        body(200, json!({ "token": token, "access_token": token, "expires_in": lifetime }).to_string())
    }

    fn sign(&self, user: &str, access: &[Value], lifetime: u64) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.x5c = Some(vec![self.certificate.clone()]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let claims = json!({
            "iss": TokenServer::ISSUER, "sub": user, "aud": TokenServer::SERVICE,
            "iat": now, "nbf": now - 1, "exp": now + lifetime, "jti": "test", "access": access,
        });
        encode(&header, &claims, &self.key).expect("signed")
    }
}

/// Returns what of `scope`, such as `repository:team/api:pull,push`, is granted to `user`; nobody is called "".
fn grant(scope: &str, user: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let is_granted = |action: &&str| match kind {
        _ if name.starts_with(CLOSED) => false,
        "repository" if user.is_empty() => name.starts_with(PUBLIC) && *action == "pull",
        "repository" => !name.starts_with(READ_ONLY) || *action == "pull",
        _ => !user.is_empty(),
    };
    let actions: Vec<&str> = actions.split(',').filter(is_granted).collect();
    (!actions.is_empty()).then(|| json!({ "type": kind, "name": name, "actions": actions }))
}
