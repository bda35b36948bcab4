//! Builds a directory with a BuildKit daemon that listens on a Unix socket, and pushes nothing.
//!
//! ```sh
//! cargo run -p garden-buildkit --example unix_socket -- /run/buildkit/buildkitd.sock ./services/api
//! ```

#![expect(clippy::print_stdout, reason = "only libraries must not print")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use garden_buildkit::client::file_sync::LocalDirectory;
use garden_buildkit::client::{CONTEXT, Client, DOCKERFILE, DockerfileBuild, Session, Source, Update};
use tokio::net::UnixStream;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(socket), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: unix_socket SOCKET DIRECTORY".into());
    };
    let client = Client::connect(UnixStream::connect(socket).await?).await?;
    println!("BuildKit {}", client.version());

    let directory: Arc<dyn Source> = Arc::new(LocalDirectory::new(Path::new(&directory))?);
    let mut session = Session::default();
    "the unix_socket example".clone_into(&mut session.shared_key);
    session.directories =
        BTreeMap::from([(CONTEXT.to_owned(), Arc::clone(&directory)), (DOCKERFILE.to_owned(), directory)]);
    let report = |update| match update {
        Update::Step(step) if step.completed.is_some() => println!("{}", step.name),
        Update::Output { bytes, .. } => print!("{}", String::from_utf8_lossy(&bytes)),
        _ => {}
    };
    client.build(DockerfileBuild::default(), session, report).await?;
    Ok(())
}
