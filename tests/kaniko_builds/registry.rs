//! A registry on threads of its own, with as much as a build asks of it.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::DIGEST;
use super::secrets::base64;

/// The page of a proxy that lets through only addresses that it knows. It begins as Google's do.
const PAGE: &str = "<!doctype html><meta charset=\"utf-8\"><title>403</title>403 Forbidden";

/// A registry that has what was pushed to it, and tells how often it was asked.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    has_image: bool,
    questions: usize,
    /// Whether a proxy in front of it shows its page.
    is_blocked: bool,
    /// The statuses of its next answers, perhaps with headers, whatever it has.
    script: VecDeque<&'static str>,
    /// The password of `user`, if nobody else is let in.
    password: Option<&'static str>,
}

impl Registry {
    /// Serves it, and returns its `host:port`.
    pub(crate) fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let registry = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (registry, stream) = (registry.clone(), stream.unwrap());
                std::thread::spawn(move || registry.serve(stream));
            }
        });
        address
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(std::io::Result::ok);
        while let Some(request) = lines.next() {
            let headers: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            let answer = self.answer(&request, &headers);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &str, headers: &[String]) -> String {
        let mut state = self.0.lock().unwrap();
        state.questions += 1;
        if let Some(status) = state.script.pop_front() {
            return format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
        if state.is_blocked {
            let (length, body) = (PAGE.len(), if request.starts_with("HEAD ") { "" } else { PAGE });
            return format!(
                "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{body}"
            );
        }
        let is_let_in = state.password.is_none_or(|password| {
            let expected = base64(&format!("user:{password}"));
            headers.iter().any(|header| header.strip_prefix("authorization: Basic ") == Some(&expected))
        });
        let status = match state.has_image {
            _ if !is_let_in => "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"",
            true => "200 OK",
            false => "404 Not Found",
        };
        format!("HTTP/1.1 {status}\r\nDocker-Content-Digest: {DIGEST}\r\nContent-Length: 0\r\n\r\n")
    }

    pub(crate) fn push(&self) {
        self.0.lock().unwrap().has_image = true;
    }

    pub(crate) fn questions(&self) -> usize {
        self.0.lock().unwrap().questions
    }

    /// It answers with this `status` so many times, before it answers as it should.
    pub(crate) fn answer_with(&self, status: &'static str, times: usize) {
        self.0.lock().unwrap().script.extend(std::iter::repeat_n(status, times));
    }

    pub(crate) fn block(&self) {
        self.0.lock().unwrap().is_blocked = true;
    }

    pub(crate) fn set_password(&self, password: &'static str) {
        self.0.lock().unwrap().password = Some(password);
    }
}
