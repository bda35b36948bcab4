//! What a Dockerfile and a request say of the image.

use serde_json::{Value, json};

use super::{Case, Mode, Seen};
use crate::site::{registry, variable};

/// The configuration's object `config`: what a container of the image starts with.
async fn config(case: &Case<'_>, request: garden_build::BuildRequest) -> Value {
    registry::config(&case.build(request).await.reference).await["config"].clone()
}

pub(super) async fn build_args(case: &mut Case<'_>) -> Seen {
    case.project.file(
        "Dockerfile",
        "ARG BASE=no.such.registry.invalid/base\nFROM $BASE\nARG RELEASE=none\nARG KEPT=default\nARG UNSET\n\
         RUN echo \"$RELEASE, $KEPT, ${UNSET-unset}\" > /arguments\nENV RELEASE=$RELEASE\n",
    );
    let request = case.request().build_arg("BASE", variable("GARDEN_TEST_BASE_IMAGE"));
    let request = request.build_arg("RELEASE", "2.1 = two, \"one\"");
    let image = case.build(request).await;
    let files = super::image::files(&image.reference).await;
    assert_eq!(files.text("arguments"), "2.1 = two, \"one\", default, unset\n");
    let config = registry::config(&image.reference).await;
    let environment = config["config"]["Env"].as_array().unwrap();
    assert!(environment.contains(&json!("RELEASE=2.1 = two, \"one\"")), "{environment:?}");
    Seen::Works
}

/// What one of the languages on the way to a builder takes for its own.
const ODD: &str = "pa$$word $(KUBERNETES_SERVICE_HOST) $(HOME) ${HOME} $HOME 'one' \"two\" `three` back\\slash, a=b, %41 {{.X}}\nsecond line\t$";

pub(super) async fn odd_values(case: &mut Case<'_>) -> Seen {
    let base = variable("GARDEN_TEST_BASE_IMAGE");
    case.project.file("Dockerfile", format!("FROM {base}\nARG VALUE\nRUN printf %s \"$VALUE\" > /value\n"));
    let request = case.request().build_arg("VALUE", ODD).label("example.odd", ODD);
    let image = case.build(request).await;
    assert_eq!(super::image::files(&image.reference).await.text("value"), ODD);
    let config = registry::config(&image.reference).await;
    assert_eq!(config["config"]["Labels"]["example.odd"], ODD);
    Seen::Works
}

pub(super) async fn target(case: &mut Case<'_>) -> Seen {
    case.project.file(
        "Dockerfile",
        "FROM scratch AS tools\nCOPY tool.txt /\nFROM tools AS whole\nCOPY no-such-file /\n",
    );
    case.project.file("tool.txt", "a tool");
    let files = case.build_files(case.request().target("tools")).await;
    assert_eq!(files.text("tool.txt"), "a tool");
    let whole = case.builder().status(case.request()).await.unwrap();
    assert_eq!(whole.existing, None, "the whole image is another version");
    Seen::Works
}

pub(super) async fn multi_stage(case: &mut Case<'_>) -> Seen {
    let base = variable("GARDEN_TEST_BASE_IMAGE");
    case.project.file(
        "Dockerfile",
        format!(
            "FROM {base} AS tools\nRUN echo made > /greeting && echo not wanted > /tool\nFROM scratch\n\
             COPY --from=tools /greeting /from/stage\nCOPY --from={base} /bin/busybox /from/image\n\
             COPY --from=0 /greeting /from/number\n"
        ),
    );
    let files = case.build_files(case.request()).await;
    assert_eq!((files.text("from/stage"), files.text("from/number")), ("made\n", "made\n"));
    assert_eq!(files.names_below("from"), ["image", "number", "stage"]);
    assert!(!files.contains("tool"), "the other stage stays out");
    Seen::Works
}

pub(super) async fn image_config(case: &mut Case<'_>) -> Seen {
    case.project.dockerfile(
        "ENV GREETING=\"good day\" OTHER=x\nLABEL own=yes org.example/kept=1\nWORKDIR /work\nUSER 1000:1000\nEXPOSE 8080\n\
         ENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD [\"echo $GREETING\"]\n",
    );
    let request = case.request().label("own", "no").label("org.example/team", "röd = 1, blå");
    let config = config(case, request).await;
    let environment = config["Env"].as_array().unwrap();
    for expected in ["GREETING=good day", "OTHER=x"] {
        assert!(environment.contains(&json!(expected)), "{environment:?}");
    }
    // Kaniko's `--label` does not replace a label that is there.
    let own = if case.mode == Mode::Kaniko { "yes" } else { "no" };
    let labels = json!({ "own": own, "org.example/kept": "1", "org.example/team": "röd = 1, blå" });
    assert_eq!(config["Labels"], labels);
    assert_eq!(config["User"], json!("1000:1000"));
    assert_eq!(config["WorkingDir"], json!("/work"));
    assert_eq!(config["ExposedPorts"], json!({ "8080/tcp": {} }));
    assert_eq!(config["Entrypoint"], json!(["/bin/sh", "-c"]));
    assert_eq!(config["Cmd"], json!(["echo $GREETING"]));
    if case.mode == Mode::Kaniko {
        return Seen::Differs("a label of the Dockerfile wins over one of the request");
    }
    Seen::Works
}

pub(super) async fn extra_hosts(case: &mut Case<'_>) -> Seen {
    case.project.dockerfile("RUN cat /etc/hosts > /hosts\n");
    let request = case.request().extra_host("db.internal", "10.9.8.7").extra_host("six", "fd00::7");
    let files = case.build_files(request).await;
    let lines = files.text("hosts").lines();
    let lines: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    for expected in [["10.9.8.7", "db.internal"], ["fd00::7", "six"]] {
        assert!(lines.contains(&Vec::from(expected)), "{expected:?} is missing: {lines:?}");
    }
    Seen::Works
}

pub(super) async fn one_platform(case: &mut Case<'_>) -> Seen {
    let foreign = if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" };
    case.project.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let request = case.request().platform(format!("linux/{foreign}"));
    let image = case.build(request).await;
    let config = registry::config(&image.reference).await;
    assert_eq!((&config["os"], &config["architecture"]), (&json!("linux"), &json!(foreign)));
    Seen::Works
}
