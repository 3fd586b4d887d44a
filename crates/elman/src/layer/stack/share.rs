//! The part of a batch that one thread runs: rows, where they start, and what
//! is kept of them. Rows know nothing of each other, so that no number depends
//! on how a batch is divided.

use super::super::steps::marks;
use super::super::{Pass, State, Steps};
use super::masks::{draw_between, draw_recurrent, draw_zoneout, layer_key};
use super::{Stack, StackConfig};
use crate::cell::{Cell, Room};
use crate::{Float, Result};
use ndarray::ArrayView2;
use std::ops::Range;

/// The cache of some rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Share<F: Float> {
    pub steps: Steps,
    pub starts: Starts,
    /// Whether outputs go on right after their step.
    pub hands_on: bool,
    /// Input of every layer, (rows, width).
    pub inputs: Vec<Vec<F>>,
    /// Masks between layers (0 or 1/(1-p)); empty where nothing is dropped.
    pub masks: Vec<Vec<F>>,
    pub runs: Vec<Run<F>>,
    /// Gradients of the outputs and inputs of the layer at hand, and of the
    /// outputs of its directions, side by side, where another merge made one of
    /// them.
    pub d_output: Vec<F>,
    pub d_input: Vec<F>,
    pub d_directions: Vec<F>,
}

/// One slot's part of the cache; every array has a row for each valid step,
/// those of options that are off are empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Run<F: Float> {
    /// The newest state of every row of the batch, longest first, (B, S); of a
    /// row that has not begun, the initial one.
    pub state: Vec<F>,
    /// Where the states before each step are, (T).
    pub prev: Vec<Prev>,
    /// States before a step that are not those after another one.
    pub before: Vec<F>,
    /// True where they are thrown away after their step.
    pub forgets: bool,
    /// The states that the cell came to: of all steps, or of the newest two.
    pub next: Vec<F>,
    /// Where those of the newest two are all that is kept: rows of a step at most.
    pub newest: Option<usize>,
    /// What the cell saved: of all steps, or in inference of a few.
    pub saved: Vec<F>,
    pub d_state: Vec<F>,
    /// Room of the cell's to work in.
    pub room: Room<F>,
    /// The gradients of what was saved: of the steps of a chunk, or, step by
    /// step, of all.
    pub d_saved: Vec<F>,
    /// Recurrent dropout: the masks of the batch, longest row first, (B, R),
    /// what the products read in place of the states before, and room for their
    /// gradients.
    pub mask: Vec<F>,
    pub hidden: Vec<F>,
    /// Zoneout: the share that each unit keeps of its old value, (rows, S) or
    /// one row for all, (S); the states that come of it; and the gradient that
    /// goes past the cell, of one step.
    pub kept: Vec<F>,
    pub mixed: Vec<F>,
    pub d_kept: Vec<F>,
}

/// Where the states before a step are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prev {
    /// In the states, from this row on.
    States(usize),
    /// In [`Run::before`], from this number on.
    Before(usize),
}

impl<F: Float> Run<F> {
    /// Where the states after step `t` are: the first row of them.
    pub fn row(&self, steps: &Steps, t: usize) -> usize {
        match self.newest {
            None => steps.at(t).start,
            Some(most) => t % 2 * most,
        }
    }

    /// The states after every step, (rows, S), or after the newest two.
    pub fn states(&self) -> &[F] {
        if self.kept.is_empty() {
            &self.next
        } else {
            &self.mixed
        }
    }

    /// The states before step `t` of its first `rows` rows, (rows, S).
    pub fn prev(&self, t: usize, rows: usize, size: usize) -> &[F] {
        match self.prev[t] {
            Prev::States(row) => &self.states()[row * size..][..rows * size],
            Prev::Before(at) => {
                // Of a step that has not been run, there are none but the newest.
                let before = self.before.get(at..at + rows * size);
                before.unwrap_or(&self.state[..rows * size])
            }
        }
    }
}

/// The shares in [`Run::kept`] of a step whose states lie at `span`.
pub(super) fn kept_at<'a, F>(kept: &'a [F], span: &Range<usize>) -> impl Iterator<Item = &'a F> {
    kept.get(span.clone()).unwrap_or(kept).iter().cycle()
}

/// Where rows start afresh: from zeros, or the learned initial state.
#[derive(Debug, Clone, Default)]
pub(super) struct Starts {
    /// Whether the stack learns its initial state.
    learned: bool,
    /// Rows whose state was fresh before the pass, longest first, (B).
    pub fresh: Vec<bool>,
    /// Marks of the pass, (rows); empty where there are none.
    resets: Vec<bool>,
}

