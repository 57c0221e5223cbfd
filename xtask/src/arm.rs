//! `arm`: the tests of kernels and encoders for 64-bit Arm, which qemu emulates: with and without each set of
//! instructions that a level needs.
//!
//! It takes a cross linker, qemu and a `rustc` that has the standard library of the target. The last comes with
//! `rustup target add`, or, where only Debian's packages can be had, from a folder of them: there Debian's `rustc` of
//! trixie-backports runs with its own loader and libraries, whatever the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::shell::{cargo, output, run as run_command, target};

const TARGET: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";
const QEMU: &str = "qemu-aarch64";

/// What qemu pretends to be, and the tests for it: a CPU with everything, where all levels are tested, and one with NEON
/// only and one with dot products, which choose their level and must not meet an instruction that they do not have.
const CPUS: &[(&str, &[&str])] = &[("max", &[]), ("cortex-a53", LEVELS), ("cortex-a76", LEVELS)];

/// Names of tests that run what there is at every level.
const LEVELS: &[&str] = &["level::", "every_level"];

/// Debian's packages that have the linker, the target's C library and qemu.
const PACKAGES: &[&str] = &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"];

/// What to do when something is missing.
const HELP: &str = "either\n  \
    rustup target add aarch64-unknown-linux-gnu   (and install gcc-aarch64-linux-gnu and qemu-user)\n\
    or, as root on Debian or with these packages and mmdebstrap already there\n  \
    cargo xtask arm setup";

/// Stands in for `rustc`.
const RUSTC: &str = r#"#!/bin/sh
root=$(dirname "$(readlink -f "$0")")
exec "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" \
  "$root/usr/bin/rustc" --sysroot "$root/usr" "$@"
"#;

/// `arm [setup]`.
pub(crate) fn run(arguments: &[String]) -> Result {
    match arguments {
        [] => test(),
        [word] if word == "setup" => setup(),
        _ => Err("usage: cargo xtask arm [setup]".into()),
    }
}

fn test() -> Result {
    let missing: Vec<&str> = [LINKER, QEMU].into_iter().filter(|tool| !is_there(tool)).collect();
    if !missing.is_empty() {
        return Err(format!("there is no {}; {HELP}", missing.join(" and no ")));
    }
    let rustc = rustc().ok_or_else(|| format!("no rustc has a library for {TARGET}; {HELP}"))?;
    for (cpu, filters) in CPUS {
        let mut tests = cargo(&["test", "--lib", "--locked"]);
        tests
            .args(["--package", "gristmill-kernels", "--package", "gristmill-quant"])
            .args(["--target", TARGET, "--target-dir"])
            .arg(target().join("arm"))
            .arg("--")
            .args(*filters)
            .env("RUSTC", &rustc)
            .env("RUSTFLAGS", "-D warnings")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER)
            .env(
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
                format!("{QEMU} -cpu {cpu} -L /usr/aarch64-linux-gnu"),
            );
        eprintln!("64-bit Arm as {cpu}:");
        run_command(&mut tests)?;
    }
    Ok(())
}

/// Gets what is missing from Debian's packages.
fn setup() -> Result {
    let needs_rustc = rustc().is_none();
    let mut wanted: Vec<&str> = Vec::new();
    if !is_there(LINKER) || !is_there(QEMU) {
        wanted.extend(PACKAGES);
    }
    if needs_rustc && !is_there("mmdebstrap") {
        wanted.push("mmdebstrap");
    }
    if !wanted.is_empty() {
        run_command(Command::new("apt-get").arg("update"))?;
        let install = ["install", "--yes", "--no-install-recommends"];
        run_command(Command::new("apt-get").args(install).args(wanted))?;
    }
    if needs_rustc { unpack_rustc(&folder()) } else { Ok(()) }
}

/// Fills a folder with Debian's `rustc` and the libraries of both architectures.
fn unpack_rustc(folder: &Path) -> Result {
    if folder.exists() {
        // What an earlier try has left.
        fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let mirror = ["indextargets", "--format", "$(REPO_URI)", "Identifier: Packages"];
    let debian = ["Origin: Debian", "Label: Debian"];
    let mirrors = output(Command::new("apt-get").args(mirror).args(debian))?;
    let mirror = mirrors.lines().next().ok_or("this machine takes no packages from Debian")?;
    let packages = ["rustc", "libstd-rust-dev", "libstd-rust-dev:arm64"];
    let packages = packages.map(|package| format!("{package}/trixie-backports"));
    run_command(
        Command::new("mmdebstrap")
            .args(["--variant=extract", "--architectures=amd64,arm64"])
            .arg(r#"--aptopt=APT::Install-Recommends "false""#)
            .arg(format!("--include={}", packages.join(",")))
            .arg("")
            .arg(folder)
            .args(["trixie", "trixie-backports"].map(|suite| format!("deb {mirror} {suite} main"))),
    )?;
    // Last, since a folder with this script is taken for whole.
    let script = folder.join("rustc");
    fs::write(&script, RUSTC).map_err(|error| format!("{}: {error}", script.display()))?;
    run_command(Command::new("chmod").arg("+x").arg(&script))
}

/// Where Debian's `rustc` goes.
fn folder() -> PathBuf {
    target().join("debian-rust")
}

/// A `rustc` that has the standard library of the target.
fn rustc() -> Option<PathBuf> {
    let usual = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    [PathBuf::from(usual), folder().join("rustc")].into_iter().find(|rustc| {
        let sysroot = output(Command::new(rustc).args(["--print", "sysroot"]));
        sysroot.is_ok_and(|it| Path::new(it.trim()).join("lib/rustlib").join(TARGET).is_dir())
    })
}

fn is_there(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok()
}
