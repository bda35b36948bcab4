use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::time::Duration;

use garden_build_core::{Error, ErrorKind};
use garden_network::Proxies;
use garden_test_programs::NetworkProxy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

use super::{Dial, PATIENCE, TcpDialer, UnixDialer};
use crate::{DockerError, ReachError};

/// What Go's server says to who does not speak TLS (`net/http/server.go`).
const GO_WANTS_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

pub(super) const REQUEST: &[u8] = b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n";
pub(super) const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";

/// Dials, sends a request and reads what comes to its end.
pub(super) async fn ask(dialer: &dyn Dial) -> Result<Vec<u8>, ReachError> {
    let mut connection = dialer.dial().await.map_err(reach)?;
    let mut answer = Vec::new();
    let talk = async {
        connection.write_all(REQUEST).await?;
        connection.flush().await?;
        connection.read_to_end(&mut answer).await
    };
    match talk.await {
        Ok(_) => Ok(answer),
        // As a client would have it: behind an error of its own.
        Err(error) => Err(ReachError::behind(&Wrapped(error)).expect("a reason")),
    }
}

pub(super) fn reach(error: DockerError) -> ReachError {
    match error {
        DockerError::Reach(error) => error,
        error => panic!("{error}"),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("something of a client")]
struct Wrapped(#[source] std::io::Error);

fn unix(path: &Path, others: &[PathBuf]) -> UnixDialer {
    let shown = format!("unix://{}", path.display());
    UnixDialer { daemon: format!("{shown} (a test)"), shown, path: path.to_owned(), others: others.to_vec() }
}

pub(super) fn tcp(host: &str, port: u16) -> TcpDialer {
    let shown = format!("tcp://{host}:{port}");
    let daemon = format!("{shown} (a test)");
    TcpDialer { daemon, shown, host: host.to_owned(), port, proxies: Proxies::none(), patience: PATIENCE }
}

pub(super) fn through(proxy: &str) -> Proxies {
    Proxies::all_through(proxy, "a test").expect("a proxy")
}

/// Listens on a port of this machine, and sends `answer` to the first who says something.
async fn server(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.read_exact(&mut vec![0; REQUEST.len()]).await.expect("a request");
        stream.write_all(answer).await.expect("answered");
        stream.shutdown().await.expect("ended");
    });
    port
}

#[tokio::test]
async fn a_daemon_on_a_socket_is_reached() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("docker.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.read_exact(&mut vec![0; REQUEST.len()]).await.expect("a request");
        stream.write_all(ANSWER).await.expect("answered");
    });
    assert_eq!(ask(&unix(&path, &[])).await.expect("reached"), ANSWER);
}

#[tokio::test]
async fn a_socket_that_is_missing_left_behind_or_none_is_told_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("docker.sock");
    let other = directory.path().join("rootless.sock");
    let others = [other.clone(), directory.path().join("desktop.sock")];
    let missing = ask(&unix(&path, &others)).await.expect_err("no socket");
    let daemon = format!("unix://{} (a test)", path.display());
    assert_eq!(
        missing,
        ReachError::NoSocket { daemon: daemon.clone(), is_relative: false, others: Vec::new() }
    );
    assert_eq!(
        missing.to_string(),
        format!(
            "the Docker daemon at {daemon} cannot be reached: there is no such socket, so it does not run"
        )
    );

    let _rootless = UnixListener::bind(&other).expect("a socket");
    let report = Error::from(ask(&unix(&path, &others)).await.expect_err("no socket"));
    let hint = report.hint().expect("a hint");
    assert!(hint.ends_with(&format!("set DOCKER_HOST=unix://{}", other.display())), "{hint}");
    assert_eq!(report.kind(), ErrorKind::Unreachable);

    std::fs::write(&path, "").expect("a file");
    let file = ask(&unix(&path, &[])).await.expect_err("a file");
    assert_eq!(file, ReachError::NotASocket { daemon: daemon.clone() });
    std::fs::remove_file(&path).expect("removed");
    drop(UnixListener::bind(&path).expect("a socket"));
    let refused = ask(&unix(&path, &[])).await.expect_err("nobody listens");
    assert_eq!(refused, ReachError::Refused { daemon, others: Vec::new() });
}

#[tokio::test]
async fn a_path_with_too_few_slashes_is_pointed_out() {
    let report = Error::from(ask(&unix(Path::new("var/run/docker.sock"), &[])).await.expect_err("no socket"));
    assert!(report.hint().is_some_and(|hint| hint.contains("write three of them")), "{report}");
}

/// The superuser may open every socket, so that no test can see one refused.
#[test]
fn a_socket_that_this_user_may_not_open_asks_for_the_group() {
    let dialer = unix(Path::new("/run/docker.sock"), &[]);
    let error = dialer.why(&std::io::ErrorKind::PermissionDenied.into());
    let report = Error::from(error);
    assert_eq!(
        report.message(),
        "the Docker daemon at unix:///run/docker.sock (a test) cannot be used: this user may not open the socket"
    );
    assert_eq!(report.kind(), ErrorKind::PermissionDenied);
    assert!(report.hint().is_some_and(|hint| hint.contains("usermod -aG docker")));
}

