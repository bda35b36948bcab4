use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready as finished};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt};
use hyper::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;

use super::protocol::{Outgoing, Packet, SyncRequest};
use super::{Journal, Source, SyncError, SyncRecord, sender};
use crate::client::connection::LARGEST_MESSAGE;

/// The only method that daemons call; there is another one, `TarStream`.
const DIFF_COPY: &str = "/moby.filesync.v1.FileSync/DiffCopy";

/// Serves directories to the daemon: the service `moby.filesync.v1.FileSync`. It is not a generated one, as the messages are
/// [ours](Packet).
///
/// The metadata of a call holds all lines of the ignore file. The server has to accept that: hyper refuses
/// more than 16 KiB of it unless `Server::http2_max_header_list_size` says otherwise.
#[derive(Clone, Debug)]
pub struct FileSyncService {
    sources: Arc<HashMap<String, Arc<dyn Source>>>,
    journal: Journal,
}

impl FileSyncService {
    /// Serves each of `sources` under its name, and reports to `journal`.
    pub fn new(sources: impl IntoIterator<Item = (String, Arc<dyn Source>)>, journal: Journal) -> Self {
        Self { sources: Arc::new(sources.into_iter().collect()), journal }
    }

    fn diff_copy(&self, call: Request<Streaming<Packet>>) -> Result<Response<Answer>, Status> {
        let request = SyncRequest::from_metadata(call.metadata());
        let record = match &request {
            Ok(request) => self.journal.begin_following(&request.directory, &request.filter.follow),
            Err(_) => self.journal.begin(""),
        };
        let found = request.and_then(|request| match self.sources.get(&request.directory) {
            Some(source) => Ok((Arc::clone(source), request.filter)),
            None => Err(SyncError::UnknownDirectory(request.directory)),
        });
        match found {
            Ok((source, filter)) => {
                let packets = sender::send(source, filter, call.into_inner(), Arc::clone(&record));
                Ok(Response::new(Answer { packets, record, is_over: false }))
            }
            Err(error) => {
                let status = status(&error);
                record.fail(error);
                Err(status)
            }
        }
    }
}

impl NamedService for FileSyncService {
    const NAME: &'static str = "moby.filesync.v1.FileSync";
}

impl StreamingService<Packet> for FileSyncService {
    type Response = Packet;
    type ResponseStream = Answer;
    type Future = Ready<Result<Response<Answer>, Status>>;

    fn call(&mut self, call: Request<Streaming<Packet>>) -> Self::Future {
        finished(self.diff_copy(call))
    }
}

impl<B> Service<http::Request<B>> for FileSyncService
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != DIFF_COPY {
            return finished(Ok(Status::unimplemented("files are sent with DiffCopy").into_http())).boxed();
        }
        let service = self.clone();
        let answer = async move {
            let codec = ProstCodec::<Packet, Packet>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(LARGEST_MESSAGE);
            Ok(grpc.streaming(service, request).await)
        };
        answer.boxed()
    }
}

/// The packets of a sync, and at the end the error if it failed.
#[derive(Debug)]
pub struct Answer {
    packets: Outgoing,
    record: Arc<SyncRecord>,
    is_over: bool,
}

impl Stream for Answer {
    type Item = Result<Packet, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(packet) = ready!(self.packets.poll_next_unpin(context)) {
            return Poll::Ready(Some(Ok(packet)));
        }
        self.is_over = true;
        Poll::Ready(self.record.failure(status).map(Err))
    }
}

fn status(error: &SyncError) -> Status {
    Status::new(error.code(), error.to_string())
}
