//! The conversation of one sync, over any pair of packet streams.
//!
//! One thread lists, up to [`READERS`] threads read files, and a task takes the daemon's requests. All of them
//! put batches of packets into one channel that holds a few, so a daemon that takes nothing stops them, and
//! what waits here is never much more than a mebibyte: the session's health checks travel behind it.
//!
//! When the stream of packets is dropped, the channel closes and everything ends soon.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::{thread, vec};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::batch::{self, Batch};
use super::journal::lock;
use super::request::FilterRequest;
use super::wire::Packet;
use super::{Listed, Source, SyncError, SyncRecord, Wanted, stat};

/// How many files are read at a time. More help only with slow disks, and need more memory.
const READERS: usize = 4;

/// How many batches may wait.
const WAITING: usize = 4;

/// Sends what `filter` keeps of `source`, answering the packets of `incoming`. Reports to `record`.
///
/// The packets that are returned end behind the one that ends the sync: `FIN` or `ERR`. If they are dropped
/// before, the sync has failed. Has to be called in a tokio runtime.
pub fn send<S, E>(
    source: Arc<dyn Source>,
    filter: FilterRequest,
    incoming: S,
    record: Arc<SyncRecord>,
) -> Outgoing
where
    S: Stream<Item = Result<Packet, E>> + Send + 'static,
    E: Send + 'static,
{
    let (output, batches) = mpsc::channel(WAITING);
    let transfer = Arc::new(Transfer {
        source,
        output,
        requests: Mutex::default(),
        failed: CancellationToken::new(),
        record: Arc::clone(&record),
    });
    let lister = Arc::clone(&transfer);
    spawn_blocking(move || lister.run(|| lister.list(&filter)));
    tokio::spawn(take_requests(transfer, incoming).in_current_span());
    Outgoing { batches, current: Vec::new().into_iter(), record, is_over: false }
}

/// The packets that go to the daemon.
#[derive(Debug)]
pub struct Outgoing {
    batches: mpsc::Receiver<Vec<Packet>>,
    current: vec::IntoIter<Packet>,
    record: Arc<SyncRecord>,
    /// The packet that ends the sync was returned. Readers may have had more to hand over, which nobody wants.
    is_over: bool,
}

