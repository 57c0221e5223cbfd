//! `calls`: calls from the inner loops of the kernels. Kernels are put together from small functions and want all of
//! them inlined; where the compiler did not, registers go through memory at every step, and nothing but speed tells.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::process::Command;

use crate::Result;
use crate::shell::{cargo, output, run as run_command, target};

/// Names of the functions that are looked at begin so, here or behind a `<`.
const LEVELS: &str = "gristmill_kernels::level::";

/// Parts of names of functions that do not come back: what calls them is not a loop's way.
const ENDS: &[&str] = &["core::panicking", "_fail", "core::cell::panic", "handle_error"];

/// `calls [PART OF A NAME…]`.
pub(crate) fn run(parts: &[String]) -> Result {
    if parts.iter().any(|part| part.starts_with('-')) {
        return Err("usage: cargo xtask calls [PART OF A FUNCTION'S NAME…]".into());
    }
    if !cfg!(target_arch = "x86_64") {
        return Err(
            "calls: only instructions of x86-64 are understood; run it on such a machine".into()
        );
    }
    // Names of this kind say of what types a function was compiled for.
    let folder = target().join("calls");
    let mut build = cargo(&["build", "--release", "--locked", "--package", "gristmill-kernels"]);
    build.env("CARGO_TARGET_DIR", &folder).env("RUSTFLAGS", "-Csymbol-mangling-version=v0");
    run_command(&mut build)?;
    let library = folder.join("release/libgristmill_kernels.rlib");
    let mut objdump = Command::new("objdump");
    objdump.args(["--disassemble", "--reloc", "--demangle", "--no-show-raw-insn"]);
    let disassembly = output(objdump.arg(&library))
        .map_err(|error| format!("{error}; objdump comes with binutils"))?;
    let functions = functions(&disassembly);
    if functions.is_empty() {
        return Err(format!(
            "{}: no function is named {LEVELS}…; were they moved?",
            library.display()
        ));
    }
    let mut n_functions = 0;
    for Function { name, instructions } in &functions {
        let calls = calls_in_inner_loops(instructions);
        if calls.is_empty() || !parts.iter().all(|part| name.contains(part.as_str())) {
            continue;
        }
        n_functions += 1;
        println!("{name}");
        for ((callee, n_bytes), n) in calls {
            println!("    {n} x {callee}, in a loop of {n_bytes} bytes");
        }
    }
    println!("{n_functions} of {} functions call others from inner loops", functions.len());
    Ok(())
}

/// A function of a kernel.
struct Function<'a> {
    name: &'a str,
    instructions: Vec<Instruction<'a>>,
}

/// An instruction, as far as loops and calls go.
struct Instruction<'a> {
    address: u64,
    kind: Kind<'a>,
}

enum Kind<'a> {
    /// To an address, or nowhere that is known.
    Jump(Option<u64>),
    /// Of a function.
    Call(&'a str),
    /// Of a register.
    Load(&'a str),
    Other,
}

/// What objdump printed: lines with `address <name>:`, then `address: instruction`, and under those that a linker is to
/// complete `address: kind name`.
fn functions(disassembly: &str) -> Vec<Function<'_>> {
    let mut functions: Vec<Function<'_>> = Vec::new();
    let (mut is_inside, mut registers) = (false, BTreeMap::new());
    for line in disassembly.lines() {
        if let Some((_, name)) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
            is_inside = name.trim_start_matches('<').starts_with(LEVELS);
            registers.clear();
            if is_inside {
                functions.push(Function { name, instructions: Vec::new() });
            }
        } else if is_inside && let Some(function) = functions.last_mut() {
            note(line, &mut function.instructions, &mut registers);
        }
    }
    functions
}

/// Adds the instruction in a line, or the name of what the last one means. `registers` have the names of functions whose
/// addresses were loaded.
fn note<'a>(
    line: &'a str,
    instructions: &mut Vec<Instruction<'a>>,
    registers: &mut BTreeMap<&'a str, &'a str>,
) {
    let Some((address, rest)) = line.split_once(':') else { return };
    let Ok(address) = u64::from_str_radix(address.trim(), 16) else { return };
    let mut words = rest.split_whitespace();
    let (Some(first), second) = (words.next(), words.next().unwrap_or_default()) else { return };
    if first.starts_with("R_") {
        let name = rest.trim_start()[first.len()..].trim();
        let name = name.rsplit_once(['-', '+']).map_or(name, |(name, _)| name);
        match instructions.last_mut().map(|last| &mut last.kind) {
            Some(Kind::Call(callee)) => *callee = name,
            Some(Kind::Load(register)) => _ = registers.insert(register, name),
            _ => {}
        }
        return;
    }
    let kind = match first {
        "call" => {
            let register = second.trim_start_matches("*%");
            Kind::Call(registers.get(register).unwrap_or(&"a function whose address is stored"))
        }
        "mov" => second.split_once(",%").map_or(Kind::Other, |(_, register)| {
            registers.remove(register);
            Kind::Load(register)
        }),
        _ if first.starts_with('j') => Kind::Jump(u64::from_str_radix(second, 16).ok()),
        _ => Kind::Other,
    };
    instructions.push(Instruction { address, kind });
}

