//! One way to draw a plot: marks over two axes, as an SVG whose colours follow
//! the reader's light or dark scheme, at a size for each kind of screen.

use super::number::{Digits, round_step};
use maud::{Markup, PreEscaped, html};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

/// The colours of plots. A plot is drawn in the light ones, so that it is
/// right on its own; the style sheet of [`palette`] then replaces each by a
/// variable, which has another value in the dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Axis labels.
    Label,
    /// Grid and axis lines.
    Grid,
    /// What was observed.
    Truth,
    /// What elman forecasts.
    Elman,
    /// The first companion: the best baseline, the validation loss.
    First,
    /// The second companion.
    Second,
    /// The third companion.
    Third,
    /// Missing values.
    Missing,
}

impl Ink {
    const ALL: [Ink; 8] = [
        Ink::Label,
        Ink::Grid,
        Ink::Truth,
        Ink::Elman,
        Ink::First,
        Ink::Second,
        Ink::Third,
        Ink::Missing,
    ];

    /// Name in the style sheet, light colour, dark colour.
    const fn look(self) -> (&'static str, u32, u32) {
        match self {
            Ink::Label => ("label", 0x55606E, 0x9DA9B7),
            Ink::Grid => ("grid", 0xDDE2E8, 0x323A45),
            Ink::Truth => ("truth", 0x27313D, 0xDCE3EB),
            Ink::Elman => ("elman", 0x1763C6, 0x6FB1FF),
            Ink::First => ("first", 0xBE5504, 0xFFA657),
            Ink::Second => ("second", 0x23803A, 0x74D68A),
            Ink::Third => ("third", 0x7A48C8, 0xC9A5FF),
            Ink::Missing => ("missing", 0xC62F3B, 0xFF7B83),
        }
    }

    fn name(self) -> &'static str {
        self.look().0
    }

    fn color(self) -> RGBColor {
        let [_, r, g, b] = self.look().1.to_be_bytes();
        RGBColor(r, g, b)
    }
}

/// The style sheet that gives every ink its light and dark colour. Paper is
/// always light.
pub fn palette() -> String {
    let variables = |pick: fn(Ink) -> u32| -> String {
        Ink::ALL
            .iter()
            .map(|&ink| format!("--{}:#{:06X};", ink.name(), pick(ink)))
            .collect()
    };
    let rules: String = Ink::ALL
        .iter()
        .map(|ink| {
            let (name, light, _) = ink.look();
            format!(
                "svg [fill=\"#{light:06X}\"]{{fill:var(--{name})}}\n\
                 svg [stroke=\"#{light:06X}\"]{{stroke:var(--{name})}}\n\
                 .ink-{name}{{color:var(--{name})}}\n"
            )
        })
        .collect();
    format!(
        ":root{{{}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\n{rules}",
        variables(|ink| ink.look().1),
        variables(|ink| ink.look().2),
    )
}

/// A point of a plot in the units of its axes.
pub type Point = (f64, f64);

/// Something drawn over the axes. Widths are in CSS pixels.
#[derive(Debug, Clone)]
pub enum Mark {
    /// Points joined in order; broken at a `None`. A point without a
    /// neighbour is a dot.
    Line {
        ink: Ink,
        width: f64,
        points: Vec<Option<Point>>,
    },
    /// The area between two bounds: x, low, high; broken at a `None`. A lone
    /// step is as wide as most of a step.
    Band {
        ink: Ink,
        opacity: f64,
        steps: Vec<Option<(f64, f64, f64)>>,
    },
    /// Loose points.
    Dots {
        ink: Ink,
        radius: f64,
        points: Vec<Point>,
    },
    /// Rectangles from the x axis' zero: left, right, height.
    Bars {
        ink: Ink,
        bars: Vec<(f64, f64, f64)>,
    },
    /// Shade between two x; `height` is the part of the plot covered, from 0
    /// at the bottom to 1.
    Shade {
        ink: Ink,
        opacity: f64,
        x: (f64, f64),
        height: (f64, f64),
    },
    /// A thin line across the plot at a height.
    Level(f64),
    /// A thin upright line.
    Upright(f64),
}

