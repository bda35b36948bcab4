//! What we tell the build's pod about its context, on a way on which anybody may write: a list of what each part has to be,
//! and a proof that it is ours. The other side is in `files/build.sh`.
//!
//! Why: docs/decisions/28-what-is-stored-by-input-is-verified-by-output.md

use garden_build_core::Digest;

use super::Key;
use crate::pack::Proof;

/// Returns what comes before a stream of parts that have these lengths and have to be this, and of an `end` that was made here.
pub(crate) fn start(key: &Key, parts: impl Iterator<Item = (u64, Proof)>, end: &[u8]) -> Vec<u8> {
    let end = (end.len() as u64, Proof::Stored(Digest::of(end)));
    let list: String = parts.chain([end]).map(|(bytes, proof)| line(bytes, &proof)).collect();
    // The pod reads so many bytes before it knows whom it listens to.
    format!("{:07} {}\n{list}", list.len(), key.proof_of_parts(list.as_bytes())).into_bytes()
}

fn line(bytes: u64, proof: &Proof) -> String {
    let (kind, digest) = match proof {
        Proof::Stored(digest) => ("stored", digest),
        Proof::Plain(digest) => ("plain", digest),
    };
    format!("{bytes} {kind} {}\n", digest.hex())
}
