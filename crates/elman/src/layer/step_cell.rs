//! `nn.RNNCell`, `nn.GRUCell` and `nn.LSTMCell`: one step of a cell that owns
//! its parameters, for people who write the loop themselves. They allocate; a
//! [`Stack`](super::Stack) does not, and its `step` gives the same bits.

use crate::cell::{
    Bias, Cell, Done, Gru, Lstm, Nonlinearity, Packs, Rnn, Room, Rows, RowsBack, Sizes, Weights,
};
use crate::kernel::{Outer, Team};
use crate::params::{Grads, Layout, Params, Storage};
use crate::rng::TorchRng;
use crate::{Error, Float, Result};
use ndarray::{Array, ArrayView, ArrayView2, Axis, Dimension};

/// A cell of `N` states (h; h and c) with its parameters, named `weight_ih`,
/// `weight_hh`, `bias_ih`, `bias_hh`.
///
/// Inputs are (B, I) or unbatched (I); states have as many axes, (B, H) or (H).
///
/// ```
/// use elman::cell::Bias;
/// use elman::layer::LstmCell;
/// use elman::ndarray::array;
///
/// // The values of torch.manual_seed(0); torch.nn.LSTMCell(1, 2).
/// let cell = LstmCell::<f64>::new(1, 2, Bias::Both, 0)?;
/// let [mut h, mut c] = cell.forward(array![[0.1]].view(), None)?; // (B, I) = (1, 1)
/// for x in [0.2, 0.3] {
///     [h, c] = cell.forward(array![[x]].view(), Some([h.view(), c.view()]))?;
/// }
/// assert_eq!(h.dim(), (1, 2)); // (B, H)
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct StepCell<F, C, const N: usize> {
    /// PyTorch's name.
    name: &'static str,
    cell: C,
    params: Params<F>,
}

/// PyTorch's `nn.RNNCell`.
pub type RnnCell<F> = StepCell<F, Rnn, 1>;
/// PyTorch's `nn.GRUCell`.
pub type GruCell<F> = StepCell<F, Gru, 1>;
/// PyTorch's `nn.LSTMCell`; its states are h and c.
pub type LstmCell<F> = StepCell<F, Lstm, 2>;

/// Gradients of a step: of its input, of the states before it, and of the
/// parameters.
pub type StepGrads<F, D, const N: usize> = (Array<F, D>, [Array<F, D>; N], Grads<F>);

impl<F: Float> RnnCell<F> {
    /// PyTorch's initial values after `torch.manual_seed(seed)`.
    ///
    /// # Errors
    /// Where a size is 0, or more than memory can hold.
    pub fn new(
        input_size: usize,
        hidden_size: usize,
        bias: Bias,
        nonlinearity: Nonlinearity,
        seed: u64,
    ) -> Result<Self> {
        let sizes = sizes(input_size, hidden_size, bias)?;
        let cell = Rnn {
            sizes,
            nonlinearity,
        };
        Self::of("RNNCell", cell, seed)
    }
}

impl<F: Float> GruCell<F> {
    /// PyTorch's initial values after `torch.manual_seed(seed)`.
    ///
    /// # Errors
    /// Where a size is 0, or more than memory can hold.
    pub fn new(input_size: usize, hidden_size: usize, bias: Bias, seed: u64) -> Result<Self> {
        let sizes = sizes(input_size, hidden_size, bias)?;
        Self::of("GRUCell", Gru { sizes }, seed)
    }
}

impl<F: Float> LstmCell<F> {
    /// PyTorch's initial values after `torch.manual_seed(seed)`.
    ///
    /// # Errors
    /// Where a size is 0, or more than memory can hold.
    pub fn new(input_size: usize, hidden_size: usize, bias: Bias, seed: u64) -> Result<Self> {
        let cell = Lstm {
            sizes: sizes(input_size, hidden_size, bias)?,
            proj_size: 0,
        };
        Self::of("LSTMCell", cell, seed)
    }
}

