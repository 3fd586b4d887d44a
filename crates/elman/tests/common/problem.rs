//! A stack with numbers to run through it, and all that comes out.

use super::numbers;
use super::variants::variants;
use elman::Float;
use elman::cell::{AnyCell, Bias, Cell, CellKind, Nonlinearity};
use elman::layer::{Merge, Pass, RecurrentConfig, Stack, StackCache, StackConfig, State};
use elman::ndarray::{Array2, Array3, Axis, s};
use elman::params::{Layout, Params};
use elman::rng::{Key, Purpose};
use proptest::prelude::*;

/// Options of a layer and the geometry of a batch.
#[derive(Debug, Clone)]
pub struct Shape {
    pub config: RecurrentConfig,
    pub seq_len: usize,
    pub batch: usize,
    pub lengths: Option<Vec<usize>>,
    /// Where rows start afresh, (T, B).
    pub resets: Option<Array2<bool>>,
    /// Every second row has no state of its own.
    pub fresh: bool,
    /// Whether masks are drawn.
    pub training: bool,
    pub seed: u64,
}

impl Shape {
    /// A whole batch, not in training.
    pub fn new(config: RecurrentConfig, seq_len: usize, batch: usize, seed: u64) -> Self {
        Self {
            config,
            seq_len,
            batch,
            lengths: None,
            resets: None,
            fresh: false,
            training: false,
            seed,
        }
    }
}

/// Small shapes of every kind, empty ones included.
pub fn shapes() -> impl Strategy<Value = Shape> {
    let cell = (
        prop::sample::select(&CellKind::ALL[..]),
        prop::sample::select(&[Nonlinearity::Tanh, Nonlinearity::Relu][..]),
        prop::sample::select(&[Bias::Both, Bias::Single, Bias::None][..]),
        prop::sample::select(&[1_usize, 3, 9][..]),
        prop::sample::select(&[1_usize, 2, 9, 17][..]),
        prop::option::of(0..16_usize),
    );
    let stack = (
        1..=3_usize,
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(&[0.0, 0.5][..]),
    );
    let share = || prop::sample::select(&[0.0, 0.0, 0.4][..]);
    let masks = (
        prop::bool::weighted(0.3),
        share(),
        share(),
        share(),
        share(),
        prop::bool::weighted(0.3),
    );
    let form = (
        prop::bool::weighted(0.2),
        prop::sample::select(&[Merge::Concat, Merge::Sum, Merge::Mean, Merge::Product][..]),
        prop::bool::weighted(0.3),
        prop::option::weighted(0.3, [1..9_usize, 1..9_usize]),
    );
    let beyond = prop::option::weighted(0.4, prop::sample::select(variants(3, 9, true)));
    let batch = (0..=4_usize, 0..=6_usize).prop_flat_map(|(seq_len, batch)| {
        let lengths = prop::option::of(prop::collection::vec(0..=seq_len, batch));
        let marks = prop::collection::vec(prop::bool::weighted(0.3), seq_len * batch);
        let resets = prop::option::weighted(0.3, marks).prop_map(move |marks| {
            marks.map(|marks| Array2::from_shape_vec((seq_len, batch), marks).unwrap())
        });
        let rest = (any::<bool>(), any::<bool>(), any::<u64>());
        (Just(seq_len), Just(batch), lengths, resets, rest)
    });
    (cell, stack, masks, (form, beyond), batch).prop_map(
        |(cell, stack, masks, (form, beyond), (seq_len, batch, lengths, resets, rest))| {
            let (mut kind, nonlinearity, bias, input_size, hidden_size, projection) = cell;
            let (num_layers, bidirectional, batch_first, dropout) = stack;
            let (locked, recurrent_dropout, weight_drop, hidden, cell, learned) = masks;
            let (reverse, merge, residual, sizes) = form;
            let (training, fresh, seed) = rest;
            let options = beyond.map(|beyond| {
                kind = beyond.cell;
                beyond.options
            });
            let mut config = RecurrentConfig::new(kind, input_size, hidden_size);
            config.bias = bias;
            config.options = options.unwrap_or_default();
            if kind == CellKind::Rnn && config.options.activations.is_empty() {
                config.nonlinearity = nonlinearity;
            }
            if kind == CellKind::Lstm {
                config.proj_size = projection.map_or(0, |p| p % hidden_size);
            }
            let residual = residual && num_layers > 1;
            if let Some(sizes) = sizes.filter(|_| !residual) {
                let sizes = std::iter::once(hidden_size).chain(sizes);
                config.hidden_sizes = sizes.take(num_layers).collect();
                let least = config.hidden_sizes.iter().min().unwrap() - 1;
                config.proj_size = config.proj_size.min(least);
            }
            config.stack = StackConfig {
                num_layers,
                bidirectional,
                batch_first,
                dropout,
                locked_dropout: locked && dropout > 0.0 && num_layers > 1,
                reverse: reverse && !bidirectional,
                merge: if bidirectional { merge } else { Merge::Concat },
                residual,
                recurrent_dropout,
                weight_drop,
                zoneout_hidden: hidden,
                zoneout_cell: if kind == CellKind::Lstm { cell } else { 0.0 },
                learn_initial_state: learned,
            };
            Shape {
                config,
                seq_len,
                batch,
                lengths,
                resets,
                fresh,
                training,
                seed,
            }
        },
    )
}

