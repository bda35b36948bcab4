// Why: docs/decisions/07-a-cut-stream-builds-nothing.md

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use garden_build_core::Result;
use garden_build_core::context::{ByteStream, Context, ContextError, GzipMembers, TarStream, byte_stream};

use crate::pack;

/// Streams are read by the executor with one thread of Go's decoder; a higher level only costs us.
const COMPRESSION_LEVEL: u8 = 1;

/// How a build context is laid out for the executor's stdin.
///
/// The stream is a gzip file of several members. Go's reader, which the executor reads `tar://stdin`
/// with, checks the CRC-32 and the length of a member when it moves on to the next one:
///
/// 1. the context, in one member or in many,
/// 2. the tail: the Dockerfile, in a directory of ours; and the end of the tar stream.
///
/// So the executor, which needs the Dockerfile to begin, cannot begin before it has verified every
/// byte of the context and of the Dockerfile, and a stream that is cut anywhere builds nothing.
///
/// The Dockerfile in our directory is also what makes ignore rules exact. The executor takes the ignore file
/// beside the Dockerfile before any other, and ours excludes our directory and nothing else: the
/// context was filtered here as `BuildKit` filters, and the executor's own, slightly different
/// matcher has nothing left to decide.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    context: Context,
    directory: String,
}

impl Delivery {
    pub(crate) fn of(context: &Context) -> Self {
        let taken = |name: &str| context.manifest().find(name).is_some();
        let mut directory = ".garden-build".to_owned();
        while taken(&directory) {
            directory.push('_');
        }
        Self { context: context.clone(), directory }
    }

    /// Returns the path of the Dockerfile below the context, as the executor will find it.
    pub(crate) fn dockerfile_path(&self) -> String {
        format!("{}/Dockerfile", self.directory)
    }

    /// Returns the last members of the stream.
    ///
    /// # Errors
    /// None that can be expected.
    pub(crate) fn tail(&self) -> Result<Vec<u8>> {
        Ok(pack::tail(&self.directory, self.context.dockerfile().contents())?)
    }

    /// Returns the bytes for the executor's stdin, made as they are asked for. `read` counts the
    /// bytes of the context that went into them so far.
    pub(crate) fn stream(self, read: Arc<AtomicU64>) -> ByteStream {
        byte_stream(move |output| {
            let mut tar = TarStream::new(GzipMembers::new(&mut *output, COMPRESSION_LEVEL));
            // Stopping is up to the reader: when it drops the stream, the next write fails.
            tar.add_context(&self.context, &|| false, &mut |bytes| read.store(bytes, Ordering::Relaxed))?;
            tar.get_mut().next_member().map_err(ContextError::Write)?;
            drop(tar);
            output.write_all(&self.tail()?).map_err(ContextError::Write)?;
            Ok(())
        })
    }
}
