//! Medians of ratios with their quartiles, as a table, and as a section of the documentation.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::conditions::Placement;
use super::plot;
use super::work::{Figure, Reading, Unit};
use crate::Result;
use crate::shell::{output, root};

/// What two engines did in the same round.
pub(super) struct Pair {
    pub(super) ours: Reading,
    pub(super) theirs: Reading,
    /// Where both saw the same.
    pub(super) placement: Option<Placement>,
    /// The part of the processors' time that other programs took from either.
    pub(super) others: f64,
}

/// One piece of work on one model, by us and by one other.
pub(in crate::bench) struct Comparison {
    pub(super) model: String,
    pub(super) peer: String,
    pub(super) what: String,
    pub(super) unit: Unit,
    /// What our shares are of.
    pub(super) limit: Option<String>,
    pub(super) pairs: Vec<Pair>,
    /// Rounds that do not count, since the machine was not left to them.
    pub(super) discarded: usize,
}

/// The quartiles of some numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Quartiles {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
    pub(super) count: usize,
}

impl Quartiles {
    /// `None` of nothing.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Option<Quartiles> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        // Between two neighbors where the position is no whole number.
        let at = |part: f64| {
            let position = part * last as f64;
            let (below, above) = (values[position as usize], values[position.ceil() as usize]);
            below + (above - below) * position.fract()
        };
        Some(Quartiles { low: at(0.25), median: at(0.5), high: at(0.75), count: values.len() })
    }
}

impl Comparison {
    /// Of what a figure is of, with no rounds yet.
    pub(super) fn new(model: &Path, peer: &str, figure: &Figure) -> Comparison {
        Comparison {
            model: model.file_stem().unwrap_or(model.as_os_str()).to_string_lossy().into_owned(),
            peer: peer.into(),
            what: figure.what.clone(),
            unit: figure.unit,
            limit: figure.limit.clone(),
            pairs: Vec::new(),
            discarded: 0,
        }
    }

    /// What one side read off, the middle of all rounds: the value, and the memory if it was watched.
    fn median(&self, side: fn(&Pair) -> Reading) -> String {
        let middle = |of: fn(Reading) -> Option<f64>| {
            Quartiles::of(self.pairs.iter().filter_map(|pair| of(side(pair)))).map(|q| q.median)
        };
        let unit = self.unit.name();
        let value = match middle(|reading| Some(reading.value)) {
            Some(value) if value >= 100.0 => format!("{value:.0} {unit}"),
            Some(value) => format!("{value:.2} {unit}"),
            None => return "–".into(),
        };
        match middle(|reading| reading.peak) {
            Some(bytes) => format!("{value}, {:.0} MB", bytes / 1e6),
            None => value,
        }
    }

    /// How near we came to what limits us, the middle of all rounds.
    fn share(&self) -> Option<String> {
        let shares = self.pairs.iter().filter_map(|pair| pair.ours.share);
        let median = Quartiles::of(shares)?.median;
        Some(format!("{:.0} % of {}", 100.0 * median, self.limit.as_deref()?))
    }

    /// How many times faster we were, in the rounds in which both saw this placement, or in all.
    pub(super) fn ratio(&self, placement: Option<Placement>) -> Option<Quartiles> {
        let chosen =
            self.pairs.iter().filter(|pair| placement.is_none() || placement == pair.placement);
        Quartiles::of(chosen.map(|pair| match self.unit {
            Unit::Rate => pair.ours.value / pair.theirs.value,
            Unit::Time => pair.theirs.value / pair.ours.value,
        }))
    }
}

/// What the doctor says of the machine, at its best of a few visits: one that meets another program on one of two cores
/// finds half a machine.
fn machine(ours: &Path) -> Result<Value> {
    const VISITS: usize = 3;
    let mut best = Value::Null;
    for _ in 0..VISITS {
        let doctor = output(Command::new(ours).args(["doctor", "--json"]))?;
        let machine: Value = serde_json::from_str(&doctor).map_err(|error| error.to_string())?;
        if best.is_null() || int8_peak(&machine) > int8_peak(&best) {
            best = machine;
        }
    }
    Ok(best)
}

/// Operations per second.
fn int8_peak(machine: &Value) -> f64 {
    machine["operations_per_second"]["int8"].as_f64().unwrap_or(0.0)
}

/// Who measured what, when, on which machine, and how quiet it was.
pub(super) fn heading(ours: &Path, how: &str, comparisons: &[Comparison]) -> Result<String> {
    let machine = machine(ours)?;
    let date = output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let text = |key: &str| machine[key].as_str().unwrap_or("?").to_string();
    let gigabytes = machine["memory"].as_f64().unwrap_or(0.0) / 1e9;
    let pairs = comparisons.iter().flat_map(|comparison| &comparison.pairs);
    let others = Quartiles::of(pairs.map(|pair| 100.0 * pair.others)).map_or_else(
        || "no round counted".into(),
        |Quartiles { median, .. }| {
            format!("other programs took {median:.0} % of the processors' time")
        },
    );
    // Virtual machines hide which CPU they are; how fast it computes tells.
    let peak = int8_peak(&machine) / 1e9;
    Ok(format!(
        "Measured on {}: {} ({} cores, {}, {peak:.0} GOP/s in int8, {gigabytes:.0} GB), {how}; {others}.",
        date.trim(),
        text("cpu"),
        machine["cores"]["physical"],
        text("simd"),
    ))
}