/// What stands at the ticks of an axis.
#[derive(Debug, Clone)]
pub enum Labels<'a> {
    /// Numbers with as many digits as the ticks need.
    Numbers,
    /// Whole numbers only.
    Whole,
    /// The table's times; a position is an index into them.
    Times(&'a [&'a str]),
}

/// One axis: its range, its labels and its name.
#[derive(Debug, Clone)]
pub struct Axis<'a> {
    lo: f64,
    hi: f64,
    labels: Labels<'a>,
    name: &'a str,
}

impl<'a> Axis<'a> {
    /// An axis that holds the values with a little air; a range without width
    /// gets some.
    pub fn around(
        values: impl IntoIterator<Item = f64>,
        labels: Labels<'a>,
        name: &'a str,
    ) -> Self {
        let (lo, hi) = values
            .into_iter()
            .filter_map(plottable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| {
                (lo.min(v), hi.max(v))
            });
        let (lo, hi) = if lo <= hi { (lo, hi) } else { (0.0, 1.0) };
        let size = lo.abs().max(hi.abs());
        let air = match labels {
            Labels::Numbers if hi - lo > 1e-9 * size && hi - lo > 1e-290 => 0.06 * (hi - lo),
            Labels::Numbers if size > 1e-280 => 0.1 * size,
            Labels::Numbers => 1.0,
            Labels::Whole | Labels::Times(_) => (0.012 * (hi - lo)).max(0.5).max(1e-9 * size),
        };
        Self {
            lo: lo - air,
            hi: hi + air,
            labels,
            name,
        }
    }

    /// The same axis from zero up, or from below zero where values are.
    pub fn with_zero(mut self) -> Self {
        self.lo = self.lo.min(0.0);
        self
    }

    /// Where a value lies: 0 at the lower end, 1 at the upper.
    fn unit(&self, value: f64) -> f64 {
        ((value - self.lo) / (self.hi - self.lo)).clamp(0.0, 1.0)
    }

    /// The value at a part of the way from the lower end to the upper.
    fn at(&self, unit: f64) -> f64 {
        self.lo + unit * (self.hi - self.lo)
    }

    /// Places and labels of the ticks; `fit` says how many labels of a number
    /// of characters there is room for.
    fn ticks(&self, fit: impl Fn(usize) -> usize) -> Vec<(f64, String)> {
        match self.labels {
            Labels::Numbers => self.number_ticks(fit(6), 0.0),
            Labels::Whole => self.number_ticks(fit(format!("{:.0}", self.hi).len()), 1.0),
            Labels::Times(times) => self.time_ticks(times, fit),
        }
    }

    fn number_ticks(&self, most: usize, smallest: f64) -> Vec<(f64, String)> {
        let step = round_step(self.hi - self.lo, most).max(smallest);
        let (first, last) = ((self.lo / step).ceil(), (self.hi / step).floor());
        let digits = Digits::resolving(self.lo.abs().max(self.hi.abs()), step);
        (0..=most)
            .map(|k| first + k as f64)
            .take_while(|&k| k <= last)
            .map(|k| (k * step, digits.show(k * step)))
            .collect()
    }

