//! Who works: each program that is compared, one file each.

mod cp;
mod ctransformers;
mod ggml;
mod llama_cpp;
mod ours;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::work::{Figure, Work};
use crate::Result;
use crate::shell::{emptied, made, target};

/// A program that is asked for some work.
pub(super) trait Engine {
    /// One sample of `work` on a model, or why there is none: not every program does everything.
    fn measure(&self, work: &Work, model: &Path, n_threads: usize) -> Result<Vec<Figure>>;
}

/// A program under the name that tables show.
pub(super) struct Named {
    pub(super) name: String,
    engine: Box<dyn Engine>,
}

/// Where a program is, and how it wants to be called.
pub(super) struct Place {
    folder: PathBuf,
    options: Vec<String>,
    variables: Vec<(String, String)>,
}

/// A program that tells an engine's folder, and how the engine is made of it.
type Kind = (&'static str, fn(Place) -> Box<dyn Engine>);

/// The engines that can be compared with. Another one is a file and a line here.
const KINDS: &[Kind] = &[
    ("llama-bench", |place| Box::new(llama_cpp::LlamaCpp(place))),
    ("gpt-j", |place| Box::new(ggml::GptJ(place))),
    ("bin/python", |place| Box::new(ctransformers::Ctransformers(place))),
];

impl Named {
    /// gristmill.
    pub(super) fn ours(program: PathBuf) -> Named {
        Named { name: "gristmill".into(), engine: Box::new(ours::Ours(program)) }
    }

    /// The system's `cp`.
    pub(super) fn cp() -> Named {
        Named { name: "cp".into(), engine: Box::new(cp::Cp) }
    }

    /// `NAME=DIR`, then options and variables.
    pub(super) fn parse(text: &str) -> Result<Named> {
        let mut words = text.split_whitespace();
        let first = words.next().and_then(|word| word.split_once('='));
        let (name, folder) = first.ok_or("--peer takes NAME=DIR")?;
        let folder = std::path::absolute(folder).map_err(|error| format!("{folder}: {error}"))?;
        let (mut options, mut variables) = (Vec::new(), Vec::new());
        for word in words {
            match word.split_once('=') {
                Some((key, value)) if !key.starts_with('-') => {
                    variables.push((key.into(), value.into()));
                }
                _ => options.push(word.into()),
            }
        }
        Named::found(name, Place { folder, options, variables })
    }

    /// What lies at a place.
    pub(super) fn found(name: &str, place: Place) -> Result<Named> {
        let kind = KINDS.iter().find(|(program, _)| place.folder.join(program).exists());
        let (_, open) = kind.ok_or_else(|| {
            let known: Vec<&str> = KINDS.iter().map(|(program, _)| *program).collect();
            format!("{}: none of {} is there", place.folder.display(), known.join(", "))
        })?;
        Ok(Named { name: name.into(), engine: open(place) })
    }
}

impl Engine for Named {
    fn measure(&self, work: &Work, model: &Path, n_threads: usize) -> Result<Vec<Figure>> {
        self.engine.measure(work, model, n_threads)
    }
}

impl Place {
    /// A folder, without more to say.
    pub(super) fn of(folder: PathBuf) -> Place {
        Place { folder, options: Vec::new(), variables: Vec::new() }
    }

    /// One of its programs.
    fn program(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(self.folder.join(name));
        // Some leave logs where they run.
        command.current_dir(scratch()?);
        command.envs(self.variables.iter().map(|(key, value)| (key, value)));
        Ok(command)
    }
}

/// Where results go that nobody keeps.
fn scratch() -> Result<PathBuf> {
    made(target().join("peers/out"))
}

/// An empty folder among them, for a converted model: nobody overwrites what is there.
fn converted() -> Result<PathBuf> {
    emptied(scratch()?.join("converted"))
}

/// Forgets them, and waits until the disk is at rest: nobody is to delete what another has written, nor to wait for it
/// to be stored.
pub(super) fn clear_scratch() {
    // The next sample makes it anew; what cannot be deleted is in nobody's way.
    let _ = scratch().map(fs::remove_dir_all);
    // Where there is no such program, files are stored some seconds later.
    let _ = Command::new("sync").status();
}

/// What an engine says to work that it does not do.
fn not_done<T>() -> Result<T> {
    Err("it does not do that".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_peer_is_known_by_its_programs_and_may_have_options_and_variables() {
        let folder = std::env::temp_dir().join(format!("peers-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let text = format!("ik={} -rtr 1 OMP_WAIT_POLICY=active", folder.display());
        let error = Named::parse(&text).err().unwrap();
        assert!(error.contains("none of llama-bench, gpt-j, bin/python is there"), "{error}");
        // A program that shows what it was given, as JSON.
        let program = folder.join("llama-bench");
        let script = "#!/bin/sh\necho '[{\"n_prompt\": 1, \"avg_ts\": '$#'}, {\"n_gen\": 1, \"avg_ts\": 2}]'\n\
                      [ \"$OMP_WAIT_POLICY $1 $2\" = 'active -rtr 1' ]\n";
        fs::write(&program, script).unwrap();
        Command::new("chmod").arg("+x").arg(&program).status().unwrap();
        let peer = Named::parse(&text).unwrap();
        let work = Work::Speed { n_prompt: 1, n_gen: 1, n_depth: 0 };
        let figures = peer.measure(&work, Path::new("model.gguf"), 2).unwrap();
        let names: Vec<&str> = figures.iter().map(|figure| figure.what.as_str()).collect();
        assert_eq!((peer.name.as_str(), names), ("ik", vec!["pp1", "tg1"]));
        fs::remove_dir_all(&folder).unwrap();
        assert!(Named::parse("/bin/ik").is_err());
    }
}