impl Shape {
    /// The same in one direction and without lengths: what can go step by step.
    pub fn one_way(mut self) -> Self {
        self.config.stack.bidirectional = false;
        self.config.stack.reverse = false;
        self.config.stack.merge = Merge::Concat;
        self.lengths = None;
        self
    }
}

/// How a stack is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `forward` and `backward`.
    Sequence,
    /// `forward_at` and `backward_at`.
    StepByStep,
}

/// Arrays have time first here, whatever the stack's interface has.
#[derive(Debug, Clone)]
pub struct Problem<F, C> {
    pub stack: Stack<C>,
    pub params: Params<F>,
    pub x: Array3<F>,
    pub lengths: Option<Vec<usize>>,
    pub resets: Option<Array2<bool>>,
    pub dropout: Option<Key>,
    pub first_row: usize,
    pub first_step: usize,
    pub state: State<F>,
    /// Gradients that arrive.
    pub d_y: Option<Array3<F>>,
    pub d_state: State<F>,
}

/// All results of a pass forward and back.
#[derive(Debug, Clone)]
pub struct Answer<F> {
    pub y: Array3<F>,
    pub state: State<F>,
    pub dx: Array3<F>,
    pub d_state: State<F>,
    pub grads: Params<F>,
}

impl<F: Float, C: Cell<F>> Problem<F, C> {
    /// Random numbers for everything; `wrap` makes the cell from the known one.
    pub fn new(shape: &Shape, wrap: impl Fn(AnyCell) -> C) -> Self {
        let config = &shape.config;
        let (stack, sizes) = (config.stack.clone(), &config.hidden_sizes);
        let mut problem = Self::of(shape, stack, config.input_size, |layer, i| {
            let hidden_size = sizes.get(layer).copied().unwrap_or(config.hidden_size);
            wrap(config.cell(i, hidden_size).unwrap())
        });
        if shape.training {
            problem.dropout = Some(Key::new(shape.seed, Purpose::Dropout));
        }
        problem
    }

    /// The same for a stack of any cell; of the shape, its batch is used.
    pub fn of(
        shape: &Shape,
        config: StackConfig,
        input_size: usize,
        cell: impl Fn(usize, usize) -> C,
    ) -> Self {
        let mut layout = Layout::new();
        let stack = Stack::new::<F>(&mut layout, "", config, input_size, cell).unwrap();
        let mut params = Params::zeros(layout.into());
        let n = params.values().len();
        params.values_mut().copy_from_slice(&numbers(shape.seed, n));
        let three = |seed, width| {
            let dim = (shape.seq_len, shape.batch, width);
            let values = numbers(shape.seed.wrapping_add(seed), dim.0 * dim.1 * dim.2);
            Array3::from_shape_vec(dim, values).unwrap()
        };
        let filled = |seed: u64| {
            let mut state: State<F> = stack.start(shape.batch);
            for slot in 0..state.slots() {
                let values = state.slot_mut(slot);
                let seed = shape.seed.wrapping_add(seed + slot as u64);
                values.copy_from_slice(&numbers(seed, values.len()));
            }
            state
        };
        let mut state = filled(100);
        if shape.fresh {
            let rows: Vec<_> = (0..shape.batch).step_by(2).collect();
            state.reset_rows(&rows).unwrap();
        }
        Self {
            params,
            x: three(1, input_size),
            lengths: shape.lengths.clone(),
            resets: shape.resets.clone(),
            dropout: None,
            first_row: 0,
            first_step: 0,
            state,
            d_y: Some(three(2, stack.output_size())),
            d_state: filled(200),
            stack,
        }
    }

