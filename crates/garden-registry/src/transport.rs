//! Sends one request: with redirects, retries and a deadline, but without knowing what it is about.
//!
//! Why: docs/decisions/70-a-question-is-not-a-transfer.md

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder as _, ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use garden_network::{Proxies, ProxyConnector, ProxyError};
use http::header::{AUTHORIZATION, DATE, PROXY_AUTHORIZATION, RETRY_AFTER, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout_at;

use crate::answer::{Answer, Deadline};
use crate::cause::chain;
use crate::connect::{Connector, Dial};
use crate::endpoint::Endpoint;
use crate::error::{BoxError, RegistryError};
use crate::origin::Origin;
use crate::server::Server;
use crate::tls::Trust;

/// How many redirects are followed. Registries need one, to the storage behind them.
const REDIRECTS: usize = 5;

/// How long a connection is kept for the next question. What a dialer forwards costs a server something.
const IDLE: Duration = Duration::from_secs(20);

/// Nobody waits for longer. A server's wish that clocks cannot hold is as good.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How much is put up with before an operation fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    /// Somebody waits for the answer: the whole operation has one deadline, and is tried again at once or not.
    Question,
    /// Part of something that takes minutes, and that would be a pity to lose: each attempt has a deadline of its own.
    Transfer,
}

/// What is to be sent. All that is sent in this way may be repeated.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// Sent to the origin of `uri` only.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

/// A body whose bytes come from somewhere else, and so can be sent once.
pub(crate) type StreamedBody = UnsyncBoxBody<Bytes, BoxError>;

/// An attempt that may be repeated, and one that may not.
enum Trouble {
    Busy { server: Server, status: StatusCode, retry_after: Option<Duration> },
    Broken(RegistryError),
    Final(RegistryError),
}

/// The connections of a registry client.
#[derive(Debug)]
pub(crate) struct Transport {
    plain: Client<ProxyConnector<Connector>, StreamedBody>,
    /// Made when it is first needed: reading the system's authorities takes longer than a question to a
    /// registry that has no TLS.
    encrypted: OnceLock<Client<HttpsConnector<ProxyConnector<Connector>>, StreamedBody>>,
    trust: Trust,
    connector: ProxyConnector<Connector>,
    dialer: Arc<dyn Dial>,
}

/// What a caller asked for: some requests that have one purpose.
pub(crate) struct Operation<'a> {
    pub(crate) endpoint: &'a Endpoint,
    transport: &'a Transport,
    patience: Patience,
    deadline: Deadline,
}

impl Transport {
    pub(crate) fn new(
        dialer: Arc<dyn Dial>,
        proxies: Proxies,
        authorities: &[u8],
    ) -> Result<Self, RegistryError> {
        let trust = Trust::new(authorities)?;
        let inner = Connector(Arc::clone(&dialer));
        let ways = Arc::clone(&dialer);
        let connector = ProxyConnector::new(inner, proxies)
            .except(move |host| !ways.leaves_by_network(host))
            .forwarding();
        Ok(Self { plain: client(connector.clone()), encrypted: OnceLock::new(), trust, connector, dialer })
    }

    /// Makes sure that the registry behind `endpoint` may lead to `target`.
    ///
    /// # Errors
    /// If this machine reaches what is there, and the registry has nothing to do with it.
    pub(crate) fn confine(&self, endpoint: &Endpoint, target: &Origin) -> Result<(), RegistryError> {
        if target.has_host_of(&endpoint.origin) {
            return Ok(());
        }
        let (from, to) = (self.dialer.place(endpoint.origin.host()), self.dialer.place(target.host()));
        if from.may_lead_to(&to) {
            return Ok(());
        }
        let server = Server::registry(&endpoint.name, Some(endpoint.origin.clone()));
        Err(RegistryError::Redirect { server, reason: format!("it leads to {target}, which is {to}") })
    }

    async fn request(&self, mut request: Request<StreamedBody>) -> Result<Response<Incoming>, ClientError> {
        // An answer is read to its end a moment before its connection is back in the pool, which another task sees to. Who does
        // not let that run first opens a second connection, with a second handshake.
        tokio::task::yield_now().await;
        if request.uri().scheme() == Some(&Scheme::HTTP) {
            if let Some(authorization) = self.connector.proxy_authorization(request.uri()) {
                request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
            }
            return self.plain.request(request).await;
        }
        let encrypted = self.encrypted.get_or_init(|| {
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(self.trust.configuration())
                .https_only()
                .enable_http1()
                .wrap_connector(self.connector.clone());
            client(connector)
        });
        encrypted.request(request).await
    }

    /// Begins an operation at the registry behind `endpoint`, of which each part that has a deadline has `timeout`.
    pub(crate) fn begin<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        patience: Patience,
        timeout: Duration,
    ) -> Operation<'a> {
        let deadline = Deadline::after(timeout);
        Operation { endpoint, transport: self, patience, deadline }
    }
}

