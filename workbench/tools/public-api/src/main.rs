//! Prints the public items of crates, from the JSON that rustdoc has written of them: for each a line with the number that rustdoc has given
//! it, the number of the item that it is a part of (or `-`), and the item as Rust declares it.

use std::env;
use std::process::ExitCode;

use public_api::Builder;

fn main() -> ExitCode {
    let mut files = env::args_os().skip(1);
    let printed = files.try_for_each(|file| {
        // What the compiler adds is nobody's choice, unless it is about threads: see `cargo xtask public-api`.
        let crate_ = Builder::from_rustdoc_json(&file).omit_blanket_impls(true).build();
        let crate_ = crate_.map_err(|error| format!("{}: {error}", file.display()))?;
        for item in crate_.items() {
            let parent = item.parent_id().map_or_else(|| "-".to_owned(), |id| id.0.to_string());
            println!("{}\t{parent}\t{item}", item.id().0);
        }
        Ok::<_, String>(())
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
