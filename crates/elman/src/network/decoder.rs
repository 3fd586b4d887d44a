//! A stack that reads its own output: what one-to-many networks and
//! encoder-decoders have in common.
//!
//! ```text
//! y_t = head(h_t)        h_t = stack([y_{t-1} | known_t], h_{t-1})
//! ```

use super::same_dim;
use crate::cell::AnyCell;
use crate::layer::{Linear, LinearCache, Pass, Stack, StackCache, State};
use crate::params::{Grads, Params};
use crate::{Error, Float, Result};
use ndarray::{Array2, ArrayView2, ArrayView3, ArrayViewMut3, Axis, s};

/// A decoder's layers; its sizes are those of its head and stack.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    pub stack: Stack<AnyCell>,
    pub head: Linear,
}

/// What a decoder reads beside its own output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Feed<'a, F> {
    /// The output before the first step, (B, O); zeros where absent.
    pub start: Option<ArrayView2<'a, F>>,
    /// What is known of each step, (K, B, C).
    pub known: Option<ArrayView3<'a, F>>,
    /// The true outputs, (K, B, O), read in place of the own where they are
    /// numbers.
    pub teacher: Option<ArrayView3<'a, F>>,
}

impl<'a, F: Float> Feed<'a, F> {
    /// The true output that step `t` reads in place of the decoder's own,
    /// (B, O); the own one where it is NaN.
    fn truth_before(&self, t: usize) -> Option<ArrayView2<'a, F>> {
        let teacher = self.teacher.filter(|_| t > 0)?;
        Some(teacher.index_axis_move(Axis(0), t - 1))
    }
}

/// The cache of a decoder.
#[derive(Debug, Clone)]
pub struct DecoderCache<F: Float> {
    stack: StackCache<F>,
    head: LinearCache<F>,
    x: Array2<F>,
    h: Array2<F>,
    /// The states that the head read, (K, B, H), row-major.
    states: Vec<F>,
    y: Vec<F>,
    dy: Vec<F>,
    d_states: Vec<F>,
    d_x: Array2<F>,
}

impl<F: Float> Default for DecoderCache<F> {
    fn default() -> Self {
        Self {
            stack: StackCache::default(),
            head: LinearCache::default(),
            x: Array2::zeros((0, 0)),
            h: Array2::zeros((0, 0)),
            states: Vec::new(),
            y: Vec::new(),
            dy: Vec::new(),
            d_states: Vec::new(),
            d_x: Array2::zeros((0, 0)),
        }
    }
}

impl Decoder {
    fn known_size(&self) -> usize {
        self.stack.input_size() - self.head.out_features()
    }

    /// Refuses what the decoder cannot read in `steps` steps of `batch` rows.
    fn check<F: Float>(&self, feed: &Feed<'_, F>, steps: usize, batch: usize) -> Result<()> {
        let (o, c) = (self.head.out_features(), self.known_size());
        if let Some(start) = feed.start {
            same_dim("start", (batch, o), start.dim())?;
        }
        if let Some(teacher) = feed.teacher {
            same_dim("teacher", (steps, batch, o), teacher.dim())?;
        }
        match feed.known {
            Some(known) => same_dim("known", (steps, batch, c), known.dim()),
            None if c == 0 => Ok(()),
            None => Err(Error::shape(format!(
                "known: this network reads {c} known features of every step to predict; they are missing"
            ))),
        }
    }

