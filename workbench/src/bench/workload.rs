//! Directories to build, the same in every run.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

const FILES: u64 = 20_000;
const DIRECTORIES: u64 = 1_400;

/// What a tree of files is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Bytes that do not compress, in one layer.
    Noise,
    /// Text that compresses as source code does. What changes rarely has a layer of its own, as one is advised to do.
    Source,
}

/// Makes 20 000 files with 200 MB in 1 400 directories, two deep.
pub(super) fn tree(content: Content) -> Result<TempDir> {
    let directory = directory(match content {
        Content::Noise => "FROM scratch\nCOPY . /app\n",
        Content::Source => {
            "FROM scratch\nCOPY part-[0-6] part-[8-9] part-[1-3][0-9] /app/dependencies/\nCOPY part-7 /app/part-7\n"
        }
    })?;
    let mut noise = Noise::new(1);
    let vocabulary = Vocabulary::new();
    for index in 0..FILES {
        let parent = directory.path().join(place_in_tree(index % DIRECTORIES));
        if index < DIRECTORIES {
            fs::create_dir_all(&parent)?;
        }
        // 2 to 18 kB, 10 kB on average.
        let size = 2_000 + noise.next() % 16_001;
        let path = parent.join(format!("file-{index}.bin"));
        match content {
            Content::Noise => noise.write(&path, size)?,
            Content::Source => fs::write(path, vocabulary.text(&mut noise, size))?,
        }
    }
    Ok(directory)
}

/// Makes 200 000 files with 200 MB in 14 000 directories.
pub(super) fn many() -> Result<TempDir> {
    trees(10, 2_001)
}

/// Makes a million files with 8 MB in 70 000 directories.
pub(super) fn million() -> Result<TempDir> {
    trees(50, 17)
}

/// Makes as many files as some of the trees have, each smaller than a `size`.
fn trees(count: u64, size: u64) -> Result<TempDir> {
    let directory = directory("FROM scratch\nCOPY . /app\n")?;
    let mut noise = Noise::new(3);
    for index in 0..count * FILES {
        let parent = directory.path().join(place_in_tree(index % (count * DIRECTORIES)));
        if index < count * DIRECTORIES {
            fs::create_dir_all(&parent)?;
        }
        let size = noise.next() % size;
        noise.write(&parent.join(format!("file-{index}.bin")), size)?;
    }
    Ok(directory)
}

/// Makes one file of 4 GB.
pub(super) fn large() -> Result<TempDir> {
    let directory = directory("FROM scratch\nCOPY . /app\n")?;
    let mut noise = Noise::new(4);
    let block: Vec<u8> = (0..1 << 17).flat_map(|_| noise.next().to_le_bytes()).collect();
    let mut file = File::create(directory.path().join(BIG_FILE))?;
    for _ in 0..4 << 10 {
        file.write_all(&block)?;
    }
    Ok(directory)
}

/// Makes the files of [`paths`], and 60 000 more that [`RULES`] exclude.
pub(super) fn ignored() -> Result<TempDir> {
    let directory = directory("FROM scratch\nCOPY . /app\n")?;
    fs::write(directory.path().join(".dockerignore"), RULES)?;
    for (path, is_directory) in paths() {
        let path = directory.path().join(path);
        if is_directory { fs::create_dir(path)? } else { fs::write(path, "module.exports = {};\n")? }
    }
    for index in 0..60_000 {
        let parent = directory.path().join(format!("node_modules/more-{}", index / 40));
        if index % 40 == 0 {
            fs::create_dir(&parent)?;
        }
        fs::write(parent.join(format!("{index}.js")), "module.exports = {};\n")?;
    }
    Ok(directory)
}

/// The ignore file of an application that is written in JavaScript and Python.
pub(super) const RULES: &str = "\
# Dependencies and what is built
node_modules
!node_modules/kept
**/__pycache__
**/*.pyc
**/*.log
*.md
!README.md
dist
build/**
coverage
.git
.github
.vscode
.env*
**/.DS_Store
**/*.test.js
**/*.spec.ts
docs/*.pdf
docs/**/draft-*
tmp*
**/fixtures/large
Dockerfile*
docker-compose*.yml
**/.cache
src/**/testdata
*.[oa]
";

/// 20 000 paths and more of a project with such an ignore file, each with whether it is a directory; a directory
/// directly precedes what is in it.
pub(super) fn paths() -> Vec<(String, bool)> {
    let mut paths = vec![("node_modules".to_owned(), true), ("node_modules/kept".to_owned(), true)];
    paths.extend((0..500).map(|file| (format!("node_modules/kept/{file}.js"), false)));
    paths.push(("src".to_owned(), true));
    for part in 0..200 {
        paths.push((format!("src/part-{part}"), true));
        for section in 0..5 {
            let place = format!("src/part-{part}/section-{section}");
            paths.push((place.clone(), true));
            let kinds = ["ts", "js", "test.js", "css", "py", "pyc", "json", "md"];
            let files = kinds.iter().flat_map(|kind| (0..3).map(move |file| format!("file-{file}.{kind}")));
            paths.extend(files.map(|file| (format!("{place}/{file}"), false)));
        }
    }
    paths
}

/// The file of the tree that changes.
pub(super) const FILE_IN_TREE: &str = "part-7/section-7/file-287.bin";