#[tokio::test]
async fn a_daemon_on_a_port_is_reached_by_address_and_by_name() {
    for host in ["127.0.0.1", "localhost"] {
        let port = server(ANSWER).await;
        assert_eq!(ask(&tcp(host, port)).await.expect(host), ANSWER);
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_and_a_name_that_nobody_has_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let refused = ask(&tcp("127.0.0.1", port)).await.expect_err("nobody listens");
    assert!(matches!(refused, ReachError::Refused { .. }), "{refused}");
    // RFC 6761 keeps the domain for names that do not exist.
    let unknown = ask(&tcp("docker.invalid", 2375)).await.expect_err("no such name");
    let start = "the Docker daemon at tcp://docker.invalid:2375 (a test) cannot be reached: \
                 the name docker.invalid cannot be resolved (";
    assert!(unknown.to_string().starts_with(start), "{unknown}");
}

/// Linux drops the first packet of whoever comes when the queue is full, as a firewall would.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_port_that_does_not_answer_is_given_up() {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let listener = socket.listen(1).expect("listens");
    let address = listener.local_addr().expect("an address");
    let mut queue = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        queue.push(stream);
    }
    let dialer = TcpDialer { patience: Duration::from_secs(1), ..tcp("127.0.0.1", address.port()) };
    let error = ask(&dialer).await.expect_err("no answer").to_string();
    assert!(error.ends_with("cannot be reached: a connection did not come within 1 s"), "{error}");
}

#[tokio::test]
async fn a_daemon_that_speaks_tls_is_noticed_when_spoken_to_without() {
    // The second is an alert, `unexpected_message`, as other servers send it.
    for words in [GO_WANTS_TLS, &[21, 3, 1, 0, 2, 2, 10]] {
        let port = server(words).await;
        let error = ask(&tcp("127.0.0.1", port)).await.expect_err("TLS");
        assert_eq!(error, ReachError::SpeaksTls { daemon: format!("tcp://127.0.0.1:{port} (a test)") });
        assert_eq!(Error::from(error).kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn a_daemon_behind_a_proxy_is_reached_by_a_tunnel_and_explained_as_others_are() {
    garden_test_programs::needs!(Tinyproxy, Microsocks);
    let socks = NetworkProxy::microsocks(Some(("who", "secret")));
    for answer in [ANSWER, GO_WANTS_TLS] {
        for scheme in ["http", "socks5"] {
            let port = server(answer).await;
            let http = NetworkProxy::tinyproxy(Some(("who", "secret")), port);
            let proxy = if scheme == "http" { &http } else { &socks };
            let proxies = through(&proxy.url(scheme, "who:secret@"));
            let asked = ask(&TcpDialer { proxies, ..tcp("127.0.0.1", port) }).await;
            if answer == ANSWER {
                assert_eq!(asked.expect("reached"), ANSWER);
            } else {
                let daemon = format!("tcp://127.0.0.1:{port} (a test)");
                assert_eq!(asked.expect_err("TLS"), ReachError::SpeaksTls { daemon });
            }
            if scheme == "http" {
                assert!(http.log().contains(&format!("CONNECT 127.0.0.1:{port} ")), "{}", http.log());
            }
        }
    }
}

#[tokio::test]
async fn a_proxy_that_makes_no_tunnel_is_named_without_its_password() {
    garden_test_programs::needs!(Tinyproxy);
    let proxy = NetworkProxy::tinyproxy(None, 443);
    let proxies = through(&proxy.url("http", "who:s3cret@"));
    let error = ask(&TcpDialer { proxies, ..tcp("docker.invalid", 2375) }).await.expect_err("refused");
    let start = format!(
        "the Docker daemon at tcp://docker.invalid:2375 (a test) cannot be reached: the proxy {} of a test makes no connection to it (",
        proxy.url("http", "")
    );
    assert!(error.to_string().starts_with(&start) && !format!("{error:?}").contains("s3cret"), "{error}");
    let report = Error::from(error);
    assert_eq!(report.kind(), ErrorKind::Unreachable);
    assert!(report.hint().is_some_and(|hint| hint.contains("NO_PROXY")), "{report}");
}

#[test]
fn a_reason_is_found_behind_other_errors_or_not_at_all() {
    let reason = ReachError::NoSsh { daemon: "ssh://a".to_owned() };
    let io = || std::io::Error::other(reason.clone());
    let nested = Wrapped(std::io::Error::other(Wrapped(io())));
    let docker = Wrapped(std::io::Error::other(DockerError::from(reason.clone())));
    for error in [&nested as &(dyn StdError + 'static), &docker, &io(), &reason] {
        assert_eq!(ReachError::behind(error).as_ref(), Some(&reason));
    }
    assert_eq!(ReachError::behind(&Wrapped(std::io::Error::other("no reason"))), None);
}
