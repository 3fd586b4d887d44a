//! What a stack keeps between its passes.

use super::super::{Pass, State, Steps};
use super::masks::{Dropped, layer_key};
use super::share::Share;
use super::{Merge, Stack, refill};
use crate::cell::{Cell, Packs};
use crate::kernel::{Outer, Team, Vectors};
use crate::params::Storage;
use crate::{Error, Float, Result};
use std::sync::atomic::AtomicBool;

/// What a stack keeps from its forward pass for the backward pass, and its
/// work space. Belongs to the caller; no allocation once it is large enough.
#[derive(Debug, Default)]
pub struct StackCache<F: Float> {
    pub(super) team: Team,
    /// The geometry of the whole batch.
    pub(super) steps: Steps,
    /// The rows of the batch, dealt to threads, longest first.
    pub(super) shares: Vec<Share<F>>,
    /// How many of the shares the pass has.
    pub(super) used: usize,
    /// Operations below which one thread is faster than more.
    pub(super) small: usize,
    /// Whether the last pass was kept for a way back.
    pub(super) keeps: bool,
    /// Whether it had to be: without, weights may be kept in fewer bytes.
    pub(super) trains: bool,
    /// One a slot.
    pub(super) packs: Vec<Packs<F>>,
    pub(super) dropped: Vec<Dropped<F>>,
    pub(super) outer: Outer<F>,
    /// The rows of a chunk in the order of their gradients.
    pub(super) order: Vec<Place>,
    /// Rows of an array that a thread has taken.
    pub(super) taken: Vec<AtomicBool>,
}

impl<F: Float> Clone for StackCache<F> {
    fn clone(&self) -> Self {
        Self {
            team: self.team.clone(),
            steps: self.steps.clone(),
            shares: self.shares.clone(),
            used: self.used,
            small: self.small,
            keeps: self.keeps,
            trains: self.trains,
            packs: self.packs.clone(),
            dropped: self.dropped.clone(),
            outer: Outer::default(),
            order: Vec::new(),
            taken: Vec::new(),
        }
    }
}

/// Where a row of a step is: its share, step, number among the rows of the
/// step, among all rows of the share, and among those of the chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub share: usize,
    pub t: usize,
    pub row: usize,
    pub at: usize,
    pub from_first: usize,
}

/// Floating-point operations of a pass below which one thread is faster than
/// more.
const SMALL: usize = 400_000;

/// The same of a pass that is gone back through, as gradients of weights are made
/// of the rows of all threads, and of one with AVX-512, which is over so soon.
const SMALL_SHARED: usize = 3_000_000;

/// The limit for a pass.
fn small(inference: bool) -> usize {
    match inference && Vectors::here() < Vectors::Avx512 {
        true => SMALL,
        false => SMALL_SHARED,
    }
}

/// Rows of a step below which outputs are copied after all steps: they are in the
/// cache still.
const FEW: usize = 4;

/// Rows that a thread must have for the batch to be divided.
const ROWS: usize = 3;

impl<F: Float> StackCache<F> {
    /// Has all passes with this cache run on a team of threads. The numbers do
    /// not depend on it.
    ///
    /// ```
    /// use elman::cell::CellKind;
    /// use elman::layer::{Pass, Recurrent, RecurrentConfig, StackCache};
    /// use elman::ndarray::Array3;
    ///
    /// let layer = Recurrent::<f32>::new(&RecurrentConfig::new(CellKind::Gru, 4, 64), 0)?;
    /// let x = Array3::ones((20, 32, 4)); // (T, B, I)
    /// let run = |threads| {
    ///     let mut cache = StackCache::default();
    ///     cache.set_team(elman::Team::new(threads)?);
    ///     let (mut state, mut y) = (layer.stack().start(32), Array3::zeros((20, 32, 64)));
    ///     let pass = Pass { inference: true, ..Pass::default() };
    ///     let (x, params) = (x.view(), layer.params());
    ///     layer.stack().forward(params, x, &pass, &mut state, &mut cache, y.view_mut())?;
    ///     Ok::<_, elman::Error>(y)
    /// };
    /// assert_eq!(run(1)?, run(2)?);
    /// # Ok::<(), elman::Error>(())
    /// ```
    pub fn set_team(&mut self, team: Team) {
        self.team = team;
    }

    /// The shares of the pass.
    pub(super) fn shares(&self) -> &[Share<F>] {
        &self.shares[..self.used]
    }

    /// The only share of a pass that goes step by step.
    pub(super) fn whole(&mut self) -> &mut Share<F> {
        &mut self.shares[0]
    }
}