    /// Times that start with a year are marked where the year, the month, the
    /// day, the hour or the minute changes, the coarsest that gives enough
    /// marks; any others at equal distances.
    fn time_ticks(&self, times: &[&str], fit: impl Fn(usize) -> usize) -> Vec<(f64, String)> {
        let first = self.lo.ceil().max(0.0) as usize;
        let end = times.len().min(self.hi.floor().max(0.0) as usize + 1);
        let Some(seen) = times.get(first..end).filter(|seen| !seen.is_empty()) else {
            return Vec::new();
        };
        let tick = |i: usize, chars: usize| {
            let time = seen.get(i).copied().unwrap_or_default();
            let label = time.get(..chars).unwrap_or(time);
            ((first + i) as f64, label.to_owned())
        };
        let starts_with_year = |time: &&str| {
            let head = time.as_bytes().get(..5);
            head.is_some_and(|h| h[..4].iter().all(u8::is_ascii_digit) && h[4] == b'-')
        };
        if seen.iter().all(starts_with_year) {
            for (cut, chars) in [(4, 10), (7, 10), (10, 10), (13, 16), (16, 16)] {
                let changes: Vec<usize> = (1..seen.len())
                    .filter(|&i| seen[i].get(..cut) != seen[i - 1].get(..cut))
                    .collect();
                let most = fit(chars).max(1);
                if changes.len() >= most.min(3) {
                    let every = changes.len().div_ceil(most);
                    let marks = changes.iter().step_by(every);
                    return marks.map(|&i| tick(i, chars)).collect();
                }
            }
        }
        let chars = seen.iter().map(|t| t.chars().count()).max().unwrap_or(1);
        let every = round_step(seen.len() as f64, fit(chars).max(1)).max(1.0) as usize;
        let is_round = |i: &usize| {
            let number = seen[*i].parse::<i64>();
            number.is_ok_and(|n| n % (every as i64) == 0)
        };
        let start = (0..every.min(seen.len())).find(is_round).unwrap_or(0);
        (start..seen.len())
            .step_by(every)
            .map(|i| tick(i, usize::MAX))
            .collect()
    }
}

/// An axis with the ticks of one size, as plotters takes it.
struct Scale<'a> {
    axis: &'a Axis<'a>,
    ticks: Vec<(f64, String)>,
}

impl Ranged for Scale<'_> {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (f64::from(to - from) * self.axis.unit(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.axis.lo..self.axis.hi
    }
}

impl ValueFormatter<f64> for Scale<'_> {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|(at, _)| at == value);
        tick.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// The value as a plot can hold it: finite, and small enough that a difference
/// of two is.
pub fn plottable(value: f64) -> Option<f64> {
    value.is_finite().then(|| value.clamp(-1e300, 1e300))
}

/// A size in CSS pixels, and the class by which the style sheet picks it.
#[derive(Debug, Clone, Copy)]
struct Size {
    class: &'static str,
    width: u32,
    height: u32,
}

impl Size {
    fn view_box(self) -> String {
        let [width, height] = [self.width, self.height].map(|side| fine(side.into()));
        format!("0 0 {width} {height}")
    }
}

/// The whole width of a page: one drawing for wide screens and paper, another
/// for phones.
const FULL: &[Size] = &[
    Size {
        class: "wide",
        width: 880,
        height: 320,
    },
    Size {
        class: "narrow",
        width: 350,
        height: 250,
    },
];

/// Half the width of a page, or a phone's whole: one drawing serves both.
const HALF: &[Size] = &[Size {
    class: "half",
    width: 420,
    height: 260,
}];

/// Units of a drawing in one CSS pixel: plotters counts in whole numbers, and
/// a pixel is too coarse for a line.
const FINE: f64 = 4.0;
const FONT: f64 = 12.0;
/// Width of a character, generously, as part of the font's size.
const CHAR: f64 = 0.58;
/// By how much the width of a label is overrated, about.
const SPARE: f64 = 4.0;
/// More points than this in one line are drawn as the range of each bucket.
const MOST_POINTS: usize = 2000;
const MOST_DOTS: usize = 1000;

/// Axes and marks, with the description that is read out in place of the plot.
#[derive(Debug, Clone)]
pub struct Plot<'a> {
    pub description: String,
    pub x: Axis<'a>,
    pub y: Axis<'a>,
    pub marks: Vec<Mark>,
}

