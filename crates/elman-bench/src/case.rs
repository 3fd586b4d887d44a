//! What is measured: the rows of the grid, and rows of anyone's own.

use elman::cell::CellKind;
use elman::{Error, Result};
use serde::{Serialize, Serializer};
use std::fmt;

/// What is done in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Forward, and nothing is kept for a way back.
    Infer,
    /// Forward, and the gradients of the sum of the outputs by all parameters
    /// and the input.
    Train,
    /// The same over rows of different [lengths](Case::lengths).
    Packed,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Infer, Self::Train, Self::Packed];

    /// The name in lower case: `infer`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Train => "train",
            Self::Packed => "packed",
        }
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Infer => "forward only",
            Self::Train => "forward, and the gradients of all parameters and the input",
            Self::Packed => "the same over rows of different lengths",
        }
    }
}

/// The name of a row of the grid; each but the last is measured for every cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// T 3, B 3, I 1, H 2.
    Tiny,
    /// T 30, B 32, I 8, H 32.
    Small,
    /// T 100, B 1, I 16, H 64.
    Stream,
    /// T 100, B 32, I 64, H 128.
    Medium,
    /// T 100, B 64, I 256, H 512.
    Large,
    /// T 50, B 128, I 512, H 1024.
    Huge,
    /// T 1000, B 1, I 256, H 512.
    Long,
    /// [`Medium`](Self::Medium) with two layers and two directions.
    Deep,
    /// A training step of a language model: embedding 64, LSTM 256, linear,
    /// softmax cross entropy over 65 symbols, Adam; T 64, B 32.
    EndToEnd,
}

impl Row {
    /// All of them, in the order of the grid.
    pub const ALL: [Self; 9] = [
        Self::Tiny,
        Self::Small,
        Self::Stream,
        Self::Medium,
        Self::Large,
        Self::Huge,
        Self::Long,
        Self::Deep,
        Self::EndToEnd,
    ];

    /// The name in lower case: `end-to-end`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Stream => "stream",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::Huge => "huge",
            Self::Long => "long",
            Self::Deep => "deep",
            Self::EndToEnd => "end-to-end",
        }
    }

    /// Its sizes.
    pub fn sizes(self) -> Sizes {
        let (layers, bidirectional) = match self {
            Self::Deep => (2, true),
            _ => (1, false),
        };
        let (seq_len, batch, input_size, hidden_size) = match self {
            Self::Tiny => (3, 3, 1, 2),
            Self::Small => (30, 32, 8, 32),
            Self::Stream => (100, 1, 16, 64),
            Self::Medium | Self::Deep => (100, 32, 64, 128),
            Self::Large => (100, 64, 256, 512),
            Self::Huge => (50, 128, 512, 1024),
            Self::Long => (1000, 1, 256, 512),
            Self::EndToEnd => (64, 32, 64, 256),
        };
        Sizes {
            seq_len,
            batch,
            input_size,
            hidden_size,
            layers,
            bidirectional,
        }
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The sizes of a recurrent layer and of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// `T`, steps.
    pub seq_len: usize,
    /// `B`, sequences side by side.
    pub batch: usize,
    /// `I`, features of a step; in a language model, of the embedding.
    pub input_size: usize,
    /// `H`, units of a layer and direction.
    pub hidden_size: usize,
    /// Layers on top of each other.
    pub layers: usize,
    /// A second direction in every layer.
    pub bidirectional: bool,
}

/// More numbers than any row needs: 4 GiB of `f32`.
const MOST: f64 = (1_u32 << 30) as f64;

impl Sizes {
    /// Refuses what cannot be run.
    fn check(&self) -> Result<()> {
        for (flag, size) in [
            ("--seq-len", self.seq_len),
            ("--batch", self.batch),
            ("--input-size", self.input_size),
            ("--hidden-size", self.hidden_size),
            ("--layers", self.layers),
        ] {
            if size == 0 {
                return Err(Error::option(format!(
                    "{flag} 0: expected a whole number, 1 or more"
                )));
            }
        }
        let most = elman::layer::StackConfig::MAX_LAYERS;
        if self.layers > most {
            return Err(Error::option(format!(
                "--layers {}: expected at most {most}",
                self.layers
            )));
        }
        let numbers = self.numbers();
        if numbers > MOST {
            return Err(Error::option(format!(
                "a run with {self} keeps about {numbers:.1e} numbers, at most {MOST:.1e} are measured; choose smaller sizes"
            )));
        }
        Ok(())
    }

