//! The plain loop for any cell.

use super::{Cell, Part, Rows, RowsBack};
use crate::Float;

/// A cell that is run row by row by its definition, without the kernels: the
/// reference that every fast path is held against.
#[derive(Debug, Clone)]
pub struct Plain<C>(pub C);

impl<F: Float, C: Cell<F>> Cell<F> for Plain<C> {
    fn input_size(&self) -> usize {
        self.0.input_size()
    }

    fn hidden_size(&self) -> usize {
        self.0.hidden_size()
    }

    fn proj_size(&self) -> usize {
        self.0.proj_size()
    }

    fn takes_mask(&self) -> bool {
        self.0.takes_mask()
    }

    fn states(&self) -> Vec<Part> {
        self.0.states()
    }

    fn params(&self) -> Vec<Part> {
        self.0.params()
    }

    fn saved(&self) -> Vec<&'static str> {
        self.0.saved()
    }

    fn state_size(&self) -> usize {
        self.0.state_size()
    }

    fn saved_size(&self) -> usize {
        self.0.saved_size()
    }

    fn init(&self, weights: &mut [F], uniform: &mut dyn FnMut(f64, f64) -> F) {
        self.0.init(weights, uniform);
    }

    fn step(&self, weights: &[F], row: Rows<'_, F>) {
        self.0.step(weights, row);
    }

    fn step_back(&self, weights: &[F], row: RowsBack<'_, F>) {
        self.0.step_back(weights, row);
    }
}
