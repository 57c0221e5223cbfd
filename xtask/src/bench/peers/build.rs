//! llama.cpp, built for this CPU from the source package of `llama-cpp-python`, once, below `target/peers`.

use std::process::Command;

use super::engines::{Named, Place};
use crate::Result;
use crate::bench::pypi;
use crate::shell::{emptied, run, target};

/// The programs that are compared with.
const PROGRAMS: [&str; 3] = ["llama-bench", "llama-batched-bench", "llama-quantize"];

/// llama.cpp, built if need be.
pub(super) fn llama_cpp() -> Result<Named> {
    let folder = target().join("peers");
    let programs = folder.join("build/bin");
    if !PROGRAMS.iter().all(|program| programs.join(program).exists()) {
        let package = "llama-cpp-python";
        let archive = pypi::download(&["--no-binary", package, package], &folder)?;
        let sources = emptied(folder.join("source"))?;
        run(Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(&sources))?;
        let source = pypi::only_entry(&sources)?.join("vendor/llama.cpp");
        let mut configure = Command::new("cmake");
        configure.arg("-S").arg(source).arg("-B").arg(folder.join("build"));
        configure.args(["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF"]);
        configure.args(["-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_SERVER=OFF"]);
        run(&mut configure)?;
        let mut build = Command::new("cmake");
        build.arg("--build").arg(folder.join("build")).args(["--parallel", "2", "--target"]);
        run(build.args(PROGRAMS))?;
    }
    Named::found("llama.cpp", Place::of(programs))
}
