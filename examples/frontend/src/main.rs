//! `garden-build-frontend`: see the library's documentation.

use std::process::ExitCode;

use clap::Parser as _;
use garden_build::BuilderOptions;
use garden_build_frontend::{Arguments, run};

fn main() -> ExitCode {
    run(&Arguments::parse(), BuilderOptions::connect).into()
}
