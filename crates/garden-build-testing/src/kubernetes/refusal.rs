use std::time::Duration;

use serde_json::{Value, json};

use super::kind::Kind;

/// A failure, as the API server answers it: an HTTP status and a `Status` object.
#[derive(Clone, Debug)]
pub struct Refusal {
    code: u16,
    reason: &'static str,
    message: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A failure in words of one's own. `reason` is one of Kubernetes' `StatusReason`s, such as `NotFound`.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), retry_after: None }
    }

    /// 403: the role of the user does not allow `verb` on `resource` (such as `pods` or `pods/exec`).
    /// Source of the words: Kubernetes, `forbiddenMessage` in `apiserver/pkg/endpoints/handlers/responsewriters/errors.go`.
    pub fn forbidden(verb: &str, resource: &str, namespace: &str) -> Self {
        let message = format!(
            "{resource} is forbidden: User \"dev\" cannot {verb} resource \"{resource}\" in API group \"\" in the namespace \"{namespace}\""
        );
        Self::new(403, "Forbidden", message)
    }

    /// 409: somebody else has changed the object.
    pub fn conflict() -> Self {
        let message = "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again";
        Self::new(409, "Conflict", message)
    }

    /// 429: the server has too much to do; the client is to come again after `retry_after`, in whole seconds.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        let message = "the server has received too many requests and has asked us to try again later";
        Self { retry_after: Some(retry_after), ..Self::new(429, "TooManyRequests", message) }
    }

    /// 500: it failed inside.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {}", message.into()))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 404 of a path at which nothing is served.
    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", kind.qualified()))
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", kind.qualified()))
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, what: &str) -> Self {
        Self::new(422, "Invalid", format!("{} \"{name}\" is invalid: {what}", kind.name))
    }

    /// 410: what the client knows is too old to go on from.
    pub(crate) fn expired(known: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {known} ({oldest})"))
    }

    pub(crate) fn code(&self) -> u16 {
        self.code
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": self.message, "reason": self.reason, "code": self.code,
        })
    }
}
