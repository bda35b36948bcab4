//! The conversation with the context service: lines, and bytes that are counted, with `files/session.sh`, which runs in the
//! service's pod for as long as this lasts.
//!
//! | we say | it says |
//! |---|---|
//! | `announce NAME BYTES`, the script `deliver.sh` | `announced` or `full` |
//! | `inventory` | `pack NAME BYTES` for each pack, `end` |
//! | `index PACK` | `index BYTES` and the index; or `gone PACK` |
//! | `store KIB`, `chunk BYTES` and the chunk any number of times, `end`, `sum PACK BYTES INDEXBYTES` and the index | `stored PACK`, `full` or `broken` |
//! | `rope LINES`, as many lines `PACK OFFSET LENGTH` | `going`, `gone PACK` or `full` |
//! | `hand-over STARTBYTES ENDBYTES`, what the pod is given before the ranges, what it is given after them | nothing, or `full` |
//! | `sum` | `sum DIGEST` of all ranges |
//! | `join DIGEST BYTES INDEXBYTES` and an index | `stored DIGEST`, `full` or `broken` |
//! | `ping` | `pong` |
//!
//! From `going` on, the service reports between the answers what happens to the pod's connection: `pulling`, `delivered`.
//!
//! Whoever may run commands in the service's pod can answer anything. So answers are bounded, and none is evidence of what a pack
//! holds: that is between us and the build's pod (`handover`).
//!
//! Everything is counted, as the end of the input cannot be relied on: the older protocol of commands in pods cannot close
//! it alone.
//!
//! Why: docs/decisions/30-the-context-service-is-a-command.md

use std::io;
use std::time::Duration;

use crate::pack::{PackIndex, PackRange};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use garden_build_core::{Digest, Error};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadHalf,
    WriteHalf,
};
use tokio::time::{sleep, timeout};

use super::patient::Patient;
use crate::spec::SHELL;

/// What runs in the service's pod, and what it runs for each connection of the build's pod.
const SESSION: &str = include_str!("files/session.sh");
const DELIVER: &str = include_str!("files/deliver.sh");

/// Takes the script from its input: a command goes into the address of a request, which proxies bound.
const LOAD: &str = r#"eval "$(/busybox/dd bs=65536 count="$1" iflag=count_bytes,fullblock 2> /dev/null)""#;

/// How much of a pack is announced and sent at once.
const CHUNK: usize = 1 << 20;

/// The longest line that is read. None of the script's is nearly that long.
const LONGEST_LINE: u64 = 4096;

/// How long all indexes that are kept may be, in bytes: those of packs with millions of files. Of more, packs are as if they were not
/// there.
const LONGEST_INDEXES: u64 = 1 << 28;

/// How many packs are listened to. The script keeps fewer.
const MOST_PACKS: usize = 2000;

/// How many events are kept while an answer is waited for. There are two.
const MOST_EVENTS: usize = 8;

/// How long an answer may take that needs no more than a look.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take nothing of what is sent.
const STALLED_AFTER: Duration = Duration::from_secs(120);

/// How much is digested in a second at least, for answers that come after that.
const SLOWEST_BYTES: u64 = 10 << 20;

/// How often we speak while we wait: proxies close connections on which nobody does.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Why a conversation ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// It broke off, or the command in the pod failed.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// It said nothing for too long.
    #[error("it did not answer for {} s", .0.as_secs())]
    Silent(Duration),
    /// It said something that makes no sense here.
    #[error("it answered `{0}`")]
    Unexpected(String),
    /// Its volume is full.
    #[error("its volume is full")]
    Full,
    /// It got something else than was sent.
    #[error("it did not receive what was sent")]
    Damaged,
    /// What was to be sent could not be read.
    #[error("{}", .0.message())]
    Ours(Error),
}

type Result<T> = std::result::Result<T, SessionError>;

/// What the service says to a list of ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RopeAnswer {
    /// It has all.
    Going,
    /// This pack is not there any more.
    Gone(Digest),
}

/// What happened to the pod's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PodEvent {
    /// The pod takes the context.
    Pulling,
    /// The pod was given all of it.
    Delivered,
}

/// A conversation, over the input and output of the command [`command`].
#[derive(Debug)]
pub(crate) struct Session<S> {
    input: BufReader<ReadHalf<S>>,
    output: Patient<WriteHalf<S>>,
    /// Events that came while an answer was waited for.
    events: Vec<PodEvent>,
}

/// Returns the command to run in the service's pod.
pub(crate) fn command() -> [String; 5] {
    [SHELL, "-c", LOAD, "context-session", &SESSION.len().to_string()].map(str::to_owned)
}

impl<S: AsyncRead + AsyncWrite> Session<S> {
    /// Begins, and announces the `name` by which the pod will ask.
    pub(crate) async fn begin(stream: S, name: &str) -> Result<Self> {
        Self::begin_with(stream, name, SESSION, DELIVER).await
    }

