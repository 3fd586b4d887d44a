//! Two kinds of table: numbers, which are never broken over lines, and words,
//! whose last column is.

use super::{Paint, printable};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table};

/// Columns that are kept however narrow the terminal is.
const KEPT: usize = 2;

/// A table of numbers: the first column is a name, the others are aligned to
/// the right. Columns that do not fit are left out, from the right, and named.
/// The row `strong` stands out.
pub fn numbers(
    header: &[&str],
    rows: &[Vec<String>],
    strong: Option<usize>,
    paint: Paint,
) -> String {
    let mut columns = header.len();
    let lines = loop {
        let lines = draw(header, rows, columns);
        let widest = lines
            .iter()
            .map(|line| console::measure_text_width(line))
            .max()
            .unwrap_or(0);
        if columns <= KEPT || widest <= usize::from(paint.width) {
            break lines;
        }
        columns -= 1;
    };
    let mut text = String::new();
    for (i, line) in lines.iter().enumerate() {
        match i.checked_sub(1) {
            None => text.push_str(&paint.faint(line)),
            row if row == strong => text.push_str(&paint.strong(line)),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    if let Some(left_out) = header.get(columns..).filter(|rest| !rest.is_empty()) {
        let line = format!("  (too narrow for: {})", left_out.join(", "));
        text.push_str(&paint.faint(&line));
        text.push('\n');
    }
    text
}

fn draw(header: &[&str], rows: &[Vec<String>], columns: usize) -> Vec<String> {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().take(columns))
        .add_rows(
            rows.iter()
                .map(|row| row.iter().take(columns).map(|cell| printable(cell))),
        );
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((2, 0));
        if i > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().into()).collect()
}

/// A table of words; the last column takes what is left of the width.
pub fn words<const N: usize>(rows: &[[&str; N]], paint: Paint) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(paint.width)
        .add_rows(
            rows.iter()
                .map(|row| row.iter().map(|cell| printable(cell))),
        );
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((2, 0));
        if i + 1 < N {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paint = Paint {
        colour: false,
        width: 40,
    };

    #[test]
    fn words_are_broken_in_the_last_column() {
        let rows = [
            [
                "--look-back",
                "28",
                "four seasons of the series, which is long enough",
            ],
            ["--cell", "gru", "given"],
        ];
        let expected = [
            "  --look-back  28   four seasons of the",
            "                    series, which is",
            "                    long enough",
            "  --cell       gru  given",
        ];
        assert_eq!(words(&rows, PLAIN).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn columns_that_do_not_fit_are_named() {
        let rows = [vec![
            "elman".into(),
            "4.120".into(),
            "5.300".into(),
            "12.10".into(),
        ]];
        let header = ["", "MAE", "RMSE", "sMAPE, 0 to 200"];
        let wide = numbers(&header, &rows, None, PLAIN);
        assert_eq!(
            wide,
            "           MAE   RMSE  sMAPE, 0 to 200\n  elman  4.120  5.300            12.10\n"
        );
        let narrow = numbers(&header, &rows, None, Paint { width: 30, ..PLAIN });
        assert_eq!(
            narrow,
            "           MAE   RMSE\n  elman  4.120  5.300\n  (too narrow for: sMAPE, 0 to 200)\n"
        );
    }
}
