//! The state of a recurrent stack: a slot for every layer and direction.

use crate::cell::Part;
use crate::{Error, Float, Result};
use ndarray::{Array2, Array3, ArrayView, ArrayView2, ArrayView3, Axis, Dimension};
use std::ops::Range;

/// The state of every layer and direction, each slot with the parts of its
/// cell (`h`, and `c` in an LSTM), each part of its own width.
///
/// The caller holds it: start from zeros, carry it from call to call, save,
/// restore, choose rows.
///
/// A row is fresh from [`zeros`](Self::zeros) or a reset until it is set or has
/// run a step. In a stack that learns its initial state, a fresh row begins at
/// the learned values, whatever numbers it holds (zeros), and the gradient of
/// its initial state goes to those parameters; a row that was set or carried
/// begins at its own numbers. A row of no steps stays as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct State<F> {
    batch: usize,
    /// Rows that were neither set nor run.
    fresh: Vec<bool>,
    slots: Vec<Slot<F>>,
}

/// One layer and direction.
#[derive(Debug, Clone, PartialEq)]
struct Slot<F> {
    parts: Vec<Part>,
    width: usize,
    /// (B, width), a row's parts one after the other.
    values: Vec<F>,
}

impl<F: Float> State<F> {
    /// Zeros for `batch` rows; `slots` are the cells' parts in the order l0
    /// forward, l0 reverse, l1 forward, ...
    pub fn zeros(batch: usize, slots: impl IntoIterator<Item = Vec<Part>>) -> Self {
        let slots = slots
            .into_iter()
            .map(|parts| {
                let width = parts.iter().map(Part::size).sum();
                let values = vec![F::zero(); batch * width];
                Slot {
                    parts,
                    width,
                    values,
                }
            })
            .collect();
        let fresh = vec![true; batch];
        Self {
            batch,
            fresh,
            slots,
        }
    }

    /// `B`.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Number of slots, `L * D`.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Width of a slot's row: all its parts together.
    pub fn width(&self, slot: usize) -> usize {
        self.slots[slot].width
    }

    /// The rows of one slot, (B, width).
    pub fn slot(&self, slot: usize) -> &[F] {
        &self.slots[slot].values
    }

    /// The rows of one slot, to be changed; none is fresh any more.
    pub fn slot_mut(&mut self, slot: usize) -> &mut [F] {
        self.fresh.fill(false);
        &mut self.slots[slot].values
    }

    /// True for a row that was neither set nor run since it started from zeros.
    pub fn is_fresh(&self, row: usize) -> bool {
        self.fresh.get(row).is_some_and(|fresh| *fresh)
    }

    /// Copies slots of a state of as many rows to those from `start` on, and
    /// which rows are fresh.
    pub(crate) fn copy_slots(&mut self, from: &Self, slots: Range<usize>, start: usize) {
        for (to, slot) in self.slots[start..].iter_mut().zip(&from.slots[slots]) {
            to.values.copy_from_slice(&slot.values);
        }
        self.fresh.copy_from_slice(&from.fresh);
    }

    /// Marks the rows that are fresh.
    pub(super) fn set_fresh(&mut self, rows: &[bool]) {
        self.fresh.copy_from_slice(rows);
    }

    /// Rows of one slot and the fresh marks of all rows, for a stack that has
    /// run them.
    pub(super) fn run(&mut self, slot: usize) -> (&mut [F], &mut [bool]) {
        (&mut self.slots[slot].values, &mut self.fresh)
    }

    /// True where a slot has such a part.
    pub fn has(&self, part: &str) -> bool {
        self.slots
            .iter()
            .any(|s| s.parts.iter().any(|p| p.name == part))
    }

    /// PyTorch's `h_n` (part `h`) or `c_n` (part `c`), (L*D, B, width); `None`
    /// where a slot lacks the part or the widths differ.
    pub fn get(&self, part: &str) -> Option<Array3<F>> {
        let places = self.places(part)?;
        let width = places.first()?.1;
        let shape = (self.slots.len(), self.batch, width);
        Some(Array3::from_shape_fn(shape, |(slot, row, j)| {
            let s = &self.slots[slot];
            s.values[row * s.width + places[slot].0 + j]
        }))
    }