    async fn begin_with(stream: S, name: &str, session: &str, deliver: &str) -> Result<Self> {
        let (input, output) = tokio::io::split(stream);
        let mut this = Self {
            input: BufReader::new(input),
            output: Patient::new(output, STALLED_AFTER),
            events: Vec::new(),
        };
        let announce = format!("announce {name} {}\n", deliver.len());
        for part in [session, &announce, deliver] {
            this.output.write_all(part.as_bytes()).await?;
        }
        this.output.flush().await?;
        match this.answer(PATIENCE).await?.as_str() {
            "announced" => Ok(this),
            "full" => Err(SessionError::Full),
            other => Err(SessionError::Unexpected(other.to_owned())),
        }
    }

    /// Returns the packs that the service has, with their sizes in bytes.
    pub(crate) async fn inventory(&mut self) -> Result<Vec<(Digest, u64)>> {
        self.say("inventory\n").await?;
        let mut packs = Vec::new();
        loop {
            let line = self.answer(PATIENCE).await?;
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["pack", pack, bytes] if packs.len() < MOST_PACKS => {
                    packs.push((digest(pack, &line)?, number(bytes, &line)?));
                }
                ["end"] => return Ok(packs),
                _ => return Err(SessionError::Unexpected(line)),
            }
        }
    }

    /// Returns the indexes of `packs`, in order, as bytes; `None` for a pack that is gone.
    pub(crate) async fn indexes(&mut self, packs: &[Digest]) -> Result<Vec<Option<Vec<u8>>>> {
        // All at once: each alone would take as long as the way there and back.
        let questions: Vec<String> = packs.iter().map(|pack| format!("index {}\n", pack.hex())).collect();
        self.say(&questions.concat()).await?;
        let mut indexes = Vec::with_capacity(packs.len());
        let mut room = LONGEST_INDEXES;
        for _ in packs {
            let line = self.answer(PATIENCE).await?;
            indexes.push(match line.split(' ').collect::<Vec<_>>()[..] {
                ["index", bytes] => {
                    let bytes = number(bytes, &line)?;
                    if bytes > LONGEST_INDEXES {
                        return Err(SessionError::Unexpected(line));
                    }
                    let index = self.bytes(bytes).await?;
                    room = room.saturating_sub(bytes);
                    (room > 0).then_some(index)
                }
                ["gone", _] => None,
                _ => return Err(SessionError::Unexpected(line)),
            });
        }
        Ok(indexes)
    }

    /// Sends a new pack of at most `most` bytes: `chunks`, and then what `finished` says of them, once they are sent.
    pub(crate) async fn store(
        &mut self,
        most: u64,
        mut chunks: impl Stream<Item = std::result::Result<Bytes, Error>> + Unpin,
        finished: impl AsyncFnOnce() -> std::result::Result<(Digest, PackIndex), Error>,
        mut on_sent: impl FnMut(),
    ) -> Result<()> {
        self.say(&format!("store {}\n", most.div_ceil(1024))).await?;
        let Self { input, output, .. } = self;
        let sending = async {
            let mut waiting: Vec<Bytes> = Vec::new();
            let mut length = 0;
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(SessionError::Ours)?;
                length += chunk.len();
                waiting.push(chunk);
                if length >= CHUNK {
                    send_chunk(output, &mut waiting, &mut length).await?;
                    on_sent();
                }
            }
            send_chunk(output, &mut waiting, &mut length).await?;
            on_sent();
            let (name, index) = finished().await.map_err(SessionError::Ours)?;
            let bytes = index.to_bytes(&name);
            let sum = format!("end\nsum {} {} {}\n", name.hex(), index.pack_size(), bytes.len());
            output.write_all(sum.as_bytes()).await?;
            output.write_all(&bytes).await?;
            output.flush().await?;
            Ok::<_, SessionError>(name)
        };
        let name = tokio::select! {
            biased;
            // Nothing is to be said before everything has arrived.
            early = read_line(input) => return Err(early.map_or_else(Into::into, SessionError::Unexpected)),
            sent = sending => sent?,
        };
        self.stored(name, patience_for(most)).await
    }

    /// Asks for the context that `rope` is the list of.
    pub(crate) async fn rope(&mut self, rope: &[PackRange]) -> Result<RopeAnswer> {
        let bytes = rope.iter().map(|range| range.length).sum();
        let line = |range: &PackRange| format!("{} {} {}\n", range.pack.hex(), range.offset, range.length);
        let lines = rope.iter().map(line).collect::<Vec<_>>().concat();
        self.say(&format!("rope {}\n{lines}", rope.len())).await?;
        // A service that was started anew digests each pack again.
        let line = self.answer(patience_for(bytes)).await?;
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["going"] => Ok(RopeAnswer::Going),
            ["gone", pack] => Ok(RopeAnswer::Gone(digest(pack, &line)?)),
            ["full"] => Err(SessionError::Full),
            _ => Err(SessionError::Unexpected(line)),
        }
    }

    /// Has the pod given `start`, what was asked for, and `end`.
    pub(crate) async fn hand_over(&mut self, start: &[u8], end: &[u8]) -> Result<()> {
        let announced = format!("hand-over {} {}\n", start.len(), end.len());
        for part in [announced.as_bytes(), start, end] {
            self.output.write_all(part).await?;
        }
        Ok(self.output.flush().await?)
    }

    /// Returns what the service says is the digest of all that was asked for, which is so many bytes.
    pub(crate) async fn sum(&mut self, bytes: u64) -> Result<Digest> {
        self.say("sum\n").await?;
        let line = self.answer(patience_for(bytes)).await?;
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["sum", sum] => digest(sum, &line),
            _ => Err(SessionError::Unexpected(line)),
        }
    }

    /// Has the context, whose digest is `sum`, stored as one pack with this `index`.
    pub(crate) async fn join(&mut self, sum: Digest, index: &PackIndex) -> Result<()> {
        let bytes = index.to_bytes(&sum);
        let announced = format!("join {} {} {}\n", sum.hex(), index.pack_size(), bytes.len());
        self.output.write_all(announced.as_bytes()).await?;
        self.output.write_all(&bytes).await?;
        self.output.flush().await?;
        self.stored(sum, patience_for(index.pack_size())).await
    }

    /// Waits for the next that happens to the pod's connections, and keeps the conversation alive meanwhile.
    pub(crate) async fn event(&mut self) -> Result<PodEvent> {
        loop {
            if !self.events.is_empty() {
                return Ok(self.events.remove(0));
            }
            let Self { input, output, .. } = self;
            let line = tokio::select! {
                line = timeout(PATIENCE, read_line(input)) => line.map_err(|_| SessionError::Silent(PATIENCE))??,
                never = ping(output) => return Err(never),
            };
            match event(&line) {
                Some(event) => return Ok(event),
                None if line == "pong" => {}
                None if line == "full" => return Err(SessionError::Full),
                None => return Err(SessionError::Unexpected(line)),
            }
        }
    }

    async fn stored(&mut self, name: Digest, patience: Duration) -> Result<()> {
        let line = self.answer(patience).await?;
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["stored", pack] if digest(pack, &line)? == name => Ok(()),
            ["full"] => Err(SessionError::Full),
            ["broken"] => Err(SessionError::Damaged),
            _ => Err(SessionError::Unexpected(line)),
        }
    }

    async fn say(&mut self, lines: &str) -> Result<()> {
        self.output.write_all(lines.as_bytes()).await?;
        Ok(self.output.flush().await?)
    }

    /// Reads the next line that is not an event.
    async fn answer(&mut self, patience: Duration) -> Result<String> {
        loop {
            let line = timeout(patience, read_line(&mut self.input)).await;
            let line = line.map_err(|_| SessionError::Silent(patience))??;
            match event(&line) {
                Some(event) if self.events.len() < MOST_EVENTS => self.events.push(event),
                None if line == "pong" => {}
                _ => return Ok(line),
            }
        }
    }

    async fn bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut input = (&mut self.input).take(length);
        let reading = timeout(patience_for(length), input.read_to_end(&mut bytes)).await;
        reading.map_err(|_| SessionError::Silent(PATIENCE))??;
        if bytes.len() as u64 != length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(bytes)
    }
}

