//! Sends one request: with redirects, retries and a deadline, but without knowing what it is about.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use crate::cause::chain;
use crate::connect::{Connector, Dial};
use crate::endpoint::{Endpoint, Origin, join};
use crate::error::{BoxError, RegistryError};
use crate::tls;

/// How many redirects are followed. Registries need one, to the storage behind them.
const REDIRECTS: usize = 5;

/// The longest `Retry-After` that is waited for. Asked to wait longer, we say so at once instead.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long a connection is kept for the next question. What a dialer forwards costs a server something.
const IDLE: Duration = Duration::from_secs(20);

/// What is to be sent.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) accept: &'static str,
    /// Sent to the origin of `uri` only.
    pub(crate) authorization: Option<HeaderValue>,
    /// A form's fields, if this is a POST.
    pub(crate) form: Option<Bytes>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Who answered, after redirects.
    pub(crate) origin: Origin,
    /// Who answered, for messages.
    pub(crate) server: String,
    body: Incoming,
    deadline: Deadline,
}

#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    allowed: Duration,
}

/// An attempt that may be repeated, and one that may not.
enum Trouble {
    Busy { server: String, status: StatusCode, retry_after: Option<Duration> },
    Broken(RegistryError),
    Final(RegistryError),
}

type HttpClient = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// The connections of a registry client.
#[derive(Debug)]
pub(crate) struct Transport {
    client: HttpClient,
    timeout: Duration,
}

/// What a caller asked for: some requests that have one purpose and one deadline.
pub(crate) struct Operation<'a> {
    pub(crate) endpoint: &'a Endpoint,
    client: &'a HttpClient,
    deadline: Deadline,
}

impl Transport {
    pub(crate) fn new(
        dialer: Arc<dyn Dial>,
        authorities: &[u8],
        timeout: Duration,
    ) -> Result<Self, RegistryError> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::configuration(authorities)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector(dialer));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { client, timeout })
    }

    /// Begins an operation at the registry behind `endpoint`, which may take as long as the client allows.
    pub(crate) fn begin<'a>(&'a self, endpoint: &'a Endpoint) -> Operation<'a> {
        let deadline = Deadline { at: Instant::now() + self.timeout, allowed: self.timeout };
        Operation { endpoint, client: &self.client, deadline }
    }
}

impl Operation<'_> {
    /// Sends `call` and follows redirects, unless it has a form, which must not be given to others.
    ///
    /// Once a redirect has led to another origin, the authorization is gone for good, also if the
    /// next one leads back: who redirects must not choose where our credentials are used.
    pub(crate) async fn send(&self, mut call: Call) -> Result<Answer, RegistryError> {
        for _ in 0..=REDIRECTS {
            let answer = self.send_with_retries(&call).await?;
            if !answer.is_redirect() || call.form.is_some() {
                return Ok(answer);
            }
            let refused = |reason: &str| RegistryError::Redirect {
                server: answer.server.clone(),
                reason: reason.to_owned(),
            };
            let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok());
            let target = location.and_then(|location| join(&call.uri, location));
            let target = target.ok_or_else(|| refused("its `Location` is missing or no URL"))?;
            let origin = Origin::of(&target)
                .ok_or_else(|| refused("its `Location` is no http or https URL, or has user information"))?;
            if answer.origin.is_encrypted() && !origin.is_encrypted() {
                return Err(refused("it leads from TLS to plain HTTP"));
            }
            if origin != answer.origin {
                call.authorization = None;
            }
            call.uri = target;
        }
        let server = self.describe(Origin::of(&call.uri).as_ref());
        Err(RegistryError::Redirect { server, reason: format!("it is the last of more than {REDIRECTS}") })
    }

    /// Connection failures, 429 and the passing kinds of 5xx are tried again, twice within 2 seconds.
    /// All that this crate sends may be repeated.
    async fn send_with_retries(&self, call: &Call) -> Result<Answer, RegistryError> {
        let policy = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_factor(3.0)
            .with_max_times(2)
            .with_jitter();
        let attempts = (|| self.attempt(call))
            .retry(policy.build())
            .when(|trouble| !matches!(trouble, Trouble::Final(_)))
            .adjust(|trouble, planned| match trouble {
                Trouble::Busy { retry_after: Some(asked), .. } => {
                    planned.filter(|_| *asked <= LONGEST_WAIT).map(|_| *asked)
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
        let request = call.request();
        let origin = Origin::of(&call.uri);
        let server = self.describe(origin.as_ref());
        let Some(origin) = origin else {
            let reason = "it names a server by something else than an http or https URL".to_owned();
            return Err(Trouble::Final(RegistryError::Authentication {
                registry: self.endpoint.name.clone(),
                reason,
            }));
        };
        let response = match timeout_at(self.deadline.at, self.client.request(request)).await {
            Err(_) => return Err(Trouble::Final(self.deadline.missed(server))),
            Ok(Err(error)) => return Err(failure(server, error)),
            Ok(Ok(response)) => response,
        };
        let (parts, body) = response.into_parts();
        if is_passing(parts.status) {
            let seconds =
                parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            let retry_after = seconds.map(Duration::from_secs);
            return Err(Trouble::Busy { server, status: parts.status, retry_after });
        }
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            origin,
            server,
            body,
            deadline: self.deadline,
        })
    }

    /// Says who a server is: the registry, or someone to whom the registry sent us.
    fn describe(&self, origin: Option<&Origin>) -> String {
        let registry = &self.endpoint.name;
        match origin {
            Some(origin) if *origin == self.endpoint.origin => format!("registry {registry} ({origin})"),
            Some(origin) => format!("{origin}, named by registry {registry},"),
            None => format!("registry {registry}"),
        }
    }
}

impl Call {
    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.form.clone().unwrap_or_default()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(self.accept));
        let agent = concat!("garden-build/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if self.form.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}

impl Answer {
    /// Reads the body, if it has at most `limit` bytes.
    pub(crate) async fn body(self, limit: usize) -> Result<Bytes, RegistryError> {
        let Self { body, deadline, server, .. } = self;
        match timeout_at(deadline.at, Limited::new(body, limit).collect()).await {
            Err(_) => Err(deadline.missed(server)),
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(RegistryError::TooLarge { server, limit })
            }
            Ok(Err(source)) => Err(RegistryError::Unreachable { server, source }),
        }
    }

    fn is_redirect(&self) -> bool {
        matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308)
    }
}

impl Deadline {
    fn missed(self, server: String) -> RegistryError {
        RegistryError::Timeout { server, after: self.allowed }
    }
}

fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

fn failure(server: String, error: ClientError) -> Trouble {
    let problem = tls::problem(&error);
    let timed_out = connect_timed_out(&error);
    let source: BoxError = error.into();
    match problem {
        Some(problem) => Trouble::Final(RegistryError::Tls { server, problem, source }),
        // Whoever did not answer for ten seconds will not do so in the next two.
        None if timed_out => Trouble::Final(RegistryError::Unreachable { server, source }),
        None => Trouble::Broken(RegistryError::Unreachable { server, source }),
    }
}

fn connect_timed_out(error: &ClientError) -> bool {
    let mut io = chain(error).filter_map(|error| error.downcast_ref::<io::Error>());
    io.any(|error| error.kind() == io::ErrorKind::TimedOut)
}