    /// A part of one slot, (B, width): what [`get`](Self::get) has side by side,
    /// for slots of any widths. `None` where there is no such slot or part.
    ///
    /// ```
    /// use elman::cell::CellKind;
    /// use elman::layer::{Recurrent, RecurrentConfig};
    ///
    /// let mut config = RecurrentConfig::new(CellKind::Gru, 1, 2);
    /// config.stack.num_layers = 2;
    /// config.hidden_sizes = vec![2, 3];
    /// let stack = Recurrent::<f32>::new(&config, 0)?.stack().clone();
    /// let (mut state, saved) = (stack.start::<f32>(4), stack.start::<f32>(4));
    /// assert!(saved.get("h").is_none()); // 2 and 3 are not one width
    /// for slot in 0..saved.slots() {
    ///     let h = saved.part(slot, "h").unwrap(); // (B, H) = (4, 2), (4, 3)
    ///     state.set_part(slot, "h", h.view())?;
    /// }
    /// # Ok::<(), elman::Error>(())
    /// ```
    pub fn part(&self, slot: usize, part: &str) -> Option<Array2<F>> {
        let s = self.slots.get(slot)?;
        let (offset, width) = s.place(part)?;
        let shape = (self.batch, width);
        Some(Array2::from_shape_fn(shape, |(row, j)| {
            s.values[row * s.width + offset + j]
        }))
    }

    /// Sets a part of one slot from an array (B, width). No row is fresh any
    /// more.
    ///
    /// # Errors
    /// Where there is no such slot or part, or the shape differs.
    pub fn set_part(&mut self, slot: usize, part: &str, value: ArrayView2<'_, F>) -> Result<()> {
        let slots = self.slots.len();
        let Some(s) = self.slots.get_mut(slot) else {
            return Err(Error::shape(format!(
                "{part}_0: no slot {slot}, the state has {slots}"
            )));
        };
        let Some((offset, width)) = s.place(part) else {
            return Err(no_part(part));
        };
        if value.dim() != (self.batch, width) {
            return Err(Error::shape(format!(
                "{part}_0 of slot {slot}: expected ({}, {width}) = (batch, width), got {:?}",
                self.batch,
                value.dim()
            )));
        }
        for ((row, j), v) in value.indexed_iter() {
            s.values[row * s.width + offset + j] = *v;
        }
        self.fresh.fill(false);
        Ok(())
    }

    /// A part of one row, (L*D, width): `h_n` or `c_n` as PyTorch returns them
    /// for unbatched input, where `row` is 0. `None` as in [`get`](Self::get),
    /// and where there is no such row.
    pub fn row(&self, part: &str, row: usize) -> Option<Array2<F>> {
        let all = self.get(part)?;
        (row < self.batch).then(|| all.index_axis_move(Axis(1), row))
    }

    /// Sets `h_0` (part `h`) or `c_0` (part `c`) from an array (L*D, B, width),
    /// or unbatched, (L*D, width), in a state of one row. No row is fresh any
    /// more.
    ///
    /// # Errors
    /// Where there is no such part or the shape differs, in PyTorch's words;
    /// where the slots have it in different widths.
    pub fn set<D: Dimension>(&mut self, part: &str, value: ArrayView<'_, F, D>) -> Result<()> {
        let Some(places) = self.places(part) else {
            if self.slots.iter().all(|s| s.place(part).is_some()) {
                return Err(Error::shape(format!(
                    "{part}_0: the layers have it in different widths; set it slot by slot, with `set_part`"
                )));
            }
            return Err(no_part(part));
        };
        let value = self.three(value).map_err(|e| e.at(format!("{part}_0")))?;
        let width = places.first().map_or(0, |p| p.1);
        let expected = (self.slots.len(), self.batch, width);
        if value.dim() != expected {
            let error = wrong_size(part, self.has("c"), expected, value.dim());
            return Err(error.at(format!("{part}_0")));
        }
        for ((slot, row, j), v) in value.indexed_iter() {
            let s = &mut self.slots[slot];
            s.values[row * s.width + places[slot].0 + j] = *v;
        }
        self.fresh.fill(false);
        Ok(())
    }

