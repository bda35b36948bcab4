//! What the packs of an imaginary service give.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::*;
use crate::context::{Context, TarStream};
use crate::{BuildRequest, Digest};

/// Has packs in memory, as a service has them on its volume.
#[derive(Default)]
struct Service {
    packs: HashMap<Digest, Vec<u8>>,
    known: KnownPacks,
}

impl Service {
    /// Delivers a context. Returns what was sent and the rope.
    fn deliver(&mut self, context: &Context) -> (usize, Assembly) {
        let plan = Plan::of(context, &self.known);
        let mut sent = Vec::new();
        let assembly = plan.assembly().unwrap_or_else(|| {
            let mut progress = 0;
            let assembly = plan.write(&mut sent, &|| false, &mut |bytes| progress = bytes).expect("pack");
            assert_eq!(progress, plan.missing_bytes());
            assembly
        });
        if let Some(pack) = &assembly.new_pack {
            assert_eq!(pack.name, Digest::of(&sent));
            self.add(pack.name, sent.clone(), &pack.index);
        }
        (sent.len(), assembly)
    }

    fn add(&mut self, name: Digest, bytes: Vec<u8>, index: &PackIndex) {
        let index = PackIndex::parse(&index.to_bytes()).expect("index");
        self.known.add(name, bytes.len() as u64, index).expect("right size");
        self.packs.insert(name, bytes);
    }

    fn assemble(&self, assembly: &Assembly) -> Vec<u8> {
        let mut stream = Vec::new();
        for PackRange { pack, offset, length } in &assembly.rope {
            let (start, length) =
                (usize::try_from(*offset).expect("fits"), usize::try_from(*length).expect("fits"));
            stream.extend_from_slice(&self.packs[pack][start..start + length]);
        }
        stream
    }
}

fn scan(root: &Path) -> Context {
    Context::scan(&BuildRequest::new("test", root), &|| false).expect("context")
}

fn fresh_archive(context: &Context) -> Vec<u8> {
    let mut tar = TarStream::new(Vec::new());
    tar.add_context(context, &|| false, &mut |_| {}).expect("context");
    tar.get_mut().clone()
}

fn decompress(stream: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(stream).read_to_end(&mut plain).expect("valid");
    plain
}

#[test]
fn delivers() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    fs::write(root.join("Dockerfile"), "FROM scratch").expect("file");
    let large: Vec<u8> =
        (0..5_000_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> (n % 9)).to_le_bytes()).collect();
    fs::write(root.join("large"), &large).expect("file");
    for n in 0..3000 {
        fs::create_dir_all(root.join(format!("d{}", n % 10))).expect("dir");
        fs::write(root.join(format!("d{}/f{n}", n % 10)), format!("{n} ").repeat(n)).expect("file");
    }
    let mut service = Service::default();
    let context = scan(root);
    let (sent, assembly) = service.deliver(&context);
    assert!(decompress(&service.assemble(&assembly)) == fresh_archive(&context));
    eprintln!("{sent} {:?}", assembly.rope);
    fs::write(root.join("d1/f11"), "changed").expect("file");
    let context = scan(root);
    let (sent, assembly) = service.deliver(&context);
    assert!(decompress(&service.assemble(&assembly)) == fresh_archive(&context));
    eprintln!("{sent} {:?}", assembly.rope);
    let (sent, assembly) = service.deliver(&context);
    assert!(assembly.new_pack.is_none());
    eprintln!("{sent} {:?}", assembly.rope);
}
