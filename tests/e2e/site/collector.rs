//! A collector of spans on this machine, which pods send theirs to by OTLP over HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{PATIENCE, own_address};

/// What was sent to it: a path and a body.
type Request = (String, Vec<u8>);

pub(crate) struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Request>>>,
}

impl Collector {
    /// Listens until the process ends.
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind((own_address(), 0)).unwrap();
        let (address, received) = (listener.local_addr().unwrap(), Arc::default());
        let receiving: Arc<Mutex<Vec<_>>> = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = Arc::clone(&receiving);
                // A connection that breaks off has sent nothing.
                thread::spawn(move || receive(stream).map(|request| received.lock().unwrap().push(request)));
            }
        });
        Self { address, received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything so far, as it came: protobuf, where texts and identifiers stand as they are.
    pub(crate) fn received(&self) -> Vec<Request> {
        self.received.lock().unwrap().clone()
    }

    /// Waits for a request that has all these `parts`. Returns the path that it was sent to.
    pub(crate) async fn request_with(&self, parts: &[&[u8]]) -> String {
        let has_all = |(_, body): &&Request| parts.iter().all(|part| contains(body, part));
        let look = async {
            loop {
                if let Some((path, _)) = self.received().iter().find(has_all) {
                    return path.clone();
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("spans with all that")
    }
}

pub(crate) fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// Reads one request, and answers it.
fn receive(mut stream: TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer).ok()?;
    Some((path, body))
}