    /// The features of the input of every layer, and how many directions read
    /// it.
    fn inputs(&self) -> impl Iterator<Item = (f64, f64)> + use<> {
        let directions = if self.bidirectional { 2.0 } else { 1.0 };
        let (first, others) = (self.input_size as f64, directions * self.hidden_size as f64);
        (0..self.layers).map(move |layer| (if layer == 0 { first } else { others }, directions))
    }

    /// Operations of a step of one row, forward: the products of all layers.
    fn flops(&self, cell: CellKind) -> f64 {
        let (g, h) = (cell.gates() as f64, self.hidden_size as f64);
        self.inputs().map(|(i, d)| 2.0 * d * g * h * (i + h)).sum()
    }

    /// About how many numbers are in memory: the weights with their gradients
    /// and packed copies, and what is kept of every step, for an LSTM.
    fn numbers(&self) -> f64 {
        let (t, b) = (self.seq_len as f64, self.batch as f64);
        let h = self.hidden_size as f64;
        let layer = |(i, d)| d * (4.0 * 4.0 * h * (i + h + 2.0) + t * b * (2.0 * i + 20.0 * h));
        self.inputs().map(layer).sum()
    }
}

/// `T 100, B 32, I 64, H 128`, and what goes beyond one layer.
impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (t, b) = (self.seq_len, self.batch);
        let (i, h) = (self.input_size, self.hidden_size);
        write!(f, "T {t}, B {b}, I {i}, H {h}")?;
        if self.layers > 1 {
            write!(f, ", L {}", self.layers)?;
        }
        if self.bidirectional {
            f.write_str(", D 2")?;
        }
        Ok(())
    }
}

/// What one row of the report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Case {
    /// Its row in the grid; `None` for sizes of one's own.
    row: Option<Row>,
    cell: CellKind,
    mode: Mode,
    #[serde(flatten)]
    sizes: Sizes,
}

impl Case {
    /// A layer of any sizes.
    ///
    /// # Errors
    /// Where a size is 0, or all are more than can be measured; the message
    /// names sizes as the program's flags: `--batch`.
    pub fn new(cell: CellKind, mode: Mode, sizes: Sizes) -> Result<Self> {
        sizes.check()?;
        Ok(Self {
            row: None,
            cell,
            mode,
            sizes,
        })
    }

    /// The cases of some rows of the grid, in the grid's order; those with that
    /// cell and that mode, where one is given. The language model is an LSTM
    /// in training, and a row of one sequence is never packed.
    ///
    /// ```
    /// use elman_bench::case::{Case, Mode, Row};
    /// assert_eq!(Case::grid(&Row::ALL, None, None).len(), 3 * (6 * 3 + 2 * 2) + 1);
    /// assert!(Case::grid(&[Row::Stream], None, Some(Mode::Packed)).is_empty());
    /// ```
    pub fn grid(rows: &[Row], cell: Option<CellKind>, mode: Option<Mode>) -> Vec<Self> {
        let case = |row: Row, cell, mode| Self {
            row: Some(row),
            cell,
            mode,
            sizes: row.sizes(),
        };
        let all = Row::ALL.into_iter().flat_map(|row| match row {
            Row::EndToEnd => vec![case(row, CellKind::Lstm, Mode::Train)],
            _ => CellKind::ALL
                .into_iter()
                .flat_map(|cell| Mode::ALL.map(|mode| case(row, cell, mode)))
                .filter(|case| case.mode != Mode::Packed || case.sizes.batch > 1)
                .collect(),
        });
        all.filter(|case| case.row.is_some_and(|row| rows.contains(&row)))
            .filter(|case| cell.is_none_or(|cell| case.cell == cell))
            .filter(|case| mode.is_none_or(|mode| case.mode == mode))
            .collect()
    }

