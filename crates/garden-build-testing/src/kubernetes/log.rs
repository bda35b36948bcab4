//! What containers print.

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::Stream;
use futures::stream::unfold;
use http_body_util::BodyExt as _;
use http_body_util::StreamBody;
use hyper::body::Frame;
use jiff::Timestamp;

use super::cluster::FakeCluster;
use super::refusal::Refusal;
use super::request::Request;
use super::server::Body;

/// Where a container's log is: namespace, pod, container.
pub(crate) type LogName = (String, String, String);

#[derive(Clone, Default, Debug)]
pub(crate) struct Log {
    pub(crate) lines: Vec<(Timestamp, String)>,
    /// The container has ended.
    pub(crate) is_complete: bool,
    /// How often its readers were cut off, and how the last time.
    pub(crate) cuts: u64,
    /// Whether the last cut looked like an end.
    pub(crate) is_clean_cut: bool,
}

/// What a reader asked for.
struct Reader {
    cluster: FakeCluster,
    name: LogName,
    position: usize,
    since: Option<Timestamp>,
    has_stamps: bool,
    follows: bool,
    cuts: u64,
    is_over: bool,
}

/// Answers a request for a log. Source: Kubernetes, `PodLogOptions`.
pub(crate) fn read(
    cluster: &FakeCluster,
    request: &Request,
    namespace: &str,
    pod: &str,
) -> Result<Body, Refusal> {
    let since = match request.parameter("sinceTime").map(str::parse) {
        None => None,
        Some(Ok(since)) => Some(since),
        Some(Err(_)) => return Err(Refusal::bad_request("sinceTime is not a time")),
    };
    let container = cluster.container_that_started(namespace, pod, request.parameter("container"))?;
    let name = (namespace.to_owned(), pod.to_owned(), container);
    let reader = Reader {
        cuts: cluster.with_log(&name, |log| log.cuts),
        cluster: cluster.clone(),
        name,
        position: 0,
        since,
        has_stamps: request.is_true("timestamps"),
        follows: request.is_true("follow"),
        is_over: false,
    };
    Ok(StreamBody::new(frames(reader)).boxed_unsync())
}

fn frames(reader: Reader) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    unfold(reader, async |mut reader| {
        let mut bell = reader.cluster.bell();
        loop {
            if reader.is_over {
                return None;
            }
            if let Some(next) = reader.next() {
                return Some((next.map(Frame::data), reader));
            }
            if !reader.is_over && bell.changed().await.is_err() {
                return None;
            }
        }
    })
}

impl Reader {
    /// Returns what there is to send now, if anything is.
    fn next(&mut self) -> Option<io::Result<Bytes>> {
        let (since, has_stamps, seen_cuts, from) = (self.since, self.has_stamps, self.cuts, self.position);
        let (text, position, is_complete, cut) = self.cluster.with_log(&self.name, |log| {
            let mut text = BytesMut::new();
            for (stamp, line) in
                log.lines.iter().skip(from).filter(|(stamp, _)| since.is_none_or(|since| *stamp >= since))
            {
                if has_stamps {
                    text.put_slice(format!("{stamp} ").as_bytes());
                }
                text.put_slice(line.as_bytes());
                text.put_u8(b'\n');
            }
            let cut = (log.cuts != seen_cuts).then_some(log.is_clean_cut);
            (text.freeze(), log.lines.len(), log.is_complete, cut)
        });
        if let Some(is_clean) = cut {
            self.is_over = true;
            return (!is_clean).then(|| Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.position = position;
        if text.is_empty() {
            self.is_over = is_complete || !self.follows;
            return None;
        }
        Some(Ok(text))
    }
}