impl Plot<'_> {
    /// The plot as an `svg` element of each size.
    fn svg(&self, sizes: &[Size]) -> Markup {
        html! {
            @for size in sizes {
                @match self.draw(*size) {
                    Ok(content) => {
                        svg.(size.class) role="img" aria-label=(self.description)
                            viewBox=(size.view_box()) {
                            (PreEscaped(content))
                        }
                    }
                    Err(e) => p.(size.class) { "This plot could not be drawn: " (e) }
                }
            }
        }
    }

    /// What stands inside the `svg` element.
    fn draw(&self, size: Size) -> Result<String, Box<dyn std::error::Error>> {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        let (top, right) = (10.0, 14.0);
        let bottom = if self.x.name.is_empty() { 26.0 } else { 44.0 };
        let y_ticks = self.y.ticks(|_| (height / 30.0) as usize);
        let longest = y_ticks.iter().map(|(_, label)| label.chars().count()).max();
        let left = 14.0 + CHAR * FONT * longest.unwrap_or(0) as f64;

        let label_width = |chars: usize| CHAR * FONT * chars as f64;
        let plot_width = width - left - right;
        let mut x_ticks = self
            .x
            .ticks(|chars| (plot_width / (label_width(chars) + 18.0)) as usize);
        x_ticks.retain(|(x, label)| {
            let centre = left + plot_width * self.x.unit(*x);
            let half = label_width(label.chars().count()) / 2.0;
            centre - half >= -SPARE && centre + half <= width + SPARE
        });

        let mut out = String::new();
        {
            let size = (fine(width) as u32, fine(height) as u32);
            let area = SVGBackend::with_string(&mut out, size).into_drawing_area();
            let mut chart = ChartBuilder::on(&area)
                .margin_top(fine(top))
                .margin_right(fine(right))
                .x_label_area_size(fine(bottom))
                .y_label_area_size(fine(left))
                .build_cartesian_2d(
                    Scale {
                        axis: &self.x,
                        ticks: x_ticks,
                    },
                    Scale {
                        axis: &self.y,
                        ticks: y_ticks,
                    },
                )?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .bold_line_style(thin(Ink::Grid))
                .axis_style(thin(Ink::Grid))
                .label_style(text())
                .axis_desc_style(text())
                .x_desc(self.x.name)
                .set_all_tick_mark_size(fine(4.0))
                .draw()?;
            for mark in &self.marks {
                self.draw_mark(mark, &mut chart)?;
            }
            drop(chart);
            area.present()?;
        }
        // The outer element is written anew, with a role and a description.
        let content = out.split_once('>').map_or("", |(_, content)| content);
        Ok(content.trim_end().trim_end_matches("</svg>").to_owned())
    }

    fn draw_mark(
        &self,
        mark: &Mark,
        chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<Scale<'_>, Scale<'_>>>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let line = |from: Point, to: Point| {
            let style = Ink::Label.color().mix(0.7).stroke_width(fine(1.0) as u32);
            PathElement::new(vec![from, to], style)
        };
        let filled = |ink: Ink, opacity| ink.color().mix(opacity).filled();
        match mark {
            Mark::Line { ink, width, points } => {
                for run in runs(points) {
                    if let [lone] = run[..] {
                        let dot = Circle::new(lone, fine(width + 0.4), ink.color().filled());
                        chart.draw_series([dot])?;
                    } else {
                        let style = ink.color().stroke_width(fine(*width) as u32);
                        let joined = PathElement::new(thinned(&run, MOST_POINTS), style);
                        chart.draw_series([joined])?;
                    }
                }
            }
            Mark::Band {
                ink,
                opacity,
                steps,
            } => {
                for mut run in runs(steps) {
                    if let [(x, lo, hi)] = run[..] {
                        run = vec![(x - 0.4, lo, hi), (x + 0.4, lo, hi)];
                    }
                    let run = thinned_band(&run);
                    let low = run.iter().map(|&(x, lo, _)| (x, lo));
                    let high = run.iter().rev().map(|&(x, _, hi)| (x, hi));
                    let outline: Vec<_> = low.chain(high).collect();
                    chart.draw_series([Polygon::new(outline, filled(*ink, *opacity))])?;
                }
            }
            Mark::Dots {
                ink,
                radius,
                points,
            } => {
                let dots = thinned(points, MOST_DOTS)
                    .into_iter()
                    .map(|p| Circle::new(p, fine(*radius), filled(*ink, 0.75)));
                chart.draw_series(dots)?;
            }
            Mark::Bars { ink, bars } => {
                let bars = bars.iter().map(|&(left, right, height)| {
                    let gap = 0.04 * (right - left);
                    let corners = [(left + gap, 0.0), (right - gap, height)];
                    Rectangle::new(corners, filled(*ink, 0.8))
                });
                chart.draw_series(bars)?;
            }
            Mark::Shade {
                ink,
                opacity,
                x,
                height,
            } => {
                let corners = [(x.0, self.y.at(height.0)), (x.1, self.y.at(height.1))];
                chart.draw_series([Rectangle::new(corners, filled(*ink, *opacity))])?;
            }
            Mark::Level(y) => {
                chart.draw_series([line((self.x.lo, *y), (self.x.hi, *y))])?;
            }
            Mark::Upright(x) => {
                chart.draw_series([line((*x, self.y.lo), (*x, self.y.hi))])?;
            }
        }
        Ok(())
    }
}