/// The result in Markdown. Ratios above 1 mean that gristmill is faster.
pub(super) fn table(comparisons: &[Comparison]) -> String {
    let mut lines = vec![
        "| model | work | ours | of the limit | peer | theirs | ratio (quartiles) | in A | in B | rounds |"
            .to_string(),
        "|---|---|---|---|---|---|---|---|---|---|".into(),
    ];
    for comparison in comparisons {
        let Comparison { model, peer, what, pairs, discarded, .. } = comparison;
        let ratio = |placement| {
            let ratio = comparison.ratio(placement);
            ratio.map_or("–".into(), |Quartiles { low, median, high, .. }| {
                format!("{median:.2} ({low:.2}–{high:.2})")
            })
        };
        let dropped =
            if *discarded > 0 { format!(", {discarded} discarded") } else { String::new() };
        lines.push(format!(
            "| {model} | {what} | {} | {} | {peer} | {} | {} | {} | {} | {}{dropped} |",
            comparison.median(|pair| pair.ours),
            comparison.share().as_deref().unwrap_or("–"),
            comparison.median(|pair| pair.theirs),
            ratio(None),
            ratio(Some(Placement::A)),
            ratio(Some(Placement::B)),
            pairs.len(),
        ));
    }
    lines.join("\n")
}

/// Puts the result into its section of the documentation, with a plot beside.
pub(super) fn write(
    section: &str,
    heading: &str,
    table: &str,
    comparisons: &[Comparison],
) -> Result {
    let docs = root().join("docs");
    let picture = format!("bench-{section}.svg");
    let body = format!("{heading}\n\n{table}\n\n![Ratios to the others]({picture})");
    let page = docs.join("performance.md");
    let text = fs::read_to_string(&page).map_err(|error| format!("{}: {error}", page.display()))?;
    let text = replaced(&text, section, &body)?;
    for (path, content) in [(page, text), (docs.join(picture), plot::svg(comparisons))] {
        fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// `text` with another body between the marks of a section, which is added at the end if there is none.
fn replaced(text: &str, section: &str, body: &str) -> Result<String> {
    let begin = format!("<!-- bench {section} -->\n");
    let end = format!("<!-- /bench {section} -->");
    let Some((before, rest)) = text.split_once(&begin) else {
        return Ok(format!("{text}\n### Beside others: {section}\n\n{begin}{body}\n{end}\n"));
    };
    let (_, after) = rest.split_once(&end).ok_or_else(|| format!("{end} is missing"))?;
    Ok(format!("{before}{begin}{body}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_neighbors() {
        let of = |values: &[f64]| Quartiles::of(values.iter().copied());
        let quartiles = of(&[4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((quartiles.low, quartiles.median, quartiles.high), (1.75, 2.5, 3.25));
        assert_eq!(of(&[7.0]).unwrap().high, 7.0);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn ratios_are_above_one_where_we_are_faster() {
        let reading = |value, share| Reading { value, share, peak: None };
        let pair = |ours, share, theirs, placement| Pair {
            ours: reading(ours, Some(share)),
            theirs: reading(theirs, None),
            placement: Some(placement),
            others: 0.0,
        };
        let figure = Figure { limit: Some("read".into()), ..Figure::rate("tg1".into(), 6.0) };
        let mut comparison = Comparison::new(Path::new("a/m.gguf"), "p", &figure);
        comparison.pairs =
            vec![pair(6.0, 0.9, 3.0, Placement::A), pair(4.0, 0.94, 4.0, Placement::B)];
        comparison.discarded = 1;
        assert_eq!(comparison.ratio(Some(Placement::A)).unwrap().median, 2.0);
        assert_eq!(comparison.ratio(None).unwrap().median, 1.5);
        let table = table(std::slice::from_ref(&comparison));
        assert!(table.ends_with(
            "| m | tg1 | 5.00 t/s | 92 % of read | p | 3.50 t/s | 1.50 (1.25–1.75) | 2.00 (2.00–2.00) \
             | 1.00 (1.00–1.00) | 2, 1 discarded |"
        ));
        comparison.unit = Unit::Time;
        assert_eq!(comparison.ratio(Some(Placement::A)).unwrap().median, 0.5);
        comparison.pairs.iter_mut().for_each(|pair| pair.ours.peak = Some(45e6));
        assert_eq!(comparison.median(|pair| pair.ours), "5.00 s, 45 MB");
    }

    #[test]
    fn a_section_is_replaced_and_no_other() {
        let text = "a\n<!-- bench x -->\nold\n<!-- /bench x -->\nb\n";
        let new = replaced(text, "x", "new").unwrap();
        assert_eq!(new, "a\n<!-- bench x -->\nnew\n<!-- /bench x -->\nb\n");
        let added = replaced(text, "y", "other").unwrap();
        assert!(
            added.starts_with(text) && added.contains("<!-- bench y -->\nother\n<!-- /bench y -->")
        );
        assert!(replaced("<!-- bench x -->\n", "x", "new").is_err());
    }
}
