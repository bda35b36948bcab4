// Why: docs/decisions/35-the-dockerfile-travels-apart.md

use garden_build_core::context::{ContextError, GzipMembers, TarStream};

/// It is read once, by one thread; more would only cost time.
const COMPRESSION_LEVEL: u8 = 1;

/// Returns the end of a context's gzip file: two members, which hold
///
/// 1. the `dockerfile` as `DIRECTORY/Dockerfile`, and an ignore file beside it that leaves out `directory`
///    and nothing else,
/// 2. the end of the archive, flushed so that a reader comes to it though its input stays open.
///
/// Go's reader verifies a member when it moves on to the next one, so an executor that finds the Dockerfile and
/// reads to the archive's end has verified everything.
///
/// # Errors
/// None that can be expected: it is written to memory.
pub fn tail(directory: &str, dockerfile: &[u8]) -> Result<Vec<u8>, ContextError> {
    let mut tar = TarStream::new(GzipMembers::new(Vec::new(), COMPRESSION_LEVEL));
    let path = format!("{directory}/Dockerfile");
    tar.add_file(&format!("{path}.dockerignore"), format!("{directory}\n{directory}/**\n").as_bytes())?;
    tar.add_file(&path, dockerfile)?;
    tar.get_mut().next_member().map_err(ContextError::Write)?;
    tar.finish()?.finish().map_err(ContextError::Write)
}