    pub fn seq_len(&self) -> usize {
        self.x.len_of(Axis(0))
    }

    pub fn batch(&self) -> usize {
        self.x.len_of(Axis(1))
    }

    pub fn length(&self, row: usize) -> usize {
        self.lengths.as_ref().map_or(self.seq_len(), |l| l[row])
    }

    /// The problem of some rows alone, padded to another number of steps with
    /// what may never be read.
    pub fn rows(&self, rows: &[usize], seq_len: usize) -> Self {
        let cut = |a: &Array3<F>| {
            let shape = (seq_len, rows.len(), a.len_of(Axis(2)));
            Array3::from_shape_fn(shape, |(t, b, i)| {
                let valid = t < self.length(rows[b]);
                if valid { a[[t, rows[b], i]] } else { F::nan() }
            })
        };
        let resets = self.resets.as_ref().map(|resets| {
            Array2::from_shape_fn((seq_len, rows.len()), |(t, b)| {
                t >= self.length(rows[b]) || resets[[t, rows[b]]]
            })
        });
        let lengths: Vec<_> = rows.iter().map(|r| self.length(*r)).collect();
        assert!(lengths.iter().all(|l| *l <= seq_len));
        Self {
            x: cut(&self.x),
            lengths: Some(lengths),
            resets,
            state: self.state.select_rows(rows).unwrap(),
            d_y: self.d_y.as_ref().map(cut),
            d_state: self.d_state.select_rows(rows).unwrap(),
            ..self.clone()
        }
    }

    /// Some steps alone, starting from `state`.
    pub fn steps(&self, from: usize, to: usize) -> Self {
        let cut = |a: &Array3<F>| a.slice(s![from..to, .., ..]).to_owned();
        Self {
            x: cut(&self.x),
            resets: (self.resets.as_ref()).map(|r| r.slice(s![from..to, ..]).to_owned()),
            first_step: self.first_step + from,
            d_y: self.d_y.as_ref().map(cut),
            ..self.clone()
        }
    }