fn sizes(input_size: usize, hidden_size: usize, bias: Bias) -> Result<Sizes> {
    for (name, size) in [("input_size", input_size), ("hidden_size", hidden_size)] {
        if size == 0 {
            return Err(Error::option(format!("{name} must be greater than zero")));
        }
    }
    Ok(Sizes {
        input_size,
        hidden_size,
        bias,
    })
}

impl<F: Float, C: Cell<F>, const N: usize> StepCell<F, C, N> {
    fn of(name: &'static str, cell: C, seed: u64) -> Result<Self> {
        let mut layout = Layout::new();
        for part in cell.params() {
            layout.push(part.name, &part.shape)?;
        }
        let mut params = Params::try_zeros(layout.into())?;
        let mut rng = TorchRng::new(seed);
        cell.init(params.values_mut(), &mut |a, b| rng.uniform(a, b));
        Ok(Self { name, cell, params })
    }

    /// The parameters, under PyTorch's names.
    pub fn params(&self) -> &Params<F> {
        &self.params
    }

    /// The parameters, to be changed.
    pub fn params_mut(&mut self) -> &mut Params<F> {
        &mut self.params
    }

    /// The states after the step; absent states are zero.
    ///
    /// # Errors
    /// Where a shape does not fit, in PyTorch's words.
    pub fn forward<D: Dimension>(
        &self,
        input: ArrayView<'_, F, D>,
        states: Option<[ArrayView<'_, F, D>; N]>,
    ) -> Result<[Array<F, D>; N]> {
        let step = self.step(&input, states.as_ref())?;
        Ok(self.states_of(&step.next, input.raw_dim()))
    }

    /// Gradients of the step from `input` and `states`, given those of the
    /// states after it. The step is computed again.
    ///
    /// # Errors
    /// Where a shape does not fit, in PyTorch's words.
    pub fn backward<D: Dimension>(
        &self,
        input: ArrayView<'_, F, D>,
        states: Option<[ArrayView<'_, F, D>; N]>,
        d_states: [ArrayView<'_, F, D>; N],
    ) -> Result<StepGrads<F, D, N>> {
        let mut step = self.step(&input, states.as_ref())?;
        let mut d_state = self.rows("d_", &input, Some(&d_states))?;
        let mut d_saved = vec![F::zero(); step.saved.len()];
        let mut d_x = step.x.clone();
        d_x.fill(F::zero());
        let mut grads = Params::zeros(self.params.layout().clone());
        let (cell, weights, packs) = (&self.cell, self.weights(), &mut step.packs);
        cell.pack_back(weights, packs);
        let (mut room, team) = (Outer::default(), Team::alone());
        let rows = RowsBack {
            x: &step.x,
            prev: &step.prev,
            hidden: &step.prev,
            mask: None,
            next: &step.next,
            saved: &step.saved,
            d_state: &mut d_state,
            d_saved: &mut d_saved,
            d_x: Some(&mut d_x),
            d_weights: grads.values_mut(),
            team: &team,
        };
        cell.backward(weights, packs, step.n, rows);
        cell.input_back(packs, &team, &d_saved, &mut d_x);
        let dw = grads.values_mut();
        let row = |i: usize| Done {
            x: row_of(&step.x, step.n, i),
            hidden: row_of(&step.prev, step.n, i),
            saved: row_of(&step.saved, step.n, i),
            d_saved: row_of(&d_saved, step.n, i),
        };
        cell.weights_back(&mut room, &team, step.n, &row, dw);
        let dim = input.raw_dim();
        let d_states = self.states_of(&d_state, dim.clone());
        let mut d_input = Array::zeros(dim);
        d_input.iter_mut().zip(d_x).for_each(|(d, x)| *d = x);
        Ok((d_input, d_states, grads))
    }

    fn step<D: Dimension>(
        &self,
        input: &ArrayView<'_, F, D>,
        states: Option<&[ArrayView<'_, F, D>; N]>,
    ) -> Result<Step<F>> {
        let n = self.batch(input)?;
        let prev = self.rows("", input, states)?;
        let mut step = Step {
            n,
            x: input.iter().copied().collect(),
            next: prev.clone(),
            prev,
            saved: vec![F::zero(); n * self.cell.saved_size()],
            packs: Packs::default(),
        };
        let (weights, packs) = (self.weights(), &mut step.packs);
        self.cell.pack(weights, packs);
        let rows = Rows {
            x: &step.x,
            prev: &step.prev,
            hidden: &step.prev,
            next: &mut step.next,
            saved: &mut step.saved,
            keeps: true,
            prepared: false,
            team: &Team::alone(),
            room: &mut Room::default(),
        };
        self.cell.forward(weights, packs, n, rows);
        Ok(step)
    }

    fn weights(&self) -> Weights<'_, F> {
        Weights {
            values: self.params.values(),
            stamp: (self.params.stamp(), 0),
            storage: Storage::Full,
        }
    }

    /// Rows of the batch: (B, I), or (I), which is one.
    fn batch<D: Dimension>(&self, input: &ArrayView<'_, F, D>) -> Result<usize> {
        let (rows, features) = match *input.shape() {
            [features] => (1, features),
            [rows, features] => (rows, features),
            _ => {
                return Err(Error::shape(format!(
                    "{}: Expected input to be 1D or 2D, got {}D instead",
                    self.name,
                    input.ndim()
                )));
            }
        };
        if features == self.cell.input_size() {
            return Ok(rows);
        }
        Err(Error::shape(format!(
            "input has inconsistent input_size: got {features} expected {}",
            self.cell.input_size()
        )))
    }

    /// The states of all rows, (B, N * H); zero where absent.
    fn rows<D: Dimension>(
        &self,
        before: &str,
        input: &ArrayView<'_, F, D>,
        states: Option<&[ArrayView<'_, F, D>; N]>,
    ) -> Result<Vec<F>> {
        let (batch, h) = (self.batch(input)?, self.cell.hidden_size());
        let mut rows = vec![F::zero(); batch * N * h];
        for (i, state) in states.into_iter().flatten().enumerate() {
            let name = format!("{before}hidden{i}");
            if state.ndim() != input.ndim() {
                return Err(Error::shape(format!(
                    "{}: Expected {}D {name} as the input is, but got {}D tensor",
                    self.name,
                    input.ndim(),
                    state.ndim()
                )));
            }
            let state = two(state.view())?;
            let (got, width) = state.dim();
            if got != batch {
                return Err(Error::shape(format!(
                    "Input batch size {batch} doesn't match {name} batch size {got}"
                )));
            }
            if width != h {
                return Err(Error::shape(format!(
                    "{name} has inconsistent hidden_size: got {width}, expected {h}"
                )));
            }
            for ((row, j), v) in state.indexed_iter() {
                rows[(row * N + i) * h + j] = *v;
            }
        }
        Ok(rows)
    }

    /// The way back from [`rows`](Self::rows), with the axes of the input.
    fn states_of<D: Dimension>(&self, rows: &[F], mut dim: D) -> [Array<F, D>; N] {
        let h = self.cell.hidden_size();
        if let Some(features) = dim.slice_mut().last_mut() {
            *features = h;
        }
        std::array::from_fn(|i| {
            let mut state = Array::zeros(dim.clone());
            let part = rows.chunks_exact(N * h).flat_map(|row| &row[i * h..][..h]);
            state
                .iter_mut()
                .zip(part)
                .for_each(|(to, from)| *to = *from);
            state
        })
    }
}

/// One step of `n` rows.
struct Step<F: Float> {
    n: usize,
    x: Vec<F>,
    prev: Vec<F>,
    next: Vec<F>,
    saved: Vec<F>,
    packs: Packs<F>,
}

/// (B, features) from that or (features).
fn two<'a, F, D: Dimension>(array: ArrayView<'a, F, D>) -> Result<ArrayView2<'a, F>> {
    let array = match array.ndim() {
        1 => array.into_dyn().insert_axis(Axis(0)),
        _ => array.into_dyn(),
    };
    array
        .into_dimensionality()
        .map_err(|e| Error::shape(e.to_string()))
}

/// Row `i` of `n`.
fn row_of<F>(array: &[F], n: usize, i: usize) -> &[F] {
    let width = array.len() / n;
    &array[i * width..][..width]
}
