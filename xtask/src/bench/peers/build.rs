//! llama.cpp, built for this CPU from the source package of `llama-cpp-python`, once, below `target/peers`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::shell::{run, target};

/// The programs that are compared with.
const PROGRAMS: [&str; 3] = ["llama-bench", "llama-batched-bench", "llama-quantize"];

/// The folder of llama.cpp's programs, built if need be.
pub(super) fn llama_cpp() -> Result<PathBuf> {
    let folder = target().join("peers");
    let programs = folder.join("build/bin");
    if PROGRAMS.iter().all(|program| programs.join(program).exists()) {
        return Ok(programs);
    }
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let package = "llama-cpp-python";
    let pip = ["-m", "pip", "download", "--no-deps", "--no-binary", package, package];
    run(Command::new("python3").args(pip).current_dir(&folder))?;
    let archive =
        find(&folder, |name| name.starts_with("llama_cpp_python") && name.ends_with(".tar.gz"))?;
    run(Command::new("tar").arg("xzf").arg(&archive).current_dir(&folder))?;
    let source =
        find(&folder, |name| name.starts_with("llama_cpp_python") && !name.ends_with(".gz"))?;
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(source.join("vendor/llama.cpp")).arg("-B").arg(folder.join("build"));
    configure.args(["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF"]);
    configure.args(["-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_SERVER=OFF"]);
    run(&mut configure)?;
    let mut build = Command::new("cmake");
    build.arg("--build").arg(folder.join("build")).args(["--parallel", "2", "--target"]);
    run(build.args(PROGRAMS))?;
    Ok(programs)
}

fn find(folder: &Path, matches: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    entries
        .flatten()
        .find(|entry| matches(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .ok_or_else(|| format!("{}: the downloaded source is not there", folder.display()))
}
