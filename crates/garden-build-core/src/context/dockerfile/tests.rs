//! What is read, in cases that a comparison with `BuildKit` alone does not show.

use std::collections::BTreeSet;

use super::reads::{Reads, reads};
use super::{Dockerfile, Doubt, Feature, StagesBuilt};
use crate::{BuildRequest, NamedContext};

const IMAGE: &str = "FROM busybox\n";

fn request() -> BuildRequest {
    BuildRequest::new("test", ".")
}

/// What is read, or why it is not certain.
fn read(text: &str, request: &BuildRequest, built: StagesBuilt) -> Result<Vec<String>, String> {
    match reads(text.as_bytes(), request, built) {
        Ok(Reads { sources, .. }) => Ok(sources.into_iter().collect()),
        Err(Doubt(doubt)) => Err(doubt.into_owned()),
    }
}

fn needed(text: &str) -> Result<Vec<String>, String> {
    read(text, &request(), StagesBuilt::Needed)
}

fn through(text: &str) -> Result<Vec<String>, String> {
    read(text, &request(), StagesBuilt::ThroughTarget)
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what is read")]
fn paths(paths: &[&str]) -> Result<Vec<String>, String> {
    Ok(paths.iter().map(|path| (*path).to_owned()).collect())
}

#[test]
fn says_what_it_is_not_certain_of() {
    for (text, reason) in [
        ("", "the target is not a stage of it"),
        ("COPY a /", "does not begin with `FROM`"),
        ("FROM a b", "a `FROM` in it is malformed"),
        ("FROM scratch\nCOPI a /", "there is no instruction `copi`"),
        ("FROM scratch\nCOPY a", "has no destination"),
        ("FROM scratch\nCOPY --new=1 a /", "the flag `--new` is not known"),
        ("FROM scratch\nRUN --new true", "the flag `--new` is not known"),
        ("FROM scratch\nRUN --mount=new=1 true", "the mount option `new` is not known"),
        ("FROM scratch\nRUN --mount=type=new true", "mounts of the type `new` are not known"),
        ("FROM scratch\nCOPY --from=$A a /", "is not a plain name"),
        ("FROM scratch\nCOPY --from=7 a /", "it has no stage 7"),
        ("FROM scratch\nCOPY \"a /", "a word of it is malformed"),
        ("FROM scratch\nCOPY <<EOF /\nCOPY a /", "the text `EOF` in it has no end"),
        ("FROM scratch\nCMD [1]", ""),
        ("# syntax=other/frontend\nFROM scratch", "may read it in another way"),
        ("# syntax=docker/dockerfile-upstream2\nFROM scratch", "may read it in another way"),
        ("# syntax=docker/dockerfile:1 x\nFROM scratch", "may read it in another way"),
        ("#!/usr/bin/x\n# syntax=other/frontend\nFROM scratch", "may read it in another way"),
        ("# check=skip=all\n# escape=`\nFROM scratch", "stands behind `# check`"),
        ("# escape=x\nFROM scratch", "an escape character that there is not"),
        ("FROM node:20-onbuild", "`node:20-onbuild` has triggers"),
        ("FROM a AS x\nONBUILD COPY b /\nFROM x", "has triggers for another"),
        ("FROM a AS x\nFROM b AS X", "more than one thing is called `x`"),
        ("FROM x-$TARGETARCH", "what `x-$TARGETARCH` stands for is not known"),
        ("FROM scratch\nARG TARGETARCH\nCOPY bin/$TARGETARCH /", "is known to the builder only"),
        ("FROM busybox\nCOPY $HOME/a /", "is known to the builder only"),
        ("FROM scratch\nCOPY $PATH /", "is known to the builder only"),
        ("FROM scratch\nENV A=b.c\nCOPY ${A%.*} /", "is known to the builder only"),
        ("FROM scratch\nARG $A=b\nCOPY a /", "the name of an `ARG` in it, is not plain"),
        ("FROM scratch\nARG 'A'=b\nCOPY a /", "the name of an `ARG` in it, is not plain"),
        ("FROM scratch\nCOPY --parents [\" a*\", \"/\"]", "with `--parents` is not known"),
        ("FROM scratch\nCOPY --parents a{1}* /", "with `--parents` is not known"),
        ("FROM scratch\nCOPY --parents a^|b* /", "with `--parents` is not known"),
    ] {
        match needed(text) {
            Err(doubt) => assert!(doubt.contains(reason) && !reason.is_empty(), "{text:?}: {doubt}"),
            // An instruction that reads nothing is for the builder to refuse.
            Ok(read) => assert!(read.is_empty() && reason.is_empty(), "{text:?}: {read:?}"),
        }
    }
}

#[test]
fn the_stock_frontend_is_known_in_every_version() {
    for image in [
        "docker/dockerfile",
        "docker/dockerfile:1.7-labs",
        "docker.io/docker/dockerfile@sha256:0",
        "docker/dockerfile-upstream:master",
    ] {
        assert_eq!(needed(&format!("# syntax={image}\nFROM scratch\nCOPY a /")), paths(&["a"]), "{image}");
    }
}

#[test]
fn another_frontend_may_also_come_with_the_request() {
    let request = request().build_arg("BUILDKIT_SYNTAX", "docker/dockerfile:1");
    assert!(read("FROM scratch\nCOPY a /", &request, StagesBuilt::Needed).is_err());
}

#[test]
fn only_stages_that_are_built_count() {
    let text =
        "FROM a AS one\nCOPY 1 /\nFROM b AS two\nCOPY 2 /\nFROM one AS three\nCOPY 3 /\nFROM c\nCOPY 4 /";
    let target = |name: &str, built| read(text, &request().target(name), built);
    assert_eq!(needed(text), paths(&["4"]));
    assert_eq!(target("Three", StagesBuilt::Needed), paths(&["1", "3"]));
    assert_eq!(target("three", StagesBuilt::ThroughTarget), paths(&["1", "2", "3"]));
    assert_eq!(through(text), paths(&["1", "2", "3", "4"]));
    assert!(target("absent", StagesBuilt::Needed).is_err());
}

#[test]
fn a_stage_that_a_named_context_replaces_is_still_expected_to_read() {
    let text = "FROM a AS one\nCOPY 1 /\nFROM b\nCOPY --from=one /x /\nCOPY 2 /";
    let request = request().context("one", NamedContext::Image("other".to_owned()));
    assert_eq!(read(text, &request, StagesBuilt::Needed), paths(&["1", "2"]));
}

#[test]
fn only_to_buildkit_an_escape_is_one_everywhere() {
    let text = "# escape=`\nFROM scratch\nCOPY `\n a`b /";
    assert_eq!(needed(text), paths(&["ab"]));
    assert!(through(text).is_err());
}

#[test]
fn an_escape_on_which_nothing_depends_leaves_no_doubt() {
    let text = "# escape=`\nFROM scratch\nRUN a `\n b\\c\nENV A=b\\c\nCOPY `\n a b /";
    assert_eq!(through(text), paths(&["a", "b"]));
    assert!(through(&format!("{text}\nCOPY $A /")).is_err());
}

#[test]
fn a_first_line_for_the_shell_is_a_comment_behind_which_no_escape_is_set() {
    let text = "#!/usr/bin/env -S docker build .\n# escape=`\nFROM scratch\nCOPY a` b\\\n c /";
    assert_eq!(needed(text), paths(&["a`", "b", "c"]));
    assert_eq!(needed("#!/bin/x\n# syntax=docker/dockerfile:1\nFROM scratch\nCOPY a /"), paths(&["a"]));
}

#[test]
fn kaniko_matches_the_context_directory_itself() {
    for pattern in [".*", "?", "[.]", "*?", "./.*"] {
        let text = format!("FROM scratch\nCOPY {pattern} /");
        assert!(through(&text).expect("certain").contains(&".".to_owned()), "{pattern}");
        assert!(!needed(&text).expect("certain").contains(&".".to_owned()), "{pattern}");
    }
    assert_eq!(through("FROM scratch\nCOPY .?* a/? /"), paths(&[".?*", "a/?"]));
}

#[test]
fn what_is_fetched_is_not_read_from_the_context_whatever_it_is_called() {
    assert_eq!(needed("FROM busybox\nARG V\nADD https://x.example/$V-$HOME.tgz a /"), paths(&["a"]));
    assert!(needed("FROM busybox\nCOPY https://x.example/$HOME /").is_err());
}

#[test]
fn a_file_system_in_memory_reads_nothing() {
    assert_eq!(needed("FROM scratch\nRUN --mount=type=tmpfs,target=/x true\nCOPY a /"), paths(&["a"]));
}

#[test]
fn builders_before_0_17_hide_a_predefined_argument_that_is_declared_first() {
    let request = request().platform("linux/arm64");
    let text = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /";
    assert_eq!(read(text, &request, StagesBuilt::Needed), paths(&["arm64"]));
    assert!(read(&format!("ARG TARGETARCH\n{text}"), &request, StagesBuilt::Needed).is_err());
}

#[test]
fn quoted_and_nested_defaults_are_known_where_all_builders_read_them_alike() {
    let base = |arguments: &str, name: &str, request: &BuildRequest| {
        let text = format!("{arguments}\nFROM {name}\nCOPY a /");
        reads(text.as_bytes(), request, StagesBuilt::ThroughTarget).map(|reads| reads.bases)
    };
    let known = |name: &str| Ok(BTreeSet::from([name.to_owned()]));
    for (arguments, name, expected) in [
        ("ARG A=\"x\"", "$A", "x"),
        ("ARG A='x'", "$A", "x"),
        ("ARG A=x\nARG B=$A-y", "$B", "x-y"),
        ("ARG A=x\nARG B=\"${A}/y\"", "r/$B:1", "r/x/y:1"),
        ("ARG B=${A:-y}", "$B", "y"),
    ] {
        assert_eq!(base(arguments, name, &request()), known(expected), "{arguments}");
    }
    // kaniko replaces the variable, or refuses the quotes.
    for arguments in ["ARG A=x\nARG B='$A'", "ARG B=x\"y\"", "ARG B=x\\y"] {
        assert!(base(arguments, "r/$B", &request()).is_err(), "{arguments}");
    }
    let given = request().build_arg("A", "z");
    assert_eq!(base("ARG A=x\nARG B=$A-y", "$B", &given), known("z-y"));
    // kaniko takes it for an argument although nobody has declared it.
    assert!(base("ARG B=$A-y", "r/$B", &given).is_err());
    assert!(base("", "r$A", &given).is_err());
}

#[test]
fn words_of_any_depth_and_growth_come_to_an_end() {
    let nested = format!("FROM scratch\nCOPY {}a{} /", "${A:-".repeat(9000), "}".repeat(9000));
    assert!(needed(&nested).is_err());
    let doubling: Vec<String> =
        (0..60).map(|index| format!("ARG A{}=$A{index}$A{index}", index + 1)).collect();
    let doubling = doubling.join("\n");
    assert!(needed(&format!("ARG A0=x\n{doubling}\nFROM scratch\nARG A60\nCOPY $A60 /")).is_err());
}

#[test]
fn values_of_any_number_and_their_copies_come_to_an_end() {
    let many = |count: usize| {
        let lines: Vec<String> = (0..count).map(|index| format!("ENV x{index}=$b\n")).collect();
        format!("FROM scratch AS a\nENV b={}\n{}", "x".repeat(4000), lines.concat())
    };
    let doubt = |read: Result<Vec<String>, String>| read.expect_err("too much");
    assert_eq!(needed(&format!("{}COPY a /", many(1000))), paths(&["a"]));
    let too_many = needed(&format!("{}COPY a /", many(5000)));
    assert!(doubt(too_many).contains("the values in it are too long together"));
    let copies = |count: usize| through(&format!("{}{}COPY a /", many(100), "FROM a\n".repeat(count)));
    assert_eq!(copies(5), paths(&["a"]));
    assert!(doubt(copies(60)).contains("the values in it are too long together"));
    // Without a value, a variable takes room as well.
    let lines: Vec<String> = (0..2000).map(|index| format!("ENV x{index}=\n")).collect();
    let text = format!("FROM scratch AS a\n{}{}COPY a /", lines.concat(), "FROM a\n".repeat(200));
    assert!(doubt(through(&text)).contains("the values in it are too long together"));
    // An argument is copied into each stage that declares it.
    let text = format!("ARG b={}\n{}COPY a /", "x".repeat(4000), "FROM scratch\nARG b\n".repeat(5000));
    assert!(doubt(through(&text)).contains("the values in it are too long together"));
}

#[test]
fn only_to_buildkit_there_is_nothing_above_the_context() {
    assert_eq!(needed("FROM scratch\nCOPY ../a b/../../c /d/../e /"), paths(&["a", "c", "e"]));
    assert!(through("FROM scratch\nCOPY ../a /").is_err());
    assert_eq!(through("FROM scratch\nCOPY b/../a /../c /"), paths(&["a", "c"]));
}

#[test]
fn arguments_count_in_the_order_of_buildkit_but_others_may_prefer_the_image_s() {
    let own = format!("{IMAGE}ARG A=x\nCOPY $A /");
    assert_eq!(needed(&own), paths(&["x"]));
    assert!(through(&own).is_err());
    assert_eq!(through("FROM scratch\nARG A=x\nCOPY $A /"), paths(&["x"]));
    assert_eq!(through(&format!("{IMAGE}ENV A=x\nCOPY $A /")), paths(&["x"]));
    assert!(through("FROM scratch\nENV A=x\nARG A=y\nCOPY $A /").is_err());
    assert_eq!(needed("FROM scratch\nENV A=x\nARG A=y\nCOPY $A /"), paths(&["y"]));
    assert_eq!(through("ARG A=x\nFROM scratch\nARG A\nCOPY $A /"), paths(&["x"]));
    // Only to BuildKit, arguments are handed on to a stage that begins with this one.
    let inherited = "FROM scratch AS a\nARG A=x\nFROM a\nCOPY $A /";
    assert_eq!(needed(inherited), paths(&["x"]));
    assert!(through(inherited).is_err());
}

#[test]
fn arguments_come_from_the_request_their_default_or_the_first_lines() {
    let text = "ARG A=global\nFROM scratch\nARG A\nARG B=default\nCOPY $A/$B-$C /";
    assert_eq!(needed(text), paths(&["global/default-"]));
    let request = request().build_arg("A", "one").build_arg("B", "../two").build_arg("C", "undeclared");
    assert_eq!(read(text, &request, StagesBuilt::Needed), paths(&["two-"]));
}

#[test]
fn a_variable_that_is_not_known_matters_only_where_it_is_read() {
    let text = "ARG V=1.2\nFROM scratch\nARG V\nENV MAJOR=${V%.*} PATH=$PATH:/x\nCOPY a-$V /";
    assert_eq!(needed(text), paths(&["a-1.2"]));
    assert!(needed(&format!("{text}\nCOPY $MAJOR /")).is_err());
}

#[test]
fn every_platform_reads_its_own_files() {
    let text = "FROM scratch\nARG TARGETARCH TARGETVARIANT TARGETPLATFORM\nCOPY $TARGETPLATFORM-$TARGETARCH$TARGETVARIANT /";
    let platforms = |platforms: &[&str]| {
        let request = platforms.iter().fold(request(), |request, platform| request.platform(*platform));
        read(text, &request, StagesBuilt::Needed)
    };
    assert_eq!(
        platforms(&["linux/arm/v7", "linux/amd64"]),
        paths(&["linux/amd64-amd64", "linux/arm/v7-armv7"])
    );
    // BuildKit makes `arm64` of it.
    assert!(platforms(&["linux/aarch64"]).is_err());
    assert!(platforms(&["linux/amd64", "windows/amd64"]).is_err());
}

#[test]
fn names_the_images_that_built_stages_begin_with() {
    let text = "FROM a AS one\nFROM b:1\nFROM one\nCOPY --from=c / /\nRUN --mount=from=d true";
    let reads = reads(text.as_bytes(), &request(), StagesBuilt::Needed).expect("certain");
    assert_eq!(reads.bases, BTreeSet::from(["a".to_owned()]));
}

fn dockerfile(text: &str) -> Dockerfile {
    Dockerfile { path: "Dockerfile".into(), contents: text.as_bytes().into() }
}

fn features(text: &str, request: &BuildRequest) -> Vec<Feature> {
    dockerfile(text).uses(request).into_iter().map(|used| used.feature).collect()
}

#[test]
fn a_script_is_expanded_if_its_mark_has_no_quotes_and_the_text_has_something_to_expand() {
    let expands = |run: &str| match features(&format!("FROM scratch\n{run}\n"), &request()).as_slice() {
        [Feature::RunText { has_expansions, .. }] => *has_expansions,
        other => panic!("{run}: {other:?}"),
    };
    for text in ["x=1; echo $x", "echo `date`", "echo a\\ b"] {
        assert!(expands(&format!("RUN <<EOF\n{text}\nEOF")), "{text}");
        assert!(!expands(&format!("RUN <<\"EOF\"\n{text}\nEOF")), "{text}");
        // The command's own shell expands it, with every builder.
        assert!(!expands(&format!("RUN cat <<EOF\n{text}\nEOF")), "{text}");
    }
    assert!(!expands("RUN <<EOF\necho x\nEOF"));
    assert!(!expands("RUN <<EOF\napk add \\\n  curl\nEOF"));
}

#[test]
fn unpacking_is_told_of_where_it_is_not_what_happens_without_the_flag() {
    for (instruction, is_told) in [
        ("ADD --unpack a.tar /", false),
        ("ADD --unpack=true a.tar /", false),
        ("ADD --unpack=false a.tar /", true),
        ("ADD --unpack=false https://x.example/a.tar /", false),
        ("ADD --unpack=false https://x.example/a.tar b.tar /", true),
        ("ADD --unpack https://x.example/a.tar /", true),
        ("ADD --unpack=true http://x.example/a.tar /", true),
        ("ADD --unpack=false $SOURCE /", true),
        ("ADD --unpack $SOURCE /", true),
    ] {
        let features = features(&format!("FROM scratch\n{instruction}\n"), &request());
        let told = features.iter().any(|it| matches!(it, Feature::Flag { name, .. } if name == "unpack"));
        assert_eq!(told, is_told, "{instruction}: {features:?}");
    }
}

#[test]
fn the_stage_of_the_platform_that_is_built_for_is_judged() {
    let text = "ARG TARGETARCH\nFROM scratch AS base-amd64\nRUN <<EOF\nEOF\nFROM scratch AS base-arm64\nFROM base-$TARGETARCH\n";
    let has_text = |platform: &str| {
        let features = features(text, &request().platform(platform));
        features.iter().any(|feature| matches!(feature, Feature::RunText { .. }))
    };
    assert!(has_text("linux/amd64"));
    assert!(!has_text("linux/arm64"));
}

#[test]
fn variables_of_the_platform_are_found_by_their_whole_names() {
    let names = |base: &str| {
        let text = format!("ARG MY_TARGETARCH=x\nFROM {base}\n");
        features(&text, &request())
            .into_iter()
            .map(|feature| match feature {
                Feature::PlatformVariable(name) => name,
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(names("a:$MY_TARGETARCH"), [""; 0]);
    assert_eq!(names("a:${TARGETARCH_}"), [""; 0]);
    assert_eq!(names("a:$TARGETOSVERSION"), ["TARGETOSVERSION"]);
    assert_eq!(names("a:$TARGETOS-${TARGETARCH:-b}"), ["TARGETOS", "TARGETARCH"]);
}

#[test]
fn a_variable_of_the_platform_that_has_a_default_is_not_supplied() {
    let request = request().platform("linux/arm64");
    let supplied = |text: &str| dockerfile(text).platform_variables(&request).into_keys().collect::<Vec<_>>();
    assert_eq!(supplied("FROM a:$TARGETARCH\nARG TARGETOS\n"), ["TARGETARCH", "TARGETOS"]);
    assert_eq!(supplied("FROM a\nARG TARGETARCH\nFROM b\nARG TARGETARCH=amd64\n"), [""; 0]);
    let first = "ARG TARGETARCH=amd64\nFROM a:$TARGETARCH\nARG TARGETARCH\n";
    assert_eq!(supplied(first), [""; 0]);
    assert_eq!(features(first, &request), [], "the default counts in each stage");
}
