//! The ratios as bars, with whiskers from the lower to the upper quartile.

use super::report::Comparison;

/// The width of most letters, so that labels fit.
const LETTER: f64 = 7.4;
const PLOT_WIDTH: f64 = 420.0;
const BAR_HEIGHT: f64 = 18.0;
const ROW_HEIGHT: f64 = 26.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 34.0;

/// A color for each peer, in the order in which they appear (Okabe & Ito's palette, told apart by everyone).
const COLORS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];

/// The picture.
pub(super) fn svg(comparisons: &[Comparison]) -> String {
    let rows: Vec<_> = comparisons.iter().filter_map(|row| Some((row, row.ratio(None)?))).collect();
    let label = |row: &Comparison| format!("{} {}, beside {}", row.model, row.what, row.peer);
    let longest = rows.iter().map(|(row, _)| label(row).chars().count()).max().unwrap_or(0);
    let left = (longest as f64 * LETTER + 30.0).max(120.0);
    let highest = rows.iter().map(|(_, ratio)| ratio.high).fold(1.0, f64::max);
    let step = step(highest);
    let end = (highest / step).ceil() * step;
    let x = |ratio: f64| left + ratio / end * PLOT_WIDTH;
    let (width, bottom) = (left + PLOT_WIDTH + 60.0, TOP + rows.len() as f64 * ROW_HEIGHT);
    let height = bottom + BOTTOM;

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"How many times faster gristmill is\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"bold\" fill=\"#222222\">\
         How many times faster gristmill is (median, quartiles)</text>\n"
    );
    let mut tick = 0.0;
    while tick <= end + step / 2.0 {
        let (at, low) = (x(tick), bottom + 18.0);
        let label = (tick * 100.0).round() / 100.0;
        out += &format!(
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\n\
             <text x=\"{at:.1}\" y=\"{low}\" text-anchor=\"middle\" fill=\"#555555\">{label}</text>\n"
        );
        tick += step;
    }
    let mut peers: Vec<&str> = Vec::new();
    for (number, (row, ratio)) in rows.iter().enumerate() {
        if !peers.contains(&row.peer.as_str()) {
            peers.push(&row.peer);
        }
        let index = peers.iter().position(|peer| *peer == row.peer).unwrap_or(0);
        let color = COLORS[index % COLORS.len()];
        let y = TOP + number as f64 * ROW_HEIGHT + (ROW_HEIGHT - BAR_HEIGHT) / 2.0;
        let (middle, baseline) = (y + BAR_HEIGHT / 2.0, y + BAR_HEIGHT - 4.5);
        let label = escape(&label(row));
        let (low, high) = (x(ratio.low), x(ratio.high));
        out += &format!(
            "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\" fill=\"#222222\">{label}</text>\n\
             <rect x=\"{left}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{color}\"/>\n\
             <path d=\"M{low:.1} {middle}H{high:.1}M{low:.1} {}v10M{high:.1} {}v10\" stroke=\"#222222\" \
             stroke-width=\"1.5\" fill=\"none\"/>\n\
             <text x=\"{:.1}\" y=\"{baseline}\" fill=\"#222222\">{:.2}</text>\n",
            left - 10.0,
            x(ratio.median) - left,
            middle - 5.0,
            middle - 5.0,
            high.max(x(ratio.median)) + 8.0,
            ratio.median,
        );
    }
    let one = x(1.0);
    out += &format!(
        "<line x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#222222\" \
         stroke-dasharray=\"4 3\"/>\n</svg>\n"
    );
    out
}

/// The distance of the marks on the axis: 1, 2 or 5 times a power of ten, at most eight marks.
fn step(highest: f64) -> f64 {
    let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
    steps.into_iter().find(|step| highest / step <= 8.0).unwrap_or(highest)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::bench::peers::report::Pair;
    use crate::bench::peers::work::Figure;

    #[test]
    fn every_comparison_has_its_bar_and_its_label() {
        let comparison = |peer: &str, ours: f64| {
            let [ours, theirs] = [ours, 1.0].map(|value| Figure::rate("pp512".into(), value));
            let mut comparison = Comparison::new(Path::new("a&b.q4.gguf"), peer, &ours);
            let (ours, theirs) = (ours.reading, theirs.reading);
            comparison.pairs.push(Pair { ours, theirs, placement: None, others: 0.0 });
            comparison
        };
        let mut empty = comparison("nobody", 1.0);
        empty.pairs.clear();
        let picture = svg(&[comparison("one", 2.0), comparison("two", 0.5), empty]);
        assert_eq!(picture.matches("<path").count(), 2);
        assert!(picture.contains("a&amp;b.q4 pp512, beside two") && picture.contains(">0.50<"));
        assert!(!picture.contains("nobody"));
    }

    #[test]
    fn the_axis_has_few_marks() {
        assert_eq!([step(0.75), step(1.6), step(7.2), step(30.0)], [0.1, 0.2, 1.0, 5.0]);
    }
}
