use std::collections::BTreeMap;
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::Secrets as SecretsService;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use secrecy::{ExposeSecret, SecretSlice};
use tonic::{Request, Response, Status};

/// Hands secrets to RUN steps that mount them.
#[derive(Clone, Debug)]
pub(super) struct Secrets(Arc<BTreeMap<String, SecretSlice<u8>>>);

impl Secrets {
    pub(super) fn new(secrets: Arc<BTreeMap<String, SecretSlice<u8>>>) -> Self {
        Self(secrets)
    }
}

#[tonic::async_trait]
impl SecretsService for Secrets {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        // With this very code the daemon goes on without a secret that is not required.
        let secret = self.0.get(id).ok_or_else(|| Status::not_found(format!("secret {id} not found")))?;
        Ok(Response::new(GetSecretResponse { data: secret.expose_secret().to_vec() }))
    }
}