impl<C> Stack<C> {
    /// Sizes every buffer, loads the initial state, draws the masks. Whether the
    /// pass goes through the whole sequence at once.
    pub(super) fn begin<F: Float>(
        &self,
        (seq_len, batch): (usize, usize),
        pass: &Pass<'_>,
        state: &State<F>,
        cache: &mut StackCache<F>,
        at_once: bool,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        self.check_state("state", state, batch)?;
        cache.keeps = false;
        if let Some(team) = pass.team {
            cache.team.clone_from(team);
        }
        cache.steps.set(seq_len, batch, pass.lengths)?;
        cache.packs.resize_with(self.slots.len(), Packs::default);
        cache
            .dropped
            .resize_with(self.slots.len(), Dropped::default);
        for (slot, dropped) in self.slots.iter().zip(&mut cache.dropped) {
            let key = layer_key(pass, slot.layer).map(|key| key.reverse(slot.reverse));
            dropped.draw(slot, key, self.config.weight_drop);
        }
        cache.small = small(pass.inference);
        cache.used = if at_once { self.shares_for(cache) } else { 1 };
        let hands_on = at_once && self.hands_on(pass, cache);
        // Then inference needs no states but those that the next step reads, and,
        // where masks are drawn, those that they belong to.
        let newest = hands_on && pass.inference && pass.dropout.is_none();
        if cache.shares.len() < cache.used {
            cache.shares.resize_with(cache.used, Share::default);
        }
        let (steps, used) = (&cache.steps, cache.used);
        for (i, share) in cache.shares[..used].iter_mut().enumerate() {
            share.steps.set_share(steps, i, used);
            share.hands_on = hands_on;
            share.begin(self, pass, state, (!pass.inference, newest))?;
        }
        cache.keeps = !pass.inference;
        cache.trains = !pass.inference;
        Ok(())
    }

    /// Whether outputs go to where they are read right after their step, while they
    /// are in the cache: where nothing is done to them on the way, and no two threads
    /// write the same rows.
    fn hands_on<F: Float>(&self, pass: &Pass<'_>, cache: &StackCache<F>) -> bool {
        let config = &self.config;
        let zoneout = config.zoneout_hidden > 0.0 || config.zoneout_cell > 0.0;
        let alone = self.num_directions() == 1 || cache.used > 1 || cache.team.threads() == 1;
        let steps = &cache.steps;
        let rows = if steps.seq_len() > 0 {
            steps.at(0).len()
        } else {
            0
        };
        let dropped = config.dropout > 0.0 && pass.dropout.is_some();
        !dropped
            && config.merge == Merge::Concat
            && !config.residual
            && !zoneout
            && alone
            && rows >= FEW
    }

    /// Among how many threads the rows are dealt.
    fn shares_for<F: Float>(&self, cache: &StackCache<F>) -> usize
    where
        C: Cell<F>,
    {
        let threads = cache.team.threads();
        let apart = self.slots.iter().all(|slot| slot.cell.rows_apart());
        if threads == 1 || !apart || self.config.learn_initial_state {
            return 1;
        }
        let layers = 0..self.config.num_layers;
        let flop = layers.map(|layer| self.flop(layer, cache.steps.rows()));
        if flop.fold(0, usize::saturating_add) < cache.small {
            return 1;
        }
        threads.min(cache.steps.batch() / ROWS).max(1)
    }

    /// Floating-point operations of a layer for so many rows, about.
    pub(super) fn flop(&self, layer: usize, rows: usize) -> usize {
        let slots = self.slots_of(layer).map(|(_, s)| s);
        let row: usize = slots
            .map(|s| 2 * s.saved_size * (s.input_size + s.output_size))
            .sum();
        row.saturating_mul(rows)
    }

    /// Brings the copies of the weights up to date.
    pub(super) fn pack<F: Float>(
        &self,
        params: &crate::params::Params<F>,
        cache: &mut StackCache<F>,
        back: bool,
    ) where
        C: Cell<F>,
    {
        let slots = self.slots.iter().zip(&mut cache.dropped);
        for ((slot, dropped), packs) in slots.zip(&mut cache.packs) {
            dropped.refresh(slot, params);
            let mut weights = dropped.weights(slot, params);
            if back {
                slot.cell.pack_back(weights, packs);
                continue;
            }
            if cache.trains {
                weights.storage = Storage::Full;
            }
            slot.cell.pack(weights, packs);
        }
    }

