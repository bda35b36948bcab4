//! Directories of the client. Source: `BuildKit`, `session/filesync`, and fsutil's `send.go` and `receive.go`.

use std::collections::BTreeMap;

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::v1::file_sync_client::FileSyncClient;
use futures::stream;
use garden_build_core::Sha256;
use tokio::sync::mpsc;
use tonic::Request;

use super::daemon::LARGEST_MESSAGE;
use super::session::origin;
use super::{BuildFailure, FakeBuild};

/// Bits of Go's `fs.FileMode` that say what an entry is.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const OTHERS: u32 = (1 << 26) | (1 << 25) | (1 << 24) | (1 << 21) | (1 << 19);

/// What of a directory the daemon asks for. Default: everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FileFilter {
    /// Patterns of what is wanted; without any, everything.
    pub include: Vec<String>,
    /// Patterns of what is not wanted, as the lines of a `.dockerignore`.
    pub exclude: Vec<String>,
    /// Paths that are wanted along with what is reached through links in them.
    pub follow: Vec<String>,
}

/// A directory that the client has sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Directory {
    /// The entries, by their paths, with slashes and without one at the beginning. Directories are entries, too.
    pub entries: BTreeMap<String, FileEntry>,
}

/// An entry of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileEntry {
    /// What it is.
    pub kind: FileKind,
    /// Its permissions, such as `0o644`.
    pub permissions: u32,
    /// When it was last modified, in nanoseconds since 1970.
    pub modified: i64,
    /// Its content; empty if it is no file.
    pub content: Vec<u8>,
    /// What a symbolic link leads to, or the path of the file that this is a hard link to; empty else.
    pub link: String,
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FileKind {
    /// An ordinary file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a pipe, or a socket.
    Other,
}

impl Directory {
    /// Returns the paths of all ordinary files, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let files = self.entries.iter().filter(|(_, entry)| entry.kind == FileKind::File);
        files.map(|(path, _)| path.as_str())
    }

    /// Returns the content of a file. A hard link has that of the file to which it leads.
    pub fn content(&self, path: &str) -> Option<&[u8]> {
        let entry = self.entries.get(path).filter(|entry| entry.kind == FileKind::File)?;
        let entry = if entry.link.is_empty() { entry } else { self.entries.get(&entry.link)? };
        Some(&entry.content)
    }

    /// Returns the content of a file. `None` also if it is not text.
    pub fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(self.content(path)?).ok()
    }

    pub(super) fn update(&self, digest: &mut Sha256) {
        for (path, FileEntry { kind, permissions, content, link, .. }) in &self.entries {
            digest
                .update(format!("{path:?} {kind:?} {permissions:o} {link:?} {} ", content.len()).as_bytes());
            digest.update(content);
        }
    }
}

impl FileEntry {
    fn new(stat: Stat) -> Self {
        let kind = match stat.mode {
            mode if mode & DIRECTORY != 0 => FileKind::Directory,
            mode if mode & SYMLINK != 0 => FileKind::Symlink,
            mode if mode & OTHERS != 0 => FileKind::Other,
            _ => FileKind::File,
        };
        Self {
            kind,
            permissions: stat.mode & 0o777,
            modified: stat.mod_time,
            content: Vec::new(),
            link: stat.linkname,
        }
    }
}

/// What it asks the client for, of files.
impl FakeBuild {
    /// Fetches a directory, such as `context` or `dockerfile`.
    ///
    /// # Errors
    /// If the client does not have it, or cannot send it.
    pub async fn directory(&self, name: &str) -> Result<Directory, BuildFailure> {
        self.directory_with(name, &FileFilter::default()).await
    }