/// How often each function is called from a loop of so many bytes that has no other inside.
fn calls_in_inner_loops<'a>(instructions: &[Instruction<'a>]) -> BTreeMap<(&'a str, u64), usize> {
    let start = instructions.first().map_or(0, |first| first.address);
    // A loop begins where it is jumped back to, and ends with the last such jump.
    let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
    for Instruction { address, kind } in instructions {
        if let Kind::Jump(Some(to)) = kind
            && (start..=*address).contains(to)
        {
            ends.insert(*to, *address);
        }
    }
    let loops: Vec<RangeInclusive<u64>> = ends.into_iter().map(|(to, from)| to..=from).collect();
    let contains = |a: &RangeInclusive<u64>, b: &RangeInclusive<u64>| {
        a != b && a.contains(b.start()) && a.contains(b.end())
    };
    let is_inner = |a: &&RangeInclusive<u64>| !loops.iter().any(|b| contains(a, b));
    let inner: Vec<_> = loops.iter().filter(is_inner).collect();
    let mut calls = BTreeMap::new();
    for Instruction { address, kind } in instructions {
        if let Kind::Call(callee) = kind
            && !ENDS.iter().any(|end| callee.contains(end))
            && let Some(around) = inner.iter().find(|around| around.contains(address))
        {
            *calls.entry((*callee, around.end() - around.start())).or_default() += 1;
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISASSEMBLY: &str = "
lib.rlib:     file format elf64-x86-64

0000000000000000 <gristmill_kernels::matmul::far>:
   0:\tcall   5 <gristmill_kernels::matmul::far+0x5>
\t\t\t1: R_X86_64_PLT32\tother-0x4
   5:\tjmp    0 <gristmill_kernels::matmul::far>

0000000000000000 <<gristmill_kernels::level::avx512::Few<Q4_0, 1> as Kernel>::products>:
   0:\tmov    0x0(%rip),%rax
\t\t\t0: R_X86_64_GOTPCREL\tcrate::scales-0x4
   1:\tcall   6 <<gristmill_kernels::level::avx512::Few<Q4_0, 1> as Kernel>::products+0x6>
\t\t\t2: R_X86_64_PLT32\tfrom_the_outer_loop-0x4
   6:\tvpxor  %xmm0,%xmm0,%xmm0
   a:\tcall   *0x0(%rip)        # 10 <<gristmill_kernels::level::avx512::Few<Q4_0, 1> as Kernel>::products+0x10>
\t\t\tc: R_X86_64_GOTPCREL\tcrate::unpack::<Q4_0>-0x4
  10:\tcall   *%rax
  12:\tjne    6 <<gristmill_kernels::level::avx512::Few<Q4_0, 1> as Kernel>::products+0x6>
  14:\tcall   19 <<gristmill_kernels::level::avx512::Few<Q4_0, 1> as Kernel>::products+0x19>
\t\t\t15: R_X86_64_PLT32\tfrom_the_outer_loop-0x4
  19:\tjne    1 <<gristmill_kernels::level::avx512::Few<Q4_0, 1> as Kernel>::products+0x1>
  1b:\tjmp    40 <<gristmill_kernels::level::avx512::Few<Q4_0, 1> as Kernel>::products+0x40>
  20:\tcall   25 <<gristmill_kernels::level::avx512::Few<Q4_0, 1> as Kernel>::products+0x25>
\t\t\t21: R_X86_64_PLT32\tcore::panicking::panic-0x4
  25:\tjmp    20 <<gristmill_kernels::level::avx512::Few<Q4_0, 1> as Kernel>::products+0x20>
";

    #[test]
    fn calls_are_found_in_the_innermost_loops_of_kernels() {
        let functions = functions(DISASSEMBLY);
        assert_eq!(functions.len(), 1);
        assert_eq!(
            functions[0].name,
            "<gristmill_kernels::level::avx512::Few<Q4_0, 1> as Kernel>::products"
        );
        let calls: Vec<_> = calls_in_inner_loops(&functions[0].instructions).into_iter().collect();
        assert_eq!(calls, [(("crate::scales", 12), 1), (("crate::unpack::<Q4_0>", 12), 1)]);
    }
}