    pub fn pass(&self) -> Pass<'_> {
        let axes = self.axes();
        let resets = self.resets.as_ref();
        Pass {
            lengths: self.lengths.as_deref(),
            resets: resets.map(|r| r.view().permuted_axes([axes[0], axes[1]])),
            dropout: self.dropout,
            first_row: self.first_row,
            first_step: self.first_step,
            ..Pass::default()
        }
    }

    fn axes(&self) -> [usize; 3] {
        if self.stack.config().batch_first {
            [1, 0, 2]
        } else {
            [0, 1, 2]
        }
    }

    /// Forward: the output and the final state.
    pub fn forward(&self, form: Form, cache: &mut StackCache<F>) -> (Array3<F>, State<F>) {
        let dim = (self.seq_len(), self.batch(), self.stack.output_size());
        let mut y = Array3::from_elem(dim, F::nan());
        let mut state = self.state.clone();
        let (stack, params, axes) = (&self.stack, &self.params, self.axes());
        match form {
            Form::Sequence => {
                let x = self.x.view().permuted_axes(axes);
                let view = y.view_mut().permuted_axes(axes);
                stack
                    .forward(params, x, &self.pass(), &mut state, cache, view)
                    .unwrap();
            }
            Form::StepByStep => {
                stack
                    .begin_at(dim.0, dim.1, &self.pass(), &state, cache)
                    .unwrap();
                for t in 0..dim.0 {
                    let x = self.x.index_axis(Axis(0), t);
                    let y = y.index_axis_mut(Axis(0), t);
                    stack.forward_at(params, t, x, cache, y).unwrap();
                }
                stack.finish(cache, &mut state).unwrap();
            }
        }
        (y, state)
    }

    /// Forward and back.
    pub fn run(&self, form: Form, cache: &mut StackCache<F>) -> Answer<F> {
        let (y, state) = self.forward(form, cache);
        let mut dx = Array3::zeros(self.x.dim());
        let mut d_state = self.d_state.clone();
        let mut grads = Params::zeros(self.params.layout().clone());
        let (stack, params, axes) = (&self.stack, &self.params, self.axes());
        match form {
            Form::Sequence => {
                let d_y = self.d_y.as_ref().map(|d| d.view().permuted_axes(axes));
                let view = Some(dx.view_mut().permuted_axes(axes));
                stack
                    .backward(params, cache, d_y, &mut d_state, &mut grads, view)
                    .unwrap();
            }
            Form::StepByStep => {
                let zero = Array3::zeros(y.dim());
                let d_y = self.d_y.as_ref().unwrap_or(&zero);
                stack.begin_back(&d_state, cache).unwrap();
                for t in (0..self.seq_len()).rev() {
                    let dy = d_y.index_axis(Axis(0), t);
                    let dx = dx.index_axis_mut(Axis(0), t);
                    stack
                        .backward_at(params, t, cache, dy, &mut grads, dx)
                        .unwrap();
                }
                stack.end_back(cache, &mut grads, &mut d_state).unwrap();
            }
        }
        Answer {
            y,
            state,
            dx,
            d_state,
            grads,
        }
    }

    /// What the gradients are of: `sum(y * d_y) + sum(state * d_state)`.
    pub fn loss(&self, form: Form, cache: &mut StackCache<F>) -> F {
        let (y, state) = self.forward(form, cache);
        let mut sum = F::zero();
        if let Some(d_y) = &self.d_y {
            sum += y.iter().zip(d_y).map(|(y, d)| *y * *d).sum();
        }
        for slot in 0..state.slots() {
            let pairs = state.slot(slot).iter().zip(self.d_state.slot(slot));
            sum += pairs.map(|(s, d)| *s * *d).sum();
        }
        sum
    }
}

impl<F: Float> Answer<F> {
    /// The bits of all that belongs to one row of the batch, padding left out.
    pub fn row_bits(&self, row: usize, length: usize) -> Vec<u64> {
        let mut bits = Vec::new();
        for a in [&self.y, &self.dx] {
            let valid = a.slice(s![..length, row, ..]);
            bits.extend(valid.iter().map(|v| v.f64().to_bits()));
        }
        for state in [&self.state, &self.d_state] {
            for slot in 0..state.slots() {
                let w = state.width(slot);
                let values = &state.slot(slot)[row * w..][..w];
                bits.extend(values.iter().map(|v| v.f64().to_bits()));
            }
        }
        bits
    }

    /// The bits of everything.
    pub fn bits(&self) -> Vec<u64> {
        let rows = self.y.len_of(Axis(1));
        let mut bits: Vec<_> = (0..rows)
            .flat_map(|row| self.row_bits(row, self.y.len_of(Axis(0))))
            .collect();
        bits.extend(self.grads.values().iter().map(|v| v.f64().to_bits()));
        bits
    }

    /// The largest error of any tensor against another answer's.
    pub fn error(&self, other: &Self) -> f64 {
        let mut worst = super::error(self.y.view(), other.y.view());
        worst = worst.max(super::error(self.dx.view(), other.dx.view()));
        for (a, b) in [(&self.state, &other.state), (&self.d_state, &other.d_state)] {
            for slot in 0..a.slots() {
                worst = worst.max(super::slice_error(a.slot(slot), b.slot(slot)));
            }
        }
        for entry in self.grads.layout().entries() {
            let of = |p: &Self| p.grads.values()[entry.range.clone()].to_vec();
            worst = worst.max(super::slice_error(&of(self), &of(other)));
        }
        worst
    }
}