    /// Fetches what `filter` keeps of a directory.
    ///
    /// # Errors
    /// If the client does not have it, or cannot send it.
    pub async fn directory_with(&self, name: &str, filter: &FileFilter) -> Result<Directory, BuildFailure> {
        let (ask, mut asked) = mpsc::unbounded_channel();
        let mut request = Request::new(stream::poll_fn(move |context| asked.poll_recv(context)));
        let metadata = request.metadata_mut();
        let name_of_directory = [name.to_owned()];
        let values = [
            ("dir-name", &name_of_directory[..]),
            ("include-patterns", &filter.include),
            ("exclude-patterns", &filter.exclude),
            ("followpaths", &filter.follow),
        ];
        for (key, values) in values {
            for value in values {
                // Escaped as a whole, which the client is told.
                let escaped: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
                metadata
                    .append(key, escaped.parse().map_err(|_| BuildFailure::new("a pattern is not text"))?);
            }
        }
        for key in [
            "dir-name-encoded",
            "include-patterns-encoded",
            "exclude-patterns-encoded",
            "followpaths-encoded",
        ] {
            metadata.insert(key, tonic::metadata::MetadataValue::from_static("1"));
        }
        let client = FileSyncClient::with_origin(self.channel.clone(), origin());
        let answer = client.max_decoding_message_size(LARGEST_MESSAGE).diff_copy(request).await;
        let mut packets = answer.map_err(|status| BuildFailure::of_call(&status))?.into_inner();
        let mut received = Received::default();
        while let Some(packet) = packets.message().await.map_err(|status| BuildFailure::of_call(&status))? {
            if packet.r#type() == PacketType::PacketFin {
                break;
            }
            if let Some(answer) = received.take(packet)? {
                // If the client has gone, its packets end.
                let _ = ask.send(answer);
            }
        }
        let directory = received.finish()?;
        self.note(|record| record.directories.insert(name.to_owned(), directory.clone()));
        Ok(directory)
    }
}

/// What has come of a directory.
#[derive(Default)]
struct Received {
    directory: Directory,
    /// The path of each entry that was listed; its place is its number.
    listed: Vec<String>,
    is_listed: bool,
    /// How many files were asked for, and have not come as a whole.
    open: usize,
}

impl Received {
    /// Takes a packet, and returns what to answer.
    fn take(&mut self, packet: Packet) -> Result<Option<Packet>, BuildFailure> {
        match (packet.r#type(), packet.stat) {
            (PacketType::PacketStat, Some(stat)) => {
                let number = u32::try_from(self.listed.len()).unwrap_or(u32::MAX);
                let path = stat.path.clone();
                let entry = FileEntry::new(stat);
                let is_wanted = entry.kind == FileKind::File && entry.link.is_empty();
                self.listed.push(path.clone());
                self.directory.entries.insert(path, entry);
                if is_wanted {
                    self.open += 1;
                    return Ok(Some(answer(PacketType::PacketReq, number)));
                }
                return Ok(None);
            }
            (PacketType::PacketStat, None) => self.is_listed = true,
            (PacketType::PacketData, _) if packet.data.is_empty() => self.open = self.open.saturating_sub(1),
            (PacketType::PacketData, _) => {
                let path = usize::try_from(packet.id).ok().and_then(|number| self.listed.get(number));
                let entry = path.and_then(|path| self.directory.entries.get_mut(path));
                let entry = entry.ok_or_else(|| BuildFailure::new("the client sent data of no file"))?;
                entry.content.extend(packet.data);
            }
            (PacketType::PacketErr, _) => {
                return Err(BuildFailure::new(String::from_utf8_lossy(&packet.data)));
            }
            (PacketType::PacketReq | PacketType::PacketFin, _) => {
                return Err(BuildFailure::new("the client sent a packet that only a daemon sends"));
            }
        }
        Ok(self.is_complete().then(|| answer(PacketType::PacketFin, 0)))
    }

    fn is_complete(&self) -> bool {
        self.is_listed && self.open == 0
    }

    fn finish(self) -> Result<Directory, BuildFailure> {
        if !self.is_complete() {
            return Err(BuildFailure::new("the client stopped before it had sent all files"));
        }
        Ok(self.directory)
    }
}

fn answer(kind: PacketType, id: u32) -> Packet {
    Packet { r#type: kind.into(), stat: None, id, data: Vec::new() }
}