    /// Its row in the grid; `None` for sizes of one's own.
    pub fn row(&self) -> Option<Row> {
        self.row
    }

    /// The cell.
    pub fn cell(&self) -> CellKind {
        self.cell
    }

    /// What is done.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The sizes.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Valid steps of every row where they differ, in [`Mode::Packed`]: evenly
    /// from a quarter of the steps (at least 1) to all, rounded down, as
    /// `floor(linspace(max(1, T/4), T, B))`.
    ///
    /// ```
    /// use elman::cell::CellKind;
    /// use elman_bench::case::{Case, Mode, Row};
    /// let case = Case::grid(&[Row::Small], Some(CellKind::Gru), Some(Mode::Packed))[0];
    /// let lengths = case.lengths().unwrap();
    /// assert_eq!((lengths.len(), lengths[0], lengths[1], lengths[31]), (32, 7, 8, 30));
    /// ```
    pub fn lengths(&self) -> Option<Vec<usize>> {
        let (steps, batch) = (self.sizes.seq_len, self.sizes.batch);
        // In quarters of a step, so that all is exact: T/4 is `steps` of them.
        let (first, last) = (steps.max(4), 4 * steps);
        let length = |row: usize| match batch {
            1 => first / 4,
            _ => (first * (batch - 1) + (last - first) * row) / (4 * (batch - 1)),
        };
        (self.mode == Mode::Packed).then(|| (0..batch).map(length).collect())
    }

    /// Floating-point operations of a run: those of the matrix products, two
    /// for a multiply-add. Forward it is `2 T B G H (I + H)`, summed over layers
    /// and directions with the input sizes that they have, `G` the cell's
    /// gates; training is three times that. Where lengths differ their sum
    /// takes the place of `T B`. In the language model the linear layer counts
    /// as well.
    pub fn flops(&self) -> f64 {
        let Sizes { seq_len, batch, .. } = self.sizes;
        let steps = match self.lengths() {
            Some(lengths) => lengths.iter().sum::<usize>() as f64,
            None => seq_len as f64 * batch as f64,
        };
        let mut flops = self.sizes.flops(self.cell);
        if self.row == Some(Row::EndToEnd) {
            flops += 2.0 * (self.sizes.hidden_size * crate::language::SYMBOLS) as f64;
        }
        let passes = match self.mode {
            Mode::Infer => 1.0,
            Mode::Train | Mode::Packed => 3.0,
        };
        passes * steps * flops
    }
}

