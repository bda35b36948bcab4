//! The file in which the digests of one context directory are kept.
//!
//! Blocks, each with some files of one directory; an index of the blocks; the path of the context directory, or nothing; a footer
//! of fixed length. All numbers are little-endian. A block is read when its directory is scanned, so a large cache takes little
//! memory. Whatever is not as it was written is found out by a checksum, and is not used: that of a block
//! lies in the index, that of the index in the footer.
//!
//! No contents are in it, and no name but that path: a file is known by its stamp, a directory by device and inode.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::stamp::Stamp;
use crate::{Digest, Sha256};

/// What the file ends with. The last character is the version of the format.
const MAGIC: &[u8; 8] = b"gbdigst2";

const ITEM: usize = 5 * 8 + 32;
const BLOCK: usize = 3 * 8 + 4 + 4 + CHECKSUM;
const FOOTER: usize = 8 + 32 + 16 + 4 + 4 + CHECKSUM + MAGIC.len();

/// The longest path that is read, in bytes. Linux has none of more than 4096.
const LONGEST_PATH: u64 = 64 * 1024;

/// Bytes of a SHA-256 that are kept.
const CHECKSUM: usize = 16;

/// A directory, by device and inode.
pub(in super::super) type Directory = (u64, u64);

/// A file's digest, and by what the file is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Item {
    pub(in super::super) stamp: Stamp,
    pub(in super::super) digest: Digest,
}

/// Where the items of a directory, or some of them, stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) directory: Directory,
    start: u64,
    items: u32,
    /// The day on which the directory was last seen, since 1970.
    pub(super) seen: u32,
    checksum: [u8; CHECKSUM],
}

/// A file that was written before.
#[derive(Debug)]
pub(super) struct Stored {
    file: File,
    /// Sorted by directory.
    pub(super) blocks: Vec<Block>,
    /// The day on which it was written.
    pub(super) written: u32,
    /// What the context directory was then.
    pub(super) top: Directory,
}

/// What a file says of itself.
struct Footer {
    blocks: u64,
    root: Digest,
    top: Directory,
    written: u32,
    path: u32,
    checksum: [u8; CHECKSUM],
}

impl Footer {
    /// Reads that of `file`, and where it stands.
    fn read(file: &mut File) -> Option<(Self, [u8; FOOTER], u64)> {
        let at = file.seek(SeekFrom::End(-i64::try_from(FOOTER).ok()?)).ok()?;
        let mut bytes = [0; FOOTER];
        file.read_exact(&mut bytes).ok()?;
        let mut rest = &bytes[..];
        let blocks = u64::from_le_bytes(take(&mut rest)?);
        let root = Digest::from_sha256(take(&mut rest)?);
        let top = (u64::from_le_bytes(take(&mut rest)?), u64::from_le_bytes(take(&mut rest)?));
        let (written, path) = (u32::from_le_bytes(take(&mut rest)?), u32::from_le_bytes(take(&mut rest)?));
        let checksum = take(&mut rest)?;
        (rest == MAGIC).then_some((Self { blocks, root, top, written, path, checksum }, bytes, at))
    }
}

/// Returns the path of the context directory that `file` is about, if it says so. It is the one that the file is called after, by
/// [`name_of`].
#[cfg(unix)]
pub(super) fn root_of(mut file: File, name: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let (footer, _, at) = Footer::read(&mut file)?;
    let length = u64::from(footer.path);
    if length == 0 || length > LONGEST_PATH {
        return None;
    }
    file.seek(SeekFrom::Start(at.checked_sub(length)?)).ok()?;
    let mut path = vec![0; usize::try_from(length).ok()?];
    file.read_exact(&mut path).ok()?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(path));
    (name_of(&path).hex() == name).then_some(path)
}

/// Nothing was ever written here.
#[cfg(not(unix))]
pub(super) fn root_of(_: File, _: &str) -> Option<PathBuf> {
    None
}

impl Stored {
    /// Reads the index of `file`, if it is a whole one of the context directory `root`.
    pub(super) fn read(mut file: File, root: &Path) -> Option<Self> {
        let (footer, bytes, end) = Footer::read(&mut file)?;
        let length = footer.blocks.checked_mul(BLOCK as u64)?.checked_add(footer.path.into())?;
        if length > end || footer.root != name_of(root) {
            return None;
        }
        file.seek(SeekFrom::Start(end - length)).ok()?;
        let mut index = vec![0; usize::try_from(length).ok()?];
        file.read_exact(&mut index).ok()?;
        if checksum([&index, &bytes[..FOOTER - MAGIC.len() - CHECKSUM]]) != footer.checksum {
            return None;
        }
        let mut rest = &index[..];
        let blocks = (0..footer.blocks).map(|_| Block::read(&mut rest)).collect::<Option<_>>()?;
        Some(Self { file, blocks, written: footer.written, top: footer.top })
    }

    /// Returns the items of `directory`, sorted by inode.
    pub(super) fn items(&self, directory: Directory) -> Vec<Item> {
        let first = self.blocks.partition_point(|block| block.directory < directory);
        let blocks = self.blocks[first..].iter().take_while(|block| block.directory == directory);
        let mut items: Vec<Item> = blocks.filter_map(|block| self.block(block)).flatten().collect();
        if !items.is_sorted_by_key(|item| item.stamp.inode) {
            items.sort_by_key(|item| item.stamp.inode);
        }
        items
    }