fn fine(pixels: f64) -> i32 {
    (FINE * pixels).round() as i32
}

fn thin(ink: Ink) -> ShapeStyle {
    ink.color().stroke_width(fine(1.0) as u32)
}

fn text() -> TextStyle<'static> {
    // The SVG backend writes a font's size divided by 1.24.
    ("sans-serif", FINE * FONT * 1.24)
        .into_font()
        .color(&Ink::Label.color())
}

/// The stretches without a `None`.
fn runs<T: Copy>(entries: &[Option<T>]) -> Vec<Vec<T>> {
    entries
        .split(Option::is_none)
        .filter(|run| !run.is_empty())
        .map(|run| run.iter().copied().flatten().collect())
        .collect()
}

/// The lowest and the highest point of each bucket, in their order, where
/// there are too many to draw.
fn thinned(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most {
        return points.to_vec();
    }
    points
        .chunks(points.len().div_ceil(most / 2))
        .flat_map(|bucket| {
            let by_height = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
            let low = bucket.iter().min_by(by_height).copied();
            let high = bucket.iter().max_by(by_height).copied();
            let swap = low.map(|p| p.0) > high.map(|p| p.0);
            if swap { [high, low] } else { [low, high] }
        })
        .flatten()
        .collect()
}

/// The hull of each bucket, where there are too many steps to draw.
fn thinned_band(steps: &[(f64, f64, f64)]) -> Vec<(f64, f64, f64)> {
    if steps.len() <= MOST_POINTS / 2 {
        return steps.to_vec();
    }
    steps
        .chunks(steps.len().div_ceil(MOST_POINTS / 4))
        .map(|bucket| {
            bucket.iter().fold(
                (bucket[0].0, f64::INFINITY, f64::NEG_INFINITY),
                |(x, lo, hi), step| (x, lo.min(step.1), hi.max(step.2)),
            )
        })
        .collect()
}

/// A plot with its heading, legend and caption.
#[derive(Debug, Clone)]
pub struct Figure<'a> {
    title: String,
    plot: Plot<'a>,
    sizes: &'static [Size],
    keys: Vec<Key>,
    caption: String,
}

/// One entry of a legend.
#[derive(Debug, Clone)]
pub struct Key {
    /// How the mark looks: `line`, `band`, `wash` (a lighter band) or `dot`.
    pub shape: &'static str,
    pub ink: Ink,
    pub text: String,
}

impl Key {
    pub fn new(shape: &'static str, ink: Ink, text: impl Into<String>) -> Self {
        Self {
            shape,
            ink,
            text: text.into(),
        }
    }
}