impl Stream for Outgoing {
    type Item = Packet;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Packet>> {
        loop {
            if self.is_over {
                self.current = Vec::new().into_iter();
            }
            if let Some(packet) = self.current.next() {
                self.is_over = matches!(packet.r#type(), PacketType::PacketFin | PacketType::PacketErr);
                self.record.sent(&packet);
                return Poll::Ready(Some(packet));
            }
            match ready!(self.batches.poll_recv(context)) {
                Some(batch) => self.current = batch.into_iter(),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// What everyone who takes part in a sync shares.
struct Transfer {
    source: Arc<dyn Source>,
    output: mpsc::Sender<Vec<Packet>>,
    requests: Mutex<Requests>,
    failed: CancellationToken,
    record: Arc<SyncRecord>,
}

#[derive(Default)]
struct Requests {
    /// What was listed, and not asked for yet.
    offered: HashMap<u32, Wanted>,
    /// What was asked for, and not begun yet.
    waiting: VecDeque<(u32, Wanted)>,
    readers: usize,
}

/// Why a thread stops.
enum Stop {
    /// Nobody takes packets any more, or another thread has failed.
    Ended,
    Failed(SyncError),
}

impl<E: Into<SyncError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Takes requests until the daemon has all that it wants, or the sync fails.
async fn take_requests<S, E>(transfer: Arc<Transfer>, incoming: S)
where
    S: Stream<Item = Result<Packet, E>> + Send,
{
    let mut incoming = pin!(incoming);
    let error = loop {
        let packet = tokio::select! {
            biased;
            () = transfer.failed.cancelled() => return,
            () = transfer.output.closed() => None,
            packet = incoming.next() => packet,
        };
        let Some(Ok(packet)) = packet else {
            break SyncError::Aborted(transfer.record.directory().to_owned());
        };
        match packet.r#type() {
            PacketType::PacketReq => {
                if let Err(error) = transfer.request(packet.id) {
                    break error;
                }
            }
            PacketType::PacketFin => {
                if transfer.output.send(vec![batch::end()]).await.is_ok() {
                    transfer.record.finish();
                } else {
                    transfer.record.fail(SyncError::Aborted(transfer.record.directory().to_owned()));
                }
                // A daemon that ends before it has what it asked for does not want it any more.
                transfer.failed.cancel();
                return;
            }
            PacketType::PacketErr => {
                break SyncError::Receiver(String::from_utf8_lossy(&packet.data).into_owned());
            }
            PacketType::PacketStat | PacketType::PacketData => {
                break SyncError::Protocol(format!("it sent a packet of type {}", packet.r#type));
            }
        }
    };
    if let Some(packet) = transfer.fail(error) {
        // If nobody takes it, nobody needs it.
        let _ = transfer.output.send(vec![packet]).await;
    }
}

impl Transfer {
    /// Does `work` on the current thread, and lets the sync fail if it does.
    fn run(&self, work: impl FnOnce() -> Result<(), Stop>) {
        let guard = PanicGuard(self);
        // Once the daemon has dropped the sync, what goes wrong here is only its consequence.
        if let Err(Stop::Failed(error)) = work()
            && !self.is_over()
        {
            self.fail_here(error);
        }
        drop(guard);
    }

    fn list(&self, filter: &FilterRequest) -> Result<(), Stop> {
        let filter = filter.compile(&*self.source)?;
        let mut list = List { transfer: self, batch: Batch::default(), offered: Vec::new(), next: 0 };
        let mut stopped = None;
        self.source.list(&filter, &|| self.is_over(), &mut |listed| match list.add(listed) {
            Ok(()) => ControlFlow::Continue(()),
            Err(stop) => {
                stopped = Some(stop);
                ControlFlow::Break(())
            }
        })?;
        match stopped {
            Some(stop) => Err(stop),
            None => list.end(),
        }
    }

    /// Takes a request, and starts a reader for it if there is not enough of them.
    fn request(self: &Arc<Self>, id: u32) -> Result<(), SyncError> {
        let mut requests = lock(&self.requests);
        let wanted = requests.offered.remove(&id).ok_or_else(|| {
            SyncError::Protocol(format!("it asked for file {id}, which was not offered or is on its way"))
        })?;
        self.record.requested(wanted.size);
        requests.waiting.push_back((id, wanted));
        if requests.readers < READERS {
            requests.readers += 1;
            drop(requests);
            // It ends as soon as nothing waits, so no thread is ever idle on our account.
            let reader = Arc::clone(self);
            spawn_blocking(move || reader.run(|| reader.read_files()));
        }
        Ok(())
    }

    fn read_files(&self) -> Result<(), Stop> {
        let mut batch = Batch::default();
        while let Some((id, wanted)) = self.next_request() {
            self.read_file(id, &wanted, &mut batch)?;
        }
        self.hand_over(&mut batch)
    }

    fn next_request(&self) -> Option<(u32, Wanted)> {
        let mut requests = lock(&self.requests);
        let next = requests.waiting.pop_front();
        if next.is_none() {
            requests.readers -= 1;
        }
        next
    }

    fn read_file(&self, id: u32, wanted: &Wanted, batch: &mut Batch) -> Result<(), Stop> {
        let mut content = self.source.open(wanted)?;
        let mut rest = wanted.size;
        loop {
            if self.is_over() {
                return Err(Stop::Ended);
            }
            let length = usize::try_from(rest).unwrap_or(usize::MAX).min(batch::DATA);
            let mut data = Vec::with_capacity(length);
            let at_end = content.read(&mut data, length)?;
            rest -= data.len() as u64;
            if !data.is_empty() {
                batch.push(batch::data(id, data));
            }
            if at_end {
                batch.push(batch::data(id, Vec::new()));
            }
            if batch.is_full() {
                self.hand_over(batch)?;
            }
            if at_end {
                return Ok(());
            }
        }
    }

    /// Hands `batch` to whoever sends it, and waits until there is room.
    fn hand_over(&self, batch: &mut Batch) -> Result<(), Stop> {
        if batch.is_empty() {
            return Ok(());
        }
        self.output.blocking_send(batch.take()).map_err(|_| Stop::Ended)
    }

    fn is_over(&self) -> bool {
        self.failed.is_cancelled() || self.output.is_closed()
    }

    fn fail_here(&self, error: SyncError) {
        if let Some(packet) = self.fail(error) {
            let _ = self.output.blocking_send(vec![packet]);
        }
    }

    /// Ends the sync. Returns what has to be sent to the daemon, unless something was sent before.
    fn fail(&self, error: SyncError) -> Option<Packet> {
        let packet = batch::failure(&error.to_string());
        let is_first = self.record.fail(error);
        self.failed.cancel();
        is_first.then_some(packet)
    }
}

/// The list of entries while it is sent.
struct List<'t> {
    transfer: &'t Transfer,
    batch: Batch,
    /// The files in `batch`.
    offered: Vec<(u32, Wanted)>,
    /// The id of the next entry: its position, counting entries of all kinds.
    next: u32,
}

impl List<'_> {
    fn add(&mut self, Listed { stat, key }: Listed) -> Result<(), Stop> {
        if stat::is_ordinary_file(&stat) {
            let size = u64::try_from(stat.size).unwrap_or(0);
            self.offered.push((self.next, Wanted { path: stat.path.clone().into(), size, key }));
        }
        self.next += 1;
        self.batch.push(batch::stat(Some(stat)));
        if self.batch.is_full() { self.hand_over() } else { Ok(()) }
    }

    fn end(mut self) -> Result<(), Stop> {
        self.batch.push(batch::stat(None));
        self.hand_over()
    }

    /// The daemon may ask for a file as soon as it knows of it, so files are offered before.
    fn hand_over(&mut self) -> Result<(), Stop> {
        lock(&self.transfer.requests).offered.extend(self.offered.drain(..));
        self.transfer.hand_over(&mut self.batch)
    }
}

/// Without it, a sync whose reader panicked would wait for ever.
struct PanicGuard<'t>(&'t Transfer);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail_here(SyncError::Panicked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Journal;
    use super::*;

    #[tokio::test]
    async fn nothing_follows_the_packet_that_ends_a_sync() {
        for end in [batch::end(), batch::failure("no")] {
            let (output, batches) = mpsc::channel(WAITING);
            let record = Journal::default().begin("context");
            let outgoing = Outgoing { batches, current: Vec::new().into_iter(), record, is_over: false };
            let late = batch::data(0, b"late".to_vec());
            for packets in [vec![batch::stat(None), end.clone(), late.clone()], vec![late]] {
                output.send(packets).await.expect("room");
            }
            drop(output);
            assert_eq!(outgoing.collect::<Vec<_>>().await, [batch::stat(None), end]);
        }
    }
}