impl Patience {
    fn delays(self) -> ExponentialBuilder {
        let delays = ExponentialBuilder::default().with_jitter();
        match self {
            // Twice within two seconds.
            Self::Question => {
                delays.with_min_delay(Duration::from_millis(200)).with_factor(3.0).with_max_times(2)
            }
            // Long enough for a registry that is restarted.
            Self::Transfer => delays
                .with_min_delay(Duration::from_millis(500))
                .with_max_delay(Duration::from_secs(10))
                .with_max_times(6),
        }
    }

    /// The longest `Retry-After` that is waited for. Asked to wait longer, we say so at once instead.
    fn longest_wait(self) -> Duration {
        match self {
            Self::Question => Duration::from_secs(1),
            Self::Transfer => Duration::from_secs(60),
        }
    }
}

impl Operation<'_> {
    /// Sends `call`, and follows redirects if it only reads: what it would write is for the registry.
    ///
    /// Once a redirect has led to another origin, the authorization is gone for good, even if the
    /// next one leads back: who redirects must not choose where our credentials are used.
    pub(crate) async fn send(&self, mut call: Call) -> Result<Answer, RegistryError> {
        let only_reads = matches!(call.method, Method::GET | Method::HEAD);
        for _ in 0..=REDIRECTS {
            let answer = self.send_with_retries(&call).await?;
            if !answer.is_redirect() || !only_reads {
                return Ok(answer);
            }
            let refused = |reason: &str| RegistryError::Redirect {
                server: answer.server.clone(),
                reason: reason.to_owned(),
            };
            let target = answer.location(&call.uri).map_err(refused)?;
            let origin = Origin::of(&target);
            if answer.origin.is_encrypted() && origin.as_ref().is_some_and(|origin| !origin.is_encrypted()) {
                return Err(refused("it leads from TLS to plain HTTP"));
            }
            if origin.as_ref() != Some(&answer.origin) {
                call.authorization = None;
            }
            call.uri = target;
        }
        let server = self.server(Origin::of(&call.uri).as_ref());
        Err(RegistryError::Redirect { server, reason: format!("it is the last of more than {REDIRECTS}") })
    }

    /// Sends `call` with a body that can be sent once: without retries, and without following redirects.
    ///
    /// Takes as long as the body lasts: who provides it has to end it when it stalls.
    pub(crate) async fn send_streamed(
        &self,
        call: &Call,
        body: StreamedBody,
    ) -> Result<Answer, RegistryError> {
        let origin = self.origin(&call.uri)?;
        let server = self.server(Some(&origin));
        match self.transport.request(call.request(body)).await {
            Ok(response) => Ok(answer(response, origin, server, Deadline::after(self.deadline.allowed))),
            Err(error) => match self.failure(&origin, server, error) {
                Trouble::Broken(error) | Trouble::Final(error) => Err(error),
                Trouble::Busy { server, status, retry_after } => {
                    Err(RegistryError::Busy { server, status, retry_after })
                }
            },
        }
    }

    /// Connection failures, 429 and the passing kinds of 5xx are tried again.
    async fn send_with_retries(&self, call: &Call) -> Result<Answer, RegistryError> {
        let longest_wait = self.patience.longest_wait();
        let attempts = (|| self.attempt(call))
            .retry(self.patience.delays().build())
            .when(|trouble| !matches!(trouble, Trouble::Final(_)))
            .adjust(|trouble, planned| match trouble {
                Trouble::Busy { retry_after: Some(asked), .. } => {
                    planned.filter(|_| *asked <= longest_wait).map(|_| *asked)
                }
                _ => planned,
            });
        attempts.await.map_err(|trouble| match trouble {
            Trouble::Busy { server, status, retry_after } => {
                RegistryError::Busy { server, status, retry_after }
            }
            Trouble::Broken(error) | Trouble::Final(error) => error,
        })
    }

    async fn attempt(&self, call: &Call) -> Result<Answer, Trouble> {
        let origin = self.origin(&call.uri).map_err(Trouble::Final)?;
        let server = self.server(Some(&origin));
        let deadline = match self.patience {
            Patience::Question => self.deadline,
            Patience::Transfer => Deadline::after(self.deadline.allowed),
        };
        let request =
            call.request(Full::new(call.body.clone()).map_err(|never| match never {}).boxed_unsync());
        let response = match timeout_at(deadline.at, self.transport.request(request)).await {
            Err(_) if self.patience == Patience::Transfer => {
                return Err(Trouble::Broken(deadline.missed(server)));
            }
            Err(_) => return Err(Trouble::Final(deadline.missed(server))),
            Ok(Err(error)) => return Err(self.failure(&origin, server, error)),
            Ok(Ok(response)) => response,
        };
        if is_passing(response.status()) {
            let retry_after = retry_after(response.headers());
            return Err(Trouble::Busy { server, status: response.status(), retry_after });
        }
        Ok(answer(response, origin, server, deadline))
    }

    /// Explains why there is no answer from `server`, which is at `origin`.
    fn failure(&self, origin: &Origin, server: Server, error: ClientError) -> Trouble {
        // What goes wrong with a proxy says nothing of the registry's TLS.
        let problem =
            if is_of_proxy(&error) { None } else { self.transport.trust.side(origin.host()).problem(&error) };
        let timed_out = connect_timed_out(&error);
        let source: BoxError = error.into();
        match problem {
            Some(problem) => Trouble::Final(RegistryError::Tls { server, problem, source }),
            // Whoever did not answer for ten seconds will not do so in the next two.
            None if timed_out => Trouble::Final(RegistryError::Unreachable { server, source }),
            None => Trouble::Broken(RegistryError::Unreachable { server, source }),
        }
    }

    /// Returns who is at `uri`, if that is the registry or somebody to whom it may lead.
    fn origin(&self, uri: &Uri) -> Result<Origin, RegistryError> {
        let origin = Origin::of(uri).ok_or_else(|| RegistryError::Authentication {
            registry: self.endpoint.name.clone(),
            reason: "it names a server by something else than an http or https URL".to_owned(),
        })?;
        self.transport.confine(self.endpoint, &origin)?;
        Ok(origin)
    }

    /// Describes who a server is: the registry, or someone to whom the registry sent us.
    fn server(&self, origin: Option<&Origin>) -> Server {
        let registry = &self.endpoint.name;
        match origin {
            Some(origin) if *origin != self.endpoint.origin => Server::named_by(registry, origin.clone()),
            origin => Server::registry(registry, origin.cloned()),
        }
    }
}

