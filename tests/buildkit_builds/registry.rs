//! A registry on a thread of its own, with as much as a build asks of it: which digest a tag stands for.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use garden_build_testing::buildkit::{BuildRecord, Built};

#[derive(Clone)]
pub(crate) struct Registry {
    host: String,
    /// Digests by the path that a client asks for.
    digests: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Registry {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Self { host: listener.local_addr().unwrap().to_string(), digests: Arc::default() };
        let serving = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (registry, stream) = (serving.clone(), stream.unwrap());
                std::thread::spawn(move || registry.serve(stream));
            }
        });
        registry
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Has what a build has made, under the names that it was to have.
    pub(crate) fn push(&self, record: &BuildRecord, built: Built) -> Built {
        for name in record.image_names() {
            let (repository, tag) = name.rsplit_once(':').unwrap();
            let repository = repository.strip_prefix(&self.host).unwrap();
            let path = format!("/v2{repository}/manifests/{tag}");
            self.digests.lock().unwrap().insert(path, built.digest.clone().unwrap());
        }
        built
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(std::io::Result::ok);
        while let Some(request) = lines.next() {
            lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
            let path = request.split(' ').nth(1).unwrap_or_default();
            let digest = self.digests.lock().unwrap().get(path).cloned();
            let answer = match digest {
                Some(digest) => format!("200 OK\r\nDocker-Content-Digest: {digest}"),
                None => "404 Not Found".to_owned(),
            };
            if write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}