/// `medium gru train`, or the sizes.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some(row) => f.write_str(row.name())?,
            None => write!(f, "{}", self.sizes)?,
        }
        write!(f, " {} {}", self.cell.name(), self.mode.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: [usize; 6] = [1, 3, 4, 17, 64, 65];

    fn sizes(seq_len: usize, batch: usize, input_size: usize, hidden_size: usize) -> Sizes {
        Sizes {
            seq_len,
            batch,
            input_size,
            hidden_size,
            layers: 1,
            bidirectional: false,
        }
    }

    /// The definition, in floating point; what it rounds to a whole number from
    /// below is one.
    fn linspace(steps: usize, batch: usize) -> Vec<usize> {
        let first = (steps as f64 / 4.0).max(1.0);
        let gap = match batch {
            1 => 0.0,
            _ => (steps as f64 - first) / (batch - 1) as f64,
        };
        let length = |row| first + gap * row as f64 + 1e-9;
        (0..batch).map(|row| length(row) as usize).collect()
    }

    #[test]
    fn lengths_go_from_a_quarter_to_all() {
        for steps in ODD {
            for batch in ODD {
                let sizes = sizes(steps, batch, 1, 1);
                let case = |mode| Case::new(CellKind::Rnn, mode, sizes).unwrap();
                let lengths = case(Mode::Packed).lengths().unwrap();
                assert_eq!(lengths, linspace(steps, batch), "T {steps}, B {batch}");
                assert_eq!(lengths[0], (steps / 4).max(1));
                assert!(batch == 1 || lengths[batch - 1] == steps);
                for mode in [Mode::Infer, Mode::Train] {
                    assert_eq!(case(mode).lengths(), None);
                }
            }
        }
    }

    /// Counted one product, layer, direction, step and row at a time.
    #[test]
    fn operations_are_those_of_the_products() {
        for (cell, gates) in CellKind::ALL.into_iter().zip([1, 3, 4]) {
            for (layers, directions) in [(1, 1), (2, 1), (1, 2), (3, 2)] {
                let (i, h) = (17, 3);
                let sizes = Sizes {
                    layers,
                    bidirectional: directions == 2,
                    ..sizes(5, 4, i, h)
                };
                let mut step = 0;
                for layer in 0..layers {
                    for _ in 0..directions {
                        let reads = if layer == 0 { i } else { directions * h };
                        step += 2 * gates * h * reads + 2 * gates * h * h;
                    }
                }
                let rows = |mode: Mode| match mode {
                    Mode::Infer => 5 * 4,
                    Mode::Train => 3 * 5 * 4,
                    Mode::Packed => 3 * (1 + 2 + 3 + 5),
                };
                for mode in Mode::ALL {
                    let case = Case::new(cell, mode, sizes).unwrap();
                    assert_eq!(case.flops(), (step * rows(mode)) as f64, "{case}");
                }
            }
        }
    }

    #[test]
    fn rows_of_the_grid_have_their_operations() {
        let flops = |row, mode| Case::grid(&[row], Some(CellKind::Lstm), Some(mode))[0].flops();
        let medium = 2.0 * 100.0 * 32.0 * 4.0 * 128.0 * 192.0;
        assert_eq!(flops(Row::Medium, Mode::Infer), medium);
        assert_eq!(flops(Row::Medium, Mode::Train), 3.0 * medium);
        let second = 2.0 * 100.0 * 32.0 * 4.0 * 128.0 * (256.0 + 128.0);
        assert_eq!(flops(Row::Deep, Mode::Infer), 2.0 * (medium + second));
        let model = 64.0 * 32.0 * 2.0 * (4.0 * 256.0 * (64.0 + 256.0) + 256.0 * 65.0);
        assert_eq!(flops(Row::EndToEnd, Mode::Train), 3.0 * model);
    }

    #[test]
    fn the_grid_is_chosen_from() {
        let count = |rows: &[Row], cell, mode| Case::grid(rows, cell, mode).len();
        assert_eq!(count(&Row::ALL, None, None), 67);
        assert_eq!(count(&[Row::Long], None, None), 6);
        assert_eq!(count(&[Row::EndToEnd], None, None), 1);
        assert_eq!(count(&[Row::EndToEnd], Some(CellKind::Gru), None), 0);
        assert_eq!(count(&[Row::Deep], Some(CellKind::Gru), None), 3);
        assert_eq!(count(&Row::ALL, None, Some(Mode::Packed)), 18);
        assert_eq!(count(&[], None, None), 0);
    }

    #[test]
    fn sizes_that_cannot_be_run_are_refused() {
        type Change = fn(&mut Sizes);
        let good = sizes(3, 17, 64, 65);
        assert!(Case::new(CellKind::Gru, Mode::Infer, good).is_ok());
        let cases: [(Change, &str); 9] = [
            (|s| s.seq_len = 0, "--seq-len 0: expected"),
            (|s| s.batch = 0, "--batch 0: expected"),
            (|s| s.input_size = 0, "--input-size 0: expected"),
            (|s| s.hidden_size = 0, "--hidden-size 0: expected"),
            (|s| s.layers = 0, "--layers 0: expected"),
            (|s| s.layers = 1025, "--layers 1025: expected at most 1024"),
            (|s| s.hidden_size = usize::MAX, "choose smaller sizes"),
            (|s| s.seq_len = 1 << 40, "choose smaller sizes"),
            (|s| s.batch = usize::MAX, "choose smaller sizes"),
        ];
        for (change, part) in cases {
            let mut sizes = good;
            change(&mut sizes);
            let e = Case::new(CellKind::Gru, Mode::Packed, sizes).unwrap_err();
            assert!(e.is_option() && e.to_string().contains(part), "{e}");
        }
        for row in Row::ALL {
            assert!(row.sizes().check().is_ok(), "{}", row.name());
        }
    }
}