    /// (L*D, B, width) from that or, for one row, (L*D, width).
    fn three<'a, D: Dimension>(&self, value: ArrayView<'a, F, D>) -> Result<ArrayView3<'a, F>> {
        let value = match value.ndim() {
            2 if self.batch == 1 => value.into_dyn().insert_axis(Axis(1)),
            _ => value.into_dyn(),
        };
        let rank = value.ndim();
        value.into_dimensionality().map_err(|_| {
            let unbatched = if self.batch == 1 {
                ", or 2-D for unbatched 2-D input,"
            } else {
                ""
            };
            Error::shape(format!(
                "For batched 3-D input, hx should also be 3-D{unbatched} but got {rank}-D tensor"
            ))
        })
    }

    /// Refuses a state that does not have these parts in so many slots of so
    /// many rows, in PyTorch's words where it has words for it.
    pub(super) fn check(&self, slots: &[Vec<Part>], batch: usize) -> Result<()> {
        let parts = slots.first().map_or(&[][..], |parts| parts);
        let with_cell = parts.iter().any(|p| p.name == "c");
        for part in parts {
            let places = self.places(part.name).unwrap_or_default();
            let Some((_, width)) = places.first() else {
                continue;
            };
            let expected = (slots.len(), batch, part.size());
            let got = (self.slots.len(), self.batch, *width);
            if got != expected {
                return Err(wrong_size(part.name, with_cell, expected, got));
            }
        }
        let same = self.slots.iter().map(|s| &s.parts).eq(slots);
        if self.batch == batch && same {
            return Ok(());
        }
        Err(Error::shape(format!(
            "expected {} slots of {batch} rows with the parts of this stack's cells, got {} slots of {} rows with other parts; the stack's `start` makes one that fits",
            slots.len(),
            self.slots.len(),
            self.batch
        )))
    }

    /// Offset and width of a part in every slot, where the widths agree.
    fn places(&self, part: &str) -> Option<Vec<(usize, usize)>> {
        let places = self.slots.iter().map(|slot| slot.place(part));
        let places: Vec<_> = places.collect::<Option<_>>()?;
        places
            .windows(2)
            .all(|w| w[0].1 == w[1].1)
            .then_some(places)
    }

    /// The state of the named rows, in that order; a row may come twice.
    ///
    /// # Errors
    /// Where a row does not exist.
    pub fn select_rows(&self, rows: &[usize]) -> Result<Self> {
        if let Some(row) = rows.iter().find(|r| **r >= self.batch) {
            return Err(Error::shape(format!(
                "select_rows: no row {row}, the state has {}",
                self.batch
            )));
        }
        let mut out = self.clone();
        out.batch = rows.len();
        out.fresh = rows.iter().map(|row| self.fresh[*row]).collect();
        for (to, from) in out.slots.iter_mut().zip(&self.slots) {
            to.values = rows
                .iter()
                .flat_map(|r| &from.values[r * from.width..][..from.width])
                .copied()
                .collect();
        }
        Ok(out)
    }

    /// Every row `times` times: row 0, row 0, ..., row 1, row 1, ...
    #[must_use]
    pub fn repeat(&self, times: usize) -> Self {
        let rows: Vec<_> = (0..self.batch * times).map(|r| r / times.max(1)).collect();
        self.select_rows(&rows).unwrap_or_else(|_| self.clone())
    }

    /// Sets the named rows to zero, fresh again: a new episode begins there.
    ///
    /// # Errors
    /// Where a row does not exist.
    pub fn reset_rows(&mut self, rows: &[usize]) -> Result<()> {
        if let Some(row) = rows.iter().find(|r| **r >= self.batch) {
            return Err(Error::shape(format!(
                "reset_rows: no row {row}, the state has {}",
                self.batch
            )));
        }
        for row in rows {
            self.fresh[*row] = true;
        }
        for slot in &mut self.slots {
            for row in rows {
                slot.values[row * slot.width..][..slot.width].fill(F::zero());
            }
        }
        Ok(())
    }

    /// Sets all to zero; every row is fresh again.
    pub fn clear(&mut self) {
        self.fresh.fill(true);
        for slot in &mut self.slots {
            slot.values.fill(F::zero());
        }
    }
}

impl<F> Slot<F> {
    /// Offset and width of a part in a row.
    fn place(&self, part: &str) -> Option<(usize, usize)> {
        let at = self.parts.iter().position(|p| p.name == part)?;
        let offset = self.parts[..at].iter().map(Part::size).sum();
        Some((offset, self.parts[at].size()))
    }
}

fn no_part(part: &str) -> Error {
    Error::option(format!("{part}_0: this cell has no state `{part}`"))
}

