use crate::{Digest, Sha256};

/// Digests named fields: a SHA-256 over them, each framed by its length, so that moving a byte from the end of
/// one field to the start of the next changes the digest.
#[derive(Debug)]
pub struct FramedHasher(Sha256);

impl FramedHasher {
    /// Starts a hash in its own domain, so that hashes of different things never coincide.
    pub fn new(domain: &str) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.frame(domain.as_bytes());
        hasher
    }

    /// Adds one field.
    pub fn field(&mut self, name: &str, value: &[u8]) {
        self.frame(name.as_bytes());
        self.frame(value);
    }

    /// Adds one field whose value is in two parts.
    pub fn joined_field(&mut self, name: &str, [first, second]: [&[u8]; 2]) {
        self.frame(name.as_bytes());
        self.0.update(&((first.len() + second.len()) as u64).to_be_bytes());
        self.0.update(first);
        self.0.update(second);
    }

    /// Returns the digest of all fields.
    pub fn finish(self) -> Digest {
        self.0.digest()
    }

    fn frame(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }
}
