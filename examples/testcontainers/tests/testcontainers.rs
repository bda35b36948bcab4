//! Builds an image, runs a container of it, and asks that something.
//!
//! ```sh
//! docker run --detach --publish 5000:5000 registry:2
//! cargo test --manifest-path examples/testcontainers/Cargo.toml
//! ```
//!
//! `REGISTRY` is another registry than `localhost:5000`. The daemon has to know that it speaks plain HTTP. `BASE_IMAGE` is another image than `busybox:1.36`, with
//! the same commands.

use std::env;

use anyhow::Result;
use garden_build::Builder;
use garden_build_testcontainers::{builder, image};
use testcontainers::core::{ExecCommand, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage};

/// A web server with one page.
async fn server(builder: &Builder, greeting: &str) -> Result<ContainerAsync<GenericImage>> {
    let base = variable("BASE_IMAGE", "busybox:1.36");
    let dockerfile = format!(
        "FROM {base}\nCOPY site /site\nCMD [\"sh\", \"-c\", \"echo serving; exec httpd -f -p 8080 -h /site\"]\n"
    );
    let files = [("Dockerfile", dockerfile.as_str()), ("site/greeting", greeting)];
    let image = image(builder, "greeting", &files).await?;
    Ok(image.with_wait_for(WaitFor::message_on_stdout("serving")).start().await?)
}

/// Asks from within the container, which works with a daemon on another machine as well. With one on this machine, a
/// port that is exposed can be asked from here.
async fn ask(server: &ContainerAsync<GenericImage>, page: &str) -> Result<String> {
    let url = format!("http://127.0.0.1:8080/{page}");
    let mut asked = server.exec(ExecCommand::new(["wget", "-q", "-O", "-", &url])).await?;
    Ok(String::from_utf8(asked.stdout_to_vec().await?)?)
}

fn variable(name: &str, usual: &str) -> String {
    env::var(name).unwrap_or_else(|_| usual.to_owned())
}

#[tokio::test]
async fn a_container_runs_what_was_built_from_the_files_of_the_test() -> Result<()> {
    let builder = builder(&variable("REGISTRY", "localhost:5000"))?;
    // At the same time, and the first two share one build.
    let (one, same, other) =
        tokio::try_join!(server(&builder, "hello"), server(&builder, "hello"), server(&builder, "good day"))?;
    assert_eq!(ask(&one, "greeting").await?, "hello");
    assert_eq!(ask(&same, "greeting").await?, "hello");
    assert_eq!(ask(&other, "greeting").await?, "good day");
    builder.settled().await;
    Ok(())
}
