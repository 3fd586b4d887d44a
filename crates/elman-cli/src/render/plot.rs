//! The end of the history and the forecast, drawn in dots.

use super::number::Rounding;
use super::{Paint, printable};
use elman_forecast::outcome::{ForecastRow, Observation};
use textplots::{AxisBuilder, Chart, ColorPlot, LineStyle, Plot, Shape};

/// Lines of text.
const ROWS: u32 = 10;
/// Dots of a character: two across, four down.
const ACROSS: u32 = 2;
const DOWN: u32 = 4;
/// The narrowest picture that still shows something, in characters.
const NARROWEST: u32 = 20;

/// The plot, or nothing where there is too little room or nothing to show.
pub fn plot(
    history: &[Observation],
    forecast: &[ForecastRow],
    season: usize,
    paint: Paint,
) -> Option<String> {
    let last = forecast.last()?;
    let scale = Scale::of(history, forecast, season)?;
    let labels = scale.labels();
    let margin = labels.iter().map(String::len).max()?;
    let columns = u32::from(paint.width).checked_sub(margin as u32 + 4)?;
    if columns < NARROWEST {
        return None;
    }
    let (width, height) = (columns * ACROSS, ROWS * DOWN);

    let history = history.get(history.len() - scale.shown..)?;
    let segments = segments(history, &scale);
    let lone: Vec<_> = segments.concat();
    let start = lone.last().filter(|point| point.0 == 0.0);
    let ahead = |value: fn(&ForecastRow) -> Option<f64>| -> Vec<(f32, f32)> {
        forecast
            .iter()
            .enumerate()
            .filter_map(|(i, row)| Some((i as f32 + 1.0, scale.place(value(row)?)?)))
            .collect()
    };
    let line: Vec<_> = start
        .copied()
        .into_iter()
        .chain(ahead(|row| Some(row.value)))
        .collect();
    let known: Vec<_> = segments
        .iter()
        .map(|segment| Shape::Lines(segment))
        .chain([Shape::Points(&lone)])
        .collect();
    let bounds = [ahead(|row| row.lo_80), ahead(|row| row.hi_80)];
    let ahead: Vec<_> = bounds
        .iter()
        .map(|points| Shape::Points(points))
        .chain([Shape::Lines(&line), Shape::Points(&line)])
        .collect();

    // The first and the last dot of each direction are the ends of the range.
    let (first, steps) = (1.0 - scale.shown as f32, forecast.len() as f32);
    let beyond = steps + (steps - first) / (width - 1) as f32;
    let below = -1.0 / (height - 1) as f32;
    let mut canvas = Chart::new_with_y_range(width, height, first, beyond, below, 1.0);
    let mut chart = &mut canvas;
    chart = chart.y_axis_style(LineStyle::Dotted);
    for shape in &known {
        chart = chart.lineplot(shape);
    }
    for shape in &ahead {
        chart = if paint.colour {
            chart.linecolorplot(shape, (0, 160, 190).into())
        } else {
            chart.lineplot(shape)
        };
    }
    chart.y_axis();
    chart.figures();

    let mut text = String::new();
    for (row, dots) in chart.frame().lines().take(ROWS as usize).enumerate() {
        let label = match row as u32 {
            0 => &*labels[0],
            row if row == ROWS / 2 => &*labels[1],
            row if row == ROWS - 1 => &*labels[2],
            _ => "",
        };
        let line = format!("  {} {dots}", paint.faint(&format!("{label:>margin$}")));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let origin = (columns as f32 * (0.0 - first) / (beyond - first)) as usize;
    let times = times(
        columns as usize,
        origin,
        [&*history.first()?.time, &*history.last()?.time, &*last.time],
    );
    text.push_str(&paint.faint(&format!("  {:margin$} {}", "", printable(&times))));
    text.push('\n');
    Some(text)
}

/// The values that are shown, and where they are placed.
struct Scale {
    /// Steps of the history.
    shown: usize,
    low: f64,
    high: f64,
}

impl Scale {
    fn of(history: &[Observation], forecast: &[ForecastRow], season: usize) -> Option<Self> {
        let enough = (3 * forecast.len()).max(2 * season).clamp(24, 400);
        let shown = enough.min(history.len());
        if shown == 0 {
            return None;
        }
        let known = history.iter().rev().take(shown).filter_map(|o| o.value);
        let ahead = forecast
            .iter()
            .flat_map(|row| [Some(row.value), row.lo_80, row.hi_80])
            .flatten();
        let mut range: Option<(f64, f64)> = None;
        for x in known.chain(ahead).filter(|x| x.is_finite()) {
            let (low, high) = range.unwrap_or((x, x));
            range = Some((low.min(x), high.max(x)));
        }
        let (mut low, mut high) = range?;
        if low == high {
            let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (low - room, high + room);
        }
        Some(Self { shown, low, high })
    }

    /// The height of a value, from 0 to 1.
    fn place(&self, value: f64) -> Option<f32> {
        // Halves, so that no range is too wide.
        let place = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        place.is_finite().then_some(place as f32)
    }

    /// The values at the top, in the middle and at the bottom.
    fn labels(&self) -> [String; 3] {
        let values = [self.high, self.high / 2.0 + self.low / 2.0, self.low];
        let rounding = Rounding::of(values);
        values.map(|value| rounding.show(Some(value)))
    }
}

/// The history as unbroken pieces between its gaps; the newest step is at 0.
fn segments(history: &[Observation], scale: &Scale) -> Vec<Vec<(f32, f32)>> {
    let newest = history.len() as f32 - 1.0;
    let points: Vec<_> = history
        .iter()
        .enumerate()
        .map(|(i, o)| Some((i as f32 - newest, scale.place(o.value?)?)))
        .collect();
    points
        .split(Option::is_none)
        .filter(|piece| !piece.is_empty())
        .map(|piece| piece.iter().flatten().copied().collect())
        .collect()
}

/// The times of the first, the newest and the last step below their places, as
/// far as they fit.
fn times(columns: usize, origin: usize, [first, newest, last]: [&str; 3]) -> String {
    let width = console::measure_text_width;
    let room = columns.saturating_sub(width(last));
    let left = origin.saturating_sub(width(newest) / 2);
    let mut line = String::new();
    if width(first) < room {
        line.push_str(first);
    }
    if left > width(&line) + 1 && left + width(newest) + 2 < room {
        line.push_str(&" ".repeat(left - width(&line)));
        line.push_str(newest);
    }
    line.push_str(&" ".repeat(room.saturating_sub(width(&line))));
    line + last
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn draw(
        width: u16,
        change: impl FnOnce(&mut Vec<Observation>, &mut Vec<ForecastRow>),
    ) -> Option<String> {
        let mut outcome = sample::outcome();
        change(&mut outcome.history, &mut outcome.forecast);
        let paint = Paint {
            colour: false,
            width,
        };
        plot(&outcome.history, &outcome.forecast, 7, paint)
    }

    fn is_dots(c: char) -> bool {
        ('\u{2801}'..='\u{28ff}').contains(&c)
    }

    #[test]
    fn every_line_fits() {
        for width in [40, 41, 60, 100] {
            let text = draw(width, |_, _| ()).unwrap();
            assert_eq!(text.lines().count(), ROWS as usize + 1);
            for line in text.lines() {
                assert!(
                    console::measure_text_width(line) <= usize::from(width),
                    "{line}"
                );
            }
            assert!(text.contains("2010-12-03"), "{text}");
        }
        assert_eq!(draw(20, |_, _| ()), None);
    }

    #[test]
    fn odd_series_are_drawn() {
        let set = |value: f64| {
            move |history: &mut Vec<Observation>, forecast: &mut Vec<ForecastRow>| {
                history.iter_mut().for_each(|o| o.value = Some(value));
                for row in forecast {
                    (row.value, row.lo_80, row.hi_80) = (value, None, None);
                }
            }
        };
        for value in [0.0, 5.0, -1e300, 1e-300, f64::MIN_POSITIVE] {
            let text = draw(80, set(value)).unwrap();
            // A level line: dots in one row of text beside the dotted line.
            assert!(
                text.lines().any(|line| line.matches(is_dots).count() > 30),
                "{text}"
            );
        }
        assert_eq!(draw(80, set(f64::NAN)), None);
        assert_eq!(draw(80, |history, _| history.clear()), None);
        assert_eq!(draw(80, |_, forecast| forecast.clear()), None);
        let apart = |history: &mut Vec<Observation>, forecast: &mut Vec<ForecastRow>| {
            history[0].value = Some(f64::MAX);
            forecast[0].value = f64::MIN;
        };
        assert!(draw(80, apart).is_some());
        let lone = |history: &mut Vec<Observation>, _: &mut Vec<ForecastRow>| {
            for (i, o) in history.iter_mut().enumerate() {
                o.value = i.is_multiple_of(3).then_some(i as f64);
            }
        };
        assert!(draw(80, lone).is_some());
    }
}
