//! What an imaginary service that keeps packs in memory makes of contexts.

mod edits;
mod failures;
mod proofs;
mod slow_output;

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;

use super::piece::BLOCK;
use super::*;
use garden_build_core::context::{Context, ContextError, TarStream};
use garden_build_core::{BuildRequest, Digest};

/// A context directory.
struct Project(tempfile::TempDir);

impl Project {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let project = Self(tempfile::tempdir().expect("temporary directory"));
        project.write("Dockerfile", b"FROM scratch");
        for (path, content) in files {
            project.write(path, content);
        }
        project
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, content).expect("file");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::create_dir_all(self.path(to).parent().expect("parent")).expect("directory");
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    fn scan(&self) -> Context {
        Context::scan(&BuildRequest::new("test", self.0.path()), &|| false).expect("context")
    }
}

/// Keeps packs, as the service does on its volume.
#[derive(Default)]
struct Service {
    packs: HashMap<Digest, Vec<u8>>,
    known: KnownPacks,
    /// Whether each delivery is by another client, which has written nothing of what is there.
    has_many_clients: bool,
}

/// What a delivery came to.
struct Delivery {
    sent: usize,
    ranges: usize,
    index: PackIndex,
    stream: Vec<u8>,
}

impl Service {
    fn deliver(&mut self, context: &Context) -> Delivery {
        let plan = Plan::of(context, &self.known);
        let (sent, assembly) = match plan.assembly() {
            Some(assembly) => (Vec::new(), assembly),
            None => write(&plan),
        };
        if let Some(pack) = &assembly.new_pack {
            assert_eq!(pack.name, Digest::of(&sent));
            let segments = (!self.has_many_clients).then(|| pack.segments.clone());
            self.store(sent.clone(), &pack.index, segments);
        }
        let stream: Vec<u8> = assembly.rope.iter().flat_map(|range| self.range(range)).copied().collect();
        assert_eq!(assembly.index.pack_size(), stream.len() as u64);
        let proofs = plan.prove(&assembly.parts, &|| false).expect("proven");
        assert_eq!(first_disproved(&stream, &assembly.parts, &proofs), None);
        Delivery { sent: sent.len(), ranges: assembly.rope.len(), index: assembly.index, stream }
    }

    fn store(&mut self, bytes: Vec<u8>, index: &PackIndex, segments: Option<Segments>) {
        let name = Digest::of(&bytes);
        let index = PackIndex::parse(&index.to_bytes(&name), &name).expect("an index");
        self.known.add(name, bytes.len() as u64, index, segments).expect("of this pack");
        self.packs.insert(name, bytes);
    }

    fn range(&self, range: &PackRange) -> &[u8] {
        let number = |value: u64| usize::try_from(value).expect("in memory");
        &self.packs[&range.pack][number(range.offset)..][..number(range.length)]
    }

    fn forget_all(&mut self) {
        for (name, _) in self.packs.drain() {
            self.known.forget(&name);
        }
    }
}

fn write(plan: &Plan) -> (Vec<u8>, Assembly) {
    let (mut pack, mut progress) = (Vec::new(), 0);
    let assembly = plan.write(&mut pack, &|| false, &mut |bytes| progress = bytes).expect("written");
    assert_eq!(progress, plan.missing_bytes());
    (pack, assembly)
}

/// Does as the build's pod. Returns the number of the first part that is not what it should be.
fn first_disproved(stream: &[u8], parts: &[Part], proofs: &[Proof]) -> Option<usize> {
    assert_eq!(parts.len(), proofs.len());
    let mut rest = stream;
    let disproved = parts.iter().zip(proofs).position(|(part, proof)| {
        let (bytes, after) = rest.split_at(usize::try_from(part.length).expect("in memory"));
        assert!(!bytes.is_empty());
        rest = after;
        match proof {
            Proof::Stored(digest) => Digest::of(bytes) != *digest,
            Proof::Plain(digest) => Digest::of(&decompressed(bytes)) != *digest,
        }
    });
    assert!(disproved.is_some() || rest.is_empty(), "all of the stream is proven");
    disproved
}

/// The archive as it would be sent afresh, without its end.
fn archive(context: &Context) -> Vec<u8> {
    let mut tar = TarStream::new(Vec::new());
    tar.add_context(context, &|| false, &mut |_| {}).expect("archive");
    std::mem::take(tar.get_mut())
}

