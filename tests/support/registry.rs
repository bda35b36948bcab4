//! A registry with TLS and tokens, on threads of its own, that counts what it is asked.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use garden_build::Digest;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate authority, and servers of this machine that it vouches for.
pub(crate) struct Authority {
    pub(crate) pem: String,
    acceptor: TlsAcceptor,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(parameters, key);
        let server_key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let server = server.signed_by(&server_key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![server.der().clone()], key)
            .unwrap();
        Self { pem, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

/// What a registry has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    open: usize,
    pub(crate) most_at_once: usize,
    /// The scope of each token that was asked for.
    pub(crate) tokens: Vec<String>,
    /// Method and path of each request.
    pub(crate) requests: Vec<String>,
}

impl Seen {
    /// How often manifests were read: a HEAD is not counted by Docker Hub.
    pub(crate) fn pulls(&self) -> usize {
        let is_pull = |request: &&String| request.starts_with("GET ") && request.contains("/manifests/");
        self.requests.iter().filter(is_pull).count()
    }
}

#[derive(Default)]
struct State {
    seen: Seen,
    /// By path below `/v2/`.
    content: BTreeMap<String, Vec<u8>>,
    /// What there is below a path once something of that was asked for in vain.
    later: Option<(String, Vec<u8>)>,
}

pub(crate) struct Registry {
    pub(crate) name: String,
    state: Arc<Mutex<State>>,
    running: Option<tokio::runtime::Runtime>,
}

impl Registry {
    pub(crate) fn start(authority: &Authority) -> Self {
        let running = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let running = running.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let (state, acceptor) = (Arc::<Mutex<State>>::default(), authority.acceptor.clone());
        let (serving, host) = (Arc::clone(&state), name.clone());
        running.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state, host) = (acceptor.clone(), Arc::clone(&serving), host.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, &acceptor, &state, &host).await;
                });
            }
        });
        Self { name, state, running: Some(running) }
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        lock(&self.state).content.insert(path.to_owned(), bytes.to_vec());
    }

    /// Has `bytes` below `path` once something there was looked for in vain, as if somebody had pushed it then.
    pub(crate) fn has_after_asked(&self, path: &str, bytes: &[u8]) {
        lock(&self.state).later = Some((path.to_owned(), bytes.to_vec()));
    }

    pub(crate) fn seen(&self) -> Seen {
        lock(&self.state).seen.clone()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A test's own runtime must not wait for another one.
        if let Some(running) = self.running.take() {
            running.shutdown_background();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap()
}

async fn serve(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    state: &Mutex<State>,
    host: &str,
) -> io::Result<()> {
    {
        let seen = &mut lock(state).seen;
        seen.connections += 1;
        seen.open += 1;
        seen.most_at_once = seen.most_at_once.max(seen.open);
    }
    let served = async { converse(acceptor.accept(stream).await?, state, host).await }.await;
    lock(state).seen.open -= 1;
    served
}

async fn converse(stream: TlsStream<TcpStream>, state: &Mutex<State>, host: &str) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut request, mut is_known) = (String::new(), false);
        if stream.read_line(&mut request).await? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            is_known |= line.to_ascii_lowercase().starts_with("authorization: bearer ");
            if line.trim().is_empty() {
                break;
            }
        }
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let answer = answer(method, path, is_known, &mut lock(state), host);
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
}

fn answer(method: &str, path: &str, is_known: bool, state: &mut State, host: &str) -> Vec<u8> {
    state.seen.requests.push(format!("{method} {path}"));
    if let Some(query) = path.strip_prefix("/token?") {
        let scope = query.split('&').find_map(|part| part.strip_prefix("scope=")).unwrap_or_default();
        state.seen.tokens.push(scope.to_owned());
        return response("200 OK", "", method, br#"{"token":"t","expires_in":300}"#);
    }
    let path = path.trim_start_matches("/v2/");
    if !is_known {
        let repository = path.rsplitn(3, '/').nth(2).unwrap_or_default();
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"https://{host}/token\",service=\"r\",scope=\"repository:{repository}:pull\"\r\n"
        );
        return response("401 Unauthorized", &challenge, method, b"");
    }
    let later = state.later.clone().filter(|(below, _)| path.starts_with(below.as_str()));
    let found = state.content.get(path).cloned();
    match (found, later) {
        (Some(bytes), _) => {
            let kind = if bytes.windows(9).any(|word| word == b"manifests") { "index" } else { "manifest" };
            let headers = format!(
                "Docker-Content-Digest: {}\r\nContent-Type: application/vnd.oci.image.{kind}.v1+json\r\n",
                Digest::of(&bytes)
            );
            response("200 OK", &headers, method, &bytes)
        }
        (None, later) => {
            if let Some((_, bytes)) = later {
                state.content.insert(path.to_owned(), bytes);
            }
            response("404 Not Found", "", method, b"")
        }
    }
}

fn response(status: &str, headers: &str, method: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    let body = if method == "HEAD" { &[] } else { body };
    [head.as_bytes(), body].concat()
}