    /// The state after the pass; a row that has run is not fresh.
    pub(super) fn write_state<F: Float>(&self, cache: &StackCache<F>, state: &mut State<F>) {
        for share in cache.shares() {
            let steps = &share.steps;
            let ran = match steps.seq_len() {
                0 => 0,
                _ => steps.at(0).len(),
            };
            for (at, (slot, run)) in self.slots.iter().zip(&share.runs).enumerate() {
                let (values, fresh) = state.run(at);
                steps.unsort(&run.state, slot.state_size, values);
                let rows = steps.order().iter().zip(&share.starts.fresh);
                for (i, (row, was)) in rows.enumerate() {
                    fresh[*row] = *was && i >= ran;
                }
            }
        }
    }

    /// That the cache holds a forward pass of this stack.
    pub(super) fn check_cache<F: Float>(&self, cache: &StackCache<F>) -> Result<()> {
        let mut slots = self.slots.iter().zip(&cache.dropped);
        let fits = cache.keeps
            && cache.used > 0
            && cache.dropped.len() == self.slots.len()
            && cache.shares().iter().all(|share| share.fits(self))
            && slots.all(|(slot, dropped)| dropped.fits(slot));
        if fits {
            return Ok(());
        }
        Err(Error::shape(
            "cache: it holds no forward pass of this stack; run `forward` or `begin_at` with it first",
        ))
    }

    /// That the cache is prepared for going back step by step, too.
    pub(super) fn check_back<F: Float>(&self, cache: &StackCache<F>) -> Result<()> {
        self.check_cache(cache)?;
        let shares = cache.shares();
        let mut runs = shares.iter().flat_map(|share| &share.runs);
        let runs = runs.all(|run| {
            run.d_state.len() == run.state.len() && run.d_saved.len() == run.saved.len()
        });
        let mut dropped = self.slots.iter().zip(&cache.dropped);
        if shares.len() == 1 && runs && dropped.all(|(slot, d)| d.fits_back(slot)) {
            return Ok(());
        }
        Err(Error::shape(
            "cache: it is not prepared for the way back; run `begin_back` with it first",
        ))
    }

    /// Loads the gradient of the final state.
    pub(super) fn load_d_state<F: Float>(
        &self,
        d_state: &State<F>,
        cache: &mut StackCache<F>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        self.check_cache(cache)?;
        self.check_state("d_state", d_state, cache.steps.batch())?;
        for share in &mut cache.shares[..cache.used] {
            for (at, (slot, run)) in self.slots.iter().zip(&mut share.runs).enumerate() {
                let steps = &share.steps;
                steps.sort(d_state.slot(at), slot.state_size, &mut run.d_state);
            }
        }
        for (slot, dropped) in self.slots.iter().zip(&mut cache.dropped) {
            dropped.begin_back(slot);
        }
        Ok(())
    }

    pub(super) fn write_d_state<F: Float>(&self, cache: &StackCache<F>, d_state: &mut State<F>) {
        for share in cache.shares() {
            for (at, (slot, run)) in self.slots.iter().zip(&share.runs).enumerate() {
                let steps = &share.steps;
                steps.unsort(&run.d_state, slot.state_size, d_state.slot_mut(at));
            }
        }
    }

    /// Room for going back step by step.
    pub(super) fn refill_d_saved<F: Float>(&self, cache: &mut StackCache<F>) {
        for run in &mut cache.whole().runs {
            refill(&mut run.d_saved, run.saved.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::CellKind;
    use crate::layer::{Recurrent, RecurrentConfig};
    use ndarray::Array3;

    #[test]
    fn a_pass_brings_its_team_and_the_cache_keeps_it() {
        let config = RecurrentConfig::new(CellKind::Lstm, 2, 40);
        let layer = Recurrent::<f32>::new(&config, 0).unwrap();
        let (two, one) = (Team::new(2).unwrap(), Team::alone());
        let mut cache = StackCache::default();
        for (team, shares) in [
            (None, 1),
            (Some(&two), 2),
            (None, 2),
            (Some(&one), 1),
            (None, 1),
        ] {
            let x = Array3::from_elem((50, 16, 2), 0.5);
            let mut y = Array3::zeros((50, 16, 40));
            let mut state = layer.stack().start(16);
            let pass = Pass {
                team,
                ..Pass::default()
            };
            let (x, params) = (x.view(), layer.params());
            let done =
                layer
                    .stack()
                    .forward(params, x, &pass, &mut state, &mut cache, y.view_mut());
            done.unwrap();
            assert_eq!(cache.used, shares);
        }
    }
}
