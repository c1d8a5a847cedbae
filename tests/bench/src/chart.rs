//! A chart of bars as SVG: the figure that counts most, a bar for each server.

use std::fmt::Write as _;

use crate::peers::Peer;
use crate::report::number;
use crate::result::Line;

/// The height of a line, and where the bars begin and end, in pixels.
const ROW: f64 = 22.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 620.0;
const WIDTH: f64 = 720.0;

/// The bars of the first figure of each line.
pub(crate) fn bars(title: &str, lines: &[Line]) -> String {
    let Some(name) = lines.first().and_then(|line| line.names().first().copied()) else { return String::new() };
    let bars: Vec<_> = lines.iter().filter_map(|line| Some((line, line.spread(name)?))).collect();
    let most = bars.iter().map(|(_, spread)| spread.most).fold(f64::MIN_POSITIVE, f64::max);
    let height = 56.0 + ROW * bars.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"12\" y=\"22\" \
         font-weight=\"bold\">{}</text>\n<text x=\"12\" y=\"40\" fill=\"#666\">{}</text>\n",
        escaped(title),
        escaped(name)
    );
    for (index, (line, spread)) in bars.iter().enumerate() {
        let y = 52.0 + ROW * index as f64;
        let at = |value: f64| LEFT + (RIGHT - LEFT) * value / most;
        let fill = if matches!(line.peer, Peer::Orlop | Peer::Shared) { "#0b6e99" } else { "#b8c4cc" };
        let label = [line.peer.name(), line.variant.as_str()].join(" ");
        let middle = y + 14.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text><rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" \
             height=\"14\" fill=\"{fill}\"/><path d=\"M{:.1} {}H{:.1}\" stroke=\"#333\"/><text x=\"{:.1}\" \
             y=\"{middle}\">{}</text>",
            LEFT - 8.0,
            escaped(label.trim()),
            y + 3.0,
            at(spread.median) - LEFT,
            at(spread.least),
            y + 10.0,
            at(spread.most),
            at(spread.most) + 6.0,
            number(spread.median)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