async fn send_chunk(
    output: &mut (impl AsyncWrite + Unpin),
    waiting: &mut Vec<Bytes>,
    length: &mut usize,
) -> Result<()> {
    if *length > 0 {
        output.write_all(format!("chunk {length}\n").as_bytes()).await?;
        for chunk in waiting.drain(..) {
            output.write_all(&chunk).await?;
        }
        *length = 0;
    }
    Ok(())
}

/// Speaks now and then, until that fails.
async fn ping(output: &mut (impl AsyncWrite + Unpin)) -> SessionError {
    loop {
        sleep(PING_EVERY).await;
        let said = async {
            output.write_all(b"ping\n").await?;
            output.flush().await
        };
        if let Err(error) = said.await {
            return error.into();
        }
    }
}

async fn read_line(input: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut line = Vec::new();
    input.take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn event(line: &str) -> Option<PodEvent> {
    match line {
        "pulling" => Some(PodEvent::Pulling),
        "delivered" => Some(PodEvent::Delivered),
        _ => None,
    }
}

fn digest(hex: &str, line: &str) -> Result<Digest> {
    format!("sha256:{hex}").parse().map_err(|_| SessionError::Unexpected(line.to_owned()))
}

fn number(text: &str, line: &str) -> Result<u64> {
    text.parse().map_err(|_| SessionError::Unexpected(line.to_owned()))
}

fn patience_for(bytes: u64) -> Duration {
    PATIENCE + Duration::from_secs(bytes / SLOWEST_BYTES)
}

#[cfg(test)]
mod tests;