fn decompressed(stream: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(stream).read_to_end(&mut plain).expect("a gzip file");
    plain
}

/// Bytes that do not compress.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn a_first_delivery_is_one_range_and_a_changed_file_makes_it_three() {
    let project =
        Project::new(&[("a", &noise(1, 50_000)), ("b", &noise(2, 50_000)), ("c/d", &noise(3, 50_000))]);
    let mut service = Service::default();
    let first = service.deliver(&project.scan());
    assert_eq!((first.sent, first.ranges), (first.stream.len(), 1));
    project.write("b", &noise(4, 50_000));
    let second = service.deliver(&project.scan());
    assert!((50_000..51_000).contains(&second.sent), "{}", second.sent);
    assert_eq!(second.ranges, 3);
    let third = service.deliver(&project.scan());
    assert_eq!((third.sent, third.ranges), (0, 3));
}

#[test]
fn a_file_under_another_name_costs_headers() {
    let project = Project::new(&[("a", &noise(1, 3_000_000)), ("d/b", &noise(2, 10_000))]);
    let mut service = Service::default();
    service.deliver(&project.scan());
    let mut sent = |context: &Context| {
        let delivery = service.deliver(context);
        assert!(decompressed(&delivery.stream) == archive(context));
        delivery.sent
    };
    project.rename("a", "z");
    assert!(sent(&project.scan()) < 400);
    project.rename("d", "e");
    assert!(sent(&project.scan()) < 400);
    fs::copy(project.path("z"), project.path("copy")).expect("copied");
    assert!(sent(&project.scan()) < 400);
    let elsewhere = Project::new(&[("other/name", &noise(1, 3_000_000))]);
    assert!(sent(&elsewhere.scan()) < 400);
}

#[test]
fn what_is_twice_in_a_context_is_sent_once() {
    let content = noise(1, 2_000_000);
    let project = Project::new(&[("a", &content), ("b", &content), ("c", &content)]);
    let delivery = Service::default().deliver(&project.scan());
    assert!(delivery.sent < 2_010_000);
    assert!(decompressed(&delivery.stream) == archive(&project.scan()));
}

#[test]
fn small_files_with_the_same_content_do_not_cut_the_rope() {
    let paths: Vec<String> = (0..100).map(|number| format!("{number}/LICENSE")).collect();
    let files: Vec<(&str, &[u8])> = paths.iter().map(|path| (path.as_str(), &b"permission "[..])).collect();
    assert_eq!(Service::default().deliver(&Project::new(&files).scan()).ranges, 1);
}

#[test]
fn a_lost_pack_is_sent_again() {
    let project = Project::new(&[("a", &noise(1, 100_000))]);
    let mut service = Service::default();
    let first = service.deliver(&project.scan());
    service.forget_all();
    assert!(Plan::of(&project.scan(), &service.known).assembly().is_none());
    let second = service.deliver(&project.scan());
    assert_eq!((second.sent, second.stream), (first.sent, first.stream));
    assert_eq!(service.deliver(&project.scan()).sent, 0);
}

#[test]
fn of_a_large_file_only_the_blocks_that_are_missing_are_sent() {
    let project = Project::new(&[("large", &noise(1, 5 * BLOCK as usize + 7))]);
    let context = project.scan();
    let (pack, assembly) = write(&Plan::of(&context, &KnownPacks::new()));
    let whole = assembly.new_pack.expect("a pack").index;
    // Headers of the Dockerfile and of the file, the Dockerfile's content, and two blocks.
    let mut index = PackIndex::default();
    index.extend(&whole, 0..5);
    let known = usize::try_from(index.pack_size()).expect("in memory");
    let mut service = Service::default();
    service.store(pack[..known].to_vec(), &index, None);
    let delivery = service.deliver(&context);
    assert_eq!((delivery.sent, delivery.ranges), (pack.len() - known, 2));
    assert!(decompressed(&delivery.stream) == archive(&context));
}

#[test]
fn an_empty_context_is_complete() {
    let project = Project::new(&[(".dockerignore", b"*")]);
    let assembly = Plan::of(&project.scan(), &KnownPacks::new()).assembly().expect("complete");
    assert_eq!((assembly.rope, assembly.index), (Vec::new(), PackIndex::default()));
}