impl<'a> Figure<'a> {
    /// A figure as wide as the page.
    pub fn wide(title: &str, plot: Plot<'a>, keys: Vec<Key>) -> Self {
        Self {
            title: title.to_owned(),
            plot,
            sizes: FULL,
            keys,
            caption: String::new(),
        }
    }

    /// A figure of which two stand beside each other.
    pub fn half(title: &str, plot: Plot<'a>, keys: Vec<Key>, caption: &str) -> Self {
        Self {
            title: title.to_owned(),
            plot,
            sizes: HALF,
            keys,
            caption: caption.to_owned(),
        }
    }

    pub fn render(&self) -> Markup {
        html! {
            figure {
                @if !self.title.is_empty() { h3 { (self.title) } }
                p.legend {
                    span.unit { (self.plot.y.name) }
                    @for key in &self.keys {
                        span.key {
                            span class={ "swatch " (key.shape) " ink-" (key.ink.name()) }
                                aria-hidden="true" {}
                            (key.text)
                        }
                    }
                }
                (self.plot.svg(self.sizes))
                @if !self.caption.is_empty() { figcaption { (self.caption) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis<'_>, chars: usize) -> Vec<String> {
        let ticks = axis.ticks(|label| chars / (label + 1));
        ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn times_are_marked_where_the_calendar_turns() {
        let check = |times: &[String], chars: usize, expected: &[&str]| {
            let times: Vec<&str> = times.iter().map(String::as_str).collect();
            let ends = [0.0, times.len() as f64 - 1.0];
            let axis = Axis::around(ends, Labels::Times(&times), "");
            assert_eq!(labels(&axis, chars), expected);
        };
        let months: Vec<_> = (0..46)
            .map(|i| format!("{}-{:02}", 2007 + i / 12, i % 12 + 1))
            .collect();
        check(&months, 80, &["2008-01", "2009-01", "2010-01"]);
        let hours: Vec<_> = (0..96)
            .map(|i| format!("2016-07-{:02} {:02}:00:00", 1 + i / 24, i % 24))
            .collect();
        check(&hours, 60, &["2016-07-02", "2016-07-03", "2016-07-04"]);
        check(&hours[2..8], 34, &["2016-07-01 03:00", "2016-07-01 06:00"]);
        let steps: Vec<_> = (1..=450).map(|i| i.to_string()).collect();
        check(&steps, 20, &["100", "200", "300", "400"]);
        let days: Vec<_> = (1..=9).map(|i| format!("{i}/12/2010")).collect();
        check(&days, 40, &["1/12/2010", "6/12/2010"]);
        check(&["2010-12-01".to_owned()], 40, &["2010-12-01"]);
        check(&[], 40, &[]);
    }

    #[test]
    fn a_long_line_keeps_its_extremes() {
        let mut points: Vec<Point> = (0..50_000).map(|i| (f64::from(i), 0.0)).collect();
        (points[1234].1, points[40_001].1) = (9.0, -7.0);
        let thin = thinned(&points, MOST_POINTS);
        assert!(thin.len() <= MOST_POINTS);
        assert!(thin.contains(&(1234.0, 9.0)) && thin.contains(&(40_001.0, -7.0)));
        assert!(thin.is_sorted_by(|a, b| a.0 <= b.0));
    }

    proptest! {
        #[test]
        fn ticks_lie_on_their_axis(
            values in prop::collection::vec(any::<f64>(), 0..6),
            room in 0usize..60,
        ) {
            for labels in [Labels::Numbers, Labels::Whole] {
                let axis = Axis::around(values.iter().copied(), labels, "");
                prop_assert!(axis.lo < axis.hi);
                let ticks = axis.ticks(|chars| room / chars);
                prop_assert!(ticks.len() <= room + 1);
                prop_assert!(ticks.is_sorted_by(|a, b| a.0 < b.0));
                let air = 1e-9 * (axis.hi - axis.lo);
                for (value, _) in ticks {
                    prop_assert!(axis.lo - air <= value && value <= axis.hi + air);
                }
            }
        }
    }
}