    /// Writes `y` (K, B, O), from and to `state`.
    pub fn forward<F: Float>(
        &self,
        params: &Params<F>,
        feed: &Feed<'_, F>,
        pass: &Pass<'_>,
        state: &mut State<F>,
        cache: &mut DecoderCache<F>,
        mut y: ArrayViewMut3<'_, F>,
    ) -> Result<()> {
        let (steps, batch, o) = y.dim();
        same_dim("prediction", self.head.out_features(), o)?;
        self.check(feed, steps, batch)?;
        let (i, h) = (self.stack.input_size(), self.stack.output_size());
        if cache.x.dim() != (batch, i) || cache.h.ncols() != h {
            cache.x = Array2::zeros((batch, i));
            cache.h = Array2::zeros((batch, h));
        }
        cache.y.resize(batch * o, F::zero());
        cache.states.clear();
        let pass = Pass {
            lengths: None,
            resets: None,
            ..*pass
        };
        self.stack
            .begin_at(steps, batch, &pass, state, &mut cache.stack)?;
        for t in 0..steps {
            let mut own = cache.x.slice_mut(s![.., ..o]);
            match (t, feed.start) {
                (0, Some(start)) => own.assign(&start),
                (0, None) => own.fill(F::zero()),
                _ => own.assign(&y.index_axis(Axis(0), t - 1)),
            }
            if let Some(truth) = feed.truth_before(t) {
                own.zip_mut_with(&truth, |own, y| {
                    if !y.is_nan() {
                        *own = *y;
                    }
                });
            }
            if let Some(known) = feed.known {
                let known = known.index_axis(Axis(0), t);
                cache.x.slice_mut(s![.., o..]).assign(&known);
            }
            let (x, h) = (cache.x.view(), cache.h.view_mut());
            self.stack.forward_at(params, t, x, &mut cache.stack, h)?;
            let first = cache.states.len();
            cache.states.extend(&cache.h);
            let h = &cache.states[first..];
            self.head
                .forward(params, h, &mut cache.head, &mut cache.y)?;
            let mut y = y.index_axis_mut(Axis(0), t);
            y.iter_mut().zip(&cache.y).for_each(|(y, v)| *y = *v);
        }
        self.stack.finish(&cache.stack, state)
    }

    /// The derivative of [`forward`](Self::forward): step by step from the
    /// last, each output's gradient from the loss and from the step that read
    /// it.
    pub fn backward<F: Float>(
        &self,
        params: &Params<F>,
        feed: &Feed<'_, F>,
        cache: &mut DecoderCache<F>,
        dy: ArrayView3<'_, F>,
        d_state: &mut State<F>,
        grads: &mut Grads<F>,
    ) -> Result<()> {
        let (steps, batch, o) = dy.dim();
        let (i, h) = (self.stack.input_size(), self.stack.output_size());
        self.check(feed, steps, batch)?;
        let states = steps * batch * h;
        same_dim(
            "cache, states of the forward pass",
            states,
            cache.states.len(),
        )?;
        if cache.d_x.dim() != (batch, i) {
            cache.d_x = Array2::zeros((batch, i));
        }
        cache.dy.clear();
        cache.dy.extend(dy.iter());
        self.stack.begin_back(d_state, &mut cache.stack)?;
        for t in (0..steps).rev() {
            let dy = &cache.dy[t * batch * o..][..batch * o];
            let states = &cache.states[t * batch * h..][..batch * h];
            cache.d_states.clear();
            cache.d_states.resize(batch * h, F::zero());
            let d_states = Some(&mut cache.d_states[..]);
            self.head
                .backward(states, &mut cache.head, dy, grads, d_states)?;
            cache.d_x.fill(F::zero());
            let dh = ArrayView2::from_shape((batch, h), &cache.d_states)
                .map_err(|e| Error::shape(e.to_string()))?;
            let dx = cache.d_x.view_mut();
            self.stack
                .backward_at(params, t, &mut cache.stack, dh, grads, dx)?;
            if t > 0 {
                let mut own = cache.d_x.slice_mut(s![.., ..o]);
                if let Some(truth) = feed.truth_before(t) {
                    own.zip_mut_with(&truth, |d, y| {
                        if !y.is_nan() {
                            *d = F::zero();
                        }
                    });
                }
                let before = &mut cache.dy[(t - 1) * batch * o..][..batch * o];
                before.iter_mut().zip(own).for_each(|(d, x)| *d += *x);
            }
        }
        self.stack.end_back(&mut cache.stack, grads, d_state)
    }
}
