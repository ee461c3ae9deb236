//! The few shapes that figures are made of.

use std::fmt::Write;

/// Where plots begin, and what they leave below themselves.
pub(super) const LEFT: f64 = 70.0;
pub(super) const TOP: f64 = 84.0;
pub(super) const BOTTOM: f64 = 58.0;

/// Okabe and Ito: blue, orange, green, purple, then vermilion and sky blue.
const STYLE: &str = "<style>.ground{fill:#fff}.title{font-size:15px;font-weight:600;fill:#222}.word{fill:#222}\
.figure{fill:#444;font-size:10px}.note{fill:#666;font-size:11px}.grid{stroke:#ddd}.expected{stroke:#222;stroke-width:1.5;stroke-dasharray:5 4}\
.s0{fill:#0072b2;stroke:#0072b2}.s1{fill:#e69f00;stroke:#e69f00}.s2{fill:#009e73;stroke:#009e73}.s3{fill:#cc79a7;stroke:#cc79a7}\
.s4{fill:#d55e00;stroke:#d55e00}.s5{fill:#56b4e9;stroke:#56b4e9}\
@media(prefers-color-scheme:dark){.ground{fill:#16191d}.title,.word{fill:#e6e6e6}.figure{fill:#bbb}.note{fill:#999}.grid{stroke:#333}\
.expected{stroke:#e6e6e6}}</style>";
const STYLES: usize = 6;
const LEGEND_LETTER: f64 = 7.5;

/// A scale from 0 on, with round steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    step: f64,
    steps: u32,
    length: f64,
}

impl Axis {
    /// One that has room for `most`, on so many pixels.
    pub(super) fn up_to(most: f64, length: f64) -> Axis {
        let rough = most / 6.0;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * magnitude).find(|step| *step >= rough);
        let step = step.unwrap_or(magnitude * 10.0);
        Axis { step, steps: (most / step).ceil().max(1.0) as u32, length }
    }

    pub(super) fn place(&self, value: f64) -> f64 {
        self.length * value / (self.step * f64::from(self.steps))
    }

    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let step = self.step;
        (0..=self.steps).map(move |tick| step * f64::from(tick))
    }

    /// A tick's value, with as many decimals as the step has.
    pub(super) fn label(&self, tick: f64) -> String {
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        format!("{tick:.decimals$}")
    }
}

/// A figure being drawn.
pub(super) struct Canvas {
    svg: String,
}

impl Canvas {
    pub(super) fn new(width: f64, height: f64, title: &str) -> Canvas {
        let title = escaped(title);
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\">\n<title>{title}</title>\n{STYLE}\n\
             <rect class=\"ground\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n<text class=\"title\" x=\"16\" y=\"26\">{title}</text>"
        );
        Canvas { svg }
    }

    /// Names with their marks, and a word on how to read the rest.
    pub(super) fn legend(&mut self, names: &[&str], note: &str) {
        let mut x = 22.0;
        for (at, name) in names.iter().enumerate() {
            self.mark(at, (x, 44.0));
            self.text("word", "start", (x + 12.0, 48.0), name);
            x += 36.0 + LEGEND_LETTER * name.chars().count() as f64;
        }
        self.text("note", "start", (16.0, 67.0), note);
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ =
            writeln!(self.svg, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
    }

    pub(super) fn text(&mut self, class: &str, anchor: &str, (x, y): (f64, f64), words: &str) {
        let words = escaped(words);
        let _ = writeln!(
            self.svg,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
        );
    }

    /// Read from below to above.
    pub(super) fn upright_text(&mut self, (x, y): (f64, f64), words: &str) {
        let words = escaped(words);
        let _ = writeln!(
            self.svg,
            "<text class=\"word\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 {x:.1} {y:.1})\">{words}</text>"
        );
    }

    /// A mark, and a line from it to another value.
    pub(super) fn range(&mut self, which: usize, low: (f64, f64), high: (f64, f64), words: &str) {
        let _ = writeln!(self.svg, "<g><title>{}</title>", escaped(words));
        let class = format!("s{}\" stroke-width=\"2.5", which % STYLES);
        self.line(&class, low, high);
        self.mark(which, low);
        self.svg.push_str("</g>\n");
    }

    pub(super) fn bar(&mut self, which: usize, (x, y): (f64, f64), (width, height): (f64, f64), words: &str) {
        let (words, style) = (escaped(words), which % STYLES);
        let _ = writeln!(
            self.svg,
            "<g><title>{words}</title><rect class=\"s{style}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/></g>"
        );
    }

    /// A circle, a square, a triangle, a diamond, and again.
    fn mark(&mut self, which: usize, (x, y): (f64, f64)) {
        let style = which % STYLES;
        let corners: &[(f64, f64)] = match which % 4 {
            0 => {
                let _ = writeln!(self.svg, "<circle class=\"s{style}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>");
                return;
            }
            1 => &[(-4.0, -4.0), (4.0, -4.0), (4.0, 4.0), (-4.0, 4.0)],
            2 => &[(0.0, -5.0), (5.0, 4.0), (-5.0, 4.0)],
            _ => &[(0.0, -5.5), (5.5, 0.0), (0.0, 5.5), (-5.5, 0.0)],
        };
        let points: Vec<String> =
            corners.iter().map(|(right, down)| format!("{:.1},{:.1}", x + right, y + down)).collect();
        let _ = writeln!(self.svg, "<polygon class=\"s{style}\" points=\"{}\"/>", points.join(" "));
    }

    pub(super) fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_steps_and_room() {
        for (most, ticks, label) in [(201.0, 6, "50"), (1.0, 6, "0.2"), (6_543.0, 5, "2000"), (0.3, 7, "0.05")] {
            let axis = Axis::up_to(most, 100.0);
            assert_eq!(axis.ticks().count(), ticks, "{axis:?}");
            assert_eq!(axis.label(axis.ticks().nth(1).unwrap()), label);
            assert!(axis.place(most) <= 100.0 + 1e-9 && axis.place(most) > 50.0, "{axis:?}");
        }
    }
}
