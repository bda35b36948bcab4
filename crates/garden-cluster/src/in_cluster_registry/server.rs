//! What the registry says of itself: which run of its server answers, and whether it takes pushes.

use std::io;
use std::time::Duration;

use garden_build_core::ErrorKind;
use garden_registry::Dial as _;
use http::header::HOST;
use http::{HeaderMap, Request};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::InClusterRegistry;
use crate::api::ClusterError;
use crate::diagnosis::Diagnosis;
use crate::registries::ClusterDialer;

/// How long the registry may take to answer a request that it has not much to do for.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// The headers that `files/supervise.sh`, and the container for pulls, have the registry send.
const RUN: &str = "garden-registry-run";
const PUSHES: &str = "garden-registry-pushes";

/// What the second one says where only pulls are served, as pushes need a password.
pub(super) const PUSHES_ELSEWHERE: &str = "with-password";

/// One run of the registry's server. Another one means that it was stopped meanwhile: for a collection, for an
/// upgrade, or because it crashed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerRun {
    id: String,
    /// Whether it takes pushes; it does not while garbage is collected.
    pub takes_pushes: bool,
    /// Whether it takes them at another port, from whoever knows the password.
    pub(super) wants_password: bool,
}

impl ServerRun {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let pushes = text(PUSHES)?;
        Some(Self {
            id: text(RUN)?.to_owned(),
            takes_pushes: pushes == "accepted",
            wants_password: pushes == PUSHES_ELSEWHERE,
        })
    }
}

impl InClusterRegistry {
    /// Asks the registry which run of its server answers.
    ///
    /// # Errors
    /// If it does not answer, or something else does; or if pushes need a password of which the settings know nothing.
    pub async fn server(&self) -> Result<ServerRun, ClusterError> {
        let answer = tokio::time::timeout(ANSWER_PATIENCE, self.ask()).await;
        let headers = match answer {
            Ok(Ok(headers)) => headers,
            Ok(Err(error)) => {
                // What the API server said to the dialer.
                return Err(match error.downcast::<ClusterError>() {
                    Ok(refusal) => refusal,
                    Err(error) => self.no_answer(&error),
                });
            }
            Err(_) => {
                return Err(self.no_answer(&format!("no answer within {} s", ANSWER_PATIENCE.as_secs())));
            }
        };
        let run = ServerRun::read(&headers).ok_or_else(|| {
            self.no_answer("it is not a registry of garden-build, or one of an older version")
        })?;
        if run.wants_password { Err(self.wants_password()) } else { Ok(run) }
    }

    pub(super) fn wants_password(&self) -> ClusterError {
        let message = format!(
            "the registry {}/{} takes pushes only with its password, which this configuration does not use",
            self.namespace(),
            Self::NAME
        );
        ClusterError::Pod(Diagnosis::other(ErrorKind::Config, message, self.words.password_wanted))
    }

    /// Sends a request on a connection of its own, and returns the headers of the answer.
    async fn ask(&self) -> io::Result<HeaderMap> {
        let host = self.host();
        let name = host.split(':').next().unwrap_or_default();
        let stream = ClusterDialer::new(self.cluster.clone()).dial(name, self.settings.push_port()).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let request = Request::get("/v2/").header(HOST, &host).body(String::new());
        let request = request.map_err(io::Error::other)?;
        tokio::select! {
            answer = sender.send_request(request) => {
                answer.map(|answer| answer.headers().clone()).map_err(io::Error::other)
            }
            ended = connection => {
                let reason = ended.err().map_or_else(|| "it closed the connection".to_owned(), |error| error.to_string());
                Err(io::Error::other(reason))
            }
        }
    }

    fn no_answer(&self, reason: &(impl ToString + ?Sized)) -> ClusterError {
        ClusterError::StreamCut {
            target: format!("the registry {}/{}", self.namespace(), Self::NAME),
            reason: reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(headers: &[(&'static str, &'static str)]) -> Option<ServerRun> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), http::HeaderValue::from_static(value)));
        ServerRun::read(&headers.collect())
    }

    #[test]
    fn a_run_is_told_by_its_headers_and_other_registries_have_none() {
        let serving = run(&[(RUN, "pod-1-1"), (PUSHES, "accepted")]).expect("ours");
        let collecting = run(&[(RUN, "pod-1-2"), (PUSHES, "refused")]).expect("ours");
        assert!(serving.takes_pushes && !collecting.takes_pushes && serving != collecting);
        let reading = run(&[(RUN, "pulls"), (PUSHES, PUSHES_ELSEWHERE)]).expect("ours");
        assert!(reading.wants_password && !reading.takes_pushes && !collecting.wants_password);
        assert_eq!(run(&[("docker-distribution-api-version", "registry/2.0")]), None);
    }
}