impl Call {
    /// Asks for what is at `uri`.
    pub(crate) fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: HeaderMap::new(), authorization: None, body: Bytes::new() }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn request(&self, body: StreamedBody) -> Request<StreamedBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        let agent = concat!("garden-build/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}

fn client<C: Connect + Clone>(connector: C) -> Client<C, StreamedBody> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector)
}

fn answer(response: Response<Incoming>, origin: Origin, server: Server, deadline: Deadline) -> Answer {
    let (parts, body) = response.into_parts();
    Answer { status: parts.status, headers: parts.headers, origin, server, body, deadline }
}

/// Reads how long the server wants to be left alone: seconds, or a date by the clock that its own `Date` shows; without that, by ours.
/// Source: RFC 9110, section 10.2.3.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let wanted = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = wanted.parse() {
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    let until = httpdate::parse_http_date(wanted).ok()?;
    let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    // A date that has passed means now.
    let wait = until.duration_since(date.unwrap_or_else(SystemTime::now)).unwrap_or_default();
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// Returns whether the same request may be answered otherwise a moment later.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

fn is_of_proxy(error: &ClientError) -> bool {
    let mut causes = chain(error).filter_map(|error| error.downcast_ref::<ProxyError>());
    causes.any(|error| matches!(error, ProxyError::Proxy { .. }))
}

fn connect_timed_out(error: &ClientError) -> bool {
    let mut io = chain(error).filter_map(|error| error.downcast_ref::<io::Error>());
    io.any(|error| error.kind() == io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_three_times_within_two_seconds() {
        // Jitter makes each different.
        for _ in 0..100 {
            let delays: Vec<_> = Patience::Question.delays().build().collect();
            assert_eq!(delays.len(), 2);
            assert!(delays.iter().sum::<Duration>() <= Duration::from_secs(2), "{delays:?}");
        }
    }

    #[test]
    fn a_server_says_by_seconds_or_by_a_date_when_to_come_again() {
        let read = |fields: &[(HeaderName, &'static str)]| {
            let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            retry_after(&fields.collect())
        };
        let date = (DATE, "Wed, 21 Oct 2026 07:28:00 GMT");
        assert_eq!(read(&[(RETRY_AFTER, "7")]), Some(Duration::from_secs(7)));
        let later = (RETRY_AFTER, "Wed, 21 Oct 2026 07:28:09 GMT");
        assert_eq!(read(&[later, date.clone()]), Some(Duration::from_secs(9)));
        let earlier = (RETRY_AFTER, "Wed, 21 Oct 2026 07:27:00 GMT");
        assert_eq!(read(&[earlier, date]), Some(Duration::ZERO));
        assert_eq!(read(&[(RETRY_AFTER, "18446744073709551615")]), Some(LONGEST_RETRY_AFTER));
        // By our own clock, that has passed or not.
        assert_eq!(read(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(Duration::ZERO));
        for nonsense in ["soon", "-1", "1.5", ""] {
            assert_eq!(read(&[(RETRY_AFTER, nonsense)]), None, "{nonsense}");
        }
        assert_eq!(read(&[]), None);
    }
}