    fn block(&self, block: &Block) -> Option<Vec<Item>> {
        let bytes = self.bytes(block)?;
        if checksum([&bytes, &[]]) != block.checksum {
            return None;
        }
        let mut rest = &bytes[..];
        (0..block.items).map(|_| Item::read(&mut rest)).collect()
    }

    #[cfg(unix)]
    fn bytes(&self, block: &Block) -> Option<Vec<u8>> {
        use std::os::unix::fs::FileExt as _;
        let mut bytes = vec![0; usize::try_from(block.items).ok()? * ITEM];
        self.file.read_exact_at(&mut bytes, block.start).ok()?;
        Some(bytes)
    }

    /// Nothing has a stamp here, so nothing was ever written.
    #[cfg(not(unix))]
    fn bytes(&self, _: &Block) -> Option<Vec<u8>> {
        None
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Draft {
    output: BufWriter<NamedTempFile>,
    length: u64,
    blocks: Vec<Block>,
}

impl Draft {
    pub(super) fn new(file: NamedTempFile) -> Self {
        Self { output: BufWriter::new(file), length: 0, blocks: Vec::new() }
    }

    /// Adds items of a directory, sorted by inode.
    pub(super) fn add(&mut self, directory: Directory, seen: u32, items: &[Item]) -> io::Result<()> {
        let bytes: Vec<u8> = items.iter().flat_map(Item::bytes).collect();
        let checksum = checksum([&bytes, &[]]);
        let items = u32::try_from(items.len()).map_err(io::Error::other)?;
        self.append(Block { directory, start: 0, items, seen, checksum }, &bytes)
    }

    /// Adds a block of an older file as it is.
    pub(super) fn copy(&mut self, old: &Stored, block: &Block, seen: u32) -> io::Result<()> {
        let bytes = old.bytes(block).ok_or(io::ErrorKind::InvalidData)?;
        self.append(Block { seen, ..*block }, &bytes)
    }

    fn append(&mut self, block: Block, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.blocks.push(Block { start: self.length, ..block });
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Writes the index, the path of the context directory `root` if it `is_named`, and the footer.
    pub(super) fn finish(
        mut self,
        root: &Path,
        top: Directory,
        is_named: bool,
        today: u32,
    ) -> io::Result<NamedTempFile> {
        self.blocks.sort_by_key(|block| block.directory);
        let mut hasher = Sha256::new();
        for block in &self.blocks {
            let bytes = block.bytes();
            hasher.update(&bytes);
            self.output.write_all(&bytes)?;
        }
        let path = if is_named { root.as_os_str().as_encoded_bytes() } else { &[] };
        let mut footer = (self.blocks.len() as u64).to_le_bytes().to_vec();
        footer.extend(name_of(root).as_bytes());
        footer.extend([top.0, top.1].map(u64::to_le_bytes).as_flattened());
        footer.extend(today.to_le_bytes());
        footer.extend(u32::try_from(path.len()).map_err(io::Error::other)?.to_le_bytes());
        hasher.update(path);
        hasher.update(&footer);
        for part in [path, &footer[..], &shortened(hasher), MAGIC] {
            self.output.write_all(part)?;
        }
        self.output.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Block {
    fn bytes(&self) -> [u8; BLOCK] {
        let numbers = [self.directory.0, self.directory.1, self.start].map(u64::to_le_bytes);
        let small = [self.items, self.seen].map(u32::to_le_bytes);
        joined([numbers.as_flattened(), small.as_flattened(), &self.checksum])
    }

    fn read(rest: &mut &[u8]) -> Option<Self> {
        let mut number = || take(rest).map(u64::from_le_bytes);
        let (directory, start) = ((number()?, number()?), number()?);
        let mut small = || take(rest).map(u32::from_le_bytes);
        let (items, seen) = (small()?, small()?);
        Some(Self { directory, start, items, seen, checksum: take(rest)? })
    }
}

impl Item {
    fn bytes(&self) -> [u8; ITEM] {
        let Stamp { device, inode, size, modified, changed } = self.stamp;
        let numbers = [device, inode, size, modified.cast_unsigned(), changed.cast_unsigned()];
        joined([numbers.map(u64::to_le_bytes).as_flattened(), self.digest.as_bytes(), &[]])
    }

    fn read(rest: &mut &[u8]) -> Option<Self> {
        let mut number = || take(rest).map(u64::from_le_bytes);
        let (device, inode, size) = (number()?, number()?, number()?);
        let (modified, changed) = (number()?.cast_signed(), number()?.cast_signed());
        let stamp = Stamp { device, inode, size, modified, changed };
        Some(Self { stamp, digest: Digest::from_sha256(take(rest)?) })
    }
}

/// Takes the first `N` bytes off `rest`.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

/// Puts parts, which have `N` bytes together, behind each other.
fn joined<const N: usize>(parts: [&[u8]; 3]) -> [u8; N] {
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
        *place = *byte;
    }
    bytes
}

fn checksum(parts: [&[u8]; 2]) -> [u8; CHECKSUM] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    shortened(hasher)
}

fn shortened(hasher: Sha256) -> [u8; CHECKSUM] {
    let whole = hasher.digest();
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&whole.as_bytes()[..CHECKSUM]);
    checksum
}

/// What stands for the context directory `root`, which is absolute and without links.
pub(super) fn name_of(root: &Path) -> Digest {
    Digest::of(root.as_os_str().as_encoded_bytes())
}