impl Starts {
    /// The rows of step `t` that do not go on from the step before it (in
    /// reverse, after it) nor from the state that was given.
    pub fn afresh(
        &self,
        steps: &Steps,
        t: usize,
        reverse: bool,
    ) -> impl Iterator<Item = usize> + use<'_> {
        // A boundary is marked at the later one of its two steps.
        let later = t + usize::from(reverse);
        let rows = if later < steps.seq_len() {
            steps.at(later)
        } else {
            0..0
        };
        let marks = self.resets.get(rows.clone()).unwrap_or_default();
        let first = if reverse {
            rows.len()
        } else if t == 0 {
            0
        } else {
            usize::MAX
        };
        let fresh = if self.learned { &self.fresh[..] } else { &[] };
        (0..steps.at(t).len()).filter(move |row| {
            marks.get(*row).is_some_and(|mark| *mark)
                || *row >= first && fresh.get(*row).is_some_and(|fresh| *fresh)
        })
    }

    pub fn set<F: Float>(
        &mut self,
        config: &StackConfig,
        steps: &Steps,
        state: &State<F>,
        resets: Option<ArrayView2<'_, bool>>,
    ) -> Result<()> {
        self.learned = config.learn_initial_state;
        self.fresh.clear();
        let rows = steps.order().iter();
        self.fresh.extend(rows.map(|row| state.is_fresh(*row)));
        self.resets.clear();
        let Some(resets) = resets else { return Ok(()) };
        let size = (steps.seq_len(), state.batch());
        let resets = marks(resets, config.batch_first, size)?;
        self.resets
            .extend(steps.places().map(|place| resets[place]));
        Ok(())
    }
}

impl<F: Float> Share<F> {
    /// Sizes every buffer, loads the initial state, draws the masks. The
    /// geometry has been set.
    pub fn begin<C: Cell<F>>(
        &mut self,
        stack: &Stack<C>,
        pass: &Pass<'_>,
        state: &State<F>,
        (keeps, newest): (bool, bool),
    ) -> Result<()> {
        let config = &stack.config;
        self.starts.set(config, &self.steps, state, pass.resets)?;
        let rows = self.steps.rows();
        self.runs.resize_with(stack.slots.len(), Run::default);
        self.inputs.resize_with(config.num_layers, Vec::new);
        self.masks.resize_with(config.num_layers - 1, Vec::new);
        for (at, (slot, run)) in stack.slots.iter().zip(&mut self.runs).enumerate() {
            let steps = &self.steps;
            steps.sort(state.slot(at), slot.state_size, &mut run.state);
            run.prev.clear();
            run.prev.resize(steps.seq_len(), Prev::Before(0));
            run.before.clear();
            run.forgets = !keeps;
            let most = match steps.seq_len() {
                0 => 0,
                _ => steps.at(0).len(),
            };
            run.newest = newest.then_some(most);
            let states = if newest { 2 * most } else { rows };
            run.next.resize(states * slot.state_size, F::zero());
            let saved = if keeps { rows } else { 0 };
            run.saved.resize(saved * slot.saved_size, F::zero());
            self.inputs[slot.layer].resize(rows * slot.input_size, F::zero());
            let key = layer_key(pass, slot.layer).map(|key| key.reverse(slot.reverse));
            draw_recurrent(slot, config, key, pass, steps, run);
            draw_zoneout(slot, config, key, pass, steps, run);
        }
        for (layer, mask) in self.masks.iter_mut().enumerate() {
            let (key, width) = (layer_key(pass, layer), stack.layer_size(layer));
            draw_between(config, width, key, pass, &self.steps, mask);
        }
        Ok(())
    }

    /// True where the share holds a forward pass of this stack that was kept for a
    /// way back.
    pub fn fits<C>(&self, stack: &Stack<C>) -> bool {
        let (rows, batch) = (self.steps.rows(), self.steps.batch());
        let mut slots = stack.slots.iter().zip(&self.runs);
        self.runs.len() == stack.slots.len()
            && self.inputs.len() == stack.config.num_layers
            && slots.all(|(slot, run)| {
                let states = rows * slot.state_size;
                let masks = [run.mask.len(), run.hidden.len()];
                let zoneout = [run.kept.len(), run.mixed.len()];
                self.inputs[slot.layer].len() == rows * slot.input_size
                    && run.state.len() == batch * slot.state_size
                    && run.next.len() == states
                    && run.saved.len() == rows * slot.saved_size
                    && (masks == [0, 0] || masks == [batch * slot.output_size, states])
                    && (zoneout == [0, 0]
                        || zoneout == [states, states]
                        || zoneout == [slot.state_size, states])
            })
    }

    /// The rows of some steps.
    pub fn rows_of(&self, steps: &Range<usize>) -> Range<usize> {
        rows_of(&self.steps, steps)
    }
}

/// The rows of some steps.
pub(super) fn rows_of(of: &Steps, steps: &Range<usize>) -> Range<usize> {
    match steps.is_empty() {
        true => 0..0,
        false => of.at(steps.start).start..of.at(steps.end - 1).end,
    }
}

/// The steps in parts of at least `rows` rows, one step at the least, in the
/// order of time or, in reverse, against it.
pub(super) fn chunks(
    steps: &Steps,
    rows: usize,
    reverse: bool,
) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut left = 0..steps.seq_len();
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let mut part = match reverse {
            false => left.start..left.start + 1,
            true => left.end - 1..left.end,
        };
        while rows_of(steps, &part).len() < rows && part != left {
            match reverse {
                false => part.end += 1,
                true => part.start -= 1,
            }
        }
        left = match reverse {
            false => part.end..left.end,
            true => left.start..part.start,
        };
        Some(part)
    })
}