fn place_in_tree(directory: u64) -> String {
    format!("part-{}/section-{}", directory / 40, directory % 40)
}

/// Makes one file of 512 MiB.
pub(super) fn big_file() -> Result<TempDir> {
    let directory = directory("FROM scratch\nCOPY . /app\n")?;
    Noise::new(2).write(&directory.path().join(BIG_FILE), 512 << 20)?;
    Ok(directory)
}

pub(super) const BIG_FILE: &str = "model.bin";

/// The application of [`small`] and [`stages`], a file that may change.
pub(super) const APPLICATION: &str = "app.txt";

/// Makes what takes no time to build.
pub(super) fn small(base: &str) -> Result<TempDir> {
    let directory = directory(&format!("FROM {base}\nCOPY app.txt /app.txt\nCMD [\"cat\", \"/app.txt\"]\n"))?;
    fs::write(directory.path().join(APPLICATION), "the application\n")?;
    Ok(directory)
}

/// Makes five stages, each with 8 MB that do not compress; the application comes last.
pub(super) fn stages(base: &str) -> Result<TempDir> {
    let directory = directory(&format!(
        "FROM {base} AS tools\n\
         RUN head -c 8000000 /dev/urandom > /tools && sleep 1\n\
         FROM {base} AS libraries\n\
         RUN head -c 8000000 /dev/urandom > /libraries && sleep 1\n\
         FROM tools AS compiled\n\
         COPY --from=libraries /libraries /libraries\n\
         RUN head -c 8000000 /dev/urandom > /compiled && sleep 1\n\
         FROM compiled AS tested\n\
         RUN sha256sum /compiled > /tested && sleep 1\n\
         FROM {base} AS application\n\
         COPY --from=compiled /compiled /compiled\n\
         COPY --from=tested /tested /tested\n\
         COPY app.txt /app.txt\n"
    ))?;
    fs::write(directory.path().join(APPLICATION), "the application\n")?;
    Ok(directory)
}

/// Changes the beginning of a file, and not its size, to what no earlier call has written.
pub(super) fn change(file: &Path, round: u32) -> Result<()> {
    let mut file = File::options().write(true).open(file)?;
    // As long as the shortest file, so that nothing of it stays.
    writeln!(file, "changed: {round:05}")?;
    Ok(())
}

fn directory(dockerfile: &str) -> Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("garden-bench-").tempdir()?;
    fs::write(directory.path().join("Dockerfile"), dockerfile)?;
    Ok(directory)
}

/// Bytes that do not compress, the same from the same seed. (Steele, Lea and Flood's `SplitMix64`.)
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn write(&mut self, path: &Path, size: u64) -> Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for start in (0..size).step_by(8) {
            let bytes = self.next().to_le_bytes();
            let length = usize::try_from(size - start).unwrap_or(8).min(8);
            file.write_all(&bytes[..length])?;
        }
        file.flush()?;
        Ok(())
    }
}

/// Words that files have in common, as those of one project have.
struct Vocabulary(Vec<String>);

impl Vocabulary {
    fn new() -> Self {
        let mut noise = Noise::new(3);
        let mut letters = |length: u64| {
            (0..length).map(|_| char::from(b'a' + u8::try_from(noise.next() % 26).unwrap_or(0))).collect()
        };
        Self((0..1_000).map(|index| letters(6 + index % 15)).collect())
    }

    /// Writes about `size` bytes, in lines with indentation; few words are frequent, many are rare.
    fn text(&self, noise: &mut Noise, size: u64) -> String {
        let mut text = String::new();
        while (text.len() as u64) < size {
            let chosen = noise.next();
            let (rank, scale, after) = (chosen % 1_000, (chosen >> 16) & 0x3ff, (chosen >> 32) & 0x1f);
            // The rank is squeezed towards the first words.
            let rank = usize::try_from((rank * scale.pow(5)) >> 50).unwrap_or(0);
            text.push_str(&self.0[rank]);
            text.push_str(match after {
                0..12 => " ",
                12..16 => ".",
                16..19 => "(",
                19..22 => ", ",
                22..25 => " = ",
                25..28 => ");\n        ",
                28..30 => ";\n    ",
                _ => " {\n        ",
            });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn the_source_compresses_as_that_of_real_projects() {
        let text = Vocabulary::new().text(&mut Noise::new(1), 1 << 20);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).expect("written");
        let compressed = encoder.finish().expect("compressed").len();
        // Rust's crates and Go's modules: 2.8 to 4.6 in pieces of 64 KiB.
        let tenths = text.len() * 10 / compressed;
        assert!((28..=46).contains(&tenths), "{tenths}");
    }

    #[test]
    fn the_file_that_changes_is_in_the_tree() {
        assert_eq!(FILE_IN_TREE, format!("{}/file-287.bin", place_in_tree(287)));
    }

    #[test]
    fn a_change_keeps_the_size() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        Noise::new(1).write(&path, 1_003).expect("written");
        let before = fs::read(&path).expect("readable");
        change(&path, 1).expect("changed");
        let after = fs::read(&path).expect("readable");
        assert_eq!((before.len(), after.len()), (1_003, 1_003));
        assert_ne!(before, after);
    }
}
