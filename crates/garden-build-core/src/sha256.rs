use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

use crate::Digest;

/// Digests bytes that come in pieces.
///
/// The algorithm is in assembly, and so as quick in a program that is compiled without optimisation. In Rust, every byte of a context would then
/// take forty times as long, as no profile of ours reaches a program that depends on us.
#[derive(Clone)]
pub struct Sha256(Context);

impl Sha256 {
    /// Begins with no bytes.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all that was added.
    pub fn digest(self) -> Digest {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.finish().as_ref());
        Digest::from_sha256(digest)
    }

    /// Returns the digest of all that was added, and begins anew.
    pub fn digest_and_begin_anew(&mut self) -> Digest {
        std::mem::take(self).digest()
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: FIPS 180-4's examples by NIST, "SHA-256", of one block and of two.
    #[test]
    fn pieces_digest_like_the_whole_and_the_next_digest_begins_with_nothing() {
        const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        const LONG: &str = "sha256:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
        let mut hasher = Sha256::new();
        for (pieces, digest) in [
            (&["a", "", "bc"][..], ABC),
            (&["abcdbcdecdefdefgefghfghighijhijkijkl", "jklmklmnlmnomnopnopq"], LONG),
        ] {
            for piece in pieces {
                hasher.update(piece.as_bytes());
            }
            assert_eq!(hasher.digest_and_begin_anew().to_string(), digest);
            assert_eq!(Digest::of(pieces.concat().as_bytes()).to_string(), digest);
        }
        assert_eq!(hasher.digest(), Digest::of(b""));
    }
}
