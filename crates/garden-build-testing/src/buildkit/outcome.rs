use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::google::protobuf::Any;
use bollard_buildkit_proto::google::rpc;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// What a successful build has made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Built {
    /// The digest of the image that was exported, such as `sha256:…`; `None` if the build exports nothing.
    pub digest: Option<String>,
}

impl Built {
    /// An image was exported, whose manifest has this digest.
    pub fn image(digest: impl fmt::Display) -> Self {
        Self { digest: Some(digest.to_string()) }
    }

    /// Nothing was exported.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Source: `BuildKit`, `exporter/containerimage/exptypes/types.go`.
    pub(super) fn into_response(self) -> proto::SolveResponse {
        let mut exporter_response = HashMap::new();
        if let Some(digest) = self.digest {
            let descriptor = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1024 });
            let descriptor = STANDARD.encode(descriptor.to_string());
            exporter_response.insert("containerimage.descriptor".to_owned(), descriptor);
            exporter_response.insert("containerimage.digest".to_owned(), digest);
        }
        proto::SolveResponse { exporter_response }
    }
}

/// Why a build failed, as the daemon tells the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BuildFailure {
    code: i32,
    message: String,
    /// Type, and JSON. Source: `BuildKit`, `solver/errdefs` and `util/grpcerrors`.
    details: Vec<(&'static str, String)>,
}

impl BuildFailure {
    /// A failure with the daemon's message, such as `failed to push r.example/api:1: denied`, and with the gRPC status code `UNKNOWN`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: Code::Unknown.into(), message: message.into(), details: Vec::new() }
    }

    /// The same with another gRPC status code, as a number: 14 is `UNAVAILABLE`, with which a daemon that shuts down ends its builds.
    #[must_use]
    pub fn with_code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }

    /// The same, and says that it is about this line of the Dockerfile, whose whole text is `dockerfile`. Lines count from 1.
    #[must_use]
    pub fn in_dockerfile(self, filename: &str, dockerfile: &str, line: u32) -> Self {
        let info =
            json!({ "filename": filename, "data": STANDARD.encode(dockerfile), "language": "Dockerfile" });
        let range = json!({ "start": { "line": line }, "end": { "line": line } });
        self.with_detail("Source", &json!({ "info": info, "ranges": [range] }))
    }

    pub(super) fn of_step(self, digest: &str) -> Self {
        self.with_detail("Vertex", &json!({ "digest": digest }))
    }

    /// Returns the daemon's message.
    pub fn message(&self) -> &str {
        &self.message
    }

    fn with_detail(mut self, name: &'static str, detail: &Value) -> Self {
        self.details.push((name, detail.to_string()));
        self
    }

    /// The failure of a call to the client fails the build with the same status.
    pub(super) fn of_call(status: &Status) -> Self {
        Self { code: status.code().into(), message: status.message().to_owned(), details: Vec::new() }
    }

    pub(super) fn into_status(self) -> Status {
        let details = self.details.into_iter().map(|(name, json)| Any {
            type_url: format!("github.com/moby/buildkit/errdefs.{name}+json"),
            value: json.into_bytes(),
        });
        let encoded =
            rpc::Status { code: self.code, message: self.message.clone(), details: details.collect() };
        Status::with_details(Code::from(self.code), self.message, encoded.encode_to_vec().into())
    }
}

impl fmt::Display for BuildFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BuildFailure {}