/// PyTorch's words for a state of the wrong shape; `with_cell` in an LSTM,
/// which has two.
fn wrong_size(
    part: &str,
    with_cell: bool,
    expected: (usize, usize, usize),
    got: (usize, usize, usize),
) -> Error {
    let hidden = match (part, with_cell) {
        (_, false) => "hidden size",
        ("h", true) => "hidden[0] size",
        (_, true) => "hidden[1] size",
    };
    let got = [got.0, got.1, got.2];
    Error::shape(format!(
        "Expected {hidden} {expected:?}, got {got:?}: (layers * directions, batch, width)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn parts(widths: [usize; 2]) -> Vec<Part> {
        let part = |name, w| Part {
            name,
            shape: vec![w],
        };
        vec![part("h", widths[0]), part("c", widths[1])]
    }

    #[test]
    fn parts_go_in_and_come_out() {
        let mut state = State::<f64>::zeros(3, [parts([2, 4]), parts([2, 4])]);
        let h = Array3::from_shape_fn((2, 3, 2), |(s, b, j)| (s * 100 + b * 10 + j) as f64);
        let c = Array3::from_shape_fn((2, 3, 4), |(s, b, j)| -((s * 100 + b * 10 + j) as f64));
        state.set("h", h.view()).unwrap();
        state.set("c", c.view()).unwrap();
        assert_eq!(state.get("h"), Some(h.clone()));
        assert_eq!(state.get("c"), Some(c.clone()));

        let chosen = state.select_rows(&[2, 0, 2]).unwrap();
        let got = chosen.get("c").unwrap();
        assert_eq!(
            got.index_axis(ndarray::Axis(1), 0),
            c.index_axis(ndarray::Axis(1), 2)
        );
        assert_eq!(state.repeat(2).batch(), 6);
        assert!(state.select_rows(&[3]).is_err());

        state.reset_rows(&[1]).unwrap();
        let got = state.get("h").unwrap();
        assert!(
            got.index_axis(ndarray::Axis(1), 1)
                .iter()
                .all(|x| *x == 0.0)
        );
        assert_eq!(got[[1, 2, 1]], h[[1, 2, 1]]);
        assert!(state.reset_rows(&[3]).is_err());
    }

    #[test]
    fn differing_widths_have_no_common_array() {
        let mut state = State::<f32>::zeros(1, [parts([2, 4]), parts([3, 4])]);
        assert!(state.get("h").is_none() && state.get("c").is_some());
        let h = array![[1.0, 2.0, 3.0]];
        let e = state.set("h", h.view()).unwrap_err();
        assert!(e.is_shape() && e.to_string().contains("set_part"), "{e}");
        state.set_part(1, "h", h.view()).unwrap();
        assert_eq!(state.part(1, "h"), Some(h.clone()));
        assert_eq!(state.part(0, "h"), Some(array![[0.0, 0.0]]));
        assert!(state.part(2, "h").is_none() && state.part(0, "m").is_none());
        let e = state.set_part(0, "h", h.view()).unwrap_err();
        assert!(e.to_string().contains("expected (1, 2)"), "{e}");
        assert!(state.set_part(2, "h", h.view()).unwrap_err().is_shape());
        assert!(state.set_part(0, "m", h.view()).unwrap_err().is_option());
    }

    #[test]
    fn rows_are_fresh_until_they_are_set() {
        let made = || State::<f32>::zeros(3, [parts([2, 4])]);
        let fresh = |state: &State<f32>| [0, 1, 2].map(|row| state.is_fresh(row));
        assert_eq!(fresh(&made()), [true; 3]);
        assert!(!made().is_fresh(3));
        let mut state = made();
        state.set("h", Array3::zeros((1, 3, 2)).view()).unwrap();
        assert_eq!(fresh(&state), [false; 3]);
        state.reset_rows(&[1]).unwrap();
        assert_eq!(fresh(&state), [false, true, false]);
        assert_eq!(
            fresh(&state.select_rows(&[1, 0, 1]).unwrap()),
            [true, false, true]
        );
        let part = Array2::zeros((3, 4));
        state.set_part(0, "c", part.view()).unwrap();
        assert_eq!(fresh(&state), [false; 3]);
        state.clear();
        assert_eq!(fresh(&state), [true; 3]);
        state.slot_mut(0).fill(1.0);
        assert_eq!(fresh(&state), [false; 3]);
    }

    #[test]
    fn wrong_shapes_are_refused_as_pytorch_does() {
        let mut state = State::<f64>::zeros(3, [parts([2, 4])]);
        let e = state.set("c", Array3::zeros((1, 3, 5)).view()).unwrap_err();
        assert!(
            e.to_string().contains("Expected hidden[1] size (1, 3, 4)"),
            "{e}"
        );
    }
}
