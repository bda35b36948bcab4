use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::{FileSync, FileSyncServer};
use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::{Journal, Outgoing, Packet, Source, SyncError, SyncRecord, SyncRequest, sender};

/// Serves directories to the daemon: the service `moby.filesync.v1.FileSync`.
///
/// The metadata of a call holds all lines of the ignore file. The server has to accept that: hyper refuses
/// more than 16 KiB of it unless `Server::http2_max_header_list_size` says otherwise.
#[derive(Clone, Debug)]
pub struct FileSyncService {
    sources: HashMap<String, Arc<dyn Source>>,
    journal: Journal,
}

impl FileSyncService {
    /// Serves each of `sources` under its name, and reports to `journal`.
    pub fn new(sources: impl IntoIterator<Item = (String, Arc<dyn Source>)>, journal: Journal) -> Self {
        Self { sources: sources.into_iter().collect(), journal }
    }

    /// Makes the service that a `tonic` server takes.
    pub fn into_server(self) -> FileSyncServer<Self> {
        FileSyncServer::new(self)
    }
}

#[tonic::async_trait]
impl FileSync for FileSyncService {
    type DiffCopyStream = Answer;
    type TarStreamStream = Answer;

    async fn diff_copy(&self, call: Request<Streaming<Packet>>) -> Result<Response<Answer>, Status> {
        let request = SyncRequest::from_metadata(call.metadata());
        let record = self.journal.begin(request.as_ref().map_or("", |request| &request.directory));
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

    /// No daemon that we know calls this.
    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> Result<Response<Answer>, Status> {
        Err(Status::unimplemented("files are sent with DiffCopy"))
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
