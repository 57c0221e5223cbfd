//! `picture`: the demo's output as an SVG for the README, made from a real run.

use std::fs;

use crate::Result;
use crate::shell::{cargo, output, root, run as run_command, target};

const COLUMNS: usize = 96;
const CELL_WIDTH: f32 = 8.4;
const LINE_HEIGHT: usize = 19;
const TOP: usize = 48;

/// Runs the demo and writes `docs/demo.svg`.
pub(crate) fn run(_: &[String]) -> Result {
    run_command(&mut cargo(&["build", "--release", "--package", "gristmill-cli"]))?;
    let text = output(std::process::Command::new(target().join("release/gristmill")).arg("demo"))?;
    let path = root().join("docs/demo.svg");
    fs::write(&path, svg(&text)).map_err(|error| format!("{}: {error}", path.display()))
}

fn svg(text: &str) -> String {
    let lines: Vec<String> = std::iter::once("$ gristmill demo".to_string())
        .chain(text.lines().flat_map(wrap))
        .collect();
    let width = (COLUMNS as f32 * CELL_WIDTH) as usize + 40;
    let height = TOP + lines.len() * LINE_HEIGHT + 16;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"The output of gristmill demo\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#1d1f27\"/>\n\
         <g fill=\"#5b6070\"><circle cx=\"22\" cy=\"20\" r=\"6\"/><circle cx=\"42\" cy=\"20\" r=\"6\"/>\
         <circle cx=\"62\" cy=\"20\" r=\"6\"/></g>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"14\" \
         fill=\"#d8dbe2\" xml:space=\"preserve\">\n"
    );
    for (number, line) in lines.iter().enumerate() {
        let y = TOP + number * LINE_HEIGHT;
        let color = if line.starts_with("$ ") { " fill=\"#8fd18b\"" } else { "" };
        out += &format!("<text x=\"20\" y=\"{y}\"{color}>{}</text>\n", escape(line));
    }
    out + "</g>\n</svg>\n"
}

/// Cuts a line at blanks so that no part is wider than the picture; parts after the first keep its indent.
fn wrap(line: &str) -> Vec<String> {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut parts = Vec::new();
    let mut rest = line.to_string();
    while rest.chars().count() > COLUMNS {
        let limit = rest.char_indices().nth(COLUMNS).map_or(rest.len(), |(at, _)| at);
        let cut = rest[..limit].rfind(' ').filter(|&at| at > indent.len()).unwrap_or(limit);
        parts.push(rest[..cut].to_string());
        rest = format!("{indent}{}", rest[cut..].trim_start());
    }
    parts.push(rest);
    parts
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_at_blanks_and_keep_their_indent() {
        let parts = wrap(&format!("  {}", "word ".repeat(40)));
        assert!(parts.len() > 1);
        assert!(parts.iter().all(|part| part.starts_with("  word") && part.len() <= COLUMNS));
    }
}
