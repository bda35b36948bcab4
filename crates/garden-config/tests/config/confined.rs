//! Projects that one only wants to look at.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods themselves are not general enough"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use garden_config::{ConfigError, Environment};

/// A project's directory, and a secret beside it.
struct Checkout(tempfile::TempDir);

impl Checkout {
    fn new(files: &[(&str, &str)]) -> Self {
        let checkout = Self(tempfile::tempdir().expect("temporary directory"));
        checkout.write("secret.env", "TOKEN=s3cret");
        checkout.write("elsewhere/Dockerfile", "FROM scratch");
        for (path, text) in files {
            checkout.write(&format!("project/{path}"), text);
        }
        checkout
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("file");
    }

    /// Asks for something of the project, first as one that is trusted, then as a confined one.
    fn ask<T>(&self, ask: impl Fn(&Environment<'_>) -> Result<T, ConfigError>) -> [Result<T, String>; 2] {
        [false, true].map(|confined| {
            let project = garden_config::load(self.path("project")).map_err(|error| error.to_string())?;
            let project = if confined { project.confined() } else { project };
            let environment = project.environment("dev").map_err(|error| error.to_string())?;
            ask(&environment).map_err(|error| error.to_string())
        })
    }
}

const REFUSED: &str = "leads out of the project's directory";

fn project(fields: &str) -> String {
    format!("kind: Project\nname: shop\n{fields}\n")
}

#[test]
fn files_of_variables_are_read_from_the_project_s_directory_only() {
    let absolute = |checkout: &Checkout| checkout.path("secret.env").display().to_string();
    for (varfile, is_link) in
        [("../secret.env", false), ("ABSOLUTE", false), ("link.env", true), ("up/secret.env", true)]
    {
        let checkout = Checkout::new(&[]);
        let varfile = varfile.replace("ABSOLUTE", &absolute(&checkout));
        for field in [
            format!("varfile: {varfile}"),
            format!("importVariables: [{{from: file, format: dotenv, path: {varfile}}}]"),
            format!("environments: [{{name: dev, varfile: {varfile}}}]"),
        ] {
            checkout.write("project/garden.yml", &project(&field));
            if is_link {
                let _ = symlink("../secret.env", checkout.path("project/link.env"));
                let _ = symlink("..", checkout.path("project/up"));
            }
            let [trusted, confined] = checkout.ask(|environment| environment.variables());
            let trusted = trusted.expect(&field);
            // What is imported is no variable.
            assert_eq!(trusted.get("TOKEN").is_none(), field.starts_with("importVariables"), "{field}");
            assert!(trusted.get("TOKEN").is_none_or(|token| token == "s3cret"), "{field}");
            let refused = confined.expect_err(&field);
            assert!(refused.contains(REFUSED) && !refused.contains("s3cret"), "{refused}");
        }
    }
}

#[test]
fn the_default_file_of_variables_leads_nowhere_else_either() {
    let checkout = Checkout::new(&[("garden.yml", &project("environments: [dev]"))]);
    symlink("../secret.env", checkout.path("project/garden.env")).expect("link");
    let [trusted, confined] = checkout.ask(|environment| environment.variables());
    assert_eq!(trusted.expect("read")["TOKEN"], "s3cret");
    assert!(confined.expect_err("refused").contains(REFUSED));
}

#[test]
fn what_lies_in_the_project_s_directory_is_read_wherever_it_is_named() {
    let module =
        "kind: Module\ntype: container\nname: api\nvarfile: ../common.env\nbuildArgs: {A: '${var.A}'}\n";
    let files = [
        ("garden.yml", &project("environments: [dev]\nvarfile: missing/../common.env")[..]),
        ("common.env", "A=1"),
        ("api/garden.yml", module),
        ("api/Dockerfile", "FROM scratch"),
    ];
    let checkout = Checkout::new(&files);
    fs::create_dir(checkout.path("project/missing")).expect("directory");
    let asked = checkout.ask(|environment| Ok((environment.variables()?, environment.build("api")?)));
    for (variables, build) in asked.map(|asked| asked.expect("read")) {
        assert_eq!((&variables["A"], &build.build_args["A"][..]), (&"1".into(), "1"));
        assert_eq!(
            build.directory.canonicalize().expect("there"),
            checkout.path("project/api").canonicalize().expect("there")
        );
    }
}

#[test]
fn a_build_s_context_lies_in_the_project_s_directory() {
    for (path, is_link) in
        [("../../elsewhere", false), ("ABSOLUTE", false), ("link", true), ("../none/../../x", false)]
    {
        let checkout = Checkout::new(&[("garden.yml", &project("environments: [dev]"))]);
        let path = path.replace("ABSOLUTE", &checkout.path("elsewhere").display().to_string());
        let action = format!("kind: Build\ntype: container\nname: api\nsource: {{path: {path}}}\n");
        checkout.write("project/api/garden.yml", &action);
        if is_link {
            symlink("../../elsewhere", checkout.path("project/api/link")).expect("link");
        }
        let [trusted, confined] = checkout.ask(|environment| environment.build("api"));
        // By its text alone, as Node.js joins paths.
        let joined = path.replace("../none/../", "../");
        assert_eq!(trusted.expect(&path).directory, checkout.path("project/api").join(joined));
        assert!(confined.expect_err(&path).contains(REFUSED), "{path}");
    }
}

/// Nothing that a confined project says depends on whether something outside of it exists.
#[test]
fn nobody_learns_what_exists_elsewhere() {
    let told = |checkout: &Checkout, target: &str| {
        let [_, confined] = checkout.ask(|environment| {
            let names = environment.builds().map_err(|error| error.to_string());
            Ok((
                names,
                environment.build("api").map(|build| build.dockerfile).map_err(|error| error.to_string()),
            ))
        });
        format!("{confined:?}")
            .replace(target, "TARGET")
            .replace(&checkout.path("").display().to_string(), "")
    };
    let image = "kind: Module\ntype: container\nname: api\nimage: team/api\n";
    let there = |checkout: &Checkout, fields: &str, target: &str| {
        checkout.write("project/garden.yml", &project("environments: [dev]"));
        checkout.write("project/api/garden.yml", &format!("{image}{}\n", fields.replace("TARGET", target)));
    };
    for fields in [
        "dockerfile: ../../TARGET",
        "dockerfile: ABSOLUTE/TARGET",
        "dockerfile: link",
        "dockerfile: up/TARGET",
        "varfile: ../../TARGET",
        "varfile: link",
        "varfile: up/TARGET",
        "varfile: up/TARGET/x",
        "",
        "description: ignored",
        "description: linked",
    ] {
        let [existing, missing] = ["secret.env", "nobody.env"].map(|target| {
            let checkout = Checkout::new(&[]);
            let fields = fields.replace("ABSOLUTE", &checkout.path("").display().to_string());
            there(&checkout, &fields, target);
            symlink(format!("../../{target}"), checkout.path("project/api/link")).expect("link");
            symlink("../..", checkout.path("project/api/up")).expect("link");
            if fields.is_empty() {
                symlink(format!("../../{target}"), checkout.path("project/api/Dockerfile")).expect("link");
            }
            if fields == "description: linked" {
                checkout.write("secret.env", image);
                symlink(format!("../{target}"), checkout.path("project/linked.garden.yml")).expect("link");
            }
            if fields == "description: ignored" {
                checkout.write("secret.env", "*");
                symlink(format!("../{target}"), checkout.path("project/.gardenignore")).expect("link");
            }
            told(&checkout, target)
        });
        assert_eq!(existing, missing, "{fields}");
    }
}

#[test]
fn a_kubeconfig_and_certificates_lie_in_the_project_s_directory_and_nothing_runs() {
    for field in ["kubeconfig: ../kubeconfig", "kubeconfig: /etc/kubernetes/admin.conf"] {
        let fields = format!("environments: [dev]\nproviders: [{{name: kubernetes, {field}}}]");
        let checkout = Checkout::new(&[("garden.yml", &project(&fields))]);
        let [trusted, confined] = checkout.ask(|environment| environment.provider());
        assert!(!trusted.expect(field).confined);
        assert!(confined.expect_err(field).contains(REFUSED), "{field}");
    }
    let own = "environments: [dev]\nproviders: [{name: kubernetes, kubeconfig: kubeconfig}]";
    let checkout = Checkout::new(&[("garden.yml", &project(own)), ("kubeconfig", "")]);
    let [trusted, confined] = checkout.ask(|environment| environment.provider());
    assert!(!trusted.expect("read").confined);
    assert!(confined.expect("read").confined);

    let certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    let fields = "environments: [dev]\nproviders:\n  - name: kubernetes\n    deploymentRegistry: {hostname: registry.example, \
                  namespace: a, caCertificate: ../ca.pem}";
    let checkout = Checkout::new(&[("garden.yml", &project(fields))]);
    checkout.write("ca.pem", certificate);
    let [trusted, confined] = checkout.ask(|environment| environment.provider());
    trusted.expect("read");
    assert!(confined.expect_err("refused").contains(REFUSED));
}

#[test]
fn templates_learn_nothing_of_the_machine() {
    let checkout = Checkout::new(&[("garden.yml", &project("variables: {path: '${local.env.PATH}'}"))]);
    let [trusted, confined] = checkout.ask(|environment| environment.variables());
    assert!(trusted.expect("a path")["path"].is_string());
    assert!(confined.expect_err("nothing").contains("PATH"));
}

#[test]
fn what_has_no_end_is_not_read() {
    let endless = |path: &Path| symlink("/dev/zero", path).expect("link");
    let checkout = Checkout::new(&[]);
    endless(&checkout.path("endless"));
    fs::create_dir_all(checkout.path("project/api")).expect("directory");
    for (place, fields) in [
        ("garden.env", "environments: [dev]"),
        ("vars.yml", "environments: [dev]\nvarfile: vars.yml"),
        (".gardenignore", "environments: [dev]"),
        ("api/.gardenignore", "environments: [dev]"),
        ("api/.other", "environments: [dev]\ndotIgnoreFile: .other"),
        ("x", "environments: [dev]\ndotIgnoreFile: ../endless"),
    ] {
        checkout.write("project/garden.yml", &project(fields));
        endless(&checkout.path("project").join(place));
        for asked in checkout.ask(|environment| environment.builds()) {
            let error = asked.expect_err(place);
            let said = ["it is not a file", REFUSED, "cannot be the name of an ignore file"];
            assert!(said.iter().any(|said| error.contains(said)), "{place}: {error}");
        }
        fs::remove_file(checkout.path("project").join(place)).expect("removed");
    }
}
